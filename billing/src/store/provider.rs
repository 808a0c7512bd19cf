//! What is asked of payment providers, written and read; and the sandbox's book.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jitney_proto::money::Money;
use sqlx::{FromRow, Row as _, postgres::PgRow};
use tracing::Instrument;
use uuid::Uuid;

use super::{Store, milliseconds, span, unreadable};
use crate::{
    Error,
    provider::{Event, Found, Kind, Listed, Operation, Outcome, OwnerRole, ProviderAccount, State},
    statements,
};

/// An operation that is to be taken up.
#[derive(Clone, Debug)]
pub struct Due {
    /// What is asked.
    pub operation: Operation,
    /// Where it stands.
    pub state: State,
    /// How often it was taken up.
    pub attempts: i32,
    /// Whether what it is about is gone, so that it must not be sent.
    pub is_baseless: bool,
    /// The trace context that the fare it is about was held in.
    pub traceparent: Option<String>,
}

/// An operation that is compared with the provider's book.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The operation, and where we think it stands. Baseless is an authorisation that was released.
    pub due: Due,
    /// What went wrong last.
    pub reason: Option<String>,
    /// Whether it ended otherwise than the ledger says.
    pub is_against_ledger: bool,
}

/// What is written down about an operation that was taken up.
#[derive(Clone, Debug)]
pub struct Settlement {
    state: State,
    reference: Option<String>,
    error: Option<String>,
    again_after: Duration,
}

impl Settlement {
    /// What became of it; without an outcome it is taken up again after `again_after`.
    pub fn of(outcome: &Outcome, again_after: Duration, chars_max: usize) -> Settlement {
        let (state, reference, error) = match outcome {
            Outcome::Succeeded { reference } => (State::Succeeded, Some(reference.clone()), None),
            Outcome::Declined { reason } => (State::Declined, None, Some(reason)),
            Outcome::Unknown { error } => (State::Unknown, None, Some(error)),
        };
        Settlement {
            state,
            reference,
            error: error.map(|error| {
                error
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(chars_max)
                    .collect()
            }),
            again_after,
        }
    }
}

/// An open payout whose transfer is at an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedPayout {
    /// Whose.
    pub driver: String,
    /// Its name.
    pub payout: Uuid,
    /// Whether it arrived.
    pub arrived: bool,
    /// Why it did not.
    pub reason: String,
}

/// A row of `provider_window`.
#[derive(FromRow)]
struct Window {
    since: DateTime<Utc>,
    looked_until: DateTime<Utc>,
    until: DateTime<Utc>,
    done_until: DateTime<Utc>,
}

/// A row of the sandbox's book.
#[derive(FromRow)]
struct BookRow {
    reference: String,
    declined: Option<String>,
    is_same: bool,
}

