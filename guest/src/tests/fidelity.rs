// SPDX-License-Identifier: GPL-2.0-only
//! What the simulator says of a machine is what the machine does: the same scenario files, both.
//! Never corrects either side: a difference is a figure.

use std::env;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{Context, TWO_NODES, Test, USUAL};
use crate::checks::Bound;
use crate::cpus::CpuList;
use crate::load::{Group, Spinners, shares};
use crate::scheduler::Scheduler;

pub(super) const TESTS: &[Test] = &[Test {
    name: "fidelity",
    topology: TWO_NODES,
    kernels: USUAL,
    timeout_secs: 400,
    measured: true,
    run: fidelity,
}];

/// The scenarios, each small enough for the guest.
const SCENARIOS: [&str; 6] = [
    include_str!("../../../sim/fidelity/equal.toml"),
    include_str!("../../../sim/fidelity/infeasible.toml"),
    include_str!("../../../sim/fidelity/nice-mix.toml"),
    include_str!("../../../sim/fidelity/pinned-mix.toml"),
    include_str!("../../../sim/fidelity/wakers.toml"),
    include_str!("../../../sim/fidelity/hot-node.toml"),
];

/// How long tasks that are to start on one node are kept there.
const CONFINED: Duration = Duration::from_secs(2);
/// How far shares may be apart, in CPUs of a task: in a test, and as promised.
const SHARE_APART: (f64, f64) = (0.15, 0.03);
/// The same for utilisation, as a part of it.
const UTILISATION_APART: (f64, f64) = (0.08, 0.02);

/// As much of a scenario as the guest can do. The costs are the simulator's alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    seconds: f64,
    #[serde(rename = "topology")]
    _topology: toml::Table,
    #[serde(rename = "costs")]
    _costs: toml::Table,
    tasks: Vec<Tasks>,
    checks: Checks,
}

