//! What is counted. Labels are from closed lists; nobody's id is among them.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use jitney_platform::telemetry::meters::{counter, counter_of, meter, seconds};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram},
};

use crate::{
    app::App,
    state::State,
    trip::{Actor, Trip},
};

struct Instruments {
    transitions: Counter<u64>,
    ended: Counter<u64>,
    matched: Histogram<f64>,
    pickup: Histogram<f64>,
    ride: Histogram<f64>,
}

/// The states that a ride ends in.
const ENDS: [State; 4] = [
    State::Completed,
    State::Cancelled,
    State::NoShow,
    State::Expired,
];
/// Whose doing an end is that was nobody's.
const NOBODY: &str = "NOBODY";

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let states: Vec<_> = State::ALL.iter().map(|state| state.name()).collect();
    Instruments {
        transitions: counter_of(
            "jitney.trips.transitions",
            "{transition}",
            "Changes of trips, by the state they led to",
            "state",
            &states,
        ),
        ended: counter(
            "jitney.trips.ended",
            "{trip}",
            "Trips that ended, by how and by whose doing",
        ),
        matched: seconds(
            "jitney.trips.match.duration",
            "From the request, or from when a booked ride was due, to a driver's acceptance",
        ),
        pickup: seconds(
            "jitney.trips.pickup.duration",
            "From a driver's acceptance to the driver's arrival at the pick-up",
        ),
        ride: seconds("jitney.trips.ride.duration", "From pick-up to drop-off"),
    }
});

/// Has the counters on the page before anything happens, and counts watchers at every look.
pub fn start(app: &App) {
    for state in ENDS {
        let by = match state {
            State::Cancelled => Actor::Rider.name(),
            _ => NOBODY,
        };
        INSTRUMENTS.ended.add(0, &end(state, by));
    }
    let (watches, most) = (app.watches.clone(), app.config.watch_streams_max);
    meter()
        .u64_observable_gauge("jitney.trips.watches")
        .with_unit("{stream}")
        .with_description("Streams that watch a trip")
        .with_callback(move |gauge| {
            let free = watches.available_permits();
            gauge.observe(most.saturating_sub(free) as u64, &[]);
        })
        .build();
}

fn end(state: State, by: &'static str) -> [KeyValue; 2] {
    [
        KeyValue::new("state", state.name()),
        KeyValue::new("by", by),
    ]
}

/// A change was committed.
pub fn changed(trip: &Trip) {
    let instruments = &*INSTRUMENTS;
    let state = [KeyValue::new("state", trip.state.name())];
    instruments.transitions.add(1, &state);
    // A change that leaves the state as it is has another time than the state's own.
    let is_new = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at == trip.updated_at);
    let record = |histogram: &Histogram<f64>, from: Option<DateTime<Utc>>| {
        if let Some(took) = from.and_then(|from| (trip.updated_at - from).to_std().ok()) {
            histogram.record(took.as_secs_f64(), &[]);
        }
    };
    match trip.state {
        State::Assigned if is_new(trip.assigned_at) => {
            let due = trip.booking.as_ref().map(|booking| booking.release_at);
            record(&instruments.matched, due.or(Some(trip.created_at)));
        }
        State::DriverArrived if is_new(trip.arrived_at) => {
            record(&instruments.pickup, trip.assigned_at);
        }
        State::Completed if is_new(trip.ended_at) => {
            record(&instruments.ride, trip.started_at);
        }
        _ => {}
    }
    if is_new(trip.ended_at) {
        let by = trip.cancelled_by.map_or(NOBODY, Actor::name);
        instruments.ended.add(1, &end(trip.state, by));
    }
}
