/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * steal.bpf.h owns work conservation beyond a CPU's own queues: taking from
 * other queues when idle, and waking idle CPUs to do so. It must never take
 * from a queue whose own CPUs have not had the time its distance grants them.
 *
 * A queue that has not been seen empty for longer than the bound of the
 * distance (steal_after_*) is a queue its own CPUs cannot keep up with.
 */
#ifndef BALLAST_STEAL_BPF_H
#define BALLAST_STEAL_BPF_H

#include "memory.bpf.h"
#include "queue.bpf.h"

/* Foreign domains looked at in one dispatch: bounds the time interrupts are off. */
#define STEAL_SCAN_MAX 64

/* The bounds double without a daemon: nobody corrects a wrong steal then. */
static __always_inline u64 patience(u64 bound_ns)
{
	return daemon_lost ? 2 * bound_ns : bound_ns;
}

/* Take a task that is confined, but not to one CPU, from the queue of a sibling. */
static __always_inline bool steal_in_domain(s32 cpu_id, const struct ballast_domain *domain)
{
	struct ballast_cpu *other;
	u32 i, sibling;

	if (!domain->nr_aside)
		return false;
	bpf_for(i, 0, DOMAIN_SCAN_MAX) {
		sibling = nth_cpu(domain, i);
		if (sibling == BALLAST_NONE)
			break;
		other = cpu_at(sibling);
		if (sibling == cpu_id || !other)
			continue;
		if (is_waited_for(sibling, other) &&
		    scx_bpf_dsq_move_to_local(CPU_DSQ(sibling), 0)) {
			count(BALLAST_STAT_STEAL_DOMAIN);
			return true;
		}
	}
	return false;
}

/*
 * Tasks at the front of another node's queue among which one with memory on the thief's is
 * sought: each takes the lock of the queue. Of eight that are mixed one nearly always has.
 */
#define MEMORY_SCAN 8

/* Is @p's memory on the node of @cpu, and may it run there? */
static __always_inline bool may_be_taken_back(struct task_struct *p, const struct task_ctx *tctx,
					      s32 cpu_id, const struct ballast_cpu *cpu)
{
	struct ballast_row *row;

	if (!has_memory_on(tctx, cpu->node))
		return false;
	/* The kernel ejects a scheduler that moves a task to where it may not run. */
	if (!bpf_cpumask_test_cpu(cpu_id, p->cpus_ptr))
		return false;
	/* One that the daemon has just sent away would go there again. */
	row = row_at(tctx->slot);
	return !row || !row->request;
}

/* Take one from @dsq, of another node, whose memory is on @cpu's: nobody new comes there. */
static __always_inline bool take_back(u64 dsq, s32 cpu_id, const struct ballast_cpu *cpu)
{
	struct task_struct *p;
	struct task_ctx *tctx;
	bool taken = false;
	u32 seen = 0;

	if (!is_this_cpu(cpu_id))
		return false;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		tctx = task_ctx_of(p);
		if (tctx && may_be_taken_back(p, tctx, cpu_id, cpu)) {
			taken = scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL, 0);
			break;
		}
		if (++seen == MEMORY_SCAN)
			break;
	}
	return taken;
}

static __always_inline bool steal_from(u32 domain_id, s32 cpu_id, const struct ballast_cpu *cpu,
				       u32 threshold, u64 bound_ns, u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);
	u64 since_ns;

	if (!domain)
		return false;
	since_ns = domain->queued_since_ns;
	if (!since_ns || elapsed_ns(since_ns, now) < bound_ns)
		return false;
	if (!may_hold_tasks(domain))
		return false;
	if (threshold > 1 && scx_bpf_dsq_nr_queued(DOMAIN_DSQ(domain_id)) < threshold)
		return false;
	if (domain->node != cpu->node && take_back(DOMAIN_DSQ(domain_id), cpu_id, cpu))
		return true;
	return scx_bpf_dsq_move_to_local(DOMAIN_DSQ(domain_id), 0);
}

/* Try the domains of @node_id for @cpu, starting behind its own so that victims differ. */
static __always_inline bool steal_in_node(u32 node_id, s32 cpu_id, const struct ballast_cpu *cpu,
					  u32 threshold, u64 bound_ns, u64 now)
{
	struct ballast_node *node = node_at(node_id);
	u32 i, victim, next, own = cpu->domain;

	if (!node || !node->nr_domains)
		return false;
	/* As most have: a loop would cost several times the look. */
	if (node->nr_domains == 1)
		return node->first_domain != own &&
		       steal_from(node->first_domain, cpu_id, cpu, threshold, bound_ns, now);
	next = (own + 1) % node->nr_domains;
	bpf_for(i, 0, STEAL_SCAN_MAX) {
		if (i >= node->nr_domains)
			break;
		victim = node->first_domain + next;
		next = next + 1 < node->nr_domains ? next + 1 : 0;
		if (victim != own && steal_from(victim, cpu_id, cpu, threshold, bound_ns, now))
			return true;
	}
	return false;
}

