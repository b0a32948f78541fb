/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scx_ballast: a sched_ext scheduler for multi-socket NUMA servers.
 *
 * Every domain (the CPUs of a last-level cache, or a shard of one) has a queue
 * in order of virtual deadline; every CPU has one for the tasks that may not
 * run everywhere in their domain. A CPU serves its queues, then helps its
 * node, then other nodes. A daemon measures what each task could use, computes
 * what it is owed on the whole machine and asks for the moves that let every
 * domain pay; this side carries them out and says what came of them.
 *
 * This file owns the callbacks and their order; each concept has a header of
 * its own. It must never hold policy.
 */
#include "types.bpf.h"
#include "vtime.bpf.h"
#include "account.bpf.h"
#include "memory.bpf.h"
#include "move.bpf.h"
#include "queue.bpf.h"
#include "steal.bpf.h"
#include "place.bpf.h"
#include "pair.bpf.h"
#include "preempt.bpf.h"
#include "task.bpf.h"
#include "domain.bpf.h"
#include "patrol.bpf.h"
#include "daemon.bpf.h"
#include "dump.bpf.h"

/*
 * After a synchronous wake-up the CPU chosen may be the waker's, which is busy.
 * A pair that wakes each other there would keep its local queue filled, and the
 * CPU would never look at its other queues.
 */
static __always_inline bool overtakes(s32 cpu_id)
{
	struct ballast_cpu *cpu;
	struct ballast_domain *domain;

	if (cpu_id != bpf_get_smp_processor_id())
		return false;
	cpu = cpu_at(cpu_id);
	domain = cpu ? domain_at(cpu->domain) : NULL;
	return domain && somebody_waits_for(cpu_id, cpu, domain);
}

/*
 * @p is runnable, or was put where it is because something about it changed. ops.runnable
 * would say so too, but each callback costs more than what is done here.
 */
static __always_inline void note_runnable(struct task_struct *p, struct ballast_row *row, u64 now)
{
	if (!row)
		return;
	if (row_state(row) == BALLAST_SLEEP)
		enter_state(row, BALLAST_WAIT, now);
	note_cgroup(p, row);
	if (mempolicy_affinity)
		row->preferred_nodes = preferred_nodes_of(p);
}

s32 BPF_STRUCT_OPS(ballast_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct task_ctx *tctx = task_ctx_of(p);
	struct ballast_row *row;
	u64 enq_flags = 0, now = scx_bpf_now();
	u32 home;
	s32 cpu;

	if (!tctx)
		return prev_cpu;
	row = row_at(tctx->slot);
	home = home_domain(p, tctx, row);
	if (takes_over(p, tctx, prev_cpu, home, now)) {
		cpu = waker_cpu_for(p, home);
		if (cpu >= 0)
			goto direct;
	}
	cpu = find_idle_cpu(p, prev_cpu, wake_flags, home, now);
	if (cpu < 0) {
		cpu = preempt_for(p, tctx, row, home, now);
		if (cpu < 0)
			return busy_cpu_in(p, prev_cpu, home);
		enq_flags = SCX_ENQ_PREEMPT;
		count(BALLAST_STAT_PREEMPTIONS);
	} else if (overtakes(cpu)) {
		/* If it was idle it is claimed now, and nobody else will wake it. */
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
		return cpu;
	} else if (cpu != (s32)bpf_get_smp_processor_id()) {
		tctx->sent_idle_ns = now;
	}
direct:
	/* There is no ballast_enqueue for it now. */
	note_runnable(p, row, now);
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, enq_flags);
	return cpu;
}

/*
 * Where @p is to wait: at home, unless the kernel itself has just put it on a CPU
 * elsewhere, as it does when a CPU goes offline: it will not let it run at home.
 */
static __always_inline u32 waiting_domain(struct task_struct *p, const struct task_ctx *tctx,
					  struct ballast_row *row, u64 enq_flags)
{
	u32 home = home_domain(p, tctx, row);
	struct ballast_cpu *cpu;

