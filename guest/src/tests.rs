// SPDX-License-Identifier: GPL-2.0-only
//! The guest's tests: the list, and how one of them is run.
//! Never asserts on seconds of a noisy host where a share of CPU time will do.

mod attach;
mod brain;
mod cgroups;
mod crash;
mod fidelity;
mod flags;
mod knob_output;
mod knob_queues;
mod knob_stealing;
mod knob_tasks;
mod limits;
mod robust;
mod shares;
mod spread;
mod stats_socket;
mod stress;
mod topologies;

pub use spread::NO_STEALING;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::checks::{Bound, Figure};
use crate::kmsg::KernelLog;
use crate::machine::Machine;
use crate::scheduler;

/// The kernel most tests run on; the others are for what differs between kernels.
const USUAL: &[&str] = &["6.18"];
/// The machine most tests run on: two nodes of four CPUs.
const TWO_NODES: &str = "2x4";

/// One test, and where it wants to run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Test {
    /// Name on the command line.
    pub name: &'static str,
    /// Machine to boot, in the harness's words.
    pub topology: &'static str,
    /// Kernel series to boot, one after the other.
    pub kernels: &'static [&'static str],
    /// Longest it may take in the guest, loading included.
    pub timeout_secs: u64,
    /// Whether `measure` runs it too: its figures are promised.
    #[serde(skip)]
    pub measured: bool,
    #[serde(skip)]
    run: fn(&mut Context) -> Result<()>,
}

/// A test of what a flag does, on the usual machine.
const fn knob_test(name: &'static str, run: fn(&mut Context) -> Result<()>) -> Test {
    Test {
        name,
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 180,
        measured: false,
        run,
    }
}

/// All tests, in the order they run.
pub fn all() -> Vec<Test> {
    let lists = [
        attach::TESTS,
        flags::TESTS,
        stats_socket::TESTS,
        spread::TESTS,
        shares::TESTS,
        brain::TESTS,
        cgroups::TESTS,
        stress::TESTS,
        crash::TESTS,
        topologies::TESTS,
        fidelity::TESTS,
        knob_queues::TESTS,
        knob_stealing::TESTS,
        knob_tasks::TESTS,
        knob_output::TESTS,
        limits::TESTS,
        // Last: what takes CPUs away may leave the kernel slow.
        robust::TESTS,
    ];
    lists.concat()
}

/// What a test is given, and where it leaves its figures.
pub struct Context {
    /// The machine it runs on.
    pub machine: Machine,
    /// Whether this is `measure`: stress runs take their promised length.
    pub full_length: bool,
    figures: Vec<Figure>,
    expected_trouble: Vec<String>,
}

impl Context {
    /// Kernel messages that hold `text` are what this test provokes, and no failure.
    fn expect_trouble(&mut self, text: impl Into<String>) {
        self.expected_trouble.push(text.into());
    }

    /// A figure that is held to the same bound everywhere.
    fn assert(&mut self, name: impl Into<String>, value: f64, bound: Bound) {
        self.figure(name, value, bound, bound);
    }

    /// Records a figure with the bound a test asserts and the one that is promised.
    fn figure(&mut self, name: impl Into<String>, value: f64, test: Bound, target: Bound) {
        let figure = Figure {
            name: name.into(),
            value,
            test,
            target,
        };
        println!("  measure {figure}");
        self.figures.push(figure);
    }

    /// The machine's number of CPUs.
    fn cpu_count(&self) -> usize {
        self.machine.cpus.len()
    }
}

/// How a test ended.
pub struct Outcome {
    /// What it measured.
    pub figures: Vec<Figure>,
    /// Why it failed; empty when it did not.
    pub failures: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Runs one test on this machine.
///
/// # Errors
/// When the guest itself is not fit: no sysfs, no kernel log, no place for a log.
pub fn run(test: &Test, full_length: bool) -> Result<Outcome> {
    let mut context = Context {
        machine: Machine::read()?,
        full_length,
        figures: Vec::new(),
        expected_trouble: Vec::new(),
    };
    scheduler::clear_log()?;
    let mut kernel_log = KernelLog::from_now()?;
    let start = Instant::now();
    let result = (test.run)(&mut context);
    let mut trouble = kernel_log.new_trouble()?;
    let expected = |line: &String| {
        let texts = &context.expected_trouble;
        texts.iter().any(|text| line.contains(text.as_str()))
    };
    trouble.retain(|line| !expected(line));
    context.figure(
        "kernel warnings and errors",
        trouble.len() as f64,
        Bound::exactly(0),
        Bound::exactly(0),
    );
    let mut failures: Vec<String> = result
        .err()
        .map(|why| format!("{why:#}"))
        .into_iter()
        .collect();
    failures.extend(context.figures.iter().filter_map(missed));
    failures.extend(
        trouble
            .into_iter()
            .map(|line| format!("the kernel says: {line}")),
    );
    if !failures.is_empty() {
        println!("  the scheduler's last lines:\n{}", scheduler::log_tail());
    }
    Ok(Outcome {
        figures: context.figures,
        failures,
        elapsed: start.elapsed(),
    })
}

fn missed(figure: &Figure) -> Option<String> {
    let Figure {
        name, value, test, ..
    } = figure;
    (!test.holds(*value)).then(|| format!("{name} is {value:.4}, not {test}"))
}

#[cfg(test)]
mod unit {
    use super::all;

    #[test]
    fn names_are_unique_and_the_list_is_what_the_harness_reads() {
        let tests = all();
        for test in &tests {
            let same = tests.iter().filter(|other| other.name == test.name);
            assert_eq!(same.count(), 1, "{}", test.name);
            assert!(!test.kernels.is_empty() && test.timeout_secs > 0);
        }
        let value = serde_json::to_value(&tests[..1]).expect("a list writes");
        let keys: Vec<&String> = value[0].as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["kernels", "name", "timeout_secs", "topology"]);
    }
}
