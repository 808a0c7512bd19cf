//! Captures that want the same rows in different orders: nobody locks anybody out, though a deadlock would
//! be got over by trying again.

use std::time::Duration;

use jitney_billing::{Billing, Config, Needs};
use jitney_platform::{Platform, auth::Role, serve::GrpcService, testing::eventually};
use jitney_proto::{
    Code,
    billing::v1::{
        self as pb, CaptureReason, PaymentMethod, billing_service_client::BillingServiceClient,
    },
    time::timestamp,
};

use crate::{
    races::Turnstile,
    support::{Held, Sandbox, euro, one_by_one, refusal},
};

/// Another process on the same database.
async fn another(sandbox: &Sandbox, config: Config) -> (Billing, GrpcService) {
    let platform = jitney_platform::Platform::new(
        sandbox.platform.clock.clone(),
        sandbox.database.database(),
        sandbox.platform.keys.clone(),
    );
    let needs = Needs {
        platform: platform.clone(),
    };
    let billing = Billing::build(config, needs).await.unwrap();
    let service = GrpcService::guard(Billing::NAME, billing.rpcs(), &platform);
    (billing, service)
}

/// How many deadlocks there were, once nobody is connected any more: what a connection has met is counted
/// at the latest when it ends.
pub async fn deadlocks(sandbox: &Sandbox, processes: &[&Billing]) -> i64 {
    for billing in processes {
        billing.store().pool().close().await;
    }
    let mut watcher = sandbox.superuser().await;
    eventually("the end of the connections", async || {
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut watcher)
        .await
        .unwrap();
        others == 0
    })
    .await;
    sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        .fetch_one(&mut watcher)
        .await
        .unwrap()
}

