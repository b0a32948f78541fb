// SPDX-License-Identifier: GPL-2.0-only
//! What a scheduler costs: time in its BPF programs, its daemon's CPU time and memory.
//! Never knows a scheduler: the kernel's accounts are read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Bench;
use super::catalogue::{Better, Clock, FigureSpec, Target, Work};
use crate::command;
use crate::load::{Group, Spinners};
use crate::sys;

/// BPF_PROG_TYPE_STRUCT_OPS of the kernel's uapi/linux/bpf.h.
const STRUCT_OPS: u64 = 27;
/// What a tool may take.
const PATIENCE: Duration = Duration::from_secs(120);

const fn cost(key: &'static str, title: &'static str) -> FigureSpec {
    FigureSpec {
        key,
        title,
        unit: "µs",
        better: Better::Less,
        targets: &[Target::TimesAtMost("rusty", 0.6)],
    }
}

const fn daemon_figure(
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    targets: &'static [Target],
) -> FigureSpec {
    FigureSpec {
        key,
        title,
        unit,
        better: Better::Less,
        targets,
    }
}

pub(super) const WORKS: &[Work] = &[
    Work {
        name: "bpf-cost",
        title: "Time in BPF",
        about: "Time in the scheduler's callbacks for each context switch (kernel.bpf_stats_enabled, /proc/stat), while hackbench sends through pipes, and while workers are woken beside a hog a CPU. Instructions: what the verifier walked to accept them.",
        clock: Clock::Icount,
        large: false,
        limit_secs: 60,
        figures: &[
            cost("messages", "BPF a switch, hackbench"),
            cost("wake-ups", "BPF a switch, wake-ups beside hogs"),
            FigureSpec {
                key: "verified",
                title: "verified instructions",
                unit: "",
                better: Better::Less,
                targets: &[],
            },
        ],
        run: bpf_cost,
    },
    Work {
        name: "daemon",
        title: "The daemon",
        about: "CPU time and memory of the scheduler's process beside sleeping threads, on an otherwise idle machine. An hour's CPU seconds are projected from the window; an emulated CPU is some ten times slower than a real one.",
        clock: Clock::Multi,
        large: false,
        limit_secs: 120,
        figures: &[
            daemon_figure("cpu-100", "CPU seconds an hour, 100 threads", "s", &[]),
            // 0.1 % of one CPU.
            daemon_figure(
                "cpu-10000",
                "CPU seconds an hour, 10,000 threads",
                "s",
                &[Target::AtMost(3.6)],
            ),
            daemon_figure("memory-100", "memory, 100 threads", "MiB", &[]),
            daemon_figure("memory-10000", "memory, 10,000 threads", "MiB", &[]),
        ],
        run: daemon,
    },
];

fn bpf_cost(bench: &mut Bench) -> Result<()> {
    let Some(pid) = bench.running.pid() else {
        bail!("it has no BPF programs");
    };
    let _stats = BpfStats::on()?;
    let loops = if bench.quick { "100" } else { "300" };
    let before = Account::read(pid)?;
    command::run("hackbench", &["-g", "1", "-P", "-p", "-l", loops], PATIENCE)?;
    let after = Account::read(pid)?;
    bench.value("messages", before.us_a_switch(&after));
    bench.value("verified", after.verified as f64);

    let hogs = Spinners::start(&[Group::spinners(bench.machine.cpus.len(), 0)])?;
    let seconds = bench.seconds(3, 8).as_secs().to_string();
    let before = Account::read(pid)?;
    command::run("ballast-load", &["wake", "--seconds", &seconds], PATIENCE)?;
    let after = Account::read(pid)?;
    drop(hogs);
    bench.value("wake-ups", before.us_a_switch(&after));
    Ok(())
}

/// The kernel times BPF programs; dropping it ends that.
struct BpfStats;

const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl BpfStats {
    fn on() -> Result<Self> {
        fs::write(BPF_STATS, "1").with_context(|| format!("writing {BPF_STATS}"))?;
        Ok(Self)
    }
}

