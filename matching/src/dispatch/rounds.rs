//! Rounds: put together and decided without changing anything, then carried out, then kept.

use std::{collections::VecDeque, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use jitney_proto::ids::TripId;

use super::{Dispatch, Ground};
use crate::{
    metrics,
    offer::Offer,
    policy::{NamedPolicy, Policy},
    round::{
        gather::{Asker, Plan, Scene},
        record::Record,
        shortfall::Shortfall,
    },
};

/// Rounds that wait to be kept, at most; the oldest are given up first.
const WAITING_MAX: usize = 1_000;
/// Of rounds that nobody got a driver in, with the same requests, only one is kept within this time.
const FRUITLESS_INTERVAL: TimeDelta = TimeDelta::seconds(10);

/// A round that was decided, to be carried out by [`Dispatch::settle`].
pub struct Decided {
    /// The round.
    pub plan: Plan,
    /// The policy it was decided under.
    pub policy: Arc<NamedPolicy>,
    /// The map it was decided on.
    pub ground: Arc<Ground>,
    /// By the request's place in the round: why it got nobody.
    shortfalls: Vec<Shortfall>,
}

/// Rounds that were held and have yet to be kept.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    waiting: VecDeque<Record>,
    /// The last round that was kept though nobody got a driver in it.
    fruitless: Option<(Vec<TripId>, DateTime<Utc>)>,
}

impl Rounds {
    fn add(&mut self, record: Record) {
        if record.assigned() == 0 {
            let trips: Vec<TripId> = record.trips().collect();
            let is_known = self.fruitless.as_ref().is_some_and(|(last, at)| {
                *last == trips && record.decided_at - at < FRUITLESS_INTERVAL
            });
            if is_known {
                return;
            }
            self.fruitless = Some((trips, record.decided_at));
        }
        self.waiting.push_back(record);
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
            metrics::round_not_kept();
        }
    }
}

impl Dispatch {
    /// The policy in use.
    pub fn policy(&self) -> &NamedPolicy {
        &self.policy
    }

    /// Uses another policy from the next round on; whether there is one of that name.
    pub fn use_policy(&mut self, name: &str) -> bool {
        let Some(policy) = self.ground.config.policies.get(name) else {
            return false;
        };
        self.policy = Arc::new(NamedPolicy {
            name: name.to_owned(),
            policy: Policy::clone(policy),
        });
        self.round_at = None;
        self.rouse.notify_one();
        true
    }

    /// Puts the round of these searches together and decides it. Changes nothing.
    pub fn plan(&self, looking: &[TripId], now: DateTime<Utc>) -> Decided {
        let asker = |trip: &TripId| {
            let search = self.searches.get(trip)?;
            let errand = &search.errand;
            let product = self.ground.catalogue.get(errand.product.as_str());
            Some(Asker {
                trip: *trip,
                pickup: errand.pickup,
                products: errand.wanted,
                dropoff: errand.dropoff,
                seats: errand.seats,
                shares: product.filter(|_| errand.shares).map(|own| own.seats),
                waited_ms: search.waited_ms(now),
                excluded: &search.excluded,
            })
        };
        let askers: Vec<Asker<'_>> = looking.iter().filter_map(asker).collect();
        let scene = Scene {
            ground: &self.ground,
            fleet: &self.fleet,
            now,
        };
        let plan = scene.plan(&self.policy.policy, &askers);
        Decided {
            shortfalls: plan.round.shortfalls(&self.policy.policy, &plan.choice),
            plan,
            policy: Arc::clone(&self.policy),
            ground: Arc::clone(&self.ground),
        }
    }

    /// Draws up the offers that were decided on. Where something has changed since, the search looks
    /// again soon, as does one that got nobody. The round is kept either way.
    pub fn settle(&mut self, decided: Decided, now: DateTime<Utc>) -> Vec<Offer> {
        let Decided {
            plan,
            policy,
            ground,
            mut shortfalls,
        } = decided;
        if !Arc::ptr_eq(&ground, &self.ground) {
            // Its searches are still due, and look on the new map at once.
            metrics::map_changed("round", 1);
            return Vec::new();
        }
        if plan.round.requests.is_empty() {
            return Vec::new();
        }
        let mut offers = Vec::new();
        let asked = plan.round.requests.iter().zip(&plan.choice);
        for ((request, choice), shortfall) in asked.zip(&mut shortfalls) {
            let pair = choice.map(|number| plan.round.pairs[number as usize]);
            let offer = pair.and_then(|pair| {
                let driver = plan.keys[pair.driver as usize];
                self.offer_to(request.trip, driver, pair.beside, now)
            });
            match offer {
                Some(offer) => offers.push(offer),
                None => {
                    if let Some(search) = self.searches.get_mut(&request.trip)
                        && search.open.is_none()
                    {
                        search.look_again_at = Some(search.look_again(now, &self.search_rules));
                        if choice.is_none() {
                            search.shortfall = Some(std::mem::take(shortfall));
                        }
                    }
                }
            }
        }
        metrics::round_held(&plan);
        let record = Record {
            id: self.names.round(now),
            decided_at: now,
            map: self.ground.roads.id(),
            policy_name: policy.name.clone(),
            policy: policy.policy.clone(),
            round: plan.round,
            choice: plan.choice,
        };
        self.rounds.add(record);
        offers
    }

    /// Rounds that have yet to be kept, at most `most` of them, oldest first.
    pub fn take_rounds(&mut self, most: usize) -> Vec<Record> {
        let taken = most.min(self.rounds.waiting.len());
        self.rounds.waiting.drain(..taken).collect()
    }

    /// Those could not be kept after all.
    pub fn put_rounds_back(&mut self, rounds: Vec<Record>) {
        for round in rounds.into_iter().rev() {
            if self.rounds.waiting.len() < WAITING_MAX {
                self.rounds.waiting.push_front(round);
            } else {
                metrics::round_not_kept();
            }
        }
    }
}
