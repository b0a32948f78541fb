// SPDX-License-Identifier: GPL-2.0-only
//! Starts and stops scx_ballast as a user would, and watches what the kernel says of it.
//! Never leaves one attached: dropping ends it.

mod once;

pub use once::{Ended, run_for, run_to_end};

use std::env;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sys::{self, Signal};

/// Loading and verifying takes seconds under emulation, more on a busy host.
const ATTACH_PATIENCE: Duration = Duration::from_secs(60);
/// Detaching waits for running work in the kernel; under emulation that is slow.
const DETACH_PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks at a file or child.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of the log shown when something failed.
const LOG_LINES: usize = 30;

/// `/sys/kernel/sched_ext/state`, or `absent` on a kernel without sched_ext.
pub fn state() -> String {
    read_word("/sys/kernel/sched_ext/state").unwrap_or_else(|| "absent".to_owned())
}

fn ops_name() -> String {
    read_word("/sys/kernel/sched_ext/root/ops").unwrap_or_default()
}

fn read_word(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn wait_until_disabled() -> Result<()> {
    let start = Instant::now();
    while state() != "disabled" {
        if start.elapsed() > DETACH_PATIENCE {
            bail!(
                "sched_ext's state is still {} after {DETACH_PATIENCE:?}",
                state()
            );
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The scheduler's program: beside this one, else wherever PATH finds it.
fn program() -> PathBuf {
    let beside = env::current_exe()
        .ok()
        .map(|own| own.with_file_name("scx_ballast"));
    match beside {
        Some(path) if path.exists() => path,
        _ => PathBuf::from("scx_ballast"),
    }
}

fn log_path() -> PathBuf {
    env::temp_dir().join("guest-test-scheduler.log")
}

fn stdout_path() -> PathBuf {
    env::temp_dir().join("guest-test-scheduler.out")
}

/// Empties the logs, so that a failure shows only its own lines.
///
/// # Errors
/// When the directory for temporary files cannot be written.
pub fn clear_log() -> Result<()> {
    for path in [log_path(), stdout_path()] {
        File::create(path).context("making the scheduler's log")?;
    }
    Ok(())
}

/// Where a scheduler's standard output goes; its standard error always goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the log too.
    Together,
    /// To a file of its own, which `printed` reads.
    Apart,
}

/// What schedulers started with `Output::Apart` printed on standard output since `clear_log`.
pub fn printed() -> String {
    read_text(&stdout_path())
}

fn read_text(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Everything the schedulers started since `clear_log` printed.
pub fn log() -> String {
    read_text(&log_path())
}

/// The log's last lines, for failures.
pub fn log_tail() -> String {
    let text = log();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// A running scx_ballast.
pub struct Scheduler {
    child: Child,
}

impl Scheduler {
    /// Starts it with `flags` and waits until the kernel says it is enabled.
    ///
    /// # Errors
    /// When another scheduler is attached, it exits, or the patience runs out.
    pub fn start(flags: &[&str]) -> Result<Self> {
        Self::start_with(flags, Output::Together)
    }

    /// The same, with standard output in a file of its own: see `Output`.
    ///
    /// # Errors
    /// As for `start`.
    pub fn start_with(flags: &[&str], output: Output) -> Result<Self> {
        if state() != "disabled" {
            bail!(
                "sched_ext's state is {} before the scheduler starts",
                state()
            );
        }
        let stdout = match output {
            Output::Together => log_path(),
            Output::Apart => stdout_path(),
        };
        let child = spawn(flags, &stdout, &log_path())?;
        let mut scheduler = Self { child };
        let start = Instant::now();
        while !is_ours_enabled() {
            if let Some(status) = scheduler.child.try_wait().context("waiting")? {
                bail!("scx_ballast {flags:?} ended with {status} instead of attaching");
            }
            if start.elapsed() > ATTACH_PATIENCE {
                bail!(
                    "after {ATTACH_PATIENCE:?} sched_ext's state is {} and ops is `{}`",
                    state(),
                    ops_name()
                );
            }
            std::thread::sleep(LOOK);
        }
        Ok(scheduler)
    }

    /// Ends it with SIGINT; it must exit with 0 and leave the kernel without a scheduler.
    ///
    /// # Errors
    /// When it does not.
    pub fn stop(self) -> Result<()> {
        self.stop_with(Signal::Interrupt)
    }

    /// Ends it with `signal`; it must exit with 0 and leave the kernel without a scheduler.
    ///
    /// # Errors
    /// When it does not.
    pub fn stop_with(mut self, signal: Signal) -> Result<()> {
        self.check_attached()?;
        sys::send_signal(self.child.id(), signal).context("signalling scx_ballast")?;
        let status = wait_for(&mut self.child, DETACH_PATIENCE)?
            .with_context(|| format!("scx_ballast runs on {DETACH_PATIENCE:?} after {signal:?}"))?;
        if status.code() != Some(0) {
            bail!("scx_ballast ended with {status} after {signal:?}, not with exit code 0");
        }
        wait_until_disabled()
    }

    /// Kills it with SIGKILL, as the kernel's out-of-memory killer would; returns how long the
    /// kernel took from then to be without a scheduler.
    ///
    /// # Errors
    /// When it is gone already, or the kernel keeps it.
    pub fn kill(mut self) -> Result<Duration> {
        let start = Instant::now();
        self.child.kill().context("killing scx_ballast")?;
        self.child.wait().context("reaping scx_ballast")?;
        wait_until_disabled()?;
        Ok(start.elapsed())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal that does not end it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        sys::send_signal(self.child.id(), signal).context("signalling scx_ballast")
    }

    /// Waits until it ends by itself, for at most `patience`, and the kernel is without a
    /// scheduler. Returns its exit code, None when a signal ended it.
    ///
    /// # Errors
    /// When it runs on.
    pub fn wait_for_end(mut self, patience: Duration) -> Result<Option<i32>> {
        let status = wait_for(&mut self.child, patience)?
            .with_context(|| format!("scx_ballast runs on after {patience:?}"))?;
        wait_until_disabled()?;
        Ok(status.code())
    }

    /// Checks that it runs and that the kernel has it enabled.
    ///
    /// # Errors
    /// With what the kernel or the exit status says.
    pub fn check_attached(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("waiting")? {
            bail!("scx_ballast ended by itself with {status}");
        }
        if !is_ours_enabled() {
            bail!(
                "sched_ext's state is {} and ops is `{}`",
                state(),
                ops_name()
            );
        }
        Ok(())
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        drop(sys::send_signal(self.child.id(), Signal::Interrupt));
        if !matches!(wait_for(&mut self.child, DETACH_PATIENCE), Ok(Some(_))) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if let Err(why) = wait_until_disabled() {
            eprintln!("after scx_ballast ended: {why:#}");
        }
    }
}

fn is_ours_enabled() -> bool {
    state() == "enabled" && ops_name().starts_with("ballast")
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

fn spawn(flags: &[&str], stdout: &Path, stderr: &Path) -> Result<Child> {
    let program = program();
    Command::new(&program)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(open_log(stdout)?)
        .stderr(open_log(stderr)?)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))
}

fn wait_for(child: &mut Child, patience: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("waiting for scx_ballast")? {
            return Ok(Some(status));
        }
        if start.elapsed() > patience {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}
