/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * place.bpf.h owns which CPU a waking task goes to: an idle one near its memory and
 * cache, or the one to queue on. It must never leave the node while the domain keeps
 * up with its work, nor look at what the CPUs run: that is preempt.bpf.h.
 */
#ifndef BALLAST_PLACE_BPF_H
#define BALLAST_PLACE_BPF_H

#include "steal.bpf.h"
#include "task.bpf.h"

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
				    u64 wake_flags, u32 domain_id, u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);
	struct ballast_node *node;
	u32 i, id;
	s32 cpu;

	if (!domain)
		return -EBUSY;
	if (domain->nr_idle) {
		cpu = idle_cpu_in(p, prev_cpu, wake_flags, domain_mask(domain_id));
		if (cpu >= 0) {
			count(BALLAST_STAT_WAKE_IDLE_DOMAIN);
			return cpu;
		}
	}
	if (!direct_greedy)
		return -EBUSY;
	/* Not sync: the waker's CPU was considered within the domain. */
	node = node_at(domain->node);
	if (node && node->nr_domains > 1 && node->nr_idle) {
		cpu = idle_cpu_in(p, prev_cpu, 0, direct_mask(domain->node));
		if (cpu >= 0) {
			count(BALLAST_STAT_WAKE_IDLE_NODE);
			return cpu;
		}
	}
	if (!direct_greedy_numa && !past_capacity(domain, now))
		return -EBUSY;
	bpf_for(i, 1, BALLAST_MAX_NODES) {
		if (i >= nr_nodes)
			break;
		id = nearest_node(domain->node, i);
		node = node_at(id);
		if (!node || !node->nr_idle)
			continue;
		cpu = idle_cpu_in(p, prev_cpu, 0, direct_mask(id));
		if (cpu >= 0) {
			count(BALLAST_STAT_WAKE_IDLE_NUMA);
			return cpu;
		}
	}
	return -EBUSY;
}

/*
 * The waker's CPU for @p, home at @domain_id, which is to take the waker's place, if nobody
 * waits for that CPU. Returns it, or a negative number.
 */
static __always_inline s32 waker_cpu_for(struct task_struct *p, u32 domain_id)
{
	s32 cpu_id = bpf_get_smp_processor_id();
	struct ballast_domain *domain = domain_at(domain_id);
	struct ballast_cpu *cpu = cpu_at(cpu_id);

	if (!cpu || !domain || cpu->domain != domain_id ||
	    !bpf_cpumask_test_cpu(cpu_id, p->cpus_ptr) || scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL) > 0)
		return -EBUSY;
	if (somebody_waits_for(cpu_id, cpu, domain))
		return -EBUSY;
	count(BALLAST_STAT_WAKE_PAIRED);
	return cpu_id;
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

#endif /* BALLAST_PLACE_BPF_H */
