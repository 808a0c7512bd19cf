//! What a ride costs in the end. The up-front price holds as long as the ride was about what was quoted;
//! one that became much longer or shorter is priced by what was driven. Waiting at the pick-up comes on
//! top, after the tariff's free minutes.
//!
//! It is decided once: the decision is written into the trip's row before anything is charged, so that
//! whoever charges again charges the same.

use std::sync::Arc;

use chrono::Duration;
use jitney_proto::{
    Code,
    billing::v1::ChangeHoldRequest,
    ids::TripId,
    matching::v1::{MeasureTripRequest, MeasureTripResponse},
};

use crate::{
    app::{App, BILLING, MATCHING, chrono_of},
    config::FinalFare,
    error::Error,
    quote::{self, Another, Tolls},
    store::fares::Decision,
    trip::Trip,
};

/// What a price is made of beside the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    /// Metres.
    pub distance_m: i64,
    /// Milliseconds.
    pub duration_ms: i64,
    /// How long the driver waited at the pick-up, milliseconds.
    pub waiting_ms: i64,
}

/// What a ride that was driven is to be priced by.
pub fn basis(trip: &Trip, driven: Option<&MeasureTripResponse>, rules: &FinalFare) -> Basis {
    let waiting_ms = match (trip.waited_for_since(), trip.started_at) {
        (Some(since), Some(started)) => (started - since).num_milliseconds().max(0),
        _ => 0,
    };
    let quoted = Basis {
        distance_m: trip.distance_m,
        duration_ms: trip.duration_ms,
        waiting_ms,
    };
    let (Some(driven), Some(started), Some(ended)) = (driven, trip.started_at, trip.ended_at)
    else {
        return quoted;
    };
    // Who knows what they drove in between.
    if Duration::milliseconds(driven.gap_ms) > chrono_of(rules.gap_max) {
        return quoted;
    }
    let took_ms = (ended - started).num_milliseconds().max(0);
    let is_about = |is: i64, quoted: i64, percent: u32, spare: i64| {
        let bound = quoted.saturating_mul(percent.into()) / 100;
        (is - quoted).abs() <= bound.max(spare)
    };
    let spare_ms = chrono_of(rules.duration_spare).num_milliseconds();
    let (distance_m, percent) = (driven.distance_meters, rules.distance_percent);
    if is_about(
        distance_m,
        quoted.distance_m,
        percent,
        rules.distance_spare_meters.into(),
    ) && is_about(
        took_ms,
        quoted.duration_ms,
        rules.duration_percent,
        spare_ms,
    ) {
        return quoted;
    }
    Basis {
        distance_m,
        duration_ms: took_ms,
        waiting_ms,
    }
}

/// Decides what a trip costs that was driven, if nobody has, and has billing hold that.
///
/// # Errors
/// When a service or the database cannot be reached; nothing is decided then.
pub async fn settle(app: &Arc<App>, trip_id: TripId) -> Result<(), Error> {
    let mut trip = app.store.trip(trip_id).await?;
    if trip.final_fare.is_none() {
        let decision = decide(app, &trip).await?;
        app.store.decide_fare(trip_id, &decision).await?;
        // Somebody may have been quicker: what is written counts.
        trip = app.store.trip(trip_id).await?;
    }
    // A ride whose destination was changed is held under its new price already, if billing has heard.
    let Some(quote_id) = trip.final_quote_id.or(trip.price_quote_id) else {
        return Ok(());
    };
    // Without an open one there is nothing to be changed any more; the capture says why.
    change_hold(app, trip_id, quote_id, format!("{trip_id}:final"))
        .await
        .map(drop)
}

/// Has billing put the hold of a trip under another price: whether there was an open one.
///
/// # Errors
/// UNAVAILABLE when billing cannot be reached.
pub async fn change_hold(
    app: &App,
    trip_id: TripId,
    quote_id: String,
    idempotency_key: String,
) -> Result<bool, Error> {
    let mut billing = app.billing.clone();
    let request = ChangeHoldRequest {
        trip_id: trip_id.into(),
        quote_id,
        idempotency_key,
    };
    match app.call(billing.change_hold(request)).await {
        Ok(_) => Ok(true),
        Err(status) if matches!(Code::of(&status), Some(Code::HoldNotOpen | Code::NotFound)) => {
            Ok(false)
        }
        Err(status) => Err(Error::of_call(BILLING, status)),
    }
}

