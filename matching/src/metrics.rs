//! What is counted. Nothing here says where anybody is.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use jitney_platform::telemetry::meters::{counter, counter_of, meter, seconds};
use jitney_proto::matching::v1::{DriverState, MatchEndReason};
use jitney_roads::Useless;
use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Counter, Histogram},
};

use crate::{offer::OfferEnd, ping::PingRefusal, round::gather::Plan, service::Service};

struct Counters {
    pings: Counter<u64>,
    pings_refused: Counter<u64>,
    offers_made: Counter<u64>,
    offers_ended: Counter<u64>,
    searches_ended: Counter<u64>,
    reservations: Counter<u64>,
    rounds: Counter<u64>,
    round_duration: Histogram<f64>,
    traffic: Counter<u64>,
    traffic_refused: Counter<u64>,
    customization: Histogram<f64>,
    rounds_lost: Counter<u64>,
    round_requests: Counter<u64>,
    map_reloads: Counter<u64>,
    map_changed: Counter<u64>,
}

/// How offers end.
const OFFER_ENDS: [&str; 4] = ["accepted", "declined", "expired", "withdrawn"];
/// How searches end.
const SEARCH_ENDS: [&str; 4] = ["assigned", "cancelled", "no_driver", "forgotten"];
/// Why positions are not believed.
const PING_REFUSALS: [&str; 7] = [
    UNKNOWN_DRIVER,
    PingRefusal::OutOfRange.reason(),
    PingRefusal::FromTheFuture.reason(),
    PingRefusal::TooOld.reason(),
    PingRefusal::OutOfOrder.reason(),
    PingRefusal::Jump.reason(),
    PingRefusal::OutsideMap.reason(),
];
/// Why positions of a driver whom nobody knows are not believed.
const UNKNOWN_DRIVER: &str = "UNKNOWN_DRIVER";
/// Why traffic is not used that came faster than it is followed.
pub const TRAFFIC_OVERFLOW: &str = "overflow";
/// Why traffic is not used.
const TRAFFIC_REFUSALS: [&str; 4] = [
    TRAFFIC_OVERFLOW,
    Useless::Timing.reason(),
    Useless::Parked.reason(),
    Useless::Mismatch.reason(),
];
/// What drivers are at.
const DRIVER_STATES: [DriverState; 6] = [
    DriverState::Offline,
    DriverState::Idle,
    DriverState::Offered,
    DriverState::EnRoute,
    DriverState::OnTrip,
    DriverState::Chained,
];

static COUNTERS: LazyLock<Counters> = LazyLock::new(|| Counters {
    pings: counter("jitney.matching.pings", "{ping}", "Driver positions taken"),
    pings_refused: counter_of(
        "jitney.matching.pings_refused",
        "{ping}",
        "Driver positions not believed, by reason",
        "reason",
        &PING_REFUSALS,
    ),
    offers_made: counter(
        "jitney.matching.offers",
        "{offer}",
        "Offers made to drivers",
    ),
    offers_ended: counter_of(
        "jitney.matching.offers_ended",
        "{offer}",
        "Offers that ended, by outcome",
        "outcome",
        &OFFER_ENDS,
    ),
    searches_ended: counter_of(
        "jitney.matching.searches_ended",
        "{search}",
        "Searches for a driver that ended, by outcome",
        "outcome",
        &SEARCH_ENDS,
    ),
    traffic: counter(
        "jitney.matching.traffic",
        "{observation}",
        "Observations of traffic that were used",
    ),
    traffic_refused: counter_of(
        "jitney.matching.traffic_refused",
        "{observation}",
        "Observations of traffic that told nothing, by reason",
        "reason",
        &TRAFFIC_REFUSALS,
    ),
    customization: seconds(
        "jitney.matching.customization",
        "Time to work out new travel times and swap them in",
    ),
    rounds: counter("jitney.matching.rounds", "{round}", "Dispatch rounds held"),
    round_duration: seconds(
        "jitney.matching.round.duration",
        "Time to put a dispatch round together and decide it",
    ),
    rounds_lost: counter(
        "jitney.matching.rounds_lost",
        "{round}",
        "Dispatch rounds that could not be kept for explanation",
    ),
    round_requests: counter_of(
        "jitney.matching.round_requests",
        "{request}",
        "Requests in dispatch rounds, by outcome",
        "outcome",
        &["assigned", "left_out"],
    ),
    map_reloads: counter_of(
        "jitney.matching.map_reloads",
        "{reload}",
        "Times the map was opened again, by outcome",
        "outcome",
        &["changed", "unchanged", "unusable"],
    ),
    map_changed: counter_of(
        "jitney.matching.map_changed",
        "{item}",
        "What was in flight when the map was changed, by kind",
        "kind",
        &["call", "round"],
    ),
    reservations: counter(
        "jitney.matching.reservations",
        "{reservation}",
        "Drivers set aside for riders",
    ),
});

