/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * queue.bpf.h owns which queue a runnable task waits in, and which waiting task
 * a CPU takes from its own queues. It must never look beyond the CPU's domain:
 * that is steal.bpf.h.
 *
 * A task that may use every CPU of its domain waits in the domain's queue. Any
 * other waits in the queue of one CPU: in a shared queue it would hold up, or be
 * passed over by, CPUs that may not run it, until the watchdog bites.
 *
 * The tasks confined to a CPU compete with the domain's as one: see party.bpf.h.
 */
#ifndef BALLAST_QUEUE_BPF_H
#define BALLAST_QUEUE_BPF_H

#include "move.bpf.h"
#include "party.bpf.h"
#include "vtime.bpf.h"

#define NO_KEY (~0ULL >> 1)
/* Further than any two keys are apart. */
#define FAR_AHEAD (NO_KEY >> 1)

/* CPUs of a domain looked at: more than share one queue, unless a user says so. */
#define DOMAIN_SCAN_MAX 64

/*
 * Tasks at the front of a queue among which a CPU looks for one of its own: each takes the
 * lock of the queue, a dozen about as long as what is saved.
 */
#define NEAR_SCAN 12
/* For about so long may others go before the first of a queue. */
#define NEAR_NS (100ULL * 1000 * 1000)

/* @tctx waits no longer where only some CPUs look for it. */
static __always_inline void leave_aside(struct task_ctx *tctx)
{
	struct ballast_domain *domain;

	if (!tctx->aside_domain)
		return;
	domain = domain_at(tctx->aside_domain - 1);
	if (domain)
		__sync_fetch_and_sub(&domain->nr_aside, 1);
	tctx->aside_domain = 0;
}

/* One that computes, in nr_open. */
#define ONE_COMPUTING (1ULL << BALLAST_COMPUTING_SHIFT)

/*
 * About how many wait in @domain's queue: some may be on their way out of it. To ask the
 * kernel takes a search.
 */
static __always_inline u32 nr_open(const struct ballast_domain *domain)
{
	return domain->queued_since_ns ? domain->nr_open : 0;
}

/*
 * Whether somebody may wait in @domain's queue. False is certain: a task is counted before it
 * queues there, or is moved there, and until it runs. That a count is seen before what follows
 * it is so on x86, where additions are ordered.
 */
static __always_inline bool may_hold_tasks(const struct ballast_domain *domain)
{
	return (u32)domain->nr_open;
}

/* Of those, how many compute. */
static __always_inline u32 nr_computing(const struct ballast_domain *domain)
{
	return domain->nr_open >> BALLAST_COMPUTING_SHIFT;
}

/* Count one like @open_in in @domain_id, or count it no longer. */
static __always_inline void count_open(u32 domain_id, u64 open_in, bool joins)
{
	u64 amount = 1 + (open_in & OPEN_COMPUTES ? ONE_COMPUTING : 0);
	struct ballast_domain *domain = domain_at(domain_id);

	if (!domain)
		return;
	__sync_fetch_and_add(&domain->nr_open, joins ? amount : -amount);
	if (open_in & OPEN_IS_HOG)
		__sync_fetch_and_add(&domain->nr_hogs, joins ? 1 : -1);
}

/* The domain that @open_in counts one in as well, since it was to be moved there, + 1. */
static __always_inline u32 moved_in(u64 open_in)
{
	return (open_in >> OPEN_MOVED_SHIFT) & OPEN_DOMAIN;
}

/* @tctx waits no longer in a domain's queue. */
static __always_inline void leave_open(struct task_ctx *tctx)
{
	struct ballast_cpu *cpu;
	u64 open_in;

	if (tctx->near_cpu) {
		cpu = cpu_at(tctx->near_cpu - 1);
		if (cpu)
			__sync_fetch_and_sub(&cpu->nr_near, 1);
		tctx->near_cpu = 0;
	}
	if (tctx->open_in) {
		/* Somebody may be about to move it. */
		open_in = __sync_lock_test_and_set(&tctx->open_in, 0);
		if (open_in)
			count_open((open_in & OPEN_DOMAIN) - 1, open_in, false);
		if (moved_in(open_in))
			count_open(moved_in(open_in) - 1, open_in, false);
	}
}

