//! What billing tells of the money: taken in once, in its order, and never against what the trip was
//! answered itself.

use std::time::Duration;

use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    billing::v1::{BillingEvent, PaymentState as Told},
    trips::v1::{
        ApplyBillingEventRequest, PaymentState, WatchTripRequest, watch_trip_response::Update,
    },
};
use tonic::Status;
use uuid::Uuid;

use crate::support::{City, cancel, code, complete, create, get, quick};

fn event(trip_id: &str, version: i64, state: Told) -> BillingEvent {
    BillingEvent {
        event_id: Uuid::now_v7().to_string(),
        trip_id: trip_id.to_owned(),
        version,
        payment_state: state.into(),
        ..BillingEvent::default()
    }
}

impl City {
    /// Tells an event; whether it was applied.
    async fn tell(&self, event: &BillingEvent) -> Result<bool, Status> {
        let request = ApplyBillingEventRequest {
            event: Some(event.clone()),
        };
        let answer = self.billing_tells().apply_billing_event(request).await?;
        Ok(answer.into_inner().applied)
    }

    async fn payment(&self, trip_id: &str) -> PaymentState {
        let trip = get(&mut self.operator(), trip_id).await.expect("the trip");
        trip.payment_state()
    }

    /// Waits until billing was asked for everything there was, and its answers are written down.
    async fn settled(&self) {
        eventually("all of it was delivered to billing", async || {
            self.count(
                "SELECT (SELECT count(*) FROM outbox_parked WHERE consumer = 'billing')
                     + (SELECT count(*) FROM outbox, outbox_cursor AS c WHERE c.consumer = 'billing'
                         AND (c.xid, c.seq) < (outbox.xid, outbox.seq))",
            )
            .await
                == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_counts_once_and_a_lower_version_never() {
    let city = City::new().await;
    let trip = city.in_progress("rita", "anna").await;
    let trip_id = trip.trip_id.as_str();
    let all = [
        event(trip_id, 1, Told::Held),
        event(trip_id, 2, Told::Captured),
        event(trip_id, 3, Told::PartiallyRefunded),
        event(trip_id, 4, Told::Refunded),
    ];
    // Out of order: what is older than what was told changes nothing.
    assert!(city.tell(&all[2]).await.unwrap());
    assert_eq!(city.payment(trip_id).await, PaymentState::PartiallyRefunded);
    for late in [&all[0], &all[1], &all[2], &all[1]] {
        assert!(!city.tell(late).await.unwrap(), "{late:?}");
        assert_eq!(city.payment(trip_id).await, PaymentState::PartiallyRefunded);
    }
    // Under another id it is not later either.
    let other = event(trip_id, 3, Told::Captured);
    assert!(!city.tell(&other).await.unwrap());
    // Many times at once, beside older ones: once.
    let calls = (0..20).flat_map(|_| [all[3].clone(), event(trip_id, 2, Told::Captured)]);
    let calls = calls.map(|event| {
        let mut billing = city.billing_tells();
        tokio::spawn(async move {
            let event = Some(event);
            let answer = billing.apply_billing_event(ApplyBillingEventRequest { event });
            answer.await.expect("an answer").into_inner().applied
        })
    });
    let mut applied = 0;
    for call in calls.collect::<Vec<_>>() {
        applied += u32::from(call.await.expect("no panic"));
    }
    assert_eq!(applied, 1);
    assert_eq!(city.payment(trip_id).await, PaymentState::Refunded);
    // The trip itself has not moved.
    let now = get(&mut city.operator(), trip_id).await.unwrap();
    assert_eq!(now.version, trip.version);
    city.check().await;
}

#[tokio::test]
async fn a_late_answer_does_not_undo_a_refund() {
    // In the version that the capture made, and from a billing that does not count.
    for version in [2, 0] {
        let city = City::new().await;
        let trip = city.in_progress("rita", "anna").await;
        city.billing.say(version, Told::Captured);
        city.billing.set_away(true);
        complete(&mut city.driver("anna"), &trip.trip_id)
            .await
            .unwrap();
        for (version, state) in [(1, Told::Held), (2, Told::Captured), (3, Told::Refunded)] {
            let event = event(&trip.trip_id, version, state);
            assert!(city.tell(&event).await.unwrap());
        }
        city.billing.set_away(false);
        city.settled().await;
        assert_eq!(city.billing.captures(), 1);
        assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Refunded);
    }
}

#[tokio::test]
async fn a_late_event_does_not_undo_an_answer() {
    let city = City::new().await;
    let trip = city.in_progress("rita", "anna").await;
    city.billing.say(2, Told::Captured);
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    city.settled().await;
    assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Captured);
    for (version, state) in [(1, Told::Held), (2, Told::Captured)] {
        let event = event(&trip.trip_id, version, state);
        assert!(!city.tell(&event).await.unwrap());
        assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Captured);
    }
    let failed = event(&trip.trip_id, 3, Told::Failed);
    assert!(city.tell(&failed).await.unwrap());
    assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Failed);
}

#[tokio::test]
async fn what_the_provider_has_not_answered_is_unknown_until_it_has() {
    let city = City::new().await;
    let trip = city.in_progress("rita", "anna").await;
    city.billing.say(2, Told::Unknown);
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    city.settled().await;
    assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Unknown);
    let confirmed = event(&trip.trip_id, 3, Told::Captured);
    assert!(city.tell(&confirmed).await.unwrap());
    assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Captured);
}

