/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * preempt.bpf.h owns whose turn ends early: which running task makes way for one that
 * wakes or waits, and where it goes on. It must never end a slice early for one that
 * waits and computes: slices are for those.
 */
#ifndef BALLAST_PREEMPT_BPF_H
#define BALLAST_PREEMPT_BPF_H

#include "queue.bpf.h"
#include "task.bpf.h"

/* Below this a switch costs more than it brings. */
#define JUST_BEGUN_NS (100ULL * 1000)
/* For so long one that sleeps now and then is let be: half a slice by default. */
#define LET_BE_NS (2500ULL * 1000)

/*
 * A task that has just begun is let be, but for a hog where one wakes that is due; one that
 * sleeps now and then for half a slice: its CPU is free soon, or it fills what somebody else
 * empties, and the more it gets done in one go the fewer switches that takes.
 */
static __always_inline bool is_let_be(const struct ballast_cpu *cpu, u64 ran_ns)
{
	bool hog = is_hog(cpu->running_burst_ns);

	return ran_ns < (hog ? JUST_BEGUN_NS : min_u64(LET_BE_NS, slice_ns / 2));
}

/* A CPU to take from the task that runs there, as long as that has this running_key. */
struct victim {
	u64 running_key;
	/* what has become of it by now */
	u64 key;
	/* of who wakes: it must be behind that by the margin */
	u64 waker_key;
	/* or usually run for longer than this, and not be owed more than one that is due may pass */
	u64 any_above_ns;
	u32 cpu;
};

/* Prefer @cpu_id to @victim if its task may be preempted and is further behind. */
static __always_inline bool prefer(struct victim *victim, u32 cpu_id, u64 now)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	u64 seen = cpu ? cpu->running_key : 0, burst_ns, key;
	bool at_once;

	if (!seen)
		return false;
	burst_ns = cpu->running_burst_ns;
	at_once = burst_ns > victim->any_above_ns && is_hog(burst_ns);
	if (!at_once && is_let_be(cpu, elapsed_ns(cpu->running_since_ns, now)))
		return false;
	key = running_key_at(cpu, seen, now);
	if (!time_before(victim->waker_key + preempt_margin_ns, key) &&
	    (burst_ns <= victim->any_above_ns ||
	     is_owed_more(key, victim->waker_key, open_may_pass())))
		return false;
	if (!time_before(victim->key, key))
		return false;
	victim->running_key = seen;
	victim->key = key;
	victim->cpu = cpu_id;
	return true;
}

/*
 * Find a CPU of @domain_id whose task is behind one with @key by the margin: @known_cpu, whose
 * caches that knows, else the one whose task is furthest behind. If none is, one of those that
 * @victim may be anyway.
 */
static __noinline bool find_victim(u32 domain_id, u32 known_cpu, u64 key, u64 now,
				   struct victim *victim)
{
	struct ballast_domain *domain = domain_at(domain_id);
	struct ballast_cpu *known = cpu_at(known_cpu);
	u64 any_above_ns;
	u32 i, cpu_id;

	if (!domain || !victim)
		return false;
	any_above_ns = victim->any_above_ns;
	victim->waker_key = key;
	victim->any_above_ns = NO_KEY;
	victim->key = key - FAR_AHEAD;
	victim->cpu = BALLAST_NONE;
	if (known && known->domain == domain_id && prefer(victim, known_cpu, now))
		return true;
	/* If one must make way that is owed more, then the one that is owed least. */
	victim->any_above_ns = any_above_ns;
	bpf_for(i, 0, DOMAIN_SCAN_MAX) {
		cpu_id = nth_cpu(domain, i);
		if (cpu_id == BALLAST_NONE)
			break;
		prefer(victim, cpu_id, now);
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
 * Whoever usually runs for longer than this in one go makes way for one that is @due: who
 * computes but, where @many wait and turns come soon, only hogs.
 */
static __always_inline u64 victims_above_ns(bool due, bool many)
{
	if (!due)
		return NO_KEY;
	return many ? HOG_NS : slice_ns / 2;
}

/*
 * @tctx waits first in the queue of @domain_id, under @key, since no CPU was free for it as it
 * woke: if it is due, have one fetch it now.
 */
static __always_inline void fetch_first(u32 domain_id, const struct task_ctx *tctx, u64 key,
					bool many, u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);
	struct victim victim;

	if (!domain || !is_due(tctx, &domain->clock, tctx->vruntime))
		return;
	victim.any_above_ns = victims_above_ns(true, many);
	if (!find_victim(domain_id, BALLAST_NONE, key, now, &victim) || !claim(&victim, true))
		return;
	scx_bpf_kick_cpu(victim.cpu, SCX_KICK_PREEMPT);
	count(BALLAST_STAT_PREEMPTIONS);
}

/*
 * No CPU of @home is idle: claim one for @p, which wakes there, whose task it
 * may preempt. It goes there directly: by way of the queue another CPU's turn
 * would be spent on fetching it. So it must be the one that should run next.
 * Returns the CPU, or a negative number. Not static: so it is verified once, and not anew for each
 * caller.
 */
__noinline s32 preempt_for(struct task_struct *p __arg_trusted, struct task_ctx *tctx __arg_nonnull,
			   struct ballast_row *row, u32 home, u64 now)
{
	struct ballast_domain *domain = domain_at(home);
	bool many, due, goes_first, first_computes;
	struct task_struct *first;
	struct task_ctx *other;
	struct victim victim;
	u64 vruntime, key;