/*
 * @tctx, which @cpu_id is the CPU of, is about to wait in @domain_id's queue. It stays
 * counted until it runs, whoever takes it or moves it on.
 */
static __always_inline void join_open(struct task_ctx *tctx, u32 cpu_id, u32 domain_id)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	u64 burst_ns = burst_of(tctx);
	u64 open_in = domain_id + 1;

	if (cpu && cpu->domain == domain_id) {
		__sync_fetch_and_add(&cpu->nr_near, 1);
		tctx->near_cpu = cpu_id + 1;
	}
	if (computes(burst_ns))
		open_in |= OPEN_COMPUTES;
	if (is_hog(burst_ns))
		open_in |= OPEN_IS_HOG;
	count_open(domain_id, open_in, true);
	tctx->open_in = open_in;
}

/*
 * @tctx, which waits in a domain's queue, is about to be moved to that of @domain_id: count it
 * there too. Where it was it stays counted: the move may fail, if it has been taken or has
 * queued anew meanwhile. False if it waits no longer, or is being moved elsewhere.
 */
static __noinline bool join_moved(struct task_ctx *tctx, u32 domain_id)
{
	u64 open_in = *(volatile u64 *)&tctx->open_in;
	u64 moved = open_in | (u64)(domain_id + 1) << OPEN_MOVED_SHIFT;

	if ((open_in & OPEN_DOMAIN) == domain_id + 1 || moved_in(open_in) == domain_id + 1)
		return true;
	if (!open_in || moved_in(open_in))
		return false;
	count_open(domain_id, open_in, true);
	if (__sync_val_compare_and_swap(&tctx->open_in, open_in, moved) == open_in)
		return true;
	count_open(domain_id, open_in, false);
	return false;
}

/* @tctx waits no longer. */
static __always_inline void leave_counts(struct task_ctx *tctx)
{
	leave_aside(tctx);
	leave_open(tctx);
}

/* @tctx is about to wait in the queue of a CPU of @domain_id, whose siblings may take it. */
static __always_inline void join_aside(struct task_ctx *tctx, u32 domain_id, u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);

	if (!domain)
		return;
	domain->joined_aside_ns = now;
	__sync_fetch_and_add(&domain->nr_aside, 1);
	tctx->aside_domain = domain_id + 1;
}

static __always_inline bool covers_domain(const struct task_struct *p, const struct task_ctx *tctx,
					  const struct ballast_row *row, u32 domain)
{
	/* A CPU that has come online since is in the domain's mask. */
	bool known = tctx->hotplug_seen == hotplug_count;
	struct bpf_cpumask *mask;

	if (known && domain == tctx->domain)
		return tctx->whole_domain;
	if (known && row && (row->flags & BALLAST_ROW_ANYWHERE))
		return true;
	mask = domain_mask(domain);
	return mask && bpf_cpumask_subset(cast_mask(mask), p->cpus_ptr);
}

/* The CPU in whose queue @p is to wait when it may not use all of @domain. */
static __always_inline s32 confined_cpu_of(struct task_struct *p, u32 domain, bool fixed)
{
	s32 cpu = scx_bpf_task_cpu(p);
	struct ballast_cpu *own = cpu_at(cpu);
	struct bpf_cpumask *mask;
	u32 other;

	if (fixed)
		return cpu;
	if (own && own->domain == domain && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
	    !scx_bpf_dsq_nr_queued(CPU_DSQ(cpu)))
		return cpu;
	mask = domain_mask(domain);
	if (mask) {
		other = bpf_cpumask_any_and_distribute(cast_mask(mask), p->cpus_ptr);
		if (other < nr_cpu_ids)
			return other;
	}
	mask = machine_mask();
	if (mask) {
		other = bpf_cpumask_any_and_distribute(cast_mask(mask), p->cpus_ptr);
		if (other < nr_cpu_ids)
			return other;
	}
	return cpu;
}

