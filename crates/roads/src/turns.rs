//! Turns: from which road one may drive on into which, and what it costs.
//!
//! `TurnTable` is what is written down: a cost for every pair of an arc into a node and an arc out of
//! it, and the rules that span three arcs. `Turns` is the graph the searches walk, made from it. Its
//! vertices are **approaches**: all arcs into a node from which driving on costs the same, whatever the
//! way on, count as one. Where turns are free that is the node itself; where every turn has its own
//! cost it is every arc on its own (the *edge-expanded* graph). An edge leads from an approach by a turn
//! onto an arc and along it to the approach at its far end.
//!
//! An arc may lead to more than one approach, depending on how it was entered. That is how two things
//! that a turn alone cannot express become part of the graph:
//!
//! - *Restrictions over a way* ("from A by B not into C"): the arc B entered from A has an approach of
//!   its own, without the turn into C.
//! - *Destination-only roads*: entered from outside they lead to approaches that never leave them
//!   again, so nobody drives through; whoever begins on one leaves as they like.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::graph::{ArcId, RoadArc, SegmentRecord, first_of_each};

/// A turn's cost in the table, in units of [`TURN_UNIT_MS`]; [`FORBIDDEN`] for none.
pub(crate) type TurnCost = u8;

/// A turn that may not be made.
pub(crate) const FORBIDDEN: TurnCost = TurnCost::MAX;

/// The unit of the table's costs, in milliseconds.
pub(crate) const TURN_UNIT_MS: u32 = 100;

/// What is written down about turns.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TurnTable {
    /// Node by node, arc into it by arc into it, arc out of it by arc out of it. Empty: all are free.
    pub costs: Vec<TurnCost>,
    /// Rules over three arcs, in the order of their arcs.
    pub chains: Vec<TurnChain>,
}

/// Who comes from one arc by another may not drive on into a third, or may into no other: into none but
/// those of the rules that say so, where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TurnChain {
    pub from: u32,
    pub via: u32,
    pub to: u32,
    /// Only into `to`, rather than not into it.
    pub is_only: bool,
}

/// The arcs with their order at the nodes, as the table is written in it.
#[derive(Clone, Copy)]
pub(crate) struct Incidence<'a> {
    pub arcs: &'a [RoadArc],
    pub first_out: &'a [u32],
    pub arcs_in: &'a [u32],
    pub first_in: &'a [u32],
}

impl Incidence<'_> {
    pub fn outbound_at(&self, node: usize) -> Range<u32> {
        self.first_out[node]..self.first_out[node + 1]
    }

    pub fn inbound_at(&self, node: usize) -> &[u32] {
        &self.arcs_in[self.first_in[node] as usize..self.first_in[node + 1] as usize]
    }

    pub fn nodes(&self) -> Range<usize> {
        0..self.first_out.len() - 1
    }

    /// How many costs a table has.
    pub fn turn_count(&self) -> usize {
        self.nodes()
            .map(|node| self.outbound_at(node).len() * self.inbound_at(node).len())
            .sum()
    }

    /// By arc: where the costs of the turns from it begin in a table.
    pub fn cost_begins(&self) -> Vec<usize> {
        let mut begins = vec![0; self.arcs.len()];
        let mut next = 0;
        for node in self.nodes() {
            for &into in self.inbound_at(node) {
                begins[into as usize] = next;
                next += self.outbound_at(node).len();
            }
        }
        begins
    }

    /// All pairs of an arc into a node and an arc out of it, in the order of the table.
    pub fn turns(&self) -> impl Iterator<Item = (u32, u32)> {
        self.nodes().flat_map(move |node| {
            self.inbound_at(node)
                .iter()
                .flat_map(move |&into| self.outbound_at(node).map(move |out| (into, out)))
        })
    }
}

