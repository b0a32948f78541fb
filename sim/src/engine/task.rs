// SPDX-License-Identifier: GPL-2.0-only
//! A task: what the scheduler sees of it, where it is, what it has had.
//! Never acts: see `sched`, `wake` and `change`.

use std::rc::Rc;

use super::{NONE, Ns, TaskId};
use crate::bits::CpuBits;
use crate::shim::{SCX_TASK_QUEUED, task_ctx, task_struct};

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not born, or ended.
    Dead,
    /// Sleeps.
    Asleep,
    /// A wake-up is on its way to the CPU chosen.
    Waking,
    /// Waits for a CPU.
    Queued,
    /// Has one.
    Running,
}

/// Where a queued task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Where {
    /// In no queue.
    Nowhere,
    /// In the local queue of this CPU.
    Local(u32),
    /// In a shared queue, under this key.
    Shared { queue: usize, key: i64, order: u64 },
}

/// Who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Role {
    /// The daemon's main thread.
    Main,
    /// The daemon's balancer.
    Planner,
    /// One of a group.
    Member { group: u32, nth: u32 },
    /// The child of a forker of this group.
    Child { group: u32 },
}

impl Role {
    /// Its group.
    pub fn group(self) -> Option<u32> {
        match self {
            Role::Member { group, .. } | Role::Child { group } => Some(group),
            Role::Main | Role::Planner => None,
        }
    }
}

/// Where a task is to be inserted once the callback that said so has returned.
#[derive(Clone, Copy, Debug)]
pub struct Direct {
    /// The queue.
    pub dsq: u64,
    /// The key, if the queue is to be in order of keys.
    pub key: Option<u64>,
    /// SCX_ENQ_* given with it.
    pub flags: u64,
}

/// What a task really had, to compare with what the scheduler says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    /// Time in each state since it came under the scheduler, in ns.
    pub run_ns: Ns,
    /// Runnable, without a CPU.
    pub wait_ns: Ns,
    /// Neither.
    pub sleep_ns: Ns,
    /// When the present state began.
    pub since: Ns,
    /// How often the state has changed.
    pub changes: u64,
    /// Longest single wait that ended in the judged time.
    pub longest_wait_ns: Ns,
    /// Work done, in ns of a CPU that has it in its caches.
    pub work_ns: Ns,
    /// What it ran before the scheduler was loaded anew.
    pub carried_ns: Ns,
    /// What of its running and of work_ns was before the steady part.
    pub run_before_ns: Ns,
    /// Likewise.
    pub work_before_ns: Ns,
    /// Bursts of work that were completed in the judged time.
    pub bursts: u64,
}

impl Truth {
    /// All it ever ran, in ns.
    pub fn all_run_ns(&self) -> Ns {
        self.carried_ns + self.run_ns
    }
}

/// A task.
pub struct Task {
    c: *mut task_struct,
    /// Who.
    pub role: Role,
    /// What it does.
    pub state: State,
    /// Where it waits.
    pub place: Where,
    /// Since when it has been there.
    pub placed_at: Ns,
    /// Where it is to be inserted.
    pub direct: Option<Direct>,
    /// The scheduler has placed it since it last ran.
    pub was_placed: bool,
    /// The scheduler knows that it is awake: it was asked where it goes, or saw it run.
    pub is_told: bool,
    /// Its part of the truth.
    pub truth: Truth,
    /// CPUs it may use.
    pub allowed: Rc<CpuBits>,
    /// Which of the world's masks that is; kept while migration is disabled.
    pub mask: usize,
    /// The mask it was born with.
    pub home_mask: usize,
    /// Which of the world's control groups it is in.
    pub cgroup: usize,
    /// Work left until it does something else, in ns.
    pub left_ns: Ns,
    /// The node of its memory, NONE until it first runs.
    pub memory_node: u32,
    /// Last-level cache it last ran in, NONE: none.
    pub warm_llc: u32,
    /// Likewise the CPU it last ran on.
    pub warm_cpu: u32,
    /// Node it last ran on.
    pub warm_node: u32,
    /// Domain it last ran in, NONE: none.
    pub warm_domain: u32,
    /// Counts sleeps, to void timers.
    pub sleep: u32,
    /// Requests that have arrived and are not done.
    pub backlog: u32,
    /// Its last burst is its last.
    pub ends: bool,
    /// When the request in its row was seen first, and the request.
    pub request_seen: (u64, Ns),
}

