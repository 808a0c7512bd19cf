//! QuoteTrip: the way from matching, the price from billing, the quote kept here.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use jitney_proto::{
    Code,
    billing::v1::{FareQuote, QuoteFareRequest},
    common::v1::{Point, Route},
    ids::{ProductId, QuoteId},
    matching::v1::{
        ComputeRouteRequest, DemandMapRequest, GetServiceAreaRequest, NearbyDriversRequest,
    },
    money::{Currency, Money},
    time::{moment, timestamp},
    trips::v1::TripQuote,
};

use tonic::Status;
use tonic_types::StatusExt;

use crate::{
    app::{App, BILLING, MATCHING, chrono_of},
    error::Error,
    store::{
        fresh_id,
        quotes::{Price, Way},
    },
    trip::{Fees, Place, Tariff, Trip},
};

/// What is to be priced.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who asks.
    pub asked_by: String,
    /// Where the rider waits.
    pub pickup: Place,
    /// Stops on the way, in driving order.
    pub stops: Vec<Place>,
    /// Where the rider goes.
    pub dropoff: Place,
    /// Only this product; `None` means all.
    pub product: Option<ProductId>,
    /// When the rider wants to be picked up; `None` is now.
    pub pickup_at: Option<DateTime<Utc>>,
}

/// The quotes of one way.
pub struct Quotes {
    /// The way.
    pub route: Route,
    /// One per product, in matching's order.
    pub quotes: Vec<TripQuote>,
}

/// Prices a way for every product, or for one, and keeps the quotes.
///
/// # Errors
/// OUTSIDE_MAP, NO_ROUTE, UNKNOWN_PRODUCT; UNAVAILABLE when a service cannot be reached.
pub async fn quote(app: &Arc<App>, wish: &Wish) -> Result<Quotes, Error> {
    ahead(app, wish)?;
    let surge_percent = async {
        match wish.pickup_at {
            None => surge(app, wish).await,
            // Nobody knows yet how scarce cars will be.
            Some(_) => 100,
        }
    };
    let (ways, surge_percent) = tokio::join!(
        async { tokio::try_join!(route(app, wish), products(app, wish)) },
        surge_percent
    );
    let (route, products) = ways?;
    let way = Way {
        pickup: wish.pickup,
        stops: wish.stops.clone(),
        dropoff: wish.dropoff,
        distance_m: route.distance_meters,
        duration_ms: route.duration_ms,
        pickup_at: wish.pickup_at,
    };
    let priced = products.iter().map(|product| {
        let (line, is_wanted) = (&route.line, wish.product.is_some());
        price(app, &way, line, product, surge_percent, is_wanted)
    });
    let (prices, quotes): (Vec<Price>, Vec<TripQuote>) =
        try_join_all(priced).await?.into_iter().flatten().unzip();
    app.store
        .keep_quotes(&wish.asked_by, &way, &prices, app.now())
        .await?;
    Ok(Quotes { route, quotes })
}

/// Refuses a time that is too near or too far.
fn ahead(app: &App, wish: &Wish) -> Result<(), Error> {
    let Some(pickup_at) = wish.pickup_at else {
        return Ok(());
    };
    let booking = &app.config.booking;
    let ahead = pickup_at - app.now();
    let problem = if ahead < chrono_of(booking.ahead_min) {
        let least = humantime_serde::re::humantime::format_duration(booking.ahead_min);
        format!("is less than {least} ahead; leave it out for a ride at once")
    } else if ahead > chrono_of(booking.ahead_max) {
        let most = humantime_serde::re::humantime::format_duration(booking.ahead_max);
        format!("is more than {most} ahead")
    } else {
        return Ok(());
    };
    let field = "pickup_at";
    Err(Error::BadField { field, problem })
}

/// Prices one product on a way, now, for a ride that was asked for without a quote.
///
/// # Errors
/// As [`quote`].
pub async fn quote_one(app: &Arc<App>, wish: &Wish) -> Result<QuoteId, Error> {
    let quotes = quote(app, wish).await?;
    quotes
        .quotes
        .first()
        .and_then(|quote| quote.quote_id.parse().ok())
        .ok_or_else(|| Error::Defect("a product without a quote".to_owned()))
}

