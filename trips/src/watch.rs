//! WatchTrip: the trip at once and after every change, and the driver's position from assignment to
//! the end.
//!
//! A change made in this process is sent as it is committed; changes made by other processes are found
//! by looking, and then only the newest of several is sent. The resume token says which version of the
//! trip, and which state of its payment, was sent last: on resuming, the trip is sent if either is
//! different. The stream ends after the trip's end, once the payment is settled or was waited for in
//! vain; it ends with NOT_FOUND for a driver who may see the trip no more, and with UNAVAILABLE when the
//! process is stopped. When the client goes away, everything that was done for it ends.

use std::{fmt, sync::Arc, time::Duration};

use jitney_proto::{
    ids::{DriverId, TripId},
    matching::v1::WatchDriverRequest,
    trips::v1::{DriverPosition, WatchTripResponse, watch_trip_response::Update},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

use crate::{
    app::App,
    error::Error,
    hub::{self, Subscription},
    store::Standing,
    trip::{PaymentState, Place, Trip},
    view::{self, Viewer},
};

/// How many messages a slow client may be behind before the changes wait for it.
const QUEUE: usize = 8;
/// How long after a failure matching is asked for the driver's position again.
const POSITION_RETRY: Duration = Duration::from_secs(1);

/// Where a stream left off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub Standing);

impl Token {
    /// Reads a token.
    pub fn read(text: &str) -> Option<Token> {
        let (version, payment) = text.split_once('.')?;
        let version = version.parse().ok().filter(|version| *version >= 1)?;
        let payment = PaymentState::ALL
            .iter()
            .find(|state| (state.wire() as i32).to_string() == payment)?;
        Some(Token((version, *payment)))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.0, self.0.1.wire() as i32)
    }
}

/// What the client reads.
pub type Answers = ReceiverStream<Result<WatchTripResponse, Status>>;

/// Begins a watch.
///
/// # Errors
/// NOT_FOUND when the viewer does not see the trip; OVERLOADED.
pub async fn watch(
    app: &Arc<App>,
    trip_id: TripId,
    viewer: Viewer,
    resume: Option<Token>,
) -> Result<Answers, Error> {
    let permit = Arc::clone(&app.watches)
        .try_acquire_owned()
        .map_err(|_| Error::TooManyWatches)?;
    // Ears first, then the reading: no change falls in between.
    let changes = app.hub.subscribe(trip_id);
    let trip = Arc::new(app.store.trip(trip_id).await?);
    if !viewer.sees(&trip) {
        return Err(Error::NotFound("trip"));
    }
    app.hub.tell(&trip);
    let link_until = match &viewer {
        Viewer::Guest(_, expires_at) => {
            let left = *expires_at - app.now();
            Some(Instant::now() + left.to_std().unwrap_or_default())
        }
        _ => None,
    };
    let (answers, receiver) = mpsc::channel(QUEUE);
    let watch = Watch {
        app: Arc::clone(app),
        viewer,
        trip,
        changes,
        answers,
        position: None,
        link_until,
        _permit: permit,
    };
    app.platform
        .tasks
        .spawn(watch.run(resume).in_current_span());
    Ok(ReceiverStream::new(receiver))
}

