//! Postings by the page and drivers' months, read.

use chrono::{DateTime, Utc};
use jitney_proto::money::Currency;
use sqlx::{FromRow, types::Json};
use tracing::Instrument;
use uuid::Uuid;

use super::{Store, span, unreadable};
use crate::{
    Error,
    ledger::Account,
    statement::{Movement, Place, Posted},
    statements,
};

/// Whose postings are listed, and which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Whose.
    pub owner: &'a str,
    /// Of which of their accounts.
    pub accounts: &'a [Account],
    /// From when on.
    pub from: Option<DateTime<Utc>>,
    /// Until when; not itself.
    pub to: Option<DateTime<Utc>>,
}

/// A row of `list_postings`.
#[derive(FromRow)]
struct PostingRow {
    about: Uuid,
    kind: String,
    seq: i32,
    position: i32,
    account: String,
    currency: String,
    amount_minor: i64,
    posted_at: DateTime<Utc>,
}

impl Store {
    /// Postings, newest first, those after a place, at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn postings(
        &self,
        listed: &Listed<'_>,
        after: Option<&Place>,
        at_most: i64,
    ) -> Result<Vec<Posted>, Error> {
        let accounts: Vec<_> = listed.accounts.iter().map(|of| of.name()).collect();
        let rows: Vec<PostingRow> = sqlx::query_as(statements::LIST_POSTINGS)
            .bind(listed.owner)
            .bind(accounts)
            .bind(listed.from)
            .bind(listed.to)
            .bind(at_most)
            .bind(after.map(|place| place.posted_at))
            .bind(after.map(|place| place.about))
            .bind(after.map(|place| place.kind.as_str()))
            .bind(after.map(|place| place.seq))
            .bind(after.map(|place| place.position))
            .fetch_all(&self.pool)
            .instrument(span("list_postings"))
            .await?;
        let posted = |row: PostingRow| {
            let currency = row.currency.parse();
            Ok(Posted {
                account: row.account,
                currency: currency.map_err(|_| unreadable("a currency"))?,
                amount_minor: row.amount_minor,
                place: Place {
                    posted_at: row.posted_at,
                    about: row.about,
                    kind: row.kind,
                    seq: row.seq,
                    position: row.position,
                },
            })
        };
        rows.into_iter().map(posted).collect()
    }

    /// What a driver was owed at `from`, and every movement from then until `to`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn movements(
        &self,
        driver: &str,
        currency: Currency,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<(i64, Vec<Movement>), Error> {
        let (opening, movements): (i64, Json<Vec<Movement>>) =
            sqlx::query_as(statements::DRIVER_STATEMENT)
                .bind(driver)
                .bind(currency.as_str())
                .bind(from)
                .bind(to)
                .fetch_one(&self.pool)
                .instrument(span("driver_statement"))
                .await?;
        Ok((opening, movements.0))
    }
}
