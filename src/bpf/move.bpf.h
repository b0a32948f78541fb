/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * move.bpf.h owns the daemon's requests to move a task: reading, answering.
 * It must never answer "applied" before the task runs where it was asked to.
 *
 * A request is one atomic word in the row. It steers every placement of the
 * task until it ends; it ends here, as applied or refused, or the daemon takes
 * it back, as expired. Whoever swaps the word for 0 has ended it.
 */
#ifndef BALLAST_MOVE_BPF_H
#define BALLAST_MOVE_BPF_H

#include "types.bpf.h"

static __always_inline u32 request_domain(u64 request)
{
	return (request >> BALLAST_REQUEST_DOMAIN_SHIFT) & 0xffff;
}

static __always_inline bool end_request(struct ballast_row *row, u64 request, u64 verdict)
{
	u64 sequence = request >> BALLAST_REQUEST_SEQUENCE_SHIFT;

	if (__sync_val_compare_and_swap(&row->request, request, 0) != request)
		return false;
	row->answer = (request & 0xffffffff) | verdict << BALLAST_REQUEST_DOMAIN_SHIFT |
		      sequence << BALLAST_REQUEST_SEQUENCE_SHIFT;
	count(verdict == BALLAST_VERDICT_APPLIED ? BALLAST_STAT_MOVES_APPLIED :
						   BALLAST_STAT_MOVES_REFUSED);
	return true;
}

/* @p's domain, or when its last CPU has gone offline, one that @p can use. */
static __always_inline u32 live_domain(struct task_struct *p, const struct task_ctx *tctx)
{
	struct ballast_domain *domain = domain_at(tctx->domain);
	struct bpf_cpumask *online;
	struct ballast_cpu *cpu;

	if (likely(domain && domain->nr_online))
		return tctx->domain;
	online = machine_mask();
	if (!online)
		return tctx->domain;
	cpu = cpu_at(bpf_cpumask_any_and_distribute(cast_mask(online), p->cpus_ptr));
	return cpu && cpu->domain < nr_domains ? cpu->domain : tctx->domain;
}

/*
 * The domain @p should be placed in: the one asked for if there is a request
 * that can be met, else the one it is in.
 */
static __always_inline u32 home_domain(struct task_struct *p, const struct task_ctx *tctx,
				       struct ballast_row *row)
{
	struct bpf_cpumask *mask;
	u64 request;
	u32 target;

	if (!row)
		return live_domain(p, tctx);
	request = row->request;
	if (likely(!request))
		return live_domain(p, tctx);

	target = request_domain(request);
	if ((u32)request != row->generation) {
		end_request(row, request, BALLAST_VERDICT_STALE);
		return live_domain(p, tctx);
	}
	mask = target < nr_domains ? domain_mask(target) : NULL;
	if (!mask || !bpf_cpumask_intersects(cast_mask(mask), p->cpus_ptr)) {
		/* Off its other CPUs for a moment only: the request can wait. */
		if (!is_migration_disabled(p))
			end_request(row, request, BALLAST_VERDICT_NOT_ALLOWED);
		return live_domain(p, tctx);
	}
	return target;
}

/* @row's task begins to run in @domain: acknowledge what was asked for. */
static __always_inline void acknowledge(struct ballast_row *row, u32 domain)
{
	u64 request = row->request;

	if (likely(!request))
		return;
	if ((u32)request == row->generation && request_domain(request) == domain)
		end_request(row, request, BALLAST_VERDICT_APPLIED);
}

#endif /* BALLAST_MOVE_BPF_H */
