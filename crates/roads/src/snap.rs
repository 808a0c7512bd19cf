//! Snapping: from a coordinate to the nearest place on a road.
//!
//! Segments, long ones cut into runs of a few straight pieces, are the entries of an R-tree. The
//! search goes down the tree nearest box first, measuring in metres on a plane that touches the
//! Earth at the point asked for (longitudes shrunk by the cosine of *its* latitude), and stops when
//! no box left can hold anything nearer. So the answer is the nearest piece in that plane, exactly,
//! wherever on the map it is asked. For a car with a heading the same walk looks a little farther, for
//! the nearest piece that leads its way.
//!
//! Maps that cross the 180th meridian snap on each side of it separately.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rstar::{AABB, ParentNode, RStarInsertionStrategy, RTree, RTreeNode, RTreeObject, RTreeParams};
use serde::{Deserialize, Serialize};

use crate::geo::{BoundingBox, EARTH_RADIUS_M, LatLon, Point};
use crate::graph::{Blueprint, SegmentId, SegmentRecord, UNNAMED};
use crate::{RoadNetwork, RoadsError};

/// A place on the road network. Valid for the network it came from, under any travel times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snap {
    /// The segment it lies on.
    pub segment: SegmentId,
    /// Millimetres from the start of the segment, up to its length.
    pub offset_mm: u32,
    /// Where that is.
    pub point: LatLon,
    /// Straight-line distance from the coordinate that was snapped, in metres.
    pub distance_m: f64,
    /// Which way whoever begins there may set out.
    pub facing: Facing,
}

/// Which way a car stands on its segment. Only the beginning of a drive minds: a place is reached from
/// either side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facing {
    /// Not known, or free to turn round.
    #[default]
    Either,
    /// The way the segment's geometry runs.
    Forward,
    /// Against it.
    Backward,
}

impl Facing {
    /// Whether a car may set out in that direction.
    #[must_use]
    pub fn allows(self, forward: bool) -> bool {
        match self {
            Self::Either => true,
            Self::Forward => forward,
            Self::Backward => !forward,
        }
    }
}

impl RoadNetwork {
    /// The nearest place on any road, no farther than `max_distance_m` metres from `place`. Of
    /// roads equally near, the one with the smallest segment number.
    ///
    /// # Errors
    /// [`RoadsError::OutsideMap`] with the distance of the nearest road when that is farther, and
    /// [`RoadsError::NotADistance`] when `max_distance_m` is negative or not a number.
    pub fn snap(&self, place: LatLon, max_distance_m: f64) -> Result<Snap, RoadsError> {
        let closest = self.closest(place, None);
        self.on_road(place, max_distance_m, closest.any, Facing::Either)
    }

    /// The same for a car that drives in a known direction, in degrees clockwise from north: on the
    /// nearest road that may be driven that way, facing it, when that is at most [`HEADING_SLACK_M`]
    /// farther than the nearest of all; otherwise the heading is not believed.
    ///
    /// # Errors
    /// As [`RoadNetwork::snap`].
    pub fn snap_driving(
        &self,
        place: LatLon,
        heading_deg: f64,
        max_distance_m: f64,
    ) -> Result<Snap, RoadsError> {
        let closest = self.closest(place, Some(Course::towards(heading_deg)));
        let (nearest, facing) = closest.believed();
        self.on_road(place, max_distance_m, nearest, facing)
    }

    fn closest(&self, place: LatLon, course: Option<Course>) -> Closest {
        let topology = &self.topology;
        topology.snapper.closest(&topology.plan, place, course)
    }

    /// As [`RoadNetwork::snap`], on a road that has a name.
    pub(crate) fn snap_named(&self, place: LatLon, max_m: f64) -> Result<Snap, RoadsError> {
        let topology = &self.topology;
        let found = topology.snapper.closest_named(&topology.plan, place);
        self.on_road(place, max_m, found, Facing::Either)
    }

