// SPDX-License-Identifier: GPL-2.0-only
//! When the machine is fit to measure in: after the boot's own work, such as the kernel's
//! tests of its ciphers, which would slow down whoever comes first. Never a limit to how long
//! a measurement takes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fb_procfs::{CpuStat, ProcReader};

/// How much of the machine may be busy where nobody works.
const BUSY_AT_MOST: f64 = 0.01;
const WINDOW: Duration = Duration::from_secs(1);
/// After this it is measured all the same; the harness knows it too, as QUIET_SECS.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until next to nothing runs for a whole window, and says how long that took.
///
/// # Errors
/// When /proc/stat cannot be read.
pub(super) fn await_quiet() -> Result<()> {
    let start = Instant::now();
    let mut before = spent_us()?;
    loop {
        sleep(WINDOW);
        let after = spent_us()?;
        let busy = busy_between(before, after);
        if busy <= BUSY_AT_MOST {
            println!("quiet after {} s", start.elapsed().as_secs());
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            println!("note: not quiet after {PATIENCE:?}, {busy:.3} of the machine is busy");
            return Ok(());
        }
        before = after;
    }
}

/// Microseconds of all CPUs since the boot: busy, and idle.
fn spent_us() -> Result<(u64, u64)> {
    let stat = ProcReader::new().read_stat();
    let stat = stat.context("reading /proc/stat")?;
    let total = stat.total_cpu.context("/proc/stat has no CPUs")?;
    Ok(busy_and_idle(&total))
}

fn busy_and_idle(cpu: &CpuStat) -> (u64, u64) {
    let sum = |parts: &[Option<u64>]| parts.iter().flatten().sum();
    let busy = [
        cpu.user_usec,
        cpu.nice_usec,
        cpu.system_usec,
        cpu.irq_usec,
        cpu.softirq_usec,
        // Somebody else's work, which slows down ours.
        cpu.stolen_usec,
    ];
    (sum(&busy), sum(&[cpu.idle_usec, cpu.iowait_usec]))
}

/// The busy part of what was spent between two looks: all of it if nothing was.
fn busy_between(before: (u64, u64), after: (u64, u64)) -> f64 {
    let busy = after.0.saturating_sub(before.0) as f64;
    let idle = after.1.saturating_sub(before.1) as f64;
    if busy + idle > 0.0 {
        busy / (busy + idle)
    } else {
        1.0
    }
}

#[cfg(test)]
mod unit {
    use super::busy_between;

    #[test]
    fn what_is_not_idle_is_busy() {
        assert_eq!(busy_between((5, 10), (5, 20)), 0.0);
        assert_eq!(busy_between((5, 10), (10, 25)), 0.25);
        assert_eq!(busy_between((5, 10), (5, 10)), 1.0);
    }
}
