/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * party.bpf.h owns the standing, among the tasks of its domain, of those that are confined to
 * a CPU. It must never touch a queue.
 *
 * Among themselves, as mates, they take turns by the CPU's clock. With the domain's they compete
 * as one party, since one that can have no more than that CPU must not come before them for
 * ever. The party weighs what those of it weigh that are runnable, and its vruntime,
 * `confined_vtime`, is their average by weight: each has a standing of its own in the domain's
 * clock, brings it as it wakes and takes it along as it goes to sleep. So whoever sleeps leaves
 * nobody else what it was owed, and is owed it still, within the bounds that hold for all that
 * sleep.
 */
#ifndef BALLAST_PARTY_BPF_H
#define BALLAST_PARTY_BPF_H

#include "vtime.bpf.h"

/* How far an average over @total moves when one of @weight, @ahead of it, comes or goes. */
static __always_inline u64 part_of(u64 ahead, u64 weight, u64 total)
{
	bool behind = (s64)ahead < 0;
	u64 part = ((behind ? -ahead : ahead) * weight + total / 2) / (total ?: 1);

	return behind ? -part : part;
}

/* By how much bounds and forgiveness have moved the party, and with it those that are in it. */
static __always_inline u64 party_shift(const struct ballast_cpu *cpu)
{
	return cpu->confined_vtime - cpu->confined_mean;
}

/* Move the average of @cpu's party. Others may as well, of those that have a choice of CPUs. */
static __always_inline void move_party(struct ballast_cpu *cpu, u64 by)
{
	__sync_fetch_and_add(&cpu->confined_mean, by);
	__sync_fetch_and_add(&cpu->confined_vtime, by);
}

static __always_inline void leave_confined(struct task_ctx *tctx)
{
	struct ballast_cpu *cpu;
	u64 left;

	if (!tctx->confined_cpu)
		return;
	cpu = cpu_at(tctx->confined_cpu - 1);
	tctx->confined_cpu = 0;
	if (!cpu)
		return;
	left = __sync_fetch_and_sub(&cpu->confined_weight, tctx->confined_weight) -
	       tctx->confined_weight;
	tctx->standing += party_shift(cpu);
	if (left)
		move_party(cpu, -part_of(tctx->standing - cpu->confined_vtime,
					 tctx->confined_weight, left));
}

/* Count @tctx among the runnable tasks confined to @cpu. */
static __always_inline void join_confined(struct task_ctx *tctx, u32 cpu_id)
{
	struct ballast_cpu *cpu;
	u64 others;

	if (tctx->confined_cpu == cpu_id + 1 && tctx->confined_weight == tctx->weight)
		return;
	leave_confined(tctx);
	cpu = cpu_at(cpu_id);
	if (!cpu)
		return;
	tctx->standing = vruntime_under(tctx, cpu->domain);
	tctx->standing_domain = cpu->domain + 1;
	tctx->confined_cpu = cpu_id + 1;
	tctx->confined_weight = tctx->weight;
	/* Before others see that there is an average. */
	if (!cpu->confined_weight) {
		cpu->confined_mean = tctx->standing;
		cpu->confined_vtime = tctx->standing;
	}
	others = __sync_fetch_and_add(&cpu->confined_weight, tctx->weight);
	tctx->standing -= party_shift(cpu);
	move_party(cpu, part_of(tctx->standing - cpu->confined_mean, tctx->weight,
				others + tctx->weight));
}

/*
 * The key of the party of tasks confined to @cpu, in its domain's clock: the one whose
 * turn it is requests @request_ns, and has run for @running_ns.
 */
static __always_inline u64 confined_key(const struct ballast_cpu *cpu, u64 request_ns,
					u64 running_ns)
{
	u64 weight = cpu->confined_weight;

	return cpu->confined_vtime + to_vtime(running_ns, weight) +
	       to_vtime(request_ns, max_u64(weight, BALLAST_WEIGHT_NICE0));
}

/* Move the party alone, whose vruntime was @seen, so as not to undo what others do meanwhile. */
static __always_inline void shift_party(struct ballast_cpu *cpu, u64 seen, u64 to)
{
	if (to != seen)
		__sync_fetch_and_add(&cpu->confined_vtime, to - seen);
}

/* The party of tasks confined to @cpu is no further ahead than @ahead. */
static __always_inline void cap_party(struct ballast_cpu *cpu, u64 ahead)
{
	u64 seen = cpu->confined_vtime;

	if (time_before(ahead, seen))
		shift_party(cpu, seen, ahead);
}

/*
 * Those confined to @cpu had it while nobody else of @domain waited: that they owe nobody, but for
 * a slice and the turn that ends now.
 */
static __always_inline void forgive_party(struct ballast_cpu *cpu,
					  const struct ballast_domain *domain)
{
	cap_party(cpu, domain->clock.vtime + slice_vtime(cpu->confined_weight));
}

/* The party of tasks confined to @cpu, of @domain, may be no further ahead than any task. */
static __always_inline void bound_party_ahead(struct ballast_cpu *cpu,
					      const struct ballast_domain *domain)
{
	cap_party(cpu, furthest_ahead(&domain->clock));
}

/*
 * Charge the party for @ran_ns of one of its tasks. Only now may it be no further behind
 * than any task: bounded while it waits, it would go up with the clock, and those whose
 * keys stand would always come first.
 */
static __always_inline void charge_confined(struct task_ctx *tctx, u64 ran_ns)
{
	struct ballast_domain *domain;
	struct ballast_cpu *cpu;
	u64 most, seen;

	if (!tctx->confined_cpu)
		return;
	cpu = cpu_at(tctx->confined_cpu - 1);
	if (!cpu)
		return;
	tctx->standing += to_vtime(ran_ns, tctx->confined_weight);
	move_party(cpu, to_vtime(ran_ns, cpu->confined_weight));
	domain = domain_at(cpu->domain);
	most = max_u64(2 * slice_ns, most_owed(cpu->confined_weight));
	seen = cpu->confined_vtime;
	if (domain)
		shift_party(cpu, seen, bound_lag(&domain->clock, seen, most));
}

#endif /* BALLAST_PARTY_BPF_H */
