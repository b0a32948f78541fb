// SPDX-License-Identifier: GPL-2.0-only
//! Shares of CPU time against what each task is owed, and how soon work spreads.
//! Never counts work done: only CPU clocks are honest where virtual CPUs share real ones.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Bench;
use super::catalogue::{Better, Clock, FigureSpec, Machines, Target, Work};
use super::trace::{Tracing, follow};
use crate::cpus::CpuList;
use crate::entitlement::{Claim, entitlements_of};
use crate::load::{Group, Spinners, WorkerSample, shares};

const ERROR: &str = "error";
const USED: &str = "used";

const fn error(targets: &'static [Target]) -> FigureSpec {
    FigureSpec {
        key: ERROR,
        title: "share error (rms of (got − owed) / owed)",
        unit: "",
        better: Better::Less,
        targets,
    }
}

const fn used(targets: &'static [Target]) -> FigureSpec {
    FigureSpec {
        key: USED,
        title: "machine used",
        unit: "",
        better: Better::More,
        targets,
    }
}

const PROMISED: &[FigureSpec] = &[
    error(&[Target::AtMost(0.03)]),
    used(&[Target::AtLeast(0.995)]),
];
const FULL: &[FigureSpec] = &[error(&[]), used(&[Target::AtLeast(0.995)])];
const ERROR_ONLY: &[FigureSpec] = &[error(&[])];

const fn fairness_work(
    name: &'static str,
    title: &'static str,
    about: &'static str,
    figures: &'static [FigureSpec],
    run: fn(&mut Bench) -> Result<()>,
) -> Work {
    Work {
        name,
        title,
        about,
        clock: Clock::Multi,
        machines: Machines::AlsoLarge,
        limit_secs: 60,
        figures,
        run,
    }
}

pub(super) const WORKS: &[Work] = &[
    fairness_work(
        "equal",
        "Equal spinners",
        "Three nice-0 spinners for every two CPUs.",
        PROMISED,
        equal,
    ),
    fairness_work(
        "infeasible",
        "A weight that asks for more than a CPU",
        "A nice −20 spinner beside nice-0 ones, two spinners a CPU in all.",
        PROMISED,
        infeasible,
    ),
    fairness_work(
        "nice-mix",
        "Three nice levels",
        "For every eight CPUs, 9 spinners of nice 0, 4 of nice 5 and 3 of nice −5.",
        PROMISED,
        nice_mix,
    ),
    fairness_work(
        "duty",
        "Tasks that sleep",
        "For every eight CPUs, 4 nice-0 tasks each that run 10, 30, 50, 90 and 100 % of a period of 0.2 s.",
        FULL,
        duty,
    ),
    fairness_work(
        "changing",
        "Load that changes",
        "Nine nice-0 spinners for eight CPUs; then 4 of nice 5 come, then 3 of nice −5, then those of nice 5 go. Each phase lasts 5 s; all but the first are judged, from their first moment.",
        ERROR_ONLY,
        changing,
    ),
    fairness_work(
        "pinned",
        "Tasks confined to a node",
        "Two spinners a CPU, all of nice 0; one and a half for each CPU of the first node are confined to it.",
        FULL,
        pinned,
    ),
    Work {
        name: "spread",
        title: "Spreading from one node",
        about: "A spinner for each CPU, all left on the first node, then free to go anywhere.",
        clock: Clock::Multi,
        machines: Machines::AlsoLarge,
        limit_secs: 60,
        figures: &[
            FigureSpec {
                key: "first-second",
                title: "least share in the first second",
                unit: "",
                better: Better::More,
                targets: &[],
            },
            FigureSpec {
                key: "after",
                title: "least share after the first second",
                unit: "",
                better: Better::More,
                targets: &[Target::AtLeast(0.95)],
            },
            FigureSpec {
                key: "time",
                title: "time until every node has its part",
                unit: "ms",
                better: Better::Less,
                targets: &[],
            },
            FigureSpec::new(
                "moves",
                "moves between nodes in the first second, of the fewest that spread it",
                "",
                Better::Less,
                &[],
            ),
        ],
        run: spread,
    },
];

