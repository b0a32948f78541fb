// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's contract, a test a rule: what kfuncs refuse, in which order
//! callbacks come, what is asynchronous. The tests act as the scheduler.
//! Never needs the daemon.

mod memory;

use super::change::Birth;
use super::cpu::Power;
use super::task::{Role, State, Where};
use super::*;
use crate::object::Object;
use crate::scenario::{Scenario, parse};
use crate::shim::{SCX_KICK_IDLE, SCX_KICK_PREEMPT, cpumask, sim_kernel};

const LOCAL: u64 = crate::shim::SCX_DSQ_LOCAL as u64;
const MS: Ns = 1_000_000;

/// Two nodes of two CPUs with the shipped scheduler loaded, no tasks, no daemon.
fn machine() -> World {
    machine_of(2)
}

/// The same with so many nodes.
fn machine_of(nodes: u32) -> World {
    let text = format!(
        "name = 'contract'\nseconds = 60\n[topology]\nnodes = {nodes}\ncores_per_llc = 2\n\
         [[cgroups]]\npath = '/a'\nweight = 100\n[checks]\noff = ['heartbeat']\n"
    );
    let scenario: Scenario = parse(&text).expect("good");
    let config = crate::run::config(&[], &scenario.topology).expect("good");
    let (object, _) = Object::load(&config, None).expect("loads");
    let mut world = World::new(
        &scenario,
        &config,
        object,
        1,
        crate::trace::Trace::new(scenario.topology.nr_cpus() as usize, None),
    );
    assert!(world.load());
    world
}

fn mask_of(world: &World, cpus: &[u32]) -> CpuBits {
    CpuBits::of(world.cpus.len() as u32, cpus.iter().copied())
}

/// A spinner that may use `cpus`, not woken yet.
fn born(world: &mut World, cpus: &[u32]) -> TaskId {
    let role = Role::Member { group: 0, nth: 0 };
    if world.groups.is_empty() {
        let text = "name='g'\nwork={kind='spin'}";
        world.groups = vec![toml::from_str(text).expect("a group")];
    }
    let birth = Birth {
        role,
        allowed: mask_of(world, cpus),
        cpu: cpus[0],
        nice: 0,
        cgroup: 0,
        tgid: 0,
        kthread: false,
        memory_node: NONE,
    };
    let task = world.create_task(birth).expect("memory");
    world.tasks[task as usize].left_ns = Ns::MAX / 1024;
    task
}

fn spinner(world: &mut World, cpus: &[u32]) -> TaskId {
    let task = born(world, cpus);
    world.start_task(task, cpus[0]);
    task
}

fn run_for(world: &mut World, ns: Ns) {
    let until = world.now + ns;
    while world.calendar.next_at().is_some_and(|at| at <= until) {
        assert_ne!(world.step(), Step::Over, "{:?}", world.checks.failures);
    }
    world.now = until;
}

/// Acts as a callback of the scheduler.
fn acts(world: &mut World, running: Running, act: impl FnOnce(&sim_kernel)) {
    let kernel = world.object.kernel();
    // SAFETY: the object's own table, which nobody writes now.
    world.call(0, running, |_| act(unsafe { &*kernel }));
}

fn ejected(world: &World, why: &str) -> bool {
    world
        .ejected
        .as_ref()
        .is_some_and(|reason| reason.contains(why))
}

#[test]
fn a_task_is_dispatched_once() {
    let mut world = machine();
    let task = born(&mut world, &[0, 1]);
    let p = world.tasks[task as usize].ptr();
    acts(&mut world, Running::Placing(task), |kernel| {
        let insert = kernel.dsq_insert.expect("there");
        // SAFETY: a live task.
        unsafe {
            insert(kernel.machine, p, LOCAL, 1, 0);
            insert(kernel.machine, p, LOCAL, 1, 0);
        }
    });
    assert!(ejected(&world, "already direct-dispatched"));
}

#[test]
fn builtin_queues_take_no_keys() {
    let mut world = machine();
    let task = born(&mut world, &[0, 1]);
    let p = world.tasks[task as usize].ptr();
    acts(&mut world, Running::Placing(task), |kernel| {
        // SAFETY: a live task.
        unsafe { kernel.dsq_insert_vtime.expect("there")(kernel.machine, p, LOCAL, 1, 5, 0) }
    });
    assert!(ejected(&world, "vtime insert"));
}

