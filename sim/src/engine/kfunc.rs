// SPDX-License-Identifier: GPL-2.0-only
//! The kernel functions that the scheduler calls, and where each may be called.
//! Never does what a callback has no right to: the scheduler is ejected instead.

use std::ffi::{CStr, c_char, c_void};

use super::task::{Direct, Where};
use super::wake::DSQ_LOCAL;
use super::{Event, Running, World};
use crate::bits::CpuBits;
use crate::checks::Check;
use crate::shim::{SCX_DSQ_ITER_REV, SCX_KICK_IDLE, cpumask, sim_iter, sim_kernel, task_struct};
use crate::trace::Kind;

impl World {
    /// Hands the scheduler its kernel.
    pub fn connect(&mut self) {
        let table = sim_kernel {
            machine: std::ptr::null_mut(),
            now: Some(now),
            this_cpu: Some(this_cpu),
            current_task: Some(current_task),
            dsq_insert: Some(dsq_insert),
            dsq_insert_vtime: Some(dsq_insert_vtime),
            dsq_move_to_local: Some(dsq_move_to_local),
            dsq_move: Some(dsq_move),
            dsq_nr_queued: Some(dsq_nr_queued),
            dsq_peek: Some(dsq_peek),
            iter_new: Some(iter_new),
            iter_next: Some(iter_next),
            create_dsq: Some(create_dsq),
            kick_cpu: Some(kick_cpu),
            pick_idle_cpu: Some(pick_idle_cpu),
            idle_cpumask: Some(idle_cpumask),
            test_and_clear_cpu_idle: Some(test_and_clear_cpu_idle),
            select_cpu_and: Some(select_cpu_and),
            any_and_distribute: Some(any_and_distribute),
            cpuperf_set: Some(cpuperf_set),
            exit: Some(exit),
            dump: Some(dump),
            allocation_fails: Some(allocation_fails),
            rcu_depth: 0,
            masks_held: 0,
        };
        // SAFETY: the object's own variable, and no callback runs.
        unsafe { self.object.kernel().write(table) };
    }

    fn insert_later(&mut self, p: *mut task_struct, slice: u64, direct: Direct) {
        // SAFETY: the scheduler has the pointer from us, for the callback's time.
        let p = unsafe { &mut *p };
        let task = p.sim_index;
        if self.running != Running::Placing(task) {
            let during = self.running;
            self.eject(format!("dsq_insert of task {task} during {during:?}"));
            return;
        }
        if self.tasks[task as usize].direct.is_some() {
            self.eject(format!("task {task} already direct-dispatched"));
            return;
        }
        if direct.key.is_some() && direct.dsq >> 63 != 0 {
            self.eject(format!(
                "vtime insert into built-in queue {:#x}",
                direct.dsq
            ));
            return;
        }
        p.scx.slice = if slice > 0 { slice } else { p.scx.slice.max(1) };
        if let Some(key) = direct.key {
            p.scx.dsq_vtime = key;
        }
        self.tasks[task as usize].direct = Some(direct);
    }

    /// Whether the callback under way may move tasks between queues.
    fn may_move(&mut self, what: &str) -> bool {
        let may = !matches!(self.running, Running::Placing(_) | Running::Nothing);
        if !may {
            let during = self.running;
            self.eject(format!("{what} during {during:?}"));
        }
        may
    }

    fn move_to_local(&mut self, dsq: u64) -> bool {
        let Running::Dispatching(cpu) = self.running else {
            let during = self.running;
            self.eject(format!("dsq_move_to_local during {during:?}"));
            return false;
        };
        let Some(index) = self.queue_index(dsq) else {
            self.eject(format!(
                "dsq_move_to_local from queue {dsq:#x}, which does not exist"
            ));
            return false;
        };
        let (age, waiting) = (self.queue_age(index), self.queues[index].len());
        match self.consume(cpu, index) {
            Some(task) => {
                self.note(Kind::Take, cpu, task, dsq);
                self.check_steal(cpu, dsq, age, waiting);
                true
            }
            None => false,
        }
    }

