//! Cutting ways into segments: at junctions, at ends, at barriers, and where the extract stops.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::RoadsError;
use crate::draft::{Draft, Road, RoadNo};
use crate::geo::Point;
use crate::graph::NodeId;
use crate::junction::Drive;

use super::read::{Extract, NamedWay, WayNode, WayNodes};
use super::report::ImportReport;
use super::{ATTRIBUTION, restriction};

/// Draws the ways and restrictions into a draft of that name.
pub(super) fn draft(
    name: &str,
    extract: Extract,
    report: &mut ImportReport,
) -> Result<Draft, RoadsError> {
    let Extract {
        ways,
        nodes,
        restrictions,
    } = extract;
    report.missing_nodes = nodes.values().filter(|node| node.point.is_none()).count() as u64;
    report.missing_nodes = report.missing_nodes.saturating_sub(report.impossible_nodes);
    let mut draft = Draft::new(name);
    draft.set_attribution(ATTRIBUTION);
    draft.charge_turns();
    let mut cutter = Cutter {
        draft,
        nodes,
        junctions: FxHashMap::default(),
        barriers: 0,
        restricted: restriction::ways_named(&restrictions),
        pieces: FxHashMap::default(),
    };
    for way in &ways {
        let drawn = cutter.cut(way)?;
        report.vanished_ways += u64::from(!drawn);
    }
    report.barriers = cutter.barriers;
    restriction::apply(&restrictions, &cutter.pieces, &mut cutter.draft, report);
    Ok(cutter.draft)
}

struct Cutter {
    draft: Draft,
    nodes: WayNodes,
    /// The draft's node for each junction met so far, by OpenStreetMap id.
    junctions: FxHashMap<i64, NodeId>,
    barriers: u64,
    /// Ways that turn restrictions name, by OpenStreetMap id, and what they were cut into.
    restricted: FxHashSet<i64>,
    pieces: FxHashMap<i64, Vec<Piece>>,
}

/// What a way became between two of its nodes.
pub(super) struct Piece {
    road: RoadNo,
    from_node: i64,
    to_node: i64,
    /// Whether it may be driven from the one to the other, and back.
    open: [bool; 2],
}

impl Piece {
    /// Driven there and back, whether or not that is allowed: each with the node it leaves and the one it
    /// reaches.
    pub fn drives(&self) -> [(Drive, i64, i64); 2] {
        let Self {
            road,
            from_node,
            to_node,
            ..
        } = *self;
        let drive = |forward| Drive { road, forward };
        [
            (drive(true), from_node, to_node),
            (drive(false), to_node, from_node),
        ]
    }

    /// Whether it may be driven so.
    pub fn is_open(&self, drive: Drive) -> bool {
        let [forward, backward] = self.open;
        if drive.forward { forward } else { backward }
    }
}

/// A segment being followed: the node it left, the bends since, and what stops a car there.
struct Open {
    from: NodeId,
    from_id: i64,
    bends: Vec<Point>,
    forward_delay_ms: u32,
    backward_delay_ms: u32,
}

impl Cutter {
    /// Cuts one way; whether anything of it was drawn.
    fn cut(&mut self, NamedWay { id, way, node_ids }: &NamedWay) -> Result<bool, RoadsError> {
        let mut drawn = false;
        let mut open: Option<Open> = None;
        for (place, node_id) in node_ids.iter().enumerate() {
            let node = self.nodes.get(node_id).copied().unwrap_or_default();
            // Outside the extract. The node before looked ahead and ended its segment.
            let Some(point) = node.point else { continue };
            let goes_on = node_ids
                .get(place + 1)
                .is_some_and(|next| self.is_known(*next));
            let WayNode {
                uses,
                is_closed,
                delay,
                ..
            } = node;
            if !is_closed
                && uses < 2
                && goes_on
                && let Some(open) = &mut open
            {
                open.bends.push(point);
                open.forward_delay_ms += delay.forward_ms;
                open.backward_delay_ms += delay.backward_ms;
                continue;
            }
            // Each side of a barrier ends in a node of its own, so nothing drives through.
            let here = if is_closed {
                self.draft.add_point(point)
            } else {
                self.junction(*node_id, point)
            };
            if let Some(open) = open.take() {
                let road = Road {
                    street: way.street.as_deref(),
                    class: way.class,
                    forward_kmh: way.forward_kmh,
                    backward_kmh: way.backward_kmh,
                    forward_delay_ms: open.forward_delay_ms,
                    backward_delay_ms: open.backward_delay_ms,
                    destination_only: way.destination_only,
                };
                let added = self
                    .draft
                    .add_segment(open.from, here, &open.bends, &road)?;
                if self.restricted.contains(id) {
                    let piece = |road| Piece {
                        road,
                        from_node: open.from_id,
                        to_node: *node_id,
                        open: [way.forward_kmh.is_some(), way.backward_kmh.is_some()],
                    };
                    self.pieces.entry(*id).or_default().extend(added.map(piece));
                }
                drawn = true;
            }
            let from = if is_closed {
                self.barriers += u64::from(goes_on);
                self.draft.add_point(point)
            } else {
                here
            };
            open = goes_on.then_some(Open {
                from,
                from_id: *node_id,
                bends: Vec::new(),
                forward_delay_ms: 0,
                backward_delay_ms: 0,
            });
        }
        Ok(drawn)
    }

    fn is_known(&self, id: i64) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.point.is_some())
    }

    fn junction(&mut self, id: i64, point: Point) -> NodeId {
        if let Some(&known) = self.junctions.get(&id) {
            return known;
        }
        let node = self.draft.add_point(point);
        let delay = self
            .nodes
            .get(&id)
            .map(|node| node.delay)
            .unwrap_or_default();
        // At a junction there is no telling which of its roads a direction is about.
        let delay_ms = delay.forward_ms.max(delay.backward_ms);
        if delay_ms > 0 {
            self.draft.delay_at(node, delay_ms);
        }
        self.junctions.insert(id, node);
        node
    }
}
