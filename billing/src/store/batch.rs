//! Several captures as one statement. Each is judged and answered as if it had come alone; what
//! cannot be said together is left to be asked for alone.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
};

use sqlx::FromRow;
use tracing::Instrument;

use super::{
    Captured, Error, Store,
    decision::{Decision, Settled, settled},
    facts, span,
};
use crate::{
    fare::FareLines,
    hold::CaptureOf,
    idempotency::{self, Key, RequestHash},
    statements,
};

/// A capture that somebody has asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The caller's name for it.
    pub key: Key,
    /// What is asked.
    pub capture: CaptureOf,
    /// The trace it is asked in, in which what comes of it is told.
    pub traceparent: Option<String>,
}

/// What one of several captures comes to.
pub type Together = Option<Result<Captured, Error>>;

/// A row of `capture_holds`.
#[derive(FromRow)]
struct Row {
    place: i32,
    #[sqlx(flatten)]
    decision: Decision,
}

impl Store {
    /// Captures several at once, in one statement; `None` for those that have to be asked for alone.
    ///
    /// # Errors
    /// When none of them has happened, or the connection was lost and nobody knows.
    pub async fn capture_all<A: Borrow<Asked>>(
        &self,
        asked: &[A],
    ) -> Result<Vec<Together>, sqlx::Error> {
        let asked: Vec<&Asked> = asked.iter().map(A::borrow).collect();
        let mut answers: Vec<Together> = asked.iter().map(|_| None).collect();
        let roles = roles(&asked);
        let mut connection = self.pool.acquire().await?;
        let trips: Vec<_> = asked.iter().map(|asked| asked.capture.trip_id.0).collect();
        let facts = facts(&mut connection, &trips).await?;
        let mut batch = Batch::default();
        for (index, &asked) in asked.iter().enumerate() {
            if roles[index] != Role::First {
                continue;
            }
            let facts = facts.get(&asked.capture.trip_id.0);
            match self.planned(facts, &asked.capture) {
                // What takes more than the fare is asked for alone.
                Ok(plan) if !plan.is_plain() => {}
                Ok(plan) => batch.add(index, asked, &plan),
                Err(error) => answers[index] = Some(Err(error)),
            }
        }
        let decisions: HashMap<usize, Decision> = batch
            .run(&mut connection)
            .await?
            .into_iter()
            .filter_map(|row| {
                let place = usize::try_from(row.place).ok()?.checked_sub(1)?;
                Some((*batch.indices.get(place)?, row.decision))
            })
            .collect();
        drop(connection);
        for (index, role) in roles.iter().enumerate() {
            let decision = match role {
                Role::First => decisions.get(&index),
                // What is kept with the key is said again; what is not, is asked again.
                Role::Again(first) => decisions.get(first).filter(|d| d.is_kept()),
                Role::Apart => None,
            };
            if let Some(decision) = decision.cloned() {
                let hash = idempotency::hash_of_capture(&asked[index].capture);
                answers[index] = together(decision, &hash);
            }
        }
        Ok(answers)
    }
}

fn together(decision: Decision, hash: &RequestHash) -> Together {
    match settled(Ok(Some(decision)), hash) {
        Ok(Settled::Answer(answer)) => Some(
            answer
                .hold
                .zip(answer.receipt)
                .ok_or_else(Error::half_an_answer),
        ),
        Ok(Settled::Nothing | Settled::Again | Settled::Lapsed) => None,
        Err(error) => Some(Err(error)),
    }
}

/// What a command is in its batch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    /// In the statement.
    First,
    /// Under the key of an earlier one, whose answer is its own.
    Again(usize),
    /// About the trip of an earlier one: it has to see what became of that.
    Apart,
}

fn roles(asked: &[&Asked]) -> Vec<Role> {
    let (mut keys, mut trips) = (HashMap::new(), HashSet::new());
    let mut roles = Vec::with_capacity(asked.len());
    for (index, asked) in asked.iter().enumerate() {
        let key = asked.key.as_str();
        // Of everybody, also of those who may be left: whoever comes later comes after them.
        let is_new = trips.insert(asked.capture.trip_id);
        let role = match keys.get(key) {
            Some(&role) => role,
            None if is_new => Role::First,
            None => Role::Apart,
        };
        // For the next one under this key.
        let next = if role == Role::First {
            Role::Again(index)
        } else {
            role
        };
        keys.insert(key, next);
        roles.push(role);
    }
    roles
}

