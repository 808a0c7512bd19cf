//! Quotes are signed: one that was changed in the table, or comes from elsewhere, moves nothing.

use std::{fs, sync::Arc, time::Duration};

use jitney_billing::{Billing, Config, Needs, provider::config::ProviderKind};
use jitney_platform::{Platform, auth::TokenKeys};
use jitney_proto::{Code, billing::v1 as pb};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::support::{Sandbox, authorize, minor, one_by_one, refusal};

/// Changes rows of `fare_quote` as somebody with the owner's rights would.
async fn meddle(sandbox: &Sandbox, quote: &str, change: &str) {
    let mut connection = sandbox.superuser().await;
    let statement = format!("UPDATE fare_quote SET {change} WHERE id = '{quote}'");
    let changed = sqlx::query(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(changed.rows_affected(), 1, "{change}");
}

/// What would show that something moved.
async fn moved(sandbox: &Sandbox) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["trip_charge", "journal_entry", "receipt", "idempotency"] {
        counts.push(sandbox.count(table).await);
    }
    counts.push(sandbox.exposure("anna").await);
    counts
}

/// The same database with another process.
async fn restarted(sandbox: Sandbox, mut config: Config, keys: Option<TokenKeys>) -> Sandbox {
    let Sandbox {
        platform, database, ..
    } = sandbox;
    config.provider.kind = ProviderKind::None;
    let keys = keys.map_or_else(|| platform.keys.clone(), Arc::new);
    let platform = Platform { keys, ..platform };
    let needs = Needs {
        platform: platform.clone(),
    };
    let billing = Billing::build(config, needs).await.unwrap();
    Sandbox::over(billing, platform, database)
}

#[tokio::test]
async fn a_quote_is_given_with_the_signature_that_is_kept() {
    let sandbox = Sandbox::new().await;
    let quote = sandbox.quote(5_100).await;
    let kept: String = sqlx::query_scalar("SELECT signature FROM fare_quote")
        .fetch_one(sandbox.pool())
        .await
        .unwrap();
    assert_eq!(quote.signature, kept);
    assert_ne!(sandbox.quote(5_100).await.signature, kept);
    let refused = sqlx::query("UPDATE fare_quote SET signature = NULL")
        .execute(sandbox.pool())
        .await
        .unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("permission denied"), "{text}");
}

#[tokio::test]
async fn a_quote_that_was_changed_is_not_held() {
    let mut config = Config::default();
    config.quote_signing.unsigned_for = Duration::ZERO;
    let sandbox = Sandbox::with(config).await;
    let mut trips = sandbox.trips();
    sqlx::query(
        "INSERT INTO tariff (version, body, hash, effective_from)
         VALUES ('other', '{}', sha256('other'), now())",
    )
    .execute(sandbox.pool())
    .await
    .unwrap();
    let other = sandbox.quote(9_000).await;
    let stolen = format!("signature = '{}'", other.signature);
    for change in [
        "total_minor = total_minor - 100, base_minor = base_minor - 100",
        "base_minor = base_minor - 1, tax_minor = tax_minor + 1",
        "surge_percent = 101",
        "expires_at = expires_at + interval '1 microsecond'",
        "tariff_version = 'other'",
        "product = 'van'",
        "distance_meters = 1",
        "duration_ms = 1",
        "currency = 'CHF'",
        "platform_share_basis_points = 0",
        "cancellation_fee_minor = 0",
        "no_show_tax_minor = 0",
        "signature = NULL",
        &stolen,
    ] {
        let quote = sandbox.quote(5_100).await;
        meddle(&sandbox, &quote.quote_id, change).await;
        let before = moved(&sandbox).await;
        let request = authorize(&Uuid::now_v7().to_string(), "anna", &quote.quote_id);
        let refused = refusal(trips.authorize_hold(request).await);
        assert_eq!(refused, Code::QuoteNotGenuine, "{change}");
        assert_eq!(moved(&sandbox).await, before, "{change}");
    }

    // It is not held against the key: put right, the same request goes through.
    let quote = sandbox.quote(5_100).await;
    let request = authorize(&Uuid::now_v7().to_string(), "anna", &quote.quote_id);
    meddle(&sandbox, &quote.quote_id, "surge_percent = 150").await;
    let refused = refusal(trips.authorize_hold(request.clone()).await);
    assert_eq!(refused, Code::QuoteNotGenuine);
    meddle(&sandbox, &quote.quote_id, "surge_percent = 100").await;
    let held = trips.authorize_hold(request.clone()).await.unwrap();
    // And what was answered once is answered again, whatever became of the quote.
    meddle(&sandbox, &quote.quote_id, "surge_percent = 150").await;
    let again = trips.authorize_hold(request).await.unwrap();
    assert_eq!(again.into_inner(), held.into_inner());
}

#[tokio::test]
async fn a_hold_is_not_changed_to_such_a_quote() {
    let sandbox = Sandbox::new().await;
    let mut trips = sandbox.trips();
    let held = sandbox.held("anna").await;
    let longer = sandbox.quote(9_000).await;
    let change = "base_minor = base_minor + 1000, total_minor = total_minor + 1000";
    meddle(&sandbox, &longer.quote_id, change).await;
    let before = moved(&sandbox).await;
    let request = pb::ChangeHoldRequest {
        trip_id: held.trip.clone(),
        quote_id: longer.quote_id.clone(),
        idempotency_key: "longer".to_owned(),
    };
    let refused = refusal(trips.change_hold(request.clone()).await);
    assert_eq!(refused, Code::QuoteNotGenuine);
    assert_eq!(moved(&sandbox).await, before);

    let change = "base_minor = base_minor - 1000, total_minor = total_minor - 1000";
    meddle(&sandbox, &longer.quote_id, change).await;
    let changed = trips.change_hold(request).await.unwrap().into_inner();
    let authorized = changed.hold.unwrap().authorized;
    assert_eq!(minor(&authorized), minor(&longer.total));
}

