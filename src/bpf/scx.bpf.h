/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scx.bpf.h owns the way to the kernel: it is the one header through which all
 * BPF code reaches sched_ext, or, in the simulator, what stands in for it. It must
 * never hold policy.
 */
#ifndef BALLAST_SCX_BPF_H
#define BALLAST_SCX_BPF_H

#ifdef BALLAST_SIM
#include "shim.h"
#else
#include <scx/common.bpf.h>
#include <scx/compat.bpf.h>
#include <scx/enums.bpf.h>
#endif

#include "abi.h"

/* Fields of the kernel's memory policy, see include/uapi/linux/mempolicy.h. */
enum ballast_mempolicy {
	BALLAST_MPOL_PREFERRED = 1,
	BALLAST_MPOL_BIND = 2,
	BALLAST_MPOL_PREFERRED_MANY = 5,
};

#define BALLAST_SCHED_IDLE 5

/*
 * When @cpu's run queue, which is locked, was last brought up to date: as a rule, as the kernel
 * began to look for the next task, when scx_bpf_now() would read the clock anew. But a wake-up
 * that makes the CPU do so may have it leave that out: the time is that of the wake-up then,
 * and may be that of the last tick.
 */
static __always_inline u64 rq_clock_ns(s32 cpu)
{
#ifdef BALLAST_SIM
	return scx_bpf_now();
#else
	const struct rq *rq = bpf_per_cpu_ptr(&runqueues, cpu);

	/* Before 6.14 all else is by another clock. */
	return rq && bpf_ksym_exists(scx_bpf_now) ? rq->clock : scx_bpf_now();
#endif
}

/* Nothing orders two CPUs' clocks: never let a difference wrap. */
static __always_inline u64 elapsed_ns(u64 from_ns, u64 to_ns)
{
	return time_before(from_ns, to_ns) ? to_ns - from_ns : 0;
}

static __always_inline u64 min_u64(u64 a, u64 b)
{
	return a < b ? a : b;
}

static __always_inline u64 max_u64(u64 a, u64 b)
{
	return a > b ? a : b;
}

/*
 * The time on @cpu, whose run queue is locked: not before its last task began or stopped, but
 * for the skew of clocks. Whoever stops a task sets that, be it back, or it could stand still.
 */
static __always_inline u64 now_on(const struct ballast_cpu *cpu, s32 cpu_id)
{
	return max_u64(rq_clock_ns(cpu_id), cpu->now_ns);
}

#endif /* BALLAST_SCX_BPF_H */