#[tokio::test]
async fn a_hold_that_was_gone_stays_a_failure() {
    for told_first in [true, false] {
        let city = City::new().await;
        let trip = city.in_progress("rita", "anna").await;
        let lapsed = event(&trip.trip_id, 2, Told::Voided);
        city.billing.lapse(&trip.trip_id);
        if told_first {
            assert!(city.tell(&lapsed).await.unwrap());
            assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Voided);
        }
        complete(&mut city.driver("anna"), &trip.trip_id)
            .await
            .unwrap();
        city.settled().await;
        assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Failed);
        assert_eq!(city.tell(&lapsed).await.unwrap(), !told_first);
        assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Failed);
        // That it was taken after all is news.
        let taken = event(&trip.trip_id, 3, Told::Captured);
        assert!(city.tell(&taken).await.unwrap());
        assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Captured);
    }
    // One that was called off has not failed.
    let city = City::new().await;
    let trip = city.searching("rita").await;
    city.billing.say(2, Told::Voided);
    cancel(&mut city.rider("rita"), &trip.trip_id)
        .await
        .unwrap();
    city.settled().await;
    assert_eq!(city.payment(&trip.trip_id).await, PaymentState::Voided);
}

#[tokio::test]
async fn a_trip_that_is_being_made_hears_it_once_it_is_there() {
    let city = City::new().await;
    let quote = city.quote("rita").await;
    let gate = city.billing.close_gate();
    let mut rita = city.rider("rita");
    let request = tokio::spawn(async move { create(&mut rita, &quote.quote_id, "k").await });
    eventually("the hold is asked for", async || {
        city.billing.holds_waiting() > 0
    })
    .await;
    let trip_id: Uuid = sqlx::query_scalar("SELECT trip_id FROM idempotency")
        .fetch_one(&city.pool)
        .await
        .unwrap();
    let trip_id = trip_id.to_string();
    // That it is held it will know by itself; that it is not any more it has to be told.
    let (held, lost) = (
        event(&trip_id, 1, Told::Held),
        event(&trip_id, 2, Told::Voided),
    );
    assert!(!city.tell(&held).await.unwrap());
    assert_eq!(code(city.tell(&lost).await), Code::TooEarly);
    gate.add_permits(1);
    let trip = request.await.unwrap().unwrap();
    assert_eq!(trip.trip_id, trip_id);
    assert_eq!(trip.payment_state(), PaymentState::Held);
    assert!(city.tell(&lost).await.unwrap());
    assert_eq!(city.payment(&trip_id).await, PaymentState::Voided);

    // Of one that was never made nobody hears, and it is not told for ever.
    let never = event(&Uuid::now_v7().to_string(), 2, Told::Voided);
    assert!(!city.tell(&never).await.unwrap());
}

#[tokio::test]
async fn whoever_watches_sees_it() {
    // At once, not when somebody looks.
    let city = City::with(jitney_trips::Config {
        watch_poll_interval: Duration::from_secs(60),
        ..quick()
    })
    .await;
    let trip = city.in_progress("rita", "anna").await;
    let trip_id = trip.trip_id.as_str();
    let request = WatchTripRequest {
        trip_id: trip_id.to_owned(),
        resume_token: String::new(),
    };
    let mut watched = city
        .rider("rita")
        .watch_trip(request)
        .await
        .unwrap()
        .into_inner();
    for (version, told, seen) in [
        (0, Told::Unspecified, PaymentState::Held),
        (2, Told::Unknown, PaymentState::Unknown),
        (3, Told::Held, PaymentState::Held),
    ] {
        if version > 0 {
            assert!(city.tell(&event(trip_id, version, told)).await.unwrap());
        }
        loop {
            let message = tokio::time::timeout(Duration::from_secs(10), watched.message());
            let message = message.await.expect("in time").unwrap().unwrap();
            if let Some(Update::Trip(trip)) = message.update {
                assert_eq!(trip.payment_state(), seen);
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let city = City::new().await;
    let trip = city.searching("rita").await;
    let good = || event(&trip.trip_id, 1, Told::Held);
    for bad in [
        BillingEvent {
            version: 0,
            ..good()
        },
        BillingEvent {
            event_id: "1".to_owned(),
            ..good()
        },
        BillingEvent {
            trip_id: String::new(),
            ..good()
        },
        BillingEvent {
            payment_state: 0,
            ..good()
        },
        BillingEvent {
            payment_state: 99,
            ..good()
        },
    ] {
        assert_eq!(code(city.tell(&bad).await), Code::InvalidRequest, "{bad:?}");
    }
    let none = ApplyBillingEventRequest { event: None };
    let answer = city.billing_tells().apply_billing_event(none).await;
    assert_eq!(code(answer), Code::InvalidRequest);
    assert_eq!(city.count("SELECT count(*) FROM inbox").await, 0);
}

#[tokio::test]
async fn the_inbox_forgets_what_nobody_tells_again() {
    let mut city = City::new().await;
    let trip = city.searching("rita").await;
    assert!(
        city.tell(&event(&trip.trip_id, 1, Told::Held))
            .await
            .unwrap()
    );
    // More than are forgotten at once.
    sqlx::query(
        "INSERT INTO inbox (event_id, source, received_at)
         SELECT gen_random_uuid(), 'billing', now() - interval '8 days'
         FROM generate_series(1, 10001)",
    )
    .execute(&city.pool)
    .await
    .unwrap();
    // It looks at its start, and every few minutes.
    city.restart().await;
    eventually("the old ones are gone", async || {
        city.count("SELECT count(*) FROM inbox").await == 1
    })
    .await;
}