	if ((enq_flags & SCX_ENQ_WAKEUP) || home != tctx->domain)
		return home;
	cpu = cpu_at(scx_bpf_task_cpu(p));
	return cpu && cpu->domain < nr_domains ? cpu->domain : home;
}

/* Kernel threads bound to a CPU serve that CPU: nothing may delay them. */
static __always_inline bool is_bound_kthread(const struct task_struct *p)
{
	return kthreads_local && (p->flags & PF_KTHREAD) && p->nr_cpus_allowed == 1;
}

/*
 * @p wakes and may run on its CPU only. If that idles, or its task should make way,
 * the queue would be a detour.
 */
static __always_inline bool enqueue_directly(struct task_struct *p, struct task_ctx *tctx, u64 now,
					     u64 enq_flags)
{
	u32 cpu_id = scx_bpf_task_cpu(p);
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	bool waited_for;

	if (!cpu)
		return false;
	waited_for = is_waited_for(cpu_id, cpu);
	join_confined(tctx, cpu_id);
	switch_clock(tctx, CLOCK_OF_CPU | cpu_id);
	if (!waited_for && scx_bpf_test_and_clear_cpu_idle(cpu_id)) {
		count(BALLAST_STAT_WAKE_IDLE_DOMAIN);
	} else if (interrupt_for(tctx, cpu_id, waited_for, now)) {
		enq_flags |= SCX_ENQ_PREEMPT;
		count(BALLAST_STAT_PREEMPTIONS);
	} else {
		return false;
	}
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, enq_flags);
	return true;
}

/* Queue @p where only some CPUs of its domain can take it. */
static __always_inline void enqueue_confined(struct task_struct *p, struct task_ctx *tctx, u32 home,
					     u64 now, u64 enq_flags)
{
	bool fixed = p->nr_cpus_allowed == 1 || is_migration_disabled(p);
	struct ballast_cpu *cpu;
	s32 cpu_id;

	if (enq_flags & SCX_ENQ_WAKEUP) {
		if (fixed && enqueue_directly(p, tctx, now, enq_flags))
			return;
		count(BALLAST_STAT_WAKE_QUEUED);
	}
	if (!fixed) {
		cpu_id = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
		cpu = cpu_at(cpu_id);
		/*
		 * A CPU that is going offline looks idle too. Not LOCAL_ON: kernels to
		 * 7.0 forget to forget it when the affinity changes before it is done.
		 */
		if (cpu_id >= 0 && cpu && (cpu->flags & BALLAST_CPU_ONLINE)) {
			insert_confined(p, tctx, cpu_id, fixed, now, enq_flags);
			scx_bpf_kick_cpu(cpu_id, SCX_KICK_IDLE);
			return;
		}
	}
	cpu_id = confined_cpu_of(p, home, fixed);
	if ((enq_flags & SCX_ENQ_WAKEUP) && !fixed)
		cpu_id = least_owed_cpu(p, tctx, home, cpu_id, now);
	insert_confined(p, tctx, cpu_id, fixed, now, enq_flags);
	if (scx_bpf_test_and_clear_cpu_idle(cpu_id)) {
		scx_bpf_kick_cpu(cpu_id, SCX_KICK_IDLE);
		return;
	}
	if ((enq_flags & SCX_ENQ_WAKEUP) && may_preempt_on(tctx, cpu_id, now)) {
		scx_bpf_kick_cpu(cpu_id, SCX_KICK_PREEMPT);
		count(BALLAST_STAT_PREEMPTIONS);
	}
}

