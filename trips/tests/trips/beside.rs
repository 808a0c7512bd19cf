//! Beside the ride: links for those who worry, calls for help, ratings.

use std::time::Duration;

use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    trips::v1::{
        AcknowledgeSosRequest, Actor, GetRatingRequest, ListSosRequest, PaymentState,
        RaiseSosRequest, RateTripRequest, ShareTripRequest, TripState, UnshareTripRequest,
        WatchTripRequest, get_rating_request::Person, watch_trip_response::Update,
    },
};
use jitney_trips::{
    Config,
    config::{RatingConfig, ShareConfig},
};

use crate::support::{City, Client, cancel, code, complete, get, quick};

async fn shared(client: &mut Client, trip_id: &str) -> Result<String, tonic::Status> {
    let request = ShareTripRequest {
        trip_id: trip_id.to_owned(),
    };
    Ok(client.share_trip(request).await?.into_inner().token)
}

#[tokio::test]
async fn who_has_the_link_sees_the_ride_and_nobody() {
    let city = City::new().await;
    let trip = city.in_progress("rita", "anna").await;
    let other = city.assigned("rolf", "ben").await;
    let mut rita = city.rider("rita");
    assert_eq!(
        code(shared(&mut city.rider("rolf"), &trip.trip_id).await),
        Code::NotFound
    );
    let token = shared(&mut rita, &trip.trip_id).await.unwrap();
    let mut guest = city.guest(&token);
    let seen = get(&mut guest, &trip.trip_id).await.unwrap();
    assert_eq!(seen.state(), TripState::InProgress);
    assert_eq!(seen.driver.unwrap().plate, "ANNA-1");
    assert!(seen.pickup.is_some() && seen.dropoff.is_some());
    let mut again = get(&mut guest, &trip.trip_id).await.unwrap();
    assert!(again.rider_id.is_empty() && again.pin.is_empty() && again.fare.is_none());
    assert!(again.driver.take().unwrap().driver_id.is_empty());
    assert_eq!(again.payment_state(), PaymentState::Unspecified);
    // This trip, and to look at.
    assert_eq!(code(get(&mut guest, &other.trip_id).await), Code::NotFound);
    assert_eq!(
        code(cancel(&mut guest, &trip.trip_id).await),
        Code::PermissionDenied
    );
    assert_eq!(
        code(shared(&mut guest, &trip.trip_id).await),
        Code::PermissionDenied
    );
    // Who signs nothing gets nowhere, nor does a token that names no link.
    assert_eq!(
        code(get(&mut city.guest("x.y.z"), &trip.trip_id).await),
        Code::Unauthenticated
    );

    // As it goes on, to its end.
    let request = WatchTripRequest {
        trip_id: trip.trip_id.clone(),
        resume_token: String::new(),
    };
    let mut watch = guest.watch_trip(request).await.unwrap().into_inner();
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    let mut last = None;
    while let Some(answer) = watch.message().await.unwrap() {
        if let Some(Update::Trip(trip)) = answer.update {
            last = Some(trip);
        }
    }
    let last = last.unwrap();
    assert_eq!(last.state(), TripState::Completed);
    assert!(last.rider_id.is_empty() && last.fare.is_none() && last.end_reason.is_empty());
    // Nothing is left to follow.
    assert_eq!(
        code(shared(&mut rita, &trip.trip_id).await),
        Code::IllegalTransition
    );
}

#[tokio::test]
async fn a_link_ends_with_its_time_its_ride_and_its_maker() {
    let city = City::with(Config {
        share: ShareConfig {
            valid_for: Duration::from_secs(24 * 3600),
            after_end: Duration::ZERO,
        },
        ..quick()
    })
    .await;
    let trip = city.assigned("rita", "anna").await;
    let (mut rita, mut anna) = (city.rider("rita"), city.driver("anna"));
    let ritas = shared(&mut rita, &trip.trip_id).await.unwrap();
    let annas = shared(&mut anna, &trip.trip_id).await.unwrap();
    let unshare = UnshareTripRequest {
        trip_id: trip.trip_id.clone(),
    };
    rita.unshare_trip(unshare.clone()).await.unwrap();
    rita.unshare_trip(unshare).await.unwrap();
    assert_eq!(
        code(get(&mut city.guest(&ritas), &trip.trip_id).await),
        Code::NotFound
    );
    get(&mut city.guest(&annas), &trip.trip_id).await.unwrap();
    // Its time, by the database's clock.
    sqlx::query("UPDATE trip_share SET expires_at = now()")
        .execute(&city.pool)
        .await
        .unwrap();
    assert_eq!(
        code(get(&mut city.guest(&annas), &trip.trip_id).await),
        Code::NotFound
    );
    let token = shared(&mut rita, &trip.trip_id).await.unwrap();
    get(&mut city.guest(&token), &trip.trip_id).await.unwrap();
    cancel(&mut rita, &trip.trip_id).await.unwrap();
    assert_eq!(
        code(get(&mut city.guest(&token), &trip.trip_id).await),
        Code::NotFound
    );
}

