//! What the fleet keeps in step.

use chrono::TimeDelta;
use jitney_proto::{ids::OfferId, matching::v1::DriverState};
use jitney_roads::{SegmentId, testmap};
use uuid::Uuid;

use super::*;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn fleet() -> (Fleet, DriverKey, Fix) {
    let roads = testmap::grid(5, 5, 100.0);
    let mut fleet = Fleet::new(&roads, 300.0);
    let key = fleet.intern(&"anna".parse().unwrap(), NOW);
    let snap = roads.snap_on_segment(SegmentId(3), 0);
    (
        fleet,
        key,
        Fix {
            place: snap.point,
            snap,
            heading_deg: None,
            at: NOW,
        },
    )
}

fn on_shift() -> ShiftChange {
    ShiftChange {
        available: true,
        products: Some(ProductSet::ANY),
        vehicle: None,
    }
}

fn trip(number: u128) -> TripId {
    TripId(Uuid::from_u128(number))
}

#[test]
fn the_index_holds_exactly_the_idle_with_a_position() {
    let (mut fleet, anna, fix) = fleet();
    fleet.shift(anna, on_shift(), NOW);
    assert!(fleet.index().is_empty(), "no position yet");
    assert!(!fleet.take_freed());
    fleet.place(anna, fix);
    assert_eq!(fleet.index().len(), 1);
    assert!(fleet.take_freed() && !fleet.take_freed());
    let hold = Hold::Offer(trip(1), OfferId(Uuid::from_u128(1)));
    assert!(fleet.hold(anna, hold));
    assert!(!fleet.hold(anna, hold), "held already");
    assert!(fleet.index().is_empty());
    fleet.release(anna, hold);
    assert_eq!(fleet.index().len(), 1);
    assert!(fleet.take_freed());
    fleet.ride(
        anna,
        Ride {
            trip: trip(1),
            since: NOW,
        },
        Leg::ToPickup,
        None,
        NOW,
    );
    assert!(fleet.index().is_empty());
    assert_eq!(fleet.driver_of(trip(1)), Some(anna));
    assert!(fleet.free(anna, trip(1), NOW));
    assert_eq!((fleet.index().len(), fleet.driver_of(trip(1))), (1, None));
    fleet.shift(anna, ShiftChange::default(), NOW);
    assert!(fleet.index().is_empty());
    assert_eq!(fleet.driver(anna).standing.state(), DriverState::Offline);
}

#[test]
fn a_trip_has_one_driver() {
    let (mut fleet, anna, _) = fleet();
    let ben = fleet.intern(&"ben".parse().unwrap(), NOW);
    let ride = Ride {
        trip: trip(1),
        since: NOW,
    };
    fleet.ride(anna, ride, Leg::ToPickup, None, NOW);
    let later = Ride {
        since: NOW + TimeDelta::seconds(1),
        ..ride
    };
    assert_eq!(
        fleet.ride(ben, later, Leg::ToPickup, None, NOW),
        (None, true)
    );
    assert_eq!(fleet.driver_of(trip(1)), Some(ben));
    assert_eq!(fleet.driver(anna).standing.live(), None);
}

#[test]
fn a_driver_is_saved_once_for_many_changes() {
    let (mut fleet, anna, fix) = fleet();
    fleet.shift(anna, on_shift(), NOW);
    fleet.place(anna, fix);
    fleet.place(anna, fix);
    assert_eq!(fleet.take_unsaved(10), [anna]);
    assert_eq!(fleet.take_unsaved(10), []);
    assert_eq!(fleet.driver(anna).shift_no, 1);
    fleet.shift(anna, on_shift(), NOW);
    assert_eq!(fleet.driver(anna).shift_no, 1, "repeating changes nothing");
}

#[test]
fn watchers_hear_of_moves() {
    let (mut fleet, anna, fix) = fleet();
    let mut watcher = fleet.watch(anna);
    assert!(!watcher.has_changed().unwrap());
    fleet.place(anna, fix);
    assert!(watcher.has_changed().unwrap());
    watcher.mark_unchanged();
    drop(watcher);
    fleet.place(anna, fix);
    assert!(fleet.drivers[anna.index()].moved.is_none());
}
