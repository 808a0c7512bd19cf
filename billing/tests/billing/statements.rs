//! What happened to somebody's money: every posting on exactly one page, months that add up, and tables.

use jitney_billing::Config;
use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{
        self as pb, get_balance_request, get_postings_document_request as document,
        list_postings_request::Owner,
    },
    time::{moment, timestamp},
};

use crate::support::{Sandbox, euro, minor, refusal};

fn postings_of(owner: Owner) -> pb::ListPostingsRequest {
    pb::ListPostingsRequest {
        owner: Some(owner),
        page_size: 3,
        ..Default::default()
    }
}

async fn all_pages(
    sandbox: &Sandbox,
    mut request: pb::ListPostingsRequest,
) -> (Vec<pb::Posting>, usize) {
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = sandbox
            .trips()
            .list_postings(request.clone())
            .await
            .unwrap();
        let page = page.into_inner();
        pages += 1;
        found.extend(page.postings);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return (found, pages);
        }
    }
}

#[tokio::test]
async fn every_posting_is_on_one_page() {
    let sandbox = Sandbox::new().await;
    for n in 0..4 {
        let held = sandbox.captured("anna").await;
        let refund = held.refund(&format!("r{n}"), Some(100 + n));
        sandbox.trips().refund_trip(refund).await.unwrap();
    }
    sandbox.captured("bea").await;
    let bens = postings_of(Owner::DriverId("ben".to_owned()));
    let (found, pages) = all_pages(&sandbox, bens.clone()).await;
    assert_eq!((found.len(), pages), (9, 3));
    let at = |posting: &pb::Posting| moment(posting.posted_at.as_ref().unwrap(), "t").unwrap();
    assert!(
        found.windows(2).all(|pair| at(&pair[0]) >= at(&pair[1])),
        "newest first"
    );
    let mut keys: Vec<_> = found
        .iter()
        .map(|posting| (&posting.about_id, posting.kind, posting.number))
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 9, "each once");
    let sum: i64 = found.iter().map(|posting| minor(&posting.amount)).sum();
    let owner = get_balance_request::Owner::DriverId("ben".to_owned());
    assert_eq!(-sum, sandbox.balance(owner).await);
    let annas = postings_of(Owner::RiderId("anna".to_owned()));
    assert_eq!(all_pages(&sandbox, annas.clone()).await.0.len(), 8);

    // From then, until then.
    let middle = found[4].posted_at;
    let before = pb::ListPostingsRequest {
        to: middle,
        ..bens.clone()
    };
    let since = pb::ListPostingsRequest {
        from: middle,
        ..bens.clone()
    };
    let (before, since) = (
        all_pages(&sandbox, before).await.0,
        all_pages(&sandbox, since).await.0,
    );
    assert_eq!([since, before].concat(), found);

    // Nobody else's, and no nonsense.
    let mut ben = sandbox.client(Role::Driver, "ben");
    ben.list_postings(bens.clone()).await.unwrap();
    assert_eq!(refusal(ben.list_postings(annas).await), Code::NotFound);
    for (role, id) in [(Role::Driver, "bo"), (Role::Rider, "ben")] {
        let answer = sandbox.client(role, id).list_postings(bens.clone()).await;
        assert_eq!(refusal(answer), Code::NotFound);
    }
    for bad in [
        pb::ListPostingsRequest {
            owner: None,
            ..bens.clone()
        },
        pb::ListPostingsRequest {
            page_size: -1,
            ..bens.clone()
        },
        pb::ListPostingsRequest {
            page_token: "1.2".to_owned(),
            ..bens.clone()
        },
        pb::ListPostingsRequest {
            from: Some(timestamp("2026-02-01T00:00:00Z".parse().unwrap())),
            to: Some(timestamp("2026-01-01T00:00:00Z".parse().unwrap())),
            ..bens.clone()
        },
    ] {
        let answer = sandbox.trips().list_postings(bad).await;
        assert_eq!(refusal(answer), Code::InvalidRequest);
    }

    let request = pb::GetPostingsDocumentRequest {
        owner: Some(document::Owner::DriverId("ben".to_owned())),
        ..Default::default()
    };
    let table = ben.get_postings_document(request.clone()).await.unwrap();
    let table = table.into_inner().document.unwrap();
    assert_eq!(table.file_name, "postings-ben.csv");
    let text = String::from_utf8(table.data).unwrap();
    assert_eq!(text.lines().count(), 10, "{text}");
    assert!(text.starts_with("posted_at,account,kind,about,number,currency,amount\r\n"));
    let mut bo = sandbox.client(Role::Driver, "bo");
    let answer = bo.get_postings_document(request).await;
    assert_eq!(refusal(answer), Code::NotFound);
}

