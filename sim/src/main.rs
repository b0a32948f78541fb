// SPDX-License-Identifier: GPL-2.0-only
//! The command: a scenario in, a table, JSON or a trace out.
//! Never simulates anything itself.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use ballast_sim::object::{DEFECTS, Defect};
use ballast_sim::run::{Options, Outcome, Ran, config, run, traced};
use ballast_sim::scenario::{Balancer, Scenario, parse};
use ballast_sim::{report, swarm};
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, Parser, Subcommand};
use scx_ballast::stdout::{print, print_help};
use scx_ballast::usage::{UsageError, parser_message};

/// Runs scx_ballast, as it ships, on a machine that need not exist.
///
/// The same scenario and seed give the same output, to the byte.
///
/// Exit codes: 0 every check was kept, 1 one was not or the run failed, 2 bad usage
/// or scenario.
#[derive(Parser)]
#[command(
    name = "ballast-sim",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
struct RunArgs {
    /// The scenario, as TOML. See docs/simulator.md.
    #[arg(required = true)]
    scenario: Option<PathBuf>,
    /// Instead of the scenario's seed.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
    seed: Option<u64>,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Write what happened to FILE, for ui.perfetto.dev.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print how fast it ran on stderr.
    #[arg(long)]
    speed: bool,
    /// Put a defect of sim/defects.toml into the scheduler.
    #[arg(long, value_name = "NAME")]
    defect: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run a random scenario with faults for each of many seeds
    Swarm {
        /// How many seeds, 1 to 1000000000.
        #[arg(long, value_name = "N", default_value_t = 200,
              allow_negative_numbers = true, value_parser = whole(1..=1_000_000_000))]
        seeds: u64,
        /// The first one, 0 to 9223372036854775807.
        #[arg(long, value_name = "N", default_value_t = 1,
              allow_negative_numbers = true, value_parser = whole(0..=MAX_SWARM_SEED))]
        first: u64,
        /// Run each twice and compare.
        #[arg(long)]
        twice: bool,
        /// Print the smallest scenario found that fails as the first failing seed does.
        #[arg(long)]
        minimise: bool,
        /// Put a defect of sim/defects.toml into the scheduler.
        #[arg(long, value_name = "NAME")]
        defect: Option<String>,
    },
    /// Print the scenario of a seed of the swarm, as TOML
    Scenario {
        /// The seed, 0 to 9223372036854775807.
        #[arg(allow_negative_numbers = true, value_parser = whole(0..=MAX_SWARM_SEED))]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            eprintln!("error: {}; try --help", UsageError::plain(message(&error)));
            return ExitCode::from(2);
        }
        Err(text) => {
            let Err(error) = print_help(&text) else {
                return ExitCode::SUCCESS;
            };
            eprintln!("error: {error:#}");
            return ExitCode::from(1);
        }
    };
    let result = match cli.command {
        None => scenario(&cli.run),
        Some(Command::Swarm {
            seeds,
            first,
            twice,
            minimise,
            defect,
        }) => find_defect(defect.as_deref())
            .and_then(|defect| many(first..first + seeds, twice, minimise, defect)),
        Some(Command::Scenario { seed }) => print_scenario(seed),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Error::Usage(line)) => {
            eprintln!("error: {}", UsageError::plain(line));
            ExitCode::from(2)
        }
        Err(Error::Run(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// What is wrong with the command line.
fn message(error: &clap::Error) -> String {
    let beside_a_command = error.get(ContextKind::InvalidSubcommand).is_some();
    if error.kind() == ErrorKind::ArgumentConflict && beside_a_command {
        // The parser takes whatever else stands beside a scenario for a command.
        return "give one scenario with its options, or else a command, `swarm` or `scenario`, \
                with its own"
            .to_owned();
    }
    parser_message(&error.to_string())
}

/// So that a number of seeds can be added to it.
const MAX_SWARM_SEED: u64 = (1 << 63) - 1;

/// Reads a number in `range`.
fn whole(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!(
            "give a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// Far more than any scenario needs, far less than memory.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a command could not be carried out.
enum Error {
    /// What was asked for makes no sense: one line.
    Usage(String),
    Run(anyhow::Error),
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Error {
        match error.downcast_ref::<UsageError>() {
            Some(usage) => Error::Usage(usage.to_string()),
            None => Error::Run(error),
        }
    }
}

fn find_defect(name: Option<&str>) -> Result<Option<&'static Defect>, Error> {
    let Some(name) = name else { return Ok(None) };
    let found = DEFECTS.iter().find(|defect| defect.name == name);
    found.map(Some).ok_or_else(|| {
        let names: Vec<&str> = DEFECTS.iter().map(|defect| defect.name).collect();
        Error::Usage(format!(
            "--defect: `{name}`; give one of {}",
            names.join(", ")
        ))
    })
}

fn read(path: &Path) -> Result<Scenario, Error> {
    let usage = |error: String| Error::Usage(format!("{}: {error}", path.display()));
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| usage(format!("{error}; give a scenario's TOML file")))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(usage("it is larger than 1 MiB; give less".to_owned()));
    }
    let scenario = parse(&text).map_err(usage)?;
    config(&scenario.flags, &scenario.topology)
        .map_err(|error| usage(error.root_cause().to_string()))?;
    if scenario.tasks.is_empty() {
        let error = "tasks: there are none, and so nothing to run; give [[tasks]]";
        return Err(usage(error.to_owned()));
    }
    Ok(scenario)
}

/// Runs one scenario; true if every check was kept.
fn scenario(args: &RunArgs) -> Result<bool, Error> {
    let Some(path) = &args.scenario else {
        return Err(Error::Usage("give a scenario".to_owned()));
    };
    let scenario = read(path)?;
    let defect = find_defect(args.defect.as_deref())?;
    let create = |trace| create_trace(trace, path);
    let trace = args.trace.as_deref().map(create).transpose()?;
    let options = Options {
        seed: args.seed,
        defect,
        ..Options::default()
    };
    let ran = traced(&scenario, options, trace)?;
    if args.speed {
        print_speed(&ran);
    }
    let mut outcomes = vec![ran.outcome];
    if scenario.baselines {
        for balancer in Balancer::ALL {
            if balancer.name() != outcomes[0].balancer {
                let options = Options {
                    balancer: Some(balancer),
                    ..options
                };
                outcomes.push(run(&scenario, options)?.outcome);
            }
        }
    }
    show(&outcomes, args.json)?;
    Ok(outcomes[0].is_good())
}

/// Before the run: a name that cannot be written should not cost one. Nor should a run that is
/// refused cost what was in the file.
fn create_trace(path: &Path, scenario: &Path) -> Result<Box<dyn Write>, Error> {
    if is_same_file(path, scenario) {
        let path = path.display();
        let line = format!("--trace: {path}: that is the scenario; give another file");
        return Err(Error::Usage(line));
    }
    let open = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    match open {
        Ok(file) => Ok(Box::new(BufWriter::new(Anew { file, begun: false }))),
        Err(error) => {
            let path = path.display();
            let line = format!("--trace: {path}: {error}; give a file to write");
            Err(Error::Usage(line))
        }
    }
}

/// Whether both are there and are one file, by whatever names.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    identity(one).is_some_and(|it| Some(it) == identity(other))
}

