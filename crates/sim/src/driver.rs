//! A driver: cruises, is offered rides, takes or leaves them, and drives the ones taken to their end.
//!
//! What a driver is doing is known in three places: here, in matching (through the connection) and
//! with the trip service, which has the last word. So after every doubt — a refusal, a reconnect, a
//! call that went unanswered — the driver asks the trip service where the ride stands and goes on
//! from there.

use std::{collections::VecDeque, future::ready, sync::Arc, time::Duration};

use jitney_proto::{
    common::v1::Role,
    matching::v1::{Offer, SetAvailabilityRequest, SetAvailabilityResponse, Welcome},
    trips::v1::{
        AcceptOfferRequest, AcceptOfferResponse, DeclineOfferRequest, DeclineOfferResponse, Trip,
    },
};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::habits::{AnswerKind, answer, vehicle};
use crate::{
    api::{Badge, Call},
    chance::{Backoff, Purpose, chance, span},
    link::{Heard, Link},
    movement::{Car, Drive},
    refusal::CallError,
    world::World,
};

mod habits;
mod ride;

/// What waits to be heard; the connection waits when there is more.
const HEARD_MAX: usize = 64;

/// Somebody who drives.
pub(crate) struct Driver {
    world: Arc<World>,
    badge: Arc<Badge>,
    car: Arc<Car>,
    heard: mpsc::Receiver<Heard>,
    /// Heard while busy with an offer, and not about it.
    backlog: VecDeque<Heard>,
    link: JoinHandle<()>,
    /// Ends the connection when the driver is gone, however that came about.
    off_shift: DropGuard,
    answers: ChaCha8Rng,
    cruising: ChaCha8Rng,
    backoff: Backoff,
    /// Cancelled once the first welcome is in.
    on_shift: CancellationToken,
    is_new: bool,
}

impl Driver {
    /// A driver somewhere in the city, about to connect. `products` are the ones they serve.
    pub fn new(world: &Arc<World>, number: u32, products: Vec<String>) -> Self {
        let seed = world.config.seed;
        let mut chance_of_self = chance(seed, Purpose::Driver, number.into());
        let home = world.streets.place(&mut chance_of_self);
        let vehicle = vehicle(&mut chance_of_self);
        let badge = Arc::new(world.badge(Role::Driver, world.driver_id(number)));
        let car = Arc::new(Car::standing(home.point));
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let off_shift = CancellationToken::new();
        let link = Link {
            badge: Arc::clone(&badge),
            car: Arc::clone(&car),
            streets: Arc::clone(&world.streets),
            products,
            vehicle,
            ping_interval: world.config.ping_interval,
            pings_per_batch: world.config.pings_per_batch,
            backoff: world.backoff(badge.id()),
            chronicle: Arc::clone(&world.chronicle),
            heard: tell,
            off_shift: off_shift.clone(),
        };
        Self {
            backoff: world.backoff(badge.id()),
            world: Arc::clone(world),
            badge,
            car,
            heard,
            backlog: VecDeque::new(),
            link: tokio::spawn(link.run()),
            off_shift: off_shift.drop_guard(),
            answers: chance(seed, Purpose::Answers, number.into()),
            cruising: chance(seed, Purpose::Cruising, number.into()),
            on_shift: CancellationToken::new(),
            is_new: true,
        }
    }

    /// Cancelled once the driver is on shift for the first time.
    pub fn on_shift(&self) -> CancellationToken {
        self.on_shift.clone()
    }

    /// Works until the city closes.
    pub async fn work(mut self) {
        let closing = self.world.closing.clone();
        loop {
            let backlog = self.backlog.pop_front();
            let has_backlog = backlog.is_some();
            let heard = tokio::select! {
                biased;
                () = closing.cancelled() => break,
                heard = ready(backlog), if has_backlog => heard,
                heard = self.heard.recv() => heard,
                () = cruise(&self.world, &self.car, &mut self.cruising) => continue,
            };
            match heard {
                Some(Heard::Offer(offer)) => self.consider(offer).await,
                Some(Heard::Welcome(welcome)) => self.welcomed(welcome).await,
                // The answer to an acceptance was lost, and the ride is ours after all.
                Some(Heard::Assigned { trip_id }) => self.resume(&trip_id).await,
                Some(Heard::Withdrawn { .. } | Heard::Ended { .. }) => {}
                None => break,
            }
        }
        self.go_off_shift().await;
    }

    async fn welcomed(&mut self, welcome: Welcome) {
        let driver = welcome.driver.unwrap_or_default();
        if std::mem::take(&mut self.is_new) {
            self.world.chronicle.facts().drivers_on_shift += 1;
            self.on_shift.cancel();
        }
        if !driver.trip_id.is_empty() {
            self.resume(&driver.trip_id).await;
        }
    }

