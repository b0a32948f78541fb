// SPDX-License-Identifier: GPL-2.0-only
//! Owns the cache folder: where things lie, whole-file writes, the one-guest lock.
//! Must never leave a half-written entry under its final name.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::interrupt;

/// How often a waiting process looks at the lock and at Ctrl-C again.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// The cache folder: `$BALLAST_CACHE`, else `$XDG_CACHE_HOME/scx_ballast`, else
/// `~/.cache/scx_ballast`.
pub struct Cache {
    root: PathBuf,
}

/// Held while a resource of the cache is in use; released when dropped.
pub struct Lock {
    _file: File,
}

/// The user stopped the harness while it waited.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Cache {
    /// Finds the cache folder and creates it where missing.
    ///
    /// # Errors
    /// When no folder can be named or made.
    pub fn open() -> Result<Cache> {
        let from_env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = if let Some(folder) = from_env("BALLAST_CACHE") {
            std::path::absolute(folder)?
        } else if let Some(folder) = from_env("XDG_CACHE_HOME") {
            std::path::absolute(folder)?.join("scx_ballast")
        } else if let Some(home) = from_env("HOME") {
            Path::new(&home).join(".cache/scx_ballast")
        } else {
            bail!("no cache folder: set BALLAST_CACHE to a folder that can be written");
        };
        for folder in ["kernels", "initramfs", "logs"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("creating the cache folder {}", folder.display()))?;
        }
        Ok(Cache { root })
    }

    /// A path inside the cache.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Takes the lock `name`, waiting for another process with a message.
    ///
    /// # Errors
    /// When the lock file cannot be made, or on Ctrl-C while waiting.
    pub fn lock(&self, name: &str, held_by: &str) -> Result<Lock> {
        let path = self.path(name);
        let file =
            File::create(&path).with_context(|| format!("opening the lock {}", path.display()))?;
        interrupt::install()?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if interrupt::raised() => {
                    return Err(Interrupted.into());
                }
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        eprintln!("waiting for {held_by} to end (lock {})", path.display());
                        told = true;
                    }
                    std::thread::sleep(LOCK_POLL);
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("locking {}", path.display()));
                }
            }
        }
    }
}

/// A name beside `path` that no other process writes to; rename it into place when done.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Writes `content` to `path`; until all of it is there, others read what was.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = temporary_beside(path);
    fs::write(&temporary, content)
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("writing {}", path.display()))
}

fn path_with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Puts the finished folder `new` in the place of `old`.
///
/// # Errors
/// When the file system refuses; then `old` is either whole or gone, never half.
pub fn replace_folder(new: &Path, old: &Path) -> Result<()> {
    if old.exists() {
        let aside = temporary_beside(&path_with_suffix(old, "-old"));
        fs::rename(old, &aside).with_context(|| format!("moving {} aside", old.display()))?;
        fs::remove_dir_all(&aside).with_context(|| format!("removing {}", aside.display()))?;
    }
    fs::rename(new, old).with_context(|| format!("moving {} into place", old.display()))
}
