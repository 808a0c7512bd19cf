//! Where the idle drivers are, kept in two ways at once, one for each search of [`crate::nearest`].
//!
//! - *By road*: the drivers on every segment, as lists threaded through the entries. Moving a driver
//!   from one segment to another allocates nothing.
//! - *By place*: a grid of square cells, each holding its drivers, and an R-tree over the cells that
//!   hold any. A move inside a cell never touches the tree; a city has a thousand times fewer
//!   crossings of cell borders than pings.
//!
//! Drivers are known by their key and stand at the snapped position, from which roads are driven.

use jitney_roads::{EARTH_RADIUS_M, LatLon, RoadNetwork, SegmentId, Snap};
use rstar::{AABB, PointDistance, RTree, RTreeObject};
use rustc_hash::FxHashMap;

use crate::{fleet::DriverKey, product::ProductSet};

/// The idle drivers by road and by place.
pub struct Index {
    plane: Plane,
    entries: Vec<Entry>,
    /// The first driver on each segment.
    on_segment: Vec<Link>,
    cells: FxHashMap<Cell, Vec<DriverKey>>,
    tree: RTree<Cell>,
    len: usize,
}

/// The next driver of a list.
type Link = Option<DriverKey>;

/// What the searches ask of a driver.
#[derive(Clone, Copy)]
pub struct Post {
    /// Where on the road.
    pub snap: Snap,
    /// What they serve.
    pub products: ProductSet,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    post: Option<Post>,
    cell: Cell,
    /// The place among the cell's drivers.
    slot: u32,
    previous: Link,
    next: Link,
}

/// A square of the grid: its column and row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Cell {
    column: i32,
    row: i32,
}

impl RTreeObject for Cell {
    /// In cells.
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        let [x, y] = [f64::from(self.column), f64::from(self.row)];
        AABB::from_corners([x, y], [x + 1.0, y + 1.0])
    }
}

impl PointDistance for Cell {
    fn distance_2(&self, point: &[f64; 2]) -> f64 {
        self.envelope().distance_2(point)
    }
}

impl Index {
    /// An empty index over a network, with cells of that edge in metres.
    pub fn new(roads: &RoadNetwork, cell_m: f64) -> Self {
        Self {
            plane: Plane::over(roads, cell_m),
            entries: Vec::new(),
            on_segment: vec![None; roads.segment_count()],
            cells: FxHashMap::default(),
            tree: RTree::new(),
            len: 0,
        }
    }

    /// How many drivers are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many cells hold drivers.
    pub fn cell_count(&self) -> usize {
        self.tree.size()
    }

    /// Puts a driver in, or moves them.
    pub fn put(&mut self, driver: DriverKey, post: Post) {
        if self.entries.len() <= driver.index() {
            self.entries.resize(driver.index() + 1, Entry::default());
        }
        let cell = self.plane.cell(post.snap.point);
        let entry = self.entries[driver.index()];
        match entry.post {
            Some(old) => {
                if old.snap.segment != post.snap.segment {
                    self.leave_segment(driver, old.snap.segment);
                    self.enter_segment(driver, post.snap.segment);
                }
                if entry.cell != cell {
                    self.leave_cell(driver);
                    self.enter_cell(driver, cell);
                }
            }
            None => {
                self.enter_segment(driver, post.snap.segment);
                self.enter_cell(driver, cell);
                self.len += 1;
            }
        }
        self.entries[driver.index()].post = Some(post);
    }

    /// Takes a driver out, if they are in.
    pub fn remove(&mut self, driver: DriverKey) {
        let Some(post) = self
            .entries
            .get_mut(driver.index())
            .and_then(|entry| entry.post.take())
        else {
            return;
        };
        self.leave_segment(driver, post.snap.segment);
        self.leave_cell(driver);
        self.len -= 1;
    }

    /// What the searches ask of a driver; `None` for one that is not in.
    pub fn post(&self, driver: DriverKey) -> Option<Post> {
        self.entries.get(driver.index())?.post
    }

    /// The drivers on a segment, in no particular order.
    pub fn on_segment(&self, segment: SegmentId) -> impl Iterator<Item = DriverKey> {
        let first = self.on_segment.get(segment.index()).copied().flatten();
        std::iter::successors(first, |driver| self.entries[driver.index()].next)
    }

    /// The cells that hold drivers, nearest first: the least distance in metres that any driver in
    /// it can lie from the place (never more than the real one), and the drivers.
    pub fn cells_from(&self, place: LatLon) -> impl Iterator<Item = (f64, &[DriverKey])> {
        let origin = self.plane.project(place);
        self.tree
            .nearest_neighbor_iter_with_distance_2(origin)
            .map(|(cell, distance_2)| {
                let drivers = self.cells.get(cell).map_or(&[][..], Vec::as_slice);
                (self.plane.distance_m_min(distance_2), drivers)
            })
    }

    fn enter_segment(&mut self, driver: DriverKey, segment: SegmentId) {
        let first = self.on_segment[segment.index()].replace(driver);
        if let Some(first) = first {
            self.entries[first.index()].previous = Some(driver);
        }
        let entry = &mut self.entries[driver.index()];
        (entry.previous, entry.next) = (None, first);
    }

    fn leave_segment(&mut self, driver: DriverKey, segment: SegmentId) {
        let Entry { previous, next, .. } = self.entries[driver.index()];
        match previous {
            Some(previous) => self.entries[previous.index()].next = next,
            None => self.on_segment[segment.index()] = next,
        }
        if let Some(next) = next {
            self.entries[next.index()].previous = previous;
        }
    }

