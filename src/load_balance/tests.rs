// SPDX-License-Identifier: GPL-2.0-only
//! Tests of the planner: named cases, then properties of random machines.
//! Never trusts the planner's own sums: loads are added up again here.

use proptest::prelude::*;

use super::*;
use crate::weight::weight_of_nice;

const EPSILON: f64 = 1e-5;

/// The CPUs of a domain here, whatever its capacity.
fn cpus_of(domain: u32) -> std::ops::Range<u32> {
    4 * domain..4 * domain + 4
}

/// Domains as (node, capacity); every remote node is at 21.
fn machine(domains: &[(u32, f64)]) -> Snapshot {
    let ids: BTreeSet<u32> = domains.iter().map(|&(node, _)| node).collect();
    let distance = |from: u32| {
        ids.iter()
            .map(|&to| (NodeId(to), if to == from { 10 } else { 21 }))
            .collect()
    };
    Snapshot {
        nodes: ids
            .iter()
            .map(|&id| Node {
                id: NodeId(id),
                distance: distance(id),
            })
            .collect(),
        domains: (0..)
            .zip(domains)
            .map(|(id, &(node, capacity))| Domain {
                id: DomainId(id),
                node: NodeId(node),
                capacity,
                cpus: cpus_of(id).map(CpuId).collect(),
            })
            .collect(),
        ..Snapshot::default()
    }
}

fn task(slot: u32, weight: f64, demand: f64, domain: u32) -> Task {
    Task {
        id: u64::from(slot),
        task: TaskRef {
            slot,
            generation: 1,
        },
        process: slot,
        weight,
        demand,
        domain: DomainId(domain),
        mask: MaskId::ANYWHERE,
        group: GroupId::ROOT,
        movable: true,
        preferred_nodes: 0,
        moved_ago_rounds: u32::MAX,
        lag_ms: 0.0,
    }
}

impl Snapshot {
    /// Adds `count` tasks of one kind.
    fn with(mut self, count: usize, nice: i32, demand: f64, domain: u32) -> Self {
        for _ in 0..count {
            let slot = self.tasks.len() as u32;
            self.tasks
                .push(task(slot, weight_of_nice(nice), demand, domain));
        }
        self
    }

    fn applied(&self, plan: &Plan, moved_ago_rounds: u32) -> Self {
        let mut next = self.clone();
        for mv in &plan.moves {
            let task = &mut next.tasks[mv.index];
            task.domain = mv.to;
            if moved_ago_rounds == 0 {
                task.moved_ago_rounds = 0;
            }
        }
        next
    }

    fn loads(&self, entitlements: &[f64]) -> Vec<f64> {
        let mut loads = vec![0.0; self.domains.len()];
        for (task, c) in self.tasks.iter().zip(entitlements) {
            if let Some(load) = loads.get_mut(task.domain.index()) {
                *load += c;
            }
        }
        loads
    }

    /// The mask of the domains whose bits are set.
    fn confine(&mut self, domains: u64) -> MaskId {
        let cpus = (0..64)
            .filter(|domain| domains >> domain & 1 != 0)
            .flat_map(cpus_of);
        self.masks.intern_cpus(cpus.map(CpuId))
    }

    fn may_use(&self, task: &Task, domain: DomainId) -> bool {
        self.domains[domain.index()]
            .cpus
            .iter()
            .any(|&cpu| self.masks.contains(task.mask, cpu))
    }

    fn node_of(&self, domain: DomainId) -> NodeId {
        self.domains[domain.index()].node
    }
}

fn planned(snapshot: &Snapshot) -> Plan {
    plan(snapshot, &Config::default())
}

fn count_on(snapshot: &Snapshot, domain: u32) -> usize {
    snapshot
        .tasks
        .iter()
        .filter(|task| task.domain == DomainId(domain))
        .count()
}

fn assert_settled(snapshot: &Snapshot, plan: &Plan) {
    for moved_ago_rounds in [0, u32::MAX] {
        let again = planned(&snapshot.applied(plan, moved_ago_rounds));
        assert_eq!(again.moves, [], "a second plan moves again");
    }
}

