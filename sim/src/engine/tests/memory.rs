// SPDX-License-Identifier: GPL-2.0-only
//! Which node a task's memory is taken to be on, and who is taken back to it.
//! Here the shipped scheduler acts, without its daemon.

use super::*;

/// The node of the task's memory, as the scheduler has it.
fn memory_node(world: &World, task: TaskId) -> Option<u32> {
    let context = world.tasks[task as usize].context();
    context
        .expect("it is the scheduler's")
        .memory_node
        .checked_sub(1)
}

/// A spinner born on CPU 0 runs alone on one CPU after another, for so many ms each: which
/// node is its memory on after that?
fn memory_follows(nodes: u32, steps: &[(u32, u64, u32)]) {
    let mut world = machine_of(nodes);
    let task = spinner(&mut world, &[0]);
    for &(cpu, ms, node) in steps {
        // What it ran in one go is known when it stops: it goes on beside.
        for (cpu, ms) in [(cpu, ms), (cpu ^ 1, 1)] {
            let mask = mask_of(&world, &[cpu]);
            world.change_mask(0, task, mask);
            run_for(&mut world, ms * MS);
        }
        let now = world.now;
        assert_eq!(
            memory_node(&world, task),
            Some(node),
            "{ms} ms on {cpu}, until {now}"
        );
    }
}

#[test]
fn memory_is_on_another_node_once_a_task_has_run_there_for_a_second() {
    let steps = [
        (0, 3000, 0),
        (2, 900, 0),
        (1, 500, 0),
        (3, 500, 0),
        (2, 200, 1),
        (0, 900, 1),
        (2, 2000, 1),
        (1, 1100, 0),
    ];
    memory_follows(2, &steps);
}

#[test]
fn time_on_different_other_nodes_does_not_add_up() {
    let steps = [
        (0, 10, 0),
        (2, 600, 0),
        (4, 600, 0),
        (2, 600, 0),
        (4, 1100, 2),
    ];
    memory_follows(3, &steps);
}

/// A task with memory on the second node that waits on the first, behind another at least;
/// the second has a task on each of its CPUs, given with it.
fn visitor(world: &mut World) -> (TaskId, [TaskId; 2]) {
    let everywhere = CpuBits::of(4, 0..4);
    let visitor = spinner(world, &[2]);
    run_for(world, 5 * MS);
    let hosts = [2, 3].map(|cpu| spinner(world, &[cpu]));
    for _ in 0..4 {
        let native = spinner(world, &[0, 1]);
        run_for(world, MS);
        world.change_mask(0, native, everywhere.clone());
    }
    world.change_mask(0, visitor, CpuBits::of(4, [0, 1]));
    run_for(world, 20 * MS);
    world.change_mask(0, visitor, everywhere);
    let comes_later = |world: &World| {
        let queue = &world.queues[world.queue_index(0).expect("a queue")];
        queue.iter().skip(1).any(|task| task == visitor)
    };
    for _ in 0..200 {
        run_for(world, MS);
        if comes_later(world) {
            return (visitor, hosts);
        }
    }
    panic!("it never waited behind another");
}

/// Frees the CPU of the second node's first task: who runs there then?
fn taken_by_the_second_node(world: &mut World, hosts: [TaskId; 2]) -> Option<TaskId> {
    world.change_mask(0, hosts[0], CpuBits::of(4, [3]));
    run_for(world, MS);
    assert!(world.checks.all_kept(), "{:?}", world.checks.failures);
    world.cpus[2].current
}

#[test]
fn a_task_is_taken_back_to_its_node_before_others_are_taken_there() {
    let mut world = machine();
    let (visitor, hosts) = visitor(&mut world);
    assert_eq!(taken_by_the_second_node(&mut world, hosts), Some(visitor));
}

#[test]
fn a_task_that_the_daemon_sent_away_is_not_taken_back() {
    let mut world = machine();
    let (visitor, hosts) = visitor(&mut world);
    let (slot, mut row) = world.row_of(visitor).expect("a row");
    // To domain 0, of the first node.
    row.request = u64::from(row.generation);
    world.object.write_row(slot, row);
    let taken = taken_by_the_second_node(&mut world, hosts);
    assert!(taken.is_some_and(|taken| taken != visitor), "{taken:?}");
}
