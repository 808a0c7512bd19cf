//! The ledger keeps itself: what does not balance is refused, history cannot be rewritten by the
//! service, and the check finds what somebody else rewrote.

use jitney_billing::Config;
use jitney_platform::db::violated_constraint;
use jitney_proto::billing::v1::{self as pb, get_balance_request::Owner};

use uuid::Uuid;

use crate::support::{Held, Sandbox, authorize};

async fn charged(sandbox: &Sandbox, rides: usize) {
    for _ in 0..rides {
        let held = sandbox.held("anna").await;
        sandbox
            .trips()
            .capture_hold(held.capture(&held.trip))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_empty_ledger_holds() {
    let sandbox = Sandbox::new().await;
    let check = sandbox.check().await;
    assert_eq!(
        check,
        pb::CheckLedgerResponse {
            balanced: true,
            ..Default::default()
        }
    );
}

#[tokio::test]
async fn totals_per_account_sum_to_zero() {
    let sandbox = Sandbox::new().await;
    charged(&sandbox, 3).await;
    let check = sandbox.check().await;
    assert!(check.balanced);
    let names: Vec<_> = check
        .totals
        .iter()
        .map(|total| total.account.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "driver_payable",
            "platform_revenue",
            "rider_receivable",
            "tax_payable"
        ]
    );
    let sum: i64 = check
        .totals
        .iter()
        .map(|t| t.total.as_ref().unwrap().minor_units)
        .sum();
    assert_eq!(sum, 0);
    let owed = sandbox.balance(Owner::DriverId("ben".to_owned())).await;
    assert_eq!(owed, -check.totals[0].total.as_ref().unwrap().minor_units);
    assert!(owed > 0);
}

#[tokio::test]
async fn many_different_rides_sum_to_zero_in_a_currency_without_cents() {
    let config = Config {
        currency: "JPY".parse().unwrap(),
        hold_limit_minor: 1_000_000,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let mut trips = sandbox.trips();
    let mut owed = 0;
    for n in 0..60 {
        let quote = sandbox.quote(n * 7_919 % 50_000).await;
        let total = quote.total.as_ref().unwrap().minor_units;
        let held = Held {
            trip: Uuid::now_v7().to_string(),
            quote,
        };
        let hold = authorize(&held.trip, "anna", &held.quote.quote_id);
        trips.authorize_hold(hold).await.unwrap();
        let (amount, mut request) = match n % 3 {
            0 => (
                total * 31 / 37,
                held.capture_part(&held.trip, total * 31 / 37),
            ),
            _ => (total, held.capture(&held.trip)),
        };
        if let Some(amount) = &mut request.amount {
            amount.currency_code = "JPY".to_owned();
        }
        let receipt = trips
            .capture_hold(request)
            .await
            .unwrap()
            .into_inner()
            .receipt
            .unwrap();
        assert_eq!(receipt.total.unwrap().minor_units, amount);
        owed += amount;
    }
    assert_eq!(
        sandbox.balance(Owner::RiderId("anna".to_owned())).await,
        owed
    );
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 60);
    assert!(
        check
            .totals
            .iter()
            .all(|t| t.total.as_ref().unwrap().currency_code == "JPY")
    );
}

#[tokio::test]
async fn the_check_finds_what_was_tampered_with() {
    // What somebody with the right to everything did, and what the check counts.
    type Found = fn(&pb::CheckLedgerResponse) -> bool;
    let cases: [(&str, Found); 14] = [
        (
            "UPDATE posting SET amount_minor = amount_minor + 1 WHERE account = 'tax_payable'",
            |check| check.unbalanced_entries == 2,
        ),
        (
            "UPDATE posting SET amount_minor = amount_minor * 2 WHERE kind = 'CAPTURE'",
            |check| check.wrong_balances == 2 && check.wrong_charges == 2,
        ),
        ("UPDATE posting SET currency = 'CHF'", |check| {
            check.unbalanced_entries == 2
        }),
        ("DELETE FROM posting", |check| {
            check.unbalanced_entries == 2 && check.wrong_balances == 2 && check.wrong_charges == 2
        }),
        (
            "UPDATE account_balance SET balance_minor = 0 WHERE owner_id = 'ben'",
            |check| check.wrong_balances == 1,
        ),
        ("DELETE FROM account_balance", |check| {
            check.wrong_balances == 2
        }),
        (
            "UPDATE trip_charge SET captured = captured - 1
             WHERE trip_id = (SELECT min(trip_id::text)::uuid FROM trip_charge)",
            |check| check.wrong_charges == 1,
        ),
        ("UPDATE trip_charge SET refunded = 1", |check| {
            check.wrong_charges == 2
        }),
        ("UPDATE trip_charge SET tipped = 1", |check| {
            check.wrong_charges == 2
        }),
        ("UPDATE trip_charge SET tips = 1", |check| {
            check.wrong_charges == 2
        }),
        ("UPDATE trip_charge SET refunds = 1", |check| {
            check.wrong_charges == 2
        }),
        (
            "INSERT INTO journal_entry
             VALUES (gen_random_uuid(), 'REFUND', 1, 'EUR', 0, 0, now())",
            |check| check.wrong_charges == 1,
        ),
        ("DELETE FROM receipt", |check| check.wrong_charges == 2),
        ("DELETE FROM posting; DELETE FROM journal_entry", |check| {
            check.wrong_charges == 2
        }),
    ];
    for (tampering, found) in cases {
        let sandbox = Sandbox::new().await;
        charged(&sandbox, 2).await;
        assert!(sandbox.check().await.balanced);
        let mut intruder = sandbox.superuser().await;
        sqlx::raw_sql(tampering)
            .execute(&mut intruder)
            .await
            .unwrap();
        let check = sandbox.check().await;
        assert!(!check.balanced, "{tampering}");
        assert!(found(&check), "{tampering}: {check:?}");
    }
}

#[tokio::test]
async fn history_cannot_be_rewritten_by_the_service() {
    let sandbox = Sandbox::new().await;
    charged(&sandbox, 1).await;
    for (table, column) in [
        ("tariff", "version"),
        ("fare_quote", "product"),
        ("receipt", "driver_id"),
        ("refund", "reason"),
        ("tip", "made_by"),
        ("credit", "reason"),
        ("provider_event", "type"),
        ("provider_sandbox", "kind"),
        ("journal_entry", "kind"),
        ("posting", "account"),
        ("idempotency", "key"),
    ] {
        for statement in [
            format!("UPDATE {table} SET {column} = {column}"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!("ALTER TABLE {table} DROP COLUMN {column}"),
            format!("DROP TABLE {table} CASCADE"),
        ] {
            let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
                .execute(sandbox.pool())
                .await
                .expect_err(&statement);
            let code = refused.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{statement}: {refused}");
        }
    }
    for table in [
        "trip_charge",
        "account_balance",
        "rider_exposure",
        "payout",
        "promotion",
        "promotion_rider",
        "rider_dues",
        "provider_operation",
        "provider_since",
        "provider_account",
        "outbox_cursor",
    ] {
        let statement = format!("DELETE FROM {table}");
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(sandbox.pool())
            .await;
        assert!(refused.is_err(), "{table}");
    }
    // What was told may be forgotten, and is never told otherwise.
    let refused = sqlx::raw_sql("UPDATE outbox SET type = 'REFUNDED'")
        .execute(sandbox.pool())
        .await;
    assert!(refused.is_err());
    assert!(sandbox.check().await.balanced);
}

#[tokio::test]
async fn the_schema_refuses_what_does_not_add_up() {
    let sandbox = Sandbox::new().await;
    charged(&sandbox, 1).await;
    let held = sandbox.held("anna").await;
    let entry = "INSERT INTO journal_entry
        (trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at)
        SELECT trip_id, 'CAPTURE', $SEQ, 'EUR', $N, $SUM, now()
        FROM trip_charge WHERE state = 'HELD'";
    let entry = |seq: &str, n: &str, sum: &str| {
        entry
            .replace("$SEQ", seq)
            .replace("$N", n)
            .replace("$SUM", sum)
    };
    for (statement, constraint) in [
        (entry("1", "2", "1"), "journal_entry_sums_to_zero"),
        (entry("1", "1", "0"), "journal_entry_has_two_sides"),
        (entry("2", "2", "0"), "journal_entry_seq_is_in_range"),
        (
            "UPDATE trip_charge SET captured = authorised + 1 WHERE state = 'CAPTURED'".to_owned(),
            "trip_charge_captured_within_authorised",
        ),
        (
            "UPDATE trip_charge SET refunded = captured + 1 WHERE state = 'CAPTURED'".to_owned(),
            "trip_charge_refunded_within_captured",
        ),
        (
            "UPDATE trip_charge SET captured = 1 WHERE state = 'HELD'".to_owned(),
            "trip_charge_only_captured_takes",
        ),
        (
            "INSERT INTO posting (trip_id, kind, seq, position, account, owner_id, currency,
                amount_minor)
             SELECT trip_id, kind, seq, 9, 'tax_payable', 'ben', currency, 1 FROM journal_entry"
                .to_owned(),
            "posting_owner_of_personal_account",
        ),
        (
            format!(
                "INSERT INTO posting (trip_id, kind, seq, position, account, currency, amount_minor)
                 VALUES ('{}', 'CAPTURE', 1, 1, 'tax_payable', 'EUR', 1)",
                held.trip
            ),
            "posting_entry_fkey",
        ),
    ] {
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
            .execute(sandbox.pool())
            .await
            .expect_err(&statement);
        assert_eq!(violated_constraint(&refused), Some(constraint), "{refused}");
    }
}
