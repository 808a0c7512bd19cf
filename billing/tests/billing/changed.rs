//! Rides that became longer or shorter: the hold is put under another quote.

use jitney_proto::{
    Code,
    billing::v1::{self as pb, HoldState},
};

use crate::support::{Held, Sandbox, minor, refusal};

pub fn change(held: &Held, quote: &pb::FareQuote, key: &str) -> pb::ChangeHoldRequest {
    pb::ChangeHoldRequest {
        trip_id: held.trip.clone(),
        quote_id: quote.quote_id.clone(),
        idempotency_key: key.to_owned(),
    }
}

#[tokio::test]
async fn a_longer_ride_costs_more_and_the_receipt_shows_both() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.held("rita").await;
    let mut trips = sandbox.trips();
    let longer = sandbox.quote(25_000).await;
    let total = minor(&longer.total);
    assert!(total > held.total());
    let first = trips
        .change_hold(change(&held, &longer, "k1"))
        .await
        .unwrap();
    let hold = first.into_inner().hold.unwrap();
    assert_eq!(
        (hold.state(), minor(&hold.authorized)),
        (HoldState::Held, total)
    );
    assert_eq!(sandbox.exposure("rita").await, total);
    // Said again it is the same; under the same key it is nothing else.
    let again = trips
        .change_hold(change(&held, &longer, "k1"))
        .await
        .unwrap();
    assert_eq!(again.into_inner().hold.unwrap(), hold);
    let other = sandbox.quote(30_000).await;
    let reused = trips.change_hold(change(&held, &other, "k1")).await;
    assert_eq!(refusal(reused), Code::IdempotencyKeyReused);
    assert_eq!(sandbox.exposure("rita").await, total);

    trips.capture_hold(held.capture("c")).await.unwrap();
    let receipt = sandbox.receipt(&held.trip).await;
    assert_eq!(
        (minor(&receipt.fare), minor(&receipt.upfront)),
        (total, held.total())
    );
    let lines: i64 = receipt.lines.iter().map(|line| minor(&line.amount)).sum();
    assert_eq!(lines, total);
    assert_eq!(sandbox.exposure("rita").await, 0);
    let late = trips.change_hold(change(&held, &other, "k2")).await;
    assert_eq!(refusal(late), Code::HoldNotOpen);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_shorter_ride_costs_less() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.held("rita").await;
    let mut trips = sandbox.trips();
    let (longer, shorter) = (sandbox.quote(25_000).await, sandbox.quote(1_000).await);
    for (key, quote) in [("k1", &longer), ("k2", &shorter)] {
        trips.change_hold(change(&held, quote, key)).await.unwrap();
    }
    trips.capture_hold(held.capture("c")).await.unwrap();
    let receipt = sandbox.receipt(&held.trip).await;
    // What was agreed on first is what it is held against.
    assert_eq!(minor(&receipt.fare), minor(&shorter.total));
    assert_eq!(minor(&receipt.upfront), held.total());
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.held("rita").await;
    let mut trips = sandbox.trips();
    let mut unknown = sandbox.quote(9_000).await;
    let quote = unknown.clone();
    unknown.quote_id = held.trip.clone();
    let refused = trips.change_hold(change(&held, &unknown, "k1")).await;
    assert_eq!(refusal(refused), Code::NotFound);
    trips.void_hold(held.void("v")).await.unwrap();
    let refused = trips.change_hold(change(&held, &quote, "k2")).await;
    assert_eq!(refusal(refused), Code::HoldNotOpen);
    let mut nobody = change(&held, &quote, "k3");
    nobody.trip_id = quote.quote_id.clone();
    assert_eq!(refusal(trips.change_hold(nobody).await), Code::NotFound);
}

#[tokio::test]
async fn a_change_and_a_capture_at_once_agree_on_the_fare() {
    let sandbox = Sandbox::new().await;
    let longer = sandbox.quote(25_000).await;
    for round in 0..24 {
        let rider = format!("rita-{round}");
        let held = sandbox.held(&rider).await;
        let (mut one, mut other) = (sandbox.trips(), sandbox.trips());
        let (changing, capturing) = (change(&held, &longer, &held.trip), held.capture(&held.trip));
        let changing = tokio::spawn(async move { one.change_hold(changing).await });
        let capturing = tokio::spawn(async move { other.capture_hold(capturing).await });
        let changed = changing.await.unwrap();
        capturing.await.unwrap().unwrap();
        let receipt = sandbox.receipt(&held.trip).await;
        let fare = if changed.is_ok() {
            minor(&longer.total)
        } else {
            assert_eq!(refusal(changed), Code::HoldNotOpen);
            held.total()
        };
        assert_eq!(minor(&receipt.fare), fare, "round {round}");
        assert_eq!(sandbox.exposure(&rider).await, 0);
    }
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn waiting_is_priced_under_the_tariff_of_the_quote() {
    let sandbox = Sandbox::new().await;
    let quote = sandbox.quote(5_000).await;
    let ask = |waiting_ms, tariff_version: &str| pb::QuoteFareRequest {
        product: "economy".to_owned(),
        distance_meters: 5_000,
        duration_ms: 600_000,
        waiting_ms,
        tariff_version: tariff_version.to_owned(),
        ..Default::default()
    };
    let mut trips = sandbox.trips();
    let answer = trips
        .quote_fare(ask(0, &quote.tariff_version))
        .await
        .unwrap();
    assert_eq!(answer.into_inner().quote.unwrap().total, quote.total);
    let unknown = trips.quote_fare(ask(0, "no-such")).await;
    assert_eq!(refusal(unknown), Code::InvalidRequest);
    assert_eq!(
        refusal(trips.quote_fare(ask(-1, "")).await),
        Code::InvalidRequest
    );
    let hour = trips.quote_fare(ask(3_600_000, "")).await.unwrap();
    let lines = hour.into_inner().quote.unwrap().lines;
    let waiting = lines
        .iter()
        .find(|line| line.kind() == pb::FareLineKind::Waiting);
    assert!(minor(&waiting.unwrap().amount) > 0);
}
