// SPDX-License-Identifier: GPL-2.0-only
//! The daemon's steps against a machine in memory: requests must end, once each.

use std::collections::BTreeMap;

use anyhow::Result;

use super::*;
use crate::affinity::MaskTable;
use crate::cgroups::tests::{FakeFolders, ROOT_ID};
use crate::demand::RowSample;
use crate::ids::{MaskId, TaskRef};
use crate::kernel::{Beat, Counters, Outcome, ReadReport, Ticket, request};

const ROUND_NS: u64 = 1_000_000_000;

/// How the machine in memory treats requests.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Obliging,
    /// Nothing is ever carried out, as if every task slept.
    Deaf,
    /// Who is asked to go waits where it is to go, and does not come to run.
    Starving,
    /// Every task ends before it is moved.
    Deadly,
}

struct FakeTask {
    row: RowSample,
    request: Option<Ticket>,
    outcome: Outcome,
}

/// Spinners on domains of four CPUs each, served evenly.
struct FakeKernel {
    now_ns: u64,
    tasks: Vec<FakeTask>,
    manner: Manner,
    sequence: u16,
    /// Of each CPU.
    idle_ns: u64,
    /// Of the last beat.
    roles: Vec<CpuRole>,
}

impl FakeKernel {
    fn with_spinners(domains: &[u32], manner: Manner) -> FakeKernel {
        let tasks = domains.iter().enumerate().map(|(slot, domain)| FakeTask {
            row: RowSample {
                task: TaskRef {
                    slot: slot as u32,
                    generation: 1,
                },
                pid: 100 + slot as u32,
                tgid: 100 + slot as u32,
                weight: 100.0,
                charged: None,
                domain: DomainId(*domain),
                run_ns: 0,
                wait_ns: 0,
                sleep_ns: 0,
                pinned: false,
                mask: MaskId::ANYWHERE,
                preferred_nodes: 0,
                cgroup: 0,
            },
            request: None,
            outcome: Outcome::Pending,
        });
        let mut kernel = FakeKernel {
            now_ns: 0,
            tasks: tasks.collect(),
            manner,
            sequence: 0,
            idle_ns: 0,
            roles: Vec::new(),
        };
        // So that the first round knows what they want.
        kernel.pass();
        kernel
    }

    fn in_domain(&self, domain: u32) -> usize {
        let there = |task: &&FakeTask| task.row.domain == DomainId(domain);
        self.tasks.iter().filter(there).count()
    }

    /// One round passes: tasks run, requests meet their fate.
    fn pass(&mut self) {
        self.now_ns += ROUND_NS;
        let crowd: BTreeMap<u32, usize> = [0, 1].map(|id| (id, self.in_domain(id))).into();
        for task in &mut self.tasks {
            let share = (4.0 / crowd[&task.row.domain.0] as f64).min(1.0);
            let starves = matches!(self.manner, Manner::Starving) && task.request.is_some();
            let run_ns = (ROUND_NS as f64 * if starves { 0.0 } else { share }) as u64;
            task.row.run_ns += run_ns;
            task.row.wait_ns += ROUND_NS - run_ns;
            let Some(ticket) = task.request else { continue };
            match self.manner {
                Manner::Deaf | Manner::Starving => continue,
                Manner::Obliging => {
                    task.row.domain = ticket.target;
                    task.outcome = Outcome::Applied;
                }
                Manner::Deadly => {
                    task.row.task.generation += 2;
                    task.outcome = Outcome::Gone;
                }
            }
            task.request = None;
        }
    }
}

impl Kernel for FakeKernel {
    fn beat(&mut self, beat: &Beat) -> Result<u64> {
        self.roles = beat.cpus.clone();
        Ok(self.now_ns)
    }

    fn rows(&mut self, _: u64, _: &mut MaskTable, rows: &mut Vec<RowSample>) -> ReadReport {
        rows.clear();
        rows.extend(self.tasks.iter().map(|task| task.row.clone()));
        ReadReport {
            live: rows.len(),
            torn: 0,
        }
    }

