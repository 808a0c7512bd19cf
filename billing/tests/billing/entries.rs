//! Where the money of a trip went, and where rides cost more, for operators.

use jitney_billing::{
    Config,
    place::Circle,
    surcharge::{FareZone, TollGate},
    tariff,
};
use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, EntryKind},
};

use crate::support::{Held, Sandbox, euro, minor, refusal};

async fn entries(sandbox: &Sandbox, held: &Held) -> Vec<pb::JournalEntry> {
    let request = pb::ListTripEntriesRequest {
        trip_id: held.trip.clone(),
    };
    let mut operator = sandbox.client(Role::Operator, "ops");
    operator
        .list_trip_entries(request)
        .await
        .unwrap()
        .into_inner()
        .entries
}

#[tokio::test]
async fn every_movement_of_a_trip_is_there_and_sums_to_nothing() {
    let sandbox = Sandbox::new().await;
    let other = sandbox.captured("bea").await;
    let open = sandbox.held("carl").await;
    let held = sandbox.captured("anna").await;
    assert!(
        entries(&sandbox, &open).await.is_empty(),
        "a hold moves nothing"
    );
    let tip = pb::AddTipRequest {
        trip_id: held.trip.clone(),
        amount: Some(euro(150)),
        idempotency_key: "t".to_owned(),
    };
    sandbox
        .client(Role::Rider, "anna")
        .add_tip(tip)
        .await
        .unwrap();
    sandbox
        .trips()
        .refund_trip(held.refund("r", Some(100)))
        .await
        .unwrap();
    let told = entries(&sandbox, &held).await;
    let kinds: Vec<EntryKind> = told.iter().map(pb::JournalEntry::kind).collect();
    assert_eq!(
        kinds,
        [EntryKind::Capture, EntryKind::Tip, EntryKind::Refund]
    );
    for entry in &told {
        let sum: i64 = entry
            .postings
            .iter()
            .map(|posting| minor(&posting.amount))
            .sum();
        assert_eq!(sum, 0, "{entry:?}");
        assert!(entry.postings.len() >= 2 && entry.number == 1);
    }
    let of = |entry: &pb::JournalEntry, account: &str| {
        let own = entry
            .postings
            .iter()
            .find(|posting| posting.account == account);
        own.map(|posting| (posting.owner_id.clone(), minor(&posting.amount)))
    };
    assert_eq!(
        of(&told[0], "rider_receivable"),
        Some(("anna".to_owned(), held.total()))
    );
    assert_eq!(
        of(&told[1], "driver_payable"),
        Some(("ben".to_owned(), -150))
    );
    assert!(of(&told[0], "platform_revenue").is_some_and(|(owner, _)| owner.is_empty()));
    assert_eq!(entries(&sandbox, &other).await.len(), 1);

    let request = pb::ListTripEntriesRequest {
        trip_id: held.trip.clone(),
    };
    let own = sandbox
        .client(Role::Rider, "anna")
        .list_trip_entries(request)
        .await;
    assert_eq!(refusal(own), Code::PermissionDenied);
}

#[tokio::test]
async fn the_zones_are_those_of_the_tariff_in_force() {
    let mut tariff = tariff::built_in();
    tariff.zones = vec![FareZone {
        id: "heliport".to_owned(),
        area: Circle {
            latitude: 43.725,
            longitude: 7.419,
            radius_m: 200.0,
        },
        pickup_minor: 500,
        dropoff_minor: 0,
    }];
    tariff.tolls = vec![TollGate {
        id: "tunnel".to_owned(),
        area: Circle {
            latitude: 43.735,
            longitude: 7.413,
            radius_m: 60.0,
        },
        toll_minor: 120,
    }];
    let sandbox = Sandbox::with(Config {
        tariffs: vec![tariff.clone()],
        ..Config::default()
    });
    let sandbox = sandbox.await;
    let mut operator = sandbox.client(Role::Operator, "ops");
    let told = operator.list_fare_zones(pb::ListFareZonesRequest {}).await;
    let told = told.unwrap().into_inner();
    assert_eq!(told.tariff_version, tariff.version);
    let [zone] = &told.zones[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (
            zone.zone_id.as_str(),
            minor(&zone.pickup_fee),
            minor(&zone.dropoff_fee)
        ),
        ("heliport", 500, 0)
    );
    assert_eq!(zone.radius_meters, 200);
    assert!(zone.centre.unwrap().latitude > 43.7);
    let [gate] = &told.tolls[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (gate.gate_id.as_str(), minor(&gate.toll), gate.radius_meters),
        ("tunnel", 120, 60)
    );
}
