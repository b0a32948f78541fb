// SPDX-License-Identifier: GPL-2.0-only
//! The worker process: makes itself what its group says, waits for the start, spins.
//! Never reports its own CPU time: the parent reads that from outside.

use std::env;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::process;
use std::thread;

use super::group::Group;
use crate::sys;

/// First argument of a worker; no user would type it by chance.
pub(super) const WORKER_ARGUMENT: &str = "__ballast-worker";
/// What a worker writes once it is set up.
pub(super) const READY: &str = "ready";
/// Turns between two looks at the clock: some ten microseconds, so that a duty period of one
/// millisecond still keeps its share within a few percent, emulated or not.
const TURNS_A_LOOK: u32 = 2_000;

/// Becomes a worker, never to return, when this process was started as one. Programs that start
/// spinners call this first in `main`.
pub fn take_over_if_worker() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() != Some(WORKER_ARGUMENT) {
        return;
    }
    let order = arguments.next().unwrap_or_default();
    match serde_json::from_str(&order) {
        Ok(group) => work(&group),
        Err(why) => answer(&format!("a worker's order does not read: {why}")),
    }
    process::exit(2);
}

fn work(group: &Group) {
    if let Err(why) = prepare(group) {
        return answer(&why);
    }
    answer(READY);
    // The start barrier: every worker reads the same pipe, and the parent closes its other end.
    if io::stdin().read_to_end(&mut Vec::new()).is_err() {
        return;
    }
    for _ in 1..group.threads {
        let group = group.clone();
        thread::spawn(move || spin(&group));
    }
    spin(group);
}

fn answer(line: &str) {
    // A parent that is gone needs no answer.
    if writeln!(io::stdout(), "{line}").is_err() {
        process::exit(2);
    }
}

fn prepare(group: &Group) -> Result<(), String> {
    sys::name_and_tie_to_parent(&group.name);
    sys::set_own_nice(group.nice).map_err(|why| {
        let nice = group.nice;
        format!("key `nice`: setting {nice}: {why}; a negative nice value needs root")
    })?;
    sys::set_own_policy(group.policy).map_err(|why| {
        let policy = group.policy;
        format!(
            "key `policy`: setting {policy:?}: {why}; fifo needs root and ext a kernel with sched_ext"
        )
    })?;
    if let Some(node) = group.preferred_node {
        sys::prefer_memory_of(node).map_err(|why| {
            format!(
                "key `mempolicy`: preferring node {node}: {why}; see /sys/devices/system/node/online"
            )
        })?;
    }
    if let Some(cpus) = &group.cpus {
        sys::set_affinity(0, cpus).map_err(|why| {
            format!("key `cpus`: setting {cpus}: {why}; see /sys/devices/system/cpu/online")
        })?;
    }
    Ok(())
}

fn spin(group: &Group) -> ! {
    if group.duty_percent == 100 {
        loop {
            turn();
        }
    }
    let period_ns = u64::from(group.period_ms) * 1_000_000;
    let run_ns = period_ns * u64::from(group.duty_percent) / 100;
    let mut period_start_ns = sys::monotonic_ns();
    let mut target_ns = sys::thread_cpu_ns();
    loop {
        // The target grows by what is due, not from where the last turn ended: where a virtual CPU
        // is held up in the middle of a turn the clock jumps, and later periods make up for it.
        target_ns += run_ns;
        while sys::thread_cpu_ns() < target_ns {
            turn();
        }
        // A period that had to wait is not caught up later: the demand stays what the duty says.
        period_start_ns = (period_start_ns + period_ns).max(sys::monotonic_ns());
        sys::sleep_until(period_start_ns);
    }
}

fn turn() {
    for turn in 0..TURNS_A_LOOK {
        black_box(turn);
    }
}
