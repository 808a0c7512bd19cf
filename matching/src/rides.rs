//! The rides a driver is on: none, one, or two. Pure.
//!
//! A second ride comes on top of the first in one of two ways. *Chained*: it is the driver's next, and
//! begins when the first has ended. *Shared*: both parties are in the car for a while, and the driver
//! makes their stops in a [`StopOrder`]. When the first ride ends, whichever way, the second is the
//! first.

use chrono::{DateTime, Utc};
use jitney_proto::{ids::TripId, matching::v1::StopKind};
use jitney_roads::LatLon;
use serde::{Deserialize, Serialize};

/// Where a live trip begins and ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Places {
    /// Where the rider waits.
    pub pickup: LatLon,
    /// Where the rider goes.
    pub dropoff: Option<LatLon>,
}

/// The live trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ride {
    /// The trip.
    pub trip: TripId,
    /// When the trip service first said so. Of two trips that both claim the driver for themselves, the
    /// one said later is live: the other has ended, and only its news is late.
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

/// Who rides, and from where to where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Party {
    /// The places; `None` when nobody said.
    pub places: Option<Places>,
    /// How many they are.
    pub seats: u32,
    /// They may share the car with another party.
    pub shares: bool,
    /// When they got in.
    pub boarded_at: Option<DateTime<Utc>>,
    /// Stops between pick-up and drop-off that are still to be made.
    pub stops_left: u32,
}

impl Default for Party {
    fn default() -> Self {
        Self {
            places: None,
            seats: 1,
            shares: false,
            boarded_at: None,
            stops_left: 0,
        }
    }
}

/// A live ride.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Live {
    /// The trip.
    pub ride: Ride,
    /// How far it has come.
    pub leg: Leg,
    /// Whose it is.
    pub party: Party,
}

impl Live {
    /// What is said later of the same ride, on top of what is known.
    fn updated(self, later: Self) -> Self {
        Self {
            ride: self.ride,
            leg: later.leg,
            party: Party {
                places: later.party.places.or(self.party.places),
                boarded_at: self.party.boarded_at.or(later.party.boarded_at),
                ..later.party
            },
        }
    }
}

/// The order of two parties' stops, the first party's as `A` (they get in) and `a` (they get out), the
/// second's as `B` and `b`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum StopOrder {
    /// One ride after the other.
    #[default]
    AaBb,
    /// Both aboard, out as they came in.
    ABab,
    /// The second ride lies within the first.
    ABba,
    /// The second party first, out as they came in.
    BAba,
    /// The first ride lies within the second.
    BAab,
    /// The second ride before the first.
    BbAa,
}

impl StopOrder {
    /// Every order.
    pub const ALL: [Self; 6] = [
        Self::AaBb,
        Self::ABab,
        Self::ABba,
        Self::BAba,
        Self::BAab,
        Self::BbAa,
    ];

    /// As the database keeps it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AaBb => "AaBb",
            Self::ABab => "ABab",
            Self::ABba => "ABba",
            Self::BAba => "BAba",
            Self::BAab => "BAab",
            Self::BbAa => "BbAa",
        }
    }

    /// The order of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == name)
    }

    /// The stops in order: whether it is the second party's, and what happens.
    pub fn stops(self) -> [(bool, StopKind); 4] {
        let mut stops = [(false, StopKind::Pickup); 4];
        for (stop, letter) in stops.iter_mut().zip(self.name().chars()) {
            let kind = if letter.is_ascii_uppercase() {
                StopKind::Pickup
            } else {
                StopKind::Dropoff
            };
            *stop = (letter.eq_ignore_ascii_case(&'b'), kind);
        }
        stops
    }
}

/// How a ride comes on top of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Beside {
    /// The driver's first ride.
    pub trip: TripId,
    /// Both parties share the car.
    pub shared: bool,
    /// The order of the stops.
    pub order: StopOrder,
}

/// The ride beside the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    /// The ride.
    pub live: Live,
    /// Its party shares the car with the first ride's.
    pub shared: bool,
    /// The order of the stops.
    pub order: StopOrder,
}

/// A stop that is still to be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stop {
    /// Whose.
    pub trip: TripId,
    /// What happens there.
    pub kind: StopKind,
    /// Where; `None` when nobody said.
    pub place: Option<LatLon>,
}

/// The live rides of a driver. There is no second without a first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rides {
    first: Option<Live>,
    second: Option<Second>,
}

/// What became of news that a driver has a ride.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken {
    /// The rides now.
    pub rides: Rides,
    /// The ride is among them, and was not before.
    pub is_new: bool,
    /// Rides that are over, whose end is yet to be heard.
    pub displaced: [Option<TripId>; 2],
}

