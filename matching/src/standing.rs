//! Where a driver stands: pure transitions, no clock, no I/O.
//!
//! Three facts make a [`Standing`]: whether the driver is on shift, which rides they are on, and what
//! they are set aside for. The state that others see follows from them:
//!
//! | rides | set aside | on shift | off shift | who waits for what |
//! | --- | --- | --- | --- | --- |
//! | none | no | IDLE | OFFLINE | the driver, for an offer |
//! | none | yes | OFFERED | (cannot be) | a search, for the answer; or a rider, to order |
//! | nobody aboard | either | EN_ROUTE | EN_ROUTE | the rider, for the car |
//! | a party aboard | either | ON_TRIP | ON_TRIP | the rider, to arrive |
//! | a party aboard, and the next ride | no | CHAINED | CHAINED | two riders |
//!
//! Trip events are facts: the trip service's database has decided, so [`Standing::ride`] and
//! [`Standing::free`] never refuse. Everything else is a wish and may be refused.

use jitney_proto::{
    ids::{OfferId, ReservationId, TripId},
    matching::v1::DriverState,
};

use crate::rides::{Beside, Leg, Live, Rides, Taken};

/// Where a driver stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// On shift, or wishing to be off it once the rides are over.
    pub on_shift: bool,
    /// What they are set aside for: nobody else may be offered to them.
    hold: Option<Hold>,
    /// What they drive.
    rides: Rides,
}

/// What a driver is set aside for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The open offer of a trip.
    Offer(TripId, OfferId),
    /// A rider who may order.
    Reservation(ReservationId),
}

impl Standing {
    /// What others see.
    pub fn state(&self) -> DriverState {
        if self.rides.is_empty() {
            return match self.hold {
                Some(_) => DriverState::Offered,
                None if self.on_shift => DriverState::Idle,
                None => DriverState::Offline,
            };
        }
        if self.rides.iter().all(|live| live.leg == Leg::ToPickup) {
            return DriverState::EnRoute;
        }
        match self.rides.second() {
            Some(second) if !second.shared => DriverState::Chained,
            _ => DriverState::OnTrip,
        }
    }

    /// Free for an offer.
    pub fn is_idle(&self) -> bool {
        self.on_shift && self.hold.is_none() && self.rides.is_empty()
    }

    /// The one ride of a driver who might be offered another beside it. It leads straight to its end: how
    /// long the stops of another take nobody knows.
    pub fn only_ride(&self) -> Option<&Live> {
        let may = self.on_shift && self.hold.is_none() && self.rides.second().is_none();
        self.rides
            .first()
            .filter(|live| may && live.party.stops_left == 0)
    }

    /// The rides.
    pub fn rides(&self) -> &Rides {
        &self.rides
    }

    /// What they are set aside for.
    pub fn hold(&self) -> Option<Hold> {
        self.hold
    }

    /// On shift.
    #[must_use]
    pub fn begin_shift(self) -> Self {
        Self {
            on_shift: true,
            ..self
        }
    }

    /// Off shift; live rides are finished first. Gives the hold that ends with it.
    #[must_use]
    pub fn end_shift(self) -> (Self, Option<Hold>) {
        let after = Self {
            on_shift: false,
            hold: None,
            ..self
        };
        (after, self.hold)
    }

    /// Sets a driver aside who is idle, or whose only ride is the one the hold is to come `beside`;
    /// `None` for one that is not.
    #[must_use]
    pub fn hold_for(self, hold: Hold, beside: Option<TripId>) -> Option<Self> {
        let may = match beside {
            None => self.is_idle(),
            Some(trip) => self.only_ride().is_some_and(|live| live.ride.trip == trip),
        };
        may.then_some(Self {
            hold: Some(hold),
            ..self
        })
    }

    /// Changes what the driver is set aside for, from a reservation to its trip's offer; `None` when
    /// they were set aside for something else.
    #[must_use]
    pub fn pass_on(self, from: Hold, to: Hold) -> Option<Self> {
        (self.hold == Some(from)).then_some(Self {
            hold: Some(to),
            ..self
        })
    }

    /// Ends a hold; `None` when it was not this one.
    #[must_use]
    pub fn release(self, hold: Hold) -> Option<Self> {
        (self.hold == Some(hold)).then_some(Self { hold: None, ..self })
    }

    /// The trip service says: this driver has this ride, alone or beside another. Gives what became of
    /// the rides, and the hold that ends because the driver has taken a ride.
    #[must_use]
    pub fn ride(self, live: Live, beside: Option<Beside>) -> (Self, Taken, Option<Hold>) {
        let taken = self.rides.take(live, beside);
        let after = Self {
            rides: taken.rides,
            hold: self.hold.filter(|_| !taken.is_new),
            ..self
        };
        (after, taken, self.hold.filter(|_| taken.is_new))
    }

