//! Where a trip's payment stands, as billing tells it. Each event says all of it and carries the payment's
//! version, so it is taken in once and never over a later one. What the trip itself asks billing for and is
//! answered ([`crate::deliver`]) is kept by the same version.

#![allow(clippy::result_large_err)] // Status is what every handler answers.

use jitney_proto::{
    billing::v1::{self as billing, PaymentState as Told},
    ids::IdError,
};
use tonic::Status;

use crate::{
    app::App,
    error::Error,
    fields::{bad_field, trip_id},
    store::inbox::PaymentMoved,
    trip::PaymentState,
};

/// Takes an event of billing's in; whether it moved the trip's payment.
///
/// # Errors
/// TOO_EARLY while the trip is being made, a field that cannot be read, and the database's failures.
pub async fn apply(app: &App, event: Option<billing::BillingEvent>) -> Result<bool, Status> {
    let event = event.ok_or_else(|| bad_field("event", "is required"))?;
    let moved = read(&event)?;
    let heard = app.store.apply_payment(&moved).await?;
    if heard.is_early {
        return Err(Error::TripUnderWay.into());
    }
    if heard.is_news {
        if moved.state == PaymentState::Failed {
            tracing::error!(trip_id = %moved.trip_id, "the payment failed");
        }
        app.tell_watchers(moved.trip_id).await;
    }
    Ok(heard.is_applied)
}

/// Billing's word for where a payment stands, in ours; `None` when it did not say.
pub fn of(told: Told) -> Option<PaymentState> {
    Some(match told {
        Told::Unspecified => return None,
        Told::Held => PaymentState::Held,
        Told::Captured => PaymentState::Captured,
        Told::PartiallyRefunded => PaymentState::PartiallyRefunded,
        Told::Refunded => PaymentState::Refunded,
        Told::Voided => PaymentState::Voided,
        Told::Failed => PaymentState::Failed,
        Told::Unknown => PaymentState::Unknown,
    })
}

fn read(event: &billing::BillingEvent) -> Result<PaymentMoved, Status> {
    let event_id = event.event_id.parse();
    let state = of(event.payment_state())
        .ok_or_else(|| bad_field("event.payment_state", "is not known"))?;
    if event.version < 1 {
        return Err(bad_field("event.version", "must be 1 or more"));
    }
    Ok(PaymentMoved {
        event_id: event_id.map_err(|error: IdError| error.status("event.event_id"))?,
        trip_id: trip_id(&event.trip_id)?,
        version: event.version,
        state,
    })
}
