// SPDX-License-Identifier: GPL-2.0-only
//! The tasks of a domain that can go somewhere else, by share: sorted once
//! somebody asks. Never knows where they can go.

use std::cell::{Ref, RefCell};

use crate::ids::MaskId;

/// An item in the list of its domain, with what every search asks of it: tasks
/// lie far apart in memory, and fetching them would be most of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub share: f64,
    pub lag_ms: f64,
    pub demand: f64,
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
/// nobody asks what is in the list: only the numbers of its items are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    entries: RefCell<Vec<Entry>>,
    /// Items that are not yet among the entries.
    items: RefCell<Vec<u32>>,
    largest: f64,
}

impl List {
    pub fn clear(&mut self) {
        self.entries.get_mut().clear();
        self.items.get_mut().clear();
        self.largest = 0.0;
    }

    /// The largest share.
    pub fn largest(&self) -> f64 {
        self.largest
    }

    /// All entries, sorted. `entry` makes the one of an item.
    pub fn sorted(&self, entry: impl Fn(u32) -> Entry) -> Ref<'_, [Entry]> {
        let mut items = self.items.borrow_mut();
        if !items.is_empty() {
            let mut entries = self.entries.borrow_mut();
            entries.extend(items.drain(..).map(entry));
            entries.sort_unstable_by_key(Entry::key);
        }
        Ref::map(self.entries.borrow(), |entries| &entries[..])
    }

    /// Shows `see` all entries, in any order.
    pub fn see_all<T>(
        &self,
        entry: impl Fn(u32) -> Entry,
        see: impl FnOnce(&mut dyn Iterator<Item = Entry>) -> T,
    ) -> T {
        let (entries, items) = (self.entries.borrow(), self.items.borrow());
        let items = items.iter().map(|&item| entry(item));
        see(&mut entries.iter().copied().chain(items))
    }

    /// Adds an item that has this share.
    pub fn push(&mut self, share: f64, item: u32) {
        self.largest = self.largest.max(share);
        self.items.get_mut().push(item);
    }

    /// Adds an entry, and stays sorted if it is.
    pub fn insert(&mut self, entry: Entry) {
        if !self.items.get_mut().is_empty() {
            return self.push(entry.share, entry.item);
        }
        self.largest = self.largest.max(entry.share);
        let entries = self.entries.get_mut();
        let place = entries.partition_point(|other| other.key() < entry.key());
        entries.insert(place, entry);
    }

    /// Takes an entry out of a list that has been sorted.
    pub fn remove(&mut self, share: f64, item: u32) -> Entry {
        debug_assert!(self.items.get_mut().is_empty());
        let key = (share.to_bits(), item);
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
            demand: 1.0,
            item,
            mask: MaskId::ANYWHERE,
            moved_ago_rounds: 0,
        }
    }

    #[test]
    fn a_list_is_sorted_whenever_it_is_seen() {
        let mut list = List::default();
        list.clear();
        let shares = [0.0, 0.5, 0.3, 0.5, 0.7, 0.0, 0.0, 0.0, 0.0, 0.2];
        let of = |item: u32| entry(shares[item as usize], item);
        let items = |list: &List| -> Vec<u32> {
            let sorted = list.sorted(of);
            sorted.iter().map(|entry| entry.item).collect()
        };
        for item in [3, 9, 1] {
            list.push(shares[item as usize], item);
        }
        list.insert(of(4));
        assert_eq!(list.largest(), 0.7);
        assert_eq!(items(&list), [9, 1, 3, 4]);
        assert_eq!(list.remove(0.7, 4).item, 4);
        assert_eq!(list.largest(), 0.5);
        assert_eq!(items(&list), [9, 1, 3]);
        list.insert(of(2));
        assert_eq!(items(&list), [9, 2, 1, 3]);
        list.clear();
        assert_eq!((list.largest(), items(&list)), (0.0, vec![]));
    }
}
