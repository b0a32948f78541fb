// SPDX-License-Identifier: GPL-2.0-only
//! What the user typed: the command line, its help, and its errors as one line each.
//! Never reads a file or looks at the machine; that is `Config::from_cli`.

pub mod commands;
mod errors;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use clap::error::ErrorKind;
use clap::{ArgAction, Parser};
use scx_utils::build_id;
use scx_utils::libbpf_clap_opts::LibbpfOpts;

use crate::cpulist::CpuList;
use crate::domains::DomainSpec;
use crate::stdout::print_help;
use crate::usage::UsageError;
use commands::Command;
use errors::{not_text, usage_error};

/// The version as the sched_ext family prints it: number and target.
static VERSION: LazyLock<String> =
    LazyLock::new(|| build_id::full_version(env!("CARGO_PKG_VERSION")));

/// A CPU scheduler for machines with several NUMA nodes, as a BPF program.
///
/// The kernel part runs tasks out of one queue per domain: the CPUs of a
/// last-level cache, or a part of them. This program measures what each task
/// could use, computes what it is owed on the whole machine, and asks for the
/// few moves between domains that let each domain pay. A faster loop tunes
/// slices and stealing.
///
/// Without a command, --monitor and --help-stats it attaches, which needs root,
/// and schedules until it gets SIGINT, SIGTERM or SIGHUP. If it dies, the kernel's own
/// scheduler takes over. The options below are the scheduler's; each command has
/// its own, see `scx_ballast COMMAND --help`.
///
/// Exit codes: 0 clean, 1 run time error, 2 bad usage.
#[derive(Clone, Debug, Parser)]
#[command(name = "scx_ballast", version = VERSION.as_str(), max_term_width = 100,
          args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND")]
