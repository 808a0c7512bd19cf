//! The body of a map file: a blueprint in few bytes.
//!
//! Numbers are written with as many bytes as they need (postcard's variable-length integers) and
//! made small first: places as differences from the place before, distances as the length of the
//! last piece, a node as its difference from the one before. What is read back may be nonsense:
//! lists are never longer than the bytes that hold them, sums wrap round instead of overflowing,
//! and [`Topology::build`](crate::graph::Topology::build) checks the result.

use serde::{Deserialize, Serialize};

use crate::geo::Point;
use crate::graph::{Blueprint, RoadClass, SegmentRecord, UNNAMED};
use crate::osm::ImportReport;
use crate::turns::{TurnChain, TurnTable};

/// A blueprint as it is written.
#[derive(Serialize, Deserialize)]
struct Body {
    name: String,
    attribution: String,
    report: ImportReport,
    /// Steps in 1e-7 degrees from node to node.
    nodes: Vec<Step>,
    streets: Vec<String>,
    segments: Vec<Segment>,
    /// Steps along every segment in turn, from its tail; the last step, to its head, is left out.
    bends: Vec<Step>,
    /// Millimetres of every piece of every segment.
    pieces_mm: Vec<u32>,
    turn_costs: Vec<u8>,
    chains: Vec<Chain>,
    /// Contraction order, as differences.
    order: Vec<i32>,
}

#[derive(Serialize, Deserialize)]
struct Step {
    north: i32,
    east: i32,
}

#[derive(Serialize, Deserialize)]
struct Chain {
    from: u32,
    via: u32,
    to: u32,
    is_only: bool,
}

#[derive(Serialize, Deserialize)]
struct Segment {
    /// Difference from the tail of the segment before.
    tail: i32,
    /// Difference from its own tail.
    head: i32,
    class: RoadClass,
    /// Number of the street plus one, 0 for none.
    street: u32,
    drive: Drive,
    destination_only: bool,
    bends: u32,
}

/// Times in milliseconds.
#[derive(Serialize, Deserialize)]
enum Drive {
    Alike(u32),
    Forward(u32),
    Backward(u32),
    Unlike(u32, u32),
}

pub(crate) fn to_body(plan: &Blueprint) -> Vec<u8> {
    let mut body = Body {
        name: plan.name.clone(),
        attribution: plan.attribution.clone(),
        report: plan.report.clone(),
        nodes: steps(Point::default(), &plan.nodes),
        streets: plan.streets.clone(),
        segments: Vec::with_capacity(plan.segments.len()),
        bends: Vec::new(),
        pieces_mm: Vec::new(),
        turn_costs: plan.turns.costs.clone(),
        chains: plan.turns.chains.iter().map(Chain::from).collect(),
        order: differences(&plan.order),
    };
    let mut last_tail = 0;
    for (number, record) in plan.segments.iter().enumerate() {
        let (points, mileposts) = plan.course(number);
        let inner = &points[1..points.len() - 1];
        body.bends.extend(steps(points[0], inner));
        body.pieces_mm
            .extend(mileposts.windows(2).map(|pair| pair[1] - pair[0]));
        body.segments.push(Segment {
            tail: difference(last_tail, record.tail),
            head: difference(record.tail, record.head),
            class: record.class,
            street: record.street.wrapping_add(1),
            drive: match (record.forward_ms, record.backward_ms) {
                (forward, 0) => Drive::Forward(forward),
                (0, backward) => Drive::Backward(backward),
                (forward, backward) if forward == backward => Drive::Alike(forward),
                (forward, backward) => Drive::Unlike(forward, backward),
            },
            destination_only: record.destination_only,
            bends: inner.len() as u32,
        });
        last_tail = record.tail;
    }
    // Writing to memory cannot fail, and every type here has a form in postcard.
    postcard::to_stdvec(&body).unwrap_or_default()
}

