// SPDX-License-Identifier: GPL-2.0-only
//! Work done in a given time, or time for given work: hackbench, stress-ng, perf bench, a build.
//! Never times anything itself: the tools' own clocks are read.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Bench;
use super::catalogue::{Better, Clock, FigureSpec, Machines, Target, Work};
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

const fn rate(stressor: &'static str) -> FigureSpec {
    FigureSpec {
        key: stressor,
        title: stressor,
        unit: "operations a second",
        better: Better::More,
        targets: &[
            Target::TimesAtLeast("eevdf", 0.99),
            Target::NoWorseThanPeers,
        ],
    }
}

const fn perf_time(key: &'static str, title: &'static str) -> FigureSpec {
    FigureSpec {
        key,
        title,
        unit: "s",
        better: Better::Less,
        targets: &[],
    }
}

const STRESSORS: &[FigureSpec] = &[
    rate("cpu"),
    rate("switch"),
    rate("pipe"),
    rate("fork"),
    rate("futex"),
    rate("mutex"),
    rate("sem"),
    rate("timer"),
];

pub(super) const WORKS: &[Work] = &[HACKBENCH, STRESS, PERF, BUILD];

const STRESS: Work = Work {
    name: "stress",
    title: "Stressors (stress-ng)",
    about: "Each stressor alone, an instance for each CPU. A second of this clock is a fixed number of instructions of all CPUs together, as a CPU second is on real ones: the rate is work for a given effort.",
    clock: Clock::Icount,
    machines: Machines::Usual,
    limit_secs: 120,
    figures: STRESSORS,
    run: stress,
};

const PERF: Work = Work {
    name: "perf",
    title: "perf bench sched",
    about: "`perf bench sched pipe`, two processes passing a byte, and `perf bench sched messaging` with one group.",
    clock: Clock::Icount,
    machines: Machines::Usual,
    limit_secs: 120,
    figures: &[
        perf_time("pipe", "pipe"),
        perf_time("messaging", "messaging"),
    ],
    run: perf,
};

const BUILD: Work = Work {
    name: "build",
    title: "A build (make, gcc)",
    about: "`make` with a job for each CPU compiles zlib, 15 files, by the host's gcc: at -O1, at -O0 in shortened turns. What the preprocessor does was done before.",
    clock: Clock::Icount,
    machines: Machines::Usual,
    limit_secs: 60,
    figures: &[FigureSpec::new("time", "time", "s", Better::Less, &[])],
    run: build,
};

/// Where the harness puts the sources and their Makefile.
const BUILD_FOLDER: &str = "/ballast/build";

const HACKBENCH: Work = Work {
    name: "hackbench",
    title: "Messages (hackbench)",
    about: "hackbench with one group: 20 senders, 20 receivers, every sender writing to every receiver.",
    clock: Clock::Icount,
    machines: Machines::Usual,
    limit_secs: 120,
    figures: &[
        hackbench_time("sockets-processes", "sockets between processes"),
        hackbench_time("sockets-threads", "sockets between threads"),
        hackbench_time("pipes-processes", "pipes between processes"),
        hackbench_time("pipes-threads", "pipes between threads"),
    ],
    run: hackbench,
};

/// How many messages each sender of hackbench sends to each receiver.
pub(super) fn hackbench_loops(bench: &Bench) -> &'static str {
    if bench.quick { "200" } else { "600" }
}

fn hackbench(bench: &mut Bench) -> Result<()> {
    let loops = hackbench_loops(bench);
    for (figure, form) in FORMS {
        let arguments = [&["-g", "1", "-l", loops], form].concat();
        let text = command::run("hackbench", &arguments, PATIENCE)?;
        bench.value(figure, seconds_of(&text)?);
    }
    Ok(())
}

/// hackbench ends with "Time: 0.128".
fn seconds_of(text: &str) -> Result<f64> {
    number_after(text, "Time:", "hackbench")
}

fn stress(bench: &mut Bench) -> Result<()> {
    let path = env::temp_dir().join("guest-test-stress.yaml");
    let file = path.display().to_string();
    let instances = bench.machine.cpus.len().to_string();
    let seconds = bench.seconds(1, 2).as_secs().to_string();
    for figure in STRESSORS {
        let stressor = format!("--{}", figure.key);
        let arguments = [
            &stressor,
            &instances,
            "--metrics",
            "--timeout",
            &seconds,
            "--yaml",
            &file,
        ];
        let rate = command::run("stress-ng", &arguments, PATIENCE)
            .and_then(|_| fs::read_to_string(&path).context("reading stress-ng's metrics"))
            .and_then(|text| rate_of(&text));
        match rate {
            Ok(rate) => bench.value(figure.key, rate),
            Err(why) => bench.missing(figure.key, format!("{why:#}")),
        }
    }
    Ok(())
}

