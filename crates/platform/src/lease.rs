//! Leases: of several processes, one does the work, and another takes over when it is gone.
//!
//! A lease keeps jobs apart, it does not make them safe: a process that was paused may wake after its
//! lease has passed to another. What must not happen twice is fenced in its own transaction, with
//! [`Lease::confirm`].

use std::time::Duration;

use sqlx::{PgConnection, PgPool, postgres::types::PgInterval};
use uuid::Uuid;

/// The statements about leases.
pub mod statements {
    crate::statements! {
        /// Takes a lease that is free, or keeps one that is ours. The database's clock decides, so
        /// that processes with different clocks agree.
        HOLD = "-- hold_lease: one row if the lease is ours now
            INSERT INTO lease (name, holder, expires_at) VALUES ($1, $2, now() + $3)
            ON CONFLICT (name) DO UPDATE
               SET holder = excluded.holder, expires_at = excluded.expires_at
             WHERE lease.holder = excluded.holder OR lease.expires_at <= now()
            RETURNING holder";
        /// Gives a lease back, so that nobody has to wait for its end.
        RELEASE = "-- release_lease: free at once, if it is ours
            DELETE FROM lease WHERE name = $1 AND holder = $2";
        /// Locks the lease until the transaction ends, so that nobody can take it over before what
        /// was done under it is committed.
        CONFIRM = "-- confirm_lease: one row if the lease is still ours; nobody takes it meanwhile
            SELECT holder FROM lease WHERE name = $1 AND holder = $2 FOR UPDATE";
    }
}

/// A claim to be the one that does some work.
#[derive(Clone, Debug)]
pub struct Lease {
    pool: PgPool,
    name: String,
    holder: Uuid,
    ttl: Duration,
}

impl Lease {
    /// A claim to `name` by a new holder, not yet held. Once held it lasts `ttl` unless held again.
    pub fn new(pool: PgPool, name: impl Into<String>, ttl: Duration) -> Self {
        Self {
            pool,
            name: name.into(),
            holder: Uuid::new_v4(),
            ttl,
        }
    }

    /// The lease's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who we are to the others.
    pub(crate) fn holder(&self) -> Uuid {
        self.holder
    }

    /// Takes the lease or keeps it; whether it is ours.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn hold(&self) -> Result<bool, sqlx::Error> {
        let microseconds = i64::try_from(self.ttl.as_micros()).unwrap_or(i64::MAX);
        let ttl = PgInterval {
            months: 0,
            days: 0,
            microseconds,
        };
        let held = sqlx::query(statements::HOLD)
            .bind(&self.name)
            .bind(self.holder)
            .bind(ttl)
            .fetch_optional(&self.pool)
            .await?;
        Ok(held.is_some())
    }

    /// Whether the lease is still ours; if so nobody takes it before this transaction ends.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn confirm(&self, transaction: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let ours = sqlx::query(statements::CONFIRM)
            .bind(&self.name)
            .bind(self.holder)
            .fetch_optional(transaction)
            .await?;
        Ok(ours.is_some())
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// Those of the database; the lease then ends by itself.
    pub async fn release(&self) -> Result<(), sqlx::Error> {
        let query = sqlx::query(statements::RELEASE)
            .bind(&self.name)
            .bind(self.holder);
        query.execute(&self.pool).await.map(drop)
    }
}
