/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * task.bpf.h owns a task's life: its row, its weight, the domains it may use.
 * It must never touch a queue.
 */
#ifndef BALLAST_TASK_BPF_H
#define BALLAST_TASK_BPF_H

#include "account.bpf.h"
#include "queue.bpf.h"

/* A row for a new task, BALLAST_NONE if the table is full. */
static __always_inline u32 take_row(void)
{
	u32 slot;

	if (!bpf_map_pop_elem(&free_rows, &slot))
		return slot;
	slot = __sync_fetch_and_add(&rows_used, 1);
	if (slot < max_rows)
		return slot;
	__sync_fetch_and_sub(&rows_used, 1);
	return BALLAST_NONE;
}

static __always_inline void release_row(u32 slot)
{
	struct ballast_row *row = row_at(slot);

	if (!row)
		return;
	row->request = 0;
	__sync_fetch_and_add(&row->generation, 1);
	bpf_map_push_elem(&free_rows, &slot, 0);
}

/* Set the CPUs that @p may use, and what follows from them. */
static __noinline void note_affinity(struct task_struct *p __arg_trusted, u32 slot)
{
	struct ballast_row *row = row_at(slot);
	const struct cpumask *allowed = p->cpus_ptr;
	struct bpf_cpumask *mask = machine_mask();
	void *words;
	u32 flags;

	if (!row)
		return;
	flags = row->flags & ~(BALLAST_ROW_ANYWHERE | BALLAST_ROW_PINNED);
	if (mask && bpf_cpumask_subset(cast_mask(mask), allowed)) {
		row->flags = flags | BALLAST_ROW_ANYWHERE;
		return;
	}
	if (p->nr_cpus_allowed == 1)
		flags |= BALLAST_ROW_PINNED;
	words = bpf_map_lookup_elem(&row_masks, &slot);
	if (words)
		bpf_probe_read_kernel(words, mask_words * sizeof(u64), allowed);
	row->flags = flags;
}

static __always_inline void note_whole_domain(const struct task_struct *p, struct task_ctx *tctx,
					      const struct ballast_row *row)
{
	struct bpf_cpumask *mask;

	tctx->hotplug_seen = hotplug_count;
	if (row && (row->flags & BALLAST_ROW_ANYWHERE)) {
		tctx->whole_domain = true;
		return;
	}
	mask = domain_mask(tctx->domain);
	tctx->whole_domain = mask && bpf_cpumask_subset(cast_mask(mask), p->cpus_ptr);
}

/* From now on @tctx is charged by @weight. */
static __always_inline void change_weight(struct task_ctx *tctx, u32 weight)
{
	struct ballast_clock *clock = clock_at(tctx->clock);

	if (clock)
		tctx->vruntime = reweigh(clock, tctx->vruntime, tctx->weight, weight);
	tctx->weight = weight;
}

static __always_inline void note_weight(struct task_struct *p, struct task_ctx *tctx)
{
	struct ballast_row *row = row_at(tctx->slot);

	tctx->own_weight = weight_of(p);
	change_weight(tctx, tctx->own_weight);
	if (!row)
		return;
	/* What the daemon computed was for another weight. */
	row->charged = 0;
	row->weight = tctx->own_weight;
}

/*
 * Take over the weight that the daemon wants @tctx charged by: a task whose own
 * weight asks for more than one CPU would otherwise fall behind its clock for as
 * long as it runs, and shut out the others once that changes.
 */
static __always_inline void take_charged_weight(struct task_ctx *tctx,
						const struct ballast_row *row)
{
	u64 charged = row ? row->charged : 0;
	u32 weight = tctx->own_weight;

	if (charged && (u32)(charged >> 32) == row->generation)
		weight = (u32)charged;
	if (weight != tctx->weight)
		change_weight(tctx, weight);
}

/*
 * The id of the control group whose weight and quota @p comes under: its
 * directory's inode number. 0 in the root's autogroups and on kernels without
 * group scheduling. It is read from the task and not kept by ops.cgroup_move:
 * the kernel skips that for some moves, and warns of those if the callback is
 * there, unless it has a fix made for 7.1.
 */
