//! A provider that is played: it keeps a book of its own, declines, is slow and loses answers as it is
//! told, and moves no money. What goes wrong is drawn from a seed, so that it goes wrong again the same.
//!
//! It tells of everything it did by an event, as providers do by webhooks, and of some twice. Events may also be
//! handed in from outside, to try that way out: [`sign`] says how they are signed.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use jitney_platform::clock::Clock;
use jitney_proto::{
    ids::TripId,
    money::{Currency, Money},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Dispute, Event, EventError, Found, Kind, Listed, Operation, Outcome, Provider,
    config::SandboxConfig, stripe::signature,
};
use crate::{Error, chargeback::ChargebackState, fare::MAX_MINOR, store::Store};

/// The sandbox.
pub struct Sandbox {
    store: Store,
    clock: Clock,
    config: SandboxConfig,
    /// How often each key was asked for, where answers get lost: not every time at the same place.
    asked: Mutex<HashMap<String, u32>>,
    /// How many events it sent.
    sent: AtomicU64,
}

/// Where an answer gets lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// On the way there: nothing was done.
    Before,
    /// On the way back.
    After,
}

impl Sandbox {
    /// A sandbox whose book is in that database.
    pub fn new(store: Store, clock: Clock, config: SandboxConfig) -> Sandbox {
        Sandbox {
            store,
            clock,
            config,
            asked: Mutex::default(),
            sent: AtomicU64::new(0),
        }
    }

    /// How many events it sent by itself, those that it sent twice counted twice.
    pub fn events_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Tells that something was done or declined; of some things twice, as the network does.
    async fn tell(&self, operation: &Operation) {
        let event = Event {
            id: format!("evt_{}", operation.key),
            kind: format!("operation.{}", operation.kind.name().to_lowercase()),
            subject: Some(operation.subject),
            dispute: None,
        };
        let twice = self.draw(&["webhook", &operation.key], 100)
            < self.config.duplicate_webhook_percent.into();
        for _ in 0..=u8::from(twice) {
            self.sent.fetch_add(1, Ordering::Relaxed);
            // Nobody hears of one that is lost; what it is about is found by asking.
            if let Err(error) = self.store.hear_provider(&event).await {
                tracing::debug!(%error, event = event.id, "an event of the sandbox is lost");
            }
        }
    }

    fn lost(&self, key: &str) -> Option<Lost> {
        if self.config.lose_answer_percent == 0 {
            return None;
        }
        let time = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let time = asked.entry(key.to_owned()).or_default();
            *time += 1;
            time.to_string()
        };
        if self.draw(&["lose", key, &time], 100) >= self.config.lose_answer_percent.into() {
            return None;
        }
        match self.draw(&["where", key, &time], 2) {
            0 => Some(Lost::Before),
            _ => Some(Lost::After),
        }
    }

    /// A number below `bound`, always the same for the same words.
    fn draw(&self, words: &[&str], bound: u64) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.config.seed.to_be_bytes());
        for word in words {
            hash.update((word.len() as u64).to_be_bytes());
            hash.update(word);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = hash;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) % bound
    }
}

#[async_trait]
impl Provider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    async fn carry_out(&self, operation: &Operation) -> Outcome {
        if !self.config.delay.is_zero() {
            self.clock.sleep(self.config.delay).await;
        }
        let lost = self.lost(&operation.key);
        if lost == Some(Lost::Before) {
            return Outcome::unknown("the sandbox lost the request");
        }
        let may_decline = matches!(operation.kind, Kind::Authorize | Kind::Transfer);
        let declines = may_decline
            && self.draw(&["decline", &operation.key], 100) < self.config.decline_percent.into();
        let declined = declines.then_some("the sandbox declines it");
        let outcome = self.store.sandbox_do(operation, declined).await;
        if outcome.is_ok() {
            self.tell(operation).await;
        }
        if lost == Some(Lost::After) {
            return Outcome::unknown("the sandbox lost the answer");
        }
        outcome.unwrap_or_else(Outcome::unknown)
    }

    async fn find(&self, operation: &Operation) -> Found {
        let found: Result<Found, Error> = self.store.sandbox_find(operation).await;
        found.unwrap_or_else(|error| Found::Known(Outcome::unknown(error)))
    }

    async fn list(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        at_most: usize,
    ) -> Result<Option<Vec<Listed>>, String> {
        let listed = self.store.sandbox_list(from, to, at_most).await;
        listed.map(Some).map_err(|error| error.to_string())
    }

    fn event(
        &self,
        payload: &[u8],
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<Event, EventError> {
        let secret = secret(self.config.seed);
        signature::verify(secret.as_bytes(), payload, signature, now)?;
        let event: Told = serde_json::from_slice(payload).map_err(|_| EventError::Unreadable)?;
        Ok(Event {
            id: event.id,
            kind: event.r#type,
            subject: event.subject_id,
            dispute: event.dispute.map(|of| Dispute {
                id: of.id,
                trip: event.subject_id.map(TripId),
                payment: String::new(),
                amount: Money::new(of.amount_minor, of.currency),
                state: of.state,
            }),
        })
    }
}

/// An event that is handed in.
#[derive(Deserialize)]
struct Told {
    id: String,
    r#type: String,
    subject_id: Option<Uuid>,
    dispute: Option<ToldDispute>,
}

/// What it says of a dispute about the trip.
#[derive(Deserialize)]
struct ToldDispute {
    id: String,
    #[serde(deserialize_with = "above_zero")]
    amount_minor: i64,
    currency: Currency,
    state: ChargebackState,
}

fn above_zero<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    let number = i64::deserialize(input)?;
    let is_amount = (1..=MAX_MINOR).contains(&number);
    is_amount
        .then_some(number)
        .ok_or_else(|| D::Error::custom("is no amount"))
}

/// What events of the sandbox with that seed are signed with. Nobody is to be kept out: no money moves.
fn secret(seed: u64) -> String {
    format!("sandbox-{seed}")
}

/// The signature of an event of the sandbox with that seed, in the manner of `Stripe-Signature`.
pub fn sign(seed: u64, payload: &[u8], at: DateTime<Utc>) -> String {
    signature::sign(secret(seed).as_bytes(), payload, at)
}
