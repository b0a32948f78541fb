// SPDX-License-Identifier: GPL-2.0-only
//! Owns the question which shared libraries a program needs, as ldd(1) answers it.
//! Must never guess a library's place: what the host's loader would use is used.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The libraries of a program and its loader, by absolute path; none for a static program.
///
/// # Errors
/// When ldd cannot run, or a library is missing on the host.
pub fn of(program: &Path) -> Result<Vec<PathBuf>> {
    let ldd = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .output()
        .context("running ldd")?;
    let listing = String::from_utf8_lossy(&ldd.stdout);
    parse(&listing).with_context(|| format!("finding the libraries of {}", program.display()))
}

/// Whether these bytes begin an ELF file, which may need libraries.
pub fn is_elf(content: &[u8]) -> bool {
    content.starts_with(b"\x7fELF")
}

fn parse(listing: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in listing.lines() {
        let wanted = line.split_whitespace().next().unwrap_or_default();
        if line.contains("=> not found") {
            bail!("the library {wanted} is not installed");
        }
        // "libc.so.6 => /lib/libc.so.6 (0x…)", or the loader "/lib64/ld-linux… (0x…)".
        let place = match line.split_once("=> ") {
            Some((_, rest)) => rest.split_whitespace().next().unwrap_or_default(),
            None => wanted,
        };
        if place.starts_with('/') && !place.ends_with(':') {
            libraries.push(PathBuf::from(place));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_found_and_the_vdso_is_not() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = parse(listing).expect("all are there");
        assert_eq!(
            found,
            [
                "/lib/x86_64-linux-gnu/libelf.so.1",
                "/lib64/ld-linux-x86-64.so.2"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn a_static_program_needs_none() {
        assert!(parse("\tstatically linked\n").expect("fine").is_empty());
        assert!(parse("").expect("fine").is_empty());
    }

    #[test]
    fn a_missing_library_is_named() {
        let refusal = parse("\tlibfoo.so.1 => not found\n").expect_err("missing");
        assert!(refusal.to_string().contains("libfoo.so.1"));
    }
}