    fn move_task(&mut self, it: &sim_iter, p: *mut task_struct, dsq: u64, by_key: bool) -> bool {
        if !self.may_move("dsq_move") {
            return false;
        }
        // SAFETY: the scheduler has the pointer from an iteration of ours.
        let p = unsafe { &mut *p };
        let task = p.sim_index;
        let Where::Shared { queue, order, .. } = self.tasks[task as usize].place else {
            return false;
        };
        if self.queues[queue].id != it.dsq || order > it.newest {
            return false;
        }
        if by_key && dsq >> 63 != 0 {
            self.eject(format!("vtime move into built-in queue {dsq:#x}"));
            return false;
        }
        self.lock_queue(queue);
        let filled = self.queues[queue].filled_since;
        let (age, waiting) = (self.queue_age(queue), self.queues[queue].len());
        self.leave_queue(task);
        if let (Running::Dispatching(cpu), DSQ_LOCAL) = (self.running, dsq) {
            self.queues[queue].taken_at = self.now;
            self.note(Kind::Take, cpu, task, it.dsq);
            self.check_steal(cpu, it.dsq, age, waiting);
        }
        if by_key && it.vtime_set {
            p.scx.dsq_vtime = it.vtime;
        }
        let from = self.this_cpu;
        // The local queue of whoever asks, not of the CPU the task was on.
        let dsq = if dsq == DSQ_LOCAL {
            super::wake::DSQ_LOCAL_ON | u64::from(from)
        } else {
            dsq
        };
        let direct = Direct {
            dsq,
            key: by_key.then_some(p.scx.dsq_vtime),
            flags: 0,
        };
        self.insert(from, task, direct);
        // A new key in the same queue: the queue was not empty for anybody.
        if self.queues[queue].id == dsq {
            self.queues[queue].filled_since = filled;
        }
        true
    }
}

/// The machine that a kfunc was called on.
///
/// # Safety
/// Only for kfuncs: see [`World::call`], which hands the pointer out.
unsafe fn world<'a>(machine: *mut c_void) -> &'a mut World {
    // SAFETY: by the caller's promise the world is borrowed by nobody else now.
    unsafe { &mut *machine.cast::<World>() }
}

/// The words of a mask of the scheduler's.
///
/// # Safety
/// `mask` is a mask, and stays one for the time of the kfunc.
unsafe fn words<'a>(mask: *const cpumask, nr_cpus: usize) -> &'a [u64] {
    // SAFETY: by the caller's promise.
    unsafe { &(&(*mask).bits)[..nr_cpus.div_ceil(64)] }
}

// SAFETY, for all of them: called by the scheduler from within World::call, on the
// world that call has put there, with pointers that the shim's types vouch for.

unsafe extern "C" fn now(machine: *mut c_void) -> u64 {
    let world = unsafe { world(machine) };
    world.clock(world.this_cpu)
}

unsafe extern "C" fn this_cpu(machine: *mut c_void) -> u32 {
    unsafe { world(machine) }.this_cpu
}

unsafe extern "C" fn current_task(machine: *mut c_void) -> *mut task_struct {
    let world = unsafe { world(machine) };
    match world.cpus[world.this_cpu as usize].current {
        Some(task) => world.tasks[task as usize].ptr(),
        None => &raw mut *world.idle_task,
    }
}

unsafe extern "C" fn dsq_insert(
    machine: *mut c_void,
    p: *mut task_struct,
    dsq: u64,
    slice: u64,
    flags: u64,
) {
    let direct = Direct {
        dsq,
        key: None,
        flags,
    };
    unsafe { world(machine) }.insert_later(p, slice, direct);
}

unsafe extern "C" fn dsq_insert_vtime(
    machine: *mut c_void,
    p: *mut task_struct,
    dsq: u64,
    slice: u64,
    vtime: u64,
    flags: u64,
) {
    let direct = Direct {
        dsq,
        key: Some(vtime),
        flags,
    };
    unsafe { world(machine) }.insert_later(p, slice, direct);
}

