// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's record of idle CPUs, and how a CPU is picked from it.
//! Never wakes a CPU: a claimed bit says only that somebody means to.

use std::ops::Range;
use std::rc::Rc;

use super::{Place, TaskId, World};
use crate::bits::CpuBits;
use crate::shim::{SCX_PICK_IDLE_CORE, cpumask};

/// SCX_WAKE_SYNC.
const WAKE_SYNC: u64 = 16;

/// Which CPUs are idle.
pub struct IdleCpus {
    /// In the idle loop, whoever means to wake them.
    pub in_loop: CpuBits,
    /// The kernel's masks of idle CPUs and of wholly idle cores.
    cpus: CpuBits,
    cores: CpuBits,
    /// The first where the scheduler can see it.
    shown: Box<cpumask>,
    /// How many are in it.
    count: u32,
    /// Where the search for one goes on.
    cursor: u32,
    /// The CPUs of each core, by CPU, of each last-level cache and of each node.
    siblings: Vec<Range<u32>>,
    llcs: Vec<CpuBits>,
    nodes: Vec<CpuBits>,
}

impl IdleCpus {
    /// All CPUs of the machine are, and have `smt` of them a core.
    pub fn new(places: &[Place], smt: u32) -> IdleCpus {
        let nr_cpus = places.len() as u32;
        let all = CpuBits::of(nr_cpus, 0..nr_cpus);
        let sets = |of: fn(&Place) -> u32| -> Vec<CpuBits> {
            let count = places.iter().map(of).max().map_or(0, |last| last + 1);
            let mut sets = vec![CpuBits::empty(nr_cpus); count as usize];
            for (cpu, place) in (0u32..).zip(places) {
                sets[of(place) as usize].set(cpu, true);
            }
            sets
        };
        let core = |place: &Place| place.core..place.core + smt;
        IdleCpus {
            in_loop: all.clone(),
            cpus: all.clone(),
            cores: all.clone(),
            shown: Box::new(all.to_mask()),
            count: nr_cpus,
            cursor: super::NONE - 1,
            siblings: places.iter().map(core).collect(),
            llcs: sets(|place| place.llc),
            nodes: sets(|place| place.node),
        }
    }

    /// A CPU enters or leaves the idle loop.
    pub(super) fn set(&mut self, cpu: u32, idle: bool) {
        self.mark(cpu, idle);
        let core = self.siblings[cpu as usize].clone();
        let whole = core.clone().all(|one| self.cpus.has(one));
        core.for_each(|one| self.cores.set(one, whole));
    }

    fn mark(&mut self, cpu: u32, idle: bool) {
        if self.cpus.has(cpu) == idle {
            return;
        }
        self.cpus.set(cpu, idle);
        let word = cpu as usize / 64;
        self.shown.bits[word] = self.cpus.words()[word];
        self.count = self.count.wrapping_add_signed(if idle { 1 } else { -1 });
    }

    /// The mask of idle CPUs; it changes while it is looked at, as the kernel's.
    pub(super) fn shown(&self) -> *const cpumask {
        &raw const *self.shown
    }

    /// Claims an idle CPU: nobody else is given it until it has been idle anew.
    pub(super) fn claim(&mut self, cpu: u32) -> bool {
        let was_idle = self.cpus.has(cpu);
        if was_idle {
            self.mark(cpu, false);
            // As in the kernel, a core with a claimed CPU is no idle core.
            let core = self.siblings[cpu as usize].clone();
            core.for_each(|one| self.cores.set(one, false));
        }
        was_idle
    }

    /// scx_bpf_pick_idle_cpu: of a whole idle core if there is one.
    pub(super) fn pick(&mut self, sets: &[&[u64]], flags: u64) -> Option<u32> {
        let cpu = self.find(sets, flags)?;
        self.cursor = cpu;
        self.claim(cpu);
        Some(cpu)
    }

    fn find(&self, sets: &[&[u64]], flags: u64) -> Option<u32> {
        // A busy machine asks often: answer soon.
        if self.count == 0 {
            return None;
        }
        let with = |idle: &CpuBits| {
            let mut all: [&[u64]; 4] = [idle.words(); 4];
            all[1..=sets.len()].copy_from_slice(sets);
            CpuBits::next_common(&all[..=sets.len()], self.cursor + 1)
        };
        let any = || {
            let only_cores = flags & u64::from(SCX_PICK_IDLE_CORE) != 0;
            (!only_cores).then(|| with(&self.cpus)).flatten()
        };
        with(&self.cores).or_else(any)
    }

    /// The kernel's own idle selection for a task that was on CPU `prev`, at `place`,
    /// among the CPUs in both `sets`.
    fn select(&mut self, prev: u32, place: Place, sets: [&[u64]; 2], flags: u64) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let may_prev = is_in_both(sets, prev);
        if may_prev && self.cores.has(prev) && self.claim(prev) {
            return Some(prev);
        }
        let cores = u64::from(SCX_PICK_IDLE_CORE);
        for wanted in [cores, 0] {
            if wanted == 0 && may_prev && self.claim(prev) {
                return Some(prev);
            }
            let near = [
                &self.llcs[place.llc as usize],
                &self.nodes[place.node as usize],
            ];
            let closest = near
                .iter()
                .find_map(|bits| self.find(&[sets[0], sets[1], bits.words()], wanted));
            if let Some(cpu) = closest.or_else(|| self.find(&sets, wanted)) {
                self.cursor = cpu;
                self.claim(cpu);
                return Some(cpu);
            }
            if flags & cores != 0 {
                break;
            }
        }
        None
    }
}

/// Whether both sets have `cpu`.
fn is_in_both(sets: [&[u64]; 2], cpu: u32) -> bool {
    let has = |set: &[u64]| {
        let word = set.get(cpu as usize / 64);
        word.is_some_and(|word| word >> (cpu % 64) & 1 != 0)
    };
    has(sets[0]) && has(sets[1])
}

impl World {
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
        let sets = [mask, allowed.words()];
        if wake_flags & WAKE_SYNC != 0
            && let Some(cpu) = self.select_sync(prev, sets)
        {
            return Some(cpu);
        }
        let place = self.places[prev as usize];
        self.idle.select(prev, place, sets, flags)
    }

    /// A waker that is about to sleep: prev if it shares the cache and is idle,
    /// else the waker's CPU if its local queue is empty and CPUs are idle.
    fn select_sync(&mut self, prev: u32, sets: [&[u64]; 2]) -> Option<u32> {
        let waker = self.this_cpu;
        let (here, there) = (self.places[waker as usize], self.places[prev as usize]);
        if here.llc == there.llc && is_in_both(sets, prev) && self.idle.claim(prev) {
            return Some(prev);
        }
        let stays = self.idle.count > 0
            && self.cpus[waker as usize].local.is_empty()
            && is_in_both(sets, waker);
        stays.then_some(waker)
    }
}
