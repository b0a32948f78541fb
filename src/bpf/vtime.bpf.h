/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vtime.bpf.h owns virtual time: clocks, vruntime, deadlines and the bounds of
 * lag. It must never look at CPUs' idleness or choose a queue.
 *
 * Each queue has a clock: the largest vruntime of a task that began to run from it in its
 * turn or found an idle CPU, but by no leap past those that run; or, for a domain's, of a party
 * (party.bpf.h), which never moves it past one that runs and is of no party. One that goes on
 * after an interruption does not move it: it may be far ahead of those that wait. A task's lag
 * is its distance behind that clock. When a task changes queue it keeps its lag, not
 * its vruntime, since two clocks have nothing in common.
 *
 * The deadline that orders a queue is vruntime + request / weight, the request
 * being the task's usual burst, so tasks that run briefly and often go first
 * among equals (EEVDF, Stoica and Abdel-Wahab 1995, without the eligibility
 * test: the request is bounded by one slice of a nice-0 task instead, which
 * bounds the same unfairness by one slice).
 */
#ifndef BALLAST_VTIME_BPF_H
#define BALLAST_VTIME_BPF_H

#include "types.bpf.h"

/* How often a clock's rate is measured: many slices, few per patience. */
#define RATE_WINDOW_NS (100ULL * 1000 * 1000)
/*
 * No task is put further ahead of its clock than the clock covers in this time,
 * however small its weight: the kernel ejects a scheduler that lets a task wait
 * for 30 s, and a clock can slow down after the task has queued.
 */
#define PATIENCE_NS (4ULL * 1000 * 1000 * 1000)
/*
 * What one that does not sleep may be behind its clock: as far as tasks of a third of its
 * weight take it in two turns, but no more than others can well wait for to be paid.
 */
#define OWED_SLICES 8
#define OWED_NS (100ULL * 1000 * 1000)

/*
 * CPU time without sleep that makes a hog: those that send each other messages may well
 * not sleep for 0.1 s when many of them compete.
 */
#define HOG_NS (500ULL * 1000 * 1000)

/* Below this a burst is noise of the clock and of wake-up itself. */
#define BURST_MIN_NS (100ULL * 1000)

/* The kernel's sched_prio_to_weight: nice -20 first. */
static const u32 nice_to_weight[40] = {
	88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916,
	9548,  7620,  6100,  4904,  3906,  3121,  2501,	 1991,	1586,  1277,
	1024,  820,   655,   526,   423,   335,	  272,	 215,	172,   137,
	110,   87,    70,    56,    45,	   36,	  29,	 23,	18,    15,
};
/* The kernel's WEIGHT_IDLEPRIO. */
#define WEIGHT_SCHED_IDLE 3
#define MAX_RT_PRIO 100

/* The exact weight of @p: the kernel's scx.weight rounds nice 19 by a third. */
static __always_inline u32 weight_of(const struct task_struct *p)
{
	u32 nice_index = p->static_prio - MAX_RT_PRIO;

	if (p->policy == BALLAST_SCHED_IDLE)
		return WEIGHT_SCHED_IDLE;
	if (nice_index >= 40)
		return BALLAST_WEIGHT_NICE0;
	return nice_to_weight[nice_index];
}

static __always_inline u64 to_vtime(u64 ns, u64 weight)
{
	return ns * BALLAST_WEIGHT_NICE0 / (weight ?: 1);
}

/* One slice in virtual time, for light tasks no more than for nice 0. */
static __always_inline u64 slice_vtime(u64 weight)
{
	return to_vtime(slice_ns, weight > BALLAST_WEIGHT_NICE0 ? weight : BALLAST_WEIGHT_NICE0);
}

static __always_inline struct ballast_clock *clock_at(u32 id)
{
	struct ballast_domain *domain;
	struct ballast_cpu *cpu;

	if (id & CLOCK_OF_CPU) {
		cpu = cpu_at(id & ~CLOCK_OF_CPU);
		return cpu ? &cpu->clock : NULL;
	}
	domain = domain_at(id);
	return domain ? &domain->clock : NULL;
}

/* Measure how fast @clock goes; whoever wins the race does it. */
static __always_inline void clock_measure(struct ballast_clock *clock, u64 now)
{
	u64 start = clock->window_ns;
	u64 span = elapsed_ns(start, now);
	u64 grown, rate;

	if (span < RATE_WINDOW_NS)
		return;
	if (__sync_val_compare_and_swap(&clock->window_ns, start, now) != start)
		return;
	grown = elapsed_ns(clock->window_vtime, clock->vtime);
	clock->window_vtime = clock->vtime;
	rate = (grown << 10) / span;
	/* A gap may have been idle or starved: believe the slower. */
	if (start && (span < 10 * RATE_WINDOW_NS || rate < clock->rate))
		clock->rate = rate;
}

