// SPDX-License-Identifier: GPL-2.0-only
//! The kernel as the shipped daemon sees it: calls take time, and the machine goes
//! on meanwhile.
//! Never answers for BPF: every answer comes from the compiled scheduler.

use anyhow::{Result, bail};
use scx_ballast::abi::{ballast_apply_args, ballast_beat_args, ballast_prompt_args};
use scx_ballast::affinity::MaskTable;
use scx_ballast::demand::RowSample;
use scx_ballast::ids::{CpuId, DomainId, TaskRef};
use scx_ballast::kernel::shared::SharedMemory;
use scx_ballast::kernel::{Beat, Counters, Kernel, Outcome, ReadReport, Ticket};

use crate::engine::{NONE, Ns, Running, Step, World};
use crate::trace::Kind;

/// What running a SYSCALL program takes, in ns.
const SYSCALL_NS: Ns = 2_000;
/// What reading a row takes, and how many are read before the machine goes on.
const ROW_NS: Ns = 30;
const ROWS_AT_ONCE: u32 = 32;

/// The daemon's kernel, for the time of one step.
pub struct SimKernel<'a> {
    pub world: &'a mut World,
    pub memory: &'a mut SharedMemory,
    /// A copy of the rows read last.
    pub samples: &'a mut Vec<RowSample>,
    pub rows_used: &'a mut u32,
    pub requested: &'a mut u64,
    /// The balancer's thread has finished meanwhile.
    pub planner_done: bool,
}

impl SimKernel<'_> {
    /// The daemon computes for so long; the machine goes on, and may take its CPU
    /// away. False: the run is over.
    pub(super) fn spend(&mut self, ns: Ns) -> bool {
        let main = self.world.main;
        let cpu = self.world.tasks[main as usize].cpu();
        self.world.compute(cpu, main, ns);
        loop {
            match self.world.step() {
                Step::Went => (),
                Step::Main => return true,
                Step::Planner => {
                    let planner = self.world.planner;
                    let cpu = self.world.tasks[planner as usize].cpu();
                    self.world.block(cpu, planner);
                    self.planner_done = true;
                }
                Step::Over => return false,
            }
        }
    }

    /// Runs a SYSCALL program where the daemon is.
    fn run<T>(&mut self, name: &str, args: &mut T) -> Result<()> {
        if !self.spend(SYSCALL_NS) {
            bail!("the run is over");
        }
        let program = self.world.object.program::<T>(name)?;
        let cpu = self.world.tasks[self.world.main as usize].cpu();
        // SAFETY: the program of this name takes these arguments.
        let result = self
            .world
            .call(cpu, Running::Unlocked, |_| unsafe { program(args) });
        if result != 0 {
            bail!("{name} returned {result}");
        }
        Ok(())
    }

    /// What a reader meets when the writer's CPU was stopped half way.
    fn read_torn(
        &mut self,
        slot: u32,
        now_ns: u64,
        masks: &mut MaskTable,
        rows: &mut Vec<RowSample>,
        report: &mut ReadReport,
    ) {
        let whole = self.world.object.row(slot);
        let mut torn = whole;
        torn.run_ns += 1000;
        self.world.object.write_row(slot, torn);
        self.memory.read_row(slot, now_ns, masks, rows, report);
        self.world.object.write_row(slot, whole);
    }
}

impl Kernel for SimKernel<'_> {
    fn beat(&mut self, beat: &Beat) -> Result<u64> {
        let mut args = ballast_beat_args {
            slice_ns: beat.slice_ns,
            preempt_margin_ns: beat.preempt_margin_ns,
            cpu_flags_changed: self.memory.set_roles(&beat.cpus).into(),
            rows_used: 0,
            now_ns: 0,
        };
        self.run("ballast_beat", &mut args)?;
        *self.rows_used = args.rows_used;
        self.world.checks.last_beat = self.world.now;
        self.world.note(Kind::Beat, 0, NONE, beat.slice_ns);
        Ok(args.now_ns)
    }

    fn rows(
        &mut self,
        now_ns: u64,
        masks: &mut MaskTable,
        rows: &mut Vec<RowSample>,
    ) -> ReadReport {
        let mut report = ReadReport::default();
        rows.clear();
        for slot in 0..(*self.rows_used).min(self.memory.nr_rows()) {
            if slot.is_multiple_of(ROWS_AT_ONCE) {
                self.spend(ROW_NS * Ns::from(ROWS_AT_ONCE));
            }
            if self.world.torn_fault() {
                self.read_torn(slot, now_ns, masks, rows, &mut report);
            } else {
                self.memory.read_row(slot, now_ns, masks, rows, &mut report);
            }
        }
        self.samples.clone_from(rows);
        report
    }

    fn request(&mut self, task: TaskRef, target: DomainId) -> Option<Ticket> {
        let ticket = self.memory.request(task, target)?;
        *self.requested += 1;
        let owner = self.world.task_at(task.slot);
        self.world
            .note(Kind::Request, 0, owner, u64::from(target.0));
        Some(ticket)
    }

    fn outcome(&self, ticket: &Ticket) -> Outcome {
        self.memory.outcome(ticket)
    }

    fn withdraw(&mut self, ticket: &Ticket) -> Outcome {
        self.memory.withdraw(ticket)
    }

    fn apply_queued(&mut self, source: DomainId) -> Result<u32> {
        let mut args = ballast_apply_args {
            domain: source.0,
            moved: 0,
        };
        self.run("ballast_apply_queued", &mut args)?;
        Ok(args.moved)
    }

    fn apply_running(&mut self, task: TaskRef) -> Result<()> {
        if !self.memory.is_running(task.slot) {
            return Ok(());
        }
        let mut args = ballast_prompt_args { slot: task.slot };
        self.run("ballast_apply_running", &mut args)
    }

    fn charge(&mut self, task: TaskRef, weight: Option<f64>) {
        self.memory.charge(task, weight);
    }

    fn counters(&self) -> Counters {
        self.memory.counters()
    }

    fn idle_ns(&self, cpu: CpuId, now_ns: u64) -> u64 {
        self.memory.idle_ns(cpu, now_ns)
    }

    fn is_online(&self, cpu: CpuId) -> bool {
        self.memory.is_online(cpu)
    }

    fn has_exited(&self) -> bool {
        self.world.ejected.is_some()
    }
}
