// SPDX-License-Identifier: GPL-2.0-only
//! Runs a program to its end, with a limit on its patience, and keeps what it printed.
//! Never leaves it running, nor what it started.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sys;

/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only after the end.
        drop(sys::kill_group(self.0.id()));
        drop(self.0.wait());
    }
}

/// What `program` printed, standard error included.
///
/// # Errors
/// When it is not installed, fails, or runs longer than `patience`.
pub fn run(program: &str, arguments: &[&str], patience: Duration) -> Result<String> {
    let path = env::temp_dir().join("guest-test-command.log");
    let log = File::create(&path).context("making a command's log")?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing a command's log")?)
        .stderr(log)
        // Its own group, so that what it starts ends with it.
        .process_group(0)
        .spawn();
    let mut running = match child {
        Ok(child) => Running(child),
        Err(why) if why.kind() == ErrorKind::NotFound => bail!("{program} is not in the guest"),
        Err(why) => return Err(why).with_context(|| format!("starting {program}")),
    };
    let start = Instant::now();
    let status = loop {
        if let Some(status) = running.0.try_wait().context("waiting for a command")? {
            break status;
        }
        if start.elapsed() > patience {
            bail!("{program} runs on after {patience:?}");
        }
        std::thread::sleep(LOOK);
    };
    let bytes = fs::read(&path).context("reading a command's log")?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !status.success() {
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        bail!(
            "{program} ended with {status}: {}",
            last.unwrap_or("no word")
        );
    }
    Ok(text)
}

#[cfg(test)]
mod unit {
    use std::thread::sleep;
    use std::time::Duration;
    use std::{env, fs, process};

    use super::run;

    #[test]
    fn output_failure_absence_and_patience() {
        let patience = Duration::from_secs(20);
        assert_eq!(run("echo", &["a"], patience).expect("fine"), "a\n");
        for (program, arguments, patience, word) in [
            (
                "sh",
                &["-c", "echo sorry >&2; exit 3"][..],
                patience,
                "sorry",
            ),
            ("no-such-program", &[], patience, "not in the guest"),
            ("sleep", &["60"], Duration::ZERO, "runs on"),
        ] {
            let why = run(program, arguments, patience).expect_err(word);
            assert!(why.to_string().contains(word), "{why}");
        }
        // One log, so one test: what a program started ends with it.
        let path = env::temp_dir().join(format!("guest-test-child.{}", process::id()));
        let script = format!("sleep 60 & echo $! >{}; wait", path.display());
        let patience = Duration::from_millis(500);
        run("sh", &["-c", &script], patience).expect_err("it waits for its child");
        let pid = fs::read_to_string(&path).expect("its child's id");
        drop(fs::remove_file(&path));
        let stat = format!("/proc/{}/stat", pid.trim());
        // Killed at once, though whoever takes in orphans may not have looked yet.
        let is_there = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        for _ in 0..500 {
            if !is_there() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("{stat} is still there");
    }
}
