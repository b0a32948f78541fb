// SPDX-License-Identifier: GPL-2.0-only
//! Owns building the workspace's own programs and finding them.
//! Must never link them: the harness only copies what cargo made.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Our programs in the guest.
const PROGRAMS: [&str; 4] = ["scx_ballast", "ballast-load", "guest-test", "ballast-sim"];
/// The packages they come from.
const PACKAGES: [&str; 3] = ["scx_ballast", "ballast-guest", "ballast-sim"];

/// Builds our programs if asked to, and returns those there are; says which are missing.
///
/// # Errors
/// When cargo cannot run or the build fails.
pub fn programs(build: bool) -> Result<Vec<PathBuf>> {
    if build {
        eprintln!("building {}", PACKAGES.join(" and "));
        let mut cargo = cargo();
        cargo.args(["build", "--quiet", "--release"]);
        for package in PACKAGES {
            cargo.args(["--package", package]);
        }
        if !cargo.status().context("running cargo build")?.success() {
            bail!("the build failed; with --no-build the guest boots without it");
        }
    }
    let folder = target_folder()?.join("release");
    let (found, missing): (Vec<&str>, Vec<&str>) = PROGRAMS
        .iter()
        .partition(|name| folder.join(name).is_file());
    if !missing.is_empty() {
        eprintln!("note: not in {}, left out: {missing:?}", folder.display());
    }
    Ok(found.iter().map(|name| folder.join(name)).collect())
}

/// The path of one of our programs.
///
/// # Errors
/// When it was not built.
pub fn require(programs: &[PathBuf], name: &str) -> Result<PathBuf> {
    programs
        .iter()
        .find(|program| program.ends_with(name))
        .cloned()
        .with_context(|| format!("{name} is not built: run again without --no-build"))
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command
}

fn target_folder() -> Result<PathBuf> {
    let metadata = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("running cargo metadata")?;
    if !metadata.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&metadata.stderr).trim()
        );
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&metadata.stdout).context("reading cargo metadata")?;
    let folder = metadata["target_directory"].as_str();
    Ok(folder
        .context("cargo metadata names no target folder")?
        .into())
}
