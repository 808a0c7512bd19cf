//! What the provider did is in the ledger, once; and tips are its business too.

use jitney_billing::{
    Config,
    provider::{Kind, Operation, config::SandboxConfig, sandbox::sign},
};
use jitney_proto::{
    Code,
    billing::v1::{self as pb, get_balance_request::Owner},
};
use uuid::Uuid;

use crate::{
    provider::{Bank, Fault, rows},
    support::{Held, Sandbox, euro, minor, refusal},
};

fn anna() -> Owner {
    Owner::RiderId("anna".to_owned())
}

/// What an account of the platform's sums to.
pub async fn total(sandbox: &Sandbox, account: &str) -> i64 {
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    let of = check.totals.iter().find(|total| total.account == account);
    of.map_or(0, |of| minor(&of.total))
}

async fn tip(bank: &Bank, held: &Held, minor_units: i64) {
    let request = pb::AddTipRequest {
        trip_id: held.trip.clone(),
        amount: Some(euro(minor_units)),
        idempotency_key: Uuid::now_v7().to_string(),
    };
    bank.sandbox.trips().add_tip(request).await.unwrap();
}

/// The entries about a trip, sorted.
async fn entries(bank: &Bank, trip: &str) -> Vec<(String, i32)> {
    sqlx::query_as("SELECT kind, seq FROM journal_entry WHERE trip_id = $1 ORDER BY kind, seq")
        .bind(trip.parse::<Uuid>().unwrap())
        .fetch_all(bank.sandbox.pool())
        .await
        .unwrap()
}

fn named(entries: &[(&str, i32)]) -> Vec<(String, i32)> {
    let entries = entries.iter();
    entries
        .map(|(kind, seq)| ((*kind).to_owned(), *seq))
        .collect()
}

#[tokio::test]
async fn what_was_taken_is_no_longer_owed() {
    let bank = Bank::new().await;
    let ride = bank.sandbox.held("anna").await;
    bank.settle().await;
    assert_eq!(
        total(&bank.sandbox, "psp_clearing").await,
        0,
        "only set aside"
    );
    bank.capture(&ride).await;
    assert_eq!(bank.sandbox.balance(anna()).await, ride.total());
    bank.settle().await;
    assert_eq!(bank.sandbox.balance(anna()).await, 0);
    assert_eq!(total(&bank.sandbox, "psp_clearing").await, ride.total());

    bank.refund(&ride, 70).await;
    assert_eq!(bank.sandbox.balance(anna()).await, -70, "she is owed it");
    tip(&bank, &ride, 30).await;
    tip(&bank, &ride, 5).await;
    bank.settle().await;
    assert_eq!(bank.sandbox.balance(anna()).await, 0);
    let left = ride.total() - 70 + 35;
    assert_eq!(total(&bank.sandbox, "psp_clearing").await, left);
    let book = bank.book(&ride.trip).await;
    assert!(book.ends_with(&rows(&[
        ("REFUND", 70),
        ("AUTHORIZE", 30),
        ("CAPTURE", 30),
        ("AUTHORIZE", 5),
        ("CAPTURE", 5),
    ])));
    let expected = named(&[
        ("CAPTURE", 1),
        ("PROVIDER_CAPTURE", 1),
        ("PROVIDER_CAPTURE", 1001),
        ("PROVIDER_CAPTURE", 1002),
        ("PROVIDER_REFUND", 1),
        ("REFUND", 1),
        ("TIP", 1),
        ("TIP", 2),
    ]);
    assert_eq!(entries(&bank, &ride.trip).await, expected);

    bank.payout().await;
    bank.settle().await;
    assert_eq!(total(&bank.sandbox, "psp_clearing").await, left - 100);
    assert_eq!(total(&bank.sandbox, "payout_in_transit").await, 0);
}

#[tokio::test]
async fn a_tip_is_charged_once_whatever_is_lost() {
    for kind in [Kind::Authorize, Kind::Capture] {
        for fault in [
            Fault::Before,
            Fault::After,
            Fault::KilledBefore,
            Fault::KilledAfter,
        ] {
            let bank = Bank::new().await;
            let ride = bank.sandbox.captured("anna").await;
            bank.settle().await;
            bank.fault(kind, fault);
            tip(&bank, &ride, 30).await;
            if matches!(fault, Fault::KilledBefore | Fault::KilledAfter) {
                if kind == Kind::Capture {
                    // First it is authorised.
                    bank.teller.round().await.unwrap();
                }
                bank.killed_round().await;
            }
            bank.settle().await;
            let book = bank.book(&ride.trip).await;
            let expected = rows(&[("AUTHORIZE", 30), ("CAPTURE", 30)]);
            assert_eq!(book[2..], expected, "{kind:?} {fault:?}");
            assert_eq!(bank.sandbox.balance(anna()).await, 0, "{kind:?} {fault:?}");
            let expected = ride.total() + 30;
            assert_eq!(total(&bank.sandbox, "psp_clearing").await, expected);
        }
    }
}

