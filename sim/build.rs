// SPDX-License-Identifier: GPL-2.0-only
//! Compiles src/bpf for the host, as it ships and once for each seeded defect.
//! Must never change what it compiles in any other way.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

const SOURCES: &str = "../src/bpf";
const SHIM: &str = "src/shim";
const DEFECTS: &str = "defects.toml";

/// One line of the shipped source replaced by a wrong one.
#[derive(serde::Deserialize)]
struct Defect {
    name: String,
    file: String,
    from: String,
    to: String,
    /// Read by the tests.
    #[allow(dead_code)]
    caught_by: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Defects {
    defect: Vec<Defect>,
}

fn main() -> Result<()> {
    for path in [SOURCES, SHIM, DEFECTS] {
        println!("cargo:rerun-if-changed={path}");
    }
    let out = PathBuf::from(env::var("OUT_DIR").context("cargo sets OUT_DIR")?);
    let shipped = out.join("shipped.so");
    compile(Path::new(SOURCES), &shipped)?;
    bindings(&out)?;

    let text = fs::read_to_string(DEFECTS).context("reading defects.toml")?;
    let defects: Defects = toml::from_str(&text).context("parsing defects.toml")?;
    let mut table = format!(
        "/// The scheduler as it ships.\npub static SHIPPED: &[u8] = include_bytes!({:?});\n\
         /// And with each defect.\npub static DEFECTS: &[Defect] = &[\n",
        shipped
    );
    for defect in &defects.defect {
        let object = out.join(format!("{}.so", defect.name));
        seed(&out, defect, &object).with_context(|| format!("defect {}", defect.name))?;
        writeln!(
            table,
            "Defect {{ name: {:?}, caught_by: &{:?}, object: include_bytes!({object:?}) }},",
            defect.name, defect.caught_by
        )?;
    }
    table.push_str("];\n");
    fs::write(out.join("objects.rs"), table).context("writing objects.rs")
}

/// The newest clang, found as for BPF.
fn clang() -> String {
    env::var("BPF_CLANG").unwrap_or_else(|_| "../scripts/bpf-clang".to_owned())
}

/// A shared object: loaded anew for each run, it has new globals.
///
/// UBSan, trapping: x / 0, and shifts by more than the width, mean something in
/// BPF that they do not mean in C, so that code which relies on either must not
/// pass here. ASan is left out: its runtime has to be in the process before
/// everything else, and stable rustc cannot link it. Map values are bounds-checked
/// by the shim's lookups instead, as they are by the verifier.
fn compile(sources: &Path, object: &Path) -> Result<()> {
    let compiler = cc::Build::new()
        .compiler(clang())
        .opt_level(2)
        .cargo_metadata(false)
        .try_get_compiler()
        .context("finding clang (make setup)")?;
    let status = Command::new(compiler.path())
        .args([
            "-std=gnu11",
            "-O2",
            "-g1",
            "-fPIC",
            "-shared",
            "-DBALLAST_SIM",
        ])
        .args(["-Wall", "-Werror", "-Wno-unused-function"])
        // As the kernel and BPF are compiled.
        .args(["-fno-strict-aliasing", "-fwrapv"])
        .args(["-fsanitize=undefined", "-fsanitize-trap=undefined"])
        .arg(format!("-I{SHIM}"))
        .arg(sources.join("main.bpf.c"))
        .arg("-o")
        .arg(object)
        .status()
        .context("running clang")?;
    ensure!(
        status.success(),
        "clang could not compile {}",
        sources.display()
    );
    Ok(())
}

/// Compiles a copy of the sources with the defect in it.
fn seed(out: &Path, defect: &Defect, object: &Path) -> Result<()> {
    let copy = out.join(&defect.name);
    fs::create_dir_all(&copy).context("making room for a copy")?;
    for entry in fs::read_dir(SOURCES).context("reading src/bpf")? {
        let entry = entry.context("reading src/bpf")?;
        fs::copy(entry.path(), copy.join(entry.file_name())).context("copying src/bpf")?;
    }
    let file = copy.join(&defect.file);
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", defect.file))?;
    ensure!(
        text.matches(&defect.from).count() == 1,
        "`from` must occur once in {}: adapt defects.toml to the source",
        defect.file
    );
    fs::write(&file, text.replace(&defect.from, &defect.to)).context("seeding it")?;
    compile(&copy, object)
}

fn bindings(out: &Path) -> Result<()> {
    bindgen::Builder::default()
        .header_contents("sim.h", "#include \"types.bpf.h\"\n")
        .clang_args(["-DBALLAST_SIM", "-std=gnu11"])
        .clang_args([format!("-I{SHIM}"), format!("-I{SOURCES}")])
        .allowlist_type(
            "task_struct|sched_ext_ops|sim_.*|task_ctx|open_bits|scx_exit_info|bpf_cpumask",
        )
        .allowlist_type("scx_init_task_args|scx_dump_ctx|cpumask|mempolicy")
        .allowlist_var("(SCX|PF|SIM)_.*")
        .derive_default(true)
        .layout_tests(true)
        .generate()
        .context("generating the bindings of the shim")?
        .write_to_file(out.join("shim.rs"))
        .context("writing the bindings of the shim")
}