void BPF_STRUCT_OPS(ballast_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct task_ctx *tctx = task_ctx_of(p);
	struct ballast_row *row;
	u64 now = scx_bpf_now(), slice;
	u32 home;

	/* The CPU goes idle now without looking at any queue again: make it look. */
	if (enq_flags & SCX_ENQ_LAST)
		scx_bpf_kick_cpu(scx_bpf_task_cpu(p), 0);
	if (!tctx) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, enq_flags);
		return;
	}
	row = row_at(tctx->slot);
	note_runnable(p, row, now);
	/* Not at a slice's end: two of them must not shut out those that queue. */
	if (is_bound_kthread(p) && ((enq_flags & (SCX_ENQ_WAKEUP | SCX_ENQ_LAST)) ||
				    !scx_bpf_dsq_nr_queued(CPU_DSQ(scx_bpf_task_cpu(p))))) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, enq_flags);
		count(BALLAST_STAT_KTHREAD_LOCAL);
		return;
	}
	/* The load must not starve the daemon that balances it. */
	if (p->tgid == daemon_tgid) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, enq_flags | SCX_ENQ_PREEMPT);
		return;
	}

	take_charged_weight(tctx, row);
	home = waiting_domain(p, tctx, row, enq_flags);
	/* Nobody else wants the CPU: stay on it. */
	if ((enq_flags & SCX_ENQ_LAST) && home == tctx->domain) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, enq_flags);
		return;
	}
	if (!(enq_flags & SCX_ENQ_WAKEUP) && home == tctx->domain) {
		slice = slice_after_interruption(p, tctx, scx_bpf_task_cpu(p));
		if (slice) {
			scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice, enq_flags);
			return;
		}
	}
	tctx->slice_used_ns = 0;
	if (is_migration_disabled(p) || !covers_domain(p, tctx, row, home)) {
		enqueue_confined(p, tctx, home, now, enq_flags);
		return;
	}
	if (enq_flags & SCX_ENQ_WAKEUP) {
		/* The kernel asks select_cpu for no task that has one CPU only. */
		if (p->nr_cpus_allowed == 1 && preempt_for(p, tctx, row, home, now) >= 0) {
			scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, enq_flags | SCX_ENQ_PREEMPT);
			count(BALLAST_STAT_PREEMPTIONS);
			return;
		}
		count(BALLAST_STAT_WAKE_QUEUED);
	}
	insert_open(p, tctx, home, now, enq_flags);
	call_help(home, now);
}

/* @prev is still runnable and nobody asked for it elsewhere: its context. */
static __always_inline struct task_ctx *keepable(struct task_struct *prev)
{
	struct ballast_row *row;
	struct task_ctx *tctx;

	if (!prev || !(prev->scx.flags & SCX_TASK_QUEUED))
		return NULL;
	tctx = task_ctx_of(prev);
	if (!tctx)
		return NULL;
	row = row_at(tctx->slot);
	return row && row->request ? NULL : tctx;
}

/* Tell those that wake what runs on @cpu from @now on: @p, and what may be taken from it. */
static __always_inline void note_running(struct ballast_cpu *cpu, const struct task_struct *p,
					 const struct task_ctx *tctx, u64 now)
{
	cpu->now_ns = now;
	cpu->running_since_ns = now;
	cpu->running_burst_ns = burst_of(tctx);
	cpu->running_weight = tctx->confined_cpu ? cpu->confined_weight : tctx->weight;
	cpu->party_runs = tctx->confined_cpu != 0;
	if (tctx->confined_cpu) {
		cpu->running_mate_key = queue_key(tctx, now);
		cpu->running_mate_weight = tctx->weight;
	}
	cpu->interrupted = false;
	/* One that goes straight back to the CPU has nobody to make way for. */
	if (is_bound_kthread(p) || p->tgid == daemon_tgid)
		cpu->running_key = 0;
	else
		cpu->running_key = running_key_of(tctx, cpu, now);
}

/* @tctx has run until @now, on @cpu if that is known. */
static __always_inline void account_run(struct task_ctx *tctx, const struct ballast_cpu *cpu,
					u64 now)
{
	u64 ran_ns = charge(tctx, now);

	charge_confined(tctx, ran_ns);
	if (cpu)
		note_ran_on(tctx, cpu->node, ran_ns);
}

/*
 * Let @prev go on: account for what it had, as if it had been taken anew, from a
 * queue if it @competes with those that wait.
 */
static __always_inline void keep(struct task_struct *prev, struct task_ctx *tctx,
				 struct ballast_cpu *cpu, bool competes, u64 now)
{
	struct ballast_clock *clock = clock_at(tctx->clock);
	struct ballast_row *row = row_at(tctx->slot);

