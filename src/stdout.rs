// SPDX-License-Identifier: GPL-2.0-only
//! Writing to standard output, where a reader may leave early or a disk be full.
//! Never decides what is written.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};

/// Prints `text`.
///
/// # Errors
/// Standard output cannot be written to.
pub fn print(text: &str) -> Result<()> {
    flush_after(|| io::stdout().write_all(text.as_bytes()))
}

/// Prints help or version.
///
/// # Errors
/// Standard output cannot be written to.
pub fn print_help(text: &clap::Error) -> Result<()> {
    flush_after(|| text.print())
}

/// A reader who has left (`| head`) has seen enough.
fn flush_after(write: impl FnOnce() -> io::Result<()>) -> Result<()> {
    match write().and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to standard output"),
    }
}
