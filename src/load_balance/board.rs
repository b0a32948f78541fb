// SPDX-License-Identifier: GPL-2.0-only
//! The board a plan is worked out on: who is where, and what each domain owes.
//! Never decides what to move; it keeps sums and lists true while others do.

use std::cell::{Cell, Ref, RefCell};

use super::brief::{Brief, Briefs};
use super::list::{Entry, List};
use super::machine::Machine;
use super::mix::Awake;
use super::process::Processes;
use super::reach::Reach;
use super::side::Side;
use super::{Config, DomainPlan, Snapshot, Task, capacity_of};
use crate::entitlement::Entitlements;
use crate::ids::{DomainId, MaskId, NodeId};

/// Entitlements and gains below this many CPUs (1 µs in a second) are nothing:
/// far below what can be measured, far above rounding.
pub(super) const LEAST: f64 = 1e-6;

/// The place of an item whose domain is unknown.
const NOWHERE: u32 = u32::MAX;

/// A task on the board. Items are numbered in the order of their rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    /// Its place in the snapshot.
    pub index: usize,
    pub task: &'a Task,
    /// Entitlement, CPUs.
    pub share: f64,
    /// Its domain now, as an index of the board; `None` if unknown.
    pub place: Option<usize>,
    /// Its domain in the snapshot.
    pub origin: Option<usize>,
}

/// A domain on the board, in the snapshot's order.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub id: DomainId,
    pub node: NodeId,
    /// What it owes its items, and should.
    pub side: Side,
    /// What it owed in the snapshot.
    pub before: f64,
    /// Items with a share that can go somewhere else.
    list: List,
    /// Σ share · lag of its items, in CPUs · ms.
    pub lag: f64,
    /// How many of its items are awake.
    pub awake: Awake,
    /// Lag of the movable task that is most behind, and of that which is most
    /// ahead, in the snapshot, ms.
    pub most_behind: f64,
    pub most_ahead: f64,
    /// When an item last came and when one last left, by [`Board::clock`]: what
    /// tells a stale search from a fresh one.
    pub arrival: u64,
    pub departure: u64,
}

impl Seat {
    /// CPUs owed beyond the capacity; negative: room.
    pub fn gap(&self) -> f64 {
        self.side.over()
    }
}

/// A change of place, with the loads the two domains had then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub item: u32,
    pub from_load: f64,
    pub to: usize,
    pub to_load: f64,
    pub why: Why,
}

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// To relieve the one domain or fill the other.
    Load,
    /// The same, in exchange for this item.
    Swap(u32),
    /// So that no domain runs dry more often than others.
    Mix,
    /// To take turns: the others have waited for longer.
    Turn,
    /// The same, in exchange for this item.
    TurnSwap(u32),
}

/// Memory that is used again for the next plan.
#[derive(Debug, Default)]
pub(super) struct Kept {
    places: Vec<u32>,
    moved: Vec<bool>,
    seats: Vec<Seat>,
    machine: Machine,
    reach: Reach,
    processes: RefCell<Processes>,
    steps: Vec<Step>,
    seat_of: Vec<Option<usize>>,
    near: RefCell<Vec<(f64, Entry)>>,
}

/// See the module's text.
pub(super) struct Board<'a> {
    pub snapshot: &'a Snapshot,
    pub config: &'a Config,
    pub seats: Vec<Seat>,
    pub machine: Machine,
    pub steps: Vec<Step>,
    /// The largest share of a movable task, CPUs.
    pub largest: f64,
    /// Whether some task is where it cannot stay.
    pub has_evacuees: bool,
    /// Whether a limit of the configuration kept a step from being made.
    pub cut_short: Cell<bool>,
    /// Counts the changes of place.
    pub clock: u64,
    owed: &'a Entitlements,
    briefs: &'a Briefs,
    /// Of each item, the index of its domain, or [`NOWHERE`].
    places: Vec<u32>,
    /// Of each item, whether this plan has moved it.
    moved: Vec<bool>,
    /// Filled as searches ask, which only read the board.
    processes: RefCell<Processes>,
    /// Whether somebody on the machine gets less than it could use.
    limited: bool,
    /// CPUs that are not on the node they came from, and how many may be.
    crossed: f64,
    may_cross: f64,
    reach: Reach,
    seat_of: Vec<Option<usize>>,
    /// Searches only read the board, but their effort counts.
    looks: Cell<u64>,
    /// Their scratch memory: what each of some tasks would gain.
    pub near: RefCell<Vec<(f64, Entry)>>,
}

