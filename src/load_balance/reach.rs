// SPDX-License-Identifier: GPL-2.0-only
//! Which domains each set of CPUs reaches.
//! Never looks at tasks: a task's reach is that of its mask.

use super::Domain;
use crate::affinity::{MaskTable, ones};
use crate::ids::MaskId;

/// For every mask, the domains that hold at least one of its CPUs.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// u64 words of one mask's set of domains.
    words: usize,
    /// Bit i of a mask's words: the i-th domain of the snapshot.
    bits: Vec<u64>,
    masks: usize,
    /// Of each mask, how many domains it reaches.
    counts: Vec<u32>,
    /// By CPU, the place of its domain.
    places: Vec<Option<usize>>,
}

impl Reach {
    /// Works the sets out anew, in the memory of the old ones.
    pub fn update(&mut self, masks: &MaskTable, domains: &[Domain]) {
        self.words = domains.len().div_ceil(64);
        self.masks = masks.len();
        self.bits.clear();
        self.bits.resize(self.words * self.masks, 0);
        self.places.clear();
        for (place, domain) in domains.iter().enumerate() {
            for cpu in &domain.cpus {
                if self.places.len() <= cpu.index() {
                    self.places.resize(cpu.index() + 1, None);
                }
                self.places[cpu.index()] = Some(place);
            }
        }
        for mask in 1..self.masks {
            let words = masks.words(MaskId(mask as u32)).unwrap_or_default();
            for cpu in ones(words) {
                if let Some(place) = self.places.get(cpu).copied().flatten() {
                    self.bits[mask * self.words + place / 64] |= 1 << (place % 64);
                }
            }
        }
        self.count(domains.len());
    }

    fn count(&mut self, domains: usize) {
        self.counts.clear();
        let sets = self.bits.chunks(self.words.max(1));
        let sizes = sets.map(|set| set.iter().map(|word| word.count_ones()).sum::<u32>());
        self.counts.extend(sizes);
        if let Some(anywhere) = self.counts.first_mut() {
            *anywhere = domains as u32;
        }
    }

    /// Whether a task with this mask may be in another domain than that at `place`.
    pub fn allows_others(&self, mask: MaskId, place: usize) -> bool {
        let count = self.counts.get(mask.index()).copied().unwrap_or(0);
        count > 1 || (count == 1 && !self.allows(mask, place))
    }

    /// Whether a task with this mask may be in the domain at `place`. The id
    /// of no mask may be nowhere.
    pub fn allows(&self, mask: MaskId, place: usize) -> bool {
        mask == MaskId::ANYWHERE
            || (mask.index() < self.masks
                && self.bits[mask.index() * self.words + place / 64] >> (place % 64) & 1 != 0)
    }
}