async fn decide(app: &App, trip: &Trip) -> Result<Decision, Error> {
    let driven = driven(app, trip).await?;
    let upfront = Decision {
        driven_m: driven.as_ref().map(|driven| driven.distance_meters),
        fare_minor: trip.fare.minor,
        quote_id: None,
    };
    let quoted = Basis {
        distance_m: trip.distance_m,
        duration_ms: trip.duration_ms,
        waiting_ms: 0,
    };
    let basis = basis(trip, driven.as_ref(), &app.config.final_fare);
    // A trip of before tariffs were kept has its up-front fare.
    if basis == quoted || trip.tariff.is_none() {
        return Ok(upfront);
    }
    let another = Another {
        dropoff: trip.dropoff,
        stops: trip.stops.len(),
        distance_m: basis.distance_m,
        duration_ms: basis.duration_ms,
        waiting_ms: basis.waiting_ms,
        tolls: match driven {
            Some(driven)
                if (basis.distance_m, basis.duration_ms)
                    != (quoted.distance_m, quoted.duration_ms) =>
            {
                Tolls::On(driven.way)
            }
            _ => Tolls::AsHeld,
        },
    };
    let repriced = match quote::reprice(app, trip, another).await {
        Ok(repriced) => repriced,
        // The tariff is gone from billing's configuration: what was agreed on holds.
        Err(error) if error.code() == Code::InvalidRequest => {
            tracing::error!(trip_id = %trip.trip_id, %error, "not priced anew");
            return Ok(upfront);
        }
        Err(error) => return Err(error),
    };
    if repriced.fare == trip.fare {
        return Ok(upfront);
    }
    Ok(Decision {
        fare_minor: repriced.fare.minor,
        quote_id: Some(repriced.quote_id),
        ..upfront
    })
}

/// How far the rider was driven, if matching followed the car. It is waited for a while when it is away.
async fn driven(app: &App, trip: &Trip) -> Result<Option<MeasureTripResponse>, Error> {
    let mut matching = app.matching.clone();
    let request = MeasureTripRequest {
        trip_id: trip.trip_id.into(),
    };
    match app.call(matching.measure_trip(request)).await {
        Ok(driven) => Ok(Some(driven)),
        Err(status) if Code::of(&status) == Some(Code::NotFound) => Ok(None),
        Err(status) => {
            let within = chrono_of(app.config.final_fare.measure_within);
            let ended = trip.ended_at.unwrap_or(trip.updated_at);
            if app.now() < ended + within {
                return Err(Error::of_call(MATCHING, status));
            }
            tracing::warn!(trip_id = %trip.trip_id, "charged without a measure of what was driven");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        state::State,
        state::tests::{at, trip_in},
        trip::Booking,
    };

    fn measured(distance_meters: i64, gap_ms: i64) -> MeasureTripResponse {
        MeasureTripResponse {
            distance_meters,
            positions: 50,
            gap_ms,
            way: Vec::new(),
        }
    }

    /// Quoted: 4000 m in ten minutes. The driver arrived at 30 and left at 40.
    fn driven(minutes: i64) -> Trip {
        let mut trip = trip_in(State::Completed);
        trip.ended_at = trip.started_at.map(|at| at + TimeDelta::minutes(minutes));
        trip
    }

    fn priced(trip: &Trip, driven: Option<&MeasureTripResponse>) -> (i64, i64) {
        let basis = basis(trip, driven, &FinalFare::default());
        assert_eq!(basis.waiting_ms, 10_000);
        (basis.distance_m, basis.duration_ms / 60_000)
    }

    #[test]
    fn within_the_bounds_the_quote_holds() {
        let trip = driven(10);
        for metres in [3_000, 4_000, 5_000] {
            assert_eq!(priced(&trip, Some(&measured(metres, 20_000))), (4_000, 10));
        }
        for metres in [2_999, 5_001] {
            assert_eq!(priced(&trip, Some(&measured(metres, 20_000))), (metres, 10));
        }
        // As for the time: ten minutes more or less.
        let on_way = measured(4_000, 20_000);
        assert_eq!(priced(&driven(20), Some(&on_way)), (4_000, 10));
        assert_eq!(priced(&driven(21), Some(&on_way)), (4_000, 21));
        // Who was not followed, or not all the way, pays what was agreed on.
        assert_eq!(priced(&driven(60), None), (4_000, 10));
        assert_eq!(
            priced(&driven(60), Some(&measured(50_000, 180_001))),
            (4_000, 10)
        );
    }

    #[test]
    fn waiting_counts_from_the_time_that_was_booked() {
        let mut trip = driven(10);
        trip.booking = Some(Booking {
            pickup_at: at(36),
            release_at: at(0),
            fare_quote_id: String::new(),
        });
        assert_eq!(basis(&trip, None, &FinalFare::default()).waiting_ms, 4_000);
    }
}