impl<'a> Board<'a> {
    /// Sets up loads; lists wait for [`Board::list`], since most rounds on a
    /// balanced machine need none. `owed` is in the order of `briefs`.
    pub fn begin(
        kept: &mut Kept,
        snapshot: &'a Snapshot,
        config: &'a Config,
        briefs: &'a Briefs,
        owed: &'a Entitlements,
    ) -> Self {
        let kept = std::mem::take(kept);
        let mut board = Board {
            snapshot,
            config,
            seats: kept.seats,
            machine: kept.machine,
            steps: kept.steps,
            largest: 0.0,
            has_evacuees: false,
            cut_short: Cell::new(false),
            clock: 0,
            owed,
            briefs,
            places: kept.places,
            moved: kept.moved,
            processes: kept.processes,
            limited: false,
            crossed: 0.0,
            may_cross: 0.0,
            reach: kept.reach,
            seat_of: kept.seat_of,
            looks: Cell::new(0),
            near: kept.near,
        };
        board.steps.clear();
        board.processes.get_mut().forget();
        board.moved.clear();
        board.moved.resize(briefs.order.len(), false);
        board.reach.update(&snapshot.masks, &snapshot.domains);
        board.seat_domains();
        board.add_up();
        board
    }

    /// Gives the memory back.
    pub fn end(self, kept: &mut Kept) {
        *kept = Kept {
            places: self.places,
            moved: self.moved,
            seats: self.seats,
            machine: self.machine,
            reach: self.reach,
            processes: self.processes,
            steps: self.steps,
            seat_of: self.seat_of,
            near: self.near,
        };
    }

    fn seat_domains(&mut self) {
        let domains = &self.snapshot.domains;
        self.machine.update(self.snapshot);
        self.seats.resize_with(domains.len(), Seat::empty);
        self.seat_of.clear();
        self.seat_of.resize(domains.len(), None);
        let mut wanted = self.owed.wanted.iter();
        for (place, domain) in domains.iter().enumerate() {
            let capacity = capacity_of(domain);
            let all = domain.cpus.len();
            let wanted = wanted.by_ref().take(all).filter(|wanted| **wanted).count();
            let seat = &mut self.seats[place];
            seat.begin(domain.id, domain.node);
            seat.side = Side {
                load: 0.0,
                floor: match all {
                    0 => 0.0,
                    // Exactly, so that floor and capacity are equal.
                    _ if wanted == all => capacity,
                    _ => capacity * wanted as f64 / all as f64,
                },
                capacity,
            };
            self.limited |= seat.side.floor > LEAST;
            self.may_cross += self.config.cross_node_part * capacity;
            if let Some(entry) = self.seat_of.get_mut(domain.id.index()) {
                *entry = Some(place);
            }
        }
    }

    fn add_up(&mut self) {
        let least = self.least_share();
        self.places.clear();
        self.places.reserve(self.owed.shares.len());
        let claims = self.briefs.claims.iter();
        for ((task, &share), claim) in self.briefs.all.iter().zip(&self.owed.shares).zip(claims) {
            if task.movable {
                self.largest = self.largest.max(share);
            }
            let Some(place) = self.seat_of(task.domain) else {
                self.places.push(NOWHERE);
                continue;
            };
            self.places.push(place as u32);
            let seat = &mut self.seats[place];
            seat.side.load += share;
            seat.lag += share * task.lag_ms;
            seat.awake = seat.awake.plus(claim.demand, 1.0);
            if task.movable && share >= least {
                seat.most_behind = seat.most_behind.max(task.lag_ms);
                seat.most_ahead = seat.most_ahead.min(task.lag_ms);
            }
            let stays = seat.side.capacity > 0.0 && self.reach.allows(task.mask, place);
            self.has_evacuees |= task.movable && !stays;
        }
        for seat in &mut self.seats {
            seat.before = seat.side.load;
        }
    }

    fn seat_of(&self, domain: DomainId) -> Option<usize> {
        self.seat_of.get(domain.index()).copied().flatten()
    }

