// SPDX-License-Identifier: GPL-2.0-only
//! A balanced machine costs no memory: outside the planner, rounds that move
//! nothing allocate nothing.
//! Never measures time.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use scx_ballast::daemon::Daemon;
use scx_ballast::entitlement::{CpuCapacity, Entitlements, Problem, Solver, TaskClaim};
use scx_ballast::load_balance::{Snapshot, plan};
use support::{RowKernel, config};

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: likewise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted<T>(sum: &mut usize, run: impl FnOnce() -> T) -> T {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let result = run();
    *sum += ALLOCATIONS.load(Ordering::Relaxed) - before;
    result
}

#[test]
fn rounds_that_move_nothing_allocate_nothing_outside_the_planner() {
    let config = config(64, 16, 4);
    let mut kernel = RowKernel::new(2_000, 4, 5, |slot| slot % 16);
    let mut daemon = Daemon::new(&config);
    let (mut solver, mut owed) = (Solver::default(), Entitlements::default());
    let shares = BTreeMap::new();
    let mut quiet = 0;
    for round in 0..60 {
        kernel.pass();
        let mut allocations = 0;
        let begun = counted(&mut allocations, || {
            daemon.begin_round(&mut kernel, &shares)
        });
        let snapshot = begun.expect("rows never fail");
        let (cpus, tasks) = problem(&snapshot);
        let problem = Problem {
            cpus: &cpus,
            masks: &snapshot.masks,
            groups: &snapshot.groups,
            tasks: &tasks,
        };
        counted(&mut allocations, || solver.solve(&problem, &mut owed));
        let plan = plan(&snapshot, daemon.plan_config());
        let ended = counted(&mut allocations, || {
            daemon.end_round(&mut kernel, &snapshot, &plan)
        });
        ended.expect("rows never fail");
        daemon.reuse(snapshot);
        // The first rounds grow the memory that later ones use.
        if round >= 10 && plan.moves.is_empty() {
            quiet += 1;
            assert_eq!(allocations, 0, "round {round}");
        }
    }
    assert!(quiet >= 10, "only {quiet} rounds were quiet");
}

/// The entitlement problem of a snapshot.
fn problem(snapshot: &Snapshot) -> (Vec<CpuCapacity>, Vec<TaskClaim>) {
    let domains = snapshot.domains.iter();
    let cpus = domains.flat_map(|domain| {
        let capacity = domain.capacity / domain.cpus.len() as f64;
        let cpus = domain.cpus.iter();
        cpus.map(move |&cpu| CpuCapacity { cpu, capacity })
    });
    let tasks = snapshot.tasks.iter().map(|task| TaskClaim {
        weight: task.weight,
        demand: task.demand,
        mask: task.mask,
        group: task.group,
    });
    (cpus.collect(), tasks.collect())
}