/// Bounds that only the simulator checks are not read.
#[derive(Debug, Deserialize)]
struct Checks {
    steady_from_s: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tasks {
    name: String,
    #[serde(default = "one")]
    count: u32,
    #[serde(default)]
    nice: i32,
    cpus: Option<String>,
    start_on: Option<String>,
    work: Work,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Work {
    Spin,
    Periodic { run_us: u32, sleep_us: u32 },
}

/// What one side saw.
struct Seen {
    /// CPUs a task, by group.
    shares: Vec<f64>,
    /// CPUs in use, as a part of all.
    utilisation: f64,
}

/// What the simulator prints, as far as it is compared.
#[derive(Deserialize)]
struct Simulated {
    utilisation: f64,
    groups: Vec<SimulatedGroup>,
}

#[derive(Deserialize)]
struct SimulatedGroup {
    received: f64,
}

fn fidelity(context: &mut Context) -> Result<()> {
    for text in SCENARIOS {
        let scenario: Scenario = toml::from_str(text).context("reading a scenario")?;
        let simulated = simulate(&scenario.name, text)?;
        let real = run(context, &scenario)?;
        compare(context, &scenario, &simulated, &real);
    }
    Ok(())
}

fn compare(context: &mut Context, scenario: &Scenario, simulated: &Seen, real: &Seen) {
    let within = |apart: f64| Bound::Between(-apart, apart);
    let groups = scenario.tasks.iter().zip(&simulated.shares);
    for ((group, expected), got) in groups.zip(&real.shares) {
        context.figure(
            format!(
                "{}, {}: CPUs a task, less the simulator's {expected:.3}",
                scenario.name, group.name
            ),
            got - expected,
            within(SHARE_APART.0),
            within(SHARE_APART.1),
        );
    }
    context.figure(
        format!(
            "{}: utilisation by the simulator's {:.3}, less 1",
            scenario.name, simulated.utilisation
        ),
        real.utilisation / simulated.utilisation - 1.0,
        within(UTILISATION_APART.0),
        within(UTILISATION_APART.1),
    );
}

fn simulate(name: &str, text: &str) -> Result<Seen> {
    let path = env::temp_dir().join(format!("{name}.toml"));
    fs::write(&path, text).context("writing a scenario")?;
    let output = Command::new("ballast-sim")
        .arg(&path)
        .arg("--json")
        .output()
        .context("starting ballast-sim (is it in the guest?)")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("ballast-sim {name} ended with {}: {why}", output.status);
    }
    let simulated: Simulated =
        serde_json::from_slice(&output.stdout).context("reading what ballast-sim printed")?;
    Ok(Seen {
        shares: simulated.groups.iter().map(|one| one.received).collect(),
        utilisation: simulated.utilisation,
    })
}

fn run(context: &Context, scenario: &Scenario) -> Result<Seen> {
    let groups = scenario
        .tasks
        .iter()
        .map(group)
        .collect::<Result<Vec<Group>>>()?;
    let scheduler = Scheduler::start(&[])?;
    let spinners = Spinners::start(&groups)?;
    release(context, &spinners, &scenario.tasks)?;
    sleep(Duration::from_secs_f64(scenario.checks.steady_from_s));
    let before = spinners.sample()?;
    let window = scenario.seconds - scenario.checks.steady_from_s;
    sleep(Duration::from_secs_f64(window));
    let after = spinners.sample()?;
    drop(spinners);
    scheduler.stop()?;

    let got = shares(&before, &after);
    let mean = |place: usize| {
        let members = before
            .iter()
            .zip(&got)
            .filter(|(one, _)| one.group == place);
        members.map(|(_, share)| share).sum::<f64>() / f64::from(scenario.tasks[place].count)
    };
    Ok(Seen {
        shares: (0..groups.len()).map(mean).collect(),
        utilisation: got.iter().sum::<f64>() / context.cpu_count() as f64,
    })
}

/// A group as the load generator starts it: on the CPUs it is to start on.
fn group(tasks: &Tasks) -> Result<Group> {
    let list = tasks.start_on.as_ref().or(tasks.cpus.as_ref());
    let cpus = list.map(|list| CpuList::parse(list)).transpose();
    let mut group = Group {
        name: tasks.name.clone(),
        count: tasks.count,
        nice: tasks.nice,
        cpus: cpus.map_err(anyhow::Error::msg)?,
        ..Group::default()
    };
    if let Work::Periodic { run_us, sleep_us } = tasks.work {
        let period_us = run_us + sleep_us;
        group.duty_percent = 100 * run_us / period_us;
        group.period_ms = period_us / 1000;
    }
    Ok(group)
}

/// Lets the groups that only start on some CPUs go anywhere.
fn release(context: &Context, spinners: &Spinners, tasks: &[Tasks]) -> Result<()> {
    let mut confined = tasks.iter().enumerate();
    if !confined.any(|(_, group)| group.start_on.is_some()) {
        return Ok(());
    }
    sleep(CONFINED);
    for (place, group) in tasks.iter().enumerate() {
        if group.start_on.is_some() {
            spinners.set_affinity(place, &context.machine.cpus)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::{SCENARIOS, Scenario, group};

    #[test]
    fn the_guest_can_do_every_scenario() {
        for text in SCENARIOS {
            let scenario: Scenario = toml::from_str(text).expect(text);
            for tasks in &scenario.tasks {
                let group = group(tasks).expect(&scenario.name);
                assert_eq!(group.count, tasks.count, "{}", scenario.name);
            }
            assert!(scenario.seconds > scenario.checks.steady_from_s);
        }
    }

    #[test]
    fn a_period_becomes_a_duty() {
        let scenario: Scenario = toml::from_str(SCENARIOS[4]).expect("wakers");
        let wakers = group(&scenario.tasks[0]).expect("wakers");
        assert_eq!((wakers.duty_percent, wakers.period_ms), (40, 500));
    }
}
