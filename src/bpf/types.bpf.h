/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * types.bpf.h owns the maps, the constants set at load time and the lookups.
 * It must never decide anything.
 *
 * The program is one compilation unit, one concept a file: the functions on
 * the hot path call each other several times a context switch, and calls
 * between separately verified BPF objects can neither be inlined nor pass
 * kernel pointers freely.
 */
#ifndef BALLAST_TYPES_BPF_H
#define BALLAST_TYPES_BPF_H

#include "scx.bpf.h"

char _license[] SEC("license") = "GPL";

UEI_DEFINE(uei);

/* Sizes of this machine; the maps below are resized to match before loading. */
const volatile u32 nr_cpu_ids = 1;
const volatile u32 nr_domains = 1;
const volatile u32 nr_nodes = 1;
const volatile u32 max_rows = 1;
/* u64 words of a set of CPUs */
const volatile u32 mask_words = 1;

/* Policy that does not change while loaded; see the flags of the same name. */
const volatile bool fifo_sched;
const volatile bool kthreads_local = true;
const volatile bool direct_greedy = true;
const volatile bool direct_greedy_numa;
const volatile bool kick_greedy = true;
const volatile bool mempolicy_affinity;
const volatile u32 greedy_threshold = 1;
const volatile u32 greedy_threshold_x_numa = 1;
const volatile u64 steal_after_node_ns = 2000000;
const volatile u64 steal_after_numa_ns = 10000000;
/* a daemon silent for longer than this is taken for stalled */
const volatile u64 heartbeat_timeout_ns = 5000000000;
/* the daemon's process: its threads go first */
const volatile u32 daemon_tgid;
/* cpuperf target, 0xffffffff: leave the frequency alone */
const volatile u32 cpuperf = BALLAST_NONE;

/* Written by ballast_beat. */
u64 slice_ns = 5000000;
u64 preempt_margin_ns = 1000000;
u64 heartbeat_ns;
/* The daemon has missed its heartbeat: its knobs are outdated. */
bool daemon_lost;
u64 lost_since_ns;
/* Grows when a CPU comes online: what is known of affinities is outdated. */
u32 hotplug_count;
u64 last_patrol_ns;
/* Rows that were ever used: the daemon reads no further. */
u32 rows_used;

/* First id of each family of queues; built-in queues have bit 63 set. */
#define DOMAIN_DSQ(domain) ((u64)(domain))
#define CPU_DSQ(cpu) (0x100000ULL | (u64)(cpu))

/* A clock is named by its domain or, with this bit, by its CPU. */
#define CLOCK_OF_CPU 0x80000000U

/* A task_ctx's open_in. */
enum open_bits {
	/* domain + 1: where it queued */
	OPEN_DOMAIN = 0xffff,
	/* another, where it was moved to, or was meant to be; 0: it was not */
	OPEN_MOVED_SHIFT = 16,
	OPEN_COMPUTES = 1ULL << 32,
	OPEN_IS_HOG = 1ULL << 33,
};

/* What only BPF needs to know of a task. */
struct task_ctx {
	/* service received, in ns of a nice-0 task, in terms of `clock` */
	u64 vruntime;
	/* how long it runs in one go, averaged: its request in the deadline */
	u64 burst_ns;
	/* how long it ran between the last two times that it went to sleep */
	u64 turn_ns;
	/* and how long that was in all; 0: not known */
	u64 cycle_ns;
	/* when it went to sleep last */
	u64 slept_ns;
	u64 ran_ns;
	u64 run_since_ns;
	/* what it has had of its slice, interruptions apart */
	u64 slice_used_ns;
	/* when it woke the one it wakes in turn with; 0: not since it slept */
	u64 woke_pair_ns;
	/* how long it goes on after that, averaged; 0: not known */
	u64 goes_on_ns;
	/* when it was sent straight to an idle CPU; 0: it has run since */
	u64 sent_idle_ns;
	/* how long it ran on away_node, less what it ran on memory_node meanwhile */
	u64 away_ns;
	/* pid of what ran where it was last woken */
	s32 woken_by;
	u32 slot;
	u32 clock;
	u32 domain;
	/* node + 1 of its memory, as far as is known; 0: has not run yet */
	u32 memory_node;
	/* the other node that it ran on last */
	u32 away_node;
	/* what vruntime is charged by: the daemon's wish or own_weight */
	u32 weight;
	/* the exact weight of its nice level */
	u32 own_weight;
	/* CPU + 1 whose confined_weight includes confined_weight; 0: none */
	u32 confined_cpu;
	u32 confined_weight;
	/* domain + 1 in whose clock it has a standing; 0: none, vruntime says it */
	u32 standing_domain;
	/* its vruntime there; with a confined_cpu it counts from confined_mean: see party_shift */
	u64 standing;
	/* domain + 1 whose nr_aside counts it; 0: none */
	u32 aside_domain;
	/* CPU + 1 whose nr_near counts it; 0: none */
	u32 near_cpu;
	/* where nr_open counts it, and as what: see enum open_bits; 0: nowhere */
	u64 open_in;
	/* hotplug_count when whole_domain was found out */
	u32 hotplug_seen;
	/* may use every CPU of `domain` */
	bool whole_domain;
	/* has slept since it came, so that its burst is known */
	bool slept;
	/* waits in a queue with a clock, or was taken from one */
	bool queued;
	/* was taken from a queue before the first in it */
	bool out_of_turn;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_ctx);
} task_ctxs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct ballast_row);
} rows SEC(".maps");

