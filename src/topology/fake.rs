// SPDX-License-Identifier: GPL-2.0-only
//! Fake sysfs trees for tests.
//! Never part of the program.

use std::fs;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

use super::Machine;

/// The files of one CPU. A file whose value is `None` is not written.
#[derive(Clone, Debug)]
pub(crate) struct FakeCpu {
    pub id: u32,
    pub online: bool,
    pub node: Option<u32>,
    pub package: Option<i32>,
    pub siblings: Option<String>,
    /// Level, type, CPUs that share it.
    pub caches: Vec<(u32, &'static str, String)>,
    pub capacity: Option<u32>,
}

/// A machine to be written as a sysfs tree.
#[derive(Clone, Debug)]
pub(crate) struct FakeMachine {
    pub possible: String,
    pub present: Option<String>,
    pub cpus: Vec<FakeCpu>,
    /// Id and distance row; no node directory if empty.
    pub nodes: Vec<(u32, String)>,
}

impl FakeMachine {
    /// A regular machine. The threads of a core have consecutive ids.
    pub fn grid(nodes: u32, llcs: u32, cores: u32, threads: u32) -> FakeMachine {
        let llc_cpus = cores * threads;
        let node_cpus = llcs * llc_cpus;
        let run = |id: u32, size: u32| {
            let first = id / size * size;
            format!("{first}-{}", first + size - 1)
        };
        let cpus = (0..nodes * node_cpus)
            .map(|id| FakeCpu {
                id,
                online: true,
                node: Some(id / node_cpus),
                package: Some((id / node_cpus) as i32),
                siblings: Some(run(id, threads)),
                caches: vec![
                    (1, "Data", run(id, threads)),
                    (1, "Instruction", run(id, threads)),
                    (2, "Unified", run(id, threads)),
                    (3, "Unified", run(id, llc_cpus)),
                ],
                capacity: Some(1024),
            })
            .collect();
        let row = |of: u32| {
            let row: Vec<_> = (0..nodes)
                .map(|to| if to == of { "10" } else { "21" })
                .collect();
            row.join(" ")
        };
        FakeMachine {
            possible: format!("0-{}", nodes * node_cpus - 1),
            present: None,
            cpus,
            nodes: (0..nodes).map(|id| (id, row(id))).collect(),
        }
    }

    pub fn cpu(&mut self, id: u32) -> &mut FakeCpu {
        self.cpus
            .iter_mut()
            .find(|cpu| cpu.id == id)
            .expect("a CPU of the machine")
    }

    /// Takes a CPU offline as the kernel does: its files vanish, the link
    /// from its node stays, and the lists of the others forget it.
    pub fn offline(&mut self, id: u32) {
        for cpu in &mut self.cpus {
            let forget = |list: &mut String| {
                let cpus: Vec<_> = list
                    .parse::<crate::cpulist::CpuList>()
                    .expect("list")
                    .iter()
                    .collect();
                let left: Vec<_> = cpus.into_iter().filter(|cpu| cpu.0 != id).collect();
                *list = crate::cpulist::format_cpus(&left);
            };
            if cpu.id == id {
                cpu.online = false;
                (cpu.package, cpu.siblings, cpu.capacity) = (None, None, None);
                cpu.caches.clear();
            } else {
                cpu.siblings.iter_mut().for_each(forget);
                cpu.caches.iter_mut().for_each(|cache| forget(&mut cache.2));
            }
        }
    }

    pub fn write(&self) -> TempDir {
        let root = TempDir::new().expect("a temporary directory");
        let system = root.path().join("sys/devices/system");
        let online = self.ids(|cpu| cpu.online);
        put(&system.join("cpu/possible"), &self.possible);
        put(&system.join("cpu/online"), &online);
        put_some(&system.join("cpu/present"), self.present.as_deref());
        for cpu in &self.cpus {
            self.write_cpu(&system, cpu);
        }
        if !self.nodes.is_empty() {
            let ids: Vec<String> = self.nodes.iter().map(|node| node.0.to_string()).collect();
            put(&system.join("node/online"), &ids.join(","));
        }
        for (id, row) in &self.nodes {
            let dir = system.join(format!("node/node{id}"));
            put(&dir.join("distance"), row);
            put(
                &dir.join("cpulist"),
                &self.ids(|cpu| cpu.online && cpu.node == Some(*id)),
            );
        }
        root
    }

    pub fn read(&self) -> Result<Machine> {
        Machine::read(self.write().path())
    }

    fn write_cpu(&self, system: &Path, cpu: &FakeCpu) {
        let dir = system.join(format!("cpu/cpu{}", cpu.id));
        put(&dir.join("uevent"), "");
        let package = cpu.package.map(|id| id.to_string());
        put_some(
            &dir.join("topology/physical_package_id"),
            package.as_deref(),
        );
        put_some(
            &dir.join("topology/thread_siblings_list"),
            cpu.siblings.as_deref(),
        );
        put_some(
            &dir.join("cpu_capacity"),
            cpu.capacity.map(|c| c.to_string()).as_deref(),
        );
        for (i, (level, kind, shared)) in cpu.caches.iter().enumerate() {
            let index = dir.join(format!("cache/index{i}"));
            put(&index.join("level"), &level.to_string());
            put(&index.join("type"), kind);
            // Ids repeat on every socket, as they do on real machines.
            put(&index.join("id"), "0");
            put(&index.join("shared_cpu_list"), shared);
        }
        if let Some(node) = cpu.node.filter(|_| !self.nodes.is_empty()) {
            put(
                &system.join(format!("node/node{node}/cpu{}/uevent", cpu.id)),
                "",
            );
        }
    }

    fn ids(&self, wanted: impl Fn(&FakeCpu) -> bool) -> String {
        let ids: Vec<String> = self
            .cpus
            .iter()
            .filter(|cpu| wanted(cpu))
            .map(|cpu| cpu.id.to_string())
            .collect();
        ids.join(",")
    }
}

fn put_some(path: &Path, text: Option<&str>) {
    if let Some(text) = text {
        put(path, text);
    }
}

/// Writes a file as sysfs shows it, with a newline.
fn put(path: &Path, text: &str) {
    let dir = path.parent().expect("a file in a directory");
    fs::create_dir_all(dir).expect("a directory in the temporary one");
    fs::write(path, format!("{text}\n")).expect("a file in the temporary directory");
}
