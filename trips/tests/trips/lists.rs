//! ListTrips: pages, filters, and whose trips.

use jitney_proto::{
    Code,
    trips::v1::{ListTripsRequest, ListTripsResponse, TripState},
};

use crate::support::{City, Client, cancel, code, complete};

async fn list(client: &mut Client, request: ListTripsRequest) -> ListTripsResponse {
    client
        .list_trips(request)
        .await
        .expect("a list")
        .into_inner()
}

#[tokio::test]
async fn pages_are_newest_first_and_complete() {
    let city = City::new().await;
    let mut rita = city.rider("rita");
    let mut made = Vec::new();
    for _ in 0..7 {
        let trip = city.searching("rita").await;
        cancel(&mut rita, &trip.trip_id).await.unwrap();
        made.push(trip.trip_id);
    }
    city.searching("rolf").await;
    made.reverse();
    let mut listed = Vec::new();
    let mut token = String::new();
    let mut pages = 0;
    loop {
        let request = ListTripsRequest {
            page_size: 3,
            page_token: token,
            ..ListTripsRequest::default()
        };
        let page = list(&mut rita, request).await;
        listed.extend(page.trips.into_iter().map(|trip| trip.trip_id));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((listed, pages), (made, 3));
    for bad in [
        ListTripsRequest {
            page_size: -1,
            ..Default::default()
        },
        ListTripsRequest {
            page_token: "x".to_owned(),
            ..Default::default()
        },
        ListTripsRequest {
            states: vec![0],
            ..Default::default()
        },
        ListTripsRequest {
            states: vec![99],
            ..Default::default()
        },
    ] {
        assert_eq!(code(rita.list_trips(bad).await), Code::InvalidRequest);
    }
}

#[tokio::test]
async fn everybody_lists_their_own_and_operators_all() {
    let city = City::new().await;
    let driven = city.in_progress("rita", "anna").await;
    complete(&mut city.driver("anna"), &driven.trip_id)
        .await
        .unwrap();
    let searching = city.searching("rolf").await;
    let offered = city.offered("rosa", "anna").await.0;
    let ids = |answer: ListTripsResponse| -> Vec<String> {
        answer.trips.into_iter().map(|trip| trip.trip_id).collect()
    };
    let all = ListTripsRequest::default();
    let none: [&str; 0] = [];
    assert_eq!(
        ids(list(&mut city.rider("rita"), all.clone()).await),
        [driven.trip_id.as_str()]
    );
    assert_eq!(
        ids(list(&mut city.driver("anna"), all.clone()).await),
        [driven.trip_id.as_str()]
    );
    assert_eq!(ids(list(&mut city.driver("ben"), all.clone()).await), none);
    let mut olga = city.operator();
    let newest_first = [&offered.trip_id, &searching.trip_id, &driven.trip_id];
    assert_eq!(
        ids(list(&mut olga, all.clone()).await),
        newest_first.map(String::as_str)
    );
    let of = |rider: &str, driver: &str, states: &[TripState]| ListTripsRequest {
        rider_id: rider.to_owned(),
        driver_id: driver.to_owned(),
        states: states.iter().map(|state| (*state).into()).collect(),
        ..ListTripsRequest::default()
    };
    let rolfs = list(&mut olga, of("rolf", "", &[])).await;
    assert_eq!(ids(rolfs), [searching.trip_id.as_str()]);
    let annas = list(&mut olga, of("", "anna", &[])).await;
    assert_eq!(ids(annas), [driven.trip_id.as_str()]);
    assert_eq!(
        ids(list(&mut olga, of("rita", "anna", &[])).await),
        [driven.trip_id.as_str()]
    );
    assert_eq!(ids(list(&mut olga, of("rolf", "anna", &[])).await), none);
    let live = list(
        &mut olga,
        of("", "", &[TripState::Searching, TripState::Offered]),
    )
    .await;
    assert_eq!(
        ids(live),
        [offered.trip_id.as_str(), searching.trip_id.as_str()]
    );
    // Naming oneself is no filter; naming others is for the staff.
    let own = list(&mut city.rider("rita"), of("rita", "", &[])).await;
    assert_eq!(ids(own), [driven.trip_id.as_str()]);
    for request in [of("rolf", "", &[]), of("", "anna", &[])] {
        assert_eq!(
            code(city.rider("rita").list_trips(request).await),
            Code::PermissionDenied
        );
    }
}
