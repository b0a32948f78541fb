/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dump.bpf.h owns what the kernel's debug dump says about this scheduler: the
 * state one needs to explain a stall. It must never change anything.
 */
#ifndef BALLAST_DUMP_BPF_H
#define BALLAST_DUMP_BPF_H

#include "account.bpf.h"
#include "queue.bpf.h"

/* A dump buffer is short: the first domains tell the story. */
#define DUMP_DOMAINS_MAX 64

static __always_inline void dump_domains(u64 now)
{
	struct ballast_domain *domain;
	u32 id;

	bpf_for(id, 0, DUMP_DOMAINS_MAX) {
		if (id >= nr_domains)
			break;
		domain = domain_at(id);
		if (!domain)
			break;
		scx_bpf_dump(
			"domain %u: node %u cpus %u queued %d for %llu us, open %u, computing %u, hogs %llu, aside %llu\n",
			id, domain->node, domain->nr_cpus, scx_bpf_dsq_nr_queued(DOMAIN_DSQ(id)),
			domain->queued_since_ns ? elapsed_ns(domain->queued_since_ns, now) / 1000 :
						  0,
			nr_open(domain), nr_computing(domain), domain->nr_hogs, domain->nr_aside);
		scx_bpf_dump("  vtime %llu rate %llu/1024\n", domain->clock.vtime,
			     domain->clock.rate);
	}
}

static __always_inline void dump_one_cpu(s32 id, bool idle)
{
	struct ballast_cpu *cpu = cpu_at(id);
	s32 queued = scx_bpf_dsq_nr_queued(CPU_DSQ(id));

	if (!cpu || (idle && queued <= 0))
		return;
	scx_bpf_dump("domain %u queued %d confined weight %llu vtime %llu clock %llu\n",
		     cpu->domain, queued, cpu->confined_weight, cpu->confined_vtime,
		     cpu->clock.vtime);
	scx_bpf_dump("running key %llu weight %u\n", cpu->running_key, cpu->running_weight);
}

static __always_inline void dump_one_task(struct task_struct *p, u64 now)
{
	struct task_ctx *tctx = task_ctx_of(p);
	struct ballast_clock *clock;
	struct ballast_row *row;

	if (!tctx)
		return;
	clock = clock_at(tctx->clock);
	row = row_at(tctx->slot);
	scx_bpf_dump("domain %u clock %x weight %u lag %lld us", tctx->domain, tctx->clock,
		     tctx->weight, clock ? (s64)(clock->vtime - tctx->vruntime) / 1000 : 0);
	if (!row)
		return;
	scx_bpf_dump(" state %u for %llu us request %llx", row_state(row),
		     elapsed_ns(row->since_state >> BALLAST_STATE_BITS, now) / 1000, row->request);
}

#endif /* BALLAST_DUMP_BPF_H */
