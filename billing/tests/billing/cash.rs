//! Rides paid in cash: the driver keeps it and owes what is not theirs; a fee nobody met to pay is paid with
//! the next ride.

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{
        self as pb, CaptureReason, FareLineKind, PaymentMethod, get_balance_request::Owner,
    },
};

use crate::{
    races::{CONNECTIONS, at_once},
    support::{Held, Sandbox, authorize, euro, minor, one_by_one, refusal},
};

fn ben() -> Owner {
    Owner::DriverId("ben".to_owned())
}

fn rider(id: &str) -> Owner {
    Owner::RiderId(id.to_owned())
}

async fn capture(sandbox: &Sandbox, held: &Held, reason: CaptureReason) -> pb::Receipt {
    let request = pb::CaptureHoldRequest {
        reason: reason.into(),
        ..held.capture(&format!("{}:capture", held.trip))
    };
    let captured = sandbox.trips().capture_hold(request).await.unwrap();
    captured.into_inner().receipt.unwrap()
}

/// A ride that was paid in cash.
async fn paid_in_cash(sandbox: &Sandbox, id: &str) -> pb::Receipt {
    let held = sandbox.held_by(id, PaymentMethod::Cash).await;
    capture(sandbox, &held, CaptureReason::Fare).await
}

async fn cash_dues(sandbox: &Sandbox) -> i64 {
    let request = pb::GetBalanceRequest { owner: Some(ben()) };
    let balance = sandbox.trips().get_balance(request).await.unwrap();
    let dues = balance.into_inner().cash_dues;
    dues.first().map_or(0, |due| due.minor_units)
}

fn dues_line(receipt: &pb::Receipt) -> i64 {
    let line = receipt
        .lines
        .iter()
        .find(|line| line.kind() == FareLineKind::Dues);
    line.map_or(0, |line| minor(&line.amount))
}

#[track_caller]
fn assert_sums(receipt: &pb::Receipt) {
    let sum: i64 = receipt.lines.iter().map(|line| minor(&line.amount)).sum();
    assert_eq!(sum, minor(&receipt.total), "{receipt:?}");
}