#[test]
fn eight_spinners_on_one_node() {
    let snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(8, 0, 1.0, 0);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 4);
    assert!(plan.level.is_infinite());
    assert_eq!(
        plan.certificate,
        Certificate {
            cross_node_min: 4.0,
            moves_min: 4,
            imbalance_after: 0.0
        }
    );
    let first = &plan.moves[0];
    assert_eq!((first.from, first.to), (DomainId(0), DomainId(1)));
    assert_eq!(
        first.reason,
        "domain0 owes 8.000 CPUs and has 4.000, domain1 owes 0.000 CPUs and has 4.000: moves 1.000"
    );
    assert_settled(&snapshot, &plan);
}

#[test]
fn eight_spinners_among_noise() {
    let snapshot = machine(&[(0, 4.0), (1, 4.0)])
        .with(8, 0, 1.0, 0)
        .with(40, 0, 0.001, 0);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 4, "{:?}", plan.moves);
    assert_settled(&snapshot, &plan);
}

#[test]
fn room_is_no_reason_to_move() {
    for (left, right) in [(2, 2), (4, 0), (0, 4), (3, 1)] {
        let snapshot = machine(&[(0, 4.0), (1, 4.0)])
            .with(left, 0, 1.0, 0)
            .with(right, 0, 1.0, 1);
        let plan = planned(&snapshot);
        assert_eq!(plan.moves, []);
        assert_eq!(plan.certificate, Certificate::default());
    }
}

#[test]
fn one_too_many_moves_one() {
    let snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(5, 0, 1.0, 0);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 1);
    assert_settled(&snapshot, &plan);
}

#[test]
fn a_hundred_at_once() {
    let snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(200, 0, 1.0, 0);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 100);
    assert_eq!(plan.certificate.moves_min, 100);
    let snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(100, 0, 1.0, 0);
    let plan = planned(&snapshot);
    assert_eq!(count_on(&snapshot.applied(&plan, 0), 1), 50);
    assert_settled(&snapshot, &plan);
}

#[test]
fn heaviest_beside_fifteen() {
    for odd_one_out in 0..2 {
        let snapshot = machine(&[(0, 4.0), (1, 4.0)])
            .with(1, -20, 1.0, odd_one_out)
            .with(15, 0, 1.0, 0);
        let plan = planned(&snapshot);
        assert_eq!(plan.entitlements[0], 1.0);
        assert!((plan.entitlements[1] - 7.0 / 15.0).abs() < 1e-9);
        assert!(plan.certificate.imbalance_after <= 0.5 * 7.0 / 15.0 + EPSILON);
        assert_settled(&snapshot, &plan);
    }
}

#[test]
fn three_nice_levels() {
    let snapshot = machine(&[(0, 4.0), (1, 4.0)])
        .with(9, 0, 1.0, 0)
        .with(4, 5, 1.0, 0)
        .with(3, -5, 1.0, 0);
    let plan = planned(&snapshot);
    // The step's target is every group within 10 %: 0.1 of 4 CPUs is well inside.
    assert!(
        plan.certificate.imbalance_after < 0.1,
        "{:?}",
        plan.certificate
    );
    assert!(plan.moves.len() <= 9);
    assert_settled(&snapshot, &plan);
}

#[test]
fn unequal_domains() {
    let snapshot = machine(&[(0, 8.0), (1, 2.0)]).with(20, 0, 1.0, 0);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 4);
    assert!(plan.certificate.imbalance_after < EPSILON);
    assert_settled(&snapshot, &plan);
}

#[test]
fn node_without_cpus() {
    // Declared without domains, and with a domain of no capacity.
    let mut snapshot = machine(&[(0, 4.0), (2, 4.0), (3, 0.0)])
        .with(8, 0, 1.0, 0)
        .with(2, 0, 0.0, 2);
    snapshot.nodes.push(Node {
        id: NodeId(1),
        distance: BTreeMap::new(),
    });
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 6);
    let after = snapshot.applied(&plan, 0);
    assert_eq!(count_on(&after, 2), 0);
    assert_eq!(plan.certificate.imbalance_after, 0.0);
    assert_settled(&snapshot, &plan);
}

#[test]
fn no_capacity_anywhere() {
    let snapshot = machine(&[(0, 0.0), (1, f64::NAN)]).with(8, 0, 1.0, 0);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves, []);
    assert_eq!(plan.entitlements, [0.0; 8]);
}

#[test]
fn nothing_at_all() {
    assert_eq!(planned(&Snapshot::default()).moves, []);
    assert_eq!(planned(&machine(&[(0, 4.0)])).moves, []);
}

