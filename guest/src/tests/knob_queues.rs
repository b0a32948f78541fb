// SPDX-License-Identifier: GPL-2.0-only
//! What the flags for slices and queues do: how long a turn is, and whose turn comes first.
//! Never looks at where tasks run.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Context, Test, knob_test};
use crate::checks::Bound;
use crate::cpus::CpuList;
use crate::load::{Group, Spinners};
use crate::scheduler::Scheduler;
use crate::stats::StatsClient;

pub(super) const TESTS: &[Test] = &[
    knob_test("knob_slices", knob_slices),
    knob_test("knob_fifo", knob_fifo),
    knob_test("knob_kthreads", knob_kthreads),
];

/// The tuner looks ten times a second; the rest is for a host that is busy itself.
const TUNED: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(3);

fn knob_slices(context: &mut Context) -> Result<()> {
    let long = switches_a_second(context, "500000")?;
    let short = switches_a_second(context, "2000")?;
    // About 40 a second of the long ones are interruptions. A slice ends at a tick, and on a
    // busy host those are late: the short ones were switched 250 to 800 times a second.
    context.assert(
        "switches a second, slice of 2 ms against 500 ms",
        short / long.max(1.0),
        Bound::AtLeast(2.0),
    );
    Ok(())
}

/// Follows the slice through idle and busy times, and counts how often a busy task is switched
/// out while two share each CPU.
fn switches_a_second(context: &mut Context, overutil_us: &str) -> Result<f64> {
    let flags = ["-u", "33000", "-o", overutil_us];
    let scheduler = Scheduler::start(&flags)?;
    let mut client = StatsClient::connect()?;
    let idle = wait_for_slice(&mut client, 33_000.0)?;
    let spinners = Spinners::start(&[Group::spinners(2 * context.cpu_count(), 0)])?;
    let wanted: f64 = overutil_us.parse()?;
    let busy = wait_for_slice(&mut client, wanted)?;
    let before = switches(&spinners)?;
    sleep(WINDOW);
    let count = switches(&spinners)?.saturating_sub(before) as f64;
    drop(spinners);
    let idle_again = wait_for_slice(&mut client, 33_000.0)?;
    scheduler.stop()?;
    for (state, slice_us, expected) in [
        ("idle", idle, 33_000.0),
        ("busy", busy, wanted),
        ("idle again", idle_again, 33_000.0),
    ] {
        let bound = Bound::Between(expected, expected);
        context.assert(format!("slice in us, machine {state}"), slice_us, bound);
    }
    Ok(count / WINDOW.as_secs_f64())
}

/// The slice once it is `wanted_us`, or what it is when patience ends.
fn wait_for_slice(client: &mut StatsClient, wanted_us: f64) -> Result<f64> {
    let start = Instant::now();
    loop {
        let slice_us = client.read()?.number("slice_us")?;
        let is_there = (slice_us - wanted_us).abs() < 0.5;
        if is_there || start.elapsed() > TUNED {
            return Ok(slice_us);
        }
        sleep(Duration::from_millis(200));
    }
}

/// How often all spinners together were switched out while they could have gone on.
fn switches(spinners: &Spinners) -> Result<u64> {
    let mut total = 0;
    for pid in spinners.pids() {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let field = text
            .lines()
            .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))
            .with_context(|| format!("{path} has no count of switches"))?;
        total += field.trim().parse::<u64>()?;
    }
    Ok(total)
}

fn knob_fifo(context: &mut Context) -> Result<()> {
    context.assert(
        "share of nice 19 beside nice 0 on one CPU, first in first out",
        share_of_nice19(&["--fifo-sched"])?,
        Bound::Between(0.3, 0.6),
    );
    context.assert(
        "the same by weight",
        share_of_nice19(&[])?,
        Bound::AtMost(0.1),
    );
    Ok(())
}

fn share_of_nice19(flags: &[&str]) -> Result<f64> {
    let scheduler = Scheduler::start(flags)?;
    let one = CpuList::from_iter([2]);
    let groups = [Group::spinners(1, 0), Group::spinners(1, 19)].map(|group| group.confined(&one));
    let spinners = Spinners::start(&groups)?;
    sleep(SETTLE);
    let shares = spinners.shares_over(WINDOW)?;
    drop(spinners);
    scheduler.stop()?;
    Ok(shares[1])
}

fn knob_kthreads(context: &mut Context) -> Result<()> {
    context.assert(
        "bound kernel threads sent to their CPU by default",
        kthreads_sent(context, &[])?,
        Bound::AtLeast(1.0),
    );
    context.assert(
        "the same with --kthreads-local false",
        kthreads_sent(context, &["--kthreads-local", "false"])?,
        Bound::exactly(0),
    );
    Ok(())
}

/// The count after a few seconds on a machine so busy that nobody wakes on an idle CPU.
fn kthreads_sent(context: &Context, flags: &[&str]) -> Result<f64> {
    let scheduler = Scheduler::start(flags)?;
    let spinners = Spinners::start(&[Group::spinners(2 * context.cpu_count(), 0)])?;
    sleep(SETTLE + WINDOW);
    let count = StatsClient::connect()?.read()?.number("kthreads_local")?;
    drop(spinners);
    scheduler.stop()?;
    Ok(count)
}
