//! What fails around billing: callers who go away, processes that end, clocks that are wrong. None of
//! it leaves anything half done.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use jitney_billing::Config;
use jitney_platform::{
    Platform,
    auth::Role,
    clock::Clock,
    db::DatabaseConfig,
    testing::{TestDatabase, eventually},
};
use jitney_proto::{Code, billing::v1 as pb, time::moment};
use prost::Message;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::{Held, Sandbox, authorize, one_by_one, refusal};

/// When a caller goes away.
#[derive(Clone, Copy, PartialEq)]
enum Leave {
    /// While the call waits for something.
    Waiting,
    /// When it has happened, before the call learns of it.
    Woken,
}

/// Lets a call have so many turns and drops it; whether it was over before that.
async fn leave<T>(call: impl Future<Output = T>, turns: usize, point: Leave) -> bool {
    let mut call = pin!(call);
    let mut left = turns;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 && point == Leave::Waiting => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Connections inside an open transaction, once no statement is under way.
async fn left_open(watcher: &mut PgConnection) -> i64 {
    let mut open = 0;
    eventually("the end of what is under way", async || {
        let active: i64;
        (active, open) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE state = 'active' AND pid <> pg_backend_pid()),
                    count(*) FILTER (WHERE state LIKE 'idle in transaction%')
             FROM pg_stat_activity WHERE datname = current_database()",
        )
        .fetch_one(&mut *watcher)
        .await
        .unwrap();
        active == 0
    })
    .await;
    open
}

/// A money command.
#[derive(Clone, Copy, Debug)]
enum Command {
    Authorize,
    Capture,
    Void,
    Refund,
}

