//! What is to be told of a charge: every move of its money is one event, written with it or not at all.

use std::time::Duration;

use jitney_billing::{Config, event, provider::Kind, statements};
use jitney_platform::{auth::Role, outbox::OutboxEvent};
use jitney_proto::{
    Code,
    billing::v1::{self as pb, PaymentState},
};
use uuid::Uuid;

use crate::{
    provider::{Bank, Fault},
    support::{Sandbox, authorize, euro, one_by_one, refusal},
};

/// The events of a trip as others are told them.
async fn told(sandbox: &Sandbox, trip: &str) -> Vec<pb::BillingEvent> {
    let rows: Vec<OutboxEvent> = sqlx::query_as(
        "SELECT xid::text, seq, id, aggregatetype, aggregateid, type, version, payload, traceparent,
                created_at
         FROM outbox WHERE aggregateid = $1 ORDER BY version",
    )
    .bind(trip.parse::<Uuid>().unwrap())
    .fetch_all(sandbox.pool())
    .await
    .unwrap();
    rows.iter().map(|row| event::of(row).unwrap()).collect()
}

async fn states(sandbox: &Sandbox, trip: &str) -> Vec<PaymentState> {
    let told = told(sandbox, trip).await;
    told.iter().map(pb::BillingEvent::payment_state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_move_is_an_event_and_a_repetition_is_none() {
    for config in [one_by_one(), Config::default()] {
        let sandbox = Sandbox::with(config).await;
        let mut olga = sandbox.client(Role::Operator, "olga");
        let held = sandbox.held("anna").await;
        let longer = sandbox.quote(6_000).await;
        let change = pb::ChangeHoldRequest {
            trip_id: held.trip.clone(),
            quote_id: longer.quote_id.clone(),
            idempotency_key: "change".to_owned(),
        };
        let tip = pb::AddTipRequest {
            trip_id: held.trip.clone(),
            amount: Some(euro(70)),
            idempotency_key: "tip".to_owned(),
        };
        // Each twice, as who has lost an answer does.
        for _ in 0..2 {
            let hold = authorize(&held.trip, "anna", &held.quote.quote_id);
            let hold = sandbox.trips().authorize_hold(hold).await.unwrap();
            assert_eq!(hold.into_inner().hold.unwrap().version, 1);
        }
        for _ in 0..2 {
            sandbox.trips().change_hold(change.clone()).await.unwrap();
        }
        for _ in 0..2 {
            let capture = sandbox.trips().capture_hold(held.capture("capture")).await;
            assert_eq!(capture.unwrap().into_inner().hold.unwrap().version, 3);
        }
        for _ in 0..2 {
            olga.add_tip(tip.clone()).await.unwrap();
            olga.refund_trip(held.refund("part", Some(5)))
                .await
                .unwrap();
        }
        for _ in 0..2 {
            olga.refund_trip(held.refund("rest", None)).await.unwrap();
        }
        // Refused, and nothing to tell of.
        let late = sandbox.trips().void_hold(held.void("late")).await;
        assert_eq!(refusal(late), Code::HoldNotOpen);
        let more = olga.refund_trip(held.refund("more", Some(1))).await;
        assert_eq!(refusal(more), Code::RefundAboveCapture);
        assert_eq!(
            sandbox.events(&held.trip).await,
            [
                "HELD",
                "HOLD_CHANGED",
                "CAPTURED",
                "TIPPED",
                "PARTIALLY_REFUNDED",
                "REFUNDED"
            ]
        );
        let events = told(&sandbox, &held.trip).await;
        let last = events.last().unwrap();
        let total = longer.total.clone();
        assert_eq!(
            (last.captured.clone(), last.refunded.clone()),
            (total.clone(), total)
        );
        assert_eq!(last.tipped, Some(euro(70)));
        assert_eq!(last.trip_id, held.trip);
        let numbers = events.iter().map(|event| event.version);
        assert!(numbers.eq(1..=6), "{events:?}");

        // What ends without a capture.
        let off = sandbox.held("anna").await;
        for key in ["off", "off", "once more"] {
            sandbox.trips().void_hold(off.void(key)).await.unwrap();
        }
        assert_eq!(sandbox.events(&off.trip).await, ["HELD", "VOIDED"]);
        sandbox.assert_sound().await;
    }
}

#[tokio::test]
async fn a_hold_that_ran_out_is_told_once_however_many_look() {
    let config = Config {
        hold_validity: Duration::from_millis(1),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let mut all = Vec::new();
    for rider in ["anna", "bob", "carl"] {
        all.push(sandbox.held(rider).await);
    }
    let store = sandbox.billing.store();
    let (one, other) = tokio::join!(store.lapse(None), store.lapse(None));
    assert_eq!(
        one.unwrap() + other.unwrap() + store.lapse(None).await.unwrap(),
        3
    );
    for held in all {
        assert_eq!(sandbox.events(&held.trip).await, ["HELD", "LAPSED"]);
        let expected = [PaymentState::Held, PaymentState::Voided];
        assert_eq!(states(&sandbox, &held.trip).await, expected);
    }
    sandbox.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raced_moves_have_a_version_each() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.captured("anna").await;
    let refunds = (0..30).map(|number| {
        let mut olga = sandbox.client(Role::Operator, "olga");
        let request = held.refund(&format!("r{number}"), Some(3));
        tokio::spawn(async move { olga.refund_trip(request).await })
    });
    for refund in refunds.collect::<Vec<_>>() {
        refund.await.unwrap().unwrap();
    }
    let told = told(&sandbox, &held.trip).await;
    let refunded: Vec<_> = told
        .iter()
        .filter_map(|event| event.refunded.clone())
        .collect();
    // Each says what was given back by then.
    let expected: Vec<_> = [0, 0]
        .into_iter()
        .chain((1..=30).map(|n| 3 * n))
        .map(euro)
        .collect();
    assert_eq!(refunded, expected);
    sandbox.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn captures_that_were_run_together_are_told_one_by_one() {
    let sandbox = Sandbox::new().await;
    let mut all = Vec::new();
    for number in 0..40 {
        all.push(sandbox.held(["anna", "bob", "carl"][number % 3]).await);
    }
    let captures = all.iter().map(|held| {
        let (mut trips, request) = (sandbox.trips(), held.capture(&held.trip));
        tokio::spawn(async move { trips.capture_hold(request).await })
    });
    for capture in captures.collect::<Vec<_>>() {
        capture.await.unwrap().unwrap();
    }
    let at_once: i64 = sqlx::query_scalar(
        "SELECT max(count) FROM (
             SELECT count(*) FROM outbox WHERE type = 'CAPTURED' GROUP BY xid) AS by_statement",
    )
    .fetch_one(sandbox.pool())
    .await
    .unwrap();
    assert!(at_once > 1, "some were one statement");
    for held in all {
        assert_eq!(sandbox.events(&held.trip).await, ["HELD", "CAPTURED"]);
    }
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn what_the_provider_makes_of_it_is_told() {
    let bank = Bank::new().await;
    let sandbox = &bank.sandbox;

    // No answer, and then one: told when it begins and when it ends, not at each try.
    let late = sandbox.held("anna").await;
    bank.teller.round().await.unwrap();
    bank.capture(&late).await;
    bank.fault(Kind::Capture, Fault::Before);
    bank.settle().await;
    let expected = [
        PaymentState::Held,
        PaymentState::Captured,
        PaymentState::Unknown,
        PaymentState::Captured,
    ];
    assert_eq!(states(sandbox, &late.trip).await, expected);
    let events = sandbox.events(&late.trip).await;
    assert_eq!(events[2..], ["PAYMENT_UNKNOWN", "PAYMENT_CONFIRMED"]);

    // Captured before the provider has said that it holds anything: the answer says what the event says.
    bank.fault(Kind::Authorize, Fault::Before);
    let quick = sandbox.held("anna").await;
    bank.teller.round().await.unwrap();
    let capture = sandbox.trips().capture_hold(quick.capture("q")).await;
    let hold = capture.unwrap().into_inner().hold.unwrap();
    assert_eq!(
        (hold.state(), hold.payment_state(), hold.version),
        (pb::HoldState::Captured, PaymentState::Unknown, 3)
    );
    bank.settle().await;
    let expected = [
        PaymentState::Held,
        PaymentState::Unknown,
        PaymentState::Unknown,
        PaymentState::Captured,
    ];
    assert_eq!(states(sandbox, &quick.trip).await, expected);

    // Declined when the ledger has taken it: it has failed, until nobody owes it any more.
    let failed = sandbox.held("anna").await;
    bank.teller.round().await.unwrap();
    bank.capture(&failed).await;
    bank.fault(Kind::Capture, Fault::Declined);
    bank.settle().await;
    bank.refund(&failed, 5).await;
    bank.refund(&failed, failed.total() - 5).await;
    bank.settle().await;
    let expected = [
        PaymentState::Held,
        PaymentState::Captured,
        PaymentState::Failed,
        PaymentState::Failed,
        PaymentState::Refunded,
    ];
    assert_eq!(states(sandbox, &failed.trip).await, expected);

    // Declined before: the hold is released.
    bank.fault(Kind::Authorize, Fault::Declined);
    let lost = sandbox.held("anna").await;
    bank.settle().await;
    assert_eq!(sandbox.events(&lost.trip).await, ["HELD", "VOIDED"]);
    sandbox.assert_sound().await;
}

#[test]
fn no_statement_moves_a_charge_in_silence() {
    let mut moving = 0;
    for (name, text) in statements::ALL {
        // How long a hold lasts is nobody else's affair, and no version of it.
        if *name == "RENEW_HOLD" {
            assert!(text.contains("SET expires_at = judged.until\n    FROM"));
            continue;
        }
        let moves = text.contains("UPDATE trip_charge") || text.contains("INTO trip_charge");
        let tells = text.contains("INSERT INTO outbox") && text.contains("version");
        assert_eq!(moves, tells, "{name}");
        moving += usize::from(moves);
    }
    assert!(moving >= 10, "{moving}");
}
