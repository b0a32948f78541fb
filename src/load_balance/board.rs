// SPDX-License-Identifier: GPL-2.0-only
//! The board a plan is worked out on: who is where, and what each domain owes.
//! Never decides what to move; it keeps sums and lists true while others do.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use ordered_float::OrderedFloat;

use super::reach::Reach;
use super::settle::{Band, Member};
use super::{Config, Domain, DomainPlan, Move, Node, Snapshot, Task, capacity_of};
use crate::ids::{DomainId, NodeId};

/// Entitlements and gains below this many CPUs (1 µs in a second) are nothing:
/// far below what can be measured, far above rounding.
pub(super) const LEAST: f64 = 1e-6;

/// A remote node whose distance is not given: the kernel's REMOTE_DISTANCE.
const REMOTE_DISTANCE: u32 = 20;
const LOCAL_DISTANCE: u32 = 10;

/// A task on the board. Items are numbered in the order of their rows.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub task: &'a Task,
    /// Its place in the snapshot.
    index: usize,
    /// Entitlement, CPUs.
    pub share: f64,
    /// Its domain now, as an index of the board; `None` if unknown.
    pub place: Option<usize>,
    /// Its domain in the snapshot.
    origin: Option<usize>,
    /// Whether this plan has moved it.
    pub moved: bool,
}

/// A domain on the board, in the snapshot's order.
pub(super) struct Seat {
    pub id: DomainId,
    pub node: NodeId,
    pub capacity: f64,
    /// Σ share of its items.
    pub load: f64,
    /// Movable items with a share, by share and then by row.
    pub sorted: Vec<u32>,
    /// Items that came and that left: what tells a stale search from a fresh one.
    pub arrivals: u64,
    pub departures: u64,
}

impl Seat {
    /// CPUs owed beyond the capacity; negative: room.
    pub fn gap(&self) -> f64 {
        self.load - self.capacity
    }
}

/// A change of place, with the loads the two domains had then.
struct Step {
    item: u32,
    from_load: f64,
    to: usize,
    to_load: f64,
    /// The item that went the other way, in a swap.
    partner: Option<u32>,
}

/// CPUs of each process on each domain and each node.
#[derive(Default)]
struct Processes {
    by_domain: HashMap<(u32, usize), f64>,
    by_node: HashMap<(u32, NodeId), f64>,
}

/// See the module's text.
pub(super) struct Board<'a> {
    pub config: &'a Config,
    pub items: Vec<Item<'a>>,
    pub seats: Vec<Seat>,
    /// The largest share of a movable task, CPUs.
    pub largest: f64,
    limited: bool,
    distance: BTreeMap<(NodeId, NodeId), u32>,
    reach: Reach,
    processes: Processes,
    steps: Vec<Step>,
    /// Searches only read the board, but their effort counts.
    looks: Cell<u64>,
}

impl<'a> Board<'a> {
    /// Sets up loads; lists wait for [`Board::prepare`], since most rounds on a
    /// balanced machine need none. `shares` are in the order of `order`.
    pub fn new(
        snapshot: &'a Snapshot,
        config: &'a Config,
        order: &[usize],
        shares: &[f64],
        limited: bool,
    ) -> Self {
        let mut reach = Reach::default();
        reach.update(&snapshot.masks, &snapshot.domains);
        let mut seats: Vec<Seat> = snapshot.domains.iter().map(seat).collect();
        let mut seat_of = vec![None; seats.len()];
        for (place, seat) in seats.iter().enumerate() {
            if let Some(entry) = seat_of.get_mut(seat.id.index()) {
                *entry = Some(place);
            }
        }
        let mut items = Vec::with_capacity(order.len());
        for (&index, &share) in order.iter().zip(shares) {
            let task = &snapshot.tasks[index];
            let place: Option<usize> = seat_of.get(task.domain.index()).copied().flatten();
            if let Some(place) = place {
                seats[place].load += share;
            }
            items.push(Item {
                task,
                index,
                share,
                place,
                origin: place,
                moved: false,
            });
        }
        let movable = items.iter().filter(|item| item.task.movable);
        Board {
            config,
            largest: movable.map(|item| item.share).fold(0.0, f64::max),
            items,
            seats,
            limited,
            distance: distances(&snapshot.nodes),
            reach,
            processes: Processes::default(),
            steps: Vec::new(),
            looks: Cell::new(0),
        }
    }

