//! Who sees what of a trip. The rider sees the PIN; the driver it is offered to or driven by sees the
//! trip without it; operators and services see everything but the PIN; who has a link sees where the ride
//! and its driver are, and no names or money; nobody else sees anything.

use chrono::{DateTime, Utc};
use jitney_platform::auth::{Caller, Role};
use jitney_proto::{
    Code,
    billing::v1::PaymentMethod,
    common::v1::Point,
    ids::{DriverId, RiderId, TripId},
    time::timestamp,
    trips::v1 as wire,
};
use tonic::Status;

use crate::{
    store::sos::Sos,
    trip::{LogEntry, Offer, Place, Trip},
};

/// Who looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Viewer {
    /// A rider.
    Rider(RiderId),
    /// A driver.
    Driver(DriverId),
    /// An operator or a service.
    Staff,
    /// Whoever has a link to this trip, until then.
    Guest(TripId, DateTime<Utc>),
}

impl Viewer {
    /// The viewer a caller is.
    ///
    /// # Errors
    /// UNAUTHENTICATED when the token's id is not one, PERMISSION_DENIED for guests, whose link has to be
    /// looked up: see [`crate::share::viewer`].
    #[allow(clippy::result_large_err)] // Status is what every handler answers.
    pub fn of(caller: &Caller) -> Result<Viewer, Status> {
        Ok(match caller.role {
            Role::Rider => Viewer::Rider(caller.rider_id()?),
            Role::Driver => Viewer::Driver(caller.driver_id()?),
            Role::Operator | Role::Service => Viewer::Staff,
            Role::Guest => {
                return Err(Code::PermissionDenied.status("a link shows a trip, and no more"));
            }
        })
    }

    /// Whether they may see the trip at all.
    pub fn sees(&self, trip: &Trip) -> bool {
        match self {
            Viewer::Rider(rider) => trip.rider_id == *rider,
            Viewer::Driver(driver) => {
                trip.is_driven_by(driver)
                    || trip
                        .open_offer()
                        .is_some_and(|offer| offer.driver_id == *driver)
            }
            Viewer::Staff => true,
            Viewer::Guest(trip_id, _) => trip.trip_id == *trip_id,
        }
    }
}

/// The trip as a viewer sees it; `None` when they do not.
pub fn of(trip: &Trip, viewer: &Viewer) -> Option<wire::Trip> {
    viewer.sees(trip).then(|| shown(trip, viewer))
}

/// The trip as it is answered to one whose command was carried out, also when it took the trip out of
/// their sight: a driver who gave it back reads where it stands, and nothing of the next driver.
pub fn answered(trip: &Trip, viewer: &Viewer) -> wire::Trip {
    shown(trip, viewer)
}