#[tokio::test]
async fn both_say_what_they_thought_of_the_other() {
    let city = City::new().await;
    let trip = city.in_progress("rita", "anna").await;
    let (mut rita, mut anna) = (city.rider("rita"), city.driver("anna"));
    let rate = |stars| RateTripRequest {
        trip_id: trip.trip_id.clone(),
        stars,
        comment: "kind".to_owned(),
    };
    assert_eq!(code(rita.rate_trip(rate(5)).await), Code::IllegalTransition);
    complete(&mut anna, &trip.trip_id).await.unwrap();
    for stars in [0, 6, -1, i32::MAX] {
        assert_eq!(
            code(rita.rate_trip(rate(stars)).await),
            Code::InvalidRequest
        );
    }
    assert_eq!(
        code(city.rider("rolf").rate_trip(rate(1)).await),
        Code::NotFound
    );
    rita.rate_trip(rate(2)).await.unwrap();
    rita.rate_trip(rate(4)).await.unwrap();
    anna.rate_trip(rate(5)).await.unwrap();
    let of = |person| GetRatingRequest {
        person: Some(person),
    };
    let annas = of(Person::DriverId("anna".to_owned()));
    let answer = anna.get_rating(annas.clone()).await.unwrap().into_inner();
    assert_eq!((answer.ratings, answer.stars), (1, 4));
    let ritas = of(Person::RiderId("rita".to_owned()));
    let answer = city
        .operator()
        .get_rating(ritas)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.ratings, answer.stars), (1, 5));
    assert_eq!(code(rita.get_rating(annas).await), Code::NotFound);
}

#[tokio::test]
async fn a_ride_of_long_ago_is_not_rated() {
    let city = City::with(Config {
        rating: RatingConfig {
            open_for: Duration::ZERO,
            ..RatingConfig::default()
        },
        ..quick()
    })
    .await;
    let trip = city.in_progress("rita", "anna").await;
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    let request = RateTripRequest {
        trip_id: trip.trip_id.clone(),
        stars: 5,
        comment: String::new(),
    };
    let refused = city.rider("rita").rate_trip(request).await;
    assert_eq!(code(refused), Code::IllegalTransition);
}

#[tokio::test]
async fn a_call_for_help_reaches_an_operator_once() {
    let city = City::new().await;
    let searching = city.searching("rolf").await;
    let call = |trip_id: &str| RaiseSosRequest {
        trip_id: trip_id.to_owned(),
        location: Some(crate::support::PICKUP),
        note: "the door is locked".to_owned(),
    };
    let refused = city.rider("rolf").raise_sos(call(&searching.trip_id)).await;
    assert_eq!(code(refused), Code::IllegalTransition);

    let trip = city.in_progress("rita", "anna").await;
    let refused = city.rider("rolf").raise_sos(call(&trip.trip_id)).await;
    assert_eq!(code(refused), Code::NotFound);
    // Pressed over and over, at once.
    let presses = (0..8).map(|_| {
        let (mut rita, call) = (city.rider("rita"), call(&trip.trip_id));
        tokio::spawn(async move {
            rita.raise_sos(call)
                .await
                .unwrap()
                .into_inner()
                .sos
                .unwrap()
        })
    });
    let calls: Vec<_> = futures::future::join_all(presses)
        .await
        .into_iter()
        .map(|call| call.unwrap().sos_id)
        .collect();
    assert!(calls.iter().all(|id| *id == calls[0]), "{calls:?}");
    let mut olga = city.operator();
    let open = |include_acknowledged| ListSosRequest {
        include_acknowledged,
    };
    let listed = olga.list_sos(open(false)).await.unwrap().into_inner().calls;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].actor(), listed[0].actor_id.as_str()),
        (Actor::Rider, "rita")
    );
    assert_eq!(listed[0].location, Some(crate::support::PICKUP));
    let taken_up = AcknowledgeSosRequest {
        sos_id: calls[0].clone(),
    };
    let answer = olga.acknowledge_sos(taken_up.clone()).await.unwrap();
    let first = answer.into_inner().sos.unwrap();
    assert_eq!(first.acknowledged_by, "olga");
    let again = olga.acknowledge_sos(taken_up).await.unwrap().into_inner();
    assert_eq!(again.sos.unwrap(), first);
    let unknown = AcknowledgeSosRequest {
        sos_id: trip.trip_id.clone(),
    };
    assert_eq!(code(olga.acknowledge_sos(unknown).await), Code::NotFound);
    eventually("none is open", async || {
        let open = olga.list_sos(open(false)).await.unwrap().into_inner();
        open.calls.is_empty()
    })
    .await;
    // Another call is another call.
    let mut rita = city.rider("rita");
    let next = rita
        .raise_sos(call(&trip.trip_id))
        .await
        .unwrap()
        .into_inner();
    assert_ne!(next.sos.unwrap().sos_id, calls[0]);
    let all = olga.list_sos(open(true)).await.unwrap().into_inner().calls;
    assert_eq!(all.len(), 2);
}
