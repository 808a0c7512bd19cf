//! Obeying the trip service.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{DriverId, TripId},
    matching::v1::{AssignmentEnded, MatchEndReason, stream_driver_response::Message},
    trips::v1::TripState,
};

use super::Dispatch;
use crate::{
    fleet::DriverKey,
    news::{News, What},
    offer::OfferEnd,
    rides::{Beside, Leg, Live},
    search::Open,
};

impl Dispatch {
    /// Takes in one event of a trip. Events of one trip come in order; those of different trips may
    /// come in any.
    pub fn hear(&mut self, news: &News, now: DateTime<Utc>) {
        let trip = news.trip;
        match &news.what {
            What::Nothing => {}
            What::OfferOver { offer, end } => self.end_offer(trip, *offer, *end, now),
            What::Riding {
                driver,
                live,
                beside,
            } => self.riding(driver, *live, *beside, now),
            What::Released { state } => self.free(trip, *state, now),
            What::Over { state } => {
                self.end_search(trip, Some(MatchEndReason::Cancelled), now);
                self.free(trip, *state, now);
                self.meters.end(trip);
            }
        }
        self.rouse_if_freed();
    }

    fn riding(
        &mut self,
        driver: &DriverId,
        live: Live,
        beside: Option<Beside>,
        now: DateTime<Utc>,
    ) {
        let mut beside = beside;
        let trip = live.ride.trip;
        let key = self.fleet.intern(driver, now);
        // The search found its driver, whether by its open offer or by an earlier one whose acceptance
        // was on its way when the offer had run out here.
        if let Some(mut search) = self.searches.remove(&trip) {
            self.traces.search_over(trip);
            if let Some(Open { offer, made }) = search.open.take() {
                let is_accepted = offer.driver == *driver;
                let offered = offer.beside.filter(|_| is_accepted);
                if let Some((beside, offered)) = beside.as_mut().zip(offered) {
                    beside.order = offered.order;
                }
                let end = if is_accepted {
                    OfferEnd::Accepted
                } else {
                    OfferEnd::Withdrawn
                };
                self.offer_over(&offer, made, end);
            }
            crate::metrics::search_ended(Some(MatchEndReason::Assigned));
            search.say_ended(MatchEndReason::Assigned);
        }
        let before = self.fleet.driver_of(trip);
        if let Some(other) = before.filter(|&other| other != key) {
            self.fleet.free(other, trip, now);
            self.push_assignment_ended(other, trip, TripState::Searching);
        }
        if live.leg == Leg::ToDropoff {
            self.meters.begin(trip, self.fleet.driver(key).fix.as_ref());
        }
        let ridden = self.fleet.ride(key, live, beside, now);
        if let Some(hold) = ridden.ended {
            self.hold_ended(hold, now);
        }
        if ridden.is_new {
            let displaced = ridden.displaced.into_iter().flatten();
            self.displaced.extend(displaced.map(|older| (older, key)));
            self.push_assignment(key, trip);
        }
    }

    /// A trip is no longer anybody's.
    fn free(&mut self, trip: TripId, state: TripState, now: DateTime<Utc>) {
        let key = self.displaced.remove(&trip).or_else(|| {
            let key = self.fleet.driver_of(trip)?;
            self.fleet.free(key, trip, now).then_some(key)
        });
        if let Some(key) = key {
            self.push_assignment_ended(key, trip, state);
        }
    }

    fn push_assignment_ended(&mut self, key: DriverKey, trip: TripId, state: TripState) {
        let ended = AssignmentEnded {
            trip_id: trip.to_string(),
            trip_state: state.as_str_name().to_owned(),
        };
        self.sessions.push(key, Message::AssignmentEnded(ended));
    }
}
