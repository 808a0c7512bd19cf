//! What an import kept and what it dropped, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Counts of one import, kept with the map. Prints as a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Bytes of the source file.
    pub file_bytes: u64,
    /// Nodes in the file.
    pub nodes_read: u64,
    /// Ways in the file.
    pub ways_read: u64,
    /// Relations in the file.
    pub relations_read: u64,
    /// Ways a car may drive.
    pub car_ways: u64,
    /// Car ways whose speed comes from a limit; the others have their class's usual speed.
    pub car_ways_with_limit: u64,
    /// Highways that are not for cars: footways, tracks, those being built.
    pub other_highways: u64,
    /// Lines of ferries.
    pub ferries: u64,
    /// Car roads drawn as areas.
    pub areas: u64,
    /// Car roads closed to us by an access tag, in every direction in which they may be driven.
    pub no_access: u64,
    /// Car roads whose direction changes with the hour.
    pub reversible: u64,
    /// Nodes that car ways name and the file does not have: the edge of the extract.
    pub missing_nodes: u64,
    /// Nodes of car ways with coordinates that are not on Earth.
    pub impossible_nodes: u64,
    /// Car ways of which, without those nodes, nothing was left to drive.
    pub vanished_ways: u64,
    /// Places where a barrier stops cars.
    pub barriers: u64,
    /// Car ways for those who begin or end there.
    pub destination_only: u64,
    /// Turn restrictions in the file.
    pub turn_restrictions: u64,
    /// Turn restrictions that were applied; those that were not are in one of the following.
    pub restrictions_applied: u64,
    /// Turn restrictions for buses, lorries and the like, or that cars are exempt from.
    pub restrictions_for_others: u64,
    /// Turn restrictions that hold at some hours only.
    pub restrictions_conditional: u64,
    /// Turn restrictions with members that are missing or not for cars.
    pub restrictions_incomplete: u64,
    /// Turn restrictions of an unknown kind, over several ways, or that fit more than one turn.
    pub restrictions_unclear: u64,
    /// Roads of a graph that take the length of the straight line between their ends: they were
    /// measured shorter, or not at all.
    pub lengthened_roads: u64,
    /// Nodes dropped because not every other can be reached from them and back.
    pub unreachable_nodes: u64,
    /// Segments dropped with them.
    pub unreachable_segments: u64,
    /// Arcs dropped with or without their segments, for the same reason.
    pub unreachable_arcs: u64,
    /// Nodes of the network.
    pub nodes: u64,
    /// Segments of the network.
    pub segments: u64,
    /// Arcs of the network: segments counted once per direction in which they may be driven.
    pub arcs: u64,
    /// Turns between approaches: what the searches walk.
    pub turns: u64,
    /// Distinct street names.
    pub streets: u64,
    /// Length of all segments, in metres.
    pub road_metres: f64,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = |title: &str, rows: &[(u64, &str)]| {
            writeln!(f, "{title}")?;
            rows.iter()
                .try_for_each(|(count, what)| writeln!(f, "{count:>12}  {what}"))
        };
        section(
            "read",
            &[
                (self.file_bytes, "bytes"),
                (self.nodes_read, "nodes"),
                (self.ways_read, "ways"),
                (self.relations_read, "relations"),
            ],
        )?;
        section(
            "kept",
            &[
                (self.car_ways, "ways for cars"),
                (self.car_ways_with_limit, "of them with a speed limit"),
                (self.nodes, "junctions and ends"),
                (self.segments, "segments between them"),
                (self.arcs, "arcs, one per direction"),
                (self.turns, "turns between them"),
                (self.restrictions_applied, "turn restrictions"),
                (self.destination_only, "ways for their destinations only"),
                (self.lengthened_roads, "roads lengthened to a straight line"),
                (self.streets, "street names"),
                ((self.road_metres / 1000.0).round() as u64, "km of road"),
            ],
        )?;
        section(
            "dropped",
            &[
                (self.other_highways, "highways not for cars"),
                (self.ferries, "ferries"),
                (self.areas, "areas"),
                (self.no_access, "ways without access"),
                (self.reversible, "ways of changing direction"),
                (self.missing_nodes, "nodes outside the extract"),
                (self.impossible_nodes, "nodes not on Earth"),
                (self.vanished_ways, "ways left with no drivable piece"),
                (self.barriers, "passages closed by a barrier"),
                (self.restrictions_for_others, "turn restrictions for others"),
                (
                    self.restrictions_conditional,
                    "turn restrictions at some hours",
                ),
                (
                    self.restrictions_incomplete,
                    "turn restrictions beyond the car roads",
                ),
                (self.restrictions_unclear, "turn restrictions left unclear"),
                (self.unreachable_nodes, "nodes cut off from the rest"),
                (self.unreachable_segments, "segments cut off from the rest"),
                (self.unreachable_arcs, "arcs cut off from the rest"),
            ],
        )
    }
}