async fn route(app: &App, wish: &Wish) -> Result<Route, Error> {
    let mut way = vec![wish.pickup];
    way.extend(&wish.stops);
    way.push(wish.dropoff);
    let stops = wish.stops.len();
    route_through(app, &way, |number| match number {
        0 => "pickup".to_owned(),
        _ if number > stops => "dropoff".to_owned(),
        _ => format!("stops[{}]", number - 1),
    })
    .await
}

/// The way through some places, in driving order. A place that is refused is called as the caller called
/// it: `name_of` its number.
///
/// # Errors
/// OUTSIDE_MAP, NO_ROUTE; UNAVAILABLE when matching cannot be reached.
pub async fn route_through(
    app: &App,
    way: &[Place],
    name_of: impl Fn(usize) -> String,
) -> Result<Route, Error> {
    let mut matching = app.matching.clone();
    let request = ComputeRouteRequest {
        points: way.iter().map(|place| (*place).into()).collect(),
        omit_line: false,
    };
    app.call(matching.compute_route(request))
        .await
        .map_err(|status| Error::of_call(MATCHING, of_the_way(status, name_of)))?
        .route
        .ok_or_else(|| Error::Defect("matching answered without a route".to_owned()))
}

/// A refusal of the way's with the places named as the caller named them.
fn of_the_way(status: Status, name_of: impl Fn(usize) -> String) -> Status {
    let Some(code) = Code::of(&status) else {
        return status;
    };
    if code == Code::NoRoute {
        return code.bad_field("dropoff", "cannot be reached by road from the pickup");
    }
    let violations = status
        .get_details_bad_request()
        .map(|bad| bad.field_violations)
        .unwrap_or_default();
    let renamed = violations.into_iter().find_map(|violation| {
        let (number, rest) = violation.field.strip_prefix("points[")?.split_once(']')?;
        let ours = name_of(number.parse().ok()?);
        Some(code.bad_field(&format!("{ours}{rest}"), violation.description.as_str()))
    });
    renamed.unwrap_or(status)
}

/// A product that matching has.
struct Offered {
    product: ProductId,
    seats: u32,
}

/// The products to price: the one that was asked for, or all.
async fn products(app: &App, wish: &Wish) -> Result<Vec<Offered>, Error> {
    let mut matching = app.matching.clone();
    let area = app
        .call(matching.get_service_area(GetServiceAreaRequest {}))
        .await
        .map_err(|status| Error::of_call(MATCHING, status))?;
    let mut products = Vec::with_capacity(area.products.len());
    for offered in area.products {
        let product: ProductId = offered
            .product
            .parse()
            .map_err(|_| Error::Defect("matching has an odd product".to_owned()))?;
        if wish
            .product
            .as_ref()
            .is_none_or(|wanted| *wanted == product)
        {
            products.push(Offered {
                product,
                seats: offered.seats,
            });
        }
    }
    match (&wish.product, products.is_empty()) {
        (Some(wanted), true) => Err(Error::UnknownProduct(wanted.to_string())),
        _ => Ok(products),
    }
}

/// One product's price; `None` for a product that has no tariff, unless just this one is wanted.
async fn price(
    app: &App,
    way: &Way,
    line: &[Point],
    offered: &Offered,
    surge_percent: u32,
    is_wanted: bool,
) -> Result<Option<(Price, TripQuote)>, Error> {
    let product = &offered.product;
    let (fare, pickup_eta_ms) = tokio::join!(fare(app, way, line, product, surge_percent), async {
        match way.pickup_at {
            None => eta(app, way.pickup, product).await,
            Some(_) => None,
        }
    });
    let fare = match fare {
        Err(Error::Passed(status)) if Code::of(&status) == Some(Code::UnknownProduct) => {
            if is_wanted {
                return Err(Error::UnknownProduct(product.to_string()));
            }
            tracing::warn!(%product, "the product has no tariff; it is not offered");
            return Ok(None);
        }
        fare => fare?,
    };
    let price = kept(app, offered, &fare)?;
    let quote = TripQuote {
        quote_id: price.quote_id.into(),
        product: product.to_string(),
        fare: Some(price.fare.into()),
        lines: fare.lines.clone(),
        distance_meters: way.distance_m,
        duration_ms: way.duration_ms,
        pickup_eta_ms,
        tariff_version: fare.tariff_version.clone(),
        expires_at: fare.expires_at,
        surge_percent: fare.surge_percent,
        cancellation_fee: fare.cancellation_fee,
        no_show_fee: fare.no_show_fee,
        pickup_at: way.pickup_at.map(timestamp),
        stops: way.stops.iter().map(|stop| (*stop).into()).collect(),
    };
    Ok(Some((price, quote)))
}

