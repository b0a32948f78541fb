// SPDX-License-Identifier: GPL-2.0-only
//! Bad flags are refused before anything privileged, each in one line.
//! Never tests what a good flag does.

use anyhow::{Result, ensure};

use super::{Context, TWO_NODES, Test, USUAL};
use crate::checks::Bound;
use crate::scheduler::{self, run_to_end};

pub(super) const TESTS: &[Test] = &[Test {
    name: "bad_flags",
    topology: TWO_NODES,
    kernels: USUAL,
    timeout_secs: 180,
    measured: false,
    run: bad_flags,
}];

/// Flags that must be refused on a machine with CPUs 0 to 7.
const BAD: &[&[&str]] = &[
    &["--interval", "-1"],
    &["--interval=-1"],
    &["--interval", "nan"],
    &["--interval", "0"],
    &["--interval", "1e12"],
    &["--tune-interval", "inf"],
    &["--load-half-life", "-0.5"],
    &["--slice-us-overutil", "0"],
    &["--domains", "0-3;2-7"],
    &["--domains", "0-3;4-99"],
    &["--domains", "0-3"],
    &["--domains", "0-3;7-4"],
    &["--domains", ""],
    &["--domain-cpus", "0"],
    &["--no-such-flag"],
];

fn bad_flags(context: &mut Context) -> Result<()> {
    let mut wrong = Vec::new();
    for flags in BAD {
        let refusal = run_to_end(flags)?;
        ensure!(
            scheduler::state() == "disabled",
            "sched_ext's state is {} after {flags:?}",
            scheduler::state()
        );
        if refusal.code != Some(2) || refusal.text.lines().count() != 1 {
            wrong.push(format!(
                "{flags:?} gave {:?}: {}",
                refusal.code, refusal.text
            ));
        }
    }
    context.figure(
        "bad flags not refused with one line and exit code 2",
        wrong.len() as f64,
        Bound::exactly(0),
        Bound::exactly(0),
    );
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}
