//! Payments that riders had taken back: a loss, once, until they are won.

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, ChargebackState as State},
};
use sqlx::AssertSqlSafe;
use tonic::{Response, Status};
use uuid::Uuid;

use crate::{
    overlaps::deadlocks,
    provider::Bank,
    provider_entries::total,
    races::{CONNECTIONS, at_once},
    support::{Held, Sandbox, euro, minor, refusal},
};

pub fn dispute(
    held: &Held,
    id: &str,
    minor_units: i64,
    state: State,
) -> pb::RecordChargebackRequest {
    pb::RecordChargebackRequest {
        trip_id: held.trip.clone(),
        dispute_id: id.to_owned(),
        amount: Some(euro(minor_units)),
        state: state.into(),
    }
}

async fn record(
    sandbox: &Sandbox,
    request: pb::RecordChargebackRequest,
) -> Result<Response<pb::RecordChargebackResponse>, Status> {
    sandbox
        .client(Role::Operator, "olga")
        .record_chargeback(request)
        .await
}

async fn recorded(sandbox: &Sandbox, request: pb::RecordChargebackRequest) -> pb::Chargeback {
    let answer = record(sandbox, request).await.unwrap().into_inner();
    answer.chargeback.unwrap()
}

async fn loss(sandbox: &Sandbox) -> i64 {
    total(sandbox, "chargeback_loss").await
}

#[tokio::test]
async fn what_is_taken_back_is_lost_until_it_is_won() {
    let bank = Bank::new().await;
    let sandbox = &bank.sandbox;
    let ride = sandbox.captured("anna").await;
    bank.settle().await;
    let (won, lost) = (
        |state| dispute(&ride, "dp_won", 100, state),
        |state| dispute(&ride, "dp_lost", 60, state),
    );
    let open = recorded(sandbox, won(State::Open)).await;
    assert_eq!((open.state(), minor(&open.amount)), (State::Open, 100));
    assert_eq!(open.closed_at, None);
    assert_eq!(recorded(sandbox, won(State::Open)).await, open, "once");
    recorded(sandbox, lost(State::Open)).await;
    assert_eq!(loss(sandbox).await, 160);
    let clearing = total(sandbox, "psp_clearing").await;
    assert_eq!(clearing, ride.total() - 160);

    let end = recorded(sandbox, won(State::Won)).await;
    assert_eq!(end.state(), State::Won);
    assert_eq!(recorded(sandbox, won(State::Won)).await, end);
    // Told late, and told otherwise.
    assert_eq!(recorded(sandbox, won(State::Open)).await, end);
    let otherwise = record(sandbox, won(State::Lost)).await;
    assert_eq!(refusal(otherwise), Code::AlreadyExists);
    let end = recorded(sandbox, lost(State::Lost)).await;
    assert_eq!(end.state(), State::Lost);
    assert_eq!(loss(sandbox).await, 60);
    let clearing = total(sandbox, "psp_clearing").await;
    assert_eq!(clearing, ride.total() - 60);
}

#[tokio::test]
async fn the_end_may_be_heard_of_first() {
    let sandbox = Sandbox::new().await;
    let ride = sandbox.captured("anna").await;
    let won = recorded(&sandbox, dispute(&ride, "dp_1", 100, State::Won)).await;
    assert_eq!(loss(&sandbox).await, 0);
    let open = dispute(&ride, "dp_1", 100, State::Open);
    assert_eq!(recorded(&sandbox, open).await, won);
    recorded(&sandbox, dispute(&ride, "dp_2", 100, State::Lost)).await;
    assert_eq!(loss(&sandbox).await, 100);
}