    fn request(&mut self, task: TaskRef, target: DomainId) -> Option<Ticket> {
        self.sequence += 1;
        let fake = &mut self.tasks[task.slot as usize];
        if fake.row.task != task || fake.request.is_some() {
            return None;
        }
        fake.outcome = Outcome::Pending;
        fake.request = Some(request::ticket(task, target, self.sequence));
        fake.request
    }

    fn outcome(&self, ticket: &Ticket) -> Outcome {
        self.tasks[ticket.task.slot as usize].outcome
    }

    fn withdraw(&mut self, ticket: &Ticket) -> Outcome {
        self.tasks[ticket.task.slot as usize].request = None;
        Outcome::Expired
    }

    fn apply_queued(&mut self, _: DomainId) -> Result<u32> {
        Ok(0)
    }

    fn apply_running(&mut self, _: TaskRef) -> Result<()> {
        Ok(())
    }

    fn charge(&mut self, task: TaskRef, weight: Option<f64>) {
        let row = &mut self.tasks[task.slot as usize].row;
        if row.task == task {
            row.charged = weight;
        }
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }

    fn idle_ns(&self, _: CpuId, _: u64) -> u64 {
        self.idle_ns
    }

    fn is_online(&self, _: CpuId) -> bool {
        true
    }

    fn has_exited(&self) -> bool {
        false
    }
}

fn daemon(flags: &[&str]) -> Daemon {
    daemon_among(Cgroups::new(None), flags)
}

fn daemon_among(cgroups: Cgroups, flags: &[&str]) -> Daemon {
    let machine = crate::topology::fake::FakeMachine::grid(2, 1, 4, 1)
        .read()
        .expect("a readable machine");
    let line = ["scx_ballast"].iter().chain(flags);
    let cli = match crate::cli::parse_from(line) {
        Ok(crate::cli::Parsed::Run(cli)) => *cli,
        other => panic!("{other:?}"),
    };
    let config = Config::from_cli(&cli, &machine).expect("a good configuration");
    Daemon::among(&config, cgroups)
}

fn round(daemon: &mut Daemon, kernel: &mut FakeKernel, lost: &BTreeMap<CpuId, f64>) {
    let begun = daemon.begin_round(kernel, lost);
    let snapshot = begun.expect("the fake kernel never fails");
    let plan = load_balance::plan(&snapshot, daemon.plan_config());
    daemon
        .end_round(kernel, &snapshot, &plan)
        .expect("the fake kernel never fails");
    daemon.reuse(snapshot);
}

fn rounds(daemon: &mut Daemon, kernel: &mut FakeKernel, count: usize) {
    for _ in 0..count {
        round(daemon, kernel, &BTreeMap::new());
        kernel.pass();
    }
}

fn all_ended(daemon: &Daemon) -> bool {
    let totals = daemon.totals();
    totals.requested == totals.applied + totals.refused + totals.expired
}

#[test]
fn eight_spinners_on_one_domain_are_spread_by_four_moves() {
    let mut kernel = FakeKernel::with_spinners(&[0; 8], Manner::Obliging);
    let mut daemon = daemon(&[]);
    rounds(&mut daemon, &mut kernel, 2);
    assert_eq!((kernel.in_domain(0), kernel.in_domain(1)), (4, 4));
    rounds(&mut daemon, &mut kernel, 20);
    assert_eq!(daemon.totals().requested, 4);
    assert_eq!(daemon.totals().applied, 4);
}

#[test]
fn a_hundred_spinners_on_one_domain_settle_in_three_rounds() {
    let mut kernel = FakeKernel::with_spinners(&[0; 100], Manner::Obliging);
    let mut daemon = daemon(&[]);
    rounds(&mut daemon, &mut kernel, 3);
    assert_eq!(kernel.in_domain(1), 50);
}

