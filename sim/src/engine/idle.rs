// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's record of idle CPUs, and how a CPU is picked from it.
//! Never wakes a CPU: a claimed bit says only that somebody means to.

use std::rc::Rc;

use super::{TaskId, World};
use crate::bits::CpuBits;
use crate::shim::{SCX_PICK_IDLE_CORE, cpumask};

/// SCX_WAKE_SYNC.
const WAKE_SYNC: u64 = 16;

/// The CPUs of each last-level cache and of each node.
#[derive(Default)]
pub struct Near {
    /// By cache.
    pub llcs: Vec<CpuBits>,
    /// By node.
    pub nodes: Vec<CpuBits>,
}

impl World {
    /// A CPU enters or leaves the idle loop.
    pub(super) fn set_idle_bit(&mut self, cpu: u32, idle: bool) {
        if self.idle.has(cpu) != idle {
            self.idle.set(cpu, idle);
            self.nr_idle = self.nr_idle.wrapping_add_signed(if idle { 1 } else { -1 });
        }
        self.note_core(cpu);
    }

    /// The mask of idle CPUs, where the scheduler can see it.
    pub(super) fn shown_idle(&mut self) -> *const cpumask {
        let words = self.idle.words();
        self.shown_idle.bits[..words.len()].copy_from_slice(words);
        &raw const *self.shown_idle
    }

    fn note_core(&mut self, cpu: u32) {
        let first = self.places[cpu as usize].core;
        let core = first..first + self.smt;
        let whole = core.clone().all(|one| self.idle.has(one));
        core.for_each(|one| self.idle_cores.set(one, whole));
    }

    /// Claims an idle CPU: nobody else is given it until it has been idle anew.
    pub(super) fn claim_idle(&mut self, cpu: u32) -> bool {
        let was_idle = self.idle.has(cpu);
        if was_idle {
            self.idle.set(cpu, false);
            self.nr_idle -= 1;
            // As in the kernel, a core with a claimed CPU is no idle core.
            let first = self.places[cpu as usize].core;
            (first..first + self.smt).for_each(|one| self.idle_cores.set(one, false));
        }
        was_idle
    }

    /// scx_bpf_pick_idle_cpu: of a whole idle core if there is one.
    pub(super) fn pick_idle(&mut self, sets: &[&[u64]], flags: u64) -> Option<u32> {
        // A busy machine asks often: answer soon.
        if self.nr_idle == 0 {
            return None;
        }
        let from = self.idle_cursor + 1;
        let with = |idle: &CpuBits| {
            let mut all: [&[u64]; 4] = [idle.words(); 4];
            all[1..=sets.len()].copy_from_slice(sets);
            CpuBits::next_common(&all[..=sets.len()], from)
        };
        let whole = with(&self.idle_cores);
        let any = || {
            let only_cores = flags & u64::from(SCX_PICK_IDLE_CORE) != 0;
            (!only_cores).then(|| with(&self.idle)).flatten()
        };
        let cpu = whole.or_else(any)?;
        self.idle_cursor = cpu;
        self.claim_idle(cpu);
        Some(cpu)
    }

    /// scx_bpf_select_cpu_and: the kernel's own idle selection, in `mask` and
    /// among the CPUs that the task may use.
    pub(super) fn select_and(
        &mut self,
        task: TaskId,
        prev: u32,
        wake_flags: u64,
        mask: &[u64],
        flags: u64,
    ) -> Option<u32> {
        let allowed = Rc::clone(&self.tasks[task as usize].allowed);
        // Lent out, so that the rest of the world can be changed meanwhile.
        let near = std::mem::take(&mut self.near);
        let chosen = self.select_among(prev, wake_flags, [mask, allowed.words()], flags, &near);
        self.near = near;
        chosen
    }

    fn select_among(
        &mut self,
        prev: u32,
        wake_flags: u64,
        sets: [&[u64]; 2],
        flags: u64,
        near: &Near,
    ) -> Option<u32> {
        let may = |cpu: u32| {
            let has = |set: &[u64]| {
                let word = set.get(cpu as usize / 64);
                word.is_some_and(|word| word >> (cpu % 64) & 1 != 0)
            };
            has(sets[0]) && has(sets[1])
        };
        if wake_flags & WAKE_SYNC != 0
            && let Some(cpu) = self.select_sync(prev, &may)
        {
            return Some(cpu);
        }
        if self.nr_idle == 0 {
            return None;
        }
        if may(prev) && self.idle_cores.has(prev) && self.claim_idle(prev) {
            return Some(prev);
        }
        let place = self.places[prev as usize];
        let near = [
            near.llcs[place.llc as usize].words(),
            near.nodes[place.node as usize].words(),
        ];
        let cores = u64::from(SCX_PICK_IDLE_CORE);
        for wanted in [cores, 0] {
            if wanted == 0 && may(prev) && self.claim_idle(prev) {
                return Some(prev);
            }
            let closest = near
                .iter()
                .find_map(|bits| self.pick_idle(&[sets[0], sets[1], bits], wanted));
            if let Some(cpu) = closest.or_else(|| self.pick_idle(&sets, wanted)) {
                return Some(cpu);
            }
            if flags & cores != 0 {
                break;
            }
        }
        None
    }

    /// A waker that is about to sleep: prev if it shares the cache and is idle,
    /// else the waker's CPU if its local queue is empty and CPUs are idle.
    fn select_sync(&mut self, prev: u32, may: &impl Fn(u32) -> bool) -> Option<u32> {
        let waker = self.this_cpu;
        let (here, there) = (self.places[waker as usize], self.places[prev as usize]);
        if here.llc == there.llc && may(prev) && self.claim_idle(prev) {
            return Some(prev);
        }
        let stays = self.nr_idle > 0 && self.cpus[waker as usize].local.is_empty() && may(waker);
        stays.then_some(waker)
    }
}
