// SPDX-License-Identifier: GPL-2.0-only
//! Whether this kernel can run the scheduler at all, said in a sentence.
//! Never changes anything, and runs before anything privileged does.

use std::path::Path;

use anyhow::{Result, bail};
use scx_utils::compat;

/// The major and minor number of a kernel's release such as `6.18.15+deb13`; a minor
/// number that is not there is 0, and without a major one it cannot be told.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

/// The scheduler that is attached, if any.
fn attached_ops(root: &Path) -> Option<String> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(root.join("sys/kernel/sched_ext").join(name)).ok()?;
        Some(text.trim().to_owned())
    };
    if read("state")? == "disabled" {
        return None;
    }
    Some(read("root/ops").unwrap_or_else(|| "unknown".to_owned()))
}

/// What keeps the kernel below `root` from running us, as far as files tell.
fn missing_files(root: &Path) -> Option<String> {
    if !root.join("sys/kernel/sched_ext").exists() {
        return Some(
            "this kernel has no sched_ext: it takes Linux 6.12 or newer with \
             CONFIG_SCHED_CLASS_EXT=y"
                .to_owned(),
        );
    }
    if !root.join("sys/kernel/btf/vmlinux").exists() {
        return Some(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux is missing): it takes a kernel \
             with CONFIG_DEBUG_INFO_BTF=y"
                .to_owned(),
        );
    }
    attached_ops(root).map(|ops| {
        format!("a sched_ext scheduler is already running ({ops}): stop it first, then try again")
    })
}

/// Checks this system.
///
/// # Errors
/// One sentence: what is missing or in the way, and what to do about it.
pub fn check() -> Result<()> {
    if let Some(problem) = missing_files(Path::new("/")) {
        bail!(problem);
    }
    // SAFETY: no arguments, no memory.
    if unsafe { libc::geteuid() } != 0 {
        bail!("loading a scheduler takes root: run with sudo");
    }
    let malformed = compat::malformed_scx_kfuncs();
    if !malformed.is_empty() {
        bail!(
            "this kernel's BTF is defective: it was built with pahole older than 1.26, and no \
             sched_ext scheduler can load on it ({} kfuncs, among them {}); boot a kernel built \
             with pahole 1.26 or newer",
            malformed.len(),
            malformed[0]
        );
    }
    for name in [
        "SCX_OPS_ENQ_LAST",
        "SCX_OPS_ENQ_EXITING",
        "SCX_OPS_ENQ_MIGRATION_DISABLED",
    ] {
        if compat::read_enum("scx_ops_flags", name).is_err() {
            log::warn!("this kernel lacks {name}: going without");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }
        root
    }

    #[test]
    fn a_kernel_without_sched_ext_is_named() {
        let root = root(&[("sys/kernel/btf/vmlinux", "")]);
        let problem = missing_files(root.path()).expect("a problem");
        assert!(problem.contains("no sched_ext"), "{problem}");
    }

    #[test]
    fn a_kernel_without_btf_is_named() {
        let root = root(&[("sys/kernel/sched_ext/state", "disabled\n")]);
        let problem = missing_files(root.path()).expect("a problem");
        assert!(problem.contains("no BTF"), "{problem}");
    }

    #[test]
    fn a_running_scheduler_is_named() {
        let root = root(&[
            ("sys/kernel/btf/vmlinux", ""),
            ("sys/kernel/sched_ext/state", "enabled\n"),
            ("sys/kernel/sched_ext/root/ops", "rusty_1.1.4\n"),
        ]);
        let problem = missing_files(root.path()).expect("a problem");
        assert!(
            problem.contains("already running (rusty_1.1.4)"),
            "{problem}"
        );
    }

    #[test]
    fn a_ready_kernel_passes() {
        let root = root(&[
            ("sys/kernel/btf/vmlinux", ""),
            ("sys/kernel/sched_ext/state", "disabled\n"),
        ]);
        assert_eq!(missing_files(root.path()), None);
    }
}
