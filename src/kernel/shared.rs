// SPDX-License-Identifier: GPL-2.0-only
//! The daemon's side of the memory shared with BPF: rows, requests, roles of CPUs.
//! Never runs a BPF program: that is for whoever has loaded them.

use std::sync::atomic::Ordering;

use anyhow::Result;

use super::image::node_index;
use super::request;
use super::table::{RowRead, Table, is_kworker, read_row};
use super::{Counters, CpuRole, Outcome, ReadReport, Ticket};
use crate::abi::{self, ballast_cpu, ballast_row};
use crate::affinity::MaskTable;
use crate::config::Config;
use crate::demand::RowSample;
use crate::domains::Layout;
use crate::ids::{CpuId, DomainId, TaskRef};
use crate::weight::weight_to_kernel;

/// What a CPU may do for other domains.
const ROLES: u32 =
    abi::ballast_cpu_flags_BALLAST_CPU_DIRECT | abi::ballast_cpu_flags_BALLAST_CPU_KICK;

/// The three maps that both sides write, and what the daemon does with them.
pub struct SharedMemory {
    rows: Table<ballast_row>,
    row_masks: Table<u64>,
    cpus: Table<ballast_cpu>,
    /// One row's set of CPUs while it is read.
    mask_words: Vec<u64>,
    sequence: u16,
    without_kworkers: bool,
    daemon_tgid: u32,
}

impl SharedMemory {
    /// The maps `rows`, `row_masks` and `cpus`, sized for `config`, and the
    /// daemon's process, whose tasks are never balanced.
    pub fn new(
        config: &Config,
        daemon_tgid: u32,
        rows: Table<ballast_row>,
        row_masks: Table<u64>,
        cpus: Table<ballast_cpu>,
    ) -> SharedMemory {
        SharedMemory {
            rows,
            row_masks,
            cpus,
            mask_words: vec![0; super::image::mask_words(&config.layout)],
            sequence: 0,
            without_kworkers: config.balanced_kworkers,
            daemon_tgid,
        }
    }

    /// Tells BPF where every CPU belongs, and which are online now.
    ///
    /// # Errors
    /// A domain on a node that the layout does not hold.
    pub fn place_cpus(
        &mut self,
        layout: &Layout,
        roles: u32,
        is_online: impl Fn(CpuId) -> bool,
    ) -> Result<()> {
        for index in 0..self.cpus.len() {
            let mut cpu = self.cpus.read(index);
            cpu.domain = abi::ballast_limits_BALLAST_NONE;
            cpu.node = abi::ballast_limits_BALLAST_NONE;
            self.cpus.write(index, cpu);
        }
        for (cpu_id, domain) in &layout.cpu_domain {
            let mut cpu = self.cpus.read(cpu_id.index());
            cpu.domain = domain.0;
            cpu.node = node_index(layout, *domain)?;
            cpu.flags = roles;
            if is_online(*cpu_id) {
                cpu.flags |= abi::ballast_cpu_flags_BALLAST_CPU_ONLINE;
            }
            self.cpus.write(cpu_id.index(), cpu);
        }
        Ok(())
    }

