// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's log, from a given moment on, searched for trouble.
//! Never clears or writes it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};

/// Longest record /dev/kmsg gives (the kernel's PRINTK_MESSAGE_MAX with room to spare).
const RECORD_BYTES: usize = 16 * 1024;

/// A place in the kernel's log.
pub struct KernelLog {
    file: File,
}

impl KernelLog {
    /// The log from this moment on.
    ///
    /// # Errors
    /// Without /dev/kmsg or the right to read it.
    pub fn from_now() -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("opening /dev/kmsg (needs root)")?;
        file.seek(SeekFrom::End(0)).context("seeking /dev/kmsg")?;
        Ok(Self { file })
    }

    /// Messages since the last call that tell of trouble: warnings, bugs, stalls, sched_ext errors.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new_trouble(&mut self) -> Result<Vec<String>> {
        let mut trouble = Vec::new();
        let mut record = vec![0; RECORD_BYTES];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    let message = message_of(&text);
                    if is_trouble(message) {
                        trouble.push(message.to_owned());
                    }
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(trouble),
                // Records were overwritten before they were read: go on with the oldest left.
                Err(why) if why.kind() == ErrorKind::BrokenPipe => {}
                Err(why) => return Err(why).context("reading /dev/kmsg"),
            }
        }
    }
}

/// The text of a record "prefix;text\n key=value…".
fn message_of(record: &str) -> &str {
    let text = record.split_once(';').map_or(record, |(_, text)| text);
    text.lines().next().unwrap_or("")
}

fn is_trouble(message: &str) -> bool {
    let from_sched_ext = message.contains("sched_ext") || message.contains("scx");
    let stall_or_error = message.contains("stall") || message.contains("error");
    ["WARNING:", "BUG:", "Oops", "Kernel panic"]
        .iter()
        .any(|word| message.contains(word))
        || (from_sched_ext && stall_or_error)
        || (message.contains("rcu") && message.contains("stall"))
}

#[cfg(test)]
mod unit {
    use super::{is_trouble, message_of};

    #[test]
    fn trouble_is_told_from_routine() {
        for (message, trouble) in [
            ("WARNING: CPU: 3 PID: 9 at kernel/sched/ext.c:1", true),
            ("BUG: workqueue lockup - pool cpus=1", true),
            (
                "sched_ext: BPF scheduler \"ballast\" disabled (runtime error)",
                true,
            ),
            (
                "sched_ext: ballast: runnable task stall (x[1] failed to run for 30s)",
                true,
            ),
            (
                "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                true,
            ),
            ("sched_ext: BPF scheduler \"ballast\" enabled", false),
            (
                "sched_ext: BPF scheduler \"ballast\" disabled (unregistered from user space)",
                false,
            ),
            ("clocksource: Switched to clocksource tsc", false),
        ] {
            assert_eq!(is_trouble(message), trouble, "{message}");
        }
    }

    #[test]
    fn prefixes_and_dictionaries_are_dropped() {
        let record = "4,1234,5678,-;the text; all of it\n SUBSYSTEM=x\n";
        assert_eq!(message_of(record), "the text; all of it");
    }
}
