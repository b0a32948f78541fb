// SPDX-License-Identifier: GPL-2.0-only
//! Work left on one node spreads over the machine; by the balancer alone too; and not without it.
//! Never trusts the scheduler's word on where a task is: the kernel's is asked.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Context, TWO_NODES, Test, USUAL};
use crate::checks::Bound;
use crate::load::{Group, Spinners, WorkerSample, shares};
use crate::scheduler::Scheduler;
use crate::stats::StatsClient;

pub(super) const TESTS: &[Test] = &[
    Test {
        name: "spread",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 150,
        measured: true,
        run: spread,
    },
    Test {
        name: "spread_balancer_only",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 150,
        measured: true,
        run: spread_balancer_only,
    },
    Test {
        name: "no_balance_no_move",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 150,
        measured: false,
        run: no_balance_no_move,
    },
];

/// Flags that leave moving work to the balancer: no stealing, no idle CPU of another domain.
pub const NO_STEALING: &[&str] = &[
    "--greedy-threshold",
    "0",
    "--direct-greedy-under",
    "0",
    "--kick-greedy-under",
    "0",
];

/// How long the spinners are kept on the first node: long enough to be seen as its load.
const CONFINED: Duration = Duration::from_secs(2);
/// What spreading may take, from the release.
const SPREAD: Duration = Duration::from_secs(2);
/// The measured window after that.
const WINDOW: Duration = Duration::from_secs(4);

/// As many spinners as the machine has CPUs, all left on its first node, free to go anywhere.
pub(super) fn imbalance(context: &Context) -> Result<Spinners> {
    left_on_first_node(context, &[Group::spinners(context.cpu_count(), 0)])
}

/// Workers of `groups`, all left on the first node, free to go anywhere.
pub(super) fn left_on_first_node(context: &Context, groups: &[Group]) -> Result<Spinners> {
    let machine = &context.machine;
    let first = machine
        .nodes_with_cpus()
        .next()
        .context("no node has CPUs")?;
    let confined: Vec<Group> = groups
        .iter()
        .map(|group| group.clone().confined(&first.cpus))
        .collect();
    let spinners = Spinners::start(&confined)?;
    sleep(CONFINED);
    for place in 0..groups.len() {
        spinners.set_affinity(place, &machine.cpus)?;
    }
    Ok(spinners)
}

/// The shares over one window, and the readings at its end.
fn measure(spinners: &Spinners) -> Result<(Vec<f64>, Vec<WorkerSample>)> {
    let before = spinners.sample()?;
    sleep(WINDOW);
    let after = spinners.sample()?;
    Ok((shares(&before, &after), after))
}

fn least(shares: &[f64]) -> f64 {
    shares.iter().copied().fold(f64::INFINITY, f64::min)
}

fn seen_elsewhere(context: &Context, samples: &[WorkerSample]) -> usize {
    let machine = &context.machine;
    let home = machine.nodes.iter().position(|node| !node.cpus.is_empty());
    let away = |sample: &&WorkerSample| machine.node_of(sample.last_cpu) != home;
    samples.iter().filter(away).count()
}

fn expected_elsewhere(context: &Context) -> usize {
    let machine = &context.machine;
    let first = machine.nodes_with_cpus().next();
    machine.cpus.len() - first.map_or(0, |node| node.cpus.len())
}

fn spread(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(&[])?;
    let spinners = imbalance(context)?;
    sleep(SPREAD);
    let (shares, _) = measure(&spinners)?;
    context.figure(
        "least share, from 2 s after release",
        least(&shares),
        Bound::AtLeast(0.80),
        Bound::AtLeast(0.95),
    );
    drop(spinners);
    scheduler.stop()
}

fn spread_balancer_only(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(NO_STEALING)?;
    let mut client = StatsClient::connect()?;
    let spinners = imbalance(context)?;
    let at_release = client.read()?;
    let interval = at_release.number("interval_secs")?;
    sleep(Duration::from_secs_f64(2.0 * interval + 1.0));
    let (shares, samples) = measure(&spinners)?;
    let at_end = client.read()?;
    context.figure(
        "least share, from 2 intervals + 1 s",
        least(&shares),
        Bound::AtLeast(0.80),
        Bound::AtLeast(0.95),
    );
    let seen = seen_elsewhere(context, &samples);
    let expected = Bound::exactly(expected_elsewhere(context));
    context.figure(
        "spinners seen on the other node",
        seen as f64,
        expected,
        expected,
    );
    let applied = at_end.number("moves_applied")? - at_release.number("moves_applied")?;
    // A test on a noisy host lets one pair of tasks change places; the promise does not.
    let lenient = Bound::Between(seen as f64, seen as f64 + 2.0);
    context.figure("moves applied", applied, lenient, Bound::exactly(seen));
    drop(spinners);
    scheduler.stop()
}

fn no_balance_no_move(context: &mut Context) -> Result<()> {
    let flags = [NO_STEALING, &["--no-load-balance"]].concat();
    let scheduler = Scheduler::start(&flags)?;
    let spinners = imbalance(context)?;
    sleep(SPREAD);
    let (shares, samples) = measure(&spinners)?;
    let home = context.cpu_count() - expected_elsewhere(context);
    let stuck = Bound::Between(home as f64 * 0.9, home as f64 * 1.02);
    context.figure(
        "CPUs the stuck spinners had",
        shares.iter().sum(),
        stuck,
        stuck,
    );
    context.figure(
        "stuck spinners seen on the other node",
        seen_elsewhere(context, &samples) as f64,
        Bound::exactly(0),
        Bound::exactly(0),
    );
    drop(spinners);
    scheduler.stop()
}
