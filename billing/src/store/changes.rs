//! Holds of rides that became longer or shorter.

use jitney_proto::ids::{QuoteId, TripId};
use tracing::Instrument;

use super::{ATTEMPTS_MAX, Settled, Store, contended, settled, span};
use crate::{
    Error,
    hold::{Hold, Refusal},
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
}
