//! Instruments, made alike everywhere. docs/observability.md lists every one.

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram, Meter},
};

/// Bounds of the buckets of durations, in seconds: from what a call takes to what a search may.
const SECONDS: [f64; 18] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0, 900.0,
];
/// Bounds of the buckets of counts of what is done together.
const SIZES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// The meter that everything is measured with.
pub fn meter() -> Meter {
    global::meter("jitney")
}

/// A counter.
pub fn counter(name: &'static str, unit: &'static str, what: &'static str) -> Counter<u64> {
    let meter = meter();
    let counter = meter.u64_counter(name);
    counter.with_unit(unit).with_description(what).build()
}

/// A counter that is on the page from the start, with nothing counted yet under each value of its label:
/// what has never happened is no different from what nobody measures, otherwise.
pub fn counter_of(
    name: &'static str,
    unit: &'static str,
    what: &'static str,
    label: &'static str,
    values: &[&'static str],
) -> Counter<u64> {
    let counter = counter(name, unit, what);
    for value in values {
        counter.add(0, &[KeyValue::new(label, *value)]);
    }
    counter
}

/// How long something takes, in seconds.
pub fn seconds(name: &'static str, what: &'static str) -> Histogram<f64> {
    let meter = meter();
    let histogram = meter.f64_histogram(name).with_unit("s");
    histogram
        .with_description(what)
        .with_boundaries(SECONDS.to_vec())
        .build()
}

/// How many there are of something each time.
pub fn sizes(name: &'static str, unit: &'static str, what: &'static str) -> Histogram<u64> {
    let meter = meter();
    let histogram = meter.u64_histogram(name).with_unit(unit);
    histogram
        .with_description(what)
        .with_boundaries(SIZES.to_vec())
        .build()
}
