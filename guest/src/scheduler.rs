// SPDX-License-Identifier: GPL-2.0-only
//! Starts and stops scx_ballast as a user would, and watches what the kernel says of it.
//! Never leaves one attached: dropping ends it.

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
/// A refusal needs no BPF, but may come after the object was opened.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(60);
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

/// Empties the log, so that a failure shows only its own lines.
///
/// # Errors
/// When the directory for temporary files cannot be written.
pub fn clear_log() -> Result<()> {
    File::create(log_path()).context("making the scheduler's log")?;
    Ok(())
}

/// Everything the schedulers started since `clear_log` printed.
pub fn log() -> String {
    fs::read(log_path())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
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
        if state() != "disabled" {
            bail!(
                "sched_ext's state is {} before the scheduler starts",
                state()
            );
        }
        let child = spawn(flags, &log_path())?;
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

fn spawn(flags: &[&str], output: &Path) -> Result<Child> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(output)
        .with_context(|| format!("opening {}", output.display()))?;
    let program = program();
    Command::new(&program)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing the log")?)
        .stderr(log)
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

/// How a scheduler that should not run ended.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Exit code; None when a signal ended it.
    pub code: Option<i32>,
    /// What it printed, stdout and stderr together.
    pub text: String,
}

/// Runs scx_ballast with `flags`, expecting it to end by itself.
///
/// # Errors
/// When it runs on; it is ended then.
pub fn run_refused(flags: &[&str]) -> Result<Refusal> {
    let output = env::temp_dir().join("guest-test-refused.log");
    File::create(&output).context("making the log of a refusal")?;
    let mut scheduler = Scheduler {
        child: spawn(flags, &output)?,
    };
    let Some(status) = wait_for(&mut scheduler.child, REFUSAL_PATIENCE)? else {
        bail!("scx_ballast {flags:?} runs on instead of refusing");
    };
    let bytes = fs::read(&output).context("reading the log of a refusal")?;
    Ok(Refusal {
        code: status.code(),
        text: String::from_utf8_lossy(&bytes).trim_end().to_owned(),
    })
}
