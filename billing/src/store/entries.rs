//! The journal of one trip, read.

use chrono::{DateTime, Utc};
use jitney_proto::{ids::TripId, money::Currency};
use sqlx::FromRow;
use tracing::Instrument;

use super::{Store, span, unreadable};
use crate::{Error, statements};

/// One movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Why.
    pub kind: String,
    /// Which one of its kind, from 1.
    pub seq: i32,
    /// When.
    pub posted_at: DateTime<Utc>,
    /// Its sides.
    pub sides: Vec<Side>,
}

/// One side of a movement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Which account.
    pub account: String,
    /// Whose, if anybody's.
    pub owner: Option<String>,
    /// The currency.
    pub currency: Currency,
    /// How much; debits positive.
    pub amount_minor: i64,
}

/// A row of `list_trip_entries`.
#[derive(FromRow)]
struct SideRow {
    kind: String,
    seq: i32,
    posted_at: DateTime<Utc>,
    account: String,
    owner_id: Option<String>,
    currency: String,
    amount_minor: i64,
}

impl Store {
    /// Every entry about a trip, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn entries(&self, trip: TripId) -> Result<Vec<Entry>, Error> {
        let rows: Vec<SideRow> = sqlx::query_as(statements::LIST_TRIP_ENTRIES)
            .bind(trip.0)
            .fetch_all(&self.pool)
            .instrument(span("list_trip_entries"))
            .await?;
        let mut entries: Vec<Entry> = Vec::new();
        for row in rows {
            let side = Side {
                account: row.account,
                owner: row.owner_id,
                currency: row.currency.parse().map_err(|_| unreadable("a currency"))?,
                amount_minor: row.amount_minor,
            };
            match entries.last_mut() {
                Some(last) if last.kind == row.kind && last.seq == row.seq => last.sides.push(side),
                _ => entries.push(Entry {
                    kind: row.kind,
                    seq: row.seq,
                    posted_at: row.posted_at,
                    sides: vec![side],
                }),
            }
        }
        Ok(entries)
    }
}
