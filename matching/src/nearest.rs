//! The nearest idle drivers by road travel time, exactly.
//!
//! Two searches give the same answer by different ways, and tests hold them against each other:
//!
//! - *Dense* ([`Nearest::dense`]): walk backwards from the target over the roads, nearest junction
//!   first, and look at the drivers on the roads into each. Cheap when drivers are many; its walk is
//!   as long as the k-th driver is far.
//! - *Sparse* ([`Nearest::sparse`]): take drivers in order of straight-line distance, ask for the road
//!   time of each, stop when not even the map's top speed could bring the next one in before the k-th
//!   best. Cheap when drivers are few; all of them share one target search.
//!
//! [`Nearest::find`] begins with the first under a budget and finishes with the second.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jitney_proto::ids::DriverId;
use jitney_roads::{
    BackwardExpansion, LatLon, PairSearch, RoadNetwork, Route, Snap, TargetSearch, Travel,
};

use crate::{
    fleet::DriverKey,
    index::{Index, Post},
    product::ProductSet,
};

/// Searches on one road network. Their scratch space, as large as the map, is pooled: as many as ever
/// ran at once are kept.
pub struct Nearest {
    /// The roads under the travel times of now.
    roads: ArcSwap<RoadNetwork>,
    settle_budget: usize,
    pool: Mutex<Vec<Scratch>>,
}

/// What is asked.
pub struct Query<'a> {
    /// The place to reach.
    pub target: Snap,
    /// Only drivers who serve one of these.
    pub products: ProductSet,
    /// How many.
    pub count: usize,
    /// How far they may be, in driving milliseconds; [`u32::MAX`] is any distance.
    pub within_ms: u32,
    /// Drivers that do not count.
    pub excludes: &'a dyn Fn(&DriverId) -> bool,
}

/// A driver and how long they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The driver.
    pub driver: DriverKey,
    /// Travel time to the target, milliseconds.
    pub time_ms: u32,
}

struct Scratch {
    expansion: BackwardExpansion,
    target: TargetSearch,
    pair: PairSearch,
}

impl Nearest {
    /// Searches that walk over at most `settle_budget` junctions before they change their method.
    pub fn new(roads: Arc<RoadNetwork>, settle_budget: usize) -> Self {
        Self {
            roads: ArcSwap::new(roads),
            settle_budget,
            pool: Mutex::default(),
        }
    }

    /// The roads under the travel times of now.
    pub fn roads(&self) -> Arc<RoadNetwork> {
        self.roads.load_full()
    }

    /// Searches go by other travel times from now on; those that are running end by the old ones.
    ///
    /// # Panics
    /// When it is another map.
    pub fn swap(&self, roads: Arc<RoadNetwork>) {
        assert_eq!(self.roads.load().id(), roads.id(), "the roads are the same");
        self.roads.store(roads);
    }

    /// The same, unless other travel times have come meanwhile.
    ///
    /// # Panics
    /// When it is another map.
    pub fn swap_if(&self, current: &Arc<RoadNetwork>, roads: Arc<RoadNetwork>) {
        assert_eq!(current.id(), roads.id(), "the roads are the same");
        self.roads.compare_and_swap(current, roads);
    }

    /// Works the travel times of now out once more, so that searches by them are quicker. Takes a
    /// while: call it where that disturbs nobody.
    pub fn tighten(&self) {
        let roads = self.roads();
        self.swap_if(&roads, Arc::new(roads.tightened()));
    }

    /// The nearest idle drivers, soonest first; equal times by driver id. Those that cannot reach the
    /// target are left out, so there may be fewer than asked for.
    pub fn find(&self, index: &Index, ids: &[DriverId], query: &Query<'_>) -> Vec<Found> {
        if index.is_empty() || query.count == 0 {
            return Vec::new();
        }
        // On a map with a driver at every tenth junction the walk for five is about fifty junctions.
        let expected_walk = query
            .count
            .saturating_mul(self.roads.load().approach_count())
            / index.len();
        if expected_walk <= self.settle_budget
            && let Some(found) = self.dense(index, ids, query, self.settle_budget)
        {
            return found;
        }
        self.sparse(index, ids, query)
    }

    /// By walking the roads; `None` when the budget is spent before the answer is certain.
    pub fn dense(
        &self,
        index: &Index,
        ids: &[DriverId],
        query: &Query<'_>,
        settle_budget: usize,
    ) -> Option<Vec<Found>> {
        self.with_scratch(|scratch| {
            let roads = scratch.pair.network().clone();
            let roads = &roads;
            let walk = &mut scratch.expansion;
            let mut best = Best::new(query, ids);
            for driver in index.on_segment(query.target.segment) {
                if let Some(post) = wanted(index, ids, query, driver)
                    && let Some(time_ms) = roads.time_along_segment_ms(&post.snap, &query.target)
                {
                    best.offer(Found { driver, time_ms });
                }
            }
            walk.aim(&query.target, settle_budget);
            loop {
                match walk.next_time_ms() {
                    // Whoever is still to come needs at least this long. One that needs exactly as
                    // long as the last of the best may have the smaller id.
                    Some(time_ms) if best.excludes(time_ms) => break,
                    Some(_) => {}
                    None => break,
                }
                let Some(settled) = walk.next() else {
                    if walk.budget_left() == 0 {
                        return None;
                    }
                    break;
                };
                for &arc in roads.arcs_of(settled.approach) {
                    for driver in index.on_segment(roads.arc(arc).segment) {
                        let Some(post) = wanted(index, ids, query, driver) else {
                            continue;
                        };
                        let rest = roads.stubs_out(&post.snap).find(|stub| stub.arc == arc);
                        if let Some(rest) = rest {
                            let time_ms = settled.time_ms.saturating_add(rest.time_ms);
                            best.offer(Found { driver, time_ms });
                        }
                    }
                }
            }
            Some(best.found)
        })
    }