static __always_inline void insert_confined(struct task_struct *p, struct task_ctx *tctx,
					    s32 cpu_id, bool fixed, u64 now, u64 enq_flags)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);

	join_confined(tctx, cpu_id);
	switch_clock(tctx, CLOCK_OF_CPU | cpu_id);
	leave_counts(tctx);
	if (cpu && !fixed)
		join_aside(tctx, cpu->domain, now);
	tctx->queued = true;
	scx_bpf_dsq_insert_vtime(p, CPU_DSQ(cpu_id), slice_ns, queue_key(tctx, now), enq_flags);
}

/*
 * A task is about to wait in @domain_id's queue. If the queue is empty its age
 * begins now: whoever took the last task need not have looked again.
 */
static __always_inline void note_arrival(u32 domain_id, u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);

	if (!domain)
		return;
	/* The one that arrives is counted already. */
	if (!domain->queued_since_ns || (u32)domain->nr_open <= 1 ||
	    !scx_bpf_dsq_nr_queued(DOMAIN_DSQ(domain_id)))
		domain->queued_since_ns = now ?: 1;
}

/* Let @p, which may use all of @domain_id, wait in its queue. */
static __always_inline void insert_open(struct task_struct *p, struct task_ctx *tctx, u32 domain_id,
					u64 now, u64 enq_flags)
{
	leave_counts(tctx);
	leave_confined(tctx);
	switch_clock(tctx, domain_id);
	join_open(tctx, scx_bpf_task_cpu(p), domain_id);
	tctx->queued = true;
	note_arrival(domain_id, now);
	scx_bpf_dsq_insert_vtime(p, DOMAIN_DSQ(domain_id), slice_ns, queue_key(tctx, now),
				 enq_flags);
}

/*
 * More wait in @domain than CPUs are there: whoever goes first, most wait on, and switches
 * only cost.
 */
static __always_inline bool many_wait(const struct ballast_domain *domain)
{
	return nr_open(domain) + domain->nr_aside > domain->nr_online;
}

/* The key of @p, which waits; NO_KEY if there is none. */
static __always_inline u64 key_of(const struct task_struct *p)
{
	return p ? p->scx.dsq_vtime : NO_KEY;
}

/* The key of the first task in @dsq, NO_KEY if it is empty. */
static __always_inline u64 head_key(u64 dsq)
{
	return key_of(__COMPAT_scx_bpf_dsq_peek(dsq));
}

static __always_inline bool key_before(u64 a, u64 b)
{
	if (b == NO_KEY)
		return a != NO_KEY;
	return a != NO_KEY && time_before(a, b);
}

/*
 * One that computes makes way for one that is due although it is owed more: by so much at most.
 * A clock goes with those that are ahead: were this not bounded, many that are brief could take
 * more than their part, and a hog, whose claim is bounded, would lose it.
 */
static __always_inline u64 open_may_pass(void)
{
	return 2 * slice_ns;
}

/* The same for one confined to a CPU: it has no other, and takes next to nothing if it is light. */
static __always_inline u64 party_may_pass(const struct task_ctx *tctx)
{
	return is_light(tctx) ? FAR_AHEAD : open_may_pass();
}

/* Whether one that computes, with @key, is owed more than may be passed by one with @due_key. */
static __always_inline bool is_owed_more(u64 key, u64 due_key, u64 may_pass)
{
	return key != NO_KEY && due_key != NO_KEY && time_before(key, due_key - may_pass);
}

