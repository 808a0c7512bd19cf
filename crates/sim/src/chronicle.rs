//! What happened in the city, written down by everybody as it happens and read by the progress line
//! and the report.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jitney_proto::{Code, common::v1::Money, time::moment, trips::v1::Trip};

use crate::{
    audit::{Audit, Rule},
    refusal::{CallError, Problem},
    report::{Connections, Fares, Offers, Pings, Rides, Waits},
};

/// Waits are told of the newest this many rides.
const WAITS_MAX: usize = 20_000;

/// What has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Chronicle(Mutex<Facts>);

/// The facts behind a report.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub rides: Rides,
    pub offers: Offers,
    pub pings: Pings,
    pub connections: Connections,
    pub fares: Fares,
    pub driven_m: f64,
    pub drivers_on_shift: u64,
    pub rides_live: u64,
    pub calls_answered: u64,
    pub calls_failed: BTreeMap<String, u64>,
    pub assignment_waits_ms: VecDeque<u64>,
    pub pickup_waits_ms: VecDeque<u64>,
    pub audit: Audit,
}

impl Chronicle {
    /// Everything, to read or to write.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call got its answer.
    pub fn call_answered(&self) {
        self.facts().calls_answered += 1;
    }

    /// A try of a call did not get its answer.
    pub fn call_failed(&self, route: &str, error: &CallError) {
        tracing::debug!(%error, "call failed");
        let mut facts = self.facts();
        *facts.calls_failed.entry(error.label(route)).or_default() += 1;
        if error.is_defect() {
            facts.audit.violation(Rule::NoDefects, error.to_string());
        }
    }

    /// A stream that was open ended with an error.
    pub fn stream_failed(&self, route: &'static str, problem: &Problem) {
        let reason = problem.reason().unwrap_or("no reason");
        let mut facts = self.facts();
        *facts
            .calls_failed
            .entry(format!("{route}: stream {reason}"))
            .or_default() += 1;
        if reason == Code::Internal.reason() {
            let what = format!("{route} ended with {reason}: {}", problem.message);
            facts.audit.violation(Rule::NoDefects, what);
        }
    }

    /// Somebody was told of a trip.
    pub fn saw(&self, trip: &Trip) {
        self.facts().audit.see(trip);
    }
}

impl Facts {
    /// Writes down how long the rider of an ended trip waited, by the server's clock.
    pub fn note_waits(&mut self, trip: &Trip) {
        let at = |time: &Option<_>| time.as_ref().and_then(|time| moment(time, "").ok());
        let Some(asked) = at(&trip.created_at) else {
            return;
        };
        let note = |waits: &mut VecDeque<u64>, until| {
            let Some(until) = at(until) else { return };
            let wait_ms = (until - asked).num_milliseconds();
            waits.push_back(u64::try_from(wait_ms).unwrap_or(0));
            if waits.len() > WAITS_MAX {
                waits.pop_front();
            }
        };
        note(&mut self.assignment_waits_ms, &trip.assigned_at);
        note(&mut self.pickup_waits_ms, &trip.arrived_at);
    }

    /// Adds what a rider was charged.
    pub fn add_fare(&mut self, fare: &Money) {
        if !self.fares.add(fare) {
            let what = format!("the fares of {} sum beyond all bounds", fare.currency_code);
            self.audit.violation(Rule::FareIsExact, what);
        }
    }

    /// The waits until assignment and until the driver was there.
    pub fn waits(&self) -> (Waits, Waits) {
        let of = |waits_ms: &VecDeque<u64>| Waits::of(waits_ms.iter().copied().collect());
        (of(&self.assignment_waits_ms), of(&self.pickup_waits_ms))
    }
}
