// SPDX-License-Identifier: GPL-2.0-only
//! What is printed on standard output while guests run.
//! Must never end a run: its results count even if nobody reads along.

use std::fmt::Arguments;
use std::io::{self, Write};

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
    let mut stdout = io::stdout().lock();
    // A closed pipe (`| head`) must not stop the run: its status still counts.
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}
