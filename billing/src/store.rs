//! The statements, run. Every money command is one of them, outside any transaction of ours: it
//! happened or it did not, and nobody who goes away half way can leave something open.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use jitney_platform::{db::Database, outbox::Wake, telemetry::TraceContext};
use jitney_proto::{
    ids::{RiderId, TripId},
    money::{Currency, Money},
};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::{
    Error, SCHEMA,
    fare::FareLines,
    hold::{Authorize, CaptureOf, Hold, Reason, Refusal},
    idempotency::{self, Key},
    ledger::{Account, AccountTotal, Capture, Means, Payment, Posting, Relief, Soundness},
    promotion::Terms,
    receipt::Receipt,
    signing::QuoteKeys,
    statements,
    tariff::Body,
};

pub mod batch;
mod changes;
mod chargebacks;
mod decision;
pub mod entries;
mod movements;
mod payouts;
mod promotions;
mod provider;
mod quotes;
mod refunds;
mod tips;

use decision::{Settled, settled};
pub use movements::Listed;
pub use provider::{Compared, Due, EndedPayout, Settlement};
use quotes::QuoteRow;

/// The role that connections act as; migration 2 says what it may do.
const ROLE: &str = "jitney_billing";
/// How often a money statement is run before its caller is told to come back later. Each further
/// run means that another statement about the same trip, rider or key has ended in between.
const ATTEMPTS_MAX: u32 = 10;
/// How many holds are released by one statement.
pub const LAPSED_MAX: i64 = 200;

/// Billing's schema.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    wake: Wake,
    quotes: Arc<QuoteKeys>,
    signing_since: DateTime<Utc>,
}

/// What holds are made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTerms {
    /// The currency of the limit. A quote in another one is as good as expired.
    pub currency: Currency,
    /// What a rider's open holds may add up to, minor units.
    pub limit_minor: i64,
    /// How long a hold may be captured.
    pub validity: Duration,
    /// How old it may become by being renewed.
    pub age_max: Duration,
}