#[test]
fn without_balancing_nothing_is_asked() {
    let mut kernel = FakeKernel::with_spinners(&[0; 8], Manner::Obliging);
    let mut daemon = daemon(&["--no-load-balance"]);
    rounds(&mut daemon, &mut kernel, 5);
    assert_eq!(daemon.totals().requested, 0);
    assert!((daemon.round().domains[0].load - 8.0).abs() < 0.01);
}

#[test]
fn requests_stand_while_their_tasks_only_wait() {
    let mut kernel = FakeKernel::with_spinners(&[0; 8], Manner::Starving);
    let mut daemon = daemon(&[]);
    rounds(&mut daemon, &mut kernel, 10);
    let totals = daemon.totals();
    assert_eq!((totals.requested, totals.expired), (4, 0), "{totals:?}");
}

#[test]
fn requests_without_effect_expire() {
    let mut kernel = FakeKernel::with_spinners(&[0; 8], Manner::Deaf);
    let mut daemon = daemon(&[]);
    rounds(&mut daemon, &mut kernel, 3);
    let totals = daemon.totals();
    assert_eq!(totals.expired, 4, "{totals:?}");
    assert_eq!(totals.applied, 0, "{totals:?}");
}

#[test]
fn a_task_under_way_is_not_asked_again() {
    let mut kernel = FakeKernel::with_spinners(&[0; 8], Manner::Deaf);
    let mut daemon = daemon(&[]);
    rounds(&mut daemon, &mut kernel, 2);
    assert_eq!(daemon.totals().requested, 4);
    assert_eq!(kernel.sequence, 4, "the kernel was asked so often");
}

#[test]
fn requests_of_ended_tasks_are_refused() {
    let mut kernel = FakeKernel::with_spinners(&[0; 8], Manner::Deadly);
    let mut daemon = daemon(&[]);
    rounds(&mut daemon, &mut kernel, 2);
    kernel.manner = Manner::Obliging;
    rounds(&mut daemon, &mut kernel, 4);
    let totals = daemon.totals();
    assert!(totals.refused >= 4, "{totals:?}");
    assert!(all_ended(&daemon), "{totals:?}");
}

#[test]
fn the_tuner_tells_bpf_a_slice_from_the_flags() {
    let mut kernel = FakeKernel::with_spinners(&[], Manner::Obliging);
    let mut daemon = daemon(&[
        "--slice-us-underutil",
        "7000",
        "--slice-us-overutil",
        "3000",
    ]);
    daemon.tune(&mut kernel).expect("no failure");
    kernel.now_ns += 100_000_000;
    kernel.idle_ns += 90_000_000;
    daemon.tune(&mut kernel).expect("no failure");
    assert_eq!(
        daemon.tuning().map(|tuning| tuning.slice_ns),
        Some(7_000_000)
    );
    kernel.now_ns += 100_000_000;
    daemon.tune(&mut kernel).expect("no failure");
    assert_eq!(
        daemon.tuning().map(|tuning| tuning.slice_ns),
        Some(3_000_000)
    );
}

#[test]
fn every_beat_carries_the_roles_since_bpf_changes_them_when_the_daemon_is_silent() {
    let mut kernel = FakeKernel::with_spinners(&[], Manner::Obliging);
    let mut daemon = daemon(&[]);
    for _ in 0..4 {
        daemon.tune(&mut kernel).expect("no failure");
        kernel.now_ns += 100_000_000;
    }
    assert_eq!(kernel.roles.len(), 8);
    assert!(kernel.roles.iter().all(|role| !role.direct), "all are busy");
    round(&mut daemon, &mut kernel, &BTreeMap::new());
    assert_eq!(kernel.roles.len(), 8);
}