    fn on_road(
        &self,
        place: LatLon,
        max_m: f64,
        nearest: Option<Nearest>,
        facing: Facing,
    ) -> Result<Snap, RoadsError> {
        if max_m.is_nan() || max_m < 0.0 {
            return Err(RoadsError::NotADistance { max_m });
        }
        let outside = |nearest_m| RoadsError::OutsideMap {
            nearest_m,
            max_m,
            map: self.name().to_owned(),
        };
        let plan = &self.topology.plan;
        let found = nearest.ok_or_else(|| outside(f64::INFINITY))?;
        let segment = SegmentId(found.segment);
        let (start, end) = (plan.mileposts[found.point], plan.mileposts[found.point + 1]);
        let offset_mm = start + (f64::from(end - start) * found.share).round() as u32;
        let point = self.point_on_segment(segment, offset_mm);
        let distance_m = place.distance_m(point);
        if distance_m > max_m {
            return Err(outside(distance_m));
        }
        Ok(Snap {
            segment,
            offset_mm,
            point,
            distance_m,
            facing,
        })
    }
}

/// How much farther than the nearest road a car may be from the one it drives on, metres: about the
/// error of a phone's position between houses.
pub const HEADING_SLACK_M: f64 = 15.0;

/// How far a heading may be off the road's, as the cosine of 45 degrees.
const HEADING_COSINE_MIN: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// A direction on the plane: east and north, of length one.
#[derive(Clone, Copy)]
struct Course([f64; 2]);

impl Course {
    fn towards(heading_deg: f64) -> Self {
        let (sine, cosine) = heading_deg.to_radians().sin_cos();
        Self([sine, cosine])
    }

    /// Which way a straight piece is driven on this course; `None` when it leads elsewhere.
    fn along(self, [from, to]: [[f64; 2]; 2]) -> Option<Facing> {
        let (east, north) = (to[0] - from[0], to[1] - from[1]);
        let cosine = (east * self.0[0] + north * self.0[1]) / east.hypot(north);
        let facing = if cosine > 0.0 {
            Facing::Forward
        } else {
            Facing::Backward
        };
        (cosine.abs() >= HEADING_COSINE_MIN).then_some(facing)
    }
}

/// The runs of all segments, in a tree by position.
pub(crate) struct SnapIndex {
    tree: RTree<Run, Wide>,
}

/// Straight pieces of one segment that follow each other, at most [`PIECES_PER_RUN`].
#[derive(Clone, Copy)]
struct Run {
    segment: u32,
    /// Its first point, as an index into the points of all segments.
    first_point: u32,
    pieces: u32,
    low: Point,
    high: Point,
}

/// Long enough to keep the tree small, short enough that its box says something about its shape.
const PIECES_PER_RUN: usize = 6;

impl RTreeObject for Run {
    /// Longitude and latitude, in 1e-7 degrees.
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        let corner = |point: Point| [f64::from(point.lon_e7), f64::from(point.lat_e7)];
        AABB::from_bounds(corner(self.low), corner(self.high))
    }
}

/// A tree with wide nodes: quick to load, and no slower to search.
struct Wide;

impl RTreeParams for Wide {
    const MIN_SIZE: usize = 5;
    const MAX_SIZE: usize = 16;
    const REINSERTION_COUNT: usize = 3;
    type DefaultInsertionStrategy = RStarInsertionStrategy;
}

impl SnapIndex {
    pub fn build(plan: &Blueprint) -> Self {
        let mut runs = Vec::with_capacity(plan.segments.len() * 5 / 4);
        for segment in 0..plan.segments.len() {
            let (points, _) = plan.course(segment);
            let mut first = 0;
            while first + 1 < points.len() {
                let pieces = PIECES_PER_RUN.min(points.len() - 1 - first);
                let first_point = plan.first_point[segment] + first as u32;
                runs.push(Run::around(
                    segment,
                    first_point,
                    &points[first..=first + pieces],
                ));
                first += pieces;
            }
        }
        Self {
            tree: RTree::bulk_load_with_params(runs),
        }
    }

