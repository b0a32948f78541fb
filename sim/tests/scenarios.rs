// SPDX-License-Identifier: GPL-2.0-only
//! The library of scenarios: every rule kept, and what each is there to show.
//! Never runs the largest ones twice.

use std::path::{Path, PathBuf};

use ballast_sim::run::{Options, Outcome, run};
use ballast_sim::scenario::{Balancer, Scenario, parse};

fn library() -> Vec<PathBuf> {
    files_in("scenarios")
}

fn files_in(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("a folder of scenarios");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Scenario {
    let text = std::fs::read_to_string(path).expect("readable");
    parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn named(name: &str) -> Scenario {
    let paths = library();
    let path = paths
        .iter()
        .find(|path| path.file_stem().is_some_and(|stem| stem == name));
    read(path.expect("a scenario of that name"))
}

fn outcome(scenario: &Scenario, balancer: Balancer) -> Outcome {
    let options = Options {
        balancer: Some(balancer),
        ..Options::default()
    };
    run(scenario, options).expect("runs").outcome
}

/// The outcome of a scenario that keeps every rule.
fn kept(text: &str) -> Outcome {
    let outcome = outcome(&parse(text).expect("good"), Balancer::Ballast);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    outcome
}

#[test]
fn every_scenario_keeps_every_rule() {
    assert!(library().len() >= 10);
    for path in library().into_iter().chain(files_in("fidelity")) {
        let outcome = outcome(&read(&path), Balancer::Ballast);
        assert!(
            outcome.is_good(),
            "{}: {:#?}",
            path.display(),
            outcome.failures
        );
    }
}

#[test]
fn what_failed_once_keeps_every_rule() {
    for path in files_in("regressions") {
        let outcome = outcome(&read(&path), Balancer::Ballast);
        let failures = outcome.failures;
        assert!(failures.is_empty(), "{}: {failures:#?}", path.display());
    }
}

#[test]
fn small_scenarios_give_the_same_bytes_twice() {
    for name in [
        "spinners",
        "infeasible",
        "wakers",
        "faults",
        "noisy-neighbour",
    ] {
        let scenario = named(name);
        let json = || {
            let outcome = outcome(&scenario, scenario.balancer);
            serde_json::to_string(&outcome).expect("JSON")
        };
        assert_eq!(json(), json(), "{name}");
    }
}

#[test]
fn an_infeasible_weight_gets_a_cpu_and_the_rest_their_share() {
    let scenario = named("infeasible");
    let ours = outcome(&scenario, Balancer::Ballast);
    assert!((ours.groups[0].received - 1.0).abs() < 0.01);
    assert!((ours.groups[1].received - 7.0 / 15.0).abs() < 0.01);
    let error = |balancer| outcome(&scenario, balancer).share_error.expect("spinners");
    assert!(ours.share_error.expect("spinners") < error(Balancer::Rusty));
    assert!(error(Balancer::Rusty) < error(Balancer::Null));
}

#[test]
fn groups_get_what_their_weights_say() {
    let groups = outcome(&named("cgroups"), Balancer::Ballast).groups;
    for (group, cpus) in groups.iter().zip([2.0 / 16.0, 6.0 / 8.0]) {
        assert!((group.entitled.expect("spinners") - cpus).abs() < 1e-9);
        assert!((group.received - cpus).abs() < 0.01, "{group:?}");
    }
}

#[test]
fn costs_cost() {
    let mut scenario = named("spinners");
    scenario.tasks[0].count = 16;
    scenario.tasks[0].memory_node = Some(0);
    let progress = |scenario: &Scenario| {
        let groups = outcome(scenario, Balancer::Ballast).groups;
        groups.iter().map(|group| group.progress).sum::<f64>()
    };
    let normal = progress(&scenario);
    for change in [
        |one: &mut Scenario| one.costs.remote_slowdown_pct = 100,
        |one: &mut Scenario| one.costs.switch_ns = 100_000,
        |one: &mut Scenario| one.costs.queue_lock_ns = 200_000,
    ] {
        let mut dearer = scenario.clone();
        change(&mut dearer);
        assert!(progress(&dearer) < 0.99 * normal);
    }
}

#[test]
fn a_balancer_that_does_nothing_fails_the_settling_checks() {
    let mut scenario = named("infeasible");
    scenario.flags = vec!["--no-load-balance".to_owned()];
    let failed = outcome(&scenario, Balancer::Ballast).failed;
    assert!(
        failed.contains_key("settle") && failed.contains_key("lag"),
        "{failed:?}"
    );
}

#[test]
fn a_stalled_daemon_is_noticed_by_bpf_and_its_return_too() {
    let outcome = outcome(&named("stalled-daemon"), Balancer::Ballast);
    assert!(outcome.is_good(), "{:?}", outcome.failures);
    assert!(outcome.rounds < 6 && outcome.moves.applied > 0);
}

#[test]
fn forks_that_outlive_each_other_end_the_run_before_memory_does() {
    let text = "name = 'x'\nseconds = 2\n[[tasks]]\nname = 'storm'\n\
                work = { kind = 'forks', per_second = 2000, life_us = 100000 }\n";
    let options = Options {
        max_live: Some(1000),
        ..Options::default()
    };
    let error = run(&parse(text).expect("good"), options)
        .err()
        .expect("ends");
    assert!(error.is::<scx_ballast::usage::UsageError>());
    let line = error.to_string();
    let part = "tasks `storm`: work.per_second: more than 1000 tasks live at once from 0.5";
    assert!(line.starts_with(part), "{line}");
}

#[test]
fn a_pinned_timer_does_not_wait_for_the_end_of_a_slice() {
    let text = "name = 'x'\nseconds = 6\n[topology]\nnodes = 1\ncores_per_llc = 4\n\
                [checks]\nsteady_from_s = 1\n\
                [[tasks]]\nname = 'hogs'\ncount = 4\nwork = { kind = 'spin' }\n\
                [[tasks]]\nname = 'timers'\ncount = 4\ncpus = '0-3'\npinned = true\n\
                work = { kind = 'periodic', run_us = 100, sleep_us = 900 }\n";
    let outcome = kept(text);
    // A tick is 4 ms, a slice 5 ms.
    let timers = &outcome.groups[1];
    assert!(timers.longest_wait_ms < 4.5, "{timers:?}");
}

#[test]
fn two_that_wake_each_other_in_turn_share_a_cpu() {
    for sync in [false, true] {
        let text = format!(
            "name = 'x'\nseconds = 2\n[topology]\nnodes = 1\ncores_per_llc = 4\n\
             [costs]\nipi_ns = 30000\n[checks]\nsteady_from_s = 1\n\
             [[tasks]]\nname = 'pair'\ncount = 2\n\
             work = {{ kind = 'ring', tokens = 1, run_us = 20, sync = {sync} }}\n"
        );
        // On two CPUs, each asleep in between, it would be 20,000 at most.
        let bursts = kept(&text).groups[0].bursts_per_s;
        assert!(bursts > 40_000.0, "{bursts}");
    }
}

#[test]
fn one_that_had_what_others_left_waits_little_where_it_comes_to() {
    let mut scenario = named("sockets-512-sleepers");
    scenario.seed = 3;
    let outcome = outcome(&scenario, Balancer::Ballast);
    let low = outcome.groups.iter().find(|group| group.name == "low");
    // It was 578 ms while a task kept in another domain all that it was ahead.
    let waited = low.expect("light ones").longest_wait_ms;
    assert!(waited < 300.0, "{waited}");
}

#[test]
fn one_that_never_sleeps_again_keeps_nobody_it_wakes() {
    let text = "name = 'x'\nseconds = 2\n[topology]\nnodes = 1\ncores_per_llc = 4\n\
                [costs]\nipi_ns = 30000\n[checks]\nsteady_from_s = 0.001\n\
                off = ['settle']\n[[tasks]]\nname = 'feed'\ncount = 2\n\
                work = { kind = 'ring', tokens = 1, run_us = 1000, goes_on_us = 5000 }\n";
    // The first woke the last once, which has never slept since. They are no pair: were they
    // taken for one, the first would wait for the last's CPU, 5 ms on its second turn.
    let feed = &kept(text).groups[0];
    assert!(feed.longest_wait_ms < 1.0, "{feed:?}");
}

#[test]
fn two_that_wake_each_other_pass_nobody_confined() {
    let text = "name = 'f3'\n\
                seconds = 6.0\n\
                [topology]\n\
                nodes = 1\n\
                cores_per_llc = 4\n\
                [costs]\n\
                ipi_ns = 20000\n\
                [checks]\n\
                steady_from_s = 2.0\n\
                off = ['lag','settle']\n\
                [[tasks]]\n\
                name='r'\n\
                nice=19\n\
                count=2\n\
                cpus='0-1'\n\
                work={kind='ring',tokens=1,run_us=20,sync=true}\n\
                [[tasks]]\n\
                name='q'\n\
                nice=19\n\
                count=2\n\
                cpus='0-1'\n\
                work={kind='ring',tokens=1,run_us=20,sync=true}\n\
                [[tasks]]\n\
                name='h'\n\
                count=2\n\
                cpus='0-1'\n\
                work={kind='spin'}\n\
                [[tasks]]\n\
                name='g'\n\
                count=4\n\
                work={kind='spin'}\n";
    // Light pairs beside hogs of nice 0, all on two CPUs: they are owed 0.013 of one each.
    let rings = &kept(text).groups[0];
    let got = rings.received;
    assert!(got < 0.02, "{got}");
}

#[test]
fn those_that_sleep_now_and_then_are_not_interrupted_each_time_one_wakes() {
    let text = "name = 'x'\nseconds = 3\n[topology]\nnodes = 1\ncores_per_llc = 4\n\
                [checks]\nsteady_from_s = 1\n\
                [[tasks]]\nname = 'workers'\ncount = 12\n\
                work = { kind = 'periodic', run_us = 3000, sleep_us = 3000, jitter_pct = 30 }\n";
    let outcome = kept(text);
    let bursts = 3.0 * outcome.groups[0].bursts_per_s;
    // Were they let be for 100 us only, it would be 1.26 to a burst.
    let switches = outcome.switches as f64;
    assert!(switches < 1.2 * bursts, "{switches} for {bursts}");
}

#[test]
fn those_that_wait_go_on_where_they_were_if_many_do() {
    let text = "name = 'x'\nseconds = 3\n[topology]\nnodes = 1\ncores_per_llc = 4\n\
                [checks]\nsteady_from_s = 1\n\
                [[tasks]]\nname = 'workers'\ncount = 24\n\
                work = { kind = 'periodic', run_us = 1000, sleep_us = 3000, jitter_pct = 30 }\n";
    let outcome = kept(text);
    // In the order of the queue it would be three of four.
    assert!(strangers(&outcome) < 0.1, "{}", strangers(&outcome));
}

/// Switches to a task that another CPU ran last, of all.
fn strangers(outcome: &Outcome) -> f64 {
    outcome.cpu_migrations as f64 / outcome.switches as f64
}

#[test]
fn nobody_waits_long_for_those_that_are_near() {
    // CPU 0 seldom serves those that may go anywhere, and weights make the clock slow.
    let text = "name = 'x'\nseconds = 40\nflags = ['-o', '20000', '-u', '20000']\n\
                [topology]\nnodes = 1\ncores_per_llc = 2\n\
                [checks]\nsteady_from_s = 5\noff = ['settle', 'lag']\n\
                [[tasks]]\nname = 'workers'\ncount = 40\nnice = -20\n\
                work = { kind = 'periodic', run_us = 5000, sleep_us = 300, jitter_pct = 30 }\n\
                [[tasks]]\nname = 'pinned'\ncount = 80\nnice = -20\ncpus = '0'\npinned = true\n\
                work = { kind = 'spin' }\n";
    let outcome = kept(text);
    assert!(
        strangers(&outcome) < 0.1,
        "those that are near are passed by others"
    );
    // Without a bound, or by four slices of virtual time, some wait for ever.
    let longest_ms = outcome.groups[0].longest_wait_ms;
    assert!(longest_ms < 600.0, "{longest_ms}");
}

#[test]
fn those_that_may_go_anywhere_lose_nothing_by_those_that_are_near() {
    let text = "name = 'x'\nseconds = 20\n[topology]\nnodes = 1\ncores_per_llc = 2\n\
                [checks]\nsteady_from_s = 5\noff = ['settle', 'lag']\n\
                [[tasks]]\nname = 'workers'\ncount = 40\n\
                work = { kind = 'periodic', run_us = 1500, sleep_us = 1000, jitter_pct = 30 }\n\
                [[tasks]]\nname = 'pinned'\ncount = 20\ncpus = '0'\npinned = true\n\
                work = { kind = 'spin' }\n";
    let outcome = kept(text);
    assert!(
        strangers(&outcome) < 0.1,
        "those that are near are passed by others"
    );
    // All are owed the same; by four slices of virtual time pinned ones had 0.0012 more.
    let pinned = outcome.groups[1].received;
    assert!((pinned - 1.0 / 30.0).abs() < 0.0006, "{pinned}");
}

#[test]
fn one_that_computes_does_not_pass_a_brief_one_because_it_is_near() {
    let text = "name = 'x'\nseconds = 20\n[topology]\nnodes = 1\ncores_per_llc = 4\n\
                [checks]\nsteady_from_s = 1\noff = ['settle', 'lag']\n\
                [[tasks]]\nname = 'batch'\ncount = 12\n\
                work = { kind = 'periodic', run_us = 30000, sleep_us = 1000, jitter_pct = 30 }\n\
                [[tasks]]\nname = 'pinned'\ncount = 4\ncpus = '0'\npinned = true\n\
                work = { kind = 'periodic', run_us = 30000, sleep_us = 1000, jitter_pct = 30 }\n\
                [[tasks]]\nname = 'brief'\nnice = -5\n\
                work = { kind = 'periodic', run_us = 200, sleep_us = 5000, jitter_pct = 30 }\n";
    let outcome = kept(text);
    let brief = &outcome.groups[2];
    assert!(brief.longest_wait_ms < 15.0, "{brief:?}");
}

#[test]
fn one_that_seldom_sleeps_does_not_starve_another_pinned_to_its_cpu() {
    let text = "name = 'x'\nseconds = 6\n[topology]\nnodes = 1\ncores_per_llc = 2\n\
                [checks]\nsteady_from_s = 1\n\
                [[tasks]]\nname = 'hog'\ncpus = '0'\npinned = true\nwork = { kind = 'spin' }\n\
                [[tasks]]\nname = 'almost'\ncpus = '0'\npinned = true\n\
                work = { kind = 'periodic', run_us = 4900, sleep_us = 100 }\n";
    let outcome = kept(text);
    let hog = &outcome.groups[0];
    assert!(hog.received > 0.45, "{hog:?}");
}

#[test]
fn bursts_waits_and_work_are_those_of_the_judged_time() {
    let text = "name = 'x'\nseconds = 2\n[checks]\nsteady_from_s = 1\n[[tasks]]\nname = 'early'\n\
                count = 40\nstop_s = 0.5\nwork = { kind = 'periodic', run_us = 1000, sleep_us = 10 }\n\
                [[tasks]]\nname = 'late'\nwork = { kind = 'periodic', run_us = 1000, sleep_us = 3000 }\n";
    let outcome = outcome(&parse(text).expect("good"), Balancer::Ballast);
    let [early, late] = &outcome.groups[..] else {
        panic!("two groups");
    };
    assert_eq!(
        (early.tasks, early.bursts_per_s, early.progress),
        (0, 0.0, 0.0)
    );
    assert!((late.bursts_per_s - 250.0).abs() < 5.0, "{late:?}");
    assert!(late.longest_wait_ms < 1.0, "{late:?}");
    assert!((late.progress - 0.25).abs() < 0.01, "{late:?}");
}

/// Domains of one CPU each go offline while tasks wait there, and half of those queue anew as
/// somebody means to take them elsewhere: wherever they wait then, they are counted.
#[test]
fn those_that_queue_anew_as_they_are_moved_are_still_counted() {
    kept(
        "name = \"requeues\"\nseconds = 5.0\n\
         [topology]\nnodes = 1\nllcs_per_node = 6\ncores_per_llc = 1\n\
         [[tasks]]\nname = \"hogs\"\ncount = 60\nwork = { kind = \"spin\" }\n\
         [faults]\nuntil_s = 4.0\nhotplug_per_s = 20.0\nrequeues = 0.5\n",
    );
}

/// Eight hogs on eight CPUs run ahead of each other and fall behind, all of them owed at times.
/// Who wakes for a moment and is owed more does not wait for that.
fn beside_hogs(tasks: &str) -> Outcome {
    kept(&format!(
        "name = 'x'\nseconds = 4\n[topology]\nnodes = 2\ncores_per_llc = 4\n\
         [checks]\nsteady_from_s = 1\n\
         [[tasks]]\nname = 'hogs'\ncount = 8\nwork = {{ kind = 'spin' }}\n{tasks}"
    ))
}

#[test]
fn one_that_is_due_on_its_only_cpu_does_not_wait_for_a_hog() {
    for cpu in 0..8 {
        let outcome = beside_hogs(&format!(
            "[[tasks]]\nname = 'timer'\ncpus = '{cpu}'\npinned = true\n\
             work = {{ kind = 'periodic', run_us = 20, sleep_us = 1000 }}\n"
        ));
        let timer = &outcome.groups[1];
        assert!(timer.longest_wait_ms < 2.0, "CPU {cpu}: {timer:?}");
    }
}

#[test]
fn those_that_are_due_do_not_wait_for_hogs() {
    let outcome = beside_hogs(
        "[[tasks]]\nname = 'workers'\ncount = 6\n\
         work = { kind = 'periodic', run_us = 100, sleep_us = 2000, jitter_pct = 50 }\n",
    );
    let workers = &outcome.groups[1];
    assert!(workers.longest_wait_ms < 1.0, "{workers:?}");
}

/// Those that take nearly their part in moments are not let past hogs for long.
#[test]
fn hogs_get_their_part_beside_those_that_are_brief_and_busy() {
    let text = "name = 'x'\nseconds = 6\n[topology]\nnodes = 1\ncores_per_llc = 4\n\
                [checks]\nsteady_from_s = 2\n\
                [[tasks]]\nname = 'hogs'\ncount = 2\nwork = { kind = 'spin' }\n\
                [[tasks]]\nname = 'busy'\ncount = 3\n\
                work = { kind = 'periodic', run_us = 900, sleep_us = 100 }\n\
                [[tasks]]\nname = 'lesser'\ncount = 3\nnice = 5\n\
                work = { kind = 'periodic', run_us = 900, sleep_us = 100 }\n";
    let outcome = kept(text);
    let hogs = &outcome.groups[0];
    let owed = hogs.entitled.expect("a steady load");
    assert!(hogs.received > 0.95 * owed, "{hogs:?}");
}

/// The outcome of these groups of tasks on one node of so many CPUs.
fn on_one_node(cpus: usize, tasks: &[&str]) -> Outcome {
    let tables: String = tasks
        .iter()
        .enumerate()
        .map(|(nth, task)| format!("[[tasks]]\nname = 'tasks {nth}'\n{task}\n"))
        .collect();
    kept(&format!(
        "name = 'x'\nseconds = 8\n[topology]\nnodes = 1\ncores_per_llc = {cpus}\n\
         [checks]\nsteady_from_s = 2\n{tables}"
    ))
}

fn assert_near_owed(outcome: &Outcome, within: f64) {
    for group in &outcome.groups {
        let owed = group.entitled.expect("a steady load");
        let off = (group.received / owed - 1.0).abs();
        assert!(off < within, "{group:?}");
    }
}

const SPIN: &str = "work = { kind = 'spin' }";

/// One that sleeps leaves those confined to its CPU nothing of what it is owed, and loses nothing.
#[test]
fn those_confined_to_a_cpu_are_owed_what_others_are() {
    for (run_us, sleep_us) in [(20, 980), (900, 100), (4000, 6000)] {
        let sleeper = format!(
            "cpus = '0'\n\
             work = {{ kind = 'periodic', run_us = {run_us}, sleep_us = {sleep_us} }}"
        );
        let confined = format!("cpus = '0'\n{SPIN}");
        let free = format!("count = 2\n{SPIN}");
        let outcome = on_one_node(2, &[&confined, &sleeper, &free]);
        assert_near_owed(&outcome, 0.06);
    }
}

/// A CPU's light hog is soon ahead of all others by seconds, and stays so alone.
#[test]
fn one_confined_beside_a_light_hog_does_not_wait_for_its_debts() {
    let hog = format!("nice = 19\ncpus = '0'\n{SPIN}");
    let timer = "cpus = '0'\nwork = { kind = 'periodic', run_us = 20, sleep_us = 980 }";
    let free = format!("count = 2\n{SPIN}");
    let outcome = on_one_node(2, &[&hog, timer, &free]);
    let timer = &outcome.groups[1];
    assert!(timer.longest_wait_ms < 2.0, "{timer:?}");
}

/// Nobody but those confined to them runs on any CPU: the clock that the others wait by goes on.
#[test]
fn those_that_are_free_get_their_part_of_cpus_that_others_are_confined_to() {
    let first = format!("nice = -10\ncpus = '0'\n{SPIN}");
    let second = format!("count = 3\nnice = -5\ncpus = '1'\n{SPIN}");
    let free = format!("count = 3\n{SPIN}");
    assert_near_owed(&on_one_node(2, &[&first, &second, &free]), 0.05);
}

#[test]
fn one_that_is_due_does_not_wait_for_others_confined_to_its_cpu() {
    let hogs = format!("count = 3\ncpus = '1'\n{SPIN}");
    let timers = "count = 2\ncpus = '1'\n\
                  work = { kind = 'periodic', run_us = 20, sleep_us = 3000 }";
    let outcome = on_one_node(2, &[&hogs, timers]);
    let timers = &outcome.groups[1];
    assert!(timers.longest_wait_ms < 1.0, "{timers:?}");
}

/// The kernel asks select_cpu for no task that has one CPU only.
#[test]
fn one_that_is_due_does_not_wait_for_a_hog_where_there_is_one_cpu() {
    for hogs in [1, 3] {
        let hogs = format!("count = {hogs}\n{SPIN}");
        let timer = "work = { kind = 'periodic', run_us = 20, sleep_us = 980 }";
        let outcome = on_one_node(1, &[&hogs, timer]);
        let timer = &outcome.groups[1];
        assert!(timer.longest_wait_ms < 1.0, "{timer:?}");
    }
}

/// A hog that is owed more than a CPU comes before all others, but may use other CPUs too.
#[test]
fn one_confined_to_a_cpu_gets_its_part_beside_who_may_use_another() {
    let hog = format!("nice = -10\n{SPIN}");
    let others = format!("count = 4\n{SPIN}");
    let confined = "nice = -10\ncpus = '1'\n\
                    work = { kind = 'periodic', run_us = 2000, sleep_us = 6000 }";
    assert_near_owed(&on_one_node(2, &[&hog, &others, confined]), 0.05);
}

/// One that has its CPU to itself owes nobody for that when others come.
#[test]
fn those_confined_to_a_cpu_owe_nothing_for_what_nobody_wanted() {
    let confined = format!("count = 2\nnice = 10\ncpus = '1'\n{SPIN}");
    let busy = "count = 2\nwork = { kind = 'periodic', run_us = 900, sleep_us = 100 }";
    let late = format!("start_s = 3.0\n{SPIN}");
    let outcome = on_one_node(2, &[&confined, busy, &late]);
    let confined = &outcome.groups[0];
    assert!(confined.longest_wait_ms < 400.0, "{confined:?}");
}

/// The planner asks one of the two to leave CPU 1 or 2: it must not queue on its old CPU again.
#[test]
fn one_that_may_use_some_cpus_of_two_domains_moves_when_asked_to() {
    let outcome = kept(&format!(
        "name = 'x'\nseconds = 10\n\
         [topology]\nnodes = 1\nllcs_per_node = 2\ncores_per_llc = 2\n\
         [[tasks]]\nname = 'heavy'\ncount = 2\nnice = -10\n{SPIN}\n\
         [[tasks]]\nname = 'between'\ncount = 2\ncpus = '1-2'\n{SPIN}\n\
         [[tasks]]\nname = 'light'\nnice = 10\n{SPIN}\n\
         [checks]\noff = ['lag']\n"
    ));
    assert!(outcome.moves.applied > 0, "{:?}", outcome.moves);
    assert_eq!(outcome.moves.expired, 0, "{:?}", outcome.moves);
    let heavy = &outcome.groups[0];
    assert!(heavy.received > 0.9, "{heavy:?}");
}

/// A sleeper that is ahead of its mates together comes before one of them all the same.
#[test]
fn one_that_sleeps_gets_its_part_beside_a_mate() {
    let heavy = "nice = -10\ncpus = '1'\n\
                 work = { kind = 'periodic', run_us = 9000, sleep_us = 3000 }";
    let hog = format!("cpus = '1'\n{SPIN}");
    assert_near_owed(&on_one_node(3, &[SPIN, heavy, &hog]), 0.05);
}

/// One that is light takes long steps: those that sleep would never be behind a clock that took
/// them too.
#[test]
fn a_light_party_does_not_take_the_clock_along() {
    let timer = "nice = -5\ncpus = '0'\n\
                 work = { kind = 'periodic', run_us = 20, sleep_us = 980 }";
    let light = "nice = 5\ncpus = '2'\n\
                 work = { kind = 'periodic', run_us = 4000, sleep_us = 50, jitter_pct = 20 }";
    let free = "count = 2\nwork = { kind = 'periodic', run_us = 9000, sleep_us = 500 }";
    let outcome = on_one_node(3, &[timer, light, free]);
    let timer = &outcome.groups[0];
    assert!(timer.bursts_per_s > 950.0, "{timer:?}");
}

#[test]
fn one_that_wakes_waits_for_the_cpu_where_it_comes_first() {
    let hogs = format!("count = 2\ncpus = '2-3'\n{SPIN}");
    let brief = "nice = -5\ncpus = '0-1'\n\
                 work = { kind = 'periodic', run_us = 50, sleep_us = 100 }";
    let free = format!("count = 2\n{SPIN}");
    let outcome = on_one_node(4, &[&hogs, brief, &free]);
    let brief = &outcome.groups[1];
    assert!(brief.longest_wait_ms < 1.0, "{brief:?}");
    assert_near_owed(&outcome, 0.1);
}

/// One of six hogs that come before it may use the CPU that idles nearly all the time.
#[test]
fn one_confined_to_a_cpu_gets_it_while_another_is_idle() {
    let light = format!("nice = 10\ncpus = '0'\n{SPIN}");
    let brief = "count = 2\nnice = 10\ncpus = '3'\n\
                 work = { kind = 'periodic', run_us = 50, sleep_us = 500 }";
    let timer = "cpus = '6'\nwork = { kind = 'periodic', run_us = 2500, sleep_us = 20000 }";
    let free = format!("count = 6\n{SPIN}");
    let outcome = on_one_node(8, &[&light, brief, timer, &free]);
    let light = &outcome.groups[0];
    assert!(light.received > 0.9, "{light:?}");
}

/// What a task owes or is owed it keeps as it is confined to CPUs and set free again.
#[test]
fn light_tasks_gain_nothing_by_changes_of_affinity() {
    let outcome = kept(&format!(
        "name = 'x'\nseconds = 12\n[topology]\nnodes = 1\ncores_per_llc = 2\n\
         [faults]\nuntil_s = 11.9\naffinity_per_s = 400\n\
         [checks]\nsteady_from_s = 3\noff = ['lag']\n\
         [[tasks]]\nname = 'hogs'\ncount = 4\n{SPIN}\n\
         [[tasks]]\nname = 'light'\ncount = 2\nnice = 15\n{SPIN}\n"
    ));
    let (hogs, light) = (&outcome.groups[0], &outcome.groups[1]);
    assert!(hogs.received > 0.485, "{hogs:?}");
    assert!(light.received < 0.03, "{light:?}");
}
