/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * place.bpf.h owns where a waking task goes: an idle CPU near its memory and
 * cache, or a queue and perhaps somebody else's CPU. It must never leave the
 * node while the domain keeps up with its work.
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
				    u64 wake_flags, u32 domain_id)
{
	struct ballast_domain *domain = domain_at(domain_id);
	struct ballast_node *node;
	struct bpf_cpumask *mask;
	u32 i, id;
	u64 now;
	s32 cpu;

	if (!domain)
		return -EBUSY;
	mask = domain_mask(domain_id);
	cpu = domain->nr_idle ? idle_cpu_in(p, prev_cpu, wake_flags, mask) : -EBUSY;
	if (cpu >= 0) {
		count(BALLAST_STAT_WAKE_IDLE_DOMAIN);
		return cpu;
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
	now = scx_bpf_now();
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

/* Below this a switch costs more than it brings: of a task that computes, of others. */
#define JUST_BEGUN_NS (100ULL * 1000)
#define BRIEF_BEGUN_NS (500ULL * 1000)

/* Whether one that usually runs for @burst_ns in one go would use up its slices. */
static __always_inline bool computes(u64 burst_ns)
{
	return burst_ns > slice_ns / 2;
}

/* Whether one that usually runs for @burst_ns in one go does so for a moment only. */
static __always_inline bool is_brief(u64 burst_ns)
{
	return burst_ns <= slice_ns / 5;
}

/*
 * A task that has just begun is let be, and one that usually runs briefly until it
 * has had its time: its CPU is free soon, and a switch more would bring nothing.
 */
static __always_inline bool is_let_be(const struct ballast_cpu *cpu, u64 ran_ns)
{
	u64 burst_ns = cpu->running_burst_ns;

	return ran_ns < (computes(burst_ns) ? JUST_BEGUN_NS : max_u64(burst_ns, BRIEF_BEGUN_NS));
}

/* A CPU to take from the task that runs there, as long as that has this key. */
struct victim {
	u64 running_key;
	u32 cpu;
};

/*
 * Find the CPU of @domain_id whose task is furthest behind one with @key, if it
 * is behind by the margin.
 */
static __noinline bool find_victim(u32 domain_id, u64 key, u64 now, struct victim *victim)
{
	struct ballast_domain *domain = domain_at(domain_id);
	u64 worst_key = key + preempt_margin_ns, running_key, seen;
	struct ballast_cpu *cpu;
	u32 i, cpu_id;

	if (!domain || !victim)
		return false;
	victim->cpu = BALLAST_NONE;
	bpf_for(i, 0, DOMAIN_SCAN_MAX) {
		cpu_id = nth_cpu(domain, i);
		if (cpu_id == BALLAST_NONE)
			break;
		cpu = cpu_at(cpu_id);
		seen = cpu ? cpu->running_key : 0;
		if (!seen)
			continue;
		if (is_let_be(cpu, elapsed_ns(cpu->running_since_ns, now)))
			continue;
		running_key = running_key_at(cpu, seen, now);
		if (time_before(worst_key, running_key)) {
			worst_key = running_key;
			victim->running_key = seen;
			victim->cpu = cpu_id;
		}
	}
	return victim->cpu != BALLAST_NONE;
}

/* Of several wake-ups at once only one may have it. */
static __always_inline bool claim(const struct victim *victim, bool brief)
{
	struct ballast_cpu *cpu = cpu_at(victim->cpu);

	if (!cpu || __sync_val_compare_and_swap(&cpu->running_key, victim->running_key, 0) !=
			    victim->running_key)
		return false;
	cpu->interrupted = brief;
	return true;
}

/*
 * No CPU of @home is idle: claim one for @p, which wakes there, whose task it
 * may preempt. It goes there directly: by way of the queue another CPU's turn
 * would be spent on fetching it. So it must be the one that should run next.
 * Returns the CPU, or a negative number.
 */
static __always_inline s32 preempt_for(struct task_struct *p, struct task_ctx *tctx,
				       struct ballast_row *row, u32 home)
{
	struct victim victim;
	u64 key;

	if (fifo_sched || !covers_domain(p, tctx, row, home))
		return -EBUSY;
	take_charged_weight(tctx, row);
	key = vruntime_under(tctx, home) + request_vtime(tctx);
	if (!find_victim(home, key, scx_bpf_now(), &victim))
		return -EBUSY;
	if (!key_before(key, head_key(DOMAIN_DSQ(home))))
		return -EBUSY;
	return claim(&victim, is_brief(tctx->burst_ns)) ? (s32)victim.cpu : -EBUSY;
}

/* @tctx woke, found no CPU and waits in the queue of @domain_id. */
static __always_inline void note_brief(const struct task_ctx *tctx, u32 domain_id, u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);

	if (domain && is_brief(tctx->burst_ns))
		domain->brief_key = queue_key(tctx, now);
}

/*
 * @tctx, which computes, goes on after an interruption, and meanwhile somebody
 * brief queued for whom no CPU was free: that one goes first if it would have
 * preempted had it come now. Not where many wait: most of them wait on, whoever
 * goes first, and the switches would double.
 */
static __always_inline void make_way(const struct task_ctx *tctx, u32 cpu_id,
				     const struct ballast_cpu *cpu)
{
	struct ballast_domain *domain = domain_at(cpu->domain);
	s32 waiting;
	u64 key;

	if (!domain || !tctx->slice_used_ns || !computes(tctx->burst_ns) || fifo_sched)
		return;
	waiting = scx_bpf_dsq_nr_queued(DOMAIN_DSQ(cpu->domain));
	if (waiting <= 0 || waiting > (s32)(domain->nr_online / 2))
		return;
	key = head_key(DOMAIN_DSQ(cpu->domain));
	if (key != NO_KEY && !time_before(domain->brief_key, key) &&
	    time_before(key + preempt_margin_ns, cpu->running_key))
		scx_bpf_kick_cpu(cpu_id, SCX_KICK_PREEMPT);
}

/* Less than this of a slice is not worth coming back for. */
#define SLICE_REST_NS (200ULL * 1000)

/*
 * @p has made way for a brief task on its CPU: what is left of its slice, if it
 * is to go on there after that. Sent through the queue it would mostly go on
 * somewhere else, with cold caches, and another task here.
 */
static __always_inline u64 slice_after_interruption(struct task_struct *p,
						    const struct task_ctx *tctx, s32 cpu_id)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);

	if (!cpu || !cpu->interrupted)
		return 0;
	cpu->interrupted = false;
	if (tctx->slice_used_ns + SLICE_REST_NS > slice_ns ||
	    !bpf_cpumask_test_cpu(cpu_id, p->cpus_ptr))
		return 0;
	return slice_ns - tctx->slice_used_ns;
}

#endif /* BALLAST_PLACE_BPF_H */