impl TurnTable {
    /// Looks for what does not fit the arcs.
    pub fn check(&self, roads: &Incidence<'_>) -> Result<(), String> {
        if !self.costs.is_empty() && self.costs.len() != roads.turn_count() {
            return Err("its turns do not match its roads".to_owned());
        }
        let follows = |from: u32, to: u32| {
            let (from, to) = (roads.arcs.get(from as usize), roads.arcs.get(to as usize));
            from.zip(to).is_some_and(|(from, to)| from.head == to.tail)
        };
        let fits =
            |chain: &TurnChain| follows(chain.from, chain.via) && follows(chain.via, chain.to);
        if !self.chains.iter().all(fits) {
            return Err("a turn restriction names roads that do not follow each other".to_owned());
        }
        Ok(())
    }
}

impl TurnTable {
    /// The table of what is left of the roads; `old` gives the former number of each arc left.
    pub fn renumbered(&self, before: &Incidence<'_>, after: &Incidence<'_>, old: &[u32]) -> Self {
        let mut costs = Vec::new();
        if !self.costs.is_empty() {
            let begins = before.cost_begins();
            let cost = |(into, out): (u32, u32)| {
                let (into, out) = (old[into as usize], old[out as usize]);
                let node = before.arcs[into as usize].head.index();
                let exit = (out - before.first_out[node]) as usize;
                self.costs[begins[into as usize] + exit]
            };
            costs = after.turns().map(cost).collect();
        }
        let mut new = FxHashMap::default();
        new.extend((0..).zip(old).map(|(new, &old)| (old, new)));
        let chain = |chain: &TurnChain| {
            Some(TurnChain {
                from: *new.get(&chain.from)?,
                via: *new.get(&chain.via)?,
                to: *new.get(&chain.to)?,
                is_only: chain.is_only,
            })
        };
        let chains = self.chains.iter().filter_map(chain).collect();
        Self { costs, chains }
    }
}

/// An edge of the graph: from an approach onto an arc, and along it to the approach at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub from: u32,
    pub to: u32,
    pub arc: ArcId,
    pub cost_ms: u32,
}

/// A way onto an arc.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub from: u32,
    pub cost_ms: u32,
}

/// The graph of approaches and turns. Never changes once built.
pub(crate) struct Turns {
    /// By arc: the approach of whoever begins on it.
    pub approach_of: Vec<u32>,
    /// By approach: its node.
    pub node_of: Vec<u32>,
    /// Sorted by where they come from.
    pub turns: Vec<Turn>,
    /// Those from approach `a` are `first_from[a]..first_from[a + 1]`.
    pub first_from: Vec<u32>,
    /// Numbers of turns, sorted by the approach they lead to.
    into: Vec<u32>,
    first_into: Vec<u32>,
    /// Sorted by the arc they lead onto.
    onto: Vec<Entry>,
    first_onto: Vec<u32>,
    /// Sorted by the approach of whoever begins on them.
    arcs: Vec<ArcId>,
    first_arc: Vec<u32>,
}

impl Turns {
    /// Builds the graph of a table that was checked.
    pub fn build(roads: &Incidence<'_>, segments: &[SegmentRecord], table: &TurnTable) -> Self {
        let states = States::of(roads, segments, table);
        let (approach_of_state, approach_states) = states.merged(roads, table);
        let mut turns = Vec::new();
        let mut first_from = vec![0];
        for (from, &state) in approach_states.iter().enumerate() {
            states.exits(roads, table, state, |arc, target, cost| {
                turns.push(Turn {
                    from: from as u32,
                    to: approach_of_state[target as usize],
                    arc: ArcId(arc),
                    cost_ms: u32::from(cost) * TURN_UNIT_MS,
                });
            });
            first_from.push(turns.len() as u32);
        }
        let node_of: Vec<u32> = approach_states
            .iter()
            .map(|&state| roads.arcs[states.arc_of[state as usize] as usize].head.0)
            .collect();
        let approach_of = approach_of_state[..roads.arcs.len()].to_vec();
        let approaches = node_of.len();
        let (first_into, into) = sorted_by(approaches, turns.len(), |turn| turns[turn].to);
        let (first_onto, by_arc) =
            sorted_by(roads.arcs.len(), turns.len(), |turn| turns[turn].arc.0);
        let entry = |&turn: &u32| Entry {
            from: turns[turn as usize].from,
            cost_ms: turns[turn as usize].cost_ms,
        };
        let onto = by_arc.iter().map(entry).collect();
        let (first_arc, arcs) = sorted_by(approaches, approach_of.len(), |arc| approach_of[arc]);
        let arcs = arcs.into_iter().map(ArcId).collect();
        Self {
            approach_of,
            node_of,
            turns,
            first_from,
            into,
            first_into,
            onto,
            first_onto,
            arcs,
            first_arc,
        }
    }

