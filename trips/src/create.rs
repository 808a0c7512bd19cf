//! CreateTrip: a hold at billing and a trip here, exactly one of each per idempotency key, whatever is
//! repeated, raced or killed.
//!
//! 1. The key's row is written first, with the trip's id and the quote. Whoever repeats the request,
//!    also at the same moment, goes on with that trip and that quote.
//! 2. The fare is held under a key made of the trip's id, so repeating it makes no second hold.
//!    A ride for later has its fare held when its time has come: see [`crate::booking`].
//! 3. One transaction makes the trip and marks the row as done. The row is locked by it, so of two
//!    equal requests one makes the trip and the other reads its answer.
//!
//! Undo: a refusal after the hold is kept in the row and the hold is released, at once if billing
//! answers and otherwise by [`crate::jobs::release_holds`], which also gives up what nobody finished.
//! A refusal is the answer to its key from then on. A failure that says nothing (a service away, a
//! process killed) leaves the row as it is: repeating the request goes on from there.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jitney_proto::{
    Code,
    billing::v1::{AuthorizeHoldRequest, HoldState, PaymentMethod, VoidHoldRequest},
    ids::{ProductId, QuoteId, ReservationId, RiderId, TripId},
    trips::v1::CreateTripResponse,
};
use prost::Message;

use crate::{
    app::{App, BILLING, chrono_of},
    command::request::{self, Request},
    error::Error,
    quote::{self, Wish},
    store::{
        fresh_id,
        keys::{Fate, Known, RequestName},
        quotes::Quote,
    },
    trip::{Booking, By, Place},
    view::{self, Viewer},
};

/// How far, in degrees, a place may be from the quote's and still be the same: a tenth of a metre,
/// for clients that print coordinates with six digits.
const SAME_PLACE_DEGREES: f64 = 1e-6;

/// A ride that is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who rides.
    pub rider_id: RiderId,
    /// Who asks.
    pub by: By,
    /// The id in the token of who asks; quotes made under it may be used.
    pub asked_by: String,
    /// Who reads the answer.
    pub viewer: Viewer,
    /// The client's name for the request.
    pub key: String,
    /// SHA-256 of the request.
    pub hash: Vec<u8>,
    /// The quote to ride at; without one the ride is priced now.
    pub quote_id: Option<QuoteId>,
    /// Where the rider waits.
    pub pickup: Option<Place>,
    /// Stops on the way; with a quote, none or the quote's.
    pub stops: Vec<Place>,
    /// Where the rider goes.
    pub dropoff: Option<Place>,
    /// The product.
    pub product: Option<ProductId>,
    /// The reservation of MatchDriver to use first.
    pub reservation_id: Option<ReservationId>,
    /// How many ride along, the rider included.
    pub seats: u32,
    /// When the rider wants to be picked up.
    pub pickup_at: Option<DateTime<Utc>>,
    /// How the ride is going to be paid.
    pub payment_method: PaymentMethod,
}

/// Makes the trip, or finds the one the key made before.
///
/// # Errors
/// IDEMPOTENCY_KEY_REUSED, QUOTE_EXPIRED, PAYMENT_DECLINED, RIDER_HAS_LIVE_TRIP, NOT_FOUND for a quote
/// that is not the rider's, and those of [`quote::quote`].
pub async fn create(app: &Arc<App>, asked: Asked) -> Result<CreateTripResponse, Error> {
    let app = Arc::clone(app);
    // Seen through to the end: a client that goes away half-way must not leave a hold without a trip
    // for minutes.
    app.clone()
        .see_through(async move { begin(&app, &asked).await })
        .await
}

async fn begin(app: &Arc<App>, asked: &Asked) -> Result<CreateTripResponse, Error> {
    let name = RequestName {
        scope: asked.rider_id.to_string(),
        key: asked.key.clone(),
    };
    let known = match app.store.request(&name).await? {
        Some(known) => known,
        None => {
            let quote_id = choose_quote(app, asked).await?;
            let trip_id = TripId(fresh_id(app.now()));
            app.store
                .start_request(&name, &asked.hash, trip_id, quote_id)
                .await?;
            // Another request with the same key may have been quicker: the row decides.
            app.store.request(&name).await?.ok_or(Error::KeyBusy)?
        }
    };
    if known.hash != asked.hash {
        return Err(Error::KeyReused);
    }
    match known.fate {
        Fate::Started => go_on(app, asked, &name, &known).await,
        fate => answer(fate, asked),
    }
}

