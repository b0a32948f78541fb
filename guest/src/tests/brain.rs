// SPDX-License-Identifier: GPL-2.0-only
//! What the balancer knows and decides, seen from outside: snapshots, plans, the weights it has
//! tasks charged by, and rotation.
//! Never links the scheduler's policy: its answers are read as a user would read them.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Context, NO_STEALING, TWO_NODES, Test, USUAL, knob_test};
use crate::checks::Bound;
use crate::dump;
use crate::load::{Group, Spinners, shares};
use crate::scheduler::{Scheduler, run_to_end};
use crate::stats::StatsClient;

pub(super) const TESTS: &[Test] = &[
    knob_test("charged_weight", charged_weight),
    knob_test("snapshot_plans", snapshot_plans),
    Test {
        name: "rotation",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 180,
        measured: true,
        run: rotation,
    },
];

/// Time for a few rounds of the balancer at its default interval.
const SOME_ROUNDS: Duration = Duration::from_secs(4);
/// The kernel's weight of nice -20.
const NICE_MINUS_20: u64 = 88_761;

/// A weight that asks for more than a CPU is charged as what one CPU costs, while that is short.
fn charged_weight(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(&[])?;
    let heavy = Spinners::start(&[Group::spinners(1, -20)])?;
    let crowd = Spinners::start(&[Group::spinners(15, 0)])?;
    let pid = heavy.pids()[0];
    sleep(SOME_ROUNDS);
    let short = dump::weight_of(pid)?;
    // 15 of weight 1024 share 7 CPUs: one CPU costs 15 / 7 × 1024.
    context.figure(
        "weight charged to nice -20 beside 15 of nice 0",
        short as f64,
        Bound::near(15.0 / 7.0 * 1024.0, 0.3),
        Bound::near(15.0 / 7.0 * 1024.0, 0.05),
    );
    drop(crowd);
    sleep(SOME_ROUNDS);
    let alone = dump::weight_of(pid)?;
    ensure!(
        alone == NICE_MINUS_20,
        "with room for all nice -20 is charged by {alone}, not by its own {NICE_MINUS_20}"
    );
    drop(heavy);
    scheduler.stop()
}

/// A snapshot of the running machine is a file that `plan` reads, and says what runs.
fn snapshot_plans(context: &mut Context) -> Result<()> {
    let file = std::env::temp_dir().join("guest-test-snapshot.json");
    let path = file
        .to_str()
        .context("a temporary folder with a plain name")?;
    let none = run_to_end(&["snapshot", "--json"])?;
    ensure!(
        none.code == Some(1) && none.text.lines().count() == 1,
        "without a scheduler `snapshot` ends with {:?}: {}",
        none.code,
        none.text
    );
    let scheduler = Scheduler::start(&[NO_STEALING, &["--no-load-balance"]].concat())?;
    let first = context
        .machine
        .nodes_with_cpus()
        .next()
        .context("a node")?
        .cpus
        .clone();
    let spinners = Spinners::start(&[Group::spinners(8, 0).confined(&first)])?;
    spinners.set_affinity(0, &context.machine.cpus)?;
    sleep(SOME_ROUNDS);
    let snapshot = run_to_end(&["snapshot", "--json"])?;
    ensure!(
        snapshot.code == Some(0),
        "`snapshot` failed: {}",
        snapshot.text
    );
    std::fs::write(&file, &snapshot.text).context("keeping the snapshot")?;
    let planned = run_to_end(&["plan", "--snapshot", path, "--json"])?;
    ensure!(planned.code == Some(0), "`plan` failed: {}", planned.text);
    let readable = run_to_end(&["plan", "--snapshot", path])?;
    ensure!(readable.code == Some(0), "`plan` failed: {}", readable.text);

    let snapshot: Value = serde_json::from_str(&snapshot.text).context("reading the snapshot")?;
    let plan: Value = serde_json::from_str(&planned.text).context("reading the plan")?;
    let demand: f64 = spinners
        .pids()
        .iter()
        .map(|pid| field_of_task(&snapshot, *pid, "demand"))
        .sum::<Result<f64>>()?;
    context.figure(
        "demand of 8 spinners in the snapshot",
        demand,
        Bound::AtLeast(7.5),
        Bound::AtLeast(7.9),
    );
    let moves = plan["moves"].as_array().context("moves in the plan")?.len();
    context.figure(
        "moves planned for 8 spinners on one of two nodes",
        moves as f64,
        Bound::near(4.0, 0.5),
        Bound::near(4.0, 0.25),
    );
    drop(spinners);
    scheduler.stop()
}

fn field_of_task(snapshot: &Value, pid: u32, field: &str) -> Result<f64> {
    let tasks = snapshot["tasks"]
        .as_array()
        .context("tasks in the snapshot")?;
    let task = tasks.iter().find(|task| task["id"] == u64::from(pid));
    match task.map(|task| &task[field]) {
        Some(value) => value
            .as_f64()
            .with_context(|| format!("{field} of task {pid}")),
        None => bail!("process {pid} is not in the snapshot"),
    }
}

/// 15 equal spinners on 2 × 4 CPUs: one node is always more crowded, but not always the same.
fn rotation(context: &mut Context) -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(16);
    let scheduler = Scheduler::start(&[])?;
    let spinners = Spinners::start(&[Group::spinners(15, 0)])?;
    sleep(SOME_ROUNDS);
    let mut client = StatsClient::connect()?;
    let moves_before = client.read()?.number("moves_applied")?;
    let before = spinners.sample()?;
    sleep(WINDOW);
    let got = shares(&before, &spinners.sample()?);
    let moves = client.read()?.number("moves_applied")? - moves_before;
    drop(spinners);
    scheduler.stop()?;
    context.assert("moves in 16 s", moves, Bound::AtLeast(1.0));
    // Owed 8/15 each. Without rotation 8 of them have 0.5 and 7 have 0.571 of a CPU.
    let owed = context.cpu_count() as f64 / 15.0;
    let square = |share: &f64| (share / owed - 1.0).powi(2);
    let error = (got.iter().map(square).sum::<f64>() / got.len() as f64).sqrt();
    context.figure(
        "rms relative share error of 15 equal spinners",
        error,
        Bound::AtMost(0.15),
        Bound::AtMost(0.03),
    );
    Ok(())
}