#[test]
fn node_ids_with_gaps() {
    let domains = [(0, 2.0), (0, 2.0), (2, 2.0), (2, 2.0), (5, 2.0), (5, 2.0)];
    let snapshot = machine(&domains).with(24, 0, 1.0, 3);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 20);
    assert!(plan.certificate.imbalance_after < EPSILON);
    assert!((plan.certificate.cross_node_min - 8.0).abs() < EPSILON);
    assert_settled(&snapshot, &plan);
}

#[test]
fn stays_inside_the_node_where_it_can() {
    let domains = [(0, 4.0), (0, 4.0), (1, 4.0), (1, 4.0)];
    let snapshot = machine(&domains).with(8, 0, 1.0, 0);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 4);
    assert!(plan.moves.iter().all(|mv| mv.to == DomainId(1)));
    assert_eq!(plan.certificate.cross_node_min, 0.0);
}

#[test]
fn prefers_the_nearer_node() {
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0), (2, 4.0)]).with(6, 0, 1.0, 0);
    snapshot.nodes[0].distance.insert(NodeId(1), 32);
    snapshot.nodes[0].distance.insert(NodeId(2), 12);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 2);
    assert!(plan.moves.iter().all(|mv| mv.to == DomainId(2)));
}

#[test]
fn swaps_where_no_move_helps() {
    // 1.3 against 0.7 CPUs. What may move is 0.9 and 0.6: too much alone.
    let mut snapshot = machine(&[(0, 1.0), (1, 1.0)]);
    for (slot, (demand, domain)) in (0..).zip([(0.9, 0), (0.4, 0), (0.6, 1), (0.1, 1)]) {
        snapshot.tasks.push(task(slot, 100.0, demand, domain));
    }
    snapshot.tasks[1].movable = false;
    snapshot.tasks[3].movable = false;
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 2, "{plan:?}");
    assert!(plan.certificate.imbalance_after < EPSILON);
    assert!(
        plan.moves[0]
            .reason
            .ends_with("moves 0.900 for the 0.600 of row 2.1"),
        "{:?}",
        plan.moves
    );
    assert_settled(&snapshot, &plan);
}

#[test]
fn threads_move_together() {
    // Two processes on one node, threads interleaved; one of them must go.
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(16, 0, 0.5, 0);
    for task in &mut snapshot.tasks {
        task.process = 100 + task.task.slot % 2;
    }
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 8);
    let processes: BTreeSet<u32> = plan
        .moves
        .iter()
        .map(|mv| snapshot.tasks[mv.index].process)
        .collect();
    assert_eq!(processes.len(), 1);
}

#[test]
fn smaller_process_moves_whole() {
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(10, 0, 0.5, 0);
    for task in &mut snapshot.tasks {
        task.process = if task.task.slot % 5 == 0 { 7 } else { 8 };
    }
    let plan = planned(&snapshot);
    let slots: BTreeSet<u32> = plan.moves.iter().map(|mv| mv.task.slot).collect();
    assert_eq!(slots, BTreeSet::from([0, 5]));
}

#[test]
fn memory_policy_is_heeded_if_asked() {
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(6, 0, 1.0, 0);
    for task in &mut snapshot.tasks[2..] {
        task.preferred_nodes = 1;
    }
    snapshot.tasks[1].preferred_nodes = 2;
    let heeding = Config {
        mempolicy_affinity: true,
        ..Config::default()
    };
    let moved = |snapshot: &Snapshot| -> Vec<u32> {
        let mut slots: Vec<u32> = plan(snapshot, &heeding)
            .moves
            .iter()
            .map(|mv| mv.task.slot)
            .collect();
        slots.sort();
        slots
    };
    assert_eq!(moved(&snapshot), [0, 1]);
    // The one whose memory is over there goes first.
    snapshot.domains[0].capacity = 5.0;
    assert_eq!(moved(&snapshot), [1]);
    // All prefer to stay, and still some must go.
    snapshot.domains[0].capacity = 4.0;
    snapshot.tasks[0].preferred_nodes = 1;
    snapshot.tasks[1].preferred_nodes = 1;
    assert_eq!(moved(&snapshot).len(), 2);
}

