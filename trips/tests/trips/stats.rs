//! GetTripStats: rides counted by the minute they were asked for in.

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    trips::v1::{GetTripStatsRequest, GetTripStatsResponse, TripState},
};

use crate::support::{City, cancel, code, complete};

async fn stats(city: &City, request: GetTripStatsRequest) -> GetTripStatsResponse {
    let stats = city.operator().get_trip_stats(request).await;
    stats.expect("stats").into_inner()
}

#[tokio::test]
async fn every_ride_is_counted_once_and_as_it_ended() {
    let city = City::new().await;
    let driven = city.in_progress("rita", "dora").await;
    complete(&mut city.driver("dora"), &driven.trip_id)
        .await
        .unwrap();
    let called_off = city.searching("rolf").await;
    cancel(&mut city.rider("rolf"), &called_off.trip_id)
        .await
        .unwrap();
    city.searching("rosa").await;
    let told = stats(&city, GetTripStatsRequest::default()).await;
    assert_eq!(told.buckets.len(), 60);
    let total = told.total.unwrap();
    assert_eq!(
        (
            total.requested,
            total.completed,
            total.cancelled,
            total.live,
            total.picked_up
        ),
        (3, 1, 1, 1, 1)
    );
    assert!(total.pickup_median_ms.is_some() && total.pickup_p95_ms >= total.pickup_median_ms);
    // The buckets are all of it, each a minute later than the one before.
    let sum = |of: fn(&jitney_proto::trips::v1::TripStats) -> u32| {
        told.buckets.iter().map(of).sum::<u32>()
    };
    assert_eq!(
        (sum(|b| b.requested), sum(|b| b.completed), sum(|b| b.live)),
        (3, 1, 1)
    );
    let starts: Vec<i64> = told
        .buckets
        .iter()
        .map(|b| b.starts_at.unwrap().seconds)
        .collect();
    assert!(
        starts.windows(2).all(|pair| pair[1] - pair[0] == 60),
        "{starts:?}"
    );
    assert!(starts[59] <= told.taken_at.unwrap().seconds && starts[0] % 60 == 0);
    let idle = told
        .buckets
        .iter()
        .find(|bucket| bucket.requested == 0)
        .unwrap();
    assert_eq!((idle.pickup_mean_ms, idle.picked_up), (None, 0));
    let [reason] = &told.end_reasons[..] else {
        panic!("{:?}", told.end_reasons)
    };
    assert_eq!((reason.state(), reason.count), (TripState::Cancelled, 1));
    assert!(!reason.reason.is_empty());

    let other = GetTripStatsRequest {
        product: "comfort".to_owned(),
        minutes: 30,
        bucket_minutes: 10,
    };
    let told = stats(&city, other).await;
    assert_eq!((told.buckets.len(), told.total.unwrap().requested), (3, 0));
}

#[tokio::test]
async fn a_time_is_bounded_and_for_operators() {
    let city = City::new().await;
    for (minutes, bucket_minutes, product) in [(1_441, 10, ""), (241, 1, ""), (60, 1, "no such!")] {
        let request = GetTripStatsRequest {
            minutes,
            bucket_minutes,
            product: product.to_owned(),
        };
        let refused = city.operator().get_trip_stats(request).await;
        assert_ne!(
            code(refused),
            Code::Internal,
            "{minutes} {bucket_minutes} {product}"
        );
    }
    let day = GetTripStatsRequest {
        minutes: 1_440,
        bucket_minutes: 6,
        ..Default::default()
    };
    assert_eq!(stats(&city, day).await.buckets.len(), 240);
    for role in [Role::Rider, Role::Driver] {
        let mut stranger = city.client_of(0, role, "x");
        let refused = stranger
            .get_trip_stats(GetTripStatsRequest::default())
            .await;
        assert_eq!(code(refused), Code::PermissionDenied);
    }
}
