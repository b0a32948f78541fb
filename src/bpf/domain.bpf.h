/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * domain.bpf.h owns which CPUs belong to which mask: at set-up, when CPUs come
 * and go, when the daemon says so or falls silent. It must never see a task.
 */
#ifndef BALLAST_DOMAIN_BPF_H
#define BALLAST_DOMAIN_BPF_H

#include "types.bpf.h"

static __always_inline s32 create_mask(void *map, u32 key)
{
	struct mask_slot *slot = bpf_map_lookup_elem(map, &key);
	struct bpf_cpumask *mask;

	if (!slot)
		return -ENOENT;
	mask = bpf_cpumask_create();
	if (!mask)
		return -ENOMEM;
	mask = bpf_kptr_xchg(&slot->mask, mask);
	if (mask)
		bpf_cpumask_release(mask);
	return 0;
}

static __always_inline void set_bit_in(struct bpf_cpumask *mask, u32 cpu, bool on)
{
	if (!mask)
		return;
	if (on)
		bpf_cpumask_set_cpu(cpu, mask);
	else
		bpf_cpumask_clear_cpu(cpu, mask);
}

/* A hotplug and the daemon at once: the flags seldom change twice in a row. */
#define MASK_TRIES 4

static __always_inline void mask_cpu_as(u32 cpu_id, const struct ballast_cpu *cpu, u32 flags)
{
	bool online = flags & BALLAST_CPU_ONLINE;

	set_bit_in(machine_mask(), cpu_id, online);
	set_bit_in(domain_mask(cpu->domain), cpu_id, online);
	set_bit_in(direct_mask(cpu->node), cpu_id, online && (flags & BALLAST_CPU_DIRECT));
	set_bit_in(kick_mask(cpu->node), cpu_id, online && (flags & BALLAST_CPU_KICK));
}

/* Bring the masks in line with the flags of @cpu_id. */
static __always_inline void mask_cpu(u32 cpu_id, struct ballast_cpu *cpu)
{
	u32 flags, i;

	bpf_for(i, 0, MASK_TRIES) {
		flags = *(volatile u32 *)&cpu->flags;
		mask_cpu_as(cpu_id, cpu, flags);
		if (*(volatile u32 *)&cpu->flags == flags)
			return;
	}
}

static __always_inline void count_online(u32 domain_id)
{
	struct ballast_domain *domain = domain_at(domain_id);
	struct bpf_cpumask *mask = domain_mask(domain_id);

	if (domain && mask)
		domain->nr_online = bpf_cpumask_weight(cast_mask(mask));
}

static __always_inline void mask_all_cpus(void)
{
	struct ballast_cpu *cpu;
	u32 id;

	bpf_for(id, 0, BALLAST_MAX_CPUS) {
		if (id >= nr_cpu_ids)
			break;
		cpu = cpu_at(id);
		if (cpu && cpu->domain < nr_domains)
			mask_cpu(id, cpu);
	}
}

/*
 * Called at every tick: when the daemon has fallen silent, its last word on who
 * may help whom no longer holds, so any idle CPU may.
 */
static __always_inline void check_daemon(u64 now)
{
	struct ballast_cpu *cpu;
	u32 id, roles = 0;

	if (likely(daemon_lost || elapsed_ns(heartbeat_ns, now) <= heartbeat_timeout_ns))
		return;
	if (__sync_val_compare_and_swap(&lost_since_ns, 0, now))
		return;
	daemon_lost = true;
	count(BALLAST_STAT_HEARTBEAT_LOST);
	if (direct_greedy)
		roles |= BALLAST_CPU_DIRECT;
	if (kick_greedy)
		roles |= BALLAST_CPU_KICK;
	bpf_for(id, 0, BALLAST_MAX_CPUS) {
		if (id >= nr_cpu_ids)
			break;
		cpu = cpu_at(id);
		if (cpu && cpu->domain < nr_domains) {
			__sync_fetch_and_or(&cpu->flags, roles);
			mask_cpu(id, cpu);
		}
	}
}

static __always_inline void note_heartbeat(u64 now)
{
	heartbeat_ns = now;
	daemon_lost = false;
	lost_since_ns = 0;
}

#endif /* BALLAST_DOMAIN_BPF_H */
