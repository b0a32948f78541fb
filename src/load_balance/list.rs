// SPDX-License-Identifier: GPL-2.0-only
//! The tasks of a domain that can go somewhere else, by share: sorted once
//! somebody asks. Never knows where they can go.

use std::cell::{Cell, Ref, RefCell};

use crate::ids::MaskId;

/// An item in the list of its domain, with what every search asks of it: tasks
/// lie far apart in memory, and fetching them would be most of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub share: f64,
    pub lag_ms: f64,
    pub item: u32,
    pub mask: MaskId,
    pub moved_ago_rounds: u32,
}

impl Entry {
    /// Lists are sorted by this. Shares are >= 0: their bits sort as numbers.
    fn key(&self) -> (u64, u32) {
        (self.share.to_bits(), self.item)
    }
}

/// Entries by share and then by row. Most domains only take tasks, and of those
/// nobody asks what is in the list: they are never sorted.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    entries: RefCell<Vec<Entry>>,
    is_sorted: Cell<bool>,
    largest: f64,
}

impl List {
    pub fn clear(&mut self) {
        self.entries.get_mut().clear();
        self.is_sorted.set(true);
        self.largest = 0.0;
    }

    /// The largest share.
    pub fn largest(&self) -> f64 {
        self.largest
    }

    /// All entries, sorted.
    pub fn sorted(&self) -> Ref<'_, [Entry]> {
        if !self.is_sorted.replace(true) {
            let mut entries = self.entries.borrow_mut();
            entries.sort_unstable_by_key(Entry::key);
        }
        Ref::map(self.entries.borrow(), |entries| &entries[..])
    }

    /// Adds an entry, where it will be looked for only later.
    pub fn push(&mut self, entry: Entry) {
        self.largest = self.largest.max(entry.share);
        self.is_sorted.set(false);
        self.entries.get_mut().push(entry);
    }

    /// Adds an entry and stays sorted if it is.
    pub fn insert(&mut self, entry: Entry) {
        if !self.is_sorted.get() {
            return self.push(entry);
        }
        self.largest = self.largest.max(entry.share);
        let entries = self.entries.get_mut();
        let place = entries.partition_point(|other| other.key() < entry.key());
        entries.insert(place, entry);
    }

    /// Takes the entry of an item out.
    pub fn remove(&mut self, share: f64, item: u32) -> Entry {
        let key = (share.to_bits(), item);
        drop(self.sorted());
        let entries = self.entries.get_mut();
        let place = entries.partition_point(|other| other.key() < key);
        debug_assert_eq!(entries.get(place).map(Entry::key), Some(key));
        let entry = entries.remove(place);
        self.largest = entries.last().map_or(0.0, |last| last.share);
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(share: f64, item: u32) -> Entry {
        Entry {
            share,
            lag_ms: 0.0,
            item,
            mask: MaskId::ANYWHERE,
            moved_ago_rounds: 0,
        }
    }

    #[test]
    fn a_list_is_sorted_whenever_it_is_seen() {
        let mut list = List::default();
        list.clear();
        let items = |list: &List| -> Vec<u32> {
            let sorted = list.sorted();
            sorted.iter().map(|entry| entry.item).collect()
        };
        for (share, item) in [(0.5, 3), (0.2, 9), (0.5, 1)] {
            list.push(entry(share, item));
        }
        list.insert(entry(0.7, 4));
        assert_eq!(list.largest(), 0.7);
        assert_eq!(list.remove(0.7, 4).item, 4);
        assert_eq!(list.largest(), 0.5);
        assert_eq!(items(&list), [9, 1, 3]);
        list.insert(entry(0.3, 2));
        assert_eq!(items(&list), [9, 2, 1, 3]);
        list.clear();
        assert_eq!((list.largest(), items(&list)), (0.0, vec![]));
    }
}