impl Store {
    /// Makes operations of what is new in the ledger.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_operations(&self, provider: &str) -> Result<(), Error> {
        loop {
            let window: Option<Window> = sqlx::query_as(statements::PROVIDER_WINDOW)
                .bind(provider)
                .fetch_optional(&self.pool)
                .instrument(span("provider_window"))
                .await?;
            // Another process began at this moment.
            let Some(window) = window else { continue };
            for (name, statement) in [
                ("provider_charges", statements::PROVIDER_CHARGES),
                ("provider_refunds", statements::PROVIDER_REFUNDS),
                ("provider_tips", statements::PROVIDER_TIPS),
            ] {
                sqlx::query(statement)
                    .bind(provider)
                    .bind(window.since)
                    .bind(window.looked_until)
                    .bind(window.until)
                    .execute(&self.pool)
                    .instrument(span(name))
                    .await?;
            }
            sqlx::query(statements::PROVIDER_PAYOUTS)
                .bind(provider)
                .bind(window.since)
                .execute(&self.pool)
                .instrument(span("provider_payouts"))
                .await?;
            sqlx::query(statements::PROVIDER_LOOKED)
                .bind(provider)
                .bind(window.done_until)
                .execute(&self.pool)
                .instrument(span("provider_looked"))
                .await?;
            // It was looked as far as there is anything to see.
            if window.done_until < window.until {
                return Ok(());
            }
        }
    }

    /// Operations that are to be taken up, at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_operations(&self, provider: &str, at_most: i64) -> Result<Vec<Due>, Error> {
        let rows = sqlx::query(statements::PROVIDER_DUE)
            .bind(provider)
            .bind(at_most)
            .fetch_all(&self.pool)
            .instrument(span("provider_due"))
            .await?;
        rows.iter().map(due).collect()
    }

    /// Takes an operation up, and lets nobody else do so for a time; which time it is, or none when
    /// somebody else was faster.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_up_operation(
        &self,
        due: &Due,
        alone: Duration,
    ) -> Result<Option<i32>, Error> {
        let operation = &due.operation;
        let account = operation.account.as_ref();
        let time = sqlx::query_scalar(statements::PROVIDER_TAKE_UP)
            .bind(operation.subject)
            .bind(operation.kind.name())
            .bind(operation.seq)
            .bind(due.attempts)
            .bind(milliseconds(alone))
            .bind(account.map(|of| &of.account))
            .bind(account.and_then(|of| of.payment_method.as_ref()))
            .fetch_optional(&self.pool)
            .instrument(span("provider_take_up"))
            .await?;
        Ok(time)
    }

    /// Writes down what became of an operation the `time`th time it was taken up, and posts what it moved;
    /// whether that is news.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_operation(
        &self,
        operation: &Operation,
        time: i32,
        settlement: &Settlement,
    ) -> Result<bool, Error> {
        let settled: Option<(i32, bool)> = sqlx::query_as(statements::PROVIDER_SETTLE)
            .bind(operation.subject)
            .bind(operation.kind.name())
            .bind(operation.seq)
            .bind(time)
            .bind(settlement.state.name())
            .bind(&settlement.reference)
            .bind(&settlement.error)
            .bind(milliseconds(settlement.again_after))
            .bind(jitney_platform::telemetry::traceparent())
            .fetch_optional(&self.pool)
            .instrument(span("provider_settle"))
            .await?;
        if let Some((_, true)) = settled {
            self.wake.poke();
        }
        Ok(settled.is_some())
    }

    /// Posts what operations moved that an older version settled, at most so many; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn post_operations(&self, provider: &str, at_most: i64) -> Result<i64, Error> {
        let posted = sqlx::query_scalar(statements::PROVIDER_POST)
            .bind(provider)
            .bind(at_most)
            .fetch_one(&self.pool)
            .instrument(span("provider_post"))
            .await?;
        Ok(posted)
    }

    /// Operations that were planned in a time, and those of some keys beside them; at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operations(
        &self,
        provider: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        keys: &[(Uuid, String)],
        at_most: usize,
    ) -> Result<Vec<Compared>, Error> {
        let (subjects, keys): (Vec<Uuid>, Vec<&str>) = keys
            .iter()
            .map(|(subject, key)| (*subject, key.as_str()))
            .unzip();
        let rows = sqlx::query(statements::PROVIDER_OPERATIONS)
            .bind(provider)
            .bind(from)
            .bind(to)
            .bind(subjects)
            .bind(keys)
            .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .instrument(span("provider_operations"))
            .await?;
        let read = |row: &PgRow| {
            Ok(Compared {
                due: due(row)?,
                reason: row.try_get("last_error")?,
                is_against_ledger: row.try_get("is_against_ledger")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Trips with an open hold that the provider declined.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lost_holds(&self, provider: &str) -> Result<Vec<Uuid>, Error> {
        let trips = sqlx::query_scalar(statements::PROVIDER_LOST_HOLDS)
            .bind(provider)
            .fetch_all(&self.pool)
            .instrument(span("provider_lost_holds"))
            .await?;
        Ok(trips)
    }

    /// Open payouts whose transfer is at an end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ended_payouts(&self, provider: &str) -> Result<Vec<EndedPayout>, Error> {
        let rows: Vec<(String, Uuid, bool, Option<String>)> =
            sqlx::query_as(statements::PROVIDER_ENDED_PAYOUTS)
                .bind(provider)
                .fetch_all(&self.pool)
                .instrument(span("provider_ended_payouts"))
                .await?;
        let ended =
            |(driver, payout, arrived, reason): (String, Uuid, bool, Option<String>)| EndedPayout {
                driver,
                payout,
                arrived,
                reason: reason.unwrap_or_else(|| "the provider declined it".to_owned()),
            };
        Ok(rows.into_iter().map(ended).collect())
    }

    /// Keeps under which names the provider knows somebody.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_provider_account(
        &self,
        role: OwnerRole,
        owner: &str,
        account: &ProviderAccount,
        put_by: &str,
    ) -> Result<(), Error> {
        sqlx::query(statements::PROVIDER_PUT_ACCOUNT)
            .bind(owner)
            .bind(role.name())
            .bind(&account.account)
            .bind(&account.payment_method)
            .bind(put_by)
            .execute(&self.pool)
            .instrument(span("provider_put_account"))
            .await?;
        Ok(())
    }

    /// Keeps what the provider told by itself, and has its operation looked for; whether it is news.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hear_provider(&self, event: &Event) -> Result<bool, Error> {
        let (is_news, waiting): (bool, i64) = sqlx::query_as(statements::PROVIDER_HEAR)
            .bind(&event.id)
            .bind(&event.kind)
            .bind(event.subject)
            .fetch_one(&self.pool)
            .instrument(span("provider_hear"))
            .await?;
        tracing::debug!(
            event = event.id,
            kind = event.kind,
            is_news,
            waiting,
            "the provider told us"
        );
        Ok(is_news)
    }

    /// The sandbox carries an operation out, once, unless its own rules or `declined` say no.
    pub(crate) async fn sandbox_do(
        &self,
        operation: &Operation,
        declined: Option<&str>,
    ) -> Result<Outcome, Error> {
        let row: Option<BookRow> = sqlx::query_as(statements::PROVIDER_SANDBOX_DO)
            .bind(operation.subject)
            .bind(&operation.key)
            .bind(operation.kind.name())
            .bind(operation.seq)
            .bind(operation.amount.minor)
            .bind(operation.amount.currency.as_str())
            .bind(format!("sandbox_{}", operation.key))
            .bind(declined)
            .fetch_optional(&self.pool)
            .instrument(span("provider_sandbox_do"))
            .await?;
        Ok(row.map_or_else(
            || Outcome::unknown("asked for twice at once"),
            BookRow::outcome,
        ))
    }

    /// What the sandbox did and declined in a time, at most so many.
    pub(crate) async fn sandbox_list(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        at_most: usize,
    ) -> Result<Vec<Listed>, Error> {
        let rows: Vec<(Uuid, String, i64, String, Option<String>)> =
            sqlx::query_as(statements::PROVIDER_SANDBOX_LIST)
                .bind(from)
                .bind(to)
                .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
                .fetch_all(&self.pool)
                .instrument(span("provider_sandbox_list"))
                .await?;
        let listed = rows
            .into_iter()
            .map(|(subject, key, minor, currency, declined)| {
                let currency = currency.parse().map_err(|_| unreadable("a currency"))?;
                let reference = format!("sandbox_{key}");
                Ok(Listed {
                    subject,
                    key,
                    amount: Money::new(minor, currency),
                    outcome: match declined {
                        Some(reason) => Outcome::Declined { reason },
                        None => Outcome::Succeeded { reference },
                    },
                })
            });
        listed.collect()
    }

    /// What the sandbox has of an operation.
    pub(crate) async fn sandbox_find(&self, operation: &Operation) -> Result<Found, Error> {
        let row: Option<BookRow> = sqlx::query_as(statements::PROVIDER_SANDBOX_FIND)
            .bind(operation.subject)
            .bind(&operation.key)
            .fetch_optional(&self.pool)
            .instrument(span("provider_sandbox_find"))
            .await?;
        Ok(row.map_or(Found::Never, |row| Found::Known(row.outcome())))
    }
}

