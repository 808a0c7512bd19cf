//! The city's streets as its people use them: places where somebody may stand, and ways between
//! them.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use jitney_proto::common::v1::Point;
use jitney_roads::{LatLon, PairSearch, RoadClass, RoadNetwork, Route, SegmentId, Snap};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A road network to stand on and drive along.
pub(crate) struct Streets {
    network: Arc<RoadNetwork>,
    /// Segments where one may stand, with the length of all before and including each, millimetres.
    kerbs: Vec<(u64, SegmentId)>,
    /// Scratch space of searches that are not running.
    searches: Mutex<Vec<PairSearch>>,
}

impl Streets {
    /// The streets no farther than `radius_m` from the middle of the map. Fails where there are none.
    pub fn new(network: Arc<RoadNetwork>, radius_m: Option<f64>) -> anyhow::Result<Self> {
        let middle = network.bounds().centre();
        let is_near = |node| {
            radius_m.is_none_or(|max_m| network.node_position(node).distance_m(middle) <= max_m)
        };
        let mut total_mm = 0;
        let mut kerbs = Vec::new();
        for segment in network.segments() {
            let has_kerb = !matches!(segment.class(), RoadClass::Motorway | RoadClass::Trunk);
            if has_kerb && is_near(segment.tail()) && is_near(segment.head()) {
                total_mm += u64::from(segment.length_mm());
                kerbs.push((total_mm, segment.id()));
            }
        }
        ensure!(
            total_mm > 0,
            "the map {:?} has no street to stand on{}",
            network.name(),
            radius_m.map_or(String::new(), |max_m| format!(
                " within {max_m} m of its middle"
            ))
        );
        Ok(Self {
            network,
            kerbs,
            searches: Mutex::default(),
        })
    }

    /// The network.
    pub fn network(&self) -> &RoadNetwork {
        &self.network
    }

    /// A place at a street, every metre of street as likely as any other; motorways and the like
    /// are left out.
    pub fn place(&self, chance: &mut ChaCha8Rng) -> Snap {
        let (total_mm, _) = self.kerbs[self.kerbs.len() - 1];
        let mark_mm = chance.random_range(0..total_mm);
        let index = self.kerbs.partition_point(|(end_mm, _)| *end_mm <= mark_mm);
        let (end_mm, segment) = self.kerbs[index];
        // Less than the segment's length, which fits.
        let back_mm = u32::try_from(end_mm - mark_mm).unwrap_or(0);
        let length_mm = self
            .network
            .segment(segment)
            .map_or(0, |segment| segment.length_mm());
        self.network
            .snap_on_segment(segment, length_mm.saturating_sub(back_mm))
    }

    /// The place nearest to a point, if the map has one within half a kilometre.
    pub fn nearest(&self, point: &Point) -> Option<Snap> {
        let place = LatLon::new(point.latitude, point.longitude).ok()?;
        self.network.snap(place, 500.0).ok()
    }

    /// The fastest way; `None` when there is none.
    pub fn route(&self, from: &Snap, to: &Snap) -> Option<Route> {
        let idle = self.searches().pop();
        let mut search = idle.unwrap_or_else(|| PairSearch::new((*self.network).clone()));
        let route = search.route(from, to);
        self.searches().push(search);
        route
    }

    fn searches(&self) -> std::sync::MutexGuard<'_, Vec<PairSearch>> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place as the API writes it.
pub(crate) fn point(place: LatLon) -> Point {
    Point::new(place.lat(), place.lon())
}
