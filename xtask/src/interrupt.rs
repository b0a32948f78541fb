// SPDX-License-Identifier: GPL-2.0-only
//! Owns the flag that Ctrl-C and SIGTERM raise.
//! Must never end a process itself: whoever started one ends it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

static RAISED: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// Turns SIGINT, SIGTERM and SIGHUP into the flag; later calls do nothing.
///
/// # Errors
/// When the operating system refuses the handler.
pub fn install() -> Result<()> {
    if INSTALLED.set(()).is_ok() {
        ctrlc::set_handler(|| RAISED.store(true, Ordering::Relaxed))
            .context("installing the Ctrl-C handler")?;
    }
    Ok(())
}

/// Whether the user asked to stop.
pub fn raised() -> bool {
    RAISED.load(Ordering::Relaxed)
}
