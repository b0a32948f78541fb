// SPDX-License-Identifier: GPL-2.0-only
//! How the scheduler left the kernel, and what that means for the process.
//! Never panics on what the kernel wrote: a dump holds the names of tasks, which
//! need not be UTF-8. (scx_utils' UserExitInfo does, which is why it is not used.)

use anyhow::{Result, bail};
use scx_utils::{SCX_ECODE_ACT_RESTART, ScxExitKind};

/// The end of one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// An `enum scx_exit_kind`; 0: it has not exited.
    pub kind: i32,
    /// The code of an exit that BPF or the kernel asked for.
    pub code: i64,
    /// The kernel's name for the kind.
    pub reason: String,
    /// Details, may be empty.
    pub message: String,
    /// The debug dump, may be empty.
    pub dump: String,
}

impl Exit {
    /// Whether the kernel or BPF asks for the scheduler to be started again.
    pub fn should_restart(&self) -> bool {
        let asked =
            self.kind == ScxExitKind::UnregBPF as i32 || self.kind == ScxExitKind::UnregKern as i32;
        asked && self.code & *SCX_ECODE_ACT_RESTART as i64 != 0
    }

    /// Prints the dump, if any, and the reason.
    ///
    /// # Errors
    /// The scheduler was ejected: the error holds the kernel's reason.
    pub fn report(&self) -> Result<()> {
        if self.kind == ScxExitKind::None as i32 {
            return Ok(());
        }
        if !self.dump.is_empty() {
            eprintln!("{}", self.dump);
        }
        let why = match self.message.as_str() {
            "" => format!("EXIT: {}", self.reason),
            message => format!("EXIT: {} ({message})", self.reason),
        };
        if self.kind > ScxExitKind::UnregKern as i32 {
            bail!(why);
        }
        eprintln!("{why}");
        Ok(())
    }
}

/// The text up to the first NUL; what is not UTF-8 is replaced.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_nul_and_survives_any_bytes() {
        assert_eq!(text(b"abc\0def"), "abc");
        assert_eq!(text(b"no nul"), "no nul");
        assert_eq!(text(b"task \xff\xfe\0"), "task \u{fffd}\u{fffd}");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn an_end_by_the_user_is_clean_and_an_ejection_is_not() {
        let exit = |kind: ScxExitKind| Exit {
            kind: kind as i32,
            reason: "why".to_owned(),
            ..Default::default()
        };
        assert!(exit(ScxExitKind::Unreg).report().is_ok());
        assert!(exit(ScxExitKind::UnregBPF).report().is_ok());
        assert!(exit(ScxExitKind::SysRq).report().is_err());
        let stall = exit(ScxExitKind::ErrorStall).report();
        assert_eq!(
            stall.map_err(|error| error.to_string()),
            Err("EXIT: why".to_owned())
        );
    }
}