fn rate_of(yaml: &str) -> Result<f64> {
    match number_after(yaml, "bogo-ops-per-second-real-time:", "stress-ng")? {
        0.0 => bail!("stress-ng did nothing"),
        rate => Ok(rate),
    }
}

fn perf(bench: &mut Bench) -> Result<()> {
    let (pipes, groups) = if bench.quick {
        ("10000", "100")
    } else {
        ("40000", "300")
    };
    let text = command::run("perf", &["bench", "sched", "pipe", "-l", pipes], PATIENCE)?;
    bench.value("pipe", total_of(&text)?);
    let arguments = ["bench", "sched", "messaging", "-g", "1", "-l", groups];
    let text = command::run("perf", &arguments, PATIENCE)?;
    bench.value("messaging", total_of(&text)?);
    Ok(())
}

fn build(bench: &mut Bench) -> Result<()> {
    if !Path::new(BUILD_FOLDER).is_dir() {
        bail!("the harness had no compiler for the guest; it says why");
    }
    let jobs = format!("-j{}", bench.machine.cpus.len());
    let flags = if bench.quick {
        "CFLAGS=-O0"
    } else {
        "CFLAGS=-O1"
    };
    let make = ["make", "--silent", "-C", BUILD_FOLDER, flags];
    command::run(make[0], &[&make[1..], &["clean"]].concat(), PATIENCE)?;
    let path = env::temp_dir().join("guest-test-build.time");
    let file = path.display().to_string();
    let arguments = [&["-p", "-o", &file], &make[..], &[&jobs]].concat();
    command::run("time", &arguments, PATIENCE)?;
    let text = fs::read_to_string(&path).context("reading the time of a build")?;
    bench.value("time", real_of(&text)?);
    Ok(())
}

/// time(1)'s "real 2.31", the form of POSIX.
fn real_of(text: &str) -> Result<f64> {
    number_after(text, "real ", "time")
}

/// perf's "Total time: 0.012 [sec]".
fn total_of(text: &str) -> Result<f64> {
    number_after(text, "Total time:", "perf")
}

/// The number that follows `name` at the beginning of a line of what `tool` printed.
fn number_after(text: &str, name: &str, tool: &str) -> Result<f64> {
    let rest = text.lines().find_map(|line| line.trim().strip_prefix(name));
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    let word = word.with_context(|| format!("{tool} printed no `{name}`"))?;
    word.parse()
        .with_context(|| format!("reading {tool}'s `{name}`: `{word}`"))
}

#[cfg(test)]
mod unit {
    use super::{rate_of, real_of, seconds_of, total_of};

    #[test]
    fn hackbench_is_read() {
        let text = "Running in process mode with 1 groups\nTime: 0.128\n";
        assert!((seconds_of(text).expect("a time") - 0.128).abs() < 1e-12);
        assert!(seconds_of("SENDER: write").is_err());
    }

    #[test]
    fn a_build_is_read() {
        let text = "real 2.31\nuser 9.00\nsys 1.00\n";
        assert!((real_of(text).expect("a time") - 2.31).abs() < 1e-12);
        assert!(real_of("make: *** [a.o] Error 1").is_err());
    }

    #[test]
    fn stress_ng_and_perf_are_read() {
        let yaml = "metrics:\n    - stressor: switch\n      bogo-ops: 180051\n      \
                    bogo-ops-per-second-usr-sys-time: 186493.02\n      \
                    bogo-ops-per-second-real-time: 179961.5\n";
        assert!((rate_of(yaml).expect("a rate") - 179_961.5).abs() < 1e-6);
        assert!(rate_of("bogo-ops-per-second-real-time: 0.000000").is_err());
        assert!(rate_of("").is_err());
        let perf = "# Executed 1000\n\n     Total time: 0.012 [sec]\n";
        assert!((total_of(perf).expect("a time") - 0.012).abs() < 1e-12);
        assert!(total_of("").is_err());
    }
}