impl BookRow {
    fn outcome(self) -> Outcome {
        match self.declined {
            _ if !self.is_same => Outcome::Declined {
                reason: "the key was used for something else".to_owned(),
            },
            Some(reason) => Outcome::Declined { reason },
            None => Outcome::Succeeded {
                reference: self.reference,
            },
        }
    }
}

fn due(row: &PgRow) -> Result<Due, Error> {
    let (kind, state): (String, String) = (row.try_get("kind")?, row.try_get("state")?);
    let currency: String = row.try_get("currency")?;
    let account: Option<String> = row.try_get("account")?;
    let payment_method = row.try_get("payment_method")?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind);
    let state = State::ALL.into_iter().find(|known| known.name() == state);
    let currency = currency.parse().map_err(|_| unreadable("a currency"))?;
    Ok(Due {
        operation: Operation {
            subject: row.try_get("subject_id")?,
            kind: kind.ok_or_else(|| unreadable("a kind of operation"))?,
            seq: row.try_get("seq")?,
            key: row.try_get("key")?,
            owner: row.try_get("owner_id")?,
            amount: Money::new(row.try_get("amount_minor")?, currency),
            authorization: row.try_get("authorization_reference")?,
            account: account.map(|account| ProviderAccount {
                account,
                payment_method,
            }),
            planned_at: row.try_get("created_at")?,
        },
        state: state.ok_or_else(|| unreadable("a state of an operation"))?,
        attempts: row.try_get("attempts")?,
        is_baseless: row.try_get("is_baseless")?,
        traceparent: row.try_get("ride_traceparent")?,
    })
}
