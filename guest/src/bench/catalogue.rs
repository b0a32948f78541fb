// SPDX-License-Identifier: GPL-2.0-only
//! The list of work: its figures, what each should be, and the clock and time it needs.
//! Never measures anything.

use anyhow::Result;
use serde::Serialize;

use super::{Bench, cost, daemon, fairness, latency, throughput, trace};

/// What the guest's clock must count for the figures to mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Host time: CPU time and shares.
    Multi,
    /// Instructions: latency and cost.
    Icount,
}

/// The machines on which a piece of work says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Machines {
    /// Those of the usual size.
    Usual,
    /// Larger ones too.
    AlsoLarge,
    /// Only one with memory for many tasks; scx_ballast is told to make its table as large.
    Roomy,
}

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less is better.
    Less,
    /// More is better.
    More,
    /// It says what was measured, not how well.
    Neither,
}

/// What a figure of scx_ballast should be, in the median.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At most this many times the contender's figure.
    TimesAtMost(&'static str, f64),
    /// At least this many times the contender's figure.
    TimesAtLeast(&'static str, f64),
    /// No worse than any peer's; the kernel's own scheduler is none.
    NoWorseThanPeers,
}

/// One number a piece of work leaves.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FigureSpec {
    /// Name in the raw results.
    pub key: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Empty for a bare number.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// All of them must hold.
    pub targets: &'static [Target],
}

impl FigureSpec {
    /// The figure `key`, its fields in their order.
    pub(super) const fn new(
        key: &'static str,
        title: &'static str,
        unit: &'static str,
        better: Better,
        targets: &'static [Target],
    ) -> Self {
        Self {
            key,
            title,
            unit,
            better,
            targets,
        }
    }
}

/// One piece of work.
#[derive(Clone, Copy, Serialize)]
pub struct Work {
    /// Name on the command line.
    pub name: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What is done, in a sentence or two.
    pub about: &'static str,
    /// The clock it needs.
    pub clock: Clock,
    /// Where it says something.
    pub machines: Machines,
    /// Longest one contender may take for it, in the guest's seconds.
    pub limit_secs: u64,
    /// What it leaves.
    pub figures: &'static [FigureSpec],
    #[serde(skip)]
    pub(super) run: fn(&mut Bench) -> Result<()>,
}

/// All work, in the order it is done.
pub fn all() -> Vec<Work> {
    [
        fairness::WORKS,
        latency::WORKS,
        throughput::WORKS,
        trace::WORKS,
        cost::WORKS,
        daemon::WORKS,
    ]
    .concat()
}

#[cfg(test)]
mod unit {
    use super::all;

    #[test]
    fn names_are_unique() {
        let works = all();
        for work in &works {
            let same = works.iter().filter(|other| other.name == work.name);
            assert_eq!(same.count(), 1, "{}", work.name);
            assert!(!work.figures.is_empty(), "{}", work.name);
            for figure in work.figures {
                let same = work.figures.iter().filter(|other| other.key == figure.key);
                assert_eq!(same.count(), 1, "{} {}", work.name, figure.key);
            }
        }
    }
}
