//! Rides made cheaper: promotions and credit, at the platform's expense, each used no more than there is.

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, FareLineKind, get_balance_request::Owner, promotion::Off},
    time::timestamp,
};
use prost::Message;

use crate::{
    races::{CONNECTIONS, Turnstile, at_once},
    support::{Held, Sandbox, authorize, euro, minor, one_by_one, refusal},
};

pub fn terms(off: Off) -> pb::Promotion {
    pb::Promotion {
        off: Some(off),
        cap: None,
        rides_per_rider: 2,
        valid_from: Some(timestamp("2020-01-01T00:00:00Z".parse().unwrap())),
        valid_to: Some(timestamp("2999-01-01T00:00:00Z".parse().unwrap())),
    }
}

pub async fn put(sandbox: &Sandbox, code: &str, terms: pb::Promotion) {
    let request = pb::PutPromotionRequest {
        code: code.to_owned(),
        promotion: Some(terms.clone()),
    };
    let mut olga = sandbox.client(Role::Operator, "olga");
    let kept = olga.put_promotion(request).await.unwrap().into_inner();
    assert_eq!(kept.promotion, Some(terms));
}

#[tokio::test]
async fn promotions_are_listed_by_code_page_by_page() {
    let sandbox = Sandbox::new().await;
    for code in ["night", "AUTUMN", "Rain-2"] {
        put(&sandbox, code, terms(Off::Percent(10))).await;
    }
    let mut olga = sandbox.client(Role::Operator, "olga");
    let mut page = async |page_token: &str| {
        let request = pb::ListPromotionsRequest {
            page_size: 2,
            page_token: page_token.to_owned(),
        };
        let page = olga.list_promotions(request).await?.into_inner();
        let codes: Vec<String> = page.promotions.iter().map(|one| one.code.clone()).collect();
        assert!(
            page.promotions
                .iter()
                .all(|one| one.promotion == Some(terms(Off::Percent(10))))
        );
        Ok::<_, tonic::Status>((codes, page.next_page_token))
    };
    let (codes, next) = page("").await.unwrap();
    assert_eq!(codes, ["AUTUMN", "NIGHT"]);
    let (codes, next) = page(&next).await.unwrap();
    assert_eq!((codes, next.as_str()), (vec!["RAIN-2".to_owned()], ""));
    let refused = page("no token").await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::InvalidRequest));
}

pub fn apply(held: &Held, code: &str) -> pb::ApplyPromotionRequest {
    pb::ApplyPromotionRequest {
        trip_id: held.trip.clone(),
        code: code.to_owned(),
    }
}

fn credit(rider: &str, key: &str, minor_units: i64) -> pb::GrantCreditRequest {
    pb::GrantCreditRequest {
        rider_id: rider.to_owned(),
        amount: Some(euro(minor_units)),
        reason: "we are sorry".to_owned(),
        idempotency_key: key.to_owned(),
    }
}

async fn credit_of(sandbox: &Sandbox, rider: &str) -> i64 {
    let request = pb::GetBalanceRequest {
        owner: Some(Owner::RiderId(rider.to_owned())),
    };
    let balance = sandbox.trips().get_balance(request).await.unwrap();
    let credits = balance.into_inner().credits;
    credits.first().map_or(0, |credit| credit.minor_units)
}

async fn capture(sandbox: &Sandbox, held: &Held) -> pb::Receipt {
    let capture = held.capture(&format!("{}:capture", held.trip));
    let captured = sandbox.trips().capture_hold(capture).await.unwrap();
    captured.into_inner().receipt.unwrap()
}

