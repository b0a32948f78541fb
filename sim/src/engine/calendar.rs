// SPDX-License-Identifier: GPL-2.0-only
//! What is to happen, in order of time and, within one instant, of arrival.
//! Never looks at what the events are.
//!
//! A heap of all events costs more the larger the machine is. Here time is cut into
//! slots: an event of the next few ms goes to its slot, unordered, and is put in order
//! with the few others there when the slot comes. Only what is later is in a heap.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::{Event, Ns};

/// A slot has 2^13 ns, 8 µs: 7 events on a busy machine of 1024 CPUs.
const SLOT_SHIFT: u32 = 13;
/// Slots that are looked ahead, 4.2 ms: a tick of 250 Hz and most sleeps.
const SLOTS: u64 = 512;

/// An event, ordered by when it is to happen alone.
struct Entry {
    at: Ns,
    order: u64,
    event: Event,
}

impl Entry {
    fn key(&self) -> u128 {
        u128::from(self.at) << 64 | u128::from(self.order)
    }

    fn slot(&self) -> u64 {
        self.at >> SLOT_SHIFT
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

/// The events to come.
pub struct Calendar {
    /// The slot that has come.
    slot: u64,
    /// Its events, the next one last.
    now: Vec<Entry>,
    /// Those of the slots after it, each in the place of its number modulo SLOTS.
    soon: Vec<Vec<Entry>>,
    /// How many these are.
    nr_soon: usize,
    /// Those of later slots.
    later: BinaryHeap<Reverse<Entry>>,
}

impl Default for Calendar {
    fn default() -> Calendar {
        Calendar {
            slot: 0,
            now: Vec::new(),
            soon: (0..SLOTS).map(|_| Vec::new()).collect(),
            nr_soon: 0,
            later: BinaryHeap::new(),
        }
    }
}

impl Calendar {
    /// Puts an event down, which is not before those taken. No two have one `order`.
    pub fn put(&mut self, at: Ns, order: u64, event: Event) {
        let entry = Entry { at, order, event };
        if entry.slot() <= self.slot {
            let place = self.now.partition_point(|other| *other > entry);
            self.now.insert(place, entry);
        } else if entry.slot() < self.slot + SLOTS {
            self.put_soon(entry);
        } else {
            self.later.push(Reverse(entry));
        }
    }

    fn put_soon(&mut self, entry: Entry) {
        self.nr_soon += 1;
        self.soon[(entry.slot() % SLOTS) as usize].push(entry);
    }

    /// Takes the next event, and when it is to happen.
    pub fn take(&mut self) -> Option<(Ns, Event)> {
        if self.now.is_empty() {
            self.turn()?;
        }
        self.now.pop().map(|entry| (entry.at, entry.event))
    }

    /// Goes on to the next slot that has events; there is none of the present one.
    fn turn(&mut self) -> Option<()> {
        self.slot = if self.nr_soon > 0 {
            let mut slots = self.slot + 1..self.slot + SLOTS;
            slots.find(|slot| !self.soon[(slot % SLOTS) as usize].is_empty())?
        } else {
            self.later.peek()?.0.slot()
        };
        let end = self.slot + SLOTS;
        while let Some(Reverse(entry)) = self.later.peek()
            && entry.slot() < end
            && let Some(Reverse(entry)) = self.later.pop()
        {
            self.put_soon(entry);
        }
        let come = &mut self.soon[(self.slot % SLOTS) as usize];
        std::mem::swap(&mut self.now, come);
        self.nr_soon -= self.now.len();
        self.now.sort_unstable_by(|one, other| other.cmp(one));
        Some(())
    }
}

#[cfg(test)]
impl Calendar {
    /// When the next event is to happen.
    pub fn next_at(&mut self) -> Option<Ns> {
        if self.now.is_empty() {
            self.turn()?;
        }
        self.now.last().map(|entry| entry.at)
    }

    /// All events to come, in no order.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        let later = self.later.iter().map(|entry| &entry.0);
        let soon = self.soon.iter().flatten();
        self.now
            .iter()
            .chain(soon)
            .chain(later)
            .map(|entry| entry.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn events_come_in_order_of_time_then_of_arrival() {
        let mut calendar = Calendar::default();
        for (order, (at, cpu)) in [(7, 0), (3, 1), (7, 2), (3, 3)].into_iter().enumerate() {
            calendar.put(at, order as u64, Event::Tick { cpu });
        }
        let taken: Vec<_> = std::iter::from_fn(|| calendar.take()).collect();
        let ticks = [(3, 1), (3, 3), (7, 0), (7, 2)];
        assert_eq!(taken, ticks.map(|(at, cpu)| (at, Event::Tick { cpu })));
    }

    #[test]
    fn near_and_far_events_come_as_from_a_heap() {
        let (mut calendar, mut heap) = (Calendar::default(), BinaryHeap::new());
        let mut stream = Stream::new(1, "calendar");
        let mut now = 0;
        for order in 0..20_000 {
            // From the same instant to seconds ahead, with gaps of many slots.
            let bits = stream.below(32);
            let ahead = stream.below(1 << bits);
            let cpu = order as u32;
            calendar.put(now + ahead, order, Event::Tick { cpu });
            heap.push(Reverse((now + ahead, order)));
            if stream.below(5) < 2 || order > 15_000 {
                let Reverse((at, order)) = heap.pop().expect("just pushed");
                let cpu = order as u32;
                assert_eq!(calendar.take(), Some((at, Event::Tick { cpu })));
                now = at;
            }
        }
        while let Some(Reverse((at, order))) = heap.pop() {
            let cpu = order as u32;
            assert_eq!(calendar.take(), Some((at, Event::Tick { cpu })));
        }
        assert_eq!(calendar.take(), None);
    }
}
