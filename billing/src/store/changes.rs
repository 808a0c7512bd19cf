//! Holds of rides that became longer or shorter, and of those that go on for long.

use jitney_proto::ids::{QuoteId, TripId};
use sqlx::types::Json;
use tracing::Instrument;

use super::{ATTEMPTS_MAX, HoldTerms, Settled, Store, contended, milliseconds, settled, span};
use crate::{
    Error,
    hold::{Hold, Outcome, Refusal},
    idempotency::{self, Key},
    statements,
};

impl Store {
    /// Puts an open hold under another quote; what is held becomes its total.
    ///
    /// # Errors
    /// When there is no such hold or quote, the quote is not as it was made, the hold is not open, or the key
    /// names another request.
    pub async fn change_hold(
        &self,
        key: &Key,
        trip_id: TripId,
        quote_id: QuoteId,
    ) -> Result<Hold, Error> {
        let hash = idempotency::hash_of_change(&trip_id, &quote_id);
        for _ in 0..ATTEMPTS_MAX {
            let mut connection = self.pool.acquire().await?;
            let genuine = self.genuine(&mut connection, quote_id).await?;
            let decided = sqlx::query_as(statements::CHANGE_HOLD)
                .bind(key.as_str())
                .bind(hash.as_slice())
                .bind(trip_id.0)
                .bind(quote_id.0)
                .bind(genuine.total_minor)
                .bind(jitney_platform::telemetry::traceparent())
                .fetch_optional(&mut *connection)
                .instrument(span("change_hold"))
                .await;
            match settled(decided, &hash)? {
                Settled::Answer(answer) => return answer.hold.ok_or_else(Error::half_an_answer),
                Settled::Nothing => return Err(Refusal::NoHold.into()),
                Settled::Again | Settled::Lapsed => {}
            }
        }
        Err(contended("change_hold"))
    }

    /// Lets an open hold run for its full time again, counted from now, as long as it does not become too
    /// old by that.
    ///
    /// # Errors
    /// When there is no such hold, or it is not open.
    pub async fn renew_hold(&self, trip_id: TripId, terms: &HoldTerms) -> Result<Hold, Error> {
        let renewed: Option<(String, Json<Hold>)> = sqlx::query_as(statements::RENEW_HOLD)
            .bind(trip_id.0)
            .bind(milliseconds(terms.validity))
            .bind(milliseconds(terms.age_max))
            .fetch_optional(&self.pool)
            .instrument(span("renew_hold"))
            .await?;
        let (outcome, Json(hold)) = renewed.ok_or(Refusal::NoHold)?;
        if outcome == Outcome::Done.name() {
            Ok(hold)
        } else {
            Err(Refusal::HoldNotOpen(hold).into())
        }
    }
}
