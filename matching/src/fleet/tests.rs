//! What the fleet keeps in step.

use chrono::TimeDelta;
use jitney_proto::{ids::OfferId, matching::v1::DriverState};
use jitney_roads::{SegmentId, testmap};
use uuid::Uuid;

use super::*;
use crate::rides::{Leg, Party, Ride, StopOrder};

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
        destination: None,
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
    assert!(fleet.hold(anna, hold, None));
    assert!(!fleet.hold(anna, hold, None), "held already");
    assert!(fleet.index().is_empty());
    fleet.release(anna, hold);
    assert_eq!(fleet.index().len(), 1);
    assert!(fleet.take_freed());
    fleet.ride(anna, live(1, NOW), None, NOW);
    assert!(fleet.index().is_empty());
    assert_eq!(fleet.driver_of(trip(1)), Some(anna));
    assert!(fleet.free(anna, trip(1), NOW));
    assert_eq!((fleet.index().len(), fleet.driver_of(trip(1))), (1, None));
    fleet.shift(anna, ShiftChange::default(), NOW);
    assert!(fleet.index().is_empty());
    assert_eq!(fleet.driver(anna).standing.state(), DriverState::Offline);
}

fn live(number: u128, since: DateTime<Utc>) -> Live {
    Live {
        ride: Ride {
            trip: trip(number),
            since,
        },
        leg: Leg::ToPickup,
        party: Party::default(),
    }
}

#[test]
fn two_rides_of_one_driver_are_both_theirs() {
    let (mut fleet, anna, fix) = fleet();
    fleet.shift(anna, on_shift(), NOW);
    fleet.place(anna, fix);
    fleet.ride(anna, live(1, NOW), None, NOW);
    let beside = Some(Beside {
        trip: trip(1),
        shared: true,
        order: StopOrder::ABab,
    });
    assert!(fleet.ride(anna, live(2, NOW), beside, NOW).is_new);
    assert_eq!(fleet.driver_of(trip(2)), Some(anna));
    assert_eq!(fleet.riding().count(), 2);
    assert!(fleet.free(anna, trip(1), NOW));
    assert_eq!(
        (fleet.driver_of(trip(1)), fleet.driver_of(trip(2))),
        (None, Some(anna))
    );
    assert!(fleet.index().is_empty());
    // The end of trip 2 is late: its place is taken.
    let ridden = fleet.ride(anna, live(3, NOW), None, NOW);
    assert_eq!(ridden.displaced, [Some(trip(2)), None]);
    assert_eq!(fleet.driver_of(trip(2)), None);
    assert!(fleet.free(anna, trip(3), NOW));
    assert_eq!(fleet.index().len(), 1);
}

#[test]
fn whoever_goes_somewhere_is_kept_apart() {
    let (mut fleet, anna, fix) = fleet();
    fleet.shift(anna, on_shift(), NOW);
    fleet.place(anna, fix);
    let towards = |destination| ShiftChange {
        destination: Some(destination),
        ..on_shift()
    };
    fleet.take_freed();
    fleet.shift(anna, towards(Some(fix.place)), NOW);
    assert_eq!((fleet.index().len(), fleet.homebound().count()), (0, 1));
    assert!(fleet.take_freed(), "for some rides");
    fleet.shift(anna, on_shift(), NOW);
    assert_eq!(fleet.homebound().count(), 1, "what is not said stays");
    fleet.shift(anna, towards(None), NOW);
    assert_eq!((fleet.index().len(), fleet.homebound().count()), (1, 0));
    fleet.shift(anna, towards(Some(fix.place)), NOW);
    fleet.shift(anna, ShiftChange::default(), NOW);
    fleet.shift(anna, on_shift(), NOW);
    assert_eq!(fleet.index().len(), 1, "it ends with the shift");
}

#[test]
fn a_trip_has_one_driver() {
    let (mut fleet, anna, _) = fleet();
    let ben = fleet.intern(&"ben".parse().unwrap(), NOW);
    fleet.ride(anna, live(1, NOW), None, NOW);
    let later = live(1, NOW + TimeDelta::seconds(1));
    assert!(fleet.ride(ben, later, None, NOW).is_new);
    assert_eq!(fleet.driver_of(trip(1)), Some(ben));
    assert!(fleet.driver(anna).standing.rides().is_empty());
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