/* The furthest ahead of @clock that its slowest task may queue. */
static __always_inline u64 furthest_ahead(const struct ballast_clock *clock)
{
	return clock->vtime + max_u64(clock->rate * (PATIENCE_NS >> 10), slice_ns);
}

static __always_inline void clock_advance(struct ballast_clock *clock, u64 vtime, u64 now)
{
	if (time_before(clock->vtime, vtime))
		clock->vtime = vtime;
	clock_measure(clock, now);
}

/* What whoever is charged by @weight may be behind a clock without having slept. */
static __always_inline u64 most_owed(u64 weight)
{
	return min_u64(OWED_SLICES * slice_ns, OWED_NS * BALLAST_WEIGHT_NICE0 / (weight ?: 1));
}

/*
 * How far behind its clock @tctx may be. One that slept banks two slices. One that has
 * run since is owed what it is behind by: the clock is moved by whoever begins to run,
 * light tasks in great steps, and who could not follow at once must not lose by it.
 */
static __always_inline u64 most_behind(const struct task_ctx *tctx)
{
	u64 banked = 2 * slice_vtime(tctx->weight);

	return tctx->ran_ns ? max_u64(banked, most_owed(tctx->weight)) : banked;
}

/* @vruntime, its distance to @clock bounded on both sides: behind it by @most. */
static __always_inline u64 bound_lag(const struct ballast_clock *clock, u64 vruntime, u64 most)
{
	u64 behind = clock->vtime - most;
	u64 ahead = furthest_ahead(clock);

	if (time_before(vruntime, behind))
		return behind;
	if (time_before(ahead, vruntime))
		return ahead;
	return vruntime;
}

/* @vruntime, were it that of @tctx, with its lag bounded. */
static __always_inline u64 clamp_vruntime(const struct ballast_clock *clock, u64 vruntime,
					  const struct task_ctx *tctx)
{
	return bound_lag(clock, vruntime, most_behind(tctx));
}

/* The longest tick: a turn ends at one. */
#define TICK_MAX_NS (10ULL * 1000 * 1000)

/*
 * How far ahead of its clock a task charged by @weight may come to another domain: by two
 * turns. Further ahead are those that long had what others left; elsewhere that may be
 * nothing, and they would wait until all there have had as much.
 */
static __always_inline u64 most_ahead_elsewhere(u32 weight)
{
	return max_u64(OWED_SLICES * slice_ns, 2 * to_vtime(slice_ns + TICK_MAX_NS, weight));
}

/*
 * @tctx had a CPU that nobody else wanted: what it had without competition it owes
 * nobody, but for a slice.
 */
static __always_inline void forgive(struct task_ctx *tctx, const struct ballast_clock *clock)
{
	u64 ahead = clock->vtime + slice_vtime(tctx->weight);

	if (time_before(ahead, tctx->vruntime))
		tctx->vruntime = ahead;
}

/*
 * @vruntime under @clock for who weighed @from and now weighs @to. What it is ahead was had as CPU
 * time: in virtual time that is worth as much less as it weighs more, or one that was light for a
 * while would wait for seconds once it is not.
 */
static __always_inline u64 reweigh(const struct ballast_clock *clock, u64 vruntime, u32 from,
				   u32 to)
{
	if (!from || !to || !time_before(clock->vtime, vruntime))
		return vruntime;
	return clock->vtime + (vruntime - clock->vtime) * from / to;
}

/*
 * @tctx's vruntime as it would be under clock @id, with the same lag. The lag of one that is
 * confined to a CPU, among those of the domain, is that of its standing: it must have left its
 * party, or that lacks party_shift().
 */
static __always_inline u64 vruntime_under(const struct task_ctx *tctx, u32 id)
{
	u64 vruntime = tctx->vruntime, ahead;
	struct ballast_clock *from, *to;
	u32 clock = tctx->clock;

	to = clock_at(id);
	if (!to)
		return vruntime;
	if ((clock & CLOCK_OF_CPU) && !(id & CLOCK_OF_CPU) && tctx->standing_domain) {
		clock = tctx->standing_domain - 1;
		from = clock_at(clock);
		vruntime =
			from ? reweigh(from, tctx->standing, tctx->confined_weight, tctx->weight) :
			       tctx->standing;
	}
	if (id != clock) {
		from = clock_at(clock);
		if (from)
			vruntime = to->vtime + (vruntime - from->vtime);
		if (!((id | clock) & CLOCK_OF_CPU)) {
			ahead = to->vtime + most_ahead_elsewhere(tctx->weight);
			if (time_before(ahead, vruntime))
				vruntime = ahead;
		}
	}
	return clamp_vruntime(to, vruntime, tctx);
}

