//! Chargebacks, written and looked up.

use jitney_proto::ids::TripId;
use sqlx::types::Json;
use tracing::Instrument;
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
        for _ in 0..ATTEMPTS_MAX {
            let recorded: Result<Recorded, _> = sqlx::query_as(statements::RECORD_CHARGEBACK)
                .bind(&told.dispute_id)
                .bind(told.trip_id.0)
                .bind(told.amount.minor)
                .bind(told.amount.currency.as_str())
                .bind(told.state.name())
                .bind(&told.recorded_by)
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
