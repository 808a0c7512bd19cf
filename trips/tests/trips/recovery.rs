//! Searches come back by themselves: after a restart, a broken stream, or when matching says nothing.

use std::time::Duration;

use jitney_platform::{auth::Role, testing::eventually};
use jitney_proto::{
    matching::v1::{MatchEndReason, OfferEndReason},
    trips::v1::TripState,
};
use jitney_trips::Config;

use crate::support::{City, accept, cancel, complete, quick};

#[tokio::test]
async fn a_restart_goes_on_where_rides_stood() {
    let mut city = City::new().await;
    let searching = city.searching("rita").await;
    let (offered, offer_id) = city.offered("rolf", "anna").await;
    let progressing = city.in_progress("rosa", "ben").await;
    let declined = city.offer(&searching.trip_id, "carl").await;
    let search = city.matching.search(&searching.trip_id).await;
    search
        .end_offer(&declined, "carl", OfferEndReason::Expired)
        .await;
    city.in_state(&searching.trip_id, TripState::Searching)
        .await;

    city.restart().await;
    let search = city.matching.search(&searching.trip_id).await;
    assert_eq!(search.request.excluded_driver_ids, ["carl"]);
    assert_eq!(search.request.open_offer_id, "");
    let search = city.matching.search(&offered.trip_id).await;
    assert_eq!(search.request.open_offer_id, offer_id);
    assert!(search.request.excluded_driver_ids.is_empty());
    // The offer of before is still good.
    accept(&mut city.driver("anna"), &offered.trip_id, &offer_id)
        .await
        .unwrap();
    complete(&mut city.driver("ben"), &progressing.trip_id)
        .await
        .unwrap();
    eventually("the capture", async || city.billing.captures() == 1).await;
    city.check().await;
}

#[tokio::test]
async fn an_offer_that_matching_forgot_gives_way_to_its_next() {
    let city = City::new().await;
    let (trip, _) = city.offered("rita", "anna").await;
    let search = city.matching.search(&trip.trip_id).await;
    let second = search.offer("ben", Duration::from_secs(15)).await;
    eventually("the second offer", async || {
        let open = city
            .in_state(&trip.trip_id, TripState::Offered)
            .await
            .open_offer;
        open.is_some_and(|open| open.offer_id == second)
    })
    .await;
    // The same word once more is no news.
    search
        .offer_again(&second, "ben", Duration::from_secs(15))
        .await;
    accept(&mut city.driver("ben"), &trip.trip_id, &second)
        .await
        .unwrap();
    city.check().await;
}

#[tokio::test]
async fn a_broken_search_is_begun_again() {
    let city = City::new().await;
    let trip = city.searching("rita").await;
    city.matching
        .search(&trip.trip_id)
        .await
        .break_off(tonic::Status::unavailable("x"))
        .await;
    eventually("another search", async || {
        city.matching.searches(&trip.trip_id) == 2
    })
    .await;
    city.matching
        .search(&trip.trip_id)
        .await
        .end(MatchEndReason::Cancelled)
        .await;
    eventually("another search", async || {
        city.matching.searches(&trip.trip_id) == 3
    })
    .await;
    // Matching away for a while.
    city.matching.set_away(true);
    city.matching
        .search(&trip.trip_id)
        .await
        .break_off(tonic::Status::internal("x"))
        .await;
    eventually("matching asked in vain, and again", async || {
        city.matching.searches_turned_away() >= 2
    })
    .await;
    city.matching.set_away(false);
    eventually("another search", async || {
        city.matching.searches(&trip.trip_id) >= 4
    })
    .await;
    city.offer(&trip.trip_id, "anna").await;
    // One that another took over is left to it, until it turns out that there is none.
    let known = city.matching.searches(&trip.trip_id);
    city.matching
        .search(&trip.trip_id)
        .await
        .break_off(tonic::Status::aborted("taken over"))
        .await;
    eventually("another search", async || {
        city.matching.searches(&trip.trip_id) > known
    })
    .await;
}

#[tokio::test]
async fn a_ride_that_needs_no_driver_is_not_searched_for() {
    let city = City::new().await;
    let trip = city.searching("rita").await;
    let search = city.matching.search(&trip.trip_id).await;
    cancel(&mut city.rider("rita"), &trip.trip_id)
        .await
        .unwrap();
    search.end(MatchEndReason::Cancelled).await;
    eventually("the end", async || !search.is_heard()).await;
    city.recovered().await;
    assert_eq!(city.matching.searches(&trip.trip_id), 1);
}

#[tokio::test]
async fn what_matching_never_ends_ends_by_itself() {
    let config = Config {
        search_timeout: Duration::from_millis(1500),
        search_backstop: Duration::from_millis(300),
        ..quick()
    };
    let city = City::with(config).await;
    let trip = city.searching("rita").await;
    let search = city.matching.search(&trip.trip_id).await;
    search.offer("anna", Duration::from_millis(200)).await;
    city.in_state(&trip.trip_id, TripState::Offered).await;
    city.in_state(&trip.trip_id, TripState::Searching).await;
    city.in_state(&trip.trip_id, TripState::Expired).await;
    city.check().await;
}

#[tokio::test]
async fn of_two_processes_one_searches_and_the_other_takes_over() {
    let mut city = City::new().await;
    city.add_process().await;
    let trip = city.searching("rita").await; // At the second process; the first one searches.
    let search = city.matching.search(&trip.trip_id).await;
    city.recovered().await;
    assert_eq!(city.matching.searches(&trip.trip_id), 1);
    // What one does, the other's callers see.
    let offer_id = search.offer("anna", Duration::from_secs(15)).await;
    city.in_state(&trip.trip_id, TripState::Offered).await;
    accept(
        &mut city.client_of(0, Role::Driver, "anna"),
        &trip.trip_id,
        &offer_id,
    )
    .await
    .unwrap();
    city.check().await;

    let other = city.searching("rolf").await;
    let search = city.matching.search(&other.trip_id).await;
    city.stop_process(0).await;
    assert!(!search.is_heard());
    city.matching.search(&other.trip_id).await;
    assert_eq!(city.matching.searches(&other.trip_id), 2);
}