#[tokio::test]
async fn the_driver_keeps_the_cash_and_owes_what_is_not_theirs() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.held_by("anna", PaymentMethod::Cash).await;
    assert_eq!(sandbox.exposure("anna").await, 0, "cash uses no limit");
    let receipt = capture(&sandbox, &held, CaptureReason::Fare).await;
    assert_eq!(receipt.payment_method(), PaymentMethod::Cash);
    assert_eq!(receipt.cash, receipt.total);
    assert_sums(&receipt);
    let not_theirs = minor(&receipt.platform_share) + minor(&receipt.tax);
    assert_eq!(cash_dues(&sandbox).await, not_theirs);
    assert_eq!(sandbox.balance(ben()).await, -not_theirs);
    assert_eq!(sandbox.balance(rider("anna")).await, 0);
    assert_eq!(sandbox.exposure("anna").await, 0);
    sandbox.assert_sound().await;

    // Nothing is paid out while they owe; then the dues are kept back.
    let mut olga = sandbox.client(Role::Operator, "olga");
    let payout = |key: &str| pb::CreatePayoutRequest {
        driver_id: "ben".to_owned(),
        amount: None,
        idempotency_key: key.to_owned(),
    };
    let answer = olga.create_payout(payout("p1")).await;
    assert_eq!(refusal(answer), Code::PayoutAboveOwed);
    let by_card = sandbox.captured("bea").await;
    let share = minor(&sandbox.receipt(&by_card.trip).await.driver_share);
    let made = olga
        .create_payout(payout("p2"))
        .await
        .unwrap()
        .into_inner()
        .payout;
    let made = made.unwrap();
    assert_eq!(minor(&made.amount), share - not_theirs);
    assert_eq!(minor(&made.dues), not_theirs);
    assert_eq!(sandbox.balance(ben()).await, 0);
    assert_eq!(cash_dues(&sandbox).await, 0);
    sandbox.assert_sound().await;
    // What comes back is the amount; the dues stay paid.
    let fail = pb::FailPayoutRequest {
        driver_id: "ben".to_owned(),
        payout_id: made.payout_id,
        reason: "no such account".to_owned(),
    };
    olga.fail_payout(fail).await.unwrap();
    assert_eq!(sandbox.balance(ben()).await, share - not_theirs);
    assert_eq!(cash_dues(&sandbox).await, 0);

    // The month adds up, dues and all.
    let at = receipt.captured_at.unwrap();
    let at = jitney_proto::time::moment(&at, "at").unwrap();
    let request = pb::GetDriverStatementRequest {
        driver_id: "ben".to_owned(),
        month: at.format("%Y-%m").to_string(),
    };
    let month = olga.get_driver_statement(request).await.unwrap();
    let month = month.into_inner().statement.unwrap();
    assert_eq!(minor(&month.cash_dues), -not_theirs);
    assert_eq!((month.rides, minor(&month.fares)), (2, share));
    assert_eq!(minor(&month.closing), share - not_theirs);

    // A fare that was paid in cash comes back as credit.
    let before = sandbox.balance(ben()).await;
    let refund = olga.refund_trip(held.refund("r", None)).await.unwrap();
    let refund = refund.into_inner().refund.unwrap();
    assert_eq!(
        (&refund.credit, minor(&refund.amount)),
        (&refund.amount, held.total())
    );
    assert_eq!(sandbox.balance(rider("anna")).await, 0);
    let gave = before - sandbox.balance(ben()).await;
    assert_eq!(gave, minor(&receipt.driver_share));
    sandbox.assert_sound().await;
    let next = paid_in_cash(&sandbox, "anna").await;
    assert_eq!((minor(&next.cash), &next.credit), (0, &refund.amount));
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_fee_is_carried_to_the_next_ride() {
    let sandbox = Sandbox::new().await;
    for next in [PaymentMethod::Cash, PaymentMethod::Card] {
        let id = format!("{next:?}");
        let mut fees = 0;
        for reason in [CaptureReason::CancellationFee, CaptureReason::NoShowFee] {
            let held = sandbox.held_by(&id, PaymentMethod::Cash).await;
            let fee = capture(&sandbox, &held, reason).await;
            assert_eq!(fee.carried, fee.total);
            assert_eq!((minor(&fee.cash), dues_line(&fee)), (0, 0));
            fees += minor(&fee.total);
            sandbox.assert_sound().await;
        }
        assert_eq!(sandbox.balance(rider(&id)).await, fees);

        let held = sandbox.held_by(&id, next).await;
        let ride = capture(&sandbox, &held, CaptureReason::Fare).await;
        assert_sums(&ride);
        assert_eq!(dues_line(&ride), fees);
        assert_eq!(minor(&ride.total), held.total() + fees);
        assert_eq!(minor(&ride.fare), held.total());
        let owes = match next {
            PaymentMethod::Cash => 0,
            _ => held.total() + fees,
        };
        assert_eq!(sandbox.balance(rider(&id)).await, owes);
        let cash = if owes == 0 { minor(&ride.total) } else { 0 };
        assert_eq!(minor(&ride.cash), cash);
        sandbox.assert_sound().await;

        // Once, and never with another's.
        let last = sandbox.held_by(&id, next).await;
        assert_eq!(
            dues_line(&capture(&sandbox, &last, CaptureReason::Fare).await),
            0
        );
        let other = paid_in_cash(&sandbox, &format!("{id}-other")).await;
        assert_eq!(dues_line(&other), 0);
        // The fare alone can be given back.
        let above = held.refund("above", Some(held.total() + 1));
        let above = pb::RefundTripRequest {
            idempotency_key: format!("{id}:above"),
            ..above
        };
        let answer = sandbox.trips().refund_trip(above).await;
        assert_eq!(refusal(answer), Code::RefundAboveCapture);
        sandbox.assert_sound().await;
    }
}

