//! Reads the fields of requests into domain types, and refuses what is none by the field's name.

#![allow(clippy::result_large_err)] // Status is what every handler answers.

use chrono::{DateTime, SubsecRound, Utc};
use jitney_platform::auth::{Caller, Role};
use jitney_proto::{
    Code,
    billing::v1::PaymentMethod,
    common::v1::Point,
    geo::checked,
    ids::{DriverId, IdError, OfferId, RiderId, TripId},
    time::moment,
    trips::v1 as wire,
};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::Status;

use crate::{
    create::Asked,
    error::Error,
    state::State,
    store::list::Whose,
    trip::{Actor, By, Place},
    view::Viewer,
};

/// Characters of a reason, at most.
const REASON_CHARS_MAX: usize = 200;
/// Characters of a comment or a note, at most.
const WORDS_CHARS_MAX: usize = 500;
/// Characters of an idempotency key, at most.
const KEY_CHARS_MAX: usize = 128;

/// The trip of a request.
pub(crate) fn trip_id(text: &str) -> Result<TripId, Status> {
    text.parse()
        .map_err(|error: IdError| error.status("trip_id"))
}

/// The offer of a request.
pub(crate) fn offer_id(text: &str) -> Result<OfferId, Status> {
    text.parse()
        .map_err(|error: IdError| error.status("offer_id"))
}

/// An id that may be left out.
pub(crate) fn optional<T: std::str::FromStr<Err = IdError>>(
    text: &str,
    field: &str,
) -> Result<Option<T>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|error: IdError| error.status(field))
}

/// The refusal of a field.
pub(crate) fn bad_field(field: &'static str, problem: &str) -> Status {
    Error::BadField {
        field,
        problem: problem.to_owned(),
    }
    .into()
}

/// A place that must be given.
pub(crate) fn place(point: Option<&Point>, field: &str) -> Result<Place, Status> {
    checked(point, field).map(|(latitude, longitude)| Place {
        latitude,
        longitude,
    })
}

pub(crate) fn optional_place(point: Option<&Point>, field: &str) -> Result<Option<Place>, Status> {
    point.map(|point| place(Some(point), field)).transpose()
}

/// The stops of a way.
pub(crate) fn places(points: &[Point], most: usize) -> Result<Vec<Place>, Status> {
    if points.len() > most {
        let problem = format!("has {} stops; the most is {most}", points.len());
        return Err(bad_field("stops", &problem));
    }
    let stops = points.iter().enumerate();
    stops
        .map(|(number, point)| place(Some(point), &format!("stops[{number}]")))
        .collect()
}

/// A moment that may be left out, as finely as the database keeps it.
pub(crate) fn optional_moment(
    at: Option<&prost_types::Timestamp>,
    field: &str,
) -> Result<Option<DateTime<Utc>>, Status> {
    let at = at.map(|at| moment(at, field)).transpose()?;
    Ok(at.map(|at| at.trunc_subsecs(6)))
}

/// The rider a request is for: the caller, unless operators or services name another. A rider who
/// names another learns nothing of them.
pub(crate) fn rider(caller: &Caller, text: &str) -> Result<RiderId, Status> {
    let named: Option<RiderId> = optional(text, "rider_id")?;
    match (caller.role, named) {
        (Role::Rider, None) => caller.rider_id(),
        (Role::Rider, Some(named)) if named.as_str() != caller.id => {
            Err(Error::NotFound("rider").into())
        }
        (_, Some(named)) => Ok(named),
        (_, None) => Err(bad_field(
            "rider_id",
            "is required of operators and services",
        )),
    }
}

/// In which part a caller does something.
pub(crate) fn by(caller: &Caller) -> By {
    By {
        actor: match caller.role {
            Role::Rider => Actor::Rider,
            Role::Driver => Actor::Driver,
            Role::Operator => Actor::Operator,
            Role::Service | Role::Guest => Actor::System,
        },
        id: caller.id.clone(),
    }
}

/// Words for people, of a field.
pub(crate) fn words(text: String, field: &'static str) -> Result<String, Status> {
    if text.chars().count() > WORDS_CHARS_MAX {
        return Err(bad_field(field, "has more than 500 characters"));
    }
    let is_odd = |char: char| char.is_control() && char != '\n';
    if text.chars().any(is_odd) {
        return Err(bad_field(field, "has control characters"));
    }
    Ok(text)
}