/// What `capture_holds` is bound to, a column each.
#[derive(Default)]
struct Batch<'a> {
    /// Where each stands among those that were asked.
    indices: Vec<usize>,
    keys: Vec<&'a str>,
    hashes: Vec<Vec<u8>>,
    trips: Vec<uuid::Uuid>,
    drivers: Vec<&'a str>,
    amounts: Vec<i64>,
    authorised: Vec<i64>,
    lines: Vec<i64>,
    driver_shares: Vec<i64>,
    platform_shares: Vec<i64>,
    currencies: Vec<Option<String>>,
    traceparents: Vec<Option<&'a str>>,
    postings: Postings,
}

#[derive(Default)]
struct Postings {
    places: Vec<i32>,
    positions: Vec<i32>,
    accounts: Vec<&'static str>,
    owners: Vec<Option<String>>,
    amounts: Vec<i64>,
}

impl<'a> Batch<'a> {
    fn add(&mut self, index: usize, asked: &'a Asked, plan: &super::Plan) {
        let (capture, written) = (&asked.capture, &plan.capture);
        self.indices.push(index);
        self.keys.push(asked.key.as_str());
        self.hashes
            .push(idempotency::hash_of_capture(capture).to_vec());
        self.trips.push(capture.trip_id.0);
        self.drivers.push(capture.driver_id.as_str());
        self.amounts.push(plan.amount);
        self.authorised.push(plan.authorised);
        // The statement counts on their number.
        const { assert!(FareLines::COUNT == 14) };
        self.lines.extend(written.lines.amounts());
        self.driver_shares.push(written.split.driver_share_minor);
        self.platform_shares
            .push(written.split.platform_share_minor);
        let currency = capture.amount.as_ref().map(|money| money.currency);
        self.currencies.push(currency.map(|code| code.to_string()));
        self.traceparents.push(asked.traceparent.as_deref());
        let place = i32::try_from(self.indices.len()).unwrap_or(i32::MAX);
        for (position, posting) in (1..).zip(&written.postings) {
            self.postings.places.push(place);
            self.postings.positions.push(position);
            self.postings.accounts.push(posting.account.name());
            self.postings.owners.push(posting.owner.clone());
            self.postings.amounts.push(posting.amount_minor);
        }
    }

    async fn run(&self, connection: &mut sqlx::PgConnection) -> Result<Vec<Row>, sqlx::Error> {
        if self.indices.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(statements::CAPTURE_HOLDS)
            .bind(&self.keys)
            .bind(&self.hashes)
            .bind(&self.trips)
            .bind(&self.drivers)
            .bind(&self.amounts)
            .bind(&self.authorised)
            .bind(&self.lines)
            .bind(&self.driver_shares)
            .bind(&self.platform_shares)
            .bind(&self.currencies)
            .bind(&self.postings.places)
            .bind(&self.postings.positions)
            .bind(&self.postings.accounts)
            .bind(&self.postings.owners)
            .bind(&self.postings.amounts)
            .bind(&self.traceparents)
            .fetch_all(connection)
            .instrument(span("capture_holds"))
            .await
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::hold::Reason;

    #[test]
    fn a_key_and_a_trip_are_in_the_statement_once() {
        let asked = |key: &str, trip: u128| Asked {
            key: Key::new(key.to_owned()).unwrap(),
            capture: CaptureOf {
                trip_id: jitney_proto::ids::TripId(Uuid::from_u128(trip)),
                driver_id: "ben".parse().unwrap(),
                amount: None,
                reason: Reason::Fare,
            },
            traceparent: None,
        };
        let all = [
            asked("a", 1),
            asked("b", 2),
            asked("a", 1),
            asked("c", 1),
            asked("a", 3),
            asked("d", 3),
            asked("c", 4),
        ];
        let all: Vec<_> = all.iter().collect();
        let expected = [
            Role::First,
            Role::First,
            Role::Again(0),
            Role::Apart,
            Role::Again(0),
            Role::Apart,
            // After the other one under its key.
            Role::Apart,
        ];
        assert_eq!(roles(&all), expected);
    }
}
