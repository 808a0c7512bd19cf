//! Quotes: prices a trip may be made of.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{ProductId, QuoteId},
    money::Money,
};
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use super::{Store, millis};
use crate::{
    error::Error,
    statements,
    trip::{Fees, Place, Tariff},
};

/// The way a price is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// Where the rider waits.
    pub pickup: Place,
    /// Stops on the way, in driving order.
    pub stops: Vec<Place>,
    /// Where the rider goes.
    pub dropoff: Place,
    /// Driving distance, metres.
    pub distance_m: i64,
    /// Driving time, milliseconds.
    pub duration_ms: i64,
    /// When the rider wants to be picked up; `None` is now.
    pub pickup_at: Option<DateTime<Utc>>,
}

/// The price of one product on a way.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// Names the quote.
    pub quote_id: QuoteId,
    /// The product.
    pub product: ProductId,
    /// Billing's name for it.
    pub fare_quote_id: String,
    /// How much.
    pub fare: Money,
    /// Until when it holds.
    pub expires_at: DateTime<Utc>,
    /// How many riders the product has seats for.
    pub seats_max: u32,
    /// What a trip's end may cost instead.
    pub fees: Fees,
    /// What it was reckoned under.
    pub tariff: Tariff,
}

/// A quote as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Quote {
    /// Names the quote.
    pub quote_id: QuoteId,
    /// Who asked.
    pub asked_by: String,
    /// The product.
    pub product: ProductId,
    /// The way.
    pub way: Way,
    /// Billing's name for the price.
    pub fare_quote_id: String,
    /// How much.
    pub fare: Money,
    /// Whether it still holds, by the database's clock.
    pub holds: bool,
    /// How many riders the product has seats for; `None` for quotes made before that was kept.
    pub seats_max: Option<u32>,
    /// What a trip's end may cost instead.
    pub fees: Fees,
    /// What it was reckoned under; `None` for quotes made before that was kept.
    pub tariff: Option<Tariff>,
}

#[derive(FromRow)]
struct QuoteRow {
    quote_id: Uuid,
    asked_by: String,
    product: String,
    pickup_latitude: f64,
    pickup_longitude: f64,
    dropoff_latitude: f64,
    dropoff_longitude: f64,
    distance_m: i64,
    duration_ms: i64,
    fare_quote_id: String,
    fare_minor: i64,
    fare_currency: String,
    holds: bool,
    seats_max: Option<i32>,
    cancellation_fee_minor: i64,
    no_show_fee_minor: i64,
    pickup_at: Option<DateTime<Utc>>,
    stops: Json<Vec<Place>>,
    tariff_version: Option<String>,
    surge_percent: Option<i32>,
}

impl Store {
    /// Keeps the prices of a way.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn keep_quotes(
        &self,
        asked_by: &str,
        way: &Way,
        prices: &[Price],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let ids: Vec<Uuid> = prices.iter().map(|price| price.quote_id.0).collect();
        let products: Vec<&str> = prices.iter().map(|price| price.product.as_str()).collect();
        let fare_quotes: Vec<&str> = prices
            .iter()
            .map(|price| price.fare_quote_id.as_str())
            .collect();
        let minor: Vec<i64> = prices.iter().map(|price| price.fare.minor).collect();
        let currencies: Vec<String> = prices
            .iter()
            .map(|price| price.fare.currency.to_string())
            .collect();
        let expiries: Vec<DateTime<Utc>> = prices.iter().map(|price| price.expires_at).collect();
        let seats: Vec<i32> = prices
            .iter()
            .map(|price| i32::try_from(price.seats_max).unwrap_or(i32::MAX))
            .collect();
        let tariffs = prices.iter().map(|price| &price.tariff);
        let versions: Vec<&str> = tariffs
            .clone()
            .map(|tariff| tariff.version.as_str())
            .collect();
        let surges: Vec<i32> = tariffs
            .map(|tariff| tariff.surge_percent.cast_signed())
            .collect();
        let fees = |of: fn(&Fees) -> i64| -> Vec<i64> {
            prices.iter().map(|price| of(&price.fees)).collect()
        };
        sqlx::query(statements::INSERT_QUOTES)
            .bind(asked_by)
            .bind(way.pickup.latitude)
            .bind(way.pickup.longitude)
            .bind(way.dropoff.latitude)
            .bind(way.dropoff.longitude)
            .bind(way.distance_m)
            .bind(way.duration_ms)
            .bind(now)
            .bind(ids)
            .bind(products)
            .bind(fare_quotes)
            .bind(minor)
            .bind(currencies)
            .bind(expiries)
            .bind(seats)
            .bind(fees(|fees| fees.cancellation_minor))
            .bind(fees(|fees| fees.no_show_minor))
            .bind(way.pickup_at)
            .bind(Json(&way.stops))
            .bind(versions)
            .bind(surges)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// A quote.
    ///
    /// # Errors
    /// NOT_FOUND, and the database's failures.
    pub async fn quote(&self, quote_id: QuoteId) -> Result<Quote, Error> {
        let row: QuoteRow = sqlx::query_as(statements::READ_QUOTE)
            .bind(quote_id.0)
            .fetch_optional(self.pool())
            .await?
            .ok_or(Error::NotFound("quote"))?;
        let odd = |what: &str| Error::Defect(format!("the database holds an odd {what}"));
        Ok(Quote {
            quote_id: QuoteId(row.quote_id),
            asked_by: row.asked_by,
            product: row.product.parse().map_err(|_| odd("product"))?,
            way: Way {
                pickup: Place {
                    latitude: row.pickup_latitude,
                    longitude: row.pickup_longitude,
                },
                stops: row.stops.0,
                dropoff: Place {
                    latitude: row.dropoff_latitude,
                    longitude: row.dropoff_longitude,
                },
                distance_m: row.distance_m,
                duration_ms: row.duration_ms,
                pickup_at: row.pickup_at,
            },
            fare_quote_id: row.fare_quote_id,
            fare: Money::new(
                row.fare_minor,
                row.fare_currency.parse().map_err(|_| odd("currency"))?,
            ),
            holds: row.holds,
            seats_max: row.seats_max.map(|seats| seats.max(0).cast_unsigned()),
            tariff: Tariff::kept(row.tariff_version, row.surge_percent),
            fees: Fees {
                cancellation_minor: row.cancellation_fee_minor,
                no_show_minor: row.no_show_fee_minor,
            },
        })
    }

    /// Forgets quotes that ran out longer than `age` ago; how many.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn purge_quotes(&self, age: std::time::Duration) -> Result<u64, Error> {
        let result = sqlx::query(statements::PURGE_QUOTES)
            .bind(millis(age))
            .execute(self.pool())
            .await?;
        Ok(result.rows_affected())
    }
}
