/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * home.bpf.h owns which node a task's memory is on, as far as can be told from where it has run.
 * It must never move a task: whoever has to choose one asks.
 */
#ifndef BALLAST_HOME_BPF_H
#define BALLAST_HOME_BPF_H

#include "types.bpf.h"

/*
 * A task that has run elsewhere for so long, what it ran at home meanwhile taken off, lives
 * there: by then the kernel's NUMA balancing brings its memory after it.
 */
#define SETTLES_AFTER_NS (1000ULL * 1000 * 1000)

static __always_inline bool is_at_home(const struct task_ctx *tctx, u32 node)
{
	return tctx->home_node == node + 1;
}

/* @tctx has run on @node for @ran_ns. */
static __always_inline void note_ran_on(struct task_ctx *tctx, u32 node, u64 ran_ns)
{
	if (likely(is_at_home(tctx, node))) {
		tctx->away_ns -= min_u64(ran_ns, tctx->away_ns);
		return;
	}
	tctx->away_ns += ran_ns;
	if (tctx->home_node && tctx->away_ns < SETTLES_AFTER_NS)
		return;
	tctx->home_node = node + 1;
	tctx->away_ns = 0;
}

#endif /* BALLAST_HOME_BPF_H */