/* The keys at the heads of a CPU's queues: NO_KEY where nobody waits. */
struct own_queues {
	/* of the domain's queue: 0 if it was not needed */
	u64 open_key;
	u64 cpu_key;
	/* the first of the domain's is due: false if nobody who computes may go on */
	bool open_is_due;
	/* what the first of the CPU's queue requests, if there is a cpu_key */
	u64 cpu_request_ns;
	/* that one is due among those confined to the CPU */
	bool mate_is_due;
	/* and so are those together */
	bool party_is_due;
	/* and may pass one that is owed so much more */
	u64 party_may_pass;
};

/* Whether somebody waits in @cpu_id's own queue: whoever does weighs something. */
static __always_inline bool is_waited_for(s32 cpu_id, const struct ballast_cpu *cpu)
{
	return cpu->confined_weight && scx_bpf_dsq_nr_queued(CPU_DSQ(cpu_id)) > 0;
}

/* Whether somebody waits in a queue that @cpu_id, of @domain, serves. */
static __always_inline bool somebody_waits_for(s32 cpu_id, const struct ballast_cpu *cpu,
					       const struct ballast_domain *domain)
{
	return is_waited_for(cpu_id, cpu) ||
	       (may_hold_tasks(domain) && scx_bpf_dsq_nr_queued(DOMAIN_DSQ(cpu->domain)) > 0);
}

/*
 * Whether @tctx, of those confined to @cpu, of @domain, is due there: as they are together, and
 * as it is among them, if others are awake.
 */
static __always_inline bool is_due_of_party(const struct task_ctx *tctx,
					    const struct ballast_cpu *cpu,
					    const struct ballast_domain *domain)
{
	return is_due(tctx, &domain->clock, cpu->confined_vtime) &&
	       (cpu->confined_weight == tctx->confined_weight ||
		is_due(tctx, &cpu->clock, tctx->vruntime));
}

/*
 * Look at @cpu_id's queues. Before dsq_peek a head is read under the queue's lock, so
 * their keys are read only if there is something to compare: with the other's, or with
 * @prev, a task that may go on. If there is not, one of the domain's is taken unseen.
 */
static __always_inline void look(struct own_queues *keys, s32 cpu_id, const struct ballast_cpu *cpu,
				 const struct ballast_domain *domain, const struct task_ctx *prev)
{
	bool cpu_waits = is_waited_for(cpu_id, cpu);
	struct task_struct *p;
	struct task_ctx *tctx;

	keys->open_is_due = false;
	if (!may_hold_tasks(domain)) {
		keys->open_key = NO_KEY;
	} else if (!cpu_waits && !prev) {
		keys->open_key = 0;
	} else {
		p = __COMPAT_scx_bpf_dsq_peek(DOMAIN_DSQ(cpu->domain));
		keys->open_key = key_of(p);
		tctx = p && prev && computes(burst_of(prev)) ? task_ctx_of(p) : NULL;
		keys->open_is_due = tctx && is_due(tctx, &domain->clock, tctx->vruntime);
	}
	keys->cpu_key = NO_KEY;
	keys->cpu_request_ns = slice_ns;
	keys->mate_is_due = false;
	keys->party_is_due = false;
	keys->party_may_pass = 0;
	if (!cpu_waits)
		return;
	if (!prev && keys->open_key == NO_KEY) {
		keys->cpu_key = 0;
		return;
	}
	p = __COMPAT_scx_bpf_dsq_peek(CPU_DSQ(cpu_id));
	if (!p)
		return;
	keys->cpu_key = p->scx.dsq_vtime;
	tctx = task_ctx_of(p);
	if (!tctx)
		return;
	keys->cpu_request_ns = request_ns(tctx);
	keys->mate_is_due = is_due(tctx, &cpu->clock, tctx->vruntime);
	keys->party_is_due = is_due_of_party(tctx, cpu, domain);
	keys->party_may_pass = party_may_pass(tctx);
}

/* Whether one with @key stays before one with @other_key, which may pass so much if it is @due. */
static __always_inline bool stays_before(u64 key, u64 other_key, bool due, u64 may_pass)
{
	return due ? is_owed_more(key, other_key, may_pass) : key_before(key, other_key);
}

