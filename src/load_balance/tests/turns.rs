// SPDX-License-Identifier: GPL-2.0-only
//! Taking turns: a fluid machine on which plans are carried out and lag adds up.
//! Never long enough for a person to wait for.

use super::*;
use crate::entitlement::{Claim, fill};

/// A second of every domain sharing its CPUs fairly among its own tasks: what
/// each task received, in CPUs.
fn serve(snapshot: &Snapshot) -> Vec<f64> {
    let mut received = vec![0.0; snapshot.tasks.len()];
    for domain in &snapshot.domains {
        let here: Vec<usize> = (0..snapshot.tasks.len())
            .filter(|&task| snapshot.tasks[task].domain == domain.id)
            .collect();
        let claim = |&task: &usize| Claim {
            weight: snapshot.tasks[task].weight,
            demand: snapshot.tasks[task].demand,
        };
        let claims: Vec<Claim> = here.iter().map(claim).collect();
        let mut shares = Vec::new();
        fill(&claims, domain.capacity, &mut shares);
        for (&task, share) in here.iter().zip(shares) {
            received[task] = share;
        }
    }
    received
}

/// Root mean square over tasks of the relative error of what they received in
/// `judged` rounds after `settling`, and the moves made in those.
fn run(mut snapshot: Snapshot, settling: usize, judged: usize) -> (f64, usize) {
    let config = Config::default();
    let (mut got, mut moves) = (vec![0.0; snapshot.tasks.len()], 0);
    let mut owed = Vec::new();
    for round in 0..settling + judged {
        let plan = plan(&snapshot, &config);
        for task in &mut snapshot.tasks {
            task.moved_ago_rounds = task.moved_ago_rounds.saturating_add(1);
        }
        for mv in &plan.moves {
            snapshot.tasks[mv.index].domain = mv.to;
            snapshot.tasks[mv.index].moved_ago_rounds = 0;
        }
        let received = serve(&snapshot);
        for (at, task) in snapshot.tasks.iter_mut().enumerate() {
            task.lag_ms += 1000.0 * (plan.entitlements[at] - received[at]);
            if round >= settling {
                got[at] += received[at] / judged as f64;
            }
        }
        moves += if round >= settling {
            plan.moves.len()
        } else {
            0
        };
        owed = plan.entitlements;
    }
    let square = |(got, owed): (&f64, &f64)| (got / owed - 1.0).powi(2);
    let sum: f64 = got.iter().zip(&owed).map(square).sum();
    ((sum / owed.len() as f64).sqrt(), moves)
}

#[test]
fn fifteen_equal_tasks_on_two_nodes_get_the_same() {
    let snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(15, 0, 1.0, 0);
    let (error, moves) = run(snapshot.clone(), 10, 60);
    assert!(error < 0.02, "{error}");
    // 0.071 CPU of difference: the bound of 2 × 210 ms is passed in 6 s.
    assert!((5..=20).contains(&moves), "{moves} moves in a minute");
    // Without turns, which no lag never asks for, it is 0.067 for ever.
    let mut never = snapshot;
    for task in &mut never.tasks {
        task.movable = task.task.slot >= 8;
    }
    let plan = planned(&never);
    assert!(plan.certificate.imbalance_after > 0.2, "{plan:?}");
}

#[test]
fn turns_between_three_domains_and_unequal_ones() {
    for (domains, count) in [
        (vec![(0, 4.0), (0, 4.0), (1, 4.0)], 13),
        (vec![(0, 8.0), (1, 4.0)], 19),
        (vec![(0, 1.0), (1, 1.0)], 3),
    ] {
        let snapshot = machine(&domains).with(count, 0, 1.0, 0);
        let (error, moves) = run(snapshot, 10, 60);
        assert!(error < 0.04, "{domains:?}: {error}");
        assert!(moves <= 120, "{domains:?}: {moves} moves in a minute");
    }
}

#[test]
fn places_are_changed_where_no_turn_is_possible() {
    // 6 of 7/15 beside one of 1 CPU, 9 on the other side: 3.8 and 4.2 CPUs, and
    // any move is larger than the 0.4 between them.
    let snapshot = machine(&[(0, 4.0), (1, 4.0)])
        .with(1, -20, 1.0, 0)
        .with(15, 0, 1.0, 0);
    let (error, moves) = run(snapshot, 20, 60);
    assert!(error < 0.02, "{error}");
    assert!(moves <= 4 * 60, "{moves} moves in a minute");
}

#[test]
fn turns_of_unequal_tasks_are_exchanges() {
    // 1.025 and 0.975 CPUs: no task is as small as the 0.05 between them, but
    // the 0.5 and the 0.45 differ by that.
    let mut snapshot = machine(&[(0, 1.0), (1, 1.0)]);
    for (slot, (demand, domain)) in (0..).zip([(0.6, 0), (0.5, 0), (0.55, 1), (0.45, 1)]) {
        snapshot.tasks.push(task(slot, 100.0, demand, domain));
        snapshot.tasks[slot as usize].lag_ms = if domain == 0 { 300.0 } else { 0.0 };
    }
    let plan = planned(&snapshot);
    let moved: BTreeSet<usize> = plan.moves.iter().map(|mv| mv.index).collect();
    assert_eq!(moved, BTreeSet::from([1, 3]), "{plan:?}");
    assert!((plan.domains[1].after - 1.025).abs() < EPSILON);
    let reason = plan.moves[0].reason.to_string();
    assert!(
        reason.contains("waited longer") && reason.contains("for the 0.450"),
        "{reason}"
    );
}

#[test]
fn lag_within_the_bound_moves_nobody() {
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)])
        .with(8, 0, 1.0, 0)
        .with(7, 0, 1.0, 1);
    let moves = |snapshot: &Snapshot| planned(snapshot).moves.len();
    let lag = |snapshot: &mut Snapshot, ms: f64| {
        for task in &mut snapshot.tasks {
            task.lag_ms = if task.domain == DomainId(0) { ms } else { -ms };
        }
    };
    lag(&mut snapshot, 104.0);
    assert_eq!(moves(&snapshot), 0);
    lag(&mut snapshot, 106.0);
    assert_eq!(moves(&snapshot), 1);
    let plan = planned(&snapshot);
    assert!(
        plan.moves[0]
            .reason
            .to_string()
            .contains("have waited longer"),
        "{plan:?}"
    );
    // Nearer, the bound is lower.
    snapshot.domains[1].node = NodeId(0);
    lag(&mut snapshot, 51.0);
    assert_eq!(moves(&snapshot), 1);
    // Whoever is ahead has no turn, however far.
    lag(&mut snapshot, -900.0);
    assert_eq!(moves(&snapshot), 0);
}

#[test]
fn who_is_least_behind_goes() {
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)])
        .with(8, 0, 1.0, 0)
        .with(7, 0, 1.0, 1);
    for task in &mut snapshot.tasks {
        let behind = 300.0 + f64::from(task.task.slot);
        task.lag_ms = if task.domain == DomainId(0) {
            behind
        } else {
            0.0
        };
    }
    snapshot.tasks[5].lag_ms = 100.0;
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 1);
    assert_eq!(plan.moves[0].index, 5);
}
