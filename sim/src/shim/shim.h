/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * shim.h owns what stands in for the kernel's headers when src/bpf is compiled
 * for the simulator: macros of maps and programs, kfuncs, cpumasks. It must never
 * decide anything: kfuncs go to the simulated machine, the rest means what it
 * means in BPF.
 */
#ifndef BALLAST_SIM_SHIM_H
#define BALLAST_SIM_SHIM_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __arg_trusted
#define __arg_nonnull
#define __kptr
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define SEC(name) __attribute__((used))

#define BPF_STRUCT_OPS(name, args...) name(args)
#define BPF_STRUCT_OPS_SLEEPABLE(name, args...) name(args)
#define SCX_OPS_DEFINE(ops_name, ...) struct sched_ext_ops ops_name = {__VA_ARGS__}

/* The loader looks at the kind only: everything else it knows itself. */
#define UEI_DEFINE(name) s32 name##_kind
#define UEI_RECORD(name, info) (name##_kind = (info)->kind)

/* The loader writes the machine and its functions here. */
struct sim_kernel sim_kernel;
#define SIM(function, args...) sim_kernel.function(sim_kernel.machine, ##args)

/* ---- constants: values of include/linux/sched.h and kernel/sched/ext*.h ---- */

#define PF_WQ_WORKER 0x00000020
#define PF_KTHREAD 0x00200000
#define NUMA_NO_NODE (-1)

#define SCX_TASK_QUEUED (1U << 0)
#define SCX_DSQ_LOCAL (1ULL << 63 | 2)
#define SCX_DSQ_LOCAL_ON (1ULL << 63 | 1ULL << 62)
#define SCX_DSQ_ITER_REV (1ULL << 16)
#define SCX_ENQ_WAKEUP (1ULL << 0)
#define SCX_ENQ_PREEMPT (1ULL << 32)
#define SCX_ENQ_LAST (1ULL << 41)
#define SCX_KICK_IDLE (1ULL << 0)
#define SCX_KICK_PREEMPT (1ULL << 1)
#define SCX_PICK_IDLE_CORE (1ULL << 0)
#define SCX_ECODE_RSN_HOTPLUG (1LL << 32)
#define SCX_ECODE_ACT_RESTART (1LL << 48)

#define BPF_LOCAL_STORAGE_GET_F_CREATE 1

static __always_inline bool time_before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

/* ---- maps ---- */

/*
 * SIM_MAP: a map's variable has at least three members of one word each. The
 * loader overwrites the first three with a struct sim_map.
 */
#define __uint(name, value) u64 name
#define __type(name, kind) kind *name
#define BPF_F_MMAPABLE 0
#define BPF_F_NO_PREALLOC 0

static __always_inline void *sim_map_at(const struct sim_map *map, u32 key)
{
	return key < map->entries ? (char *)map->base + key * map->stride : NULL;
}

#define bpf_map_lookup_elem(map, key) sim_map_at((const struct sim_map *)(map), *(const u32 *)(key))

static __always_inline long sim_ring_push(const struct sim_map *map, u32 value)
{
	struct sim_ring *ring = map->base;

	if (ring->count == map->entries)
		return -E2BIG;
	ring->values[(ring->head + ring->count++) % map->entries] = value;
	return 0;
}

static __always_inline long sim_ring_pop(const struct sim_map *map, u32 *value)
{
	struct sim_ring *ring = map->base;

	if (!ring->count)
		return -ENOENT;
	*value = ring->values[ring->head];
	ring->head = (ring->head + 1) % map->entries;
	ring->count--;
	return 0;
}

#define bpf_map_push_elem(map, value, flags) \
	sim_ring_push((const struct sim_map *)(map), *(const u32 *)(value))
#define bpf_map_pop_elem(map, value) sim_ring_pop((const struct sim_map *)(map), value)

static inline void *sim_storage_get(struct task_struct *p, size_t size, u64 flags)
{
	if (!p->sim_storage && (flags & BPF_LOCAL_STORAGE_GET_F_CREATE) && !SIM(allocation_fails))
		p->sim_storage = calloc(1, size);
	return p->sim_storage;
}