#[tokio::test]
async fn a_fee_that_is_given_back_is_not_carried_any_more() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.held_by("anna", PaymentMethod::Cash).await;
    let fee = minor(
        &capture(&sandbox, &held, CaptureReason::NoShowFee)
            .await
            .total,
    );
    let mut trips = sandbox.trips();
    trips
        .refund_trip(held.refund("r1", Some(100)))
        .await
        .unwrap();
    assert_eq!(sandbox.balance(rider("anna")).await, fee - 100);
    sandbox.assert_sound().await;
    let ride = paid_in_cash(&sandbox, "anna").await;
    assert_eq!(dues_line(&ride), fee - 100);
    sandbox.assert_sound().await;
    // Paid by now: the rest is owed to the rider.
    trips.refund_trip(held.refund("r2", None)).await.unwrap();
    assert_eq!(sandbox.balance(rider("anna")).await, 100 - fee);
    assert_eq!(dues_line(&paid_in_cash(&sandbox, "anna").await), 0);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_ride_in_cash_is_tipped_in_cash() {
    let sandbox = Sandbox::new().await;
    let ride = paid_in_cash(&sandbox, "anna").await;
    let tip = pb::AddTipRequest {
        trip_id: ride.trip_id.clone(),
        amount: Some(euro(30)),
        idempotency_key: "t".to_owned(),
    };
    for _ in 0..2 {
        let refused = sandbox.trips().add_tip(tip.clone()).await.unwrap_err();
        assert_eq!(Code::of(&refused), Some(Code::TipRefused));
        assert!(refused.message().contains("in cash"), "{refused:?}");
    }
    assert_eq!(sandbox.count("tip").await, 0);
    assert_eq!(sandbox.balance(rider("anna")).await, 0);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn promotions_and_credit_work_for_cash_and_the_driver_loses_nothing() {
    let sandbox = Sandbox::new().await;
    let grant = pb::GrantCreditRequest {
        rider_id: "anna".to_owned(),
        amount: Some(euro(10_000)),
        reason: "a present".to_owned(),
        idempotency_key: "c".to_owned(),
    };
    sandbox.trips().grant_credit(grant).await.unwrap();
    let free = paid_in_cash(&sandbox, "anna").await;
    assert_eq!((minor(&free.cash), &free.credit), (0, &free.total));
    assert_eq!(sandbox.balance(ben()).await, minor(&free.driver_share));
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_hold_in_cash_is_a_hold() {
    let config = jitney_billing::Config {
        hold_limit_minor: 1_000,
        ..Default::default()
    };
    let sandbox = Sandbox::with(config).await;
    // However far, and beside others: the limit is not for cash.
    let quote = sandbox.quote(500_000).await;
    let trip = uuid::Uuid::now_v7().to_string();
    let request = pb::AuthorizeHoldRequest {
        payment_method: PaymentMethod::Cash.into(),
        ..authorize(&trip, "anna", &quote.quote_id)
    };
    let mut trips = sandbox.trips();
    let hold = trips
        .authorize_hold(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        hold.hold.as_ref().unwrap().payment_method(),
        PaymentMethod::Cash
    );
    let again = trips
        .authorize_hold(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, hold);
    let by_card = authorize(&trip, "anna", &quote.quote_id);
    assert_eq!(
        refusal(trips.authorize_hold(by_card).await),
        Code::IdempotencyKeyReused
    );
    let unknown = pb::AuthorizeHoldRequest {
        payment_method: 7,
        ..request
    };
    assert_eq!(
        refusal(trips.authorize_hold(unknown).await),
        Code::InvalidRequest
    );
    let card = sandbox.held("anna").await;
    assert_eq!(sandbox.exposure("anna").await, card.total());
    let void = pb::VoidHoldRequest {
        trip_id: trip,
        idempotency_key: "v".to_owned(),
    };
    trips.void_hold(void).await.unwrap();
    assert_eq!(sandbox.exposure("anna").await, card.total());
    sandbox.held_by("anna", PaymentMethod::Cash).await;
    sqlx::raw_sql(
        "UPDATE trip_charge SET created_at = now() - interval '2 days',
            expires_at = now() - interval '1 day' WHERE state = 'HELD'",
    )
    .execute(&mut sandbox.superuser().await)
    .await
    .unwrap();
    assert_eq!(sandbox.billing.store().lapse(None).await.unwrap(), 2);
    assert_eq!(sandbox.exposure("anna").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dues_are_paid_once_however_many_rides_end_at_once() {
    let sandbox = Sandbox::with(one_by_one()).await;
    let held = sandbox.held_by("anna", PaymentMethod::Cash).await;
    let fee = minor(
        &capture(&sandbox, &held, CaptureReason::NoShowFee)
            .await
            .total,
    );
    let mut rides = Vec::new();
    for _ in 0..8 {
        rides.push(sandbox.held_by("anna", PaymentMethod::Cash).await);
    }
    let captures = rides.iter().map(|held| {
        let (mut trips, request) = (sandbox.trips(), held.capture(&held.trip));
        async move { trips.capture_hold(request).await }
    });
    let mut dues = 0;
    for answer in at_once(&sandbox, CONNECTIONS, captures).await {
        dues += dues_line(&answer.unwrap().into_inner().receipt.unwrap());
    }
    assert_eq!(dues, fee);
    assert_eq!(sandbox.balance(rider("anna")).await, 0);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn the_check_finds_cash_that_was_tampered_with() {
    for (tampering, balances, charges) in [
        ("UPDATE rider_dues SET due_minor = due_minor + 1", 1, 0),
        (
            "UPDATE receipt SET cash_minor = cash_minor + 1, dues_minor = dues_minor + 1
             WHERE cash_minor > 0",
            1,
            1,
        ),
        (
            "UPDATE receipt SET cash_minor = 0, driver_share_minor = driver_share_minor + 1,
                platform_share_minor = platform_share_minor - 1 WHERE cash_minor > 0",
            0,
            1,
        ),
    ] {
        let sandbox = Sandbox::new().await;
        let held = sandbox.held_by("anna", PaymentMethod::Cash).await;
        capture(&sandbox, &held, CaptureReason::NoShowFee).await;
        paid_in_cash(&sandbox, "bea").await;
        sandbox.assert_sound().await;
        let mut intruder = sandbox.superuser().await;
        sqlx::raw_sql(tampering)
            .execute(&mut intruder)
            .await
            .unwrap();
        let check = sandbox.check().await;
        assert!(!check.balanced, "{tampering}");
        assert_eq!(
            (check.wrong_balances, check.wrong_charges),
            (balances, charges),
            "{tampering}"
        );
    }
}
