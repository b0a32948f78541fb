// SPDX-License-Identifier: GPL-2.0-only
//! Owns the command line of `cargo xtask` and its exit codes.
//! Must never depend on the scheduler's crates: it has to build in seconds.

#[macro_use]
mod say;

mod bench;
mod cache;
mod cpio;
mod guest;
mod initramfs;
mod interrupt;
mod kernel;
mod libraries;
mod qemu;
mod stream;
mod topology;
mod vm_test;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::cache::Cache;
use crate::guest::{Boot, Ending, ToStdout};
use crate::initramfs::{ExtraFile, Initramfs};
use crate::kernel::Series;
use crate::qemu::Clock;
use crate::topology::Topology;

/// The exit code when the guest never reported a status, or never booted.
const EXIT_NO_STATUS: u8 = 125;
/// The exit code when the script ran out of time (as timeout(1) does).
const EXIT_TIMEOUT: u8 = 124;
/// The exit code after Ctrl-C (128 + SIGINT).
const EXIT_INTERRUPTED: u8 = 130;
/// The exit code for a command line that cannot be carried out.
const EXIT_USAGE: u8 = 2;
/// The demo's time limit: it takes a minute and a half, and a busy host may be several times
/// slower.
const DEMO_TIMEOUT_SECS: u64 = 600;

/// Tasks of the scx_ballast repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Virtual NUMA machines: kernels, runs, tests
    #[command(subcommand)]
    Vm(Vm),
}

#[derive(Subcommand)]
enum Vm {
    /// Fetch, verify and cache Debian kernels by series
    Kernel(KernelArgs),
    /// Boot a guest, run a script in it, and exit with the script's status
    Run(RunArgs),
    /// Run the guest tests, one boot for each kernel and topology
    Test(vm_test::TestArgs),
    /// Measure EEVDF, scx_ballast and its peers on the same work, and write docs/benchmarks.md
    Bench(bench::BenchArgs),
    /// Watch the scheduler balance a two-socket machine
    Demo(DemoArgs),
    /// List the machines that can be booted
    Topologies,
}

#[derive(Args)]
struct KernelArgs {
    /// Kernel series, such as 6.18, or 7.2+deb13 for one Debian build of it
    #[arg(required = true)]
    series: Vec<Series>,
    /// Ask the archive again even if the series is cached
    #[arg(long)]
    refresh: bool,
}

#[derive(Args)]
struct RunArgs {
    /// Kernel series
    #[arg(long, default_value = kernel::DEFAULT_SERIES)]
    kernel: Series,
    /// Machine, by name (see `vm topologies`)
    #[arg(long, default_value = topology::DEFAULT, value_parser = topology::by_name)]
    topology: &'static Topology,
    /// multi: CPU time is honest; icount: latency is
    #[arg(long, value_enum, default_value_t = Clock::Multi)]
    clock: Clock,
    /// Seconds the script may take, counted from the end of the boot, 1 to 86400
    #[arg(long, value_name = "SECS", default_value_t = 300, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Further kernel arguments
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    append: String,
    /// Copy a file into the guest, a program with its libraries
    #[arg(long = "file", value_name = "HOST[:GUEST]")]
    files: Vec<ExtraFile>,
    /// Do not build scx_ballast and the guest's programs first
    #[arg(long)]
    no_build: bool,
    /// Shell commands to run in place of a script
    #[arg(short = 'c', value_name = "COMMANDS", conflicts_with = "script")]
    commands: Option<String>,
    /// Script to run with /bin/sh, as root
    script: Option<PathBuf>,
}

#[derive(Args)]
struct DemoArgs {
    /// Kernel series
    #[arg(long, default_value = kernel::DEFAULT_SERIES)]
    kernel: Series,
    /// Do not build scx_ballast and the guest's programs first
    #[arg(long)]
    no_build: bool,
}