unsafe extern "C" fn dsq_move_to_local(machine: *mut c_void, dsq: u64, _flags: u64) -> bool {
    unsafe { world(machine) }.move_to_local(dsq)
}

unsafe extern "C" fn dsq_move(
    machine: *mut c_void,
    it: *mut sim_iter,
    p: *mut task_struct,
    dsq: u64,
    _flags: u64,
    by_key: bool,
) -> bool {
    let it = unsafe { &mut *it };
    let moved = unsafe { world(machine) }.move_task(it, p, dsq, by_key);
    it.vtime_set = false;
    moved
}

unsafe extern "C" fn dsq_nr_queued(machine: *mut c_void, dsq: u64) -> i32 {
    let world = unsafe { world(machine) };
    if dsq == DSQ_LOCAL {
        return world.cpus[world.this_cpu as usize].local.len() as i32;
    }
    match world.queue_index(dsq) {
        Some(index) => world.queues[index].len() as i32,
        None => -libc::ENOENT,
    }
}

unsafe extern "C" fn dsq_peek(machine: *mut c_void, dsq: u64) -> *mut task_struct {
    let world = unsafe { world(machine) };
    let first = world
        .queue_index(dsq)
        .and_then(|index| world.queues[index].first());
    first.map_or(std::ptr::null_mut(), |task| {
        world.tasks[task as usize].ptr()
    })
}

unsafe extern "C" fn iter_new(machine: *mut c_void, it: *mut sim_iter, dsq: u64, flags: u64) {
    let (world, it) = unsafe { (world(machine), &mut *it) };
    (it.dsq, it.flags, it.newest) = (dsq, flags, world.order);
}

