// SPDX-License-Identifier: GPL-2.0-only
//! That ids become the right tree, whatever the folders do meanwhile.
//! Never needs a cgroup file system.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

/// Id of the root, as the kernel's.
pub(crate) const ROOT_ID: u64 = 1;

/// Folders in memory, changed from outside.
#[derive(Clone, Default)]
pub(crate) struct FakeFolders {
    /// By path: id and files.
    pub folders: Rc<RefCell<BTreeMap<String, Folder>>>,
    walks: Rc<Cell<usize>>,
    reads: Rc<Cell<usize>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    id: u64,
    files: BTreeMap<&'static str, String>,
}

impl FakeFolders {
    /// A folder with the cpu controller and default settings.
    pub fn add(&self, path: &str, id: u64) {
        self.add_without_controller(path, id);
        self.set(path, "cpu.weight", "100\n");
        self.set(path, "cpu.idle", "0\n");
        self.set(path, "cpu.max", "max 100000\n");
    }

    fn add_without_controller(&self, path: &str, id: u64) {
        let files = BTreeMap::new();
        let folder = Folder { id, files };
        self.folders.borrow_mut().insert(path.to_owned(), folder);
    }

    pub fn set(&self, path: &str, file: &'static str, text: &str) {
        let mut folders = self.folders.borrow_mut();
        let folder = folders.get_mut(path).expect("a folder");
        folder.files.insert(file, text.to_owned());
    }

    fn remove(&self, path: &str) {
        self.folders.borrow_mut().remove(path);
    }

    pub fn groups(&self) -> Cgroups {
        Cgroups::new(Some(Box::new(self.clone())))
    }
}

impl Folders for FakeFolders {
    fn root(&self) -> io::Result<u64> {
        Ok(ROOT_ID)
    }

    fn list(&self, path: &str, found: &mut dyn FnMut(u64, &str)) -> io::Result<()> {
        if path == ROOT_PATH {
            self.walks.set(self.walks.get() + 1);
        }
        let folders = self.folders.borrow();
        if path != ROOT_PATH && !folders.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        for (other, folder) in folders.iter() {
            let (parent, name) = other.rsplit_once('/').expect("a path");
            if parent == path.trim_end_matches('/') {
                found(folder.id, name);
            }
        }
        Ok(())
    }

    fn read(&mut self, path: &str, file: &str, text: &mut String) -> io::Result<()> {
        self.reads.set(self.reads.get() + 1);
        let folders = self.folders.borrow();
        let folder = folders.get(path).ok_or(io::ErrorKind::NotFound)?;
        text.clone_from(folder.files.get(file).ok_or(io::ErrorKind::NotFound)?);
        Ok(())
    }
}

/// The groups and their paths once tasks have named `ids`.
fn update(cgroups: &mut Cgroups, ids: &[u64]) -> Vec<(String, Group)> {
    let mut groups = Vec::new();
    cgroups.update(ids.iter().copied(), &mut groups);
    let paths = cgroups.paths();
    assert_eq!(paths.len(), groups.len());
    paths.iter().cloned().zip(groups).collect()
}

fn group(parent: u32, weight: f64, quota: f64) -> Group {
    Group {
        parent: GroupId(parent),
        weight,
        quota,
    }
}

/// The path of the group that an id counts for.
fn home(cgroups: &Cgroups, id: u64) -> String {
    cgroups.paths()[cgroups.group_of(id).index()].clone()
}

