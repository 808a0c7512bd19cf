//! A provider that is played: it keeps a book of its own, declines, is slow and loses answers as it is
//! told, and moves no money. What goes wrong is drawn from a seed, so that it goes wrong again the same.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use jitney_platform::clock::Clock;
use sha2::{Digest, Sha256};

use super::{
    Event, EventError, Found, Kind, Listed, Operation, Outcome, Provider, config::SandboxConfig,
};
use crate::{Error, store::Store};

/// The sandbox.
pub struct Sandbox {
    store: Store,
    clock: Clock,
    config: SandboxConfig,
    /// How often each key was asked for, where answers get lost: not every time at the same place.
    asked: Mutex<HashMap<String, u32>>,
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

    fn event(&self, _: &[u8], _: &str, _: DateTime<Utc>) -> Result<Event, EventError> {
        Err(EventError::NotExpected)
    }
}
