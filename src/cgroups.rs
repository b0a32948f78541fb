// SPDX-License-Identifier: GPL-2.0-only
//! The control groups that tasks are in, as the tree that entitlements follow.
//! Never decides who gets what, and never writes to a control group.
//!
//! The kernel tells the id of each task's group: the inode number of its folder
//! in the cgroup2 file system. Here ids become paths, and paths become a tree of
//! [`Group`]s with the weight and the quota that their files say.
//!
//! - A group counts if its folder has `cpu.weight`, that is if the cpu controller
//!   is enabled for it. For the kernel's scheduler the others are not there:
//!   their tasks belong to the nearest group around them that counts.
//! - So do the tasks of a group that has vanished. A group that was never found,
//!   such as one outside this process's cgroup namespace, is the root.
//! - Weights are on the scale of tasks: `cpu.weight` 100 weighs as much as one
//!   task of nice 0 does. A group with `cpu.idle` weighs 3/1024 of that.
//! - `cpu.max` is a quota of CPUs: its first number by its second.
//!
//! What this costs is bounded. Tasks in the root cost a comparison each. The
//! folders are walked when a task names a group that is not known, at most once
//! a round. Only groups that tasks are in, and those around them, have their
//! files read: new ones at once, the others in turn, [`READS_A_ROUND`] a round.

mod folders;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::sync::Arc;

use log::debug;

use crate::entitlement::Group;
use crate::ids::GroupId;
pub use folders::{Folders, Mounted};
use settings::Settings;

/// Known groups whose files are read again in one round. Three files each at
/// some 5 us: at most 4 ms. With more groups a change is seen a few rounds later.
pub const READS_A_ROUND: usize = 256;

/// The path of the group that holds all others.
pub const ROOT_PATH: &str = "/";

/// The path of the group around the one at `path`: `/a` of `/a/b`, `/` of `/a` and of `/`.
pub fn parent_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => ROOT_PATH,
        Some((parent, _)) => parent,
    }
}

/// The root. A weight among no siblings has no meaning.
pub const ROOT: Group = Group {
    parent: GroupId::ROOT,
    weight: 100.0,
    quota: f64::INFINITY,
};

/// A folder that a task is in, or that holds one of those.
#[derive(Debug)]
struct Place {
    id: u64,
    /// Id of the folder it is in; of the root, for the root and for what was
    /// never found.
    parent: u64,
    /// From the root; empty for what was never found.
    path: String,
    /// Whether its files are still to be read for the first time.
    fresh: bool,
    /// What its files say; `None`: it does not count.
    settings: Option<Settings>,
    /// The round in which a task last named it, or something in it.
    named: u64,
    /// The group that its tasks count for.
    group: GroupId,
}

/// What is known of the control groups, from round to round.
pub struct Cgroups {
    /// `None`: every task is in the root.
    folders: Option<Box<dyn Folders>>,
    root: u64,
    /// The root first, then by path, so that each comes after those it is in;
    /// last what was never found.
    places: Vec<Place>,
    /// Id and index of each place, by id.
    index: Vec<(u64, usize)>,
    /// Ids of the groups handed out last, but for the root, and their paths.
    shown: Vec<u64>,
    paths: Arc<Vec<String>>,
    round: u64,
    /// The place that was last read again.
    reread: usize,
    unknown: Vec<u64>,
    text: String,
}

impl Cgroups {
    /// The groups of this machine, or none if it has no cgroup2 file system with
    /// the cpu controller.
    pub fn of_this_machine() -> Cgroups {
        match Mounted::find() {
            Ok(Some(mounted)) => Cgroups::new(Some(Box::new(mounted))),
            Ok(None) => {
                debug!("no cgroup2 with a cpu controller: all tasks count as in one group");
                Cgroups::new(None)
            }
            Err(error) => {
                debug!("looking for cgroup2: {error}; all tasks count as in one group");
                Cgroups::new(None)
            }
        }
    }

