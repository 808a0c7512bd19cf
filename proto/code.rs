//! The closed list of error codes. What went wrong is a [`Code`]; the gRPC status, the HTTP status
//! and the `reason` that clients switch on all come from it, in this one place.

use std::{collections::HashMap, time::Duration};

use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every [`google.rpc.ErrorInfo`] Jitney sends.
///
/// [`google.rpc.ErrorInfo`]: https://google.aip.dev/193
pub const ERROR_DOMAIN: &str = "jitney";

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident = $reason:literal, $grpc:ident; )*) => {
        /// What went wrong, as clients are told. The list only grows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $( $(#[$doc])* $name, )* }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The `reason` clients switch on.
            pub fn reason(self) -> &'static str {
                match self { $(Code::$name => $reason),* }
            }

            /// The gRPC status.
            pub fn grpc(self) -> tonic::Code {
                match self { $(Code::$name => tonic::Code::$grpc),* }
            }
        }
    };
}

codes! {
    /// The request cannot be understood: a field is missing, malformed or out of range.
    InvalidRequest = "INVALID_REQUEST", InvalidArgument;
    /// A point is farther from any road than the configured snapping distance.
    OutsideMap = "OUTSIDE_MAP", InvalidArgument;
    /// There is no way by road between two points.
    NoRoute = "NO_ROUTE", InvalidArgument;
    /// The product is not one of the configured ones.
    UnknownProduct = "UNKNOWN_PRODUCT", InvalidArgument;
    /// There is no such thing, or it is not the caller's to see.
    NotFound = "NOT_FOUND", NotFound;
    /// No token, or one that is malformed, expired or not signed by a trusted key.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated;
    /// The token's role may not call this.
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied;
    /// The PIN is not the rider's.
    WrongPin = "WRONG_PIN", PermissionDenied;
    /// Too many wrong PINs; an operator has to step in.
    PinLocked = "PIN_LOCKED", ResourceExhausted;
    /// The key was used before, for another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", Aborted;
    /// The trip's state does not allow this; the message names the state and what it allows.
    IllegalTransition = "ILLEGAL_TRANSITION", FailedPrecondition;
    /// The offer was declined, ran out, was withdrawn or accepted by another.
    OfferNotOpen = "OFFER_NOT_OPEN", FailedPrecondition;
    /// The driver is on another live trip, or has another ride to end first.
    DriverOnTrip = "DRIVER_ON_TRIP", FailedPrecondition;
    /// The rider already has a live trip.
    RiderHasLiveTrip = "RIDER_HAS_LIVE_TRIP", FailedPrecondition;
    /// The quote ran out; ask for a new one.
    QuoteExpired = "QUOTE_EXPIRED", FailedPrecondition;
    /// The quote is not as it was made, or was not made here.
    QuoteNotGenuine = "QUOTE_NOT_GENUINE", FailedPrecondition;
    /// The payment was refused.
    PaymentDeclined = "PAYMENT_DECLINED", FailedPrecondition;
    /// The hold was released, or captured already.
    HoldNotOpen = "HOLD_NOT_OPEN", FailedPrecondition;
    /// More is to be captured than was held.
    CaptureAboveHold = "CAPTURE_ABOVE_HOLD", FailedPrecondition;
    /// It is too early for this; the message says when it may be done.
    TooEarly = "TOO_EARLY", FailedPrecondition;
    /// It costs more than the caller agreed to pay; the details name the fee.
    FeeAboveLimit = "FEE_ABOVE_LIMIT", FailedPrecondition;
    /// More is to be given back than is left of what was captured.
    RefundAboveCapture = "REFUND_ABOVE_CAPTURE", FailedPrecondition;
    /// The tip is too much, or too late.
    TipRefused = "TIP_REFUSED", FailedPrecondition;
    /// More is to be paid out than is owed.
    PayoutAboveOwed = "PAYOUT_ABOVE_OWED", FailedPrecondition;
    /// The payout arrived, or came back already.
    PayoutNotOpen = "PAYOUT_NOT_OPEN", FailedPrecondition;
    /// There is no such promotion now, the rider has had it often enough, or the trip has another.
    PromotionRefused = "PROMOTION_REFUSED", FailedPrecondition;
    /// No payment provider is in use, or it does not do this.
    ProviderUnused = "PROVIDER_UNUSED", FailedPrecondition;
    /// The map cannot be opened; the one in use stays.
    MapUnusable = "MAP_UNUSABLE", FailedPrecondition;
    /// The thing exists already, made by another request.
    AlreadyExists = "ALREADY_EXISTS", AlreadyExists;
    /// The stream must begin with another message.
    StreamOrder = "STREAM_ORDER", FailedPrecondition;
    /// A newer connection took over.
    Superseded = "SUPERSEDED", Aborted;
    /// No idle driver is in reach.
    NoDriver = "NO_DRIVER", Unavailable;
    /// Another service, or the database, cannot be reached; the same call may go through later.
    Unavailable = "UNAVAILABLE", Unavailable;
    /// Too much is asked for at once; try again after the hint.
    Overloaded = "OVERLOADED", ResourceExhausted;
    /// The deadline passed first.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// A defect. The log has more under the same trace id.
    Internal = "INTERNAL", Internal;
}

