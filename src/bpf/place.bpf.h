/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * place.bpf.h owns where a waking task goes: an idle CPU near its memory and
 * cache, or a queue and perhaps somebody else's CPU. It must never leave the
 * node while the domain keeps up with its work.
 */
#ifndef BALLAST_PLACE_BPF_H
#define BALLAST_PLACE_BPF_H

#include "steal.bpf.h"

/* Claim an idle CPU for @p in @mask; whole idle cores come first. */
static __always_inline s32 idle_cpu_in(struct task_struct *p, s32 prev_cpu, u64 wake_flags,
				       struct bpf_cpumask *mask)
{
	s32 cpu;

	if (!mask)
		return -ENOENT;
	if (__COMPAT_HAS_scx_bpf_select_cpu_and)
		return scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, cast_mask(mask), 0);

	/* Before 6.16: an idle CPU of the mask, if the task may use it. */
	if (bpf_cpumask_test_cpu(prev_cpu, cast_mask(mask)) &&
	    bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr) &&
	    scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		return prev_cpu;
	if (!bpf_cpumask_subset(cast_mask(mask), p->cpus_ptr))
		return -EBUSY;
	cpu = scx_bpf_pick_idle_cpu(cast_mask(mask), SCX_PICK_IDLE_CORE);
	if (cpu < 0)
		cpu = scx_bpf_pick_idle_cpu(cast_mask(mask), 0);
	return cpu;
}

/* The domain has had more work than CPUs for as long as a far steal takes. */
static __always_inline bool past_capacity(const struct ballast_domain *domain, u64 now)
{
	u64 since_ns = domain->queued_since_ns;

	return since_ns && elapsed_ns(since_ns, now) >= steal_after_numa_ns;
}

/*
 * Claim an idle CPU for @p, home at @domain_id: the domain, then the rest of its
 * node, then other nodes by distance. Returns the CPU, or a negative number.
 */
static __noinline s32 find_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu,
				    u64 wake_flags, u32 domain_id)
{
	struct ballast_domain *domain = domain_at(domain_id);
	struct ballast_node *node;
	u64 now;
	s32 cpu;
	u32 i;

	cpu = idle_cpu_in(p, prev_cpu, wake_flags, domain_mask(domain_id));
	if (cpu >= 0) {
		count(BALLAST_STAT_WAKE_IDLE_DOMAIN);
		return cpu;
	}
	if (!domain || !direct_greedy)
		return -EBUSY;
	/* Not sync: the waker's CPU was considered within the domain. */
	node = node_at(domain->node);
	if (node && node->nr_domains > 1) {
		cpu = idle_cpu_in(p, prev_cpu, 0, direct_mask(domain->node));
		if (cpu >= 0) {
			count(BALLAST_STAT_WAKE_IDLE_NODE);
			return cpu;
		}
	}
	now = scx_bpf_now();
	if (!direct_greedy_numa && !past_capacity(domain, now))
		return -EBUSY;
	bpf_for(i, 1, BALLAST_MAX_NODES) {
		if (i >= nr_nodes)
			break;
		cpu = idle_cpu_in(p, prev_cpu, 0, direct_mask(nearest_node(domain->node, i)));
		if (cpu >= 0) {
			count(BALLAST_STAT_WAKE_IDLE_NUMA);
			return cpu;
		}
	}
	return -EBUSY;
}

/* A CPU to queue @p on when none is idle: where it was, if that is still home. */
static __always_inline s32 busy_cpu_in(struct task_struct *p, s32 prev_cpu, u32 domain_id)
{
	struct bpf_cpumask *mask = domain_mask(domain_id);
	u32 cpu;

	if (!mask)
		return prev_cpu;
	if (bpf_cpumask_test_cpu(prev_cpu, cast_mask(mask)) &&
	    bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr))
		return prev_cpu;
	cpu = bpf_cpumask_any_and_distribute(cast_mask(mask), p->cpus_ptr);
	return cpu < nr_cpu_ids ? (s32)cpu : prev_cpu;
}

/*
 * No CPU of @domain_id is idle and a task with @key waits there: end the slice
 * of the task that is furthest behind it, if it is behind by the margin.
 */
static __noinline void preempt_worst(u32 domain_id, u64 key, u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);
	u64 worst_key = key + preempt_margin_ns, running_key, ran_ns;
	u32 i, cpu_id, worst = BALLAST_NONE;
	struct ballast_cpu *cpu;

	if (!domain || fifo_sched)
		return;
	bpf_for(i, 0, DOMAIN_SCAN_MAX) {
		cpu_id = nth_cpu(domain, i);
		if (cpu_id == BALLAST_NONE)
			break;
		cpu = cpu_at(cpu_id);
		if (!cpu || !cpu->running_key)
			continue;
		ran_ns = elapsed_ns(cpu->running_since_ns, now);
		/* Just begun: a switch now would cost more than it brings. */
		if (ran_ns < preempt_margin_ns)
			continue;
		running_key = cpu->running_key + to_vtime(ran_ns, cpu->running_weight);
		if (time_before(worst_key, running_key)) {
			worst_key = running_key;
			worst = cpu_id;
		}
	}
	if (worst == BALLAST_NONE)
		return;
	scx_bpf_kick_cpu(worst, SCX_KICK_PREEMPT);
	count(BALLAST_STAT_PREEMPTIONS);
}

#endif /* BALLAST_PLACE_BPF_H */
