/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pair.bpf.h owns which two tasks wake each other in turn, one asleep while the other
 * runs: a request and its answer over a pipe, a lock handed over. On one CPU their caches
 * are warm and nobody need be woken. It must never say where they run: that is place.bpf.h.
 */
#ifndef BALLAST_PAIR_BPF_H
#define BALLAST_PAIR_BPF_H

#include "queue.bpf.h"

/*
 * @p, home at @domain_id, wakes: is it by the one that it itself woke last, which sleeps
 * soon after it has done so, and is @p to take its place? Soon is twice as long as it takes
 * to wake @prev_cpu, which costs both sides; where no CPU idles, a brief turn.
 */
static __always_inline bool takes_over(const struct task_struct *p, struct task_ctx *tctx,
				       s32 prev_cpu, u32 domain_id, u64 now)
{
	struct task_struct *waker = bpf_get_current_task_btf();
	bool again = tctx->woken_by == waker->pid;
	struct ballast_domain *domain;
	struct ballast_cpu *prev;
	struct task_ctx *other;
	u64 soon_ns;

	tctx->woken_by = waker->pid;
	if (!again)
		return false;
	other = task_ctx_of(waker);
	if (!other || other->woken_by != p->pid)
		return false;
	if (!other->woke_pair_ns)
		other->woke_pair_ns = now;
	/* Not known: it may never sleep. Nor has one that has not slept since the last time. */
	soon_ns = max_u64(other->goes_on_ns, elapsed_ns(other->woke_pair_ns, now));
	if (!other->goes_on_ns || !is_brief(soon_ns) || p->tgid == daemon_tgid)
		return false;
	domain = domain_at(domain_id);
	prev = cpu_at(prev_cpu);
	return domain && prev && (!domain->nr_idle || soon_ns < 2 * prev->wakes_in_ns);
}

/* A wake-up that takes longer was held up by something else. */
#define WAKES_IN_MAX_NS (1000ULL * 1000)

/* @tctx begins to run on @cpu: if it was sent there as it idled, learn how long that took. */
static __always_inline void note_woken(struct task_ctx *tctx, struct ballast_cpu *cpu, u64 now)
{
	u64 took_ns;

	if (!tctx->sent_idle_ns)
		return;
	took_ns = min_u64(elapsed_ns(tctx->sent_idle_ns, now), WAKES_IN_MAX_NS);
	cpu->wakes_in_ns = (7 * cpu->wakes_in_ns + took_ns) / 8;
	tctx->sent_idle_ns = 0;
}

/* @tctx goes to sleep: learn how long it went on after it woke the other. */
static __always_inline void note_handed_over(struct task_ctx *tctx, u64 now)
{
	u64 went_on_ns;

	if (!tctx->woke_pair_ns)
		return;
	went_on_ns = elapsed_ns(tctx->woke_pair_ns, now);
	if (tctx->goes_on_ns)
		went_on_ns = (3 * tctx->goes_on_ns + went_on_ns) / 4;
	tctx->goes_on_ns = went_on_ns ?: 1;
	tctx->woke_pair_ns = 0;
}

#endif /* BALLAST_PAIR_BPF_H */