/// Counts what is there at every look, and has the counters on the page before anything happens.
pub fn start(service: &Arc<Service>) {
    let Counters {
        pings,
        offers_made,
        traffic,
        rounds,
        rounds_lost,
        reservations,
        ..
    } = &*COUNTERS;
    for counter in [
        pings,
        offers_made,
        traffic,
        rounds,
        rounds_lost,
        reservations,
    ] {
        counter.add(0, &[]);
    }
    watch(
        service,
        ("jitney.matching.drivers", "{driver}"),
        "Drivers, by what they are at",
        |service, gauge| {
            let mut counts = [0; DRIVER_STATES.len()];
            for (_, driver) in service.look().fleet().iter() {
                let state = driver.standing.state();
                if let Some(place) = DRIVER_STATES.iter().position(|other| *other == state) {
                    counts[place] += 1;
                }
            }
            for (state, count) in DRIVER_STATES.iter().zip(counts) {
                let state = state.as_str_name().trim_start_matches("DRIVER_STATE_");
                gauge.observe(count, &[KeyValue::new("state", state)]);
            }
        },
    );
    watch(
        service,
        ("jitney.matching.index.drivers", "{driver}"),
        "Drivers in the index of those who can be offered a ride",
        |service, gauge| gauge.observe(service.look().fleet().index().len() as u64, &[]),
    );
    watch(
        service,
        ("jitney.matching.index.cells", "{cell}"),
        "Cells of the index that somebody is in",
        |service, gauge| gauge.observe(service.look().fleet().index().cell_count() as u64, &[]),
    );
    watch(
        service,
        ("jitney.matching.searches", "{search}"),
        "Searches for a driver that are under way",
        |service, gauge| gauge.observe(service.look().search_count() as u64, &[]),
    );
}

/// Has something counted whenever somebody looks, for as long as the service is there.
fn watch(
    service: &Arc<Service>,
    (name, unit): (&'static str, &'static str),
    what: &'static str,
    count: impl Fn(&Service, &dyn AsyncInstrument<u64>) + Send + Sync + 'static,
) {
    let watched = Arc::downgrade(service);
    let meter = meter();
    let gauge = meter.u64_observable_gauge(name);
    gauge
        .with_unit(unit)
        .with_description(what)
        .with_callback(move |gauge| {
            if let Some(service) = watched.upgrade() {
                count(&service, gauge);
            }
        })
        .build();
}

/// Positions were taken.
pub fn pings_accepted(count: usize) {
    if count > 0 {
        COUNTERS.pings.add(count as u64, &[]);
    }
}

/// A position was not believed.
pub fn ping_refused(refusal: PingRefusal) {
    COUNTERS
        .pings_refused
        .add(1, &[KeyValue::new("reason", refusal.reason())]);
}

/// Positions came of a driver whom nobody knows.
pub fn pings_of_nobody(count: usize) {
    COUNTERS
        .pings_refused
        .add(count as u64, &[KeyValue::new("reason", UNKNOWN_DRIVER)]);
}

/// An offer was made.
pub fn offer_made() {
    COUNTERS.offers_made.add(1, &[]);
}

/// An offer ended.
pub fn offer_ended(end: OfferEnd) {
    COUNTERS
        .offers_ended
        .add(1, &[KeyValue::new("outcome", end.name())]);
}

/// A search ended; without a reason nobody came back for it.
pub fn search_ended(reason: Option<MatchEndReason>) {
    let outcome = match reason {
        Some(MatchEndReason::Assigned) => "assigned",
        Some(MatchEndReason::Cancelled) => "cancelled",
        Some(MatchEndReason::NoDriver) => "no_driver",
        Some(MatchEndReason::Unspecified) | None => "forgotten",
    };
    COUNTERS
        .searches_ended
        .add(1, &[KeyValue::new("outcome", outcome)]);
}

/// A driver was set aside for a rider.
pub fn reservation_made() {
    COUNTERS.reservations.add(1, &[]);
}

/// A dispatch round was decided.
pub fn round_decided(took: Duration) {
    COUNTERS.round_duration.record(took.as_secs_f64(), &[]);
}

/// A dispatch round was held.
pub fn round_held(plan: &Plan) {
    COUNTERS.rounds.add(1, &[]);
    let assigned = plan.choice.iter().flatten().count() as u64;
    let left_out = plan.choice.len() as u64 - assigned;
    for (count, outcome) in [(assigned, "assigned"), (left_out, "left_out")] {
        if count > 0 {
            COUNTERS
                .round_requests
                .add(count, &[KeyValue::new("outcome", outcome)]);
        }
    }
}

/// A dispatch round was given up before it could be kept.
pub fn round_not_kept() {
    COUNTERS.rounds_lost.add(1, &[]);
}

/// Two positions told of the traffic.
pub fn traffic_observed() {
    COUNTERS.traffic.add(1, &[]);
}

/// Two positions told nothing of it.
pub fn traffic_refused(reason: &'static str, count: u64) {
    COUNTERS
        .traffic_refused
        .add(count, &[KeyValue::new("reason", reason)]);
}

/// New travel times were swapped in.
pub fn traffic_swapped(took: Duration) {
    COUNTERS.customization.record(took.as_secs_f64(), &[]);
}

/// The map was opened again: "changed", "unchanged" or "unusable".
pub fn map_reloaded(outcome: &'static str) {
    COUNTERS
        .map_reloads
        .add(1, &[KeyValue::new("outcome", outcome)]);
}

/// The map was changed while these were in flight.
pub fn map_changed(kind: &'static str, count: usize) {
    if count > 0 {
        COUNTERS
            .map_changed
            .add(count as u64, &[KeyValue::new("kind", kind)]);
    }
}
