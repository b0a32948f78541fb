// SPDX-License-Identifier: GPL-2.0-only
//! How busy each CPU was since the last look, from /proc/stat.
//! Never decides: the tuner and the balancer take these as values.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use fb_procfs::{CpuStat, ProcReader};

use crate::ids::CpuId;

/// What one CPU did in a span of time, as shares of it, each 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuShares {
    /// Not idle.
    pub busy: f64,
    /// Taken by interrupts and by the hypervisor: not to be had by tasks.
    pub lost: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Times {
    busy_us: u64,
    lost_us: u64,
    total_us: u64,
}

impl Times {
    fn of(stat: &CpuStat) -> Times {
        let us = |field: Option<u64>| field.unwrap_or(0);
        let lost_us = us(stat.irq_usec) + us(stat.softirq_usec) + us(stat.stolen_usec);
        let busy_us = us(stat.user_usec) + us(stat.nice_usec) + us(stat.system_usec) + lost_us;
        Times {
            busy_us,
            lost_us,
            total_us: busy_us + us(stat.idle_usec) + us(stat.iowait_usec),
        }
    }

    /// None if no time has passed. The kernel's idle times may step back.
    fn shares_since(self, earlier: Times) -> Option<CpuShares> {
        let total = self
            .total_us
            .checked_sub(earlier.total_us)
            .filter(|us| *us > 0)? as f64;
        let part = |now: u64, then: u64| (now.saturating_sub(then) as f64 / total).min(1.0);
        Some(CpuShares {
            busy: part(self.busy_us, earlier.busy_us),
            lost: part(self.lost_us, earlier.lost_us),
        })
    }
}

/// The times at the last look, to take differences from.
pub struct Meter {
    reader: ProcReader,
    last: BTreeMap<CpuId, Times>,
}

impl Meter {
    /// A meter whose first reading counts from now.
    ///
    /// # Errors
    /// /proc/stat cannot be read.
    pub fn start() -> Result<Meter> {
        let mut meter = Meter {
            reader: ProcReader::new(),
            last: BTreeMap::new(),
        };
        meter.read()?;
        Ok(meter)
    }

    /// The shares of every online CPU since the last call. A CPU seen for the
    /// first time is left out.
    ///
    /// # Errors
    /// /proc/stat cannot be read.
    pub fn read(&mut self) -> Result<BTreeMap<CpuId, CpuShares>> {
        let stat = self.reader.read_stat().context("reading /proc/stat")?;
        let now: BTreeMap<CpuId, Times> = stat
            .cpus_map
            .unwrap_or_default()
            .iter()
            .map(|(cpu, stat)| (CpuId(*cpu), Times::of(stat)))
            .collect();
        let shares = now
            .iter()
            .filter_map(|(cpu, times)| {
                let earlier = self.last.get(cpu)?;
                Some((*cpu, times.shares_since(*earlier)?))
            })
            .collect();
        self.last = now;
        Ok(shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(busy_us: u64, lost_us: u64, total_us: u64) -> Times {
        Times {
            busy_us,
            lost_us,
            total_us,
        }
    }

    #[test]
    fn shares_are_of_the_time_between() {
        let shares = times(80, 20, 200).shares_since(times(30, 10, 100));
        assert_eq!(
            shares,
            Some(CpuShares {
                busy: 0.5,
                lost: 0.1
            })
        );
    }

    #[test]
    fn no_time_no_shares() {
        assert_eq!(times(1, 0, 5).shares_since(times(1, 0, 5)), None);
        assert_eq!(times(1, 0, 4).shares_since(times(1, 0, 5)), None);
    }

    #[test]
    fn counters_that_step_back_stay_in_range() {
        let shares = times(5, 0, 110)
            .shares_since(times(9, 1, 100))
            .expect("time passed");
        assert_eq!((shares.busy, shares.lost), (0.0, 0.0));
    }

    #[test]
    fn lost_time_is_busy_time() {
        let stat = CpuStat {
            user_usec: Some(1),
            irq_usec: Some(2),
            softirq_usec: Some(3),
            stolen_usec: Some(4),
            idle_usec: Some(10),
            ..Default::default()
        };
        assert_eq!(Times::of(&stat), times(10, 9, 20));
    }
}