#[tokio::test]
async fn what_was_declined_stays_owed() {
    let bank = Bank::new().await;
    let ride = bank.sandbox.captured("anna").await;
    bank.settle().await;
    bank.fault(Kind::Authorize, Fault::Declined);
    tip(&bank, &ride, 30).await;
    bank.settle().await;
    assert_eq!(bank.sandbox.balance(anna()).await, 30);
    assert_eq!(total(&bank.sandbox, "psp_clearing").await, ride.total());
    bank.fault(Kind::Refund, Fault::Declined);
    bank.refund(&ride, 50).await;
    bank.settle().await;
    assert_eq!(bank.sandbox.balance(anna()).await, -20);
    assert_eq!(total(&bank.sandbox, "psp_clearing").await, ride.total());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_settled_is_posted_once() {
    let bank = Bank::new().await;
    let rides = [
        bank.sandbox.captured("anna").await,
        bank.sandbox.captured("anna").await,
        bank.sandbox.captured("anna").await,
    ];
    let store = bank.sandbox.billing.store();
    store.plan_operations("sandbox").await.unwrap();
    // As it wrote: without a word about posting.
    sqlx::query("UPDATE provider_operation SET state = 'SUCCEEDED', reference = key, attempts = 1")
        .execute(bank.sandbox.pool())
        .await
        .unwrap();
    let owed: i64 = rides.iter().map(Held::total).sum();
    assert_eq!(bank.sandbox.balance(anna()).await, owed);
    let posts = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.post_operations("sandbox", 2).await })
    });
    let mut posted = 0;
    for post in posts.collect::<Vec<_>>() {
        posted += post.await.unwrap().unwrap();
    }
    while posted < 3 {
        posted += store.post_operations("sandbox", 2).await.unwrap();
    }
    assert_eq!(posted, 3);
    assert_eq!(store.post_operations("sandbox", 2).await.unwrap(), 0);
    assert_eq!(bank.sandbox.balance(anna()).await, 0);
    assert_eq!(total(&bank.sandbox, "psp_clearing").await, owed);
}

#[tokio::test]
async fn what_was_taken_in_two_parts_is_given_back_from_both() {
    let bank = Bank::new().await;
    let ride = bank.sandbox.held("anna").await;
    bank.settle().await;
    // It became longer on the way: the rest is taken by itself.
    let longer = bank.sandbox.quote(9_000).await;
    let fare = minor(&longer.total);
    let change = pb::ChangeHoldRequest {
        trip_id: ride.trip.clone(),
        quote_id: longer.quote_id,
        idempotency_key: "longer".to_owned(),
    };
    bank.sandbox.trips().change_hold(change).await.unwrap();
    bank.capture(&ride).await;
    bank.settle().await;
    let first = ride.total();
    assert!(first < fare);
    // Across the border of both parts, and then the rest.
    for part in [first - 10, 30, fare - first - 20] {
        bank.refund(&ride, part).await;
        let store = bank.sandbox.billing.store();
        store.plan_operations("sandbox").await.unwrap();
        // Each from the authorisation that it was taken under.
        for due in store.due_operations("sandbox", 10).await.unwrap() {
            let Operation {
                seq, authorization, ..
            } = due.operation;
            let authorization = authorization.unwrap();
            assert_eq!(authorization.ends_with(":authorize:2"), seq > 1000, "{seq}");
        }
        bank.settle().await;
        assert_eq!(bank.sandbox.balance(anna()).await, 0);
    }
    let refunds: Vec<(i32, i64, String)> = sqlx::query_as(
        "SELECT op.seq, op.amount_minor, ground.key FROM provider_operation AS op
         JOIN provider_operation AS ground ON ground.kind = 'CAPTURE' AND ground.subject_id = op.subject_id
             AND ground.seq = CASE WHEN op.seq > 1000 THEN 2 ELSE 1 END
         WHERE op.kind = 'REFUND' AND op.state = 'SUCCEEDED' ORDER BY op.seq",
    )
    .fetch_all(bank.sandbox.pool())
    .await
    .unwrap();
    let (one, two) = (
        format!("{}:capture", ride.trip),
        format!("{}:capture:2", ride.trip),
    );
    let expected = [
        (1, first - 10, one.clone()),
        (2, 10, one),
        (1002, 20, two.clone()),
        (1003, fare - first - 20, two),
    ];
    assert_eq!(refunds, expected);
    assert_eq!(total(&bank.sandbox, "psp_clearing").await, 0);
}

