// SPDX-License-Identifier: GPL-2.0-only
//! The simulator: the BPF source and the daemon that ship, on any machine, from a seed.
//! Never models the scheduler: what decides here is the code that decides on a machine.
//!
//! `scenario` says what happens, `engine` is the kernel and the hardware, `object`
//! holds the compiled scheduler, `control` runs the daemon as a task, `checks` looks
//! over everybody's shoulder, `report` tells.

#![warn(missing_docs)]

pub mod bits;
pub mod checks;
pub mod control;
pub mod engine;
pub mod object;
pub mod report;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod swarm;
pub mod trace;

/// The layouts of the shim, generated from src/shim/kernel.h and src/bpf/types.bpf.h.
#[allow(
    missing_docs,
    dead_code,
    unnecessary_transmutes,
    unsafe_op_in_unsafe_fn,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    clippy::all
)]
pub mod shim {
    include!(concat!(env!("OUT_DIR"), "/shim.rs"));
}