    /// Answers an offer, and drives the ride if it is accepted.
    async fn consider(&mut self, offer: Offer) {
        self.world.chronicle.facts().offers.received += 1;
        let answer = answer(&mut self.answers, &self.world.config);
        self.car.stop(Instant::now());
        if self
            .is_withdrawn_within(&offer.offer_id, answer.after)
            .await
        {
            self.world.chronicle.facts().offers.lost += 1;
            return;
        }
        match answer.kind {
            AnswerKind::Ignore => self.world.chronicle.facts().offers.ignored += 1,
            AnswerKind::Decline => self.decline(&offer, "not my way").await,
            AnswerKind::Accept => match self.accept(&offer).await {
                Ok(Some(trip)) => {
                    self.world.chronicle.facts().offers.accepted += 1;
                    self.drive(trip, answer.gives_back_at).await;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(driver = self.badge.id(), %error, "not accepted");
                    self.world.chronicle.facts().offers.lost += 1;
                    match error.reason() {
                        // Unanswered is not refused: it may have been taken all the same.
                        None => self.resume(&offer.trip_id).await,
                        Some("DRIVER_ON_TRIP") => self.find_own_trip().await,
                        Some(_) => {}
                    }
                }
            },
        }
    }

    async fn is_withdrawn_within(&mut self, offer_id: &str, span: Duration) -> bool {
        let until = Instant::now() + span;
        loop {
            tokio::select! {
                () = sleep_until(until) => return false,
                () = self.world.closing.cancelled() => return false,
                heard = self.heard.recv() => match heard {
                    Some(Heard::Withdrawn { offer_id: over }) if over == offer_id => return true,
                    Some(other) => self.backlog.push_back(other),
                    None => return true,
                },
            }
        }
    }

    async fn accept(&self, offer: &Offer) -> Result<Option<Trip>, CallError> {
        let request = AcceptOfferRequest {
            trip_id: offer.trip_id.clone(),
            offer_id: offer.offer_id.clone(),
        };
        let path = format!(
            "/v1/trips/{}/offers/{}:accept",
            offer.trip_id, offer.offer_id
        );
        let route = "POST /v1/trips/{trip_id}/offers/{offer_id}:accept";
        let answer: AcceptOfferResponse =
            self.badge.call(Call::post(route, path, &request)).await?;
        Ok(self.seen(answer.trip))
    }

    async fn decline(&self, offer: &Offer, reason: &str) {
        self.world.chronicle.facts().offers.declined += 1;
        let request = DeclineOfferRequest {
            trip_id: offer.trip_id.clone(),
            offer_id: offer.offer_id.clone(),
            reason: reason.to_owned(),
        };
        let path = format!(
            "/v1/trips/{}/offers/{}:decline",
            offer.trip_id, offer.offer_id
        );
        let route = "POST /v1/trips/{trip_id}/offers/{offer_id}:decline";
        let call = Call::post(route, path, &request);
        if let Err(error) = self.badge.call::<DeclineOfferResponse>(call).await {
            tracing::debug!(driver = self.badge.id(), %error, "not declined");
        }
    }

    async fn go_off_shift(self) {
        let Self {
            world,
            badge,
            car,
            link,
            off_shift,
            is_new,
            ..
        } = self;
        drop(off_shift);
        // It ends at once, or has panicked, which its own message told.
        let _ = link.await;
        let id = badge.id();
        let request = SetAvailabilityRequest {
            driver_id: id.to_owned(),
            available: false,
            ..SetAvailabilityRequest::default()
        };
        let path = format!("/v1/drivers/{id}/availability");
        let call = Call::put("PUT /v1/drivers/{driver_id}/availability", path, &request);
        if !is_new {
            if let Err(error) = badge.call::<SetAvailabilityResponse>(call).await {
                tracing::debug!(driver = id, %error, "not off shift");
            }
            world.chronicle.facts().drivers_on_shift -= 1;
        }
        world.chronicle.facts().driven_m += car.driven_m(Instant::now());
    }
}

/// Drives about and rests. May be dropped at any point: the car goes on where it was going.
async fn cruise(world: &World, car: &Car, chance: &mut ChaCha8Rng) {
    if let Some(arrival) = car.arrival(Instant::now()) {
        sleep_until(arrival).await;
    }
    let rest = world.config.real(span(chance, world.config.rest_time_max));
    sleep(rest).await;
    let goal = world.streets.place(chance);
    sleep_until(set_out(world, car, Some(goal))).await;
}

fn set_out(world: &World, car: &Car, goal: Option<jitney_roads::Snap>) -> Instant {
    let now = Instant::now();
    let here = car.position(now).place;
    let drive = goal.and_then(|goal| {
        let here = world.streets.nearest(&crate::streets::point(here))?;
        let route = world.streets.route(&here, &goal)?;
        Drive::along(&route, world.config.speed)
    });
    match drive {
        Some(drive) => car.set_out(drive, now),
        None => now,
    }
}