/// Eighths of the machine, so that the same mix suits a larger one.
fn times(bench: &Bench, count: usize) -> usize {
    (count * bench.machine.cpus.len()).div_ceil(8)
}

fn equal(bench: &mut Bench) -> Result<()> {
    steady(bench, &[Group::spinners(times(bench, 12), 0)])
}

fn infeasible(bench: &mut Bench) -> Result<()> {
    let others = times(bench, 16) - 1;
    steady(
        bench,
        &[Group::spinners(1, -20), Group::spinners(others, 0)],
    )
}

fn nice_mix(bench: &mut Bench) -> Result<()> {
    let groups =
        [(9, 0), (4, 5), (3, -5)].map(|(count, nice)| Group::spinners(times(bench, count), nice));
    steady(bench, &groups)
}

/// Long enough that the host's delays at wake-ups, some ten milliseconds where it is busy, are not
/// what is measured.
const DUTY_PERIOD_MS: u32 = 200;

fn duty(bench: &mut Bench) -> Result<()> {
    let groups = [10, 30, 50, 90, 100].map(|duty_percent| Group {
        duty_percent,
        period_ms: DUTY_PERIOD_MS,
        ..Group::spinners(times(bench, 4), 0)
    });
    steady(bench, &groups)
}

/// The confined ones need no more than their node has, so every task is owed the same.
fn pinned(bench: &mut Bench) -> Result<()> {
    let first = first_node(bench)?;
    let whole = bench.machine.cpus.len();
    let confined = (3 * first.len()).div_ceil(2);
    let groups = [
        Group::spinners(confined, 0).confined(&first),
        Group::spinners(2 * whole - confined, 0),
    ];
    steady(bench, &groups)
}

/// Lets the load settle, then takes error and use over one window.
fn steady(bench: &mut Bench, groups: &[Group]) -> Result<()> {
    let settle = bench.seconds(3, 5);
    let window = bench.seconds(5, 10);
    let spinners = Spinners::start(groups)?;
    sleep(settle);
    let before = spinners.sample()?;
    sleep(window);
    let after = spinners.sample()?;
    drop(spinners);

    let got = shares(&before, &after);
    let owed = owed(bench.cpu_count(), groups, &before);
    bench.value(ERROR, root_mean_square(&errors(&got, &owed)));
    // Only where the tasks could use it all: `used` is of what they are owed together.
    let claimed: f64 = owed.iter().sum();
    bench.value(USED, got.iter().sum::<f64>() / claimed);
    Ok(())
}

/// What the workers of these readings are owed.
fn owed(capacity: f64, groups: &[Group], readings: &[WorkerSample]) -> Vec<f64> {
    let claim = |reading: &WorkerSample| Claim {
        nice: groups[reading.group].nice,
        demand: f64::from(groups[reading.group].duty_percent) / 100.0,
    };
    let claims: Vec<Claim> = readings.iter().map(claim).collect();
    entitlements_of(capacity, &claims)
}

fn errors(got: &[f64], owed: &[f64]) -> Vec<f64> {
    let error = |(got, owed): (&f64, &f64)| (got - owed) / owed;
    got.iter().zip(owed).map(error).collect()
}

fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64).sqrt()
}

fn changing(bench: &mut Bench) -> Result<()> {
    let phase = bench.seconds(3, 5);
    let group = |count, nice| Group::spinners(times(bench, count), nice);
    let (base, light, heavy) = (group(9, 0), group(4, 5), group(3, -5));
    let mut errors = Vec::new();

    let base = (base.clone(), Spinners::start(&[base])?);
    sleep(phase);
    let light = (light.clone(), Spinners::start(&[light])?);
    errors.extend(phase_errors(bench, &[&base, &light], phase)?);
    let heavy = (heavy.clone(), Spinners::start(&[heavy])?);
    errors.extend(phase_errors(bench, &[&base, &light, &heavy], phase)?);
    drop(light);
    errors.extend(phase_errors(bench, &[&base, &heavy], phase)?);
    bench.value(ERROR, root_mean_square(&errors));
    Ok(())
}

