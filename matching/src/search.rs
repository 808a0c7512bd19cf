//! The search for a driver, one per trip that needs one: what it was asked, what it has tried, and
//! what it should do next. Pure; [`crate::dispatch`] does it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use jitney_proto::{
    ids::{DriverId, ProductId, ReservationId, RiderId, TripId},
    matching::v1::{
        MatchEndReason, MatchEnded, RequestMatchResponse, request_match_response::Event,
    },
    money::Money,
};
use jitney_roads::Snap;

use crate::{
    config::{Config, delta},
    offer::{Offer, OfferEnd},
    outbound::Outbound,
    product::ProductSet,
    rides::Places,
    round::shortfall::Shortfall,
};

/// What is searched for.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The trip.
    pub trip: TripId,
    /// Whose it is.
    pub rider: RiderId,
    /// The kind of ride.
    pub product: ProductId,
    /// The same, as searches ask for it.
    pub wanted: ProductSet,
    /// From where to where.
    pub places: Places,
    /// Where that begins, on the road.
    pub pickup: Snap,
    /// Where it ends, on the road; `None` when nobody said, or there is none near.
    pub dropoff: Option<Snap>,
    /// How many riders.
    pub seats: u32,
    /// They may share the car with another party.
    pub shares: bool,
    /// What the rider pays.
    pub fare: Option<Money>,
    /// The rider's reservation, until it was tried.
    pub reservation: Option<ReservationId>,
    /// When to give up.
    pub give_up_at: DateTime<Utc>,
}

/// A search.
#[derive(Debug)]
pub struct Search {
    /// What for.
    pub errand: Errand,
    /// Drivers that must not be offered it (again).
    pub excluded: BTreeSet<DriverId>,
    /// The open offer.
    pub open: Option<Open>,
    /// Who wants to know.
    pub listener: Listener,
    /// Since when the rider waits.
    pub began_at: DateTime<Utc>,
    /// Why it got nobody in the last round that it got nobody in.
    pub shortfall: Option<Shortfall>,
    /// Found nobody; look again then, or when somebody is freed.
    pub look_again_at: Option<DateTime<Utc>>,
    tally: Tally,
}

/// An open offer.
#[derive(Clone, Debug)]
pub struct Open {
    /// The offer.
    pub offer: Offer,
    /// Written down and told to driver and trip service, see [`crate::offer`].
    pub made: bool,
}

/// Who asked for a search.
#[derive(Debug)]
pub enum Listener {
    /// Their stream.
    Reading(Outbound<RequestMatchResponse>),
    /// Their stream is gone since then.
    Gone(DateTime<Utc>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    offered: u32,
    declined: u32,
    expired: u32,
    withdrawn: u32,
}

/// What a search should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nobody came back for it: withdraw the open offer and forget the search.
    Forget,
    /// The time of the open offer, and the grace after it, are over.
    ExpireOffer,
    /// The time of the search is over.
    GiveUp,
    /// Look for a driver.
    Look,
    /// Nothing before that moment.
    Wait(DateTime<Utc>),
}

/// The times that searches go by.
#[derive(Clone, Copy, Debug)]
pub struct SearchRules {
    /// See [`Config::offer_ttl`].
    pub offer_ttl: TimeDelta,
    /// See [`Config::offer_grace`].
    pub offer_grace: TimeDelta,
    /// See [`Config::search_interval`].
    pub interval: TimeDelta,
    /// See [`Config::search_linger`].
    pub linger: TimeDelta,
}

impl SearchRules {
    /// The rules an operator set.
    pub fn of(config: &Config) -> Self {
        Self {
            offer_ttl: delta(config.offer_ttl),
            offer_grace: delta(config.offer_grace),
            interval: delta(config.search_interval),
            linger: delta(config.search_linger),
        }
    }
}

impl Search {
    /// A search that has tried nobody yet.
    pub fn new(errand: Errand, listener: Listener, now: DateTime<Utc>) -> Self {
        Self {
            errand,
            excluded: BTreeSet::new(),
            open: None,
            listener,
            began_at: now,
            shortfall: None,
            look_again_at: None,
            tally: Tally::default(),
        }
    }

