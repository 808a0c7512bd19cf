//! Zones where drivers queue, first come first served.

use jitney_roads::LatLon;

use crate::config::ZoneConfig;

/// A zone's place among those configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ZoneNo(u32);

/// The zones of a city.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    zones: Vec<(LatLon, f64)>,
}

impl Zones {
    /// The zones of a configuration that was checked.
    pub fn new(zones: &[ZoneConfig]) -> Self {
        let zone = |zone: &ZoneConfig| {
            let centre = LatLon::new(zone.latitude, zone.longitude).ok()?;
            Some((centre, zone.radius_m))
        };
        Self {
            zones: zones.iter().filter_map(zone).collect(),
        }
    }

    /// The zone a place lies in; of several the first.
    pub fn at(&self, place: LatLon) -> Option<ZoneNo> {
        let is_inside = |(centre, radius_m): &(LatLon, f64)| centre.distance_m(place) <= *radius_m;
        let number = self.zones.iter().position(is_inside)?;
        u32::try_from(number).ok().map(ZoneNo)
    }
}
