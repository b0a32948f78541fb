/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * abi.h owns every layout and constant that the BPF side and the Rust side
 * share; bindgen reads it, so the two cannot drift. It must never include
 * another header or hold code: plain integers only.
 */
#ifndef BALLAST_ABI_H
#define BALLAST_ABI_H

typedef unsigned long long ballast_u64;
typedef unsigned int ballast_u32;

enum ballast_limits {
	/* What `--domains` may ask for; the maps are sized to the machine. */
	BALLAST_MAX_DOMAINS = 512,
	BALLAST_MAX_CPUS = 8192,
	BALLAST_MAX_NODES = 1024,
	/* Weight of nice 0, as in the kernel's sched_prio_to_weight. */
	BALLAST_WEIGHT_NICE0 = 1024,
	/* "no domain", "no CPU", "no row" */
	BALLAST_NONE = 0xffffffff,
};

/* What a task is doing; the low bits of ballast_row.since_state. */
enum ballast_state {
	BALLAST_SLEEP = 0,
	BALLAST_WAIT = 1,
	BALLAST_RUN = 2,
	BALLAST_STATE_BITS = 2,
};

enum ballast_row_flags {
	/* May run on every CPU; the row's mask is not valid. */
	BALLAST_ROW_ANYWHERE = 1 << 0,
	/* May run on one CPU only: no move can help it. */
	BALLAST_ROW_PINNED = 1 << 1,
	BALLAST_ROW_KTHREAD = 1 << 2,
	BALLAST_ROW_KWORKER = 1 << 3,
};

/*
 * One row a task. run + wait + sleep always equals the `since` of since_state
 * less born_ns: every transition moves `since` by exactly what it adds to one
 * sum. A reader that finds this equation broken has read a torn row and reads
 * again, so writers need neither locks nor a sequence counter.
 */
struct ballast_row {
	ballast_u64 run_ns;
	ballast_u64 wait_ns;
	ballast_u64 sleep_ns;
	ballast_u64 born_ns;
	/* when the state was entered, in ns of the scheduler's clock, and which:
	 * since_ns << BALLAST_STATE_BITS | enum ballast_state, one atomic word */
	ballast_u64 since_state;
	/* asked by the daemon, claimed by BPF: see BALLAST_REQUEST_* ; 0: none */
	ballast_u64 request;
	/* how the last claimed request ended: BALLAST_ANSWER_* */
	ballast_u64 answer;
	/* bit per node that the task's memory policy names, 0: none */
	ballast_u64 preferred_nodes;
	/*
	 * The weight that the daemon wants the task charged by, with the row's
	 * generation in the upper 32 bits; 0 or another generation: `weight`.
	 */
	ballast_u64 charged;
	/* kernfs id of its control group with the cpu controller; 0: not known */
	ballast_u64 cgroup;
	/* odd while in use, grows at every allocation and release */
	ballast_u32 generation;
	ballast_u32 pid;
	ballast_u32 tgid;
	/* nice 0 = BALLAST_WEIGHT_NICE0 */
	ballast_u32 weight;
	/* where it last ran, or will first run */
	ballast_u32 domain;
	ballast_u32 cpu;
	/* enum ballast_row_flags */
	ballast_u32 flags;
} __attribute__((aligned(128)));

/* request: generation in the low 32 bits, target domain in 16, sequence in 16 */
enum ballast_request_bits {
	BALLAST_REQUEST_DOMAIN_SHIFT = 32,
	BALLAST_REQUEST_SEQUENCE_SHIFT = 48,
};

/* answer: generation in the low 32 bits, verdict in 16, sequence in 16 */
enum ballast_verdict {
	BALLAST_VERDICT_NONE = 0,
	/* the task has begun to run in the domain asked for */
	BALLAST_VERDICT_APPLIED = 1,
	/* the task may not run in that domain (any more) */
	BALLAST_VERDICT_NOT_ALLOWED = 2,
	/* the row belongs to another task now */
	BALLAST_VERDICT_STALE = 3,
};

enum ballast_stat {
	BALLAST_STAT_WAKE_IDLE_DOMAIN,
	BALLAST_STAT_WAKE_IDLE_NODE,
	BALLAST_STAT_WAKE_IDLE_NUMA,
	BALLAST_STAT_WAKE_PAIRED,
	BALLAST_STAT_WAKE_QUEUED,
	BALLAST_STAT_PREEMPTIONS,
	BALLAST_STAT_DISPATCH_DOMAIN,
	BALLAST_STAT_DISPATCH_CPU,
	BALLAST_STAT_KEPT,
	BALLAST_STAT_STEAL_DOMAIN,
	BALLAST_STAT_STEAL_NODE,
	BALLAST_STAT_STEAL_NUMA,
	BALLAST_STAT_HELP_KICKS,
	BALLAST_STAT_MOVES_APPLIED,
	BALLAST_STAT_MOVES_REFUSED,
	BALLAST_STAT_KTHREAD_LOCAL,
	BALLAST_STAT_ROWS_MISSING,
	BALLAST_STAT_HEARTBEAT_LOST,
	BALLAST_NR_STATS,
};

