//! A city under a virtual clock: its events one after the other, and the matching that answers them.
//!
//! Matching is what runs in production, [`Dispatch`] itself, driven as its service drives it: whenever
//! it is roused or something is due, searches advance, a round is planned and settled, and offers are
//! made. The trip service's part is played here: what riders and drivers do becomes the news that it
//! would tell, at once.
//!
//! What is not as in production: nothing takes time but people and roads; offers are not written down;
//! matching's roads are free ones, as live traffic is not simulated.

mod people;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{FutureExt, StreamExt};
use jitney_matching::{
    dispatch::{Dispatch, Ground},
    news::{News, What},
    outbound::OutboundStream,
    product::ProductSet,
};
use jitney_proto::{
    ids::{OfferId, ProductId, RiderId, TripId},
    matching::v1::{
        MatchEndReason, MatchEnded, OfferEndReason, OfferEnded, OfferMade, RequestMatchResponse,
        request_match_response,
    },
    time::moment,
};
use jitney_roads::{PairSearch, RoadNetwork, Route, Snap, Travel};
use tokio::sync::Notify;

use super::{
    agenda::{Agenda, Event},
    cab::Cab,
    habits::{Answer, Habits, Temper, ms},
    log::{EventLog, Happening},
    outcome::{Outcome, Tally},
    scenario::Scenario,
};

/// How often matching looks for silence, milliseconds.
const SWEEP_MS: i64 = 5_000;

/// How long after the last request rides may take to end, milliseconds.
const GRACE_MS: i64 = 12 * 3_600_000;

/// More rounds at one moment than this, and matching runs in circles.
const ROUNDS_AT_ONCE_MAX: usize = 10_000;

/// Messages that wait in a search's stream, at most.
const STREAM_MAX: usize = 64;

/// Midnight.
const MIDNIGHT_S: i64 = 1_704_067_200;

/// Where a rider stands.
enum Stage {
    /// Has not asked yet.
    Coming,
    /// A driver is looked for.
    Searching {
        stream: OutboundStream<RequestMatchResponse>,
        open: Option<OpenOffer>,
    },
    /// A driver is on the way, or at the kerb.
    Assigned(u32),
    /// In the car.
    Aboard,
    /// It is over.
    Ended,
}

#[derive(Clone, Copy)]
struct OpenOffer {
    offer: OfferId,
    expires_at: DateTime<Utc>,
    /// The driver's ride that it comes on top of, and whether the car is shared.
    beside: Option<(TripId, bool)>,
}

pub(super) struct Rider {
    stage: Stage,
    temper: Temper,
    assigned_ms: i64,
    set_out_ms: i64,
    boarded_ms: i64,
    /// How long and how far their ride is without detours.
    pub(super) quoted: Travel,
    /// They share the car with another party for a while.
    shares: bool,
}

/// The city.
pub(crate) struct City<'a> {
    scenario: &'a Scenario,
    habits: &'a Habits,
    ground: Arc<Ground>,
    dispatch: Dispatch,
    rouse: Arc<Notify>,
    /// Who asks does not matter to matching.
    nobody: RiderId,
    product: ProductId,
    wanted: ProductSet,
    now_ms: i64,
    /// When matching has something due.
    wake_ms: Option<i64>,
    agenda: Agenda,
    pub(super) log: EventLog,
    pub(super) riders: Vec<Rider>,
    /// Riders who are searching.
    searching: BTreeSet<u32>,
    unended: usize,
    pub(super) cabs: Vec<Cab>,
    router: Router,
    tally: Tally,
}

impl<'a> City<'a> {
    /// A city of so many drivers, parked where riders of the scenario begin, under a configuration of
    /// matching that was checked.
    pub fn new(
        scenario: &'a Scenario,
        habits: &'a Habits,
        matching: jitney_matching::Config,
        product: &str,
        drivers: u32,
    ) -> anyhow::Result<Self> {
        let ground = Arc::new(Ground::new(matching, Arc::clone(&scenario.roads)));
        let rouse = Arc::new(Notify::new());
        let dispatch = Dispatch::new(Arc::clone(&ground), scenario.seed, Arc::clone(&rouse));
        let (product, wanted) = ground
            .catalogue
            .named_or_first(product)
            .map_err(|_| anyhow::anyhow!("matching has no product {product:?}"))?;
        let seed = scenario.seed;
        let riders = (0..).zip(&scenario.requests).map(|(number, _)| Rider {
            stage: Stage::Coming,
            temper: habits.temper(seed, number),
            assigned_ms: 0,
            set_out_ms: 0,
            boarded_ms: 0,
            quoted: Travel {
                duration_ms: 0,
                distance_m: 0,
            },
            shares: false,
        });
        let mut city = Self {
            riders: riders.collect(),
            unended: scenario.requests.len(),
            router: Router::new(scenario.traffic.at(scenario.from_ms)),
            scenario,
            habits,
            ground,
            dispatch,
            rouse,
            nobody: "rider".parse()?,
            product,
            wanted,
            now_ms: scenario.from_ms,
            wake_ms: None,
            agenda: Agenda::default(),
            log: EventLog::new(),
            searching: BTreeSet::new(),
            cabs: Vec::new(),
            tally: Tally::default(),
        };
        city.settle_drivers(drivers)?;
        Ok(city)
    }

