//! How the outbox's events take effect elsewhere. Matching is told every one, so that its drivers
//! follow; billing is asked to take the fare of a trip that was driven, and of one that was not the fee
//! for that, or to release the hold. Both may be told twice: matching goes by the trip's version, billing
//! by a key made of the trip's id.

use std::sync::Arc;

use futures::FutureExt;
use jitney_platform::outbox::{Delivery, DeliveryError, Handler, OutboxEvent};
use jitney_proto::{
    Code,
    billing::v1::{CaptureHoldRequest, CaptureReason, HoldState, VoidHoldRequest},
    ids::TripId,
    matching::v1::{ApplyTripEventsRequest, TripEventOutcome},
    trips::v1::{TripEvent, TripEventKind, TripFee},
};
use prost::Message;
use tonic::Status;

use crate::{
    app::{App, BILLING, MATCHING},
    error::Error,
    events, fare, payment,
    trip::PaymentState,
};

/// Events that matching is told in one call, at most.
const EVENTS_MAX: usize = 500;

/// What billing has to do something about.
const FOR_BILLING: [TripEventKind; 5] = [
    TripEventKind::Completed,
    TripEventKind::Cancelled,
    TripEventKind::NoShow,
    TripEventKind::Expired,
    TripEventKind::DestinationChanged,
];

/// Where billing's answer says that a trip's payment stands, and the payment's version; 0 without one.
type Answered = (PaymentState, i64);

/// Who is told, and how.
pub fn consumers(app: &Arc<App>) -> [(&'static str, Handler); 2] {
    let (for_matching, for_billing) = (Arc::clone(app), Arc::clone(app));
    let matching = move |events| to_matching(Arc::clone(&for_matching), events).boxed();
    let billing = move |event| to_billing(Arc::clone(&for_billing), event).boxed();
    [
        (MATCHING, Handler::together(matching)),
        (
            BILLING,
            Handler::each(billing).only(FOR_BILLING.map(events::name)),
        ),
    ]
}

fn read(event: &OutboxEvent) -> Result<TripEvent, DeliveryError> {
    TripEvent::decode(event.payload.as_slice()).map_err(DeliveryError::failed)
}

async fn to_matching(app: Arc<App>, events: Vec<OutboxEvent>) -> Vec<Delivery> {
    let mut deliveries = Vec::with_capacity(events.len());
    for events in events.chunks(EVENTS_MAX) {
        if deliveries.iter().any(Result::is_err) {
            // Later ones of the same trip may be among the rest: it waits.
            break;
        }
        // One that cannot be read is refused for what it lacks, and with it the later ones of its trip.
        let read = |event: &OutboxEvent| {
            let mut read = read(event).unwrap_or_else(|_| TripEvent {
                trip_id: TripId(event.aggregate_id).into(),
                ..TripEvent::default()
            });
            read.traceparent = event.traceparent.clone().unwrap_or_default();
            read
        };
        let request = ApplyTripEventsRequest {
            events: events.iter().map(read).collect(),
        };
        let mut matching = app.matching.clone();
        match app.call(matching.apply_trip_events(request)).await {
            Ok(answer) => {
                let delivery = |outcome: TripEventOutcome| match outcome.problem.as_str() {
                    "" => Ok(()),
                    problem => Err(DeliveryError::failed(problem)),
                };
                deliveries.extend(answer.outcomes.into_iter().map(delivery));
            }
            Err(status) => {
                let failure = DeliveryError::from(status);
                deliveries.extend(events.iter().map(|_| Err(failure.clone())));
            }
        }
    }
    deliveries
}

async fn to_billing(app: Arc<App>, event: OutboxEvent) -> Result<(), DeliveryError> {
    let event = read(&event)?;
    let trip_id: TripId = event.trip_id.parse().map_err(DeliveryError::failed)?;
    let payment = match event.kind() {
        TripEventKind::Completed => {
            heard(fare::settle(&app, trip_id).await)?;
            capture(&app, trip_id, event.driver_id, CaptureReason::Fare).await?
        }
        TripEventKind::Cancelled | TripEventKind::NoShow | TripEventKind::Expired => {
            match event.fee() {
                TripFee::Unspecified | TripFee::None => void(&app, trip_id).await?,
                TripFee::Cancellation => {
                    let reason = CaptureReason::CancellationFee;
                    capture(&app, trip_id, event.driver_id, reason).await?
                }
                TripFee::NoShow => {
                    let reason = CaptureReason::NoShowFee;
                    capture(&app, trip_id, event.driver_id, reason).await?
                }
            }
        }
        TripEventKind::DestinationChanged => {
            let key = format!("{trip_id}:hold:{}", event.trip_version);
            let changed = fare::change_hold(&app, trip_id, event.fare_quote_id, key).await;
            // Where nothing is held yet, what is held later is held under the new price.
            return heard(changed.map(drop));
        }
        _ => return Ok(()),
    };
    let (payment, version) = payment;
    match app.store.set_payment_state(trip_id, payment, version).await {
        Ok(true) => app.tell_watchers(trip_id).await,
        Ok(false) => {}
        Err(Error::Database(error)) => return Err(error.into()),
        Err(error) => return Err(DeliveryError::failed(error)),
    }
    Ok(())
}

fn heard(outcome: Result<(), Error>) -> Result<(), DeliveryError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(Error::Database(error)) => Err(error.into()),
        Err(error) => Err(Status::from(error).into()),
    }
}

async fn capture(
    app: &App,
    trip_id: TripId,
    driver_id: String,
    reason: CaptureReason,
) -> Result<Answered, DeliveryError> {
    let mut billing = app.billing.clone();
    let request = CaptureHoldRequest {
        trip_id: trip_id.into(),
        driver_id,
        amount: None,
        idempotency_key: format!("{trip_id}:capture"),
        reason: reason.into(),
    };
    settled(
        app.call(billing.capture_hold(request))
            .await
            .map(|answer| answer.hold),
        trip_id,
    )
}

async fn void(app: &App, trip_id: TripId) -> Result<Answered, DeliveryError> {
    let mut billing = app.billing.clone();
    let request = VoidHoldRequest {
        trip_id: trip_id.into(),
        idempotency_key: format!("{trip_id}:void"),
    };
    let answer = app.call(billing.void_hold(request)).await;
    match answer {
        // There is nothing to release.
        Err(status) if Code::of(&status) == Some(Code::NotFound) => Ok((PaymentState::None, 0)),
        answer => settled(answer.map(|answer| answer.hold), trip_id),
    }
}

/// What billing's answer means for the trip. A hold that is gone will not come back by asking again:
/// the trip's payment has failed and people have to look at it.
fn settled(
    answer: Result<Option<jitney_proto::billing::v1::Hold>, Status>,
    trip_id: TripId,
) -> Result<Answered, DeliveryError> {
    match answer {
        Ok(hold) => {
            let hold = hold.unwrap_or_default();
            let ended = match hold.state() {
                HoldState::Captured => PaymentState::Captured,
                HoldState::Voided => PaymentState::Voided,
                state => {
                    let problem = format!("billing answered with a hold {state:?}");
                    return Err(DeliveryError::failed(problem));
                }
            };
            let said = payment::of(hold.payment_state()).unwrap_or(ended);
            Ok((said, hold.version))
        }
        Err(status) => match Code::of(&status) {
            Some(Code::HoldNotOpen | Code::NotFound | Code::CaptureAboveHold) => {
                tracing::error!(%trip_id, reason = status.message(), "the payment failed");
                Ok((PaymentState::Failed, 0))
            }
            _ => Err(status.into()),
        },
    }
}