#[test]
fn a_tree_is_read_with_weights_and_quotas() {
    let folders = FakeFolders::default();
    for (path, id) in [("/a", 10), ("/a/b", 11), ("/a-b", 12), ("/unused", 13)] {
        folders.add(path, id);
    }
    folders.set("/a", "cpu.weight", "300\n");
    folders.set("/a", "cpu.max", "250000 100000\n");
    folders.set("/a-b", "cpu.idle", "1\n");
    let mut cgroups = folders.groups();
    let unlimited = f64::INFINITY;
    let expected = [
        ("/", ROOT),
        ("/a", group(0, 300.0, 2.5)),
        ("/a-b", group(0, 300.0 / 1024.0, unlimited)),
        ("/a/b", group(1, 100.0, unlimited)),
    ];
    let expected: Vec<_> = expected
        .map(|(path, group)| (path.to_owned(), group))
        .into();
    assert_eq!(update(&mut cgroups, &[11, 1, 11, 12, 0]), expected);
    assert_eq!(cgroups.group_of(11), GroupId(3));
    assert_eq!(cgroups.group_of(12), GroupId(2));
    for root in [0, 1, 999] {
        assert_eq!(cgroups.group_of(root), GroupId::ROOT);
    }
}

#[test]
fn tasks_in_the_root_cost_no_file() {
    let folders = FakeFolders::default();
    folders.add("/a", 10);
    let mut cgroups = folders.groups();
    assert_eq!(update(&mut cgroups, &[1; 100]).len(), 1);
    assert_eq!((folders.walks.get(), folders.reads.get()), (0, 0));
}

#[test]
fn a_steady_round_walks_nothing_and_reads_a_bounded_number_of_files() {
    let folders = FakeFolders::default();
    let ids: Vec<u64> = (100..100 + 3 * READS_A_ROUND as u64).collect();
    for id in &ids {
        folders.add(&format!("/{id}"), *id);
    }
    let mut cgroups = folders.groups();
    update(&mut cgroups, &ids);
    let (walks, reads) = (folders.walks.get(), folders.reads.get());
    folders.set("/400", "cpu.weight", "7");
    let mut seen = false;
    for _ in 0..3 {
        seen |= update(&mut cgroups, &ids)
            .iter()
            .any(|(_, group)| group.weight == 7.0);
    }
    assert!(seen, "each is read again within three rounds");
    assert_eq!(walks, 1);
    assert_eq!(folders.walks.get(), walks);
    assert_eq!(folders.reads.get() - reads, 3 * 3 * READS_A_ROUND);
}

#[test]
fn changed_settings_are_seen() {
    let folders = FakeFolders::default();
    folders.add("/a", 10);
    let mut cgroups = folders.groups();
    assert_eq!(update(&mut cgroups, &[10])[1].1.weight, 100.0);
    folders.set("/a", "cpu.weight", "20");
    folders.set("/a", "cpu.max", "50000 100000");
    assert_eq!(update(&mut cgroups, &[10])[1].1, group(0, 20.0, 0.5));
}

#[test]
fn a_group_nobody_is_in_is_forgotten() {
    let folders = FakeFolders::default();
    folders.add("/a", 10);
    folders.add("/b", 20);
    let mut cgroups = folders.groups();
    assert_eq!(update(&mut cgroups, &[10, 20]).len(), 3);
    assert_eq!(update(&mut cgroups, &[20])[1].0, "/b");
    assert_eq!(cgroups.group_of(20), GroupId(1));
    assert_eq!(update(&mut cgroups, &[]).len(), 1);
}

#[test]
fn tasks_of_a_vanished_group_count_for_what_is_left_around_it() {
    let folders = FakeFolders::default();
    for (path, id) in [("/a", 10), ("/a/b", 11), ("/a/b/c", 12)] {
        folders.add(path, id);
    }
    let mut cgroups = folders.groups();
    update(&mut cgroups, &[12]);
    assert_eq!(home(&cgroups, 12), "/a/b/c");
    folders.remove("/a/b/c");
    folders.remove("/a/b");
    update(&mut cgroups, &[12]);
    assert_eq!(home(&cgroups, 12), "/a");
    folders.remove("/a");
    update(&mut cgroups, &[12]);
    assert_eq!(home(&cgroups, 12), "/");
}

