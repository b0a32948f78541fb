// SPDX-License-Identifier: GPL-2.0-only
//! The policy in a closed loop: rows → demand → plan → moves → rows, on a fluid
//! model of a machine whose domains are each perfectly fair.
//! Never needs a kernel, a clock or randomness from outside.

use std::collections::BTreeMap;

use scx_ballast::demand::{Estimator, RowSample};
use scx_ballast::entitlement::{Claim, fill};
use scx_ballast::ids::{CpuId, DomainId, GroupId, MaskId, NodeId, TaskRef};
use scx_ballast::load_balance::{Config, Domain, Node, Plan, Snapshot, Task, plan};
use scx_ballast::weight::weight_of_nice;

const ROUND_NS: u64 = 1_000_000_000;

/// A thread of the model and the sums its row would hold.
struct Thread {
    weight: f64,
    duty: f64,
    domain: usize,
    moved_ago_rounds: u32,
    received: f64,
    row: (u64, u64, u64),
}

struct Machine {
    capacity: Vec<f64>,
    threads: Vec<Thread>,
    estimator: Estimator,
    now_ns: u64,
    /// Part by which a thread's duty varies from round to round, up or down.
    noise: f64,
    seed: u64,
}

impl Machine {
    fn new(capacity: &[f64]) -> Self {
        Machine {
            capacity: capacity.to_vec(),
            threads: Vec::new(),
            estimator: Estimator::new(ROUND_NS),
            now_ns: 0,
            noise: 0.0,
            seed: 1,
        }
    }

    fn add(&mut self, count: usize, nice: i32, duty: f64, domain: usize) {
        for _ in 0..count {
            let weight = weight_of_nice(nice);
            self.threads.push(Thread {
                weight,
                duty,
                domain,
                moved_ago_rounds: u32::MAX,
                received: 0.0,
                row: (0, 0, 0),
            });
        }
    }

