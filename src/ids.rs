// SPDX-License-Identifier: GPL-2.0-only
//! Identifiers as distinct types, so that a CPU is never taken for a domain.
//! Never holds behaviour beyond conversion and printing.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The id as an index into a table that is dense in this id.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A logical CPU, numbered as in /sys/devices/system/cpu. Ids may have gaps.
    CpuId,
    "cpu"
);
id!(
    /// A NUMA node, numbered as in /sys/devices/system/node. Ids may have gaps
    /// and a node may have no CPUs.
    NodeId,
    "node"
);
id!(
    /// A scheduling domain: dense, from 0, ordered by node.
    DomainId,
    "domain"
);

id!(
    /// A set of CPUs that tasks may use, in a [`crate::affinity::MaskTable`].
    MaskId,
    "mask"
);
id!(
    /// A control group: its place in a list whose first entry is the root.
    GroupId,
    "group"
);

impl MaskId {
    /// Every CPU.
    pub const ANYWHERE: MaskId = MaskId(0);
}

impl GroupId {
    /// The group that holds all others.
    pub const ROOT: GroupId = GroupId(0);
}

/// One task's row in the shared table. The generation tells this task from
/// earlier and later users of the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskRef {
    /// Index of the row.
    pub slot: u32,
    /// Odd while the row is in use; grows by one at every allocation and release.
    pub generation: u32,
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}.{}", self.slot, self.generation)
    }
}