	account_run(tctx, cpu, now);
	take_charged_weight(tctx, row);
	if (tctx->confined_cpu) {
		/* Its weight may have changed, or it may be free to go anywhere again. */
		if (is_migration_disabled(prev) || !covers_domain(prev, tctx, row, cpu->domain)) {
			join_confined(tctx, tctx->confined_cpu - 1);
		} else {
			leave_confined(tctx);
			switch_clock(tctx, cpu->domain);
			clock = clock_at(tctx->clock);
		}
	}
	if (clock) {
		tctx->vruntime = clamp_vruntime(clock, tctx->vruntime, tctx);
		advance_clocks(tctx, cpu, now);
		if (!competes)
			forgive(tctx, clock);
	}
	tctx->slice_used_ns = 0;
	note_running(cpu, prev, tctx, now);
	scx_bpf_task_set_slice(prev, slice_ns);
	count(BALLAST_STAT_KEPT);
}

void BPF_STRUCT_OPS(ballast_dispatch, s32 cpu_id, struct task_struct *prev)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	struct ballast_domain *domain;
	struct own_queues keys;
	struct task_ctx *tctx;
	u64 now;

	domain = cpu ? domain_at(cpu->domain) : NULL;
	if (!domain)
		return;
	now = now_on(cpu, cpu_id);
	domain->looked_ns = now;
	tctx = keepable(prev);
	look(&keys, cpu_id, cpu, domain, tctx);
	if (keys.cpu_key != NO_KEY)
		bound_party_ahead(cpu, domain);
	if (tctx && tctx->confined_cpu && keys.open_key == NO_KEY)
		forgive_party(cpu, domain);

	if (tctx && prev_goes_first(tctx, cpu_id, cpu, domain, &keys, now)) {
		if (keys.open_key == NO_KEY)
			note_empty(domain, cpu->domain, now);
		keep(prev, tctx, cpu, keys.open_key != NO_KEY || keys.cpu_key != NO_KEY, now);
		return;
	}
	if (take_own(cpu_id, cpu, domain, &keys, now))
		return;
	note_empty(domain, cpu->domain, now);
	/*
	 * What waited a moment ago is taken by siblings, whose tasks are yet to queue: slices
	 * end at the same tick. A CPU with a task of its own is no idle one, and steals not.
	 */
	if (tctx)
		keep(prev, tctx, cpu, true, now);
	else
		steal(cpu_id, cpu, domain, now);
}

/* A CPU is marked idle at most so long after it looked for tasks in its siblings' queues. */
#define JUST_LOOKED_NS (100ULL * 1000)

/*
 * A task may have queued for @cpu_id, or for one of its siblings if it may take that, between
 * its last dispatch and its bit in the idle mask, when nobody would wake it: look again. It is
 * counted before it queues: whoever is on the way to the queue counts too.
 */
void BPF_STRUCT_OPS(ballast_update_idle, s32 cpu_id, bool idle)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	struct ballast_domain *domain;
	u64 now;

	domain = cpu ? domain_at(cpu->domain) : NULL;
	if (!domain)
		return;
	now = now_on(cpu, cpu_id);
	/* One that is offline idles too, but is no CPU to wake. */
	note_idle(cpu, domain, idle && (cpu->flags & BALLAST_CPU_ONLINE), now);
	if (!idle)
		return;
	if (cpu->confined_weight || may_hold_tasks(domain) ||
	    (domain->nr_aside && elapsed_ns(domain->joined_aside_ns, now) < JUST_LOOKED_NS))
		scx_bpf_kick_cpu(cpu_id, SCX_KICK_IDLE);
}

void BPF_STRUCT_OPS(ballast_tick, struct task_struct *p)
{
	u32 cpu_id = bpf_get_smp_processor_id();
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	struct ballast_domain *domain;
	u64 now = scx_bpf_now();

	domain = cpu ? domain_at(cpu->domain) : NULL;
	if (!domain)
		return;
	/* Nobody said so if it ceased to idle before this scheduler came. */
	note_idle(cpu, domain, false, now);
	check_queue(domain, cpu->domain, now);
	share_own_queue(cpu_id, cpu, domain);
	yield_to_brief(p, cpu_id, cpu, domain, now);
	check_daemon(now);
}

