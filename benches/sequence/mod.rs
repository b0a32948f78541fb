// SPDX-License-Identifier: GPL-2.0-only
//! Numbers that look random and are the same in every run.
//! Never seeded by anything but what the caller says.

/// Knuth's MMIX generator.
pub struct Sequence(pub u64);

impl Sequence {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }

    /// In 0..=1.
    pub fn part(&mut self) -> f64 {
        self.below(1_000_001) as f64 / 1e6
    }
}
