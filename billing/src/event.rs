//! What the other services are told of a charge: where its payment stands, and the event that is made of a
//! row of the outbox. Every statement that moves a charge writes such a row, with the charge as it left it.

use chrono::{DateTime, Utc};
use jitney_platform::outbox::OutboxEvent;
use jitney_proto::{
    billing::v1::{self as pb, BillingEventKind, PaymentState},
    money::Money,
    time::timestamp,
};
use uuid::Uuid;

use crate::hold::{Hold, HoldState, ProviderState};

/// Why a row of the outbox cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It says what no statement of ours writes.
    #[error("the outbox holds an event of kind {0:?}")]
    Kind(String),
    /// Its payload is no charge.
    #[error("the outbox holds an event that cannot be read: {0}")]
    Payload(#[from] serde_json::Error),
}

/// Where the payment of a charge stands: what the ledger says, unless the provider does not go along. A
/// fare that was given back whole is owed by nobody, whether or not the provider ever took it.
pub fn payment_state(charge: &Hold) -> PaymentState {
    match (charge.state, charge.provider_state) {
        (HoldState::Voided, _) => PaymentState::Voided,
        (HoldState::Held, Some(ProviderState::Unknown)) => PaymentState::Unknown,
        (HoldState::Held, _) => PaymentState::Held,
        (HoldState::Captured, _) if charge.refunded > 0 && charge.refunded >= charge.captured => {
            PaymentState::Refunded
        }
        (HoldState::Captured, Some(ProviderState::Declined)) => PaymentState::Failed,
        (HoldState::Captured, _) if charge.refunded > 0 => PaymentState::PartiallyRefunded,
        (HoldState::Captured, Some(ProviderState::Unknown)) => PaymentState::Unknown,
        (HoldState::Captured, None) => PaymentState::Captured,
    }
}

/// The event that a row of the outbox stands for.
///
/// # Errors
/// When no statement of ours wrote that row.
pub fn of(row: &OutboxEvent) -> Result<pb::BillingEvent, EventError> {
    let charge: Hold = serde_json::from_slice(&row.payload)?;
    message(row.event_id, &row.kind, row.created_at, &charge)
}

fn message(
    event_id: Uuid,
    kind: &str,
    at: DateTime<Utc>,
    charge: &Hold,
) -> Result<pb::BillingEvent, EventError> {
    let known = BillingEventKind::from_str_name(&format!("BILLING_EVENT_KIND_{kind}"));
    let money = |minor| Some(Money::new(minor, charge.currency).into());
    Ok(pb::BillingEvent {
        event_id: event_id.to_string(),
        trip_id: charge.trip_id.into(),
        version: charge.version,
        kind: known
            .ok_or_else(|| EventError::Kind(kind.to_owned()))?
            .into(),
        payment_state: payment_state(charge).into(),
        authorized: money(charge.authorised),
        captured: money(charge.captured),
        refunded: money(charge.refunded),
        tipped: money(charge.tipped),
        charged_back: money(charge.charged_back),
        occurred_at: Some(timestamp(at)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(state: &str, more: &str) -> Hold {
        let text = format!(
            "{{\"trip_id\": \"018f0000-0000-7000-8000-000000000001\", \"state\": \"{state}\",
              \"currency\": \"EUR\", \"authorised\": 900, \"captured\": 800, \"version\": 3,
              \"expires_at\": \"2026-01-01T00:00:00.5+00:00\"{more}}}"
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_payment_stands_where_ledger_and_provider_say() {
        let unknown = ", \"provider_state\": \"UNKNOWN\"";
        let declined = ", \"provider_state\": \"DECLINED\"";
        let table = [
            ("HELD", String::new(), PaymentState::Held),
            ("HELD", unknown.to_owned(), PaymentState::Unknown),
            ("VOIDED", unknown.to_owned(), PaymentState::Voided),
            ("CAPTURED", String::new(), PaymentState::Captured),
            ("CAPTURED", unknown.to_owned(), PaymentState::Unknown),
            ("CAPTURED", declined.to_owned(), PaymentState::Failed),
            (
                "CAPTURED",
                ", \"refunded\": 1".to_owned(),
                PaymentState::PartiallyRefunded,
            ),
            (
                "CAPTURED",
                format!(", \"refunded\": 1{declined}"),
                PaymentState::Failed,
            ),
            (
                "CAPTURED",
                format!(", \"refunded\": 800{declined}"),
                PaymentState::Refunded,
            ),
        ];
        for (state, more, expected) in table {
            assert_eq!(
                payment_state(&charge(state, &more)),
                expected,
                "{state}{more}"
            );
        }
    }

    #[test]
    fn an_event_says_all_of_the_charge() {
        let charge = charge("CAPTURED", ", \"refunded\": 5, \"tipped\": 7");
        let (id, at) = (Uuid::now_v7(), DateTime::UNIX_EPOCH);
        let event = message(id, "TIPPED", at, &charge).unwrap();
        let minor = |money: &Option<jitney_proto::common::v1::Money>| {
            money.as_ref().map(|money| money.minor_units)
        };
        assert_eq!(event.event_id, id.to_string());
        assert_eq!((event.version, event.kind()), (3, BillingEventKind::Tipped));
        assert_eq!(minor(&event.authorized), Some(900));
        assert_eq!(minor(&event.captured), Some(800));
        assert_eq!(minor(&event.refunded), Some(5));
        assert_eq!(minor(&event.tipped), Some(7));
        assert!(matches!(
            message(id, "LOST", at, &charge),
            Err(EventError::Kind(_))
        ));
    }
}
