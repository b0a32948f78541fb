// SPDX-License-Identifier: GPL-2.0-only
//! Owns the peers' programs: other sched_ext schedulers, built once into the cache.
//! Must never fail the benchmark over one of them: the reason takes the place of its figures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::cache::Cache;

/// The peers that can be installed, each in the version it is compared in.
const VERSIONS: [(&str, &str); 4] = [
    ("rusty", "1.1.4"),
    ("bpfland", "1.1.4"),
    ("lavd", "1.1.4"),
    ("p2dq", "1.1.4"),
];
/// The contenders that are no peers: the kernel's own scheduler, and ours.
const NO_PEERS: [&str; 2] = ["eevdf", "ballast"];

/// What was found.
pub struct Peers {
    /// Programs to copy into the guest.
    pub programs: Vec<PathBuf>,
    /// Those that cannot be had, and why.
    pub missing: BTreeMap<String, String>,
}

/// Refuses contenders that are none, or named twice, and a folder that does not have them.
///
/// # Errors
/// One line that names the flag.
pub fn check(schedulers: &[String], folder: Option<&Path>) -> Result<(), String> {
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        let folder = folder.display();
        return Err(format!(
            "--peers: {folder} is no folder; give one that holds programs"
        ));
    }
    for (place, name) in schedulers.iter().enumerate() {
        if schedulers[..place].contains(name) {
            return Err(format!("--schedulers: {name} is named twice; name it once"));
        }
        if NO_PEERS.contains(&name.as_str()) {
            continue;
        }
        match folder {
            Some(folder) if is_plain(name) && program_in(folder, name).is_file() => (),
            Some(folder) => {
                let folder = folder.display();
                return Err(format!(
                    "--peers: no scx_{name} in {folder}; build it there"
                ));
            }
            None if version_of(name).is_some() => (),
            None => {
                let known: Vec<_> = VERSIONS.iter().map(|(known, _)| *known).collect();
                return Err(format!(
                    "--schedulers: no contender '{name}'; there is {}, {}, and others by --peers",
                    NO_PEERS.join(", "),
                    known.join(", ")
                ));
            }
        }
    }
    Ok(())
}

/// Whether a name can stand in a command of the guest's shell as it is.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !name.is_empty() && name.bytes().all(plain)
}

fn program_in(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("scx_{name}"))
}

/// Finds the programs of these contenders, which [`check`] let pass, in `folder`, else in the
/// cache, where what is missing is installed.
///
/// # Errors
/// When the cache cannot be locked.
pub fn find(cache: &Cache, schedulers: &[String], folder: Option<&Path>) -> Result<Peers> {
    let mut peers = Peers {
        programs: Vec::new(),
        missing: BTreeMap::new(),
    };
    let root = cache.path("peers");
    let _lock = cache.lock("peers.lock", "another installation of peers")?;
    for name in schedulers {
        if NO_PEERS.contains(&name.as_str()) {
            continue;
        }
        let program = match folder {
            Some(folder) => program_in(folder, name),
            None => program_in(&root.join("bin"), name),
        };
        let found = match folder {
            None if !program.is_file() => install(&root, name),
            _ => Ok(()),
        };
        match found {
            Ok(()) => peers.programs.push(program),
            Err(why) => {
                eprintln!("note: {why}");
                peers.missing.insert(name.clone(), why);
            }
        }
    }
    Ok(peers)
}

fn version_of(name: &str) -> Option<&'static str> {
    let known = VERSIONS.iter().find(|(known, _)| *known == name);
    known.map(|(_, version)| *version)
}

fn install(root: &Path, name: &str) -> Result<(), String> {
    let Some(version) = version_of(name) else {
        return Err(format!(
            "scx_{name} is not among the peers that can be installed"
        ));
    };
    let krate = format!("scx_{name}@{version}");
    eprintln!("installing {krate} into {} (minutes, once)", root.display());
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let status = cargo
        .args(["install", "--quiet", "--locked", "--root"])
        .arg(root)
        .arg(&krate)
        // cargo install reads no project's configuration: BPF_CLANG, which names the clang that
        // builds BPF, is ours from .cargo/config.toml by way of `cargo xtask`.
        .env("CARGO_TARGET_DIR", root.join("target"))
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{krate} does not build here")),
        Err(error) => Err(format!("cargo install {krate}: {error}")),
    }
}
