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

/// Lets the task run alone on one CPU.
fn runs_on(world: &mut World, task: TaskId, cpu: u32, ms: u64) {
    let nr_cpus = world.cpus.len() as u32;
    world.change_mask(0, task, CpuBits::of(nr_cpus, [cpu]));
    run_for(world, ms * MS);
}

#[test]
fn memory_is_on_another_node_once_a_task_has_run_there_for_a_second() {
    let mut world = machine();
    let task = spinner(&mut world, &[0]);
    for (cpu, ms, node) in [
        (0, 3000, 0),
        (2, 900, 0),
        (1, 500, 0),
        (3, 500, 0),
        (2, 200, 1),
        (0, 900, 1),
        (2, 2000, 1),
        (1, 1100, 0),
    ] {
        runs_on(&mut world, task, cpu, ms);
        // What it runs in one go is known when it stops.
        let now = world.now;
        runs_on(&mut world, task, cpu ^ 1, 1);
        assert_eq!(
            memory_node(&world, task),
            Some(node),
            "{ms} ms on {cpu}, at {now}"
        );
    }
}

#[test]
fn time_on_different_other_nodes_does_not_add_up() {
    let mut world = machine_of(3);
    let task = spinner(&mut world, &[0]);
    for (cpu, ms, node) in [
        (0, 10, 0),
        (2, 600, 0),
        (4, 600, 0),
        (2, 600, 0),
        (4, 1100, 2),
    ] {
        runs_on(&mut world, task, cpu, ms);
        runs_on(&mut world, task, cpu ^ 1, 1);
        assert_eq!(memory_node(&world, task), Some(node), "{ms} ms on {cpu}");
    }
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
