//! Where a driver stands: pure transitions, no clock, no I/O.
//!
//! Two facts make a [`Standing`]: whether the driver is on shift, and what they are doing. The state
//! that others see follows from both:
//!
//! | doing | on shift | off shift | who waits for what |
//! | --- | --- | --- | --- |
//! | nothing | IDLE | OFFLINE | the driver, for an offer |
//! | held | OFFERED | (cannot be) | a search, for the answer; or a rider, to order |
//! | on the way | EN_ROUTE | EN_ROUTE | the rider, for the car |
//! | driving | ON_TRIP | ON_TRIP | the rider, to arrive |
//!
//! Trip events are facts: the trip service's database has decided, so [`Standing::ride`] and
//! [`Standing::free`] never refuse. Everything else is a wish and may be refused.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{OfferId, ReservationId, TripId},
    matching::v1::DriverState,
};

/// Where a driver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// On shift, or wishing to be off it once the ride is over.
    pub on_shift: bool,
    /// What they are doing.
    pub doing: Doing,
}

/// What a driver is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Waiting, or at home.
    Nothing,
    /// Set aside: nobody else may be offered to them.
    Held(Hold),
    /// On the way to the pick-up, or waiting there.
    EnRoute(Ride),
    /// Carrying the rider.
    OnTrip(Ride),
}

/// What a driver is set aside for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The open offer of a trip.
    Offer(TripId, OfferId),
    /// A rider who may order.
    Reservation(ReservationId),
}

/// The live trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ride {
    /// The trip.
    pub trip: TripId,
    /// When the trip service first said so. Of two trips that both claim the driver, the one said
    /// later is live: the other has ended, and only its news is late.
    pub since: DateTime<Utc>,
}

/// How far a ride has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// To the pick-up.
    ToPickup,
    /// To the drop-off.
    ToDropoff,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            on_shift: false,
            doing: Doing::Nothing,
        }
    }
}

impl Standing {
    /// What others see.
    pub fn state(&self) -> DriverState {
        match self.doing {
            Doing::Nothing if self.on_shift => DriverState::Idle,
            Doing::Nothing => DriverState::Offline,
            Doing::Held(_) => DriverState::Offered,
            Doing::EnRoute(_) => DriverState::EnRoute,
            Doing::OnTrip(_) => DriverState::OnTrip,
        }
    }

    /// Free for an offer.
    pub fn is_idle(&self) -> bool {
        self.on_shift && self.doing == Doing::Nothing
    }

    /// The live trip.
    pub fn live(&self) -> Option<Ride> {
        match self.doing {
            Doing::EnRoute(ride) | Doing::OnTrip(ride) => Some(ride),
            Doing::Nothing | Doing::Held(_) => None,
        }
    }

    /// What they are set aside for.
    pub fn hold(&self) -> Option<Hold> {
        match self.doing {
            Doing::Held(hold) => Some(hold),
            Doing::Nothing | Doing::EnRoute(_) | Doing::OnTrip(_) => None,
        }
    }

    /// On shift.
    #[must_use]
    pub fn begin_shift(self) -> Self {
        Self {
            on_shift: true,
            ..self
        }
    }

    /// Off shift; a live ride is finished first. Gives the hold that ends with it.
    #[must_use]
    pub fn end_shift(self) -> (Self, Option<Hold>) {
        let doing = match self.doing {
            Doing::Nothing | Doing::Held(_) => Doing::Nothing,
            riding @ (Doing::EnRoute(_) | Doing::OnTrip(_)) => riding,
        };
        (
            Self {
                on_shift: false,
                doing,
            },
            self.hold(),
        )
    }

    /// Sets an idle driver aside; `None` for one that is not.
    #[must_use]
    pub fn hold_for(self, hold: Hold) -> Option<Self> {
        self.is_idle().then_some(Self {
            doing: Doing::Held(hold),
            ..self
        })
    }

    /// Changes what the driver is set aside for, from a reservation to its trip's offer; `None` when
    /// they were set aside for something else.
    #[must_use]
    pub fn pass_on(self, from: Hold, to: Hold) -> Option<Self> {
        (self.doing == Doing::Held(from)).then_some(Self {
            doing: Doing::Held(to),
            ..self
        })
    }

    /// Ends a hold; `None` when it was not this one.
    #[must_use]
    pub fn release(self, hold: Hold) -> Option<Self> {
        (self.doing == Doing::Held(hold)).then_some(Self {
            doing: Doing::Nothing,
            ..self
        })
    }