/// The blueprint in a body; the error says what is wrong with it.
pub(crate) fn from_body(bytes: &[u8]) -> Result<Blueprint, String> {
    let (body, rest): (Body, _) = postcard::take_from_bytes(bytes)
        .map_err(|error| format!("its body is unreadable ({error})"))?;
    if !rest.is_empty() {
        return Err(format!("{} bytes are left over at its end", rest.len()));
    }
    let nodes: Vec<Point> = walk(Point::default(), &body.nodes).collect();
    let capacity = body.pieces_mm.len().saturating_add(body.segments.len());
    let (mut points, mut mileposts) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
    let (mut segments, mut first_point) = (Vec::with_capacity(body.segments.len()), vec![0]);
    let (mut bends, mut pieces_mm) = (body.bends.as_slice(), body.pieces_mm.as_slice());
    let mut last_tail = 0;
    for segment in &body.segments {
        let tail = apply(last_tail, segment.tail);
        let head = apply(tail, segment.head);
        last_tail = tail;
        let end_of = |node: u32| nodes.get(node as usize).copied();
        let (Some(from), Some(to)) = (end_of(tail), end_of(head)) else {
            return Err("a segment ends at a node that does not exist".to_owned());
        };
        let bend_count = segment.bends as usize;
        let geometry = (
            bends.split_at_checked(bend_count),
            pieces_mm.split_at_checked(bend_count + 1),
        );
        let (Some((inner, bends_left)), Some((lengths, pieces_left))) = geometry else {
            return Err("a segment has more bends than there are".to_owned());
        };
        (bends, pieces_mm) = (bends_left, pieces_left);
        points.push(from);
        points.extend(walk(from, inner));
        points.push(to);
        let mut post = 0_u32;
        mileposts.push(post);
        for &length_mm in lengths {
            post = post.wrapping_add(length_mm);
            mileposts.push(post);
        }
        first_point
            .push(u32::try_from(points.len()).map_err(|_| "it has too many bends".to_owned())?);
        let (forward_ms, backward_ms) = match segment.drive {
            Drive::Alike(both) => (both, both),
            Drive::Forward(forward) => (forward, 0),
            Drive::Backward(backward) => (0, backward),
            Drive::Unlike(forward, backward) => (forward, backward),
        };
        let street = segment.street.wrapping_sub(1);
        segments.push(SegmentRecord {
            tail,
            head,
            class: segment.class,
            street,
            forward_ms,
            backward_ms,
            destination_only: segment.destination_only,
        });
    }
    if !bends.is_empty() || !pieces_mm.is_empty() {
        return Err("it has bends that belong to no segment".to_owned());
    }
    let order = accumulate(&body.order);
    let turns = TurnTable {
        costs: body.turn_costs,
        chains: body.chains.iter().map(TurnChain::from).collect(),
    };
    let Body {
        name,
        attribution,
        report,
        streets,
        ..
    } = body;
    Ok(Blueprint {
        name,
        attribution,
        report,
        nodes,
        segments,
        streets,
        first_point,
        points,
        mileposts,
        turns,
        order,
    })
}

impl From<&TurnChain> for Chain {
    fn from(chain: &TurnChain) -> Self {
        let &TurnChain {
            from,
            via,
            to,
            is_only,
        } = chain;
        Self {
            from,
            via,
            to,
            is_only,
        }
    }
}

impl From<&Chain> for TurnChain {
    fn from(chain: &Chain) -> Self {
        let &Chain {
            from,
            via,
            to,
            is_only,
        } = chain;
        Self {
            from,
            via,
            to,
            is_only,
        }
    }
}

const _: () = assert!(UNNAMED.wrapping_add(1) == 0, "no street is written as 0");

fn steps(from: Point, points: &[Point]) -> Vec<Step> {
    let before = std::iter::once(&from).chain(points);
    before
        .zip(points)
        .map(|(from, to)| Step {
            north: to.lat_e7.wrapping_sub(from.lat_e7),
            east: to.lon_e7.wrapping_sub(from.lon_e7),
        })
        .collect()
}

fn walk(from: Point, steps: &[Step]) -> impl Iterator<Item = Point> {
    steps.iter().scan(from, |at, step| {
        at.lat_e7 = at.lat_e7.wrapping_add(step.north);
        at.lon_e7 = at.lon_e7.wrapping_add(step.east);
        Some(*at)
    })
}

fn difference(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

fn apply(from: u32, difference: i32) -> u32 {
    from.wrapping_add_signed(difference)
}

fn differences(numbers: &[u32]) -> Vec<i32> {
    let before = std::iter::once(&0).chain(numbers);
    before
        .zip(numbers)
        .map(|(&from, &to)| difference(from, to))
        .collect()
}

fn accumulate(differences: &[i32]) -> Vec<u32> {
    let step = |at: &mut u32, &by: &i32| {
        *at = apply(*at, by);
        Some(*at)
    };
    differences.iter().scan(0, step).collect()
}
