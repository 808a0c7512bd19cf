//! Quotes: a price under the tariff in force, kept so that it can be held.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{ProductId, QuoteId},
    money::Currency,
};
use uuid::Uuid;

use crate::{
    Error,
    fare::{self, FareError, FareLines, Ride},
    place::Place,
    surcharge,
    tariff::Tariff,
};

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
    /// What scarcity made of the fare, percent.
    pub surge_percent: i64,
    /// What calling the ride off late costs; its lines.
    pub cancellation_fee: FareLines,
    /// What not coming costs; its lines.
    pub no_show_fee: FareLines,
}

/// What is to be priced.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What kind of ride.
    pub product: ProductId,
    /// Driving distance, metres.
    pub distance_meters: i64,
    /// Driving time, milliseconds.
    pub duration_ms: i64,
    /// Where it begins, where that is known.
    pub pickup: Option<Place>,
    /// Where it ends, where that is known.
    pub dropoff: Option<Place>,
    /// When it begins; `None` is now.
    pub pickup_at: Option<DateTime<Utc>>,
    /// Stops between pick-up and drop-off.
    pub extra_stops: i64,
    /// What scarcity makes of the fare, percent, before the tariff's cap.
    pub surge_percent: i64,
    /// How long the driver waited at the pick-up, milliseconds; the tariff has free ones.
    pub waiting_ms: i64,
    /// Its way, for the tolls on it.
    pub way: Vec<Place>,
    /// What tolls cost besides: those of a way that was priced before, minor units.
    pub toll_minor: i64,
    /// Which tariff; `None` is the one in force.
    pub tariff_version: Option<String>,
}

impl Quote {
    /// Prices a ride under `tariff`, as one that begins `now` where nobody says when.
    ///
    /// # Errors
    /// When the tariff has no such product or the fare is too large.
    pub fn under(
        tariff: &Tariff,
        currency: Currency,
        asked: &Asked,
        now: DateTime<Utc>,
    ) -> Result<Quote, Error> {
        let product = &asked.product;
        let rates = tariff
            .products
            .get(product)
            .ok_or_else(|| Error::UnknownProduct(product.clone()))?;
        let begins_at = asked.pickup_at.unwrap_or(now);
        let night = tariff.night.as_ref();
        let surge_percent = asked.surge_percent.clamp(100, tariff.surge_percent_max);
        let zone_fees = surcharge::zone_fees(&tariff.zones, asked.pickup, asked.dropoff);
        let tolls = surcharge::tolls(&tariff.tolls, &asked.way) + i128::from(asked.toll_minor);
        let ride = Ride {
            distance_meters: asked.distance_meters,
            duration_ms: asked.duration_ms,
            extra_stops: asked.extra_stops,
            waiting_ms: asked.waiting_ms,
            night_percent: night.map_or(0, |night| night.percent_at(begins_at)),
            surge_percent,
            zone_fee_minor: i64::try_from(zone_fees).map_err(|_| FareError::TooLarge)?,
            toll_minor: i64::try_from(tolls).map_err(|_| FareError::TooLarge)?,
        };
        let tax = tariff.tax_basis_points;
        let lines = fare::price(rates, tax, &ride)?;
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        let moment =
            uuid::Timestamp::from_unix(uuid::NoContext, seconds, now.timestamp_subsec_nanos());
        Ok(Quote {
            id: QuoteId(Uuid::new_v7(moment)),
            product: product.clone(),
            tariff_version: tariff.version.clone(),
            distance_meters: asked.distance_meters,
            duration_ms: asked.duration_ms,
            currency,
            lines,
            total_minor: lines.total()?,
            platform_share_basis_points: rates.platform_share_basis_points,
            surge_percent,
            cancellation_fee: FareLines::cancellation_fee(rates.cancellation_fee_minor, tax)?,
            no_show_fee: FareLines::no_show_fee(rates.no_show_fee_minor, tax)?,
        })
    }
}