    fn enter_cell(&mut self, driver: DriverKey, cell: Cell) {
        let drivers = self.cells.entry(cell).or_default();
        if drivers.is_empty() {
            self.tree.insert(cell);
        }
        let entry = &mut self.entries[driver.index()];
        (entry.cell, entry.slot) = (cell, drivers.len() as u32);
        drivers.push(driver);
    }

    fn leave_cell(&mut self, driver: DriverKey) {
        let Entry { cell, slot, .. } = self.entries[driver.index()];
        let Some(drivers) = self.cells.get_mut(&cell) else {
            return;
        };
        drivers.swap_remove(slot as usize);
        if let Some(moved) = drivers.get(slot as usize) {
            self.entries[moved.index()].slot = slot;
        }
        if drivers.is_empty() {
            self.cells.remove(&cell);
            self.tree.remove(&cell);
        }
    }
}

/// A plane measured in cells on which no two places lie farther apart than on the Earth, up to the
/// factor `shrink`.
///
/// North is `R·φ`; east is `R·λ·cos φ` with the cosine of the map's latitude farthest from the equator,
/// the smallest there is. By the haversine formula the distance `d` on the sphere satisfies
/// `d ≥ 2R·√(sin²(Δφ/2) + cos φ₁·cos φ₂·sin²(Δλ/2))`. Then `sin(x/2) ≥ x/2·(1 − x²/24)` turns that
/// into the plane's distance times `1 − x²/24`, `x` being the larger of the map's extents.
struct Plane {
    centre: LatLon,
    cell_m: f64,
    cosine_min: f64,
    shrink: f64,
}

/// Room for rounding: positions are kept in 1e-7 degrees, and the corners of cells in floats.
const ROUNDING_M: f64 = 0.1;

impl Plane {
    fn over(roads: &RoadNetwork, cell_m: f64) -> Self {
        let bounds = roads.bounds();
        let (south, north) = (bounds.south_west.lat(), bounds.north_east.lat());
        let (west, east) = (bounds.south_west.lon(), bounds.north_east.lon());
        let extent = (north - south).max(east - west).to_radians();
        let cosine = |lat: f64| lat.to_radians().cos().max(0.0);
        Self {
            centre: bounds.centre(),
            cell_m,
            cosine_min: cosine(south).min(cosine(north)),
            shrink: (1.0 - extent * extent / 24.0 - 1e-6).max(0.0),
        }
    }

    /// In cells from the centre.
    fn project(&self, place: LatLon) -> [f64; 2] {
        let cells = |degrees: f64| degrees.to_radians() * EARTH_RADIUS_M / self.cell_m;
        let east = cells(place.lon() - self.centre.lon()) * self.cosine_min;
        [east, cells(place.lat() - self.centre.lat())]
    }

    fn cell(&self, place: LatLon) -> Cell {
        let [x, y] = self.project(place);
        Cell {
            column: x.floor() as i32,
            row: y.floor() as i32,
        }
    }

    /// From a squared distance in cells.
    fn distance_m_min(&self, distance_2: f64) -> f64 {
        (distance_2.sqrt() * self.cell_m * self.shrink - ROUNDING_M).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use jitney_roads::testmap::{self, Dice};

    use super::*;

    #[test]
    fn moves_keep_both_views_in_step() {
        let roads = testmap::random(7, 400);
        let snaps = testmap::random_snaps(&roads, 8, 3_000);
        let mut index = Index::new(&roads, 250.0);
        let mut truth: Vec<Option<Snap>> = vec![None; 60];
        let mut dice = Dice::new(9);
        for snap in snaps {
            let driver = dice.below(60);
            let key = DriverKey(driver);
            if dice.below(5) == 0 {
                index.remove(key);
                truth[driver as usize] = None;
            } else {
                index.put(
                    key,
                    Post {
                        snap,
                        products: ProductSet::ANY,
                    },
                );
                truth[driver as usize] = Some(snap);
            }
            assert_eq!(index.len(), truth.iter().flatten().count());
        }
        for segment in roads.segments() {
            let mut found: Vec<u32> = index.on_segment(segment.id()).map(|key| key.0).collect();
            found.sort_unstable();
            let on_it = |snap: &Option<Snap>| snap.is_some_and(|snap| snap.segment == segment.id());
            let expected: Vec<u32> = (0..60)
                .filter(|&driver| on_it(&truth[driver as usize]))
                .collect();
            assert_eq!(found, expected);
        }
        let mut last_m = 0.0;
        let mut seen = 0;
        let here = roads.bounds().centre();
        for (least_m, drivers) in index.cells_from(here) {
            assert!(least_m >= last_m, "cells come nearest first");
            last_m = least_m;
            for driver in drivers {
                let snap = truth[driver.index()].unwrap();
                assert!(here.distance_m(snap.point) >= least_m);
                seen += 1;
            }
        }
        assert_eq!(seen, index.len());
        assert!(index.cell_count() > 1);
    }

    #[test]
    fn the_plane_never_overstates_a_distance() {
        let roads = testmap::random(3, 2_500);
        let plane = Plane::over(&roads, 250.0);
        let snaps = testmap::random_snaps(&roads, 4, 500);
        for pair in snaps.windows(2) {
            let (from, to) = (pair[0].point, pair[1].point);
            let (a, b) = (plane.project(from), plane.project(to));
            let distance_2 = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
            let least_m = plane.distance_m_min(distance_2);
            let real_m = from.distance_m(to);
            assert!(least_m <= real_m, "{least_m} > {real_m}");
            assert!(
                least_m > real_m * 0.95 - 1.0,
                "{least_m} is a poor bound of {real_m}"
            );
        }
    }
}
