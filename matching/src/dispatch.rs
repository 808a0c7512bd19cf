//! Everything that must change together, under one lock: drivers, their sessions, searches and
//! reservations. Nothing here waits: messages go into bounded queues, rows are left for the store.
//!
//! - `drivers.rs`: what driver apps say, and silence.
//! - `searches.rs`: the search for a driver and its offers.
//! - `rounds.rs`: the rounds that decide them.
//! - `bookings.rs`: drivers set aside for riders.
//! - `map.rs`: another map.
//! - `news.rs`: what the trip service says.
//!
//! The rule that keeps these apart from each other is [`Standing`](crate::standing::Standing): a driver
//! is set aside for one thing at a time, and only by way of the fleet. So two searches, or a search and
//! a rider, can never hold the same driver.

mod bookings;
mod drivers;
mod map;
mod news;
mod rounds;
mod searches;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use jitney_proto::ids::{OfferId, ReservationId, RoundId, SessionId, TripId};
use jitney_roads::RoadNetwork;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    Config,
    config::delta,
    demand::{Count, Demand},
    fleet::{DriverKey, Fleet},
    meter::Meters,
    nearest::Nearest,
    ping::PingRules,
    policy::NamedPolicy,
    product::Catalogue,
    reservation::Reservations,
    search::{Search, SearchRules},
    session::Sessions,
    standing::Hold,
    store::DriverRow,
    traces::Traces,
    traffic::{Observation, Observations},
    zone::Zones,
};

pub use bookings::BookingRequest;
pub use map::{Moved, Resnapped};
pub use rounds::Decided;
use rounds::Rounds;
pub use searches::Due;

/// What changes only as a whole: the map, and what was set up for it. A [`Snap`](jitney_roads::Snap) means
/// nothing on another ground.
pub struct Ground {
    /// What the operator set.
    pub config: Config,
    /// The products.
    pub catalogue: Catalogue,
    /// The roads, under their free travel times; those of now are with `nearest`.
    pub roads: Arc<RoadNetwork>,
    /// Searches on them.
    pub nearest: Nearest,
    /// Where drivers queue.
    pub zones: Zones,
}

impl Ground {
    /// The ground under a configuration that was checked.
    pub fn new(config: Config, roads: Arc<RoadNetwork>) -> Self {
        let catalogue = Catalogue::new(config.products.clone());
        let nearest = Nearest::new(Arc::clone(&roads), config.settle_budget);
        Self {
            zones: Zones::new(&config.zones),
            config,
            catalogue,
            roads,
            nearest,
        }
    }
}

/// Everything that changes.
pub struct Dispatch {
    ground: Arc<Ground>,
    fleet: Fleet,
    sessions: Sessions,
    /// By trip, which for trip ids is by age.
    searches: BTreeMap<TripId, Search>,
    reservations: Reservations,
    /// Trips whose driver has a later one already, because the news of their end is late; the driver
    /// is still to hear of that end.
    displaced: BTreeMap<TripId, DriverKey>,
    /// Offers that ended; the store has yet to delete them.
    ended_offers: Vec<OfferId>,
    names: Names,
    /// How rounds are decided.
    policy: Arc<NamedPolicy>,
    /// Rounds that were held and have yet to be kept.
    rounds: Rounds,
    /// When the round is due that searches wait for.
    round_at: Option<DateTime<Utc>>,
    /// Somebody became free since the last round.
    freed: bool,
    search_rules: SearchRules,
    ping_rules: PingRules,
    reservation_ttl: TimeDelta,
    /// Where riders wait and cars are free.
    demand: Demand,
    /// What drivers' positions tell of the traffic, until somebody takes it.
    observations: Observations,
    /// How far riders are driven.
    meters: Meters,
    /// In which traces this is told.
    traces: Traces,
    /// Rouses whoever advances the searches.
    rouse: Arc<Notify>,
}

impl Dispatch {
    /// Nobody, nothing. `rouse` is notified whenever a search may have something to do.
    pub fn new(ground: Arc<Ground>, seed: u64, rouse: Arc<Notify>) -> Self {
        let config = &ground.config;
        Self {
            fleet: Fleet::new(&ground.roads, config.cell_m),
            sessions: Sessions::new(config.unacknowledged_max),
            searches: BTreeMap::new(),
            reservations: Reservations::default(),
            displaced: BTreeMap::new(),
            ended_offers: Vec::new(),
            names: Names { seed, count: 0 },
            policy: Arc::new(NamedPolicy {
                policy: config
                    .policies
                    .get(&config.policy)
                    .cloned()
                    .unwrap_or_default(),
                name: config.policy.clone(),
            }),
            rounds: Rounds::default(),
            round_at: None,
            freed: false,
            search_rules: SearchRules::of(config),
            ping_rules: PingRules::of(config),
            observations: Observations::new(&config.traffic),
            demand: Demand::new(config.demand.clone()),
            meters: Meters::new(config),
            traces: Traces::default(),
            reservation_ttl: delta(config.reservation_ttl),
            rouse,
            ground,
        }
    }

