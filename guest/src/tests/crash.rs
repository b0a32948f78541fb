// SPDX-License-Identifier: GPL-2.0-only
//! When the daemon dies, the kernel takes over and the tasks run on.
//! Never leaves the guest without trying to start it again.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{Context, TWO_NODES, Test, USUAL};
use crate::checks::Bound;
use crate::load::{Group, Spinners, shares};
use crate::scheduler::Scheduler;

pub(super) const TESTS: &[Test] = &[Test {
    name: "kill_daemon",
    topology: TWO_NODES,
    kernels: USUAL,
    timeout_secs: 240,
    measured: true,
    run: kill_daemon,
}];

/// Time the spinners run before the kill, and the window after it.
const WINDOW: Duration = Duration::from_secs(2);

fn kill_daemon(context: &mut Context) -> Result<()> {
    let cpus = context.cpu_count();
    let scheduler = Scheduler::start(&[])?;
    let spinners = Spinners::start(&[Group::spinners(cpus, 0)])?;
    sleep(WINDOW);
    let took = scheduler.kill()?;
    context.figure(
        "seconds from kill -9 to the kernel's scheduler",
        took.as_secs_f64(),
        Bound::AtMost(10.0),
        Bound::AtMost(1.0),
    );
    let before = spinners.sample()?;
    sleep(WINDOW);
    let total: f64 = shares(&before, &spinners.sample()?).iter().sum();
    let full = cpus as f64;
    context.figure(
        "CPUs the spinners had after the kill",
        total,
        Bound::AtLeast(full * 0.75),
        Bound::AtLeast(full * 0.9),
    );
    Scheduler::start(&[])?.stop()
}