#[test]
fn only_the_task_being_placed_can_be_inserted() {
    let mut world = machine();
    let (task, other) = (born(&mut world, &[0]), born(&mut world, &[0]));
    let p = world.tasks[other as usize].ptr();
    acts(&mut world, Running::Placing(task), |kernel| {
        // SAFETY: a live task.
        unsafe { kernel.dsq_insert.expect("there")(kernel.machine, p, LOCAL, 1, 0) }
    });
    assert!(ejected(&world, "dsq_insert of task"));
}

#[test]
fn a_direct_dispatch_waits_for_the_callback_to_return() {
    let mut world = machine();
    let task = born(&mut world, &[0]);
    let p = world.tasks[task as usize].ptr();
    acts(&mut world, Running::Placing(task), |kernel| {
        // SAFETY: a live task, and a queue that exists.
        let queued = unsafe {
            kernel.dsq_insert_vtime.expect("there")(kernel.machine, p, 0, 1, 5, 0);
            kernel.dsq_nr_queued.expect("there")(kernel.machine, 0)
        };
        assert_eq!(queued, 0);
    });
    let direct = world.tasks[task as usize].direct.take().expect("noted");
    world.insert(0, task, direct);
    assert_eq!(world.queues[world.queue_index(0).expect("there")].len(), 1);
}

#[test]
fn a_local_queue_outside_the_mask_is_an_error() {
    let mut world = machine();
    let task = born(&mut world, &[0]);
    world.insert_local_on(0, task, 3, false);
    assert!(ejected(&world, "cannot move"));
}

#[test]
fn move_to_local_belongs_to_dispatch() {
    let mut world = machine();
    acts(&mut world, Running::Other, |kernel| {
        // SAFETY: a queue that exists.
        unsafe { kernel.dsq_move_to_local.expect("there")(kernel.machine, 0, 0) };
    });
    assert!(ejected(&world, "dsq_move_to_local during"));
}

#[test]
fn a_task_moved_to_the_local_queue_is_of_the_cpu_that_asked() {
    let mut world = machine();
    let tasks = [(); 3].map(|()| spinner(&mut world, &[1, 0]));
    run_for(&mut world, MS);
    let is_queued = |task: &&TaskId| world.tasks[**task as usize].state == State::Queued;
    let waiting = *tasks.iter().find(is_queued).expect("one waits");
    world.change_cpu(waiting, 1);
    acts(&mut world, Running::Dispatching(0), |kernel| {
        // SAFETY: a queue that exists, and a task in it.
        unsafe {
            let mut it = std::mem::zeroed();
            kernel.iter_new.expect("there")(kernel.machine, &raw mut it, 0, 0);
            let p = kernel.iter_next.expect("there")(kernel.machine, &raw mut it);
            assert!(kernel.dsq_move.expect("there")(
                kernel.machine,
                &raw mut it,
                p,
                LOCAL,
                0,
                false
            ));
        }
    });
    let t = &world.tasks[waiting as usize];
    assert!(matches!(t.place, Where::Local(0)), "{:?}", t.place);
    assert_eq!(t.cpu(), 0);
}

#[test]
fn select_cpu_is_not_asked_for_pinned_tasks() {
    let mut world = machine();
    let found = |world: &World| -> u64 {
        let stat = scx_ballast::abi::ballast_stat_BALLAST_STAT_WAKE_IDLE_DOMAIN as usize;
        (0..4).map(|cpu| world.object.cpu(cpu).stats[stat]).sum()
    };
    spinner(&mut world, &[1]);
    assert_eq!(found(&world), 0);
    spinner(&mut world, &[0, 1]);
    assert_eq!(found(&world), 1);
}