static __always_inline u64 cgroup_of(struct task_struct *p)
{
	struct task_group *group;
	struct cgroup *cgroup;
	struct kernfs_node *node;

	if (!bpf_core_field_exists(p->sched_task_group))
		return 0;
	/* One pointer at a time: at every wake-up and slice end, probe reads would show. */
	group = p->sched_task_group;
	cgroup = group ? group->css.cgroup : NULL;
	node = cgroup ? cgroup->kn : NULL;
	return node ? node->id : 0;
}

/*
 * @p may have come to another group. The kernel takes a task off its queue to
 * change its group and then makes it runnable again, so one that is awake has
 * the new group at once, and one that sleeps, or is on its way to a CPU, as it runs.
 */
static __always_inline void note_cgroup(struct task_struct *p, struct ballast_row *row)
{
	u64 cgroup = cgroup_of(p);

	if (cgroup == row->cgroup)
		return;
	row->cgroup = cgroup;
	/* What the daemon computed was for another group. */
	row->charged = 0;
}

/* The nodes @p's memory policy names, as far as they fit in a word. */
static __always_inline u64 preferred_nodes_of(struct task_struct *p)
{
	struct mempolicy *policy = p->mempolicy;
	u16 mode;

	if (!policy)
		return 0;
	mode = BPF_CORE_READ(policy, mode);
	if (mode != BALLAST_MPOL_PREFERRED && mode != BALLAST_MPOL_BIND &&
	    mode != BALLAST_MPOL_PREFERRED_MANY)
		return 0;
	return BPF_CORE_READ(policy, nodes.bits[0]);
}

/* The domain of the CPU @p is on if it may run there, else the first it may. */
static __always_inline u32 first_domain_of(struct task_struct *p)
{
	struct ballast_cpu *cpu = cpu_at(scx_bpf_task_cpu(p));
	u32 allowed;

	if (cpu && cpu->domain < nr_domains &&
	    bpf_cpumask_test_cpu(scx_bpf_task_cpu(p), p->cpus_ptr))
		return cpu->domain;
	allowed = bpf_cpumask_first(p->cpus_ptr);
	cpu = cpu_at(allowed);
	return cpu && cpu->domain < nr_domains ? cpu->domain : 0;
}

static __always_inline void begin_row(struct task_struct *p, struct task_ctx *tctx, u64 now)
{
	struct ballast_row *row;

	tctx->slot = take_row();
	row = row_at(tctx->slot);
	if (!row) {
		count(BALLAST_STAT_ROWS_MISSING);
		return;
	}
	row->run_ns = 0;
	row->wait_ns = 0;
	row->sleep_ns = 0;
	row->born_ns = now;
	row->since_state = now << BALLAST_STATE_BITS | BALLAST_SLEEP;
	row->request = 0;
	row->answer = 0;
	row->preferred_nodes = 0;
	row->cgroup = cgroup_of(p);
	row->pid = p->pid;
	row->tgid = p->tgid;
	row->domain = tctx->domain;
	row->cpu = scx_bpf_task_cpu(p);
	row->flags = p->flags & PF_KTHREAD ? BALLAST_ROW_KTHREAD : 0;
	if (p->flags & PF_WQ_WORKER)
		row->flags |= BALLAST_ROW_KWORKER;
	note_affinity(p, tctx->slot);
	/* Last: an odd generation makes the row visible. */
	__sync_fetch_and_add(&row->generation, 1);
}

/* @p comes under this scheduler: born, or back from another class. */
static __always_inline void task_begin(struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx_of(p);
	struct ballast_clock *clock;

	if (!tctx)
		return;
	tctx->domain = first_domain_of(p);
	tctx->clock = tctx->domain;
	clock = clock_at(tctx->clock);
	begin_row(p, tctx, scx_bpf_now());
	note_weight(p, tctx);
	/* In debt for half a slice: a flood of newcomers must not pass the rest. */
	tctx->vruntime = clock ? clock->vtime + slice_vtime(tctx->weight) / 2 : 0;
	tctx->burst_ns = slice_ns;
	tctx->slept = false;
	tctx->cycle_ns = 0;
	tctx->standing_domain = 0;
	note_whole_domain(p, tctx, row_at(tctx->slot));
}

/* @p leaves this scheduler: ends, or goes to another class. */
static __always_inline void task_end(struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx_of(p);

	if (!tctx)
		return;
	leave_confined(tctx);
	leave_counts(tctx);
	release_row(tctx->slot);
	tctx->slot = BALLAST_NONE;
}

#endif /* BALLAST_TASK_BPF_H */
