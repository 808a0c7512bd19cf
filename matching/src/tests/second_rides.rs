//! Second rides: the next one given to a driver who is about to finish, and parties that share a car.

use std::time::Duration;

use jitney_proto::{
    common::v1::Point,
    matching::v1::{self as wire, DriverState, StopKind, VerdictReason},
    trips::v1::{TripEvent, TripEventKind},
};

use super::support::{App, Town, corner, trip};
use crate::{Config, policy::Policy};

/// A town where drivers get their next ride up to two minutes before they are free.
async fn chaining_town() -> Town {
    let mut config = Config::default();
    let chaining = Policy {
        chain_ahead: Duration::from_secs(120),
        ..Policy::batched()
    };
    config.policies.insert("chaining".to_owned(), chaining);
    config.policy = "chaining".to_owned();
    Town::with(config).await
}

impl Town {
    /// A ride from one corner to another.
    fn ride(
        &self,
        (number, version): (u32, i64),
        kind: TripEventKind,
        product: &str,
        (from, to): (Point, Point),
    ) -> TripEvent {
        TripEvent {
            product: product.to_owned(),
            seats: 1,
            pickup: Some(from),
            dropoff: Some(to),
            ..self.event(number, version, kind, "anna")
        }
    }

    /// Anna drives trip 1 from one corner to another.
    async fn anna_drives(&self, product: &str, places: (Point, Point)) {
        for (version, kind) in [(1, TripEventKind::Assigned), (2, TripEventKind::Started)] {
            self.tell(self.ride((1, version), kind, product, places))
                .await;
        }
    }

    fn request_of(
        &self,
        number: u32,
        product: &str,
        (from, to): (Point, Point),
    ) -> wire::RequestMatchRequest {
        wire::RequestMatchRequest {
            product: product.to_owned(),
            pickup: Some(from),
            dropoff: Some(to),
            ..self.match_request(number)
        }
    }

    /// The drivers a trip's first round looked at, and why it was or was not them.
    async fn verdicts(&self, number: u32) -> Vec<(String, VerdictReason)> {
        let rounds = self.rounds(number, 1).await;
        let explained = self.explain(&rounds[0].round_id).await.unwrap();
        let of_trip = |outcome: &&wire::RequestOutcome| outcome.trip_id == trip(number);
        let outcome = explained.outcomes.iter().find(of_trip).unwrap();
        let drivers = outcome.drivers.iter();
        drivers
            .map(|driver| (driver.driver_id.clone(), driver.reason()))
            .collect()
    }
}

fn stops(stops: &[wire::PlannedStop]) -> Vec<(u32, StopKind)> {
    let number = |id: &str| (1..10).find(|&number| trip(number) == id).unwrap();
    stops
        .iter()
        .map(|stop| (number(&stop.trip_id), stop.kind()))
        .collect()
}

async fn anna_at(town: &Town, x: u32, y: u32) -> App {
    let mut anna = town.connect("anna", wire::Hello::default()).await;
    anna.welcome().await;
    anna.begin_shift(&["economy", "shared"]).await;
    anna.ping(corner(x, y)).await;
    anna
}

use StopKind::{Dropoff, Pickup};

#[tokio::test]
async fn the_next_ride_is_given_before_the_first_ends() {
    let town = chaining_town().await;
    let mut anna = anna_at(&town, 4, 0).await;
    town.anna_drives("economy", (corner(0, 0), corner(6, 0)))
        .await;
    assert_eq!(anna.assignment().await.trip_id, trip(1));
    let wish = town.request_of(2, "economy", (corner(7, 0), corner(9, 0)));
    let mut search = town.search_with(wish).await;
    let made = town.until(search.made()).await;
    assert_eq!(
        (made.driver_id.as_str(), made.beside_trip_id.as_str()),
        ("anna", trip(1).as_str())
    );
    assert!(!made.shared);
    // Two blocks to go, and one to the pick-up.
    assert!(
        (60_000..61_000).contains(&made.pickup_duration_ms),
        "{made:?}"
    );
    let (_, offer) = anna.offer().await;
    assert_eq!(offer.beside_trip_id, trip(1));
    let ahead = [(1, Dropoff), (2, Pickup), (2, Dropoff)];
    assert_eq!(stops(&offer.stops), ahead);
    assert_eq!(town.state("anna").await, DriverState::OnTrip);

    let accepted = TripEvent {
        beside_trip_id: trip(1),
        ..town.ride(
            (2, 1),
            TripEventKind::Assigned,
            "economy",
            (corner(7, 0), corner(9, 0)),
        )
    };
    town.tell(accepted).await;
    assert_eq!(search.ended().await, wire::MatchEndReason::Assigned);
    let assignment = anna.assignment().await;
    assert_eq!(
        (assignment.trip_id, assignment.beside_trip_id),
        (trip(2), trip(1))
    );
    assert_eq!(stops(&assignment.stops), ahead);
    assert!(assignment.to_pickup.is_none(), "another stop comes first");

    // The rider who waits is told of both.
    let watch = wire::WatchDriverRequest {
        driver_id: "anna".into(),
        target: Some(corner(7, 0)),
    };
    let call = town.as_service(watch);
    let mut seen = town.client().watch_driver(call).await.unwrap().into_inner();
    let seen = seen.message().await.unwrap().unwrap();
    assert!((60_000..61_000).contains(&seen.eta_ms.unwrap()), "{seen:?}");

    let town = town.restart(false).await;
    let driver = town.driver("anna").await;
    assert_eq!(driver.state(), DriverState::Chained);
    assert_eq!((driver.trip_id, driver.second_trip_id), (trip(1), trip(2)));
    assert_eq!(stops(&driver.stops), ahead);
    town.tell(town.event(1, 3, TripEventKind::Completed, "anna"))
        .await;
    let town = town.restart(false).await;
    let driver = town.driver("anna").await;
    assert_eq!(
        (driver.state(), driver.trip_id.as_str()),
        (DriverState::EnRoute, trip(2).as_str())
    );
    assert_eq!(driver.second_trip_id, "");
    assert_eq!(stops(&driver.stops), [(2, Pickup), (2, Dropoff)]);
}