#[test]
fn a_new_group_with_the_path_of_a_vanished_one_is_another() {
    let folders = FakeFolders::default();
    folders.add("/a", 10);
    let mut cgroups = folders.groups();
    update(&mut cgroups, &[10]);
    folders.remove("/a");
    folders.add("/a", 11);
    folders.set("/a", "cpu.weight", "5");
    let groups = update(&mut cgroups, &[10, 11]);
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[1].1.weight, 5.0);
    assert_eq!(home(&cgroups, 11), "/a");
    assert_eq!(home(&cgroups, 10), "/");
}

#[test]
fn an_id_that_cannot_be_found_is_the_root_and_looked_for_once() {
    let folders = FakeFolders::default();
    folders.add("/a", 10);
    let mut cgroups = folders.groups();
    for _ in 0..3 {
        assert_eq!(update(&mut cgroups, &[99, 10]).len(), 2);
        assert_eq!(cgroups.group_of(99), GroupId::ROOT);
    }
    assert_eq!(folders.walks.get(), 1);
}

#[test]
fn a_group_without_the_controller_is_not_there() {
    let folders = FakeFolders::default();
    folders.add("/a", 10);
    folders.add_without_controller("/a/b", 11);
    folders.add("/a/b/c", 12);
    let mut cgroups = folders.groups();
    assert_eq!(update(&mut cgroups, &[12, 11]).len(), 2);
    assert_eq!(home(&cgroups, 11), "/a");
    assert_eq!(home(&cgroups, 12), "/a");
    folders.add("/a/b", 11);
    update(&mut cgroups, &[12, 11]);
    update(&mut cgroups, &[12, 11]);
    assert_eq!(home(&cgroups, 12), "/a/b/c");
}

#[test]
fn files_that_make_no_sense_count_as_defaults() {
    let folders = FakeFolders::default();
    folders.add("/a", 10);
    for (file, text) in [
        ("cpu.weight", "0"),
        ("cpu.max", "1000"),
        ("cpu.idle", "yes"),
    ] {
        folders.set("/a", file, text);
    }
    let mut cgroups = folders.groups();
    let groups = update(&mut cgroups, &[10]);
    assert_eq!(groups[1].1, group(0, 100.0, f64::INFINITY));
}

#[test]
fn without_cgroup2_there_is_one_group() {
    let mut cgroups = Cgroups::new(None);
    assert_eq!(update(&mut cgroups, &[10, 20]).len(), 1);
    assert_eq!(cgroups.group_of(10), GroupId::ROOT);
}

#[test]
fn real_folders_are_read() {
    use std::os::unix::fs::MetadataExt;
    let base = tempfile::tempdir().expect("a temporary folder");
    let inner = base.path().join("outer/inner one");
    std::fs::create_dir_all(&inner).expect("folders");
    for folder in [&base.path().join("outer"), &inner] {
        std::fs::write(folder.join("cpu.weight"), "42\n").expect("a file");
    }
    let root = base.path().to_str().expect("a plain name").to_owned();
    let mut cgroups = Cgroups::new(Some(Box::new(Mounted::at(root))));
    let id = std::fs::metadata(&inner).expect("a folder").ino();
    let groups = update(&mut cgroups, &[id]);
    let paths: Vec<&str> = groups.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/", "/outer", "/outer/inner one"]);
    assert_eq!(groups[2].1, group(1, 42.0, f64::INFINITY));
    std::fs::remove_dir_all(&inner).expect("removed");
    assert_eq!(update(&mut cgroups, &[id]).len(), 2);
    assert_eq!(home(&cgroups, id), "/outer");
}