    /// A number in −1..1 from a fixed sequence (Knuth's MMIX generator).
    fn random(&mut self) -> f64 {
        self.seed = self
            .seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.seed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// One round: every domain shares its CPUs fairly among its own threads.
    fn run(&mut self) {
        self.now_ns += ROUND_NS;
        let duties: Vec<f64> = (0..self.threads.len())
            .map(|i| (self.threads[i].duty * (1.0 + self.noise * self.random())).clamp(0.0, 1.0))
            .collect();
        for domain in 0..self.capacity.len() {
            let here: Vec<usize> = (0..self.threads.len())
                .filter(|&i| self.threads[i].domain == domain)
                .collect();
            let claims: Vec<Claim> = here
                .iter()
                .map(|&i| Claim {
                    weight: self.threads[i].weight,
                    demand: duties[i],
                })
                .collect();
            let mut received = Vec::new();
            fill(&claims, self.capacity[domain], &mut received);
            for (&i, &cpus) in here.iter().zip(&received) {
                self.threads[i].account(cpus, duties[i]);
            }
        }
    }

    fn rows(&self) -> Vec<RowSample> {
        (0..)
            .zip(&self.threads)
            .map(|(slot, thread)| RowSample {
                task: TaskRef {
                    slot,
                    generation: 1,
                },
                pid: slot,
                tgid: slot,
                weight: thread.weight,
                charged: None,
                domain: DomainId(thread.domain as u32),
                run_ns: thread.row.0,
                wait_ns: thread.row.1,
                sleep_ns: thread.row.2,
                pinned: false,
                mask: MaskId::ANYWHERE,
                preferred_nodes: 0,
                cgroup: 0,
            })
            .collect()
    }

    fn snapshot(&mut self) -> Snapshot {
        let rows = self.rows();
        self.estimator.update(self.now_ns, &rows);
        let ids = || (0u32..).zip(&self.capacity);
        let task = |(row, thread): (&RowSample, &Thread)| Task {
            id: u64::from(row.pid),
            task: row.task,
            process: row.tgid,
            weight: row.weight,
            demand: self.estimator.demand(row.task.slot).unwrap(),
            domain: row.domain,
            mask: row.mask,
            group: GroupId::ROOT,
            movable: !row.pinned,
            preferred_nodes: row.preferred_nodes,
            moved_ago_rounds: thread.moved_ago_rounds,
            lag_ms: 0.0,
        };
        Snapshot {
            nodes: ids()
                .map(|(id, _)| Node {
                    id: NodeId(id),
                    distance: BTreeMap::new(),
                })
                .collect(),
            domains: ids()
                .map(|(id, &capacity)| Domain {
                    id: DomainId(id),
                    node: NodeId(id),
                    capacity,
                    cpus: (4 * id..4 * id + 4).map(CpuId).collect(),
                })
                .collect(),
            tasks: rows.iter().zip(&self.threads).map(task).collect(),
            ..Snapshot::default()
        }
    }

    /// One round of the machine, one of the balancer.
    fn round(&mut self) -> Plan {
        self.run();
        let plan = plan(&self.snapshot(), &Config::default());
        for thread in &mut self.threads {
            thread.moved_ago_rounds = thread.moved_ago_rounds.saturating_add(1);
        }
        for mv in &plan.moves {
            self.threads[mv.index].domain = mv.to.index();
            self.threads[mv.index].moved_ago_rounds = 0;
        }
        plan
    }

    fn received(&self) -> Vec<f64> {
        self.threads.iter().map(|thread| thread.received).collect()
    }
}

impl Thread {
    /// A thread that runs `cpus` of a round sleeps in proportion and waits the rest.
    fn account(&mut self, cpus: f64, duty: f64) {
        let sleep = if duty > 0.0 {
            cpus * (1.0 - duty) / duty
        } else {
            1.0
        };
        let ns = |share: f64| (share * ROUND_NS as f64) as u64;
        self.received = cpus;
        self.row.0 += ns(cpus);
        self.row.1 += ns((1.0 - cpus - sleep).max(0.0));
        self.row.2 += ns(sleep);
    }
}

#[test]
fn eight_spinners_spread_in_one_round() {
    let mut machine = Machine::new(&[4.0, 4.0]);
    machine.add(8, 0, 1.0, 0);
    assert_eq!(machine.round().moves.len(), 4);
    for _ in 0..5 {
        assert_eq!(machine.round().moves.len(), 0);
        assert!(machine.received().iter().all(|&cpus| cpus > 0.999));
    }
}

#[test]
fn a_hundred_tasks_settle_in_three_rounds() {
    let mut machine = Machine::new(&[4.0, 4.0]);
    machine.add(100, 0, 0.5, 0);
    for _ in 0..3 {
        machine.round();
    }
    assert_eq!(machine.round().moves.len(), 0);
    assert!(
        machine
            .received()
            .iter()
            .all(|cpus| (cpus - 0.08).abs() < 0.001)
    );
}

#[test]
fn everybody_gets_the_entitlement() {
    let mut machine = Machine::new(&[4.0, 4.0]);
    machine.add(9, 0, 1.0, 0);
    machine.add(4, 5, 1.0, 0);
    machine.add(3, -5, 1.0, 1);
    for _ in 0..3 {
        machine.round();
    }
    let plan = machine.round();
    for (received, entitled) in machine.received().iter().zip(&plan.entitlements) {
        assert!(
            (received / entitled - 1.0).abs() < 0.05,
            "{received} of {entitled}"
        );
    }
}

#[test]
fn waiting_does_not_look_like_demand() {
    // 20 threads that want 0.2 CPUs each fit on one domain of 4, however long
    // they waited while a crowd was there.
    let mut machine = Machine::new(&[4.0, 4.0]);
    machine.add(20, 0, 0.2, 0);
    machine.add(30, 0, 1.0, 0);
    machine.run();
    machine.threads.truncate(20);
    for _ in 0..5 {
        assert_eq!(machine.round().moves.len(), 0);
    }
}

#[test]
fn noise_does_not_stir() {
    // 40 threads wanting 12 ± 10 % of 8 CPUs: what still moves after settling.
    let mut machine = Machine::new(&[4.0, 4.0]);
    machine.add(10, 0, 0.6, 0);
    machine.add(20, 0, 0.15, 0);
    machine.add(10, 5, 0.3, 1);
    machine.noise = 0.1;
    for _ in 0..5 {
        machine.round();
    }
    let moves: usize = (0..100).map(|_| machine.round().moves.len()).sum();
    assert!(moves <= 50, "{moves} moves in 100 rounds");
}
