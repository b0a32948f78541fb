/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memory.bpf.h owns which node a task's memory is on, as far as can be told from where it has run.
 * It must never move a task: whoever has to choose one asks.
 */
#ifndef BALLAST_MEMORY_BPF_H
#define BALLAST_MEMORY_BPF_H

#include "types.bpf.h"

/*
 * What a task touches first is put on the node it runs on, and stays: the kernel's NUMA balancing
 * is of the fair class. So its memory is where it first ran, until it has run for so long on
 * another node that it will have touched as much there.
 */
#define SETTLES_AFTER_NS (1000ULL * 1000 * 1000)

static __always_inline bool has_memory_on(const struct task_ctx *tctx, u32 node)
{
	return tctx->memory_node == node + 1;
}

/* @tctx has run on @node for @ran_ns. */
static __always_inline void note_ran_on(struct task_ctx *tctx, u32 node, u64 ran_ns)
{
	if (likely(has_memory_on(tctx, node))) {
		tctx->away_ns -= min_u64(ran_ns, tctx->away_ns);
		return;
	}
	if (tctx->away_node != node) {
		tctx->away_node = node;
		tctx->away_ns = 0;
	}
	tctx->away_ns += ran_ns;
	if (tctx->memory_node && tctx->away_ns < SETTLES_AFTER_NS)
		return;
	tctx->memory_node = node + 1;
	tctx->away_ns = 0;
}

#endif /* BALLAST_MEMORY_BPF_H */
