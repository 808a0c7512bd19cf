//! What every part of the service works with: the store, the way to the other services, and the
//! prompt word to whoever waits for a change.

use std::{future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use jitney_platform::{Platform, client::Channel, line::Line, outbox::Wake};
use jitney_proto::{
    billing::v1::billing_service_client::BillingServiceClient, ids::TripId,
    matching::v1::matching_service_client::MatchingServiceClient,
};
use tokio::sync::{Semaphore, mpsc};
use tonic::{Response, Status};
use tracing::{Instrument, Span};

use crate::{
    Config,
    command::Command,
    error::Error,
    hub::Hub,
    metrics,
    state::{Context, State},
    store::{Job, Rules, Store},
    trip::Trip,
    view::Viewer,
};

/// The other service that knows the drivers.
pub const MATCHING: &str = "matching";
/// The other service that knows the money.
pub const BILLING: &str = "billing";

/// The service's parts.
pub struct App {
    /// The settings.
    pub config: Config,
    /// The surroundings.
    pub platform: Platform,
    /// The database.
    pub store: Store,
    /// Commands that may be carried out together.
    pub line: Arc<Line<Store>>,
    /// Who drives whom.
    pub matching: MatchingServiceClient<Channel>,
    /// Who owes whom.
    pub billing: BillingServiceClient<Channel>,
    /// The watchers in this process.
    pub hub: Hub,
    /// Wakes the delivery of events.
    pub wake: Wake,
    /// Tells the searches of a trip that needs one; see [`crate::jobs`].
    pub searches: mpsc::Sender<TripId>,
    /// One permit per watch.
    pub watches: Arc<Semaphore>,
}

impl App {
    /// Now, as finely as the database keeps it, so that what was answered and what is read later are
    /// the same.
    pub fn now(&self) -> DateTime<Utc> {
        self.platform.clock.now().trunc_subsecs(6)
    }

    /// What commands are judged by.
    pub fn rules(&self) -> Rules {
        Rules {
            now: self.now(),
            limits: self.config.limits(),
        }
    }

    /// What a command without a trip is judged by.
    pub fn context(&self) -> Context {
        let rules = self.rules();
        Context {
            now: rules.now,
            named_offer: None,
            gave_back: false,
            has_earlier_ride: false,
            limits: rules.limits,
        }
    }

    /// Carries a command out and passes the word on.
    ///
    /// # Errors
    /// Those of [`Store::carry_out`], and [`Error::Overloaded`].
    pub async fn carry_out(
        self: &Arc<Self>,
        trip_id: TripId,
        command: Command,
    ) -> Result<Arc<Trip>, Error> {
        let app = Arc::clone(self);
        self.see_through(async move {
            let rules = app.rules();
            let outcome = if Job::is_for(command.kind()) {
                let job = Job {
                    trip_id,
                    command,
                    rules,
                    asked_in: Span::current(),
                };
                app.line.ask(job).await?
            } else {
                app.store.carry_out(trip_id, command, rules).await?
            };
            let trip = Arc::new(outcome.trip);
            if outcome.is_changed {
                app.announce(&trip);
            }
            Ok(trip)
        })
        .await
    }

    /// Passes the word of a committed change on: to the watchers, to the delivery of events and, for a
    /// trip that needs a driver, to the searches. All three also look by themselves.
    pub fn announce(&self, trip: &Arc<Trip>) {
        tracing::debug!(trip_id = %trip.trip_id, version = trip.version, state = %trip.state, "moved");
        metrics::changed(trip);
        self.hub.tell(trip);
        self.wake.poke();
        if trip.state == State::Searching {
            // A full queue loses nothing: the recovery of searches reads the database.
            let _ = self.searches.try_send(trip.trip_id);
        }
    }

    /// Does a piece of work to its end, whether or not the request that asked for it still waits.
    ///
    /// # Errors
    /// Those of the work; a panic in it is a defect.
    pub async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.platform
            .tasks
            .spawn(work.in_current_span())
            .await
            .unwrap_or_else(|error| Err(Error::Defect(error.to_string())))
    }

    /// A trip that a viewer sees.
    ///
    /// # Errors
    /// NOT_FOUND, also when it is not theirs, and the database's failures.
    pub async fn seen(&self, trip_id: TripId, viewer: &Viewer) -> Result<Trip, Error> {
        let trip = self.store.trip(trip_id).await?;
        if viewer.sees(&trip) {
            Ok(trip)
        } else {
            Err(Error::NotFound("trip"))
        }
    }

    /// Waits for another service, but not for ever.
    ///
    /// # Errors
    /// The other service's status, or DEADLINE_EXCEEDED.
    #[allow(clippy::result_large_err)] // Status is what a generated client gives.
    pub async fn call<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        self.call_within(self.config.call_timeout, call).await
    }

    /// As [`App::call`], with a time-out of its own.
    ///
    /// # Errors
    /// The other service's status, or DEADLINE_EXCEEDED.
    #[allow(clippy::result_large_err)]
    pub async fn call_within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(jitney_proto::Code::DeadlineExceeded.status("no answer in time")),
        }
    }

    /// Reads a trip for the watchers and tells them.
    pub async fn tell_watchers(&self, trip_id: TripId) {
        match self.store.trip(trip_id).await {
            Ok(trip) => self.hub.tell(&Arc::new(trip)),
            // The watchers' next look makes it good.
            Err(error) => tracing::warn!(%trip_id, %error, "watchers are told later"),
        }
    }
}

/// A configured duration as times are counted; absurdly long ones are cut to a century.
pub fn chrono_of(duration: Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration)
        .unwrap_or(chrono::Duration::days(36_500))
        .min(chrono::Duration::days(36_500))
}
