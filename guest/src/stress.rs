// SPDX-License-Identifier: GPL-2.0-only
//! Runs stress-ng beside the scheduler under test.
//! Never takes its bogo-operations for a measure of anything.

use std::env;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sys::{self, Signal};

/// What stress-ng may take beyond its own time limit to end its stressors under emulation.
const END_PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(200);

struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // stress-ng ends its stressors on SIGINT; the wait reaps it. Both fail only after the end.
        drop(sys::send_signal(self.child.id(), Signal::Interrupt));
        drop(self.child.wait());
    }
}

/// Runs `stress-ng <arguments> -t <seconds>` to its end, calling `watch` with the time passed at
/// every look. Returns what it printed.
///
/// # Errors
/// When it cannot start, fails, does not end, or `watch` fails.
pub fn run(
    arguments: &str,
    seconds: u64,
    mut watch: impl FnMut(Duration) -> Result<()>,
) -> Result<String> {
    let path = env::temp_dir().join("guest-test-stress.log");
    let log = File::create(&path).context("making stress-ng's log")?;
    let child = Command::new("stress-ng")
        .args(arguments.split_whitespace())
        .args(["-t", &seconds.to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing stress-ng's log")?)
        .stderr(log)
        .spawn()
        .context("starting stress-ng (is it in the guest?)")?;
    let mut running = Running { child };
    let start = Instant::now();
    let status = loop {
        if let Some(status) = running.child.try_wait().context("waiting for stress-ng")? {
            break status;
        }
        if start.elapsed() > Duration::from_secs(seconds) + END_PATIENCE {
            bail!("stress-ng runs on {END_PATIENCE:?} after its {seconds} s");
        }
        watch(start.elapsed())?;
        std::thread::sleep(LOOK);
    };
    let bytes = fs::read(&path).context("reading stress-ng's log")?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !status.success() {
        bail!("stress-ng {arguments} ended with {status}:\n{text}");
    }
    Ok(text)
}
