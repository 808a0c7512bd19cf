//! Drivers get their money: never more than they are owed, one payout at a time, and what comes back is
//! theirs again.

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, PayoutState, get_balance_request::Owner},
};
use prost::Message;
use uuid::Uuid;

use crate::{
    races::{CONNECTIONS, Turnstile, at_once},
    support::{Client, Sandbox, euro, minor, refusal},
};

fn payout(key: &str, minor_units: Option<i64>) -> pb::CreatePayoutRequest {
    pb::CreatePayoutRequest {
        driver_id: "ben".to_owned(),
        amount: minor_units.map(euro),
        idempotency_key: key.to_owned(),
    }
}

async fn create(client: &mut Client, request: pb::CreatePayoutRequest) -> pb::Payout {
    let answer = client.create_payout(request).await.unwrap().into_inner();
    answer.payout.unwrap()
}

fn finish(payout: &pb::Payout) -> pb::FinishPayoutRequest {
    pb::FinishPayoutRequest {
        driver_id: payout.driver_id.clone(),
        payout_id: payout.payout_id.clone(),
    }
}

fn fail(payout: &pb::Payout) -> pb::FailPayoutRequest {
    pb::FailPayoutRequest {
        driver_id: payout.driver_id.clone(),
        payout_id: payout.payout_id.clone(),
        reason: "the account is closed".to_owned(),
    }
}

fn ben() -> Owner {
    Owner::DriverId("ben".to_owned())
}

async fn total(sandbox: &Sandbox, account: &str) -> i64 {
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    let of = check.totals.iter().find(|total| total.account == account);
    of.map_or(0, |total| minor(&total.total))
}

