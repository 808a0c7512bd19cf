//! Tips, run.

use tracing::Instrument;

use super::{ATTEMPTS_MAX, Settled, Store, contended, milliseconds, settled, span};
use crate::{
    Error,
    hold::{Hold, Refusal},
    idempotency::{self, Key},
    statements,
    tip::{Tip, TipOf, TipTerms},
};

impl Store {
    /// Gives the driver something on top of a captured fare.
    ///
    /// # Errors
    /// When nothing was captured, it is too much or too late, or the database fails.
    pub async fn tip(
        &self,
        key: &Key,
        asked: &TipOf,
        terms: &TipTerms,
    ) -> Result<(Hold, Tip), Error> {
        let hash = idempotency::hash_of_tip(asked);
        for _ in 0..ATTEMPTS_MAX {
            let decided = sqlx::query_as(statements::ADD_TIP)
                .bind(key.as_str())
                .bind(hash.as_slice())
                .bind(asked.trip_id.0)
                .bind(asked.amount.minor)
                .bind(asked.amount.currency.to_string())
                .bind(terms.max_minor)
                .bind(milliseconds(terms.window))
                .bind(&asked.made_by)
                .bind(jitney_platform::telemetry::traceparent())
                .fetch_optional(&self.pool)
                .instrument(span("add_tip"))
                .await;
            match settled(decided, &hash)? {
                Settled::Answer(answer) => {
                    self.wake.poke();
                    let both = answer.hold.zip(answer.tip);
                    return both.ok_or_else(Error::half_an_answer);
                }
                Settled::Nothing => return Err(Refusal::NotCaptured.into()),
                Settled::Again | Settled::Lapsed => {}
            }
        }
        Err(contended("add_tip"))
    }
}
