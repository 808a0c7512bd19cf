//! Rounds as an operator sees them: listed, explained, decided again; and the choice of policy.

use std::time::Duration;

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    matching::v1::{self as wire, VerdictReason, stream_driver_request::Message as Say},
    trips::v1::TripEventKind,
};
use tonic::Status;

use super::support::{Town, corner, trip};
use crate::{Config, config::ZoneConfig, policy::Policy};

impl Town {
    fn as_operator<T>(&self, message: T) -> tonic::Request<T> {
        self.request(Role::Operator, "olga", message)
    }

    async fn rounds_of(&self, trip_id: &str) -> Vec<wire::Round> {
        let request = wire::ListRoundsRequest {
            trip_id: trip_id.into(),
            ..Default::default()
        };
        let answer = self.client().list_rounds(self.as_operator(request)).await;
        answer.unwrap().into_inner().rounds
    }

    /// The first rounds of a trip, oldest first, once there are so many. Time passes until they are kept,
    /// so there may be later ones.
    pub async fn rounds(&self, number: u32, count: usize) -> Vec<wire::Round> {
        for _ in 0..100 {
            let mut rounds = self.rounds_of(&trip(number)).await;
            if rounds.len() >= count {
                rounds.reverse();
                return rounds;
            }
            self.pass(1).await;
        }
        panic!("there are no {count} rounds of trip {number}");
    }

    pub async fn explain(&self, round_id: &str) -> Result<wire::ExplainRoundResponse, Status> {
        let request = wire::ExplainRoundRequest {
            round_id: round_id.into(),
        };
        let answer = self.client().explain_round(self.as_operator(request)).await;
        answer.map(tonic::Response::into_inner)
    }

    pub async fn replay(
        &self,
        round_id: &str,
        policy: &str,
    ) -> Result<wire::ReplayRoundResponse, Status> {
        let request = wire::ReplayRoundRequest {
            round_id: round_id.into(),
            policy: policy.into(),
        };
        let answer = self.client().replay_round(self.as_operator(request)).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn policy(&self) -> String {
        let request = self.as_operator(wire::GetPolicyRequest {});
        self.client()
            .get_policy(request)
            .await
            .unwrap()
            .into_inner()
            .policy
    }

    async fn use_policy(&self, name: &str) -> Result<String, Status> {
        let policy = name.to_owned();
        let request = self.as_operator(wire::UsePolicyRequest { policy });
        let answer = self.client().use_policy(request).await;
        answer.map(|answer| answer.into_inner().policy)
    }
}

fn reasons(outcome: &wire::RequestOutcome) -> Vec<(&str, VerdictReason)> {
    let drivers = outcome.drivers.iter();
    drivers
        .map(|driver| (driver.driver_id.as_str(), driver.reason()))
        .collect()
}

#[tokio::test]
async fn a_round_says_of_every_driver_why_it_was_or_was_not_them() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 0).await;
    let _ben = town.driver_at("ben", 3, 0).await;
    let mut carl = town.connect("carl", wire::Hello::default()).await;
    carl.welcome().await;
    carl.begin_shift(&["van"]).await;
    carl.ping(corner(0, 1)).await;
    let _dora = town.driver_at("dora", 0, 2).await;
    town.tell(town.event(9, 1, TripEventKind::Assigned, "dora"))
        .await;

    let mut search = town.search(1).await;
    assert_eq!(search.made().await.driver_id, "anna");
    let rounds = town.rounds(1, 1).await;
    assert_eq!((rounds[0].requests, rounds[0].assigned), (1, 1));
    assert_eq!(rounds[0].policy, "immediate");
    let explained = town.explain(&rounds[0].round_id).await.unwrap();
    let outcome = &explained.outcomes[0];
    assert_eq!(
        (outcome.trip_id.as_str(), outcome.driver_id.as_str()),
        (trip(1).as_str(), "anna")
    );
    assert!((20_000..21_000).contains(&outcome.pickup_duration_ms));
    let expected = [
        ("anna", VerdictReason::Chosen),
        ("ben", VerdictReason::Dearer),
        ("carl", VerdictReason::Product),
        ("dora", VerdictReason::OnTrip),
    ];
    assert_eq!(reasons(outcome), expected);
    assert!((60_000..61_000).contains(&outcome.drivers[1].cost_ms.unwrap()));

    // Anna lets it pass; the next round says so, and what nobody could do is found by the trip.
    town.pass(17).await;
    assert_eq!(search.offer_ended().await.driver_id, "anna");
    assert_eq!(search.made().await.driver_id, "ben");
    let rounds = town.rounds(1, 2).await;
    let explained = town.explain(&rounds[1].round_id).await.unwrap();
    let outcome = &explained.outcomes[0];
    assert_eq!(reasons(outcome)[0], ("anna", VerdictReason::Declined));
    assert!(outcome.waited_ms >= 15_000);
    assert!(town.rounds_of(&trip(2)).await.is_empty());
}

