//! Who sees what: the PIN is the rider's, the offer the driver's it is made to, and what is not the
//! caller's is not there.

use jitney_proto::{Code, trips::v1::GetTripRequest};

use crate::support::{City, accept, arrive, code, complete, decline, get, start};

#[tokio::test]
async fn everybody_sees_their_part_of_a_trip() {
    let city = City::new().await;
    let (trip, offer_id) = city.offered("rita", "anna").await;
    let trip_id = trip.trip_id.as_str();
    let mut rita = city.rider("rita");
    let mut anna = city.driver("anna");
    let mut olga = city.operator();

    let seen = get(&mut rita, trip_id).await.unwrap();
    assert_eq!(
        (seen.pin.len(), seen.open_offer, seen.driver),
        (4, None, None)
    );
    let seen = get(&mut anna, trip_id).await.unwrap();
    assert_eq!(
        (seen.pin.as_str(), seen.open_offer.unwrap().offer_id),
        ("", offer_id.clone())
    );
    let answer = olga
        .get_trip(GetTripRequest {
            trip_id: trip_id.to_owned(),
        })
        .await
        .unwrap();
    let answer = answer.into_inner();
    assert_eq!(answer.transitions.len(), 2);
    let seen = answer.trip.unwrap();
    assert_eq!(
        (
            seen.pin.as_str(),
            seen.open_offer.unwrap().driver_id.as_str()
        ),
        ("", "anna")
    );
    let answer = rita
        .get_trip(GetTripRequest {
            trip_id: trip_id.to_owned(),
        })
        .await
        .unwrap();
    assert!(
        answer.into_inner().transitions.is_empty(),
        "the log is for the staff"
    );

    accept(&mut anna, trip_id, &offer_id).await.unwrap();
    let seen = get(&mut rita, trip_id).await.unwrap();
    assert_eq!(seen.driver.unwrap().plate, "ANNA-1");
    let seen = get(&mut anna, trip_id).await.unwrap();
    assert_eq!((seen.pin.as_str(), seen.open_offer), ("", None));
}

#[tokio::test]
async fn what_is_not_the_callers_is_not_there() {
    let city = City::new().await;
    let (offered, offer_id) = city.offered("rita", "anna").await;
    let assigned = city.assigned("rosa", "ben").await;
    let unknown = "0190a000-0000-7000-8000-000000000001";
    for trip_id in [offered.trip_id.as_str(), assigned.trip_id.as_str(), unknown] {
        let mut carl = city.driver("carl");
        assert_eq!(
            code(get(&mut city.rider("rolf"), trip_id).await),
            Code::NotFound
        );
        assert_eq!(code(get(&mut carl, trip_id).await), Code::NotFound);
        assert_eq!(
            code(accept(&mut carl, trip_id, &offer_id).await),
            Code::NotFound
        );
        assert_eq!(
            code(decline(&mut carl, trip_id, &offer_id).await),
            Code::NotFound
        );
        assert_eq!(code(arrive(&mut carl, trip_id).await), Code::NotFound);
        assert_eq!(
            code(start(&mut carl, trip_id, "0000").await),
            Code::NotFound
        );
        assert_eq!(code(complete(&mut carl, trip_id).await), Code::NotFound);
    }
    // A driver's token is no rider's of the same name.
    assert_eq!(
        code(get(&mut city.driver("rita"), &offered.trip_id).await),
        Code::NotFound
    );
    assert_eq!(
        code(get(&mut city.rider("anna"), &offered.trip_id).await),
        Code::NotFound
    );
    // Roles are judged before anything is read.
    let refused = accept(&mut city.rider("rita"), &offered.trip_id, &offer_id).await;
    assert_eq!(code(refused), Code::PermissionDenied);
    assert_eq!(
        code(get(&mut city.rider("rita"), "x").await),
        Code::InvalidRequest
    );
}