#define bpf_task_storage_get(map, p, init, flags) \
	((typeof((map)->value))sim_storage_get(p, sizeof(*(map)->value), flags))

/* ---- BPF helpers ---- */

#define bpf_for(i, start, end) for ((i) = (start); (i) < (end); (i)++)

static __always_inline struct sim_iter sim_iter_begin(u64 dsq, u64 flags)
{
	struct sim_iter it = {};

	SIM(iter_new, &it, dsq, flags);
	return it;
}

/* Queues are the only kind that is walked. */
#define bpf_for_each(kind, p, args...) \
	for (struct sim_iter ___it = sim_iter_begin(args); ((p) = SIM(iter_next, &___it));)
#define BPF_FOR_EACH_ITER (&___it)

/* As in BPF, what is read through NULL is 0. */
#define SIM_READ_1(p, a) ((p) ? (p)->a : 0)
#define SIM_READ_2(p, a, b) SIM_READ_1(SIM_READ_1(p, a), b)
#define SIM_READ_3(p, a, b, c) SIM_READ_1(SIM_READ_2(p, a, b), c)
#define SIM_READ_4(p, a, b, c, d) SIM_READ_1(SIM_READ_3(p, a, b, c), d)
#define SIM_READ_OF(a, b, c, d, name, rest...) name
#define BPF_CORE_READ(p, path...) \
	SIM_READ_OF(path, SIM_READ_4, SIM_READ_3, SIM_READ_2, SIM_READ_1, )(p, path)
/* A field that the shim lacks does not compile, so all are there. */
#define bpf_core_field_exists(field) (sizeof(field) != 0)
#define bpf_get_smp_processor_id() SIM(this_cpu)
#define bpf_get_current_task_btf() SIM(current_task)

static __always_inline long bpf_probe_read_kernel(void *to, u32 size, const void *from)
{
	memcpy(to, from, size);
	return 0;
}

static __always_inline void bpf_rcu_read_lock(void)
{
	sim_kernel.rcu_depth++;
}

static __always_inline void bpf_rcu_read_unlock(void)
{
	sim_kernel.rcu_depth--;
}

/* The old value is the caller's from now on, the new one no longer. */
#define bpf_kptr_xchg(slot, value)                                            \
	({                                                                    \
		typeof(*(slot)) ___new = (value);                             \
		typeof(*(slot)) ___old = *(slot);                             \
                                                                              \
		*(slot) = ___new;                                             \
		sim_kernel.masks_held += (___old != NULL) - (___new != NULL); \
		___old;                                                       \
	})

/* ---- cpumasks ---- */

extern const volatile u32 nr_cpu_ids;
#define SIM_WORDS ((nr_cpu_ids + 63) / 64)

#define cast_mask(mask) ((const struct cpumask *)(mask))

static inline struct bpf_cpumask *bpf_cpumask_create(void)
{
	struct bpf_cpumask *mask = SIM(allocation_fails) ? NULL : calloc(1, sizeof(*mask));

	sim_kernel.masks_held += mask != NULL;
	return mask;
}

static inline void bpf_cpumask_release(struct bpf_cpumask *mask)
{
	sim_kernel.masks_held--;
	free(mask);
}

static __always_inline void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *mask)
{
	if (cpu < nr_cpu_ids)
		mask->cpumask.bits[cpu / 64] |= 1ULL << (cpu % 64);
}

static __always_inline void bpf_cpumask_clear_cpu(u32 cpu, struct bpf_cpumask *mask)
{
	if (cpu < nr_cpu_ids)
		mask->cpumask.bits[cpu / 64] &= ~(1ULL << (cpu % 64));
}

static __always_inline bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *mask)
{
	return cpu < nr_cpu_ids && mask->bits[cpu / 64] >> (cpu % 64) & 1;
}

/*
 * These look at every word without a branch, so that the compiler takes several at
 * once, as the kernel's do. Machines have at most SIM_MASK_WORDS words of CPUs.
 */