#[tokio::test]
async fn what_was_not_charged_cannot_be_taken_back() {
    let sandbox = Sandbox::new().await;
    let ride = sandbox.captured("anna").await;
    let all = ride.total();
    let refused = async |request| refusal(record(&sandbox, request).await);
    let above = dispute(&ride, "dp_1", all + 1, State::Open);
    assert_eq!(refused(above).await, Code::RefundAboveCapture);
    let won = dispute(&ride, "dp_1", all + 1, State::Won);
    assert_eq!(refused(won).await, Code::RefundAboveCapture);
    // A tip was charged as well.
    let tip = pb::AddTipRequest {
        trip_id: ride.trip.clone(),
        amount: Some(euro(1)),
        idempotency_key: "tip".to_owned(),
    };
    sandbox.trips().add_tip(tip).await.unwrap();
    recorded(&sandbox, dispute(&ride, "dp_1", all + 1, State::Open)).await;
    let more = dispute(&ride, "dp_2", 1, State::Open);
    assert_eq!(refused(more.clone()).await, Code::RefundAboveCapture);
    // What was won may be disputed again.
    recorded(&sandbox, dispute(&ride, "dp_1", all + 1, State::Won)).await;
    recorded(&sandbox, more).await;

    let other = sandbox.captured("anna").await;
    for wrong in [
        dispute(&other, "dp_2", 1, State::Open),
        dispute(&ride, "dp_2", 2, State::Won),
    ] {
        assert_eq!(refused(wrong).await, Code::AlreadyExists);
    }
    let held = sandbox.held("anna").await;
    let cash = sandbox.held_by("anna", pb::PaymentMethod::Cash).await;
    let capture = cash.capture("cash");
    sandbox.trips().capture_hold(capture).await.unwrap();
    for nothing in [&held, &cash] {
        let request = dispute(nothing, "dp_3", 1, State::Open);
        assert_eq!(refused(request).await, Code::NotFound);
    }
    let right = dispute(&ride, "dp_3", 1, State::Open);
    for wrong in [
        pb::RecordChargebackRequest {
            amount: None,
            ..right.clone()
        },
        pb::RecordChargebackRequest {
            amount: Some(euro(0)),
            ..right.clone()
        },
        pb::RecordChargebackRequest {
            amount: Some(jitney_proto::common::v1::Money {
                currency_code: "CHF".to_owned(),
                minor_units: 1,
            }),
            ..right.clone()
        },
        pb::RecordChargebackRequest {
            dispute_id: String::new(),
            ..right.clone()
        },
        pb::RecordChargebackRequest { state: 0, ..right },
    ] {
        assert_eq!(refused(wrong).await, Code::InvalidRequest);
    }
    assert_eq!(loss(&sandbox).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_lost_once_and_never_more_than_was_charged() {
    let sandbox = Sandbox::new().await;
    let ride = sandbox.captured("anna").await;
    let calls = (0..60).map(|number| {
        let mut olga = sandbox.client(Role::Operator, "olga");
        // Twelve disputes, each told of five times, some as won.
        let state = [State::Open, State::Won][usize::from(number % 5 == 3)];
        let request = dispute(&ride, &format!("dp_{}", number / 5), 200, state);
        async move { olga.record_chargeback(request).await.map(drop) }
    });
    for answer in at_once(&sandbox, CONNECTIONS, calls).await {
        if let Err(refused) = answer {
            let code = Code::of(&refused);
            assert_eq!(code, Some(Code::RefundAboveCapture), "{refused:?}");
        }
    }
    let kept = sandbox.count("chargeback WHERE state <> 'WON'").await;
    assert_eq!(loss(&sandbox).await, kept * 200);
    assert!(kept * 200 <= ride.total());
    let entries = sandbox
        .count("journal_entry WHERE kind = 'CHARGEBACK'")
        .await;
    assert_eq!(entries, sandbox.count("chargeback").await);
    let won = sandbox
        .count("journal_entry WHERE kind = 'CHARGEBACK_WON'")
        .await;
    assert_eq!(won, sandbox.count("chargeback WHERE state = 'WON'").await);
}

#[tokio::test]
async fn what_a_bank_took_back_is_not_given_back_once_more() {
    let sandbox = Sandbox::new().await;
    let ride = sandbox.captured("anna").await;
    let mut olga = sandbox.client(Role::Operator, "olga");
    let mut refund = async |key, amount| olga.refund_trip(ride.refund(key, amount)).await;
    recorded(&sandbox, dispute(&ride, "dp_1", 300, State::Open)).await;
    let whole = refund("r1", Some(ride.total())).await.unwrap_err();
    assert_eq!(Code::of(&whole), Some(Code::RefundAboveCapture));
    let rest = refund("r2", None).await.unwrap().into_inner();
    assert_eq!(minor(&rest.refund.unwrap().amount), ride.total() - 300);
    let none = refund("r3", None).await.unwrap_err();
    assert_eq!(Code::of(&none), Some(Code::RefundAboveCapture));
    // What was won may be given back.
    recorded(&sandbox, dispute(&ride, "dp_1", 300, State::Won)).await;
    let won = refund("r4", None).await.unwrap().into_inner();
    assert_eq!(minor(&won.refund.unwrap().amount), 300);
    assert!(sandbox.check().await.balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_and_chargebacks_at_once_never_give_back_more_than_was_taken() {
    let sandbox = Sandbox::new().await;
    let ride = sandbox.captured("anna").await;
    let calls = (0..40).map(|number| {
        let mut olga = sandbox.client(Role::Operator, "olga");
        let dispute = dispute(&ride, &format!("dp_{number}"), 90, State::Lost);
        let refund = ride.refund(&format!("r{number}"), Some(70));
        async move {
            match number % 2 {
                0 => olga.record_chargeback(dispute).await.map(drop),
                _ => olga.refund_trip(refund).await.map(drop),
            }
        }
    });
    let mut refused = 0;
    for answer in at_once(&sandbox, CONNECTIONS, calls).await {
        if let Err(status) = answer {
            assert_eq!(
                Code::of(&status),
                Some(Code::RefundAboveCapture),
                "{status:?}"
            );
            refused += 1;
        }
    }
    assert!(refused > 0, "more was asked for than there was");
    // What a refund found there when it was its turn.
    let over = sandbox
        .count(
            "refund JOIN trip_charge AS charge USING (trip_id) WHERE captured < (
                SELECT sum(total_minor) FROM refund AS given
                WHERE given.trip_id = refund.trip_id AND given.seq <= refund.seq
            ) + (
                SELECT coalesce(sum(amount_minor), 0) FROM chargeback
                WHERE chargeback.trip_id = refund.trip_id AND opened_at < refunded_at
            )",
        )
        .await;
    assert_eq!(over, 0);
    assert!(sandbox.check().await.balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beginning_and_the_end_of_a_dispute_at_once_do_not_lock_each_other_out() {
    let sandbox = Sandbox::new().await;
    let ride = sandbox.captured("anna").await;
    let calls = (0..CONNECTIONS).map(|number| {
        let mut olga = sandbox.client(Role::Operator, "olga");
        let state = [State::Open, State::Won][number % 2];
        let request = dispute(&ride, "dp_1", 200, state);
        async move { olga.record_chargeback(request).await.map(drop) }
    });
    for answer in at_once(&sandbox, CONNECTIONS, calls).await {
        answer.unwrap();
    }
    assert_eq!(loss(&sandbox).await, 0);
    assert_eq!(deadlocks(&sandbox, &[&sandbox.billing]).await, 0);
}

#[tokio::test]
async fn the_check_finds_chargebacks_that_were_tampered_with() {
    let sandbox = Sandbox::new().await;
    let ride = sandbox.captured("anna").await;
    recorded(&sandbox, dispute(&ride, "dp_1", 100, State::Open)).await;
    for (wrong, right) in [
        (
            "chargeback SET amount_minor = 99",
            "chargeback SET amount_minor = 100",
        ),
        (
            "chargeback SET state = 'WON', closed_at = now()",
            "chargeback SET state = 'OPEN', closed_at = NULL",
        ),
        (
            "trip_charge SET charged_back = 0",
            "trip_charge SET charged_back = 100",
        ),
        (
            "trip_charge SET chargebacks = 2",
            "trip_charge SET chargebacks = 1",
        ),
    ] {
        for (change, is_balanced) in [(wrong, false), (right, true)] {
            sqlx::query(AssertSqlSafe(format!("UPDATE {change}")))
                .execute(sandbox.pool())
                .await
                .unwrap();
            assert_eq!(sandbox.check().await.balanced, is_balanced, "{change}");
        }
    }
    let nobodys = Uuid::now_v7();
    let refused = sqlx::query("DELETE FROM chargeback WHERE trip_id = $1")
        .bind(nobodys)
        .execute(sandbox.pool())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("permission denied"));
}