/// Moves everything of a trip to another time.
async fn backdate(sandbox: &Sandbox, trip: &str, at: &str) {
    let statement = format!(
        "UPDATE journal_entry SET posted_at = '{at}' WHERE trip_id = '{trip}';
         UPDATE posting SET posted_at = '{at}' WHERE trip_id = '{trip}'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&mut sandbox.superuser().await)
        .await
        .unwrap();
}

async fn month(sandbox: &Sandbox, month: &str) -> pb::DriverStatement {
    let request = pb::GetDriverStatementRequest {
        driver_id: "ben".to_owned(),
        month: month.to_owned(),
    };
    let mut ben = sandbox.client(Role::Driver, "ben");
    let answer = ben.get_driver_statement(request).await.unwrap();
    answer.into_inner().statement.unwrap()
}

fn assert_adds_up(month: &pb::DriverStatement) {
    let parts = [
        &month.opening,
        &month.fares,
        &month.tips,
        &month.refunds,
        &month.cash_dues,
        &month.payouts,
    ];
    let sum: i64 = parts.into_iter().map(minor).sum();
    assert_eq!(sum, minor(&month.closing), "{month:?}");
    let entries: i64 = month.entries.iter().map(|entry| minor(&entry.amount)).sum();
    assert_eq!(minor(&month.opening) + entries, minor(&month.closing));
}

#[tokio::test]
async fn months_add_up_by_the_clocks_of_the_city() {
    let config = Config {
        time_zone: Some("Asia/Tokyo".parse().unwrap()),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let share = {
        let held = sandbox.captured("anna").await;
        // In Tokyo that is the last second of January.
        backdate(&sandbox, &held.trip, "2026-01-31T14:59:59Z").await;
        minor(&sandbox.receipt(&held.trip).await.driver_share)
    };
    let held = sandbox.captured("anna").await;
    let mut trips = sandbox.trips();
    let tip = pb::AddTipRequest {
        trip_id: held.trip.clone(),
        amount: Some(euro(70)),
        idempotency_key: "t".to_owned(),
    };
    trips.add_tip(tip).await.unwrap();
    trips.refund_trip(held.refund("r", None)).await.unwrap();
    backdate(&sandbox, &held.trip, "2026-01-31T15:00:00Z").await;
    let last = sandbox.captured("anna").await;
    backdate(&sandbox, &last.trip, "2026-02-28T14:00:00Z").await;

    let january = month(&sandbox, "2026-01").await;
    assert_adds_up(&january);
    assert_eq!((minor(&january.opening), january.rides), (0, 1));
    assert_eq!(minor(&january.closing), share);
    assert_eq!(january.time_zone, "Asia/Tokyo");
    assert!(january.complete);
    let february = month(&sandbox, "2026-02").await;
    assert_adds_up(&february);
    assert_eq!(february.opening, january.closing);
    assert_eq!(february.rides, 2);
    assert_eq!(minor(&february.fares), 2 * share);
    assert_eq!(
        (minor(&february.tips), minor(&february.refunds)),
        (70, -share)
    );
    let march = month(&sandbox, "2026-03").await;
    assert_adds_up(&march);
    assert_eq!(march.opening, february.closing);
    assert_eq!((march.rides, &march.closing), (0, &february.closing));
    assert!(!month(&sandbox, "9999-01").await.complete);

    let request = pb::GetDriverStatementDocumentRequest {
        driver_id: "ben".to_owned(),
        month: "2026-01".to_owned(),
    };
    let table = trips.get_driver_statement_document(request.clone()).await;
    let table = table.unwrap().into_inner().document.unwrap();
    assert_eq!(table.content_type, "text/csv; charset=utf-8");
    assert_eq!(table.file_name, "statement-ben-2026-01.csv");
    let text = String::from_utf8(table.data).unwrap();
    let rows: Vec<_> = text.lines().collect();
    assert_eq!(rows.len(), 4, "{text}");
    assert_eq!(
        rows[1],
        "2026-01-01T00:00:00+09:00,OPENING_BALANCE,,,EUR,0.00"
    );
    assert!(
        rows[2].starts_with("2026-01-31T23:59:59+09:00,CAPTURE,"),
        "{text}"
    );
    assert!(rows[3].starts_with("2026-02-01T00:00:00+09:00,CLOSING_BALANCE,,,EUR,"));

    let mut bo = sandbox.client(Role::Driver, "bo");
    let answer = bo.get_driver_statement_document(request).await;
    assert_eq!(refusal(answer), Code::NotFound);
    let bad = pb::GetDriverStatementRequest {
        driver_id: "ben".to_owned(),
        month: "2026-1".to_owned(),
    };
    assert_eq!(
        refusal(trips.get_driver_statement(bad).await),
        Code::InvalidRequest
    );
}