    /// The trip service says: this trip is over, or no longer this driver's. `None` when it was not.
    #[must_use]
    pub fn free(self, trip: TripId) -> Option<Self> {
        let rides = self.rides.end(trip)?;
        Some(Self { rides, ..self })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use uuid::Uuid;

    use super::*;
    use crate::rides::{Party, Ride, StopOrder};

    fn trip(number: u128) -> TripId {
        TripId(Uuid::from_u128(number))
    }

    fn live(number: u128, second: i64, leg: Leg) -> Live {
        Live {
            ride: Ride {
                trip: trip(number),
                since: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            },
            leg,
            party: Party::default(),
        }
    }

    fn beside(number: u128, shared: bool) -> Option<Beside> {
        Some(Beside {
            trip: trip(number),
            shared,
            order: StopOrder::default(),
        })
    }

    fn offer(number: u128) -> Hold {
        Hold::Offer(trip(number), OfferId(Uuid::from_u128(number)))
    }

    fn idle() -> Standing {
        Standing::default().begin_shift()
    }

    fn on_trip() -> Standing {
        idle().ride(live(1, 0, Leg::ToDropoff), None).0
    }

    #[test]
    fn a_ride_from_end_to_end() {
        let off = Standing::default();
        assert_eq!(off.state(), DriverState::Offline);
        assert_eq!(idle().state(), DriverState::Idle);
        let offered = idle().hold_for(offer(1), None).unwrap();
        assert_eq!(offered.state(), DriverState::Offered);
        let (en_route, _, ended) = offered.ride(live(1, 0, Leg::ToPickup), None);
        assert_eq!(
            (en_route.state(), ended),
            (DriverState::EnRoute, Some(offer(1)))
        );
        let (on_trip, _, ended) = en_route.ride(live(1, 5, Leg::ToDropoff), None);
        assert_eq!((on_trip.state(), ended), (DriverState::OnTrip, None));
        assert_eq!(on_trip.free(trip(1)), Some(idle()));
    }

    #[test]
    fn only_the_idle_are_set_aside() {
        let busy = idle().ride(live(1, 0, Leg::ToPickup), None).0;
        let held = idle().hold_for(offer(1), None).unwrap();
        for standing in [Standing::default(), busy, held] {
            assert_eq!(standing.hold_for(offer(2), None), None, "{standing:?}");
        }
        assert_eq!(held.release(offer(2)), None);
        assert_eq!(held.release(offer(1)), Some(idle()));
        let reservation = Hold::Reservation(ReservationId(Uuid::from_u128(9)));
        let reserved = idle().hold_for(reservation, None).unwrap();
        assert_eq!(
            reserved.pass_on(reservation, offer(3)).unwrap().hold(),
            Some(offer(3))
        );
        assert_eq!(reserved.pass_on(offer(1), offer(3)), None);
    }

    #[test]
    fn a_ride_may_be_offered_beside_another() {
        assert_eq!(on_trip().hold_for(offer(2), Some(trip(9))), None);
        assert_eq!(idle().hold_for(offer(2), Some(trip(1))), None, "it ended");
        let held = on_trip().hold_for(offer(2), Some(trip(1))).unwrap();
        assert_eq!(held.state(), DriverState::OnTrip);
        assert_eq!(
            held.hold_for(offer(3), Some(trip(1))),
            None,
            "one offer at a time"
        );
        let (still, _, ended) = held.ride(live(1, 3, Leg::ToDropoff), None);
        assert_eq!((still.hold(), ended), (Some(offer(2)), None), "no news");
        let ended_first = held.free(trip(1)).unwrap();
        assert_eq!(ended_first.state(), DriverState::Offered);

        let (chained, _, ended) = held.ride(live(2, 5, Leg::ToPickup), beside(1, false));
        assert_eq!(
            (chained.state(), ended),
            (DriverState::Chained, Some(offer(2)))
        );
        assert_eq!(
            chained.hold_for(offer(3), Some(trip(1))),
            None,
            "two are enough"
        );
        assert_eq!(chained.free(trip(1)).unwrap().state(), DriverState::EnRoute);
        let shared = held.ride(live(2, 5, Leg::ToPickup), beside(1, true)).0;
        assert_eq!(shared.state(), DriverState::OnTrip);
        assert!(shared.only_ride().is_none() && !shared.is_idle());
    }

    #[test]
    fn a_ride_with_stops_ahead_comes_alone() {
        let mut live = live(1, 0, Leg::ToDropoff);
        live.party.stops_left = 1;
        let stopping = idle().ride(live, None).0;
        assert_eq!(stopping.only_ride(), None);
        assert_eq!(stopping.hold_for(offer(2), Some(trip(1))), None);
        live.party.stops_left = 0;
        let straight = stopping.ride(live, None).0;
        assert!(straight.hold_for(offer(2), Some(trip(1))).is_some());
    }

    #[test]
    fn the_end_of_a_shift_lets_rides_end_and_offers_not() {
        let held = on_trip().hold_for(offer(2), Some(trip(1))).unwrap();
        let (after, ended) = held.end_shift();
        assert_eq!(
            (after.state(), ended),
            (DriverState::OnTrip, Some(offer(2)))
        );
        assert_eq!(after.hold_for(offer(2), Some(trip(1))), None);
        assert_eq!(after.free(trip(1)).unwrap().state(), DriverState::Offline);
    }

    #[test]
    fn another_ride_ends_an_offer() {
        let held = idle().hold_for(offer(2), None).unwrap();
        let (riding, taken, ended) = held.ride(live(1, 0, Leg::ToPickup), None);
        assert_eq!(taken.displaced, [None; 2]);
        assert_eq!(ended, Some(offer(2)));
        assert_eq!(
            (riding.hold(), riding.state()),
            (None, DriverState::EnRoute)
        );
    }
}
