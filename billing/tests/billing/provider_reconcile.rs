//! Our books beside the provider's: nothing to say where they agree, and every planted difference is found.

use std::{sync::Arc, time::Duration};

use jitney_billing::{
    Config,
    provider::{
        config::{ProviderConfig, SandboxConfig},
        sandbox,
        teller::Teller,
    },
};
use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, ProviderDifferenceKind as Difference},
    time::timestamp,
};
use sqlx::AssertSqlSafe;

use crate::support::{Held, Sandbox, euro, minor, refusal};

/// Billing that uses the sandbox, and somebody who tells it when asked to.
struct Bank {
    sandbox: Sandbox,
    teller: Teller,
}

impl Bank {
    async fn new(decline_percent: u8) -> Bank {
        let provider = ProviderConfig {
            poll_interval: Duration::from_secs(3_600),
            sandbox: SandboxConfig {
                decline_percent,
                ..SandboxConfig::default()
            },
            ..ProviderConfig::default()
        };
        let config = Config {
            provider: provider.clone(),
            ..Config::default()
        };
        let sandbox = Sandbox::with_provider(config).await;
        let store = sandbox.billing.store().clone();
        let clock = sandbox.platform.clock.clone();
        let played = sandbox::Sandbox::new(store.clone(), clock, provider.sandbox.clone());
        let teller = Teller::new(store, Arc::new(played), provider);
        Bank { sandbox, teller }
    }

    async fn settle(&self) {
        while self.teller.round().await.unwrap() > 0 {}
    }

    /// A ride, a part of it given back, one that was called off, and a payout.
    async fn busy(&self) -> Held {
        let ride = self.sandbox.captured("anna").await;
        let refund = ride.refund("refund", Some(7));
        self.sandbox.trips().refund_trip(refund).await.unwrap();
        let off = self.sandbox.held("anna").await;
        self.settle().await;
        self.sandbox
            .trips()
            .void_hold(off.void("off"))
            .await
            .unwrap();
        let payout = pb::CreatePayoutRequest {
            driver_id: "ben".to_owned(),
            amount: Some(euro(100)),
            idempotency_key: "payout".to_owned(),
        };
        self.sandbox.trips().create_payout(payout).await.unwrap();
        self.settle().await;
        ride
    }

    async fn compare(&self) -> pb::ReconcileProviderResponse {
        let mut olga = self.sandbox.client(Role::Operator, "olga");
        let request = pb::ReconcileProviderRequest::default();
        olga.reconcile_provider(request).await.unwrap().into_inner()
    }

    async fn tamper(&self, with: &str) {
        let mut intruder = self.sandbox.superuser().await;
        let with = AssertSqlSafe(with.to_owned());
        sqlx::raw_sql(with).execute(&mut intruder).await.unwrap();
    }
}

