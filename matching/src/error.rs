//! What matching refuses, in the words of the trade, and the one place where that becomes a status.

use jitney_proto::Code;
use jitney_roads::RoadsError;
use tonic::Status;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such driver, or not the caller's to see.
    #[error("there is no such driver")]
    UnknownDriver,
    /// No such round, or it is not kept any more.
    #[error(
        "there is no such round, or it is no longer kept; matching.rounds_kept says for how long"
    )]
    UnknownRound,
    /// Not one of the configured products.
    #[error("there is no product {0:?}; GetServiceArea lists them")]
    UnknownProduct(String),
    /// A field of the request cannot be.
    #[error("{field}: {problem}")]
    BadField {
        /// As the proto names it.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A point with no road near.
    #[error("{field}: {problem}")]
    OutsideMap {
        /// As the proto names it.
        field: String,
        /// How far the nearest road is.
        problem: String,
    },
    /// No way by road between two points of a route.
    #[error("there is no way by road from point {from} to point {to}")]
    NoRoute {
        /// Index of the one.
        from: usize,
        /// Index of the other.
        to: usize,
    },
    /// Nobody is free.
    #[error("no idle driver of product {0} is in reach")]
    NoDriver(String),
    /// The idempotency key was used for something else.
    #[error("the idempotency key was used before, for another request")]
    KeyReused,
    /// The rider has as many reservations as one may have.
    #[error("the rider has {0} open reservations already")]
    TooManyReservations(usize),
    /// The configured map is none, and the one in use stays.
    #[error("the map cannot be opened, the one in use stays: {0}")]
    MapUnusable(String),
    /// The database did not take it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Refusal {
    /// A field of the request cannot be.
    pub fn bad_field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::BadField {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// A point of the request cannot be put on the map.
    pub fn off_road(field: &str, error: &RoadsError) -> Self {
        let (field, problem) = (field.to_owned(), error.to_string());
        match error {
            RoadsError::OutsideMap { .. } => Self::OutsideMap { field, problem },
            _ => Self::BadField { field, problem },
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::UnknownDriver | Refusal::UnknownRound => Code::NotFound.status(message),
            Refusal::UnknownProduct(_) => Code::UnknownProduct.status(message),
            Refusal::BadField { field, problem } => Code::InvalidRequest.bad_field(&field, problem),
            Refusal::OutsideMap { field, problem } => Code::OutsideMap.bad_field(&field, problem),
            Refusal::NoRoute { .. } => Code::NoRoute.status(message),
            Refusal::NoDriver(_) => Code::NoDriver.status(message),
            Refusal::KeyReused => Code::IdempotencyKeyReused.status(message),
            Refusal::TooManyReservations(_) => Code::Overloaded.status(message),
            Refusal::MapUnusable(_) => Code::MapUnusable.status(message),
            Refusal::Database(error) => jitney_platform::status::database(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_become_the_closed_codes() {
        let code = |refusal: Refusal| Code::of(&Status::from(refusal));
        assert_eq!(code(Refusal::UnknownDriver), Some(Code::NotFound));
        assert_eq!(code(Refusal::NoDriver("van".into())), Some(Code::NoDriver));
        assert_eq!(
            code(Refusal::bad_field("limit", "is too large")),
            Some(Code::InvalidRequest)
        );
        assert_eq!(
            code(Refusal::Database(sqlx::Error::PoolTimedOut)),
            Some(Code::Unavailable)
        );
    }
}
