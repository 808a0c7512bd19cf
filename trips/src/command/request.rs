//! A rider asks for a ride: the one command that has no trip yet.

use chrono::{DateTime, Utc};
use jitney_proto::{
    billing::v1::PaymentMethod,
    ids::{ProductId, ReservationId, RiderId, TripId},
    money::Money,
    trips::v1::TripEventKind,
};
use rand::RngExt;

use crate::{
    state::{Change, Context, State},
    trip::{Booking, By, Fee, Fees, PaymentState, Place, Stop, Tariff, Trip},
};

/// A ride that is paid for: its fare is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The trip to be.
    pub trip_id: TripId,
    /// The rider.
    pub rider_id: RiderId,
    /// The product.
    pub product: ProductId,
    /// Where the rider waits.
    pub pickup: Place,
    /// Stops on the way, in driving order.
    pub stops: Vec<Place>,
    /// Where the rider goes.
    pub dropoff: Place,
    /// How many ride along, the rider included.
    pub seats: u32,
    /// The up-front fare.
    pub fare: Money,
    /// What the fare was reckoned under.
    pub tariff: Option<Tariff>,
    /// What its end may cost instead.
    pub fees: Fees,
    /// Driving distance as quoted, metres.
    pub distance_m: i64,
    /// Driving time as quoted, milliseconds.
    pub duration_ms: i64,
    /// The reservation of MatchDriver to use first.
    pub reservation_id: Option<ReservationId>,
    /// When and how it is to begin; `None` is now, and then the fare is held.
    pub booking: Option<Booking>,
    /// How the ride is going to be paid.
    pub payment_method: PaymentMethod,
    /// Who asked; not always the rider.
    pub by: By,
    /// The span that asks, as W3C's header.
    pub traceparent: Option<String>,
}

/// The first version of the trip: a driver is looked for, or its time is waited for.
pub fn apply(request: &Request, context: &Context, dice: &mut impl rand::Rng) -> Box<Change> {
    let search_until = search_until(context);
    let (state, payment_state, search_until) = match &request.booking {
        None => (State::Searching, PaymentState::Held, search_until),
        Some(booking) => {
            let until = booking.pickup_at + context.limits.search_timeout;
            (State::Scheduled, PaymentState::None, until)
        }
    };
    let trip = Trip {
        trip_id: request.trip_id,
        version: 1,
        state,
        rider_id: request.rider_id.clone(),
        driver: None,
        offer: None,
        product: request.product.clone(),
        pickup: request.pickup,
        stops: request.stops.iter().copied().map(Stop::ahead).collect(),
        dropoff: request.dropoff,
        seats: request.seats,
        fare: request.fare,
        tariff: request.tariff.clone(),
        driven_m: None,
        final_fare: None,
        final_quote_id: None,
        price_quote_id: None,
        fees: request.fees,
        fee: Fee::None,
        distance_m: request.distance_m,
        duration_ms: request.duration_ms,
        payment_method: request.payment_method,
        payment_state,
        pin: pin(dice),
        wrong_pins: 0,
        reservation_id: request.reservation_id,
        booking: request.booking.clone(),
        search_until,
        cancelled_by: None,
        end_reason: String::new(),
        created_at: context.now,
        updated_at: context.now,
        assigned_at: None,
        pickup_due_at: None,
        arrived_at: None,
        started_at: None,
        ended_at: None,
        traceparent: request.traceparent.clone(),
    };
    Box::new(Change {
        trip,
        from: None,
        event: TripEventKind::Created,
        driver_id: None,
        offer_id: None,
        by: request.by.clone(),
        reason: String::new(),
        effects: Vec::new(),
    })
}

/// When a search that begins now is given up.
pub(super) fn search_until(context: &Context) -> DateTime<Utc> {
    context.now + context.limits.search_timeout
}

fn pin(dice: &mut impl rand::Rng) -> String {
    format!("{:04}", dice.random_range(0..10_000_u32))
}
