//! RequestMatch and ApplyTripEvents: how a trip finds its driver, whatever gets in the way.

use jitney_proto::{
    Code,
    common::v1::Money,
    matching::v1::{
        self as wire, DriverState, MatchEndReason, OfferEndReason,
        stream_driver_request::Message as Say,
    },
    trips::v1::TripEventKind,
};

use super::support::{Town, corner, trip};

#[tokio::test]
async fn the_nearest_is_offered_first_and_the_accepted_ride_runs_to_its_end() {
    let town = Town::new().await;
    let _far = town.driver_at("ben", 5, 5).await;
    let mut near = town.driver_at("anna", 1, 1).await;
    let mut search = town.search(1).await;
    let made = search.made().await;
    assert_eq!(made.driver_id, "anna");
    assert!(
        (40_000..41_000).contains(&made.pickup_duration_ms),
        "{made:?}"
    );
    let (_, offer) = near.offer().await;
    assert_eq!(
        (offer.offer_id, offer.trip_id),
        (made.offer_id.clone(), trip(1))
    );
    assert_eq!(
        (offer.pickup, offer.dropoff),
        (Some(corner(0, 0)), Some(corner(5, 5)))
    );
    assert_eq!(offer.fare.unwrap().minor_units, 1234);
    assert_eq!(offer.expires_at, made.expires_at);
    assert_eq!(town.state("anna").await, DriverState::Offered);

    assert!(
        town.tell(town.event(1, 3, TripEventKind::Assigned, "anna"))
            .await
    );
    assert_eq!(search.ended().await, MatchEndReason::Assigned);
    let assignment = near.assignment().await;
    assert!((40_000..41_000).contains(&assignment.to_pickup.unwrap().duration_ms));
    assert_eq!(town.state("anna").await, DriverState::EnRoute);
    assert!(
        !town
            .tell(town.event(1, 3, TripEventKind::Assigned, "anna"))
            .await,
        "no news"
    );
    town.tell(town.event(1, 4, TripEventKind::DriverArrived, "anna"))
        .await;
    assert_eq!(town.state("anna").await, DriverState::EnRoute);
    town.tell(town.event(1, 5, TripEventKind::Started, "anna"))
        .await;
    assert_eq!(town.state("anna").await, DriverState::OnTrip);
    assert_eq!(town.driver("anna").await.trip_id, trip(1));
    town.tell(town.event(1, 6, TripEventKind::Completed, "anna"))
        .await;
    let ended = near.assignment_ended().await;
    assert_eq!(ended.trip_state, "TRIP_STATE_COMPLETED");
    assert_eq!(town.state("anna").await, DriverState::Idle);
    assert!(
        !town
            .tell(town.event(1, 5, TripEventKind::Started, "anna"))
            .await
    );
    assert_eq!(town.state("anna").await, DriverState::Idle);
}

#[tokio::test]
async fn a_decline_goes_on_to_the_next_and_never_back() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut ben = town.driver_at("ben", 2, 0).await;
    let mut search = town.search(1).await;
    let made = search.made().await;
    anna.offer().await;
    let mut declined = town.event(1, 3, TripEventKind::OfferDeclined, "anna");
    declined.offer_id = made.offer_id.clone();
    town.tell(declined).await;
    let ended = search.offer_ended().await;
    assert_eq!(
        (ended.offer_id.as_str(), ended.reason()),
        (made.offer_id.as_str(), OfferEndReason::Declined)
    );
    assert_eq!(anna.withdrawn().await, OfferEndReason::Declined);
    assert_eq!(town.state("anna").await, DriverState::Idle);
    let second = search.made().await;
    assert_eq!(second.driver_id, "ben");
    let (_, offer) = ben.offer().await;
    let mut declined = town.event(1, 5, TripEventKind::OfferDeclined, "ben");
    declined.offer_id = offer.offer_id;
    town.tell(declined).await;
    search.offer_ended().await;
    town.pass(5).await;
    // Somebody else comes on shift: the search wakes for them.
    let _carl = town.driver_at("carl", 9, 9).await;
    assert_eq!(search.made().await.driver_id, "carl");
}

