// SPDX-License-Identifier: GPL-2.0-only
//! It attaches and detaches on every kernel it promises, once at a time, and names what it cannot.
//! Never looks at how well it schedules.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::{Context, TWO_NODES, Test, USUAL};
use crate::checks::Bound;
use crate::load::{Group, Spinners, shares};
use crate::scheduler::{self, Scheduler, run_to_end};
use crate::sys::Signal;

pub(super) const TESTS: &[Test] = &[
    Test {
        name: "attach_detach",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 240,
        measured: false,
        run: attach_detach,
    },
    Test {
        name: "kernels_load",
        topology: TWO_NODES,
        kernels: &["6.16", "6.18", "7.0", "7.2", "7.3"],
        timeout_secs: 180,
        measured: false,
        run: kernels_load,
    },
    Test {
        name: "pahole_diagnosed",
        topology: TWO_NODES,
        kernels: &["7.1"],
        timeout_secs: 120,
        measured: false,
        run: pahole_diagnosed,
    },
];

fn attach_detach(_: &mut Context) -> Result<()> {
    let mut scheduler = Scheduler::start(&[])?;
    second_is_refused(&mut scheduler)?;
    scheduler.stop_with(Signal::Terminate)?;
    Scheduler::start(&[])?.stop_with(Signal::Interrupt)
}

fn second_is_refused(first: &mut Scheduler) -> Result<()> {
    let refusal = run_to_end(&[])?;
    first.check_attached()?;
    let said = &refusal.text;
    ensure!(
        matches!(refusal.code, Some(1 | 2)),
        "a second instance ended with {:?}, not with exit code 1 or 2: {said}",
        refusal.code
    );
    ensure!(
        said.lines().count() == 1 && said.contains("already"),
        "a second instance did not say in one sentence that one is already running: {said}"
    );
    Ok(())
}

fn kernels_load(context: &mut Context) -> Result<()> {
    let cpus = context.cpu_count();
    let scheduler = Scheduler::start(&[])?;
    let spinners = Spinners::start(&[Group::spinners(cpus, 0)])?;
    sleep(Duration::from_secs(2));
    let before = spinners.sample()?;
    sleep(Duration::from_secs(3));
    let total: f64 = shares(&before, &spinners.sample()?).iter().sum();
    let full = cpus as f64;
    context.figure(
        format!("CPUs that {cpus} spinners had"),
        total,
        Bound::AtLeast(full * 7.0 / 8.0),
        Bound::AtLeast(full * 7.9 / 8.0),
    );
    drop(spinners);
    scheduler.stop()
}

fn pahole_diagnosed(_: &mut Context) -> Result<()> {
    let refusal = run_to_end(&[])?;
    if scheduler::state() == "enabled" {
        bail!("a scheduler is attached on a kernel that should refuse all of them");
    }
    let said = refusal.text.to_lowercase();
    ensure!(
        refusal.code == Some(1) && said.contains("pahole"),
        "it ended with {:?}, not with exit code 1 and a word on pahole: {}",
        refusal.code,
        refusal.text
    );
    Ok(())
}