/// A reason for people.
pub(crate) fn reason(text: String) -> Result<String, Status> {
    if text.chars().count() > REASON_CHARS_MAX {
        return Err(bad_field("reason", "has more than 200 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(bad_field("reason", "has control characters"));
    }
    Ok(text)
}

/// What CreateTrip asks for.
pub(crate) fn asked(
    caller: &Caller,
    request: wire::CreateTripRequest,
    stops_max: usize,
) -> Result<Asked, Status> {
    let key = request.idempotency_key.clone();
    if key.is_empty() {
        return Err(bad_field("idempotency_key", "is required"));
    }
    if key.chars().count() > KEY_CHARS_MAX || key.chars().any(char::is_control) {
        return Err(bad_field(
            "idempotency_key",
            "is not 1 to 128 printable characters",
        ));
    }
    let rider_id = rider(caller, &request.rider_id)?;
    Ok(Asked {
        by: by(caller),
        asked_by: caller.id.clone(),
        viewer: Viewer::of(caller)?,
        hash: hash(&rider_id, &request),
        key,
        quote_id: optional(&request.quote_id, "quote_id")?,
        pickup: optional_place(request.pickup.as_ref(), "pickup")?,
        stops: places(&request.stops, stops_max)?,
        dropoff: optional_place(request.dropoff.as_ref(), "dropoff")?,
        product: optional(&request.product, "product")?,
        reservation_id: optional(&request.reservation_id, "reservation_id")?,
        seats: seats(request.seats)?,
        pickup_at: optional_moment(request.pickup_at.as_ref(), "pickup_at")?,
        payment_method: payment_method(request.payment_method)?,
        rider_id,
    })
}

/// Riders of a request: 1 when it does not say. No car is larger than the largest.
fn seats(seats: u32) -> Result<u32, Status> {
    const LARGEST: u32 = 100;
    if seats > LARGEST {
        return Err(bad_field("seats", "is more than any car has"));
    }
    Ok(seats.max(1))
}

/// How a ride is paid: by card when the request does not say.
fn payment_method(method: i32) -> Result<PaymentMethod, Status> {
    match PaymentMethod::try_from(method) {
        Ok(PaymentMethod::Unspecified) => Ok(PaymentMethod::Card),
        Ok(method) => Ok(method),
        Err(_) => Err(bad_field("payment_method", "is not known")),
    }
}

/// What makes two requests the same: everything but the key, whoever sent them and whether or not they
/// spelled out the rider.
fn hash(rider_id: &RiderId, request: &wire::CreateTripRequest) -> Vec<u8> {
    let canonical = wire::CreateTripRequest {
        rider_id: rider_id.to_string(),
        idempotency_key: String::new(),
        // Not said is one.
        seats: request.seats.max(1) - 1,
        // Not said is by card.
        payment_method: match request.payment_method() {
            PaymentMethod::Unspecified | PaymentMethod::Card => 0,
            PaymentMethod::Cash => PaymentMethod::Cash.into(),
        },
        ..request.clone()
    };
    Sha256::digest(canonical.encode_to_vec()).to_vec()
}

/// Whose trips ListTrips lists.
pub(crate) fn whose(viewer: &Viewer, request: &wire::ListTripsRequest) -> Result<Whose, Status> {
    let rider: Option<RiderId> = optional(&request.rider_id, "rider_id")?;
    let driver: Option<DriverId> = optional(&request.driver_id, "driver_id")?;
    match viewer {
        Viewer::Staff => Ok(Whose::All(rider, driver)),
        // Naming oneself is no filter.
        Viewer::Rider(own)
            if driver.is_none() && rider.as_ref().is_none_or(|rider| rider == own) =>
        {
            Ok(Whose::Rider(own.clone()))
        }
        Viewer::Driver(own)
            if rider.is_none() && driver.as_ref().is_none_or(|driver| driver == own) =>
        {
            Ok(Whose::Driver(own.clone()))
        }
        Viewer::Rider(_) | Viewer::Driver(_) | Viewer::Guest(..) => {
            Err(Code::PermissionDenied
                .status("only operators and services list the trips of others"))
        }
    }
}

/// The states ListTrips lists; all when there are none.
pub(crate) fn states(wanted: &[i32]) -> Result<Vec<State>, Status> {
    wanted
        .iter()
        .map(|&number| {
            wire::TripState::try_from(number)
                .ok()
                .and_then(State::from_wire)
                .ok_or_else(|| bad_field("states", "has one that is not a trip's state"))
        })
        .collect()
}