impl Task {
    /// A task that is not born yet.
    pub fn new(index: TaskId) -> Task {
        let c = task_struct {
            sim_index: index,
            ..Default::default()
        };
        Task {
            c: Box::into_raw(Box::new(c)),
            role: Role::Main,
            state: State::Dead,
            place: Where::Nowhere,
            placed_at: 0,
            direct: None,
            was_placed: false,
            is_told: false,
            truth: Truth::default(),
            allowed: Rc::default(),
            mask: 0,
            home_mask: 0,
            cgroup: 0,
            left_ns: 0,
            memory_node: NONE,
            warm_llc: NONE,
            warm_cpu: NONE,
            warm_node: NONE,
            warm_domain: NONE,
            sleep: 0,
            backlog: 0,
            ends: false,
            request_seen: (0, 0),
        }
    }

    /// As the scheduler sees it; to be handed to it.
    pub fn ptr(&self) -> *mut task_struct {
        self.c
    }

    /// As the scheduler sees it.
    pub fn c(&self) -> &task_struct {
        // SAFETY: allocated in new(), freed in drop(); the scheduler writes it only
        // while one of its callbacks runs.
        unsafe { &*self.c }
    }

    /// The same, to be changed.
    pub fn c_mut(&mut self) -> &mut task_struct {
        // SAFETY: as in c().
        unsafe { &mut *self.c }
    }

    /// Its CPU, or the one it was on last.
    pub fn cpu(&self) -> u32 {
        self.c().sim_cpu as u32
    }

    /// Whether it is runnable, in the kernel's words.
    pub fn is_queued(&self) -> bool {
        self.c().scx.flags & SCX_TASK_QUEUED != 0
    }

    /// Tells the kernel's word for runnable.
    pub fn set_queued(&mut self, queued: bool) {
        if queued {
            self.c_mut().scx.flags |= SCX_TASK_QUEUED;
        } else {
            self.c_mut().scx.flags &= !SCX_TASK_QUEUED;
        }
    }

    /// The scheduler's own notes on it.
    pub fn context(&self) -> Option<task_ctx> {
        let storage: *const task_ctx = self.c().sim_storage.cast();
        // SAFETY: the scheduler's only task storage holds a task_ctx.
        (!storage.is_null()).then(|| unsafe { storage.read() })
    }

    /// The place of its row, if it has one.
    pub fn slot(&self) -> Option<u32> {
        let storage: *const task_ctx = self.c().sim_storage.cast();
        // SAFETY: as in context().
        let slot = (!storage.is_null()).then(|| unsafe { (*storage).slot });
        slot.filter(|&slot| slot != NONE)
    }

    /// The truth, with the present state counted up to `now`.
    pub fn truth_at(&self, now: Ns) -> Truth {
        let mut truth = self.truth;
        let spent = now - truth.since;
        match self.state {
            State::Running => truth.run_ns += spent,
            _ if self.waits() => {
                truth.wait_ns += spent;
                truth.longest_wait_ns = truth.longest_wait_ns.max(spent);
            }
            _ => truth.sleep_ns += spent,
        }
        truth.since = now;
        truth
    }

    /// Whether it waits for a CPU as far as the scheduler can know: from the moment a
    /// place is chosen for it.
    pub fn waits(&self) -> bool {
        self.is_told && matches!(self.state, State::Queued | State::Waking)
    }

    /// Frees the scheduler's notes.
    pub fn free_storage(&mut self) {
        let storage = std::mem::replace(&mut self.c_mut().sim_storage, std::ptr::null_mut());
        // SAFETY: allocated by calloc in shim.h, and nobody else's.
        unsafe { libc::free(storage) };
    }

    /// Whether it may only run where it is.
    pub fn is_fixed(&self) -> bool {
        self.c().nr_cpus_allowed == 1 || self.c().migration_disabled > 0
    }

    /// Whether it may run on `cpu` now.
    pub fn may_use(&self, cpu: u32) -> bool {
        self.allowed.has(cpu) && (self.c().migration_disabled == 0 || self.cpu() == cpu)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.free_storage();
        // SAFETY: made by Box::into_raw in new().
        drop(unsafe { Box::from_raw(self.c) });
    }
}
