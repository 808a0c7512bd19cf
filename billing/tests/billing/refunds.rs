//! A fare is given back: in parts, whole, at once, again; never more than was taken, and never a cent that
//! nobody gave.

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, FareLineKind, PaymentState, get_balance_request::Owner},
};
use prost::Message;
use uuid::Uuid;

use crate::{
    races::{CONNECTIONS, at_once},
    support::{Sandbox, euro, minor, refusal},
};

const CLIENTS: usize = 32;

fn lines(lines: &[pb::FareLine]) -> Vec<(FareLineKind, i64)> {
    let line = |line: &pb::FareLine| (line.kind(), minor(&line.amount));
    lines.iter().map(line).collect()
}

async fn refund(sandbox: &Sandbox, request: pb::RefundTripRequest) -> pb::RefundTripResponse {
    let mut operator = sandbox.client(Role::Operator, "olga");
    operator.refund_trip(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_part_and_then_the_rest() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.captured("anna").await;
    let whole = sandbox.receipt(&held.trip).await;
    assert_eq!(whole.payment_state(), PaymentState::Captured);
    assert_eq!((minor(&whole.refunded), whole.refunds.len()), (0, 0));

    let part = refund(&sandbox, held.refund("r1", Some(300))).await;
    let given = part.refund.unwrap();
    assert_eq!((given.number, minor(&given.amount)), (1, 300));
    assert_eq!(
        lines(&given.lines).iter().map(|line| line.1).sum::<i64>(),
        300
    );
    assert_eq!(minor(&part.hold.unwrap().refunded), 300);
    let receipt = sandbox.receipt(&held.trip).await;
    assert_eq!(receipt.payment_state(), PaymentState::PartiallyRefunded);
    assert_eq!(minor(&receipt.refunded), 300);
    assert_eq!(receipt.refunds, std::slice::from_ref(&given));
    assert_eq!(
        (&receipt.lines, &receipt.total),
        (&whole.lines, &whole.total)
    );
    let rider = Owner::RiderId("anna".to_owned());
    assert_eq!(sandbox.balance(rider.clone()).await, held.total() - 300);
    sandbox.assert_sound().await;

    let rest = refund(&sandbox, held.refund("r2", None))
        .await
        .refund
        .unwrap();
    assert_eq!((rest.number, minor(&rest.amount)), (2, held.total() - 300));
    let receipt = sandbox.receipt(&held.trip).await;
    assert_eq!(receipt.payment_state(), PaymentState::Refunded);
    let mut back: std::collections::BTreeMap<i32, i64> = Default::default();
    for (kind, minor) in lines(&given.lines).into_iter().chain(lines(&rest.lines)) {
        *back.entry(kind.into()).or_default() += minor;
    }
    let all = lines(&whole.lines).into_iter();
    assert_eq!(
        back,
        all.map(|(kind, minor)| (kind.into(), minor)).collect()
    );
    assert_eq!(sandbox.balance(rider).await, 0);
    assert_eq!(sandbox.balance(Owner::DriverId("ben".to_owned())).await, 0);
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 3);
    assert!(
        check.totals.iter().all(|total| minor(&total.total) == 0),
        "{check:?}"
    );

    // Rider and driver read what is theirs of it.
    for (role, id, sees_share) in [(Role::Rider, "anna", false), (Role::Driver, "ben", true)] {
        let request = pb::GetReceiptRequest {
            trip_id: held.trip.clone(),
        };
        let seen = sandbox.client(role, id).get_receipt(request).await.unwrap();
        let seen = seen.into_inner().receipt.unwrap();
        assert_eq!(seen.refunds.len(), 2);
        assert_eq!(seen.refunds[0].driver_share.is_some(), sees_share);
        assert_eq!(seen.refunds[0].platform_share, None);
    }
}

