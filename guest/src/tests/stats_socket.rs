// SPDX-License-Identifier: GPL-2.0-only
//! The statistics socket answers in the family's protocol, and its picture is the machine's.
//! Never checks a value that depends on the load.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Context, TWO_NODES, Test, USUAL};
use crate::cpus::CpuList;
use crate::machine::Machine;
use crate::scheduler::Scheduler;
use crate::stats::{Metrics, StatsClient};

pub(super) const TESTS: &[Test] = &[Test {
    name: "stats_socket",
    topology: TWO_NODES,
    kernels: USUAL,
    timeout_secs: 150,
    measured: false,
    run: stats_socket,
}];

/// Numbers every answer has at its top level.
const NUMBERS: &[&str] = &[
    "at_us",
    "interval_secs",
    "nr_tasks",
    "nr_rows_missing",
    "utilisation",
    "capacity",
    "level",
    "moves_requested",
    "moves_applied",
    "moves_refused",
    "moves_expired",
    "steals_domain",
    "steals_node",
    "steals_numa",
    "preemptions",
    "wakeups_domain",
    "wakeups_node",
    "wakeups_numa",
    "wakeups_paired",
    "wakeups_queued",
];

fn stats_socket(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(&[])?;
    let mut client = StatsClient::connect()?;
    let first = client.read()?;
    for name in NUMBERS {
        let value = first.number(name)?;
        ensure!(value.is_finite() && value >= 0.0, "`{name}` is {value}");
    }
    sleep(Duration::from_secs(3));
    let second = client.read()?;
    ensure!(
        second.number("at_us")? > first.number("at_us")?,
        "two answers three seconds apart are of the same moment"
    );
    ensure!(second.number("nr_tasks")? >= 1.0, "no task is seen");
    check_topology(&second, &context.machine)?;
    scheduler.stop()
}

/// Checks that the domains hold every online CPU once and that the nodes' capacity is theirs.
pub(super) fn check_topology(metrics: &Metrics, machine: &Machine) -> Result<()> {
    let mut seen = Vec::new();
    for node in metrics.nodes()? {
        let mut cpus = 0;
        for list in &node.domains {
            let list = CpuList::parse(list).map_err(anyhow::Error::msg)?;
            cpus += list.len();
            seen.extend(list.iter());
        }
        let most = cpus as f64;
        // Interrupts and real-time work may take a little; never half of a node.
        let sane = node.capacity <= most + 1e-6 && node.capacity >= most / 2.0;
        let (id, capacity) = (&node.id, node.capacity);
        ensure!(
            sane,
            "node {id} has {cpus} CPUs and a capacity of {capacity}"
        );
    }
    seen.sort_unstable();
    let online: Vec<usize> = machine.cpus.iter().collect();
    ensure!(
        seen == online,
        "the domains hold CPUs {seen:?}, online are {}",
        machine.cpus
    );
    Ok(())
}