#[tokio::test]
async fn a_promotion_is_taken_off_and_borne_by_the_platform() {
    let sandbox = Sandbox::new().await;
    put(&sandbox, "HALF", terms(Off::Percent(50))).await;
    let plain = {
        let held = sandbox.captured("bea").await;
        sandbox.receipt(&held.trip).await
    };
    let held = sandbox.held("anna").await;
    let mut anna = sandbox.client(Role::Rider, "anna");
    let applied = anna
        .apply_promotion(apply(&held, "half"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(applied.code, "HALF");
    let off = minor(&applied.off);
    assert_eq!(minor(&applied.fare), held.total() - off);
    assert!((held.total() - 2 * off).abs() <= 1);
    let again = anna
        .apply_promotion(apply(&held, "HALF"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, applied);
    // New terms are for other trips.
    put(&sandbox, "HALF", terms(Off::Percent(10))).await;

    let receipt = capture(&sandbox, &held).await;
    let (last, fare) = receipt.lines.split_last().unwrap();
    assert_eq!(
        (last.kind(), minor(&last.amount)),
        (FareLineKind::Promotion, -off)
    );
    assert_eq!(fare, plain.lines);
    assert_eq!(minor(&receipt.total), held.total() - off);
    assert_eq!(receipt.driver_share, plain.driver_share);
    assert_eq!(receipt.platform_share, plain.platform_share);
    assert_eq!(sandbox.receipt(&held.trip).await.lines, receipt.lines);
    let annas = Owner::RiderId("anna".to_owned());
    assert_eq!(sandbox.balance(annas.clone()).await, held.total() - off);
    sandbox.assert_sound().await;

    // What comes back is what was paid, in parts or whole.
    let refund = sandbox
        .trips()
        .refund_trip(held.refund("r", Some(100)))
        .await;
    let lines = refund.unwrap().into_inner().refund.unwrap().lines;
    assert_eq!(
        lines.iter().map(|line| minor(&line.amount)).sum::<i64>(),
        100
    );
    assert_eq!(lines.last().unwrap().kind(), FareLineKind::Promotion);
    sandbox.assert_sound().await;
    let rest = sandbox.trips().refund_trip(held.refund("s", None)).await;
    assert_eq!(
        minor(&rest.unwrap().into_inner().refund.unwrap().amount),
        held.total() - off - 100
    );
    assert_eq!(sandbox.balance(annas).await, 0);
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    let promo = check
        .totals
        .iter()
        .find(|total| total.account == "promo_expense");
    assert_eq!(minor(&promo.unwrap().total), 0);
    assert_eq!(
        sandbox.balance(Owner::DriverId("ben".to_owned())).await,
        minor(&plain.driver_share)
    );
}

#[tokio::test]
async fn a_preview_says_what_applying_would() {
    let sandbox = Sandbox::new().await;
    let once = pb::Promotion {
        rides_per_rider: 1,
        ..terms(Off::Percent(50))
    };
    put(&sandbox, "HALF", once).await;
    let ended = pb::Promotion {
        valid_to: Some(timestamp("2020-02-01T00:00:00Z".parse().unwrap())),
        ..terms(Off::Percent(50))
    };
    put(&sandbox, "ENDED", ended).await;
    let held = sandbox.held("anna").await;
    let preview = |code: &str, fares: Vec<jitney_proto::common::v1::Money>| {
        let request = pb::PreviewPromotionRequest {
            code: code.to_owned(),
            rider_id: String::new(),
            fares,
        };
        let mut anna = sandbox.client(Role::Rider, "anna");
        async move { anna.preview_promotion(request).await }
    };
    let fares = vec![euro(held.total()), euro(0)];
    let foreseen = preview("half", fares.clone()).await.unwrap().into_inner();
    assert_eq!((foreseen.code.as_str(), foreseen.fares.len()), ("HALF", 2));
    assert_eq!(minor(&foreseen.fares[1].fare), 0);
    for (code, fares, refused) in [
        ("NONE", fares.clone(), Code::PromotionRefused),
        ("ENDED", fares.clone(), Code::PromotionRefused),
        ("a b", fares.clone(), Code::InvalidRequest),
        ("HALF", Vec::new(), Code::InvalidRequest),
        ("HALF", vec![euro(1); 21], Code::InvalidRequest),
        ("HALF", vec![euro(-1)], Code::InvalidRequest),
    ] {
        assert_eq!(refusal(preview(code, fares).await), refused, "{code}");
    }
    let mut mallory = sandbox.client(Role::Rider, "mallory");
    let annas = pb::PreviewPromotionRequest {
        code: "HALF".to_owned(),
        rider_id: "anna".to_owned(),
        fares: fares.clone(),
    };
    assert_eq!(
        refusal(mallory.preview_promotion(annas.clone()).await),
        Code::NotFound
    );

    // Looking does not use it up; having it does, and for whoever asks.
    let mut anna = sandbox.client(Role::Rider, "anna");
    let applied = anna.apply_promotion(apply(&held, "HALF")).await.unwrap();
    let applied = applied.into_inner();
    assert_eq!(foreseen.fares[0].off, applied.off);
    assert_eq!(foreseen.fares[0].fare, applied.fare);
    assert_eq!(
        refusal(preview("HALF", fares).await),
        Code::PromotionRefused
    );
    let mut olga = sandbox.client(Role::Operator, "olga");
    assert_eq!(
        refusal(olga.preview_promotion(annas).await),
        Code::PromotionRefused
    );
}

#[tokio::test]
async fn a_promotion_has_a_limit_and_a_time() {
    let sandbox = Sandbox::new().await;
    put(&sandbox, "FIVER", terms(Off::Amount(euro(500)))).await;
    let capped = pb::Promotion {
        cap: Some(euro(70)),
        ..terms(Off::Percent(100))
    };
    put(&sandbox, "CAPPED", capped).await;
    let over = pb::Promotion {
        valid_to: Some(timestamp("2020-02-01T00:00:00Z".parse().unwrap())),
        ..terms(Off::Percent(100))
    };
    put(&sandbox, "OVER", over).await;
    let mut anna = sandbox.client(Role::Rider, "anna");
    let first = sandbox.held("anna").await;
    let none = async |held: &Held, code: &str| {
        let mut anna = sandbox.client(Role::Rider, "anna");
        refusal(anna.apply_promotion(apply(held, code)).await)
    };
    assert_eq!(none(&first, "OVER").await, Code::PromotionRefused);
    assert_eq!(none(&first, "NONE").await, Code::PromotionRefused);
    assert_eq!(none(&first, "a b").await, Code::InvalidRequest);
    for (role, id, code) in [
        (Role::Rider, "mallory", Code::NotFound),
        (Role::Driver, "ben", Code::PermissionDenied),
    ] {
        let mut client = sandbox.client(role, id);
        assert_eq!(
            refusal(client.apply_promotion(apply(&first, "FIVER")).await),
            code
        );
    }
    anna.apply_promotion(apply(&first, "FIVER")).await.unwrap();
    assert_eq!(
        none(&first, "CAPPED").await,
        Code::PromotionRefused,
        "it has another"
    );
    let second = sandbox.held("anna").await;
    anna.apply_promotion(apply(&second, "FIVER")).await.unwrap();
    let third = sandbox.held("anna").await;
    assert_eq!(
        none(&third, "FIVER").await,
        Code::PromotionRefused,
        "used up"
    );
    // One that is called off, or runs out, gives it back.
    sandbox.trips().void_hold(second.void("v")).await.unwrap();
    anna.apply_promotion(apply(&third, "FIVER")).await.unwrap();
    sqlx::raw_sql(
        "UPDATE trip_charge SET created_at = now() - interval '2 days',
            expires_at = now() - interval '1 day' WHERE state = 'HELD'",
    )
    .execute(&mut sandbox.superuser().await)
    .await
    .unwrap();
    assert_eq!(none(&third, "CAPPED").await, Code::PromotionRefused);
    assert_eq!(sandbox.billing.store().lapse(None).await.unwrap(), 2);
    let rides: i32 = sqlx::query_scalar("SELECT rides FROM promotion_rider")
        .fetch_one(sandbox.pool())
        .await
        .unwrap();
    assert_eq!(rides, 0);
    assert_eq!(
        none(&first, "CAPPED").await,
        Code::PromotionRefused,
        "it had another"
    );

    let held = sandbox.held("anna").await;
    let applied = anna.apply_promotion(apply(&held, "CAPPED")).await.unwrap();
    assert_eq!(minor(&applied.into_inner().off), 70);
    // Fees are fees.
    let fee = pb::CaptureHoldRequest {
        reason: pb::CaptureReason::CancellationFee.into(),
        ..held.capture("fee")
    };
    let receipt = sandbox
        .trips()
        .capture_hold(fee)
        .await
        .unwrap()
        .into_inner()
        .receipt;
    assert_eq!(receipt.unwrap().total, held.quote.cancellation_fee);
    let late = sandbox.captured("anna").await;
    assert_eq!(none(&late, "CAPPED").await, Code::HoldNotOpen);
    sandbox.assert_sound().await;

    for bad in [
        pb::Promotion {
            off: None,
            ..terms(Off::Percent(1))
        },
        terms(Off::Percent(0)),
        terms(Off::Percent(101)),
        terms(Off::Amount(euro(0))),
        pb::Promotion {
            cap: Some(euro(-1)),
            ..terms(Off::Percent(1))
        },
        pb::Promotion {
            valid_to: None,
            ..terms(Off::Percent(1))
        },
        pb::Promotion {
            valid_to: terms(Off::Percent(1)).valid_from,
            ..terms(Off::Percent(1))
        },
        terms(Off::Amount(jitney_proto::common::v1::Money {
            currency_code: "CHF".to_owned(),
            minor_units: 1,
        })),
    ] {
        let request = pb::PutPromotionRequest {
            code: "BAD".to_owned(),
            promotion: Some(bad),
        };
        assert_eq!(
            refusal(sandbox.trips().put_promotion(request).await),
            Code::InvalidRequest
        );
    }
}

#[tokio::test]
async fn credit_pays_for_the_next_rides() {
    let sandbox = Sandbox::new().await;
    let mut olga = sandbox.client(Role::Operator, "olga");
    let granted = olga
        .grant_credit(credit("anna", "c", 1_200))
        .await
        .unwrap()
        .into_inner();
    let again = olga
        .grant_credit(credit("anna", "c", 1_200))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.encode_to_vec(), granted.encode_to_vec());
    for changed in [credit("anna", "c", 1_201), credit("bea", "c", 1_200)] {
        assert_eq!(
            refusal(olga.grant_credit(changed).await),
            Code::IdempotencyKeyReused
        );
    }
    for bad in [
        credit("anna", "d", 0),
        credit("", "d", 1),
        pb::GrantCreditRequest {
            amount: None,
            ..credit("anna", "d", 1)
        },
    ] {
        assert_eq!(refusal(olga.grant_credit(bad).await), Code::InvalidRequest);
    }
    let mut anna = sandbox.client(Role::Rider, "anna");
    let answer = anna.grant_credit(credit("anna", "e", 1)).await;
    assert_eq!(refusal(answer), Code::PermissionDenied);
    assert_eq!(credit_of(&sandbox, "anna").await, 1_200);
    sandbox.assert_sound().await;

    let first = sandbox.captured("anna").await;
    let receipt = sandbox.receipt(&first.trip).await;
    assert_eq!(receipt.credit, receipt.total);
    let left = 1_200 - first.total();
    assert_eq!(credit_of(&sandbox, "anna").await, left);
    let annas = Owner::RiderId("anna".to_owned());
    assert_eq!(sandbox.balance(annas.clone()).await, 0);
    let second = sandbox.captured("anna").await;
    assert_eq!(minor(&sandbox.receipt(&second.trip).await.credit), left);
    assert_eq!(credit_of(&sandbox, "anna").await, 0);
    assert_eq!(sandbox.balance(annas.clone()).await, second.total() - left);
    sandbox.assert_sound().await;

    // Money first, credit last.
    let paid = second.total() - left;
    let part = olga.refund_trip(second.refund("r1", Some(paid + 10))).await;
    let part = part.unwrap().into_inner().refund.unwrap();
    assert_eq!(minor(&part.credit), 10);
    assert_eq!(sandbox.balance(annas).await, 0);
    assert_eq!(credit_of(&sandbox, "anna").await, 10);
    olga.refund_trip(second.refund("r2", None)).await.unwrap();
    assert_eq!(credit_of(&sandbox, "anna").await, left);
    sandbox.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_credit_is_not_used_twice() {
    let sandbox = Sandbox::with(one_by_one()).await;
    sandbox
        .trips()
        .grant_credit(credit("anna", "c", 1_000))
        .await
        .unwrap();
    let mut rides = Vec::new();
    for _ in 0..8 {
        rides.push(sandbox.held("anna").await);
    }
    let total: i64 = rides.iter().map(Held::total).sum();
    let captures = rides.iter().map(|held| {
        let (mut trips, request) = (sandbox.trips(), held.capture(&held.trip));
        async move { trips.capture_hold(request).await }
    });
    let mut used = 0;
    for answer in at_once(&sandbox, CONNECTIONS, captures).await {
        let receipt = answer.unwrap().into_inner().receipt.unwrap();
        used += minor(&receipt.credit);
    }
    assert_eq!(used, 1_000);
    assert_eq!(credit_of(&sandbox, "anna").await, 0);
    let owes = sandbox.balance(Owner::RiderId("anna".to_owned())).await;
    assert_eq!(owes, total - 1_000);
    sandbox.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_at_once_counts_right() {
    let sandbox = Sandbox::new().await;
    put(&sandbox, "HALF", terms(Off::Percent(50))).await;
    let mut rides = Vec::new();
    for _ in 0..8 {
        rides.push(sandbox.held("anna").await);
    }
    // Each asked for twice.
    let calls = rides.iter().chain(&rides).map(|held| {
        let (mut anna, request) = (sandbox.client(Role::Rider, "anna"), apply(held, "HALF"));
        async move { anna.apply_promotion(request).await }
    });
    let answers = at_once(&sandbox, CONNECTIONS, calls).await;
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(done, 4, "two rides, asked for twice");

    // Applied while the capture waits: it is planned again.
    let quote = sandbox.quote(5_100).await;
    let held = Held {
        trip: uuid::Uuid::now_v7().to_string(),
        quote,
    };
    let hold = authorize(&held.trip, "bea", &held.quote.quote_id);
    sandbox.trips().authorize_hold(hold).await.unwrap();
    let doing = "UPDATE trip_charge SET promotion_code = 'HALF', promotion_percent = 50
                 WHERE rider_id = 'bea'";
    let mut turnstile = Turnstile::with(&sandbox, doing).await;
    let (mut trips, request) = (sandbox.trips(), held.capture("c"));
    let capturing = tokio::spawn(async move { trips.capture_hold(request).await });
    turnstile.queue(1).await;
    turnstile.open().await;
    let receipt = capturing
        .await
        .unwrap()
        .unwrap()
        .into_inner()
        .receipt
        .unwrap();
    assert!(minor(&receipt.total) <= held.total() / 2 + 1);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn the_check_finds_credit_that_was_tampered_with() {
    for (tampering, credits, charges) in [
        ("UPDATE credit SET amount_minor = amount_minor + 1", 1, 0),
        ("DELETE FROM credit", 1, 0),
        ("UPDATE receipt SET credit_minor = credit_minor - 1", 0, 1),
        (
            "UPDATE receipt SET promotion_minor = promotion_minor + 1, base_minor = base_minor + 1,
                platform_share_minor = platform_share_minor + 1",
            0,
            1,
        ),
    ] {
        let sandbox = Sandbox::new().await;
        sandbox
            .trips()
            .grant_credit(credit("anna", "c", 100))
            .await
            .unwrap();
        sandbox.captured("anna").await;
        sandbox.assert_sound().await;
        let mut intruder = sandbox.superuser().await;
        sqlx::raw_sql(tampering)
            .execute(&mut intruder)
            .await
            .unwrap();
        let check = sandbox.check().await;
        assert!(!check.balanced, "{tampering}");
        assert_eq!(
            (check.wrong_credits, check.wrong_charges),
            (credits, charges),
            "{tampering}"
        );
    }
}