impl Code {
    /// The HTTP status that stands for this code.
    pub fn http(self) -> u16 {
        http_status(self.grpc())
    }

    /// The gRPC status with this code, for people and with the reason for programs.
    pub fn status(self, message: impl Into<String>) -> tonic::Status {
        self.status_with(message, [])
    }

    /// As [`Code::status`], with facts for programs beside the reason, for example the trip's state.
    pub fn status_with<const N: usize>(
        self,
        message: impl Into<String>,
        facts: [(&str, String); N],
    ) -> tonic::Status {
        let facts: HashMap<String, String> = facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let details = ErrorDetails::with_error_info(self.reason(), ERROR_DOMAIN, facts);
        tonic::Status::with_error_details(self.grpc(), message, details)
    }

    /// The status of a request with a bad field; the field is named as in the proto.
    pub fn bad_field(self, field: &str, problem: impl Into<String>) -> tonic::Status {
        let problem = problem.into();
        let mut details = ErrorDetails::with_bad_request_violation(field, &problem);
        details.set_error_info(self.reason(), ERROR_DOMAIN, HashMap::new());
        tonic::Status::with_error_details(self.grpc(), format!("{field}: {problem}"), details)
    }

    /// The status of a refusal that may be tried again after `wait`.
    pub fn retry_after(self, message: impl Into<String>, wait: Duration) -> tonic::Status {
        let mut details = ErrorDetails::with_retry_info(Some(wait));
        details.set_error_info(self.reason(), ERROR_DOMAIN, HashMap::new());
        tonic::Status::with_error_details(self.grpc(), message, details)
    }

    /// The code a status of ours carries; `None` for a status that some library made.
    pub fn of(status: &tonic::Status) -> Option<Code> {
        let info = status.get_details_error_info()?;
        if info.domain != ERROR_DOMAIN {
            return None;
        }
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.reason() == info.reason)
    }
}

/// The HTTP status of a gRPC status, as AIP-193 and `google.rpc.Code` map them.
pub fn http_status(code: tonic::Code) -> u16 {
    use tonic::Code as Grpc;
    match code {
        Grpc::Ok => 200,
        Grpc::InvalidArgument | Grpc::FailedPrecondition | Grpc::OutOfRange => 400,
        Grpc::Unauthenticated => 401,
        Grpc::PermissionDenied => 403,
        Grpc::NotFound => 404,
        Grpc::AlreadyExists | Grpc::Aborted => 409,
        Grpc::ResourceExhausted => 429,
        Grpc::Cancelled => 499,
        Grpc::Unknown | Grpc::Internal | Grpc::DataLoss => 500,
        Grpc::Unimplemented => 501,
        Grpc::Unavailable => 503,
        Grpc::DeadlineExceeded => 504,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_its_code_again() {
        for &code in Code::ALL {
            let status = code.status_with("no", [("state", "X".to_owned())]);
            assert_eq!(Code::of(&status), Some(code));
            assert_eq!(status.code(), code.grpc());
            assert!((400..600).contains(&code.http()), "{code:?}");
            assert_eq!(Code::of(&code.bad_field("f", "is bad")), Some(code));
            assert_eq!(
                Code::of(&code.retry_after("later", Duration::from_secs(1))),
                Some(code)
            );
        }
    }

    #[test]
    fn reasons_are_unique() {
        let mut reasons: Vec<_> = Code::ALL.iter().map(|code| code.reason()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), Code::ALL.len());
    }

    #[test]
    fn a_foreign_status_has_no_code() {
        assert_eq!(Code::of(&tonic::Status::internal("x")), None);
    }
}