    /// By straight-line distance first.
    pub fn sparse(&self, index: &Index, ids: &[DriverId], query: &Query<'_>) -> Vec<Found> {
        self.with_scratch(|scratch| {
            let roads = scratch.pair.network().clone();
            let roads = &roads;
            let top_m_per_ms = roads.top_speed_m_per_s() / 1000.0;
            let here = query.target.point;
            let mut best = Best::new(query, ids);
            scratch.target.aim(&query.target);
            for (least_m, drivers) in index.cells_from(here) {
                if best.excludes((least_m / top_m_per_ms) as u32) {
                    break;
                }
                for &driver in drivers {
                    let Some(post) = wanted(index, ids, query, driver) else {
                        continue;
                    };
                    if best.excludes(roads.travel_ms_min(post.snap.point, here)) {
                        continue;
                    }
                    if let Some(time_ms) = scratch.target.time_from(&post.snap) {
                        best.offer(Found { driver, time_ms });
                    }
                }
            }
            best.found
        })
    }

    /// How long and how far it is from one place to another.
    pub fn travel(&self, from: &Snap, to: &Snap) -> Option<Travel> {
        self.with_scratch(|scratch| scratch.pair.travel(from, to))
    }

    /// The way from one place to another.
    pub fn route(&self, from: &Snap, to: &Snap) -> Option<Route> {
        self.with_scratch(|scratch| scratch.pair.route(from, to))
    }

    /// Travel times from many places to one, in milliseconds; `None` where there is no way.
    pub fn times_to(&self, target: &Snap, from: &[Snap]) -> Vec<Option<u32>> {
        self.with_scratch(|scratch| {
            scratch.target.aim(target);
            from.iter()
                .map(|from| scratch.target.time_from(from))
                .collect()
        })
    }

    /// See [`RoadNetwork::travel_ms_min`].
    pub fn travel_ms_min(&self, from: LatLon, to: LatLon) -> u32 {
        self.roads.load().travel_ms_min(from, to)
    }

    fn with_scratch<T>(&self, search: impl FnOnce(&mut Scratch) -> T) -> T {
        let pooled = || self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = pooled().pop();
        let roads = self.roads.load();
        let mut scratch = taken.unwrap_or_else(|| {
            let network = RoadNetwork::clone(&roads);
            Scratch {
                expansion: BackwardExpansion::new(network.clone()),
                target: TargetSearch::new(network.clone()),
                pair: PairSearch::new(network),
            }
        });
        if !scratch.pair.network().is_same(&roads) {
            scratch.expansion.rebind(RoadNetwork::clone(&roads));
            scratch.target.rebind(RoadNetwork::clone(&roads));
            scratch.pair.rebind(RoadNetwork::clone(&roads));
        }
        let answer = search(&mut scratch);
        pooled().push(scratch);
        answer
    }
}

/// Where the driver stands, if they are among those asked for.
fn wanted(index: &Index, ids: &[DriverId], query: &Query<'_>, driver: DriverKey) -> Option<Post> {
    let post = index
        .post(driver)
        .filter(|post| post.products.meets(query.products))?;
    (!(query.excludes)(ids.get(driver.index())?)).then_some(post)
}

/// The best so far, in order.
struct Best<'a> {
    count: usize,
    within_ms: u32,
    ids: &'a [DriverId],
    found: Vec<Found>,
}

impl<'a> Best<'a> {
    fn new(query: &Query<'_>, ids: &'a [DriverId]) -> Self {
        Self {
            count: query.count,
            within_ms: query.within_ms,
            ids,
            found: Vec::with_capacity(query.count.min(128)),
        }
    }

    /// Whether nobody who needs that long gets in, whatever their id.
    fn excludes(&self, time_ms: u32) -> bool {
        let is_full = self.found.len() == self.count;
        time_ms > self.within_ms
            || (is_full && self.found.last().is_some_and(|last| time_ms > last.time_ms))
    }

    /// Takes a driver in, or their shorter time.
    fn offer(&mut self, new: Found) {
        if self.excludes(new.time_ms) {
            return;
        }
        if let Some(place) = self
            .found
            .iter()
            .position(|found| found.driver == new.driver)
        {
            if self.found[place].time_ms <= new.time_ms {
                return;
            }
            self.found.remove(place);
        }
        let key = |found: &Found| (found.time_ms, &self.ids[found.driver.index()]);
        let place = self.found.partition_point(|found| key(found) < key(&new));
        self.found.insert(place, new);
        self.found.truncate(self.count);
    }
}

#[cfg(test)]
mod tests;
