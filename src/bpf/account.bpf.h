/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * account.bpf.h owns sums of time: in a task's row how long it ran, waited and
 * slept, in a CPU's how long it idled; and how many CPUs idle. It must never average
 * or decide: that is the daemon's part.
 */
#ifndef BALLAST_ACCOUNT_BPF_H
#define BALLAST_ACCOUNT_BPF_H

#include "types.bpf.h"

#define STATE_MASK ((1ULL << BALLAST_STATE_BITS) - 1)

static __always_inline u32 row_state(const struct ballast_row *row)
{
	return row->since_state & STATE_MASK;
}

/*
 * Enter @state at @now. `since` and one sum move by the same amount, which is
 * what lets a reader detect a torn row; see struct ballast_row.
 */
static __always_inline void enter_state(struct ballast_row *row, u32 state, u64 now)
{
	u64 since_ns = row->since_state >> BALLAST_STATE_BITS;
	u64 spent_ns = elapsed_ns(since_ns, now);

	switch (row_state(row)) {
	case BALLAST_RUN:
		row->run_ns += spent_ns;
		break;
	case BALLAST_WAIT:
		row->wait_ns += spent_ns;
		break;
	default:
		row->sleep_ns += spent_ns;
		break;
	}
	row->since_state = (since_ns + spent_ns) << BALLAST_STATE_BITS | state;
}

/*
 * Where no CPU idles, the kernel's search for one is most of a wake-up's cost: with a
 * count nobody has to search.
 */
static __always_inline void count_idle(const struct ballast_cpu *cpu, struct ballast_domain *domain,
				       s32 more)
{
	struct ballast_node *node = node_at(cpu->node);

	__sync_fetch_and_add(&domain->nr_idle, more);
	if (node)
		__sync_fetch_and_add(&node->nr_idle, more);
}

/*
 * @cpu, of @domain, begins or ceases to idle. The patrol may say so too, so whoever swaps the time
 * counts. A reader in between misses a spell of idleness once.
 */
static __always_inline void note_idle(struct ballast_cpu *cpu, struct ballast_domain *domain,
				      bool idle, u64 now)
{
	u64 since_ns = cpu->idle_since_ns;

	if (idle == (since_ns != 0))
		return;
	if (__sync_val_compare_and_swap(&cpu->idle_since_ns, since_ns, idle ? now ?: 1 : 0) !=
	    since_ns)
		return;
	count_idle(cpu, domain, idle ? 1 : -1);
	if (!idle)
		cpu->idle_ns += elapsed_ns(since_ns, now);
}

#endif /* BALLAST_ACCOUNT_BPF_H */