struct Watch {
    app: Arc<App>,
    viewer: Viewer,
    /// The newest trip that was sent.
    trip: Arc<Trip>,
    changes: Subscription,
    answers: mpsc::Sender<Result<WatchTripResponse, Status>>,
    position: Option<Position>,
    /// When the link ends by which the viewer looks.
    link_until: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

/// What ends a watch before the trip does: the client has gone.
struct Gone;

enum News {
    Trip(Arc<Trip>),
    Missed,
    Position(DriverPosition),
    PaymentWaited,
    LinkEnded,
    Stopping,
}

impl Watch {
    async fn run(mut self, resume: Option<Token>) {
        let is_known = resume == Some(Token(hub::standing(&self.trip)));
        if !is_known && self.send_trip().await.is_err() {
            return;
        }
        let mut payment_until = None;
        loop {
            if self.trip.state.is_end() {
                let sees_payment = !matches!(self.viewer, Viewer::Guest(..));
                if self.trip.payment_state.is_settled() || !sees_payment {
                    return;
                }
                payment_until
                    .get_or_insert_with(|| Instant::now() + self.app.config.watch_payment_wait);
            }
            self.follow_driver();
            let sent = match self.next(payment_until).await {
                Err(Gone) | Ok(News::PaymentWaited) => return,
                Ok(News::Stopping) => {
                    // The client may have gone at the same moment.
                    let _ = self.answers.send(Err(Error::Stopping.into())).await;
                    return;
                }
                Ok(News::Trip(trip)) => self.take(trip).await,
                Ok(News::LinkEnded) => self.fail(Error::NotFound("link any more")).await,
                Ok(News::Missed) => match self.app.store.trip(self.trip.trip_id).await {
                    Ok(trip) => self.take(Arc::new(trip)).await,
                    Err(error) => self.fail(error).await,
                },
                Ok(News::Position(position)) => self.send(Update::DriverPosition(position)).await,
            };
            if sent.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self, payment_until: Option<Instant>) -> Result<News, Gone> {
        let payment_waited = async {
            match payment_until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let link_ended = async {
            match self.link_until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let moved = async {
            match &mut self.position {
                Some(position) => position.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The trip before the position: nobody reads where a driver is whom they lost.
            biased;
            () = self.answers.closed() => Err(Gone),
            () = self.app.platform.shutdown.cancelled() => Ok(News::Stopping),
            change = self.changes.next() => Ok(change.map_or(News::Missed, News::Trip)),
            () = payment_waited => Ok(News::PaymentWaited),
            () = link_ended => Ok(News::LinkEnded),
            position = moved => Ok(News::Position(position)),
        }
    }

    async fn take(&mut self, trip: Arc<Trip>) -> Result<(), Gone> {
        if !hub::is_news(hub::standing(&trip), hub::standing(&self.trip)) {
            return Ok(());
        }
        self.trip = trip;
        self.send_trip().await
    }

    async fn send_trip(&mut self) -> Result<(), Gone> {
        match view::of(&self.trip, &self.viewer) {
            Some(trip) => self.send(Update::Trip(trip)).await,
            None => self.fail(Error::NotFound("trip")).await,
        }
    }

    async fn send(&mut self, update: Update) -> Result<(), Gone> {
        let resume_token = Token(hub::standing(&self.trip)).to_string();
        let answer = WatchTripResponse {
            resume_token,
            update: Some(update),
        };
        self.answers.send(Ok(answer)).await.map_err(|_| Gone)
    }

    async fn fail(&mut self, error: Error) -> Result<(), Gone> {
        let _ = self.answers.send(Err(error.into())).await;
        Err(Gone)
    }

    /// Follows the trip's driver from assignment to the end: to the pick-up, then to the drop-off.
    fn follow_driver(&mut self) {
        let wanted = self
            .trip
            .driver
            .as_ref()
            .filter(|_| self.trip.state.has_claim())
            .map(|driver| {
                let is_on_board = self.trip.started_at.is_some();
                let target = if is_on_board {
                    self.trip.next_place()
                } else {
                    self.trip.pickup
                };
                (driver.driver_id.clone(), target)
            });
        let followed = self.position.as_ref().map(|position| &position.of);
        if followed != wanted.as_ref() {
            self.position = wanted.map(|of| Position::follow(Arc::clone(&self.app), of));
        }
    }
}

/// The newest position of a driver on the way to a target. Dropping it ends the following.
struct Position {
    of: (DriverId, Place),
    newest: watch::Receiver<Option<DriverPosition>>,
    follower: tokio::task::JoinHandle<()>,
}

impl Position {
    fn follow(app: Arc<App>, of: (DriverId, Place)) -> Position {
        let (sender, newest) = watch::channel(None);
        let (driver_id, target) = of.clone();
        let work = async move {
            while let Err(status) = pass_on(&app, &driver_id, target, &sender).await {
                tracing::debug!(%driver_id, code = ?status.code(), "the position is asked for again");
                tokio::time::sleep(POSITION_RETRY).await;
            }
        };
        Position {
            of,
            newest,
            follower: tokio::spawn(work.in_current_span()),
        }
    }

    /// The next position; a slow client reads the newest of several.
    async fn next(&mut self) -> DriverPosition {
        loop {
            if self.newest.changed().await.is_err() {
                return std::future::pending().await;
            }
            if let Some(position) = *self.newest.borrow_and_update() {
                return position;
            }
        }
    }
}

impl Drop for Position {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Passes positions on until matching's stream breaks.
async fn pass_on(
    app: &App,
    driver_id: &DriverId,
    target: Place,
    newest: &watch::Sender<Option<DriverPosition>>,
) -> Result<(), Status> {
    let mut matching = app.matching.clone();
    let request = WatchDriverRequest {
        driver_id: driver_id.to_string(),
        target: Some(target.into()),
    };
    let mut positions = app.call(matching.watch_driver(request)).await?;
    while let Some(position) = positions.message().await? {
        newest.send_replace(Some(DriverPosition {
            location: position.location,
            heading_degrees: position.heading_degrees,
            located_at: position.located_at,
            eta_ms: position.eta_ms,
        }));
    }
    Err(Status::unavailable("the stream of positions ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        for &payment in PaymentState::ALL {
            let token = Token((7, payment));
            assert_eq!(Token::read(&token.to_string()), Some(token));
        }
        for bad in ["", "7", ".", "0.2", "-1.2", "7.0", "7.99", "7.2.1", "x.2"] {
            assert_eq!(Token::read(bad), None, "{bad:?}");
        }
    }
}