    /// What to do next. With `freed` somebody became idle since it last looked.
    pub fn next(&self, now: DateTime<Utc>, freed: bool, rules: &SearchRules) -> Next {
        let forget_at = match self.listener {
            Listener::Reading(_) => None,
            Listener::Gone(since) => Some(since + rules.linger),
        };
        if forget_at.is_some_and(|at| at <= now) {
            return Next::Forget;
        }
        if let Some(open) = &self.open {
            let over_at = open.offer.expires_at + rules.offer_grace;
            return if over_at <= now {
                Next::ExpireOffer
            } else {
                Next::Wait(forget_at.map_or(over_at, |at| at.min(over_at)))
            };
        }
        if let Some(at) = forget_at {
            // An offer that the trip service does not hear of could not be accepted.
            return Next::Wait(at);
        }
        if self.errand.give_up_at <= now {
            return Next::GiveUp;
        }
        match self.look_again_at {
            Some(at) if !freed && at > now => Next::Wait(at.min(self.errand.give_up_at)),
            _ => Next::Look,
        }
    }

    /// How long the rider has waited, in milliseconds.
    pub fn waited_ms(&self, now: DateTime<Utc>) -> u32 {
        u32::try_from((now - self.began_at).num_milliseconds().max(0)).unwrap_or(u32::MAX)
    }

    /// When to look again for a driver who is not there now: after a tenth of the waiting so far, so
    /// that many who wait for long do not keep the rounds busy.
    pub fn look_again(&self, now: DateTime<Utc>, rules: &SearchRules) -> DateTime<Utc> {
        let pause = (now - self.began_at) / 10;
        now + pause.clamp(rules.interval, rules.interval * 10)
    }

    /// Tells whoever asked; notices when they are gone.
    pub fn tell(&mut self, event: Event, now: DateTime<Utc>) {
        if let Listener::Reading(outbound) = &self.listener
            && !outbound.send(RequestMatchResponse { event: Some(event) })
        {
            self.listener = Listener::Gone(now);
        }
    }

    /// Notices when whoever asked is gone.
    pub fn look_for_listener(&mut self, now: DateTime<Utc>) {
        if let Listener::Reading(outbound) = &self.listener
            && outbound.is_closed()
        {
            self.listener = Listener::Gone(now);
        }
    }

    /// An offer was drawn up.
    pub fn begin_offer(&mut self, offer: Offer) {
        self.tally.offered += 1;
        self.look_again_at = None;
        self.open = Some(Open { offer, made: false });
    }

    /// The open offer ended; gives it back.
    pub fn end_offer(&mut self, end: OfferEnd) -> Option<Open> {
        let open = self.open.take()?;
        match end {
            OfferEnd::Accepted => {}
            OfferEnd::Declined => self.tally.declined += 1,
            OfferEnd::Expired => self.tally.expired += 1,
            OfferEnd::Withdrawn => self.tally.withdrawn += 1,
        }
        if !end.may_be_repeated() {
            self.excluded.insert(open.offer.driver.clone());
        }
        Some(open)
    }

    /// The last message.
    pub fn ended(&self, reason: MatchEndReason) -> Event {
        Event::Ended(MatchEnded {
            reason: reason.into(),
            detail: self.detail(),
        })
    }