    /// The groups in `folders`; with `None` there is only the root.
    pub fn new(folders: Option<Box<dyn Folders>>) -> Cgroups {
        let root = match folders.as_ref().map(|folders| folders.root()) {
            Some(Ok(root)) => root,
            Some(Err(error)) => {
                debug!("reading the cgroup root: {error}");
                0
            }
            None => 0,
        };
        let place = Place {
            id: root,
            parent: root,
            path: ROOT_PATH.to_owned(),
            fresh: false,
            settings: None,
            named: 0,
            group: GroupId::ROOT,
        };
        Cgroups {
            folders: folders.filter(|_| root != 0),
            root,
            places: vec![place],
            index: vec![(root, 0)],
            shown: Vec::new(),
            paths: Arc::new(vec![ROOT_PATH.to_owned()]),
            round: 0,
            reread: 0,
            unknown: Vec::new(),
            text: String::new(),
        }
    }

    /// Brings the groups up to date with the ids that tasks name (0: the kernel
    /// does not know), and writes them, the root first.
    pub fn update(&mut self, named: impl Iterator<Item = u64>, groups: &mut Vec<Group>) {
        if self.folders.is_some() {
            self.round += 1;
            self.name(named);
            if !self.unknown.is_empty() {
                self.find();
            }
            let forgotten = |place: &Place| place.named < self.round;
            if !self.unknown.is_empty() || self.places[1..].iter().any(forgotten) {
                self.tidy();
            }
            self.read();
        }
        self.number(groups);
    }

    /// The group that tasks with this id count for, as of the last update.
    pub fn group_of(&self, id: u64) -> GroupId {
        self.place_of(id)
            .map_or(GroupId::ROOT, |place| self.places[place].group)
    }

    /// The paths of the groups of the last update, by [`GroupId::index`].
    pub fn paths(&self) -> Arc<Vec<String>> {
        self.paths.clone()
    }

    fn place_of(&self, id: u64) -> Option<usize> {
        let found = self.index.binary_search_by_key(&id, |&(id, _)| id);
        found.ok().map(|at| self.index[at].1)
    }

    /// Marks the places that are named, and those around them; keeps the ids
    /// that are not known.
    fn name(&mut self, named: impl Iterator<Item = u64>) {
        self.unknown.clear();
        // Tasks of a group mostly come one after the other.
        let mut last = self.root;
        for id in named {
            if id == last || id == self.root || id == 0 {
                continue;
            }
            last = id;
            match self.place_of(id) {
                Some(place) => self.places[place].named = self.round,
                None => self.unknown.push(id),
            }
        }
        self.unknown.sort_unstable();
        self.unknown.dedup();
        for place in (1..self.places.len()).rev() {
            if self.places[place].named == self.round {
                self.mark(self.places[place].parent);
            }
        }
    }

    fn mark(&mut self, id: u64) {
        if let Some(place) = self.place_of(id) {
            self.places[place].named = self.round;
        }
    }

    /// Walks the folders until all unknown ids are found.
    fn find(&mut self) {
        let Some(folders) = &self.folders else { return };
        let mut visited = vec![Visited {
            id: self.root,
            parent: 0,
            path: ROOT_PATH.to_owned(),
        }];
        let mut found = Vec::new();
        let mut at = 0;
        while at < visited.len() && found.len() < self.unknown.len() {
            let path = visited[at].path.clone();
            let listed = folders.list(&path, &mut |id, name| {
                if self.unknown.binary_search(&id).is_ok() {
                    found.push(visited.len());
                }
                visited.push(Visited {
                    id,
                    parent: at,
                    path: inside(&path, name),
                });
            });
            match listed {
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                Err(error) => debug!("looking into the control group {path}: {error}"),
                Ok(()) => (),
            }
            at += 1;
        }
        for at in found {
            self.add(&visited, at);
        }
        for at in 0..self.unknown.len() {
            let id = self.unknown[at];
            if self.places.iter().all(|place| place.id != id) {
                debug!("the control group with id {id} is not to be seen: taken for the root");
                self.places.push(self.place(id, self.root, String::new()));
            }
        }
    }