    /// The box around all runs.
    pub fn bounds(&self) -> BoundingBox {
        let envelope = self.tree.root().envelope();
        let corner = |[lon, lat]: [f64; 2]| {
            LatLon::from(Point {
                lat_e7: lat as i32,
                lon_e7: lon as i32,
            })
        };
        BoundingBox {
            south_west: corner(envelope.lower()),
            north_east: corner(envelope.upper()),
        }
    }

    /// The segments with a run whose box touches another, in order.
    pub fn segments_touching(&self, area: &BoundingBox) -> Vec<u32> {
        let corner = |place: LatLon| [place.lon() * 1e7, place.lat() * 1e7];
        let area = AABB::from_corners(corner(area.south_west), corner(area.north_east));
        let runs = self.tree.locate_in_envelope_intersecting(area);
        let mut segments: Vec<u32> = runs.map(|run| run.segment).collect();
        segments.sort_unstable();
        segments.dedup();
        segments
    }

    /// The nearest place on a run of a segment that has a name.
    fn closest_named(&self, plan: &Blueprint, place: LatLon) -> Option<Nearest> {
        let plane = Plane::touching(place);
        let mut best: Option<Nearest> = None;
        let mut regions = BinaryHeap::new();
        regions.push(Region {
            distance_2: 0.0,
            node: self.tree.root(),
        });
        while let Some(Region { distance_2, node }) = regions.pop() {
            let reach_2 = best.map_or(f64::INFINITY, |best| best.distance_2);
            if distance_2 > reach_2 {
                break;
            }
            for child in node.children() {
                let distance_2 = plane.distance_2_to_box(&child.envelope());
                if distance_2 > reach_2 {
                    continue;
                }
                match child {
                    RTreeNode::Parent(node) => regions.push(Region { distance_2, node }),
                    RTreeNode::Leaf(run) if !run.is_named(plan) => {}
                    RTreeNode::Leaf(run) => {
                        for (found, _) in run.pieces(plan, &plane) {
                            if best.is_none_or(|best| found.is_before(&best)) {
                                best = Some(found);
                            }
                        }
                    }
                }
            }
        }
        best
    }

    /// The nearest places on any run, in one walk.
    fn closest(&self, plan: &Blueprint, place: LatLon, course: Option<Course>) -> Closest {
        let plane = Plane::touching(place);
        let mut closest = Closest::to_nothing(course);
        let mut regions = BinaryHeap::new();
        regions.push(Region {
            distance_2: 0.0,
            node: self.tree.root(),
        });
        while let Some(Region { distance_2, node }) = regions.pop() {
            if distance_2 > closest.reach_2 {
                break;
            }
            for child in node.children() {
                let distance_2 = plane.distance_2_to_box(&child.envelope());
                if distance_2 > closest.reach_2 {
                    continue;
                }
                match child {
                    RTreeNode::Parent(node) => regions.push(Region { distance_2, node }),
                    RTreeNode::Leaf(run) => run.offer_pieces(plan, &plane, &mut closest),
                }
            }
        }
        closest
    }
}

impl Run {
    fn around(segment: usize, first_point: u32, points: &[Point]) -> Self {
        let (mut low, mut high) = (points[0], points[0]);
        for point in points {
            low.lat_e7 = low.lat_e7.min(point.lat_e7);
            low.lon_e7 = low.lon_e7.min(point.lon_e7);
            high.lat_e7 = high.lat_e7.max(point.lat_e7);
            high.lon_e7 = high.lon_e7.max(point.lon_e7);
        }
        let pieces = points.len() as u32 - 1;
        Self {
            segment: segment as u32,
            first_point,
            pieces,
            low,
            high,
        }
    }

    fn is_named(&self, plan: &Blueprint) -> bool {
        plan.segments[self.segment as usize].street != UNNAMED
    }