impl Command {
    /// Asks for it, under a key that is always the same for the trip.
    async fn ask(self, sandbox: &Sandbox, rider: &str, held: &Held) -> Result<(), tonic::Status> {
        let mut trips = sandbox.trips();
        match self {
            Command::Authorize => {
                let request = authorize(&held.trip, rider, &held.quote.quote_id);
                trips.authorize_hold(request).await.map(drop)
            }
            Command::Capture => {
                let request = held.capture(&held.trip);
                trips.capture_hold(request).await.map(drop)
            }
            Command::Void => trips.void_hold(held.void(&held.trip)).await.map(drop),
            Command::Refund => {
                let mut olga = sandbox.client(Role::Operator, "olga");
                let request = held.refund(&held.trip, Some(1));
                olga.refund_trip(request).await.map(drop)
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_go_away_anywhere_leave_nothing_open() {
    for config in [one_by_one(), Config::default()] {
        // Two connections: one that were left in a transaction would be felt at once.
        let two = DatabaseConfig {
            connections_max: 2,
            ..DatabaseConfig::default()
        };
        let sandbox = Sandbox::bounded(config, two).await;
        let mut watcher = sandbox.superuser().await;
        for command in [
            Command::Authorize,
            Command::Capture,
            Command::Void,
            Command::Refund,
        ] {
            let mut all = Vec::new();
            // From before the first byte is sent until after the answer is there: at every point at
            // which the call waits, before and after what it waits for has happened.
            for point in [Leave::Waiting, Leave::Woken] {
                for turns in 0.. {
                    let rider = format!("{command:?}-{}", all.len());
                    let held = match command {
                        Command::Authorize => Held {
                            trip: Uuid::now_v7().to_string(),
                            quote: sandbox.quote(5_100).await,
                        },
                        Command::Refund => sandbox.captured(&rider).await,
                        _ => sandbox.held(&rider).await,
                    };
                    let call = command.ask(&sandbox, &rider, &held);
                    let is_over = leave(call, turns, point).await;
                    all.push((rider, held));
                    let open = left_open(&mut watcher).await;
                    assert_eq!(open, 0, "{command:?} after {turns} turns");
                    if is_over {
                        break;
                    }
                    assert!(turns < 1_000, "the call comes to an end");
                }
            }
            assert!(all.len() >= 4, "it waits here and there: {}", all.len());
            // Either it happened or it did not; asked again, two at a time, it has happened once.
            for (rider, held) in &all {
                let again = || command.ask(&sandbox, rider, held);
                let (one, other) = tokio::join!(again(), again());
                one.unwrap();
                other.unwrap();
                let held_minor = match command {
                    Command::Authorize => held.total(),
                    Command::Capture | Command::Void | Command::Refund => 0,
                };
                assert_eq!(sandbox.exposure(rider).await, held_minor);
            }
            sandbox.assert_sound().await;
            let captured = sandbox.count("trip_charge WHERE state = 'CAPTURED'").await;
            let refunds = sandbox.count("trip_charge WHERE refunded = 1").await;
            let entries = "journal_entry WHERE kind IN ('CAPTURE', 'REFUND')";
            assert_eq!(sandbox.count(entries).await, captured + refunds);
            if let Command::Refund = command {
                assert_eq!(refunds, all.len() as i64);
            }
            if let Command::Capture = command {
                assert_eq!(captured, all.len() as i64);
            }
        }
    }
}

#[tokio::test]
async fn a_key_is_known_after_a_restart() {
    let first = Sandbox::new().await;
    let held = first.held("anna").await;
    let hold = authorize(&held.trip, "anna", &held.quote.quote_id);
    let captured = first.trips().capture_hold(held.capture("c")).await;
    let captured = captured.unwrap().into_inner().encode_to_vec();
    let refused = first.trips().capture_hold(held.capture("late")).await;
    assert_eq!(refusal(refused), Code::HoldNotOpen);
    assert!(first.platform.stop(Duration::from_secs(5)).await);
    first.pool().close().await;

    let platform = first.database.platform();
    let sandbox = Sandbox::on(first.database, platform, Config::default()).await;
    let again = sandbox.trips().capture_hold(held.capture("c")).await;
    assert_eq!(again.unwrap().into_inner().encode_to_vec(), captured);
    let again = sandbox.trips().capture_hold(held.capture("late")).await;
    assert_eq!(refusal(again), Code::HoldNotOpen);
    let again = sandbox.trips().authorize_hold(hold.clone()).await.unwrap();
    // As it was when it was held.
    let state = again.into_inner().hold.unwrap().state();
    assert_eq!(state, pb::HoldState::Held);
    let other = held.capture_part("c", 1);
    assert_eq!(
        refusal(sandbox.trips().capture_hold(other).await),
        Code::IdempotencyKeyReused
    );
    let other = pb::AuthorizeHoldRequest {
        rider_id: "mallory".to_owned(),
        ..hold
    };
    assert_eq!(
        refusal(sandbox.trips().authorize_hold(other).await),
        Code::IdempotencyKeyReused
    );
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 1);
}

/// The database's time.
async fn database_time(sandbox: &Sandbox) -> DateTime<Utc> {
    sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(sandbox.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_wrong_clock_changes_nothing_about_what_runs_out() {
    let minutes = TimeDelta::minutes;
    for wrong in [minutes(-10), minutes(10)] {
        let config = Config {
            quote_validity: Duration::from_secs(5 * 60),
            hold_validity: Duration::from_secs(5 * 60),
            lapse_interval: Duration::from_secs(3_600),
            ..Config::default()
        };
        let database = TestDatabase::new().await;
        let (clock, _hand) = Clock::manual(Clock::system().now() + wrong);
        let platform = Platform {
            clock,
            ..database.platform()
        };
        let sandbox = Sandbox::on(database, platform, config).await;
        let skew = sandbox.platform.clock.now() - database_time(&sandbox).await;
        assert!(skew.abs() > minutes(9), "the clocks differ");
        // Five minutes from now, by the database's clock, however long the call took.
        let is_in_five_minutes = async |at: Option<prost_types::Timestamp>, from: DateTime<Utc>| {
            let at = moment(&at.unwrap(), "expires_at").unwrap();
            let until = database_time(&sandbox).await;
            assert!(from + minutes(5) <= at && at <= until + minutes(5), "{at}");
        };
        let before = database_time(&sandbox).await;
        let held = sandbox.held("anna").await;
        is_in_five_minutes(held.quote.expires_at, before).await;
        let captured = sandbox.trips().capture_hold(held.capture("c")).await;
        let hold = captured.unwrap().into_inner().hold.unwrap();
        is_in_five_minutes(hold.expires_at, before).await;

        // Over by the database's clock is over; an unused quote as well.
        let (late, quote) = (sandbox.held("anna").await, sandbox.quote(5_100).await);
        let mut superuser = sandbox.superuser().await;
        sqlx::raw_sql(
            "UPDATE trip_charge SET created_at = now() - interval '1 h', expires_at = now()
             WHERE state = 'HELD';
             UPDATE fare_quote SET created_at = now() - interval '1 h', expires_at = now()
             WHERE id NOT IN (SELECT quote_id FROM trip_charge)",
        )
        .execute(&mut superuser)
        .await
        .unwrap();
        assert_eq!(
            refusal(sandbox.trips().capture_hold(late.capture("l")).await),
            Code::HoldNotOpen
        );
        let request = authorize(&Uuid::now_v7().to_string(), "anna", &quote.quote_id);
        assert_eq!(
            refusal(sandbox.trips().authorize_hold(request).await),
            Code::QuoteExpired
        );
        // And what lasts is not released, though our clock may say that its time has come.
        let lasting = sandbox.held("bob").await;
        assert_eq!(sandbox.billing.store().lapse(None).await.unwrap(), 1);
        assert_eq!(sandbox.exposure("bob").await, lasting.total());
        assert_eq!(sandbox.exposure("anna").await, 0);
    }
}
