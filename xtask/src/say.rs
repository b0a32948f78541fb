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
    if cfg!(test) {
        // A test's output is shown only where it fails.
        return println!("{line}");
    }
    let mut stdout = io::stdout().lock();
    // A closed pipe (`| head`) must not stop the run: its status still counts.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
