// SPDX-License-Identifier: GPL-2.0-only
//! A balanced machine costs no memory: rounds that move nothing allocate nothing.
//! Never measures time.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use scx_ballast::daemon::Daemon;
use scx_ballast::load_balance::{Plan, Planner};
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

#[test]
fn rounds_that_move_nothing_allocate_nothing() {
    let config = config(64, 16, 4);
    let mut kernel = RowKernel::new(2_000, 4, 5, |slot| slot % 16);
    let mut daemon = Daemon::new(&config);
    let (mut planner, mut plan) = (Planner::default(), Plan::default());
    let mut quiet = 0;
    for round in 0..60 {
        if round == 30 {
            kernel.lull(1_500);
        }
        kernel.pass();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let snapshot = daemon
            .begin_round(&mut kernel, &BTreeMap::new())
            .expect("rows never fail");
        planner.plan(&snapshot, daemon.plan_config(), &mut plan);
        let moved = plan.moves.len();
        daemon
            .end_round(&mut kernel, &snapshot, &plan)
            .expect("rows never fail");
        daemon.reuse(snapshot);
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        // The first rounds grow the memory that later ones use.
        if round >= 10 && moved == 0 {
            quiet += 1;
            assert_eq!(allocations, 0, "round {round}");
        }
    }
    assert!(quiet >= 10, "only {quiet} rounds were quiet");
}