async fn fare(
    app: &App,
    way: &Way,
    line: &[Point],
    product: &ProductId,
    surge_percent: u32,
) -> Result<FareQuote, Error> {
    let mut billing = app.billing.clone();
    let request = QuoteFareRequest {
        product: product.to_string(),
        distance_meters: way.distance_m,
        duration_ms: way.duration_ms,
        pickup: Some(way.pickup.into()),
        pickup_at: way.pickup_at.map(timestamp),
        dropoff: Some(way.dropoff.into()),
        surge_percent,
        extra_stops: u32::try_from(way.stops.len()).unwrap_or(u32::MAX),
        way: line.to_vec(),
        ..QuoteFareRequest::default()
    };
    app.call(billing.quote_fare(request))
        .await
        .map_err(|status| Error::of_call(BILLING, status))?
        .quote
        .ok_or_else(|| Error::Defect("billing answered without a quote".to_owned()))
}

/// What scarcity makes of fares where the rider waits, percent. Who cannot be asked makes nothing of it.
async fn surge(app: &App, wish: &Wish) -> u32 {
    let mut matching = app.matching.clone();
    let request = DemandMapRequest {
        at: Some(wish.pickup.into()),
        area: None,
    };
    match app.call(matching.demand_map(request)).await {
        Ok(answer) => answer.cells.first().map_or(100, |cell| cell.surge_percent),
        Err(status) => {
            tracing::warn!(code = ?status.code(), "quoted without a surge");
            100
        }
    }
}

/// Time until the nearest idle driver could be at the pick-up. A price is worth having without it.
pub async fn eta(app: &App, pickup: Place, product: &ProductId) -> Option<i64> {
    let mut matching = app.matching.clone();
    let request = NearbyDriversRequest {
        location: Some(pickup.into()),
        product: product.to_string(),
        limit: 1,
        max_duration_ms: 0,
    };
    match app.call(matching.nearby_drivers(request)).await {
        Ok(answer) => answer.drivers.first().map(|driver| driver.duration_ms),
        Err(status) => {
            tracing::warn!(%product, code = ?status.code(), "quoted without a pick-up time");
            None
        }
    }
}

/// The price as it is kept, after a look at whether it adds up.
fn kept(app: &App, offered: &Offered, fare: &FareQuote) -> Result<Price, Error> {
    let odd = |what: &str| Error::Defect(format!("billing quoted {what}"));
    let total = fare.total.as_ref().ok_or_else(|| odd("no total"))?;
    let total = Money::from_wire(total, "total").map_err(|_| odd("an odd total"))?;
    let mut sum = 0_i64;
    for line in &fare.lines {
        let amount = line
            .amount
            .as_ref()
            .ok_or_else(|| odd("a line without an amount"))?;
        if amount.currency_code != total.currency.as_str() {
            return Err(odd("lines in another currency than the total"));
        }
        sum = sum
            .checked_add(amount.minor_units)
            .ok_or_else(|| odd("too much"))?;
    }
    if sum != total.minor || total.minor < 0 {
        return Err(odd("lines that do not sum to the total"));
    }
    let expires_at = fare
        .expires_at
        .as_ref()
        .ok_or_else(|| odd("without an expiry"))?;
    Ok(Price {
        quote_id: QuoteId(fresh_id(app.now())),
        product: offered.product.clone(),
        seats_max: offered.seats,
        tariff: Tariff {
            version: fare.tariff_version.clone(),
            surge_percent: fare.surge_percent,
        },
        fees: Fees {
            cancellation_minor: fee(fare.cancellation_fee.as_ref(), total.currency)?,
            no_show_minor: fee(fare.no_show_fee.as_ref(), total.currency)?,
        },
        fare_quote_id: fare.quote_id.clone(),
        fare: total,
        expires_at: moment(expires_at, "expires_at").map_err(|_| odd("an odd expiry"))?,
    })
}