    /// Lives until every request has ended.
    ///
    /// # Errors
    /// A rule that is broken: matching's, or the simulation's own.
    pub fn live(&mut self) -> anyhow::Result<()> {
        for (number, request) in (0..).zip(&self.scenario.requests) {
            self.agenda.put(request.at_ms, Event::Request(number));
        }
        self.agenda.put(self.now_ms, Event::Sweep);
        while self.unended > 0 {
            let next_ms = self.agenda.next_ms().unwrap_or(i64::MAX);
            match self.wake_ms {
                Some(wake_ms) if wake_ms < next_ms => {
                    self.now_ms = self.now_ms.max(wake_ms);
                    self.pump()?;
                }
                _ => {
                    let (at_ms, event) = self.agenda.take().context("nothing more will happen")?;
                    self.now_ms = at_ms;
                    self.happen(event)?;
                    if self.is_roused() {
                        self.pump()?;
                    }
                }
            }
            ensure!(
                self.now_ms < self.scenario.to_ms + GRACE_MS,
                "{} rides do not end",
                self.unended
            );
        }
        for number in 0..self.cabs.len() {
            self.close_books(number)?;
        }
        Ok(())
    }

    /// What came of it.
    pub fn outcome(self) -> Outcome {
        Outcome {
            virtual_s: (self.now_ms - self.scenario.from_ms) as f64 / 1000.0,
            events: self.log.count(),
            event_log_hash: self.log.hex(),
            ..self.tally.outcome(&self.cabs)
        }
    }

