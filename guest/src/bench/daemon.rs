// SPDX-License-Identifier: GPL-2.0-only
//! What a scheduler's process costs beside many tasks: CPU time and memory.
//! Never knows a scheduler: the kernel's accounts of its process are read.

use std::fs;
use std::thread::sleep;

use anyhow::{Context as _, Result, bail};

use super::Bench;
use super::catalogue::{Better, Clock, FigureSpec, Machines, Target, Work};
use crate::sleepers::Sleepers;
use crate::sys;

/// The kernel's limits that stand in the way of 100,000 threads in one process, raised well
/// above what they need.
const LIMITS: [(&str, &str); 3] = [
    ("/proc/sys/kernel/threads-max", "400000"),
    ("/proc/sys/kernel/pid_max", "400000"),
    // A thread's stack is two mappings.
    ("/proc/sys/vm/max_map_count", "1000000"),
];

/// A number of sleeping threads, and the figures that the daemon leaves beside them.
struct Load {
    threads: u32,
    cpu: &'static str,
    memory: &'static str,
}

const fn cpu(key: &'static str, title: &'static str, targets: &'static [Target]) -> FigureSpec {
    FigureSpec::new(key, title, "s", Better::Less, targets)
}

const fn memory(key: &'static str, title: &'static str) -> FigureSpec {
    FigureSpec::new(key, title, "MiB", Better::Less, &[])
}

pub(super) const WORKS: &[Work] = &[
    Work {
        name: "daemon",
        title: "The daemon",
        about: "CPU time and memory of the scheduler's process beside sleeping threads, on an otherwise idle machine. An hour's CPU seconds are projected from the window; an emulated CPU is some ten times slower than a real one.",
        clock: Clock::Multi,
        machines: Machines::Usual,
        limit_secs: 120,
        figures: &[
            cpu("cpu-100", "CPU seconds an hour, 100 threads", &[]),
            // 0.1 % of one CPU.
            cpu(
                "cpu-10000",
                "CPU seconds an hour, 10,000 threads",
                &[Target::AtMost(3.6)],
            ),
            memory("memory-100", "memory, 100 threads"),
            memory("memory-10000", "memory, 10,000 threads"),
        ],
        run: usual,
    },
    Work {
        name: "daemon-many",
        title: "The daemon beside 100,000 threads",
        about: "The same on a machine with memory for so many. scx_ballast is started with `--max-tasks 131072`: by default it has rows for 65,536 tasks, and balances no more.",
        clock: Clock::Multi,
        machines: Machines::Roomy,
        limit_secs: 240,
        figures: &[
            cpu("cpu-100000", "CPU seconds an hour, 100,000 threads", &[]),
            memory("memory-100000", "memory, 100,000 threads"),
        ],
        run: many,
    },
];

fn usual(bench: &mut Bench) -> Result<()> {
    for load in [
        Load {
            threads: 100,
            cpu: "cpu-100",
            memory: "memory-100",
        },
        Load {
            threads: 10_000,
            cpu: "cpu-10000",
            memory: "memory-10000",
        },
    ] {
        measure(bench, &load)?;
    }
    Ok(())
}

fn many(bench: &mut Bench) -> Result<()> {
    for (path, limit) in LIMITS {
        fs::write(path, limit).with_context(|| format!("writing {path}"))?;
    }
    let load = Load {
        threads: 100_000,
        cpu: "cpu-100000",
        memory: "memory-100000",
    };
    measure(bench, &load)
}

fn measure(bench: &mut Bench, load: &Load) -> Result<()> {
    let Some(pid) = bench.running.pid() else {
        bail!("it has no daemon");
    };
    let _sleepers = Sleepers::start(load.threads)?;
    sleep(bench.seconds(2, 5));
    let window = bench.seconds(5, 15);
    let before = sys::process_cpu_ns(pid).context("reading the daemon's clock")?;
    sleep(window);
    let after = sys::process_cpu_ns(pid).context("reading the daemon's clock")?;
    let share = (after - before) as f64 / window.as_nanos() as f64;
    bench.value(load.cpu, 3600.0 * share);
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let rss_kib = rss_kib(&status).with_context(|| format!("{path} has no VmRSS"))?;
    bench.value(load.memory, rss_kib / 1024.0);
    Ok(())
}

fn rss_kib(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod unit {
    use super::rss_kib;

    #[test]
    fn memory_is_read() {
        assert_eq!(rss_kib("VmHWM:\t 9 kB\nVmRSS:\t  2048 kB\n"), Some(2048.0));
    }
}
