//! One way's tags, read for cars: may they, which way round, how fast, and what is the street
//! called.

use crate::graph::RoadClass;

use super::access::{Access, car_access, closed_directions};
use super::direction::{Directions, directions};
use super::speed::{Speeds, speeds_kmh};

/// The tags of one element. Few enough that looking through them beats hashing.
#[derive(Clone, Debug, Default)]
pub struct Tags<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Tags<'a> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, value)| value.trim())
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().map(|(key, _)| *key)
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Tags<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        Self {
            pairs: pairs.into_iter().collect(),
        }
    }
}

impl<'a> From<&[(&'a str, &'a str)]> for Tags<'a> {
    fn from(pairs: &[(&'a str, &'a str)]) -> Self {
        Self {
            pairs: pairs.to_vec(),
        }
    }
}

/// A way a car may drive.
#[derive(Clone, Debug, PartialEq)]
pub struct CarWay {
    /// How important it is.
    pub class: RoadClass,
    /// Name of the street, or its reference.
    pub street: Option<String>,
    /// Speed from the first node to the last in km/h; `None` when that is forbidden.
    pub forward_kmh: Option<f64>,
    /// Speed from the last node to the first in km/h; `None` when that is forbidden.
    pub backward_kmh: Option<f64>,
    /// Whether a speed limit was read, rather than the class's usual speed taken.
    pub has_limit: bool,
    /// For those who begin or end there.
    pub destination_only: bool,
}

/// Why a way is not for cars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForCars {
    /// Not a highway at all: a building, a river.
    NotARoad,
    /// A ferry's line: when the next one goes, nobody knows.
    Ferry,
    /// A footway, a cycleway, a track, one being built.
    OtherHighway,
    /// An open space, not a line.
    Area,
    /// Cars, or everybody, are kept out.
    NoAccess,
    /// Its direction changes with the hour.
    Reversible,
}

/// Reads one way's tags.
///
/// # Errors
/// Why it is not for cars.
pub fn car_way(tags: &Tags<'_>) -> Result<CarWay, NotForCars> {
    if tags.get("route") == Some("ferry") {
        return Err(NotForCars::Ferry);
    }
    let highway = tags.get("highway").ok_or(NotForCars::NotARoad)?;
    let (class, is_ramp) = road_class(highway).ok_or(NotForCars::OtherHighway)?;
    if tags.get("area") == Some("yes") {
        return Err(NotForCars::Area);
    }
    let access = car_access(tags);
    let [no_forward, no_backward] = closed_directions(tags);
    if access == Some(Access::Closed)
        || (no_forward && no_backward)
        || tags.get("service") == Some("emergency_access")
    {
        return Err(NotForCars::NoAccess);
    }
    let Speeds {
        forward_kmh,
        backward_kmh,
        has_limit,
    } = speeds_kmh(tags, class, is_ramp);
    let (forward, backward) = match directions(tags) {
        Directions::Both => (true, true),
        Directions::Forward => (true, false),
        Directions::Backward => (false, true),
        Directions::Reversible => return Err(NotForCars::Reversible),
    };
    let (forward, backward) = (forward && !no_forward, backward && !no_backward);
    if !forward && !backward {
        return Err(NotForCars::NoAccess);
    }
    let street = ["name", "ref"]
        .iter()
        .find_map(|key| tags.get(key))
        .filter(|name| !name.is_empty());
    Ok(CarWay {
        class,
        street: street.map(str::to_owned),
        forward_kmh: forward.then_some(forward_kmh),
        backward_kmh: backward.then_some(backward_kmh),
        has_limit,
        destination_only: access == Some(Access::DestinationOnly),
    })
}

/// The class of a `highway` value, and whether it is a ramp; `None` for those not made for cars.
#[must_use]
pub fn road_class(highway: &str) -> Option<(RoadClass, bool)> {
    let (road, is_ramp) = match highway.strip_suffix("_link") {
        Some(road) => (road, true),
        None => (highway, false),
    };
    let class = match road {
        "motorway" => RoadClass::Motorway,
        "trunk" => RoadClass::Trunk,
        "primary" => RoadClass::Primary,
        "secondary" => RoadClass::Secondary,
        "tertiary" => RoadClass::Tertiary,
        "unclassified" | "road" => RoadClass::Unclassified,
        "residential" => RoadClass::Residential,
        "living_street" => RoadClass::LivingStreet,
        "service" => RoadClass::Service,
        _ => return None,
    };
    Some((class, is_ramp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tags: &[(&'static str, &'static str)]) -> Result<CarWay, NotForCars> {
        car_way(&Tags::from(tags))
    }

    #[test]
    fn what_is_not_for_cars_and_why() {
        assert_eq!(read(&[("building", "yes")]), Err(NotForCars::NotARoad));
        let ferry = [("route", "ferry"), ("motorcar", "yes")];
        assert_eq!(read(&ferry), Err(NotForCars::Ferry));
        assert_eq!(
            read(&[ferry[0], ("highway", "primary")]),
            Err(NotForCars::Ferry)
        );
        assert_eq!(
            read(&[("highway", "footway")]),
            Err(NotForCars::OtherHighway)
        );
        assert_eq!(
            read(&[("highway", "construction")]),
            Err(NotForCars::OtherHighway)
        );
        assert_eq!(
            read(&[("highway", "service"), ("area", "yes")]),
            Err(NotForCars::Area)
        );
        assert_eq!(
            read(&[("highway", "service"), ("access", "private")]),
            Err(NotForCars::NoAccess)
        );
        assert_eq!(
            read(&[("highway", "service"), ("service", "emergency_access")]),
            Err(NotForCars::NoAccess)
        );
        assert_eq!(
            read(&[("highway", "trunk"), ("oneway", "reversible")]),
            Err(NotForCars::Reversible)
        );
    }

    #[test]
    fn a_direction_closed_to_cars_is_not_driven() {
        let directions = |tags: &[(&'static str, &'static str)]| {
            let way = read(tags).unwrap();
            (way.forward_kmh.is_some(), way.backward_kmh.is_some())
        };
        let street = ("highway", "residential");
        assert_eq!(directions(&[street]), (true, true));
        let downhill = ("motor_vehicle:backward", "no");
        assert_eq!(directions(&[street, downhill]), (true, false));
        let buses_back = [street, ("oneway", "-1"), downhill];
        assert_eq!(read(&buses_back), Err(NotForCars::NoAccess));
        let neither = [street, ("vehicle:forward", "no"), downhill];
        assert_eq!(read(&neither), Err(NotForCars::NoAccess));
    }

    #[test]
    fn a_street_keeps_its_name_and_a_highway_its_number() {
        let street = |tags: &[(&'static str, &'static str)]| read(tags).unwrap().street;
        assert_eq!(
            street(&[
                ("highway", "primary"),
                ("ref", "D 6098"),
                ("name", "Avenue Prince")
            ])
            .as_deref(),
            Some("Avenue Prince")
        );
        assert_eq!(
            street(&[("highway", "motorway"), ("ref", "A 8")]).as_deref(),
            Some("A 8")
        );
        assert_eq!(street(&[("highway", "service")]), None);
    }

    #[test]
    fn every_car_road_has_a_class() {
        assert_eq!(
            road_class("motorway_link"),
            Some((RoadClass::Motorway, true))
        );
        assert_eq!(road_class("road"), Some((RoadClass::Unclassified, false)));
        assert_eq!(
            road_class("living_street"),
            Some((RoadClass::LivingStreet, false))
        );
        assert_eq!(road_class("cycleway"), None);
        assert_eq!(road_class(""), None);
    }
}
