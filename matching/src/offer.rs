//! One offer of one trip to one driver.
//!
//! An offer is *drawn up* (the driver is set aside), *written down* by the store, and only then *made*:
//! told to the driver and to the trip service. So an offer that anybody has heard of is found again
//! after a crash. It stays open until it ends in one of the ways of [`OfferEnd`]; whether it was
//! accepted is for the trip service to say.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{DriverId, OfferId, ProductId, RiderId, TripId},
    matching::v1 as wire,
    money::Money,
    time::timestamp,
};
use jitney_roads::Travel;

use crate::{
    rides::{Beside, Leg, Live, Party, Places, Ride, Rides},
    wire::{point, stop},
};

/// An offer that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// The offer.
    pub id: OfferId,
    /// The trip it is for.
    pub trip: TripId,
    /// Whose trip that is.
    pub rider: RiderId,
    /// To whom.
    pub driver: DriverId,
    /// The kind of ride.
    pub product: ProductId,
    /// From where to where.
    pub places: Places,
    /// What the rider pays.
    pub fare: Option<Money>,
    /// How many riders.
    pub seats: u32,
    /// How far the driver is, by way of the stops they make before.
    pub to_pickup: Travel,
    /// The ride it comes on top of.
    pub beside: Option<Beside>,
    /// Until when it may be accepted.
    pub expires_at: DateTime<Utc>,
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferEnd {
    /// The trip service gave the trip to the driver.
    Accepted,
    /// The driver does not want it.
    Declined,
    /// Nobody answered in time.
    Expired,
    /// The trip no longer needs it, or the driver went off shift.
    Withdrawn,
}

impl OfferEnd {
    /// Its name in what is counted and told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether the same trip may be offered to the same driver again.
    pub fn may_be_repeated(self) -> bool {
        matches!(self, Self::Withdrawn)
    }
}

impl From<OfferEnd> for wire::OfferEndReason {
    fn from(end: OfferEnd) -> Self {
        match end {
            OfferEnd::Accepted => Self::Accepted,
            OfferEnd::Declined => Self::Declined,
            OfferEnd::Expired => Self::Expired,
            OfferEnd::Withdrawn => Self::Withdrawn,
        }
    }
}

impl Offer {
    /// The ride it would be.
    fn ride(&self, now: DateTime<Utc>) -> Live {
        Live {
            ride: Ride {
                trip: self.trip,
                since: now,
            },
            leg: Leg::ToPickup,
            party: Party {
                places: Some(self.places),
                seats: self.seats,
                ..Party::default()
            },
        }
    }

    /// What a driver on these rides is told.
    pub fn for_driver(&self, rides: &Rides, now: DateTime<Utc>) -> wire::Offer {
        let beside = self.beside.filter(|beside| rides.of(beside.trip).is_some());
        let stops = rides.take(self.ride(now), beside).rides.stops();
        wire::Offer {
            offer_id: self.id.to_string(),
            trip_id: self.trip.to_string(),
            product: self.product.to_string(),
            pickup: Some(point(self.places.pickup)),
            dropoff: self.places.dropoff.map(point),
            pickup_duration_ms: i64::from(self.to_pickup.duration_ms),
            pickup_distance_meters: i64::from(self.to_pickup.distance_m),
            fare: self.fare.map(Into::into),
            expires_at: Some(timestamp(self.expires_at)),
            beside_trip_id: beside
                .map(|beside| beside.trip.to_string())
                .unwrap_or_default(),
            shared: beside.is_some_and(|beside| beside.shared),
            stops: stops.iter().map(stop).collect(),
            seats: self.seats,
        }
    }

    /// What the driver is told when it is over.
    pub fn withdrawn(&self, end: OfferEnd) -> wire::OfferWithdrawn {
        wire::OfferWithdrawn {
            offer_id: self.id.to_string(),
            trip_id: self.trip.to_string(),
            reason: wire::OfferEndReason::from(end).into(),
        }
    }

    /// What the trip service is told.
    pub fn made(&self) -> wire::OfferMade {
        wire::OfferMade {
            offer_id: self.id.to_string(),
            driver_id: self.driver.to_string(),
            expires_at: Some(timestamp(self.expires_at)),
            pickup_duration_ms: i64::from(self.to_pickup.duration_ms),
            beside_trip_id: self
                .beside
                .map(|beside| beside.trip.to_string())
                .unwrap_or_default(),
            shared: self.beside.is_some_and(|beside| beside.shared),
        }
    }

    /// What the trip service is told when it is over.
    pub fn ended(&self, end: OfferEnd) -> wire::OfferEnded {
        wire::OfferEnded {
            offer_id: self.id.to_string(),
            driver_id: self.driver.to_string(),
            reason: wire::OfferEndReason::from(end).into(),
        }
    }
}