#[test]
fn an_infeasible_weight_is_charged_as_one_cpu() {
    let mut kernel = FakeKernel::with_spinners(&[0; 16], Manner::Obliging);
    kernel.tasks[3].row.weight = 8668.0;
    let mut daemon = daemon(&[]);
    rounds(&mut daemon, &mut kernel, 2);
    let charged: Vec<Option<f64>> = kernel.tasks.iter().map(|task| task.row.charged).collect();
    let most = charged[3].expect("a limit");
    assert!((most - 1500.0 / 7.0).abs() < 1.0, "{most}");
    assert_eq!(charged.iter().flatten().count(), 1);
    // With room for all, nobody is limited any more.
    kernel.tasks.truncate(6);
    rounds(&mut daemon, &mut kernel, 2);
    assert!(kernel.tasks.iter().all(|task| task.row.charged.is_none()));
}

#[test]
fn tasks_are_in_the_groups_that_their_rows_name() {
    let folders = FakeFolders::default();
    folders.add("/a", 10);
    folders.add("/a/b", 20);
    let mut kernel = FakeKernel::with_spinners(&[0; 3], Manner::Obliging);
    for (task, cgroup) in kernel.tasks.iter_mut().zip([20, ROOT_ID, 10]) {
        task.row.cgroup = cgroup;
    }
    let mut daemon = daemon_among(folders.groups(), &[]);
    let snapshot = daemon.begin_round(&mut kernel, &BTreeMap::new());
    let snapshot = snapshot.expect("the fake kernel never fails");
    let groups: Vec<u32> = snapshot.tasks.iter().map(|task| task.group.0).collect();
    assert_eq!(groups, [2, 0, 1]);
    assert_eq!(snapshot.groups.len(), 3);
    assert_eq!(*daemon.group_paths(), ["/", "/a", "/a/b"]);
}

#[test]
fn tasks_are_charged_by_what_their_groups_are_owed() {
    let folders = FakeFolders::default();
    for (path, id, weight) in [("/light", 10, "100"), ("/heavy", 20, "300")] {
        folders.add(path, id);
        folders.set(path, "cpu.weight", weight);
    }
    let mut kernel = FakeKernel::with_spinners(&[0; 24], Manner::Obliging);
    for (at, task) in kernel.tasks.iter_mut().enumerate() {
        task.row.cgroup = if at < 16 { 10 } else { 20 };
    }
    let mut daemon = daemon_among(folders.groups(), &[]);
    rounds(&mut daemon, &mut kernel, 2);
    // 2 CPUs for 16, 6 for 8; without groups each would be owed 1/3.
    for (at, task) in kernel.tasks.iter().enumerate() {
        let charged = task.row.charged.expect("a weight");
        let expected = if at < 16 { 37.5 } else { 225.0 };
        assert!((charged / expected - 1.0).abs() < 0.02, "{at}: {charged}");
    }
    assert_eq!(*daemon.group_paths(), ["/", "/heavy", "/light"]);
    // What changes is taken over; back in the root nothing of it is left.
    folders.set("/heavy", "cpu.weight", "100");
    rounds(&mut daemon, &mut kernel, 2);
    let charged = kernel.tasks[0].row.charged.expect("a weight");
    assert!((charged / 75.0 - 1.0).abs() < 0.02, "{charged}");
    for task in &mut kernel.tasks {
        task.row.cgroup = ROOT_ID;
    }
    rounds(&mut daemon, &mut kernel, 1);
    assert!(kernel.tasks.iter().all(|task| task.row.charged.is_none()));
}

#[test]
fn time_lost_to_interrupts_is_not_capacity() {
    let mut kernel = FakeKernel::with_spinners(&[0, 1], Manner::Obliging);
    let mut daemon = daemon(&[]);
    let lost = (0..4).map(|cpu| (CpuId(cpu), 0.25));
    round(&mut daemon, &mut kernel, &lost.collect());
    assert!((daemon.round().domains[0].capacity - 3.0).abs() < 1e-9);
    assert!((daemon.round().domains[1].capacity - 4.0).abs() < 1e-9);
}
