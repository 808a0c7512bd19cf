//! A ride from acceptance to its end, as its driver sees it.
//!
//! Every step asks the server to move the ride on, and goes by its answer. Where there is doubt the
//! driver looks the ride up and takes it from where it stands.

use std::sync::Arc;

use jitney_proto::{
    common::v1::{Point, Role},
    trips::v1::{
        ArriveAtPickupRequest, ArriveAtPickupResponse, CancelTripRequest, CancelTripResponse,
        CompleteTripRequest, CompleteTripResponse, GetTripResponse, StartTripRequest,
        StartTripResponse, Trip, TripState,
    },
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Driver, set_out};
use crate::{
    api::Call, chance::span, link::Heard, lookup::live_trips, refusal::CallError, world::World,
};

/// How often a driver tries the same step of a ride before giving the ride up.
const STEP_TRIES: u32 = 5;

/// Why a driver stopped what they were doing for a ride.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The ride is over or somebody else's, or may be.
    Doubt,
    /// The city closes.
    Closing,
}

/// A step of a ride: what the server answered, or why it was not taken.
type Step = Result<Result<Option<Trip>, CallError>, Stop>;

impl Driver {
    /// Goes on with a ride that should be this driver's, if it is.
    pub(super) async fn resume(&mut self, trip_id: &str) {
        match self.ask(trip_id).await {
            Ok(Some(trip)) => self.drive(trip, None).await,
            Ok(None) => {}
            Err(error) => tracing::debug!(driver = self.badge.id(), %error, "nothing to resume"),
        }
    }

    /// The server says there is a ride this driver does not know of: looks it up.
    pub(super) async fn find_own_trip(&mut self) {
        match live_trips(&self.badge).await {
            Ok(trips) => {
                for trip in trips {
                    self.drive(trip, None).await;
                }
            }
            Err(error) => tracing::debug!(driver = self.badge.id(), %error, "trips not listed"),
        }
    }

    /// Drives a ride to its end, from wherever it stands, as long as it is this driver's.
    pub(super) async fn drive(&mut self, mut trip: Trip, mut gives_back_at: Option<f64>) {
        let mut tries = 0;
        let mut stuck_at = trip.version;
        while self.is_mine(&trip) {
            let step = match trip.state() {
                TripState::Assigned => self.go_to_pickup(&trip, gives_back_at.take()).await,
                TripState::DriverArrived => self.take_on_board(&trip).await,
                TripState::InProgress => self.go_to_dropoff(&trip).await,
                _ => return,
            };
            let error = match step {
                Ok(Ok(Some(next))) => {
                    trip = next;
                    continue;
                }
                Ok(Ok(None)) => return,
                Ok(Err(error)) => Some(error),
                Err(Stop::Doubt) => None,
                Err(Stop::Closing) => return self.wind_up(trip).await,
            };
            if let Some(error) = error {
                tracing::debug!(driver = self.badge.id(), %error, "a step of the ride failed");
                tries = if stuck_at == trip.version {
                    tries + 1
                } else {
                    1
                };
                stuck_at = trip.version;
                if tries > STEP_TRIES && !error.is_passing() {
                    tracing::warn!(driver = self.badge.id(), %error, "giving the ride up");
                    return self.give_back(&trip, "cannot go on").await;
                }
                sleep(self.backoff.step()).await;
            }
            match self.ask(&trip.trip_id).await {
                Ok(Some(now)) => trip = now,
                Ok(None) => return,
                Err(error) if error.is_passing() => {}
                // Not ours to see any more.
                Err(_) => return,
            }
        }
    }

    /// Drives to where the rider waits, and says so.
    async fn go_to_pickup(&mut self, trip: &Trip, gives_back_at: Option<f64>) -> Step {
        let arrival = self.set_out(trip.pickup.as_ref());
        if let Some(share) = gives_back_at {
            let way = arrival.saturating_duration_since(Instant::now());
            self.unless_over(&trip.trip_id, sleep(way.mul_f64(share)))
                .await?;
            self.car.stop(Instant::now());
            self.give_back(trip, "the car broke down").await;
            return Ok(Ok(None));
        }
        self.unless_over(&trip.trip_id, sleep_until(arrival))
            .await?;
        let request = ArriveAtPickupRequest {
            trip_id: trip.trip_id.clone(),
        };
        let path = format!("/v1/trips/{}:arrive", trip.trip_id);
        let call = Call::post("POST /v1/trips/{trip_id}:arrive", path, &request);
        let answer = self.badge.call::<ArriveAtPickupResponse>(call).await;
        Ok(answer.map(|answer| self.seen(answer.trip)))
    }

    /// Waits for the rider, hears the PIN, waits until they are seated, and starts.
    async fn take_on_board(&mut self, trip: &Trip) -> Step {
        self.car.stop(Instant::now());
        let world = Arc::clone(&self.world);
        let asked = timeout(world.config.kerb_patience, hear_pin(&world, trip));
        let Ok(pin) = self.unless_over(&trip.trip_id, asked).await? else {
            self.give_back(trip, "nobody at the kerb").await;
            return Ok(Ok(None));
        };
        let boarding = span(&mut self.cruising, world.config.boarding_time_max);
        self.unless_over(&trip.trip_id, sleep(world.config.real(boarding)))
            .await?;
        let request = StartTripRequest {
            trip_id: trip.trip_id.clone(),
            pin,
        };
        let path = format!("/v1/trips/{}:start", trip.trip_id);
        let call = Call::post("POST /v1/trips/{trip_id}:start", path, &request);
        let answer = self.badge.call::<StartTripResponse>(call).await;
        Ok(answer.map(|answer| self.seen(answer.trip)))
    }

