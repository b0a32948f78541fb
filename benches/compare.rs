// SPDX-License-Identifier: GPL-2.0-only
//! Writes docs/planning.md: plans and entitlements beside those of others.
//! Never needs a kernel: all run on the same fluid machine.

mod peers;
mod sequence;

use std::fmt::Write;

use peers::fluid::{self, Balancer, Outcome};
use peers::instances::{crowd, machine, random};
use peers::quality::Quality;
use peers::{aggregator, fluid::JUDGED_ROUNDS, fluid::SETTLING_ROUNDS};
use scx_ballast::entitlement::{Claim, fill};
use scx_ballast::load_balance::Snapshot;
use scx_ballast::weight::weight_of_nice;
use sequence::Sequence;

/// Random instances of each kind: enough for a tenth of a percent in the means.
const INSTANCES: u64 = 40;

fn main() {
    let mut page = String::from(HEAD);
    plans(&mut page);
    qualities(&mut page);
    entitlements(&mut page);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/planning.md");
    print!("{page}");
    if let Err(error) = std::fs::write(path, page) {
        eprintln!("writing {path}: {error}");
        std::process::exit(1);
    }
}

const HEAD: &str = "\
# Plans and entitlements beside those of others

Written by `make bench`. Everything here is computed, none of it measured on a
kernel: a fluid machine in which every domain shares its CPUs fairly among its own
tasks, and a balancer that moves tasks once a second.

";

