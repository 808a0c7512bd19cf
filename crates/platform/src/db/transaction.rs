//! Transactions that end properly whatever becomes of the request, and connections that never come
//! back to the pool inside one.

use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::{Connection, PgConnection, PgPool};
use tracing::Instrument;

use super::{Retryable, error::wants_another_try};

/// How often a transaction is started over, at most.
const RETRIES_MAX: u32 = 5;
/// The wait before the first retry; it doubles each time, and is shortened at random.
const BACKOFF: Duration = Duration::from_millis(5);

/// Runs `work` in a transaction: committed when it answers `Ok`, rolled back otherwise.
///
/// It runs in a task of its own, so it ends even when the request that asked for it is dropped half
/// way: the client went away, but the change is whole. A serialization failure or deadlock starts it
/// over, up to five times, so `work` must have no effect but on its connection. The span carries
/// `name` as `db.operation.name`.
///
/// # Errors
/// Those of `work`, and those of the database.
///
/// # Panics
/// When `work` panics, with its panic.
pub async fn transaction<T, E, F>(pool: &PgPool, name: &'static str, work: F) -> Result<T, E>
where
    F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, E>> + Send + Sync + 'static,
    T: Send + 'static,
    E: From<sqlx::Error> + Retryable + Send + 'static,
{
    let span = tracing::info_span!(
        "sql.transaction",
        otel.kind = "client",
        db.system.name = "postgresql",
        db.operation.name = name,
        retries = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    let pool = pool.clone();
    let task = tokio::spawn(run(pool, name, work).instrument(span));
    match task.await {
        Ok(result) => result,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being torn down.
            Err(_) => Err(sqlx::Error::WorkerCrashed.into()),
        },
    }
}

async fn run<T, E, F>(pool: PgPool, name: &'static str, work: F) -> Result<T, E>
where
    F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, E>>,
    E: From<sqlx::Error> + Retryable,
{
    let mut retries = 0;
    loop {
        let error = match attempt(&pool, &work).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if retries == RETRIES_MAX || !error.sqlx().is_some_and(wants_another_try) {
            if error.sqlx().is_some() {
                tracing::Span::current().record("otel.status_code", "ERROR");
            }
            return Err(error);
        }
        retries += 1;
        tracing::Span::current().record("retries", retries);
        tracing::debug!(name, retries, "transaction starts over");
        let longest = BACKOFF * 2u32.pow(retries - 1);
        tokio::time::sleep(longest.mul_f64(rand::random::<f64>())).await;
    }
}

async fn attempt<T, E, F>(pool: &PgPool, work: &F) -> Result<T, E>
where
    F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, E>>,
    E: From<sqlx::Error>,
{
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    match work(&mut transaction).await {
        Ok(value) => {
            transaction.commit().await?;
            Ok(value)
        }
        Err(error) => {
            if let Err(error) = transaction.rollback().await {
                tracing::debug!(%error, "the connection was lost before it could roll back");
            }
            Err(error)
        }
    }
}

/// Leaves whatever transaction a connection is in, on its way back to the pool; `false` would have it
/// closed. A dropped `begin()` is what leaves one behind: sqlx has sent BEGIN and forgotten it, and
/// does not tell whether the connection is in a transaction, so this is sent always.
///
/// A bare ROLLBACK outside a transaction puts a warning in the server's log each time. BEGIN first
/// keeps it quiet; it fails in a transaction that an error has ended, and only there (or on servers
/// that refuse a nested BEGIN) the ROLLBACK has to be sent again.
pub(super) async fn leave(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match sqlx::raw_sql("BEGIN; ROLLBACK")
        .execute(&mut *connection)
        .await
    {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(_)) => sqlx::raw_sql("ROLLBACK")
            .execute(connection)
            .await
            .map(|_| true),
        Err(error) => Err(error),
    }
}