#[tokio::test]
async fn a_round_is_decided_again_the_same_and_otherwise_under_another_policy() {
    let config = Config {
        policy: "batched".into(),
        ..Config::default()
    };
    let town = Town::with(config).await;
    // Both requests are nearest to anna; ben is as good for the first and bad for the second.
    let _anna = town.driver_at("anna", 1, 0).await;
    let _ben = town.driver_at("ben", 0, 2).await;
    let mut first = town.search(1).await;
    let mut request = town.match_request(2);
    request.pickup = Some(corner(2, 0));
    let mut second = town.search_with(request).await;
    town.pass(2).await;
    assert_eq!(first.made().await.driver_id, "ben");
    assert_eq!(second.made().await.driver_id, "anna");

    let rounds = town.rounds(1, 1).await;
    assert_eq!(
        (rounds[0].requests, rounds[0].policy.as_str()),
        (2, "batched")
    );
    let same = town.replay(&rounds[0].round_id, "").await.unwrap();
    assert!(same.is_identical && same.policy == "batched");
    let other = town.replay(&rounds[0].round_id, "immediate").await.unwrap();
    assert!(!other.is_identical);
    let drivers: Vec<_> = other
        .requests
        .iter()
        .map(|request| {
            (
                request.driver_id.as_str(),
                request.replayed_driver_id.as_str(),
            )
        })
        .collect();
    assert_eq!(drivers, [("ben", "anna"), ("anna", "ben")]);

    let unknown = town.replay(&rounds[0].round_id, "wild").await.unwrap_err();
    assert_eq!(Code::of(&unknown), Some(Code::InvalidRequest));
    assert!(unknown.message().contains("batched, immediate"));
    let missing = town.explain("0190a000-0000-7000-8000-000000000000").await;
    assert_eq!(Code::of(&missing.unwrap_err()), Some(Code::NotFound));
}

#[tokio::test]
async fn a_policy_is_changed_while_running_and_stays_changed() {
    let town = Town::new().await;
    assert_eq!(town.policy().await, "immediate");
    let refused = town.use_policy("wild").await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::InvalidRequest));
    assert_eq!(town.use_policy("batched").await.unwrap(), "batched");
    let town = town.restart(false).await;
    assert_eq!(town.policy().await, "batched");
    // And is obeyed: a request waits for its round.
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut search = town.search(1).await;
    town.settle().await;
    assert!(town.rounds_of(&trip(1)).await.is_empty());
    town.pass(1).await;
    assert_eq!(search.made().await.driver_id, "anna");
    anna.offer().await;
}

#[tokio::test]
async fn rounds_that_serve_nobody_are_kept_now_and_then_and_dropped_in_time() {
    let config = Config {
        rounds_kept: Duration::from_secs(0),
        ..Config::default()
    };
    let town = Town::with(config).await;
    let mut request = town.match_request(1);
    request.give_up_at = Some(jitney_proto::time::timestamp(
        town.now() + chrono::TimeDelta::seconds(25),
    ));
    let mut search = town.search_with(request).await;
    town.pass(28).await;
    assert_eq!(search.ended().await, wire::MatchEndReason::NoDriver);
    let kept = town.rounds(1, 1).await.len();
    assert!((1..=4).contains(&kept), "{kept} rounds of 25 looks");
    // Old ones are looked for every ten minutes.
    for _ in 0..700 {
        if town.rounds_of(&trip(1)).await.is_empty() {
            return;
        }
        town.pass(1).await;
    }
    panic!("the rounds are still kept");
}