/// Why a tariff cannot be used with this database.
#[derive(Debug, thiserror::Error)]
pub enum TariffClash {
    /// The version was used with other content.
    #[error(
        "billing.tariffs: this database knows tariff {0:?} with other prices. A version never \
         changes once a process has started with it; give the new prices a new version"
    )]
    Changed(String),
    /// The tariff cannot be stored.
    #[error("the tariff cannot be stored: {0}")]
    Database(#[from] sqlx::Error),
    /// The tariff cannot be written as JSON.
    #[error("the tariff cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl Store {
    /// Brings the schema up to date and connects to it as the role that may not rewrite history.
    ///
    /// # Errors
    /// When the database cannot be reached, a migration fails, or the role cannot be taken; the
    /// message says which and what to do.
    pub async fn open(database: &Database, quotes: QuoteKeys) -> anyhow::Result<Store> {
        let owner = database.open(SCHEMA, &crate::MIGRATOR).await?;
        let options = owner
            .connect_options()
            .as_ref()
            .clone()
            .options([("role", ROLE)]);
        // The same pool again: its limits and what it does with a connection that comes back.
        let settings = owner.options().clone();
        owner.close().await;
        let pool = settings.connect_with(options).await.with_context(|| {
            format!("cannot act as database role {ROLE}; is the one who connects a member of it?")
        })?;
        let signing_since = sqlx::query_scalar(statements::SIGNING_SINCE)
            .fetch_one(&pool)
            .await
            .context("cannot find out since when quotes are signed")?;
        Ok(Store {
            pool,
            wake: Wake::new(),
            quotes: Arc::new(quotes),
            signing_since,
        })
    }

    /// The pool, for tests.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Makes telling the others prompt. It is poked for what nobody who keeps it is answered: trips asks
    /// for holds and captures by itself, and hears of those again in the second that the relay looks.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Keeps a tariff, or checks that it is the one that is kept under its version.
    pub async fn keep_tariff(&self, body: &Body) -> Result<(), TariffClash> {
        let hash = body.hash()?;
        let mut kept: Option<Vec<u8>> = None;
        // A second look finds the row of a process that was storing it at the same moment.
        for _ in 0..2 {
            kept = sqlx::query_scalar(statements::STORE_TARIFF)
                .bind(&body.tariff.version)
                .bind(Json(body))
                .bind(hash.as_slice())
                .bind(body.tariff.effective_from)
                .fetch_optional(&self.pool)
                .instrument(span("store_tariff"))
                .await?;
            if kept.is_some() {
                break;
            }
        }
        if kept.as_deref() == Some(&hash) {
            Ok(())
        } else {
            Err(TariffClash::Changed(body.tariff.version.clone()))
        }
    }

    /// Holds a quoted fare for a trip.
    pub async fn authorize(
        &self,
        key: &Key,
        asked: &Authorize,
        terms: &HoldTerms,
    ) -> Result<Hold, Error> {
        let hash = idempotency::hash_of_authorize(asked);
        for _ in 0..ATTEMPTS_MAX {
            // One connection for both statements: to get it and to give it back are round trips.
            let mut connection = self.pool.acquire().await?;
            let genuine = self.genuine(&mut connection, asked.quote_id).await?;
            let decided = sqlx::query_as(statements::AUTHORIZE_HOLD)
                .bind(key.as_str())
                .bind(hash.as_slice())
                .bind(asked.trip_id.0)
                .bind(asked.rider_id.as_str())
                .bind(asked.quote_id.0)
                .bind(terms.currency.as_str())
                .bind(terms.limit_minor)
                .bind(milliseconds(terms.validity))
                .bind(asked.payment_method.name())
                .bind(genuine.total_minor)
                .bind(genuine.expires_at)
                .bind(jitney_platform::telemetry::traceparent())
                .fetch_optional(&mut *connection)
                .instrument(span("authorize_hold"))
                .await;
            drop(connection);
            match settled(decided, &hash)? {
                Settled::Answer(answer) => return answer.hold.ok_or_else(Error::half_an_answer),
                Settled::Lapsed => {
                    self.lapse(Some(&asked.rider_id)).await?;
                }
                Settled::Nothing | Settled::Again => {}
            }
        }
        Err(contended("authorize_hold"))
    }

    /// Takes a held fare.
    pub async fn capture(&self, key: &Key, asked: &CaptureOf) -> Result<Captured, Error> {
        let hash = idempotency::hash_of_capture(asked);
        for _ in 0..ATTEMPTS_MAX {
            // One connection for both statements: to get it and to give it back are round trips.
            let mut connection = self.pool.acquire().await?;
            let facts = facts(&mut connection, &[asked.trip_id.0]).await?;
            let Plan {
                authorised,
                amount: _,
                promotion,
                capture,
                ..
            } = self.planned(facts.get(&asked.trip_id.0), asked)?;
            let (accounts, owners, amounts) = columns(&capture.postings);
            let decided = sqlx::query_as(statements::CAPTURE_HOLD)
                .bind(key.as_str())
                .bind(hash.as_slice())
                .bind(asked.trip_id.0)
                .bind(asked.driver_id.as_str())
                .bind(capture.total_minor)
                .bind(authorised)
                .bind(capture.lines.amounts().as_slice())
                .bind(capture.split.driver_share_minor)
                .bind(capture.split.platform_share_minor)
                .bind(accounts)
                .bind(owners)
                .bind(amounts)
                .bind(
                    asked
                        .amount
                        .as_ref()
                        .map(|amount| amount.currency.to_string()),
                )
                .bind(promotion)
                .bind(capture.promotion_minor)
                .bind(capture.credit_minor)
                .bind(capture.dues_minor)
                .bind(capture.cash_minor)
                .bind(capture.carried_minor)
                .bind(jitney_platform::telemetry::traceparent())
                .fetch_optional(&mut *connection)
                .instrument(span("capture_hold"))
                .await;
            match settled(decided, &hash)? {
                Settled::Answer(answer) => {
                    return answer
                        .hold
                        .zip(answer.receipt)
                        .ok_or_else(Error::half_an_answer);
                }
                Settled::Nothing => return Err(Refusal::NoHold.into()),
                Settled::Again | Settled::Lapsed => {}
            }
        }
        Err(contended("capture_hold"))
    }

    /// Releases a hold.
    pub async fn void(&self, key: &Key, trip_id: TripId) -> Result<Hold, Error> {
        let hash = idempotency::hash_of_void(&trip_id);
        for _ in 0..ATTEMPTS_MAX {
            let decided = sqlx::query_as(statements::VOID_HOLD)
                .bind(key.as_str())
                .bind(hash.as_slice())
                .bind(trip_id.0)
                .bind(jitney_platform::telemetry::traceparent())
                .fetch_optional(&self.pool)
                .instrument(span("void_hold"))
                .await;
            match settled(decided, &hash)? {
                Settled::Answer(answer) => {
                    self.wake.poke();
                    return answer.hold.ok_or_else(Error::half_an_answer);
                }
                Settled::Nothing => return Err(Refusal::NoHold.into()),
                Settled::Again | Settled::Lapsed => {}
            }
        }
        Err(contended("void_hold"))
    }

    /// Releases holds that ran out, of one rider or of all, at most [`LAPSED_MAX`]; how many.
    pub async fn lapse(&self, rider: Option<&RiderId>) -> Result<i64, Error> {
        let span = span("lapse_holds");
        let (released, rides): (i64, Vec<String>) = sqlx::query_as(statements::LAPSE_HOLDS)
            .bind(rider.map(RiderId::as_str))
            .bind(LAPSED_MAX)
            .fetch_one(&self.pool)
            .instrument(span.clone())
            .await?;
        for ride in rides {
            if let Some(ride) = TraceContext::sampled(&ride) {
                ride.link(&span);
            }
        }
        if released > 0 {
            self.wake.poke();
        }
        Ok(released)
    }

    /// What a trip cost; none until it is captured.
    pub async fn receipt(&self, trip_id: TripId) -> Result<Option<Receipt>, Error> {
        let receipt: Option<Json<Receipt>> = sqlx::query_scalar(statements::GET_RECEIPT)
            .bind(trip_id.0)
            .fetch_optional(&self.pool)
            .instrument(span("get_receipt"))
            .await?;
        Ok(receipt.map(|receipt| receipt.0))
    }

    /// The balances of a personal account, by currency; debits positive, credits negative.
    pub async fn balances(&self, account: Account, owner: &str) -> Result<Vec<Money>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(statements::GET_BALANCES)
            .bind(owner)
            .bind(account.name())
            .fetch_all(&self.pool)
            .instrument(span("get_balances"))
            .await?;
        rows.into_iter()
            .map(|(code, minor)| {
                let currency = code.parse().map_err(|_| unreadable("a currency"))?;
                Ok(Money::new(minor, currency))
            })
            .collect()
    }

    /// Sums the whole ledger.
    pub async fn check_ledger(&self) -> Result<Soundness, Error> {
        let found: SoundnessRow = sqlx::query_as(statements::CHECK_LEDGER)
            .fetch_one(&self.pool)
            .instrument(span("check_ledger"))
            .await?;
        Ok(Soundness {
            entries: found.entries,
            unbalanced_entries: found.unbalanced_entries,
            wrong_balances: found.wrong_balances,
            wrong_charges: found.wrong_charges,
            wrong_payouts: found.wrong_payouts,
            wrong_credits: found.wrong_credits,
            totals: found.totals.0,
        })
    }
}

