// SPDX-License-Identifier: GPL-2.0-only
//! What a scheduler's BPF programs cost: their time, and the verifier's.
//! Never knows a scheduler: the kernel's accounts are read.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fb_procfs::{CpuStat, ProcReader};

use super::Bench;
use super::catalogue::{Better, Clock, FigureSpec, Machines, Target, Work};
use super::throughput::hackbench_loops;
use crate::command;
use crate::load::{Group, Spinners};

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

pub(super) const WORKS: &[Work] = &[Work {
    name: "bpf-cost",
    title: "Time in BPF",
    about: "CPU time in the scheduler's callbacks for each context switch (kernel.bpf_stats_enabled, /proc/stat), while hackbench sends through pipes, and while workers are woken beside a hog a CPU. The kernel takes the time that passes in a callback; as one thread emulates the CPUs in turn, what the others execute meanwhile is in it, so it is divided by the number of CPUs that were busy. Instructions: what the verifier walked to accept them.",
    clock: Clock::Icount,
    machines: Machines::Usual,
    limit_secs: 60,
    figures: &[
        FigureSpec {
            key: "switches",
            title: "context switches, hackbench",
            unit: "",
            better: Better::Neither,
            targets: &[],
        },
        FigureSpec {
            key: "busy",
            title: "CPUs busy, hackbench",
            unit: "",
            better: Better::Neither,
            targets: &[],
        },
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
}];

fn bpf_cost(bench: &mut Bench) -> Result<()> {
    let pid = bench.running.pid();
    let _stats = BpfStats::on()?;
    let loops = hackbench_loops(bench);
    let before = Account::read(pid)?;
    command::run("hackbench", &["-g", "1", "-P", "-p", "-l", loops], PATIENCE)?;
    let after = Account::read(pid)?;
    bench.value("switches", (after.switches - before.switches) as f64);
    bench.value("busy", before.busy_until(&after));
    if pid.is_some() {
        let programs = after.programs.values();
        let verified: u64 = programs.map(|program| program.verified).sum();
        bench.value("verified", verified as f64);
        bench.value("messages", before.us_a_switch(&after));
        before.show(&after);
    }

    let hogs = Spinners::start(&[Group::spinners(bench.machine.cpus.len(), 0)])?;
    let seconds = bench.seconds(3, 8).as_secs().to_string();
    let before = Account::read(pid)?;
    command::run("ballast-load", &["wake", "--seconds", &seconds], PATIENCE)?;
    let after = Account::read(pid)?;
    drop(hogs);
    if pid.is_some() {
        bench.value("wake-ups", before.us_a_switch(&after));
        before.show(&after);
        return Ok(());
    }
    bail!("it has no BPF programs")
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

/// One BPF program's account.
#[derive(Clone, Debug, Default, PartialEq)]
struct Program {
    tag: String,
    run_ns: u64,
    calls: u64,
    verified: u64,
}

/// The kernel's accounts at one instant.
#[derive(Clone, Debug, PartialEq)]
struct Account {
    at: Instant,
    /// The scheduler's callbacks, by id.
    programs: BTreeMap<u64, Program>,
    switches: u64,
    cpus: usize,
    /// Of all CPUs together.
    idle: Duration,
}

impl Account {
    /// Reads the programs of process `pid`, none without one, and the machine's switches.
    fn read(pid: Option<u32>) -> Result<Self> {
        let mut programs = BTreeMap::new();
        if let Some(pid) = pid {
            let folder = format!("/proc/{pid}/fdinfo");
            let entries = fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
            // Several descriptors may name one program.
            for entry in entries {
                // A descriptor may be closed meanwhile.
                let text = fs::read_to_string(entry?.path()).unwrap_or_default();
                programs.extend(program_of(&text));
            }
            if programs.is_empty() {
                bail!("process {pid} holds no struct_ops program");
            }
        }
        let stat = ProcReader::new()
            .read_stat()
            .context("reading /proc/stat")?;
        let idle_us = |cpu: &CpuStat| Some(cpu.idle_usec? + cpu.iowait_usec?);
        let total = stat.total_cpu.as_ref().and_then(idle_us);
        Ok(Self {
            at: Instant::now(),
            programs,
            switches: stat.context_switches.context("/proc/stat has no ctxt")?,
            cpus: stat.cpus_map.context("/proc/stat has no CPUs")?.len(),
            idle: Duration::from_micros(total.context("/proc/stat has no idle time")?),
        })
    }

    /// How many CPUs were busy until `after`, on average. The kernel takes the time of idle
    /// spells, so that ticks an emulated machine loses are not missed here.
    fn busy_until(&self, after: &Self) -> f64 {
        let spent = after.at - self.at;
        let idle = after.idle.saturating_sub(self.idle);
        let busy = after.cpus as f64 - idle.as_secs_f64() / spent.as_secs_f64();
        // It was busy with this.
        busy.max(1.0)
    }

    /// What each program did until `after`: itself, its nanoseconds, its calls.
    fn spent<'a>(&self, after: &'a Self) -> Vec<(&'a Program, u64, u64)> {
        let one = |(id, program): (&u64, &'a Program)| {
            let before = self.programs.get(id).cloned().unwrap_or_default();
            let run_ns = program.run_ns.saturating_sub(before.run_ns);
            (program, run_ns, program.calls.saturating_sub(before.calls))
        };
        after.programs.iter().map(one).collect()
    }

    fn switches_until(&self, after: &Self) -> f64 {
        after.switches.saturating_sub(self.switches).max(1) as f64
    }

    /// CPU time in BPF a switch: the time that passed in callbacks, less that of other CPUs.
    fn us_a_switch(&self, after: &Self) -> f64 {
        let run_ns: u64 = self.spent(after).iter().map(|(_, run_ns, _)| run_ns).sum();
        run_ns as f64 / 1e3 / self.switches_until(after) / self.busy_until(after)
    }

    /// Prints which program took how much, for whoever is to make it less.
    fn show(&self, after: &Self) {
        let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let (switches, busy) = (self.switches_until(after), self.busy_until(after));
        println!("    {busy:.2} CPUs busy");
        for (program, run_ns, calls) in self.spent(after) {
            let (us, calls) = (run_ns as f64 / 1e3 / busy, calls as f64);
            if calls > 0.0 && us / switches >= 0.01 {
                println!(
                    "    {:28} {:5.2} calls a switch, {:6.1} µs a call, {:6.1} µs a switch",
                    name_of(&symbols, &program.tag).unwrap_or(&program.tag),
                    calls / switches,
                    us / calls,
                    us / switches
                );
            }
        }
    }
}

/// A program's name, from the kernel's symbol bpf_prog_<tag>_<name>.
fn name_of<'a>(symbols: &'a str, tag: &str) -> Option<&'a str> {
    let prefix = format!("bpf_prog_{tag}_");
    let (_, rest) = symbols.split_once(&prefix)?;
    rest.split_whitespace().next()
}