    /// What was tried, for people, and why the last round had nobody.
    pub fn detail(&self) -> String {
        let Tally {
            offered,
            declined,
            expired,
            withdrawn,
        } = self.tally;
        let tried = match offered {
            0 => "no driver was free".to_owned(),
            _ => format!(
                "{offered} offered: {declined} declined, {expired} did not answer, {withdrawn} withdrawn"
            ),
        };
        match &self.shortfall {
            None => tried,
            Some(shortfall) => format!("{tried}; {}", shortfall.words()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jitney_proto::ids::OfferId;
    use jitney_roads::{SegmentId, Travel, testmap};
    use uuid::Uuid;

    use super::*;
    use crate::outbound::outbound;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn errand() -> Errand {
        let pickup = testmap::grid(2, 2, 100.0).snap_on_segment(SegmentId(0), 0);
        Errand {
            trip: TripId(Uuid::from_u128(1)),
            rider: "rita".parse().unwrap(),
            product: "economy".parse().unwrap(),
            wanted: ProductSet::ANY,
            places: Places {
                pickup: pickup.point,
                dropoff: None,
            },
            pickup,
            dropoff: None,
            seats: 1,
            shares: false,
            fare: None,
            reservation: None,
            give_up_at: at(100),
        }
    }

    fn offer(to: &str, expires_at: DateTime<Utc>) -> Offer {
        let errand = errand();
        Offer {
            id: OfferId(Uuid::from_u128(7)),
            trip: errand.trip,
            rider: errand.rider,
            driver: to.parse().unwrap(),
            product: errand.product,
            places: errand.places,
            fare: None,
            seats: 1,
            beside: None,
            to_pickup: Travel {
                duration_ms: 1,
                distance_m: 1,
            },
            expires_at,
        }
    }

    #[test]
    fn a_search_looks_waits_and_gives_up() {
        let rules = SearchRules::of(&Config::default());
        let (out, _stream) = outbound(4);
        let mut search = Search::new(errand(), Listener::Reading(out), at(0));
        assert_eq!(search.next(at(0), false, &rules), Next::Look);
        search.look_again_at = Some(at(1));
        assert_eq!(search.next(at(0), false, &rules), Next::Wait(at(1)));
        assert_eq!(
            search.next(at(0), true, &rules),
            Next::Look,
            "somebody is free"
        );
        assert_eq!(search.next(at(1), false, &rules), Next::Look);
        assert_eq!(search.next(at(100), true, &rules), Next::GiveUp);
        assert_eq!(search.detail(), "no driver was free");
    }

    #[test]
    fn the_longer_a_search_is_in_vain_the_rarer_it_looks() {
        let rules = SearchRules::of(&Config::default());
        let (out, _stream) = outbound(4);
        let search = Search::new(errand(), Listener::Reading(out), at(0));
        let pause = |second| (search.look_again(at(second), &rules) - at(second)).num_seconds();
        assert_eq!([0, 5, 30, 1000].map(pause), [1, 1, 3, 10]);
    }

    #[test]
    fn an_offer_has_its_time_and_a_grace() {
        let rules = SearchRules::of(&Config::default());
        let (out, _stream) = outbound(4);
        let mut search = Search::new(errand(), Listener::Reading(out), at(0));
        search.begin_offer(offer("anna", at(98)));
        assert_eq!(search.next(at(98), true, &rules), Next::Wait(at(99)));
        assert_eq!(search.next(at(99), true, &rules), Next::ExpireOffer);
        search.end_offer(OfferEnd::Expired);
        assert!(search.excluded.contains(&"anna".parse().unwrap()));
        search.begin_offer(offer("ben", at(115)));
        assert_eq!(
            search.next(at(110), true, &rules),
            Next::Wait(at(116)),
            "the last offer runs out"
        );
        search.end_offer(OfferEnd::Withdrawn);
        assert!(!search.excluded.contains(&"ben".parse().unwrap()));
        assert_eq!(search.next(at(110), true, &rules), Next::GiveUp);
        assert_eq!(
            search.detail(),
            "2 offered: 0 declined, 1 did not answer, 1 withdrawn"
        );
    }

    #[test]
    fn a_search_nobody_reads_makes_no_offers_and_is_forgotten() {
        let rules = SearchRules::of(&Config::default());
        let (out, stream) = outbound(4);
        let mut search = Search::new(errand(), Listener::Reading(out), at(0));
        drop(stream);
        search.look_for_listener(at(5));
        assert_eq!(search.next(at(5), true, &rules), Next::Wait(at(15)));
        search.begin_offer(offer("anna", at(8)));
        assert_eq!(search.next(at(6), true, &rules), Next::Wait(at(9)));
        assert_eq!(search.next(at(15), true, &rules), Next::Forget);
    }
}
