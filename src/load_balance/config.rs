// SPDX-License-Identifier: GPL-2.0-only
//! What the user and the daemon ask of the planner.
//! Never holds what the planner finds out.

/// What the user and the daemon ask of the planner.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Off: entitlements and loads are computed, nothing is moved.
    pub enabled: bool,
    /// Most moves in one plan. Bounds the time BPF takes to apply a plan.
    pub max_moves: usize,
    /// Most tasks looked at in one plan, give or take one search. Bounds its
    /// time on machines where masks confine most tasks: some 10 ns a look.
    pub max_looks: u64,
    /// Most turns between nodes in one plan, of one or two moves each.
    pub cross_node_turns: usize,
    /// Heed `preferred_nodes`.
    pub mempolicy_affinity: bool,
    /// A gap up to this part of the capacity (and up to the largest
    /// entitlement of a movable task) is left alone inside a node; a larger one
    /// is settled to half of that. 0.01: shares are then right within 1 %, about
    /// what demand estimates are good for.
    pub band: f64,
    /// The same between nodes.
    pub remote_band: f64,
    /// The part of the machine's capacity that may cross nodes in one plan:
    /// pages and caches follow the tasks. 1 bounds only what is owed beyond what
    /// the machine has, so that whatever crowds one node is gone in one round; a
    /// smaller part spreads it over several.
    pub cross_node_part: f64,
    /// ms of CPU, for each SLIT distance of 10, by which the tasks of one domain
    /// may fall behind those of another before the two take turns at being the
    /// crowded one: 100 inside a node, 210 at distance 21.
    pub lag_bound_ms: f64,
    /// Tasks owed fewer CPUs than this are only moved off domains where they
    /// cannot stay: 0.001 is a millisecond in a second, about what warming up
    /// elsewhere costs.
    pub least_share: f64,
    /// A task moved fewer rounds ago than this stays, so that it can warm up…
    pub rest_rounds: u32,
    /// …unless its domain owes this many CPUs more than it has.
    pub rest_override: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enabled: true,
            max_moves: 1024,
            max_looks: 5_000_000,
            cross_node_turns: 2,
            mempolicy_affinity: false,
            band: 0.01,
            remote_band: 0.01,
            cross_node_part: 1.0,
            lag_bound_ms: 100.0,
            least_share: 0.001,
            rest_rounds: 3,
            rest_override: 1.0,
        }
    }
}
