// SPDX-License-Identifier: GPL-2.0-only
//! scx_ballast: a sched_ext scheduler for multi-socket NUMA servers that balances
//! by entitlement. Never runs anything by itself: see `run` and the binary.

#![warn(missing_docs)]

pub mod abi;
pub mod affinity;
pub mod balancer;
pub mod cgroups;
pub mod cli;
pub mod commands;
pub mod config;
pub mod cpulist;
pub mod daemon;
pub mod demand;
pub mod domains;
pub mod entitlement;
pub mod ids;
pub mod kernel;
pub mod lag;
pub mod load_balance;
pub mod report;
pub mod run;
#[cfg(test)]
mod seeds;
pub mod snapshot_file;
pub mod stats;
pub mod stdout;
pub mod topology;
pub mod tuner;
pub mod usage;
pub mod utilisation;
pub mod weight;
