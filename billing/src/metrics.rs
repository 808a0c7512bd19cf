//! What is counted: what the money commands come to. Labels are from closed lists; nobody's id and no
//! amount is among them.

use std::sync::LazyLock;

use jitney_platform::telemetry::meters::counter;
use opentelemetry::{KeyValue, metrics::Counter};

use crate::{Error, hold::Refusal};

/// A money command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A fare is held.
    Authorize,
    /// A held fare, or a fee, is taken.
    Capture,
    /// A hold is released.
    Void,
    /// A hold is put under another quote.
    Change,
    /// A hold may be captured for longer.
    Renew,
    /// Something is given back.
    Refund,
    /// A driver is thanked.
    Tip,
}

impl Operation {
    const ALL: [Operation; 7] = [
        Self::Authorize,
        Self::Capture,
        Self::Void,
        Self::Change,
        Self::Renew,
        Self::Refund,
        Self::Tip,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Change => "change",
            Self::Renew => "renew",
            Self::Refund => "refund",
            Self::Tip => "tip",
        }
    }
}

const DONE: &str = "done";
const DECLINED: &str = "declined";
const REFUSED: &str = "refused";
const OVERLOADED: &str = "overloaded";
const FAILED: &str = "failed";

static OPERATIONS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        "jitney.billing.operations",
        "{operation}",
        "Money commands, by what they came to; one that is repeated counts again",
    )
});

/// Has the counters on the page before anything happens.
pub fn start() {
    for operation in Operation::ALL {
        for outcome in [DONE, DECLINED, REFUSED, OVERLOADED, FAILED] {
            OPERATIONS.add(0, &labels(operation, outcome));
        }
    }
}

fn labels(operation: Operation, outcome: &'static str) -> [KeyValue; 2] {
    [
        KeyValue::new("operation", operation.name()),
        KeyValue::new("outcome", outcome),
    ]
}

/// Counts what a command came to, and gives that on.
///
/// # Errors
/// Those of the command.
pub fn counted<T>(operation: Operation, result: Result<T, Error>) -> Result<T, Error> {
    let outcome = result.as_ref().map_or_else(outcome, |_| DONE);
    OPERATIONS.add(1, &labels(operation, outcome));
    result
}

fn outcome(error: &Error) -> &'static str {
    match error {
        Error::Refused(Refusal::Declined) => DECLINED,
        Error::Refused(_)
        | Error::UnknownProduct(_)
        | Error::UnknownTariff(_)
        | Error::Fare(_)
        | Error::Tariff(_) => REFUSED,
        Error::Overloaded => OVERLOADED,
        Error::Database(_)
        | Error::Together(_)
        | Error::Contended { .. }
        | Error::Unreadable(_) => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_not_a_failure() {
        let lost = || Error::Database(sqlx::Error::PoolTimedOut);
        for (error, expected) in [
            (Error::Refused(Refusal::Declined), DECLINED),
            (Error::Refused(Refusal::NoHold), REFUSED),
            (Error::Overloaded, OVERLOADED),
            (lost(), FAILED),
        ] {
            assert_eq!(outcome(&error), expected, "{error}");
        }
        assert!(counted::<()>(Operation::Void, Err(lost())).is_err());
        assert!(counted(Operation::Void, Ok(())).is_ok());
    }
}
