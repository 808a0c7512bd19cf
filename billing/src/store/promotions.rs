//! Promotions and credit, run.

use jitney_proto::{
    ids::{RiderId, TripId},
    money::Currency,
};
use sqlx::types::Json;
use tracing::Instrument;

use super::{ATTEMPTS_MAX, Settled, Store, contended, decision::is_overtaken, settled, span};
use crate::{
    Error,
    hold::Refusal,
    idempotency::{self, Key},
    promotion::{Applied, Credit, CreditOf, Promotion},
    statements,
};

impl Store {
    /// Gives a rider credit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn grant_credit(&self, key: &Key, asked: &CreditOf) -> Result<Credit, Error> {
        let hash = idempotency::hash_of_credit(asked);
        for _ in 0..ATTEMPTS_MAX {
            let decided = sqlx::query_as(statements::GRANT_CREDIT)
                .bind(key.as_str())
                .bind(hash.as_slice())
                .bind(asked.rider_id.as_str())
                .bind(asked.credit_id.0)
                .bind(asked.amount.currency.as_str())
                .bind(asked.amount.minor)
                .bind(&asked.reason)
                .bind(&asked.made_by)
                .fetch_optional(&self.pool)
                .instrument(span("grant_credit"))
                .await;
            match settled(decided, &hash)? {
                Settled::Answer(answer) => {
                    return answer.credit.ok_or_else(Error::half_an_answer);
                }
                Settled::Nothing | Settled::Again | Settled::Lapsed => {}
            }
        }
        Err(contended("grant_credit"))
    }

    /// Makes a promotion, or gives it new terms.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_promotion(
        &self,
        promotion: &Promotion,
        put_by: &str,
    ) -> Result<Promotion, Error> {
        let kept: Json<Promotion> = sqlx::query_scalar(statements::PUT_PROMOTION)
            .bind(&promotion.code)
            .bind(promotion.currency.as_str())
            .bind(promotion.amount_minor)
            .bind(promotion.percent)
            .bind(promotion.cap_minor)
            .bind(promotion.rides_per_rider)
            .bind(promotion.valid_from)
            .bind(promotion.valid_to)
            .bind(put_by)
            .fetch_one(&self.pool)
            .instrument(span("put_promotion"))
            .await?;
        Ok(kept.0)
    }

    /// Promotions by code, those after one, at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn promotions(
        &self,
        after: Option<&str>,
        at_most: i64,
    ) -> Result<Vec<Promotion>, Error> {
        let rows: Vec<Json<Promotion>> = sqlx::query_scalar(statements::LIST_PROMOTIONS)
            .bind(after)
            .bind(at_most)
            .fetch_all(&self.pool)
            .instrument(span("list_promotions"))
            .await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// Who pays for a trip; none when it has no charge.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn payer(&self, trip_id: TripId) -> Result<Option<String>, Error> {
        let payer = sqlx::query_scalar(statements::GET_PAYER)
            .bind(trip_id.0)
            .fetch_optional(&self.pool)
            .instrument(span("get_payer"))
            .await?;
        Ok(payer)
    }

    /// A promotion that a rider may have now, for fares in a currency.
    ///
    /// # Errors
    /// When there is no such promotion, the rider has had it often enough, or the database fails.
    pub async fn preview_promotion(
        &self,
        code: &str,
        rider_id: &RiderId,
        currency: Currency,
    ) -> Result<Promotion, Error> {
        let found: Option<(String, Json<Promotion>)> =
            sqlx::query_as(statements::PREVIEW_PROMOTION)
                .bind(code)
                .bind(rider_id.as_str())
                .bind(currency.as_str())
                .fetch_optional(&self.pool)
                .instrument(span("preview_promotion"))
                .await?;
        match found {
            None => Err(Refusal::NoPromotion.into()),
            Some((outcome, Json(promotion))) => match outcome.as_str() {
                "DONE" => Ok(promotion),
                "NO_PROMOTION" => Err(Refusal::NoPromotion.into()),
                "USED_UP" => Err(Refusal::PromotionUsedUp.into()),
                other => Err(Error::Unreadable(format!("outcome {other:?}"))),
            },
        }
    }

    /// Gives a held trip a promotion.
    ///
    /// # Errors
    /// When there is no hold or it is not open, no such promotion is to be had, or the database fails.
    pub async fn apply_promotion(&self, trip_id: TripId, code: &str) -> Result<Applied, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let applied: Result<Option<(String, Json<Applied>)>, _> =
                sqlx::query_as(statements::APPLY_PROMOTION)
                    .bind(trip_id.0)
                    .bind(code)
                    .bind(jitney_platform::telemetry::traceparent())
                    .fetch_optional(&self.pool)
                    .instrument(span("apply_promotion"))
                    .await;
            let (outcome, applied) = match applied {
                Ok(Some((outcome, Json(applied)))) => (outcome, applied),
                Ok(None) => return Err(Refusal::NoHold.into()),
                Err(error) if is_overtaken(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let refusal = match outcome.as_str() {
                "DONE" => return Ok(applied),
                "HAS_PROMOTION" => Refusal::HasPromotion,
                "HOLD_NOT_OPEN" => Refusal::TooLateForPromotion,
                "NO_PROMOTION" => Refusal::NoPromotion,
                "USED_UP" => Refusal::PromotionUsedUp,
                other => return Err(Error::Unreadable(format!("outcome {other:?}"))),
            };
            return Err(refusal.into());
        }
        Err(contended("apply_promotion"))
    }
}