#[tokio::test]
async fn what_cannot_be_given_back_is_refused() {
    let sandbox = Sandbox::new().await;
    let mut trips = sandbox.trips();
    let open = sandbox.held("anna").await;
    assert_eq!(
        refusal(trips.refund_trip(open.refund("a", None)).await),
        Code::NotFound
    );
    // What may come true later is not kept with the key.
    trips.capture_hold(open.capture("c")).await.unwrap();
    trips.refund_trip(open.refund("a", None)).await.unwrap();
    assert_eq!(
        refusal(trips.refund_trip(open.refund("b", None)).await),
        Code::RefundAboveCapture,
        "nothing is left"
    );

    let held = sandbox.captured("anna").await;
    let above = held.refund("above", Some(held.total() + 1));
    for _ in 0..2 {
        let status = trips.refund_trip(above.clone()).await.unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::RefundAboveCapture));
        let left = format!("only EUR {}.", held.total() / 100);
        assert!(status.message().starts_with(&left), "{status:?}");
    }
    let asked = held.refund("x", Some(1));
    for bad in [
        held.refund("x", Some(0)),
        held.refund("x", Some(-1)),
        held.refund("x", Some(i64::MAX)),
        held.refund("", Some(1)),
        pb::RefundTripRequest {
            reason: " ".to_owned(),
            ..asked.clone()
        },
        pb::RefundTripRequest {
            reason: "a\0b".to_owned(),
            ..asked.clone()
        },
        pb::RefundTripRequest {
            reason: "r".repeat(501),
            ..asked.clone()
        },
        pb::RefundTripRequest {
            trip_id: "t".to_owned(),
            ..asked.clone()
        },
        pb::RefundTripRequest {
            amount: Some(jitney_proto::common::v1::Money {
                currency_code: "CHF".to_owned(),
                ..euro(1)
            }),
            ..asked.clone()
        },
    ] {
        assert_eq!(refusal(trips.refund_trip(bad).await), Code::InvalidRequest);
    }
    let nobodys = pb::RefundTripRequest {
        trip_id: Uuid::now_v7().to_string(),
        ..asked.clone()
    };
    assert_eq!(refusal(trips.refund_trip(nobodys).await), Code::NotFound);
    for (role, id) in [(Role::Rider, "anna"), (Role::Driver, "ben")] {
        let answer = sandbox.client(role, id).refund_trip(asked.clone()).await;
        assert_eq!(refusal(answer), Code::PermissionDenied);
    }
    assert_eq!(minor(&sandbox.receipt(&held.trip).await.refunded), 0);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_key_names_one_refund() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.captured("anna").await;
    let other = sandbox.captured("anna").await;
    let first = refund(&sandbox, held.refund("k", Some(100))).await;
    refund(&sandbox, held.refund("l", Some(50))).await;
    let again = refund(&sandbox, held.refund("k", Some(100))).await;
    assert_eq!(
        again.encode_to_vec(),
        first.encode_to_vec(),
        "as it was then"
    );
    let mut trips = sandbox.trips();
    for changed in [
        held.refund("k", Some(101)),
        held.refund("k", None),
        other.refund("k", Some(100)),
        pb::RefundTripRequest {
            reason: "another".to_owned(),
            ..held.refund("k", Some(100))
        },
    ] {
        assert_eq!(
            refusal(trips.refund_trip(changed).await),
            Code::IdempotencyKeyReused
        );
    }
    assert_eq!(minor(&sandbox.receipt(&held.trip).await.refunded), 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refunds_at_once_never_give_back_too_much() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.captured("anna").await;
    let part = held.total() / 10;
    let answers = at_once(
        &sandbox,
        CONNECTIONS,
        (0..CLIENTS).map(|n| {
            let (mut trips, request) = (sandbox.trips(), held.refund(&format!("r{n}"), Some(part)));
            async move { trips.refund_trip(request).await }
        }),
    )
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 10);
    let mut numbers: Vec<_> = done
        .into_iter()
        .map(|answer| answer.unwrap().into_inner().refund.unwrap().number)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    for answer in refused {
        assert_eq!(
            Code::of(&answer.unwrap_err()),
            Some(Code::RefundAboveCapture)
        );
    }
    assert_eq!(
        minor(&sandbox.receipt(&held.trip).await.refunded),
        part * 10
    );
    sandbox.assert_sound().await;
    // Each gave back its own part of the lines: with the rest, nothing is left anywhere.
    refund(&sandbox, held.refund("rest", None)).await;
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    let is_empty = |total: &pb::AccountTotal| minor(&total.total) == 0;
    assert!(check.totals.iter().all(is_empty), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_refund_many_times_at_once() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.captured("anna").await;
    let answers = at_once(
        &sandbox,
        CONNECTIONS,
        (0..CLIENTS).map(|_| {
            let (mut trips, request) = (sandbox.trips(), held.refund("r", Some(200)));
            async move { trips.refund_trip(request).await }
        }),
    )
    .await;
    let bytes: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().into_inner().encode_to_vec())
        .collect();
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(minor(&sandbox.receipt(&held.trip).await.refunded), 200);
    assert_eq!(sandbox.count("refund").await, 1);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn any_sequence_is_what_a_ledger_on_paper_says() {
    let sandbox = Sandbox::new().await;
    let mut trips = sandbox.trips();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: i64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as i64
    };
    let rides = [
        sandbox.captured("anna").await,
        sandbox.captured("anna").await,
        sandbox.captured("bea").await,
    ];
    let mut refunded = [0; 3];
    for step in 0..60 {
        let ride = next(3) as usize;
        let (held, given) = (&rides[ride], &mut refunded[ride]);
        let left = held.total() - *given;
        let amount = 1 + next(held.total() / 4);
        let asked = (next(12) > 0).then_some(amount);
        let answer = trips
            .refund_trip(held.refund(&format!("s{step}"), asked))
            .await;
        match asked.unwrap_or(left) {
            gives if gives > left || gives == 0 => {
                assert_eq!(refusal(answer), Code::RefundAboveCapture, "{step}");
            }
            gives => {
                *given += gives;
                let hold = answer.unwrap().into_inner().hold.unwrap();
                assert_eq!(minor(&hold.refunded), *given, "{step}");
            }
        }
        let annas = rides[0].total() + rides[1].total() - refunded[0] - refunded[1];
        let owes = sandbox.balance(Owner::RiderId("anna".to_owned())).await;
        assert_eq!(owes, annas, "{step}");
        sandbox.assert_sound().await;
    }
}
