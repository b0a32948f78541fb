// SPDX-License-Identifier: GPL-2.0-only
//! What the daemon needs from the running scheduler, as a trait of plain values.
//! Never decides; implementations are the loaded BPF object and, in tests, a fake.

use anyhow::Result;

use crate::affinity::MaskTable;
use crate::demand::RowSample;
use crate::ids::{CpuId, DomainId, TaskRef};

pub mod exit;
pub mod image;
pub mod preflight;
pub mod request;
pub mod shared;
pub mod skel;
pub mod table;

/// What the tuner has decided, on its way to BPF.
#[derive(Clone, Debug, Default)]
pub struct Beat {
    /// Slice of every task, in ns.
    pub slice_ns: u64,
    /// How much earlier a deadline must be to preempt, in ns of a nice-0 task.
    pub preempt_margin_ns: u64,
    /// Which CPUs may take tasks of other domains; empty: as before.
    pub cpus: Vec<CpuRole>,
}

/// How far one idle CPU may serve other domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuRole {
    /// The CPU.
    pub cpu: CpuId,
    /// Wake-ups of other domains may use it.
    pub direct: bool,
    /// Others may wake it to steal.
    pub kick: bool,
}

/// What one pass over the rows met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Rows in use and read whole.
    pub live: usize,
    /// Rows that changed under the reader at every try: left out this time.
    pub torn: usize,
}

/// A request under way: what was asked, and the word that says so in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whom it is about.
    pub task: TaskRef,
    /// Where the task is to go.
    pub target: DomainId,
    pub(crate) word: u64,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The task has not run since.
    Pending,
    /// The task has begun to run in the domain asked for.
    Applied,
    /// The task may not run there.
    NotAllowed,
    /// The task has ended.
    Gone,
    /// It was taken back before it had an effect.
    Expired,
}

/// Cumulative counts since the scheduler was attached, over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub Vec<u64>);

impl Counters {
    /// The count of `stat`, one of the `ballast_stat_*` of abi.h.
    pub fn get(&self, stat: u32) -> u64 {
        self.0.get(stat as usize).copied().unwrap_or(0)
    }
}

/// The running scheduler as the daemon sees it.
pub trait Kernel {
    /// Hands over the tuner's values, says that the daemon lives, and returns
    /// the scheduler's clock in ns.
    ///
    /// # Errors
    /// The program could not be run.
    fn beat(&mut self, beat: &Beat) -> Result<u64>;

    /// Reads every row in use into `rows`, sums brought up to `now_ns`, and the
    /// sets of CPUs they name into `masks`.
    fn rows(&mut self, now_ns: u64, masks: &mut MaskTable, rows: &mut Vec<RowSample>)
    -> ReadReport;

    /// Asks for `task` to be moved to `target`; None if the task is gone or has
    /// a request already.
    fn request(&mut self, task: TaskRef, target: DomainId) -> Option<Ticket>;

    /// How far a request has come.
    fn outcome(&self, ticket: &Ticket) -> Outcome;

    /// Takes a request back: `Expired`, or how it ended just before.
    fn withdraw(&mut self, ticket: &Ticket) -> Outcome;

    /// Carries out the requests of tasks waiting in `source`'s queue at once;
    /// returns how many were moved.
    ///
    /// # Errors
    /// The program could not be run.
    fn apply_queued(&mut self, source: DomainId) -> Result<u32>;

    /// Makes a running task with a request leave its CPU now.
    ///
    /// # Errors
    /// The program could not be run.
    fn apply_running(&mut self, task: TaskRef) -> Result<()>;

    /// Has `task` charged by this weight (nice 0 = 100) from its next turn on;
    /// None: by its own.
    fn charge(&mut self, task: TaskRef, weight: Option<f64>);

    /// The counters.
    fn counters(&self) -> Counters;

    /// How long `cpu` has idled since the scheduler was attached, up to `now_ns`
    /// of its clock.
    fn idle_ns(&self, cpu: CpuId, now_ns: u64) -> u64;

    /// Whether `cpu` is online.
    fn is_online(&self, cpu: CpuId) -> bool;

    /// Whether the scheduler has left the kernel.
    fn has_exited(&self) -> bool;
}