impl Rides {
    /// The rides as they were kept. A second without a first is the first.
    pub fn kept(first: Option<Live>, second: Option<Second>) -> Self {
        match (first, second) {
            (None, Some(second)) => Self::alone(second.live),
            (first, second) => Self { first, second },
        }
    }

    /// One ride.
    pub fn alone(live: Live) -> Self {
        Self {
            first: Some(live),
            second: None,
        }
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The ride that is under way; of two that share the car, the one that was there first.
    pub fn first(&self) -> Option<&Live> {
        self.first.as_ref()
    }

    /// The ride beside it.
    pub fn second(&self) -> Option<&Second> {
        self.second.as_ref()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Live> {
        let second = self.second.as_ref().map(|second| &second.live);
        self.first.iter().chain(second)
    }

    /// The ride of that trip.
    pub fn of(&self, trip: TripId) -> Option<&Live> {
        self.iter().find(|live| live.ride.trip == trip)
    }

    /// The trip service says: the driver has this ride, `beside` another or alone. A ride older than
    /// those that are live has ended and changes nothing.
    #[must_use]
    pub fn take(self, live: Live, beside: Option<Beside>) -> Taken {
        let trip = live.ride.trip;
        let mut rides = self;
        let known = |rides| Taken {
            rides,
            is_new: false,
            displaced: [None; 2],
        };
        if let Some(first) = rides.first.as_mut().filter(|first| first.ride.trip == trip) {
            *first = first.updated(live);
            return known(rides);
        }
        if let Some(second) = &mut rides.second
            && second.live.ride.trip == trip
        {
            second.live = second.live.updated(live);
            return known(rides);
        }
        let is_old = |other: &Live| other.ride.since > live.ride.since;
        let of = |beside: Beside| Some((beside, *self.of(beside.trip)?));
        if let Some((beside, first)) = beside.and_then(of) {
            // Whatever else there was has ended.
            let other = self.iter().find(|other| other.ride.trip != beside.trip);
            if other.is_some_and(is_old) {
                return known(self);
            }
            return Taken {
                rides: Self {
                    first: Some(first),
                    second: Some(Second {
                        live,
                        shared: beside.shared,
                        order: beside.order,
                    }),
                },
                is_new: true,
                displaced: [other.map(|other| other.ride.trip), None],
            };
        }
        if self.iter().any(is_old) {
            return known(self);
        }
        let second = self.second.map(|second| second.live.ride.trip);
        Taken {
            rides: Self::alone(live),
            is_new: true,
            displaced: [self.first.map(|first| first.ride.trip), second],
        }
    }

    /// The trip service says: this trip is over, or no longer this driver's. `None` when it was not.
    #[must_use]
    pub fn end(self, trip: TripId) -> Option<Self> {
        if self.first?.ride.trip == trip {
            let second = self.second.map(|second| second.live);
            return Some(Self {
                first: second,
                second: None,
            });
        }
        (self.second?.live.ride.trip == trip).then_some(Self {
            second: None,
            ..self
        })
    }

    /// The stops that are still to be made, in order.
    pub fn stops(&self) -> Vec<Stop> {
        let Some(first) = &self.first else {
            return Vec::new();
        };
        let order = self.second.map(|second| second.order).unwrap_or_default();
        let stop = |(is_second, kind): (bool, StopKind)| {
            let live = if is_second {
                &self.second.as_ref()?.live
            } else {
                first
            };
            let is_made = live.leg == Leg::ToDropoff && kind == StopKind::Pickup;
            let place = live.party.places.and_then(|places| match kind {
                StopKind::Dropoff => places.dropoff,
                _ => Some(places.pickup),
            });
            (!is_made).then_some(Stop {
                trip: live.ride.trip,
                kind,
                place,
            })
        };
        order.stops().into_iter().filter_map(stop).collect()
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

    fn beside(number: u128, shared: bool, order: StopOrder) -> Option<Beside> {
        Some(Beside {
            trip: trip(number),
            shared,
            order,
        })
    }

    fn trips(rides: &Rides) -> Vec<u128> {
        rides
            .iter()
            .map(|live| live.ride.trip.0.as_u128())
            .collect()
    }

    fn stops(rides: &Rides) -> String {
        let letter = |stop: &Stop| {
            let letter = if stop.trip == trip(1) { 'a' } else { 'b' };
            match stop.kind {
                StopKind::Pickup => letter.to_ascii_uppercase(),
                _ => letter,
            }
        };
        rides.stops().iter().map(letter).collect()
    }

    #[test]
    fn the_next_ride_waits_for_the_first() {
        let first = Rides::alone(live(1, 0, Leg::ToDropoff));
        let taken = first.take(
            live(2, 9, Leg::ToPickup),
            beside(1, false, StopOrder::default()),
        );
        assert!(taken.is_new && taken.displaced == [None; 2]);
        assert_eq!(trips(&taken.rides), [1, 2]);
        assert_eq!(stops(&taken.rides), "aBb");
        let next = taken.rides.end(trip(1)).unwrap();
        assert_eq!((trips(&next), stops(&next).as_str()), (vec![2], "Bb"));
        assert_eq!(taken.rides.end(trip(2)), Some(first));
        assert_eq!(taken.rides.end(trip(3)), None);
    }

    #[test]
    fn parties_that_share_are_let_out_in_order() {
        let first = Rides::alone(live(1, 0, Leg::ToPickup));
        let both = first
            .take(live(2, 5, Leg::ToPickup), beside(1, true, StopOrder::BAba))
            .rides;
        assert_eq!(stops(&both), "BAba");
        let aboard = both.take(live(2, 7, Leg::ToDropoff), None).rides;
        assert_eq!(stops(&aboard), "Aba");
        let aboard = aboard.take(live(1, 8, Leg::ToDropoff), None).rides;
        assert_eq!(stops(&aboard), "ba");
        let since: Vec<i64> = aboard
            .iter()
            .map(|live| live.ride.since.timestamp())
            .collect();
        assert_eq!(since, [0, 5], "rides began when they were assigned");
    }

    #[test]
    fn every_order_has_a_name_and_lets_nobody_out_before_they_are_in() {
        for order in StopOrder::ALL {
            assert_eq!(StopOrder::named(order.name()), Some(order));
            let place = |stop| order.stops().iter().position(|own| *own == stop).unwrap();
            for is_second in [false, true] {
                assert!(
                    place((is_second, StopKind::Pickup)) < place((is_second, StopKind::Dropoff))
                );
            }
        }
        assert_eq!(StopOrder::named("abAB"), None);
    }

    #[test]
    fn news_of_two_trips_may_cross() {
        let first = Rides::alone(live(1, 0, Leg::ToDropoff));
        // Trip 1 ended and trip 2 was assigned alone; its news comes first.
        let crossed = first.take(live(2, 9, Leg::ToPickup), None);
        assert_eq!(crossed.displaced, [Some(trip(1)), None]);
        assert_eq!(trips(&crossed.rides), [2]);
        assert_eq!(crossed.rides.end(trip(1)), None);
        // The late assignment of a trip long over does not displace it.
        let late = crossed.rides.take(live(1, 0, Leg::ToPickup), None);
        assert_eq!((late.rides, late.is_new), (crossed.rides, false));
        // Trips 1 and 2 were live, 1 ended, 3 came beside 2: its news comes first.
        let both = first.take(
            live(2, 5, Leg::ToPickup),
            beside(1, false, StopOrder::default()),
        );
        let third = both.rides.take(
            live(3, 9, Leg::ToPickup),
            beside(2, true, StopOrder::default()),
        );
        assert_eq!(trips(&third.rides), [2, 3]);
        assert_eq!(third.displaced, [Some(trip(1)), None]);
        // Beside a trip that nobody knows of is alone.
        let alone = first.take(live(4, 9, Leg::ToPickup), beside(7, true, StopOrder::ABab));
        assert_eq!(trips(&alone.rides), [4]);
        // Two second rides: the later one is live.
        let older = both.rides.take(
            live(5, 3, Leg::ToPickup),
            beside(1, false, StopOrder::default()),
        );
        assert_eq!(trips(&older.rides), [1, 2]);
        let later = both.rides.take(
            live(5, 8, Leg::ToPickup),
            beside(1, false, StopOrder::default()),
        );
        assert_eq!(trips(&later.rides), [1, 5]);
    }

    #[test]
    fn what_was_known_stays_known() {
        let places = Places {
            pickup: LatLon::new(1.0, 2.0).unwrap(),
            dropoff: None,
        };
        let mut assigned = live(1, 0, Leg::ToPickup);
        assigned.party.places = Some(places);
        let mut started = live(1, 50, Leg::ToDropoff);
        started.party.boarded_at = Some(started.ride.since);
        let rides = Rides::alone(assigned).take(started, None).rides;
        let mut again = started;
        again.party.boarded_at = Some(DateTime::UNIX_EPOCH);
        let rides = rides.take(again, None).rides;
        let party = rides.first().unwrap().party;
        assert_eq!(party.places, Some(places));
        assert_eq!(party.boarded_at, Some(started.ride.since));
    }
}
