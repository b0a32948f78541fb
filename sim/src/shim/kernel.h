/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kernel.h owns the layouts through which the scheduler's C and the simulator's
 * Rust see each other: tasks, callbacks, kfuncs. It must never hold code: bindgen
 * reads it. Only what src/bpf uses is here, so that a new dependency of the
 * scheduler on the kernel fails to compile instead of being made up.
 */
#ifndef BALLAST_SIM_KERNEL_H
#define BALLAST_SIM_KERNEL_H

#include <stdbool.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

/* As many CPUs as the scheduler can be loaded for: BALLAST_MAX_CPUS. */
#define SIM_MASK_WORDS 128

struct cpumask {
	u64 bits[SIM_MASK_WORDS];
};

struct bpf_cpumask {
	struct cpumask cpumask;
};

struct sched_ext_entity {
	/* SCX_TASK_* */
	u32 flags;
	u32 weight;
	/* ns left to run, 0: the task is to be put */
	u64 slice;
	/* key in a queue of priorities */
	u64 dsq_vtime;
};

struct sim_nodemask {
	u64 bits[16];
};

struct mempolicy {
	u16 mode;
	struct sim_nodemask nodes;
};

struct kernfs_node {
	u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct cgroup_subsys_state {
	/* NULL in an autogroup */
	struct cgroup *cgroup;
};

struct task_group {
	struct cgroup_subsys_state css;
};

struct task_struct {
	s32 pid;
	s32 tgid;
	/* PF_* */
	u32 flags;
	s32 static_prio;
	u32 policy;
	s32 nr_cpus_allowed;
	u16 migration_disabled;
	const struct cpumask *cpus_ptr;
	struct mempolicy *mempolicy;
	struct task_group *sched_task_group;
	struct sched_ext_entity scx;
	/* The simulator's own: its index, the CPU whose run queue it is on. */
	u32 sim_index;
	s32 sim_cpu;
	/* value of the scheduler's task storage */
	void *sim_storage;
};

struct scx_init_task_args {
	bool fork;
};

struct scx_exit_info {
	s32 kind;
	s64 exit_code;
};

struct scx_dump_ctx {
	u64 at_ns;
};

/* The callbacks of the scheduler, in the order of the kernel's struct. */
struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dequeue)(struct task_struct *p, u64 deq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	void (*tick)(struct task_struct *p);
	void (*runnable)(struct task_struct *p, u64 enq_flags);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*quiescent)(struct task_struct *p, u64 deq_flags);
	void (*set_weight)(struct task_struct *p, u32 weight);
	void (*set_cpumask)(struct task_struct *p, const struct cpumask *cpumask);
	void (*update_idle)(s32 cpu, bool idle);
	void (*cpu_online)(s32 cpu);
	void (*cpu_offline)(s32 cpu);
	s32 (*init_task)(struct task_struct *p, struct scx_init_task_args *args);
	void (*enable)(struct task_struct *p);
	void (*disable)(struct task_struct *p);
	void (*dump)(struct scx_dump_ctx *ctx);
	void (*dump_cpu)(struct scx_dump_ctx *ctx, s32 cpu, bool idle);
	void (*dump_task)(struct scx_dump_ctx *ctx, struct task_struct *p);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	u32 timeout_ms;
	char name[128];
};

/* What a map's variable holds once loaded; see SIM_MAP in shim.h. */
struct sim_map {
	void *base;
	u64 stride;
	u64 entries;
};

/* A queue map's memory: ring of u32. */
struct sim_ring {
	u64 head;
	u64 count;
	u32 values[];
};

/* Position of a walk through a queue, see bpf_for_each. */
struct sim_iter {
	u64 dsq;
	u64 flags;
	/* key of the task looked at last, and its number in the order of arrival */
	s64 key;
	u64 sequence;
	/* tasks that arrive later are not seen */
	u64 newest;
	/* what the task moved next gets as its key */
	u64 vtime;
	bool started;
	bool vtime_set;
};

/*
 * The kernel as the scheduler calls it. Every function takes the simulated
 * machine first, so that a process can hold several.
 */
struct sim_kernel {
	void *machine;
	u64 (*now)(void *machine);
	u32 (*this_cpu)(void *machine);
	struct task_struct *(*current_task)(void *machine);
	void (*dsq_insert)(void *machine, struct task_struct *p, u64 dsq, u64 slice, u64 enq_flags);
	void (*dsq_insert_vtime)(void *machine, struct task_struct *p, u64 dsq, u64 slice,
				 u64 vtime, u64 enq_flags);
	bool (*dsq_move_to_local)(void *machine, u64 dsq, u64 enq_flags);
	bool (*dsq_move)(void *machine, struct sim_iter *it, struct task_struct *p, u64 dsq,
			 u64 enq_flags, bool vtime);
	s32 (*dsq_nr_queued)(void *machine, u64 dsq);
	struct task_struct *(*dsq_peek)(void *machine, u64 dsq);
	void (*iter_new)(void *machine, struct sim_iter *it, u64 dsq, u64 flags);
	struct task_struct *(*iter_next)(void *machine, struct sim_iter *it);
	s32 (*create_dsq)(void *machine, u64 dsq, s32 node);
	void (*kick_cpu)(void *machine, s32 cpu, u64 flags);
	s32 (*pick_idle_cpu)(void *machine, const struct cpumask *mask, u64 flags);
	const struct cpumask *(*idle_cpumask)(void *machine);
	bool (*test_and_clear_cpu_idle)(void *machine, s32 cpu);
	s32 (*select_cpu_and)(void *machine, struct task_struct *p, s32 prev_cpu, u64 wake_flags,
			      const struct cpumask *mask, u64 flags);
	u32 (*any_and_distribute)(void *machine, const struct cpumask *a, const struct cpumask *b);
	void (*cpuperf_set)(void *machine, s32 cpu, u32 level);
	void (*exit)(void *machine, s64 code, const char *message);
	void (*dump)(void *machine, const char *text);
	bool (*allocation_fails)(void *machine);
	/* read-side critical sections open now */
	s32 rcu_depth;
	/* cpumasks that were acquired and neither stored nor released */
	s32 masks_held;
};

#endif /* BALLAST_SIM_KERNEL_H */
