//! Rows to domain types and back. A row that makes no sense is a defect, not a panic.

use chrono::{DateTime, Utc};
use jitney_proto::{
    billing::v1::PaymentMethod,
    ids::{OfferId, ReservationId, TripId},
    money::Money,
};
use sqlx::{
    FromRow, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
    types::Json,
};
use uuid::Uuid;

use crate::{
    error::Error,
    state::State,
    statements,
    trip::{
        Actor, AssignedDriver, Beside, Booking, By, Fee, Fees, LogEntry, Offer, OfferState,
        PaymentState, Place, Stop, Tariff, Trip,
    },
};

/// A row of `trip`.
#[derive(FromRow)]
pub(super) struct TripRow {
    trip_id: Uuid,
    version: i64,
    state: String,
    rider_id: String,
    driver_id: Option<String>,
    driver_plate: Option<String>,
    driver_vehicle: Option<String>,
    pub(super) offer_id: Option<Uuid>,
    product: String,
    pickup_latitude: f64,
    pickup_longitude: f64,
    dropoff_latitude: f64,
    dropoff_longitude: f64,
    fare_minor: i64,
    fare_currency: String,
    distance_m: i64,
    duration_ms: i64,
    payment_state: String,
    pin: String,
    wrong_pins: i32,
    reservation_id: Option<Uuid>,
    search_until: DateTime<Utc>,
    cancelled_by: Option<String>,
    end_reason: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    assigned_at: Option<DateTime<Utc>>,
    arrived_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    seats: i32,
    cancellation_fee_minor: i64,
    no_show_fee_minor: i64,
    fee: String,
    pickup_due_at: Option<DateTime<Utc>>,
    pickup_at: Option<DateTime<Utc>>,
    release_at: Option<DateTime<Utc>>,
    fare_quote_id: Option<String>,
    pay_in_cash: bool,
    stops: Json<Vec<Stop>>,
    tariff_version: Option<String>,
    surge_percent: Option<i32>,
    driven_m: Option<i64>,
    final_fare_minor: Option<i64>,
    final_quote_id: Option<String>,
    price_quote_id: Option<String>,
    traceparent: Option<String>,
}

/// The offer beside a trip, as `read_trip` and the lists join it.
#[derive(FromRow)]
pub(super) struct JoinedOffer {
    offer_driver_id: Option<String>,
    offer_expires_at: Option<DateTime<Utc>>,
    offer_state: Option<String>,
    offer_beside_trip_id: Option<Uuid>,
    offer_shared: Option<bool>,
    offer_pickup_duration_ms: Option<i64>,
}

/// A row of `offer`.
#[derive(FromRow)]
pub(super) struct OfferRow {
    pub(super) offer_id: Uuid,
    driver_id: String,
    expires_at: DateTime<Utc>,
    state: String,
    beside_trip_id: Option<Uuid>,
    shared: bool,
    pickup_duration_ms: Option<i64>,
}

/// A row of `trip_transition`.
#[derive(FromRow)]
pub(super) struct LogRow {
    version: i64,
    from_state: Option<String>,
    to_state: String,
    actor: String,
    actor_id: String,
    reason: String,
    at: DateTime<Utc>,
}

fn odd(what: &str, value: &str) -> Error {
    Error::Defect(format!("the database holds {what} {value:?}"))
}

fn id<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| odd(what, text))
}

impl TripRow {
    pub(super) fn with(self, offer: Option<Offer>) -> Result<Trip, Error> {
        let state = State::from_name(&self.state).ok_or_else(|| odd("trip state", &self.state))?;
        let driver = match self.driver_id {
            None => None,
            Some(driver_id) => Some(AssignedDriver {
                driver_id: id("driver", &driver_id)?,
                plate: self.driver_plate.unwrap_or_default(),
                vehicle: self.driver_vehicle.unwrap_or_default(),
            }),
        };
        let cancelled_by = self
            .cancelled_by
            .map(|actor| Actor::from_name(&actor).ok_or_else(|| odd("actor", &actor)))
            .transpose()?;
        let payment_state = PaymentState::from_name(&self.payment_state)
            .ok_or_else(|| odd("payment state", &self.payment_state))?;
        let booking = match (self.pickup_at, self.release_at, self.fare_quote_id) {
            (Some(pickup_at), Some(release_at), Some(fare_quote_id)) => Some(Booking {
                pickup_at,
                release_at,
                fare_quote_id,
            }),
            _ => None,
        };
        let currency = id("currency", &self.fare_currency)?;
        Ok(Trip {
            trip_id: TripId(self.trip_id),
            version: self.version,
            state,
            rider_id: id("rider", &self.rider_id)?,
            driver,
            offer,
            product: id("product", &self.product)?,
            pickup: Place {
                latitude: self.pickup_latitude,
                longitude: self.pickup_longitude,
            },
            stops: self.stops.0,
            dropoff: Place {
                latitude: self.dropoff_latitude,
                longitude: self.dropoff_longitude,
            },
            seats: self.seats.max(1).cast_unsigned(),
            fare: Money::new(self.fare_minor, currency),
            tariff: Tariff::kept(self.tariff_version, self.surge_percent),
            driven_m: self.driven_m,
            final_fare: self
                .final_fare_minor
                .map(|minor| Money::new(minor, currency)),
            final_quote_id: self.final_quote_id,
            price_quote_id: self.price_quote_id,
            fees: Fees {
                cancellation_minor: self.cancellation_fee_minor,
                no_show_minor: self.no_show_fee_minor,
            },
            fee: Fee::from_name(&self.fee).ok_or_else(|| odd("fee", &self.fee))?,
            distance_m: self.distance_m,
            duration_ms: self.duration_ms,
            payment_method: if self.pay_in_cash {
                PaymentMethod::Cash
            } else {
                PaymentMethod::Card
            },
            payment_state,
            pin: self.pin,
            wrong_pins: self.wrong_pins.max(0).cast_unsigned(),
            reservation_id: self.reservation_id.map(ReservationId),
            booking,
            search_until: self.search_until,
            cancelled_by,
            end_reason: self.end_reason,
            created_at: self.created_at,
            updated_at: self.updated_at,
            assigned_at: self.assigned_at,
            pickup_due_at: self.pickup_due_at,
            arrived_at: self.arrived_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            traceparent: self.traceparent,
        })
    }
}

