//! Broken rules, one by one, and the unbroken ride.

use jitney_proto::{
    billing::v1::{FareLine, FareLineKind},
    time::timestamp,
    trips::v1::TripDriver,
};

use super::*;

fn euros(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    })
}

/// A trip at a version and second, with a driver who was assigned at second 10.
fn trip(id: &str, version: i64, state: TripState, driver_id: &str, second: i64) -> Trip {
    let at = |second: i64| DateTime::from_timestamp(1_700_000_000 + second, 0).map(timestamp);
    Trip {
        trip_id: id.to_owned(),
        version,
        state: state.into(),
        rider_id: "r".to_owned(),
        driver: Some(TripDriver {
            driver_id: driver_id.to_owned(),
            ..TripDriver::default()
        })
        .filter(|driver| !driver.driver_id.is_empty()),
        fare: euros(1_000),
        assigned_at: at(10).filter(|_| !driver_id.is_empty()),
        updated_at: at(second),
        ended_at: at(second).filter(|_| is_end(state)),
        ..Trip::default()
    }
}

fn ride(audit: &mut Audit, id: &str, driver_id: &str, end_second: i64) {
    audit.see(&trip(id, 1, TripState::Searching, "", 0));
    audit.see(&trip(id, 2, TripState::Offered, "", 5));
    audit.see(&trip(id, 3, TripState::Assigned, driver_id, 10));
    audit.see(&trip(id, 6, TripState::Completed, driver_id, end_second));
}

fn rules(audit: &Audit) -> Vec<Rule> {
    audit
        .violations()
        .0
        .iter()
        .map(|violation| violation.rule)
        .collect()
}

fn receipt(lines: &[i64], total: i64) -> Receipt {
    let line = |&amount| FareLine {
        kind: FareLineKind::Base.into(),
        amount: euros(amount),
    };
    Receipt {
        trip_id: "t".to_owned(),
        rider_id: "r".to_owned(),
        driver_id: "d".to_owned(),
        lines: lines.iter().map(line).collect(),
        total: euros(total),
        ..Receipt::default()
    }
}

#[test]
fn a_ride_by_the_rules_passes() {
    let mut audit = Audit::default();
    ride(&mut audit, "t", "d", 300);
    // Told late, told again.
    audit.see(&trip("t", 4, TripState::DriverArrived, "d", 100));
    audit.see(&trip("t", 3, TripState::Assigned, "d", 10));
    let done = trip("t", 6, TripState::Completed, "d", 300);
    audit.check_receipt(&done, Some(&receipt(&[250, 750], 1_000)));
    audit.check_fare(&done, euros(1_000).as_ref());
    assert_eq!(rules(&audit), []);
}

#[test]
fn two_drivers_on_a_trip_are_seen() {
    let mut audit = Audit::default();
    audit.see(&trip("t", 3, TripState::Assigned, "d1", 10));
    audit.see(&trip("t", 3, TripState::Assigned, "d2", 10));
    audit.see(&trip("u", 3, TripState::Assigned, "d3", 10));
    audit.see(&trip("u", 4, TripState::DriverArrived, "d4", 20));
    assert_eq!(rules(&audit), [Rule::OneDriverPerTrip; 2]);
}

#[test]
fn a_trip_may_pass_to_another_driver_when_it_was_given_back() {
    let mut audit = Audit::default();
    audit.see(&trip("t", 3, TripState::Assigned, "d1", 10));
    audit.see(&trip("t", 4, TripState::Searching, "", 20));
    audit.see(&trip("t", 6, TripState::Assigned, "d2", 30));
    assert_eq!(rules(&audit), []);
}

#[test]
fn two_trips_of_a_driver_are_seen_once() {
    let mut audit = Audit::default();
    ride(&mut audit, "t", "d", 300);
    ride(&mut audit, "u", "d", 200);
    audit.see(&trip("u", 6, TripState::Completed, "d", 200));
    assert_eq!(rules(&audit), [Rule::OneTripPerDriver]);
}

#[test]
fn a_driver_drives_one_trip_after_the_other() {
    let mut audit = Audit::default();
    ride(&mut audit, "t", "d", 300);
    let mut next = trip("u", 3, TripState::Assigned, "d", 310);
    next.assigned_at = DateTime::from_timestamp(1_700_000_300, 0).map(timestamp);
    audit.see(&next);
    assert_eq!(rules(&audit), []);
}

#[test]
fn an_end_is_the_end() {
    let mut audit = Audit::default();
    ride(&mut audit, "t", "d", 300);
    audit.see(&trip("t", 7, TripState::Cancelled, "", 310));
    audit.see(&trip("t", 2, TripState::Searching, "", 5));
    assert_eq!(rules(&audit), [Rule::HistoryStays; 2]);
}

#[test]
fn receipts_are_exact() {
    let mut audit = Audit::default();
    let done = trip("t", 6, TripState::Completed, "d", 300);
    audit.check_receipt(&done, None);
    audit.check_receipt(&done, Some(&receipt(&[250, 751], 1_000)));
    audit.check_receipt(&done, Some(&receipt(&[999], 999)));
    audit.check_receipt(
        &done,
        Some(&Receipt {
            driver_id: "e".into(),
            ..receipt(&[1_000], 1_000)
        }),
    );
    audit.check_fare(&done, euros(1_001).as_ref());
    use Rule::{FareIsExact, ReceiptIsTheFare};
    assert_eq!(
        rules(&audit),
        [
            ReceiptIsTheFare,
            FareIsExact,
            ReceiptIsTheFare,
            ReceiptIsTheFare,
            FareIsExact
        ]
    );
}

#[test]
fn quotes_are_exact_in_one_currency() {
    let mut audit = Audit::default();
    let line = |amount| FareLine {
        kind: FareLineKind::Base.into(),
        amount,
    };
    let quote = |lines, fare| TripQuote {
        lines,
        fare,
        ..TripQuote::default()
    };
    audit.check_quote(&quote(
        vec![line(euros(400)), line(euros(600))],
        euros(1_000),
    ));
    assert_eq!(rules(&audit), []);
    let dollars = Some(Money {
        currency_code: "USD".to_owned(),
        minor_units: 600,
    });
    audit.check_quote(&quote(vec![line(euros(400)), line(dollars)], euros(1_000)));
    audit.check_quote(&quote(
        vec![line(euros(i64::MAX)), line(euros(1))],
        euros(0),
    ));
    audit.check_quote(&quote(vec![line(None)], euros(0)));
    audit.check_quote(&quote(vec![], None));
    assert_eq!(rules(&audit), [Rule::FareIsExact; 4]);
}

#[test]
fn memory_is_bounded() {
    let mut audit = Audit::default();
    for number in 0..TRIPS_MAX + 10 {
        audit.see(&trip(&format!("t{number}"), 1, TripState::Searching, "", 0));
    }
    assert_eq!(audit.trips.len(), TRIPS_MAX);
    for _ in 0..VIOLATIONS_MAX + 5 {
        audit.violation(Rule::NoDefects, String::new());
    }
    let (told, count) = audit.violations();
    assert_eq!(
        (told.len(), count),
        (VIOLATIONS_MAX, VIOLATIONS_MAX as u64 + 5)
    );
}