/* @cpu, of @domain, has nothing to do: help somebody, nearest first. */
static __noinline void steal(s32 cpu_id, const struct ballast_cpu *cpu,
			     const struct ballast_domain *domain, u64 now)
{
	u32 i;

	if (steal_in_domain(cpu_id, domain) || !greedy_threshold)
		return;
	if (steal_in_node(cpu->node, cpu_id, cpu, greedy_threshold, patience(steal_after_node_ns),
			  now)) {
		count(BALLAST_STAT_STEAL_NODE);
		return;
	}
	if (!greedy_threshold_x_numa)
		return;
	bpf_for(i, 1, BALLAST_MAX_NODES) {
		if (i >= nr_nodes)
			break;
		if (steal_in_node(nearest_node(cpu->node, i), cpu_id, cpu, greedy_threshold_x_numa,
				  patience(steal_after_numa_ns), now)) {
			count(BALLAST_STAT_STEAL_NUMA);
			return;
		}
	}
}

/* Wake an idle CPU of @mask. */
static __always_inline bool kick_idle_in(struct bpf_cpumask *mask)
{
	s32 cpu;

	if (!mask)
		return false;
	cpu = scx_bpf_pick_idle_cpu(cast_mask(mask), 0);
	if (cpu < 0)
		return false;
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	return true;
}

static __always_inline bool kick_idle_on(u32 node_id)
{
	struct ballast_node *node = node_at(node_id);

	if (!node || !node->nr_idle || !kick_idle_in(kick_mask(node_id)))
		return false;
	count(BALLAST_STAT_HELP_KICKS);
	return true;
}

/* Tasks at the front of a CPU's queue for which a sibling is sought at once. */
#define ASIDE_SCAN 8

/* Wake an idle CPU of @domain that may run @p. */
static __always_inline bool wake_sibling(const struct ballast_domain *domain,
					 const struct task_struct *p)
{
	struct ballast_cpu *cpu;
	u32 i, cpu_id;

	bpf_for(i, 0, DOMAIN_SCAN_MAX) {
		cpu_id = nth_cpu(domain, i);
		if (cpu_id == BALLAST_NONE)
			break;
		cpu = cpu_at(cpu_id);
		if (!cpu || !cpu->idle_since_ns || !bpf_cpumask_test_cpu(cpu_id, p->cpus_ptr) ||
		    !scx_bpf_test_and_clear_cpu_idle(cpu_id))
			continue;
		scx_bpf_kick_cpu(cpu_id, SCX_KICK_IDLE);
		return true;
	}
	return false;
}

/*
 * @cpu_id, of @domain, is busy: wake a sibling that idles and may take one of the first of its
 * own queue.
 */
static __always_inline void share_own_queue(u32 cpu_id, const struct ballast_cpu *cpu,
					    const struct ballast_domain *domain)
{
	struct task_struct *p;
	u32 seen = 0;

	if (!domain->nr_aside || !domain->nr_idle || !is_waited_for(cpu_id, cpu))
		return;
	bpf_for_each(scx_dsq, p, CPU_DSQ(cpu_id), 0) {
		if (p->nr_cpus_allowed > 1 && !is_migration_disabled(p) && wake_sibling(domain, p))
			break;
		if (++seen == ASIDE_SCAN)
			break;
	}
}

/*
 * A task waits in @domain_id's queue: wake an idle CPU that may take it, of the
 * domain at once, of others when the queue has outlasted the bound. Returns
 * whether one was woken.
 */
static __noinline bool call_help(u32 domain_id, u64 now)
{
	struct ballast_domain *domain = domain_at(domain_id);
	u64 age_ns;
	u32 i;

	if (!domain)
		return false;
	if (domain->nr_idle && kick_idle_in(domain_mask(domain_id)))
		return true;
	if (!greedy_threshold || !domain->queued_since_ns)
		return false;
	age_ns = elapsed_ns(domain->queued_since_ns, now);
	if (age_ns < patience(steal_after_node_ns))
		return false;
	if (kick_idle_on(domain->node))
		return true;
	if (!greedy_threshold_x_numa || age_ns < patience(steal_after_numa_ns))
		return false;
	bpf_for(i, 1, BALLAST_MAX_NODES) {
		if (i >= nr_nodes)
			break;
		if (kick_idle_on(nearest_node(domain->node, i)))
			return true;
	}
	return false;
}

/* Note that the queue of @domain is empty, unless a task came meanwhile. */
static __always_inline void note_empty(struct ballast_domain *domain, u32 domain_id, u64 now)
{
	if (!domain->queued_since_ns)
		return;
	domain->queued_since_ns = 0;
	if (may_hold_tasks(domain) && scx_bpf_dsq_nr_queued(DOMAIN_DSQ(domain_id)))
		domain->queued_since_ns = now ?: 1;
}

/* Every tick of a busy CPU: keep the age of its queue true and call for help. */
static __always_inline void check_queue(struct ballast_domain *domain, u32 domain_id, u64 now)
{
	/* Their own CPU may be taken by a class above ours, and see no tick. */
	if (domain->nr_aside && domain->nr_idle)
		kick_idle_in(domain_mask(domain_id));
	if (!may_hold_tasks(domain) || !scx_bpf_dsq_nr_queued(DOMAIN_DSQ(domain_id))) {
		domain->queued_since_ns = 0;
		return;
	}
	if (!domain->queued_since_ns)
		domain->queued_since_ns = now ?: 1;
	call_help(domain_id, now);
}

#endif /* BALLAST_STEAL_BPF_H */