pub struct Cli {
    /// What to do instead of scheduling.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Time between two rounds of the balancer, in seconds, 0.01 to 3600. Shorter spreads a new
    /// imbalance sooner and costs more CPU time.
    #[arg(short = 'i', long, value_name = "SECS", default_value = "1.0", help_heading = BALANCING,
          value_parser = seconds(0.01..=3600.0), allow_hyphen_values = true)]
    pub interval: f64,

    /// Time between two rounds of the tuner, in seconds, 0.01 to 60. Each round sets the slice and
    /// who may steal from the utilisation since the last one.
    #[arg(short = 'I', long, value_name = "SECS", default_value = "0.1", help_heading = BALANCING,
          value_parser = seconds(0.01..=60.0), allow_hyphen_values = true)]
    pub tune_interval: f64,

    /// Half-life of the average of each task's demand, in seconds, 0.01 to 3600. Longer ignores
    /// short bursts; shorter follows them.
    #[arg(short = 'l', long, value_name = "SECS", default_value = "1.0", help_heading = BALANCING,
          value_parser = seconds(0.01..=3600.0), allow_hyphen_values = true)]
    pub load_half_life: f64,

    /// Ask for no moves between domains. Stealing goes on; see --greedy-threshold.
    #[arg(long, help_heading = BALANCING)]
    pub no_load_balance: bool,

    /// Leave the kernel's kworkers out of balancing, because the kernel spreads them over caches
    /// itself. Idle CPUs still steal them.
    #[arg(short = 'b', long, help_heading = BALANCING)]
    pub balanced_kworkers: bool,

    /// Prefer the domains of the nodes in a task's memory policy (set_mempolicy, numactl).
    #[arg(long, help_heading = BALANCING)]
    pub mempolicy_affinity: bool,

    /// How long a task runs before the next one's turn while the machine has idle time, in
    /// microseconds, 100 to 1000000.
    #[arg(short = 'u', long, value_name = "US", default_value = "20000", help_heading = QUEUES,
          value_parser = microseconds(100..=1_000_000), allow_hyphen_values = true)]
    pub slice_us_underutil: u64,

    /// The same while every CPU is busy, in microseconds, 100 to 1000000. Shorter waits less and
    /// switches more.
    #[arg(short = 'o', long, value_name = "US", default_value = "5000", help_heading = QUEUES,
          value_parser = microseconds(100..=1_000_000), allow_hyphen_values = true)]
    pub slice_us_overutil: u64,

    /// Run tasks first in, first out inside a domain. Weights then count only for the balancer.
    #[arg(short = 'f', long, help_heading = QUEUES)]
    pub fifo_sched: bool,

    /// Put kernel threads that are bound to one CPU straight into that CPU's local queue, ahead of
    /// all other tasks. `-k` alone means true.
    #[arg(short = 'k', long, value_name = "BOOL", default_value = "true", help_heading = QUEUES,
          default_missing_value = "true", num_args = 0..=1,
          action = ArgAction::Set, value_parser = boolean)]
    pub kthreads_local: bool,

    /// Fewest tasks that must wait in another domain of the same node before an idle CPU steals
    /// one, 0 to 1000000. 0 forbids all stealing, also across nodes.
    #[arg(short = 'g', long, value_name = "TASKS", default_value = "1", help_heading = STEALING,
          value_parser = whole("tasks", 0..=1_000_000), allow_hyphen_values = true)]
    pub greedy_threshold: u32,

    /// The same for a domain of another node, 0 to 1000000. 0 forbids stealing across nodes;
    /// so does --greedy-threshold 0.
    #[arg(long, value_name = "TASKS", default_value = "1", help_heading = STEALING,
          value_parser = whole("tasks", 0..=1_000_000), allow_hyphen_values = true)]
    pub greedy_threshold_x_numa: u32,

    /// How long a domain's queue has not been empty before an idle CPU of another domain of the
    /// node takes a task from it, in microseconds, 0 to 1000000. Shorter keeps CPUs busier; longer keeps caches warm.
    #[arg(long, value_name = "US", default_value = "2000", help_heading = STEALING,
          value_parser = microseconds(0..=1_000_000), allow_hyphen_values = true)]
    pub steal_after_node_us: u64,

    /// The same before an idle CPU of another node takes it, in microseconds, 0 to 1000000.
    #[arg(long, value_name = "US", default_value = "10000", help_heading = STEALING,
          value_parser = microseconds(0..=1_000_000), allow_hyphen_values = true)]
    pub steal_after_numa_us: u64,

    /// A waking task may go straight to an idle CPU of another domain whose own utilisation
    /// was below this of late, in percent, 0 to 100. 0 never, 100 always.
    #[arg(short = 'D', long, value_name = "PCT", default_value = "90.0", help_heading = STEALING,
          value_parser = percent(), allow_hyphen_values = true)]
    pub direct_greedy_under: f64,

    /// Wake an idle CPU of another domain to steal when a task is queued in a busy one, if that
    /// CPU's utilisation was below this of late, in percent, 0 to 100. 0 never, 100 always.
    #[arg(short = 'K', long, value_name = "PCT", default_value = "100.0", help_heading = STEALING,
          value_parser = percent(), allow_hyphen_values = true)]
    pub kick_greedy_under: f64,

    /// Let --direct-greedy-under send a waking task to another node too.
    #[arg(short = 'r', long, help_heading = STEALING)]
    pub direct_greedy_numa: bool,

    /// How to group CPUs: `llc`, one domain per last-level cache; `node`, one per NUMA node; or CPU
    /// lists joined by `;`, one domain each, such as '0-3;4-7'. Lists must name every online CPU once,
    /// and a domain must not span nodes.
    #[arg(long, value_name = "SPEC", default_value = "llc", help_heading = DOMAINS,
          value_parser = domain_spec, allow_hyphen_values = true)]
    pub domains: DomainSpec,

    /// Largest domain, in CPUs, 1 to 1024. Bigger caches and nodes are cut into even parts, never
    /// through a core unless this is 1. Lists given with --domains are not cut.
    #[arg(long, value_name = "CPUS", default_value = "16", help_heading = DOMAINS,
          value_parser = whole("CPUs", 1..=1024), allow_hyphen_values = true)]
    pub domain_cpus: u32,

    /// Schedule only the tasks that chose SCHED_EXT with sched_setscheduler(2). Unset, all tasks
    /// of the normal classes are.
    #[arg(short = 'p', long, help_heading = TASKS)]
    pub partial: bool,

    /// Rows in the task table, 1024 to 4194304. Tasks beyond them run, and are not balanced.
    #[arg(long, value_name = "TASKS", default_value = "65536", help_heading = TASKS,
          value_parser = whole("tasks", 1024..=4_194_304), allow_hyphen_values = true)]
    pub max_tasks: u32,

    /// CPU performance level to ask of the frequency governor, 0 (slowest) to 1024 (fastest).
    /// Unset, frequency is left alone.
    #[arg(long, value_name = "LEVEL", help_heading = TASKS,
          value_parser = whole("steps", 0..=1024), allow_hyphen_values = true)]
    pub perf: Option<u32>,

    /// Print statistics while scheduling, every so many seconds, 0.1 to 3600.
    #[arg(long, value_name = "SECS", help_heading = OUTPUT,
          value_parser = seconds(0.1..=3600.0), allow_hyphen_values = true)]
    pub stats: Option<f64>,

    /// Print the statistics of a running scx_ballast, every so many seconds, 0.1 to 3600, and
    /// schedule nothing.
    #[arg(long, value_name = "SECS", help_heading = OUTPUT, conflicts_with = "stats",
          value_parser = seconds(0.1..=3600.0), allow_hyphen_values = true)]
    pub monitor: Option<f64>,

    /// Print what each statistic means, and exit.
    #[arg(long, help_heading = OUTPUT, conflicts_with_all = ["stats", "monitor"])]
    pub help_stats: bool,

    /// Length of the kernel's dump when the scheduler is ejected, in bytes, 0 to 16777216. 0 takes
    /// the kernel's default.
    #[arg(long, value_name = "BYTES", default_value = "0", help_heading = OUTPUT,
          value_parser = whole("bytes", 0..=16 << 20), allow_hyphen_values = true)]
    pub exit_dump_len: u32,

    /// Log more; twice for libbpf's messages too.
    #[arg(short = 'v', long, action = ArgAction::Count, help_heading = OUTPUT)]
    pub verbose: u8,

    /// Passed to libbpf as they are.
    #[command(flatten, next_help_heading = LIBBPF)]
    pub libbpf: LibbpfOpts,
}