    pub fn approach_count(&self) -> usize {
        self.node_of.len()
    }

    /// Numbers of all turns, sorted by the approach they lead to.
    pub fn by_target(&self) -> &[u32] {
        &self.into
    }

    /// Where in [`Turns::by_target`] the turns to an approach are.
    pub fn range_to(&self, approach: u32) -> Range<usize> {
        let approach = approach as usize;
        self.first_into[approach] as usize..self.first_into[approach + 1] as usize
    }

    /// The ways onto an arc.
    pub fn onto(&self, arc: ArcId) -> &[Entry] {
        run(&self.first_onto, &self.onto, arc.0)
    }

    /// The arcs on which one begins towards that approach.
    pub fn arcs(&self, approach: u32) -> &[ArcId] {
        run(&self.first_arc, &self.arcs, approach)
    }
}

fn run<'a, T>(first: &[u32], all: &'a [T], number: u32) -> &'a [T] {
    let number = number as usize;
    &all[first[number] as usize..first[number + 1] as usize]
}

/// Numbers `0..len` sorted by a key below `keys`, with where the run of each key begins.
fn sorted_by(keys: usize, len: usize, key: impl Fn(usize) -> u32) -> (Vec<u32>, Vec<u32>) {
    let mut sorted: Vec<u32> = (0..len as u32).collect();
    sorted.sort_by_key(|&number| key(number as usize));
    let first = first_of_each(keys, sorted.iter().map(|&number| key(number as usize)));
    (first, sorted)
}

/// Whether rules that span three arcs allow the third. Several that allow one only allow each of theirs.
fn allow(rules: &[&TurnChain], out: u32) -> bool {
    let mut of_it = rules.iter().filter(|rule| rule.to == out).peekable();
    let is_named = of_it.peek().is_some();
    of_it.all(|rule| rule.is_only) && (is_named || rules.iter().all(|rule| !rule.is_only))
}

/// The ends of arcs told apart by how the arc was entered, before those that are alike are merged.
/// The first are the arcs themselves, for whoever begins on them or entered them in the ordinary way.
struct States<'a> {
    segments: &'a [SegmentRecord],
    arc_of: Vec<u32>,
    kind: Vec<Kind>,
    /// By destination-only arc: its state when entered from outside.
    entered: FxHashMap<u32, u32>,
    /// By arc and the arc before it, where a rule spans both: the state and the rules.
    chained: FxHashMap<(u32, u32), u32>,
    chains: Vec<&'a TurnChain>,
    /// By arc: where the costs of its turns begin in the table; empty where turns are free.
    cost_begin: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// On a destination-only road, come from outside.
    Entered,
    /// Under these rules, as a range of `chains`.
    Chained(u32, u32),
}

impl<'a> States<'a> {
    fn of(roads: &Incidence<'_>, segments: &'a [SegmentRecord], table: &'a TurnTable) -> Self {
        let mut states = Self {
            segments,
            arc_of: (0..roads.arcs.len() as u32).collect(),
            kind: vec![Kind::Plain; roads.arcs.len()],
            entered: FxHashMap::default(),
            chained: FxHashMap::default(),
            chains: Vec::new(),
            cost_begin: if table.costs.is_empty() {
                Vec::new()
            } else {
                roads.cost_begins()
            },
        };
        for arc in 0..roads.arcs.len() as u32 {
            if states.is_destination_only(roads, arc) {
                let state = states.add(arc, Kind::Entered);
                states.entered.insert(arc, state);
            }
        }
        let ordinary = |chain: &&TurnChain| {
            ![chain.from, chain.via, chain.to]
                .iter()
                .any(|&arc| states.is_destination_only(roads, arc))
        };
        let mut chains: Vec<&TurnChain> = table.chains.iter().filter(ordinary).collect();
        chains.sort_unstable();
        let mut begin = 0;
        for run in chains.chunk_by(|a, b| (a.from, a.via) == (b.from, b.via)) {
            let end = begin + run.len() as u32;
            let state = states.add(run[0].via, Kind::Chained(begin, end));
            states.chained.insert((run[0].from, run[0].via), state);
            begin = end;
        }
        states.chains = chains;
        states
    }

