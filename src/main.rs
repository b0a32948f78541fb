// SPDX-License-Identifier: GPL-2.0-only
//! The command `scx_ballast`: command line, validated settings, work, exit code.
//! Never holds logic: 0 clean, 1 run time error, 2 bad usage.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use scx_ballast::cli::{self, Cli};
use scx_ballast::config::Config;
use scx_ballast::topology::Machine;
use scx_ballast::usage::UsageError;
use scx_ballast::{commands, run, stats};
use simplelog::{ColorChoice, ConfigBuilder, LevelFilter, TermLogger, TerminalMode};

fn main() -> ExitCode {
    let result = cli::parse().and_then(work);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scx_ballast: {error:#}");
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

fn work(cli: Cli) -> Result<()> {
    if let Some(command) = &cli.command {
        return commands::run(command);
    }
    if cli.help_stats {
        return stats::describe();
    }
    start_logging(cli.verbose)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("taking signals")?;
    if let Some(seconds) = cli.monitor {
        return stats::monitor(Duration::from_secs_f64(seconds), &stop);
    }
    let machine = Machine::read(Path::new("/"))?;
    let config = Config::from_cli(&cli, &machine)?;
    for warning in config.warnings() {
        log::warn!("{warning}");
    }
    run::run(&cli, config, &stop)
}

/// Warnings always; -v: who is moved and why; -vv: every step; -vvv: all.
fn start_logging(verbose: u8) -> Result<()> {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let format = ConfigBuilder::new()
        .set_target_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .set_time_level(LevelFilter::Off)
        .build();
    TermLogger::init(level, format, TerminalMode::Stderr, ColorChoice::Never)
        .context("starting the log")
}