#[tokio::test]
async fn a_driver_far_from_the_end_gets_no_next_ride() {
    let town = chaining_town().await;
    let _anna = anna_at(&town, 0, 0).await;
    town.anna_drives("economy", (corner(0, 0), corner(9, 0)))
        .await;
    let _search = town
        .search_with(town.request_of(2, "economy", (corner(9, 0), corner(5, 0))))
        .await;
    let expected = [("anna".to_owned(), VerdictReason::OnTrip)];
    assert_eq!(town.verdicts(2).await, expected);
}

#[tokio::test]
async fn an_offer_beside_a_ride_outlives_it_and_a_restart() {
    let town = chaining_town().await;
    let anna = anna_at(&town, 5, 0).await;
    town.anna_drives("economy", (corner(0, 0), corner(6, 0)))
        .await;
    let wish = town.request_of(2, "economy", (corner(7, 0), corner(9, 0)));
    let mut search = town.search_with(wish.clone()).await;
    let made = town.until(search.made()).await;
    drop((search, anna));
    let town = town.restart(false).await;
    let mut search = town.search_with(wish.clone()).await;
    let again = search.made().await;
    assert_eq!(
        (again.offer_id, again.beside_trip_id),
        (made.offer_id.clone(), trip(1))
    );
    town.tell(town.event(1, 3, TripEventKind::Completed, "anna"))
        .await;
    assert_eq!(town.state("anna").await, DriverState::Offered);
    // The trip service found the first ride over: this one is alone.
    let places = (corner(7, 0), corner(9, 0));
    town.tell(town.ride((2, 1), TripEventKind::Assigned, "economy", places))
        .await;
    assert_eq!(search.ended().await, wire::MatchEndReason::Assigned);
    let driver = town.driver("anna").await;
    assert_eq!(
        (
            driver.state(),
            driver.trip_id,
            driver.second_trip_id.as_str()
        ),
        (DriverState::EnRoute, trip(2), "")
    );
}

#[tokio::test]
async fn a_second_party_on_the_way_shares_the_car() {
    let town = Town::new().await;
    let mut anna = anna_at(&town, 1, 0).await;
    town.anna_drives("shared", (corner(0, 0), corner(9, 0)))
        .await;
    anna.assignment().await;
    // An idle driver is nearer in time, and would drive for one party alone.
    let mut ben = town.connect("ben", wire::Hello::default()).await;
    ben.welcome().await;
    ben.begin_shift(&["shared"]).await;
    ben.ping(corner(4, 1)).await;
    let wish = town.request_of(2, "shared", (corner(3, 0), corner(6, 0)));
    let mut search = town.search_with(wish).await;
    let made = search.made().await;
    assert_eq!((made.driver_id.as_str(), made.shared), ("anna", true));
    assert!((40_000..41_000).contains(&made.pickup_duration_ms));
    let (_, offer) = anna.offer().await;
    let ahead = [(2, Pickup), (2, Dropoff), (1, Dropoff)];
    assert!(offer.shared && stops(&offer.stops) == ahead);

    let accepted = TripEvent {
        beside_trip_id: trip(1),
        shared: true,
        ..town.ride(
            (2, 1),
            TripEventKind::Assigned,
            "shared",
            (corner(3, 0), corner(6, 0)),
        )
    };
    town.tell(accepted).await;
    let assignment = anna.assignment().await;
    assert!(assignment.shared && stops(&assignment.stops) == ahead);
    assert!(assignment.to_pickup.is_some(), "it is the next stop");
    let rounds = town.rounds(2, 1).await;
    let explained = town.explain(&rounds[0].round_id).await.unwrap();
    assert_eq!(explained.outcomes[0].shares_with_trip_id, trip(1));
    let replayed = town.replay(&rounds[0].round_id, "").await.unwrap();
    assert!(replayed.is_identical);

    let town = town.restart(false).await;
    let driver = town.driver("anna").await;
    assert_eq!(
        (driver.state(), stops(&driver.stops)),
        (DriverState::OnTrip, ahead.to_vec())
    );
    let places = (corner(3, 0), corner(6, 0));
    town.tell(town.ride((2, 2), TripEventKind::Started, "shared", places))
        .await;
    let ahead = [(2, Dropoff), (1, Dropoff)];
    assert_eq!(stops(&town.driver("anna").await.stops), ahead);
    town.tell(town.event(2, 3, TripEventKind::Completed, "anna"))
        .await;
    let driver = town.driver("anna").await;
    assert_eq!(
        (driver.trip_id, driver.second_trip_id.as_str()),
        (trip(1), "")
    );
}

