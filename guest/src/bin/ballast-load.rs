// SPDX-License-Identifier: GPL-2.0-only
//! The load generator's command line.
//! Never holds anything but arguments, the window and output.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use ballast_guest::cli::{self, refuse};
use ballast_guest::load::{Group, Report, Spinners, take_over_if_worker};
use ballast_guest::sleepers;
use ballast_guest::sys;
use ballast_guest::wake;
use clap::{Args, Parser, Subcommand};
use scx_ballast::stdout;
use serde::Serialize;

/// Time between two looks at where the workers run.
const LOOK_NS: u64 = 200_000_000;
/// Longest window or warm-up: a day.
const LONGEST_SECONDS: f64 = 86_400.0;

/// Spins, and reports the CPU time every worker got, measured from outside.
#[derive(Parser)]
#[command(
    version,
    after_help = GROUP_HELP,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,
    /// Length of the measured window
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Time the load runs before the window
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    warmup: f64,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Groups of workers, for example count=9,nice=0,cpus=0-3
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
}

#[derive(Subcommand)]
enum Other {
    /// Messengers wake workers; prints the time from wake to running as JSON
    Wake(Wake),
    /// Starts threads that only sleep, says `ready`, and waits for the end of its input
    Sleepers {
        /// How many
        #[arg(value_parser = clap::value_parser!(u32).range(1..=200_000))]
        count: u32,
    },
}

#[derive(Args)]
struct Wake {
    /// Threads that wake others
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    messengers: u32,
    /// Threads each of them wakes
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: u32,
    /// CPU time of a request
    #[arg(long, value_name = "US", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    work_us: u64,
    /// Mean time between a request's end and the next one's wish
    #[arg(long, value_name = "US", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    think_us: u64,
    /// Time before requests count
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    warmup: f64,
    /// Time in which they count
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
}

const GROUP_HELP: &str = "\
GROUP is key=value,key=value with
  count=N           worker processes (1)
  threads=N         threads in each; a worker's CPU time is their sum (1)
  nice=N            -20 to 19 (0)
  cpus=LIST         CPUs the workers are confined to, for example 0-3,8 (all)
  duty=PERCENT      share of each period a thread runs, by its CPU time (100)
  period-ms=MS      length of a duty period (20)
  policy=POLICY     normal, batch, idle, ext or fifo (normal)
  mempolicy=preferred:N  node whose memory the workers take first (none)
  name=NAME         name in the report (nice and the nice value)";

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=LONGEST_SECONDS).contains(&value) => Ok(value),
        _ => Err(format!("give seconds from 0 to {LONGEST_SECONDS}")),
    }
}

fn main() -> ExitCode {
    take_over_if_worker();
    let arguments: Arguments = match cli::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match &arguments.other {
        Some(Other::Wake(wake)) => return print_json(measure_wakes(wake)),
        Some(Other::Sleepers { count }) => return end(sleepers::run(*count)),
        None => {}
    }
    let groups = arguments.groups.iter().map(|text| Group::parse(text));
    let groups = match groups.collect::<Result<Vec<Group>, String>>() {
        Ok(groups) => groups,
        Err(why) => return refuse(format_args!("GROUP: {why}")),
    };
    match run(&arguments, &groups) {
        Ok(report) => print(&arguments, &report),
        Err(why) => refuse(format_args!("{why:#}")),
    }
}

fn run(arguments: &Arguments, groups: &[Group]) -> Result<Report> {
    sys::observe_promptly();
    let spinners = Spinners::start(groups)?;
    std::thread::sleep(Duration::from_secs_f64(arguments.warmup));
    let before = spinners.sample()?;
    let mut cpus: Vec<usize> = before.iter().map(|sample| sample.last_cpu).collect();
    let mut migrations = vec![0; cpus.len()];
    let end_ns = sys::monotonic_ns() + (arguments.seconds * 1e9) as u64;
    while sys::monotonic_ns() < end_ns {
        sys::sleep_until(end_ns.min(sys::monotonic_ns() + LOOK_NS));
        let now = spinners.last_cpus()?;
        for (seen, (old, new)) in migrations.iter_mut().zip(cpus.iter().zip(&now)) {
            *seen += u64::from(old != new);
        }
        cpus = now;
    }
    let after = spinners.sample()?;
    Ok(Report::new(
        arguments.seconds,
        groups,
        &before,
        &after,
        &migrations,
    ))
}

fn print(arguments: &Arguments, report: &Report) -> ExitCode {
    if !arguments.json {
        return end(stdout::print(&report.to_table()));
    }
    print_json(Ok(report))
}

fn measure_wakes(wake: &Wake) -> Result<wake::Latencies> {
    wake::run(&wake::Shape {
        messengers: wake.messengers,
        workers: wake.workers,
        work_us: wake.work_us,
        think_us: wake.think_us,
        warmup: Duration::from_secs_f64(wake.warmup),
        window: Duration::from_secs_f64(wake.seconds),
    })
}

fn end(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => refuse(format_args!("{why:#}")),
    }
}

fn print_json(report: Result<impl Serialize>) -> ExitCode {
    end(report.and_then(|report| {
        let text = serde_json::to_string_pretty(&report).context("writing the report")?;
        stdout::print(&(text + "\n"))
    }))
}
