// SPDX-License-Identifier: GPL-2.0-only
//! Owns one guest from boot to end: the process, its output, its time.
//! Must never end any process but the QEMU it started.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::initramfs::{ExtraFile, Initramfs, RunLayer};
use crate::interrupt;
use crate::kernel::{self, Series};
use crate::qemu::{self, Clock, Machine};
use crate::say;
use crate::stream::{Event, Markers};
use crate::topology::Topology;

/// A boot takes 4 s on an idle host and has been seen to take 40 s on a busy one.
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);
/// Boots tried until the script starts: an emulator on a busy host loses one now and then.
const BOOTS: u32 = 2;
/// What a guest dies of when QEMU runs a stale copy of code that the kernel has changed.
const STALE_CODE: &str = "Oops: int3";
/// How the kernel begins to say that it is broken.
const COMPLAINTS: [&str; 4] = ["BUG:", "Oops:", "Kernel panic", "WARNING:"];
/// How often the loop looks at the clock and at Ctrl-C while the guest is silent.
const POLL: Duration = Duration::from_millis(100);
/// Lines of output shown when a guest ends badly.
const TAIL_LINES: usize = 30;

/// What to boot and what to run in it.
pub struct Boot {
    /// The kernel.
    pub series: Series,
    /// The machine.
    pub topology: &'static Topology,
    /// Its clock.
    pub clock: Clock,
    /// Seconds the script may take after the boot.
    pub timeout_secs: u64,
    /// Further kernel arguments.
    pub append: String,
    /// Runs under /bin/sh as root.
    pub script: Vec<u8>,
    /// Further files.
    pub files: Vec<ExtraFile>,
    /// Names the logs in the cache folder.
    pub log_name: String,
}

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The script ended with this status.
    Exited(u8),
    /// The script ran out of time.
    TimedOut,
    /// The guest ended or never started without saying the script's status.
    Died,
    /// The same, because QEMU ran code that the guest's kernel had changed as it was
    /// before: nothing that ran in the guest can do that.
    StaleCode,
    /// The user asked to stop.
    Interrupted,
}

/// The boots in a row that QEMU lost to stale code without that anything got on: it loses one in
/// some dozens, of those with 32 CPUs most.
#[derive(Debug, Default)]
pub struct LostBoots(u32);

impl LostBoots {
    /// As many in a row are enough.
    pub const MOST: u32 = 4;

    /// One more was lost; whether it is worth another. One in which a part of the work ended
    /// has lost only the part after that.
    pub fn is_worth_another(&mut self, got_on: bool) -> bool {
        self.0 = if got_on { 1 } else { self.0 + 1 };
        self.0 < LostBoots::MOST
    }
}

/// Where the script's output goes, piece by piece.
pub trait Output {
    /// The guest booted; the script starts now.
    fn started(&mut self) {}
    /// A line of the script's output; the last one may lack its end.
    fn text(&mut self, text: &str);
}

/// The script's output to our own standard output.
pub struct ToStdout;

impl Output for ToStdout {
    fn text(&mut self, text: &str) {
        say::text(text);
    }
}

/// Boots, runs the script, and says how it ended. Waits while another guest runs.
///
/// # Errors
/// When the guest cannot be prepared or QEMU not started.
pub fn run(
    cache: &Cache,
    base: &Initramfs,
    boot: &Boot,
    output: &mut dyn Output,
) -> Result<Ending> {
    let kernel = kernel::get(cache, &boot.series)?;
    let qemu = qemu::program(qemu::QEMU)?;
    interrupt::install()?;
    let _lock = cache.lock("vm.lock", "another guest")?;

    remove_leftovers(&cache.path("initramfs"));
    let key = run_key();
    let config = fs::read(&kernel.config).context("reading the kernel's configuration")?;
    let image = TemporaryFile(cache.path(&format!("initramfs/run-{}.img", std::process::id())));
    let layer = RunLayer {
        script: &boot.script,
        key: &key,
        kernel_config: &config,
        files: &boot.files,
    };
    base.write_with(&layer, &image.0)?;

    let console_log = cache.path(&format!("logs/{}-console.log", boot.log_name));
    let machine = Machine {
        vmlinuz: &kernel.vmlinuz,
        initramfs: &image.0,
        topology: boot.topology,
        clock: boot.clock,
        append: &boot.append,
        console_log: &console_log,
    };
    let (name, clock) = (boot.topology.name, boot.clock.name());
    let mut boots = 0;
    loop {
        boots += 1;
        eprintln!("booting {} on {name} ({clock} clock)", kernel.release());
        let mut guest = Guest::start(&qemu, &machine, Markers::new(&key))?;
        let mut ending = guest.follow(Duration::from_secs(boot.timeout_secs), output);
        guest.stop();
        if ending == Ending::Died && guest.started.is_some() && ran_stale_code(&console_log) {
            ending = Ending::StaleCode;
        }
        guest.explain(ending, boot, &console_log);
        // Nothing of ours ran yet, so a second boot hides no fault of ours.
        if ending != Ending::Died || guest.started.is_some() || boots == BOOTS {
            return Ok(ending);
        }
    }
}

/// Whether the kernel's last words are those of a stale copy of its code.
fn ran_stale_code(console_log: &Path) -> bool {
    let console = fs::read(console_log).unwrap_or_default();
    String::from_utf8_lossy(&console).contains(STALE_CODE)
}

/// A running QEMU and what it said.
struct Guest {
    child: Child,
    lines: Receiver<Vec<u8>>,
    markers: Markers,
    tail: VecDeque<String>,
    started: Option<Instant>,
    booting_since: Instant,
}

