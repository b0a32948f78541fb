// SPDX-License-Identifier: GPL-2.0-only
//! What came of a run, as a table a person can read.
//! Never decides whether it is good.

use std::fmt::Write;

use crate::run::Outcome;

/// The table of one run.
pub fn table(outcome: &Outcome) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: seed {}, {} CPUs, {:.3} s, balancer {}, hash {}",
        outcome.scenario,
        outcome.seed,
        outcome.cpus,
        outcome.seconds,
        outcome.balancer,
        outcome.hash
    );
    let _ = writeln!(
        text,
        "\n{:<20} {:>6} {:>9} {:>9} {:>9} {:>10} {:>10} {:>9}",
        "group", "tasks", "owed/task", "had/task", "progress", "bursts/s", "wait ms", "lag ms"
    );
    let number = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => "-".to_owned(),
    };
    for group in &outcome.groups {
        let _ = writeln!(
            text,
            "{:<20} {:>6} {:>9} {:>9.3} {:>9.3} {:>10.1} {:>10.3} {:>9}",
            group.name,
            group.tasks,
            number(group.entitled, 3),
            group.received,
            group.progress,
            group.bursts_per_s,
            group.longest_wait_ms,
            number(group.worst_lag_ms, 1)
        );
    }
    let moves = &outcome.moves;
    let _ = writeln!(
        text,
        "\nutilisation {:.1} %, share error {}, {} rounds, moves {} = {} applied + {} refused + {} expired + {} open",
        100.0 * outcome.utilisation,
        outcome
            .share_error
            .map_or("-".to_owned(), |error| format!("{:.1} %", 100.0 * error)),
        outcome.rounds,
        moves.requested,
        moves.applied,
        moves.refused,
        moves.expired,
        moves.requested - moves.applied - moves.refused - moves.expired,
    );
    let _ = writeln!(
        text,
        "{} events, {} switches, {} kicks, {} CPU migrations, {} cache migrations ({} between nodes), {:.3} ms waiting for queue locks",
        outcome.events,
        outcome.switches,
        outcome.kicks,
        outcome.cpu_migrations,
        outcome.llc_migrations,
        outcome.node_migrations,
        outcome.lock_wait_ms
    );
    verdict(outcome, &mut text);
    text
}

fn verdict(outcome: &Outcome, text: &mut String) {
    if outcome.is_good() {
        text.push_str("checks: all kept\n");
        return;
    }
    for (check, count) in &outcome.failed {
        let _ = writeln!(text, "FAILED {check}: {count} times");
    }
    for failure in &outcome.failures {
        let _ = writeln!(
            text,
            "  {:.6} s {}: {}",
            failure.at_s, failure.check, failure.text
        );
    }
    if !outcome.dump.is_empty() {
        let _ = writeln!(text, "the scheduler's dump:\n{}", outcome.dump);
    }
}

/// Runs of the same scenario under several balancers, side by side.
pub fn comparison(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<10} {:>11} {:>11} {:>7} {:>11} {:>11} {:>9}\n",
        "balancer", "utilisation", "share error", "moves", "cache migr.", "node migr.", "progress"
    );
    for outcome in outcomes {
        let progress: f64 = outcome.groups.iter().map(|group| group.progress).sum();
        let _ = writeln!(
            text,
            "{:<10} {:>10.1}% {:>11} {:>7} {:>11} {:>11} {:>9.3}",
            outcome.balancer,
            100.0 * outcome.utilisation,
            outcome
                .share_error
                .map_or("-".to_owned(), |error| format!("{:.1}%", 100.0 * error)),
            outcome.moves.requested,
            outcome.llc_migrations,
            outcome.node_migrations,
            progress
        );
    }
    text
}