    fn happen(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Shift { cab, begins } => self.shift(cab, begins),
            Event::Request(number) => self.request(number),
            Event::Impatience(number) => self.impatience(number)?,
            Event::Regret(number) => self.regret(number)?,
            Event::Answer {
                cab,
                request,
                offer,
            } => self.answer(cab, request, offer)?,
            Event::Arrival { cab, drive_no } => self.arrival(cab, drive_no)?,
            Event::Boarded { cab, request } => self.boarded(cab, request)?,
            Event::Ping { cab, ping_no } => self.ping(cab, ping_no),
            Event::Sweep => {
                self.dispatch.sweep(self.now());
                // Nobody writes down what a service would.
                self.dispatch.take_unsaved(0);
                self.dispatch.take_rounds(usize::MAX);
                self.dispatch.take_observations();
                self.agenda.put(self.now_ms + SWEEP_MS, Event::Sweep);
            }
        }
        Ok(())
    }

    /// Advances the searches until there is nothing to do at this moment, as matching's service does.
    fn pump(&mut self) -> anyhow::Result<()> {
        let now = self.now();
        for _ in 0..ROUNDS_AT_ONCE_MAX {
            let due = self.dispatch.advance(now);
            let mut offers = due.offers;
            if !due.looking.is_empty() {
                let began = Instant::now();
                let decided = self.dispatch.plan(&due.looking, now);
                let requests = decided.plan.round.requests.len();
                self.tally.round(requests, began.elapsed());
                let chosen = decided.plan.choice.iter().flatten().count();
                let about = [requests as i64, chosen as i64];
                self.log.add(self.now_ms, Happening::Round, &about);
                offers.extend(self.dispatch.settle(decided, now));
            }
            if !offers.is_empty() {
                for offer in &offers {
                    self.dispatch.make(offer, now);
                }
                continue;
            }
            self.read_streams()?;
            if self.is_roused() {
                continue;
            }
            let due_ms = self.dispatch.next_due(now).map(|at| self.ms_at(at));
            if due_ms.is_none_or(|due_ms| due_ms > self.now_ms) {
                self.wake_ms = due_ms;
                return Ok(());
            }
        }
        bail!("matching has something to do over and over at one moment");
    }

    /// What matching tells the trip service of each search.
    fn read_streams(&mut self) -> anyhow::Result<()> {
        for number in self.searching.iter().copied().collect::<Vec<_>>() {
            while let Some(message) = self.next_message(number)? {
                match message {
                    request_match_response::Event::OfferMade(made) => {
                        self.offer_made(number, &made)?;
                    }
                    request_match_response::Event::OfferEnded(ended) => {
                        self.offer_ended(number, &ended);
                    }
                    request_match_response::Event::Ended(ended) => self.ended(number, &ended)?,
                }
            }
        }
        Ok(())
    }

    fn next_message(
        &mut self,
        number: u32,
    ) -> anyhow::Result<Option<request_match_response::Event>> {
        let Stage::Searching { stream, .. } = &mut self.riders[number as usize].stage else {
            return Ok(None);
        };
        match stream.next().now_or_never() {
            Some(Some(message)) => Ok(message.context("a search was broken off")?.event),
            Some(None) => bail!("the search of request {number} ended without a word"),
            None => Ok(None),
        }
    }

    fn offer_made(&mut self, number: u32, made: &OfferMade) -> anyhow::Result<()> {
        let offer: OfferId = made.offer_id.parse()?;
        let cab = self
            .dispatch
            .fleet()
            .key(&made.driver_id.parse()?)
            .context("an offer to a driver nobody knows")?
            .0;
        let expires_at = made.expires_at.as_ref().context("an offer without end")?;
        let open = OpenOffer {
            offer,
            expires_at: moment(expires_at, "expires_at")
                .map_err(|_| anyhow::anyhow!("an offer without a sound end"))?,
            beside: match made.beside_trip_id.as_str() {
                "" => None,
                trip => Some((trip.parse()?, made.shared)),
            },
        };
        if let Stage::Searching { open: slot, .. } = &mut self.riders[number as usize].stage {
            ensure!(slot.is_none(), "request {number} is offered twice at once");
            *slot = Some(open);
        }
        self.tally.offers.made += 1;
        let about = [i64::from(number), i64::from(cab), made.pickup_duration_ms];
        self.log.add(self.now_ms, Happening::OfferMade, &about);
        let thinks_ms = match self.habits.answer(self.scenario.seed, cab, number) {
            Answer::Accepts(ms) | Answer::Declines(ms) => ms,
            Answer::Ignores => return Ok(()),
        };
        let answer = Event::Answer {
            cab,
            request: number,
            offer,
        };
        self.agenda.put(self.now_ms + thinks_ms, answer);
        Ok(())
    }

    fn offer_ended(&mut self, number: u32, ended: &OfferEnded) {
        if let Stage::Searching { open, .. } = &mut self.riders[number as usize].stage {
            *open = None;
        }
        match ended.reason() {
            OfferEndReason::Expired => self.tally.offers.expired += 1,
            OfferEndReason::Withdrawn => self.tally.offers.withdrawn += 1,
            _ => {}
        }
        let about = [i64::from(number), i64::from(ended.reason)];
        self.log.add(self.now_ms, Happening::OfferEnded, &about);
    }

    fn ended(&mut self, number: u32, ended: &MatchEnded) -> anyhow::Result<()> {
        ensure!(
            ended.reason() == MatchEndReason::NoDriver,
            "the search of request {number} ended by itself: {:?}",
            ended.reason()
        );
        self.tally.rides.expired += 1;
        self.end(number, Happening::NoDriver)
    }

    /// A request has ended, once and for all.
    fn end(&mut self, number: u32, how: Happening) -> anyhow::Result<()> {
        self.searching.remove(&number);
        let stage = &mut self.riders[number as usize].stage;
        let before = std::mem::replace(stage, Stage::Ended);
        ensure!(
            !matches!(before, Stage::Ended | Stage::Coming),
            "request {number} ends twice, or before it begins: {how:?}"
        );
        self.unended -= 1;
        self.log.add(self.now_ms, how, &[i64::from(number)]);
        Ok(())
    }

    fn tell(&mut self, request: u32, what: What) {
        let trip = self.trip(request);
        // Versions are the store's affair.
        let version = 1;
        let news = News {
            trip,
            version,
            what,
        };
        self.dispatch.hear(&news, self.now());
    }

    /// A trip's id: by age, as those of the trip service are.
    fn trip(&self, request: u32) -> TripId {
        let at = self.moment(self.scenario.requests[request as usize].at_ms);
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
        // The first digits after the time are cut by the version, so the number is at the end.
        let mut rest = [0; 10];
        rest[6..].copy_from_slice(&request.to_be_bytes());
        TripId(uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid())
    }

    /// The request of a trip.
    fn request_of(trip: TripId) -> u32 {
        // As the id was made.
        trip.0.as_u128() as u32
    }

    fn is_roused(&self) -> bool {
        self.rouse.notified().now_or_never().is_some()
    }

    fn now(&self) -> DateTime<Utc> {
        self.moment(self.now_ms)
    }

    fn moment(&self, at_ms: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(MIDNIGHT_S) + TimeDelta::milliseconds(at_ms)
    }

    /// The millisecond in which a moment lies, or the next.
    fn ms_at(&self, at: DateTime<Utc>) -> i64 {
        let since = at - self.moment(0);
        since.num_milliseconds()
            + i64::from(since > TimeDelta::milliseconds(since.num_milliseconds()))
    }

    fn route(&mut self, from: &Snap, to: &Snap) -> Option<Route> {
        let roads = self.scenario.traffic.at(self.now_ms);
        self.router.route(roads, from, to)
    }
}

/// Searches for ways, under the traffic of the hour.
struct Router {
    roads: Arc<RoadNetwork>,
    search: PairSearch,
}

impl Router {
    fn new(roads: &Arc<RoadNetwork>) -> Self {
        Self {
            roads: Arc::clone(roads),
            search: PairSearch::new(RoadNetwork::clone(roads)),
        }
    }

    fn route(&mut self, roads: &Arc<RoadNetwork>, from: &Snap, to: &Snap) -> Option<Route> {
        if !Arc::ptr_eq(roads, &self.roads) {
            *self = Self::new(roads);
        }
        self.search.route(from, to)
    }
}
