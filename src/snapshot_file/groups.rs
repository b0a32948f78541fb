// SPDX-License-Identifier: GPL-2.0-only
//! The control groups in a snapshot file.
//! Never invents one: every parent is declared, but for the root.

use std::collections::BTreeMap;

use super::cursor::At;
use crate::cgroups::{ROOT, ROOT_PATH, parent_of};
use crate::entitlement::Group;
use crate::ids::GroupId;
use crate::usage::{UsageError, shorten};

/// The groups of a file. The root is the first; the others follow by path, so
/// that each comes after its parent.
pub(super) struct Groups {
    pub groups: Vec<Group>,
    pub paths: Vec<String>,
    pub ids: BTreeMap<String, GroupId>,
}

/// Reads `groups`.
pub(super) fn read(at: Option<&At<'_>>) -> Result<Groups, UsageError> {
    let mut entries: BTreeMap<&str, Entry> = BTreeMap::new();
    let items = match at {
        Some(at) => at.items("groups")?.collect(),
        None => Vec::new(),
    };
    for (place, item) in items.iter().enumerate() {
        let (path, entry) = entry(item, place)?;
        if let Some(other) = entries.insert(path, entry) {
            let detail = format!(
                "{path} is declared already, in groups[{}]; give each group once",
                other.place
            );
            return Err(at_path(item)?.error(detail));
        }
    }
    for item in &items {
        let at = at_path(item)?;
        let path = path_of(&at)?;
        let parent = parent_of(path);
        if parent != ROOT_PATH && !entries.contains_key(parent) {
            return Err(at.error(format!(
                "its parent {} is not declared; declare it too",
                shorten(parent)
            )));
        }
    }
    Ok(number(&entries))
}

/// A group that is declared.
pub(super) fn find(at: &At<'_>, groups: &Groups) -> Result<GroupId, UsageError> {
    let path = at.text("a group", GIVE)?;
    groups.ids.get(path).copied().ok_or_else(|| {
        at.error(format!(
            "group '{}' is not declared in groups; declare it, or give another",
            shorten(path)
        ))
    })
}

struct Entry {
    place: usize,
    weight: f64,
    quota: f64,
}

const GIVE: &str = "a path such as /a or /a/b";

fn at_path<'s>(item: &'s At<'s>) -> Result<At<'s>, UsageError> {
    let group = item.object("a group", &["path", "weight", "quota"])?;
    Ok(group.required("path"))
}

fn entry<'s>(item: &'s At<'s>, place: usize) -> Result<(&'s str, Entry), UsageError> {
    let path = path_of(&at_path(item)?)?;
    let group = item.object("a group", &["path", "weight", "quota"])?;
    let weight = super::weight(&group.required("weight"))?;
    let quota = match group.optional("quota") {
        None => f64::INFINITY,
        Some(at) => at.number("a quota", "a number of CPUs, 0 or more", |quota| {
            quota >= 0.0
        })?,
    };
    let entry = Entry {
        place,
        weight,
        quota,
    };
    Ok((path, entry))
}

/// A path from the root, in the one way to write it.
fn path_of<'p>(at: &At<'p>) -> Result<&'p str, UsageError> {
    let path = at.text("the path of a group", GIVE)?;
    let good = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
    match path.strip_prefix('/') {
        Some(names) if path == ROOT_PATH || names.split('/').all(good) => Ok(path),
        _ => Err(at.refuse("the path of a group", GIVE)),
    }
}

/// Gives the groups their ids.
fn number(entries: &BTreeMap<&str, Entry>) -> Groups {
    let quota = entries.get(ROOT_PATH).map_or(ROOT.quota, |root| root.quota);
    let mut groups = Groups {
        groups: vec![Group { quota, ..ROOT }],
        paths: vec![ROOT_PATH.to_owned()],
        ids: BTreeMap::from([(ROOT_PATH.to_owned(), GroupId::ROOT)]),
    };
    // A parent sorts before what is in it.
    for (&path, entry) in entries.iter().filter(|(path, _)| **path != ROOT_PATH) {
        let id = GroupId(groups.groups.len() as u32);
        let parent = groups.ids.get(parent_of(path)).copied();
        groups.groups.push(Group {
            parent: parent.unwrap_or(GroupId::ROOT),
            weight: entry.weight,
            quota: entry.quota,
        });
        groups.paths.push(path.to_owned());
        groups.ids.insert(path.to_owned(), id);
    }
    groups
}