#[test]
fn rows_see_waiting_running_and_sleeping_in_order() {
    let mut world = machine();
    let task = born(&mut world, &[0]);
    let state = |world: &World| world.row_of(task).expect("a row").1.since_state & 3;
    assert_eq!(state(&world), 0);
    world.start_task(task, 0);
    assert_eq!(
        (state(&world), world.tasks[task as usize].state),
        (1, State::Queued)
    );
    run_for(&mut world, MS);
    assert_eq!(
        (state(&world), world.tasks[task as usize].state),
        (2, State::Running)
    );
    world.stop_work(0, task);
    world.block(0, task);
    assert_eq!(
        (state(&world), world.tasks[task as usize].state),
        (0, State::Asleep)
    );
    assert!(world.checks.all_kept(), "{:?}", world.checks.failures);
}

#[test]
fn one_that_changes_its_group_on_its_way_to_a_cpu_runs_in_the_new_one() {
    let mut world = machine();
    let task = spinner(&mut world, &[2, 3]);
    run_for(&mut world, MS);
    let cpu = world.tasks[task as usize].cpu();
    world.stop_work(cpu, task);
    world.block(cpu, task);
    world.wake(task, 0, false);
    assert_eq!(world.tasks[task as usize].state, State::Waking);
    world.change_cgroup(task, 1);
    run_for(&mut world, MS);
    assert_eq!(world.tasks[task as usize].state, State::Running);
    let row = world.row_of(task).expect("a row").1;
    assert_eq!(row.cgroup, super::cgroups::id_of(1));
}

#[test]
fn a_change_of_nice_takes_a_queued_task_out_and_puts_it_back() {
    let mut world = machine();
    let tasks = [0; 3].map(|_| spinner(&mut world, &[0]));
    run_for(&mut world, MS);
    let is_queued = |task: &&TaskId| world.tasks[**task as usize].state == State::Queued;
    let waiting = *tasks.iter().find(is_queued).expect("one waits");
    let place = |world: &World| match world.tasks[waiting as usize].place {
        Where::Shared { order, .. } => order,
        other => panic!("{other:?}"),
    };
    let before = place(&world);
    world.set_nice(waiting, 5);
    assert!(place(&world) > before);
    assert_eq!(world.row_of(waiting).expect("a row").1.weight, 335);
}

#[test]
fn a_change_of_affinity_moves_a_running_task_off() {
    let mut world = machine();
    let task = spinner(&mut world, &[0]);
    run_for(&mut world, MS);
    world.change_mask(0, task, CpuBits::of(4, [3]));
    run_for(&mut world, MS);
    let t = &world.tasks[task as usize];
    assert_eq!((t.state, t.cpu()), (State::Running, 3));
    assert!(world.checks.all_kept(), "{:?}", world.checks.failures);
}

#[test]
fn kicks_are_asynchronous_and_preempting_ends_the_slice() {
    let mut world = machine();
    let tasks = [0; 2].map(|_| spinner(&mut world, &[0]));
    run_for(&mut world, MS);
    let first = world.cpus[0].current.expect("runs");
    let kick = |world: &mut World, flags: u32| {
        acts(world, Running::Other, |kernel| {
            // SAFETY: a CPU that exists.
            unsafe { kernel.kick_cpu.expect("there")(kernel.machine, 0, u64::from(flags)) }
        });
    };
    kick(&mut world, SCX_KICK_IDLE);
    let left = world.tasks[first as usize].c().scx.slice;
    kick(&mut world, SCX_KICK_PREEMPT);
    assert_eq!(world.tasks[first as usize].c().scx.slice, left);
    let switches = world.tally.switches;
    run_for(&mut world, 10_000);
    // The other was put off by at most a slice, so it is first now or goes on.
    assert!(tasks.contains(&world.cpus[0].current.expect("runs")));
    assert!(world.tally.switches > switches || world.tasks[first as usize].c().scx.slice != left);
}

#[test]
fn an_idle_cpu_has_no_tick_and_a_busy_one_has() {
    let mut world = machine();
    let ticks = |world: &World| {
        let is_tick = |event: &Event| matches!(event, Event::Tick { .. });
        world.calendar.events().filter(is_tick).count()
    };
    run_for(&mut world, 20 * MS);
    assert_eq!(ticks(&world), 0);
    spinner(&mut world, &[0]);
    run_for(&mut world, 20 * MS);
    assert_eq!(ticks(&world), 1);
}

