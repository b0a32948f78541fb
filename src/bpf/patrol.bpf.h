/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * patrol.bpf.h owns tasks that wait where they no longer should: in queues of
 * CPUs that do not come, or too far behind a clock that has slowed down since they
 * queued. It must never reorder tasks that are within their bounds.
 */
#ifndef BALLAST_PATROL_BPF_H
#define BALLAST_PATROL_BPF_H

#include "steal.bpf.h"

/* Often enough for bounds of seconds, rarely enough to cost nothing. */
#define PATROL_NS (1000ULL * 1000 * 1000)

/* Longer than any slice by default, far below what the watchdog allows. */
#define FORSAKEN_NS (2ULL * 1000 * 1000 * 1000)
/* Enough to hit another domain in almost any affinity; the next patrol tries again. */
#define REFUGE_TRIES 8

/*
 * The kernel no longer asks an offline CPU to dispatch, and waits until no task
 * is left on it: hand it those of its own queue, which it then pushes elsewhere.
 */
static __noinline void drain_cpu_queue(u32 cpu_id)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, CPU_DSQ(cpu_id), 0) {
		scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL_ON | cpu_id, 0);
	}
}

/*
 * A task has left @cpu_id. A CPU that goes offline waits until none is left on
 * it, but looks only when it schedules, and nothing makes it do so when another
 * CPU takes the last one out of a shared queue.
 */
static __always_inline void release_leaving_cpu(u32 cpu_id)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);

	if (cpu && cpu->domain < nr_domains && !(cpu->flags & BALLAST_CPU_ONLINE))
		scx_bpf_kick_cpu(cpu_id, 0);
}

/* A CPU outside @domain_id that @p may use, BALLAST_NONE if none was found. */
static __always_inline u32 refuge_of(struct task_struct *p, u32 domain_id)
{
	struct bpf_cpumask *online = machine_mask();
	struct ballast_cpu *cpu;
	u32 i, id;

	if (!online)
		return BALLAST_NONE;
	bpf_for(i, 0, REFUGE_TRIES) {
		id = bpf_cpumask_any_and_distribute(cast_mask(online), p->cpus_ptr);
		cpu = cpu_at(id);
		if (cpu && cpu->domain < nr_domains && cpu->domain != domain_id)
			return id;
	}
	return BALLAST_NONE;
}

/* No CPU of @domain looks for work: offline, leaving, or with a class above ours. */
static __always_inline bool is_forsaken(const struct ballast_domain *domain, u64 now)
{
	return !domain->nr_online ||
	       elapsed_ns(domain->looked_ns, now) > max_u64(FORSAKEN_NS, 2 * slice_ns);
}

/* Move the tasks that wait for a domain whose CPUs do not come elsewhere. */
static __noinline void evacuate_domain_queue(u32 domain_id, u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);
	struct task_struct *p;
	struct task_ctx *tctx;
	struct ballast_cpu *cpu;
	u32 target, refuge;
	u64 key;

	if (!domain || scx_bpf_dsq_nr_queued(DOMAIN_DSQ(domain_id)) <= 0 ||
	    !is_forsaken(domain, now))
		return;
	bpf_for_each(scx_dsq, p, DOMAIN_DSQ(domain_id), 0) {
		tctx = task_ctx_of(p);
		if (!tctx)
			continue;
		refuge = refuge_of(p, domain_id);
		cpu = cpu_at(refuge);
		if (!cpu)
			continue;
		target = cpu->domain;
		if (!covers_domain(p, tctx, row_at(tctx->slot), target) ||
		    !join_moved(tctx, target)) {
			/* No queue there is for it, or it was moved before: it has waited enough. */
			scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL_ON | refuge, 0);
			continue;
		}
		key = fifo_sched ? now : vruntime_under(tctx, target) + request_vtime(tctx);
		note_arrival(target, now);
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, key);
		if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, DOMAIN_DSQ(target), 0))
			call_help(target, now);
	}
}

/*
 * Bring back the tasks of @dsq that queued when @clock went faster and would now
 * wait longer than the bound, last first. Without this a task of small weight
 * could wait until the watchdog bites after the load has grown.
 */
static __noinline void recall_stragglers(u64 dsq, u32 clock_id, u64 now)
{
	struct ballast_clock *clock = clock_at(clock_id);
	struct task_struct *p;
	u64 furthest;

	if (!clock || fifo_sched || scx_bpf_dsq_nr_queued(dsq) <= 0)
		return;
	clock_measure(clock, now);
	furthest = furthest_ahead(clock) + slice_vtime(BALLAST_WEIGHT_NICE0);
	bpf_for_each(scx_dsq, p, dsq, SCX_DSQ_ITER_REV) {
		if (!time_before(furthest, p->scx.dsq_vtime))
			break;
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, furthest);
		scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, dsq, 0);
	}
}

static __always_inline void patrol_domains(u64 now)
{
	u32 id;

	bpf_for(id, 0, BALLAST_MAX_DOMAINS) {
		if (id >= nr_domains)
			break;
		recall_stragglers(DOMAIN_DSQ(id), id, now);
		evacuate_domain_queue(id, now);
	}
}

static __always_inline void patrol_cpus(u64 now)
{
	const struct cpumask *idle = scx_bpf_get_idle_cpumask();
	struct ballast_domain *domain;
	struct ballast_cpu *cpu;
	u32 id;

	bpf_for(id, 0, BALLAST_MAX_CPUS) {
		if (id >= nr_cpu_ids)
			break;
		cpu = cpu_at(id);
		domain = cpu ? domain_at(cpu->domain) : NULL;
		if (!domain)
			continue;
		if (cpu->flags & BALLAST_CPU_ONLINE) {
			/*
			 * Nobody hears of a CPU that goes idle while the kernel bypasses
			 * this scheduler, as it does around a suspend.
			 */
			if (bpf_cpumask_test_cpu(id, idle))
				note_idle(cpu, domain, true, now);
			recall_stragglers(CPU_DSQ(id), CLOCK_OF_CPU | id, now);
			/* Should a call have gone unheard: nothing may come to repeat it. */
			if (somebody_waits_for(id, cpu, domain))
				scx_bpf_kick_cpu(id, SCX_KICK_IDLE);
			continue;
		}
		drain_cpu_queue(id);
		release_leaving_cpu(id);
	}
	scx_bpf_put_idle_cpumask(idle);
}

/* Called at every heartbeat. */
static __always_inline void patrol(u64 now)
{
	if (elapsed_ns(last_patrol_ns, now) < PATROL_NS)
		return;
	last_patrol_ns = now;
	patrol_domains(now);
	patrol_cpus(now);
}

#endif /* BALLAST_PATROL_BPF_H */
