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
 * The time at which @cpu's run queue, which is locked, was last brought up to date: now, but
 * for the lock. scx_bpf_now() reads the clock anew while the kernel picks the next task.
 */
static __always_inline u64 rq_clock_ns(s32 cpu)
{
#ifdef BALLAST_SIM
	return scx_bpf_now();
#else
	const struct rq *rq = bpf_per_cpu_ptr(&runqueues, cpu);

	return rq ? rq->clock : 0;
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

#endif /* BALLAST_SCX_BPF_H */
