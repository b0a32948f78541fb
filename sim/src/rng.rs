// SPDX-License-Identifier: GPL-2.0-only
//! Streams of random numbers that are the same on every machine and in every
//! version of every library: workload, ties, faults and costs have one each.
//! Never seeded from anything but the scenario's seed.

/// One stream (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Stream(u64);

impl Stream {
    /// The stream of this name: streams of other names are independent of it.
    pub fn new(seed: u64, name: &str) -> Stream {
        let named = name
            .bytes()
            .fold(seed, |state, byte| Stream(state ^ u64::from(byte)).word());
        Stream(named)
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(end)) >> 64) as u64
    }

    /// A number in `from..=to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True in `share` (0..=1) of all cases.
    pub fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && (self.word() >> 11) as f64 <= share * (1u64 << 53) as f64
    }

    /// Time until the next of events that come at random, `mean_ns` apart on average.
    pub fn gap_ns(&mut self, mean_ns: f64) -> u64 {
        let share = ((self.word() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        ((-share.ln() * mean_ns) as u64).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_name() {
        let words = |name| {
            let mut stream = Stream::new(7, name);
            [stream.word(), stream.word()]
        };
        assert_eq!(words("ties"), words("ties"));
        assert_ne!(words("ties"), words("faults"));
    }

    #[test]
    fn numbers_stay_in_range_and_cover_it() {
        let mut stream = Stream::new(1, "test");
        let mut seen = [0; 3];
        for _ in 0..3000 {
            seen[stream.between(4, 6) as usize - 4] += 1;
        }
        assert!(seen.iter().all(|&count| count > 900), "{seen:?}");
        let mean = (0..1000).map(|_| stream.gap_ns(500.0)).sum::<u64>() / 1000;
        assert!((400..600).contains(&mean), "{mean}");
        assert!(!stream.chance(0.0) && stream.chance(1.0));
        assert!(stream.gap_ns(f64::INFINITY) > 0, "later than ever, not now");
    }
}