/* mask_words words a row: the CPUs its task may use. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u64));
} row_masks SEC(".maps");

/* Rows that were used and are free again. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, u32);
} free_rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct ballast_cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct ballast_domain);
} domains SEC(".maps");

/* All CPUs, ordered by domain: see ballast_domain.first_cpu. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} domain_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct ballast_node);
} nodes SEC(".maps");

/* For every node, all nodes by distance: nr_nodes entries a node, itself first. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} node_order SEC(".maps");

struct mask_slot {
	struct bpf_cpumask __kptr *mask;
};

/* The online CPUs of every domain. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct mask_slot);
} domain_masks SEC(".maps");

/* The CPUs of every node that wake-ups of other domains may use when idle. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct mask_slot);
} direct_masks SEC(".maps");

/* The CPUs of every node that may be woken to steal. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct mask_slot);
} kick_masks SEC(".maps");

/* All CPUs that are online, under key 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct mask_slot);
} machine_masks SEC(".maps");

static __always_inline struct task_ctx *task_ctx_of(struct task_struct *p)
{
	return bpf_task_storage_get(&task_ctxs, p, NULL, 0);
}

static __always_inline struct ballast_row *row_at(u32 slot)
{
	return bpf_map_lookup_elem(&rows, &slot);
}

static __always_inline struct ballast_cpu *cpu_at(u32 cpu)
{
	return bpf_map_lookup_elem(&cpus, &cpu);
}

static __always_inline struct ballast_domain *domain_at(u32 domain)
{
	return bpf_map_lookup_elem(&domains, &domain);
}

static __always_inline struct ballast_node *node_at(u32 node)
{
	return bpf_map_lookup_elem(&nodes, &node);
}

/* The @nth nearest node to @node, @node itself for 0. */
static __always_inline u32 nearest_node(u32 node, u32 nth)
{
	u32 key = node * nr_nodes + nth;
	u32 *id = bpf_map_lookup_elem(&node_order, &key);

	return id ? *id : node;
}

/* The @nth CPU of @domain, BALLAST_NONE past its end. */
static __always_inline u32 nth_cpu(const struct ballast_domain *domain, u32 nth)
{
	u32 key = domain->first_cpu + nth;
	u32 *cpu;

	if (nth >= domain->nr_cpus)
		return BALLAST_NONE;
	cpu = bpf_map_lookup_elem(&domain_cpus, &key);
	return cpu ? *cpu : BALLAST_NONE;
}

static __always_inline struct bpf_cpumask *domain_mask(u32 domain)
{
	struct mask_slot *slot = bpf_map_lookup_elem(&domain_masks, &domain);

	return slot ? slot->mask : NULL;
}

static __always_inline struct bpf_cpumask *direct_mask(u32 node)
{
	struct mask_slot *slot = bpf_map_lookup_elem(&direct_masks, &node);

	return slot ? slot->mask : NULL;
}

static __always_inline struct bpf_cpumask *kick_mask(u32 node)
{
	struct mask_slot *slot = bpf_map_lookup_elem(&kick_masks, &node);

	return slot ? slot->mask : NULL;
}

static __always_inline struct bpf_cpumask *machine_mask(void)
{
	u32 key = 0;
	struct mask_slot *slot = bpf_map_lookup_elem(&machine_masks, &key);

	return slot ? slot->mask : NULL;
}

static __always_inline void count(enum ballast_stat stat)
{
	struct ballast_cpu *cpu = cpu_at(bpf_get_smp_processor_id());

	if (cpu)
		cpu->stats[stat]++;
}

#endif /* BALLAST_TYPES_BPF_H */
