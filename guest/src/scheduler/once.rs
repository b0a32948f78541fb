// SPDX-License-Identifier: GPL-2.0-only
//! Runs scx_ballast where it attaches nothing: refusals, help, a monitor beside another.
//! Never leaves one running.

use std::env;
use std::fs::{self, File};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{DETACH_PATIENCE, Scheduler, spawn, wait_for};
use crate::sys::Signal;

/// A refusal needs no BPF, but may come after the object was opened.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// How a run that attached nothing ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code; None when a signal ended it.
    pub code: Option<i32>,
    /// What it printed, stdout and stderr together.
    pub text: String,
}

/// Runs scx_ballast with `flags`, expecting it to end by itself.
///
/// # Errors
/// When it runs on; it is ended then.
pub fn run_to_end(flags: &[&str]) -> Result<Ended> {
    run(flags, None)
}

/// Runs scx_ballast with `flags` for `time`, then ends it with SIGINT.
///
/// # Errors
/// When it does not end.
pub fn run_for(flags: &[&str], time: Duration) -> Result<Ended> {
    run(flags, Some(time))
}

fn run(flags: &[&str], interrupt_after: Option<Duration>) -> Result<Ended> {
    let output = env::temp_dir().join("guest-test-once.log");
    File::create(&output).context("making the log of a short run")?;
    // Dropping it ends what runs on, attached against all expectation or not.
    let mut scheduler = Scheduler {
        child: spawn(flags, &output, &output)?,
    };
    let patience = match interrupt_after {
        Some(time) => {
            sleep(time);
            scheduler.signal(Signal::Interrupt)?;
            DETACH_PATIENCE
        }
        None => END_PATIENCE,
    };
    let Some(status) = wait_for(&mut scheduler.child, patience)? else {
        bail!("scx_ballast {flags:?} runs on after {patience:?}");
    };
    let bytes = fs::read(&output).context("reading the log of a short run")?;
    Ok(Ended {
        code: status.code(),
        text: String::from_utf8_lossy(&bytes).trim_end().to_owned(),
    })
}
