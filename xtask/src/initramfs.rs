// SPDX-License-Identifier: GPL-2.0-only
//! Owns what the guest's file system holds: a cached base, and a small layer for each run.
//! Must never need root: archives are written directly, not packed from a folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::cache::{self, Cache};
use crate::cpio::{self, Archive};
use crate::{libraries, qemu};

const INIT: &str = include_str!("guest_init.sh");
/// Load generators from Debian that the guest's tests use.
const TOOLS: [&str; 3] = ["stress-ng", "hackbench", "cyclictest"];
/// Loaded by glibc at run time when a thread is cancelled, so ldd does not list it.
const LIBGCC: &str = "/lib/x86_64-linux-gnu/libgcc_s.so.1";
/// Folders that the guest's init mounts on or scripts expect.
const FOLDERS: [&str; 13] = [
    "boot", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "sbin",
    "bin", "var/log",
];
/// Bases kept in the cache: enough to go back and forth between two checkouts.
const BASES_KEPT: usize = 4;

/// A base in the cache: busybox, tools, our programs, all libraries, compressed.
pub struct Initramfs {
    /// Open, so that another process may prune it meanwhile.
    file: File,
}

/// A host file that goes into the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraFile {
    host: PathBuf,
    guest: Option<String>,
}

/// What makes one run's layer.
pub struct RunLayer<'a> {
    /// Runs under /bin/sh.
    pub script: &'a [u8],
    /// Sets this run's markers apart.
    pub key: &'a str,
    /// The kernel's configuration.
    pub kernel_config: &'a [u8],
    /// Further files.
    pub files: &'a [ExtraFile],
}

impl FromStr for ExtraFile {
    type Err = String;

    fn from_str(text: &str) -> Result<ExtraFile, String> {
        let (host, guest) = match text.rsplit_once(':') {
            Some((_, guest)) if !guest.starts_with('/') => {
                return Err("the guest's path must begin with /".into());
            }
            Some((host, guest)) => (host, Some(guest.to_string())),
            None => (text, None),
        };
        let host = PathBuf::from(host);
        match host.is_file() {
            true => Ok(ExtraFile { host, guest }),
            false => Err(format!("{} is not a file", host.display())),
        }
    }
}

impl ExtraFile {
    /// The host's file `host`, at `guest` in the guest.
    pub fn at(host: PathBuf, guest: String) -> ExtraFile {
        let guest = Some(guest);
        ExtraFile { host, guest }
    }

    /// Programs go where PATH finds them, other files where the script starts.
    fn guest_path(&self, executable: bool) -> String {
        self.guest.clone().unwrap_or_else(|| {
            let name = self.host.file_name().unwrap_or_default().to_string_lossy();
            match executable {
                true => format!("/usr/local/bin/{name}"),
                false => format!("/root/{name}"),
            }
        })
    }
}

impl Initramfs {
    /// The base with these of our own programs, from the cache if its inputs are unchanged.
    ///
    /// # Errors
    /// When a tool or a library is not installed, or the cache cannot be written.
    pub fn base(cache: &Cache, programs: &[PathBuf]) -> Result<Initramfs> {
        let busybox = qemu::program("busybox")?;
        // Guest path to host path; a map keeps the archive's order, and so its bytes, fixed.
        let mut files = BTreeMap::from([("/bin/busybox".to_string(), busybox.clone())]);
        for tool in TOOLS {
            files.insert(format!("/usr/bin/{tool}"), qemu::program(tool)?);
        }
        for program in programs {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            files.insert(format!("/usr/local/bin/{name}"), program.clone());
        }
        for program in files.values().cloned().collect::<Vec<_>>() {
            for library in libraries::of(&program)? {
                files.insert(library.display().to_string(), library);
            }
        }
        if Path::new(LIBGCC).is_file() {
            files.insert(LIBGCC.into(), LIBGCC.into());
        }
        let path = cache.path(&format!("initramfs/base-{:016x}.zst", fingerprint(&files)?));
        let file = File::open(&path).or_else(|_| {
            eprintln!(
                "building the guest's initramfs ({} programs and libraries)",
                files.len()
            );
            let temporary = cache::temporary_beside(&path);
            let archive = pack_base(&busybox, &files, &temporary)?;
            compress(&archive, &temporary)?;
            fs::rename(&temporary, &path)
                .with_context(|| format!("moving {} into place", path.display()))?;
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()));
            prune(&cache.path("initramfs"));
            file
        })?;
        Ok(Initramfs { file })
    }

    /// Writes the base and this run's layer, one after the other, to `path`.
    ///
    /// # Errors
    /// When a file of the layer cannot be read, or `path` not written.
    pub fn write_with(&self, layer: &RunLayer, path: &Path) -> Result<()> {
        let mut image = Vec::new();
        let mut base = &self.file;
        base.rewind()
            .and_then(|()| base.read_to_end(&mut image))
            .context("reading the initramfs from the cache")?;
        // The second archive begins on a multiple of four, or the kernel does not find it.
        cpio::pad(&mut image);
        let mut file = BufWriter::new(
            File::create(path).with_context(|| format!("creating {}", path.display()))?,
        );
        file.write_all(&image)?;
        file.write_all(&layer.pack()?)?;
        file.flush()
            .with_context(|| format!("writing {}", path.display()))
    }
}

