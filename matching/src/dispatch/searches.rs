//! The search for a driver: round by round, one offer at a time.

use chrono::{DateTime, Utc};
use jitney_platform::telemetry::TraceContext;
use jitney_proto::{
    Code,
    ids::{DriverId, OfferId, TripId},
    matching::v1::{
        MatchEndReason, OfferEndReason, OfferEnded, RequestMatchResponse, StopKind,
        request_match_response::Event, stream_driver_response::Message,
    },
};
use jitney_roads::{Snap, Travel};
use tracing::Span;

use super::Dispatch;
use crate::{
    config::delta,
    fleet::DriverKey,
    metrics,
    offer::{Offer, OfferEnd},
    outbound::Outbound,
    rides::{Beside, Leg, Live, Party, Ride, Stop},
    search::{Errand, Listener, Next, Open, Search},
    standing::Hold,
};

/// What came out of advancing the searches.
#[derive(Debug, Default)]
pub struct Due {
    /// Offers to drivers whom riders had reserved.
    pub offers: Vec<Offer>,
    /// Trips whose search looks for a driver now, oldest first; empty while their round is not due.
    pub looking: Vec<TripId>,
}

impl Dispatch {
    /// Begins the search for a trip's driver, or takes over the one that is under way. An open offer of
    /// another way or fare than is asked for now is withdrawn.
    ///
    /// `open_offer` is the offer the asker believes is open. If it is not this search's, it is over,
    /// and the asker is told so.
    pub fn request(
        &mut self,
        errand: Errand,
        excluded: Vec<DriverId>,
        open_offer: Option<OfferId>,
        listener: Outbound<RequestMatchResponse>,
        now: DateTime<Utc>,
    ) {
        let trip = errand.trip;
        let gave_it_back =
            |key: DriverKey| excluded.iter().any(|driver| driver == self.fleet.id(key));
        if self
            .fleet
            .driver_of(trip)
            .is_some_and(|key| !gave_it_back(key))
        {
            // The news of the acceptance overtook this request. (A driver among the excluded has given
            // the trip back, and that news is still on its way.)
            let search = Search::new(errand, Listener::Reading(listener), now);
            search.say_ended(MatchEndReason::Assigned);
            return;
        }
        let search = match self.searches.entry(trip) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Search::new(errand, Listener::Reading(listener), now))
            }
            std::collections::btree_map::Entry::Occupied(entry) => {
                let search = entry.into_mut();
                search.take_over(errand, Listener::Reading(listener));
                search
            }
        };
        search.excluded.extend(excluded);
        let own = search.open.as_ref().map(|open| open.offer.id);
        if let Some(stale) = open_offer.filter(|&offer| Some(offer) != own) {
            search.tell(
                Event::OfferEnded(OfferEnded {
                    offer_id: stale.to_string(),
                    driver_id: String::new(),
                    reason: OfferEndReason::Withdrawn.into(),
                }),
                now,
            );
        }
        if let Some(Open { offer, made }) = search.open.clone() {
            let errand = &search.errand;
            let is_another = (offer.places, offer.fare) != (errand.places, errand.fare);
            if is_another || search.excluded.contains(&offer.driver) {
                self.end_offer(trip, offer.id, OfferEnd::Withdrawn, now);
            } else if made {
                search.tell(Event::OfferMade(offer.made()), now);
            }
        }
        self.traces.searched(trip, TraceContext::current());
        self.rouse.notify_one();
    }

    /// Stops the search for a trip's driver, if there is one.
    pub fn cancel(&mut self, trip: TripId, now: DateTime<Utc>) {
        self.end_search(trip, Some(MatchEndReason::Cancelled), now);
    }

    /// Does what is due for every search; those that look for a driver now are for the next round.
    /// Offers that come out of it, here or of the round, are drawn up only: they have to be written
    /// down, and then made ([`Dispatch::make`]) or dropped ([`Dispatch::drop_unwritten`]).
    pub fn advance(&mut self, now: DateTime<Utc>) -> Due {
        self.expire_reservations(now);
        // Whoever became free counts until the round that can have them.
        self.freed |= self.fleet.take_freed();
        let freed = self.freed;
        let mut due = Due::default();
        for trip in self.searches.keys().copied().collect::<Vec<_>>() {
            if self.is_looking(trip, freed, now) {
                match self.offer_to_reserved(trip, now) {
                    Some(offer) => due.offers.push(offer),
                    None => due.looking.push(trip),
                }
            }
        }
        if due.looking.is_empty() {
            self.round_at = None;
            self.freed = false;
        } else {
            let window = delta(self.policy.policy.window);
            if *self.round_at.get_or_insert(now + window) > now {
                due.looking.clear();
            } else {
                self.round_at = None;
                self.freed = false;
            }
        }
        due
    }

    /// Does what is due for one search; whether it looks for a driver now.
    fn is_looking(&mut self, trip: TripId, freed: bool, now: DateTime<Utc>) -> bool {
        while let Some(search) = self.searches.get_mut(&trip) {
            search.look_for_listener(now);
            match search.next(now, freed, &self.search_rules) {
                Next::Wait(_) => return false,
                Next::Look => return true,
                Next::Forget => self.end_search(trip, None, now),
                Next::GiveUp => self.end_search(trip, Some(MatchEndReason::NoDriver), now),
                Next::ExpireOffer => {
                    if let Some(open) = &search.open {
                        let offer = open.offer.id;
                        self.end_offer(trip, offer, OfferEnd::Expired, now);
                    }
                }
            }
        }
        false
    }

    /// When the next search, or the next reservation, has something due.
    pub fn next_due(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let searches = self.searches.values().map(|search| {
            match search.next(now, false, &self.search_rules) {
                // Whether a listener is still there is looked at every so often.
                Next::Wait(at) => at.min(now + self.search_rules.interval),
                Next::Look => self.round_at.unwrap_or(now),
                _ => now,
            }
        });
        searches.chain(self.reservations.next_expiry()).min()
    }

    /// Begins to tell of offers that were drawn up, in the traces of their searches.
    pub fn trace_offers(&mut self, offers: &[Offer], round: Option<&Span>) {
        for offer in offers {
            let driver = self.fleet.key(&offer.driver);
            self.traces.offered(offer, driver, round);
        }
    }

    /// Makes an offer that was written down: driver and trip service are told. Does nothing when it
    /// ended meanwhile.
    pub fn make(&mut self, offer: &Offer, now: DateTime<Utc>) {
        let search = self.searches.get_mut(&offer.trip);
        let open = search.and_then(|search| {
            search
                .open
                .as_mut()
                .filter(|open| open.offer.id == offer.id)?
                .made = true;
            Some(search)
        });
        let Some(search) = open else {
            self.ended_offers.push(offer.id);
            return;
        };
        metrics::offer_made();
        search.tell(Event::OfferMade(offer.made()), now);
        if let Some(key) = self.fleet.key(&offer.driver) {
            let rides = self.fleet.driver(key).standing.rides();
            let told = offer.for_driver(rides, now);
            self.sessions.push(key, Message::Offer(told));
        }
    }

    /// Drops an offer that could not be written down: nobody has heard of it. The search looks again
    /// after its interval.
    pub fn drop_unwritten(&mut self, offer: &Offer, now: DateTime<Utc>) {
        self.end_offer(offer.trip, offer.id, OfferEnd::Withdrawn, now);
        if let Some(search) = self.searches.get_mut(&offer.trip) {
            search.look_again_at = Some(now + self.search_rules.interval);
        }
        // The driver it frees is as free as before; nobody else need look for them at once.
        self.fleet.take_freed();
    }

    /// Puts an open offer back as the database remembers it, with a search that waits for the trip
    /// service to come back for it.
    pub fn restore_offer(&mut self, offer: Offer, now: DateTime<Utc>) {
        let wanted = self.ground.catalogue.named_or_first(offer.product.as_str());
        let (Ok((product, wanted)), Ok(pickup)) = (wanted, self.ground.snap(offer.places.pickup))
        else {
            return; // The product or the road is gone.
        };
        let key = self.fleet.intern(&offer.driver, now);
        let hold = Hold::Offer(offer.trip, offer.id);
        // The ride that it is to come on top of may have ended since.
        let beside = offer.beside.map(|beside| beside.trip);
        let is_held = beside.is_some() && self.fleet.hold(key, hold, beside);
        if !is_held && !self.fleet.hold(key, hold, None) {
            return; // It was over, only its row was left.
        }
        let errand = Errand {
            trip: offer.trip,
            rider: offer.rider.clone(),
            product,
            wanted,
            places: offer.places,
            pickup,
            dropoff: offer
                .places
                .dropoff
                .and_then(|place| self.ground.snap(place).ok()),
            seats: offer.seats,
            shares: self.ground.catalogue.shares(offer.product.as_str()),
            fare: offer.fare,
            reservation: None,
            give_up_at: offer.expires_at,
        };
        let mut search = Search::new(errand, Listener::Gone(now), now);
        search.begin_offer(offer);
        if let Some(open) = &mut search.open {
            open.made = true;
        }
        self.searches.insert(search.errand.trip, search);
    }

    /// Ends an offer, if it is the open one of its trip: the driver is free again, and everybody who
    /// had heard of it hears of its end.
    pub(super) fn end_offer(
        &mut self,
        trip: TripId,
        offer: OfferId,
        end: OfferEnd,
        now: DateTime<Utc>,
    ) {
        let Some(search) = self.searches.get_mut(&trip) else {
            return;
        };
        if search
            .open
            .as_ref()
            .is_none_or(|open| open.offer.id != offer)
        {
            return;
        }
        let Some(Open { offer, made }) = search.end_offer(end) else {
            return;
        };
        if made {
            search.tell(Event::OfferEnded(offer.ended(end)), now);
        }
        self.offer_over(&offer, made, end);
        self.rouse.notify_one();
    }

    /// The driver's side of an offer's end. One that was accepted stays set aside until the ride takes
    /// its place, in the same breath.
    pub(super) fn offer_over(&mut self, offer: &Offer, made: bool, end: OfferEnd) {
        if let Some(key) = self.fleet.key(&offer.driver)
            && end != OfferEnd::Accepted
        {
            self.fleet.release(key, Hold::Offer(offer.trip, offer.id));
            if made {
                self.sessions
                    .push(key, Message::OfferWithdrawn(offer.withdrawn(end)));
            }
        }
        self.traces.offer_over(offer.id, end);
        if made {
            metrics::offer_ended(end);
            self.ended_offers.push(offer.id);
        }
    }

    /// Ends a search, its open offer with it. Its listener hears the reason; without one it was gone.
    pub(super) fn end_search(
        &mut self,
        trip: TripId,
        reason: Option<MatchEndReason>,
        now: DateTime<Utc>,
    ) {
        if let Some(open) = self
            .searches
            .get(&trip)
            .and_then(|search| search.open.as_ref())
        {
            let offer = open.offer.id;
            self.end_offer(trip, offer, OfferEnd::Withdrawn, now);
        }
        let Some(search) = self.searches.remove(&trip) else {
            return;
        };
        self.traces.search_over(trip);
        metrics::search_ended(reason);
        if let Some(reason) = reason {
            search.say_ended(reason);
        }
    }

    /// Sets a driver aside for a trip's offer and draws it up, alone or beside a ride of theirs; `None`
    /// when any of it is not what it was.
    pub(super) fn offer_to(
        &mut self,
        trip: TripId,
        driver: DriverKey,
        beside: Option<Beside>,
        now: DateTime<Utc>,
    ) -> Option<Offer> {
        let search = self.searches.get(&trip)?;
        let is_open = search.open.is_none() && !search.excluded.contains(self.fleet.id(driver));
        let pickup = is_open.then_some(search.errand.pickup)?;
        let to_pickup = match beside {
            None => self.travel_to(driver, &pickup)?,
            Some(beside) => self.travel_beside(trip, driver, beside, now)?,
        };
        let id = self.names.offer(now);
        let first = beside.map(|beside| beside.trip);
        self.fleet
            .hold(driver, Hold::Offer(trip, id), first)
            .then(|| self.draw_up(trip, id, driver, to_pickup, beside, now))?
    }

    /// How far a driver is from a trip's pick-up who has another ride, by way of its stops.
    fn travel_beside(
        &self,
        trip: TripId,
        driver: DriverKey,
        beside: Beside,
        now: DateTime<Utc>,
    ) -> Option<Travel> {
        let driver = self.fleet.driver(driver);
        let live = Live {
            ride: Ride { trip, since: now },
            leg: Leg::ToPickup,
            party: Party {
                places: Some(self.searches.get(&trip)?.errand.places),
                ..Party::default()
            },
        };
        let stops = driver
            .standing
            .rides()
            .take(live, Some(beside))
            .rides
            .stops();
        let is_pickup = |stop: &Stop| stop.trip == trip && stop.kind == StopKind::Pickup;
        let last = stops.iter().position(is_pickup)?;
        self.ground.travel_along(driver.fix?.snap, &stops[..=last])
    }

    /// An offer to the driver whom the rider has reserved, now set aside for it.
    fn offer_to_reserved(&mut self, trip: TripId, now: DateTime<Utc>) -> Option<Offer> {
        let search = self.searches.get_mut(&trip)?;
        let errand = &mut search.errand;
        let reservation = errand.reservation.take()?;
        let booked = self.reservations.get(reservation, &errand.rider, now)?;
        let driver = booked.driver;
        let suits = self.fleet.driver(driver).products.meets(errand.wanted)
            && !search.excluded.contains(self.fleet.id(driver));
        if !suits {
            return None;
        }
        let pickup = errand.pickup;
        let to_pickup = self.travel_to(driver, &pickup)?;
        let id = self.names.offer(now);
        let (from, to) = (Hold::Reservation(reservation), Hold::Offer(trip, id));
        self.reservations.close(reservation);
        self.fleet
            .pass_on(driver, from, to)
            .then(|| self.draw_up(trip, id, driver, to_pickup, None, now))?
    }

    /// Draws up an offer to a driver who was set aside for it.
    fn draw_up(
        &mut self,
        trip: TripId,
        id: OfferId,
        driver: DriverKey,
        to_pickup: Travel,
        beside: Option<Beside>,
        now: DateTime<Utc>,
    ) -> Option<Offer> {
        let search = self.searches.get_mut(&trip)?;
        let Errand {
            rider,
            product,
            places,
            fare,
            seats,
            ..
        } = &search.errand;
        let offer = Offer {
            id,
            trip,
            rider: rider.clone(),
            driver: self.fleet.id(driver).clone(),
            product: product.clone(),
            places: *places,
            fare: *fare,
            seats: *seats,
            to_pickup,
            beside,
            expires_at: now + self.search_rules.offer_ttl,
        };
        search.begin_offer(offer.clone());
        Some(offer)
    }

    /// How far a driver is from a place; `None` when nobody knows where they are, or there is no way.
    pub(super) fn travel_to(&self, driver: DriverKey, to: &Snap) -> Option<Travel> {
        self.ground
            .nearest
            .travel(&self.fleet.driver(driver).fix?.snap, to)
    }
}

impl Search {
    fn take_over(&mut self, errand: Errand, listener: Listener) {
        if let Listener::Reading(older) = std::mem::replace(&mut self.listener, listener) {
            older.close(Code::Superseded.status("a newer request took this search over"));
        }
        self.errand = errand;
        self.look_again_at = None;
    }

    /// The last message of a search that is no more.
    pub(super) fn say_ended(self, reason: MatchEndReason) {
        let event = Some(self.ended(reason));
        if let Listener::Reading(outbound) = self.listener {
            outbound.send(RequestMatchResponse { event });
        }
    }
}
