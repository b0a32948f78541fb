// SPDX-License-Identifier: GPL-2.0-only
//! What is printed on standard output.
//! Must never end a run of a guest: its results count even if nobody reads along.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};

/// Prints a line, as `println!` does, but goes on where standard output is closed or full.
macro_rules! say {
    ($($line:tt)*) => {
        $crate::say::line(format_args!($($line)*))
    };
}

/// What `say!` does.
pub fn line(line: Arguments) {
    text(&format!("{line}\n"));
}

/// The same of text that has its own line ends.
pub fn text(text: &str) {
    if cfg!(test) {
        // A test's output is shown only where it fails.
        return print!("{text}");
    }
    // What cannot be written must not stop the run: its status still counts.
    let _ = write(text);
}

/// Prints what a command is for; what nobody reads (`| head`) is no error.
///
/// # Errors
/// When standard output takes no more, as on a full disk.
pub fn answer(text: &str) -> Result<()> {
    match write(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output")
        }
        _ => Ok(()),
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
