// SPDX-License-Identifier: GPL-2.0-only
//! The schedulers held side by side: how each starts, whether it is still there, how it ends.
//! Never leaves one attached: dropping ends it.

use std::env;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::catalogue::{Machines, Work};
use crate::kmsg::KernelLog;
use crate::scheduler;
use crate::sys::{self, Signal};

/// The name under which the kernel's own scheduler runs.
pub const KERNEL: &str = "eevdf";
/// Verifying takes up to 40 seconds of a clock that counts instructions.
const ATTACH_PATIENCE: Duration = Duration::from_secs(240);
/// Ending waits for running work in the kernel.
const DETACH_PATIENCE: Duration = Duration::from_secs(60);
/// What scx_ballast is told where there are more tasks than it has rows for by default.
const MANY_TASKS: [&str; 2] = ["--max-tasks", "131072"];
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A scheduler by name: the kernel's own, or the program `scx_<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender(String);

impl Contender {
    /// The contender of this name.
    ///
    /// # Errors
    /// When it cannot be a program's name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match !name.is_empty() && name.chars().all(plain) {
            true => Ok(Self(name.to_owned())),
            false => Err(format!(
                "`{name}` is no scheduler; write names like {KERNEL} or ballast, without scx_"
            )),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The program, None for the kernel's own.
    fn program(&self) -> Option<String> {
        (self.0 != KERNEL).then(|| format!("scx_{}", self.0))
    }

    /// The first line of `--version`, where there is a program that answers.
    pub fn version(&self) -> Option<String> {
        let output = Command::new(self.program()?)
            .arg("--version")
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().next()?.trim();
        (output.status.success() && !line.is_empty()).then(|| line.to_owned())
    }

    /// The flags it is started with for these pieces of work: the defaults, as a rule.
    fn flags(&self, works: &[Work]) -> &'static [&'static str] {
        // scx_ballast_old is another version of it.
        let ours = self.0.split('_').next() == Some("ballast");
        let many = works.iter().any(|work| work.machines == Machines::Roomy);
        if ours && many { &MANY_TASKS } else { &[] }
    }

    /// Starts it for these pieces of work and waits until the kernel says it is enabled.
    ///
    /// # Errors
    /// When it is not in the guest, ends, or the patience runs out.
    pub(super) fn start(&self, works: &[Work]) -> Result<Running> {
        let state = scheduler::state();
        let Some(program) = self.program() else {
            // A kernel without sched_ext has its own scheduler too.
            if state != "disabled" && state != "absent" {
                bail!("sched_ext's state is {state}");
            }
            return Ok(Running { child: None });
        };
        if state != "disabled" {
            bail!("sched_ext's state is {state} before it starts");
        }
        let log = File::create(log_path()).context("making its log")?;
        let child = Command::new(&program)
            .args(self.flags(works))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing its log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let mut running = Running {
            child: Some(Attached {
                child,
                kernel_log: KernelLog::from_now()?,
            }),
        };
        running.wait_until_enabled()?;
        Ok(running)
    }
}

fn log_path() -> PathBuf {
    env::temp_dir().join("guest-test-contender.log")
}

/// The last line it printed that says something.
fn last_word() -> String {
    let bytes = std::fs::read(log_path()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.unwrap_or("it printed nothing").trim().to_owned()
}

struct Attached {
    child: Child,
    kernel_log: KernelLog,
}

/// A contender in charge of the machine.
pub(super) struct Running {
    child: Option<Attached>,
}

impl Running {
    /// The daemon's process id; the kernel's own scheduler has none.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(|attached| attached.child.id())
    }

    fn wait_until_enabled(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            if scheduler::state() == "enabled" {
                return Ok(());
            }
            if let Some(status) = self.ended()? {
                bail!("it ended with {status}: {}", last_word());
            }
            if start.elapsed() > ATTACH_PATIENCE {
                let state = scheduler::state();
                bail!("after {ATTACH_PATIENCE:?} sched_ext's state is {state}");
            }
            std::thread::sleep(LOOK);
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(attached) => attached.child.try_wait().context("waiting for it"),
            None => Ok(None),
        }
    }

    /// Checks that it still has the machine.
    ///
    /// # Errors
    /// With the kernel's reason, or its own last line.
    pub(super) fn check_attached(&mut self) -> Result<()> {
        let state = scheduler::state();
        if self.child.is_none() {
            return match state.as_str() {
                "disabled" | "absent" => Ok(()),
                _ => bail!("sched_ext's state is {state} where nothing was started"),
            };
        }
        let ended = self.ended()?;
        if state == "enabled" && ended.is_none() {
            return Ok(());
        }
        let trouble = match &mut self.child {
            Some(attached) => attached.kernel_log.new_trouble().unwrap_or_default(),
            None => Vec::new(),
        };
        let reason = trouble.iter().find(|line| line.contains("sched_ext"));
        match (reason, ended) {
            (Some(reason), _) => bail!("{reason}"),
            (None, Some(status)) => bail!("it ended with {status}: {}", last_word()),
            (None, None) => bail!("sched_ext's state is {state}"),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it has to be killed, or the kernel keeps it.
    pub(super) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut attached) = self.child.take() else {
            return Ok(());
        };
        // Fails only when it has ended already.
        drop(sys::send_signal(attached.child.id(), Signal::Interrupt));
        let start = Instant::now();
        let mut killed = false;
        while attached
            .child
            .try_wait()
            .context("waiting for its end")?
            .is_none()
        {
            if start.elapsed() > DETACH_PATIENCE && !killed {
                drop(attached.child.kill());
                killed = true;
            }
            std::thread::sleep(LOOK);
        }
        let start = Instant::now();
        while scheduler::state() != "disabled" {
            if start.elapsed() > DETACH_PATIENCE {
                bail!(
                    "the kernel keeps it: sched_ext's state is {}",
                    scheduler::state()
                );
            }
            std::thread::sleep(LOOK);
        }
        match killed {
            true => bail!("it did not end {DETACH_PATIENCE:?} after SIGINT and was killed"),
            false => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(why) = self.end() {
            println!("  note: {why:#}");
        }
    }
}

#[cfg(test)]
mod unit {
    use super::{Contender, MANY_TASKS};
    use crate::bench::all;

    #[test]
    fn names_become_programs() {
        let program = |name| Contender::parse(name).expect(name).program();
        assert_eq!(program("eevdf"), None);
        assert_eq!(program("rusty"), Some("scx_rusty".to_owned()));
        for bad in ["", "../x", "a b", "scx-rusty"] {
            assert!(Contender::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_for_many_tasks_one_is_told_more_than_its_name() {
        let all = all();
        let flags = |contender, work: &str| {
            let works: Vec<_> = all.iter().filter(|one| one.name == work).copied().collect();
            let contender = Contender::parse(contender).expect(contender);
            contender.flags(&works)
        };
        assert_eq!(flags("ballast", "daemon-many"), MANY_TASKS);
        assert_eq!(flags("ballast_old", "daemon-many"), MANY_TASKS);
        assert!(flags("ballast", "daemon").is_empty());
        assert!(flags("rusty", "daemon-many").is_empty());
    }
}