    /// An item by its number.
    pub fn item(&self, number: u32) -> Item<'a> {
        let index = self.briefs.order[number as usize] as usize;
        let task = &self.snapshot.tasks[index];
        Item {
            index,
            task,
            share: self.share(number),
            place: self.place(number),
            origin: self.seat_of(task.domain),
        }
    }

    /// Number of items.
    pub fn len(&self) -> u32 {
        self.briefs.order.len() as u32
    }

    /// All items, in order.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> {
        (0..self.len()).map(|number| self.item(number))
    }

    /// The domain of an item now.
    pub fn place(&self, number: u32) -> Option<usize> {
        let place = self.places[number as usize];
        (place != NOWHERE).then_some(place as usize)
    }

    /// The domain of an item in the snapshot.
    pub fn origin(&self, number: u32) -> Option<usize> {
        match self.moved[number as usize] {
            true => self.seat_of(self.brief(number).domain),
            false => self.place(number),
        }
    }

    /// Whether the item may be moved.
    pub fn is_movable(&self, number: u32) -> bool {
        self.brief(number).movable
    }

    fn brief(&self, number: u32) -> &'a Brief {
        &self.briefs.all[number as usize]
    }

    /// Whether this plan has moved the item.
    pub fn has_moved(&self, number: u32) -> bool {
        self.moved[number as usize]
    }

    /// Whether a task with this mask may be in the domain.
    pub fn allows(&self, mask: MaskId, seat: usize) -> bool {
        self.reach.allows(mask, seat)
    }

    /// Whether somebody on the machine gets less than it could use.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Moves this plan may still make: none once it has looked long enough.
    pub fn budget(&self) -> usize {
        let left = match self.looks.get() >= self.config.max_looks {
            true => 0,
            false => self.config.max_moves.saturating_sub(self.steps.len()),
        };
        if left == 0 {
            self.cut_short.set(true);
        }
        left
    }

    /// Whether load may (still) go from one domain to the other.
    pub fn may_cross(&self, from: usize, to: usize) -> bool {
        let may =
            self.seats[from].node == self.seats[to].node || self.crossed < self.may_cross - LEAST;
        if !may {
            self.cut_short.set(true);
        }
        may
    }

    /// Counts tasks looked at.
    pub fn look(&self, tasks: usize) {
        self.looks
            .set(self.looks.get().saturating_add(tasks as u64));
    }

    /// The largest share in the list of a domain.
    pub fn largest_in(&self, seat: usize) -> f64 {
        self.seats[seat].list.largest()
    }

    /// The list of a domain: its items with a share that can go somewhere else,
    /// by share and then by row.
    pub fn sorted(&self, seat: usize) -> Ref<'_, [Entry]> {
        self.seats[seat].list.sorted(|item| self.entry(item))
    }

    /// Shows `see` what is in the list of a domain, in any order.
    pub fn see_all<T>(
        &self,
        seat: usize,
        see: impl FnOnce(&mut dyn Iterator<Item = Entry>) -> T,
    ) -> T {
        self.seats[seat].list.see_all(|item| self.entry(item), see)
    }

    fn entry(&self, item: u32) -> Entry {
        let task = self.brief(item);
        Entry {
            share: self.share(item),
            lag_ms: task.lag_ms,
            demand: self.briefs.claims[item as usize].demand,
            item,
            mask: task.mask,
            moved_ago_rounds: task.moved_ago_rounds,
        }
    }

    /// SLIT distance between the nodes of two domains.
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        self.machine.distance(from, to)
    }

    /// The sum of some domains.
    pub fn side(&self, domains: &[usize]) -> Side {
        domains
            .iter()
            .fold(Side::default(), |sum, &seat| sum.and(self.seats[seat].side))
    }

    /// The sum of the domains on the node of this one.
    pub fn node_side(&self, seat: usize) -> Side {
        let node = self.seats[seat].node;
        let together = self.seats.iter().filter(|seat| seat.node == node);
        together.fold(Side::default(), |sum, seat| sum.and(seat.side))
    }

    /// CPUs that are wrong on the whole machine: what every step lowers.
    pub fn wrong(&self) -> f64 {
        self.seats.iter().map(|seat| seat.side.fault()).sum()
    }

    /// Builds the lists of some domains; those of the others are empty.
    pub fn list(&mut self, is_wanted: impl Fn(usize) -> bool) {
        for seat in &mut self.seats {
            seat.list.clear();
        }
        let least = self.least_share();
        let placed = self.places.iter().zip(&self.owed.shares);
        for (number, (task, (&place, &share))) in (0u32..).zip(self.briefs.all.iter().zip(placed)) {
            let may_go = task.movable && share >= least;
            if place == NOWHERE || !may_go || !is_wanted(place as usize) {
                continue;
            }
            if self.reach.allows_others(task.mask, place as usize) {
                self.seats[place as usize].list.push(share, number);
            }
        }
    }

    /// Tasks owed fewer CPUs stay.
    fn least_share(&self) -> f64 {
        self.config.least_share.max(LEAST)
    }

    /// Entitlement of an item, in CPUs.
    pub fn share(&self, number: u32) -> f64 {
        self.owed.shares[number as usize]
    }

    /// See [`Processes::torn`].
    pub fn torn(&self, entry: &Entry, from: usize, to: usize) -> f64 {
        let mut processes = self.processes.borrow_mut();
        if !processes.are_linked() {
            let tasks = self.briefs.all.iter().zip(&self.owed.shares);
            processes.link(tasks.map(|(task, &share)| (task.process, share)));
        }
        processes.gather(entry.item, |number| {
            Some((self.place(number)?, self.share(number)))
        });
        processes.torn(entry.item, entry.share, &self.machine, from, to)
    }

    /// Moves an item and writes the step down.
    pub fn apply(&mut self, number: u32, to: usize, why: Why) {
        let Some(from) = self.place(number) else {
            return;
        };
        self.steps.push(Step {
            item: number,
            from_load: self.seats[from].side.load,
            to,
            to_load: self.seats[to].side.load,
            why,
        });
        self.put(number, to);
        self.moved[number as usize] = true;
    }

    /// Moves both items to each other's place.
    pub fn swap(&mut self, a: u32, b: u32, why: fn(u32) -> Why) {
        if let (Some(place_a), Some(place_b)) = (self.place(a), self.place(b)) {
            self.apply(a, place_b, why(b));
            self.apply(b, place_a, why(a));
        }
    }

    /// Puts an item somewhere and keeps every sum and list true.
    pub fn put(&mut self, number: u32, to: usize) {
        let item = self.item(number);
        let Some(from) = item.place else { return };
        if item.task.movable && item.share >= self.least_share() {
            // Only a sorted list can give up an entry.
            drop(self.sorted(from));
            let entry = self.seats[from].list.remove(item.share, number);
            self.seats[to].list.insert(entry);
        }
        self.processes.get_mut().carry(number, item.share, from, to);
        let lag = item.share * item.task.lag_ms;
        self.clock += 1;
        let away = |seat: usize| match item.origin {
            Some(origin) if self.seats[origin].node != self.seats[seat].node => item.share,
            _ => 0.0,
        };
        self.crossed += away(to) - away(from);
        let seat = &mut self.seats[from];
        seat.side.load -= item.share;
        seat.lag -= lag;
        seat.awake = seat.awake.plus(item.task.demand, -1.0);
        seat.departure = self.clock;
        let seat = &mut self.seats[to];
        seat.side.load += item.share;
        seat.lag += lag;
        seat.awake = seat.awake.plus(item.task.demand, 1.0);
        seat.arrival = self.clock;
        self.places[number as usize] = to as u32;
    }

    /// What the plan says of each domain.
    pub fn domain_plans(&self) -> impl Iterator<Item = DomainPlan> {
        self.seats.iter().map(|seat| DomainPlan {
            id: seat.id,
            capacity: seat.side.capacity,
            before: seat.before,
            after: seat.side.load,
        })
    }
}

impl Seat {
    fn empty() -> Seat {
        Seat {
            id: DomainId(0),
            node: NodeId(0),
            side: Side::default(),
            before: 0.0,
            list: List::default(),
            lag: 0.0,
            awake: Awake::default(),
            most_behind: f64::NEG_INFINITY,
            most_ahead: f64::INFINITY,
            arrival: 0,
            departure: 0,
        }
    }

    /// Starts over, in the same memory.
    fn begin(&mut self, id: DomainId, node: NodeId) {
        self.list.clear();
        *self = Seat {
            id,
            node,
            list: std::mem::take(&mut self.list),
            ..Seat::empty()
        };
    }
}