/* A virtual clock: the service a nice-0 task in good standing has had, in ns. */
struct ballast_clock {
	ballast_u64 vtime;
	/* growth of vtime over the last window, in 1/1024 */
	ballast_u64 rate;
	/* start of the window: scheduler clock and vtime */
	ballast_u64 window_ns;
	ballast_u64 window_vtime;
};

struct ballast_domain {
	struct ballast_clock clock;
	/* since when the queue has not been seen empty, 0: it is empty */
	ballast_u64 queued_since_ns;
	/* when a CPU of the domain last looked for work */
	ballast_u64 looked_ns;
	/* tasks in queues of its CPUs that other CPUs of the domain may take */
	ballast_u64 nr_aside;
	/* when one last joined them */
	ballast_u64 joined_aside_ns;
	/* tasks put into its queue, or to be moved there, that have not run since; from
	 * BALLAST_COMPUTING_SHIFT on those of them that would use up their slices */
	ballast_u64 nr_open;
	/* likewise those that will not sleep soon */
	ballast_u64 nr_hogs;
	ballast_u32 node;
	/* its CPUs are domain_cpus[first_cpu .. first_cpu + nr_cpus] */
	ballast_u32 first_cpu;
	ballast_u32 nr_cpus;
	/* of those, online; 0: nothing may be placed here */
	ballast_u32 nr_online;
	/* of those, idle, or claimed a moment ago; see count_idle */
	ballast_u32 nr_idle;
} __attribute__((aligned(64)));

enum ballast_open_bits {
	BALLAST_COMPUTING_SHIFT = 32,
};

enum ballast_cpu_flags {
	/* the tuner lets wake-ups of other domains use this CPU when idle */
	BALLAST_CPU_DIRECT = 1 << 0,
	/* the tuner lets others wake this CPU to steal */
	BALLAST_CPU_KICK = 1 << 1,
	BALLAST_CPU_ONLINE = 1 << 2,
};

struct ballast_cpu {
	/* order of the tasks confined to this CPU among themselves */
	struct ballast_clock clock;
	/* standing of those tasks together in the domain's clock: the average of their own, bounded */
	ballast_u64 confined_vtime;
	/* that average without bounds or forgiveness */
	ballast_u64 confined_mean;
	/* the sum of their weights while they are runnable */
	ballast_u64 confined_weight;
	/* when its task began, or its last one stopped: the run queue's clock may be behind */
	ballast_u64 now_ns;
	/* key under which the running task would queue now; 0: nothing to preempt */
	ballast_u64 running_key;
	/* that, if it is confined, among those confined to this CPU */
	ballast_u64 running_mate_key;
	ballast_u64 running_since_ns;
	/* from when it is sent a task as it idles until that runs, averaged */
	ballast_u64 wakes_in_ns;
	/* how long its task usually runs in one go */
	ballast_u64 running_burst_ns;
	/* what running_key grows by: its party's weight if it is confined */
	ballast_u32 running_weight;
	/* what running_mate_key grows by: its own */
	ballast_u32 running_mate_weight;
	ballast_u32 domain;
	ballast_u32 node;
	ballast_u32 flags;
	/* tasks in the domain's queue, or on their way out of it, that are this CPU's */
	ballast_u32 nr_near;
	/* its task gives way to a brief one and is to go on here after that */
	ballast_u32 interrupted;
	/* its task is one of those confined to it */
	ballast_u32 party_runs;
	/* how long it has idled in all, and since when it does now; 0: it is busy */
	ballast_u64 idle_ns;
	ballast_u64 idle_since_ns;
	ballast_u64 stats[BALLAST_NR_STATS];
} __attribute__((aligned(64)));

struct ballast_node {
	/* as in /sys/devices/system/node; nodes are indexed densely here */
	ballast_u32 id;
	/* its domains are first_domain .. first_domain + nr_domains */
	ballast_u32 first_domain;
	ballast_u32 nr_domains;
	/* of its CPUs, idle, or claimed a moment ago */
	ballast_u32 nr_idle;
} __attribute__((aligned(64)));

/* Argument and result of the program `ballast_beat`. */
struct ballast_beat_args {
	/* in */
	ballast_u64 slice_ns;
	ballast_u64 preempt_margin_ns;
	/* non-zero: the CPUs' DIRECT and KICK flags changed, rebuild the masks */
	ballast_u32 cpu_flags_changed;
	ballast_u32 rows_used;
	/* out: the scheduler's clock, in ns */
	ballast_u64 now_ns;
};

/* Argument and result of the program `ballast_apply_queued`. */
struct ballast_apply_args {
	/* in: the domain whose queue may hold tasks with a request */
	ballast_u32 domain;
	/* out: tasks moved to the queue asked for */
	ballast_u32 moved;
};

/* Argument of the program `ballast_apply_running`. */
struct ballast_prompt_args {
	ballast_u32 slot;
};

#endif /* BALLAST_ABI_H */
