// SPDX-License-Identifier: GPL-2.0-only
//! What the flags that choose CPUs and tasks do: domains, --partial, --max-tasks, memory policies.
//! Never looks at time inside a queue.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::spread::{NO_STEALING, left_on_first_node};
use super::{Context, Test, knob_test};
use crate::checks::Bound;
use crate::load::{Group, Spinners};
use crate::scheduler::Scheduler;
use crate::sleepers::Sleepers;
use crate::stats::StatsClient;
use crate::sys::Policy;

pub(super) const TESTS: &[Test] = &[
    knob_test("knob_domains", knob_domains),
    knob_test("knob_partial", knob_partial),
    knob_test("knob_max_tasks", knob_max_tasks),
    knob_test("knob_mempolicy", knob_mempolicy),
];

/// Two rounds of the balancer and one second.
const SETTLE: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(3);

fn knob_domains(_: &mut Context) -> Result<()> {
    const PAIRS: &[&str] = &["0-1", "2-3", "4-5", "6-7"];
    for (flags, expected) in [
        (["--domains", "0-1;2-3;4-5;6-7"], PAIRS),
        (["--domains", "4-5,7;0;1-3;6"], &["0", "1-3", "4-5,7", "6"]),
        (["--domain-cpus", "2"], PAIRS),
        (["--domains", "node"], &["0-3", "4-7"]),
    ] {
        let scheduler = Scheduler::start(&flags)?;
        let nodes = StatsClient::connect()?.read()?.nodes()?;
        let mut domains: Vec<String> = nodes.into_iter().flat_map(|node| node.domains).collect();
        domains.sort_unstable();
        ensure!(
            domains == expected,
            "{flags:?} gave the domains {domains:?}, not {expected:?}"
        );
        scheduler.stop()?;
    }
    Ok(())
}

fn knob_partial(context: &mut Context) -> Result<()> {
    let chosen = Group {
        name: "chosen".to_owned(),
        policy: Policy::Ext,
        ..Group::spinners(4, 0)
    };
    let plain = Group::spinners(4, 0);
    let scheduler = Scheduler::start(&["--partial"])?;
    let mut client = StatsClient::connect()?;
    for (groups, tasks, could_use) in [
        (vec![plain.clone()], 0, Bound::AtMost(0.5)),
        (vec![plain, chosen], 4, Bound::Between(3.2, 4.5)),
    ] {
        let spinners = Spinners::start(&groups)?;
        sleep(SETTLE);
        let shares = spinners.shares_over(WINDOW)?;
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        let who = names.join(" and ");
        let metrics = client.read()?;
        context.assert(
            format!("CPUs the tasks could use, spinners {who}"),
            metrics.number("demand")?,
            could_use,
        );
        context.assert(
            format!("tasks with a row, spinners {who}"),
            metrics.number("nr_tasks")?,
            Bound::exactly(tasks),
        );
        // Plain tasks and chosen ones are of two classes: the kernel sets the upper one first, and
        // balances only its own.
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        let name = format!("least share, spinners {who}");
        context.assert(name, least, Bound::AtLeast(0.01));
    }
    scheduler.stop()
}

fn knob_max_tasks(context: &mut Context) -> Result<()> {
    let sleepers = Sleepers::start(1200)?;
    let mut scheduler = Scheduler::start(&["--max-tasks", "1024"])?;
    let spinners = Spinners::start(&[Group::spinners(context.cpu_count(), 0)])?;
    sleep(SETTLE);
    let total = spinners.shares_over(WINDOW)?.iter().sum();
    let metrics = StatsClient::connect()?.read()?;
    context.assert(
        "tasks that found the table of 1024 full",
        metrics.number("nr_rows_missing")?,
        // The sleepers beyond the table at least, and the spinners after them.
        Bound::AtLeast(176.0 + context.cpu_count() as f64),
    );
    context.assert(
        "tasks with a row, of 1024",
        metrics.number("nr_tasks")?,
        Bound::Between(900.0, 1024.0),
    );
    let full = context.cpu_count() as f64;
    context.assert(
        "CPUs of spinners without a row",
        total,
        Bound::AtLeast(full * 0.85),
    );
    drop(sleepers);
    drop(spinners);
    scheduler.check_attached()?;
    scheduler.stop()
}

fn knob_mempolicy(context: &mut Context) -> Result<()> {
    // Those that prefer their node come first: a balancer blind to that would as soon take them.
    let settled = Group {
        name: "settled".to_owned(),
        preferred_node: Some(0),
        ..Group::spinners(4, 0)
    };
    let flags = [NO_STEALING, &["--mempolicy-affinity"]].concat();
    let scheduler = Scheduler::start(&flags)?;
    let spinners = left_on_first_node(context, &[settled, Group::spinners(4, 0)])?;
    sleep(SETTLE);
    let shares = spinners.shares_over(WINDOW)?;
    let away = |group: usize| {
        let samples = spinners.sample()?.into_iter();
        let there = samples.filter(|one| context.machine.node_of(one.last_cpu) == Some(1));
        anyhow::Ok(there.filter(|one| one.group == group).count() as f64)
    };
    let (settled, free) = (away(0)?, away(1)?);
    context.assert(
        "spinners that prefer node 0, on node 1",
        settled,
        Bound::exactly(0),
    );
    context.assert(
        "spinners without preference, on node 1",
        free,
        Bound::exactly(4),
    );
    let full = context.cpu_count() as f64;
    context.assert(
        "CPUs of all of them",
        shares.iter().sum(),
        Bound::AtLeast(full * 0.85),
    );
    drop(spinners);
    scheduler.stop()
}
