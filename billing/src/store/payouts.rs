//! Payouts, run and read.

use jitney_proto::ids::{DriverId, PayoutId};
use sqlx::types::Json;
use tracing::Instrument;

use super::{ATTEMPTS_MAX, Settled, Store, contended, decision::is_overtaken, settled, span};
use crate::{
    Error,
    hold::Refusal,
    idempotency::{self, Key},
    payout::{Payout, PayoutOf, PayoutState, Place},
    statements,
};

impl Store {
    /// Sends a driver what they are owed, or a part of it.
    ///
    /// # Errors
    /// When less is owed, a payout is open, or the database fails.
    pub async fn create_payout(&self, key: &Key, asked: &PayoutOf) -> Result<Payout, Error> {
        let hash = idempotency::hash_of_payout(asked);
        for _ in 0..ATTEMPTS_MAX {
            let decided = sqlx::query_as(statements::CREATE_PAYOUT)
                .bind(key.as_str())
                .bind(hash.as_slice())
                .bind(asked.driver_id.as_str())
                .bind(asked.payout_id.0)
                .bind(asked.currency.as_str())
                .bind(asked.amount.map(|amount| amount.minor))
                .bind(&asked.made_by)
                .fetch_optional(&self.pool)
                .instrument(span("create_payout"))
                .await;
            match settled(decided, &hash)? {
                Settled::Answer(answer) => {
                    return answer.payout.ok_or_else(Error::half_an_answer);
                }
                Settled::Nothing | Settled::Again | Settled::Lapsed => {}
            }
        }
        Err(contended("create_payout"))
    }

    /// Says what became of an open payout.
    ///
    /// # Errors
    /// When there is none of that name, something else became of it before, or the database fails.
    pub async fn close_payout(
        &self,
        driver: &DriverId,
        payout: PayoutId,
        state: PayoutState,
        reason: Option<&str>,
    ) -> Result<Payout, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let closed: Result<Option<(String, Json<Payout>)>, _> =
                sqlx::query_as(statements::CLOSE_PAYOUT)
                    .bind(driver.as_str())
                    .bind(payout.0)
                    .bind(state.name())
                    .bind(reason)
                    .fetch_optional(&self.pool)
                    .instrument(span("close_payout"))
                    .await;
            match closed {
                Ok(Some((outcome, payout))) if outcome == "DONE" => return Ok(payout.0),
                Ok(Some((_, payout))) => return Err(Refusal::PayoutNotOpen(payout.0.state).into()),
                Ok(None) => return Err(Refusal::NoPayout.into()),
                Err(error) if is_overtaken(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended("close_payout"))
    }

    /// Payouts, newest first, those after a place, at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn payouts(
        &self,
        driver: Option<&DriverId>,
        state: Option<PayoutState>,
        after: Option<Place>,
        at_most: i64,
    ) -> Result<Vec<Payout>, Error> {
        let rows: Vec<Json<Payout>> = sqlx::query_scalar(statements::LIST_PAYOUTS)
            .bind(driver.map(DriverId::as_str))
            .bind(state.map(PayoutState::name))
            .bind(at_most)
            .bind(after.map(|place| place.created_at))
            .bind(after.map(|place| place.payout_id.0))
            .fetch_all(&self.pool)
            .instrument(span("list_payouts"))
            .await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }
}