#[test]
fn slices_are_used_up_at_ticks() {
    let mut world = machine();
    let task = spinner(&mut world, &[0]);
    spinner(&mut world, &[0]);
    run_for(&mut world, 21 * MS);
    let ran = world.tasks[task as usize].truth_at(world.now).run_ns;
    // The slice is 5 ms, the tick 4: the first turn ends at the second tick at the earliest.
    assert!((8 * MS..=16 * MS).contains(&ran), "{ran}");
}

#[test]
fn a_claimed_cpu_is_not_given_away_twice() {
    let mut world = machine();
    assert!(world.idle.claim(2));
    assert!(!world.idle.claim(2));
    let all = CpuBits::of(4, [2]);
    assert_eq!(world.idle.pick(&[all.words()], 0), None);
}

#[test]
fn without_the_scheduler_the_kernel_goes_on_first_in_first_out() {
    let mut world = machine();
    let tasks = [0; 6].map(|_| spinner(&mut world, &[0, 1, 2, 3]));
    run_for(&mut world, 10 * MS);
    world.unload();
    let before = world.object.cpu(0).stats;
    run_for(&mut world, 200 * MS);
    assert_eq!(world.object.cpu(0).stats, before);
    for task in tasks {
        let truth = world.tasks[task as usize].truth_at(world.now);
        assert!(truth.run_ns > 60 * MS, "{}", truth.run_ns);
    }
}

#[test]
fn a_cpu_that_leaves_is_let_go_and_its_tasks_run_elsewhere() {
    let mut world = machine();
    let tasks = [0; 4].map(|_| spinner(&mut world, &[0, 1, 2, 3]));
    run_for(&mut world, 10 * MS);
    world.take_offline(1);
    run_for(&mut world, 100 * MS);
    assert_eq!(world.cpus[1].power, Power::Offline);
    assert!(
        tasks
            .iter()
            .all(|&task| world.tasks[task as usize].cpu() != 1)
    );
    assert!(!world.object.is_cpu_online(1));
    world.bring_online(1);
    run_for(&mut world, 100 * MS);
    assert!(world.cpus[1].current.is_some());
    assert!(world.checks.all_kept(), "{:?}", world.checks.failures);
}

#[test]
fn a_class_above_takes_the_cpu_and_gives_it_back() {
    let mut world = machine();
    let task = spinner(&mut world, &[0]);
    run_for(&mut world, MS);
    world.take_cpu(0, 5 * MS);
    assert_eq!(world.tasks[task as usize].place, Where::Local(0));
    run_for(&mut world, 6 * MS);
    assert_eq!(world.cpus[0].current, Some(task));
}

#[test]
fn a_task_with_migration_disabled_stays() {
    let mut world = machine();
    let task = spinner(&mut world, &[0, 1]);
    run_for(&mut world, MS);
    let cpu = world.tasks[task as usize].cpu();
    world.set_migration(task, true);
    assert!(world.tasks[task as usize].may_use(cpu));
    assert!(!world.tasks[task as usize].may_use(1 - cpu));
    // SAFETY: the mask of a live task.
    let mask: cpumask = unsafe { *world.tasks[task as usize].c().cpus_ptr };
    assert_eq!(mask.bits[0], 1 << cpu);
    world.set_migration(task, false);
    assert!(world.tasks[task as usize].may_use(1 - cpu));
}

#[test]
fn one_serves_at_a_time_at_a_queue() {
    let mut world = machine();
    let index = world.queue_index(0).expect("there");
    world.lock_queue(index);
    let first = std::mem::take(&mut world.op_delay);
    world.lock_queue(index);
    assert_eq!((first, world.op_delay), (100, 200));
    world.op_delay = 0;
}

#[test]
fn a_forgotten_mask_or_section_fails_the_check() {
    let mut world = machine();
    let kernel = world.object.kernel();
    // SAFETY: the object's own table; only counters are written.
    world.call(0, Running::Other, |_| unsafe { (*kernel).rcu_depth += 1 });
    assert_eq!(world.checks.count(Check::Resources), 1);
    // SAFETY: as above.
    world.call(0, Running::Other, |_| unsafe { (*kernel).masks_held += 1 });
    assert_eq!(world.checks.count(Check::Resources), 2);
}
