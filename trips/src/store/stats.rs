//! How rides went: counted and measured by the database, from the trips themselves.

use chrono::{DateTime, Utc};
use jitney_proto::ids::ProductId;
use sqlx::FromRow;

use super::Store;
use crate::{error::Error, state::State, statements};

/// Rides that are counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Asked for from then on.
    pub from: DateTime<Utc>,
    /// Asked for before.
    pub to: DateTime<Utc>,
    /// Milliseconds that are counted together, from `from` on.
    pub bucket_ms: i64,
    /// Only this product.
    pub product: Option<ProductId>,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, FromRow)]
pub struct Counted {
    /// Which bucket, from 0; `None` for all of them together.
    pub bucket: Option<i64>,
    /// Rides that were asked for.
    pub requested: i64,
    /// Driven to the end.
    pub completed: i64,
    /// Called off.
    pub cancelled: i64,
    /// Given up.
    pub expired: i64,
    /// The rider did not come.
    pub no_show: i64,
    /// Wanted at once, and a driver was at the pick-up.
    pub picked_up: i64,
    /// How long that took, milliseconds: on average.
    pub mean_ms: Option<i64>,
    /// The middle of it.
    pub median_ms: Option<i64>,
    /// What 95 of 100 were below.
    pub p95_ms: Option<i64>,
}

/// How often rides ended for a reason.
#[derive(Clone, Debug, PartialEq)]
pub struct EndReason {
    /// How they ended.
    pub state: State,
    /// Why.
    pub reason: String,
    /// How many.
    pub trips: i64,
}

impl Store {
    /// How rides went: buckets that have any, oldest first, and after them all together.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn count_trips(&self, span: &Span) -> Result<Vec<Counted>, Error> {
        let rows = sqlx::query_as(statements::TRIP_STATS)
            .bind(span.from)
            .bind(span.to)
            .bind(span.bucket_ms)
            .bind(span.product.as_ref().map(ProductId::as_str))
            .fetch_all(self.pool())
            .await?;
        Ok(rows)
    }

    /// Why rides ended that were not driven, at most `limit` reasons.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn end_reasons(&self, span: &Span, limit: i64) -> Result<Vec<EndReason>, Error> {
        let rows: Vec<(String, String, i64)> = sqlx::query_as(statements::END_REASONS)
            .bind(span.from)
            .bind(span.to)
            .bind(span.product.as_ref().map(ProductId::as_str))
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        let reason = |(state, reason, trips): (String, String, i64)| {
            let odd = || Error::Defect(format!("the database holds state {state:?}"));
            Ok(EndReason {
                state: State::from_name(&state).ok_or_else(odd)?,
                reason,
                trips,
            })
        };
        rows.into_iter().map(reason).collect()
    }
}