    /// Gives CPUs their roles; whether one has changed.
    pub fn set_roles(&self, roles: &[CpuRole]) -> bool {
        let mut changed = false;
        for role in roles {
            let flags = self.cpus.flags(role.cpu.index());
            let old = flags.load(Ordering::SeqCst);
            let mut new = old & !ROLES;
            if role.direct {
                new |= abi::ballast_cpu_flags_BALLAST_CPU_DIRECT;
            }
            if role.kick {
                new |= abi::ballast_cpu_flags_BALLAST_CPU_KICK;
            }
            if new != old {
                changed = true;
                // Lost to a hotplug: the next beat does it.
                let _ = flags.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
        changed
    }

    /// How many rows there are.
    pub fn nr_rows(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Reads the row at `slot`, its sums brought up to `now_ns`, into `rows` if it
    /// is in use, and counts it in `report`.
    pub fn read_row(
        &mut self,
        slot: u32,
        now_ns: u64,
        masks: &mut MaskTable,
        rows: &mut Vec<RowSample>,
        report: &mut ReadReport,
    ) {
        let words = &mut self.mask_words;
        let mask = || {
            let first = slot as usize * words.len();
            for (index, word) in (first..).zip(words.iter_mut()) {
                *word = self.row_masks.read(index);
            }
            masks.intern(words)
        };
        let read = || self.rows.copy(slot);
        let generation = || self.rows.generation(slot);
        match read_row(slot, now_ns, read, generation, mask) {
            RowRead::Free => (),
            RowRead::Torn => report.torn += 1,
            RowRead::Whole(mut sample, flags) => {
                report.live += 1;
                let exempt = self.without_kworkers && is_kworker(flags);
                // The daemon goes ahead of the load anyway, wherever it is.
                if exempt || sample.tgid == self.daemon_tgid {
                    sample.pinned = true;
                }
                rows.push(sample);
            }
        }
    }

    /// Asks for a move, see [`super::Kernel::request`].
    pub fn request(&mut self, task: TaskRef, target: DomainId) -> Option<Ticket> {
        self.sequence = self.sequence.wrapping_add(1);
        let ticket = request::ticket(task, target, self.sequence);
        let row = self.rows.shared(task.slot);
        if row.generation.load(Ordering::SeqCst) != task.generation {
            return None;
        }
        row.request
            .compare_exchange(0, ticket.word, Ordering::SeqCst, Ordering::SeqCst)
            .ok()
            .map(|_| ticket)
    }

    /// How far a request has come.
    pub fn outcome(&self, ticket: &Ticket) -> Outcome {
        let row = self.rows.shared(ticket.task.slot);
        request::outcome(
            ticket,
            row.generation.load(Ordering::SeqCst),
            row.answer.load(Ordering::SeqCst),
        )
    }

    /// Takes a request back, see [`super::Kernel::withdraw`].
    pub fn withdraw(&mut self, ticket: &Ticket) -> Outcome {
        let row = self.rows.shared(ticket.task.slot);
        match row
            .request
            .compare_exchange(ticket.word, 0, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => Outcome::Expired,
            Err(_) => self.outcome(ticket),
        }
    }

    /// Whether the task of the row at `slot` runs.
    pub fn is_running(&self, slot: u32) -> bool {
        self.rows.is_running(slot)
    }

    /// Has a task charged by another weight, see [`super::Kernel::charge`].
    pub fn charge(&mut self, task: TaskRef, weight: Option<f64>) {
        let weight = weight.map_or(0, weight_to_kernel);
        let word = u64::from(task.generation) << 32 | u64::from(weight);
        // With another task in the row by now, the generation voids it.
        self.rows
            .shared(task.slot)
            .charged
            .store(if weight == 0 { 0 } else { word }, Ordering::SeqCst);
    }

    /// The counters of all CPUs together.
    pub fn counters(&self) -> Counters {
        let mut totals = vec![0u64; abi::ballast_stat_BALLAST_NR_STATS as usize];
        for index in 0..self.cpus.len() {
            for (total, count) in totals.iter_mut().zip(self.cpus.read(index).stats) {
                *total += count;
            }
        }
        Counters(totals)
    }

    /// How long `cpu` has idled, see [`super::Kernel::idle_ns`].
    pub fn idle_ns(&self, cpu: CpuId, now_ns: u64) -> u64 {
        let (idle_ns, since_ns) = self.cpus.idle(cpu.index());
        let present_ns = match since_ns {
            0 => 0,
            since_ns => now_ns.saturating_sub(since_ns),
        };
        idle_ns + present_ns
    }

    /// Whether `cpu` is online, as far as BPF has been told.
    pub fn is_online(&self, cpu: CpuId) -> bool {
        let flags = self.cpus.flags(cpu.index()).load(Ordering::SeqCst);
        flags & abi::ballast_cpu_flags_BALLAST_CPU_ONLINE != 0
    }
}