/// From the key's row to the trip.
async fn go_on(
    app: &Arc<App>,
    asked: &Asked,
    name: &RequestName,
    known: &Known,
) -> Result<CreateTripResponse, Error> {
    let trip_id = known.trip_id;
    let quote = app.store.quote(known.quote_id).await?;
    let booking = quote.way.pickup_at.map(|pickup_at| Booking {
        pickup_at,
        release_at: pickup_at - chrono_of(app.config.booking.release_before),
        fare_quote_id: quote.fare_quote_id.clone(),
    });
    if booking.is_none() {
        let rider_id = asked.rider_id.as_str();
        if app.store.has_live_trip(rider_id, trip_id).await? {
            return refuse(app, asked, name, trip_id, Error::RiderHasLiveTrip, false).await;
        }
        let (rider_id, method) = (&asked.rider_id, asked.payment_method);
        match hold(app, rider_id, trip_id, &quote.fare_quote_id, method).await {
            Ok(()) => {}
            Err(error @ (Error::PaymentDeclined | Error::QuoteExpired)) => {
                return refuse(app, asked, name, trip_id, error, true).await;
            }
            Err(error) => return Err(error),
        }
    }
    let request = Request {
        trip_id,
        rider_id: asked.rider_id.clone(),
        product: quote.product,
        pickup: quote.way.pickup,
        stops: quote.way.stops,
        dropoff: quote.way.dropoff,
        seats: asked.seats,
        fare: quote.fare,
        tariff: quote.tariff,
        fees: quote.fees,
        distance_m: quote.way.distance_m,
        duration_ms: quote.way.duration_ms,
        reservation_id: asked.reservation_id,
        booking,
        payment_method: asked.payment_method,
        by: asked.by.clone(),
        traceparent: jitney_platform::telemetry::traceparent(),
    };
    // A PIN that a seed foretells would protect nothing.
    #[allow(clippy::disallowed_methods)]
    let change = request::apply(&request, &app.context(), &mut rand::rng());
    let trip = Arc::new(change.trip.clone());
    let as_rider = Viewer::Rider(asked.rider_id.clone());
    let response = CreateTripResponse {
        trip: view::of(&trip, &as_rider),
    };
    let kept = response.encode_to_vec();
    match app.store.finish_request(name.clone(), change, kept).await {
        Ok(None) => {
            app.announce(&trip);
            Ok(for_viewer(response, &asked.viewer))
        }
        Ok(Some(fate)) => {
            // Refused or given up meanwhile: what was just held is nobody's.
            if !matches!(fate, Fate::Done(_)) {
                release(app, name, trip_id).await;
            }
            answer(fate, asked)
        }
        Err(Error::RiderHasLiveTrip) => {
            refuse(app, asked, name, trip_id, Error::RiderHasLiveTrip, false).await
        }
        Err(error) => Err(error),
    }
}

/// The quote the request names, or one made now.
async fn choose_quote(app: &Arc<App>, asked: &Asked) -> Result<QuoteId, Error> {
    let Some(quote_id) = asked.quote_id else {
        let needed = |field| Error::BadField {
            field,
            problem: "is required without a quote".into(),
        };
        let wish = Wish {
            asked_by: asked.rider_id.to_string(),
            pickup: asked.pickup.ok_or_else(|| needed("pickup"))?,
            stops: asked.stops.clone(),
            dropoff: asked.dropoff.ok_or_else(|| needed("dropoff"))?,
            product: Some(asked.product.clone().ok_or_else(|| needed("product"))?),
            pickup_at: asked.pickup_at,
        };
        let quote_id = quote::quote_one(app, &wish).await?;
        seated(asked, &app.store.quote(quote_id).await?)?;
        return Ok(quote_id);
    };
    let quote = app.store.quote(quote_id).await?;
    if quote.asked_by != asked.rider_id.as_str() && quote.asked_by != asked.asked_by {
        return Err(Error::NotFound("quote"));
    }
    let differs = |field| Error::BadField {
        field,
        problem: "is not the quote's".into(),
    };
    if asked
        .pickup
        .is_some_and(|place| !is_same(place, quote.way.pickup))
    {
        return Err(differs("pickup"));
    }
    if asked
        .dropoff
        .is_some_and(|place| !is_same(place, quote.way.dropoff))
    {
        return Err(differs("dropoff"));
    }
    let has_same_stops = asked.stops.len() == quote.way.stops.len()
        && asked
            .stops
            .iter()
            .zip(&quote.way.stops)
            .all(|(one, other)| is_same(*one, *other));
    if !asked.stops.is_empty() && !has_same_stops {
        return Err(differs("stops"));
    }
    if asked
        .product
        .as_ref()
        .is_some_and(|product| *product != quote.product)
    {
        return Err(differs("product"));
    }
    if asked.pickup_at.is_some() && asked.pickup_at != quote.way.pickup_at {
        return Err(differs("pickup_at"));
    }
    // A booked ride's price holds until then; that the time has not gone by is enough here.
    let is_over = quote
        .way
        .pickup_at
        .is_some_and(|pickup_at| pickup_at <= app.now());
    if !quote.holds || is_over {
        return Err(Error::QuoteExpired);
    }
    seated(asked, &quote)?;
    Ok(quote_id)
}

/// Refuses more riders than the product has seats.
fn seated(asked: &Asked, quote: &Quote) -> Result<(), Error> {
    match quote.seats_max {
        Some(most) if asked.seats > most => Err(Error::BadField {
            field: "seats",
            problem: format!("is more than {} has: {most}", quote.product),
        }),
        _ => Ok(()),
    }
}