/* @p runs in another domain than it was in: it lives there from now on. */
static __always_inline void adopt(struct task_struct *p, struct task_ctx *tctx,
				  struct ballast_row *row, u32 domain)
{
	tctx->domain = domain;
	if (row)
		row->domain = domain;
	note_whole_domain(p, tctx, row);
}

/*
 * @tctx begins to run: put it under the clock of the queue it would now wait in
 * on this CPU. Coming from another clock, out of the midst of its slice, or before those
 * whose turn it was, it says nothing about this one's progress.
 */
static __always_inline void follow_clock(struct task_ctx *tctx, u32 cpu_id,
					 const struct ballast_cpu *cpu, u64 now)
{
	u32 id = tctx->confined_cpu ? CLOCK_OF_CPU | cpu_id : cpu->domain;
	bool goes_on = !tctx->queued && tctx->slice_used_ns;
	bool same = id == tctx->clock;
	bool in_turn = !tctx->out_of_turn;

	if (tctx->confined_cpu)
		join_confined(tctx, cpu_id);
	switch_clock(tctx, id);
	if (same && in_turn && !goes_on)
		advance_clocks(tctx, cpu, now);
	tctx->queued = false;
	tctx->out_of_turn = false;
}

void BPF_STRUCT_OPS(ballast_running, struct task_struct *p)
{
	u32 cpu_id = scx_bpf_task_cpu(p);
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	struct task_ctx *tctx = task_ctx_of(p);
	struct ballast_row *row;
	/* Not now_on(): to find a task may take long, and is not this one's work. */
	u64 now = scx_bpf_now();

	if (!cpu || !tctx)
		return;
	leave_counts(tctx);
	row = row_at(tctx->slot);
	/*
	 * It was not put into one of our queues: changed as it ran, placed by the kernel, or
	 * sent straight here, and its group may have changed on the way.
	 */
	if (row && (!tctx->queued || row_state(row) == BALLAST_SLEEP))
		note_runnable(p, row, now);
	take_charged_weight(tctx, row);
	if (tctx->hotplug_seen != hotplug_count)
		note_affinity(p, tctx->slot);
	if (tctx->domain != cpu->domain && cpu->domain < nr_domains)
		adopt(p, tctx, row, cpu->domain);
	else if (tctx->hotplug_seen != hotplug_count)
		note_whole_domain(p, tctx, row);
	if (row) {
		enter_state(row, BALLAST_RUN, now);
		if (row->cpu != cpu_id)
			release_leaving_cpu(row->cpu);
		row->cpu = cpu_id;
		acknowledge(row, cpu->domain);
	}

	note_woken(tctx, cpu, now);
	follow_clock(tctx, cpu_id, cpu, now);
	tctx->run_since_ns = now;
	note_running(cpu, p, tctx, now);
	make_way(tctx, cpu_id, cpu, now);
	if (cpuperf != BALLAST_NONE)
		scx_bpf_cpuperf_set(cpu_id, cpuperf);
}

void BPF_STRUCT_OPS(ballast_stopping, struct task_struct *p, bool runnable)
{
	struct ballast_cpu *cpu = cpu_at(scx_bpf_task_cpu(p));
	struct task_ctx *tctx = task_ctx_of(p);
	u64 now = scx_bpf_now();
	struct ballast_row *row;

	if (cpu) {
		cpu->running_key = 0;
		cpu->now_ns = now;
	}
	if (!tctx)
		return;
	account_run(tctx, cpu, now);
	row = row_at(tctx->slot);
	if (row)
		enter_state(row, runnable ? BALLAST_WAIT : BALLAST_SLEEP, now);
	if (runnable)
		return;
	note_handed_over(tctx, now);
	end_burst(tctx, now);
	leave_confined(tctx);
}

