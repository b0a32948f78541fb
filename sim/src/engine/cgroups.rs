// SPDX-License-Identifier: GPL-2.0-only
//! Control groups: what the scheduler reads of a task's, and the files that the
//! daemon reads. Never enforces a quota: under sched_ext nobody does.

use std::io;

use scx_ballast::cgroups::{Folders, ROOT, parent_of};
use scx_ballast::entitlement::Group;
use scx_ballast::ids::GroupId;

use crate::scenario::Cgroup;
use crate::shim::{cgroup, cgroup_subsys_state, kernfs_node, task_group};

/// Inode number of the root, as the kernel's.
const ROOT_ID: u64 = 1;
/// Of the first group; the others follow with gaps.
const FIRST_ID: u64 = 100;
const ID_STEP: u64 = 7;
/// The period of `cpu.max`, in µs.
const PERIOD_US: f64 = 100_000.0;

/// The id of the group at this index.
pub fn id_of(index: usize) -> u64 {
    match index {
        0 => ROOT_ID,
        _ => FIRST_ID + ID_STEP * index as u64,
    }
}

/// What the kernel keeps of a group, as far as the scheduler follows it.
struct Chain {
    task_group: *mut task_group,
    cgroup: *mut cgroup,
    node: *mut kernfs_node,
}

impl Chain {
    fn new(id: u64) -> Chain {
        let node = Box::into_raw(Box::new(kernfs_node { id }));
        let cgroup = Box::into_raw(Box::new(cgroup { kn: node }));
        let css = cgroup_subsys_state { cgroup };
        Chain {
            task_group: Box::into_raw(Box::new(task_group { css })),
            cgroup,
            node,
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: made by Box::into_raw in new(), freed here only.
        unsafe {
            drop(Box::from_raw(self.task_group));
            drop(Box::from_raw(self.cgroup));
            drop(Box::from_raw(self.node));
        }
    }
}

/// The groups of the machine, by index: the root, then those of the scenario.
pub struct Cgroups {
    specs: Vec<Cgroup>,
    chains: Vec<Chain>,
}

impl Cgroups {
    /// The root and these.
    pub fn new(specs: &[Cgroup]) -> Cgroups {
        Cgroups {
            specs: specs.to_vec(),
            chains: (0..=specs.len()).map(|at| Chain::new(id_of(at))).collect(),
        }
    }

    /// How many there are, the root counted.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// Whether there is only the root.
    pub fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// The index of the group at `path`.
    pub fn index(&self, path: &str) -> usize {
        let found = self.specs.iter().position(|spec| spec.path == path);
        found.map_or(0, |at| at + 1)
    }

    /// What a task in the group points to. Lives as long as this does.
    pub fn pointer(&self, index: usize) -> *mut task_group {
        self.chains[index].task_group
    }

    /// As entitlements follow them, the root first.
    pub fn tree(&self) -> Vec<Group> {
        let parent = |spec: &Cgroup| GroupId(self.index(parent_of(&spec.path)) as u32);
        let group = |spec: &Cgroup| Group {
            parent: parent(spec),
            weight: f64::from(spec.weight),
            quota: spec.quota.unwrap_or(f64::INFINITY),
        };
        std::iter::once(ROOT)
            .chain(self.specs.iter().map(group))
            .collect()
    }
}

/// The groups as the daemon finds them.
pub struct Files(Vec<Cgroup>);

impl Files {
    /// The folders of these groups.
    pub fn new(specs: &[Cgroup]) -> Files {
        Files(specs.to_vec())
    }
}

impl Folders for Files {
    fn root(&self) -> io::Result<u64> {
        Ok(ROOT_ID)
    }

    fn list(&self, path: &str, found: &mut dyn FnMut(u64, &str)) -> io::Result<()> {
        for (at, spec) in self.0.iter().enumerate() {
            if parent_of(&spec.path) == path {
                let name = spec.path.rsplit('/').next().unwrap_or_default();
                found(id_of(at + 1), name);
            }
        }
        Ok(())
    }

    fn read(&mut self, path: &str, file: &str, text: &mut String) -> io::Result<()> {
        let spec = self.0.iter().find(|spec| spec.path == path);
        let spec = spec.ok_or(io::ErrorKind::NotFound)?;
        *text = match (file, spec.quota) {
            ("cpu.weight", _) => format!("{}\n", spec.weight),
            ("cpu.max", Some(quota)) => {
                format!("{:.0} {PERIOD_US:.0}\n", quota * PERIOD_US)
            }
            ("cpu.max", None) => format!("max {PERIOD_US:.0}\n"),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_finds_the_groups_that_tasks_are_in() {
        let spec = |path: &str, weight, quota| Cgroup {
            path: path.to_owned(),
            weight,
            quota,
        };
        let specs = [spec("/a", 300, None), spec("/a/b", 100, Some(1.5))];
        let cgroups = Cgroups::new(&specs);
        let mut found = scx_ballast::cgroups::Cgroups::new(Some(Box::new(Files::new(&specs))));
        let mut tree = Vec::new();
        found.update((0..3).map(id_of), &mut tree);
        assert_eq!(tree, cgroups.tree());
        assert_eq!(*found.paths(), ["/", "/a", "/a/b"]);
        let index = cgroups.index("/a/b");
        assert_eq!(found.group_of(id_of(index)).index(), index);
        assert_eq!(parent_of("/a"), "/");
    }
}
