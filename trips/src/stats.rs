//! GetTripStats: how rides went that were asked for lately.

use chrono::{DateTime, TimeDelta, Utc};
use jitney_proto::{time::timestamp, trips::v1 as wire};
use tonic::Status;

use crate::{
    app::App,
    fields::{bad_field, optional},
    store::stats::{Counted, EndReason, Span},
};

/// Minutes that are looked at, when the request does not say.
const MINUTES_DEFAULT: u32 = 60;
/// Minutes that are looked at, at most.
const MINUTES_MAX: u32 = 24 * 60;
/// Buckets in an answer, at most.
const BUCKETS_MAX: u32 = 240;
/// Reasons in an answer, at most.
const REASONS_MAX: i64 = 20;
/// A minute in milliseconds.
const MINUTE_MS: i64 = 60_000;

/// How rides went in the minutes up to now.
///
/// # Errors
/// A time that is too long or too finely cut, and the database's failures.
pub async fn stats(
    app: &App,
    request: &wire::GetTripStatsRequest,
) -> Result<wire::GetTripStatsResponse, Status> {
    let now = app.now();
    let (span, buckets) = span(request, now)?;
    let counted = app.store.count_trips(&span).await?;
    let reasons = app.store.end_reasons(&span, REASONS_MAX).await?;
    let (sums, found): (Vec<Counted>, Vec<Counted>) =
        counted.into_iter().partition(|row| row.bucket.is_none());
    let mut rows: Vec<Counted> = vec![Counted::default(); buckets];
    for row in found {
        let place = row.bucket.and_then(|bucket| usize::try_from(bucket).ok());
        if let Some(own) = place.and_then(|place| rows.get_mut(place)) {
            *own = row;
        }
    }
    let begins = |number: usize| {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        span.from + TimeDelta::milliseconds(number.saturating_mul(span.bucket_ms))
    };
    let buckets = rows.iter().enumerate();
    Ok(wire::GetTripStatsResponse {
        taken_at: Some(timestamp(now)),
        buckets: buckets
            .map(|(number, row)| told(row, begins(number)))
            .collect(),
        total: Some(told(
            &sums.into_iter().next().unwrap_or_default(),
            span.from,
        )),
        end_reasons: reasons.into_iter().map(reason).collect(),
    })
}

/// Which rides are counted, and in how many buckets. Buckets begin at whole minutes, so that a chart
/// that is drawn again has the same ones.
fn span(request: &wire::GetTripStatsRequest, now: DateTime<Utc>) -> Result<(Span, usize), Status> {
    let minutes = match request.minutes {
        0 => MINUTES_DEFAULT,
        minutes @ 1..=MINUTES_MAX => minutes,
        _ => {
            let problem = format!("must be at most {MINUTES_MAX}");
            return Err(bad_field("minutes", &problem));
        }
    };
    let bucket = request.bucket_minutes.max(1);
    let buckets = minutes.div_ceil(bucket);
    if buckets > BUCKETS_MAX {
        let problem = format!("leaves more than {BUCKETS_MAX} buckets in {minutes} minutes");
        return Err(bad_field("bucket_minutes", &problem));
    }
    let bucket_ms = i64::from(bucket) * MINUTE_MS;
    // The bucket of this moment is the last, and not over yet.
    let last = now.timestamp_millis().div_euclid(bucket_ms) * bucket_ms;
    let first = last - i64::from(buckets - 1) * bucket_ms;
    let from = DateTime::from_timestamp_millis(first).unwrap_or(now);
    let span = Span {
        from,
        to: from + TimeDelta::milliseconds(i64::from(buckets) * bucket_ms),
        bucket_ms,
        product: optional(&request.product, "product")?,
    };
    Ok((span, buckets as usize))
}

fn told(row: &Counted, starts_at: DateTime<Utc>) -> wire::TripStats {
    let count = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    let ended = row.completed + row.cancelled + row.expired + row.no_show;
    wire::TripStats {
        starts_at: Some(timestamp(starts_at)),
        requested: count(row.requested),
        completed: count(row.completed),
        cancelled: count(row.cancelled),
        expired: count(row.expired),
        no_show: count(row.no_show),
        live: count(row.requested - ended),
        picked_up: count(row.picked_up),
        pickup_mean_ms: row.mean_ms,
        pickup_median_ms: row.median_ms,
        pickup_p95_ms: row.p95_ms,
    }
}

fn reason(of: EndReason) -> wire::EndReasonCount {
    wire::EndReasonCount {
        state: of.state.wire().into(),
        reason: of.reason,
        count: u32::try_from(of.trips).unwrap_or(u32::MAX),
    }
}
