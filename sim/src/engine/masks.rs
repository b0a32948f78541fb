// SPDX-License-Identifier: GPL-2.0-only
//! The masks of tasks: each kept once, and where the scheduler can see it.
//! Never moved or freed while the machine lives: tasks point at them.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::bits::CpuBits;
use crate::shim::cpumask;

/// Masks by number.
#[derive(Default)]
pub struct Masks {
    // Boxed, so that growing does not move what tasks point at.
    #[allow(clippy::vec_box)]
    masks: Vec<Box<cpumask>>,
    bits: Vec<Rc<CpuBits>>,
    numbers: BTreeMap<Vec<u64>, usize>,
}

impl Masks {
    /// The number of this set.
    pub fn intern(&mut self, bits: &CpuBits) -> usize {
        if let Some(&number) = self.numbers.get(bits.words()) {
            return number;
        }
        let number = self.masks.len();
        self.masks.push(Box::new(bits.to_mask()));
        self.bits.push(Rc::new(bits.clone()));
        self.numbers.insert(bits.words().to_vec(), number);
        number
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Where the scheduler finds it.
    pub fn pointer(&self, number: usize) -> *const cpumask {
        &raw const *self.masks[number]
    }

    /// The set.
    pub fn get(&self, number: usize) -> Rc<CpuBits> {
        Rc::clone(&self.bits[number])
    }
}
