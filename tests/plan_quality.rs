// SPDX-License-Identifier: GPL-2.0-only
//! Plans on random machines with 16 to 32 tasks a domain against the bounds that
//! hold for every plan. Never measures time; `make bench` prints the table.

#[path = "../benches/peers/instances.rs"]
mod instances;
#[path = "../benches/peers/quality.rs"]
mod quality;
#[path = "../benches/sequence/mod.rs"]
mod sequence;

use instances::{crowd, machine, random};
use quality::Quality;
use scx_ballast::load_balance::Snapshot;

#[test]
fn plans_are_close_to_the_best() {
    for (nodes, domains) in [(2, 1), (2, 4), (4, 8)] {
        for crowded in [false, true] {
            let instances: Vec<Snapshot> = (0..100)
                .map(|seed| random(seed, nodes, domains, crowded))
                .collect();
            let quality = Quality::of(&instances);
            let name = format!("{nodes} nodes of {domains} domains, crowded: {crowded}");
            assert!(quality.worst_crowding() <= 1.02, "{name}: {quality:?}");
            assert!(quality.median_crowding() <= 1.015, "{name}: {quality:?}");
            assert!(quality.moves_ratio() <= 1.3, "{name}: {quality:?}");
            assert!(quality.cross_ratio() <= 1.1, "{name}: {quality:?}");
        }
    }
}

#[test]
fn equal_tasks_need_no_more_than_the_bounds() {
    let mut snapshot = machine(2, 2, 4);
    crowd(&mut snapshot, 160, 0, 1.0, 0);
    let quality = Quality::of(&[snapshot]);
    assert_eq!(quality.moves, 120);
    assert_eq!(quality.moves_min, 120);
    assert!((quality.crossed - quality.cross_min).abs() < 1e-5);
}
