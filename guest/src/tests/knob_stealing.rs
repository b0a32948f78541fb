// SPDX-License-Identifier: GPL-2.0-only
//! What the flags for stealing do: whether idle CPUs take work from the other node, and who wakes
//! them.
//! Never lets the balancer move anything: it is off throughout.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::spread::imbalance;
use super::{Context, Test, knob_test};
use crate::checks::Bound;
use crate::scheduler::Scheduler;
use crate::stats::StatsClient;

pub(super) const TESTS: &[Test] = &[
    knob_test("knob_numa_steal", knob_numa_steal),
    knob_test("knob_kick", knob_kick),
];

const SETTLE: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(3);

/// What became of the spinners that were left on one node.
struct Stolen {
    cpus: f64,
    steals_numa: f64,
    help_kicks: f64,
}

fn run(context: &Context, flags: &[&str]) -> Result<Stolen> {
    let flags = [&["--no-load-balance", "--direct-greedy-under", "0"], flags].concat();
    let scheduler = Scheduler::start(&flags)?;
    let mut client = StatsClient::connect()?;
    let before = client.read()?;
    let spinners = imbalance(context)?;
    sleep(SETTLE);
    let cpus = spinners.shares_over(WINDOW)?.iter().sum();
    let after = client.read()?;
    drop(spinners);
    scheduler.stop()?;
    let since = |name: &str| anyhow::Ok(after.number(name)? - before.number(name)?);
    Ok(Stolen {
        cpus,
        steals_numa: since("steals_numa")?,
        help_kicks: since("help_kicks")?,
    })
}

fn knob_numa_steal(context: &mut Context) -> Result<()> {
    let home = context.machine.nodes_with_cpus().next();
    let home = home.map_or(0, |node| node.cpus.len()) as f64;
    let never = run(context, &["--greedy-threshold-x-numa", "0"])?;
    context.assert(
        "CPUs of the spinners, no stealing across nodes",
        never.cpus,
        Bound::Between(home * 0.85, home * 1.02),
    );
    context.assert(
        "steals across nodes, forbidden",
        never.steals_numa,
        Bound::exactly(0),
    );
    let default = run(context, &[])?;
    let full = context.cpu_count() as f64;
    context.assert(
        "CPUs of the spinners, stealing across nodes",
        default.cpus,
        Bound::AtLeast(full * 0.85),
    );
    context.assert(
        "steals across nodes, allowed",
        default.steals_numa,
        Bound::AtLeast(1.0),
    );
    Ok(())
}

fn knob_kick(context: &mut Context) -> Result<()> {
    context.assert(
        "idle CPUs woken to help by default",
        run(context, &[])?.help_kicks,
        Bound::AtLeast(1.0),
    );
    context.assert(
        "the same with --kick-greedy-under 0",
        run(context, &["--kick-greedy-under", "0"])?.help_kicks,
        Bound::exactly(0),
    );
    Ok(())
}
