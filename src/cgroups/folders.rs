// SPDX-License-Identifier: GPL-2.0-only
//! The cgroup2 file system: what is in a folder, and what its files say.
//! Never interprets a file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::Path;

/// Folders of control groups. Paths are from the root, which is `/`.
pub trait Folders {
    /// The id of the root.
    ///
    /// # Errors
    /// It cannot be read.
    fn root(&self) -> io::Result<u64>;

    /// Calls `found` with id and name of every folder in `path`.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn list(&self, path: &str, found: &mut dyn FnMut(u64, &str)) -> io::Result<()>;

    /// Reads a file of the folder `path` into `text`, replacing what is there.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is not UTF-8.
    fn read(&mut self, path: &str, file: &str, text: &mut String) -> io::Result<()>;
}

/// Folders as they are mounted.
#[derive(Debug)]
pub struct Mounted {
    root: String,
    /// Memory for the path of a file.
    path: String,
}

impl Mounted {
    /// Where cgroup2 is mounted with the cpu controller, if it is. Where that is
    /// bound to the older cgroups, ids are theirs and mean nothing here.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub fn find() -> io::Result<Option<Mounted>> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let Some(root) = mount_point(&mounts) else {
            return Ok(None);
        };
        let controllers = fs::read_to_string(Path::new(&root).join("cgroup.controllers"))?;
        let has_cpu = controllers.split_whitespace().any(|name| name == "cpu");
        Ok(has_cpu.then(|| Mounted::at(root)))
    }

    /// The folders under `root`.
    pub fn at(root: String) -> Mounted {
        Mounted {
            root,
            path: String::new(),
        }
    }
}

impl Folders for Mounted {
    fn root(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.root)?.ino())
    }

    fn list(&self, path: &str, found: &mut dyn FnMut(u64, &str)) -> io::Result<()> {
        for entry in fs::read_dir(format!("{}{path}", self.root))? {
            let entry = entry?;
            // A name that is not UTF-8 cannot be shown; its tasks count as in
            // the root.
            if entry.file_type()?.is_dir()
                && let Some(name) = entry.file_name().to_str()
            {
                found(entry.ino(), name);
            }
        }
        Ok(())
    }

    fn read(&mut self, path: &str, file: &str, text: &mut String) -> io::Result<()> {
        self.path.clear();
        for part in [&self.root, path, "/", file] {
            self.path.push_str(part);
        }
        text.clear();
        File::open(&self.path)?.read_to_string(text).map(|_| ())
    }
}

/// The first mount point of a cgroup2 file system in the text of /proc/self/mounts.
fn mount_point(mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| unescape(point)).flatten()
    })
}

/// The text in which the kernel has written some bytes as `\` and three octal
/// digits. `None`: not UTF-8.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'\\' && after.len() >= 3)
            .then(|| std::str::from_utf8(&after[..3]).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_mount_point_is_found_among_others() {
        let mounts = "proc /proc proc rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/my\\040cgroups cgroup2 rw,nosuid 0 0\n\
                      cgroup2 /elsewhere cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts).as_deref(), Some("/sys/fs/my cgroups"));
        assert_eq!(mount_point("proc /proc proc rw 0 0\nodd\n"), None);
    }

    #[test]
    fn only_octal_escapes_are_undone() {
        for (text, plain) in [
            (r"a\134b", r"a\b"),
            (r"a\9", r"a\9"),
            (r"a\999b", r"a\999b"),
        ] {
            assert_eq!(unescape(text).as_deref(), Some(plain));
        }
        assert_eq!(unescape(r"\377"), None);
    }
}