    fn add(&mut self, arc: u32, kind: Kind) -> u32 {
        self.arc_of.push(arc);
        self.kind.push(kind);
        self.arc_of.len() as u32 - 1
    }

    fn is_destination_only(&self, roads: &Incidence<'_>, arc: u32) -> bool {
        let segment = roads.arcs[arc as usize].segment;
        self.segments[segment.index()].destination_only
    }

    /// Calls `exit` with the arcs one may drive on to, the state that leads to, and the cost.
    fn exits(
        &self,
        roads: &Incidence<'_>,
        table: &TurnTable,
        state: u32,
        mut exit: impl FnMut(u32, u32, TurnCost),
    ) {
        let from = self.arc_of[state as usize];
        let node = roads.arcs[from as usize].head.index();
        let kind = self.kind[state as usize];
        let from_inside = self.is_destination_only(roads, from);
        for (out, cost) in roads.outbound_at(node).zip(self.costs(roads, table, from)) {
            if cost == FORBIDDEN {
                continue;
            }
            if let Kind::Chained(begin, end) = kind {
                let rules = &self.chains[begin as usize..end as usize];
                if !allow(rules, out) {
                    continue;
                }
            }
            let to_inside = self.is_destination_only(roads, out);
            let target = match (from_inside, to_inside) {
                (false, true) => self.entered[&out],
                (true, true) if kind == Kind::Entered => self.entered[&out],
                (true, false) if kind == Kind::Entered => continue,
                _ => self.chained.get(&(from, out)).copied().unwrap_or(out),
            };
            exit(out, target, cost);
        }
    }

    /// The costs of the turns from an arc, in the order of the arcs it may lead to.
    fn costs<'t>(
        &self,
        roads: &Incidence<'_>,
        table: &'t TurnTable,
        from: u32,
    ) -> impl Iterator<Item = TurnCost> + use<'t> {
        let exits = roads
            .outbound_at(roads.arcs[from as usize].head.index())
            .len();
        let begin = self.cost_begin.get(from as usize).copied();
        (0..exits).map(move |exit| begin.map_or(0, |begin| table.costs[begin + exit]))
    }

    /// Merges states at the same node with the same exits. Gives the approach of every state, and of
    /// every approach one state; approaches are numbered by their node.
    fn merged(&self, roads: &Incidence<'_>, table: &TurnTable) -> (Vec<u32>, Vec<u32>) {
        let node = |state: usize| roads.arcs[self.arc_of[state] as usize].head.0;
        let (_, by_node) = sorted_by(roads.nodes().len(), self.arc_of.len(), node);
        let mut approach_of_state = vec![0; self.arc_of.len()];
        let mut approach_states: Vec<u32> = Vec::new();
        let mut known: Vec<(Vec<(u32, TurnCost)>, u32)> = Vec::new();
        let mut last_node = u32::MAX;
        for state in by_node {
            if node(state as usize) != last_node {
                last_node = node(state as usize);
                known.clear();
            }
            let mut exits = Vec::new();
            self.exits(roads, table, state, |_, target, cost| {
                exits.push((target, cost));
            });
            let alike = known.iter().find(|(other, _)| *other == exits);
            let approach = alike.map(|&(_, approach)| approach).unwrap_or_else(|| {
                approach_states.push(state);
                let approach = approach_states.len() as u32 - 1;
                known.push((exits, approach));
                approach
            });
            approach_of_state[state as usize] = approach;
        }
        (approach_of_state, approach_states)
    }
}