/// What comes after a name: "run_time_ns:\t123".
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim())
    })
}

/// A struct_ops program's id and account, from its descriptor.
fn program_of(text: &str) -> Option<(u64, Program)> {
    let number = |name: &str| field(text, name)?.parse::<u64>().ok();
    if number("prog_type")? != STRUCT_OPS {
        return None;
    }
    let program = Program {
        tag: field(text, "prog_tag").unwrap_or_default().to_owned(),
        run_ns: number("run_time_ns")?,
        calls: number("run_cnt")?,
        verified: number("verified_insns").unwrap_or(0),
    };
    Some((number("prog_id")?, program))
}

#[cfg(test)]
mod unit {
    use std::time::{Duration, Instant};

    use super::{Account, Program, name_of, program_of};

    #[test]
    fn descriptors_of_programs_are_read() {
        let text = "pos:\t0\nprog_type:\t27\nprog_jited:\t1\nprog_tag:\tab12\nmemlock:\t4096\n\
                    prog_id:\t31\nrun_time_ns:\t5000\nrun_cnt:\t10\nverified_insns:\t77\n";
        let program = Program {
            tag: "ab12".into(),
            run_ns: 5000,
            calls: 10,
            verified: 77,
        };
        assert_eq!(program_of(text), Some((31, program)));
        assert_eq!(program_of(&text.replace("27", "1")), None);
        assert_eq!(program_of("pos:\t0\n"), None);
        let symbols = "f00 t bpf_prog_cd34_x [bpf]\nf01 t bpf_prog_ab12_my_dispatch\t[bpf]\n";
        assert_eq!(name_of(symbols, "ab12"), Some("my_dispatch"));
        assert_eq!(name_of(symbols, "ef56"), None);
    }

    #[test]
    fn costs_are_spread_over_switches() {
        let start = Instant::now();
        let account = |run_ns, switches, idle_ms| Account {
            at: start + Duration::from_millis(idle_ms),
            cpus: 8,
            idle: 6 * Duration::from_millis(idle_ms),
            programs: [(
                1,
                Program {
                    run_ns,
                    ..Program::default()
                },
            )]
            .into(),
            switches,
        };
        let (before, after) = (account(1000, 10, 0), account(21_000, 20, 10));
        assert!((before.busy_until(&after) - 2.0).abs() < 1e-9);
        assert!((before.us_a_switch(&after) - 1.0).abs() < 1e-9);
    }
}