#[tokio::test]
async fn books_that_agree_have_no_differences() {
    let bank = Bank::new(0).await;
    bank.busy().await;
    // Nobody has told the provider of this one yet.
    bank.sandbox.held("anna").await;
    let store = bank.sandbox.billing.store();
    store.plan_operations("sandbox").await.unwrap();
    let expected = pb::ReconcileProviderResponse {
        provider: "sandbox".to_owned(),
        compared: 6,
        unfinished: 1,
        ..Default::default()
    };
    assert_eq!(bank.compare().await, expected);
    // A time in which nothing was.
    let request = pb::ReconcileProviderRequest {
        to: Some(timestamp("2026-01-01T00:00:00Z".parse().unwrap())),
        from: None,
    };
    let empty = bank
        .sandbox
        .trips()
        .reconcile_provider(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((empty.compared, empty.unfinished), (0, 0));
}

#[tokio::test]
async fn every_planted_difference_is_found() {
    let bank = Bank::new(0).await;
    let ride = bank.busy().await;
    let trip = &ride.trip;
    let capture = format!("subject_id = '{trip}' AND kind = 'CAPTURE'");
    let (total, counts) = (ride.total(), |of: &pb::ReconcileProviderResponse| {
        [
            of.missing_there,
            of.missing_here,
            of.amount_differs,
            of.state_differs,
            of.ledger_differs,
        ]
    });
    for (tampering, back, expected, kind) in [
        (
            format!("UPDATE provider_sandbox SET amount_minor = amount_minor + 1 WHERE {capture}"),
            format!("UPDATE provider_sandbox SET amount_minor = amount_minor - 1 WHERE {capture}"),
            [0, 0, 1, 0, 0],
            Difference::Amount,
        ),
        (
            format!("UPDATE provider_sandbox SET currency = 'CHF' WHERE {capture}"),
            format!("UPDATE provider_sandbox SET currency = 'EUR' WHERE {capture}"),
            [0, 0, 1, 0, 0],
            Difference::Amount,
        ),
        (
            format!("UPDATE provider_sandbox SET declined = 'no' WHERE {capture}"),
            format!("UPDATE provider_sandbox SET declined = NULL WHERE {capture}"),
            [0, 0, 0, 1, 0],
            Difference::State,
        ),
        (
            format!("UPDATE provider_operation SET state = 'DECLINED' WHERE {capture}"),
            format!("UPDATE provider_operation SET state = 'SUCCEEDED' WHERE {capture}"),
            [0, 0, 0, 1, 0],
            Difference::State,
        ),
        (
            format!("UPDATE provider_sandbox SET key = 'x' WHERE {capture}"),
            format!("UPDATE provider_sandbox SET key = '{trip}:capture' WHERE {capture}"),
            [1, 1, 0, 0, 0],
            Difference::MissingThere,
        ),
    ] {
        bank.tamper(&tampering).await;
        let found = bank.compare().await;
        assert_eq!(counts(&found), expected, "{tampering}");
        let first = &found.differences[0];
        assert_eq!(
            (first.kind(), &first.subject_id),
            (kind, trip),
            "{tampering}"
        );
        assert_eq!(first.key, format!("{trip}:capture"));
        assert_eq!(minor(&first.ours), total);
        bank.tamper(&back).await;
        assert_eq!(counts(&bank.compare().await), [0; 5]);
    }
    // Of many the first hundred are shown, and of far too many nothing.
    let many = |n: usize| {
        format!(
            "INSERT INTO provider_sandbox
             SELECT gen_random_uuid(), 'k', 'TRANSFER', 1, 5, 'EUR', 'r', NULL, now()
             FROM generate_series(1, {n})"
        )
    };
    bank.tamper(&many(120)).await;
    let found = bank.compare().await;
    assert_eq!((found.missing_here, found.differences.len()), (120, 100));
    assert_eq!(found.differences[0].their_state, "SUCCEEDED");
    bank.tamper(&many(2_000)).await;
    let mut olga = bank.sandbox.client(Role::Operator, "olga");
    let answer = olga
        .reconcile_provider(pb::ReconcileProviderRequest::default())
        .await;
    assert_eq!(refusal(answer), Code::InvalidRequest);
}

#[tokio::test]
async fn what_the_provider_declined_and_the_ledger_has_is_listed() {
    let bank = Bank::new(100).await;
    let ride = bank.sandbox.captured("anna").await;
    bank.settle().await;
    let found = bank.compare().await;
    assert_eq!((found.ledger_differs, found.differences.len()), (1, 1));
    let difference = &found.differences[0];
    assert_eq!(difference.kind(), Difference::Ledger);
    assert_eq!(difference.key, format!("{}:capture", ride.trip));
    assert!(difference.reason.contains("was not sent"), "{difference:?}");
}

#[tokio::test]
async fn a_payout_that_was_closed_by_hand_and_sent_is_listed() {
    let bank = Bank::new(0).await;
    bank.busy().await;
    for (state, reason, there, expected) in [
        ("FAILED", "'by hand'", "NULL", (0, 1)),
        ("SETTLED", "NULL", "NULL", (0, 0)),
        ("SETTLED", "NULL", "'no'", (1, 0)),
    ] {
        bank.tamper(&format!(
            "UPDATE payout SET state = '{state}', reason = {reason}"
        ))
        .await;
        let there =
            format!("UPDATE provider_sandbox SET declined = {there} WHERE kind = 'TRANSFER'");
        bank.tamper(&there).await;
        let found = bank.compare().await;
        assert_eq!(
            (found.state_differs, found.ledger_differs),
            expected,
            "{state}"
        );
    }
    bank.tamper("UPDATE provider_operation SET state = 'DECLINED' WHERE kind = 'TRANSFER'")
        .await;
    let found = bank.compare().await;
    assert_eq!((found.state_differs, found.ledger_differs), (0, 1));
}

#[tokio::test]
async fn it_takes_a_provider_and_the_staff() {
    let sandbox = Sandbox::new().await;
    let request = pb::ReconcileProviderRequest::default();
    let answer = sandbox.trips().reconcile_provider(request).await;
    assert_eq!(refusal(answer), Code::ProviderUnused);
    let mut anna = sandbox.client(Role::Rider, "anna");
    let answer = anna.reconcile_provider(request).await;
    assert_eq!(refusal(answer), Code::PermissionDenied);
}