/* The key that @tctx, which begins to run on @cpu, has there: never 0. */
static __always_inline u64 running_key_of(const struct task_ctx *tctx,
					  const struct ballast_cpu *cpu, u64 now)
{
	u64 key = tctx->confined_cpu ? confined_key(cpu, request_ns(tctx), 0) :
				       queue_key(tctx, now);

	return key ?: 1;
}

/*
 * What has become of @key, which the task that runs on @cpu had when it began. The
 * caller has read it once: it is 0, and means nothing, when nobody runs there.
 */
static __always_inline u64 running_key_at(const struct ballast_cpu *cpu, u64 key, u64 now)
{
	return key + to_vtime(elapsed_ns(cpu->running_since_ns, now), cpu->running_weight);
}

/* Likewise of the key that one confined to @cpu, which runs there, has among its mates. */
static __always_inline u64 running_mate_key_at(const struct ballast_cpu *cpu, u64 now)
{
	return cpu->running_mate_key +
	       to_vtime(elapsed_ns(cpu->running_since_ns, now), cpu->running_mate_weight);
}

/*
 * Whether another CPU of @domain than @cpu_id idles, or runs one of no party that comes after
 * @key. Who may use both, and comes before either, does not keep one confined to @cpu_id waiting:
 * as a rule it is next there.
 */
static __noinline bool others_come_after(const struct ballast_domain *domain, u32 cpu_id, u64 key,
					 u64 now)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	u64 running_key;
	u32 i, other;

	/* The one that makes way is sent to a CPU that idles. This one counts as such for a while. */
	if (domain->nr_idle > (cpu && cpu->idle_since_ns ? 1 : 0))
		return true;
	bpf_for(i, 0, DOMAIN_SCAN_MAX) {
		other = nth_cpu(domain, i);
		if (other == BALLAST_NONE)
			break;
		cpu = other == cpu_id ? NULL : cpu_at(other);
		running_key = cpu && !cpu->party_runs ? cpu->running_key : 0;
		if (running_key && time_before(key, running_key_at(cpu, running_key, now)))
			return true;
	}
	return false;
}

/*
 * Where @p is to wait, which wakes and may use some CPUs of @domain_id, none of them idle: on
 * @known_cpu if it comes before the task that runs there, by the margin, else on the one whose task
 * comes last. Who waits there already is not asked: to keep from those did worse.
 */
static __noinline s32 least_owed_cpu(struct task_struct *p __arg_trusted,
				     const struct task_ctx *tctx, u32 domain_id, s32 known_cpu,
				     u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);
	u64 key = vruntime_under(tctx, domain_id) + request_vtime(tctx) + preempt_margin_ns;
	u64 running_key, last_key = 0;
	u32 i, cpu_id, last = known_cpu;
	struct ballast_cpu *cpu;

	if (!domain || fifo_sched)
		return known_cpu;
	bpf_for(i, 0, DOMAIN_SCAN_MAX) {
		cpu_id = nth_cpu(domain, i);
		if (cpu_id == BALLAST_NONE)
			break;
		cpu = bpf_cpumask_test_cpu(cpu_id, p->cpus_ptr) ? cpu_at(cpu_id) : NULL;
		running_key = cpu ? cpu->running_key : 0;
		if (!running_key)
			continue;
		running_key = running_key_at(cpu, running_key, now);
		if (cpu_id == known_cpu && time_before(key, running_key))
			return known_cpu;
		if (!last_key || time_before(last_key, running_key)) {
			last_key = running_key;
			last = cpu_id;
		}
	}
	return last;
}

/*
 * May the running @prev, its slice used up, go on? Only if it would be first
 * again: taking the head of the queue without asking would cost a task of high
 * weight a whole slice of somebody else's at each turn. Of two whose lag is bounded
 * alike, who waits goes first.
 */
