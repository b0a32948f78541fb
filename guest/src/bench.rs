// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark: the same work under each contender in turn, again and again, in one boot.
//! Never judges a figure or holds it against another: that is the page's part.

mod catalogue;
mod contender;
mod cost;
mod daemon;
mod fairness;
mod latency;
mod quiet;
mod throughput;
mod trace;

pub use catalogue::{Better, Clock, FigureSpec, Machines, Target, Work, all};
pub use contender::{Contender, KERNEL};

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::machine::Machine;
use contender::Running;

/// What begins a line that the harness reads.
const MARKER: &str = "BENCH";

/// What to measure.
pub struct Plan {
    /// Contenders, in the order of each turn.
    pub contenders: Vec<Contender>,
    /// Work, in the order it is done.
    pub works: Vec<Work>,
    /// The turns to take: the first and the last.
    pub turns: (u32, u32),
    /// Shorter windows: a look, not a measurement.
    pub quick: bool,
}

/// One line for the harness.
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// A figure, or why there is none.
    Figure(Measurement),
    /// Something a reader should know: a version, a size.
    About { key: String, value: String },
    /// All contenders have had this turn.
    Turn(u32),
}

/// One figure of one contender in one turn.
#[derive(Clone, Debug, Serialize, PartialEq)]
struct Measurement {
    turn: u32,
    scheduler: String,
    work: &'static str,
    figure: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

/// What a piece of work is given, and where it leaves its figures.
struct Bench<'a> {
    machine: &'a Machine,
    quick: bool,
    running: &'a mut Running,
    values: Vec<(&'static str, Result<f64, String>)>,
}

impl Bench<'_> {
    /// Leaves a figure.
    fn value(&mut self, figure: &'static str, value: f64) {
        self.values.push((figure, Ok(value)));
    }

    /// Says why there is none.
    fn missing(&mut self, figure: &'static str, why: impl Into<String>) {
        self.values.push((figure, Err(why.into())));
    }

    /// Seconds: the first where a look is enough, else the second.
    fn seconds(&self, quick: u64, whole: u64) -> Duration {
        Duration::from_secs(if self.quick { quick } else { whole })
    }

    fn cpu_count(&self) -> f64 {
        self.machine.cpus.len() as f64
    }
}

/// Measures, printing a line for each figure.
///
/// # Errors
/// When the guest itself is not fit to measure in. A contender that fails is a line.
pub fn run(plan: &Plan) -> Result<()> {
    let machine = Machine::read()?;
    about(plan, &machine)?;
    quiet::await_quiet()?;
    for turn in plan.turns.0..=plan.turns.1 {
        for contender in &plan.contenders {
            println!("turn {turn} of {}: {}", plan.turns.1, contender.name());
            take_turn(plan, &machine, contender, turn)?;
        }
        say(&Line::Turn(turn));
    }
    Ok(())
}

fn about(plan: &Plan, machine: &Machine) -> Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let release = release.context("reading the kernel's release")?;
    let tell = |key: &str, value: &str| {
        say(&Line::About {
            key: key.to_owned(),
            value: value.trim().to_owned(),
        });
    };
    tell("kernel", &release);
    tell("cpus", &machine.cpus.len().to_string());
    tell("nodes", &machine.nodes_with_cpus().count().to_string());
    for contender in &plan.contenders {
        if let Some(version) = contender.version() {
            tell(contender.name(), &version);
        }
    }
    Ok(())
}