    /// What all of this stands on.
    pub fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    /// The drivers.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Where riders wait and cars are free.
    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Counts for the demand map, when it is time to.
    pub fn count_demand(&self, now: DateTime<Utc>) -> Option<Count> {
        self.demand.is_due(now).then(|| {
            let waiting = self.searches.values();
            let waiting = waiting.map(|search| search.errand.places.pickup);
            let idle = self.fleet.iter().filter(|(_, driver)| driver.is_open());
            let idle = idle.filter_map(|(_, driver)| Some(driver.fix?.place));
            self.demand.count(waiting, idle)
        })
    }

    /// Takes a count in.
    pub fn take_demand(&mut self, count: &Count, now: DateTime<Utc>) {
        self.demand.take(count, now);
    }

    /// How far riders are driven.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// In which traces things are told.
    pub fn traces(&mut self) -> &mut Traces {
        &mut self.traces
    }

    /// How many searches are under way.
    pub fn search_count(&self) -> usize {
        self.searches.len()
    }

    /// What was seen of the traffic since the last time.
    pub fn take_observations(&mut self) -> Vec<Observation> {
        self.observations.take()
    }

    /// What the database has yet to hear: drivers that changed, at most `most` of them, and offers
    /// that ended.
    pub fn take_unsaved(&mut self, most: usize) -> (Vec<DriverRow>, Vec<OfferId>) {
        let keys = self.fleet.take_unsaved(most);
        let rows = keys.into_iter().map(|key| self.row(key)).collect();
        (rows, std::mem::take(&mut self.ended_offers))
    }

    /// The database did not take these after all.
    pub fn unsaved(&mut self, rows: &[DriverRow], offers: Vec<OfferId>) {
        for row in rows {
            if let Some(key) = self.fleet.key(&row.id) {
                self.fleet.to_save(key);
            }
        }
        self.ended_offers.extend(offers);
    }

    /// A driver's soft state, as the database keeps it.
    pub fn row(&self, key: DriverKey) -> DriverRow {
        let driver = self.fleet.driver(key);
        DriverRow {
            id: self.fleet.id(key).clone(),
            products: self
                .ground
                .catalogue
                .ids(driver.products)
                .map(ToString::to_string)
                .collect(),
            vehicle: driver.vehicle.clone(),
            available: driver.standing.on_shift,
            shift_no: driver.shift_no,
            position: driver.fix.map(|fix| (fix.place, fix.heading_deg, fix.at)),
            destination: driver.destination,
        }
    }

    /// A hold ended from the driver's side: whatever they were set aside for goes on without them.
    fn hold_ended(&mut self, hold: Hold, now: DateTime<Utc>) {
        match hold {
            Hold::Offer(trip, offer) => {
                self.end_offer(trip, offer, crate::offer::OfferEnd::Withdrawn, now);
            }
            Hold::Reservation(id) => self.reservations.close(id),
        }
    }

    /// Has the searches advanced if somebody became free for them.
    fn rouse_if_freed(&mut self) {
        if self.fleet.has_freed() {
            self.rouse.notify_one();
        }
    }
}

/// Gives out ids: UUIDv7s whose random part follows from a seed and a count, so that the same run gives
/// the same ids.
struct Names {
    seed: u64,
    count: u64,
}

impl Names {
    fn next(&mut self, kind: &str, now: DateTime<Utc>) -> Uuid {
        self.count += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(self.count.to_be_bytes());
        hash.update(now.timestamp_micros().to_be_bytes());
        hash.update(kind);
        let mut random = [0; 10];
        random.copy_from_slice(&hash.finalize()[..10]);
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    fn offer(&mut self, now: DateTime<Utc>) -> OfferId {
        OfferId(self.next("offer", now))
    }

    fn reservation(&mut self, now: DateTime<Utc>) -> ReservationId {
        ReservationId(self.next("reservation", now))
    }

    fn round(&mut self, now: DateTime<Utc>) -> RoundId {
        RoundId(self.next("round", now))
    }

    fn session(&mut self, now: DateTime<Utc>) -> SessionId {
        SessionId(self.next("session", now))
    }
}

#[cfg(test)]
mod tests;
