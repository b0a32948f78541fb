// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler stays attached under stress-ng: mixed load, and tasks pinned and re-pinned.
//! Never measures speed here.

use anyhow::Result;

use super::{Context, TWO_NODES, Test, USUAL};
use crate::checks::Bound;
use crate::scheduler::Scheduler;
use crate::stress;

pub(super) const TESTS: &[Test] = &[
    Test {
        name: "stress_mixed",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 240,
        measured: true,
        run: stress_mixed,
    },
    Test {
        name: "stress_pinned",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 240,
        measured: true,
        run: stress_pinned,
    },
    Test {
        name: "fork_storm",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 180,
        measured: false,
        run: fork_storm,
    },
];

/// What issue trackers call a full run; tests take less.
const FULL_SECONDS: u64 = 60;

fn stress_mixed(context: &mut Context) -> Result<()> {
    survive(context, "--cpu 0 --fork 4 --switch 8", 20)
}

/// The line that stalls schedulers which mix pinned tasks into a shared queue.
fn stress_pinned(context: &mut Context) -> Result<()> {
    let cpus = context.cpu_count();
    let line = format!(
        "--aggressive -M -c {cpus} -f {cpus} --affinity 1 --affinity-delay 1 --affinity-pin"
    );
    survive(context, &line, 30)
}

/// Tasks that are born, die and change their CPU masks faster than any round of the daemon.
fn fork_storm(context: &mut Context) -> Result<()> {
    survive(context, "--fork 8 --affinity 8", 10)
}

fn survive(context: &mut Context, line: &str, test_seconds: u64) -> Result<()> {
    let seconds = if context.full_length {
        FULL_SECONDS
    } else {
        test_seconds
    };
    let mut scheduler = Scheduler::start(&[])?;
    let mut survived = 0.0;
    stress::run(line, seconds, |elapsed| {
        scheduler.check_attached()?;
        survived = elapsed.as_secs_f64();
        Ok(())
    })?;
    scheduler.stop()?;
    // The last look comes up to one pause before the end.
    let whole = Bound::AtLeast(seconds as f64 - 1.0);
    context.figure("seconds attached under stress-ng", survived, whole, whole);
    Ok(())
}
