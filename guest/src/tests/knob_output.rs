// SPDX-License-Identifier: GPL-2.0-only
//! What the flags for output do: statistics printed here and there, the dump of an ejection, and
//! how the end looks when the kernel ends the scheduler.
//! Never checks a number in the output.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Context, TWO_NODES, Test, USUAL, knob_test};
use crate::checks::Bound;
use crate::cpus::CpuList;
use crate::load::{Group, Spinners};
use crate::scheduler::{self, Output, Scheduler, run_for, run_to_end};
use crate::stats::StatsClient;
use crate::sys::Policy;

pub(super) const TESTS: &[Test] = &[
    knob_test("knob_stats", knob_stats),
    knob_test("sysrq_ends_it", sysrq_ends_it),
    Test {
        name: "knob_dump",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 240,
        measured: false,
        run: knob_dump,
    },
];

/// How the printed form of one reading begins.
const READING: &str = "busy ";
/// The kernel ends a scheduler at once when asked.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// The watchdog waits 30 s and looks every 15.
const WATCHDOG_PATIENCE: Duration = Duration::from_secs(90);

fn readings(text: &str) -> f64 {
    text.lines()
        .filter(|line| line.starts_with(READING))
        .count() as f64
}

fn knob_stats(context: &mut Context) -> Result<()> {
    let help = run_to_end(&["--help-stats"])?;
    ensure!(
        help.code == Some(0),
        "--help-stats ended with {:?}",
        help.code
    );

    let scheduler = Scheduler::start_with(&["--stats", "1"], Output::Apart)?;
    let names = StatsClient::connect()?.read()?.names();
    ensure!(names.len() > 10, "the statistics have only {names:?}");
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !help.text.contains(*name))
        .collect();
    ensure!(missing.is_empty(), "--help-stats does not name {missing:?}");

    let monitor = run_for(&["--monitor", "1"], Duration::from_secs(4))?;
    ensure!(
        monitor.code == Some(0),
        "--monitor ended with {:?}",
        monitor.code
    );
    // Four seconds, one reading a second, the first at once or after the first second.
    let several = Bound::Between(2.0, 6.0);
    context.assert(
        "readings --monitor printed",
        readings(&monitor.text),
        several,
    );
    let own = Bound::AtLeast(2.0);
    context.assert(
        "readings --stats printed",
        readings(&scheduler::printed()),
        own,
    );
    scheduler.stop()?;

    scheduler::clear_log()?;
    let silent = Scheduler::start_with(&[], Output::Apart)?;
    sleep(Duration::from_secs(2));
    silent.stop()?;
    let none = readings(&scheduler::printed());
    context.assert("readings printed without --stats", none, Bound::exactly(0));
    Ok(())
}

/// The kernel's way to get rid of a scheduler, by keyboard: an end it must explain.
fn sysrq_ends_it(_: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start_with(&[], Output::Apart)?;
    fs::write("/proc/sysrq-trigger", "S").context("writing /proc/sysrq-trigger")?;
    let code = scheduler.wait_for_end(END_PATIENCE)?;
    let said = scheduler::log();
    ensure!(code == Some(1), "it ended with {code:?}, not 1: {said}");
    ensure!(
        said.to_lowercase().contains("sysrq"),
        "its standard error does not name SysRq: {said}"
    );
    Scheduler::start(&[])?.stop()
}

/// A real-time task keeps a bound one from its CPU until the watchdog ejects the scheduler.
fn knob_dump(context: &mut Context) -> Result<()> {
    const DUMP_BYTES: usize = 1024;
    context.expect_trouble("runnable task stall");
    context.expect_trouble("failed to run for");
    let flags = ["--exit-dump-len", &DUMP_BYTES.to_string()];
    let scheduler = Scheduler::start_with(&flags, Output::Apart)?;
    let one = CpuList::from_iter([3]);
    let tyrant = Group {
        policy: Policy::Fifo,
        ..Group::spinners(1, 0)
    };
    let victims = Group {
        name: "victim".to_owned(),
        ..Group::spinners(1, 0)
    };
    let victims = Spinners::start(&[victims.confined(&one)])?;
    let tyrant = Spinners::start(&[tyrant.confined(&one)])?;
    let code = scheduler.wait_for_end(WATCHDOG_PATIENCE)?;
    drop(tyrant);
    drop(victims);
    let said = scheduler::log();
    ensure!(code == Some(1), "it ended with {code:?}, not 1: {said}");
    ensure!(
        said.lines()
            .last()
            .is_some_and(|line| line.contains("runnable task stall")),
        "its last line does not give the kernel's reason: {said}"
    );
    // Whole it is some three times as long; the lines around the dump are not the kernel's.
    ensure!(
        said.contains("TRUNCATED"),
        "the kernel's dump is not cut: {said}"
    );
    context.assert(
        format!("bytes of standard error with a dump of {DUMP_BYTES}"),
        said.len() as f64,
        Bound::Between(DUMP_BYTES as f64 * 0.8, DUMP_BYTES as f64 + 600.0),
    );
    Scheduler::start(&[])?.stop()
}
