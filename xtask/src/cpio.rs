// SPDX-License-Identifier: GPL-2.0-only
//! Owns the cpio "newc" format of the kernel's initramfs (kernel's buffer-format.rst).
//! Must never read the file system: it is given names and bytes.

use std::collections::BTreeSet;

/// Every header, name and file ends on a multiple of this many bytes.
pub const ALIGN: usize = 4;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive in memory.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    next_inode: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    /// Adds a folder and the folders above it, each once.
    pub fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            let folder = &path[..end];
            if !folder.is_empty() && self.folders.insert(folder.to_string()) {
                self.entry(folder, FOLDER, &[]);
            }
        }
    }

    /// Adds a file, and the folders above it.
    pub fn file(&mut self, path: &str, executable: bool, content: &[u8]) {
        self.parent(path);
        let mode = if executable { PROGRAM } else { FILE };
        self.entry(path.trim_matches('/'), mode, content);
    }

    /// Adds a symbolic link to `target`, and the folders above it.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parent(path);
        self.entry(path.trim_matches('/'), LINK, target.as_bytes());
    }

    /// Ends the archive and hands over its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn parent(&mut self, path: &str) {
        if let Some((folder, _)) = path.trim_matches('/').rsplit_once('/') {
            self.folder(folder);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.next_inode += 1;
        let links = 1;
        let fields = [
            self.next_inode,
            mode,
            0, // uid
            0, // gid
            links,
            0, // mtime: the archive is the same whenever it is built
            u32::try_from(content.len()).expect("a file in the initramfs is below 4 GiB"),
            0, // device, major and minor
            0,
            0, // device a node stands for, major and minor
            0,
            u32::try_from(name.len() + 1).expect("a path is short"),
            0, // checksum, unused in newc
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        pad(&mut self.bytes);
        self.bytes.extend_from_slice(content);
        pad(&mut self.bytes);
    }
}

/// Pads with zeros to the next multiple of [`ALIGN`]; the kernel skips them between archives.
pub fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_reaches_the_next_multiple_of_four() {
        for (length, padded) in [(0, 0), (1, 4), (3, 4), (4, 4), (5, 8)] {
            let mut bytes = vec![1; length];
            pad(&mut bytes);
            assert_eq!(bytes.len(), padded);
        }
    }

    #[test]
    fn a_file_brings_its_folders_once() {
        let mut archive = Archive::default();
        archive.file("/a/b/c", true, b"hello");
        archive.file("/a/b/d", false, b"");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % ALIGN, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 5); // a, a/b, two files, trailer
        assert!(text.contains("a/b/c\0"));
        assert!(text.contains("hello"));
    }

    #[test]
    fn the_header_is_110_bytes_and_says_the_sizes() {
        let mut archive = Archive::default();
        archive.link("sh", "busybox");
        let bytes = archive.finish();
        let field = |index: usize| {
            let hex = std::str::from_utf8(&bytes[6 + 8 * index..14 + 8 * index]).expect("ASCII");
            u32::from_str_radix(hex, 16).expect("hexadecimal")
        };
        assert_eq!(field(1), LINK);
        assert_eq!(field(6), 7);
        assert_eq!(field(11), 3);
        assert_eq!(&bytes[110..113], b"sh\0");
        assert_eq!(&bytes[116..123], b"busybox");
    }
}
