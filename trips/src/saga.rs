//! The search for a driver: one task per trip that needs one, reading what matching's search says and
//! making it the trip's state. It can be broken off anywhere and begun again from the database; two at
//! the same time do no harm, because the trip's row decides.

use std::{sync::Arc, time::Duration};

use jitney_platform::telemetry::TraceContext;
use jitney_proto::{
    ids::{DriverId, OfferId, TripId},
    matching::v1::{
        MatchEndReason, MatchEnded, OfferEndReason, OfferEnded, OfferMade, RequestMatchRequest,
        RequestMatchResponse, request_match_response::Event,
    },
    time::{moment, timestamp},
};
use tonic::{Code, Status, Streaming};
use tracing::Instrument;

use crate::{
    app::{App, MATCHING},
    command::{Command, expire::Expire, offer},
    error::Error,
    hub::Subscription,
    state::{Refusal, State},
    trip::{Beside, OfferState, Trip},
};

/// The wait before a broken search is begun again; it doubles with every failure in a row.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long matching may take to end the stream of a trip that needs no driver any more.
const END_WAIT: Duration = Duration::from_secs(5);
/// More of matching's words than this are not kept.
const DETAIL_CHARS_MAX: usize = 200;

/// How one stream of matching's ended.
enum End {
    /// The trip needs no driver any more, or somebody else searches.
    Over,
    /// It needs one still: ask again, at once.
    Again,
    /// It needs one still, and matching stopped: ask again after a while.
    Broken,
}

