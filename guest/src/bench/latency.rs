// SPDX-License-Identifier: GPL-2.0-only
//! How long a woken task waits, alone and beside CPU hogs: our own generator, and cyclictest.
//! Never runs on a clock of host time, where the host's own scheduler is what would be measured.

use std::env;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Bench;
use super::catalogue::{Better, Clock, FigureSpec, Machines, Target, Work};
use crate::command;
use crate::load::{Group, Spinners};
use crate::wake::{Latencies, rank};

/// Time for hogs to be placed.
const SETTLE: Duration = Duration::from_secs(2);
/// What a generator may take beyond its window.
const PATIENCE: Duration = Duration::from_secs(120);
/// cyclictest counts latencies up to this many microseconds one by one.
const LONGEST_US: usize = 50_000;
/// How far apart its intervals are: of no common measure with the first. Else two threads that
/// start as one wakes do so for good, and others never: 99 % were at 7 or at 20 µs by luck.
const DISTANCE_US: &str = "137";

const AHEAD_OF_ALL: &[Target] = &[Target::TimesAtMost("eevdf", 1.0), Target::NoWorseThanPeers];

const fn microseconds(
    key: &'static str,
    title: &'static str,
    targets: &'static [Target],
) -> FigureSpec {
    FigureSpec {
        key,
        title,
        unit: "µs",
        better: Better::Less,
        targets,
    }
}

const PERCENTILES: &[FigureSpec] = &[
    microseconds("p50", "median", &[]),
    microseconds("p99", "99 % are below", AHEAD_OF_ALL),
    microseconds("p999", "99.9 % are below", AHEAD_OF_ALL),
];

const fn latency_work(
    name: &'static str,
    title: &'static str,
    about: &'static str,
    run: fn(&mut Bench) -> Result<()>,
) -> Work {
    Work {
        name,
        title,
        about,
        clock: Clock::Icount,
        machines: Machines::Usual,
        limit_secs: 60,
        figures: PERCENTILES,
        run,
    }
}

pub(super) const WORKS: &[Work] = &[
    latency_work(
        "wake",
        "Wake-ups alone",
        "Two messengers wake four workers each through a futex; a request takes 0.3 ms of CPU, and the worker asks again after 2 ms on average. Time from the wake to the worker's first instruction.",
        |bench| wake(bench, 0),
    ),
    latency_work(
        "wake-beside-8",
        "Wake-ups beside a hog a CPU",
        "The same beside a nice-0 spinner for each CPU.",
        |bench| wake(bench, 1),
    ),
    latency_work(
        "wake-beside-16",
        "Wake-ups beside two hogs a CPU",
        "The same beside two nice-0 spinners for each CPU.",
        |bench| wake(bench, 2),
    ),
    latency_work(
        "timer",
        "Timers alone (cyclictest)",
        "cyclictest with a normal thread for each CPU, pinned to it as cyclictest does where there are NUMA nodes, and intervals from 1 ms on, 137 µs apart.",
        |bench| timer(bench, 0),
    ),
    latency_work(
        "timer-beside-8",
        "Timers beside a hog a CPU (cyclictest)",
        "The same beside a nice-0 spinner for each CPU.",
        |bench| timer(bench, 1),
    ),
];

/// Starts hogs for each CPU and lets them settle.
fn hogs(bench: &Bench, each_cpu: usize) -> Result<Option<Spinners>> {
    if each_cpu == 0 {
        return Ok(None);
    }
    let count = each_cpu * bench.machine.cpus.len();
    let hogs = Spinners::start(&[Group::spinners(count, 0)])?;
    sleep(SETTLE);
    Ok(Some(hogs))
}

fn wake(bench: &mut Bench, hogs_each_cpu: usize) -> Result<()> {
    let hogs = hogs(bench, hogs_each_cpu)?;
    let window = bench.seconds(3, 6);
    let seconds = window.as_secs().to_string();
    let arguments = ["wake", "--warmup", "0.5", "--seconds", &seconds];
    let text = command::run("ballast-load", &arguments, window + PATIENCE)?;
    drop(hogs);
    let latencies: Latencies =
        serde_json::from_str(&text).context("reading the generator's report")?;
    bench.value("p50", latencies.p50_us);
    bench.value("p99", latencies.p99_us);
    bench.value("p999", latencies.p999_us);
    Ok(())
}

fn timer(bench: &mut Bench, hogs_each_cpu: usize) -> Result<()> {
    let hogs = hogs(bench, hogs_each_cpu)?;
    let window = bench.seconds(3, 6);
    let path = env::temp_dir().join("guest-test-cyclictest.txt");
    let threads = bench.machine.cpus.len().to_string();
    let seconds = window.as_secs().to_string();
    let histogram = format!("--histfile={}", path.display());
    let longest = LONGEST_US.to_string();
    let arguments = [
        "--quiet",
        "--threads",
        &threads,
        "--interval",
        "1000",
        "--distance",
        DISTANCE_US,
        "--duration",
        &seconds,
        "--histogram",
        &longest,
        &histogram,
    ];
    command::run("cyclictest", &arguments, window + PATIENCE)?;
    drop(hogs);
    let text = fs::read_to_string(&path).context("reading cyclictest's histogram")?;
    let counts = histogram_of(&text);
    for (figure, part) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        match percentile(&counts, part) {
            Some(us) if us < LONGEST_US => bench.value(figure, us as f64),
            Some(_) => bench.missing(figure, format!("above {LONGEST_US} µs")),
            None => bail!("cyclictest counted nothing"),
        }
    }
    Ok(())
}

/// How many wake-ups took each number of microseconds; those beyond the histogram come last.
/// Lines are "000012 000003 000001": a latency and each thread's count.
fn histogram_of(text: &str) -> Vec<u64> {
    let mut counts = vec![0; LONGEST_US + 1];
    for line in text.lines() {
        let sum = |text: &str| -> u64 {
            let words = text.split_whitespace();
            words.filter_map(|word| word.parse::<u64>().ok()).sum()
        };
        if let Some(overflows) = line.strip_prefix("# Histogram Overflows:") {
            counts[LONGEST_US] += sum(overflows);
        } else if !line.starts_with('#')
            && let Some((us, threads)) = line.trim().split_once(char::is_whitespace)
            && let Ok(us) = us.parse::<usize>()
        {
            counts[us.min(LONGEST_US)] += sum(threads);
        }
    }
    counts
}

/// The smallest place that `part` of all counts lie at or below.
fn percentile(counts: &[u64], part: f64) -> Option<usize> {
    let total: u64 = counts.iter().sum();
    let wanted = rank(total as usize, part)? as u64;
    let mut passed = 0;
    counts.iter().position(|count| {
        passed += count;
        passed > wanted
    })
}

#[cfg(test)]
mod unit {
    use super::{LONGEST_US, histogram_of, percentile};

    #[test]
    fn cyclictest_is_read() {
        let text = "# /dev/cpu_dma_latency set to 0us\n# Histogram\n\
                    000000 000000\t000000\n000019 000001\t000000\n000021 000001\t000001\n\
                    # Total: 000002 000001\n# Max Latencies: 00021 00021\n\
                    # Histogram Overflows: 00000 00001\n\
                    # Histogram Overflow at cycle number:\n# Thread 0:\n";
        let counts = histogram_of(text);
        assert_eq!((counts[19], counts[21], counts[LONGEST_US]), (1, 2, 1));
        assert_eq!(percentile(&counts, 0.5), Some(21));
        assert_eq!(percentile(&counts, 0.25), Some(19));
        assert_eq!(percentile(&counts, 1.0), Some(LONGEST_US));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
