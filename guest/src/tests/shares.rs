// SPDX-License-Identifier: GPL-2.0-only
//! Spinners of every nice value get what they are owed on the whole machine.
//! Never takes the scheduler's arithmetic for granted: entitlements are computed here again.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{Context, TWO_NODES, Test, USUAL};
use crate::checks::Bound;
use crate::entitlement::entitlements;
use crate::load::{Group, Spinners, shares};
use crate::scheduler::Scheduler;

pub(super) const TESTS: &[Test] = &[
    shares_test("equal12", equal12),
    shares_test("infeasible", infeasible),
    shares_test("nice_mix", nice_mix),
    shares_test("nice19", nice19),
];

const fn shares_test(name: &'static str, run: fn(&mut Context) -> Result<()>) -> Test {
    Test {
        name,
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 180,
        measured: true,
        run,
    }
}

/// Time for the scheduler to see the load and place it: four default intervals.
const SETTLE: Duration = Duration::from_secs(4);
/// Window for shares of a tenth of a CPU and more.
const WINDOW: Duration = Duration::from_secs(6);
/// Window for nice 19: a share of 0.0144 is 288 ms of it.
const LONG_WINDOW: Duration = Duration::from_secs(20);

/// A group's shares, and what each of its members is owed.
struct Shares {
    nice: i32,
    got: Vec<f64>,
    owed: f64,
}

impl Shares {
    fn mean(&self) -> f64 {
        self.got.iter().sum::<f64>() / self.got.len() as f64
    }
}

/// Runs `(count, nice)` groups under a scheduler with default flags.
fn run(context: &Context, groups: &[(usize, i32)], window: Duration) -> Result<Vec<Shares>> {
    let scheduler = Scheduler::start(&[])?;
    let load: Vec<Group> = groups
        .iter()
        .map(|(count, nice)| Group::spinners(*count, *nice))
        .collect();
    let spinners = Spinners::start(&load)?;
    sleep(SETTLE);
    let before = spinners.sample()?;
    sleep(window);
    let after = spinners.sample()?;
    drop(spinners);
    scheduler.stop()?;

    let got = shares(&before, &after);
    let nices: Vec<i32> = before.iter().map(|one| groups[one.group].1).collect();
    let owed = entitlements(context.cpu_count() as f64, &nices);
    let mut result = Vec::new();
    for (place, (_, nice)) in groups.iter().enumerate() {
        let members = || (0..before.len()).filter(|one| before[*one].group == place);
        result.push(Shares {
            nice: *nice,
            got: members().map(|one| got[one]).collect(),
            owed: members().map(|one| owed[one]).next().unwrap_or(0.0),
        });
    }
    Ok(result)
}

fn equal12(context: &mut Context) -> Result<()> {
    let groups = run(context, &[(12, 0)], WINDOW)?;
    let full = context.cpu_count() as f64;
    context.figure(
        "CPUs that 12 equal spinners had",
        groups[0].got.iter().sum(),
        Bound::AtLeast(full * 7.5 / 8.0),
        Bound::AtLeast(full * 7.9 / 8.0),
    );
    Ok(())
}

fn infeasible(context: &mut Context) -> Result<()> {
    let groups = run(context, &[(1, -20), (15, 0)], WINDOW)?;
    context.figure(
        "share of nice -20 beside 15 of nice 0",
        groups[0].mean(),
        Bound::AtLeast(0.85),
        Bound::AtLeast(0.95),
    );
    Ok(())
}

fn nice_mix(context: &mut Context) -> Result<()> {
    for group in run(context, &[(9, 0), (4, 5), (3, -5)], WINDOW)? {
        context.figure(
            format!("mean share of nice {} in the mix", group.nice),
            group.mean(),
            Bound::near(group.owed, 0.25),
            Bound::near(group.owed, 0.10),
        );
    }
    Ok(())
}

fn nice19(context: &mut Context) -> Result<()> {
    let groups = run(context, &[(8, 0), (8, 19)], LONG_WINDOW)?;
    let low = &groups[1];
    context.figure(
        "mean share of nice 19 beside nice 0, over 20 s",
        low.mean(),
        Bound::near(low.owed, 0.60),
        Bound::near(low.owed, 0.20),
    );
    Ok(())
}