/// A fee in the fare's currency; 0 when there is none.
///
/// # Errors
/// A fee in another currency, or below 0, is a defect.
fn fee(fee: Option<&jitney_proto::common::v1::Money>, currency: Currency) -> Result<i64, Error> {
    let Some(fee) = fee else { return Ok(0) };
    let odd = || Error::Defect("billing quoted an odd fee".to_owned());
    let fee = Money::from_wire(fee, "fee").map_err(|_| odd())?;
    if fee.currency != currency || fee.minor < 0 {
        return Err(odd());
    }
    Ok(fee.minor)
}

/// Where the tolls of a ride that became another come from.
pub enum Tolls {
    /// It goes, or went, this way.
    On(Vec<Point>),
    /// It went as it is held.
    AsHeld,
}

/// A ride that became another.
pub struct Another {
    /// Where the rider goes.
    pub dropoff: Place,
    /// How many stops there are on the way.
    pub stops: usize,
    /// Driving distance, metres.
    pub distance_m: i64,
    /// Driving time, milliseconds.
    pub duration_ms: i64,
    /// How long the driver waited at the pick-up, milliseconds.
    pub waiting_ms: i64,
    /// Its tolls.
    pub tolls: Tolls,
}

/// What a ride that became another costs.
pub struct Repriced {
    /// Billing's name for it.
    pub quote_id: String,
    /// How much.
    pub fare: Money,
    /// What its end may cost instead.
    pub fees: Fees,
    /// What it was reckoned under.
    pub tariff: Tariff,
}

/// Prices a trip anew as it was ordered: under its tariff and surge, as of when it was to begin. A trip of
/// before tariffs were kept is priced under the one in force.
///
/// # Errors
/// What billing refuses; UNAVAILABLE when it cannot be reached.
pub async fn reprice(app: &App, trip: &Trip, another: Another) -> Result<Repriced, Error> {
    let begins_at = trip
        .booking
        .as_ref()
        .map_or(trip.created_at, |booking| booking.pickup_at);
    let (version, surge_percent) = match &trip.tariff {
        Some(tariff) => (tariff.version.clone(), tariff.surge_percent),
        None => (String::new(), 100),
    };
    let (way, tolls_of_trip_id) = match another.tolls {
        Tolls::On(way) => (way, String::new()),
        Tolls::AsHeld => (Vec::new(), trip.trip_id.into()),
    };
    let request = QuoteFareRequest {
        way,
        tolls_of_trip_id,
        product: trip.product.to_string(),
        distance_meters: another.distance_m,
        duration_ms: another.duration_ms,
        waiting_ms: another.waiting_ms,
        pickup: Some(trip.pickup.into()),
        dropoff: Some(another.dropoff.into()),
        pickup_at: Some(timestamp(begins_at)),
        extra_stops: u32::try_from(another.stops).unwrap_or(u32::MAX),
        surge_percent,
        tariff_version: version,
    };
    let mut billing = app.billing.clone();
    let answer = app.call(billing.quote_fare(request)).await;
    let answer = answer.map_err(|status| Error::of_call(BILLING, status))?;
    let odd = || Error::Defect("billing quoted an odd fare".to_owned());
    let quote = answer.quote.ok_or_else(odd)?;
    let total = quote.total.as_ref().ok_or_else(odd)?;
    let fare = Money::from_wire(total, "total").map_err(|_| odd())?;
    if fare.currency != trip.fare.currency || fare.minor < 0 {
        return Err(odd());
    }
    Ok(Repriced {
        fees: Fees {
            cancellation_minor: fee(quote.cancellation_fee.as_ref(), fare.currency)?,
            no_show_minor: fee(quote.no_show_fee.as_ref(), fare.currency)?,
        },
        tariff: Tariff {
            version: quote.tariff_version,
            surge_percent: quote.surge_percent,
        },
        quote_id: quote.quote_id,
        fare,
    })
}