#[tokio::test]
async fn who_cannot_share_is_told_why() {
    let town = Town::new().await;
    let _anna = anna_at(&town, 1, 0).await;
    town.anna_drives("shared", (corner(0, 0), corner(6, 0)))
        .await;
    let why = async |number, places, seats| {
        let wish = wire::RequestMatchRequest {
            seats,
            ..town.request_of(number, "shared", places)
        };
        let search = town.search_with(wish).await;
        let verdicts = town.verdicts(number).await;
        drop(search);
        verdicts[0].1
    };
    let on_the_way = (corner(2, 0), corner(5, 0));
    assert_eq!(why(2, on_the_way, 4).await, VerdictReason::Seats);
    let far_aside = (corner(3, 9), corner(6, 9));
    assert_eq!(why(3, far_aside, 1).await, VerdictReason::Detour);
    // Riders who want the car for themselves share none.
    let alone = town.request_of(4, "economy", (corner(2, 0), corner(5, 0)));
    let _search = town.search_with(alone).await;
    let expected = [("anna".to_owned(), VerdictReason::OnTrip)];
    assert_eq!(town.verdicts(4).await, expected);
}

#[tokio::test]
async fn more_riders_than_seats_are_refused() {
    let town = Town::new().await;
    let wish = wire::RequestMatchRequest {
        seats: 5,
        ..town.match_request(1)
    };
    let call = town.as_service(wish);
    let refusal = town.client().request_match(call).await.unwrap_err();
    assert!(refusal.message().contains("at most 4 seats"), "{refusal:?}");
}

#[tokio::test]
async fn whoever_goes_home_is_offered_rides_on_the_way_only() {
    let town = Town::new().await;
    let mut anna = anna_at(&town, 0, 0).await;
    let towards = |destination| wire::Availability {
        available: true,
        destination_filter: Some(wire::DestinationFilter { destination }),
        ..Default::default()
    };
    use wire::stream_driver_request::Message as Say;
    anna.say(Say::Availability(towards(Some(corner(9, 0)))))
        .await;
    anna.updated().await;
    assert_eq!(town.driver("anna").await.destination, Some(corner(9, 0)));
    // It is kept over a restart.
    town.pass(2).await;
    drop(anna);
    let town = town.restart(true).await;
    assert_eq!(town.driver("anna").await.destination, Some(corner(9, 0)));

    let near = wire::NearbyDriversRequest {
        location: Some(corner(0, 0)),
        ..Default::default()
    };
    let call = town.as_service(near.clone());
    let nearby = town.client().nearby_drivers(call).await.unwrap();
    assert!(
        nearby.into_inner().drivers.is_empty(),
        "free for some rides is not free"
    );

    let back = town.request_of(1, "economy", (corner(5, 0), corner(0, 0)));
    let _back = town.search_with(back).await;
    let expected = [("anna".to_owned(), VerdictReason::GoingHome)];
    assert_eq!(town.verdicts(1).await, expected);
    let along = town.request_of(2, "economy", (corner(2, 0), corner(7, 1)));
    let mut along = town.search_with(along).await;
    assert_eq!(town.until(along.made()).await.driver_id, "anna");

    let mut anna = town.connect("anna", wire::Hello::default()).await;
    anna.welcome().await;
    anna.offer().await;
    anna.say(Say::Availability(towards(None))).await;
    anna.updated().await;
    assert_eq!(town.driver("anna").await.destination, None);
    let nowhere = Some(Point::new(80.0, 0.0));
    anna.say(Say::Availability(towards(nowhere))).await;
    let refusal = anna.next().await.unwrap_err();
    assert!(refusal.message().contains("road"), "{refusal:?}");
}
