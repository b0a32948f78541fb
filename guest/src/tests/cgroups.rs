// SPDX-License-Identifier: GPL-2.0-only
//! Control groups: their weights and quotas decide what their tasks get, however many they are.
//! Never asks the scheduler for shares: they are read from the CPU clocks.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Context, TWO_NODES, Test, USUAL};
use crate::cgroup::Cgroup;
use crate::checks::Bound;
use crate::load::{Group, Spinners};
use crate::scheduler::{Scheduler, run_to_end};

pub(super) const TESTS: &[Test] = &[
    cgroup_test("cgroup_weights", USUAL, cgroup_weights),
    cgroup_test("cgroup_leftover", USUAL, cgroup_leftover),
    cgroup_test("cgroup_quota", USUAL, cgroup_quota),
    cgroup_test("cgroup_move", USUAL, cgroup_move),
    Test {
        measured: false,
        ..cgroup_test(
            "cgroup_ids",
            &["6.16", "6.18", "7.0", "7.2", "7.3"],
            cgroup_ids,
        )
    },
];

const fn cgroup_test(
    name: &'static str,
    kernels: &'static [&'static str],
    run: fn(&mut Context) -> Result<()>,
) -> Test {
    Test {
        name,
        topology: TWO_NODES,
        kernels,
        timeout_secs: 180,
        measured: true,
        run,
    }
}

/// Time for the scheduler to see the load, place it, and charge by its groups: four rounds.
const SETTLE: Duration = Duration::from_secs(4);
/// Window for shares of a tenth of a CPU and more.
const WINDOW: Duration = Duration::from_secs(6);
/// Patience for something to be in a snapshot, of which there is one each second.
const SEEN: Duration = Duration::from_secs(5);

/// What the members of two groups had, in CPUs, once all had settled.
fn shares(spinners: &Spinners, first: usize) -> Result<(f64, f64)> {
    sleep(SETTLE);
    let got = spinners.shares_over(WINDOW)?;
    let (one, other) = got.split_at(first);
    Ok((one.iter().sum(), other.iter().sum()))
}

/// What `light` spinners in a group of weight 100 had beside `heavy` in one of 300, in CPUs.
fn beside_heavier(light: usize, heavy: usize) -> Result<(f64, f64)> {
    let (one, other) = (Cgroup::new("/light")?, Cgroup::new("/heavy")?);
    other.set("cpu.weight", "300")?;
    let spinners = Spinners::start(&[Group::spinners(light, 0), Group::spinners(heavy, 0)])?;
    one.add(&spinners.pids()[..light])?;
    other.add(&spinners.pids()[light..])?;
    shares(&spinners, light)
}

/// 100 and 300 share 8 CPUs as 2 and 6, though the first has twice as many tasks.
fn cgroup_weights(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(&[])?;
    let (of_light, of_heavy) = beside_heavier(16, 8)?;
    let full = context.cpu_count() as f64;
    context.figure(
        "CPUs of 16 in a group of weight 100 beside 8 in one of 300",
        of_light,
        Bound::near(full / 4.0, 0.25),
        Bound::near(full / 4.0, 0.05),
    );
    context.figure(
        "CPUs of the 8 in the group of weight 300",
        of_heavy,
        Bound::near(full * 3.0 / 4.0, 0.15),
        Bound::near(full * 3.0 / 4.0, 0.05),
    );
    scheduler.stop()
}

/// 4 tasks of a group that is owed 6 CPUs use 4; the other group has what they leave.
fn cgroup_leftover(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(&[])?;
    let (of_light, of_heavy) = beside_heavier(8, 4)?;
    let full = context.cpu_count() as f64;
    context.figure(
        "CPUs of 8 in a group of weight 100 beside 4 in one of 300",
        of_light,
        Bound::near(full / 2.0, 0.2),
        Bound::near(full / 2.0, 0.05),
    );
    context.figure(
        "CPUs of the 4 in the group of weight 300",
        of_heavy,
        Bound::near(full / 2.0, 0.15),
        Bound::near(full / 2.0, 0.05),
    );
    scheduler.stop()
}

/// On a machine with more work than CPUs, a group has its quota and the others the rest.
fn cgroup_quota(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(&[])?;
    let capped = Cgroup::new("/capped")?;
    // By its weight it would have all but a little of the machine.
    capped.set("cpu.weight", "10000")?;
    capped.set("cpu.max", "200000 100000")?;
    let spinners = Spinners::start(&[Group::spinners(8, 0), Group::spinners(8, 0)])?;
    capped.add(&spinners.pids()[..8])?;
    let (of_capped, of_others) = shares(&spinners, 8)?;
    drop(spinners);
    let full = context.cpu_count() as f64;
    context.figure(
        "CPUs of 8 in a heavy group with a quota of 2 beside 8 others",
        of_capped,
        Bound::near(2.0, 0.25),
        Bound::near(2.0, 0.05),
    );
    context.figure(
        "CPUs of the 8 others",
        of_others,
        Bound::near(full - 2.0, 0.15),
        Bound::near(full - 2.0, 0.05),
    );
    scheduler.stop()
}

