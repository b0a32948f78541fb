// SPDX-License-Identifier: GPL-2.0-only
//! Owns Debian's cloud kernels in the cache: which package a series means, and fetching it.
//! Must never install a package, and never use one whose signature was not checked.

mod apt;
mod release;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cache::{self, Cache};
use apt::Apt;
use release::Plan;
pub use release::Series;

/// The series used unless another is named: the newest long-term one with sched_ext.
pub const DEFAULT_SERIES: &str = "6.18";

/// A kernel in the cache.
pub struct Kernel {
    /// The series it was asked for by.
    pub series: Series,
    /// The bootable image.
    pub vmlinuz: PathBuf,
    /// Its configuration, which libbpf reads for kconfig externs.
    pub config: PathBuf,
    origin: Origin,
}

/// Where a cached kernel came from; stored beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    release: String,
    package: String,
    config_package: String,
    /// Whether the configuration is that of another release.
    config_is_borrowed: bool,
}

impl Kernel {
    /// One line for people: series, release, where it lies.
    pub fn describe(&self) -> String {
        let borrowed = match self.origin.config_is_borrowed {
            true => format!(
                ", configuration from {} (its own is no longer in the archive)",
                self.origin.config_package
            ),
            false => String::new(),
        };
        format!(
            "{}: {} from {}{borrowed}, {}",
            self.series,
            self.origin.release,
            self.origin.package,
            self.vmlinuz.display()
        )
    }

    /// The kernel's name, as `uname -r` prints it.
    pub fn release(&self) -> &str {
        &self.origin.release
    }

    fn cached(cache: &Cache, series: &Series) -> Option<Kernel> {
        let folder = folder(cache, series);
        let origin = fs::read(folder.join("origin.json")).ok()?;
        let kernel = Kernel {
            series: series.clone(),
            vmlinuz: folder.join("vmlinuz"),
            config: folder.join("config"),
            origin: serde_json::from_slice(&origin).ok()?,
        };
        (kernel.vmlinuz.is_file() && kernel.config.is_file()).then_some(kernel)
    }
}

/// The kernel of one series, from the cache or else from the archive.
///
/// # Errors
/// As [`fetch`].
pub fn get(cache: &Cache, series: &Series) -> Result<Kernel> {
    if let Some(kernel) = Kernel::cached(cache, series) {
        return Ok(kernel);
    }
    let mut kernels = fetch(cache, std::slice::from_ref(series), false)?;
    kernels.pop().context("fetching one kernel gave none")
}

/// Kernels by series. What is cached is used without asking the archive, unless `refresh`.
///
/// # Errors
/// When the archive cannot be reached or verified, or has no such series.
pub fn fetch(cache: &Cache, series: &[Series], refresh: bool) -> Result<Vec<Kernel>> {
    let _lock = cache.lock("kernels.lock", "another fetch of kernels")?;
    remove_leftovers(&cache.path("kernels"));
    let mut archive: Option<(Apt, Vec<String>)> = None;
    let mut kernels = Vec::new();
    for one in series {
        if let (false, Some(kernel)) = (refresh, Kernel::cached(cache, one)) {
            kernels.push(kernel);
            continue;
        }
        if archive.is_none() {
            let apt = Apt::open(&cache.path("apt"))?;
            let names = apt.package_names("linux-")?;
            archive = Some((apt, names));
        }
        let (apt, names) = archive.as_ref().context("the archive was just opened")?;
        let plan = Plan::of(one, names)?;
        download(cache, one, apt, &plan)
            .with_context(|| format!("fetching the kernel series {one}"))?;
        kernels.push(Kernel::cached(cache, one).context("reading the kernel just fetched")?);
    }
    Ok(kernels)
}

fn folder(cache: &Cache, series: &Series) -> PathBuf {
    cache.path(&format!("kernels/{series}"))
}

/// Removes what interrupted fetches left; nobody else fetches while we hold the lock.
fn remove_leftovers(kernels: &Path) {
    let Ok(entries) = fs::read_dir(kernels) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with('.') {
            // One that stays only takes up room.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn download(cache: &Cache, series: &Series, apt: &Apt, plan: &Plan) -> Result<()> {
    let target = folder(cache, series);
    let work = cache::temporary_beside(&target);
    let unpacked = work.join("unpacked");
    fs::create_dir_all(&unpacked).with_context(|| format!("creating {}", work.display()))?;
    for package in plan.packages() {
        eprintln!("downloading {package}");
        let deb = apt.download(package, &work)?;
        run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked))?;
    }
    let vmlinuz = find(&unpacked, "vmlinuz", &plan.kernel_name())?;
    fs::rename(&vmlinuz, work.join("vmlinuz")).context("moving the kernel image")?;
    let config = find(&unpacked, "config", &plan.config_name())?;
    let config = fs::read(config).context("reading the kernel's configuration")?;
    require_sched_ext(series, &config)?;
    fs::write(work.join("config"), config)?;
    let origin = Origin {
        release: plan.kernel_name(),
        package: plan.image_package.clone(),
        config_package: plan.config_package.clone(),
        config_is_borrowed: plan.config_is_borrowed(),
    };
    fs::write(
        work.join("origin.json"),
        serde_json::to_vec_pretty(&origin)?,
    )?;
    fs::remove_dir_all(&unpacked)?;
    for entry in fs::read_dir(&work)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            fs::remove_file(path)?;
        }
    }
    cache::replace_folder(&work, &target)
}

/// Finds a kernel's file: in /boot up to 7.1, beside the modules from 7.2 on.
fn find(unpacked: &Path, what: &str, kernel: &str) -> Result<PathBuf> {
    let places = [
        format!("boot/{what}-{kernel}"),
        format!("usr/lib/modules/{kernel}/{what}"),
    ];
    for place in &places {
        let path = unpacked.join(place);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("the package has no {}", places.join(" and no "))
}

fn require_sched_ext(series: &Series, config: &[u8]) -> Result<()> {
    let has = config
        .split(|byte| *byte == b'\n')
        .any(|line| line == b"CONFIG_SCHED_CLASS_EXT=y");
    if !has {
        bail!("Debian's {series} has no sched_ext: choose 6.16 or later");
    }
    Ok(())
}

/// Runs a command to its end, and turns failure into its own words.
fn run(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command
        .output()
        .with_context(|| format!("running {name} (kernels come as Debian packages)"))?;
    if !done.status.success() {
        bail!("{name}: {}", reason(&String::from_utf8_lossy(&done.stderr)));
    }
    Ok(done.stdout)
}

/// The errors among apt's messages on one line; all messages where none is marked as one.
fn reason(said: &str) -> String {
    let errors: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("E: "))
        .collect();
    let mut reason = match errors.is_empty() {
        true => said.lines().collect::<Vec<_>>().join("; "),
        false => errors.join("; "),
    };
    if said.contains("NO_PUBKEY") {
        reason.push_str(" (update the package debian-archive-keyring)");
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_sched_ext_is_refused() {
        let series: Series = "6.12".parse().expect("a series");
        assert!(require_sched_ext(&series, b"A=y\nCONFIG_SCHED_CLASS_EXT=y\n").is_ok());
        let refusal = require_sched_ext(&series, b"# CONFIG_SCHED_CLASS_EXT is not set\n");
        assert!(refusal.expect_err("refused").to_string().contains("6.16"));
    }

    #[test]
    fn only_errors_are_told_where_there_are_some() {
        let told = reason("W: GPG error: NO_PUBKEY 12\nE: it is not signed.\n");
        assert!(told.starts_with("E: it is not signed. (update"));
        assert_eq!(reason("no such file\n"), "no such file");
    }
}