/// A trip from a row that has its offer joined.
pub(super) fn joined(row: &PgRow) -> Result<Trip, Error> {
    let trip = TripRow::from_row(row)?;
    let JoinedOffer {
        offer_driver_id,
        offer_expires_at,
        offer_state,
        offer_beside_trip_id,
        offer_shared,
        offer_pickup_duration_ms,
    } = JoinedOffer::from_row(row)?;
    let offer = match (
        trip.offer_id,
        offer_driver_id,
        offer_expires_at,
        offer_state,
    ) {
        (Some(offer_id), Some(driver_id), Some(expires_at), Some(state)) => Some(
            OfferRow {
                offer_id,
                driver_id,
                expires_at,
                state,
                beside_trip_id: offer_beside_trip_id,
                shared: offer_shared.unwrap_or(false),
                pickup_duration_ms: offer_pickup_duration_ms,
            }
            .offer()?,
        ),
        _ => None,
    };
    trip.with(offer)
}

impl OfferRow {
    pub(super) fn offer(self) -> Result<Offer, Error> {
        Ok(Offer {
            offer_id: OfferId(self.offer_id),
            driver_id: id("driver", &self.driver_id)?,
            expires_at: self.expires_at,
            state: OfferState::from_name(&self.state)
                .ok_or_else(|| odd("offer state", &self.state))?,
            beside: self.beside_trip_id.map(|trip_id| Beside {
                trip_id: TripId(trip_id),
                shared: self.shared,
            }),
            pickup_duration_ms: self.pickup_duration_ms,
        })
    }
}

impl LogRow {
    pub(super) fn entry(self) -> Result<LogEntry, Error> {
        let state = |name: &str| State::from_name(name).ok_or_else(|| odd("trip state", name));
        let actor = Actor::from_name(&self.actor).ok_or_else(|| odd("actor", &self.actor))?;
        Ok(LogEntry {
            version: self.version,
            from: self.from_state.as_deref().map(state).transpose()?,
            to: state(&self.to_state)?,
            by: By {
                actor,
                id: self.actor_id,
            },
            reason: self.reason,
            at: self.at,
        })
    }
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// The statement that writes a trip's first version.
pub(super) fn insert(trip: &Trip) -> Statement<'_> {
    let (booking, tariff) = (trip.booking.as_ref(), trip.tariff.as_ref());
    sqlx::query(statements::INSERT_TRIP)
        .bind(trip.trip_id.0)
        .bind(trip.version)
        .bind(trip.state.name())
        .bind(trip.rider_id.as_str())
        .bind(trip.product.as_str())
        .bind(trip.pickup.latitude)
        .bind(trip.pickup.longitude)
        .bind(trip.dropoff.latitude)
        .bind(trip.dropoff.longitude)
        .bind(trip.fare.minor)
        .bind(trip.fare.currency.to_string())
        .bind(trip.distance_m)
        .bind(trip.duration_ms)
        .bind(trip.payment_state.name())
        .bind(&trip.pin)
        .bind(trip.reservation_id.map(|id| id.0))
        .bind(trip.search_until)
        .bind(trip.created_at)
        .bind(trip.seats.cast_signed())
        .bind(trip.fees.cancellation_minor)
        .bind(trip.fees.no_show_minor)
        .bind(booking.map(|booking| booking.pickup_at))
        .bind(booking.map(|booking| booking.release_at))
        .bind(booking.map(|booking| booking.fare_quote_id.as_str()))
        .bind(trip.payment_method == PaymentMethod::Cash)
        .bind(Json(&trip.stops))
        .bind(tariff.map(|tariff| tariff.version.as_str()))
        .bind(tariff.map(|tariff| tariff.surge_percent.cast_signed()))
        .bind(&trip.traceparent)
}

/// The statement that writes a trip's next version; what its log and its event say is bound after this.
pub(super) fn update(trip: &Trip) -> Statement<'_> {
    let driver = trip.driver.as_ref();
    sqlx::query(statements::UPDATE_TRIP)
        .bind(trip.trip_id.0)
        .bind(trip.version)
        .bind(trip.state.name())
        .bind(driver.map(|driver| driver.driver_id.as_str()))
        .bind(driver.map(|driver| driver.plate.as_str()))
        .bind(driver.map(|driver| driver.vehicle.as_str()))
        .bind(trip.offer.as_ref().map(|offer| offer.offer_id.0))
        .bind(trip.wrong_pins.cast_signed())
        .bind(trip.reservation_id.map(|id| id.0))
        .bind(trip.search_until)
        .bind(trip.cancelled_by.map(Actor::name))
        .bind(&trip.end_reason)
        .bind(trip.updated_at)
        .bind(trip.assigned_at)
        .bind(trip.arrived_at)
        .bind(trip.started_at)
        .bind(trip.ended_at)
        .bind(trip.fee.name())
        .bind(trip.pickup_due_at)
        .bind(Json(&trip.stops))
}
