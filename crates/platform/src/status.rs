//! How failures that are nobody's fault but ours are answered. The caller reads as little as it can
//! use; the log keeps the rest under the same trace id.

use std::fmt::Display;

use jitney_proto::Code;
use tonic::Status;

use crate::db;

/// A defect: logged in full, answered INTERNAL without detail.
pub fn internal(error: impl Display) -> Status {
    tracing::error!(%error, "internal error");
    Code::Internal.status("internal error; the log has more under this trace id")
}

/// Something the call needs cannot be reached: logged, answered UNAVAILABLE naming only `what`.
pub fn unavailable(what: &str, error: impl Display) -> Status {
    tracing::warn!(what, %error, "unavailable");
    Code::Unavailable.status(format!("{what} cannot be reached; try again later"))
}

/// The status of a database error that no rule of the domain explains: UNAVAILABLE when the same call
/// may go through later, INTERNAL otherwise.
pub fn database(error: &sqlx::Error) -> Status {
    if db::is_unavailable(error) {
        unavailable("the database", error)
    } else {
        internal(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_do_not_read_the_detail() {
        let status = internal("password=hunter2");
        assert_eq!(Code::of(&status), Some(Code::Internal));
        assert!(!status.message().contains("hunter2"));
        let status = database(&sqlx::Error::PoolTimedOut);
        assert_eq!(Code::of(&status), Some(Code::Unavailable));
        assert_eq!(
            Code::of(&database(&sqlx::Error::RowNotFound)),
            Some(Code::Internal)
        );
    }
}