#[test]
fn moved_lately_rests() {
    let crowd = |extra: usize, moved_ago_rounds| {
        let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(4 + extra, 0, 1.0, 0);
        snapshot
            .tasks
            .iter_mut()
            .for_each(|task| task.moved_ago_rounds = moved_ago_rounds);
        planned(&snapshot).moves.len()
    };
    assert_eq!(crowd(1, 2), 0);
    assert_eq!(crowd(1, 3), 1);
    // Far past capacity resting ends, until the gap is one CPU.
    assert_eq!(crowd(3, 0), 2);
    // A gap of one CPU does not end it, however the sum was rounded.
    let mut snapshot = machine(&[(0, 2.0), (1, 2.0)])
        .with(3, 0, 1.0, 0)
        .with(10, 0, 0.1, 1);
    for task in &mut snapshot.tasks {
        task.moved_ago_rounds = 0;
    }
    snapshot.domains[0].capacity = 2.0 - f64::EPSILON;
    assert_eq!(planned(&snapshot).moves, []);
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(5, 0, 1.0, 0);
    for (ago, task) in (3..).zip(&mut snapshot.tasks) {
        task.moved_ago_rounds = ago;
    }
    assert_eq!(planned(&snapshot).moves[0].task.slot, 4);
}

#[test]
fn pinned_and_confined_tasks_stay() {
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(8, 0, 1.0, 0);
    for task in &mut snapshot.tasks[..3] {
        task.movable = false;
    }
    let confined = snapshot.confine(0b01);
    for task in &mut snapshot.tasks[3..6] {
        task.mask = confined;
    }
    let plan = planned(&snapshot);
    let slots: BTreeSet<u32> = plan.moves.iter().map(|mv| mv.task.slot).collect();
    assert_eq!(slots, BTreeSet::from([6, 7]));
    assert!((plan.certificate.imbalance_after - 2.0).abs() < EPSILON);
    assert_settled(&snapshot, &plan);
}

#[test]
fn leaves_a_domain_it_may_not_use() {
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(1, 0, 0.0, 0);
    snapshot.tasks[0].mask = snapshot.confine(0b10);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 1);
    assert!(plan.moves[0].reason.contains("may not use"));
    assert_settled(&snapshot, &plan);
}

#[test]
fn unknown_domain_is_left_alone() {
    let snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(3, 0, 1.0, 9);
    let plan = planned(&snapshot);
    assert_eq!(
        (plan.entitlements.as_slice(), plan.moves.len()),
        ([1.0; 3].as_slice(), 0)
    );
}

#[test]
fn limits_are_kept() {
    let snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(100, 0, 1.0, 0);
    let few = Config {
        max_moves: 7,
        ..Config::default()
    };
    assert_eq!(plan(&snapshot, &few).moves.len(), 7);
    let off = Config {
        enabled: false,
        ..Config::default()
    };
    let off = plan(&snapshot, &off);
    assert_eq!(off.moves, []);
    assert_eq!(off.domains[0].before, off.domains[0].after);
    assert!((off.certificate.imbalance_after - 4.0).abs() < EPSILON);
}

#[test]
fn thousands_of_small_tasks_settle() {
    let snapshot = machine(&[(0, 16.0), (0, 16.0), (1, 16.0), (1, 16.0)])
        .with(4_000, 0, 1.0, 0)
        .with(2_000, 19, 0.3, 2);
    let everything = Config {
        max_moves: usize::MAX,
        ..Config::default()
    };
    let done = plan(&snapshot, &everything);
    let largest = done.entitlements.iter().copied().fold(0.0, f64::max);
    assert!(
        done.certificate.imbalance_after <= largest + EPSILON,
        "{:?}",
        done.certificate
    );
    let after = snapshot.applied(&done, u32::MAX);
    assert_eq!(plan(&after, &everything).moves.len(), 0);
}

#[test]
fn effort_is_bounded() {
    // Most tasks of a crowded domain may go nowhere: every search is long.
    let mut snapshot = machine(&[(0, 4.0), (0, 4.0), (1, 4.0), (1, 4.0)]).with(3_000, 0, 1.0, 0);
    let confined = snapshot.confine(1);
    for (weight, task) in (1u32..).zip(&mut snapshot.tasks) {
        task.weight = f64::from(weight);
        if !weight.is_multiple_of(10) {
            task.mask = confined;
        }
    }
    let moves = |max_looks| {
        let config = Config {
            max_looks,
            ..Config::default()
        };
        plan(&snapshot, &config).moves.len()
    };
    assert_eq!(moves(0), 0);
    assert_eq!(moves(1), 1);
    assert!(moves(20_000) < moves(u64::MAX));
    assert_eq!(moves(Config::default().max_looks), moves(u64::MAX));
}

