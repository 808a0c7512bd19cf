//! Quotes: a price under the tariff in force, kept so that it can be held.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{ProductId, QuoteId},
    money::Currency,
};
use uuid::Uuid;

use crate::{Error, fare, fare::FareLines, tariff::Tariff};

/// A price that is not kept yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Names it.
    pub id: QuoteId,
    /// What kind of ride.
    pub product: ProductId,
    /// The tariff it was made under.
    pub tariff_version: String,
    /// Driving distance, metres.
    pub distance_meters: i64,
    /// Driving time, milliseconds.
    pub duration_ms: i64,
    /// The currency of the amounts.
    pub currency: Currency,
    /// The lines.
    pub lines: FareLines,
    /// What they sum to, minor units.
    pub total_minor: i64,
    /// What the platform keeps of the ride itself, basis points.
    pub platform_share_basis_points: i64,
}

impl Quote {
    /// Prices a ride under `tariff`; `now` goes into the quote's id and nowhere else.
    pub fn under(
        tariff: &Tariff,
        currency: Currency,
        product: &ProductId,
        distance_meters: i64,
        duration_ms: i64,
        now: DateTime<Utc>,
    ) -> Result<Quote, Error> {
        let rates = tariff
            .products
            .get(product)
            .ok_or_else(|| Error::UnknownProduct(product.clone()))?;
        let lines = fare::price(rates, tariff.tax_basis_points, distance_meters, duration_ms)?;
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        let moment =
            uuid::Timestamp::from_unix(uuid::NoContext, seconds, now.timestamp_subsec_nanos());
        Ok(Quote {
            id: QuoteId(Uuid::new_v7(moment)),
            product: product.clone(),
            tariff_version: tariff.version.clone(),
            distance_meters,
            duration_ms,
            currency,
            lines,
            total_minor: lines.total()?,
            platform_share_basis_points: rates.platform_share_basis_points,
        })
    }
}