    /// The nearest place on each of its pieces, with the piece's ends.
    fn pieces<'a>(
        &'a self,
        plan: &'a Blueprint,
        plane: &'a Plane,
    ) -> impl Iterator<Item = (Nearest, [[f64; 2]; 2])> + 'a {
        let first = self.first_point as usize;
        let points = &plan.points[first..=first + self.pieces as usize];
        (first..).zip(points.windows(2)).map(|(point, ends)| {
            let ends = [plane.to_plane(ends[0]), plane.to_plane(ends[1])];
            let (distance_2, share) = nearest_on(ends);
            let nearest = Nearest {
                distance_2,
                segment: self.segment,
                point,
                share,
            };
            (nearest, ends)
        })
    }

    fn offer_pieces(&self, plan: &Blueprint, plane: &Plane, closest: &mut Closest) {
        let record = &plan.segments[self.segment as usize];
        for (found, ends) in self.pieces(plan, plane) {
            closest.offer(found, ends, record);
        }
    }
}

/// The nearest places found so far.
struct Closest {
    /// Which way the car drives, when that is known.
    course: Option<Course>,
    any: Option<Nearest>,
    /// The nearest that may be driven on the course, and which way.
    along: Option<(Nearest, Facing)>,
    /// Square of the distance beyond which nothing can change the answer, in metres.
    reach_2: f64,
}

impl Closest {
    fn to_nothing(course: Option<Course>) -> Self {
        Self {
            course,
            any: None,
            along: None,
            reach_2: f64::INFINITY,
        }
    }

    /// Takes in a place on a straight piece with these ends.
    fn offer(&mut self, found: Nearest, ends: [[f64; 2]; 2], record: &SegmentRecord) {
        if found.distance_2 > self.reach_2 {
            return;
        }
        if self.any.is_none_or(|any| found.is_before(&any)) {
            self.any = Some(found);
        }
        if let Some(course) = self.course
            && self.along.is_none_or(|(along, _)| found.is_before(&along))
            && let Some(facing) = course.along(ends)
        {
            let time_ms = match facing {
                Facing::Backward => record.backward_ms,
                _ => record.forward_ms,
            };
            if time_ms > 0 {
                self.along = Some((found, facing));
            }
        }
        let any_2 = self.any.map_or(f64::INFINITY, |any| any.distance_2);
        let along_2 = self
            .along
            .map_or(f64::INFINITY, |(along, _)| along.distance_2);
        self.reach_2 = any_2.max(along_2.min(self.believable_2()));
    }

    /// Square of how far a road that leads the car's way may be for its heading to be believed.
    fn believable_2(&self) -> f64 {
        match (self.course, self.any) {
            (None, _) => 0.0,
            (Some(_), None) => f64::INFINITY,
            (Some(_), Some(any)) => (any.distance_2.sqrt() + HEADING_SLACK_M).powi(2),
        }
    }

    /// Where the car is, and which way it faces.
    fn believed(self) -> (Option<Nearest>, Facing) {
        match self.along {
            Some((along, facing)) if along.distance_2 <= self.believable_2() => {
                (Some(along), facing)
            }
            _ => (self.any, Facing::Either),
        }
    }
}

/// A place on a road, on the way to being the nearest.
#[derive(Clone, Copy)]
struct Nearest {
    /// Square of the distance, in metres.
    distance_2: f64,
    segment: u32,
    /// The first end of its piece, as an index into the points of all segments.
    point: usize,
    /// How far along its piece it lies, `0.0..=1.0`.
    share: f64,
}

impl Nearest {
    /// Nearer, or as near with a smaller number.
    fn is_before(&self, other: &Self) -> bool {
        self.distance_2 < other.distance_2
            || (self.distance_2 == other.distance_2 && self.point < other.point)
    }
}

/// A plane in metres that touches the Earth at one point, its origin.
struct Plane {
    lon_e7: f64,
    lat_e7: f64,
    east_m: f64,
    north_m: f64,
}

impl Plane {
    fn touching(origin: LatLon) -> Self {
        let north_m = (EARTH_RADIUS_M / 1e7).to_radians();
        let east_m = north_m * origin.lat().to_radians().cos();
        Self {
            lon_e7: origin.lon() * 1e7,
            lat_e7: origin.lat() * 1e7,
            east_m,
            north_m,
        }
    }

