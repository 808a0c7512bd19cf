//! A rider: asks what a ride costs, asks for it, waits for the driver at the kerb, and looks at the
//! receipt.

use std::{sync::Arc, time::Duration};

use eventsource_stream::Eventsource;
use futures::{StreamExt, TryStreamExt};
use jitney_proto::{
    Code,
    billing::v1::{GetReceiptResponse, Receipt},
    common::v1::{Money, Role},
    trips::v1::{
        CancelTripRequest, CancelTripResponse, CreateTripRequest, CreateTripResponse,
        QuoteTripRequest, QuoteTripResponse, Trip, TripQuote, TripState, WatchTripResponse,
        watch_trip_response::Update,
    },
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    api::{Badge, Call},
    audit::is_end,
    chance::Backoff,
    demand::Request,
    json::from_json,
    refusal::{CallError, Problem},
    streets::point,
    world::World,
};

/// A stream without a sign of life for this long is asked for anew; the gateway gives one every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(50);
/// How long a ride that could not be called off is still watched once the city has closed.
const CLOSED_PATIENCE: Duration = Duration::from_secs(8);

/// Somebody who wants to go somewhere.
pub(crate) struct Rider {
    world: Arc<World>,
    badge: Badge,
    backoff: Backoff,
}

impl Rider {
    pub fn new(world: Arc<World>, id: String) -> Self {
        let badge = world.badge(Role::Rider, id);
        let backoff = world.backoff(badge.id());
        Self {
            world,
            badge,
            backoff,
        }
    }

