// SPDX-License-Identifier: GPL-2.0-only
//! Compiles src/bpf and generates the skeleton and the bindings of abi.h.
//! Must never need a kernel: the headers come from scx_cargo.

fn main() {
    let built = scx_cargo::BpfBuilder::new().and_then(|mut builder| {
        builder
            .enable_intf("src/bpf/abi.h", "abi.rs")
            .enable_skel("src/bpf/main.bpf.c", "bpf")
            .compile_link_gen()
    });
    if let Err(error) = built {
        eprintln!("building src/bpf: {error:#}");
        eprintln!("(needs clang 18 or newer, libclang, libelf and zlib headers: make setup)");
        std::process::exit(1);
    }
}
