// SPDX-License-Identifier: GPL-2.0-only
//! What interrupts and the hypervisor took of each CPU since the last look, from /proc/stat.
//! Never decides: the balancer takes these as values.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use fb_procfs::{CpuStat, ProcReader};

use crate::ids::CpuId;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Times {
    lost_us: u64,
    total_us: u64,
}

impl Times {
    fn of(stat: &CpuStat) -> Times {
        let us = |field: Option<u64>| field.unwrap_or(0);
        let lost_us = us(stat.irq_usec) + us(stat.softirq_usec) + us(stat.stolen_usec);
        let busy_us = us(stat.user_usec) + us(stat.nice_usec) + us(stat.system_usec) + lost_us;
        Times {
            lost_us,
            total_us: busy_us + us(stat.idle_usec) + us(stat.iowait_usec),
        }
    }

    /// The share that was lost since then, 0..=1. None if no time has passed. The
    /// kernel's times may step back.
    fn lost_since(self, earlier: Times) -> Option<f64> {
        let total = self
            .total_us
            .checked_sub(earlier.total_us)
            .filter(|us| *us > 0)? as f64;
        let lost = self.lost_us.saturating_sub(earlier.lost_us) as f64;
        Some((lost / total).min(1.0))
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

    /// The share lost of every online CPU since the last call, 0..=1. A CPU seen
    /// for the first time is left out.
    ///
    /// # Errors
    /// /proc/stat cannot be read.
    pub fn read(&mut self) -> Result<BTreeMap<CpuId, f64>> {
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
                Some((*cpu, times.lost_since(*earlier)?))
            })
            .collect();
        self.last = now;
        Ok(shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(lost_us: u64, total_us: u64) -> Times {
        Times { lost_us, total_us }
    }

    #[test]
    fn shares_are_of_the_time_between() {
        assert_eq!(times(20, 200).lost_since(times(10, 100)), Some(0.1));
    }

    #[test]
    fn no_time_no_shares() {
        assert_eq!(times(0, 5).lost_since(times(0, 5)), None);
        assert_eq!(times(0, 4).lost_since(times(0, 5)), None);
    }

    #[test]
    fn counters_that_step_back_stay_in_range() {
        assert_eq!(times(0, 110).lost_since(times(1, 100)), Some(0.0));
    }

    #[test]
    fn interrupts_and_the_hypervisor_take_time() {
        let stat = CpuStat {
            user_usec: Some(1),
            irq_usec: Some(2),
            softirq_usec: Some(3),
            stolen_usec: Some(4),
            idle_usec: Some(10),
            ..Default::default()
        };
        assert_eq!(Times::of(&stat), times(9, 20));
    }
}