unsafe extern "C" fn iter_next(machine: *mut c_void, it: *mut sim_iter) -> *mut task_struct {
    let (world, it) = unsafe { (world(machine), &mut *it) };
    let Some(index) = world.queue_index(it.dsq) else {
        return std::ptr::null_mut();
    };
    world.lock_queue(index);
    let from = it.started.then_some((it.key, it.sequence));
    let reverse = it.flags & u64::from(SCX_DSQ_ITER_REV) != 0;
    match world.queues[index].walk(from, reverse, it.newest) {
        Some(((key, order), task)) => {
            (it.key, it.sequence, it.started) = (key, order, true);
            if world.requeue_fault() {
                let from = world.tasks[task as usize].cpu();
                world.meanwhile(|world| world.with_task_out(from, task, |_| ()));
            }
            world.tasks[task as usize].ptr()
        }
        None => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn create_dsq(machine: *mut c_void, dsq: u64, node: i32) -> i32 {
    let world = unsafe { world(machine) };
    if dsq >> 63 != 0 || node < -1 {
        return -libc::EINVAL;
    }
    if world.queue_index(dsq).is_some() {
        return -libc::EEXIST;
    }
    world.add_queue(dsq, false);
    0
}

unsafe extern "C" fn kick_cpu(machine: *mut c_void, cpu: i32, flags: u64) {
    let world = unsafe { world(machine) };
    let Some(cpu) = u32::try_from(cpu)
        .ok()
        .filter(|cpu| (*cpu as usize) < world.cpus.len())
    else {
        world.eject(format!("kick of CPU {cpu}"));
        return;
    };
    world.tally.kicks += 1;
    world.note(Kind::Kick, cpu, super::NONE, flags);
    // The kernel drops an idle kick at once if the CPU is busy by now.
    if flags & u64::from(SCX_KICK_IDLE) != 0 && !world.cpus[cpu as usize].is_idle {
        return;
    }
    if let Some(late) = world.kick_fault() {
        world.after(world.costs.ipi_ns + late, Event::Kick { cpu, flags });
    }
}

unsafe extern "C" fn pick_idle_cpu(machine: *mut c_void, mask: *const cpumask, flags: u64) -> i32 {
    let world = unsafe { world(machine) };
    let mask = unsafe { words(mask, world.cpus.len()) };
    let picked = world.idle.pick(&[mask], flags);
    picked.map_or(-libc::EBUSY, |cpu| cpu as i32)
}

unsafe extern "C" fn idle_cpumask(machine: *mut c_void) -> *const cpumask {
    let world = unsafe { world(machine) };
    world.idle.shown()
}

unsafe extern "C" fn test_and_clear_cpu_idle(machine: *mut c_void, cpu: i32) -> bool {
    let world = unsafe { world(machine) };
    u32::try_from(cpu).is_ok_and(|cpu| world.idle.claim(cpu))
}

unsafe extern "C" fn select_cpu_and(
    machine: *mut c_void,
    p: *mut task_struct,
    prev_cpu: i32,
    wake_flags: u64,
    mask: *const cpumask,
    flags: u64,
) -> i32 {
    let world = unsafe { world(machine) };
    let mask = unsafe { words(mask, world.cpus.len()) };
    let task = unsafe { (*p).sim_index };
    let Ok(prev) = u32::try_from(prev_cpu) else {
        return -libc::EINVAL;
    };
    let chosen = world.select_and(task, prev, wake_flags, mask, flags);
    chosen.map_or(-libc::EBUSY, |cpu| cpu as i32)
}

unsafe extern "C" fn any_and_distribute(
    machine: *mut c_void,
    a: *const cpumask,
    b: *const cpumask,
) -> u32 {
    let world = unsafe { world(machine) };
    let nr_cpus = world.cpus.len();
    let sets = unsafe { [words(a, nr_cpus), words(b, nr_cpus)] };
    match CpuBits::next_common(&sets, world.any_cursor + 1) {
        Some(cpu) => {
            world.any_cursor = cpu;
            cpu
        }
        None => nr_cpus as u32,
    }
}

unsafe extern "C" fn cpuperf_set(machine: *mut c_void, cpu: i32, level: u32) {
    let world = unsafe { world(machine) };
    if level > 1024 || cpu < 0 || cpu as usize >= world.cpus.len() {
        world.eject(format!("cpuperf {level} of CPU {cpu}"));
    }
}

unsafe extern "C" fn exit(machine: *mut c_void, code: i64, message: *const c_char) {
    let world = unsafe { world(machine) };
    let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    world.eject(format!("exit code {code:#x}: {message}"));
}

unsafe extern "C" fn dump(machine: *mut c_void, text: *const c_char) {
    let world = unsafe { world(machine) };
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    world.dump.push_str(&text);
}

unsafe extern "C" fn allocation_fails(machine: *mut c_void) -> bool {
    let world = unsafe { world(machine) };
    world.allocation_fault()
}

impl World {
    /// Check 8: a CPU takes from another node only what has waited there for as
    /// long, and in such numbers, as the flags say.
    fn check_steal(&mut self, cpu: u32, dsq: u64, age_ns: u64, waiting: usize) {
        let Ok(domain) = u32::try_from(dsq) else {
            return;
        };
        let Some(node) = self.checks.domain_node.get(domain as usize).copied() else {
            return;
        };
        let place = self.places[cpu as usize];
        let policy = &self.checks.policy;
        let (bound_ns, least) = if node != place.node {
            (policy.steal_after_numa_ns, policy.greedy_threshold_x_numa)
        } else if domain != place.domain {
            (policy.steal_after_node_ns, policy.greedy_threshold)
        } else {
            return;
        };
        // Clocks of CPUs differ.
        let bound_ns = bound_ns.saturating_sub(2 * self.costs.clock_skew_ns);
        if age_ns < bound_ns || waiting < least as usize {
            let text = format!(
                "CPU {cpu} took from domain {domain} on another {} after {} us with {waiting} waiting",
                if node != place.node { "node" } else { "cache" },
                age_ns / 1000
            );
            self.checks.fail(Check::Crossings, self.now, text);
        }
    }
}
