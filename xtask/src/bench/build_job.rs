// SPDX-License-Identifier: GPL-2.0-only
//! Owns what the guest needs for a build: the host's gcc and make, and a crate's sources.
//! Must never need headers in the guest: sources go in as the preprocessor left them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{self, Cache};
use crate::initramfs::ExtraFile;
use crate::{qemu, workspace};

/// The work that needs it.
pub const WORK: &str = "build";
/// The crate whose C sources are compiled, at the version of Cargo.lock, and their folder in it.
const SOURCES: (&str, &str) = ("libbpf-sys", "zlib");
/// Where the work looks for sources and Makefile.
const GUEST_FOLDER: &str = "/ballast/build";
/// Where gcc finds its own programs, from there.
const PARTS_FOLDER: &str = "parts/";
const MAKEFILE: &str = "\
objects := $(patsubst %.i,%.o,$(sort $(wildcard *.i)))
all: $(objects)
%.o: %.i
\tgcc -Bparts/ $(CFLAGS) -c $< -o $@
clean:
\trm -f $(objects)
";

/// The compiler, make, the sources and their Makefile; what is written lies in the cache.
///
/// # Errors
/// When the host's compiler is not gcc, or the sources cannot be had.
pub fn files(cache: &Cache) -> Result<Vec<ExtraFile>> {
    // Not a ccache in its place.
    let gcc = fs::canonicalize(qemu::program("gcc")?).context("looking for gcc")?;
    let mut files = Vec::new();
    for part in ["cc1", "as"] {
        let guest = format!("{GUEST_FOLDER}/{PARTS_FOLDER}{part}");
        files.push(ExtraFile::at(part_of(&gcc, part)?, guest));
    }
    for (name, host) in [("gcc", gcc.clone()), ("make", qemu::program("make")?)] {
        files.push(ExtraFile::at(host, format!("/usr/local/bin/{name}")));
    }
    let folder = cache.path("build-job");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut add = |path: &Path, content: &[u8]| -> Result<()> {
        cache::write_whole(path, content)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let guest = format!("{GUEST_FOLDER}/{name}");
        files.push(ExtraFile::at(path.to_owned(), guest));
        Ok(())
    };
    for source in sources()? {
        let stem = source.file_stem().unwrap_or_default();
        let path = folder.join(stem).with_extension("i");
        add(&path, &preprocess(&gcc, &source)?)?;
    }
    add(&folder.join("Makefile"), MAKEFILE.as_bytes())?;
    Ok(files)
}

/// One of gcc's own programs; gcc names those that are not its own without a path.
fn part_of(gcc: &Path, name: &str) -> Result<PathBuf> {
    let answer = Command::new(gcc)
        .arg(format!("-print-prog-name={name}"))
        .output()
        .with_context(|| format!("running {}", gcc.display()))?;
    let answer = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    match (answer.starts_with('/'), name) {
        (true, _) => Ok(answer.into()),
        (false, "as") => qemu::program(name),
        (false, _) => bail!("{} has no {name}: is it gcc?", gcc.display()),
    }
}

fn sources() -> Result<Vec<PathBuf>> {
    let (package, folder) = SOURCES;
    let folder = workspace::package_folder(package)?.join(folder);
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut sources = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    match sources.is_empty() {
        true => bail!("no C source in {}", folder.display()),
        false => Ok(sources),
    }
}

/// `source` with all it includes. zlib's own set-up, which we do not run, finds unistd.h.
fn preprocess(gcc: &Path, source: &Path) -> Result<Vec<u8>> {
    let output = Command::new(gcc)
        .args(["-E", "-DHAVE_UNISTD_H"])
        .arg(source)
        .output()
        .with_context(|| format!("running {}", gcc.display()))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => bail!(
            "{}: {}",
            source.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_and_the_compiler_are_found() {
        let sources = sources().expect("the crate is unpacked");
        assert!(sources.iter().any(|path| path.ends_with("deflate.c")));
        let gcc = qemu::program("gcc").expect("set-up installs it");
        for part in ["cc1", "as"] {
            let path = part_of(&gcc, part).expect(part);
            assert!(path.is_absolute() && path.is_file(), "{}", path.display());
        }
        let why = part_of(&gcc, "no-such-part").expect_err("gcc has none");
        assert!(why.to_string().contains("no-such-part"), "{why}");
    }

    #[test]
    fn gcc_looks_where_its_parts_are() {
        assert!(MAKEFILE.contains(&format!("-B{PARTS_FOLDER} ")));
    }
}
