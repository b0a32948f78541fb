// SPDX-License-Identifier: GPL-2.0-only
//! Properties of plans on random machines, against oracles written another way.
//! Never a named case: those are beside this.

use proptest::prelude::*;

use super::*;

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

/// Machines whose domains have CPUs enough for tasks that sleep to be spread over them.
fn with_sleepers() -> impl Strategy<Value = Snapshot> {
    let domain = (0..2u32, 8..20u32);
    let sleepers = prop::collection::vec((0.05..0.95f64, 0..6usize, 0..4u32), 0..12);
    let hogs = prop::collection::vec((-3..6i32, 4..16usize, 0..4u32), 1..8);
    (prop::collection::vec(domain, 2..=4), hogs, sleepers).prop_map(|(domains, hogs, sleepers)| {
        let count = domains.len() as u32;
        let domains: Vec<_> = domains
            .iter()
            .map(|&(node, cpus)| (node, cpus.into()))
            .collect();
        let mut snapshot = machine(&domains);
        for (nice, tasks, domain) in hogs {
            snapshot = snapshot.with(tasks, nice, 1.0, domain % count);
        }
        for (demand, tasks, domain) in sleepers {
            snapshot = snapshot.with(tasks, 0, demand, domain % count);
        }
        snapshot
    })
}

proptest! {
    #![proptest_config(crate::seeds::config("load_balance::tests"))]

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
        let plan = plan(&snapshot, &at_once());
        let (before, after) = (wrong(&plan, |d| d.before), wrong(&plan, |d| d.after));
        // Inside a node that is off as a whole, domains may share that more evenly.
        let node = |id: DomainId| snapshot.domains[id.index()].node;
        let stay = plan.moves.iter().all(|mv| node(mv.from) == node(mv.to));
        let evens = stay && after < before + EPSILON;
        // To mix may cost what is within the bands.
        let mixes = plan.moves.iter().any(|mv| mv.reason.cause == Cause::Mix);
        let bands: f64 = plan.domains.iter().map(|domain| 0.01 * domain.capacity).sum();
        let evens = evens || mixes && after < before + bands;
        prop_assert!(plan.moves.is_empty() || after < before || evens, "{before} -> {after}");
        prop_assert!(plan.certificate.imbalance_after <= largest(&plan) + EPSILON, "{:?}", plan.certificate);
    }

    #[test]
    fn nothing_left_to_do(snapshot in snapshots(true, 6, 40), mempolicy_affinity in any::<bool>()) {
        let config = Config { mempolicy_affinity, ..at_once() };
        let first = plan(&snapshot, &config);
        for moved_ago_rounds in [0, u32::MAX] {
            let again = plan(&snapshot.applied(&first, moved_ago_rounds), &config);
            // One that was moved for its load can seldom be mixed as well, or stand in the way:
            // then mixing is left, and what evens it out.
            let mixes = |mv: &Move| mv.reason.cause == Cause::Mix;
            if again.moves.iter().any(mixes) {
                let after = snapshot.applied(&first, moved_ago_rounds).applied(&again, moved_ago_rounds);
                let third = plan(&after, &config);
                prop_assert!(third.moves.iter().all(mixes), "{:?}", third.moves);
            } else {
                prop_assert_eq!(again.moves, []);
            }
        }
    }

    #[test]
    fn mixing_ends(snapshot in with_sleepers()) {
        let first = plan(&snapshot, &at_once());
        prop_assert!(first.certificate.imbalance_after <= largest(&first) + EPSILON, "{:?}", first.certificate);
        let again = plan(&snapshot.applied(&first, u32::MAX), &at_once());
        prop_assert_eq!(again.moves, []);
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
