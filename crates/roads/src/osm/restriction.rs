//! Turn restrictions: relations that say from which way, at or over which place, into which way one
//! may not drive on, or may alone.
//!
//! Read are those for everybody and for cars, at a node or over one way. A restriction whose members
//! fit more than one pair of roads (a way that runs on through the node it turns at, and is not one-way)
//! is not guessed at.

use osmpbf::{RelMemberType, Relation};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::draft::Draft;
use crate::junction::{Drive, Restriction};

use super::report::ImportReport;
use super::split::Piece;
use super::way::Tags;

/// A restriction as the file states it.
pub(super) struct Stated {
    is_only: bool,
    from: Vec<i64>,
    via_nodes: Vec<i64>,
    via_ways: Vec<i64>,
    to: Vec<i64>,
}

/// Why a restriction is not applied.
enum Dropped {
    OtherVehicles,
    Conditional,
    Unclear,
}

/// The keys that speak to cars, most specific first.
const KEYS: [&str; 4] = [
    "restriction:motorcar",
    "restriction:motor_vehicle",
    "restriction:vehicle",
    "restriction",
];

/// Reads a relation if it is a turn restriction, counting into the report.
pub(super) fn read(relation: &Relation<'_>, report: &mut ImportReport) -> Option<Stated> {
    let tags: Tags<'_> = relation.tags().collect();
    let kind = tags.get("type")?;
    if kind != "restriction" && !kind.starts_with("restriction:") {
        return None;
    }
    report.turn_restrictions += 1;
    match kind_of(&tags) {
        Ok(is_only) => Some(members(relation, is_only)),
        Err(reason) => {
            match reason {
                Dropped::OtherVehicles => report.restrictions_for_others += 1,
                Dropped::Conditional => report.restrictions_conditional += 1,
                Dropped::Unclear => report.restrictions_unclear += 1,
            }
            None
        }
    }
}

/// Whether the restriction allows one turn only, rather than forbidding one.
fn kind_of(tags: &Tags<'_>) -> Result<bool, Dropped> {
    let exceptions = tags.get("except").unwrap_or_default().split(';');
    let mut exceptions = exceptions.map(str::trim);
    if exceptions.any(|who| matches!(who, "motorcar" | "motor_vehicle" | "vehicle")) {
        return Err(Dropped::OtherVehicles);
    }
    let Some(value) = KEYS.iter().find_map(|key| tags.get(key)) else {
        let is_conditional = tags.keys().any(|key| key.ends_with(":conditional"));
        return Err(if is_conditional {
            Dropped::Conditional
        } else {
            Dropped::OtherVehicles
        });
    };
    match value.split_once('_') {
        Some(("no", _)) => Ok(false),
        Some(("only", _)) => Ok(true),
        _ => Err(Dropped::Unclear),
    }
}

fn members(relation: &Relation<'_>, is_only: bool) -> Stated {
    let mut stated = Stated {
        is_only,
        from: Vec::new(),
        via_nodes: Vec::new(),
        via_ways: Vec::new(),
        to: Vec::new(),
    };
    for member in relation.members() {
        let list = match (member.role(), member.member_type) {
            (Ok("from"), RelMemberType::Way) => &mut stated.from,
            (Ok("to"), RelMemberType::Way) => &mut stated.to,
            (Ok("via"), RelMemberType::Way) => &mut stated.via_ways,
            (Ok("via"), RelMemberType::Node) => &mut stated.via_nodes,
            _ => continue,
        };
        list.push(member.member_id);
    }
    stated
}

/// The ways that restrictions name.
pub(super) fn ways_named(restrictions: &[Stated]) -> FxHashSet<i64> {
    let ways = |stated: &Stated| [&stated.from, &stated.via_ways, &stated.to].map(Clone::clone);
    restrictions.iter().flat_map(ways).flatten().collect()
}

/// Draws the restrictions, given the pieces into which the ways they name were cut.
pub(super) fn apply(
    restrictions: &[Stated],
    pieces: &FxHashMap<i64, Vec<Piece>>,
    draft: &mut Draft,
    report: &mut ImportReport,
) {
    for stated in restrictions {
        let mut named = stated.from.iter().chain(&stated.via_ways).chain(&stated.to);
        let has_all = !stated.from.is_empty()
            && !stated.to.is_empty()
            && stated.via_nodes.len() + stated.via_ways.len() > 0
            && named.all(|way| pieces.contains_key(way));
        if !has_all {
            report.restrictions_incomplete += 1;
            continue;
        }
        let mut found = stated.resolve(pieces, |_, _| true);
        // Several ways from or to are one rule each; otherwise there must be no doubt.
        let rules = stated.from.len() * stated.to.len();
        if found.len() > rules {
            // Nobody comes from, or leaves into, a one-way street the wrong way round.
            found = stated.resolve(pieces, Piece::is_open);
        }
        if found.is_empty() || found.len() > rules {
            report.restrictions_unclear += 1;
            continue;
        }
        report.restrictions_applied += 1;
        found.into_iter().for_each(|rule| draft.restrict(rule));
    }
}

impl Stated {
    /// All ways in which the members fit together, of those drives that count.
    fn resolve(
        &self,
        pieces: &FxHashMap<i64, Vec<Piece>>,
        counts: impl Fn(&Piece, Drive) -> bool,
    ) -> Vec<Restriction> {
        let drives = |ways: &[i64]| -> Vec<(Drive, i64, i64)> {
            let of_way = |way: &i64| pieces.get(way).into_iter().flatten();
            let of_piece = |piece: &Piece| {
                let drives = piece.drives().into_iter();
                let counted = drives.filter(|(drive, ..)| counts(piece, *drive));
                counted.collect::<Vec<_>>()
            };
            ways.iter().flat_map(of_way).flat_map(of_piece).collect()
        };
        let (from, to) = (drives(&self.from), drives(&self.to));
        let mut found = Vec::new();
        let mut rule = |from, via, to| {
            found.push(Restriction {
                from,
                via,
                to,
                is_only: self.is_only,
            });
        };
        match (&self.via_nodes[..], &self.via_ways[..]) {
            ([node], []) => {
                for &(from, ..) in from.iter().filter(|(_, _, head)| head == node) {
                    for &(to, ..) in to.iter().filter(|(_, tail, _)| tail == node) {
                        rule(from, None, to);
                    }
                }
            }
            ([], [way]) => {
                for (via, tail, head) in drives(&[*way]) {
                    for &(from, ..) in from.iter().filter(|(_, _, end)| *end == tail) {
                        for &(to, ..) in to.iter().filter(|(_, begin, _)| *begin == head) {
                            rule(from, Some(via), to);
                        }
                    }
                }
            }
            _ => {}
        }
        found
    }
}
