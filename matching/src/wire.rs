//! Between the words of this crate and those of the API.

use jitney_proto::{
    common::v1::{Point, Route, RouteStep},
    matching::v1 as wire,
    time::timestamp,
};
use jitney_roads::{LatLon, RoadNetwork, Snap, Step};

use crate::{
    error::Refusal,
    fleet::{DriverKey, Fleet, Vehicle},
    nearest::Nearest,
    product::Catalogue,
    rides::{Live, Stop},
};

/// A place, on the wire.
pub fn point(place: LatLon) -> Point {
    Point::new(place.lat(), place.lon())
}

/// A place of a request.
///
/// # Errors
/// [`Refusal::BadField`] when it is missing or not on Earth.
pub fn place(point: Option<&Point>, field: &str) -> Result<LatLon, Refusal> {
    let point = point.ok_or_else(|| Refusal::bad_field(field, "is required"))?;
    LatLon::new(point.latitude, point.longitude).map_err(|error| Refusal::off_road(field, &error))
}

/// A place of a request, on the road.
///
/// # Errors
/// [`Refusal::BadField`] as [`place`], and [`Refusal::OutsideMap`].
pub fn on_road(
    roads: &RoadNetwork,
    distance_max_m: f64,
    point: Option<&Point>,
    field: &str,
) -> Result<Snap, Refusal> {
    let place = place(point, field)?;
    roads
        .snap(place, distance_max_m)
        .map_err(|error| Refusal::off_road(field, &error))
}

/// A vehicle of a request.
///
/// # Errors
/// [`Refusal::BadField`] when a text is too long.
pub fn vehicle(vehicle: wire::Vehicle) -> Result<Vehicle, Refusal> {
    let limits = [
        ("plate", &vehicle.plate, 16),
        ("description", &vehicle.description, 80),
    ];
    for (field, text, most) in limits {
        if text.chars().count() > most || text.chars().any(char::is_control) {
            let problem = format!("must be at most {most} printable characters");
            return Err(Refusal::bad_field(format!("vehicle.{field}"), problem));
        }
    }
    Ok(Vehicle {
        plate: vehicle.plate,
        description: vehicle.description,
    })
}

/// A driver, on the wire.
pub fn driver(fleet: &Fleet, catalogue: &Catalogue, key: DriverKey) -> wire::Driver {
    let driver = fleet.driver(key);
    let fix = driver.fix.as_ref();
    let rides = driver.standing.rides();
    let trip = |live: Option<&Live>| {
        live.map(|live| live.ride.trip.to_string())
            .unwrap_or_default()
    };
    wire::Driver {
        driver_id: fleet.id(key).to_string(),
        state: driver.standing.state().into(),
        location: fix.map(|fix| point(fix.place)),
        heading_degrees: fix.and_then(|fix| fix.heading_deg),
        located_at: fix.map(|fix| timestamp(fix.at)),
        products: catalogue
            .ids(driver.products)
            .map(ToString::to_string)
            .collect(),
        vehicle: driver.vehicle.as_ref().map(|vehicle| wire::Vehicle {
            plate: vehicle.plate.clone(),
            description: vehicle.description.clone(),
        }),
        trip_id: trip(rides.first()),
        second_trip_id: trip(rides.second().map(|second| &second.live)),
        stops: rides.stops().iter().map(stop).collect(),
        destination: driver.destination.map(point),
    }
}

/// A stop, on the wire.
pub fn stop(stop: &Stop) -> wire::PlannedStop {
    wire::PlannedStop {
        trip_id: stop.trip.to_string(),
        kind: stop.kind.into(),
        location: stop.place.map(point),
    }
}

/// The fastest way between two snaps, on the wire; `None` when there is none.
pub fn route(nearest: &Nearest, from: &Snap, to: &Snap) -> Option<Route> {
    let route = nearest.route(from, to)?;
    Some(Route {
        distance_meters: i64::from(route.travel.distance_m),
        duration_ms: i64::from(route.travel.duration_ms),
        line: route.line.into_iter().map(point).collect(),
        steps: route.steps.into_iter().map(step).collect(),
    })
}

fn step(step: Step) -> RouteStep {
    RouteStep {
        street: step.street.unwrap_or_default(),
        distance_meters: step.distance_m.round() as i64,
        duration_ms: i64::from(step.duration_ms),
        line_start: i32::try_from(step.line_start).unwrap_or(i32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plates_are_short() {
        let of = |plate: &str| {
            vehicle(wire::Vehicle {
                plate: plate.into(),
                description: "white van".into(),
            })
        };
        assert!(of("AB 123 CD").is_ok());
        assert!(of("ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ").is_ok(), "characters, not bytes");
        assert!(of("12345678901234567").is_err());
        assert!(of("A\nB").is_err());
    }
}
