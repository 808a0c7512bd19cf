//! Everything at once, at random, and after every step the rules that must hold whatever came before:
//!
//! - a driver is set aside for at most one thing, and that thing knows of them: an offer its search has
//!   open, or a reservation that is open;
//! - and the other way round: whoever is offered a trip, or reserved, is set aside for it;
//! - a trip has at most one driver, a driver at most one trip and one beside it, and both agree;
//! - searches find exactly the drivers who are idle and whose position is known; of those, the ones with
//!   a destination are kept apart.
//!
//! What is not a failure: a search that finds nobody, a request that is refused.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use jitney_proto::{
    ids::{DriverId, RiderId, TripId},
    matching::v1::{Ping, RequestMatchResponse, StreamDriverResponse},
    trips::v1::TripState,
};
use jitney_roads::{
    LatLon, Snap,
    testmap::{self, Dice},
};
use proptest::prelude::*;
use tokio::sync::Notify;
use uuid::Uuid;

use super::*;
use crate::{
    fleet::ShiftChange,
    news::{News, What},
    offer::{Offer, OfferEnd},
    outbound::{OutboundStream, outbound},
    ping::Sighting,
    policy::Policy,
    product::ProductSet,
    reservation::Wish,
    rides::{Beside, Leg, Live, Party, Places, Ride, StopOrder},
    search::Errand,
    wire::point,
};

const DRIVERS: u32 = 6;
const TRIPS: u32 = 5;

