// SPDX-License-Identifier: GPL-2.0-only
//! Work done in a given time, or time for given work: hackbench, stress-ng, perf bench.
//! Never times anything itself: the tools' own clocks are read.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Bench;
use super::catalogue::{Better, Clock, FigureSpec, Target, Work};
use crate::command;

/// What a tool may take beyond its own time.
const PATIENCE: Duration = Duration::from_secs(120);

const fn hackbench_time(key: &'static str, title: &'static str) -> FigureSpec {
    FigureSpec {
        key,
        title,
        unit: "s",
        better: Better::Less,
        targets: &[Target::TimesAtMost("eevdf", 1.0)],
    }
}

/// hackbench's forms: name of the figure, and the flags that make it.
const FORMS: [(&str, &[&str]); 4] = [
    ("sockets-processes", &["-P"]),
    ("sockets-threads", &["-T"]),
    ("pipes-processes", &["-P", "-p"]),
    ("pipes-threads", &["-T", "-p"]),
];

pub(super) const WORKS: &[Work] = &[Work {
    name: "hackbench",
    title: "Messages (hackbench)",
    about: "hackbench with one group: 20 senders, 20 receivers, every sender writing to every receiver.",
    clock: Clock::Icount,
    large: false,
    limit_secs: 120,
    figures: &[
        hackbench_time("sockets-processes", "sockets between processes"),
        hackbench_time("sockets-threads", "sockets between threads"),
        hackbench_time("pipes-processes", "pipes between processes"),
        hackbench_time("pipes-threads", "pipes between threads"),
    ],
    run: hackbench,
}];

fn hackbench(bench: &mut Bench) -> Result<()> {
    let loops = if bench.quick { "100" } else { "300" };
    for (figure, form) in FORMS {
        let arguments = [&["-g", "1", "-l", loops], form].concat();
        let text = command::run("hackbench", &arguments, PATIENCE)?;
        bench.value(figure, seconds_of(&text)?);
    }
    Ok(())
}

/// hackbench ends with "Time: 0.128".
fn seconds_of(text: &str) -> Result<f64> {
    let time = text.lines().find_map(|line| line.strip_prefix("Time:"));
    let time = time.context("hackbench gave no time")?.trim();
    time.parse()
        .with_context(|| format!("reading hackbench's time `{time}`"))
}

#[cfg(test)]
mod unit {
    use super::seconds_of;

    #[test]
    fn hackbench_is_read() {
        let text = "Running in process mode with 1 groups\nTime: 0.128\n";
        assert!((seconds_of(text).expect("a time") - 0.128).abs() < 1e-12);
        assert!(seconds_of("SENDER: write").is_err());
    }
}
