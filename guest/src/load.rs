// SPDX-License-Identifier: GPL-2.0-only
//! The load generator: groups of spinning workers, each measured from outside by its CPU clock.
//! Never counts work done: under emulation only CPU time means anything.

mod group;
mod report;
mod spinners;
mod worker;

pub use group::Group;
pub use report::{GroupReport, Report, WorkerReport};
pub use spinners::{Spinners, WorkerSample, shares};
pub use worker::take_over_if_worker;