/// Searches until the trip needs no driver any more.
pub async fn search(app: Arc<App>, trip_id: TripId) {
    let mut wait = RETRY_MIN;
    // Ears first: a change between the reading and the listening would be missed.
    let mut changes = app.hub.subscribe(trip_id);
    loop {
        match once(&app, trip_id, &mut changes).await {
            Ok(End::Over) => return,
            Ok(End::Again) => wait = RETRY_MIN,
            Ok(End::Broken) => {}
            Err(error) => tracing::warn!(%trip_id, %error, "a search was broken off"),
        }
        tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn once(app: &Arc<App>, trip_id: TripId, changes: &mut Subscription) -> Result<End, Error> {
    let trip = app.store.trip(trip_id).await?;
    if !trip.state.needs_driver() {
        return Ok(End::Over);
    }
    let span = tracing::info_span!("trip.search", trip.id = %trip_id);
    if let Some(ride) = trip.traceparent.as_deref().and_then(TraceContext::parse) {
        ride.adopt(&span);
    }
    ask(app, &trip, changes).instrument(span).await
}

/// One stream of matching's, from its beginning to its end.
async fn ask(app: &Arc<App>, trip: &Trip, changes: &mut Subscription) -> Result<End, Error> {
    let request = request(app, trip).await?;
    let mut matching = app.matching.clone();
    let mut stream = match app.call(matching.request_match(request)).await {
        Ok(stream) => stream,
        Err(status) => return broken(status),
    };
    listen(app, trip, &mut stream, changes).await
}

/// Reads matching's stream and, beside it, whether the trip still needs this search.
async fn listen(
    app: &Arc<App>,
    trip: &Trip,
    stream: &mut Streaming<RequestMatchResponse>,
    changes: &mut Subscription,
) -> Result<End, Error> {
    let mut ends_by = None;
    loop {
        let patience = async {
            match ends_by {
                Some(ends_by) => tokio::time::sleep_until(ends_by).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = stream.message() => match message {
                Ok(Some(message)) => {
                    if let Some(end) = hear(app, trip, message).await? {
                        return Ok(end);
                    }
                }
                Ok(None) => return Ok(End::Broken),
                Err(status) => return broken(status),
            },
            change = changes.next() => {
                let now = match change {
                    Some(now) => now,
                    None => Arc::new(app.store.trip(trip.trip_id).await?),
                };
                if !now.state.needs_driver() {
                    ends_by.get_or_insert_with(|| tokio::time::Instant::now() + END_WAIT);
                } else if errand(&now) != errand(trip) {
                    return Ok(End::Again);
                }
            },
            () = patience => return Ok(End::Over),
        }
    }
}

/// What makes another search of it: a driver had it and gave it back, or the rider goes elsewhere.
fn errand(trip: &Trip) -> impl PartialEq {
    (trip.search_until, trip.dropoff, trip.fare)
}

/// A stream that another process has taken over is left to it; the recovery of searches looks after
/// the trip if that process is gone.
fn broken(status: Status) -> Result<End, Error> {
    match status.code() {
        Code::Aborted => Ok(End::Over),
        _ => Err(Error::of_call(MATCHING, status)),
    }
}

async fn request(app: &App, trip: &Trip) -> Result<RequestMatchRequest, Error> {
    Ok(RequestMatchRequest {
        trip_id: trip.trip_id.into(),
        rider_id: trip.rider_id.to_string(),
        product: trip.product.to_string(),
        pickup: Some(trip.pickup.into()),
        dropoff: Some(trip.dropoff.into()),
        fare: Some(trip.fare.into()),
        seats: trip.seats,
        reservation_id: trip.reservation_id.map(String::from).unwrap_or_default(),
        excluded_driver_ids: app.store.excluded_drivers(trip.trip_id).await?,
        give_up_at: Some(timestamp(trip.search_until)),
        open_offer_id: trip
            .open_offer()
            .map(|offer| offer.offer_id.into())
            .unwrap_or_default(),
    })
}

/// Makes one word of matching's the trip's state; how the stream ended, if it did.
async fn hear(
    app: &Arc<App>,
    trip: &Trip,
    message: RequestMatchResponse,
) -> Result<Option<End>, Error> {
    let trip_id = trip.trip_id;
    match message.event {
        Some(Event::OfferMade(made)) => record(app, trip, &made).await.map(|()| None),
        Some(Event::OfferEnded(ended)) => end(app, trip_id, &ended).await.map(|()| None),
        Some(Event::Ended(ended)) => conclude(app, trip, &ended).await.map(Some),
        None => Ok(None),
    }
}

/// Records an offer of the ride that the search was asked for.
async fn record(app: &Arc<App>, trip: &Trip, made: &OfferMade) -> Result<(), Error> {
    let trip_id = trip.trip_id;
    let odd = |what: &str| Error::Defect(format!("matching made an offer with an odd {what}"));
    let expires_at = made.expires_at.as_ref().ok_or_else(|| odd("expiry"))?;
    let make = offer::Make {
        offer_id: made.offer_id.parse().map_err(|_| odd("id"))?,
        driver_id: made
            .driver_id
            .parse::<DriverId>()
            .map_err(|_| odd("driver"))?,
        expires_at: moment(expires_at, "expires_at").map_err(|_| odd("expiry"))?,
        pickup_duration_ms: (made.pickup_duration_ms > 0).then_some(made.pickup_duration_ms),
        dropoff: trip.dropoff,
        fare: trip.fare,
        beside: match made.beside_trip_id.as_str() {
            "" => None,
            trip => Some(Beside {
                trip_id: trip.parse().map_err(|_| odd("other trip"))?,
                shared: made.shared,
            }),
        },
    };
    match app.carry_out(trip_id, Command::Offer(make.clone())).await {
        // Matching lost an offer (a restart) and made another: the older one is over.
        Err(Error::Refused(Refusal::IllegalTransition {
            state: State::Offered,
            ..
        })) => {
            supersede(app, trip_id, make.offer_id).await?;
            allowed(app.carry_out(trip_id, Command::Offer(make)).await)
        }
        outcome => allowed(outcome),
    }
}

/// Ends the open offer in favour of another one.
async fn supersede(app: &Arc<App>, trip_id: TripId, by: OfferId) -> Result<(), Error> {
    let trip = app.store.trip(trip_id).await?;
    let Some(open) = trip.open_offer().filter(|open| open.offer_id != by) else {
        return Ok(());
    };
    let end = offer::End {
        offer_id: open.offer_id,
        how: OfferState::Withdrawn,
    };
    allowed(app.carry_out(trip_id, Command::EndOffer(end)).await)
}

async fn end(app: &Arc<App>, trip_id: TripId, ended: &OfferEnded) -> Result<(), Error> {
    let how = match ended.reason() {
        // Whoever accepted or declined did so here.
        OfferEndReason::Accepted => return Ok(()),
        OfferEndReason::Declined => OfferState::Declined,
        OfferEndReason::Expired => OfferState::Expired,
        OfferEndReason::Withdrawn | OfferEndReason::Unspecified => OfferState::Withdrawn,
    };
    let odd = |_| Error::Defect("matching ended an offer with an odd id".to_owned());
    let end = offer::End {
        offer_id: ended.offer_id.parse().map_err(odd)?,
        how,
    };
    allowed(app.carry_out(trip_id, Command::EndOffer(end)).await)
}

async fn conclude(app: &Arc<App>, trip: &Trip, ended: &MatchEnded) -> Result<End, Error> {
    match ended.reason() {
        MatchEndReason::NoDriver => {
            let detail = ended.detail.chars().take(DETAIL_CHARS_MAX).collect();
            let expire = Expire {
                search_until: trip.search_until,
                detail,
            };
            allowed(app.carry_out(trip.trip_id, Command::Expire(expire)).await)?;
            // If the trip was given back meanwhile, the next round searches anew.
            Ok(End::Again)
        }
        // Usually so; a driver may have given it back already.
        MatchEndReason::Assigned => Ok(End::Again),
        MatchEndReason::Cancelled | MatchEndReason::Unspecified => Ok(End::Broken),
    }
}

/// What matching says may be late: the trip's own refusal means that it knows better.
fn allowed(outcome: Result<Arc<Trip>, Error>) -> Result<(), Error> {
    match outcome {
        Ok(_) | Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
