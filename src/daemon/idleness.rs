// SPDX-License-Identifier: GPL-2.0-only
//! How busy each CPU was since the last look, from BPF's account of its idleness.
//! Never reads /proc/stat: at the tuner's pace making that text cost 3 to 5 % of a small machine.

use crate::domains::Layout;
use crate::kernel::Kernel;
use crate::tuner::{CpuUse, Observation};

/// The accounts at the last look, to take differences from.
#[derive(Debug, Default)]
pub struct Idleness {
    /// The scheduler's clock then; None before the first look.
    looked_ns: Option<u64>,
    /// By CPU, idle time until then.
    idle_ns: Vec<u64>,
}

impl Idleness {
    /// The use of every online CPU of `layout` between the last look and
    /// `now_ns` of the scheduler's clock. None if that is no time.
    pub fn look(
        &mut self,
        kernel: &dyn Kernel,
        layout: &Layout,
        now_ns: u64,
    ) -> Option<Observation> {
        let span_ns = self
            .looked_ns
            .map_or(0, |looked_ns| now_ns.saturating_sub(looked_ns));
        self.looked_ns = Some(now_ns);
        self.idle_ns.resize(layout.nr_cpu_ids as usize, 0);
        let mut seen = Observation::default();
        for &cpu in layout.cpu_domain.keys() {
            let idle_ns = kernel.idle_ns(cpu, now_ns);
            let last_ns = std::mem::replace(&mut self.idle_ns[cpu.index()], idle_ns);
            if kernel.is_online(cpu) {
                seen.cpus.push(CpuUse {
                    cpu,
                    busy: busy(idle_ns.saturating_sub(last_ns), span_ns),
                });
            }
        }
        (span_ns > 0).then_some(seen)
    }
}

fn busy(idle_ns: u64, span_ns: u64) -> f64 {
    (1.0 - idle_ns as f64 / span_ns as f64).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::busy;

    #[test]
    fn what_is_not_idle_is_busy() {
        assert_eq!(busy(0, 100), 1.0);
        assert_eq!(busy(25, 100), 0.75);
        // A spell counted late.
        assert_eq!(busy(130, 100), 0.0);
    }
}