/// How the host schedules QEMU's threads, as chrt's flag. Under batch no thread that wakes takes
/// the host's CPU from one that runs. One that has thrown away the copies of code it is about to
/// change would leave the others to copy it as it was: the stale code that costs most boots with
/// 32 CPUs. With few CPUs that is rare, and batch makes the emulated clock coarser.
fn host_policy(guest_cpus: u32) -> &'static str {
    match guest_cpus {
        0..=16 => "--other",
        _ => "--batch",
    }
}

impl Guest {
    fn start(qemu: &Path, machine: &Machine, markers: Markers) -> Result<Guest> {
        // chrt becomes setpriv and that QEMU; setpriv lets the kernel end it should the harness be killed. A
        // process group of its own keeps the terminal's Ctrl-C from reaching it before us.
        let mut child = Command::new("chrt")
            .args([host_policy(machine.topology.present_cpus), "0"])
            .args(["setpriv", "--pdeathsig", "KILL", "--"])
            .arg(qemu)
            .args(machine.args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("starting QEMU through chrt and setpriv")?;
        let stdout = child.stdout.take().context("QEMU has no output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            loop {
                let mut line = Vec::new();
                match reader.read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) if sender.send(line).is_err() => return,
                    Ok(_) => {}
                }
            }
        });
        Ok(Guest {
            child,
            lines,
            markers,
            tail: VecDeque::new(),
            started: None,
            booting_since: Instant::now(),
        })
    }

    /// Passes the output on until the script ends, time runs out or QEMU is gone.
    fn follow(&mut self, timeout: Duration, output: &mut dyn Output) -> Ending {
        loop {
            if interrupt::raised() {
                return Ending::Interrupted;
            }
            match self.started {
                Some(since) if since.elapsed() > timeout => return Ending::TimedOut,
                None if self.booting_since.elapsed() > BOOT_TIMEOUT => return Ending::Died,
                _ => {}
            }
            let line = match self.lines.recv_timeout(POLL) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ending::Died,
            };
            for event in self.markers.read(&line) {
                match event {
                    Event::Started => {
                        self.started = Some(Instant::now());
                        output.started();
                    }
                    Event::Exited(status) => return Ending::Exited(status),
                    // What comes before the script is the firmware's noise.
                    Event::Text(_) if self.started.is_none() => {}
                    Event::Text(text) => {
                        output.text(&text);
                        if self.tail.len() == TAIL_LINES {
                            self.tail.pop_front();
                        }
                        self.tail.push_back(text);
                    }
                }
            }
        }
    }

    /// Ends this QEMU; one that is gone already is fine.
    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Says on stderr what is known about a guest that ended badly.
    fn explain(&self, ending: Ending, boot: &Boot, console_log: &Path) {
        let reason = match ending {
            Ending::Exited(_) => return,
            Ending::Interrupted => {
                eprintln!("interrupted: the guest was ended");
                return;
            }
            Ending::TimedOut => format!("the script did not end within {} s", boot.timeout_secs),
            Ending::Died if self.started.is_none() => "the guest did not boot".into(),
            Ending::Died | Ending::StaleCode => "the guest died before the script ended".into(),
        };
        eprintln!("error: {reason}");
        if !self.tail.is_empty() {
            eprintln!("--- the script's last {} lines", self.tail.len());
            for line in &self.tail {
                eprintln!("{}", line.trim_end());
            }
        }
        let console = fs::read(console_log).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        if console.contains(STALE_CODE) {
            eprintln!(
                "\"{STALE_CODE}\" is a fault of QEMU, frequent before 8.1 (`make setup` brings another) and rare since"
            );
        }
        let console = last_words(&console, TAIL_LINES);
        if !console.is_empty() {
            eprintln!("--- the kernel's last words ({})", console_log.display());
            eprintln!("{console}");
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Removes the images of runs that were killed; nobody else runs while we hold the lock.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with("run-") {
            // One that stays only takes up room.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removed when the run is over.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a kernel log ends with: `count` lines from its first complaint on, else its last ones,
/// without empty lines, screen codes and carriage returns.
fn last_words(text: &str, count: usize) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.trim_matches(|c: char| c.is_control() || c.is_whitespace()))
        .filter(|line| !line.is_empty())
        .collect();
    let complaint = lines
        .iter()
        .position(|line| COMPLAINTS.iter().any(|word| line.contains(word)));
    let from = complaint.unwrap_or(lines.len().saturating_sub(count));
    let to = lines.len().min(from + count);
    lines[from..to].join("\n")
}

/// Differs from run to run.
fn run_key() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.as_nanos());
    format!("{:x}-{:x}", std::process::id(), nanos & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_that_got_on_starts_the_count_anew() {
        let mut lost = LostBoots::default();
        let worth =
            [false, false, false, true, false, false, false].map(|it| lost.is_worth_another(it));
        assert_eq!(worth, [true, true, true, true, true, true, false]);
    }

    #[test]
    fn the_last_words_skip_empty_lines() {
        assert_eq!(last_words("a\r\n\r\nb\n\x1b\nc\n", 2), "b\nc");
        assert_eq!(last_words("", 3), "");
    }

    #[test]
    fn the_last_words_begin_with_the_complaint() {
        let log = "fine\nKernel panic - not syncing\ntrace 1\ntrace 2\n";
        assert_eq!(last_words(log, 2), "Kernel panic - not syncing\ntrace 1");
    }
}
