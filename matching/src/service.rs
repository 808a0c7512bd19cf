//! The running service: the lock around [`Dispatch`], the clock, the store, and the loops that make
//! things happen by themselves. What a call means is in `dispatch`, how it is spelled in `grpc`.
//!
//! The lock is never held across a wait. What has to be durable before it is told to anybody (offers,
//! trip events) goes: decide under the lock, write down, tell under the lock.

use std::{
    collections::{BTreeSet, hash_map::Entry},
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use jitney_platform::{Platform, clock::Clock};
use jitney_proto::{
    Code,
    ids::{DriverId, TripId},
    matching::v1 as wire,
};
use rustc_hash::{FxBuildHasher, FxHashMap};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Span;

use crate::{
    Config, OpenMap,
    dispatch::{Dispatch, Due, Ground, Moved, Resnapped},
    error::Refusal,
    fleet::ShiftChange,
    metrics,
    news::News,
    offer::Offer,
    privacy::Veil,
    product::Catalogue,
    store::Store,
    tiles::TileCache,
    traffic::LiveTraffic,
};

/// Drivers written down in one go, at most.
const FLUSH_MAX: usize = 10_000;
/// Rounds kept in one go, at most.
const ROUNDS_MAX: usize = 100;
/// Traffic that has lost half of its weight so often is forgotten.
const TRAFFIC_HALVES: i32 = 12;
/// How often silence is looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long after a round that broke down the next one is held.
const ROUND_RETRY: Duration = Duration::from_secs(1);
/// How often the store is tidied.
const TIDY_INTERVAL: Duration = Duration::from_secs(600);
/// How long after its end an offer that was left over is deleted.
const LEFTOVER_MAX: TimeDelta = TimeDelta::hours(1);
/// Locks that keep events of one trip in order; different trips seldom share one.
const TRIP_LOCKS: usize = 64;

/// What streams end with when the process stops.
pub fn going_away() -> Status {
    Code::Unavailable.status("the server is going away; connect again")
}

/// The map that is driven on and the traffic on it.
#[derive(Clone)]
pub struct City {
    /// The map, and what was set up for it.
    pub ground: Arc<Ground>,
    /// How fast its roads are driven.
    pub traffic: Arc<LiveTraffic>,
}

/// The running service.
pub struct Service {
    /// What the operator set.
    pub config: Config,
    /// The products.
    pub catalogue: Catalogue,
    /// Map tiles that were drawn.
    pub tiles: TileCache,
    /// What riders see of drivers.
    pub veil: Veil,
    /// Where the time comes from.
    pub clock: Clock,
    /// Cancelled when the process is to stop.
    pub shutdown: CancellationToken,
    dispatch: RwLock<Dispatch>,
    /// What `dispatch` stands on: changed under its lock only.
    city: RwLock<City>,
    /// Opens the configured map.
    pub(crate) open_map: OpenMap,
    /// Held by whoever changes the map.
    pub(crate) map_turn: tokio::sync::Mutex<()>,
    store: Store,
    rouse: Arc<Notify>,
    trip_locks: Vec<tokio::sync::Mutex<()>>,
    /// Versions whose writing failed with an unknown outcome: if the database has them after all, the
    /// fleet has yet to hear of them.
    doubtful: Mutex<FxHashMap<TripId, BTreeSet<i64>>>,
}

impl Service {
    /// The service as the store remembers it.
    ///
    /// # Errors
    /// The database's, and when a thread cannot be started.
    pub async fn restore(
        ground: Arc<Ground>,
        open_map: OpenMap,
        seed: u64,
        store: Store,
        platform: &Platform,
    ) -> anyhow::Result<Self> {
        let rouse = Arc::new(Notify::new());
        let mut dispatch = Dispatch::new(Arc::clone(&ground), seed, Arc::clone(&rouse));
        let now = platform.clock.now();
        let (mut drivers, mut riding) = (0, 0);
        for (row, ride) in store.load_drivers().await? {
            drivers += 1;
            riding += usize::from(!ride.is_empty());
            dispatch.restore_driver(row, ride, now);
        }
        if let Some(chosen) = store.load_policy().await?
            && !dispatch.use_policy(&chosen)
        {
            tracing::warn!(
                policy = chosen,
                "the policy that was chosen is no longer configured; matching.policy counts"
            );
        }
        let offers = store.load_offers(now).await?;
        tracing::info!(drivers, riding, offers = offers.len(), "fleet restored");
        for offer in offers {
            dispatch.restore_offer(offer, now);
        }
        let traffic = LiveTraffic::load(&ground, &store, now).await?;
        let config = ground.config.clone();
        Ok(Self {
            tiles: TileCache::new(config.tile_cache_bytes_max),
            veil: Veil::new(seed, config.alias_period, config.blur_max_m),
            clock: platform.clock.clone(),
            shutdown: platform.shutdown.clone(),
            dispatch: RwLock::new(dispatch),
            store,
            rouse,
            trip_locks: (0..TRIP_LOCKS)
                .map(|_| tokio::sync::Mutex::new(()))
                .collect(),
            doubtful: Mutex::default(),
            catalogue: ground.catalogue.clone(),
            config,
            city: RwLock::new(City {
                ground,
                traffic: Arc::new(traffic),
            }),
            open_map,
            map_turn: tokio::sync::Mutex::default(),
        })
    }

    /// The map that is driven on now, and its traffic.
    pub fn city(&self) -> City {
        self.city
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The map that is driven on now.
    pub fn ground(&self) -> Arc<Ground> {
        self.city().ground
    }

    /// Looks places up on the map, without the lock, and changes things by them; once more if the map
    /// was changed in between.
    pub fn on_the_map<T, R>(
        &self,
        look_up: impl Fn(&Ground) -> T,
        change: impl FnOnce(&mut Dispatch, T) -> R,
    ) -> R {
        loop {
            let ground = self.ground();
            let looked_up = look_up(&ground);
            let mut dispatch = self.change();
            if Arc::ptr_eq(dispatch.ground(), &ground) {
                return change(&mut dispatch, looked_up);
            }
            metrics::map_changed("call", 1);
        }
    }

    /// Puts everything on another map, in one go.
    pub(crate) fn move_to(&self, city: City, resnapped: &Resnapped) -> Moved {
        let now = self.clock.now();
        let mut dispatch = self.change();
        let moved = dispatch.move_to(Arc::clone(&city.ground), resnapped, now);
        *self.city.write().unwrap_or_else(PoisonError::into_inner) = city;
        moved
    }

    /// To look.
    pub fn look(&self) -> RwLockReadGuard<'_, Dispatch> {
        self.dispatch.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change.
    pub fn change(&self) -> RwLockWriteGuard<'_, Dispatch> {
        self.dispatch
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts everything that happens by itself; it ends when the platform is asked to stop.
    pub fn start(self: &Arc<Self>, platform: &Platform) {
        let service = Arc::clone(self);
        platform
            .tasks
            .spawn(async move { service.advance_searches().await });
        let service = Arc::clone(self);
        platform
            .tasks
            .spawn(async move { service.keep_house().await });
        let service = Arc::clone(self);
        platform
            .tasks
            .spawn(async move { service.write_down().await });
        let ground = self.ground();
        platform
            .tasks
            .spawn_blocking(move || ground.nearest.tighten());
        if self.config.traffic.enabled {
            let service = Arc::clone(self);
            platform
                .tasks
                .spawn(async move { service.follow_traffic().await });
        }
    }

    /// Goes on or off shift, durably.
    ///
    /// # Errors
    /// The database's. The change counts all the same, and is written down later: repeat the call to
    /// be sure.
    pub async fn shift(&self, id: &DriverId, change: ShiftChange) -> Result<wire::Driver, Refusal> {
        let now = self.clock.now();
        let (driver, row) = {
            let mut dispatch = self.change();
            let key = dispatch.intern(id, now);
            dispatch.shift(key, change, now);
            (dispatch.wire_driver(key), dispatch.row(key))
        };
        self.store.save_drivers(vec![row]).await?;
        Ok(driver)
    }

    /// What is remembered.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Uses another policy from the next round on, durably.
    ///
    /// # Errors
    /// The database's; then the policy in use stays.
    pub async fn use_policy(&self, name: &str) -> Result<(), Refusal> {
        self.store.save_policy(name).await?;
        self.change().use_policy(name);
        Ok(())
    }

    /// Takes in trip events, those of one trip in their order: whether each was above the last one
    /// applied. Runs to its end even when the caller goes away.
    ///
    /// # Errors
    /// The database's, when it did not take them; deliver them again.
    pub async fn hear(self: &Arc<Self>, news: Vec<News>) -> Result<Vec<bool>, sqlx::Error> {
        let service = Arc::clone(self);
        let heard = tokio::spawn(async move { service.hear_to_the_end(news).await });
        heard.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    async fn hear_to_the_end(&self, news: Vec<News>) -> Result<Vec<bool>, sqlx::Error> {
        let stripe = |news: &News| FxBuildHasher.hash_one(news.trip) as usize % TRIP_LOCKS;
        // In one order, so that nobody waits in a circle.
        let stripes: BTreeSet<usize> = news.iter().map(stripe).collect();
        let mut turns = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            turns.push(self.trip_locks[stripe].lock().await);
        }
        let doubtful = || self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        let mut applied = match self.store.apply(news.clone()).await {
            Ok(applied) => applied,
            Err(error) => {
                let mut doubtful = doubtful();
                for news in &news {
                    doubtful.entry(news.trip).or_default().insert(news.version);
                }
                return Err(error);
            }
        };
        let mut doubtful = doubtful();
        let (mut dispatch, now) = (self.change(), self.clock.now());
        for (news, applied) in news.iter().zip(&mut applied) {
            if let Entry::Occupied(mut doubts) = doubtful.entry(news.trip) {
                *applied |= doubts.get().contains(&news.version);
                doubts.get_mut().retain(|version| *version > news.version);
                if doubts.get().is_empty() {
                    doubts.remove();
                }
            }
            if *applied {
                dispatch.hear(news, now);
            }
        }
        Ok(applied)
    }

    /// Advances the searches, oldest first, whenever one has something to do. A round is decided while
    /// others may look, and changes things in one go afterwards.
    async fn advance_searches(self: &Arc<Self>) {
        loop {
            let now = self.clock.now();
            let Due {
                mut offers,
                looking,
            } = self.change().advance(now);
            if !offers.is_empty() {
                self.change().trace_offers(&offers, None);
            }
            if !looking.is_empty() {
                offers.extend(self.round(looking, now).await);
            }
            if !offers.is_empty() {
                self.make(offers).await;
                continue;
            }
            let next_due = self.look().next_due(self.clock.now());
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = self.rouse.notified() => {}
                () = self.sleep_until(next_due) => {}
            }
        }
    }

    /// Holds a round, away from the threads that serve calls.
    async fn round(self: &Arc<Self>, looking: Vec<TripId>, now: DateTime<Utc>) -> Vec<Offer> {
        let service = Arc::clone(self);
        let trace = self.change().traces().round(&looking);
        let span = trace
            .as_ref()
            .map_or_else(Span::none, |trace| trace.span.clone());
        let decide = span.clone();
        let plan = move || {
            let began = std::time::Instant::now();
            let decided = decide.in_scope(|| service.look().plan(&looking, now));
            metrics::round_decided(began.elapsed());
            decided
        };
        match tokio::task::spawn_blocking(plan).await {
            Ok(decided) => {
                let mut dispatch = self.change();
                let offers = dispatch.settle(decided, now);
                dispatch.trace_offers(&offers, trace.as_ref().map(|_| &span));
                offers
            }
            Err(error) => {
                // Nothing was changed; the searches are still due.
                tracing::error!(%error, "a dispatch round broke down");
                self.clock.sleep(ROUND_RETRY).await;
                Vec::new()
            }
        }
    }

    /// Writes offers down, then tells of them.
    async fn make(&self, offers: Vec<Offer>) {
        let saved = self.store.save_offers(&offers).await;
        let now = self.clock.now();
        let mut dispatch = self.change();
        match saved {
            Ok(()) => offers.iter().for_each(|offer| dispatch.make(offer, now)),
            Err(error) => {
                tracing::warn!(%error, offers = offers.len(), "offers could not be written down");
                offers
                    .iter()
                    .for_each(|offer| dispatch.drop_unwritten(offer, now));
            }
        }
    }

    /// Has travel times follow the traffic, and writes down what was learnt, once more at the end.
    async fn follow_traffic(&self) {
        let config = &self.config.traffic;
        let save_interval = crate::config::delta(config.save_interval);
        let mut save_at = self.clock.now() + save_interval;
        while self.pause(config.interval).await {
            let now = self.clock.now();
            let (city, observations) = {
                let mut dispatch = self.change();
                (self.city(), dispatch.take_observations())
            };
            let City { ground, traffic } = city;
            let followed =
                tokio::task::spawn_blocking(move || traffic.follow(&ground, &observations, now))
                    .await;
            if let Err(error) = followed {
                tracing::error!(%error, "following the traffic broke down");
            }
            if now >= save_at {
                save_at = now + save_interval;
                self.save_traffic().await;
            }
        }
        self.save_traffic().await;
    }

    pub(crate) async fn save_traffic(&self) {
        let City { ground, traffic } = self.city();
        let changed = traffic.look().take_changed();
        let map = ground.roads.id();
        if let Err(error) = self.store.save_traffic(map, &changed).await {
            // It fades anyway, and what is seen next is written next.
            tracing::warn!(%error, arcs = changed.len(), "the traffic could not be written down");
        }
    }

    /// Looks for silence, and tidies the store now and then.
    async fn keep_house(&self) {
        let mut tidy_at = self.clock.now();
        while self.pause(SWEEP_INTERVAL).await {
            let now = self.clock.now();
            self.change().sweep(now);
            let count = self.look().count_demand(now);
            if let Some(count) = count {
                self.change().take_demand(&count, now);
            }
            if now >= tidy_at {
                tidy_at = now + crate::config::delta(TIDY_INTERVAL);
                let config = &self.config;
                let memory = config.trip_memory;
                let tidied = async {
                    self.store.tidy(now - LEFTOVER_MAX, memory).await?;
                    let rounds_from = now - crate::config::delta(config.rounds_kept);
                    self.store
                        .tidy_rounds(rounds_from, config.rounds_max)
                        .await?;
                    let faded = crate::config::delta(config.traffic.half_life) * TRAFFIC_HALVES;
                    let faded_at = crate::traffic::millis(now - faded);
                    self.store.tidy_traffic(faded_at).await
                };
                if let Err(error) = tidied.await {
                    tracing::warn!(%error, "the store was not tidied");
                }
            }
        }
    }

    /// Writes the fleet's changes down, and once more at the end.
    async fn write_down(&self) {
        while self.pause(self.config.flush_interval).await {
            self.flush().await;
        }
        self.change().close_streams(&going_away());
        self.flush().await;
    }

    /// Writes down what changed since the last time.
    pub async fn flush(&self) {
        loop {
            let (rows, offers) = self.change().take_unsaved(FLUSH_MAX);
            let is_last = rows.len() < FLUSH_MAX;
            let saved = async {
                if !rows.is_empty() {
                    self.store.save_drivers(rows.clone()).await?;
                }
                if !offers.is_empty() {
                    self.store.delete_offers(&offers).await?;
                }
                Ok::<_, sqlx::Error>(())
            };
            if let Err(error) = saved.await {
                tracing::warn!(%error, drivers = rows.len(), "the fleet could not be written down");
                self.change().unsaved(&rows, offers);
                return;
            }
            if is_last {
                break;
            }
        }
        loop {
            let rounds = self.change().take_rounds(ROUNDS_MAX);
            if rounds.is_empty() {
                return;
            }
            if let Err(error) = self.store.save_rounds(&rounds).await {
                tracing::warn!(%error, rounds = rounds.len(), "rounds could not be kept");
                self.change().put_rounds_back(rounds);
                return;
            }
        }
    }

    async fn sleep_until(&self, moment: Option<DateTime<Utc>>) {
        match moment {
            Some(moment) => self.clock.sleep_until(moment).await,
            None => std::future::pending().await,
        }
    }

    /// Sleeps; whether to go on after it.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.shutdown.cancelled() => false,
            () = self.clock.sleep(time) => true,
        }
    }
}
