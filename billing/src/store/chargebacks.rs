//! Chargebacks, written and looked up.

use jitney_platform::telemetry::{TraceContext, link_both};
use jitney_proto::ids::TripId;
use sqlx::types::Json;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{ATTEMPTS_MAX, Store, contended, decision::is_overtaken, span};
use crate::{
    Error,
    chargeback::{Chargeback, ChargebackOf},
    hold::Refusal,
    statements,
};

/// What `record_chargeback` answers.
type Recorded = (String, Option<Json<Chargeback>>, Option<i64>);

impl Store {
    /// Writes down that a payment was taken back, or how that ended; once, however often it is told.
    ///
    /// # Errors
    /// When the trip was not charged so much by card, or the dispute is known as something else.
    pub async fn record_chargeback(&self, told: &ChargebackOf) -> Result<Chargeback, Error> {
        let change = self.change_of_the_ride(told).await?;
        let traceparent = TraceContext::of(&change)
            .map(|context| context.traceparent())
            .or_else(jitney_platform::telemetry::traceparent);
        for _ in 0..ATTEMPTS_MAX {
            let recorded: Result<Recorded, _> = sqlx::query_as(statements::RECORD_CHARGEBACK)
                .bind(&told.dispute_id)
                .bind(told.trip_id.0)
                .bind(told.amount.minor)
                .bind(told.amount.currency.as_str())
                .bind(told.state.name())
                .bind(&told.recorded_by)
                .bind(&traceparent)
                .fetch_one(&self.pool)
                .instrument(span("record_chargeback"))
                .await;
            let (outcome, chargeback, left_minor) = match recorded {
                Ok(recorded) => recorded,
                Err(error) if is_overtaken(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let refusal = match &*outcome {
                "DONE" => {
                    let chargeback = chargeback.ok_or_else(Error::half_an_answer)?;
                    return Ok(chargeback.0);
                }
                "NOT_CHARGED" => Refusal::NotCaptured,
                "OTHER_CURRENCY" => Refusal::OtherCurrency,
                "ABOVE_CHARGED" => Refusal::AboveCharged(left_minor.unwrap_or(0)),
                "OTHER_DISPUTE" => Refusal::OtherDispute,
                "ENDED_OTHERWISE" => Refusal::DisputeEnded,
                other => return Err(Error::Unreadable(format!("outcome {other:?}"))),
            };
            return Err(refusal.into());
        }
        Err(contended("record_chargeback"))
    }

    /// A span in the trace of the ride that the payment is for, linked both ways with the one it is told of
    /// in; none where the ride's is not exported.
    async fn change_of_the_ride(&self, told: &ChargebackOf) -> Result<Span, Error> {
        let ride: Option<Option<String>> = sqlx::query_scalar(statements::CHARGE_TRACE)
            .bind(told.trip_id.0)
            .fetch_optional(&self.pool)
            .instrument(span("charge_trace"))
            .await?;
        let ride = ride.flatten();
        let Some(ride) = ride.as_deref().and_then(TraceContext::sampled) else {
            return Ok(Span::none());
        };
        let change = tracing::info_span!(
            parent: None,
            "charge.chargeback",
            otel.name = format!("chargeback {}", told.state.name()),
            trip.id = %told.trip_id,
        );
        ride.adopt(&change);
        link_both(&Span::current(), &change);
        Ok(change)
    }

    /// The trip that a provider's payment is for; none when it is not one of ours.
    pub async fn trip_of_payment(
        &self,
        provider: &str,
        reference: &str,
    ) -> Result<Option<TripId>, Error> {
        let trip: Option<Uuid> = sqlx::query_scalar(statements::PROVIDER_PAYMENT)
            .bind(provider)
            .bind(reference)
            .fetch_optional(&self.pool)
            .instrument(span("provider_payment"))
            .await?;
        Ok(trip.map(TripId))
    }
}
