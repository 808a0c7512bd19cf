//! A ledger that an older version wrote, and goes on writing for a while: it is widened, stays sound, and
//! what is new works on it.

use jitney_billing::{Billing, Config, MIGRATOR, Needs, SCHEMA};
use jitney_proto::{
    billing::v1::{self as pb, list_postings_request::Owner},
    time::moment,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, migrate::Migrator};
use uuid::Uuid;

use crate::support::{Held, Sandbox, minor};

/// The migrations that the version before these rows had.
const OLDER: usize = 3;

/// Everything one ride leaves behind in the version before: EUR 9.95, of which ben has 6.71.
async fn ride_of_the_version_before(connection: &mut PgConnection, at: &str) -> Uuid {
    let (trip, quote) = (Uuid::now_v7(), Uuid::now_v7());
    let statements = format!(
        "INSERT INTO tariff (version, body, hash, effective_from)
         VALUES ('older-1', '{{}}', sha256('older'), '{at}') ON CONFLICT DO NOTHING;
         INSERT INTO fare_quote (
             id, product, tariff_version, distance_meters, duration_ms, currency, base_minor,
             distance_minor, time_minor, minimum_top_up_minor, booking_fee_minor, tax_minor,
             total_minor, platform_share_basis_points, created_at, expires_at
         )
         VALUES ('{quote}', 'economy', 'older-1', 5100, 765000, 'EUR', 150, 434, 255, 0, 100, 56,
             995, 2000, '{at}', timestamptz '{at}' + interval '1 hour');
         INSERT INTO trip_charge (
             trip_id, rider_id, driver_id, quote_id, currency, authorised, captured, state,
             created_at, expires_at, closed_at
         )
         VALUES ('{trip}', 'anna', 'ben', '{quote}', 'EUR', 995, 995, 'CAPTURED', '{at}',
             timestamptz '{at}' + interval '1 hour', '{at}');
         INSERT INTO receipt (
             trip_id, rider_id, driver_id, product, tariff_version, currency, base_minor,
             distance_minor, time_minor, minimum_top_up_minor, booking_fee_minor, tax_minor,
             total_minor, driver_share_minor, platform_share_minor, captured_at
         )
         VALUES ('{trip}', 'anna', 'ben', 'economy', 'older-1', 'EUR', 150, 434, 255, 0, 100, 56,
             995, 671, 268, '{at}');
         INSERT INTO journal_entry (
             trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
         )
         VALUES ('{trip}', 'CAPTURE', 1, 'EUR', 4, 0, '{at}');
         INSERT INTO posting (
             trip_id, kind, seq, position, account, owner_id, currency, amount_minor
         )
         VALUES ('{trip}', 'CAPTURE', 1, 1, 'rider_receivable', 'anna', 'EUR', 995),
             ('{trip}', 'CAPTURE', 1, 2, 'driver_payable', 'ben', 'EUR', -671),
             ('{trip}', 'CAPTURE', 1, 3, 'platform_revenue', NULL, 'EUR', -268),
             ('{trip}', 'CAPTURE', 1, 4, 'tax_payable', NULL, 'EUR', -56);
         INSERT INTO account_balance (owner_id, account, currency, balance_minor)
         VALUES ('anna', 'rider_receivable', 'EUR', 995), ('ben', 'driver_payable', 'EUR', -671)
         ON CONFLICT (owner_id, account, currency) DO UPDATE
             SET balance_minor = account_balance.balance_minor + excluded.balance_minor;
         INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
         VALUES ('capture', '{trip}', sha256('older'), 'DONE', '{{}}', '{at}')"
    );
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .unwrap();
    trip
}

fn held(trip: Uuid) -> Held {
    Held {
        trip: trip.to_string(),
        quote: pb::FareQuote::default(),
    }
}

#[tokio::test]
async fn an_older_ledger_is_widened_and_stays_sound() {
    let database = jitney_platform::testing::TestDatabase::new().await;
    let older = Migrator {
        migrations: MIGRATOR.migrations[..OLDER].to_vec().into(),
        ..Migrator::DEFAULT
    };
    database.database().open(SCHEMA, &older).await.unwrap();
    let options = database.options().options([("search_path", SCHEMA)]);
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    let then = "2026-01-15T12:00:00.123456Z";
    let before = ride_of_the_version_before(&mut connection, then).await;

    let platform = database.platform();
    let needs = Needs {
        platform: platform.clone(),
    };
    let billing = Billing::build(Config::default(), needs).await.unwrap();
    let sandbox = Sandbox::over(billing, platform, database);
    sandbox.assert_sound().await;
    // The version before goes on beside this one.
    let beside = ride_of_the_version_before(&mut connection, "2026-02-15T12:00:00Z").await;
    sandbox.assert_sound().await;

    let request = pb::ListPostingsRequest {
        owner: Some(Owner::DriverId("ben".to_owned())),
        ..Default::default()
    };
    let listed = sandbox.trips().list_postings(request).await.unwrap();
    let postings = listed.into_inner().postings;
    assert_eq!(postings.len(), 2);
    assert_eq!(postings[0].about_id, beside.to_string(), "newest first");
    let at = moment(postings[1].posted_at.as_ref().unwrap(), "at").unwrap();
    assert_eq!(at, then.parse::<chrono::DateTime<chrono::Utc>>().unwrap());

    for trip in [before, beside] {
        let receipt = sandbox.receipt(&trip.to_string()).await;
        assert_eq!(receipt.payment_method(), pb::PaymentMethod::Card);
        assert_eq!((minor(&receipt.total), minor(&receipt.fare)), (995, 995));
        let key = format!("{trip}:refund");
        let refund = held(trip).refund(&key, None);
        let refund = sandbox.trips().refund_trip(refund).await.unwrap();
        let refund = refund.into_inner().refund.unwrap();
        assert_eq!(refund.lines, receipt.lines);
    }
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    let is_empty = |total: &pb::AccountTotal| minor(&total.total) == 0;
    assert!(check.totals.iter().all(is_empty), "{check:?}");
}
