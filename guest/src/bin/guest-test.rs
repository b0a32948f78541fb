// SPDX-License-Identifier: GPL-2.0-only
//! The guest's test program: list, run, measure, demo.
//! Never holds a test.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use ballast_guest::bench::{self, Contender, Work};
use ballast_guest::cli::{self, refuse};
use ballast_guest::load::take_over_if_worker;
use ballast_guest::table::Table;
use ballast_guest::tests::{self, Test};
use ballast_guest::{demo, measure, scheduler, sys};
use clap::{Parser, Subcommand};
use scx_ballast::stdout;

/// Tests scx_ballast on the machine this runs on: a guest made for it.
#[derive(Parser)]
#[command(version, arg_required_else_help = false)]
struct Arguments {
    #[command(subcommand)]
    command: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Lists the tests, with the machine and kernels each wants
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Runs tests in the order given, in this boot
    Run {
        /// Names from `list`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Measures the promised figures and holds them to their targets
    Measure {
        /// Times each scenario is run
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
        repeat: u32,
        /// Names from `list`; none means all that have promised figures
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Lists the benchmark's work as JSON
    BenchList,
    /// Measures contenders on the same work, in turn; prints lines for the harness
    Bench {
        /// Contenders in the order of each turn; eevdf is the kernel's own scheduler
        #[arg(long, value_delimiter = ',', required = true, value_parser = Contender::parse)]
        schedulers: Vec<Contender>,
        /// The first turn's number
        #[arg(long, default_value_t = 1)]
        from: u32,
        /// The last turn's number
        #[arg(long, default_value_t = 1)]
        to: u32,
        /// Shorter windows: a look, not a measurement
        #[arg(long)]
        quick: bool,
        /// Names from `bench-list`
        #[arg(required = true, value_name = "WORK", value_parser = find_work)]
        works: Vec<Work>,
    },
    /// Shows what the scheduler does, for people who see it for the first time
    Demo,
}

fn main() -> ExitCode {
    take_over_if_worker();
    let arguments: Arguments = match cli::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match work(&arguments.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) if why.is::<BadName>() => refuse(why),
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug)]
struct BadName(String);

impl std::fmt::Display for BadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadName {}

fn work(job: &Job) -> Result<bool> {
    match job {
        Job::List { json } => list(*json),
        Job::Run { names } => run(&find(names)?),
        Job::Measure { repeat, names } if names.is_empty() => {
            prepare();
            measure::measure(&tests::all(), *repeat)
        }
        Job::Measure { repeat, names } => {
            let chosen = find(names)?;
            if let Some(test) = chosen.iter().find(|test| !test.measured) {
                return Err(
                    BadName(format!("test `{}` has no promised figures", test.name)).into(),
                );
            }
            prepare();
            measure::measure(&chosen, *repeat)
        }
        Job::BenchList => {
            let works = serde_json::to_string(&bench::all());
            print(&(works.context("writing the list of work")? + "\n"))
        }
        Job::Bench {
            schedulers,
            from,
            to,
            quick,
            works,
        } => {
            prepare();
            bench::run(&bench::Plan {
                contenders: schedulers.clone(),
                works: works.clone(),
                turns: (*from, *to),
                quick: *quick,
            })?;
            Ok(true)
        }
        Job::Demo => {
            prepare();
            demo::run().inspect_err(|_| {
                println!("the scheduler's last lines:\n{}", scheduler::log_tail());
            })?;
            Ok(true)
        }
    }
}

fn find_work(name: &str) -> Result<Work, String> {
    let mut all = bench::all().into_iter();
    all.find(|work| work.name == name)
        .ok_or_else(|| format!("there is no work `{name}`; see `guest-test bench-list`"))
}

fn prepare() {
    sys::observe_promptly();
}

fn find(names: &[String]) -> Result<Vec<Test>> {
    let all = tests::all();
    let one = |name: &String| {
        let test = all.iter().find(|test| test.name == name).copied();
        let why = || format!("there is no test `{name}`; see `guest-test list`");
        test.ok_or_else(|| BadName(why()).into())
    };
    names.iter().map(one).collect()
}

fn list(json: bool) -> Result<bool> {
    let tests = tests::all();
    if json {
        return print(&(serde_json::to_string(&tests).context("writing the list")? + "\n"));
    }
    let mut table = Table::new(&["test", "topology", "kernels", "timeout"]);
    for test in tests {
        table.row([
            test.name.to_owned(),
            test.topology.to_owned(),
            test.kernels.join(" "),
            format!("{} s", test.timeout_secs),
        ]);
    }
    print(&table.to_string())
}

fn print(text: &str) -> Result<bool> {
    stdout::print(text)?;
    Ok(true)
}

fn run(chosen: &[Test]) -> Result<bool> {
    prepare();
    let mut good = true;
    for test in chosen {
        println!("{} …", test.name);
        let outcome = tests::run(test, false)?;
        println!("  took {:.1} s", outcome.elapsed.as_secs_f64());
        if outcome.failures.is_empty() {
            println!("TEST {} ok", test.name);
        } else {
            good = false;
            println!("TEST {} FAILED: {}", test.name, one_line(&outcome.failures));
        }
        std::io::stdout().flush().context("writing the result")?;
    }
    Ok(good)
}

/// The failures on the one line the harness looks for.
fn one_line(failures: &[String]) -> String {
    let lines = failures.iter().flat_map(|why| why.lines());
    lines.map(str::trim).collect::<Vec<&str>>().join("; ")
}