    /// The trip service says: this driver has this trip, and is on this leg. Gives the hold that ends
    /// with it. A trip older than the live one has ended and changes nothing.
    #[must_use]
    pub fn ride(self, ride: Ride, leg: Leg) -> (Self, Option<Hold>) {
        let ride = match self.live() {
            Some(live) if live.trip == ride.trip => live,
            Some(live) if live.since > ride.since => return (self, None),
            Some(_) | None => ride,
        };
        let doing = match leg {
            Leg::ToPickup => Doing::EnRoute(ride),
            Leg::ToDropoff => Doing::OnTrip(ride),
        };
        (Self { doing, ..self }, self.hold())
    }

    /// The trip service says: this trip is over, or no longer this driver's. `None` when they are on
    /// another trip, or none.
    #[must_use]
    pub fn free(self, trip: TripId) -> Option<Self> {
        let live = self.live()?;
        (live.trip == trip).then_some(Self {
            doing: Doing::Nothing,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    fn trip(number: u128) -> TripId {
        TripId(Uuid::from_u128(number))
    }

    fn ride(number: u128, second: i64) -> Ride {
        Ride {
            trip: trip(number),
            since: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
        }
    }

    fn offer(number: u128) -> Hold {
        Hold::Offer(trip(number), OfferId(Uuid::from_u128(number)))
    }

    fn idle() -> Standing {
        Standing::default().begin_shift()
    }

    #[test]
    fn a_ride_from_end_to_end() {
        let off = Standing::default();
        assert_eq!(off.state(), DriverState::Offline);
        assert_eq!(idle().state(), DriverState::Idle);
        let offered = idle().hold_for(offer(1)).unwrap();
        assert_eq!(offered.state(), DriverState::Offered);
        let (en_route, ended) = offered.ride(ride(1, 0), Leg::ToPickup);
        assert_eq!(
            (en_route.state(), ended),
            (DriverState::EnRoute, Some(offer(1)))
        );
        let (on_trip, ended) = en_route.ride(ride(1, 5), Leg::ToDropoff);
        assert_eq!((on_trip.state(), ended), (DriverState::OnTrip, None));
        assert_eq!(
            on_trip.live(),
            Some(ride(1, 0)),
            "the ride began when it was assigned"
        );
        assert_eq!(on_trip.free(trip(1)), Some(idle()));
    }

    #[test]
    fn only_the_idle_are_set_aside() {
        let busy = idle().ride(ride(1, 0), Leg::ToPickup).0;
        let held = idle().hold_for(offer(1)).unwrap();
        for standing in [Standing::default(), busy, held] {
            assert_eq!(standing.hold_for(offer(2)), None, "{standing:?}");
        }
        assert_eq!(held.release(offer(2)), None);
        assert_eq!(held.release(offer(1)), Some(idle()));
        let reservation = Hold::Reservation(ReservationId(Uuid::from_u128(9)));
        let reserved = idle().hold_for(reservation).unwrap();
        assert_eq!(
            reserved.pass_on(reservation, offer(3)).unwrap().hold(),
            Some(offer(3))
        );
        assert_eq!(reserved.pass_on(offer(1), offer(3)), None);
    }

    #[test]
    fn going_off_shift_ends_a_hold_but_not_a_ride() {
        let held = idle().hold_for(offer(1)).unwrap();
        assert_eq!(held.end_shift(), (Standing::default(), Some(offer(1))));
        let busy = idle().ride(ride(1, 0), Leg::ToDropoff).0;
        let (leaving, ended) = busy.end_shift();
        assert_eq!((leaving.state(), ended), (DriverState::OnTrip, None));
        assert_eq!(leaving.free(trip(1)), Some(Standing::default()));
    }

    #[test]
    fn the_trip_service_is_obeyed_whatever_was_going_on() {
        let (riding, ended) = Standing::default().ride(ride(1, 0), Leg::ToPickup);
        assert_eq!((riding.state(), ended), (DriverState::EnRoute, None));
        let held = idle().hold_for(offer(2)).unwrap();
        let (riding, ended) = held.ride(ride(1, 0), Leg::ToPickup);
        assert_eq!((riding.live(), ended), (Some(ride(1, 0)), Some(offer(2))));
    }

    #[test]
    fn news_of_two_trips_may_cross() {
        // Trip 1 ended and trip 2 was assigned; whichever is heard of first, trip 2 is live.
        let first = idle().ride(ride(1, 0), Leg::ToDropoff).0;
        let in_order = first
            .free(trip(1))
            .unwrap()
            .ride(ride(2, 9), Leg::ToPickup)
            .0;
        let crossed = first.ride(ride(2, 9), Leg::ToPickup).0;
        assert_eq!(crossed.free(trip(1)), None);
        assert_eq!(in_order, crossed);
        // And the late assignment of a trip long over does not displace it.
        assert_eq!(crossed.ride(ride(1, 0), Leg::ToPickup).0, crossed);
    }
}
