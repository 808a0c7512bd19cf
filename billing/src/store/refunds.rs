//! Refunds, run.

use sqlx::FromRow;
use tracing::Instrument;

use super::{Settled, Store, columns, contended, settled, span, unreadable};
use crate::{
    Error,
    fare::FareLines,
    hold::{Hold, Refusal},
    idempotency::{self, Key},
    refund::{Charged, Plan, Refund, RefundOf},
    statements,
};

/// How often a refund is planned and run before its caller is told to come back later. Each further
/// time means that another refund of the same trip went through in between.
const ATTEMPTS_MAX: u32 = 100;

/// A row of `refund_facts`.
#[derive(FromRow)]
struct RefundFacts {
    rider_id: String,
    driver_id: String,
    captured: i64,
    refunded: i64,
    charged_back: i64,
    promotion_minor: i64,
    credit_minor: i64,
    in_cash: bool,
    platform_share_basis_points: i64,
    lines: Vec<i64>,
}

impl Store {
    /// Gives a captured fare, or a part of it, back.
    ///
    /// # Errors
    /// When nothing was captured, less is left, or the database fails.
    pub async fn refund(&self, key: &Key, asked: &RefundOf) -> Result<(Hold, Refund), Error> {
        let hash = idempotency::hash_of_refund(asked);
        for _ in 0..ATTEMPTS_MAX {
            let (before, amount, plan) = self.refund_plan(asked).await?;
            let (accounts, owners, amounts) = columns(&plan.postings);
            let decided = sqlx::query_as(statements::REFUND_TRIP)
                .bind(key.as_str())
                .bind(hash.as_slice())
                .bind(asked.trip_id.0)
                .bind(asked.amount.map(|amount| amount.minor))
                .bind(asked.amount.map(|amount| amount.currency.to_string()))
                .bind(before)
                .bind(amount)
                .bind(plan.lines.amounts().as_slice())
                .bind(plan.split.driver_share_minor)
                .bind(plan.split.platform_share_minor)
                .bind(accounts)
                .bind(owners)
                .bind(amounts)
                .bind(&asked.reason)
                .bind(&asked.made_by)
                .bind(plan.promotion_minor)
                .bind(plan.credit_minor)
                .bind(jitney_platform::telemetry::traceparent())
                .fetch_optional(&self.pool)
                .instrument(span("refund_trip"))
                .await;
            match settled(decided, &hash)? {
                Settled::Answer(answer) => {
                    self.wake.poke();
                    let both = answer.hold.zip(answer.refund);
                    return both.ok_or_else(Error::half_an_answer);
                }
                Settled::Nothing => return Err(Refusal::NotCaptured.into()),
                Settled::Again | Settled::Lapsed => {}
            }
        }
        Err(contended("refund_trip"))
    }

    /// What giving back would write: what was given back before, how much more, and the rest. It is nothing
    /// when the statement is going to refuse; refusing is its business, and if by then there is enough, it
    /// is asked again.
    async fn refund_plan(&self, asked: &RefundOf) -> Result<(i64, i64, Plan), Error> {
        let facts: Option<RefundFacts> = sqlx::query_as(statements::REFUND_FACTS)
            .bind(asked.trip_id.0)
            .fetch_optional(&self.pool)
            .instrument(span("refund_facts"))
            .await?;
        let Some(facts) = facts else {
            return Ok(Default::default());
        };
        let left = facts.captured - facts.refunded - facts.charged_back;
        let amount = asked.amount.map_or(left.max(0), |amount| amount.minor);
        if !(1..=left).contains(&amount) {
            return Ok((facts.refunded, 0, Plan::default()));
        }
        let lines = FareLines::of_amounts(&facts.lines);
        let charged = Charged {
            rider_id: facts.rider_id,
            driver_id: facts.driver_id,
            lines: lines.ok_or_else(|| unreadable("a receipt's lines"))?,
            platform_share_basis_points: facts.platform_share_basis_points,
            promotion_minor: facts.promotion_minor,
            credit_minor: facts.credit_minor,
            in_cash: facts.in_cash,
            captured_minor: facts.captured,
            refunded_minor: facts.refunded,
        };
        Ok((charged.refunded_minor, amount, Plan::of(&charged, amount)?))
    }
}
