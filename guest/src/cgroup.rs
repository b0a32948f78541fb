// SPDX-License-Identifier: GPL-2.0-only
//! Control groups for tests: made, set, filled and removed again.
//! Never touches a group it did not make.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Where the guest mounts cgroup2, with the cpu controller enabled below the root.
const ROOT: &str = "/sys/fs/cgroup";
/// A group can be removed once its last process is gone, a moment after it is reaped.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two attempts.
const LOOK: Duration = Duration::from_millis(20);

/// A control group. Dropping it removes it: its processes must have ended by then, and groups in it
/// must have been dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: String,
}

impl Cgroup {
    /// Makes the group `path`, such as `/a`; what it is in must be there.
    ///
    /// # Errors
    /// When there is no cgroup2, or such a group already.
    pub fn new(path: &str) -> Result<Self> {
        let group = Self {
            path: path.to_owned(),
        };
        let folder = group.folder();
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(group)
    }

    /// Writes `value` to one of its files.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.folder().join(file);
        fs::write(&path, value).with_context(|| format!("writing {value} to {}", path.display()))
    }

    /// Moves processes into it.
    ///
    /// # Errors
    /// When one of them has ended.
    pub fn add(&self, pids: &[u32]) -> Result<()> {
        let add = |pid: &u32| self.set("cgroup.procs", &pid.to_string());
        pids.iter().try_for_each(add)
    }

    /// Its path, from the root of all groups.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from(format!("{ROOT}{}", self.path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let start = Instant::now();
        while let Err(why) = fs::remove_dir(self.folder()) {
            if start.elapsed() > REMOVAL_PATIENCE {
                eprintln!("removing the control group {}: {why}", self.path);
                return;
            }
            sleep(LOOK);
        }
    }
}
