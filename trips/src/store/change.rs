//! One change, in its transaction: the trip is locked, the command judged, and the trip, its offers and
//! claims, its log and the event are written together.

use jitney_platform::outbox::{self, NewEvent};
use jitney_proto::ids::{DriverId, EventId, TripId};
use prost::Message;
use sqlx::{PgConnection, Row};
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{
    Outcome, Rules, claims, fresh_id,
    rows::{self, OfferRow, TripRow},
    trace,
};
use crate::{
    command::Command,
    error::{Error, ran_out},
    events,
    state::{self, Change, Context, Effect, Refusal, Transition},
    statements,
    trip::{Offer, OfferState, Trip},
};

/// The inner error is a refusal that is to be committed: its try is counted.
pub(super) async fn judge_and_write(
    connection: &mut PgConnection,
    trip_id: TripId,
    command: &Command,
    rules: Rules,
) -> Result<Result<Outcome, Refusal>, Error> {
    let (trip, named_offer) = lock(connection, trip_id, command).await?;
    let context = Context {
        now: rules.now,
        named_offer,
        gave_back: gave_back(connection, &trip, command).await?,
        has_earlier_ride: match command {
            Command::Arrive(_) => claims::has_earlier_ride(connection, trip.trip_id).await?,
            _ => false,
        },
        limits: rules.limits,
    };
    match state::apply(&trip, command, &context) {
        Ok(Transition::Unchanged) => Ok(Ok(Outcome {
            trip,
            is_changed: false,
        })),
        Ok(Transition::Changed(change)) => {
            write(connection, &change).await?;
            Ok(Ok(Outcome {
                trip: change.trip,
                is_changed: true,
            }))
        }
        Err(refusal @ Refusal::WrongPin { .. }) => {
            sqlx::query(statements::COUNT_WRONG_PIN)
                .bind(trip_id.0)
                .execute(&mut *connection)
                .await?;
            Ok(Err(refusal))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// The trip, locked, with its own offer, and the offer the command names.
async fn lock(
    connection: &mut PgConnection,
    trip_id: TripId,
    command: &Command,
) -> Result<(Trip, Option<Offer>), Error> {
    let row: TripRow = sqlx::query_as(statements::LOCK_TRIP)
        .bind(trip_id.0)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(Error::NotFound("trip"))?;
    let named_id = command.offer_id().map(|offer| offer.0);
    let own_id = row.offer_id;
    let wanted: Vec<Uuid> = own_id.into_iter().chain(named_id).collect();
    let mut offers = Vec::new();
    if !wanted.is_empty() {
        let rows: Vec<OfferRow> = sqlx::query_as(statements::READ_OFFERS)
            .bind(trip_id.0)
            .bind(&wanted)
            .fetch_all(&mut *connection)
            .await?;
        for row in rows {
            offers.push(row.offer()?);
        }
    }
    let find = |id: Option<Uuid>| {
        offers
            .iter()
            .find(|offer| Some(offer.offer_id.0) == id)
            .cloned()
    };
    Ok((row.with(find(own_id))?, find(named_id)))
}

/// Whether the driver who calls gave this trip back. Asked only where it matters.
async fn gave_back(
    connection: &mut PgConnection,
    trip: &Trip,
    command: &Command,
) -> Result<bool, Error> {
    match command {
        Command::GiveBack(give_back) if !trip.is_driven_by(&give_back.driver_id) => {
            has_accepted(connection, trip.trip_id, &give_back.driver_id).await
        }
        _ => Ok(false),
    }
}

async fn has_accepted(
    connection: &mut PgConnection,
    trip_id: TripId,
    driver_id: &DriverId,
) -> Result<bool, Error> {
    let row = sqlx::query(statements::HAS_ACCEPTED)
        .bind(trip_id.0)
        .bind(driver_id.as_str())
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("has_accepted")?)
}

/// Writes a change: what the database itself has to judge comes first, then the trip, its log and the
/// event for the others.
pub(super) async fn write(connection: &mut PgConnection, change: &Change) -> Result<(), Error> {
    let trip = &change.trip;
    let mut beside = None;
    for effect in &change.effects {
        if let Effect::Claim(driver_id, offered) = effect {
            beside = claims::claim(connection, trip.trip_id, driver_id, *offered).await?;
        } else {
            carry(connection, effect, change).await?;
        }
    }
    let told = trace::begin(change, &Span::current());
    let event_id = fresh_id(trip.updated_at);
    let event = NewEvent {
        event_id,
        aggregate_type: events::AGGREGATE,
        aggregate_id: trip.trip_id.0,
        kind: events::name(change.event),
        payload: events::event(EventId(event_id), change, beside).encode_to_vec(),
        version: trip.version,
    };
    let Some(from) = change.from else {
        return write_first(connection, change, event)
            .instrument(told.span)
            .await;
    };
    let written = rows::update(trip)
        .bind(from.name())
        .bind(change.by.actor.name())
        .bind(&change.by.id)
        .bind(&change.reason)
        .bind(event.event_id)
        .bind(event.aggregate_type)
        .bind(event.kind)
        .bind(event.payload)
        .bind(told.traceparent)
        .execute(connection)
        .instrument(told.span)
        .await?;
    if written.rows_affected() != 1 {
        return Err(Error::Defect(format!(
            "version {} was written over",
            trip.version
        )));
    }
    Ok(())
}

/// The first version of a trip, its log and its event.
async fn write_first(
    connection: &mut PgConnection,
    change: &Change,
    event: NewEvent<'_>,
) -> Result<(), Error> {
    let trip = &change.trip;
    rows::insert(trip).execute(&mut *connection).await?;
    sqlx::query(statements::INSERT_TRANSITION)
        .bind(trip.trip_id.0)
        .bind(trip.version)
        .bind(None::<&str>)
        .bind(trip.state.name())
        .bind(change.by.actor.name())
        .bind(&change.by.id)
        .bind(&change.reason)
        .bind(trip.updated_at)
        .execute(&mut *connection)
        .await?;
    outbox::append(connection, event).await?;
    Ok(())
}

async fn carry(
    connection: &mut PgConnection,
    effect: &Effect,
    change: &Change,
) -> Result<(), Error> {
    let trip_id = change.trip.trip_id.0;
    let at = change.trip.updated_at;
    match effect {
        Effect::OpenOffer(offer) => {
            sqlx::query(statements::OPEN_OFFER)
                .bind(offer.offer_id.0)
                .bind(trip_id)
                .bind(offer.driver_id.as_str())
                .bind(offer.expires_at)
                .bind(at)
                .bind(offer.beside.map(|beside| beside.trip_id.0))
                .bind(offer.beside.is_some_and(|beside| beside.shared))
                .bind(offer.pickup_duration_ms)
                .execute(connection)
                .await?;
        }
        Effect::CloseOffer(offer_id, OfferState::Accepted) => {
            let driver_id = change.driver_id.as_ref().map(DriverId::as_str);
            let result = sqlx::query(statements::ACCEPT_OFFER)
                .bind(offer_id.0)
                .bind(trip_id)
                .bind(driver_id)
                .bind(at)
                .execute(connection)
                .await?;
            if result.rows_affected() != 1 {
                return Err(ran_out(change.from.unwrap_or(change.trip.state)));
            }
        }
        Effect::CloseOffer(offer_id, how) => {
            sqlx::query(statements::CLOSE_OFFER)
                .bind(offer_id.0)
                .bind(trip_id)
                .bind(how.name())
                .bind(at)
                .execute(connection)
                .await?;
        }
        Effect::Release(driver_id) => {
            claims::release(connection, change.trip.trip_id, driver_id).await?;
        }
        Effect::ChangeWay => {
            let trip = &change.trip;
            let tariff = trip.tariff.as_ref();
            sqlx::query(statements::CHANGE_WAY)
                .bind(trip_id)
                .bind(trip.dropoff.latitude)
                .bind(trip.dropoff.longitude)
                .bind(trip.distance_m)
                .bind(trip.duration_ms)
                .bind(trip.fare.minor)
                .bind(trip.fees.cancellation_minor)
                .bind(trip.fees.no_show_minor)
                .bind(tariff.map(|tariff| tariff.version.as_str()))
                .bind(tariff.map(|tariff| tariff.surge_percent.cast_signed()))
                .bind(&trip.price_quote_id)
                .execute(connection)
                .await?;
        }
        Effect::MarkHeld => {
            sqlx::query(statements::MARK_HELD)
                .bind(trip_id)
                .execute(connection)
                .await?;
        }
        // Its outcome is part of the event: see `write`.
        Effect::Claim(..) => {}
    }
    Ok(())
}