/// A file that loses what it held once something is written.
struct Anew {
    file: File,
    begun: bool,
}

impl Write for Anew {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.begun && self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.begun = true;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// On stderr: wall time is no part of the result.
fn print_speed(ran: &Ran) {
    let outcome = &ran.outcome;
    eprintln!(
        "{:.2} s of wall time, {:.2} for each simulated second; {:.0} events a second, {:.0} ns each",
        ran.wall_s,
        ran.wall_s / outcome.seconds,
        outcome.events as f64 / ran.wall_s,
        ran.wall_s * 1e9 / outcome.events as f64
    );
}

fn show(outcomes: &[Outcome], json: bool) -> Result<()> {
    let mut text = String::new();
    if json {
        text = match outcomes {
            [one] => serde_json::to_string_pretty(one),
            all => serde_json::to_string_pretty(all),
        }
        .context("writing JSON")?;
        text.push('\n');
    } else {
        text.push_str(&report::table(&outcomes[0]));
        if outcomes.len() > 1 {
            text.push('\n');
            text.push_str(&report::comparison(outcomes));
        }
    }
    print(&text)
}

/// Runs the swarm; true if no seed failed.
fn many(
    seeds: std::ops::Range<u64>,
    twice: bool,
    minimise: bool,
    defect: Option<&'static Defect>,
) -> Result<bool, Error> {
    let (mut failed, mut events, count) = (Vec::new(), 0, seeds.end - seeds.start);
    for seed in seeds {
        let outcome = swarm::run_seed(seed, defect)?;
        events += outcome.events;
        if twice && swarm::run_seed(seed, defect)?.hash != outcome.hash {
            print(&format!("seed {seed}: two runs differ\n"))?;
            failed.push((seed, "determinism"));
        }
        for failure in &outcome.failures {
            print(&format!(
                "seed {seed}: {} at {:.6} s: {}\n",
                failure.check, failure.at_s, failure.text
            ))?;
        }
        if let Some((check, _)) = outcome.failed.first_key_value() {
            failed.push((seed, *check));
        }
    }
    print(&format!(
        "{count} seeds, {events} events, {} failed\n",
        failed.len()
    ))?;
    if let (Some((seed, check)), true) = (failed.first(), minimise) {
        let (smallest, runs) = swarm::minimise(&swarm::scenario(*seed), check, defect)?;
        print(&format!(
            "# seed {seed} still fails `{check}` as this, found in {runs} runs:\n"
        ))?;
        print_toml(&smallest)?;
    }
    Ok(failed.is_empty())
}

fn print_scenario(seed: u64) -> Result<bool, Error> {
    print_toml(&swarm::scenario(seed))?;
    Ok(true)
}

fn print_toml(scenario: &Scenario) -> Result<()> {
    let text = toml::to_string(scenario).context("writing TOML")?;
    print(&text)
}