/* May sleep, so this is where memory is had; the rest waits for enable. */
s32 BPF_STRUCT_OPS_SLEEPABLE(ballast_init_task, struct task_struct *p,
			     struct scx_init_task_args *args)
{
	struct task_ctx *tctx;

	tctx = bpf_task_storage_get(&task_ctxs, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!tctx)
		return -ENOMEM;
	tctx->slot = BALLAST_NONE;
	return 0;
}

void BPF_STRUCT_OPS(ballast_enable, struct task_struct *p)
{
	task_begin(p);
}

void BPF_STRUCT_OPS(ballast_disable, struct task_struct *p)
{
	task_end(p);
}

void BPF_STRUCT_OPS(ballast_set_weight, struct task_struct *p, u32 weight)
{
	struct task_ctx *tctx = task_ctx_of(p);

	if (tctx)
		note_weight(p, tctx);
}

void BPF_STRUCT_OPS(ballast_set_cpumask, struct task_struct *p, const struct cpumask *cpumask)
{
	struct task_ctx *tctx = task_ctx_of(p);

	if (!tctx)
		return;
	/* Held on its CPU for a moment: that is no change of affinity. */
	if (!is_migration_disabled(p))
		note_affinity(p, tctx->slot);
	note_whole_domain(p, tctx, row_at(tctx->slot));
}

/* A CPU that had no place when the daemon read the topology: start anew. */
static __always_inline void restart_for(s32 cpu)
{
	scx_bpf_exit(SCX_ECODE_ACT_RESTART | SCX_ECODE_RSN_HOTPLUG,
		     "CPU %d is new to the scheduler, restarting to find its place", cpu);
}

void BPF_STRUCT_OPS(ballast_cpu_online, s32 cpu_id)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	struct ballast_domain *domain;

	domain = cpu ? domain_at(cpu->domain) : NULL;
	if (!domain) {
		restart_for(cpu_id);
		return;
	}
	/* It may idle already, unsaid. One that does not idle says so at its next tick. */
	note_idle(cpu, domain, true, scx_bpf_now());
	__sync_fetch_and_or(&cpu->flags, BALLAST_CPU_ONLINE);
	mask_cpu(cpu_id, cpu);
	count_online(cpu->domain);
	__sync_fetch_and_add(&hotplug_count, 1);
}

void BPF_STRUCT_OPS(ballast_cpu_offline, s32 cpu_id)
{
	struct ballast_cpu *cpu = cpu_at(cpu_id);
	struct ballast_domain *domain;
	u64 now = scx_bpf_now();

	domain = cpu ? domain_at(cpu->domain) : NULL;
	if (!domain)
		return;
	__sync_fetch_and_and(&cpu->flags, ~BALLAST_CPU_ONLINE);
	note_idle(cpu, domain, false, now);
	mask_cpu(cpu_id, cpu);
	count_online(cpu->domain);
	drain_cpu_queue(cpu_id);
	evacuate_domain_queue(cpu->domain, now);
	/* This CPU may be the one that was called to take the tasks that wait. */
	if (scx_bpf_dsq_nr_queued(DOMAIN_DSQ(cpu->domain)) > 0)
		call_help(cpu->domain, now);
}

/* Memory of the queues of node @index lies there. */
static __always_inline s32 create_queue(u64 dsq, u32 index)
{
	struct ballast_node *node = node_at(index);

	return scx_bpf_create_dsq(dsq, node ? (s32)node->id : NUMA_NO_NODE);
}