impl Drop for BpfStats {
    fn drop(&mut self) {
        // What is left on only costs time.
        drop(fs::write(BPF_STATS, "0"));
    }
}

/// The kernel's accounts at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Account {
    run_ns: u64,
    verified: u64,
    switches: u64,
}

impl Account {
    fn read(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}/fdinfo");
        let entries = fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
        // Several descriptors may name one program.
        let mut programs = BTreeMap::new();
        for entry in entries {
            // A descriptor may be closed meanwhile.
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            if let Some((id, program)) = program_of(&text) {
                programs.insert(id, program);
            }
        }
        if programs.is_empty() {
            bail!("process {pid} holds no struct_ops program");
        }
        let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        let switches = field(&stat, "ctxt").context("/proc/stat has no ctxt")?;
        let sum = |part: fn(&(u64, u64)) -> u64| programs.values().map(part).sum();
        Ok(Self {
            run_ns: sum(|(run_ns, _)| *run_ns),
            verified: sum(|(_, verified)| *verified),
            switches,
        })
    }

    fn us_a_switch(&self, after: &Self) -> f64 {
        let run_ns = after.run_ns.saturating_sub(self.run_ns);
        run_ns as f64 / 1e3 / (after.switches - self.switches).max(1) as f64
    }
}

/// A number after its name: "run_time_ns:\t123" or "ctxt 123".
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once([':', ' ', '\t'])?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

/// A struct_ops program's id, run time and verified instructions, from its descriptor.
fn program_of(text: &str) -> Option<(u64, (u64, u64))> {
    if field(text, "prog_type")? != STRUCT_OPS {
        return None;
    }
    let verified = field(text, "verified_insns").unwrap_or(0);
    Some((
        field(text, "prog_id")?,
        (field(text, "run_time_ns")?, verified),
    ))
}

/// Threads that only sleep; dropping this ends them.
struct Sleepers(Child);

impl Sleepers {
    fn start(count: u32) -> Result<Self> {
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

fn daemon(bench: &mut Bench) -> Result<()> {
    let Some(pid) = bench.running.pid() else {
        bail!("it has no daemon");
    };
    for (count, cpu, memory) in [
        (100, "cpu-100", "memory-100"),
        (10_000, "cpu-10000", "memory-10000"),
    ] {
        let sleepers = Sleepers::start(count)?;
        sleep(bench.seconds(2, 5));
        let window = bench.seconds(5, 15);
        let before = sys::process_cpu_ns(pid).context("reading the daemon's clock")?;
        sleep(window);
        let after = sys::process_cpu_ns(pid).context("reading the daemon's clock")?;
        bench.value(
            cpu,
            3600.0 * (after - before) as f64 / window.as_nanos() as f64,
        );
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let rss_kib = rss_kib(&status).with_context(|| format!("{path} has no VmRSS"))?;
        bench.value(memory, rss_kib / 1024.0);
        drop(sleepers);
    }
    Ok(())
}

fn rss_kib(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod unit {
    use super::{Account, field, program_of, rss_kib};

    #[test]
    fn descriptors_of_programs_are_read() {
        let text = "pos:\t0\nprog_type:\t27\nprog_jited:\t1\nmemlock:\t4096\nprog_id:\t31\n\
                    run_time_ns:\t5000\nrun_cnt:\t10\nverified_insns:\t77\n";
        assert_eq!(program_of(text), Some((31, (5000, 77))));
        assert_eq!(program_of(&text.replace("27", "1")), None);
        assert_eq!(program_of("pos:\t0\n"), None);
        assert_eq!(field("cpu  1 2\nctxt 99\n", "ctxt"), Some(99));
    }

    #[test]
    fn costs_are_spread_over_switches() {
        let account = |run_ns, switches| Account {
            run_ns,
            verified: 0,
            switches,
        };
        let us = account(1000, 10).us_a_switch(&account(21_000, 20));
        assert!((us - 2.0).abs() < 1e-12);
    }

    #[test]
    fn memory_is_read() {
        assert_eq!(rss_kib("VmHWM:\t 9 kB\nVmRSS:\t  2048 kB\n"), Some(2048.0));
    }
}