#[tokio::test]
async fn a_rider_who_goes_elsewhere_has_drivers_asked_anew() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut search = town.search(1).await;
    let first = search.made().await;
    anna.offer().await;
    let elsewhere = wire::RequestMatchRequest {
        dropoff: Some(corner(2, 5)),
        open_offer_id: first.offer_id.clone(),
        ..town.match_request(1)
    };
    let mut search = town.search_with(elsewhere.clone()).await;
    let ended = search.offer_ended().await;
    assert_eq!(
        (ended.offer_id.as_str(), ended.reason()),
        (first.offer_id.as_str(), OfferEndReason::Withdrawn)
    );
    assert_eq!(anna.withdrawn().await, OfferEndReason::Withdrawn);
    let (_, offer) = anna.offer().await;
    assert_eq!(offer.dropoff, Some(corner(2, 5)));
    let second = search.made().await;
    assert_eq!(second.offer_id, offer.offer_id);

    // Asked again as it was asked before, or for the price alone.
    let again = wire::RequestMatchRequest {
        open_offer_id: second.offer_id.clone(),
        ..elsewhere.clone()
    };
    let mut search = town.search_with(again.clone()).await;
    assert_eq!(search.made().await.offer_id, second.offer_id);
    let dearer = wire::RequestMatchRequest {
        fare: town.match_request(1).fare.map(|fare| Money {
            minor_units: fare.minor_units + 1,
            ..fare
        }),
        ..again
    };
    let mut search = town.search_with(dearer).await;
    assert_eq!(search.offer_ended().await.offer_id, second.offer_id);
    assert_eq!(anna.withdrawn().await, OfferEndReason::Withdrawn);
    let (_, offer) = anna.offer().await;
    assert_eq!(offer.fare.unwrap().minor_units, 1235);
}

#[tokio::test]
async fn the_end_of_an_offer_by_a_change_of_the_way_is_heard() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut search = town.search(1).await;
    let made = search.made().await;
    anna.offer().await;
    let mut changed = town.event(1, 3, TripEventKind::DestinationChanged, "anna");
    changed.offer_id = made.offer_id.clone();
    assert!(town.tell(changed).await);
    assert_eq!(search.offer_ended().await.offer_id, made.offer_id);
    assert_eq!(anna.withdrawn().await, OfferEndReason::Withdrawn);
}

#[tokio::test]
async fn an_unanswered_offer_ends_after_its_time_and_a_grace() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut search = town.search(1).await;
    search.made().await;
    anna.offer().await;
    town.pass(15).await;
    assert_eq!(
        town.state("anna").await,
        DriverState::Offered,
        "an acceptance may be on its way"
    );
    town.pass(1).await;
    let ended = search.offer_ended().await;
    assert_eq!(
        (ended.driver_id.as_str(), ended.reason()),
        ("anna", OfferEndReason::Expired)
    );
    assert_eq!(anna.withdrawn().await, OfferEndReason::Expired);
    assert_eq!(town.state("anna").await, DriverState::Idle);
    // Anna is not asked again; nobody else is there, so the search gives up in the end.
    for _ in 0..5 {
        anna.ping(corner(1, 0)).await;
        town.pass(25).await;
    }
    let ended = search.ended_telling().await;
    assert_eq!(ended.reason(), MatchEndReason::NoDriver);
    assert_eq!(
        ended.detail,
        "1 offered: 0 declined, 1 did not answer, 0 withdrawn; those near were unwilling"
    );
}

#[tokio::test]
async fn a_search_in_vain_tells_why_its_last_round_had_nobody() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    town.tell(town.event(2, 3, TripEventKind::Assigned, "anna"))
        .await;
    anna.assignment().await;
    let mut alone = town.search(3).await;
    for _ in 0..5 {
        anna.ping(corner(1, 0)).await;
        town.pass(25).await;
    }
    let ended = alone.ended_telling().await;
    assert_eq!(ended.reason(), MatchEndReason::NoDriver);
    assert_eq!(
        ended.detail,
        "no driver was free; those near were on a ride"
    );
}

#[tokio::test]
async fn a_cancelled_search_withdraws_its_offer() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut search = town.search(1).await;
    search.made().await;
    anna.offer().await;
    for _ in 0..2 {
        let cancel = wire::CancelMatchRequest { trip_id: trip(1) };
        town.client()
            .cancel_match(town.as_service(cancel))
            .await
            .unwrap();
    }
    assert_eq!(
        search.offer_ended().await.reason(),
        OfferEndReason::Withdrawn
    );
    assert_eq!(search.ended().await, MatchEndReason::Cancelled);
    assert_eq!(anna.withdrawn().await, OfferEndReason::Withdrawn);
    assert_eq!(town.state("anna").await, DriverState::Idle);

    // The same when the trip's end is heard of by an event.
    let mut search = town.search(2).await;
    search.made().await;
    town.tell(town.event(2, 3, TripEventKind::Cancelled, ""))
        .await;
    assert_eq!(
        search.offer_ended().await.reason(),
        OfferEndReason::Withdrawn
    );
    assert_eq!(search.ended().await, MatchEndReason::Cancelled);
}

