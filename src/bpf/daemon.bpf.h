/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * daemon.bpf.h owns the programs that the daemon runs: its heartbeat and the
 * prompt execution of its requests. It must never move a task without request.
 */
#ifndef BALLAST_DAEMON_BPF_H
#define BALLAST_DAEMON_BPF_H

#include "account.bpf.h"
#include "domain.bpf.h"
#include "patrol.bpf.h"
#include "steal.bpf.h"

/* Take the tuner's values, note that the daemon lives, tell the time. */
SEC("syscall")
int ballast_beat(struct ballast_beat_args *args)
{
	u64 now = scx_bpf_now();

	slice_ns = args->slice_ns;
	preempt_margin_ns = args->preempt_margin_ns;
	note_heartbeat(now);
	if (args->cpu_flags_changed) {
		bpf_rcu_read_lock();
		mask_all_cpus();
		bpf_rcu_read_unlock();
	}
	bpf_rcu_read_lock();
	patrol(now);
	bpf_rcu_read_unlock();
	args->rows_used = rows_used;
	args->now_ns = now;
	return 0;
}

/*
 * Move the tasks that wait in one domain's queue and have a request to the queue
 * they were asked to. Their vruntime follows when they run: only the holder of
 * the run queue lock may write it, and it may never come to that.
 */
SEC("syscall")
int ballast_apply_queued(struct ballast_apply_args *args)
{
	u32 source = args->domain, moved = 0, target;
	struct ballast_row *row;
	struct task_ctx *tctx;
	struct task_struct *p;
	u64 key, now = scx_bpf_now();

	if (source >= nr_domains)
		return -EINVAL;
	bpf_rcu_read_lock();
	bpf_for_each(scx_dsq, p, DOMAIN_DSQ(source), 0) {
		tctx = task_ctx_of(p);
		if (!tctx)
			continue;
		row = row_at(tctx->slot);
		if (!row || !row->request)
			continue;
		target = home_domain(p, tctx, row);
		if (target == source || !covers_domain(p, tctx, row, target))
			continue;
		if (!join_moved(tctx, target))
			continue;
		key = fifo_sched ? now : vruntime_under(tctx, target) + request_vtime(tctx);
		note_arrival(target, now);
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, key);
		if (!scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, DOMAIN_DSQ(target), 0))
			continue;
		moved++;
		call_help(target, now);
	}
	bpf_rcu_read_unlock();
	args->moved = moved;
	return 0;
}

/* A running task with a request leaves its CPU now, not when its slice ends. */
SEC("syscall")
int ballast_apply_running(struct ballast_prompt_args *args)
{
	struct ballast_row *row = row_at(args->slot);

	if (row && row->request && row_state(row) == BALLAST_RUN && row->cpu < nr_cpu_ids)
		scx_bpf_kick_cpu(row->cpu, SCX_KICK_PREEMPT);
	return 0;
}

#endif /* BALLAST_DAEMON_BPF_H */