const BALANCING: &str = "Balancing";
const QUEUES: &str = "Slices and queues";
const STEALING: &str = "Stealing and placement";
const DOMAINS: &str = "Domains";
const TASKS: &str = "Tasks";
const OUTPUT: &str = "Output";
const LIBBPF: &str = "Libbpf Options";

/// What a well-formed command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// Run with these options.
    Run(Box<Cli>),
    /// Print this help or version text on stdout and stop.
    Print(clap::Error),
}

/// Parses this process's command line. Prints and exits with 0 for `--help`
/// and `--version`.
///
/// # Errors
/// Any bad usage, as a [`UsageError`]; otherwise that the text cannot be printed.
pub fn parse() -> anyhow::Result<Cli> {
    match parse_from(std::env::args_os())? {
        Parsed::Run(cli) => Ok(*cli),
        Parsed::Print(text) => {
            print_help(&text)?;
            std::process::exit(0)
        }
    }
}

/// Parses a command line whose first item is the program's name.
///
/// # Errors
/// Any bad usage, as one line.
pub fn parse_from<I, T>(args: I) -> Result<Parsed, UsageError>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    match Cli::try_parse_from(&args) {
        Ok(cli) => Ok(Parsed::Run(Box::new(cli))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Parsed::Print(error)),
            ErrorKind::InvalidUtf8 => Err(not_text(&args)),
            _ => Err(usage_error(&error)),
        },
    }
}

/// A number of seconds in `range`.
fn seconds(
    range: RangeInclusive<f64>,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    let expected = format!(
        "a number of seconds from {} to {}",
        range.start(),
        range.end()
    );
    move |text| real(text, &range, &expected)
}

/// A percentage, 0 to 100.
fn percent() -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    |text: &str| real(text, &(0.0..=100.0), "a percentage from 0 to 100")
}

/// A number in `range`. NaN is in no range.
fn real(text: &str, range: &RangeInclusive<f64>, expected: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // Adding 0.0 turns -0.0 into 0.0.
        Ok(value) if range.contains(&value) => Ok(value + 0.0),
        _ => Err(format!("give {expected}")),
    }
}

/// A whole number of microseconds in `range`.
fn microseconds(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        text.parse::<u64>()
            .ok()
            .filter(|value| range.contains(value))
            .ok_or_else(|| expected_whole("microseconds", range.start(), range.end()))
    }
}

/// A whole number of `unit` in `range`.
fn whole(
    unit: &'static str,
    range: RangeInclusive<u32>,
) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    move |text| {
        text.parse::<u32>()
            .ok()
            .filter(|value| range.contains(value))
            .ok_or_else(|| expected_whole(unit, range.start(), range.end()))
    }
}

fn expected_whole(
    unit: &str,
    start: impl std::fmt::Display,
    end: impl std::fmt::Display,
) -> String {
    format!("give a whole number of {unit} from {start} to {end}")
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("give true or false".to_string()),
    }
}

/// `llc`, `node`, or CPU lists joined by semicolons. A semicolon at the end is
/// an empty list and refused.
fn domain_spec(text: &str) -> Result<DomainSpec, String> {
    match text {
        "llc" => Ok(DomainSpec::Llc),
        "node" => Ok(DomainSpec::Node),
        _ => text
            .split(';')
            .map(|list| list.parse::<CpuList>().map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()
            .map(DomainSpec::Lists)
            .map_err(|error| {
                format!("{error}; give llc, node, or CPU lists joined by ';' such as '0-3;4-7'")
            }),
    }
}