#[tokio::test]
async fn a_driver_who_leaves_while_asked_is_passed_over() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut ben = town.driver_at("ben", 2, 0).await;
    let mut search = town.search(1).await;
    search.made().await;
    anna.offer().await;
    anna.say(Say::Availability(wire::Availability::default()))
        .await;
    assert_eq!(
        search.offer_ended().await.reason(),
        OfferEndReason::Withdrawn
    );
    assert_eq!(anna.withdrawn().await, OfferEndReason::Withdrawn);
    assert_eq!(anna.updated().await, DriverState::Offline);
    assert_eq!(search.made().await.driver_id, "ben");
    assert_eq!(ben.offer().await.1.trip_id, trip(1));
}

#[tokio::test]
async fn going_off_shift_on_a_trip_waits_for_its_end() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    town.tell(town.event(1, 3, TripEventKind::Assigned, "anna"))
        .await;
    anna.assignment().await;
    anna.say(Say::Availability(wire::Availability::default()))
        .await;
    assert_eq!(anna.updated().await, DriverState::EnRoute);
    town.tell(town.event(1, 4, TripEventKind::Cancelled, "anna"))
        .await;
    anna.assignment_ended().await;
    assert_eq!(town.state("anna").await, DriverState::Offline);
}

#[tokio::test]
async fn an_acceptance_that_comes_late_is_obeyed() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut ben = town.driver_at("ben", 2, 0).await;
    let mut search = town.search(1).await;
    search.made().await;
    anna.offer().await;
    town.pass(16).await;
    search.offer_ended().await;
    anna.withdrawn().await;
    assert_eq!(search.made().await.driver_id, "ben");
    ben.offer().await;
    // Anna, meanwhile, is asked by another trip.
    let mut other = town.search(2).await;
    other.made().await;
    assert_eq!(anna.offer().await.1.trip_id, trip(2));

    town.tell(town.event(1, 4, TripEventKind::Assigned, "anna"))
        .await;
    assert_eq!(search.ended().await, MatchEndReason::Assigned);
    assert_eq!(ben.withdrawn().await, OfferEndReason::Withdrawn);
    assert_eq!(anna.withdrawn().await, OfferEndReason::Withdrawn);
    assert_eq!(anna.assignment().await.trip_id, trip(1));
    assert_eq!(town.state("anna").await, DriverState::EnRoute);
    // Ben is free again, and the other trip is his to take.
    assert_eq!(
        other.offer_ended().await.reason(),
        OfferEndReason::Withdrawn
    );
    assert_eq!(other.made().await.driver_id, "ben");
}

#[tokio::test]
async fn an_assignment_may_be_to_somebody_never_seen() {
    let town = Town::new().await;
    town.tell(town.event(1, 3, TripEventKind::Assigned, "zoe"))
        .await;
    assert_eq!(town.state("zoe").await, DriverState::EnRoute);
    let mut zoe = town.connect("zoe", wire::Hello::default()).await;
    zoe.welcome().await;
    assert_eq!(
        zoe.assignment().await.to_pickup,
        None,
        "nobody knows where she is"
    );
    town.tell(town.event(1, 4, TripEventKind::Unassigned, "zoe"))
        .await;
    assert_eq!(
        zoe.assignment_ended().await.trip_state,
        "TRIP_STATE_SEARCHING"
    );
    assert_eq!(town.state("zoe").await, DriverState::Offline);
}

#[tokio::test]
async fn two_searches_never_ask_the_same_driver_at_once() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 0).await;
    let _ben = town.driver_at("ben", 2, 0).await;
    let mut asked = Vec::new();
    let mut searches = Vec::new();
    for number in 1..=5 {
        searches.push(town.search(number).await);
    }
    for search in &mut searches[..2] {
        asked.push(search.made().await.driver_id);
    }
    assert_eq!(asked, ["anna", "ben"], "the older trip first");
    // The third waits; when anna's trip is cancelled it is its turn.
    town.tell(town.event(1, 3, TripEventKind::Cancelled, ""))
        .await;
    assert_eq!(searches[2].made().await.driver_id, "anna");
}