#[tokio::test]
async fn what_is_owed_sets_out_and_arrives() {
    let sandbox = Sandbox::new().await;
    sandbox.captured("anna").await;
    let owed = sandbox.balance(ben()).await;
    let mut olga = sandbox.client(Role::Operator, "olga");
    let part = create(&mut olga, payout("p1", Some(100))).await;
    assert_eq!(
        (part.state(), minor(&part.amount)),
        (PayoutState::Open, 100)
    );
    assert_eq!(sandbox.balance(ben()).await, owed - 100);
    assert_eq!(total(&sandbox, "payout_in_transit").await, -100);
    assert_eq!(
        refusal(olga.create_payout(payout("p2", Some(1))).await),
        Code::AlreadyExists,
        "one at a time"
    );
    let arrived = olga
        .finish_payout(finish(&part))
        .await
        .unwrap()
        .into_inner();
    let again = olga
        .finish_payout(finish(&part))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.encode_to_vec(), arrived.encode_to_vec());
    assert_eq!(arrived.payout.unwrap().state(), PayoutState::Settled);
    assert_eq!(
        refusal(olga.fail_payout(fail(&part)).await),
        Code::PayoutNotOpen
    );
    assert_eq!(total(&sandbox, "payout_in_transit").await, 0);
    assert_eq!(total(&sandbox, "psp_clearing").await, -100);

    let rest = create(&mut olga, payout("p3", None)).await;
    assert_eq!(minor(&rest.amount), owed - 100);
    assert_eq!(sandbox.balance(ben()).await, 0);
    let back = olga.fail_payout(fail(&rest)).await.unwrap().into_inner();
    assert_eq!(
        olga.fail_payout(fail(&rest)).await.unwrap().into_inner(),
        back
    );
    let back = back.payout.unwrap();
    assert_eq!(back.state(), PayoutState::Failed);
    assert_eq!(back.failure_reason, "the account is closed");
    assert_eq!(
        refusal(olga.finish_payout(finish(&rest)).await),
        Code::PayoutNotOpen
    );
    assert_eq!(sandbox.balance(ben()).await, owed - 100, "owed again");
    // The answer of then.
    assert_eq!(create(&mut olga, payout("p3", None)).await, rest);
    let last = create(&mut olga, payout("p4", None)).await;
    assert_eq!(minor(&last.amount), owed - 100);
    sandbox.assert_sound().await;

    // A driver reads their own; the staff everybody's, by state.
    let list = |driver: &str, state: PayoutState| pb::ListPayoutsRequest {
        driver_id: driver.to_owned(),
        state: state.into(),
        page_size: 2,
        ..Default::default()
    };
    let mut bens = sandbox.client(Role::Driver, "ben");
    let first = bens
        .list_payouts(list("ben", PayoutState::Unspecified))
        .await;
    let first = first.unwrap().into_inner();
    assert_eq!(first.payouts, [last.clone(), back]);
    let second = pb::ListPayoutsRequest {
        page_token: first.next_page_token,
        ..list("ben", PayoutState::Unspecified)
    };
    let second = bens.list_payouts(second).await.unwrap().into_inner();
    assert_eq!(
        (second.payouts.len(), second.next_page_token.as_str()),
        (1, "")
    );
    let open = olga.list_payouts(list("", PayoutState::Open)).await;
    assert_eq!(open.unwrap().into_inner().payouts, [last]);
    for (role, id, of) in [(Role::Driver, "bo", "ben"), (Role::Driver, "ben", "")] {
        let mut client = sandbox.client(role, id);
        let answer = client.list_payouts(list(of, PayoutState::Open)).await;
        assert!(
            matches!(refusal(answer), Code::NotFound | Code::InvalidRequest),
            "{id} of {of:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_owed_is_not_paid() {
    let sandbox = Sandbox::new().await;
    let mut olga = sandbox.client(Role::Operator, "olga");
    for asked in [None, Some(1)] {
        let answer = olga
            .create_payout(payout(&format!("{asked:?}"), asked))
            .await;
        assert_eq!(refusal(answer), Code::PayoutAboveOwed);
    }
    let held = sandbox.captured("anna").await;
    let owed = sandbox.balance(ben()).await;
    let answer = olga.create_payout(payout("a", Some(owed + 1))).await;
    assert_eq!(refusal(answer), Code::PayoutAboveOwed);
    let francs = pb::CreatePayoutRequest {
        amount: Some(jitney_proto::common::v1::Money {
            currency_code: "CHF".to_owned(),
            minor_units: 1,
        }),
        ..payout("b", None)
    };
    assert_eq!(
        refusal(olga.create_payout(francs).await),
        Code::PayoutAboveOwed
    );
    for bad in [
        payout("c", Some(0)),
        payout("c", Some(-1)),
        payout("", None),
    ] {
        assert_eq!(refusal(olga.create_payout(bad).await), Code::InvalidRequest);
    }
    let made = create(&mut olga, payout("d", Some(10))).await;
    for changed in [payout("d", Some(11)), payout("d", None)] {
        let answer = olga.create_payout(changed).await;
        assert_eq!(refusal(answer), Code::IdempotencyKeyReused);
    }
    let nobodys = pb::FinishPayoutRequest {
        payout_id: Uuid::now_v7().to_string(),
        ..finish(&made)
    };
    assert_eq!(refusal(olga.finish_payout(nobodys).await), Code::NotFound);
    let anothers = pb::FinishPayoutRequest {
        driver_id: "bo".to_owned(),
        ..finish(&made)
    };
    assert_eq!(refusal(olga.finish_payout(anothers).await), Code::NotFound);
    for (role, id) in [(Role::Driver, "ben"), (Role::Rider, "anna")] {
        let mut client = sandbox.client(role, id);
        let answer = client.create_payout(payout("e", None)).await;
        assert_eq!(refusal(answer), Code::PermissionDenied);
        assert_eq!(
            refusal(client.finish_payout(finish(&made)).await),
            Code::PermissionDenied
        );
    }
    // A refund after the payout leaves the driver owing.
    olga.finish_payout(finish(&made)).await.unwrap();
    let all = create(&mut olga, payout("f", None)).await;
    olga.finish_payout(finish(&all)).await.unwrap();
    olga.refund_trip(held.refund("r", None)).await.unwrap();
    assert_eq!(sandbox.balance(ben()).await, -owed);
    let answer = olga.create_payout(payout("g", None)).await;
    assert_eq!(refusal(answer), Code::PayoutAboveOwed);
    sandbox.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_payouts_at_once_pay_once() {
    let sandbox = Sandbox::new().await;
    sandbox.captured("anna").await;
    let owed = sandbox.balance(ben()).await;
    // Both under the same key and under others.
    let answers = at_once(
        &sandbox,
        CONNECTIONS,
        (0..32).map(|n| {
            let mut olga = sandbox.client(Role::Operator, "olga");
            let request = payout(&format!("p{}", n % 8), None);
            async move { olga.create_payout(request).await }
        }),
    )
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 4, "one of them, asked for four times");
    let bytes: Vec<_> = done
        .into_iter()
        .map(|answer| answer.unwrap().into_inner().encode_to_vec())
        .collect();
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
    for answer in refused {
        // Whichever it saw first: that nothing is owed any more, or the open payout.
        let code = Code::of(&answer.unwrap_err()).unwrap();
        assert!(
            matches!(code, Code::AlreadyExists | Code::PayoutAboveOwed),
            "{code:?}"
        );
    }
    assert_eq!(sandbox.balance(ben()).await, 0);
    assert_eq!(sandbox.count("payout").await, 1);
    assert_eq!(total(&sandbox, "payout_in_transit").await, -owed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_takes_meanwhile_is_not_owed_any_more() {
    let sandbox = Sandbox::new().await;
    sandbox.captured("anna").await;
    let doing = "UPDATE account_balance SET balance_minor = -5 WHERE account = 'driver_payable'";
    let mut turnstile = Turnstile::with(&sandbox, doing).await;
    let mut olga = sandbox.client(Role::Operator, "olga");
    let paying = tokio::spawn(async move { olga.create_payout(payout("p", Some(6))).await });
    turnstile.queue(1).await;
    turnstile.open().await;
    assert_eq!(refusal(paying.await.unwrap()), Code::PayoutAboveOwed);
}

#[tokio::test(flavor = "multi_thread")]
async fn arriving_and_coming_back_at_once_is_one_of_them() {
    let sandbox = Sandbox::new().await;
    sandbox.captured("anna").await;
    let mut olga = sandbox.client(Role::Operator, "olga");
    let made = create(&mut olga, payout("p", None)).await;
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let (mut olga, made) = (sandbox.client(Role::Operator, "olga"), made.clone());
            tokio::spawn(async move {
                if n % 2 == 0 {
                    let answer = olga.finish_payout(finish(&made)).await;
                    answer.map(|answer| answer.into_inner().payout)
                } else {
                    let answer = olga.fail_payout(fail(&made)).await;
                    answer.map(|answer| answer.into_inner().payout)
                }
            })
        })
        .collect();
    let mut done = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(payout) => done.push(payout.unwrap()),
            Err(status) => assert_eq!(Code::of(&status), Some(Code::PayoutNotOpen)),
        }
    }
    assert_eq!(done.len(), 8);
    assert!(done.windows(2).all(|pair| pair[0] == pair[1]));
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn the_check_finds_payouts_that_were_tampered_with() {
    for tampering in [
        "UPDATE payout SET amount_minor = amount_minor + 1",
        "UPDATE payout SET dues_minor = 1",
        "UPDATE payout SET state = 'SETTLED', closed_at = now()",
        "DELETE FROM payout",
        "INSERT INTO payout SELECT driver_id, gen_random_uuid(), currency, 5, 0, 'SETTLED', NULL,
            made_by, now(), now() FROM payout",
    ] {
        let sandbox = Sandbox::new().await;
        sandbox.captured("anna").await;
        create(&mut sandbox.trips(), payout("p", None)).await;
        sandbox.assert_sound().await;
        let mut intruder = sandbox.superuser().await;
        sqlx::raw_sql(tampering)
            .execute(&mut intruder)
            .await
            .unwrap();
        let check = sandbox.check().await;
        assert_eq!(
            (check.balanced, check.wrong_payouts),
            (false, 1),
            "{tampering}"
        );
    }
}
