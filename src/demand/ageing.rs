// SPDX-License-Identifier: GPL-2.0-only
//! Exponential ageing: what comes halves the weight of what was there.
//! Never knows what is weighed, nor what it is measured against: time, or only
//! the time that says something.

use std::f64::consts::LN_2;

/// The half-life, and what it makes of one length of news.
#[derive(Debug)]
pub struct Ageing {
    /// What has gone on for ever weighs this much, in ns.
    most_ns: f64,
    /// Most tasks have news of one length, so the last answer is kept.
    last_ns: u64,
    last: Aged,
}

/// What news does.
#[derive(Clone, Copy, Debug)]
pub struct Aged {
    /// The part that the old keeps of its weight, 0..=1.
    pub kept: f64,
    /// What the new weighs, in ns: nearly its length if that is short.
    pub added: f64,
}

impl Ageing {
    /// What is known loses half its weight in `half_life_ns` of news.
    pub fn new(half_life_ns: u64) -> Self {
        Ageing {
            // 0 stands for the shortest there is: any news replaces the old.
            most_ns: half_life_ns.max(1) as f64 / LN_2,
            last_ns: 0,
            last: Aged {
                kept: 1.0,
                added: 0.0,
            },
        }
    }

    /// What news of `new_ns`, spread evenly, does to what was there before.
    pub fn over(&mut self, new_ns: u64) -> Aged {
        if new_ns != self.last_ns {
            // ∫ 2^(-t / half-life) dt over the news. exp_m1 and not 1 - exp: short
            // intervals must add up to what a long one counts.
            let faded = -(-(new_ns as f64) / self.most_ns).exp_m1();
            self.last_ns = new_ns;
            self.last = Aged {
                kept: 1.0 - faded,
                added: faded * self.most_ns,
            };
        }
        self.last
    }
}