    /// Adds a folder and those it is in, as far as they are not known.
    fn add(&mut self, visited: &[Visited], at: usize) {
        let mut at = at;
        while at != 0 {
            let Visited { id, parent, path } = &visited[at];
            match self.places.iter_mut().find(|place| place.id == *id) {
                Some(known) => known.named = self.round,
                None => {
                    // The path of a group that has vanished may be in use again.
                    self.places.retain(|place| place.path != *path);
                    let place = self.place(*id, visited[*parent].id, path.clone());
                    self.places.push(place);
                }
            }
            at = *parent;
        }
    }

    fn place(&self, id: u64, parent: u64, path: String) -> Place {
        Place {
            id,
            parent,
            fresh: !path.is_empty(),
            path,
            settings: None,
            named: self.round,
            group: GroupId::ROOT,
        }
    }

    /// Forgets what nobody names any more, and puts the rest in order.
    fn tidy(&mut self) {
        let (root, round) = (self.root, self.round);
        self.places
            .retain(|place| place.id == root || place.named == round);
        self.places.sort_unstable_by(|a, b| {
            let key = |place: &Place| (place.id != root, place.path.is_empty());
            (key(a), &a.path, a.id).cmp(&(key(b), &b.path, b.id))
        });
        self.index.clear();
        let ids = self.places.iter().map(|place| place.id);
        self.index.extend(ids.zip(0..));
        self.index.sort_unstable();
    }

    /// Reads the files of new places, and of some of the others in turn.
    fn read(&mut self) {
        for at in 1..self.places.len() {
            if self.places[at].fresh {
                self.places[at].fresh = false;
                self.read_place(at);
            }
        }
        for _ in 0..READS_A_ROUND.min(self.places.len() - 1) {
            self.reread = self.reread % (self.places.len() - 1) + 1;
            self.read_place(self.reread);
        }
    }

    fn read_place(&mut self, at: usize) {
        let place = &mut self.places[at];
        if let Some(folders) = &mut self.folders
            && !place.path.is_empty()
        {
            place.settings = settings::read(folders.as_mut(), &place.path, &mut self.text);
        }
    }

    /// Gives the places that count their groups, and writes these.
    fn number(&mut self, groups: &mut Vec<Group>) {
        groups.clear();
        groups.push(ROOT);
        let mut same = true;
        for at in 1..self.places.len() {
            let parent = self.place_of(self.places[at].parent).unwrap_or(0);
            let (around, counts) = (self.places[parent].group, self.counts(parent));
            let place = &mut self.places[at];
            place.group = around;
            // A controller that has just gone from a group has gone from all in it.
            let Some(settings) = place.settings.filter(|_| counts) else {
                place.settings = None;
                continue;
            };
            place.group = GroupId(groups.len() as u32);
            same &= self.shown.get(groups.len() - 1) == Some(&place.id);
            groups.push(Group {
                parent: around,
                weight: settings.weight,
                quota: settings.quota,
            });
        }
        if !same || self.shown.len() != groups.len() - 1 {
            self.show();
        }
    }

    fn counts(&self, place: usize) -> bool {
        place == 0 || self.places[place].settings.is_some()
    }

    /// Keeps the names of the groups that were written.
    fn show(&mut self) {
        let counted = || self.places[1..].iter().filter(|p| p.settings.is_some());
        self.shown = counted().map(|place| place.id).collect();
        let paths = counted().map(|place| place.path.clone());
        self.paths = Arc::new([ROOT_PATH.to_owned()].into_iter().chain(paths).collect());
    }
}

/// A folder met on a walk.
struct Visited {
    id: u64,
    /// Index of the folder it is in.
    parent: usize,
    path: String,
}

/// The path of `name` in the folder `path`.
fn inside(path: &str, name: &str) -> String {
    match path {
        ROOT_PATH => format!("/{name}"),
        path => format!("{path}/{name}"),
    }
}
