// SPDX-License-Identifier: GPL-2.0-only
//! Threads that do nothing but exist, in a process of their own.
//! Never outlives whoever started them: the process ends with its input.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};

/// Stack of a thread that only sleeps.
const SLEEPER_STACK: usize = 64 * 1024;

/// Starts `count` threads that only sleep, says `ready`, and waits for the end of its input.
///
/// # Errors
/// When the machine cannot hold so many.
pub fn run(count: u32) -> Result<()> {
    for _ in 0..count {
        let builder = thread::Builder::new().stack_size(SLEEPER_STACK);
        let asleep = || {
            loop {
                thread::park();
            }
        };
        builder.spawn(asleep).context("starting a sleeper")?;
    }
    println!("ready");
    io::stdin()
        .read_to_end(&mut Vec::new())
        .context("waiting for the end of the input")?;
    Ok(())
}

/// Threads that only sleep; dropping this ends them.
pub struct Sleepers(Child);

impl Sleepers {
    /// Starts `count` threads in a process of their own, and waits until all are there.
    ///
    /// # Errors
    /// When the machine cannot hold so many.
    pub fn start(count: u32) -> Result<Self> {
        let child = Command::new("ballast-load")
            .args(["sleepers", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the sleepers")?;
        let mut sleepers = Self(child);
        let stdout = sleepers.0.stdout.take().context("the sleepers are mute")?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("waiting for the sleepers")?;
        match line.trim() {
            "ready" => Ok(sleepers),
            _ => bail!("{count} sleeping threads could not be started"),
        }
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        // Both fail only after the end.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
