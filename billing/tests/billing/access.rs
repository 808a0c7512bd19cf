//! Nobody reads what is not theirs.

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, get_balance_request::Owner},
};
use uuid::Uuid;

use crate::support::{Sandbox, refusal};

#[tokio::test]
async fn a_receipt_shows_each_what_is_theirs() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.held("anna").await;
    let request = pb::GetReceiptRequest {
        trip_id: held.trip.clone(),
    };
    let operator = sandbox
        .client(Role::Operator, "olga")
        .get_receipt(request.clone())
        .await;
    assert_eq!(
        refusal(operator),
        Code::NotFound,
        "not before it is captured"
    );
    sandbox
        .trips()
        .capture_hold(held.capture("c"))
        .await
        .unwrap();

    let seen = async |role, id: &str| {
        let answer = sandbox.client(role, id).get_receipt(request.clone()).await;
        answer.unwrap().into_inner().receipt.unwrap()
    };
    let full = seen(Role::Operator, "olga").await;
    assert!(full.driver_share.is_some() && full.platform_share.is_some());
    let rider = seen(Role::Rider, "anna").await;
    assert_eq!(rider.total, full.total);
    assert_eq!((rider.driver_share, rider.platform_share), (None, None));
    let driver = seen(Role::Driver, "ben").await;
    assert_eq!(driver.driver_share, full.driver_share);
    assert_eq!(driver.platform_share, None);

    let nobodys = pb::GetReceiptRequest {
        trip_id: Uuid::now_v7().to_string(),
    };
    let missing = sandbox
        .client(Role::Rider, "anna")
        .get_receipt(nobodys)
        .await
        .unwrap_err()
        .message()
        .to_owned();
    for (role, id) in [
        (Role::Rider, "mallory"),
        (Role::Rider, "ben"),
        (Role::Driver, "anna"),
    ] {
        let status = sandbox
            .client(role, id)
            .get_receipt(request.clone())
            .await
            .unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::NotFound));
        assert_eq!(status.message(), missing, "as if there were none");
    }
}

#[tokio::test]
async fn a_balance_is_its_owners() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.held("anna").await;
    sandbox
        .trips()
        .capture_hold(held.capture("c"))
        .await
        .unwrap();
    let of = |owner| pb::GetBalanceRequest { owner: Some(owner) };
    let anna = of(Owner::RiderId("anna".to_owned()));
    let ben = of(Owner::DriverId("ben".to_owned()));

    let mut rider = sandbox.client(Role::Rider, "anna");
    let owes = rider
        .get_balance(anna.clone())
        .await
        .unwrap()
        .into_inner()
        .balances;
    assert_eq!(owes, [held.quote.total.clone().unwrap()]);
    let mut driver = sandbox.client(Role::Driver, "ben");
    let owed = driver
        .get_balance(ben.clone())
        .await
        .unwrap()
        .into_inner()
        .balances;
    assert!(owed[0].minor_units > 0);

    assert_eq!(
        refusal(rider.get_balance(ben.clone()).await),
        Code::NotFound
    );
    assert_eq!(
        refusal(driver.get_balance(anna.clone()).await),
        Code::NotFound
    );
    let own_name = of(Owner::DriverId("anna".to_owned()));
    assert_eq!(refusal(rider.get_balance(own_name).await), Code::NotFound);
    let mut mallory = sandbox.client(Role::Rider, "mallory");
    assert_eq!(
        refusal(mallory.get_balance(anna.clone()).await),
        Code::NotFound
    );
    let own = of(Owner::RiderId("mallory".to_owned()));
    assert_eq!(
        mallory
            .get_balance(own)
            .await
            .unwrap()
            .into_inner()
            .balances,
        []
    );

    let mut operator = sandbox.client(Role::Operator, "olga");
    operator.get_balance(anna).await.unwrap();
    operator.get_balance(ben).await.unwrap();
    let nobody = pb::GetBalanceRequest { owner: None };
    assert_eq!(
        refusal(operator.get_balance(nobody).await),
        Code::InvalidRequest
    );
}

#[tokio::test]
async fn money_is_moved_by_services_only() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.held("anna").await;
    for (role, id) in [
        (Role::Rider, "anna"),
        (Role::Driver, "ben"),
        (Role::Operator, "olga"),
    ] {
        let mut client = sandbox.client(role, id);
        let request = crate::support::authorize(&held.trip, "anna", &held.quote.quote_id);
        assert_eq!(
            refusal(client.authorize_hold(request).await),
            Code::PermissionDenied
        );
        let answer = client.capture_hold(held.capture("c")).await;
        assert_eq!(refusal(answer), Code::PermissionDenied);
        assert_eq!(
            refusal(client.void_hold(held.void("v")).await),
            Code::PermissionDenied
        );
        if role != Role::Operator {
            let answer = client.check_ledger(pb::CheckLedgerRequest {}).await;
            assert_eq!(refusal(answer), Code::PermissionDenied);
        }
    }
}
