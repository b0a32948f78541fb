// SPDX-License-Identifier: GPL-2.0-only
//! What runs inside the test guest: the load generator, the tests, the figures and the demo.
//! Never looks inside the scheduler: everything is seen from outside, as a user would see it. Only
//! the load at the size of a machine that no guest has goes through its library.

pub mod bench;
pub mod cgroup;
pub mod checks;
pub mod cli;
pub mod command;
pub mod cpus;
pub mod demo;
pub mod dump;
pub mod entitlement;
pub mod kmsg;
pub mod load;
pub mod machine;
pub mod measure;
pub mod scheduler;
pub mod sleepers;
pub mod stats;
pub mod stress;
pub mod sys;
pub mod table;
pub mod tests;
pub mod wake;