#[tokio::test]
async fn products_are_kept_apart() {
    let town = Town::new().await;
    let mut anna = town.connect("anna", wire::Hello::default()).await;
    anna.welcome().await;
    anna.begin_shift(&["economy"]).await;
    anna.ping(corner(0, 0)).await;
    let van = wire::RequestMatchRequest {
        product: "van".into(),
        ..town.match_request(1)
    };
    let mut search = town.search_with(van).await;
    town.settle().await;
    assert_eq!(town.state("anna").await, DriverState::Idle);
    anna.begin_shift(&["van"]).await;
    assert_eq!(search.made().await.driver_id, "anna");
    let yacht = wire::RequestMatchRequest {
        product: "yacht".into(),
        ..town.match_request(2)
    };
    let refused = town
        .client()
        .request_match(town.as_service(yacht))
        .await
        .unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::UnknownProduct));
}

#[tokio::test]
async fn asking_again_takes_the_search_over_with_its_open_offer() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut first = town.search(1).await;
    let made = first.made().await;
    anna.offer().await;
    let again = wire::RequestMatchRequest {
        open_offer_id: made.offer_id.clone(),
        ..town.match_request(1)
    };
    let mut second = town.search_with(again).await;
    assert_eq!(
        Code::of(&first.next().await.unwrap_err()),
        Some(Code::Superseded)
    );
    assert_eq!(
        second.made().await,
        made,
        "said again, in case it was not heard"
    );

    // An offer nobody here knows is over; one to an excluded driver is withdrawn.
    let again = wire::RequestMatchRequest {
        open_offer_id: trip(99),
        excluded_driver_ids: vec!["anna".into()],
        ..town.match_request(1)
    };
    let mut third = town.search_with(again).await;
    assert_eq!(third.offer_ended().await.offer_id, trip(99));
    assert_eq!(third.offer_ended().await.offer_id, made.offer_id);
    assert_eq!(anna.withdrawn().await, OfferEndReason::Withdrawn);
    assert_eq!(town.state("anna").await, DriverState::Idle);
}

#[tokio::test]
async fn a_search_whose_stream_is_lost_waits_a_little_and_is_dropped() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut search = town.search(1).await;
    let made = search.made().await;
    anna.offer().await;
    drop(search);
    town.pass(5).await;
    let mut search = town.search(1).await;
    assert_eq!(search.made().await, made, "still open");
    drop(search);
    town.pass(12).await;
    assert_eq!(anna.withdrawn().await, OfferEndReason::Withdrawn);
    assert_eq!(town.state("anna").await, DriverState::Idle);
}

#[tokio::test]
async fn a_request_that_the_assignment_overtook_is_told_so() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 0).await;
    let _ben = town.driver_at("ben", 2, 0).await;
    town.tell(town.event(1, 3, TripEventKind::Assigned, "anna"))
        .await;
    assert_eq!(town.search(1).await.ended().await, MatchEndReason::Assigned);
    // Anna gave it back, and the search is here before that news.
    let again = wire::RequestMatchRequest {
        excluded_driver_ids: vec!["anna".into()],
        ..town.match_request(1)
    };
    assert_eq!(town.search_with(again).await.made().await.driver_id, "ben");
}

#[tokio::test]
async fn a_request_must_be_whole() {
    let town = Town::new().await;
    let whole = || town.match_request(1);
    let broken = [
        wire::RequestMatchRequest {
            trip_id: "x".into(),
            ..whole()
        },
        wire::RequestMatchRequest {
            rider_id: String::new(),
            ..whole()
        },
        wire::RequestMatchRequest {
            pickup: None,
            ..whole()
        },
        wire::RequestMatchRequest {
            dropoff: None,
            ..whole()
        },
        wire::RequestMatchRequest {
            give_up_at: None,
            ..whole()
        },
        wire::RequestMatchRequest {
            reservation_id: "x".into(),
            ..whole()
        },
    ];
    for request in broken {
        let refused = town
            .client()
            .request_match(town.as_service(request))
            .await
            .unwrap_err();
        assert_eq!(Code::of(&refused), Some(Code::InvalidRequest), "{refused}");
    }
}