#[tokio::test]
async fn a_fare_whose_quote_was_changed_is_not_taken() {
    for config in [Config::default(), one_by_one()] {
        let sandbox = Sandbox::with(config).await;
        let mut trips = sandbox.trips();
        let held = sandbox.held("anna").await;
        // The total stays, and with it what is held.
        let change = "booking_fee_minor = booking_fee_minor - 50, base_minor = base_minor + 50";
        meddle(&sandbox, &held.quote.quote_id, change).await;
        let before = moved(&sandbox).await;
        let fee = pb::CaptureHoldRequest {
            reason: pb::CaptureReason::CancellationFee.into(),
            ..held.capture("fee")
        };
        for request in [held.capture("c"), held.capture_part("part", 5), fee] {
            let refused = refusal(trips.capture_hold(request).await);
            assert_eq!(refused, Code::QuoteNotGenuine);
        }
        assert_eq!(moved(&sandbox).await, before);

        let change = "booking_fee_minor = booking_fee_minor + 50, base_minor = base_minor - 50";
        meddle(&sandbox, &held.quote.quote_id, change).await;
        let taken = trips.capture_hold(held.capture("c")).await.unwrap();
        meddle(&sandbox, &held.quote.quote_id, "surge_percent = 140").await;
        let again = trips.capture_hold(held.capture("c")).await.unwrap();
        assert_eq!(again.into_inner(), taken.into_inner());
        sandbox.assert_sound().await;
    }
}

#[tokio::test]
async fn keys_change_while_rides_are_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str| {
        let file = folder.path().join(name);
        fs::write(&file, name.repeat(20)).unwrap();
        file
    };
    let (first, second) = (key("first"), key("second"));
    let mut config = Config::default();
    let sandbox = Sandbox::with(config.clone()).await;
    let oldest = sandbox.quote(5_100).await;

    config.quote_signing.key_file = Some(first.clone());
    let sandbox = restarted(sandbox, config.clone(), None).await;
    let [older, oldest_yet] = [sandbox.quote(5_100).await, sandbox.quote(5_100).await];
    let riding = sandbox.held("ina").await;

    config.quote_signing.key_file = Some(second);
    config.quote_signing.old_key_files = vec![first];
    let sandbox = restarted(sandbox, config.clone(), None).await;
    let newest = sandbox.quote(5_100).await;
    for (rider, quote) in [("a", &oldest), ("b", &older), ("c", &newest)] {
        let request = authorize(&Uuid::now_v7().to_string(), rider, &quote.quote_id);
        sandbox.trips().authorize_hold(request).await.unwrap();
    }
    let capture = riding.capture("ina");
    sandbox.trips().capture_hold(capture).await.unwrap();

    config.quote_signing.old_key_files.clear();
    let sandbox = restarted(sandbox, config, None).await;
    let request = authorize(&Uuid::now_v7().to_string(), "d", &oldest_yet.quote_id);
    let refused = refusal(sandbox.trips().authorize_hold(request).await);
    assert_eq!(refused, Code::QuoteNotGenuine, "its key is forgotten");
    sandbox.held("e").await;
}

#[tokio::test]
async fn a_quote_of_another_deployment_is_none() {
    let sandbox = Sandbox::new().await;
    let quote = sandbox.quote(5_100).await;
    let other = restarted(sandbox, Config::default(), Some(TokenKeys::generate())).await;
    let request = authorize(&Uuid::now_v7().to_string(), "anna", &quote.quote_id);
    let refused = refusal(other.trips().authorize_hold(request).await);
    assert_eq!(refused, Code::QuoteNotGenuine);
    assert_eq!(other.count("trip_charge").await, 0);
}

#[tokio::test]
async fn a_quote_of_the_version_before_is_held_and_taken_for_a_while() {
    let sandbox = Sandbox::new().await;
    let [first, second] = [sandbox.quote(5_100).await, sandbox.quote(5_100).await];
    for quote in [&first, &second] {
        meddle(&sandbox, &quote.quote_id, "signature = NULL").await;
    }
    let request = authorize(&Uuid::now_v7().to_string(), "anna", &first.quote_id);
    sandbox.trips().authorize_hold(request).await.unwrap();
    let held = crate::support::Held {
        trip: Uuid::now_v7().to_string(),
        quote: second,
    };
    let request = authorize(&held.trip, "bea", &held.quote.quote_id);
    sandbox.trips().authorize_hold(request).await.unwrap();
    sandbox
        .trips()
        .capture_hold(held.capture("c"))
        .await
        .unwrap();
    sandbox.assert_sound().await;

    // A day later nothing of the version before is left.
    let late = sandbox.quote(5_100).await;
    let change = "signature = NULL, created_at = created_at + interval '25 h',
        expires_at = expires_at + interval '25 h'";
    meddle(&sandbox, &late.quote_id, change).await;
    let request = authorize(&Uuid::now_v7().to_string(), "cleo", &late.quote_id);
    let refused = refusal(sandbox.trips().authorize_hold(request).await);
    assert_eq!(refused, Code::QuoteNotGenuine);
}
