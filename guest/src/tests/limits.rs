// SPDX-License-Identifier: GPL-2.0-only
//! The largest machine the scheduler promises passes this kernel's verifier.
//! Never attaches what it loads: this guest has no such machine.

use std::mem::MaybeUninit;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use scx_ballast::cli::{self, Parsed};
use scx_ballast::config::Config;
use scx_ballast::domains::Layout;
use scx_ballast::{kernel, topology};

use super::{Context, TWO_NODES, Test};
use crate::scheduler;

pub(super) const TESTS: &[Test] = &[Test {
    name: "verifier_4096",
    topology: TWO_NODES,
    kernels: &["6.16", "6.18", "7.0", "7.2", "7.3"],
    timeout_secs: 240,
    measured: false,
    run: verifier_4096,
}];

/// CPUs, domains and nodes of the largest machine.
const LARGEST: (u32, u32, u32) = (4096, 512, 8);

fn verifier_4096(_: &mut Context) -> Result<()> {
    let Parsed::Run(flags) = cli::parse_from(["scx_ballast"])? else {
        bail!("no flags at all ask for help");
    };
    let mut config = Config::from_cli(&flags, &topology::Machine::read(Path::new("/"))?)?;
    let (cpus, domains, nodes) = LARGEST;
    config.layout = Layout::synthetic(cpus, domains, nodes);
    let mut object = MaybeUninit::uninit();
    drop(kernel::skel::Scheduler::load(&mut object, &config)?);
    ensure!(
        scheduler::state() == "disabled",
        "sched_ext's state is {} after a load without attaching",
        scheduler::state()
    );
    Ok(())
}
