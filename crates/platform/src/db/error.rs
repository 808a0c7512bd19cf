//! What goes wrong between us and the database, and what may be tried again.

use sqlx::migrate::MigrateError;

/// Why a schema could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection.
    #[error("the database cannot be reached: {0}")]
    Connect(#[source] sqlx::Error),
    /// The schema's name would need quoting.
    #[error("schema name {0:?} is not plain: a-z, 0-9 and _, beginning with a letter, at most 40")]
    SchemaName(String),
    /// The schema could not be made.
    #[error("schema {schema} cannot be made: {source}")]
    Schema {
        /// Its name.
        schema: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A migration failed, or was changed after it had been applied.
    #[error("schema {schema} cannot be brought up to date: {source}")]
    Migrate {
        /// Its name.
        schema: String,
        /// What went wrong.
        #[source]
        source: MigrateError,
    },
}

/// An error that may be a database's wish to start the transaction over.
pub trait Retryable {
    /// The database error inside, if that is what it is.
    fn sqlx(&self) -> Option<&sqlx::Error>;
}

impl Retryable for sqlx::Error {
    fn sqlx(&self) -> Option<&sqlx::Error> {
        Some(self)
    }
}

/// The name of the constraint that refused a row.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// Whether the same call may go through later: the database is away, restarting, full, or took too
/// long over this statement or its locks.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // 08: connection, 53: resources, 57: intervention and time-outs, 55P03: lock time-out,
            // 25P03: idle in transaction, 25006: read-only after a fail-over, 40: start over.
            matches!(&*code, "55P03" | "25P03" | "25006")
                || ["08", "53", "57", "40"]
                    .iter()
                    .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

/// Whether the database wants the whole transaction started over: a serialization failure or a
/// deadlock.
pub(super) fn wants_another_try(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}
