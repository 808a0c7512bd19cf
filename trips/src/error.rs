//! What can go wrong, and in one place which code and which words it is answered with.

use std::sync::Arc;

use jitney_platform::{
    db::{Retryable, violated_constraint},
    status,
};
use jitney_proto::{Code, money::Money};
use tonic::Status;

use crate::{
    command::Kind,
    state::{Refusal, State},
    trip::OfferState,
};

/// Why a call is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The trip does not allow it.
    #[error("{0}")]
    Refused(Refusal),
    /// The trip stands where this cannot be done.
    #[error("the trip is {state}; {problem}")]
    NotNow {
        /// Where it stands.
        state: State,
        /// Why it cannot be done.
        problem: &'static str,
    },
    /// The ride would cost more than the rider agreed to.
    #[error(
        "the ride would cost {} {} in minor units, more than max_fare", .0.minor, .0.currency
    )]
    FareAbove(Money),
    /// There is no such thing, or it is not the caller's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A field cannot be taken as it is.
    #[error("{field}: {problem}")]
    BadField {
        /// The field, as in the proto.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The product is not one of the configured ones.
    #[error("there is no product {0:?}")]
    UnknownProduct(String),
    /// The idempotency key was used before, for another request.
    #[error("the idempotency key was used before, for another request")]
    KeyReused,
    /// The same request is being given up after a failure; its key is free again in a moment.
    #[error("an earlier try of this request is being undone; try again")]
    KeyBusy,
    /// Something is told of a trip that is just being made.
    #[error("the trip is being made; tell it again once its request has been answered")]
    TripUnderWay,
    /// The quote ran out.
    #[error("the quote ran out; ask for a new one")]
    QuoteExpired,
    /// The payment was refused.
    #[error("the payment was refused")]
    PaymentDeclined,
    /// The rider has a live trip.
    #[error("the rider already has a live trip")]
    RiderHasLiveTrip,
    /// The driver has a live trip.
    #[error("the driver is on another live trip")]
    DriverOnTrip,
    /// More watches are asked for than one process serves.
    #[error("too many watches; try again later")]
    TooManyWatches,
    /// As many changes wait as may.
    #[error("as many changes wait as may; try again shortly")]
    Overloaded,
    /// This process is being stopped.
    #[error("the service is being stopped; resume with the last token")]
    Stopping,
    /// Another service refused what the caller asked for, in words fit for them.
    #[error("{}", .0.message())]
    Passed(Box<Status>),
    /// Another service cannot be reached, or did not answer in time.
    #[error("{what} cannot be reached: {detail}")]
    Unreachable {
        /// Which.
        what: &'static str,
        /// For the log.
        detail: String,
    },
    /// The database failed in a way that no rule explains.
    #[error("database: {0}")]
    Database(sqlx::Error),
    /// The database failed several commands at once.
    #[error("database: {0}")]
    Together(#[from] Arc<sqlx::Error>),
    /// Something that cannot be: a row or an answer that makes no sense.
    #[error("{0}")]
    Defect(String),
}

impl Error {
    /// The code of the closed list. Every error has exactly one.
    pub fn code(&self) -> Code {
        match self {
            Error::Refused(refusal) => match refusal {
                Refusal::IllegalTransition { .. } => Code::IllegalTransition,
                Refusal::OfferNotOpen { .. } => Code::OfferNotOpen,
                Refusal::NotYours => Code::NotFound,
                Refusal::WrongPin { .. } => Code::WrongPin,
                Refusal::PinLocked => Code::PinLocked,
                Refusal::EarlierRide => Code::DriverOnTrip,
                Refusal::Moved => Code::Unavailable,
                Refusal::NoSuchStop { .. } => Code::InvalidRequest,
                Refusal::StopAhead { .. } => Code::IllegalTransition,
                Refusal::TooEarly { .. } => Code::TooEarly,
                Refusal::FeeAbove { .. } => Code::FeeAboveLimit,
            },
            Error::NotNow { .. } => Code::IllegalTransition,
            Error::FareAbove(_) => Code::FeeAboveLimit,
            Error::TripUnderWay => Code::TooEarly,
            Error::NotFound(_) => Code::NotFound,
            Error::BadField { .. } => Code::InvalidRequest,
            Error::UnknownProduct(_) => Code::UnknownProduct,
            Error::KeyReused => Code::IdempotencyKeyReused,
            Error::QuoteExpired => Code::QuoteExpired,
            Error::PaymentDeclined => Code::PaymentDeclined,
            Error::RiderHasLiveTrip => Code::RiderHasLiveTrip,
            Error::DriverOnTrip => Code::DriverOnTrip,
            Error::TooManyWatches | Error::Overloaded => Code::Overloaded,
            Error::KeyBusy | Error::Stopping | Error::Unreachable { .. } => Code::Unavailable,
            Error::Passed(status) => Code::of(status).unwrap_or(Code::Internal),
            Error::Database(error) => Code::of(&status::database(error)).unwrap_or(Code::Internal),
            Error::Together(error) => Code::of(&status::database(error)).unwrap_or(Code::Internal),
            Error::Defect(_) => Code::Internal,
        }
    }

    /// What the other service's status means for a call of ours to `what`.
    pub fn of_call(what: &'static str, status: Status) -> Error {
        match Code::of(&status) {
            // Either way a new one is needed.
            Some(Code::QuoteExpired | Code::QuoteNotGenuine) => Error::QuoteExpired,
            Some(Code::PaymentDeclined) => Error::PaymentDeclined,
            Some(
                Code::InvalidRequest | Code::OutsideMap | Code::NoRoute | Code::UnknownProduct,
            ) => Error::Passed(Box::new(Status::with_details(
                status.code(),
                status.message(),
                bytes_of(&status),
            ))),
            _ => match status.code() {
                tonic::Code::Unavailable
                | tonic::Code::ResourceExhausted
                | tonic::Code::DeadlineExceeded
                | tonic::Code::Cancelled
                | tonic::Code::Aborted
                | tonic::Code::Unknown => Error::Unreachable {
                    what,
                    detail: status.message().to_owned(),
                },
                code => Error::Defect(format!("{what} answered {code:?}: {}", status.message())),
            },
        }
    }
}

fn bytes_of(status: &Status) -> tonic::codegen::Bytes {
    tonic::codegen::Bytes::copy_from_slice(status.details())
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let code = error.code();
        match error {
            Error::Refused(ref refusal) => match refusal {
                Refusal::IllegalTransition { state, .. } | Refusal::OfferNotOpen { state, .. } => {
                    let allowed: Vec<_> = state.allowed().map(Kind::name).collect();
                    code.status_with(
                        error.to_string(),
                        [
                            ("state", state.to_string()),
                            ("allowed", allowed.join(", ")),
                        ],
                    )
                }
                Refusal::WrongPin { tries_left } => {
                    code.status_with(error.to_string(), [("tries_left", tries_left.to_string())])
                }
                Refusal::Moved => {
                    code.retry_after(error.to_string(), std::time::Duration::from_secs(1))
                }
                Refusal::NoSuchStop { .. } => code.bad_field("stop", error.to_string()),
                Refusal::StopAhead { next } => {
                    code.status_with(error.to_string(), [("next", next.to_string())])
                }
                Refusal::TooEarly { until } => {
                    code.status_with(error.to_string(), [("until", until.to_rfc3339())])
                }
                Refusal::FeeAbove { fee } => code.status_with(
                    error.to_string(),
                    [
                        ("currency_code", fee.currency.to_string()),
                        ("fee_minor_units", fee.minor.to_string()),
                    ],
                ),
                Refusal::NotYours | Refusal::PinLocked | Refusal::EarlierRide => {
                    code.status(error.to_string())
                }
            },
            Error::FareAbove(fare) => code.status_with(
                error.to_string(),
                [
                    ("currency_code", fare.currency.to_string()),
                    ("fare_minor_units", fare.minor.to_string()),
                ],
            ),
            Error::NotNow { state, .. } => {
                code.status_with(error.to_string(), [("state", state.to_string())])
            }
            Error::BadField { field, problem } => code.bad_field(field, problem),
            Error::TooManyWatches | Error::Overloaded | Error::KeyBusy => {
                code.retry_after(error.to_string(), std::time::Duration::from_secs(1))
            }
            Error::Passed(status) => *status,
            Error::Unreachable { what, detail } => status::unavailable(what, detail),
            Error::Database(error) => status::database(&error),
            Error::Together(error) => status::database(&error),
            Error::Defect(problem) => status::internal(problem),
            error => code.status(error.to_string()),
        }
    }
}

/// Rules that the database holds for us are told apart by their constraint's name.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        match violated_constraint(&error) {
            Some("trip_one_live_per_rider") => Error::RiderHasLiveTrip,
            Some("driver_claims_pkey") => Error::DriverOnTrip,
            _ => Error::Database(error),
        }
    }
}

impl Retryable for Error {
    fn sqlx(&self) -> Option<&sqlx::Error> {
        match self {
            Error::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(refusal)
    }
}

/// An offer that the database judged to be out of time, though its row still says pending.
pub(crate) fn ran_out(state: State) -> Error {
    Error::Refused(Refusal::OfferNotOpen {
        state,
        offer: OfferState::Expired,
    })
}