/// A hold that was captured, and what was charged.
pub type Captured = (Hold, Receipt);

/// What capturing would write.
struct Plan {
    /// What is held.
    authorised: i64,
    /// How much of it is taken.
    amount: i64,
    /// The promotion that the charge has.
    promotion: Option<String>,
    /// Whether the ride is paid in cash.
    in_cash: bool,
    /// The rest; empty when the statement is going to refuse. Refusing is its business.
    capture: Capture,
}

impl Plan {
    /// Whether nothing but the fare is taken, by card.
    fn is_plain(&self) -> bool {
        let capture = &self.capture;
        let beside = [
            capture.promotion_minor,
            capture.credit_minor,
            capture.dues_minor,
            capture.cash_minor,
            capture.carried_minor,
        ];
        self.promotion.is_none() && !self.in_cash && beside == [0; 5]
    }
}

/// What is known of some charges.
async fn facts(
    connection: &mut PgConnection,
    trips: &[Uuid],
) -> Result<HashMap<Uuid, CaptureFacts>, sqlx::Error> {
    let facts: Vec<CaptureFacts> = sqlx::query_as(statements::CAPTURE_FACTS)
        .bind(trips)
        .fetch_all(connection)
        .instrument(span("capture_facts"))
        .await?;
    Ok(facts
        .into_iter()
        .map(|facts| (facts.trip_id, facts))
        .collect())
}

