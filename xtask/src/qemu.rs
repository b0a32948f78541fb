// SPDX-License-Identifier: GPL-2.0-only
//! Owns QEMU's command line: machine, clock, kernel arguments, serial ports.
//! Must never start a process: it only says what to start.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::topology::Topology;

/// The emulator, looked for in PATH.
pub const QEMU: &str = "qemu-system-x86_64";

/// What every guest's kernel is told.
const KERNEL_ARGS: [&str; 8] = [
    "console=ttyS0",
    "quiet",
    "rdinit=/init",
    // Reboot on panic, which -no-reboot turns into QEMU's end.
    "panic=-1",
    // A busy host once tripped the default of 21 s, and the kernel ejects a scheduler for a
    // stall; 300 s is the longest it accepts.
    "rcupdate.rcu_cpu_stall_timeout=300",
    // Mitigations cost an emulated CPU more than a real one, and guard against nothing.
    "mitigations=off",
    // Otherwise a busy host makes the kernel call its clock unstable.
    "tsc=reliable",
    // Loops per jiffy of a 2 GHz CPU: calibrating it takes 32 CPUs on a small host a minute.
    "lpj=8000000",
];

/// What the guest's clock counts.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    clap::ValueEnum,
    serde::Deserialize,
    serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Host time, a host thread for each CPU: for CPU time, shares, utilisation.
    Multi,
    /// Instructions executed: for latency, free of the host's noise.
    Icount,
}

/// All that one boot needs.
pub struct Machine<'a> {
    /// The kernel image.
    pub vmlinuz: &'a Path,
    /// The whole initramfs, as one file.
    pub initramfs: &'a Path,
    /// CPUs, nodes and memory.
    pub topology: &'a Topology,
    /// What time means in the guest.
    pub clock: Clock,
    /// Further kernel arguments; may be empty.
    pub append: &'a str,
    /// Where the kernel's console goes.
    pub console_log: &'a Path,
}

impl Machine<'_> {
    /// QEMU's arguments. The kernel's console is the first serial port and goes to a
    /// file; the script's output is the second and goes to QEMU's standard output, so
    /// that kernel messages never cut a line of it in two.
    pub fn args(&self) -> Vec<String> {
        // As an AMD processor, QEMU's emulated one shows SMT without the caches to match.
        let cpu = "max,vendor=GenuineIntel";
        let mut args: Vec<String> = ["-machine", "q35", "-cpu", cpu].map(String::from).into();
        args.extend(self.clock.qemu_args().iter().map(|arg| (*arg).to_string()));
        args.extend(self.topology.qemu_args());
        // Commas separate QEMU's options, and a doubled comma is a comma.
        let console = self.console_log.display().to_string().replace(',', ",,");
        args.extend([
            "-nodefaults".into(),
            "-display".into(),
            "none".into(),
            "-no-reboot".into(),
            "-chardev".into(),
            format!("file,id=console,path={console}"),
            "-serial".into(),
            "chardev:console".into(),
            "-chardev".into(),
            "stdio,id=output,signal=off".into(),
            "-serial".into(),
            "chardev:output".into(),
            "-kernel".into(),
            self.vmlinuz.display().to_string(),
            "-initrd".into(),
            self.initramfs.display().to_string(),
            "-append".into(),
            self.kernel_args(),
        ]);
        args
    }

    fn kernel_args(&self) -> String {
        let mut args = KERNEL_ARGS.join(" ");
        if !self.append.is_empty() {
            args.push(' ');
            args.push_str(self.append);
        }
        args
    }
}

impl Clock {
    fn qemu_args(self) -> &'static [&'static str] {
        match self {
            Clock::Multi => &["-accel", "tcg,thread=multi"],
            // shift=0: 1 ns an instruction. Eight busy CPUs share that, some 125 million a second
            // each; with fewer, a wake-up takes so large a part of the time between two that
            // what is measured is how the emulator's one thread is queued for.
            Clock::Icount => &[
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0,sleep=off",
                "-rtc",
                "base=2026-01-01,clock=vm",
            ],
        }
    }

    /// The name the user types.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Multi => "multi",
            Clock::Icount => "icount",
        }
    }
}

/// Finds a program in PATH.
///
/// # Errors
/// A sentence with the fix when it is not installed.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Administrators' programs are not in everyone's PATH.
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    for place in places {
        let candidate = place.join(name);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("{name} is not installed: run `make setup`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology;

    fn machine(clock: Clock, append: &str) -> Vec<String> {
        Machine {
            vmlinuz: Path::new("/k"),
            initramfs: Path::new("/i"),
            topology: topology::by_name("2x4").expect("known"),
            clock,
            append,
            console_log: Path::new("/a,b"),
        }
        .args()
    }

    #[test]
    fn the_clock_chooses_the_accelerator() {
        assert!(machine(Clock::Multi, "").contains(&"tcg,thread=multi".to_string()));
        let args = machine(Clock::Icount, "");
        assert!(args.contains(&"tcg,thread=single".to_string()));
        assert!(args.contains(&"shift=0,sleep=off".to_string()));
    }

    #[test]
    fn further_kernel_arguments_come_last() {
        let args = machine(Clock::Multi, "isolcpus=3");
        assert!(args.last().expect("an argument").ends_with(" isolcpus=3"));
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        assert!(machine(Clock::Multi, "").contains(&"file,id=console,path=/a,,b".to_string()));
    }
}