static __always_inline bool prev_goes_first(const struct task_ctx *tctx, u32 cpu_id,
					    const struct ballast_cpu *cpu,
					    const struct ballast_domain *domain,
					    const struct own_queues *keys, u64 now)
{
	u64 ran_ns = elapsed_ns(tctx->run_since_ns, now);
	struct ballast_clock *clock;
	u64 key, party_key;

	if (keys->open_key == NO_KEY && keys->cpu_key == NO_KEY)
		return true;
	if (fifo_sched)
		return false;

	/* Its lag is bounded here too, as if it queued: those it competes with had
	 * theirs bounded when they did. */
	key = tctx->vruntime + to_vtime(ran_ns, tctx->weight);
	clock = clock_at(tctx->clock);
	if (clock)
		key = clamp_vruntime(clock, key, tctx);
	key += request_vtime(tctx);
	if (tctx->confined_cpu) {
		party_key = confined_key(cpu, request_ns(tctx), ran_ns);
		return stays_before(key, keys->cpu_key,
				    computes(burst_of(tctx)) && keys->mate_is_due,
				    keys->party_may_pass) &&
		       stays_before(party_key, keys->open_key, keys->open_is_due, open_may_pass());
	}
	if (!stays_before(key, keys->open_key, keys->open_is_due, open_may_pass()))
		return false;
	if (keys->cpu_key == NO_KEY)
		return true;
	party_key = confined_key(cpu, keys->cpu_request_ns, 0);
	return stays_before(key, party_key, computes(burst_of(tctx)) && keys->party_is_due,
			    keys->party_may_pass) &&
	       !others_come_after(domain, cpu_id, party_key, now);
}

/*
 * The least vruntime of those that run in @domain, or only of those of no party, @open; NO_KEY if
 * nobody does. It is made from keys, which are one request ahead, a slice at most: it may be a
 * slice less.
 */
static __always_inline u64 least_running(const struct ballast_domain *domain, bool open, u64 now)
{
	u64 least = NO_KEY, key;
	struct ballast_cpu *cpu;
	u32 i, cpu_id;

	bpf_for(i, 0, DOMAIN_SCAN_MAX) {
		cpu_id = nth_cpu(domain, i);
		if (cpu_id == BALLAST_NONE)
			break;
		cpu = cpu_at(cpu_id);
		key = cpu ? cpu->running_key : 0;
		if (!key || (open && cpu->party_runs))
			continue;
		key = running_key_at(cpu, key, now) - slice_ns;
		if (key_before(key, least))
			least = key;
	}
	return least;
}

/*
 * Nobody who waits is behind @vtime, so clock @id may move there. Of a domain's,
 * those that run may be further behind: a light task leaps ahead by seconds, and the
 * clock must not take their lag with it. Most may be further behind than two slices, so
 * that a shorter way is not worth a look at every CPU. A @party, whose steps are as long as it
 * weighs little, never moves the clock past one that runs and is of no party.
 */
static __noinline void advance(u32 id, u64 vtime, bool party, u64 now)
{
	struct ballast_clock *clock = clock_at(id);
	struct ballast_domain *domain;
	u64 least;

	if (!clock)
		return;
	if (!(id & CLOCK_OF_CPU) && !fifo_sched &&
	    time_before(clock->vtime + (party ? 0 : 2 * slice_ns), vtime)) {
		domain = domain_at(id);
		least = domain ? least_running(domain, party, now) : NO_KEY;
		if (key_before(least, vtime))
			vtime = least;
	}
	clock_advance(clock, vtime, now);
}

/* The clocks go on to @tctx, whose turn begins on @cpu, and to its party. */
static __always_inline void advance_clocks(const struct task_ctx *tctx,
					   const struct ballast_cpu *cpu, u64 now)
{
	advance(tctx->clock, tctx->vruntime, false, now);
	if (tctx->confined_cpu)
		advance(cpu->domain, cpu->confined_vtime, true, now);
}

/*
 * How far behind the first in its domain's queue one may be that is taken before it: four
 * slices, as some messages take, but no further than the clock goes in NEAR_NS, so that
 * nobody waits long for it where weights make the clock slow.
 */
