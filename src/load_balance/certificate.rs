// SPDX-License-Identifier: GPL-2.0-only
//! The certificate: bounds that hold for every plan, and what remains.
//! Never looks at how the plan was found.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ordered_float::OrderedFloat;

use super::Certificate;
use super::board::{Board, LEAST};
use crate::ids::NodeId;

/// Certifies the board's present state; `before` are the loads at the start.
pub(super) fn certify(board: &Board, before: &[f64]) -> Certificate {
    let imbalance_after = board
        .seats
        .iter()
        .map(|seat| distance_from_fair(board, seat.gap()))
        .fold(0.0, f64::max);
    Certificate {
        cross_node_min: cross_node_min(board, before),
        moves_min: moves_min(board, before, imbalance_after),
        imbalance_after,
    }
}

fn distance_from_fair(board: &Board, gap: f64) -> f64 {
    if board.is_limited() {
        gap.abs()
    } else {
        gap.max(0.0)
    }
}

/// What a node owes beyond its capacity and the largest remainder must leave
/// it; what it lacks must come in. Both count the same load: take the larger.
fn cross_node_min(board: &Board, before: &[f64]) -> f64 {
    let mut gaps: BTreeMap<NodeId, (f64, f64)> = BTreeMap::new();
    for (seat, load) in board.seats.iter().zip(before) {
        let gap = gaps.entry(seat.node).or_default();
        gap.0 += load - seat.capacity;
        gap.1 += seat.gap();
    }
    let remains = gaps
        .values()
        .map(|gap| distance_from_fair(board, gap.1))
        .fold(0.0, f64::max);
    let out: f64 = gaps.values().map(|gap| (gap.0 - remains).max(0.0)).sum();
    let lacking: f64 = gaps.values().map(|gap| (-gap.0 - remains).max(0.0)).sum();
    let least = if board.is_limited() {
        out.max(lacking)
    } else {
        out
    };
    if least > LEAST { least } else { 0.0 }
}

/// Every domain gets rid of its excess with its largest tasks, or gets what it
/// lacks in pieces as large as the largest task.
fn moves_min(board: &Board, before: &[f64], remains: f64) -> usize {
    let gaps: Vec<f64> = board
        .seats
        .iter()
        .zip(before)
        .map(|(seat, load)| load - seat.capacity)
        .collect();
    let mut shares: Vec<Vec<f64>> = vec![Vec::new(); gaps.len()];
    for item in board.items.iter().filter(|item| item.task.movable) {
        if let Some(seat) = board
            .origin(item)
            .filter(|&seat| gaps[seat] > remains + LEAST)
        {
            shares[seat].push(item.share);
        }
    }
    let out: usize = gaps
        .iter()
        .zip(&mut shares)
        .map(|(gap, shares)| fewest(shares, gap - remains))
        .sum();
    let largest = board.largest;
    let lacking = |gap: &f64| match -gap - remains {
        lack if lack > LEAST && largest > 0.0 => ((lack - LEAST) / largest).ceil() as usize,
        _ => 0,
    };
    let into: usize = if board.is_limited() {
        gaps.iter().map(lacking).sum()
    } else {
        0
    };
    out.max(into)
}

/// How many of the largest shares add up to `excess`.
fn fewest(shares: &mut [f64], excess: f64) -> usize {
    shares.sort_unstable_by_key(|&share| Reverse(OrderedFloat(share)));
    let mut left = excess - LEAST;
    let mut count = 0;
    for share in shares {
        if left <= 0.0 {
            break;
        }
        left -= *share;
        count += 1;
    }
    count
}