static s32 create_queues(u64 now)
{
	struct ballast_domain *domain;
	struct ballast_cpu *cpu;
	u32 id;
	s32 ret;

	bpf_for(id, 0, BALLAST_MAX_DOMAINS) {
		if (id >= nr_domains)
			break;
		domain = domain_at(id);
		if (!domain)
			return -ENOENT;
		ret = create_queue(DOMAIN_DSQ(id), domain->node);
		if (ret)
			return ret;
		domain->clock.rate = 1024;
	}
	bpf_for(id, 0, BALLAST_MAX_CPUS) {
		if (id >= nr_cpu_ids)
			break;
		cpu = cpu_at(id);
		if (!cpu)
			return -ENOENT;
		domain = domain_at(cpu->domain);
		if (!domain)
			continue;
		ret = create_queue(CPU_DSQ(id), cpu->node);
		if (ret)
			return ret;
		cpu->clock.rate = 1024;
		/* Those that do not idle say so at their next tick. */
		if (cpu->flags & BALLAST_CPU_ONLINE)
			note_idle(cpu, domain, true, now);
	}
	return 0;
}

static s32 create_masks(void)
{
	u32 id;
	s32 ret;

	ret = create_mask(&machine_masks, 0);
	if (ret)
		return ret;
	bpf_for(id, 0, BALLAST_MAX_DOMAINS) {
		if (id >= nr_domains)
			break;
		ret = create_mask(&domain_masks, id);
		if (ret)
			return ret;
	}
	bpf_for(id, 0, BALLAST_MAX_NODES) {
		if (id >= nr_nodes)
			break;
		ret = create_mask(&direct_masks, id);
		if (!ret)
			ret = create_mask(&kick_masks, id);
		if (ret)
			return ret;
	}
	return 0;
}

s32 BPF_STRUCT_OPS_SLEEPABLE(ballast_init)
{
	u64 now = scx_bpf_now();
	u32 id;
	s32 ret;

	note_heartbeat(now);
	ret = create_queues(now);
	if (!ret)
		ret = create_masks();
	if (ret)
		return ret;
	bpf_rcu_read_lock();
	mask_all_cpus();
	bpf_for(id, 0, BALLAST_MAX_DOMAINS) {
		if (id >= nr_domains)
			break;
		count_online(id);
	}
	bpf_rcu_read_unlock();
	return 0;
}

void BPF_STRUCT_OPS(ballast_exit, struct scx_exit_info *ei)
{
	UEI_RECORD(uei, ei);
}

void BPF_STRUCT_OPS(ballast_dump, struct scx_dump_ctx *dctx)
{
	u64 now = scx_bpf_now();

	scx_bpf_dump("slice %llu us, rows used %u of %u, daemon heard %llu ms ago%s\n",
		     slice_ns / 1000, rows_used, max_rows, elapsed_ns(heartbeat_ns, now) / 1000000,
		     daemon_lost ? ", lost" : "");
	dump_domains(now);
}

void BPF_STRUCT_OPS(ballast_dump_cpu, struct scx_dump_ctx *dctx, s32 cpu, bool idle)
{
	dump_one_cpu(cpu, idle);
}

void BPF_STRUCT_OPS(ballast_dump_task, struct scx_dump_ctx *dctx, struct task_struct *p)
{
	dump_one_task(p, scx_bpf_now());
}

/* A table reads better than a paragraph: */
/* clang-format off */
SCX_OPS_DEFINE(ballast,
	       .select_cpu   = (void *)ballast_select_cpu,
	       .enqueue      = (void *)ballast_enqueue,
	       .dispatch     = (void *)ballast_dispatch,
	       .tick         = (void *)ballast_tick,
	       .update_idle  = (void *)ballast_update_idle,
	       .running      = (void *)ballast_running,
	       .stopping     = (void *)ballast_stopping,
	       .init_task    = (void *)ballast_init_task,
	       .enable       = (void *)ballast_enable,
	       .disable      = (void *)ballast_disable,
	       .set_weight   = (void *)ballast_set_weight,
	       .set_cpumask  = (void *)ballast_set_cpumask,
	       .cpu_online   = (void *)ballast_cpu_online,
	       .cpu_offline  = (void *)ballast_cpu_offline,
	       .init         = (void *)ballast_init,
	       .exit         = (void *)ballast_exit,
	       .dump         = (void *)ballast_dump,
	       .dump_cpu     = (void *)ballast_dump_cpu,
	       .dump_task    = (void *)ballast_dump_task,
	       .timeout_ms   = 30000,
	       .name         = "ballast");
/* clang-format on */