static __always_inline u64 near_window(const struct ballast_clock *clock)
{
	return min_u64(4 * slice_ns, clock->rate * (NEAR_NS >> 10));
}

/*
 * Is it this CPU that is to have a task? Under core scheduling one asks for its siblings too,
 * and scx_bpf_dsq_move would take locks that are held.
 */
static __always_inline bool is_this_cpu(s32 cpu_id)
{
	return likely(bpf_get_smp_processor_id() == (u32)cpu_id);
}

/*
 * Take the first brief task of @cpu_id from the front of its domain's queue, if it is not
 * much behind the very first: to fetch another CPU's takes both run queues' locks, and costs
 * several times what a short turn does. Only where many wait, so that nobody's turn is
 * near, and no hogs do: there order is what shares are made of.
 */
static __always_inline bool take_near(s32 cpu_id, const struct ballast_cpu *cpu,
				      const struct ballast_domain *domain)
{
	u64 dsq = DOMAIN_DSQ(cpu->domain), last_key = 0;
	struct task_struct *p;
	struct task_ctx *tctx;
	bool taken = false;
	u32 seen = 0;

	if (fifo_sched || domain->nr_hogs || !cpu->nr_near || !many_wait(domain))
		return false;
	if (!is_this_cpu(cpu_id))
		return false;
	/* If its own are few among them, as a rule none is near the front. */
	if (cpu->nr_near * NEAR_SCAN < nr_open(domain))
		return false;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (!seen)
			last_key = p->scx.dsq_vtime + near_window(&domain->clock);
		if (time_before(last_key, p->scx.dsq_vtime))
			break;
		tctx = scx_bpf_task_cpu(p) == cpu_id ? task_ctx_of(p) : NULL;
		if (tctx && !computes(burst_of(tctx))) {
			/* This CPU holds the lock of its run queue. */
			tctx->out_of_turn = seen > 0;
			taken = scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL, 0);
			break;
		}
		if (++seen == NEAR_SCAN)
			break;
	}
	return taken;
}

static __always_inline bool take_open(s32 cpu_id, const struct ballast_cpu *cpu,
				      const struct ballast_domain *domain)
{
	if (!may_hold_tasks(domain))
		return false;
	if (!take_near(cpu_id, cpu, domain) &&
	    !scx_bpf_dsq_move_to_local(DOMAIN_DSQ(cpu->domain), 0))
		return false;
	count(BALLAST_STAT_DISPATCH_DOMAIN);
	return true;
}

static __always_inline bool take_confined(s32 cpu_id, const struct own_queues *keys)
{
	if (keys->cpu_key == NO_KEY || !scx_bpf_dsq_move_to_local(CPU_DSQ(cpu_id), 0))
		return false;
	count(BALLAST_STAT_DISPATCH_CPU);
	return true;
}

/* Take a task from the one of @cpu_id's own queues whose first comes first. */
static __always_inline bool take_own(s32 cpu_id, const struct ballast_cpu *cpu,
				     const struct ballast_domain *domain,
				     const struct own_queues *keys, u64 now)
{
	bool confined_first;
	u64 party_key;

	if (keys->open_key == NO_KEY)
		confined_first = true;
	else if (keys->cpu_key == NO_KEY)
		confined_first = false;
	else if (fifo_sched)
		confined_first = key_before(keys->cpu_key, keys->open_key);
	else {
		party_key = confined_key(cpu, keys->cpu_request_ns, 0);
		confined_first = !stays_before(keys->open_key, party_key, keys->party_is_due,
					       keys->party_may_pass) ||
				 others_come_after(domain, cpu_id, party_key, now);
	}

	if (confined_first && take_confined(cpu_id, keys))
		return true;
	if (take_open(cpu_id, cpu, domain))
		return true;
	return !confined_first && take_confined(cpu_id, keys);
}

#endif /* BALLAST_QUEUE_BPF_H */