fn is_same(one: Place, other: Place) -> bool {
    (one.latitude - other.latitude).abs() <= SAME_PLACE_DEGREES
        && (one.longitude - other.longitude).abs() <= SAME_PLACE_DEGREES
}

/// Holds the fare. The key is the trip's, so a repetition finds the same hold.
///
/// # Errors
/// PAYMENT_DECLINED, QUOTE_EXPIRED, UNAVAILABLE when billing cannot be reached, IDEMPOTENCY_KEY_REUSED
/// when the trip's hold was made under another quote.
pub async fn hold(
    app: &App,
    rider_id: &RiderId,
    trip_id: TripId,
    fare_quote_id: &str,
    payment_method: PaymentMethod,
) -> Result<(), Error> {
    let mut billing = app.billing.clone();
    let request = AuthorizeHoldRequest {
        trip_id: trip_id.into(),
        rider_id: rider_id.to_string(),
        quote_id: fare_quote_id.to_owned(),
        idempotency_key: format!("{trip_id}:hold"),
        payment_method: payment_method.into(),
    };
    let answer = match app.call(billing.authorize_hold(request)).await {
        Ok(answer) => answer,
        // Billing has forgotten the quote: it ran out long ago.
        Err(status) if Code::of(&status) == Some(Code::NotFound) => {
            return Err(Error::QuoteExpired);
        }
        Err(status) if Code::of(&status) == Some(Code::IdempotencyKeyReused) => {
            return Err(Error::KeyReused);
        }
        Err(status) => return Err(Error::of_call(BILLING, status)),
    };
    let hold = answer
        .hold
        .ok_or_else(|| Error::Defect("billing held nothing".to_owned()))?;
    match hold.state() {
        HoldState::Held => Ok(()),
        // It lapsed, or was released as abandoned, before this repetition came.
        HoldState::Voided => Err(Error::QuoteExpired),
        state => Err(Error::Defect(format!(
            "the hold of a trip that is not there is {state:?}"
        ))),
    }
}

/// Keeps the refusal as the key's answer and releases what may be held. A request that was done or
/// refused by its twin meanwhile is answered as that one was.
async fn refuse(
    app: &Arc<App>,
    asked: &Asked,
    name: &RequestName,
    trip_id: TripId,
    error: Error,
    is_settled: bool,
) -> Result<CreateTripResponse, Error> {
    if app
        .store
        .refuse_request(name, trip_id, error.code(), is_settled)
        .await?
    {
        if !is_settled {
            release(app, name, trip_id).await;
        }
        return Err(error);
    }
    match app.store.request(name).await? {
        Some(known) => answer(known.fate, asked),
        None => Err(Error::KeyBusy),
    }
}

/// Releases the hold of a request without a trip, as far as billing can be reached now.
async fn release(app: &App, name: &RequestName, trip_id: TripId) {
    let settled = match void_hold(app, trip_id).await {
        Ok(()) => app.store.settle_request(name, trip_id).await,
        Err(error) => Err(error),
    };
    if let Err(error) = settled {
        tracing::warn!(%trip_id, %error, "a hold without a trip is released later");
    }
}

/// Has billing release the hold of a trip that will never be. Where there is none, that is as good.
///
/// # Errors
/// UNAVAILABLE when billing cannot be reached.
pub async fn void_hold(app: &App, trip_id: TripId) -> Result<(), Error> {
    let mut billing = app.billing.clone();
    let request = VoidHoldRequest {
        trip_id: trip_id.into(),
        idempotency_key: format!("{trip_id}:void"),
    };
    match app.call(billing.void_hold(request)).await {
        Ok(_) => Ok(()),
        Err(status) if Code::of(&status) == Some(Code::NotFound) => Ok(()),
        Err(status) => Err(Error::of_call(BILLING, status)),
    }
}

/// The answer of a request that has ended.
fn answer(fate: Fate, asked: &Asked) -> Result<CreateTripResponse, Error> {
    match fate {
        Fate::Done(kept) => CreateTripResponse::decode(kept.as_slice())
            .map(|response| for_viewer(response, &asked.viewer))
            .map_err(|error| Error::Defect(format!("a kept answer cannot be read: {error}"))),
        Fate::Refused(Code::QuoteExpired) => Err(Error::QuoteExpired),
        Fate::Refused(Code::PaymentDeclined) => Err(Error::PaymentDeclined),
        Fate::Refused(Code::RiderHasLiveTrip) => Err(Error::RiderHasLiveTrip),
        Fate::Refused(code) => Err(Error::Defect(format!("a kept refusal {}", code.reason()))),
        Fate::Started | Fate::Abandoned => Err(Error::KeyBusy),
    }
}

/// The answer is kept as the rider reads it; others do not read the PIN.
fn for_viewer(mut response: CreateTripResponse, viewer: &Viewer) -> CreateTripResponse {
    if let Some(trip) = &mut response.trip
        && !matches!(viewer, Viewer::Rider(_))
    {
        trip.pin.clear();
    }
    response
}