    /// Whether the item may be in the domain.
    pub fn allows(&self, item: &Item, seat: usize) -> bool {
        self.reach.allows(item.task.mask, seat)
    }

    /// Whether somebody on the machine gets less than it could use.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    pub fn loads(&self) -> Vec<f64> {
        self.seats.iter().map(|seat| seat.load).collect()
    }

    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Moves this plan may still make: none once it has looked long enough.
    pub fn budget(&self) -> usize {
        if self.looks.get() >= self.config.max_looks {
            return 0;
        }
        self.config.max_moves.saturating_sub(self.steps.len())
    }

    /// Counts tasks looked at.
    pub fn look(&self, tasks: usize) {
        self.looks
            .set(self.looks.get().saturating_add(tasks as u64));
    }

    pub fn node_member(&self, node: NodeId) -> Member {
        let domains = (0..self.seats.len())
            .filter(|&seat| self.seats[seat].node == node)
            .collect();
        Member { domains }
    }

    /// SLIT distance between the nodes of two domains.
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        let (from, to) = (self.seats[from].node, self.seats[to].node);
        let default = if from == to {
            LOCAL_DISTANCE
        } else {
            REMOTE_DISTANCE
        };
        self.distance.get(&(from, to)).copied().unwrap_or(default)
    }

    /// Σ gap of a member's domains.
    pub fn gap(&self, member: &Member) -> f64 {
        member
            .domains
            .iter()
            .map(|&seat| self.seats[seat].gap())
            .sum()
    }

    /// CPUs that are wrong on the whole machine: what every step lowers.
    pub fn wrong(&self) -> f64 {
        self.seats
            .iter()
            .map(|seat| {
                if self.limited {
                    seat.gap().abs()
                } else {
                    seat.gap().max(0.0)
                }
            })
            .sum()
    }

    /// The members further off than the band, worst first. Being below
    /// capacity is a fault only while the machine is limited.
    pub fn outside(&self, members: &[Member], band: Band) -> Vec<usize> {
        let mut outside: Vec<(f64, usize)> = Vec::new();
        for (place, member) in members.iter().enumerate() {
            let capacity: f64 = member
                .domains
                .iter()
                .map(|&seat| self.seats[seat].capacity)
                .sum();
            let gap = self.gap(member);
            let off = if self.limited { gap.abs() } else { gap };
            if off > band.of(capacity) + LEAST {
                outside.push((off, place));
            }
        }
        outside.sort_by_key(|&(off, place)| (Reverse(OrderedFloat(off)), place));
        outside.into_iter().map(|(_, place)| place).collect()
    }

    /// Builds the sorted lists and the processes' places.
    pub fn prepare(&mut self) {
        let mut by_share: Vec<(u64, u32)> = (0u32..)
            .zip(&self.items)
            .filter(|(_, item)| item.task.movable && self.is_worth_moving(item))
            .map(|(number, item)| (item.share.to_bits(), number)) // shares are >= 0: bits sort as numbers
            .collect();
        by_share.sort_unstable();
        for (_, number) in by_share {
            if let Some(place) = self.items[number as usize].place {
                self.seats[place].sorted.push(number);
            }
        }
        for item in &self.items {
            if let Some(place) = item.place.filter(|_| item.share >= LEAST) {
                self.processes
                    .add(item.task.process, place, self.seats[place].node, item.share);
            }
        }
    }

    fn is_worth_moving(&self, item: &Item) -> bool {
        item.share >= self.config.least_share.max(LEAST)
    }

    /// Whether some task is where it cannot stay.
    pub fn has_evacuees(&self) -> bool {
        self.items.iter().any(|item| self.must_leave(item))
    }

    fn must_leave(&self, item: &Item) -> bool {
        let Some(place) = item.place.filter(|_| item.task.movable) else {
            return false;
        };
        let seat = &self.seats[place];
        seat.capacity <= 0.0 || !self.allows(item, place)
    }

    /// Moves every such task, largest first, to the nearest domain with room
    /// for it, or else to the one with the most room.
    pub fn evacuate(&mut self) {
        let mut leaving: Vec<u32> = (0u32..)
            .zip(&self.items)
            .filter(|(_, item)| self.must_leave(item))
            .map(|(number, _)| number)
            .collect();
        leaving.sort_by_key(|&item| (Reverse(OrderedFloat(self.share(item))), item));
        for item in leaving {
            if self.budget() == 0 {
                return;
            }
            if let Some(to) = self.refuge(item) {
                self.apply(item, to, None);
            }
        }
    }

    fn refuge(&self, number: u32) -> Option<usize> {
        let item = &self.items[number as usize];
        let from = item.place?;
        let suits = |&seat: &usize| self.seats[seat].capacity > 0.0 && self.allows(item, seat);
        (0..self.seats.len()).filter(suits).min_by(|&a, &b| {
            let key = |seat: usize| {
                let lacks_room = self.seats[seat].gap() + item.share > LEAST;
                (
                    lacks_room,
                    if lacks_room {
                        0
                    } else {
                        self.distance(from, seat)
                    },
                )
            };
            key(a)
                .cmp(&key(b))
                .then(self.seats[a].gap().total_cmp(&self.seats[b].gap()))
                .then(a.cmp(&b))
        })
    }

    pub fn share(&self, item: u32) -> f64 {
        self.items[item as usize].share
    }

    /// CPUs of the item's process near its present place less CPUs of it near
    /// `to`, the item itself left out: what moving it would tear apart. Near is
    /// the domain for a move inside a node, the node for others.
    pub fn torn(&self, item: &Item, from: usize, to: usize) -> f64 {
        let (process, processes) = (item.task.process, &self.processes);
        let (from_node, to_node) = (self.seats[from].node, self.seats[to].node);
        let cpus = |found: Option<&f64>| found.copied().unwrap_or(0.0);
        let (here, there) = if from_node == to_node {
            (
                processes.by_domain.get(&(process, from)),
                processes.by_domain.get(&(process, to)),
            )
        } else {
            (
                processes.by_node.get(&(process, from_node)),
                processes.by_node.get(&(process, to_node)),
            )
        };
        cpus(here) - item.share - cpus(there)
    }

    /// Moves both items to each other's place.
    pub fn swap(&mut self, a: u32, b: u32) {
        let places = (self.items[a as usize].place, self.items[b as usize].place);
        if let (Some(place_a), Some(place_b)) = places {
            self.apply(a, place_b, Some(b));
            self.apply(b, place_a, Some(a));
        }
    }

    /// Moves an item and keeps every sum and list true.
    pub fn apply(&mut self, number: u32, to: usize, partner: Option<u32>) {
        let item = self.items[number as usize];
        let Some(from) = item.place else { return };
        let (from_load, to_load) = (self.seats[from].load, self.seats[to].load);
        self.steps.push(Step {
            item: number,
            from_load,
            to,
            to_load,
            partner,
        });
        if self.is_worth_moving(&item) {
            self.relist(number, from, to);
        }
        if item.share >= LEAST {
            let process = item.task.process;
            self.processes
                .add(process, from, self.seats[from].node, -item.share);
            self.processes
                .add(process, to, self.seats[to].node, item.share);
        }
        self.seats[from].load -= item.share;
        self.seats[from].departures += 1;
        self.seats[to].load += item.share;
        self.seats[to].arrivals += 1;
        let item = &mut self.items[number as usize];
        item.place = Some(to);
        item.moved = true;
    }

    fn relist(&mut self, number: u32, from: usize, to: usize) {
        let share = self.share(number);
        let items = &self.items;
        let before = |other: &u32| {
            items[*other as usize]
                .share
                .total_cmp(&share)
                .then(other.cmp(&number))
                .is_lt()
        };
        let place = self.seats[from].sorted.partition_point(before);
        debug_assert_eq!(self.seats[from].sorted.get(place), Some(&number));
        self.seats[from].sorted.remove(place);
        let place = self.seats[to].sorted.partition_point(before);
        self.seats[to].sorted.insert(place, number);
    }

    pub fn domain_plans(&self, before: &[f64]) -> Vec<DomainPlan> {
        let plan = |(seat, &before): (&Seat, &f64)| DomainPlan {
            id: seat.id,
            capacity: seat.capacity,
            before,
            after: seat.load,
        };
        self.seats.iter().zip(before).map(plan).collect()
    }

    /// The moves that remain when each task's steps are taken together.
    pub fn into_moves(self) -> Vec<Move> {
        let mut first: Vec<Option<f64>> = vec![
            None;
            if self.steps.is_empty() {
                0
            } else {
                self.items.len()
            }
        ];
        let mut last = first.iter().map(|_| 0).collect::<Vec<usize>>();
        for (place, step) in self.steps.iter().enumerate() {
            first[step.item as usize].get_or_insert(step.from_load);
            last[step.item as usize] = place;
        }
        let mut moves = Vec::new();
        for (place, step) in self.steps.iter().enumerate() {
            let item = &self.items[step.item as usize];
            let (Some(origin), Some(from_load)) = (item.origin, first[step.item as usize]) else {
                continue;
            };
            if last[step.item as usize] == place && step.to != origin {
                let reason = self.reason(item, step, origin, from_load);
                let (from, to) = (self.seats[origin].id, self.seats[step.to].id);
                moves.push(Move {
                    task: item.task.task,
                    index: item.index,
                    from,
                    to,
                    entitlement: item.share,
                    reason,
                });
            }
        }
        moves
    }

    fn reason(&self, item: &Item, step: &Step, origin: usize, from_load: f64) -> String {
        let (from, to) = (&self.seats[origin], &self.seats[step.to]);
        let place = |seat: &Seat, load: f64| {
            format!(
                "{} owes {load:.3} CPUs and has {:.3}",
                seat.id, seat.capacity
            )
        };
        let what = match step.partner {
            Some(partner) => {
                let partner = &self.items[partner as usize];
                format!(
                    "{:.3} for the {:.3} of {}",
                    item.share, partner.share, partner.task.task
                )
            }
            None => format!("{:.3}", item.share),
        };
        let why = if self.allows(item, origin) {
            ""
        } else {
            ", which the task may not use"
        };
        format!(
            "{}{why}, {}: moves {what}",
            place(from, from_load),
            place(to, step.to_load)
        )
    }

    /// Where an item was when the round began.
    pub fn origin(&self, item: &Item) -> Option<usize> {
        item.origin
    }
}

impl Processes {
    fn add(&mut self, process: u32, domain: usize, node: NodeId, share: f64) {
        *self.by_domain.entry((process, domain)).or_default() += share;
        *self.by_node.entry((process, node)).or_default() += share;
    }
}

fn seat(domain: &Domain) -> Seat {
    Seat {
        id: domain.id,
        node: domain.node,
        capacity: capacity_of(domain),
        load: 0.0,
        sorted: Vec::new(),
        arrivals: 0,
        departures: 0,
    }
}

fn distances(nodes: &[Node]) -> BTreeMap<(NodeId, NodeId), u32> {
    nodes
        .iter()
        .flat_map(|node| {
            node.distance
                .iter()
                .map(|(&to, &value)| ((node.id, to), value))
        })
        .collect()
}
