//! Cutting ways into segments: at junctions, at ends, at barriers, and where the extract stops.

use rustc_hash::FxHashMap;

use crate::RoadsError;
use crate::draft::{Draft, Road};
use crate::geo::Point;
use crate::graph::NodeId;

use super::ATTRIBUTION;
use super::read::{NamedWay, WayNode, WayNodes};
use super::report::ImportReport;

/// Draws the ways into a draft of that name.
pub(super) fn draft(
    name: &str,
    ways: &[NamedWay],
    nodes: WayNodes,
    report: &mut ImportReport,
) -> Result<Draft, RoadsError> {
    report.missing_nodes = nodes.values().filter(|node| node.point.is_none()).count() as u64;
    report.missing_nodes = report.missing_nodes.saturating_sub(report.impossible_nodes);
    let mut draft = Draft::new(name);
    draft.set_attribution(ATTRIBUTION);
    let mut cutter = Cutter {
        draft,
        nodes,
        junctions: FxHashMap::default(),
        barriers: 0,
    };
    for way in ways {
        let drawn = cutter.cut(way)?;
        report.vanished_ways += u64::from(!drawn);
    }
    report.barriers = cutter.barriers;
    Ok(cutter.draft)
}

struct Cutter {
    draft: Draft,
    nodes: WayNodes,
    /// The draft's node for each junction met so far, by OpenStreetMap id.
    junctions: FxHashMap<i64, NodeId>,
    barriers: u64,
}

/// A segment being followed: the node it left and the bends since.
struct Open {
    from: NodeId,
    bends: Vec<Point>,
}

impl Cutter {
    /// Cuts one way; whether anything of it was drawn.
    fn cut(&mut self, NamedWay { way, node_ids }: &NamedWay) -> Result<bool, RoadsError> {
        let road = Road {
            street: way.street.as_deref(),
            class: way.class,
            forward_kmh: way.forward_kmh,
            backward_kmh: way.backward_kmh,
        };
        let mut drawn = false;
        let mut open: Option<Open> = None;
        for (place, id) in node_ids.iter().enumerate() {
            let node = self.nodes.get(id).copied().unwrap_or_default();
            // Outside the extract. The node before looked ahead and ended its segment.
            let Some(point) = node.point else { continue };
            let goes_on = node_ids
                .get(place + 1)
                .is_some_and(|next| self.is_known(*next));
            let WayNode {
                uses, is_closed, ..
            } = node;
            if !is_closed
                && uses < 2
                && goes_on
                && let Some(open) = &mut open
            {
                open.bends.push(point);
                continue;
            }
            // Each side of a barrier ends in a node of its own, so nothing drives through.
            let here = if is_closed {
                self.draft.add_point(point)
            } else {
                self.junction(*id, point)
            };
            if let Some(Open { from, bends }) = open.take() {
                self.draft.add_segment(from, here, &bends, &road)?;
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
                bends: Vec::new(),
            });
        }
        Ok(drawn)
    }

    fn is_known(&self, id: i64) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.point.is_some())
    }

    fn junction(&mut self, id: i64, point: Point) -> NodeId {
        *self
            .junctions
            .entry(id)
            .or_insert_with(|| self.draft.add_point(point))
    }
}
