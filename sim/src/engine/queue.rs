// SPDX-License-Identifier: GPL-2.0-only
//! Queues that CPUs share: first in first out, or in order of keys, never both.
//! Never knows what is done with the tasks in them.

use std::collections::BTreeMap;

use super::{Ns, TaskId};

/// How a queue is ordered; the first task decides, until it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By arrival.
    Arrival,
    /// By key.
    Key,
}

/// A shared queue.
pub struct Queue {
    /// Its id.
    pub id: u64,
    /// One of the kernel's own, which takes no keys.
    pub builtin: bool,
    order: Order,
    tasks: BTreeMap<(i64, u64), TaskId>,
    /// Since when it has not been empty; `None`: it is.
    pub filled_since: Option<Ns>,
    /// When a CPU last took a task from it.
    pub taken_at: Ns,
    /// When whoever holds its lock lets go.
    pub free_at: Ns,
}

impl Queue {
    /// An empty one.
    pub fn new(id: u64, builtin: bool) -> Queue {
        Queue {
            id,
            builtin,
            order: Order::Arrival,
            tasks: BTreeMap::new(),
            filled_since: None,
            taken_at: 0,
            free_at: 0,
        }
    }

    /// Tasks in it.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Puts a task in; false if tasks in it are ordered otherwise.
    pub fn insert(&mut self, task: TaskId, key: Option<u64>, order: u64, now: Ns) -> Option<i64> {
        let wanted = if key.is_some() {
            Order::Key
        } else {
            Order::Arrival
        };
        if self.tasks.is_empty() {
            self.order = wanted;
            self.filled_since = Some(now);
        } else if self.order != wanted {
            return None;
        }
        // The kernel compares keys by their signed difference; they are all near 0.
        let key = key.unwrap_or(0) as i64;
        self.tasks.insert((key, order), task);
        Some(key)
    }

    /// Takes a task out.
    pub fn remove(&mut self, key: i64, order: u64) -> Option<TaskId> {
        let task = self.tasks.remove(&(key, order));
        if self.tasks.is_empty() {
            self.filled_since = None;
        }
        task
    }

    /// The first task.
    pub fn first(&self) -> Option<TaskId> {
        self.tasks.values().next().copied()
    }

    /// Its tasks in order.
    pub fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.tasks.values().copied()
    }

    /// The task after (or, in reverse, before) a position that had arrived by
    /// `newest`, and its position.
    pub fn walk(
        &self,
        from: Option<(i64, u64)>,
        reverse: bool,
        newest: u64,
    ) -> Option<((i64, u64), TaskId)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let seen = |(place, _): &(&(i64, u64), &TaskId)| place.1 <= newest;
        let found = if reverse {
            let before = (Unbounded, from.map_or(Unbounded, Excluded));
            self.tasks.range(before).rev().find(seen)
        } else {
            let after = (from.map_or(Unbounded, Excluded), Unbounded);
            self.tasks.range(after).find(seen)
        };
        found.map(|(place, task)| (*place, *task))
    }
}

/// Which queue has which id. The scheduler's ids come in two dense runs, and are
/// looked up several times a switch.
#[derive(Default)]
pub struct QueueIds {
    runs: [Vec<Option<usize>>; 2],
    others: BTreeMap<u64, usize>,
}

impl QueueIds {
    /// Ids of a run; beyond them the map is asked.
    const RUN: u64 = 1 << 20;

    /// The queue with this id.
    pub fn get(&self, id: u64) -> Option<usize> {
        match self.runs.get((id / Self::RUN) as usize) {
            Some(run) => *run.get((id % Self::RUN) as usize)?,
            None => self.others.get(&id).copied(),
        }
    }

    /// A queue gets this id.
    pub fn insert(&mut self, id: u64, index: usize) {
        let Some(run) = self.runs.get_mut((id / Self::RUN) as usize) else {
            self.others.insert(id, index);
            return;
        };
        let place = (id % Self::RUN) as usize;
        if run.len() <= place {
            run.resize(place + 1, None);
        }
        run[place] = Some(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_wherever_they_lie() {
        let mut ids = QueueIds::default();
        for (index, id) in [0, 7, 0x10_0003, 1 << 63 | 3].into_iter().enumerate() {
            ids.insert(id, index);
        }
        assert_eq!(
            [ids.get(0), ids.get(7), ids.get(0x10_0003)],
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(
            [ids.get(1 << 63 | 3), ids.get(5), ids.get(0x20_0000)],
            [Some(3), None, None]
        );
    }

    #[test]
    fn keys_order_a_queue_and_equal_keys_keep_their_order() {
        let mut queue = Queue::new(1, false);
        for (order, (task, key)) in [(1, 30), (2, 10), (3, 10), (4, u64::MAX)]
            .into_iter()
            .enumerate()
        {
            assert!(queue.insert(task, Some(key), order as u64, 5).is_some());
        }
        assert_eq!(queue.iter().collect::<Vec<_>>(), [4, 2, 3, 1]);
        assert_eq!(queue.filled_since, Some(5));
    }

    #[test]
    fn a_queue_is_ordered_one_way_until_it_is_empty() {
        let mut queue = Queue::new(1, false);
        assert!(queue.insert(1, None, 1, 0).is_some());
        assert!(queue.insert(2, Some(7), 2, 0).is_none());
        assert_eq!(queue.remove(0, 1), Some(1));
        assert!(queue.insert(2, Some(7), 2, 0).is_some());
    }

    #[test]
    fn a_walk_sees_what_had_arrived_and_survives_removal() {
        let mut queue = Queue::new(1, false);
        for order in 1..=3 {
            queue.insert(order as u32, Some(10 * order), order, 0);
        }
        let (place, task) = queue.walk(None, false, 2).expect("one");
        assert_eq!(task, 1);
        queue.remove(place.0, place.1);
        assert_eq!(queue.walk(Some(place), false, 2), Some(((20, 2), 2)));
        assert_eq!(queue.walk(Some((20, 2)), false, 2), None);
        assert_eq!(queue.walk(None, true, 2), Some(((20, 2), 2)));
    }
}