    fn to_plane(&self, point: Point) -> [f64; 2] {
        [
            (f64::from(point.lon_e7) - self.lon_e7) * self.east_m,
            (f64::from(point.lat_e7) - self.lat_e7) * self.north_m,
        ]
    }

    fn distance_2_to_box(&self, envelope: &AABB<[f64; 2]>) -> f64 {
        let [lon, lat] = envelope.min_point(&[self.lon_e7, self.lat_e7]);
        let (x, y) = (
            (lon - self.lon_e7) * self.east_m,
            (lat - self.lat_e7) * self.north_m,
        );
        x * x + y * y
    }
}

/// Of the straight line between two points of the plane, the place nearest to the origin: the square of
/// its distance in metres, and how far along the line it lies.
fn nearest_on([[x, y], [to_x, to_y]]: [[f64; 2]; 2]) -> (f64, f64) {
    let (along_x, along_y) = (to_x - x, to_y - y);
    let length_2 = along_x * along_x + along_y * along_y;
    let share = if length_2 > 0.0 {
        (-(x * along_x + y * along_y) / length_2).clamp(0.0, 1.0)
    } else {
        0.0
    };
    // At either end exactly that end, so that all roads at a junction are equally near.
    let (near_x, near_y) = (
        x * (1.0 - share) + to_x * share,
        y * (1.0 - share) + to_y * share,
    );
    (near_x * near_x + near_y * near_y, share)
}

/// A box of the tree still to be looked into, nearest first.
struct Region<'a> {
    distance_2: f64,
    node: &'a ParentNode<Run>,
}

impl Ord for Region<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.distance_2.total_cmp(&self.distance_2)
    }
}

impl PartialOrd for Region<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Region<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Region<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testmap;

    /// Looks at every piece of every road twice, once minding the course and once not.
    fn by_two_searches(
        network: &RoadNetwork,
        place: LatLon,
        heading_deg: f64,
    ) -> (Nearest, Facing) {
        let (plan, plane) = (&network.topology.plan, Plane::touching(place));
        let course = Course::towards(heading_deg);
        let (mut any, mut along): (Option<Nearest>, Option<(Nearest, Facing)>) = (None, None);
        for (segment, record) in (0..).zip(&plan.segments) {
            let first = plan.first_point[segment as usize] as usize;
            let (points, _) = plan.course(segment as usize);
            for (point, ends) in (first..).zip(points.windows(2)) {
                let ends = [plane.to_plane(ends[0]), plane.to_plane(ends[1])];
                let (distance_2, share) = nearest_on(ends);
                let found = Nearest {
                    distance_2,
                    segment,
                    point,
                    share,
                };
                if any.is_none_or(|any| found.is_before(&any)) {
                    any = Some(found);
                }
                let facing = course.along(ends).filter(|&facing| match facing {
                    Facing::Backward => record.backward_ms > 0,
                    _ => record.forward_ms > 0,
                });
                if let Some(facing) = facing
                    && along.is_none_or(|(along, _)| found.is_before(&along))
                {
                    along = Some((found, facing));
                }
            }
        }
        let any = any.expect("there is a road");
        let limit_m = any.distance_2.sqrt() + HEADING_SLACK_M;
        let believed = along.filter(|(along, _)| along.distance_2.sqrt() <= limit_m);
        believed.unwrap_or((any, Facing::Either))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn one_walk_finds_what_two_searches_find(
            seed in any::<u64>(),
            north in -0.002..0.012_f64,
            east in -0.002..0.012_f64,
            heading_deg in -720.0..720.0_f64,
        ) {
            let network = testmap::random(seed, 200);
            let place = LatLon::new(41.15 + north, -8.6 + east)?;
            let (expected, facing) = by_two_searches(&network, place, heading_deg);
            let expected = network.on_road(place, f64::INFINITY, Some(expected), facing)?;
            prop_assert_eq!(network.snap_driving(place, heading_deg, f64::INFINITY)?, expected);
        }
    }
}
