//! Quotes: kept with their signatures, and looked at before they are used.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jitney_proto::ids::{QuoteId, TripId};
use sqlx::{FromRow, PgConnection};
use tracing::Instrument;
use uuid::Uuid;

use super::{Store, milliseconds, span, unreadable};
use crate::{Error, fare::FareLines, hold::Refusal, quote::Quote, signing::Kept, statements};

/// A row of `fare_quote`, as `get_quote` and `capture_facts` give it.
#[derive(FromRow)]
pub(super) struct QuoteRow {
    quote_id: Uuid,
    product: String,
    tariff_version: String,
    distance_meters: i64,
    duration_ms: i64,
    quote_currency: String,
    lines: Vec<i64>,
    total_minor: i64,
    pub(super) platform_share_basis_points: i64,
    surge_percent: i64,
    cancellation_fee_minor: i64,
    cancellation_tax_minor: i64,
    no_show_fee_minor: i64,
    no_show_tax_minor: i64,
    quoted_at: DateTime<Utc>,
    quote_expires_at: DateTime<Utc>,
    signature: Option<String>,
}

impl QuoteRow {
    /// The lines of the fare.
    pub(super) fn lines(&self) -> Result<FareLines, Error> {
        FareLines::of_amounts(&self.lines).ok_or_else(|| unreadable("a quote's lines"))
    }

    /// The line of the fee for calling the ride off, and its tax.
    pub(super) fn cancellation_fee(&self) -> FareLines {
        FareLines {
            cancellation_fee_minor: self.cancellation_fee_minor,
            tax_minor: self.cancellation_tax_minor,
            ..FareLines::default()
        }
    }

    /// The line of the fee for not coming, and its tax.
    pub(super) fn no_show_fee(&self) -> FareLines {
        FareLines {
            no_show_fee_minor: self.no_show_fee_minor,
            tax_minor: self.no_show_tax_minor,
            ..FareLines::default()
        }
    }

    fn kept(&self) -> Result<Kept, Error> {
        let quote = Quote {
            id: QuoteId(self.quote_id),
            product: self
                .product
                .parse()
                .map_err(|_| unreadable("a quote's product"))?,
            tariff_version: self.tariff_version.clone(),
            distance_meters: self.distance_meters,
            duration_ms: self.duration_ms,
            currency: self
                .quote_currency
                .parse()
                .map_err(|_| unreadable("a quote's currency"))?,
            lines: self.lines()?,
            total_minor: self.total_minor,
            platform_share_basis_points: self.platform_share_basis_points,
            surge_percent: self.surge_percent,
            cancellation_fee: self.cancellation_fee(),
            no_show_fee: self.no_show_fee(),
        };
        Ok(Kept {
            quote,
            created_at: self.quoted_at,
            expires_at: self.quote_expires_at,
            signature: self.signature.clone(),
        })
    }
}

/// What a statement may count on of a quote that was found genuine. It refuses a row that says otherwise,
/// and every row when there is none of this.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Genuine {
    /// What it comes to.
    pub(super) total_minor: Option<i64>,
    /// Until when it may be held.
    pub(super) expires_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Signs a quote and keeps it for `validity`, by the database's clock; until when, and the signature.
    pub async fn add_quote(
        &self,
        quote: &Quote,
        validity: Duration,
    ) -> Result<(DateTime<Utc>, String), Error> {
        let (cancellation, no_show) = (&quote.cancellation_fee, &quote.no_show_fee);
        // One connection for both statements: to get it and to give it back are round trips.
        let mut connection = self.pool.acquire().await?;
        let (made_at, expires_at): (DateTime<Utc>, DateTime<Utc>) =
            sqlx::query_as(statements::TIME_QUOTE)
                .bind(milliseconds(validity))
                .fetch_one(&mut *connection)
                .instrument(span("time_quote"))
                .await?;
        let signature = self.quotes.sign(quote, expires_at);
        sqlx::query(statements::ADD_QUOTE)
            .bind(quote.id.0)
            .bind(quote.product.as_str())
            .bind(&quote.tariff_version)
            .bind(quote.distance_meters)
            .bind(quote.duration_ms)
            .bind(quote.currency.as_str())
            .bind(quote.lines.amounts().as_slice())
            .bind(quote.total_minor)
            .bind(quote.platform_share_basis_points)
            .bind(made_at)
            .bind(expires_at)
            .bind(i32::try_from(quote.surge_percent).unwrap_or(i32::MAX))
            .bind(cancellation.cancellation_fee_minor)
            .bind(cancellation.tax_minor)
            .bind(no_show.no_show_fee_minor)
            .bind(no_show.tax_minor)
            .bind(&signature)
            .execute(&mut *connection)
            .instrument(span("add_quote"))
            .await?;
        Ok((expires_at, signature))
    }

    /// What of a quote may be counted on: nothing when there is none, or it is not as it was made.
    pub(super) async fn genuine(
        &self,
        connection: &mut PgConnection,
        quote_id: QuoteId,
    ) -> Result<Genuine, Error> {
        let row: Option<QuoteRow> = sqlx::query_as(statements::GET_QUOTE)
            .bind(quote_id.0)
            .fetch_optional(connection)
            .instrument(span("get_quote"))
            .await?;
        let Some(row) = row else {
            return Ok(Genuine::default());
        };
        Ok(match self.is_genuine(&row)? {
            true => Genuine {
                total_minor: Some(row.total_minor),
                expires_at: Some(row.quote_expires_at),
            },
            false => Genuine::default(),
        })
    }

    /// The tolls in the quote under which a trip's fare is held, minor units; 0 where nothing is.
    ///
    /// # Errors
    /// When the quote is not as it was signed.
    pub async fn held_toll(&self, trip_id: TripId) -> Result<i64, Error> {
        let mut connection = self.pool.acquire().await?;
        let quote_id: Option<Uuid> = sqlx::query_scalar(statements::HELD_QUOTE)
            .bind(trip_id.0)
            .fetch_optional(&mut *connection)
            .instrument(span("held_quote"))
            .await?;
        let Some(quote_id) = quote_id else {
            return Ok(0);
        };
        let row: QuoteRow = sqlx::query_as(statements::GET_QUOTE)
            .bind(quote_id)
            .fetch_one(&mut *connection)
            .instrument(span("get_quote"))
            .await?;
        if !self.is_genuine(&row)? {
            return Err(Refusal::QuoteNotGenuine.into());
        }
        Ok(row.lines()?.toll_minor)
    }

    /// Whether a quote is as it was made, and by us.
    pub(super) fn is_genuine(&self, row: &QuoteRow) -> Result<bool, Error> {
        let is_genuine = self.quotes.is_genuine(&row.kept()?, self.signing_since);
        if !is_genuine {
            tracing::error!(quote_id = %row.quote_id, "a quote is not as it was signed");
        }
        Ok(is_genuine)
    }
}
