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
    offer::OfferEnd,
    product::Catalogue,
    rides::{Beside, Leg, Live, Party, Places, Ride, StopOrder},
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
        /// The ride, and how far it has come.
        live: Live,
        /// The ride it comes on top of. The event does not say in which order the stops are made: they
        /// are made as the offer said.
        beside: Option<Beside>,
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
    /// Reads an event about a trip of one of these products. An event without a time happened `now`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT naming the field that cannot be.
    pub fn read(
        event: Option<&TripEvent>,
        catalogue: &Catalogue,
        now: DateTime<Utc>,
    ) -> Result<Self, Status> {
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
            let party = Party {
                places: places(event)?,
                seats: event.seats.max(1),
                shares: catalogue.shares(&event.product),
                boarded_at: (leg == Leg::ToDropoff).then_some(since),
                stops_left: event.stops_left,
            };
            Ok(What::Riding {
                driver,
                live: Live {
                    ride: Ride { trip, since },
                    leg,
                    party,
                },
                beside: beside(event)?,
            })
        };
        let what = match event.kind() {
            TripEventKind::OfferDeclined => offer_over(event, OfferEnd::Declined)?,
            TripEventKind::OfferEnded => offer_over(event, OfferEnd::Expired)?,
            TripEventKind::Assigned | TripEventKind::DriverArrived => riding(Leg::ToPickup)?,
            TripEventKind::Started | TripEventKind::ArrivedAtStop => riding(Leg::ToDropoff)?,
            TripEventKind::DestinationChanged => match event.state() {
                TripState::Assigned | TripState::DriverArrived => riding(Leg::ToPickup)?,
                TripState::InProgress => riding(Leg::ToDropoff)?,
                // The search hears of it by another request. Whoever was being asked is not any more.
                TripState::Searching if !event.offer_id.is_empty() => {
                    offer_over(event, OfferEnd::Withdrawn)?
                }
                _ => What::Nothing,
            },
            TripEventKind::Unassigned => What::Released {
                state: event.state(),
            },
            TripEventKind::Completed
            | TripEventKind::Cancelled
            | TripEventKind::NoShow
            | TripEventKind::Expired => What::Over {
                state: event.state(),
            },
            // Kinds that a newer trip service has and this one does not know read as unspecified.
            TripEventKind::Unspecified
            | TripEventKind::Created
            | TripEventKind::Released
            | TripEventKind::Offered => What::Nothing,
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

fn beside(event: &TripEvent) -> Result<Option<Beside>, Status> {
    if event.beside_trip_id.is_empty() {
        return Ok(None);
    }
    let trip = event
        .beside_trip_id
        .parse()
        .map_err(|error: jitney_proto::ids::IdError| error.status("event.beside_trip_id"))?;
    Ok(Some(Beside {
        trip,
        shared: event.shared,
        order: StopOrder::default(),
    }))
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

    fn read(event: Option<&TripEvent>) -> Result<News, Status> {
        let catalogue = Catalogue::new(crate::Config::default().products);
        News::read(event, &catalogue, DateTime::UNIX_EPOCH)
    }

    fn leg(kind: TripEventKind) -> Option<Leg> {
        match what(kind) {
            What::Riding { live, .. } => Some(live.leg),
            _ => None,
        }
    }

    fn what(kind: TripEventKind) -> What {
        read(Some(&event(kind))).unwrap().what
    }

    #[test]
    fn events_say_who_rides_and_who_is_free() {
        assert_eq!(what(TripEventKind::Created), What::Nothing);
        assert!(leg(TripEventKind::Assigned) == Some(Leg::ToPickup));
        assert!(leg(TripEventKind::DriverArrived) == Some(Leg::ToPickup));
        assert!(leg(TripEventKind::Started) == Some(Leg::ToDropoff));
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
    fn a_ride_may_come_on_top_of_another() {
        let shared = TripEvent {
            product: "shared".into(),
            seats: 2,
            beside_trip_id: "0190a000-0000-7000-8000-000000000009".into(),
            shared: true,
            ..event(TripEventKind::Assigned)
        };
        let What::Riding { live, beside, .. } = read(Some(&shared)).unwrap().what else {
            panic!()
        };
        assert!(live.party.shares && live.party.seats == 2);
        assert_eq!(live.party.boarded_at, None);
        let beside = beside.unwrap();
        assert!(beside.shared);
        assert_eq!(beside.trip.to_string(), shared.beside_trip_id);
        let odd = TripEvent {
            beside_trip_id: "x".into(),
            ..shared
        };
        let refusal = read(Some(&odd)).unwrap_err();
        assert!(refusal.message().contains("beside_trip_id"));
        // As an older trip service spells it.
        let What::Riding { live, beside, .. } = what(TripEventKind::Started) else {
            panic!()
        };
        assert_eq!((live.party.seats, beside), (1, None));
        assert_eq!(live.party.boarded_at, Some(DateTime::UNIX_EPOCH));
    }

    #[test]
    fn unreadable_events_are_refused_by_field() {
        let refused = |event: &TripEvent| read(Some(event)).unwrap_err().message().to_owned();
        assert!(read(None).is_err());
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
        assert_eq!(read(Some(&unknown)).unwrap().what, What::Nothing);
    }
}