static __always_inline void switch_clock(struct task_ctx *tctx, u32 id)
{
	tctx->vruntime = vruntime_under(tctx, id);
	tctx->clock = id;
	if (!(id & CLOCK_OF_CPU))
		tctx->standing_domain = 0;
}

/*
 * How long @tctx runs in one go: as a rule or, if that is more, this time. One that never
 * slept has no rule yet but the slice it was born under.
 */
static __always_inline u64 burst_of(const struct task_ctx *tctx)
{
	return max_u64(tctx->burst_ns, tctx->ran_ns);
}

/* Whether one that usually runs for @burst_ns in one go does so for a moment only. */
static __always_inline bool is_brief(u64 burst_ns)
{
	return burst_ns <= slice_ns / 5;
}

/*
 * Whether @tctx takes little, as a rule or the last time: an eighth of a CPU at most, for nice 0.
 * Either will do: one turn may be long by an interrupt, and the first may be all that is averaged.
 */
static __always_inline bool is_light(const struct task_ctx *tctx)
{
	u64 turn_ns = max_u64(min_u64(tctx->turn_ns, tctx->burst_ns), tctx->ran_ns);

	return to_vtime(8 * turn_ns, min_u64(tctx->weight, BALLAST_WEIGHT_NICE0)) <= tctx->cycle_ns;
}

/* Whether one that usually runs for @burst_ns in one go would use up its slices. */
static __always_inline bool computes(u64 burst_ns)
{
	return burst_ns > slice_ns / 2;
}

/* Whether one that has run for @burst_ns without sleeping will not sleep soon. */
static __always_inline bool is_hog(u64 burst_ns)
{
	return burst_ns > HOG_NS;
}

/* How long @tctx is expected to run once it is its turn. */
static __always_inline u64 request_ns(const struct task_ctx *tctx)
{
	return max_u64(min_u64(tctx->burst_ns, slice_ns), BURST_MIN_NS);
}

static __always_inline u64 request_vtime(const struct task_ctx *tctx)
{
	/*
	 * Being owed no more than a CPU is no reason to wait longer for it. But a
	 * task that is charged by more than its own weight is among such as have
	 * short requests: by its own it would come after all of them at each turn.
	 */
	u32 weight = tctx->own_weight > tctx->weight ? tctx->own_weight : tctx->weight;

	return to_vtime(request_ns(tctx),
			weight > BALLAST_WEIGHT_NICE0 ? weight : BALLAST_WEIGHT_NICE0);
}

/*
 * Whether @tctx, which stands at @vruntime under @clock, is due: it is brief, and a slice behind
 * the clock or more. Such a one goes before one that computes, though that is owed more, within
 * bounds: it takes a moment where the other takes slices.
 */
static __always_inline bool is_due(const struct task_ctx *tctx, const struct ballast_clock *clock,
				   u64 vruntime)
{
	return is_brief(burst_of(tctx)) &&
	       !time_before(clock->vtime - slice_vtime(tctx->weight), vruntime);
}

/* The key @tctx queues under, in terms of its present clock. */
static __always_inline u64 queue_key(const struct task_ctx *tctx, u64 now)
{
	/* FIFO: the key is the time of arrival, so one kind of queue serves both. */
	if (fifo_sched)
		return now;
	return tctx->vruntime + request_vtime(tctx);
}

/* Charge the time since the last charge; returns it. */
static __always_inline u64 charge(struct task_ctx *tctx, u64 now)
{
	u64 ran_ns = elapsed_ns(tctx->run_since_ns, now);

	tctx->run_since_ns = now;
	tctx->ran_ns += ran_ns;
	tctx->slice_used_ns += ran_ns;
	tctx->vruntime += to_vtime(ran_ns, tctx->weight);
	return ran_ns;
}

/*
 * The burst has ended: the task goes to sleep. Its first says more than what was
 * assumed before: a thread that waits for timers would else come late several times.
 */
static __always_inline void end_burst(struct task_ctx *tctx, u64 now)
{
	tctx->cycle_ns = tctx->slept ? elapsed_ns(tctx->slept_ns, now) : 0;
	tctx->turn_ns = tctx->ran_ns;
	tctx->slept_ns = now;
	tctx->burst_ns = tctx->slept ? (3 * tctx->burst_ns + tctx->ran_ns) / 4 : tctx->ran_ns;
	tctx->slept = true;
	tctx->ran_ns = 0;
	tctx->slice_used_ns = 0;
}

#endif /* BALLAST_VTIME_BPF_H */
