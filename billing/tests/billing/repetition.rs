//! Repeating a command gives the same answer; another command under its key is refused; and what a
//! command refuses, it refuses by name.

use jitney_billing::Config;
use jitney_proto::{Code, billing::v1 as pb};
use prost::Message;
use uuid::Uuid;

use crate::support::{Sandbox, authorize, euro, refusal};

#[tokio::test]
async fn a_ride_is_charged_and_every_step_may_be_repeated() {
    let sandbox = Sandbox::new().await;
    let mut trips = sandbox.trips();
    let held = sandbox.held("anna").await;
    assert_eq!(sandbox.exposure("anna").await, held.total());

    let hold = authorize(&held.trip, "anna", &held.quote.quote_id);
    let first_hold = trips
        .authorize_hold(hold.clone())
        .await
        .unwrap()
        .into_inner();
    let captured = trips
        .capture_hold(held.capture("c"))
        .await
        .unwrap()
        .into_inner();
    let receipt = captured.receipt.clone().unwrap();
    assert_eq!(receipt.lines, held.quote.lines);
    assert_eq!(receipt.total, held.quote.total);
    let share = |money: &Option<jitney_proto::common::v1::Money>| {
        money.as_ref().map(|money| money.minor_units).unwrap()
    };
    assert_eq!(
        share(&receipt.driver_share) + share(&receipt.platform_share) + share(&receipt.tax),
        held.total()
    );
    assert_eq!(
        captured.hold.clone().unwrap().state(),
        pb::HoldState::Captured
    );
    assert_eq!(sandbox.exposure("anna").await, 0);

    for _ in 0..3 {
        let again = trips
            .capture_hold(held.capture("c"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(again.encode_to_vec(), captured.encode_to_vec());
        // The answer of then, though the hold has moved on since.
        let again = trips
            .authorize_hold(hold.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(again.encode_to_vec(), first_hold.encode_to_vec());
    }
    assert_eq!(sandbox.count("journal_entry").await, 1);
    assert_eq!(sandbox.count("posting").await, 4);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_release_may_be_repeated_under_any_key() {
    let sandbox = Sandbox::new().await;
    let mut trips = sandbox.trips();
    let held = sandbox.held("anna").await;
    let voided = trips.void_hold(held.void("v")).await.unwrap().into_inner();
    assert_eq!(voided.hold.clone().unwrap().state(), pb::HoldState::Voided);
    for key in ["v", "w", "v"] {
        let again = trips.void_hold(held.void(key)).await.unwrap().into_inner();
        assert_eq!(again.encode_to_vec(), voided.encode_to_vec());
    }
    assert_eq!(sandbox.exposure("anna").await, 0);
}

#[tokio::test]
async fn a_key_names_one_request() {
    let sandbox = Sandbox::new().await;
    let mut trips = sandbox.trips();
    let held = sandbox.held("anna").await;
    let other = sandbox.held("anna").await;
    let hold = authorize(&held.trip, "anna", &held.quote.quote_id);

    for changed in [
        pb::AuthorizeHoldRequest {
            rider_id: "mallory".to_owned(),
            ..hold.clone()
        },
        pb::AuthorizeHoldRequest {
            trip_id: other.trip.clone(),
            ..hold.clone()
        },
        pb::AuthorizeHoldRequest {
            quote_id: other.quote.quote_id.clone(),
            ..hold.clone()
        },
    ] {
        assert_eq!(
            refusal(trips.authorize_hold(changed).await),
            Code::IdempotencyKeyReused
        );
    }

    trips.capture_hold(held.capture("c")).await.unwrap();
    let nobodys = Uuid::now_v7().to_string();
    for changed in [
        other.capture("c"),
        pb::CaptureHoldRequest {
            driver_id: "bea".to_owned(),
            ..held.capture("c")
        },
        held.capture_part("c", held.total()),
        held.capture_part("c", held.total() + 1),
        pb::CaptureHoldRequest {
            trip_id: nobodys.clone(),
            ..held.capture("c")
        },
    ] {
        assert_eq!(
            refusal(trips.capture_hold(changed).await),
            Code::IdempotencyKeyReused
        );
    }

    trips.void_hold(other.void("v")).await.unwrap();
    assert_eq!(
        refusal(trips.void_hold(held.void("v")).await),
        Code::IdempotencyKeyReused
    );
    let changed = pb::VoidHoldRequest {
        trip_id: nobodys,
        ..held.void("v")
    };
    assert_eq!(
        refusal(trips.void_hold(changed).await),
        Code::IdempotencyKeyReused
    );

    // Upper case is another spelling of the same trip, not another request.
    let same = pb::VoidHoldRequest {
        trip_id: other.trip.to_uppercase(),
        ..other.void("v")
    };
    trips.void_hold(same).await.unwrap();
}

#[tokio::test]
async fn refusals_are_named() {
    let sandbox = Sandbox::new().await;
    let mut trips = sandbox.trips();
    let held = sandbox.held("anna").await;
    let unknown = Uuid::now_v7().to_string();

    let second = pb::AuthorizeHoldRequest {
        idempotency_key: "another".to_owned(),
        ..authorize(&held.trip, "anna", &held.quote.quote_id)
    };
    assert_eq!(
        refusal(trips.authorize_hold(second).await),
        Code::AlreadyExists
    );
    let no_quote = authorize(&unknown, "anna", &unknown);
    assert_eq!(
        refusal(trips.authorize_hold(no_quote).await),
        Code::NotFound
    );

    let above = held.capture_part("c1", held.total() + 1);
    assert_eq!(
        refusal(trips.capture_hold(above.clone()).await),
        Code::CaptureAboveHold
    );
    assert_eq!(
        refusal(trips.capture_hold(above).await),
        Code::CaptureAboveHold
    );
    let mut yen = held.capture_part("c2", 1);
    yen.amount.as_mut().unwrap().currency_code = "JPY".to_owned();
    assert_eq!(refusal(trips.capture_hold(yen).await), Code::InvalidRequest);
    let negative = held.capture_part("c3", -1);
    assert_eq!(
        refusal(trips.capture_hold(negative).await),
        Code::InvalidRequest
    );
    let no_trip = pb::CaptureHoldRequest {
        trip_id: unknown.clone(),
        ..held.capture("c4")
    };
    assert_eq!(refusal(trips.capture_hold(no_trip).await), Code::NotFound);
    let no_trip = pb::VoidHoldRequest {
        trip_id: unknown,
        ..held.void("v1")
    };
    assert_eq!(refusal(trips.void_hold(no_trip).await), Code::NotFound);

    trips.capture_hold(held.capture("c5")).await.unwrap();
    assert_eq!(
        refusal(trips.capture_hold(held.capture("c6")).await),
        Code::HoldNotOpen
    );
    assert_eq!(
        refusal(trips.void_hold(held.void("v2")).await),
        Code::HoldNotOpen
    );
    assert_eq!(
        refusal(trips.void_hold(held.void("v2")).await),
        Code::HoldNotOpen
    );

    let released = sandbox.held("anna").await;
    trips.void_hold(released.void("v3")).await.unwrap();
    assert_eq!(
        refusal(trips.capture_hold(released.capture("c7")).await),
        Code::HoldNotOpen
    );

    let keyless = held.capture("");
    assert_eq!(
        refusal(trips.capture_hold(keyless).await),
        Code::InvalidRequest
    );
    let no_id = pb::VoidHoldRequest {
        trip_id: "x".to_owned(),
        ..held.void("v4")
    };
    assert_eq!(refusal(trips.void_hold(no_id).await), Code::InvalidRequest);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn quotes_name_what_they_cannot_price() {
    let sandbox = Sandbox::new().await;
    let mut trips = sandbox.trips();
    let ask = |product: &str, distance_meters, duration_ms| pb::QuoteFareRequest {
        product: product.to_owned(),
        distance_meters,
        duration_ms,
        ..Default::default()
    };
    for product in ["", "helicopter", "a b"] {
        assert_eq!(
            refusal(trips.quote_fare(ask(product, 1, 1)).await),
            Code::UnknownProduct
        );
    }
    for (distance, duration) in [(-1, 0), (0, -1), (i64::MAX, 0), (0, i64::MAX)] {
        let answer = trips.quote_fare(ask("economy", distance, duration)).await;
        assert_eq!(refusal(answer), Code::InvalidRequest);
    }
    let quote = trips
        .quote_fare(ask("van", 0, 0))
        .await
        .unwrap()
        .into_inner()
        .quote
        .unwrap();
    let sum: i64 = quote
        .lines
        .iter()
        .map(|l| l.amount.as_ref().unwrap().minor_units)
        .sum();
    assert_eq!(sum, quote.total.unwrap().minor_units);
    assert_eq!(quote.tariff_version, "standard-2");
}

#[tokio::test]
async fn a_part_of_the_hold_is_split_in_proportion() {
    let sandbox = Sandbox::new().await;
    let mut trips = sandbox.trips();
    for part in [0, 1, 7, 333] {
        let held = sandbox.held("anna").await;
        let answer = trips
            .capture_hold(held.capture_part(&held.trip, part))
            .await
            .unwrap();
        let answer = answer.into_inner();
        assert_eq!(answer.hold.unwrap().captured, Some(euro(part)));
        let receipt = answer.receipt.unwrap();
        assert_eq!(receipt.total, Some(euro(part)));
        let sum: i64 = receipt
            .lines
            .iter()
            .map(|l| l.amount.as_ref().unwrap().minor_units)
            .sum();
        assert_eq!(sum, part);
    }
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 4);
}

#[tokio::test]
async fn the_limit_holds_and_a_refusal_is_remembered() {
    let config = Config {
        hold_limit_minor: 2_000,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let mut trips = sandbox.trips();
    let first = sandbox.held("anna").await;
    let _second = sandbox.held("anna").await;
    let quote = sandbox.quote(5_100).await;
    let third = authorize(&Uuid::now_v7().to_string(), "anna", &quote.quote_id);
    assert_eq!(
        refusal(trips.authorize_hold(third.clone()).await),
        Code::PaymentDeclined
    );
    assert_eq!(sandbox.exposure("anna").await, 2 * first.total());
    sandbox.held("bob").await;

    trips.void_hold(first.void("v")).await.unwrap();
    assert_eq!(
        refusal(trips.authorize_hold(third.clone()).await),
        Code::PaymentDeclined
    );
    let anew = pb::AuthorizeHoldRequest {
        idempotency_key: "anew".to_owned(),
        ..third
    };
    trips.authorize_hold(anew).await.unwrap();

    let dear = sandbox.quote(100_000).await;
    let above = authorize(&Uuid::now_v7().to_string(), "carl", &dear.quote_id);
    assert_eq!(
        refusal(trips.authorize_hold(above).await),
        Code::PaymentDeclined
    );
    assert_eq!(sandbox.exposure("carl").await, 0);
}