/// What happens to a folder between two rounds.
#[derive(Clone, Debug)]
enum Event {
    Add(usize, bool),
    Remove(usize),
    Write(usize, &'static str, String),
}

/// Paths that lie in one another; a place in this list stands for a path.
const PATHS: [&str; 7] = ["/a", "/a/b", "/a/b/c", "/a-b", "/a/d", "/e", "/e/f"];

fn any_event() -> impl Strategy<Value = Event> {
    let path = 0..PATHS.len();
    let file = prop::sample::select(vec!["cpu.weight", "cpu.idle", "cpu.max"]);
    let text = prop_oneof!["[0-9]{0,5}( [0-9]{1,6})?", "max [0-9]{0,3}", "\\PC{0,3}"];
    prop_oneof![
        (path.clone(), any::<bool>()).prop_map(|(path, cpu)| Event::Add(path, cpu)),
        path.clone().prop_map(Event::Remove),
        (path, file, text).prop_map(|(path, file, text)| Event::Write(path, file, text)),
    ]
}

/// Does it, as far as a file system could.
fn happen(folders: &FakeFolders, event: &Event, id: u64) {
    let there = |path: &str| folders.folders.borrow().contains_key(path);
    match event {
        Event::Add(path, with_cpu) if !there(PATHS[*path]) => {
            let path = PATHS[*path];
            let (parent, _) = path.rsplit_once('/').expect("a path");
            match (parent.is_empty() || there(parent), with_cpu) {
                (true, true) => folders.add(path, id),
                (true, false) => folders.add_without_controller(path, id),
                (false, _) => (),
            }
        }
        Event::Remove(path) => {
            let inside = format!("{}/", PATHS[*path]);
            let stays =
                |path: &str| !path.starts_with(&inside) && path != &inside[..inside.len() - 1];
            folders.folders.borrow_mut().retain(|path, _| stays(path));
        }
        Event::Write(path, file, text) if there(PATHS[*path]) => {
            folders.set(PATHS[*path], file, text);
        }
        Event::Add(..) | Event::Write(..) => (),
    }
}

proptest! {
    #![proptest_config(crate::seeds::config("cgroups"))]

    #[test]
    fn the_tree_is_sound_whatever_happens(
        events in prop::collection::vec(any_event(), 0..24),
        rounds in prop::collection::vec(prop::collection::vec(0..40u64, 0..6), 1..6),
    ) {
        let folders = FakeFolders::default();
        let mut cgroups = folders.groups();
        let each = events.len().div_ceil(rounds.len());
        for (round, ids) in rounds.iter().enumerate() {
            for (at, event) in events.iter().enumerate().skip(round * each).take(each) {
                happen(&folders, event, 2 + at as u64);
            }
            // Nobody is in a group that has not been made yet.
            let made = 2 + ((round + 1) * each).min(events.len()) as u64;
            let ids: Vec<u64> = ids.iter().copied().filter(|id| *id < made).collect();
            let groups = update(&mut cgroups, &ids);
            for (at, (path, group)) in groups.iter().enumerate().skip(1) {
                let parent = group.parent.index();
                prop_assert!(parent < at, "parents come first: {groups:?}");
                let around = groups[parent].0.trim_end_matches('/');
                let is_inside = path.starts_with(&format!("{around}/"));
                prop_assert!(is_inside, "{path} in {around}");
                prop_assert!(group.weight > 0.0 && group.weight <= 10_000.0);
                prop_assert!(group.quota > 0.0);
                prop_assert!(groups[at - 1].0 < *path, "each once, in order");
            }
            // A folder that is there with its controller is found at once, and
            // tasks are in it or in one around it.
            let folders = folders.folders.borrow();
            let counts = |path: &str| folders[path].files.contains_key("cpu.weight");
            for (path, folder) in folders.iter() {
                let home = home(&cgroups, folder.id);
                let around = home.trim_end_matches('/');
                let is_inside = path.starts_with(&format!("{around}/"));
                prop_assert!(path == around || is_inside, "{path} in {home}");
                let mut above = PATHS.iter().filter(|above| path.starts_with(&format!("{above}/")));
                if ids.contains(&folder.id) && counts(path) && above.all(|above| counts(above)) {
                    prop_assert_eq!(&home, path);
                }
            }
        }
    }
}
