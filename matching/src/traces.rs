//! What belongs to which trace. A search goes on after the request for it, a round is about many of them,
//! an offer is open for seconds, and a driver's positions are what all of it is decided by: none of that is
//! a call with a parent. So the searches' traces are kept here, and rounds, offers and positions are told in
//! them, or point at each other.
//!
//! Only what is exported is kept, so most of this is empty where few traces are sampled. Nothing is decided
//! by any of it.

use jitney_platform::telemetry::{TraceContext, link_both};
use jitney_proto::ids::{OfferId, TripId};
use rustc_hash::FxHashMap;
use tracing::{Span, field::Empty};

use crate::{
    fleet::DriverKey,
    offer::{Offer, OfferEnd},
};

/// Searches that a round's span points at, at most: as many as a span has links.
const LINKS_MAX: usize = 100;

/// The traces of what is under way.
#[derive(Debug, Default)]
pub struct Traces {
    /// Who asked for a search.
    searches: FxHashMap<TripId, TraceContext>,
    /// Where a driver was last heard of, among what is exported.
    positions: FxHashMap<DriverKey, TraceContext>,
    /// Open offers.
    offers: FxHashMap<OfferId, Span>,
}

/// A round that is being held, among whose searches some are exported.
#[derive(Debug)]
pub struct RoundTrace {
    /// The round's own span.
    pub span: Span,
    /// The round in each search's trace; open until it is over.
    _parts: Vec<Span>,
}

impl Traces {
    /// Somebody asked for a search, or came back for it.
    pub fn searched(&mut self, trip: TripId, asked_in: Option<TraceContext>) {
        match asked_in.filter(TraceContext::is_sampled) {
            Some(asked_in) => drop(self.searches.insert(trip, asked_in)),
            None => drop(self.searches.remove(&trip)),
        }
    }

    /// A search is over.
    pub fn search_over(&mut self, trip: TripId) {
        self.searches.remove(&trip);
    }

    /// A driver's positions came.
    pub fn seen(&mut self, driver: DriverKey, told_in: TraceContext) {
        self.positions.insert(driver, told_in);
    }

    /// Begins the span of a round of these searches, and one in the trace of each; none where no trace is
    /// exported.
    pub fn round(&self, looking: &[TripId]) -> Option<RoundTrace> {
        let searches: Vec<&TraceContext> = looking
            .iter()
            .filter_map(|trip| self.searches.get(trip))
            .take(LINKS_MAX)
            .collect();
        if searches.is_empty() {
            return None;
        }
        let span = tracing::info_span!(parent: None, "dispatch.round", requests = looking.len());
        // A round is exported with the first of its searches, whatever its own trace would be.
        let parts = searches.into_iter().enumerate().map(|(place, search)| {
            if place == 0 {
                search.adopt(&span);
                return Span::none();
            }
            let part = tracing::info_span!(parent: None, "dispatch.round.part");
            search.adopt(&part);
            search.link(&span);
            link_both(&part, &span);
            part
        });
        let parts = parts.collect();
        Some(RoundTrace {
            span,
            _parts: parts,
        })
    }

    /// Begins the span of an offer in the trace of its search. It ends with the offer. It and the round it
    /// is from point at each other, and both at the driver's positions.
    pub fn offered(&mut self, offer: &Offer, driver: Option<DriverKey>, round: Option<&Span>) {
        let Some(search) = self.searches.get(&offer.trip) else {
            return;
        };
        let span =
            tracing::info_span!(parent: None, "offer", offer.id = %offer.id, outcome = Empty);
        search.adopt(&span);
        if let Some(round) = round {
            link_both(&span, round);
        }
        if let Some(position) = driver.and_then(|driver| self.positions.get(&driver)) {
            position.link(&span);
            if let Some(round) = round {
                position.link(round);
            }
        }
        self.offers.insert(offer.id, span);
    }

    /// An offer is over.
    pub fn offer_over(&mut self, offer: OfferId, end: OfferEnd) {
        if let Some(span) = self.offers.remove(&offer) {
            span.record("outcome", end.name());
        }
    }
}