/// A named case and the instances that make it up.
type Case = (&'static str, Vec<Snapshot>);

fn cases() -> Vec<Case> {
    let two = |build: fn(&mut Snapshot)| {
        let mut snapshot = machine(2, 1, 4);
        build(&mut snapshot);
        vec![snapshot]
    };
    let randoms = |nodes, domains, crowded| {
        (0..INSTANCES)
            .map(|seed| random(seed, nodes, domains, crowded))
            .collect()
    };
    vec![
        ("8 × nice 0 on one node", two(|s| crowd(s, 8, 0, 1.0, 0))),
        ("12 × nice 0 on one node", two(|s| crowd(s, 12, 0, 1.0, 0))),
        ("15 × nice 0 on one node", two(|s| crowd(s, 15, 0, 1.0, 0))),
        (
            "100 × nice 0 on one node",
            two(|s| crowd(s, 100, 0, 1.0, 0)),
        ),
        (
            "nice −20 and 15 × nice 0",
            two(|s| {
                crowd(s, 1, -20, 1.0, 0);
                crowd(s, 15, 0, 1.0, 0);
            }),
        ),
        (
            "9 × nice 0, 4 × nice 5, 3 × nice −5",
            two(|s| {
                crowd(s, 9, 0, 1.0, 0);
                crowd(s, 4, 5, 1.0, 0);
                crowd(s, 3, -5, 1.0, 0);
            }),
        ),
        (
            "20 × 0.2 CPU beside 12 spinners",
            two(|s| {
                crowd(s, 20, 0, 0.2, 0);
                crowd(s, 12, 0, 1.0, 1);
            }),
        ),
        ("unequal domains: 20 × nice 0 on 6 + 2 CPUs", {
            let mut snapshot = machine(2, 1, 4);
            snapshot.domains[0].capacity = 6.0;
            snapshot.domains[1].capacity = 2.0;
            crowd(&mut snapshot, 20, 0, 1.0, 0);
            vec![snapshot]
        }),
        ("random, 2 nodes × 4 domains", randoms(2, 4, false)),
        ("random, 4 nodes × 8 domains", randoms(4, 8, false)),
        (
            "the same, half of them crowding one node",
            randoms(4, 8, true),
        ),
    ]
}

fn plans(page: &mut String) {
    let _ = writeln!(
        page,
        "## Plans\n\n\
         After {SETTLING_ROUNDS} rounds to settle, {JUDGED_ROUNDS} rounds are judged. *Error* is the root mean\n\
         square over tasks of (received − entitlement) / entitlement, in per cent; *used* is\n\
         what the tasks received of what they could have; *moves* are those until the judged\n\
         rounds, and in them; *crossed* is the entitlement moved between nodes, in CPUs. Random\n\
         cases are means of {INSTANCES} instances with 16 to 32 tasks a domain.\n\n\
         scx_rusty is its published algorithm with every requested move carried out, which its\n\
         1.1.4 does not do.\n\n\
         | case | balancer | error % | used % | moves | crossed |\n\
         |---|---|---:|---:|---:|---:|"
    );
    for (name, instances) in cases() {
        for balancer in [Balancer::Nobody, Balancer::Rusty, Balancer::Ballast] {
            let outcomes: Vec<Outcome> = instances
                .iter()
                .map(|snapshot| fluid::run(snapshot, balancer))
                .collect();
            let mean = |value: fn(&Outcome) -> f64| {
                outcomes.iter().map(value).sum::<f64>() / outcomes.len() as f64
            };
            let _ = writeln!(
                page,
                "| {name} | {} | {:.1} | {:.1} | {:.0} + {:.0} | {:.1} |",
                match balancer {
                    Balancer::Nobody => "none",
                    Balancer::Rusty => "scx_rusty",
                    Balancer::Ballast => "scx_ballast",
                },
                100.0 * mean(|outcome| outcome.share_error),
                100.0 * mean(|outcome| outcome.utilisation),
                mean(|outcome| outcome.moves_before as f64),
                mean(|outcome| outcome.moves_judged as f64),
                mean(|outcome| outcome.crossed),
            );
        }
    }
}

fn qualities(page: &mut String) {
    let _ = writeln!(
        page,
        "\n## How far from the best\n\n\
         One plan on each of {INSTANCES} random instances with 16 to 32 tasks a domain.\n\
         *Moves* and *crossed* are sums over the instances, beside the least that any plan\n\
         which ends as balanced could do (the certificates' lower bounds; the true least lies\n\
         between the two); *crowding* is the load of the most crowded domain, 1 being the load\n\
         of the whole machine and so the best there is.\n\n\
         | instances | moves | at least | ratio | crossed | at least | ratio | crowding: median | worst |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    for (nodes, domains) in [(2, 1), (2, 4), (4, 8)] {
        for (name, crowded) in [("", false), (", half crowding one node", true)] {
            let instances: Vec<Snapshot> = (0..INSTANCES)
                .map(|seed| random(seed, nodes, domains, crowded))
                .collect();
            let quality = Quality::of(&instances);
            let _ = writeln!(
                page,
                "| {nodes} × {domains} domains{name} | {} | {} | {:.2} | {:.1} | {:.1} | {:.2} | {:.3} | {:.3} |",
                quality.moves,
                quality.moves_min,
                quality.moves_ratio(),
                quality.crossed,
                quality.cross_min,
                quality.cross_ratio(),
                quality.median_crowding(),
                quality.worst_crowding(),
            );
        }
    }
}

/// Claims on `nr_cpus` CPUs, by name.
fn claim_cases() -> Vec<(&'static str, usize, Vec<Claim>)> {
    let claims = |groups: &[(usize, f64, f64)]| -> Vec<Claim> {
        let of = |&(count, weight, demand): &(usize, f64, f64)| {
            std::iter::repeat_n(Claim { weight, demand }, count)
        };
        groups.iter().flat_map(of).collect()
    };
    let mut sequence = Sequence(3);
    let mut random = |full: bool| -> Vec<Claim> {
        (0..200)
            .map(|_| Claim {
                weight: weight_of_nice(sequence.below(40) as i32 - 20)
                    .round()
                    .max(1.0),
                demand: if full { 1.0 } else { sequence.part() },
            })
            .collect()
    };
    vec![
        (
            "12 × weight 100, all want a CPU",
            8,
            claims(&[(12, 100.0, 1.0)]),
        ),
        (
            "weight 10000 and 15 × 100, all want a CPU",
            8,
            claims(&[(1, 10000.0, 1.0), (15, 100.0, 1.0)]),
        ),
        ("200 random weights, all want a CPU", 32, random(true)),
        (
            "weight 10000 wants 0.5, 15 × 100 want 1",
            8,
            claims(&[(1, 10000.0, 0.5), (15, 100.0, 1.0)]),
        ),
        (
            "8 × weight 100 want 0.3, 8 × 100 want 1",
            8,
            claims(&[(8, 100.0, 0.3), (8, 100.0, 1.0)]),
        ),
        (
            "4 × weight 300 want 0.4, 12 × 100 want 1",
            8,
            claims(&[(4, 300.0, 0.4), (12, 100.0, 1.0)]),
        ),
        ("200 random weights and demands", 32, random(false)),
        (
            "4 × weight 100 want 0.5: room for all",
            8,
            claims(&[(4, 100.0, 0.5)]),
        ),
    ]
}

fn entitlements(page: &mut String) {
    page.push_str(
        "\n## Entitlements\n\n\
         Against scx_utils' LoadAggregator, read as capacity in proportion to adjusted load.\n\
         *Mean* and *worst* are its distance from the exact entitlement, in per cent of that;\n\
         *beyond* is how many CPUs it gives to tasks that do not want them.\n\n\
         | claims | CPUs | mean % | worst % | beyond |\n\
         |---|---:|---:|---:|---:|\n",
    );
    for (name, nr_cpus, claims) in claim_cases() {
        let mut exact = Vec::new();
        fill(&claims, nr_cpus as f64, &mut exact);
        let theirs = aggregator::shares(&claims, nr_cpus);
        let errors: Vec<f64> = exact
            .iter()
            .zip(&theirs)
            .map(|(exact, theirs)| 100.0 * (theirs / exact - 1.0).abs())
            .collect();
        let beyond: f64 = claims
            .iter()
            .zip(&theirs)
            .map(|(claim, theirs)| (theirs - claim.demand).max(0.0))
            .sum();
        let _ = writeln!(
            page,
            "| {name} | {nr_cpus} | {:.1} | {:.1} | {:.2} |",
            errors.iter().sum::<f64>() / errors.len() as f64,
            errors.iter().copied().fold(0.0, f64::max),
            beyond
        );
    }
    page.push_str(
        "\nWhere every task wants a whole CPU the two agree. Elsewhere it takes load in\n\
         proportion to demand times weight for a claim, which gives tasks that want little\n\
         less than they could have while others get more than they are due.\n",
    );
}