    /// Drives to where the rider goes, and ends the ride.
    async fn go_to_dropoff(&mut self, trip: &Trip) -> Step {
        let arrival = self.set_out(trip.dropoff.as_ref());
        self.unless_over(&trip.trip_id, sleep_until(arrival))
            .await?;
        Ok(self.complete(trip).await)
    }

    async fn complete(&self, trip: &Trip) -> Result<Option<Trip>, CallError> {
        let request = CompleteTripRequest {
            trip_id: trip.trip_id.clone(),
        };
        let path = format!("/v1/trips/{}:complete", trip.trip_id);
        let call = Call::post("POST /v1/trips/{trip_id}:complete", path, &request);
        let answer: CompleteTripResponse = self.badge.call(call).await?;
        Ok(self.seen(answer.trip))
    }

    async fn give_back(&self, trip: &Trip, reason: &str) {
        let request = CancelTripRequest {
            trip_id: trip.trip_id.clone(),
            reason: reason.to_owned(),
            max_fee: None,
        };
        let path = format!("/v1/trips/{}:cancel", trip.trip_id);
        let call = Call::post("POST /v1/trips/{trip_id}:cancel", path, &request);
        match self.badge.call::<CancelTripResponse>(call).await {
            Ok(answer) => {
                self.world.chronicle.facts().offers.given_back += 1;
                self.seen(answer.trip);
            }
            Err(error) => tracing::debug!(driver = self.badge.id(), %error, "not given back"),
        }
    }

    /// The city closes: lets a rider out here, gives back a ride that has not begun.
    async fn wind_up(&self, trip: Trip) {
        self.car.stop(Instant::now());
        match trip.state() {
            TripState::InProgress => {
                if let Err(error) = self.complete(&trip).await {
                    tracing::debug!(driver = self.badge.id(), %error, "not completed");
                }
            }
            _ => self.give_back(&trip, "the city closes").await,
        }
    }

    /// Where a ride stands, by the trip service; `None` when it is not this driver's.
    async fn ask(&self, trip_id: &str) -> Result<Option<Trip>, CallError> {
        let call = Call::get("GET /v1/trips/{trip_id}", format!("/v1/trips/{trip_id}"));
        let answer: GetTripResponse = self.badge.call(call).await?;
        Ok(self.seen(answer.trip).filter(|trip| self.is_mine(trip)))
    }

    fn is_mine(&self, trip: &Trip) -> bool {
        trip.driver
            .as_ref()
            .is_some_and(|driver| driver.driver_id == self.badge.id())
    }

    pub(super) fn seen(&self, trip: Option<Trip>) -> Option<Trip> {
        if let Some(trip) = &trip {
            self.world.chronicle.saw(trip);
        }
        trip
    }

    /// Sets out for a place; answers when the car will be there. Where there is no way, now.
    fn set_out(&self, to: Option<&Point>) -> Instant {
        set_out(
            &self.world,
            &self.car,
            to.and_then(|to| self.world.streets.nearest(to)),
        )
    }

    /// Does something for a ride unless the ride ends, or seems to, or the city closes.
    async fn unless_over<T>(
        &mut self,
        trip_id: &str,
        what: impl Future<Output = T>,
    ) -> Result<T, Stop> {
        tokio::pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return Ok(done),
                () = self.world.closing.cancelled() => return Err(Stop::Closing),
                heard = self.heard.recv() => match heard {
                    Some(Heard::Ended { trip_id: over }) if over == trip_id => {
                        return Err(Stop::Doubt);
                    }
                    // After a break the end of the ride may have been missed.
                    Some(Heard::Welcome(welcome)) => {
                        if welcome.driver.is_none_or(|driver| driver.trip_id != trip_id) {
                            return Err(Stop::Doubt);
                        }
                    }
                    // A ride on top of this one: drivers here take one at a time.
                    Some(Heard::Offer(offer)) if !offer.beside_trip_id.is_empty() => {
                        self.world.chronicle.facts().offers.received += 1;
                        self.decline(&offer, "one ride at a time").await;
                    }
                    Some(_) => {}
                    None => return Err(Stop::Closing),
                },
            }
        }
    }
}

/// Hears the PIN from the rider.
async fn hear_pin(world: &Arc<World>, trip: &Trip) -> String {
    if world.config.drives_strangers && !world.is_rider_id(&trip.rider_id) {
        // A person with an app would say it now; nobody here can hear them.
        let stranger = world.badge(Role::Rider, trip.rider_id.clone());
        let path = format!("/v1/trips/{}", trip.trip_id);
        let asked = stranger.call::<GetTripResponse>(Call::get("GET /v1/trips/{trip_id}", path));
        match asked.await {
            Ok(GetTripResponse {
                trip: Some(trip), ..
            }) => return trip.pin,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "no PIN of a rider who is not simulated"),
        }
    }
    world.kerb.ask(&trip.trip_id).await
}