struct Chaos {
    dispatch: Dispatch,
    ground: Arc<Ground>,
    dice: Dice,
    now: DateTime<Utc>,
    /// Streams that are read by nobody, but open.
    searches: BTreeMap<TripId, OutboundStream<RequestMatchResponse>>,
    apps: BTreeMap<DriverKey, OutboundStream<StreamDriverResponse>>,
    drawn_up: Vec<Offer>,
    steps: Vec<String>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut config = Config {
            stream_queue_max: 1_000,
            ..Config::default()
        };
        let chaining = Policy {
            chain_ahead: std::time::Duration::from_secs(600),
            ..Policy::batched()
        };
        config.policies.insert(config.policy.clone(), chaining);
        let roads = Arc::new(testmap::grid(4, 4, 200.0));
        let ground = Arc::new(Ground::new(config, roads));
        let dispatch = Dispatch::new(Arc::clone(&ground), seed, Arc::new(Notify::new()));
        Self {
            dispatch,
            ground,
            dice: Dice::new(seed),
            now: DateTime::UNIX_EPOCH + TimeDelta::days(10_000),
            searches: BTreeMap::new(),
            apps: BTreeMap::new(),
            drawn_up: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn driver(&mut self) -> DriverId {
        format!("d{}", self.dice.below(DRIVERS)).parse().unwrap()
    }

    fn trip(&mut self) -> TripId {
        TripId(Uuid::from_u128(u128::from(self.dice.below(TRIPS))))
    }

    fn step(&mut self) {
        let now = self.now;
        let (driver, trip) = (self.driver(), self.trip());
        let key = self.dispatch.intern(&driver, now);
        let step = match self.dice.below(15) {
            0 => {
                let (out, stream) = outbound(1_000);
                self.dispatch.hello(&driver, None, out, now);
                self.apps.insert(key, stream);
                format!("{driver} connects")
            }
            1..=3 => {
                let available = self.dice.below(4) != 0;
                let products = Some(ProductSet::ANY);
                let change = ShiftChange {
                    available,
                    products,
                    vehicle: None,
                    destination: self.destination(),
                };
                self.dispatch.shift(key, change, now);
                format!("{driver} available: {available}")
            }
            4..=5 => {
                let snap = self.place();
                let ping = Ping {
                    location: Some(point(snap.point)),
                    ..Default::default()
                };
                let sighting = Sighting::read(&ping, &self.ground.roads, 100.0);
                self.dispatch.pings(key, 1, &[sighting], now);
                format!("{driver} pings")
            }
            6 => self.request(trip),
            7 => {
                self.dispatch.cancel(trip, now);
                format!("{trip} is cancelled")
            }
            8 => {
                self.searches.remove(&trip);
                format!("{trip}'s stream is lost")
            }
            9 => {
                self.now += TimeDelta::milliseconds(i64::from(self.dice.below(9_000)));
                self.dispatch.expire_reservations(self.now);
                self.dispatch.sweep(self.now);
                "time passes".to_owned()
            }
            10 => self.book(),
            11 => match self.drawn_up.pop() {
                Some(offer) if self.dice.below(4) == 0 => {
                    self.dispatch.drop_unwritten(&offer, now);
                    format!("{} is not written", offer.trip)
                }
                Some(offer) => {
                    self.dispatch.make(&offer, now);
                    format!("{} is offered to {}", offer.trip, offer.driver)
                }
                None => "nothing to write".to_owned(),
            },
            12 => {
                let what = self.news(trip, &driver);
                let step = format!("{trip}: {what:?}");
                let version = 1;
                let news = News {
                    trip,
                    version,
                    what,
                };
                self.dispatch.hear(&news, now);
                step
            }
            _ => {
                let due = self.dispatch.advance(now);
                self.drawn_up.extend(due.offers);
                let decided = self.dispatch.plan(&due.looking, now);
                self.drawn_up.extend(self.dispatch.settle(decided, now));
                "searches advance".to_owned()
            }
        };
        self.steps.push(step);
    }

    fn place(&mut self) -> Snap {
        testmap::random_snaps(&self.ground.roads, self.dice.roll(), 1)[0]
    }

    fn destination(&mut self) -> Option<Option<LatLon>> {
        match self.dice.below(6) {
            0 => Some(Some(self.place().point)),
            1 => Some(None),
            _ => None,
        }
    }

    fn request(&mut self, trip: TripId) -> String {
        let (pickup, dropoff) = (self.place(), self.place());
        let errand = Errand {
            trip,
            rider: "rita".parse().unwrap(),
            product: "economy".parse().unwrap(),
            wanted: ProductSet::ANY,
            places: Places {
                pickup: pickup.point,
                dropoff: Some(dropoff.point),
            },
            pickup,
            dropoff: Some(dropoff),
            seats: 1 + self.dice.below(3),
            shares: self.dice.below(2) == 0,
            fare: None,
            reservation: self
                .dispatch
                .reservations
                .all_open()
                .map(|(id, _)| id)
                .min(),
            give_up_at: self.now + TimeDelta::seconds(60),
        };
        let excluded = if self.dice.below(3) == 0 {
            vec![self.driver()]
        } else {
            Vec::new()
        };
        let (out, stream) = outbound(1_000);
        let step = format!("{trip} is requested without {excluded:?}");
        self.dispatch.request(errand, excluded, None, out, self.now);
        self.searches.insert(trip, stream);
        step
    }

    fn book(&mut self) -> String {
        let rider: RiderId = "rita".parse().unwrap();
        let pickup = self.place();
        let wish = Wish {
            pickup: pickup.point,
            product: String::new(),
        };
        let request = BookingRequest {
            rider,
            key: String::new(),
            wish,
            pickup,
            product: "economy".parse().unwrap(),
            wanted: ProductSet::ANY,
            open_max: 0,
        };
        format!("booked: {:?}", self.dispatch.book(request, self.now).ok())
    }

    fn news(&mut self, trip: TripId, driver: &DriverId) -> What {
        let since = self.now - TimeDelta::milliseconds(i64::from(self.dice.below(5_000)));
        let open = self
            .dispatch
            .searches
            .get(&trip)
            .and_then(|search| search.open.as_ref());
        match (self.dice.below(6), open) {
            (0, Some(open)) => What::OfferOver {
                offer: open.offer.id,
                end: OfferEnd::Declined,
            },
            (1, _) => What::Over {
                state: TripState::Cancelled,
            },
            (2, _) => What::Released {
                state: TripState::Searching,
            },
            (turn, _) => What::Riding {
                driver: driver.clone(),
                live: Live {
                    ride: Ride { trip, since },
                    leg: if turn == 3 {
                        Leg::ToDropoff
                    } else {
                        Leg::ToPickup
                    },
                    party: Party {
                        places: Some(Places {
                            pickup: self.place().point,
                            dropoff: Some(self.place().point),
                        }),
                        shares: self.dice.below(2) == 0,
                        ..Party::default()
                    },
                },
                beside: self.beside(),
            },
        }
    }

    fn beside(&mut self) -> Option<Beside> {
        let orders = StopOrder::ALL;
        (self.dice.below(2) == 0).then(|| Beside {
            trip: self.trip(),
            shared: self.dice.below(2) == 0,
            order: orders[self.dice.below(orders.len() as u32) as usize],
        })
    }

    /// The rules.
    fn check(&self) {
        let Dispatch {
            fleet,
            searches,
            reservations,
            ..
        } = &self.dispatch;
        let mut idle = 0;
        for (key, driver) in fleet.iter() {
            let id = fleet.id(key);
            match driver.standing.hold() {
                Some(Hold::Offer(trip, offer)) => {
                    let open = searches.get(&trip).and_then(|search| search.open.as_ref());
                    let open = open.unwrap_or_else(|| panic!("{id} is held for no offer"));
                    assert_eq!((open.offer.id, &open.offer.driver), (offer, id));
                }
                Some(Hold::Reservation(reservation)) => {
                    let mut open = reservations.all_open();
                    assert!(
                        open.any(|open| open == (reservation, key)),
                        "{id}'s reservation"
                    );
                }
                None => {}
            }
            let rides = driver.standing.rides();
            for live in rides.iter() {
                assert_eq!(fleet.driver_of(live.ride.trip), Some(key), "{id}'s trip");
            }
            assert!(
                rides.iter().count() <= 2 && (rides.first().is_some() || rides.second().is_none())
            );
            let is_findable = driver.standing.is_idle() && driver.fix.is_some();
            let is_open = is_findable && driver.destination.is_none();
            idle += usize::from(is_open);
            assert_eq!(
                fleet.index().post(key).is_some(),
                is_open,
                "{id} in the index"
            );
            assert_eq!(
                fleet.homebound().any(|(own, _)| own == key),
                is_findable && !is_open,
                "{id} among the homebound"
            );
        }
        assert_eq!(fleet.index().len(), idle);
        for (trip, search) in searches {
            if let Some(open) = &search.open {
                let key = fleet.key(&open.offer.driver).unwrap();
                let hold = fleet.driver(key).standing.hold();
                assert_eq!(
                    hold,
                    Some(Hold::Offer(*trip, open.offer.id)),
                    "{trip}'s offer"
                );
            }
        }
        for (id, driver) in reservations.all_open() {
            let hold = fleet.driver(driver).standing.hold();
            assert_eq!(hold, Some(Hold::Reservation(id)), "a reservation's driver");
        }
        for number in 0..TRIPS {
            let trip = TripId(Uuid::from_u128(u128::from(number)));
            if let Some(key) = fleet.driver_of(trip) {
                let rides = fleet.driver(key).standing.rides();
                assert!(rides.of(trip).is_some(), "{trip}'s driver");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_whatever_happens(seed in any::<u64>()) {
        let mut chaos = Chaos::new(seed);
        for _ in 0..250 {
            chaos.step();
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| chaos.check()));
            prop_assert!(checked.is_ok(), "after {:#?}", &chaos.steps[chaos.steps.len().saturating_sub(12)..]);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_run(seed in any::<u64>()) {
        let run = || {
            let mut chaos = Chaos::new(seed);
            (0..120).for_each(|_| chaos.step());
            chaos.steps
        };
        prop_assert_eq!(run(), run());
    }
}