/// The errors of all that run, from now on for one phase.
fn phase_errors(
    bench: &Bench,
    running: &[&(Group, Spinners)],
    phase: Duration,
) -> Result<Vec<f64>> {
    let sample = || -> Result<Vec<Vec<WorkerSample>>> {
        running.iter().map(|(_, load)| load.sample()).collect()
    };
    let before = sample()?;
    sleep(phase);
    let after = sample()?;
    let got: Vec<f64> = before
        .iter()
        .zip(&after)
        .flat_map(|(before, after)| shares(before, after))
        .collect();
    let claims: Vec<Claim> = running
        .iter()
        .zip(&before)
        .flat_map(|((group, _), readings)| {
            readings.iter().map(|_| Claim {
                nice: group.nice,
                demand: 1.0,
            })
        })
        .collect();
    Ok(errors(&got, &entitlements_of(bench.cpu_count(), &claims)))
}

fn first_node(bench: &Bench) -> Result<CpuList> {
    let node = bench.machine.nodes_with_cpus().next();
    Ok(node.context("no node has CPUs")?.cpus.clone())
}

/// How long the spinners are kept on the first node: long enough to be seen as its load.
const CONFINED: Duration = Duration::from_secs(2);
/// The part of that in which their runs are recorded already, so that each has been seen there.
const RECORDED: Duration = Duration::from_millis(500);
/// The first window after their release.
const FIRST: Duration = Duration::from_secs(1);
/// Pause between two looks at where they run.
const SPREAD_LOOK: Duration = Duration::from_millis(20);

fn spread(bench: &mut Bench) -> Result<()> {
    let first = first_node(bench)?;
    let everywhere = bench.machine.cpus.clone();
    let group = Group::spinners(everywhere.len(), 0).confined(&first);
    let spinners = Spinners::start(&[group])?;
    sleep(CONFINED - RECORDED);
    let tracing = Tracing::start()?;
    sleep(RECORDED);
    let start = Instant::now();
    spinners.set_affinity(0, &everywhere)?;
    let before = spinners.sample()?;
    let elsewhere = everywhere.len() - first.len();
    let mut spread_after = None;
    while start.elapsed() < FIRST {
        sleep(SPREAD_LOOK);
        let away = spinners.last_cpus()?.into_iter();
        let away = away.filter(|cpu| !first.contains(*cpu)).count();
        if spread_after.is_none() && away >= elsewhere {
            spread_after = Some(start.elapsed());
        }
    }
    let middle = spinners.sample()?;
    tracing.halt()?;
    sleep(bench.seconds(3, 5));
    let after = spinners.sample()?;
    let record = tracing.stop()?;
    let pids = spinners.pids();
    drop(spinners);
    let moves = follow(&record, &pids, bench.machine)?.crossings;
    let least = |from: &[WorkerSample], to: &[WorkerSample]| {
        shares(from, to).into_iter().fold(f64::INFINITY, f64::min)
    };
    bench.value("first-second", least(&before, &middle));
    bench.value("after", least(&middle, &after));
    if let Some(time) = spread_after {
        bench.value("time", time.as_secs_f64() * 1e3);
        bench.value("moves", moves as f64 / elsewhere as f64);
    } else {
        let why = "not within the first second";
        bench.missing("time", why);
        bench.missing("moves", why);
    }
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::{errors, root_mean_square};

    #[test]
    fn errors_are_relative_to_what_is_owed() {
        let errors = errors(&[0.5, 1.0], &[0.4, 1.0]);
        assert!((errors[0] - 0.25).abs() < 1e-12);
        assert!((root_mean_square(&errors) - (0.0625_f64 / 2.0).sqrt()).abs() < 1e-12);
    }
}