impl RunLayer<'_> {
    fn pack(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.file("/ballast/script", false, self.script);
        archive.file(
            "/ballast/run",
            false,
            format!("BALLAST_KEY={}\n", self.key).as_bytes(),
        );
        archive.file("/boot/config", false, self.kernel_config);
        for file in self.files {
            let content = read(&file.host)?;
            let executable = is_executable(&file.host)?;
            if libraries::is_elf(&content) {
                for library in libraries::of(&file.host)? {
                    archive.file(&library.display().to_string(), true, &read(&library)?);
                }
            }
            archive.file(&file.guest_path(executable), executable, &content);
        }
        Ok(archive.finish())
    }
}

fn pack_base(busybox: &Path, files: &BTreeMap<String, PathBuf>, scratch: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.folder(folder);
    }
    let applets = Command::new(busybox)
        .arg("--list-full")
        .output()
        .context("asking busybox for its applets")?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines() {
        let applet = format!("/{}", applet.trim_start_matches('/'));
        if !files.contains_key(&applet) {
            archive.link(&applet, "/bin/busybox");
        }
    }
    archive.file("/init", true, INIT.as_bytes());
    archive.link("/var/run", "/run");
    archive.link("/var/tmp", "/tmp");
    archive.link("/etc/mtab", "/proc/mounts");
    archive.file("/etc/passwd", false, b"root:x:0:0:root:/root:/bin/sh\n");
    archive.file("/etc/group", false, b"root:x:0:\n");
    archive.file("/etc/hosts", false, b"127.0.0.1 localhost ballast\n");
    for (guest, host) in files {
        archive.file(guest, true, &without_debug(host, scratch)?);
    }
    Ok(archive.finish())
}

/// The program without its debug sections, which the guest would only unpack slowly; symbols
/// stay for backtraces. Where strip(1) fails or is missing it goes in whole. `scratch` is
/// written over: strip cannot write to a pipe.
fn without_debug(program: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let stripped = Command::new("strip")
        .args(["--strip-debug", "-o"])
        .args([scratch, program])
        .stderr(Stdio::null())
        .status();
    let content = match stripped {
        Ok(status) if status.success() => read(scratch),
        _ => read(program),
    };
    // It is not there when strip failed.
    let _ = fs::remove_file(scratch);
    content
}

fn compress(archive: &[u8], path: &Path) -> Result<()> {
    let zstd = qemu::program("zstd")?;
    let mut child = Command::new(zstd)
        .args(["-q", "-1", "-f", "-o"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .context("starting zstd")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(archive).context("feeding zstd")?;
    }
    if !child.wait()?.success() {
        bail!("zstd failed to write {}", path.display());
    }
    Ok(())
}

/// Changes when any input does: paths, sizes, times, and the init script itself.
fn fingerprint(files: &BTreeMap<String, PathBuf>) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    (INIT, FOLDERS, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    for (guest, host) in files {
        let data = fs::metadata(host).with_context(|| format!("reading {}", host.display()))?;
        (guest, data.len(), data.mtime(), data.mtime_nsec()).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// Removes all but the newest bases; one that cannot be removed does no harm.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut bases: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("base-"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    bases.sort();
    for (_, path) in bases.iter().rev().skip(BASES_KEPT) {
        let _ = fs::remove_file(path);
    }
}

fn is_executable(path: &Path) -> Result<bool> {
    let data = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(data.permissions().mode() & 0o111 != 0)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_name_its_place_in_the_guest() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let plain: ExtraFile = here.parse().expect("a file");
        assert_eq!(plain.guest_path(false), "/root/Cargo.toml");
        assert_eq!(plain.guest_path(true), "/usr/local/bin/Cargo.toml");
        let placed: ExtraFile = format!("{here}:/etc/x").parse().expect("a file");
        assert_eq!(placed.guest_path(true), "/etc/x");
    }

    #[test]
    fn a_missing_file_or_a_relative_place_is_refused() {
        assert!("/no/such/file".parse::<ExtraFile>().is_err());
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml:etc");
        assert!(here.parse::<ExtraFile>().is_err());
    }
}