/// A spinner that is moved to another group has a share of that group from then on.
fn cgroup_move(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(&[])?;
    let (light, heavy) = (Cgroup::new("/light")?, Cgroup::new("/heavy")?);
    heavy.set("cpu.weight", "300")?;
    let spinners = Spinners::start(&[Group::spinners(1, 0), Group::spinners(15, 0)])?;
    let pids = spinners.pids();
    light.add(&pids[..8])?;
    heavy.add(&pids[8..])?;
    let (before, _) = shares(&spinners, 1)?;
    heavy.add(&pids[..1])?;
    let (after, _) = shares(&spinners, 1)?;
    drop(spinners);
    let full = context.cpu_count() as f64;
    let (owed_before, owed_after) = (full / 4.0 / 8.0, full * 3.0 / 4.0 / 9.0);
    context.figure(
        "share of one of 8 in the group of weight 100",
        before,
        Bound::near(owed_before, 0.4),
        Bound::near(owed_before, 0.1),
    );
    context.figure(
        "its share as one of 9 in the group of weight 300",
        after,
        Bound::near(owed_after, 0.25),
        Bound::near(owed_after, 0.1),
    );
    scheduler.stop()
}

/// The snapshot says which group each task is in, also after a move and when the controller comes,
/// and what the groups have.
fn cgroup_ids(_: &mut Context) -> Result<()> {
    let outer = Cgroup::new("/outer")?;
    outer.set("cpu.weight", "250")?;
    let inner = Cgroup::new("/outer/inner")?;
    let beside = Cgroup::new("/outer/beside")?;
    let _unused = Cgroup::new("/unused")?;
    // One process is in its group before the scheduler comes, one changes while it runs.
    let spinners = Spinners::start(&[Group::spinners(3, 0)])?;
    let pids = spinners.pids();
    inner.add(&pids[..1])?;
    let scheduler = Scheduler::start(&[])?;
    beside.add(&pids[1..2])?;
    // Without the controller the inner groups are not there.
    let outside = [Some(outer.path()), Some(outer.path()), None];
    wait_for_groups(&pids, &outside)?;
    outer.set("cgroup.subtree_control", "+cpu")?;
    inner.set("cpu.idle", "1")?;
    beside.set("cpu.max", "150000 100000")?;
    let expected = [Some(inner.path()), Some(beside.path()), None];
    wait_for_groups(&pids, &expected)?;
    // The settings may have come after the round that saw the groups.
    sleep(SETTLE);
    let snapshot = wait_for_groups(&pids, &expected)?;
    let groups = snapshot["groups"].as_array().context("groups")?;
    let paths: Vec<&str> = groups.iter().filter_map(|g| g["path"].as_str()).collect();
    ensure!(
        paths == ["/outer", "/outer/beside", "/outer/inner"],
        "the groups are {paths:?}"
    );
    let idle = 300.0 / 1024.0;
    for (group, weight, quota) in [
        (&groups[0], 250.0, None),
        (&groups[1], 100.0, Some(1.5)),
        (&groups[2], idle, None),
    ] {
        ensure!(
            group["weight"].as_f64() == Some(weight) && group["quota"].as_f64() == quota,
            "a group is {group}, not of weight {weight} and quota {quota:?}"
        );
    }
    inner.add(&pids[1..3])?;
    wait_for_groups(&pids, &[Some(inner.path()); 3])?;
    drop(spinners);
    scheduler.stop()
}

/// Waits until the snapshot has each process in its group; None is the root.
fn wait_for_groups(pids: &[u32], expected: &[Option<&str>]) -> Result<Value> {
    let start = Instant::now();
    loop {
        let ended = run_to_end(&["snapshot", "--json"])?;
        ensure!(ended.code == Some(0), "`snapshot` failed: {}", ended.text);
        let snapshot: Value = serde_json::from_str(&ended.text).context("reading the snapshot")?;
        let tasks = snapshot["tasks"].as_array().context("tasks")?;
        let of = |pid: &u32| tasks.iter().find(|task| task["id"] == u64::from(*pid));
        let groups: Vec<Option<Option<&str>>> = pids
            .iter()
            .map(|pid| of(pid).map(|task| task["group"].as_str()))
            .collect();
        let same =
            |(group, wanted): (&Option<Option<&str>>, &Option<&str>)| *group == Some(*wanted);
        if groups.iter().zip(expected).all(same) {
            return Ok(snapshot);
        }
        if start.elapsed() > SEEN {
            bail!("after {SEEN:?} the groups of {pids:?} are {groups:?}, not {expected:?}");
        }
        sleep(Duration::from_millis(200));
    }
}
