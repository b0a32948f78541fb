// SPDX-License-Identifier: GPL-2.0-only
//! The system calls the guest programs need, each behind a safe function.
//! Never decides anything: no policy, no retries, no output.

use std::io::{self, Error};

use crate::cpus::CpuList;

/// Scheduling class number of sched_ext, as in the kernel's uapi/linux/sched.h.
const SCHED_EXT: i32 = 7;

/// A scheduling policy a worker may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// SCHED_OTHER: what a sched_ext scheduler takes over unless it runs with `--partial`.
    Normal,
    /// SCHED_BATCH.
    Batch,
    /// SCHED_IDLE.
    Idle,
    /// SCHED_EXT: always under the sched_ext scheduler.
    Ext,
    /// SCHED_FIFO at priority 1: above every sched_ext task.
    Fifo,
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the kernel to fill.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on every Linux")
}

/// CPU time of the calling thread in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).expect("the thread CPU clock exists on every Linux")
}

/// CPU time of all threads of process `pid` in nanoseconds, up to this instant.
///
/// # Errors
/// When there is no such process.
pub fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place for the answer.
    let code = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
    if code != 0 {
        return Err(Error::from_raw_os_error(code));
    }
    clock_ns(clock)
}

/// Sleeps until CLOCK_MONOTONIC reads `deadline_ns`; a signal may end the sleep early.
pub fn sleep_until(deadline_ns: u64) {
    let time = libc::timespec {
        tv_sec: (deadline_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (deadline_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `time` is valid and no remainder is asked for. An early return only shortens a
    // pause, which the caller's clock then shows.
    unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &time,
            std::ptr::null_mut(),
        );
    }
}

/// Sets the nice value of the calling thread and of the threads it starts later.
///
/// # Errors
/// When the caller may not raise its priority.
pub fn set_own_nice(nice: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })
}

/// Sets the policy of the calling thread and of the threads it starts later.
///
/// # Errors
/// When the kernel does not know the policy or the caller may not use it.
pub fn set_own_policy(policy: Policy) -> io::Result<()> {
    let (number, priority) = match policy {
        Policy::Normal => (libc::SCHED_OTHER, 0),
        Policy::Batch => (libc::SCHED_BATCH, 0),
        Policy::Idle => (libc::SCHED_IDLE, 0),
        Policy::Ext => (SCHED_EXT, 0),
        Policy::Fifo => (libc::SCHED_FIFO, 1),
    };
    set_scheduler(number, priority)
}

fn set_scheduler(number: i32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: `parameters` outlives the call.
    check(unsafe { libc::sched_setscheduler(0, number, &parameters) })
}

/// Makes the calling thread a real-time observer: what reads the clocks must not wait behind the
/// load it reads. Its children start as ordinary tasks.
///
/// Without the privilege nothing changes; readings are then only less prompt.
pub fn observe_promptly() {
    if set_scheduler(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1).is_err() {
        // An ordinary user measures as an ordinary task.
    }
}

/// Has the calling thread, and the threads it starts later, take memory from `node` first.
///
/// # Errors
/// When the kernel has no NUMA or no such node.
pub fn prefer_memory_of(node: u32) -> io::Result<()> {
    /// MPOL_PREFERRED of the kernel's uapi/linux/mempolicy.h.
    const PREFERRED: libc::c_int = 1;
    let mask: libc::c_ulong = 1_u64.checked_shl(node).unwrap_or(0);
    // SAFETY: the kernel reads the one word of `mask`. It takes one bit less than it is told.
    let code = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            PREFERRED,
            &mask,
            u64::from(libc::c_ulong::BITS) + 1,
        )
    };
    check(code as libc::c_int)
}

/// Confines thread `tid` (0: the caller) to `cpus`.
///
/// # Errors
/// When none of the CPUs exists, or the thread is gone.
pub fn set_affinity(tid: u32, cpus: &CpuList) -> io::Result<()> {
    const BITS: usize = u64::BITS as usize;
    let words = cpus.highest().map_or(1, |cpu| cpu / BITS + 1);
    let mut mask = vec![0_u64; words];
    for cpu in cpus.iter() {
        mask[cpu / BITS] |= 1 << (cpu % BITS);
    }
    // SAFETY: the kernel reads `words * 8` bytes from `mask`, which are there; it takes masks of
    // any length, so the fixed size of cpu_set_t does not matter.
    check(unsafe {
        libc::sched_setaffinity(
            tid as libc::pid_t,
            size_of_val(mask.as_slice()),
            mask.as_ptr().cast(),
        )
    })
}

/// Names the calling thread (at most 15 bytes are kept) and has it killed when its parent dies.
pub fn name_and_tie_to_parent(name: &str) {
    let mut text = [0_u8; 16];
    for (place, byte) in text.iter_mut().take(15).zip(name.bytes()) {
        *place = byte;
    }
    // SAFETY: `text` is 16 bytes and ends in NUL; PR_SET_PDEATHSIG takes a number.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, text.as_ptr());
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}

/// A signal the programs here send.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// SIGINT, as Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

/// Sends `signal` to process `pid`.
///
/// # Errors
/// When there is no such process or it is not ours.
pub fn send_signal(pid: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Interrupt => libc::SIGINT,
        Signal::Terminate => libc::SIGTERM,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    // SAFETY: no pointers.
    check(unsafe { libc::kill(pid as libc::pid_t, number) })
}

/// Kills the process group that `leader` began.
///
/// # Errors
/// When none of it is left.
pub fn kill_group(leader: u32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::kill(-(leader as libc::pid_t), libc::SIGKILL) })
}