#[tokio::test]
async fn events_that_come_twice_are_heard_once() {
    for (percent, times) in [(0, 1), (100, 2)] {
        let faults = SandboxConfig {
            duplicate_webhook_percent: percent,
            ..SandboxConfig::default()
        };
        let bank = Bank::with(Config::default(), faults).await;
        let ride = bank.sandbox.captured("anna").await;
        bank.settle().await;
        bank.refund(&ride, 70).await;
        tip(&bank, &ride, 30).await;
        bank.settle().await;
        let done = bank.sandbox.count("provider_sandbox").await;
        assert_eq!(done, 5);
        assert_eq!(bank.provider.inner.events_sent(), 5 * times);
        assert_eq!(bank.sandbox.count("provider_event").await, 5);
        assert_eq!(bank.sandbox.balance(anna()).await, 0);
        let left = ride.total() - 70 + 30;
        assert_eq!(total(&bank.sandbox, "psp_clearing").await, left);
    }
}

#[tokio::test]
async fn what_events_are_sent_twice_is_drawn_from_the_seed() {
    let mut counts = Vec::new();
    for seed in 0..3 {
        let faults = SandboxConfig {
            seed,
            duplicate_webhook_percent: 50,
            lose_answer_percent: 40,
            ..SandboxConfig::default()
        };
        let bank = Bank::with(Config::default(), faults).await;
        let mut owed = 0;
        for _ in 0..6 {
            owed += bank.sandbox.captured("anna").await.total();
        }
        bank.settle().await;
        assert_eq!(bank.sandbox.count("provider_event").await, 12);
        assert_eq!(total(&bank.sandbox, "psp_clearing").await, owed);
        counts.push(bank.provider.inner.events_sent());
    }
    assert!(
        counts.iter().all(|&sent| sent > 12),
        "some are sent twice: {counts:?}"
    );
}

#[tokio::test]
async fn an_event_may_be_handed_in_as_often_as_somebody_likes() {
    let mut config = Config::default();
    config.provider.sandbox.seed = 7;
    let sandbox = Sandbox::with_provider(config).await;
    let ride = sandbox.captured("anna").await;
    let payload = format!(
        r#"{{"id": "evt_1", "type": "dispute", "subject_id": "{}",
        "dispute": {{"id": "dp_1", "amount_minor": 70, "currency": "EUR", "state": "OPEN"}}}}"#,
        ride.trip
    );
    let now = sandbox.platform.clock.now();
    let hear = async |seed| {
        let request = pb::HandleProviderEventRequest {
            payload: payload.clone().into_bytes(),
            signature: sign(seed, payload.as_bytes(), now),
        };
        sandbox.trips().handle_provider_event(request).await
    };
    for is_news in [true, false, false] {
        assert_eq!(hear(7).await.unwrap().into_inner().news, is_news);
        assert_eq!(total(&sandbox, "chargeback_loss").await, 70);
    }
    let refused = refusal(hear(8).await);
    assert_eq!(refused, Code::InvalidRequest, "another sandbox's");
}

#[tokio::test]
async fn the_check_finds_what_was_not_posted_as_it_was_done() {
    let bank = Bank::new().await;
    let ride = bank.sandbox.captured("anna").await;
    bank.settle().await;
    bank.sandbox.assert_sound().await;
    for (wrong, right) in [
        (
            "amount_minor = amount_minor + 1",
            "amount_minor = amount_minor - 1",
        ),
        ("state = 'UNKNOWN'", "state = 'SUCCEEDED'"),
    ] {
        for (change, is_balanced) in [(wrong, false), (right, true)] {
            let statement = format!(
                "UPDATE provider_operation SET {change} WHERE kind = 'CAPTURE' AND subject_id = '{}'",
                ride.trip
            );
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .execute(bank.sandbox.pool())
                .await
                .unwrap();
            let check = bank.sandbox.check().await;
            assert_eq!(check.balanced, is_balanced, "{change}: {check:?}");
        }
    }
}