/// A random machine with a random, partly constrained, set of tasks.
fn snapshots(
    constrained: bool,
    most_domains: usize,
    most_tasks: usize,
) -> impl Strategy<Value = Snapshot> {
    let node = prop::sample::select(vec![0u32, 2, 5]);
    let capacity = prop_oneof![
        4 => Just(4.0),
        1 => Just(8.0),
        1 => Just(2.0),
        1 => 0.5..6.0f64,
        1 => Just(if constrained { 0.0 } else { 1.0 }),
    ];
    prop::collection::vec((node, capacity), 1..=most_domains).prop_flat_map(move |domains| {
        let tasks = prop::collection::vec(
            random_task(domains.len() as u32, constrained),
            0..=most_tasks,
        );
        tasks.prop_map(move |tasks| {
            let mut snapshot = machine(&domains);
            for (slot, (task, confined_to)) in (0..).zip(tasks) {
                let mask =
                    confined_to.map_or(MaskId::ANYWHERE, |domains| snapshot.confine(domains));
                let row = TaskRef {
                    slot,
                    generation: 1,
                };
                snapshot.tasks.push(Task {
                    id: u64::from(slot),
                    task: row,
                    mask,
                    ..task
                });
            }
            snapshot
        })
    })
}

/// A task, and the domains it is confined to if it is.
fn random_task(domains: u32, constrained: bool) -> impl Strategy<Value = (Task, Option<u64>)> {
    let weight = prop_oneof![Just(100.0), (-20..20i32).prop_map(weight_of_nice)];
    let demand = prop_oneof![2 => Just(1.0), 2 => 0.0..1.0f64, 1 => Just(0.0), 1 => 0.0..0.01f64];
    // Mostly crowded: half of the tasks are in domain 0.
    let domain = prop_oneof![Just(0), 0..domains];
    let odd = (0..8u32, any::<u64>(), 0..8u32, 0..6u32, 0..4u32);
    (weight, demand, domain, odd).prop_map(move |(weight, demand, domain, odd)| {
        let mut task = task(0, weight, demand, domain);
        let (mask, bits, pinned, ago, process) = odd;
        task.process = process;
        let mut confined_to = None;
        if constrained {
            task.movable = pinned != 0;
            task.preferred_nodes = bits >> 32 & 0b100101;
            task.moved_ago_rounds = if ago == 5 { u32::MAX } else { ago };
            if mask < 3 {
                confined_to = Some(bits | u64::from(mask == 0) << domain);
            }
        }
        (task, confined_to)
    })
}

fn wrong(plan: &Plan, load: impl Fn(&DomainPlan) -> f64) -> f64 {
    let gap = |domain: &DomainPlan| load(domain) - domain.capacity;
    let limited = plan.level.is_finite();
    plan.domains
        .iter()
        .map(|d| {
            if limited {
                gap(d).abs()
            } else {
                gap(d).max(0.0)
            }
        })
        .sum()
}

fn largest(plan: &Plan) -> f64 {
    plan.entitlements.iter().copied().fold(0.0, f64::max)
}

/// The least max distance from a fair load over all assignments.
fn best_imbalance(snapshot: &Snapshot, plan: &Plan) -> f64 {
    fn search(left: &[f64], loads: &mut [f64], capacity: &[f64], limited: bool) -> f64 {
        let Some((&c, rest)) = left.split_first() else {
            let off = loads
                .iter()
                .zip(capacity)
                .map(|(load, capacity)| load - capacity);
            return off
                .map(|gap| if limited { gap.abs() } else { gap.max(0.0) })
                .fold(0.0, f64::max);
        };
        let mut best = f64::INFINITY;
        for domain in 0..loads.len() {
            loads[domain] += c;
            best = best.min(search(rest, loads, capacity, limited));
            loads[domain] -= c;
        }
        best
    }
    let capacity: Vec<f64> = snapshot
        .domains
        .iter()
        .map(|domain| domain.capacity)
        .collect();
    search(
        &plan.entitlements,
        &mut vec![0.0; capacity.len()],
        &capacity,
        plan.level.is_finite(),
    )
}

