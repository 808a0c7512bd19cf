//! What goes wrong inside, and the one place where it becomes a status.

use std::{sync::Arc, time::Duration};

use jitney_platform::status;
use jitney_proto::{Code, ids::ProductId};
use tonic::Status;

use crate::{fare::FareError, hold::Refusal, tariff::TariffError};

/// When to try again what is not even put in line.
const LINE_WAIT: Duration = Duration::from_millis(500);

/// Why billing did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The tariff in force has no such product.
    #[error("there is no product {0}")]
    UnknownProduct(ProductId),
    /// The ride has no price.
    #[error(transparent)]
    Fare(#[from] FareError),
    /// There is no such tariff.
    #[error("there is no tariff {0:?}")]
    UnknownTariff(String),
    /// No tariff is in force.
    #[error(transparent)]
    Tariff(#[from] TariffError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The database failed several commands at once.
    #[error(transparent)]
    Together(#[from] Arc<sqlx::Error>),
    /// As many commands wait as may.
    #[error("as many charges wait as may; try again shortly")]
    Overloaded,
    /// Others were faster, again and again.
    #[error("{statement} was overtaken by others {attempts} times")]
    Contended {
        /// Which statement.
        statement: &'static str,
        /// How often it was run.
        attempts: u32,
    },
    /// A stored row says something no statement of ours writes.
    #[error("the database holds {0}")]
    Unreadable(String),
}

impl Error {
    /// A stored answer lacks the hold or the receipt it is about.
    pub(crate) fn half_an_answer() -> Error {
        Error::Unreadable("an answer without its hold or receipt".to_owned())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        match error {
            Error::Refused(refusal) => refused(&refusal),
            Error::UnknownProduct(product) => {
                Code::UnknownProduct.bad_field("product", format!("there is no product {product}"))
            }
            Error::UnknownTariff(_) => {
                Code::InvalidRequest.bad_field("tariff_version", error.to_string())
            }
            Error::Fare(error) => {
                Code::InvalidRequest.bad_field("distance_meters", error.to_string())
            }
            Error::Database(error) => status::database(&error),
            Error::Together(error) => status::database(&error),
            error @ Error::Overloaded => Code::Overloaded.retry_after(error.to_string(), LINE_WAIT),
            error @ Error::Contended { .. } => status::unavailable("the charge", error),
            error @ (Error::Tariff(_) | Error::Unreadable(_)) => status::internal(error),
        }
    }
}

fn refused(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::NoQuote | Refusal::NoHold | Refusal::NotCaptured | Refusal::NoPayout => {
            Code::NotFound.status(message)
        }
        Refusal::QuoteExpired => Code::QuoteExpired.status(message),
        Refusal::QuoteNotGenuine => Code::QuoteNotGenuine.status(message),
        Refusal::Declined => Code::PaymentDeclined.status(message),
        Refusal::AlreadyHeld => Code::AlreadyExists.status(message),
        Refusal::HoldNotOpen(hold) => {
            Code::HoldNotOpen.status_with(message, [("state", hold.state.name().to_owned())])
        }
        Refusal::OtherCurrency => Code::InvalidRequest.bad_field("amount.currency_code", message),
        Refusal::AboveHold(hold) => Code::CaptureAboveHold.status_with(
            message,
            [
                ("currency_code", hold.currency.to_string()),
                ("authorized_minor_units", hold.authorised.to_string()),
            ],
        ),
        Refusal::AboveCaptured(hold) => Code::RefundAboveCapture.status_with(
            message,
            [
                ("currency_code", hold.currency.to_string()),
                ("left_minor_units", hold.left().minor.to_string()),
            ],
        ),
        Refusal::TipTooHigh(_) | Refusal::TipTooLate | Refusal::TipInCash => {
            Code::TipRefused.status(message)
        }
        Refusal::PayoutOpen | Refusal::OtherDispute | Refusal::DisputeEnded => {
            Code::AlreadyExists.status(message)
        }
        Refusal::AboveCharged(left) => {
            Code::RefundAboveCapture.status_with(message, [("left_minor_units", left.to_string())])
        }
        Refusal::AboveOwed(owed) => {
            Code::PayoutAboveOwed.status_with(message, [("owed_minor_units", owed.to_string())])
        }
        Refusal::PayoutNotOpen(state) => {
            Code::PayoutNotOpen.status_with(message, [("state", state.name().to_owned())])
        }
        Refusal::HasPromotion | Refusal::NoPromotion | Refusal::PromotionUsedUp => {
            Code::PromotionRefused.status(message)
        }
        Refusal::TooLateForPromotion => Code::HoldNotOpen.status(message),
        Refusal::KeyReused => Code::IdempotencyKeyReused.status(message),
    }
}