/// One contender does all the work once.
fn take_turn(plan: &Plan, machine: &Machine, contender: &Contender, turn: u32) -> Result<()> {
    let report = |work: &Work, figure: &'static str, value: Result<f64, String>| {
        say(&Line::Figure(Measurement {
            turn,
            scheduler: contender.name().to_owned(),
            work: work.name,
            figure,
            value: value.as_ref().ok().copied(),
            missing: value.err(),
        }));
    };
    let mut running: Option<Running> = None;
    for work in &plan.works {
        if running.is_none() {
            match contender.start(&plan.works) {
                Ok(started) => running = Some(started),
                Err(why) => {
                    let why = format!("did not attach: {why:#}");
                    println!("  {why}");
                    for figure in work.figures {
                        report(work, figure.key, Err(why.clone()));
                    }
                    continue;
                }
            }
        }
        let Some(attached) = running.as_mut() else {
            continue;
        };
        println!("  {}", work.name);
        let (values, good) = do_work(plan, machine, work, attached);
        for (figure, value) in values {
            report(work, figure, value);
        }
        if !good {
            // It is ended, and starts afresh for the next work.
            running = None;
        }
    }
    if let Some(attached) = running
        && let Err(why) = attached.stop()
    {
        println!("  note: {why:#}");
    }
    Ok(())
}

type Values = Vec<(&'static str, Result<f64, String>)>;

/// Every figure of `work`, and whether the contender is still attached.
fn do_work(plan: &Plan, machine: &Machine, work: &Work, running: &mut Running) -> (Values, bool) {
    let mut bench = Bench {
        machine,
        quick: plan.quick,
        running,
        values: Vec::new(),
    };
    let result = (work.run)(&mut bench);
    let values = std::mem::take(&mut bench.values);
    let attached = running.check_attached();
    let good = attached.is_ok();
    (complete(work, values, result, attached), good)
}

/// One entry for each figure of `work`: what was measured is void if the contender was ejected,
/// and what was not says why.
fn complete(work: &Work, values: Values, result: Result<()>, attached: Result<()>) -> Values {
    let why = match (&attached, &result) {
        (Err(why), _) => format!("ejected: {why:#}"),
        (Ok(()), Err(why)) => format!("{why:#}"),
        (Ok(()), Ok(())) => "not measured".to_owned(),
    };
    let one = |figure: &FigureSpec| {
        let known = values.iter().find(|(key, _)| *key == figure.key);
        let value = match known {
            Some((_, value)) if attached.is_ok() => value.clone(),
            _ => Err(why.clone()),
        };
        (figure.key, value)
    };
    work.figures.iter().map(one).collect()
}

fn say(line: &Line) {
    match serde_json::to_string(line) {
        Ok(text) => println!("{MARKER} {text}"),
        Err(why) => println!("a line for the harness does not write: {why}"),
    }
}

#[cfg(test)]
mod unit {
    use anyhow::anyhow;

    use super::{Line, Measurement, all, complete};

    #[test]
    fn every_figure_has_a_value_or_a_reason() {
        let work = &all()[0];
        let first = work.figures[0].key;
        let measured = || vec![(first, Ok(1.0))];
        let done = complete(work, measured(), Ok(()), Ok(()));
        assert_eq!(done.len(), work.figures.len());
        assert_eq!(done[0], (first, Ok(1.0)));
        assert!(done[1..].iter().all(|(_, value)| value.is_err()));
        let failed = complete(work, measured(), Err(anyhow!("no tool")), Ok(()));
        assert_eq!(failed[0].1, Ok(1.0));
        let ejected = complete(work, measured(), Ok(()), Err(anyhow!("stalled")));
        assert_eq!(ejected[0].1, Err("ejected: stalled".to_owned()));
    }

    #[test]
    fn lines_are_what_the_harness_reads() {
        let line = Line::Figure(Measurement {
            turn: 2,
            scheduler: "ballast".into(),
            work: "equal12",
            figure: "error",
            value: Some(0.5),
            missing: None,
        });
        let text = serde_json::to_string(&line).expect("it writes");
        assert_eq!(
            text,
            r#"{"figure":{"turn":2,"scheduler":"ballast","work":"equal12","figure":"error","value":0.5}}"#
        );
        let text = serde_json::to_string(&Line::Turn(1)).expect("it writes");
        assert_eq!(text, r#"{"turn":1}"#);
    }
}