proptest! {
    #[test]
    fn moves_are_legal_and_sums_true(
        snapshot in snapshots(true, 6, 40), mempolicy_affinity in any::<bool>(), max_moves in 0..30usize,
    ) {
        let config = Config { mempolicy_affinity, max_moves, ..Config::default() };
        let plan = plan(&snapshot, &config);
        prop_assert!(plan.moves.len() <= max_moves);
        let mut seen = BTreeSet::new();
        for mv in &plan.moves {
            let task = &snapshot.tasks[mv.index];
            prop_assert_eq!((mv.task, mv.from), (task.task, task.domain));
            prop_assert!(mv.from != mv.to && task.movable && snapshot.may_use(task, mv.to));
            prop_assert!(snapshot.domains[mv.to.index()].capacity > 0.0);
            prop_assert_eq!(mv.entitlement, plan.entitlements[mv.index]);
            prop_assert!(seen.insert(mv.task));
        }
        let before = snapshot.loads(&plan.entitlements);
        let after = snapshot.applied(&plan, 0).loads(&plan.entitlements);
        for (domain, (before, after)) in plan.domains.iter().zip(before.iter().zip(&after)) {
            prop_assert!((domain.before - before).abs() < EPSILON);
            prop_assert!((domain.after - after).abs() < EPSILON);
        }
        prop_assert!((before.iter().sum::<f64>() - after.iter().sum::<f64>()).abs() < EPSILON);
    }

    #[test]
    fn plans_help(snapshot in snapshots(false, 6, 40)) {
        let plan = planned(&snapshot);
        let (before, after) = (wrong(&plan, |d| d.before), wrong(&plan, |d| d.after));
        prop_assert!(plan.moves.is_empty() || after < before, "{before} -> {after}");
        prop_assert!(plan.certificate.imbalance_after <= largest(&plan) + EPSILON, "{:?}", plan.certificate);
    }

    #[test]
    fn nothing_left_to_do(snapshot in snapshots(true, 6, 40), mempolicy_affinity in any::<bool>()) {
        let config = Config { mempolicy_affinity, ..Config::default() };
        let first = plan(&snapshot, &config);
        for moved_ago_rounds in [0, u32::MAX] {
            let again = plan(&snapshot.applied(&first, moved_ago_rounds), &config);
            prop_assert_eq!(again.moves, []);
        }
    }

    #[test]
    fn order_does_not_matter(
        (snapshot, shuffled) in snapshots(true, 6, 40).prop_flat_map(|snapshot| {
            let places: Vec<usize> = (0..snapshot.tasks.len()).collect();
            (Just(snapshot), Just(places).prop_shuffle())
        }),
    ) {
        let plain = planned(&snapshot);
        let mut permuted = snapshot.clone();
        permuted.tasks = shuffled.iter().map(|&i| snapshot.tasks[i]).collect();
        let mut other = planned(&permuted);
        for mv in &mut other.moves {
            mv.index = shuffled[mv.index];
        }
        prop_assert_eq!(&plain.moves, &other.moves);
        prop_assert_eq!(&plain.domains, &other.domains);
        prop_assert_eq!(plain.certificate, other.certificate);
        for (place, &i) in shuffled.iter().enumerate() {
            prop_assert_eq!(plain.entitlements[i], other.entitlements[place]);
        }
    }

    #[test]
    fn certificate_bounds_the_plan(snapshot in snapshots(true, 6, 40), max_moves in prop_oneof![Just(1024usize), 0..10usize]) {
        let plan = plan(&snapshot, &Config { max_moves, ..Config::default() });
        prop_assert!(plan.moves.len() >= plan.certificate.moves_min, "{:?}", plan.certificate);
        let crosses = |mv: &&Move| snapshot.node_of(mv.from) != snapshot.node_of(mv.to);
        let crossed: f64 = plan.moves.iter().filter(crosses).map(|mv| mv.entitlement).sum();
        prop_assert!(crossed >= plan.certificate.cross_node_min - EPSILON, "{crossed} {:?}", plan.certificate);
    }

    #[test]
    fn near_the_optimum(snapshot in snapshots(false, 3, 7)) {
        let plan = planned(&snapshot);
        let best = best_imbalance(&snapshot, &plan);
        let reached = plan.certificate.imbalance_after;
        prop_assert!(reached >= best - EPSILON);
        prop_assert!(reached <= best + largest(&plan) + EPSILON, "{reached} {best}");
    }

    #[test]
    fn evacuates(snapshot in snapshots(true, 6, 40)) {
        let plan = planned(&snapshot);
        for task in &snapshot.applied(&plan, 0).tasks {
            let refuge = |domain: &Domain| domain.capacity > 0.0 && snapshot.may_use(task, domain.id);
            if task.movable && snapshot.domains.iter().any(refuge) {
                prop_assert!(refuge(&snapshot.domains[task.domain.index()]));
            }
        }
    }
}