fn shown(trip: &Trip, viewer: &Viewer) -> wire::Trip {
    let sees_driver = match viewer {
        Viewer::Driver(driver) => trip.is_driven_by(driver),
        Viewer::Rider(_) | Viewer::Staff | Viewer::Guest(..) => true,
    };
    let is_guest = matches!(viewer, Viewer::Guest(..));
    let sees_offer = |offer: &Offer| match viewer {
        Viewer::Driver(driver) => offer.driver_id == *driver,
        Viewer::Rider(_) | Viewer::Guest(..) => false,
        Viewer::Staff => true,
    };
    wire::Trip {
        trip_id: trip.trip_id.into(),
        version: trip.version,
        state: trip.state.wire().into(),
        rider_id: if is_guest {
            String::new()
        } else {
            trip.rider_id.to_string()
        },
        driver: trip
            .driver
            .as_ref()
            .filter(|_| sees_driver)
            .map(|driver| wire::TripDriver {
                driver_id: if is_guest {
                    String::new()
                } else {
                    driver.driver_id.to_string()
                },
                plate: driver.plate.clone(),
                vehicle: driver.vehicle.clone(),
            }),
        product: trip.product.to_string(),
        pickup: Some(trip.pickup.into()),
        stops: trip
            .stops
            .iter()
            .map(|stop| wire::TripStop {
                location: Some(stop.place.into()),
                arrived_at: stop.arrived_at.map(timestamp),
            })
            .collect(),
        dropoff: Some(trip.dropoff.into()),
        fare: (!is_guest).then(|| trip.fare.into()),
        payment_method: if is_guest {
            PaymentMethod::Unspecified
        } else {
            trip.payment_method
        }
        .into(),
        payment_state: match viewer {
            Viewer::Guest(..) => wire::PaymentState::Unspecified,
            _ => trip.payment_state.wire(),
        }
        .into(),
        pin: match viewer {
            Viewer::Rider(_) => trip.pin.clone(),
            Viewer::Driver(_) | Viewer::Staff | Viewer::Guest(..) => String::new(),
        },
        open_offer: trip
            .open_offer()
            .filter(|offer| sees_offer(offer))
            .map(|offer| wire::OpenOffer {
                offer_id: offer.offer_id.into(),
                driver_id: offer.driver_id.to_string(),
                expires_at: Some(timestamp(offer.expires_at)),
                beside_trip_id: offer
                    .beside
                    .map(|beside| beside.trip_id.into())
                    .unwrap_or_default(),
                shared: offer.beside.is_some_and(|beside| beside.shared),
            }),
        cancelled_by: trip
            .cancelled_by
            .map_or(wire::Actor::Unspecified, |by| by.wire())
            .into(),
        end_reason: if is_guest {
            String::new()
        } else {
            trip.end_reason.clone()
        },
        created_at: Some(timestamp(trip.created_at)),
        updated_at: Some(timestamp(trip.updated_at)),
        assigned_at: trip.assigned_at.map(timestamp),
        arrived_at: trip.arrived_at.map(timestamp),
        started_at: trip.started_at.map(timestamp),
        ended_at: trip.ended_at.map(timestamp),
        distance_meters: trip.distance_m,
        duration_ms: trip.duration_ms,
        seats: trip.seats,
        fee: trip
            .fee_amount(trip.fee)
            .filter(|_| !is_guest)
            .map(Into::into),
        pickup_at: trip
            .booking
            .as_ref()
            .map(|booking| timestamp(booking.pickup_at)),
        final_fare: trip.final_fare.filter(|_| !is_guest).map(Into::into),
        driven_meters: trip.driven_m.filter(|_| !is_guest),
        pickup_due_at: trip.pickup_due_at.map(timestamp),
    }
}

/// The log as operators and services see it.
pub fn log(entries: &[LogEntry]) -> Vec<wire::TripTransition> {
    entries
        .iter()
        .map(|entry| wire::TripTransition {
            version: entry.version,
            from_state: entry
                .from
                .map_or(wire::TripState::Unspecified, |state| state.wire())
                .into(),
            to_state: entry.to.wire().into(),
            actor: entry.by.actor.wire().into(),
            actor_id: entry.by.id.clone(),
            reason: entry.reason.clone(),
            occurred_at: Some(timestamp(entry.at)),
        })
        .collect()
}

impl From<Place> for Point {
    fn from(place: Place) -> Point {
        Point::new(place.latitude, place.longitude)
    }
}

/// A call for help as it is shown.
pub fn sos(sos: &Sos) -> wire::Sos {
    let (acknowledged_at, acknowledged_by) = match &sos.acknowledged {
        Some((at, by)) => (Some(timestamp(*at)), by.clone()),
        None => (None, String::new()),
    };
    wire::Sos {
        sos_id: sos.sos_id.to_string(),
        trip_id: sos.trip_id.into(),
        actor: sos.by.actor.wire().into(),
        actor_id: sos.by.id.clone(),
        location: sos.place.map(Into::into),
        note: sos.note.clone(),
        raised_at: Some(timestamp(sos.raised_at)),
        acknowledged_at,
        acknowledged_by,
    }
}