#[tokio::test]
async fn a_driver_about_to_finish_is_waited_for() {
    let chaining = Policy {
        chain_ahead: Duration::from_secs(60),
        ..Policy::batched()
    };
    let mut config = Config {
        policy: "chaining".into(),
        ..Config::default()
    };
    config.policies.insert("chaining".into(), chaining);
    let town = Town::with(config).await;
    // Anna drops her rider off at the corner (5, 5) in a moment; ben is idle, far away.
    let anna = town.driver_at("anna", 4, 5).await;
    for (version, kind) in [(1, TripEventKind::Assigned), (2, TripEventKind::Started)] {
        town.tell(town.event(8, version, kind, "anna")).await;
    }
    let _ben = town.driver_at("ben", 0, 0).await;
    let mut request = town.match_request(1);
    request.pickup = Some(corner(5, 6));
    let mut search = town.search_with(request).await;
    let rounds = town.rounds(1, 1).await;
    let explained = town.explain(&rounds[0].round_id).await.unwrap();
    let outcome = &explained.outcomes[0];
    assert_eq!(
        (outcome.driver_id.as_str(), outcome.waits_for_driver),
        ("anna", true)
    );
    let at_the_end = wire::Ping {
        location: Some(corner(5, 5)),
        ..Default::default()
    };
    anna.say(Say::Pings(wire::Pings {
        batch: 2,
        pings: vec![at_the_end],
    }))
    .await;
    town.tell(town.event(8, 3, TripEventKind::Completed, "anna"))
        .await;
    town.pass(3).await;
    assert_eq!(search.made().await.driver_id, "anna");
}

#[tokio::test]
async fn a_matrix_is_as_its_routes() {
    let town = Town::new().await;
    let request = wire::ComputeMatrixRequest {
        origins: vec![corner(0, 0), corner(3, 3)],
        destinations: vec![corner(1, 0), corner(0, 0), corner(9, 9)],
    };
    let answer = town
        .client()
        .compute_matrix(town.as_operator(request))
        .await;
    let rows = answer.unwrap().into_inner().rows;
    let seconds: Vec<Vec<i64>> = rows
        .iter()
        .map(|row| row.durations_ms.iter().map(|ms| ms / 1000).collect())
        .collect();
    assert_eq!(seconds, [vec![20, 0, 360], vec![100, 120, 240]]);
    let empty = wire::ComputeMatrixRequest {
        origins: vec![corner(0, 0)],
        destinations: Vec::new(),
    };
    let refused = town.client().compute_matrix(town.as_operator(empty)).await;
    assert_eq!(Code::of(&refused.unwrap_err()), Some(Code::InvalidRequest));
}

#[tokio::test]
async fn an_airports_queue_is_served_in_the_order_of_arrival() {
    let config = Config {
        zones: vec![ZoneConfig {
            id: "airport".into(),
            latitude: corner(5, 5).latitude,
            longitude: corner(5, 5).longitude,
            radius_m: 450.0,
        }],
        ..Config::default()
    };
    let town = Town::with(config).await;
    // Anna came first and stands farther off; carl is near, but outside.
    let _anna = town.driver_at("anna", 5, 3).await;
    town.pass(5).await;
    let mut ben = town.driver_at("ben", 5, 5).await;
    let _carl = town.driver_at("carl", 8, 6).await;
    let mut request = town.match_request(1);
    request.pickup = Some(corner(5, 6));
    let mut search = town.search_with(request).await;
    assert_eq!(search.made().await.driver_id, "anna");
    let rounds = town.rounds(1, 1).await;
    let explained = town.explain(&rounds[0].round_id).await.unwrap();
    let expected = [
        ("anna", VerdictReason::Chosen),
        ("ben", VerdictReason::Dearer),
        ("carl", VerdictReason::Queue),
    ];
    assert_eq!(reasons(&explained.outcomes[0]), expected);
    town.tell(town.event(1, 9, TripEventKind::Cancelled, ""))
        .await;

    // Ben leaves the queue and comes back: behind anna, who was let go, and behind dora.
    let _dora = town.driver_at("dora", 5, 4).await;
    for place in [corner(9, 5), corner(5, 5)] {
        town.pass(15).await;
        ben.ping(place).await;
    }
    for (number, driver) in [(2, "anna"), (3, "dora"), (4, "ben")] {
        let mut request = town.match_request(number);
        request.pickup = Some(corner(5, 6));
        let mut search = town.search_with(request).await;
        assert_eq!(search.made().await.driver_id, driver);
        let event = town.event(number, 1, TripEventKind::Assigned, driver);
        town.tell(event).await;
    }
    // With nobody in the queue it goes by time.
    let mut request = town.match_request(5);
    request.pickup = Some(corner(5, 6));
    assert_eq!(
        town.search_with(request).await.made().await.driver_id,
        "carl"
    );
}
