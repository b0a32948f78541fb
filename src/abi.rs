// SPDX-License-Identifier: GPL-2.0-only
//! The layouts and constants shared with BPF, generated from src/bpf/abi.h.
//! Never edited by hand: change abi.h.

#![allow(
    missing_docs,
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    clippy::all
)]

include!(concat!(env!("OUT_DIR"), "/abi.rs"));