#define SIM_WORDWISE static inline __attribute__((no_sanitize("undefined")))

SIM_WORDWISE bool bpf_cpumask_subset(const struct cpumask *a, const struct cpumask *b)
{
	u32 words = SIM_WORDS;
	u64 beyond = 0;

	for (u32 i = 0; i < words; i++)
		beyond |= a->bits[i] & ~b->bits[i];
	return !beyond;
}

SIM_WORDWISE bool bpf_cpumask_intersects(const struct cpumask *a, const struct cpumask *b)
{
	u32 words = SIM_WORDS;
	u64 common = 0;

	for (u32 i = 0; i < words; i++)
		common |= a->bits[i] & b->bits[i];
	return common;
}

SIM_WORDWISE u32 bpf_cpumask_weight(const struct cpumask *mask)
{
	u32 words = SIM_WORDS, weight = 0;

	for (u32 i = 0; i < words; i++)
		weight += __builtin_popcountll(mask->bits[i]);
	return weight;
}

static inline u32 bpf_cpumask_first(const struct cpumask *mask)
{
	u32 words = SIM_WORDS;

	for (u32 i = 0; i < words; i++)
		if (mask->bits[i])
			return 64 * i + __builtin_ctzll(mask->bits[i]);
	return nr_cpu_ids;
}

#define bpf_cpumask_any_and_distribute(a, b) SIM(any_and_distribute, a, b)

/* ---- kfuncs of sched_ext ---- */

#define __COMPAT_HAS_scx_bpf_select_cpu_and true
#define __COMPAT_scx_bpf_dsq_peek(dsq) SIM(dsq_peek, dsq)

#define scx_bpf_now() SIM(now)
#define scx_bpf_task_cpu(p) ((p)->sim_cpu)
#define is_migration_disabled(p) ((p)->migration_disabled > 0)
#define scx_bpf_dsq_insert(p, dsq, slice, flags) SIM(dsq_insert, p, dsq, slice, flags)
#define scx_bpf_dsq_insert_vtime(p, dsq, slice, vtime, flags) \
	SIM(dsq_insert_vtime, p, dsq, slice, vtime, flags)
#define scx_bpf_dsq_move_to_local(dsq, flags) SIM(dsq_move_to_local, dsq, flags)
#define scx_bpf_dsq_move_set_vtime(it, key) ((it)->vtime = (key), (it)->vtime_set = true)
#define scx_bpf_dsq_move(it, p, dsq, flags) SIM(dsq_move, it, p, dsq, flags, false)
#define scx_bpf_dsq_move_vtime(it, p, dsq, flags) SIM(dsq_move, it, p, dsq, flags, true)
#define scx_bpf_dsq_nr_queued(dsq) SIM(dsq_nr_queued, dsq)
#define scx_bpf_create_dsq(dsq, node) SIM(create_dsq, dsq, node)
#define scx_bpf_kick_cpu(cpu, flags) SIM(kick_cpu, cpu, flags)
#define scx_bpf_pick_idle_cpu(mask, flags) SIM(pick_idle_cpu, mask, flags)
#define scx_bpf_get_idle_cpumask() SIM(idle_cpumask)
#define scx_bpf_put_idle_cpumask(mask) ((void)(mask))
#define scx_bpf_test_and_clear_cpu_idle(cpu) SIM(test_and_clear_cpu_idle, cpu)
#define scx_bpf_select_cpu_and(p, prev, wake_flags, mask, flags) \
	SIM(select_cpu_and, p, prev, wake_flags, mask, flags)
#define scx_bpf_cpuperf_set(cpu, level) SIM(cpuperf_set, cpu, level)
#define scx_bpf_task_set_slice(p, ns) ((p)->scx.slice = (ns), true)

static inline
	__attribute__((format(printf, 2, 3))) void scx_bpf_exit(s64 code, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	SIM(exit, code, text);
}

static inline __attribute__((format(printf, 1, 2))) void scx_bpf_dump(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	SIM(dump, text);
}

#endif /* BALLAST_SIM_SHIM_H */
