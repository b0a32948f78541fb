// SPDX-License-Identifier: GPL-2.0-only
//! What we compare with: the published algorithms of others, machines and tasks
//! to run them on. Never part of what ships.

pub mod aggregator;
pub mod fluid;
pub mod instances;
pub mod quality;
pub mod rusty;
