// SPDX-License-Identifier: GPL-2.0-only
//! A kernel made of nothing but rows, as large as wished, for what needs the
//! daemon's real path at the size of a server.
//! Never schedules: tasks run what they were told to want.

use anyhow::Result;
use scx_ballast::abi::{self, ballast_row};
use scx_ballast::affinity::MaskTable;
use scx_ballast::cli::{Parsed, parse_from};
use scx_ballast::config::Config;
use scx_ballast::demand::RowSample;
use scx_ballast::domains::Layout;
use scx_ballast::ids::{CpuId, DomainId, MaskId, TaskRef};
use scx_ballast::kernel::table::{RowRead, copy_row, read_row};
use scx_ballast::kernel::{Beat, Counters, Kernel, Outcome, ReadReport, Ticket, request};
use scx_ballast::topology::Machine;
use scx_ballast::weight::{weight_of_nice, weight_to_kernel};

/// Nanoseconds between two rounds.
pub const ROUND_NS: u64 = 1_000_000_000;

/// Rows, and what each task wants of every second.
pub struct RowKernel {
    pub rows: Vec<ballast_row>,
    /// Run and wait of each second, in ns; it sleeps the rest. None: it sleeps
    /// all the time, so that its row does not change.
    seconds: Vec<Option<(u64, u64)>>,
    /// One mask a row; empty: anywhere.
    masks: Vec<Vec<u64>>,
    now_ns: u64,
    sequence: u16,
}

/// The settings of a scheduler with default flags on `cpus` CPUs.
pub fn config(cpus: u32, domains: u32, nodes: u32) -> Config {
    let Ok(Parsed::Run(cli)) = parse_from(["scx_ballast"]) else {
        panic!("the defaults are good");
    };
    let machine = Machine::read(std::path::Path::new("/")).expect("a readable machine");
    let mut config = Config::from_cli(&cli, &machine).expect("defaults fit every machine");
    config.layout = Layout::synthetic(cpus, domains, nodes);
    config
}

impl RowKernel {
    /// `count` tasks of mixed weight and demand over `domains` domains of
    /// `cpus_each` CPUs, one in `confined_part` confined to its own domain (0:
    /// none). `place` says which domain a task is in.
    pub fn new(
        count: u32,
        cpus_each: u32,
        confined_part: u32,
        mut place: impl FnMut(u32) -> u32,
    ) -> RowKernel {
        let mut kernel = RowKernel {
            rows: Vec::new(),
            seconds: Vec::new(),
            masks: Vec::new(),
            now_ns: 1,
            sequence: 0,
        };
        for slot in 0..count {
            let domain = place(slot);
            let confined = confined_part > 0 && slot.is_multiple_of(confined_part);
            // SAFETY: the struct holds integers only.
            let mut row: ballast_row = unsafe { std::mem::zeroed() };
            row.generation = 1;
            (row.pid, row.tgid) = (slot + 1, slot / 16 + 1);
            row.weight = weight_to_kernel(weight_of_nice((slot * 7 % 11) as i32 - 5));
            (row.domain, row.born_ns) = (domain, 1);
            row.since_state = 1 << abi::ballast_state_BALLAST_STATE_BITS;
            if !confined {
                row.flags = abi::ballast_row_flags_BALLAST_ROW_ANYWHERE;
            }
            kernel.rows.push(row);
            // Half of them spin; of a second they get what is left by the others.
            let run_ns = u64::from(slot * 31 % 97 + 1) * ROUND_NS / 400;
            let wait_ns = if slot.is_multiple_of(2) {
                ROUND_NS - run_ns
            } else {
                u64::from(slot % 3) * ROUND_NS / 10
            };
            kernel.seconds.push(Some((run_ns, wait_ns)));
            kernel.masks.push(if confined {
                words(domain * cpus_each..(domain + 1) * cpus_each)
            } else {
                Vec::new()
            });
        }
        kernel
    }

    /// Lets all but the first `awake` tasks sleep from now on.
    pub fn lull(&mut self, awake: usize) {
        let tasks = self.rows.iter_mut().zip(&mut self.seconds);
        for (row, second) in tasks.skip(awake) {
            row.since_state |= u64::from(abi::ballast_state_BALLAST_SLEEP);
            *second = None;
        }
    }

    /// One second passes.
    pub fn pass(&mut self) {
        self.now_ns += ROUND_NS;
        for (row, second) in self.rows.iter_mut().zip(&self.seconds) {
            let Some((run_ns, wait_ns)) = *second else {
                continue;
            };
            row.run_ns += run_ns;
            row.wait_ns += wait_ns;
            row.sleep_ns += ROUND_NS - run_ns - wait_ns;
            row.since_state = self.now_ns << abi::ballast_state_BALLAST_STATE_BITS;
        }
    }

    /// Puts a task where a plan wants it.
    pub fn put(&mut self, task: TaskRef, domain: DomainId) {
        self.rows[task.slot as usize].domain = domain.0;
    }
}

fn words(cpus: std::ops::Range<u32>) -> Vec<u64> {
    let mut words = vec![0; cpus.end.div_ceil(64) as usize];
    for cpu in cpus {
        words[cpu as usize / 64] |= 1 << (cpu % 64);
    }
    words
}

impl Kernel for RowKernel {
    fn beat(&mut self, _: &Beat) -> Result<u64> {
        Ok(self.now_ns)
    }

    fn rows(
        &mut self,
        now_ns: u64,
        masks: &mut MaskTable,
        rows: &mut Vec<RowSample>,
    ) -> ReadReport {
        rows.clear();
        for slot in 0..self.rows.len() {
            let mask = || -> MaskId { masks.intern(&self.masks[slot]) };
            let row = &raw const self.rows[slot];
            // SAFETY: a live row, read as the daemon reads those that others write.
            let read = || unsafe { copy_row(row) };
            let generation = || self.rows[slot].generation;
            if let RowRead::Whole(sample, _) = read_row(slot as u32, now_ns, read, generation, mask)
            {
                rows.push(sample);
            }
        }
        ReadReport {
            live: rows.len(),
            torn: 0,
        }
    }

    fn request(&mut self, task: TaskRef, target: DomainId) -> Option<Ticket> {
        self.sequence = self.sequence.wrapping_add(1);
        self.put(task, target);
        Some(request::ticket(task, target, self.sequence))
    }

    fn outcome(&self, _: &Ticket) -> Outcome {
        Outcome::Applied
    }

    fn withdraw(&mut self, _: &Ticket) -> Outcome {
        Outcome::Applied
    }

    fn apply_queued(&mut self, _: DomainId) -> Result<u32> {
        Ok(0)
    }

    fn apply_running(&mut self, _: TaskRef) -> Result<()> {
        Ok(())
    }

    fn charge(&mut self, task: TaskRef, weight: Option<f64>) {
        let weight = weight.map_or(0, weight_to_kernel);
        self.rows[task.slot as usize].charged =
            u64::from(task.generation) << 32 | u64::from(weight);
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }

    fn idle_ns(&self, _: CpuId, _: u64) -> u64 {
        0
    }

    fn is_online(&self, _: CpuId) -> bool {
        true
    }

    fn has_exited(&self) -> bool {
        false
    }
}
