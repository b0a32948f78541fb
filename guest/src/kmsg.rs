// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's log, from a given moment on, searched for trouble.
//! Never clears or writes it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use scx_ballast::kernel::preflight::kernel_version;

/// Longest record /dev/kmsg gives (the kernel's PRINTK_MESSAGE_MAX with room to spare).
const RECORD_BYTES: usize = 16 * 1024;

/// Where kernels warn once of a direct insertion that they forgot to forget: that of a
/// task which woke while a scheduler was being unloaded. It is harmless, any scheduler
/// that inserts in ops.select_cpu meets it, and commit 7e0ffb72de8a has mended it; see
/// <https://github.com/sched-ext/scx/issues/2758>.
const FORGOTTEN_INSERTION: &str = "scx_dsq_insert_commit";
/// The first release with that commit: from then on the warning is ours.
const MENDED_IN: (u32, u32) = (7, 1);

/// A place in the kernel's log.
pub struct KernelLog {
    file: File,
    forgets_insertions: bool,
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
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("reading the kernel's release")?;
        Ok(Self {
            file,
            forgets_insertions: forgets_insertions(&release),
        })
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
                    let known = self.forgets_insertions && message.contains(FORGOTTEN_INSERTION);
                    if is_trouble(message) && !known {
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

/// Whether the kernel of this release has the bug above. One that cannot be read has not.
fn forgets_insertions(release: &str) -> bool {
    kernel_version(release).is_some_and(|version| version < MENDED_IN)
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
    use super::{forgets_insertions, is_trouble, message_of};

    #[test]
    fn kernels_that_forget_insertions_are_known_by_their_release() {
        for (release, forgets) in [
            ("6.18.15+deb13-cloud-amd64", true),
            ("7.0.13+deb13-cloud-amd64", true),
            ("7.1-rc1", false),
            ("7.2.6", false),
            ("10.0", false),
            ("?", false),
        ] {
            assert_eq!(forgets_insertions(release), forgets, "{release}");
        }
    }

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