impl Store {
    /// Plans a capture from what is known of the charge.
    fn planned(&self, facts: Option<&CaptureFacts>, asked: &CaptureOf) -> Result<Plan, Error> {
        // What is over is answered as it was, whatever became of its quote.
        if let Some(facts) = facts
            && facts.is_held
            && !self.is_genuine(&facts.quote)?
        {
            return Err(Refusal::QuoteNotGenuine.into());
        }
        let authorised = facts.map_or(0, |facts| facts.authorised);
        let whole = facts.map(|facts| facts.lines(asked.reason));
        let whole = whole.transpose()?.unwrap_or_default();
        let amount = match &asked.amount {
            Some(amount) => amount.minor,
            // A fee is at most what is held; a fare was held as it is.
            None => whole.total()?.min(authorised),
        };
        let capture = match facts {
            Some(facts) if (0..=authorised).contains(&amount) => {
                let rider = facts
                    .rider_id
                    .parse()
                    .map_err(|_| unreadable("a rider's id"))?;
                let share = facts.quote.platform_share_basis_points;
                let means = facts.means(asked.reason);
                Capture::plan(&whole, share, amount, &means, &rider, &asked.driver_id)?
            }
            _ => Capture {
                total_minor: amount,
                ..Capture::default()
            },
        };
        Ok(Plan {
            authorised,
            amount,
            promotion: facts.and_then(|facts| facts.promotion_code.clone()),
            in_cash: facts.is_some_and(|facts| facts.in_cash),
            capture,
        })
    }
}

/// A row of `check_ledger`.
#[derive(FromRow)]
struct SoundnessRow {
    entries: i64,
    unbalanced_entries: i64,
    wrong_balances: i64,
    wrong_charges: i64,
    wrong_payouts: i64,
    wrong_credits: i64,
    totals: Json<Vec<AccountTotal>>,
}

/// A row of `capture_facts`.
#[derive(FromRow)]
struct CaptureFacts {
    trip_id: Uuid,
    rider_id: String,
    authorised: i64,
    is_held: bool,
    #[sqlx(flatten)]
    quote: QuoteRow,
    promotion_code: Option<String>,
    promotion_amount_minor: Option<i64>,
    promotion_percent: Option<i64>,
    promotion_cap_minor: Option<i64>,
    credit_minor: i64,
    in_cash: bool,
    dues_minor: i64,
}

impl CaptureFacts {
    /// How it is paid. Promotions are for rides, not for fees; nobody meets to pay a fee in cash.
    fn means(&self, reason: Reason) -> Means {
        let promotion = Terms {
            amount_minor: self.promotion_amount_minor,
            percent: self.promotion_percent,
            cap_minor: self.promotion_cap_minor,
        };
        let (promotion, in_cash) = match reason {
            Reason::Fare => (promotion, Payment::Cash),
            Reason::CancellationFee | Reason::NoShowFee => (Terms::default(), Payment::Carried),
        };
        Means {
            relief: Relief {
                promotion,
                credit_minor: self.credit_minor,
            },
            payment: if self.in_cash { in_cash } else { Payment::Owed },
            dues_minor: self.dues_minor,
        }
    }

    /// What is charged for that reason, whole.
    fn lines(&self, reason: Reason) -> Result<FareLines, Error> {
        match reason {
            Reason::Fare => self.quote.lines(),
            Reason::CancellationFee => Ok(self.quote.cancellation_fee()),
            Reason::NoShowFee => Ok(self.quote.no_show_fee()),
        }
    }
}

/// The columns of postings, as the statements take them: accounts, owners, amounts.
fn columns(postings: &[Posting]) -> (Vec<&'static str>, Vec<Option<&str>>, Vec<i64>) {
    let accounts = postings.iter().map(|posting| posting.account.name());
    let owners = postings.iter().map(|posting| posting.owner.as_deref());
    let amounts = postings.iter().map(|posting| posting.amount_minor);
    (accounts.collect(), owners.collect(), amounts.collect())
}

fn contended(statement: &'static str) -> Error {
    Error::Contended {
        statement,
        attempts: ATTEMPTS_MAX,
    }
}

fn unreadable(what: &str) -> Error {
    Error::Unreadable(what.to_owned())
}

fn milliseconds(duration: Duration) -> i64 {
    // The configuration keeps them far below.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn span(statement: &'static str) -> Span {
    jitney_platform::db::span(SCHEMA, statement)
}