	if (fifo_sched || !domain || !covers_domain(p, tctx, row, home))
		return -EBUSY;
	many = many_wait(domain);
	take_charged_weight(tctx, row);
	vruntime = vruntime_under(tctx, home);
	due = is_due(tctx, &domain->clock, vruntime);
	/* Wakers and those they wake: let them run in turn, and find more to do each time. */
	if (many && !due && !nr_computing(domain))
		return -EBUSY;
	key = vruntime + request_vtime(tctx);
	first = nr_open(domain) ? __COMPAT_scx_bpf_dsq_peek(DOMAIN_DSQ(home)) : NULL;
	other = first ? task_ctx_of(first) : NULL;
	first_computes = other && computes(burst_of(other));
	goes_first = !first || time_before(key, first->scx.dsq_vtime);
	if (!goes_first && other && !first_computes) {
		fetch_first(home, other, first->scx.dsq_vtime, many, now);
		return -EBUSY;
	}
	if (!due && (!goes_first || (many && !first_computes)))
		return -EBUSY;
	victim.any_above_ns = victims_above_ns(due, many);
	if (!find_victim(home, scx_bpf_task_cpu(p), key, now, &victim))
		return -EBUSY;
	return claim(&victim, is_brief(tctx->burst_ns)) ? (s32)victim.cpu : -EBUSY;
}

/* Whether the task that runs on @cpu is behind one with @key by more than @margin_ns. */
static __always_inline bool should_make_way(const struct ballast_cpu *cpu, u64 key, u64 margin_ns,
					    u64 now)
{
	u64 seen = cpu->running_key;

	return seen && time_before(key + margin_ns, running_key_at(cpu, seen, now));
}

/*
 * Whether @tctx, confined to @cpu, is due, and the task that runs there computes and may be passed:
 * as a mate if that is confined too, else for its party.
 */
static __always_inline bool is_due_on(const struct ballast_cpu *cpu, const struct task_ctx *tctx,
				      u64 now)
{
	struct ballast_domain *domain = domain_at(cpu->domain);
	u64 seen = cpu->running_key;

	if (!domain || !seen || !computes(cpu->running_burst_ns))
		return false;
	if (cpu->party_runs)
		return is_due(tctx, &cpu->clock, tctx->vruntime) &&
		       !is_owed_more(running_mate_key_at(cpu, now), queue_key(tctx, now),
				     party_may_pass(tctx));
	return is_due_of_party(tctx, cpu, domain) &&
	       !is_owed_more(running_key_at(cpu, seen, now), confined_key(cpu, request_ns(tctx), 0),
			     party_may_pass(tctx));
}

/*
 * Whether @tctx, confined to @cpu, comes before the task that runs there by more than @margin_ns:
 * as a mate if that is confined too, else for its party.
 */
static __always_inline bool comes_before_running(const struct ballast_cpu *cpu,
						 const struct task_ctx *tctx, u64 margin_ns,
						 u64 now)
{
	if (!cpu->party_runs)
		return should_make_way(cpu, confined_key(cpu, request_ns(tctx), 0), margin_ns, now);
	return cpu->running_key &&
	       time_before(queue_key(tctx, now) + margin_ns, running_mate_key_at(cpu, now));
}

/* Whether @tctx, confined to @cpu, should run there before the task that does. */
static __always_inline bool should_run_before(const struct ballast_cpu *cpu,
					      const struct task_ctx *tctx, u64 margin_ns, u64 now)
{
	return is_due_on(cpu, tctx, now) || comes_before_running(cpu, tctx, margin_ns, now);
}

/* The same at a wake-up. */
static __always_inline bool may_preempt_on(const struct task_ctx *tctx, u32 cpu_id, u64 now)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);

	if (!cpu || fifo_sched)
		return false;
	return should_run_before(cpu, tctx, preempt_margin_ns, now);
}

