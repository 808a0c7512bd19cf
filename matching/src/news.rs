//! What the trip service says happened, as far as it concerns drivers and offers.
//!
//! The trip service's database has decided; this is read, written down and obeyed, never refused.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{DriverId, OfferId, TripId},
    time::moment,
    trips::v1::{TripEvent, TripEventKind, TripState},
};
use jitney_roads::LatLon;
use tonic::Status;

use crate::{
    error::Refusal,
    fleet::Places,
    offer::OfferEnd,
    standing::{Leg, Ride},
    wire,
};

/// One event of a trip.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// The trip.
    pub trip: TripId,
    /// Its version after the event.
    pub version: i64,
    /// What it means here.
    pub what: What,
}

/// What an event means for drivers and offers.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Nothing; its version counts all the same.
    Nothing,
    /// An offer is over without an acceptance.
    OfferOver {
        /// The offer.
        offer: OfferId,
        /// How it ended.
        end: OfferEnd,
    },
    /// A driver has the trip.
    Riding {
        /// Who.
        driver: DriverId,
        /// The trip, and since when it is theirs.
        ride: Ride,
        /// How far it has come.
        leg: Leg,
        /// From where to where; `None` when the event does not say.
        places: Option<Places>,
    },
    /// No driver has the trip any more, but it goes on.
    Released {
        /// What the trip is doing, as drivers are told.
        state: TripState,
    },
    /// The trip has ended.
    Over {
        /// How, as drivers are told.
        state: TripState,
    },
}

impl News {
    /// Reads an event. An event without a time happened `now`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT naming the field that cannot be.
    pub fn read(event: Option<&TripEvent>, now: DateTime<Utc>) -> Result<Self, Status> {
        let event = event.ok_or_else(|| Refusal::bad_field("event", "is required"))?;
        let trip: TripId = event
            .trip_id
            .parse()
            .map_err(|error: jitney_proto::ids::IdError| error.status("event.trip_id"))?;
        if event.trip_version < 1 {
            return Err(Refusal::bad_field("event.trip_version", "must be at least 1").into());
        }
        let since = match &event.occurred_at {
            Some(at) => moment(at, "event.occurred_at")?,
            None => now,
        };
        let riding = |leg| -> Result<What, Status> {
            let driver = event
                .driver_id
                .parse()
                .map_err(|error: jitney_proto::ids::IdError| error.status("event.driver_id"))?;
            Ok(What::Riding {
                driver,
                ride: Ride { trip, since },
                leg,
                places: places(event)?,
            })
        };
        let what = match event.kind() {
            TripEventKind::OfferDeclined => offer_over(event, OfferEnd::Declined)?,
            TripEventKind::OfferEnded => offer_over(event, OfferEnd::Expired)?,
            TripEventKind::Assigned | TripEventKind::DriverArrived => riding(Leg::ToPickup)?,
            TripEventKind::Started => riding(Leg::ToDropoff)?,
            TripEventKind::Unassigned => What::Released {
                state: event.state(),
            },
            TripEventKind::Completed | TripEventKind::Cancelled | TripEventKind::Expired => {
                What::Over {
                    state: event.state(),
                }
            }
            // Kinds that a newer trip service has and this one does not know read as unspecified.
            TripEventKind::Unspecified | TripEventKind::Created | TripEventKind::Offered => {
                What::Nothing
            }
        };
        Ok(Self {
            trip,
            version: event.trip_version,
            what,
        })
    }
}

fn offer_over(event: &TripEvent, end: OfferEnd) -> Result<What, Status> {
    let offer = event
        .offer_id
        .parse()
        .map_err(|error: jitney_proto::ids::IdError| error.status("event.offer_id"))?;
    Ok(What::OfferOver { offer, end })
}

fn places(event: &TripEvent) -> Result<Option<Places>, Refusal> {
    let Some(pickup) = &event.pickup else {
        return Ok(None);
    };
    let pickup = wire::place(Some(pickup), "event.pickup")?;
    let dropoff: Option<LatLon> = event
        .dropoff
        .as_ref()
        .map(|point| wire::place(Some(point), "event.dropoff"))
        .transpose()?;
    Ok(Some(Places { pickup, dropoff }))
}

#[cfg(test)]
mod tests {
    use jitney_proto::common::v1::Point;

    use super::*;

    fn event(kind: TripEventKind) -> TripEvent {
        TripEvent {
            trip_id: "0190a000-0000-7000-8000-000000000001".into(),
            trip_version: 3,
            kind: kind.into(),
            driver_id: "anna".into(),
            offer_id: "0190a000-0000-7000-8000-000000000002".into(),
            pickup: Some(Point::new(1.0, 2.0)),
            ..Default::default()
        }
    }

    fn what(kind: TripEventKind) -> What {
        News::read(Some(&event(kind)), DateTime::UNIX_EPOCH)
            .unwrap()
            .what
    }

    #[test]
    fn events_say_who_rides_and_who_is_free() {
        assert_eq!(what(TripEventKind::Created), What::Nothing);
        assert!(matches!(
            what(TripEventKind::Assigned),
            What::Riding {
                leg: Leg::ToPickup,
                ..
            }
        ));
        assert!(matches!(
            what(TripEventKind::DriverArrived),
            What::Riding {
                leg: Leg::ToPickup,
                ..
            }
        ));
        assert!(matches!(
            what(TripEventKind::Started),
            What::Riding {
                leg: Leg::ToDropoff,
                ..
            }
        ));
        assert!(matches!(
            what(TripEventKind::Unassigned),
            What::Released { .. }
        ));
        assert!(matches!(what(TripEventKind::Cancelled), What::Over { .. }));
        let What::OfferOver { end, .. } = what(TripEventKind::OfferDeclined) else {
            panic!()
        };
        assert_eq!(end, OfferEnd::Declined);
    }

    #[test]
    fn unreadable_events_are_refused_by_field() {
        let refused = |event: &TripEvent| {
            News::read(Some(event), DateTime::UNIX_EPOCH)
                .unwrap_err()
                .message()
                .to_owned()
        };
        assert!(News::read(None, DateTime::UNIX_EPOCH).is_err());
        let assigned = || event(TripEventKind::Assigned);
        assert!(
            refused(&TripEvent {
                trip_id: "x".into(),
                ..assigned()
            })
            .contains("trip_id")
        );
        assert!(
            refused(&TripEvent {
                trip_version: 0,
                ..assigned()
            })
            .contains("trip_version")
        );
        assert!(
            refused(&TripEvent {
                driver_id: String::new(),
                ..assigned()
            })
            .contains("driver_id")
        );
        let nowhere = Some(Point::new(f64::NAN, 0.0));
        assert!(
            refused(&TripEvent {
                pickup: nowhere,
                ..assigned()
            })
            .contains("pickup")
        );
        let unknown = TripEvent {
            kind: 99,
            ..assigned()
        };
        assert_eq!(
            News::read(Some(&unknown), DateTime::UNIX_EPOCH)
                .unwrap()
                .what,
            What::Nothing
        );
    }
}