fn main() -> ExitCode {
    let Cli { task: Task::Vm(vm) } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(why) if why.use_stderr() => {
            let line = match why.kind() {
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command given".into(),
                _ => one_line(&why.to_string()),
            };
            eprintln!("error: {line}; try --help");
            return ExitCode::from(EXIT_USAGE);
        }
        Err(help) => help.exit(),
    };
    // A status of 1 could be the script's own, so `run` keeps 125 for itself.
    let on_error = match vm {
        Vm::Run(_) => EXIT_NO_STATUS,
        _ => 1,
    };
    let done = match vm {
        Vm::Kernel(args) => fetch(&args),
        Vm::Run(args) => run(args),
        Vm::Test(args) => vm_test::run(&args),
        Vm::Bench(args) => bench::run(&args),
        Vm::Demo(args) => demo(&args),
        Vm::Topologies => say::answer(&topology::table()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        match error.is::<cache::Interrupted>() {
            true => ExitCode::from(EXIT_INTERRUPTED),
            false if error.is::<UsageError>() => ExitCode::from(EXIT_USAGE),
            false => ExitCode::from(on_error),
        }
    })
}

/// What a parser error says: its lines up to the first empty one. The rest is usage.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let message: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    message.join(" ").trim_start_matches("error: ").to_owned()
}

/// A request that cannot be carried out as it was made; exit code 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

fn fetch(args: &KernelArgs) -> Result<ExitCode> {
    let cache = Cache::open()?;
    for kernel in kernel::fetch(&cache, &args.series, args.refresh)? {
        say!("{}", kernel.describe());
    }
    Ok(ExitCode::SUCCESS)
}

fn run(args: RunArgs) -> Result<ExitCode> {
    let script = match (&args.commands, &args.script) {
        (Some(commands), _) => format!("{commands}\n").into_bytes(),
        (None, Some(path)) => std::fs::read(path)
            .map_err(|error| UsageError(format!("reading {}: {error}", path.display())))?,
        (None, None) => return Err(UsageError("give a script, or -c COMMANDS".into()).into()),
    };
    let cache = Cache::open()?;
    let boot = Boot {
        series: args.kernel,
        topology: args.topology,
        clock: args.clock,
        timeout_secs: args.timeout,
        append: args.append,
        script,
        files: args.files,
        log_name: "run".into(),
    };
    let programs = workspace::programs(!args.no_build)?;
    let base = Initramfs::base(&cache, &programs)?;
    let ending = guest::run(&cache, &base, &boot, &mut ToStdout)?;
    Ok(exit_code(ending))
}

fn demo(args: &DemoArgs) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let programs = workspace::programs(!args.no_build)?;
    workspace::require(&programs, "guest-test")?;
    let base = Initramfs::base(&cache, &programs)?;
    let boot = Boot {
        series: args.kernel.clone(),
        topology: topology::by_name(topology::DEFAULT).map_err(anyhow::Error::msg)?,
        clock: Clock::Multi,
        timeout_secs: DEMO_TIMEOUT_SECS,
        append: String::new(),
        script: b"exec guest-test demo\n".to_vec(),
        files: Vec::new(),
        log_name: "demo".into(),
    };
    let ending =
        guest::run(&cache, &base, &boot, &mut ToStdout).context("running the demo in a guest")?;
    Ok(exit_code(ending))
}

fn exit_code(ending: Ending) -> ExitCode {
    ExitCode::from(match ending {
        Ending::Exited(status) => status,
        Ending::TimedOut => EXIT_TIMEOUT,
        Ending::Died | Ending::StaleCode => EXIT_NO_STATUS,
        Ending::Interrupted => EXIT_INTERRUPTED,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Cli, one_line};

    #[test]
    fn bad_usage_is_one_line() {
        for (words, expected) in [
            (&["vm", "bench", "--repeat", "0"][..], "0 is not in 1..=100"),
            (&["vm", "bench", "--repeat", "-1"], "-1 is not in 1..=100"),
            (
                &["vm", "bench", "--page-only", "--quick"],
                "cannot be used with",
            ),
            (
                &["vm", "bench", "--list", "--only", "wake"],
                "cannot be used with",
            ),
            (&["vm", "foo"], "unrecognized subcommand 'foo'"),
            (&["vm", "run", "--timeout", "0"], "0 is not in 1..=86400"),
        ] {
            let words = [&["xtask"], words].concat();
            let Err(why) = Cli::try_parse_from(&words) else {
                panic!("{words:?} is accepted");
            };
            let line = one_line(&why.to_string());
            assert!(line.contains(expected) && !line.contains('\n'), "{line}");
        }
    }
}
