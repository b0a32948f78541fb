// SPDX-License-Identifier: GPL-2.0-only
//! Owns a private apt: its own sources, lists, cache and state, inside our cache folder.
//! Must never touch the system's packages, and never accept an unsigned archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::run;

const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Backports has 6.16 to 7.3, forky and sid what is newer.
const SUITES: [&str; 3] = ["trixie-backports", "forky", "sid"];
/// A private apt with fresh package lists.
pub struct Apt {
    conf: PathBuf,
}

impl Apt {
    /// Sets up the folder and updates the lists of the suites with kernels.
    ///
    /// # Errors
    /// When apt is missing, the mirror cannot be reached, or a signature does not hold.
    pub fn open(folder: &Path) -> Result<Apt> {
        if !Path::new(KEYRING).is_file() {
            bail!("{KEYRING} is missing: run `make setup`");
        }
        let mirror = system_mirror();
        eprintln!("reading the package lists of {mirror}");
        for part in ["lists/partial", "cache/archives/partial", "state", "parts"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("creating {}", folder.join(part).display()))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("sources.list"), sources(&mirror))?;
        let conf = folder.join("apt.conf");
        fs::write(&conf, configuration(folder))?;
        let apt = Apt { conf };
        run(apt.command("apt-get").arg("update")).context("updating the package lists")?;
        Ok(apt)
    }

    /// The names of all packages that begin with `prefix`.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub fn package_names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = run(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(String::from_utf8_lossy(&names)
            .lines()
            .map(String::from)
            .collect())
    }

    /// Downloads and verifies a package into `folder`, which must hold no other; returns the file.
    ///
    /// # Errors
    /// When the package is gone, the network fails or a checksum does not hold.
    pub fn download(&self, package: &str, folder: &Path) -> Result<PathBuf> {
        run(self
            .command("apt-get")
            .args(["download", package])
            .current_dir(folder))?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{package}_")) && name.ends_with(".deb") {
                return Ok(entry.path());
            }
        }
        bail!("apt-get downloaded no {package}")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Read after the system's own configuration, so it has the last word.
        command.arg("-c").arg(&self.conf).env("LC_ALL", "C");
        command
    }
}

/// Bookworm's keyring and later ones hold a key that signs every one of these suites.
fn sources(mirror: &str) -> String {
    SUITES
        .iter()
        .map(|suite| format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main\n"))
        .collect()
}

/// Only what differs from the system's configuration, so that its proxies still count.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"// Written by `cargo xtask vm kernel`: a private apt, nothing of it is installed.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures {{ "amd64"; }};
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache "{folder}/cache";
Dir::Etc::preferences "{folder}/preferences";
Dir::Etc::preferencesparts "{folder}/parts";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/parts";
Dir::State "{folder}/state";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
"#
    )
}

/// The Debian mirror the system already uses, else the public one.
fn system_mirror() -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(parts) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut parts: Vec<_> = parts.flatten().map(|part| part.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| debian_mirror(&text))
        .unwrap_or_else(|| DEFAULT_MIRROR.into())
}

/// The first Debian mirror in a list of sources of either format. Others' archives often end
/// in /debian too, but are signed by a key of their own.
fn debian_mirror(text: &str) -> Option<String> {
    let stanzas = text.split("\n\n").flat_map(|stanza| {
        match stanza.lines().any(|line| line.starts_with("URIs:")) {
            true => vec![stanza.to_string()],
            false => stanza.lines().map(String::from).collect(),
        }
    });
    for stanza in stanzas {
        let lines: Vec<_> = stanza
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        let stanza = lines.join(" ");
        let signed_by_others =
            stanza.to_lowercase().contains("signed-by") && !stanza.contains("debian-archive");
        if signed_by_others {
            continue;
        }
        for word in stanza.split_whitespace() {
            let uri = word.trim_end_matches('/');
            if uri.starts_with("http") && uri.contains("://") && uri.ends_with("/debian") {
                return Some(uri.to_string());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_read_from_both_formats() {
        let line =
            "# deb http://old/debian x main\ndeb http://mirror.example/debian/ trixie main\n";
        assert_eq!(
            debian_mirror(line).as_deref(),
            Some("http://mirror.example/debian")
        );
        let stanza = "Types: deb\n# a note\nURIs: https://m.example/debian\nSuites: trixie\n\
            Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        assert_eq!(
            debian_mirror(stanza).as_deref(),
            Some("https://m.example/debian")
        );
    }

    #[test]
    fn security_and_other_archives_are_not_mirrors() {
        assert_eq!(
            debian_mirror("deb http://deb.debian.org/debian-security x main"),
            None
        );
        assert_eq!(
            debian_mirror("deb http://archive.ubuntu.com/ubuntu noble main"),
            None
        );
        let other =
            "deb [signed-by=/etc/apt/keyrings/vendor.asc] https://vendor/linux/debian x main";
        assert_eq!(debian_mirror(other), None);
    }

    #[test]
    fn every_source_names_its_key() {
        let text = sources("http://m/debian");
        assert_eq!(text.lines().count(), SUITES.len());
        let signed_by = format!("signed-by={KEYRING}]");
        assert!(text.lines().all(|line| line.contains(&signed_by)));
    }
}
