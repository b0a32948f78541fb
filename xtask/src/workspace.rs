// SPDX-License-Identifier: GPL-2.0-only
//! Owns building the workspace's own programs and finding them.
//! Must never link them: the harness only copies what cargo made.

use std::path::{Path, PathBuf};
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

/// The folder of a package that the workspace depends on, where cargo unpacked it.
///
/// # Errors
/// When cargo cannot run, or there is no such package.
pub fn package_folder(name: &str) -> Result<PathBuf> {
    // The lock file names crates of other platforms too, which cargo would have to fetch.
    let platform = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let metadata = metadata(&[&["--locked"], &platform[..]].concat())?;
    let packages = metadata["packages"].as_array();
    let package = packages.and_then(|all| all.iter().find(|one| one["name"] == name));
    let manifest = package.and_then(|one| one["manifest_path"].as_str());
    let folder = manifest.and_then(|path| Path::new(path).parent());
    Ok(folder
        .with_context(|| format!("cargo metadata names no package {name}"))?
        .into())
}

fn target_folder() -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    let folder = metadata["target_directory"].as_str();
    Ok(folder
        .context("cargo metadata names no target folder")?
        .into())
}

fn metadata(flags: &[&str]) -> Result<serde_json::Value> {
    let metadata = cargo()
        .args(["metadata", "--format-version", "1"])
        .args(flags)
        .output()
        .context("running cargo metadata")?;
    if !metadata.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&metadata.stderr).trim()
        );
    }
    serde_json::from_slice(&metadata.stdout).context("reading cargo metadata")
}
