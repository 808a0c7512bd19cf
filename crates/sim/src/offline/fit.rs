//! Moving demand from the city it was seen in to the city of the map: shifted and scaled as a whole, so
//! that its clusters and distances keep their proportions.

use jitney_roads::{LatLon, NodeId, RoadNetwork};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Metres of a degree of latitude.
const DEGREE_M: f64 = 111_195.0;

/// The share of points on each side that a box leaves out: a few far away must not shrink all others.
const OUTLIERS: f64 = 0.01;

/// A shift and a scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fit {
    from_lat: f64,
    from_lon: f64,
    to_lat: f64,
    to_lon: f64,
    /// How many metres on the map a metre of the demand becomes.
    pub scale: f64,
}

impl Fit {
    /// Brings the middle of these places to the middle of the map's junctions, so that the box around
    /// them is as large as `share` of the box around the junctions in the one direction and at most that
    /// large in the other. The boxes leave one in a hundred out on each side; the middles are medians, so
    /// that downtown comes to downtown and not where both boxes have theirs: many a city lies at the edge
    /// of its box, by the sea. `None` without places, or where they all are the same.
    pub fn onto(roads: &RoadNetwork, places: &[LatLon], share: f64) -> Option<Self> {
        let nodes = 0..u32::try_from(roads.node_count()).ok()?;
        let junctions: Vec<LatLon> = nodes
            .map(|node| roads.node_position(NodeId(node)))
            .collect();
        let (from, to) = (Extent::of(places)?, Extent::of(&junctions)?);
        let stretch = |from_m: f64, to_m: f64| {
            if from_m > 0.0 {
                to_m / from_m
            } else {
                f64::INFINITY
            }
        };
        let scale =
            share * stretch(from.width_m, to.width_m).min(stretch(from.height_m, to.height_m));
        scale.is_finite().then_some(Self {
            from_lat: from.lat,
            from_lon: from.lon,
            to_lat: to.lat,
            to_lon: to.lon,
            scale,
        })
    }

    /// Where a place goes; `None` off the Earth.
    pub fn apply(&self, place: LatLon) -> Option<LatLon> {
        let north = place.lat() - self.from_lat;
        let east = (place.lon() - self.from_lon) * self.from_lat.to_radians().cos();
        let lat = self.to_lat + north * self.scale;
        let lon = self.to_lon + east * self.scale / self.to_lat.to_radians().cos();
        LatLon::new(lat, lon).ok()
    }
}

/// The middle of some places, and the box around most of them.
struct Extent {
    lat: f64,
    lon: f64,
    width_m: f64,
    height_m: f64,
}

impl Extent {
    fn of(places: &[LatLon]) -> Option<Self> {
        let range = |value: fn(LatLon) -> f64| {
            let mut values: Vec<f64> = places.iter().map(|&place| value(place)).collect();
            values.sort_unstable_by(f64::total_cmp);
            let last = values.len().checked_sub(1)?;
            let left_out = (last as f64 * OUTLIERS).round() as usize;
            Some((values[left_out], values[last / 2], values[last - left_out]))
        };
        let (south, lat, north) = range(LatLon::lat)?;
        let (west, lon, east) = range(LatLon::lon)?;
        Some(Self {
            lat,
            lon,
            width_m: (east - west) * DEGREE_M * lat.to_radians().cos(),
            height_m: (north - south) * DEGREE_M,
        })
    }
}

/// A place around another: normally distributed in both directions, `spread_m` being one standard
/// deviation.
pub(crate) fn scatter(chance: &mut ChaCha8Rng, place: LatLon, spread_m: f64) -> LatLon {
    // Box and Muller's way; the share is above 0, so that its logarithm is finite.
    let distance = (-2.0 * (1.0 - chance.random::<f64>()).ln()).sqrt() * spread_m;
    let angle = chance.random::<f64>() * std::f64::consts::TAU;
    let lat = place.lat() + distance * angle.sin() / DEGREE_M;
    let shrunk = DEGREE_M * place.lat().to_radians().cos().max(0.01);
    LatLon::new(lat, place.lon() + distance * angle.cos() / shrunk).unwrap_or(place)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jitney_roads::testmap;

    use super::*;

    fn place(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    #[test]
    fn demand_comes_to_the_middle_with_its_proportions() {
        let roads = testmap::grid(20, 20, 100.0);
        // 200 places on a line from west to east, 100 km long, and one at the end of the world.
        let mut places: Vec<LatLon> = (0..200)
            .map(|step| place(60.0, 10.0 + f64::from(step) * 0.009))
            .collect();
        places.push(place(-60.0, -170.0));
        let fit = Fit::onto(&roads, &places, 0.5).unwrap();
        let moved: Vec<LatLon> = places.iter().map(|&p| fit.apply(p).unwrap()).collect();
        let extent = Extent::of(&moved[..200]).unwrap();
        let whole = Extent::of(
            &(0..roads.node_count() as u32)
                .map(|node| roads.node_position(NodeId(node)))
                .collect::<Vec<_>>(),
        )
        .unwrap();
        assert!((extent.width_m / whole.width_m - 0.5).abs() < 0.01);
        let middle = place(extent.lat, extent.lon);
        assert!(middle.distance_m(place(whole.lat, whole.lon)) < whole.width_m * 0.02);
        // Every distance changed alike.
        for pair in [(0, 1), (0, 100), (50, 199)] {
            let before = places[pair.0].distance_m(places[pair.1]);
            let after = moved[pair.0].distance_m(moved[pair.1]);
            assert!((after / before / fit.scale - 1.0).abs() < 0.02);
        }
    }

    #[test]
    fn nothing_or_one_place_cannot_be_fitted() {
        let roads = testmap::grid(4, 4, 100.0);
        assert_eq!(Fit::onto(&roads, &[], 0.5), None);
        assert_eq!(Fit::onto(&roads, &[place(1.0, 1.0); 5], 0.5), None);
    }
}