/* Whether the first that waits in the queue of @cpu_id computes. */
static __always_inline bool first_computes_on(u32 cpu_id)
{
	struct task_struct *first = __COMPAT_scx_bpf_dsq_peek(CPU_DSQ(cpu_id));
	struct task_ctx *tctx = first ? task_ctx_of(first) : NULL;

	return tctx && computes(burst_of(tctx));
}

/*
 * Claim @cpu_id, to which @tctx is confined, if that should run there next, though others may wait
 * in its queue, @waited_for. Whoever runs there queues again: more of the same party may wake
 * meanwhile, who have no other CPU.
 */
static __always_inline bool interrupt_for(const struct task_ctx *tctx, u32 cpu_id, bool waited_for,
					  u64 now)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	struct victim victim = {.cpu = cpu_id};
	struct ballast_domain *domain;
	u64 key;

	if (!cpu || cpu->domain >= nr_domains || fifo_sched)
		return false;
	victim.running_key = cpu->running_key;
	if (!victim.running_key)
		return false;
	if (is_due_on(cpu, tctx, now) && (!waited_for || first_computes_on(cpu_id)))
		return claim(&victim, false);
	/* Others of the party are awake: whose turn it is among them, dispatch knows. */
	if (cpu->confined_weight != tctx->confined_weight)
		return false;
	key = confined_key(cpu, request_ns(tctx), 0);
	if (!should_make_way(cpu, key, preempt_margin_ns, now))
		return false;
	domain = domain_at(cpu->domain);
	if (domain && may_hold_tasks(domain) && !key_before(key, head_key(DOMAIN_DSQ(cpu->domain))))
		return false;
	return claim(&victim, false);
}

/* The first in @dsq does not compute, and the task that runs on @cpu is behind it by @margin_ns. */
static __always_inline bool is_overdue(u64 dsq, const struct ballast_cpu *cpu, bool confined,
				       u64 margin_ns, u64 now)
{
	struct task_struct *p = __COMPAT_scx_bpf_dsq_peek(dsq);
	struct task_ctx *tctx = p ? task_ctx_of(p) : NULL;

	if (!tctx || computes(burst_of(tctx)))
		return false;
	if (confined)
		return should_run_before(cpu, tctx, margin_ns, now);
	return should_make_way(cpu, p->scx.dsq_vtime, margin_ns, now);
}

/* Whether there is such a one in the CPU's queue or the domain's. */
static __always_inline bool somebody_is_overdue(u32 cpu_id, const struct ballast_cpu *cpu,
						const struct ballast_domain *domain, u64 margin_ns,
						u64 now)
{
	s32 waiting;

	if (is_waited_for(cpu_id, cpu) && is_overdue(CPU_DSQ(cpu_id), cpu, true, margin_ns, now))
		return true;
	/* If all that wait compute, nobody is; among many that are no hogs, turns come soon. */
	waiting = nr_open(domain) + domain->nr_aside - domain->nr_hogs;
	return nr_open(domain) > nr_computing(domain) && waiting <= (s32)domain->nr_online &&
	       is_overdue(DOMAIN_DSQ(cpu->domain), cpu, false, margin_ns, now);
}

/*
 * @tctx, which computes, goes on after an interruption: somebody brief may have queued
 * meanwhile for whom no CPU was free. By the queue that one would go first, but among messages
 * switches cost more than waiting.
 */
static __always_inline void make_way(const struct task_ctx *tctx, u32 cpu_id,
				     const struct ballast_cpu *cpu, u64 now)
{
	u64 margin_ns = is_hog(burst_of(tctx)) ? 0 : preempt_margin_ns;
	struct ballast_domain *domain;

	if (!tctx->slice_used_ns || !computes(burst_of(tctx)) || fifo_sched)
		return;
	domain = domain_at(cpu->domain);
	if (domain && somebody_is_overdue(cpu_id, cpu, domain, margin_ns, now))
		scx_bpf_kick_cpu(cpu_id, SCX_KICK_PREEMPT);
}

/*
 * At a tick: end the slice of @p, which runs, if somebody brief is overdue, who would
 * else wait for its end.
 */
static __always_inline void yield_to_brief(struct task_struct *p, u32 cpu_id,
					   const struct ballast_cpu *cpu,
					   const struct ballast_domain *domain, u64 now)
{
	if (fifo_sched || is_let_be(cpu, elapsed_ns(cpu->running_since_ns, now)))
		return;
	if (somebody_is_overdue(cpu_id, cpu, domain, preempt_margin_ns, now))
		scx_bpf_task_set_slice(p, 0);
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

#endif /* BALLAST_PREEMPT_BPF_H */
