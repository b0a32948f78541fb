// SPDX-License-Identifier: GPL-2.0-only
//! Machines other than two equal nodes: uneven and memory-only nodes, hyper-threads, 32 CPUs.
//! Never assumes which CPUs a node has: sysfs is asked.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::stats_socket::check_topology;
use super::{Context, Test, USUAL};
use crate::checks::Bound;
use crate::load::{Group, Spinners, shares};
use crate::scheduler::Scheduler;
use crate::stats::StatsClient;

pub(super) const TESTS: &[Test] = &[
    Test {
        name: "odd_topology",
        topology: "odd",
        kernels: USUAL,
        timeout_secs: 150,
        measured: false,
        run: odd_topology,
    },
    Test {
        name: "smt_topology",
        topology: "2x2x2",
        kernels: USUAL,
        timeout_secs: 150,
        measured: false,
        run: smt_topology,
    },
    Test {
        name: "big_topology",
        topology: "4x8",
        kernels: USUAL,
        timeout_secs: 300,
        measured: false,
        run: big_topology,
    },
];

/// Period of the workers that sleep: long against the time a virtual CPU waits for a real one.
const PERIOD_MS: u32 = 100;
/// Looks at where the workers run, and the pause between two of them.
const LOOKS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

fn odd_topology(context: &mut Context) -> Result<()> {
    let nodes: Vec<usize> = context
        .machine
        .nodes
        .iter()
        .map(|node| node.cpus.len())
        .collect();
    let uneven = nodes.iter().any(|cpus| *cpus > 0 && *cpus != nodes[0]);
    ensure!(
        nodes.contains(&0) && uneven,
        "this machine has nodes of {nodes:?} CPUs; the test wants a memory-only and uneven ones"
    );
    let scheduler = Scheduler::start(&[])?;
    check_topology(&StatsClient::connect()?.read()?, &context.machine)?;
    fill(context, 0.875)?;
    scheduler.stop()
}

fn smt_topology(context: &mut Context) -> Result<()> {
    let cores = context.machine.cores.len();
    ensure!(
        cores < context.cpu_count(),
        "this machine has no hyper-threads; the test wants 2x2x2"
    );
    let scheduler = Scheduler::start(&[])?;
    check_topology(&StatsClient::connect()?.read()?, &context.machine)?;
    let (used, workers) = cores_used(context)?;
    // Left to chance, a third of the wake-ups of two would share a core.
    context.figure(
        format!("cores of a node used by {workers} workers that sleep a fifth of the time"),
        used,
        Bound::AtLeast(workers as f64 * 0.875),
        Bound::AtLeast(workers as f64 * 0.95),
    );
    fill(context, 0.875)?;
    scheduler.stop()
}

/// Mean number of cores that as many workers as the first node has cores occupy there, and
/// their number: a worker that wakes finds an idle core before an idle thread.
fn cores_used(context: &Context) -> Result<(f64, usize)> {
    let node = &context.machine.nodes[0].cpus;
    let inside = |core: &&crate::cpus::CpuList| core.iter().all(|cpu| node.contains(cpu));
    let count = context.machine.cores.iter().filter(inside).count();
    let workers = Group {
        duty_percent: 80,
        period_ms: PERIOD_MS,
        ..Group::spinners(count, 0)
    }
    .confined(node);
    let spinners = Spinners::start(&[workers])?;
    sleep(Duration::from_secs(2));
    let mut total = 0;
    for _ in 0..LOOKS {
        let cpus = spinners.last_cpus()?;
        let used = |core: &&crate::cpus::CpuList| cpus.iter().any(|cpu| core.contains(*cpu));
        total += context.machine.cores.iter().filter(used).count();
        sleep(PAUSE);
    }
    Ok((total as f64 / f64::from(LOOKS), count))
}

fn big_topology(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(&[])?;
    check_topology(&StatsClient::connect()?.read()?, &context.machine)?;
    fill(context, 0.8)?;
    scheduler.stop()
}

/// A spinner a CPU: the machine must be full, up to `part` in a test.
fn fill(context: &mut Context, part: f64) -> Result<()> {
    let cpus = context.cpu_count();
    let spinners = Spinners::start(&[Group::spinners(cpus, 0)])?;
    sleep(Duration::from_secs(3));
    let before = spinners.sample()?;
    sleep(Duration::from_secs(4));
    let total: f64 = shares(&before, &spinners.sample()?).iter().sum();
    context.figure(
        format!("CPUs that {cpus} spinners had"),
        total,
        Bound::AtLeast(cpus as f64 * part),
        Bound::AtLeast(cpus as f64 * 7.9 / 8.0),
    );
    Ok(())
}