    /// Asks for a ride and sees it to its end.
    pub async fn ride(mut self, request: Request) {
        let asked = Instant::now();
        self.world.chronicle.facts().rides.requested += 1;
        let (trip, quoted) = match self.ask(&request).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::info!(rider = self.badge.id(), %error, "no ride");
                self.world.chronicle.facts().rides.refused += 1;
                return;
            }
        };
        self.world.chronicle.saw(&trip);
        self.world
            .chronicle
            .facts()
            .audit
            .check_fare(&trip, quoted.as_ref());
        self.see_through(trip, request.cancel_after.map(|after| asked + after))
            .await;
    }

    /// Carries on with a ride that is under way.
    pub async fn carry_on(mut self, trip: Trip) {
        self.world.chronicle.facts().rides.carried_on += 1;
        self.see_through(trip, None).await;
    }

    /// Gets a price and a trip at that price.
    async fn ask(&self, request: &Request) -> Result<(Trip, Option<Money>), CallError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let quote = self.quote(request).await?;
            let create = CreateTripRequest {
                quote_id: quote.quote_id.clone(),
                pickup: Some(point(request.pickup.point)),
                dropoff: Some(point(request.dropoff.point)),
                product: request.product.clone(),
                ..CreateTripRequest::default()
            };
            let key = format!("{}-{}-{tries}", self.world.run_id, request.number);
            let call = Call::post("POST /v1/trips", "/v1/trips", &create).with_idempotency_key(key);
            match self.badge.call::<CreateTripResponse>(call).await {
                Ok(created) => match created.trip {
                    Some(trip) => return Ok((trip, quote.fare)),
                    None => return Err(self.garbled("POST /v1/trips", "there is no trip in it")),
                },
                // It took so long that the price ran out; the ride was not made.
                Err(error) if error.reason() == Some("QUOTE_EXPIRED") && tries < 3 => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn quote(&self, request: &Request) -> Result<TripQuote, CallError> {
        const ROUTE: &str = "POST /v1/quotes";
        let ask = QuoteTripRequest {
            pickup: Some(point(request.pickup.point)),
            dropoff: Some(point(request.dropoff.point)),
            product: request.product.clone(),
            ..QuoteTripRequest::default()
        };
        let answer: QuoteTripResponse = self
            .badge
            .call(Call::post(ROUTE, "/v1/quotes", &ask))
            .await?;
        let quote = answer
            .quotes
            .into_iter()
            .find(|quote| quote.product == request.product);
        let quote =
            quote.ok_or_else(|| self.garbled(ROUTE, "the product asked for is not in it"))?;
        self.world.chronicle.facts().audit.check_quote(&quote);
        Ok(quote)
    }

    /// Stays with a trip until it is over, and settles it.
    async fn see_through(&mut self, trip: Trip, cancel_at: Option<Instant>) {
        let trip_id = trip.trip_id.clone();
        self.world.chronicle.facts().rides_live += 1;
        let ended = self.watch(trip, cancel_at).await;
        self.world.kerb.leave(&trip_id);
        {
            let mut facts = self.world.chronicle.facts();
            facts.rides_live -= 1;
            let rides = &mut facts.rides;
            match ended.as_ref().map(Trip::state) {
                Some(TripState::Completed) => rides.served += 1,
                Some(TripState::Expired) => rides.expired += 1,
                Some(TripState::NoShow) => rides.no_show += 1,
                Some(_) => rides.cancelled += 1,
                None => rides.unfinished += 1,
            }
            if let Some(trip) = &ended {
                facts.note_waits(trip);
            }
        }
        if let Some(trip) = ended.filter(|trip| trip.state() == TripState::Completed) {
            self.settle(&trip).await;
        }
    }

    /// Watches until the end; `None` when the city has closed before.
    async fn watch(&mut self, trip: Trip, cancel_at: Option<Instant>) -> Option<Trip> {
        let trip_id = trip.trip_id.clone();
        let mut watch = Watch {
            latest: trip,
            last_event_id: String::new(),
        };
        self.at_the_kerb(&watch.latest);
        let mut cancel_at = cancel_at;
        let mut closed_at: Option<Instant> = None;
        let closing = self.world.closing.clone();
        while !is_end(watch.latest.state()) {
            if closed_at.is_some_and(|at| at.elapsed() > CLOSED_PATIENCE) {
                return None;
            }
            tokio::select! {
                () = self.follow(&mut watch) => {}
                () = sleep_until(cancel_at.unwrap_or_else(Instant::now)), if cancel_at.is_some() => {
                    cancel_at = None;
                    self.call_off(&trip_id, "changed my mind", &mut watch).await;
                }
                () = closing.cancelled(), if closed_at.is_none() => {
                    closed_at = Some(Instant::now());
                    self.call_off(&trip_id, "the city closes", &mut watch).await;
                }
                () = sleep(CLOSED_PATIENCE), if closed_at.is_some() => {}
            }
        }
        Some(watch.latest)
    }

    /// Reads the trip's events until the stream ends, for whatever reason; waits a little where that
    /// was a failure. May be dropped at any point: `watch` always holds what was read.
    async fn follow(&mut self, watch: &mut Watch) {
        if let Err(cause) = self.read_events(watch).await {
            tracing::debug!(rider = self.badge.id(), cause, "trip stream ended");
            sleep(self.backoff.step()).await;
        } else {
            self.backoff.reset();
        }
    }

    async fn read_events(&mut self, watch: &mut Watch) -> Result<(), String> {
        const ROUTE: &str = "GET /v1/trips/{trip_id}:watch";
        let path = format!("/v1/trips/{}:watch", watch.latest.trip_id);
        let response = self
            .badge
            .open_events(ROUTE, &path, &watch.last_event_id)
            .await
            .map_err(|error| error.to_string())?;
        let bytes = response.bytes_stream().map_err(|error| error.to_string());
        // Signs of life are comments, which only the bytes show.
        let bytes = futures::stream::unfold(Box::pin(bytes), |mut bytes| async move {
            match timeout(SILENCE_MAX, bytes.next()).await {
                Ok(next) => next.map(|chunk| (chunk, bytes)),
                Err(_) => Some((Err("no sign of life".to_owned()), bytes)),
            }
        });
        let mut events = Box::pin(bytes.eventsource());
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| error.to_string())?;
            match event.event.as_str() {
                "end" => return Ok(()),
                "error" => {
                    let problem = Problem::read(event.data.as_bytes());
                    self.world.chronicle.stream_failed(ROUTE, &problem);
                    if problem.reason() == Some(Code::Unauthenticated.reason()) {
                        self.badge.drop_token();
                    }
                    return Err(problem.message);
                }
                _ => {}
            }
            let message: WatchTripResponse = from_json(event.data.as_bytes())
                .map_err(|error| self.garbled(ROUTE, &error.to_string()).to_string())?;
            if let Some(Update::Trip(trip)) = message.update {
                self.world.chronicle.saw(&trip);
                self.at_the_kerb(&trip);
                watch.take(trip);
            }
            if !message.resume_token.is_empty() {
                watch.last_event_id = message.resume_token;
            }
            if is_end(watch.latest.state()) {
                return Ok(());
            }
        }
        Err("the stream broke off".to_owned())
    }

    /// Once the driver is there, the rider is too, and will tell the PIN.
    fn at_the_kerb(&self, trip: &Trip) {
        if trip.state() == TripState::DriverArrived && !trip.pin.is_empty() {
            self.world.kerb.tell(&trip.trip_id, &trip.pin);
        }
    }

    /// Calls the ride off; where that is refused, the ride goes on.
    async fn call_off(&self, trip_id: &str, reason: &str, watch: &mut Watch) {
        let request = CancelTripRequest {
            trip_id: trip_id.to_owned(),
            reason: reason.to_owned(),
            max_fee: None,
        };
        let path = format!("/v1/trips/{trip_id}:cancel");
        let call = Call::post("POST /v1/trips/{trip_id}:cancel", path, &request);
        match self.badge.call::<CancelTripResponse>(call).await {
            Ok(CancelTripResponse { trip: Some(trip) }) => {
                self.world.chronicle.saw(&trip);
                watch.take(trip);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(rider = self.badge.id(), %error, "not called off"),
        }
    }

    /// Looks at the receipt of a completed trip, as soon as there is one.
    async fn settle(&self, trip: &Trip) {
        let asked = Instant::now();
        let receipt = loop {
            match self.receipt(&trip.trip_id).await {
                Ok(receipt) => break receipt,
                Err(error) => {
                    let is_pending = error.reason() == Some("NOT_FOUND") || error.is_passing();
                    if !is_pending || asked.elapsed() > self.world.config.receipt_patience {
                        tracing::warn!(trip = trip.trip_id, %error, "no receipt");
                        break None;
                    }
                    sleep(Duration::from_millis(250)).await;
                }
            }
        };
        let mut facts = self.world.chronicle.facts();
        facts.audit.check_receipt(trip, receipt.as_ref());
        if let Some(total) = receipt.and_then(|receipt| receipt.total) {
            facts.add_fare(&total);
        }
    }

    async fn receipt(&self, trip_id: &str) -> Result<Option<Receipt>, CallError> {
        let path = format!("/v1/trips/{trip_id}/receipt");
        let call = Call::get("GET /v1/trips/{trip_id}/receipt", path);
        Ok(self.badge.call::<GetReceiptResponse>(call).await?.receipt)
    }

    /// Notes that an answer is not what the API says it is.
    fn garbled(&self, route: &'static str, cause: &str) -> CallError {
        let error = CallError::Garbled {
            route,
            cause: cause.to_owned(),
        };
        self.world.chronicle.call_failed(route, &error);
        error
    }
}

/// How far a rider has followed a trip.
struct Watch {
    latest: Trip,
    last_event_id: String,
}

impl Watch {
    fn take(&mut self, trip: Trip) {
        if trip.version >= self.latest.version {
            self.latest = trip;
        }
    }
}
