//! What is counted. Nothing here says where anybody is.

use std::{sync::LazyLock, time::Duration};

use jitney_proto::matching::v1::MatchEndReason;
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};

use crate::{offer::OfferEnd, ping::PingRefusal, round::gather::Plan};

struct Counters {
    pings: Counter<u64>,
    pings_refused: Counter<u64>,
    offers_made: Counter<u64>,
    offers_ended: Counter<u64>,
    searches_ended: Counter<u64>,
    reservations: Counter<u64>,
    rounds: Counter<u64>,
    traffic: Counter<u64>,
    traffic_refused: Counter<u64>,
    customization: Histogram<f64>,
    rounds_lost: Counter<u64>,
    round_requests: Counter<u64>,
    map_reloads: Counter<u64>,
    map_changed: Counter<u64>,
}

static COUNTERS: LazyLock<Counters> = LazyLock::new(|| {
    let meter = global::meter("jitney.matching");
    let counter = |name: &'static str, unit: &'static str, what: &'static str| {
        meter
            .u64_counter(name)
            .with_unit(unit)
            .with_description(what)
            .build()
    };
    Counters {
        pings: counter("jitney.matching.pings", "{ping}", "Driver positions taken"),
        pings_refused: counter(
            "jitney.matching.pings_refused",
            "{ping}",
            "Driver positions not believed, by reason",
        ),
        offers_made: counter(
            "jitney.matching.offers",
            "{offer}",
            "Offers made to drivers",
        ),
        offers_ended: counter(
            "jitney.matching.offers_ended",
            "{offer}",
            "Offers that ended, by outcome",
        ),
        searches_ended: counter(
            "jitney.matching.searches_ended",
            "{search}",
            "Searches for a driver that ended, by outcome",
        ),
        traffic: counter(
            "jitney.matching.traffic",
            "{observation}",
            "Observations of traffic that were used",
        ),
        traffic_refused: counter(
            "jitney.matching.traffic_refused",
            "{observation}",
            "Observations of traffic that told nothing, by reason",
        ),
        customization: meter
            .f64_histogram("jitney.matching.customization")
            .with_unit("s")
            .with_description("Time to work out new travel times and swap them in")
            .build(),
        rounds: counter("jitney.matching.rounds", "{round}", "Dispatch rounds held"),
        rounds_lost: counter(
            "jitney.matching.rounds_lost",
            "{round}",
            "Dispatch rounds that could not be kept for explanation",
        ),
        round_requests: counter(
            "jitney.matching.round_requests",
            "{request}",
            "Requests in dispatch rounds, by outcome",
        ),
        map_reloads: counter(
            "jitney.matching.map_reloads",
            "{reload}",
            "Times the map was opened again, by outcome",
        ),
        map_changed: counter(
            "jitney.matching.map_changed",
            "{item}",
            "What was in flight when the map was changed, by kind",
        ),
        reservations: counter(
            "jitney.matching.reservations",
            "{reservation}",
            "Drivers set aside for riders",
        ),
    }
});

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
        .add(count as u64, &[KeyValue::new("reason", "UNKNOWN_DRIVER")]);
}

/// An offer was made.
pub fn offer_made() {
    COUNTERS.offers_made.add(1, &[]);
}

/// An offer ended.
pub fn offer_ended(end: OfferEnd) {
    let outcome = match end {
        OfferEnd::Accepted => "accepted",
        OfferEnd::Declined => "declined",
        OfferEnd::Expired => "expired",
        OfferEnd::Withdrawn => "withdrawn",
    };
    COUNTERS
        .offers_ended
        .add(1, &[KeyValue::new("outcome", outcome)]);
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