/// A ride in cash that was called off late: its fee is carried to the rider's next.
pub fn called_off(held: &Held) -> pb::CaptureHoldRequest {
    pb::CaptureHoldRequest {
        reason: CaptureReason::CancellationFee.into(),
        ..held.capture(&held.trip)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_is_carried_while_dues_are_paid() {
    for carried_first in [false, true] {
        let sandbox = Sandbox::with(one_by_one()).await;
        // Dora owes a fee from before.
        let before = sandbox.held_by("dora", PaymentMethod::Cash).await;
        sandbox
            .trips()
            .capture_hold(called_off(&before))
            .await
            .unwrap();
        let pays = sandbox.held_by("dora", PaymentMethod::Cash).await;
        let carries = sandbox.held_by("dora", PaymentMethod::Cash).await;
        let mut requests = [pays.capture(&pays.trip), called_off(&carries)];
        if carried_first {
            requests.reverse();
        }
        // Both want her dues and the driver's balance. Whoever comes second waits for the dues, and has the
        // balance by then if it took that first.
        let mut turnstile = Turnstile::with(&sandbox, "SELECT 1 FROM rider_dues FOR UPDATE").await;
        let mut calls = Vec::new();
        for (waiting, request) in (1..).zip(requests) {
            let mut trips = sandbox.trips();
            calls.push(tokio::spawn(
                async move { trips.capture_hold(request).await },
            ));
            turnstile.queue(waiting).await;
        }
        turnstile.open().await;
        for call in calls {
            call.await.unwrap().unwrap();
        }
        sandbox.assert_sound().await;
        assert_eq!(deadlocks(&sandbox, &[&sandbox.billing]).await, 0);
    }
}

/// What makes a capture more than a fare.
#[derive(Clone, Copy, Debug)]
enum Means {
    Card,
    /// By card, and the rider has credit.
    Credit,
    /// By card, with a promotion.
    Promotion,
    Cash,
    /// In cash and called off: the fee is carried, and the rider's next capture pays it.
    Carried,
}

impl Means {
    /// Most are plain: those run together.
    fn of(number: usize) -> Means {
        match number % 10 {
            3 => Means::Credit,
            5 => Means::Promotion,
            7 => Means::Cash,
            8 => Means::Carried,
            _ => Means::Card,
        }
    }
}

/// A ride to be captured, paid in that way.
async fn ride(sandbox: &Sandbox, number: usize) -> pb::CaptureHoldRequest {
    let means = Means::of(number);
    let rider = ["anna", "bob", "carl"][number % 3];
    let method = match means {
        Means::Cash | Means::Carried => PaymentMethod::Cash,
        Means::Card | Means::Credit | Means::Promotion => PaymentMethod::Card,
    };
    let held = sandbox.held_by(rider, method).await;
    match means {
        Means::Credit => {
            let credit = pb::GrantCreditRequest {
                rider_id: rider.to_owned(),
                amount: Some(euro(150)),
                reason: "we are sorry".to_owned(),
                idempotency_key: held.trip.clone(),
            };
            let mut olga = sandbox.client(Role::Operator, "olga");
            olga.grant_credit(credit).await.unwrap();
        }
        Means::Promotion => {
            let apply = pb::ApplyPromotionRequest {
                trip_id: held.trip.clone(),
                code: "HALF".to_owned(),
            };
            let mut phone = sandbox.client(Role::Rider, rider);
            phone.apply_promotion(apply).await.unwrap();
        }
        Means::Card | Means::Cash | Means::Carried => {}
    }
    let mut request = match means {
        Means::Carried => called_off(&held),
        _ => held.capture(&held.trip),
    };
    request.driver_id = ["ben", "bea"][number % 2].to_owned();
    request
}

async fn half_price(sandbox: &Sandbox) {
    let promotion = pb::PutPromotionRequest {
        code: "HALF".to_owned(),
        promotion: Some(pb::Promotion {
            off: Some(pb::promotion::Off::Percent(50)),
            cap: None,
            rides_per_rider: 1_000,
            valid_from: Some(timestamp("2020-01-01T00:00:00Z".parse().unwrap())),
            valid_to: Some(timestamp("2999-01-01T00:00:00Z".parse().unwrap())),
        }),
    };
    let mut olga = sandbox.client(Role::Operator, "olga");
    olga.put_promotion(promotion).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_batches_do_not_lock_each_other_out() {
    const RIDES: usize = 160;
    let config = Config {
        hold_limit_minor: 100_000_000,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config.clone()).await;
    let mut alone = one_by_one();
    alone.hold_limit_minor = config.hold_limit_minor;
    // Two processes that run captures together, and one that runs each alone.
    let (second, third) = (
        another(&sandbox, config).await,
        another(&sandbox, alone).await,
    );
    half_price(&sandbox).await;
    let mut all = Vec::new();
    for number in 0..RIDES {
        all.push(ride(&sandbox, number).await);
    }
    let token = {
        let (keys, clock) = (&sandbox.platform.keys, &sandbox.platform.clock);
        let hour = Duration::from_secs(3_600);
        keys.mint(Role::Service, "trips", hour, clock.now())
            .unwrap()
    };
    // Every client asks for all, each beginning elsewhere and going its own way round.
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..32 {
        let channel = match client % 3 {
            0 => sandbox.service().channel(),
            1 => second.1.channel(),
            _ => third.1.channel(),
        };
        let mut requests = all.clone();
        requests.rotate_left(client * 5);
        if client % 2 == 0 {
            requests.reverse();
        }
        let bearer = format!("Bearer {token}").parse().unwrap();
        clients.spawn(async move {
            let sign = move |mut request: tonic::Request<()>| {
                let bearer: tonic::metadata::MetadataValue<_> = Clone::clone(&bearer);
                request.metadata_mut().insert("authorization", bearer);
                Ok(request)
            };
            let mut trips = BillingServiceClient::with_interceptor(channel, sign);
            for (number, mut request) in requests.into_iter().enumerate() {
                // Some under a key of their own, which comes too late or, once, first.
                let is_other = number % 7 == client % 7;
                if is_other {
                    request.idempotency_key = format!("{client}-{number}");
                }
                // Overtaken again and again, or in a long line: asked again, as trips does.
                let mut tries = 0;
                while let Err(status) = trips.capture_hold(request.clone()).await {
                    let code = Code::of(&status);
                    if code == Some(Code::HoldNotOpen) {
                        break;
                    }
                    tries += 1;
                    let later = [Some(Code::Unavailable), Some(Code::Overloaded)];
                    assert!(later.contains(&code) && tries < 100, "{status:?}");
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    let captures = sandbox.count("journal_entry WHERE kind = 'CAPTURE'").await;
    assert_eq!(captures, RIDES as i64);
    // Each way was gone.
    for beside in [
        "credit_minor",
        "promotion_minor",
        "cash_minor",
        "carried_minor",
        "dues_minor",
    ] {
        let rides: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT count(*) FROM receipt WHERE {beside} > 0"
        )))
        .fetch_one(sandbox.pool())
        .await
        .unwrap();
        assert!(rides > 0, "{beside}");
    }
    let processes = [&sandbox.billing, &second.0, &third.0];
    assert_eq!(deadlocks(&sandbox, &processes).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_from_many_at_once_after_a_restart_and_with_another_body() {
    const CLIENTS: usize = 32;
    let first = Sandbox::new().await;
    let (paid, open) = (first.held("anna").await, first.held("bob").await);
    let captured = first.trips().capture_hold(paid.capture("paid")).await;
    let captured = captured.unwrap().into_inner();
    assert!(first.platform.stop(Duration::from_secs(5)).await);
    first.pool().close().await;
    let platform = Platform {
        keys: first.platform.keys.clone(),
        ..first.database.platform()
    };
    let sandbox = Sandbox::on(first.database, platform, Config::default()).await;
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        // Known from before the restart, or new; and half of them ask for something else.
        let (held, key) = [(&paid, "paid"), (&open, "open")][client % 2];
        let mut request = held.capture(key);
        let is_other = client % 4 >= 2;
        if is_other {
            request.driver_id = "mallory".to_owned();
        }
        let mut trips = sandbox.trips();
        clients.spawn(async move { (client % 2, is_other, trips.capture_hold(request).await) });
    }
    let answers = clients.join_all().await;
    let mut taken_by = Vec::new();
    for (which, is_other, answer) in answers {
        match (which, answer) {
            (0, answer) if is_other => assert_eq!(refusal(answer), Code::IdempotencyKeyReused),
            (0, answer) => assert_eq!(answer.unwrap().into_inner(), captured),
            // Whoever came first has it; the others' key is taken.
            (_, Ok(answer)) => taken_by.push(answer.into_inner()),
            (_, answer) => assert_eq!(refusal(answer), Code::IdempotencyKeyReused),
        }
    }
    assert_eq!(taken_by.len(), CLIENTS / 4);
    assert!(taken_by.windows(2).all(|pair| pair[0] == pair[1]));
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 2);
}
