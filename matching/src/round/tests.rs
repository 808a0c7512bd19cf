//! Rounds decided by hand, and rounds put together from a living fleet against slower answers.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use jitney_proto::ids::RoundId;
use jitney_roads::{
    Snap, oracle,
    testmap::{self, Dice},
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    gather::{Asker, Plan, Scene},
    record::Record,
    *,
};
use crate::{
    Config,
    dispatch::Ground,
    fleet::{Fleet, ShiftChange},
    ping::Fix,
    product::ProductSet,
    standing::Hold,
};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn trip(number: u32) -> TripId {
    TripId(Uuid::from_u128(u128::from(number)))
}

/// A round with these driving times, in seconds, of each request (row) from each driver.
pub(super) fn round(times_s: &[&[u32]]) -> Round {
    let requests = (0..times_s.len() as u32).map(|number| Request {
        trip: trip(number),
        waited_ms: 0,
        reach_ms: u32::MAX,
        has_more: false,
    });
    let drivers = (0..times_s[0].len()).map(|number| Driver {
        id: format!("d{number}").parse().unwrap(),
        idle_ms: 0,
    });
    let mut pairs = Vec::new();
    for (request, row) in (0..).zip(times_s) {
        for (driver, &time_s) in (0..).zip(*row) {
            pairs.push(Pair {
                request,
                driver,
                time_ms: time_s * 1000,
                frees_in_ms: 0,
                queue_place: 0,
                drive_ms: time_s * 1000,
                beside: None,
            });
        }
    }
    Round {
        requests: requests.collect(),
        drivers: drivers.collect(),
        pairs,
        gated: Vec::new(),
    }
}

/// Which driver each request gets.
fn chosen(round: &Round, policy: &Policy) -> Vec<Option<u32>> {
    let driver = |number: u32| round.pairs[number as usize].driver;
    let choice = round.decide(policy);
    choice
        .into_iter()
        .map(|number| number.map(driver))
        .collect()
}

#[test]
fn the_sum_counts_rather_than_the_first_come() {
    // The first request is as well served by the farther driver; the second is not.
    let round = round(&[&[60, 70], &[65, 600]]);
    assert_eq!(chosen(&round, &Policy::immediate()), [Some(0), Some(1)]);
    assert_eq!(chosen(&round, &Policy::batched()), [Some(1), Some(0)]);
}

#[test]
fn who_waited_longer_goes_first_when_not_everybody_can() {
    let mut round = round(&[&[60], &[90]]);
    assert_eq!(chosen(&round, &Policy::batched()), [Some(0), None]);
    round.requests[1].waited_ms = 31_000;
    assert_eq!(chosen(&round, &Policy::batched()), [None, Some(0)]);
}

#[test]
fn who_was_idle_for_long_is_preferred_to_one_a_little_nearer() {
    let mut round = round(&[&[60, 65]]);
    assert_eq!(chosen(&round, &Policy::batched()), [Some(0)]);
    round.drivers[1].idle_ms = 300_000;
    assert_eq!(chosen(&round, &Policy::batched()), [Some(1)]);
    round.drivers[0].idle_ms = u32::MAX;
    assert_eq!(chosen(&round, &Policy::batched()), [Some(0)]);
}

#[test]
fn equal_drivers_are_told_apart_by_their_ids() {
    let round = round(&[&[60, 60, 60], &[60, 60, 60]]);
    for policy in [Policy::immediate(), Policy::batched()] {
        assert_eq!(chosen(&round, &policy), [Some(0), Some(1)]);
    }
}

#[test]
fn the_reach_grows_while_one_waits() {
    let policy = Policy {
        reach: Duration::from_secs(60),
        reach_growth: Duration::from_secs(2),
        ..Policy::batched()
    };
    let mut round = round(&[&[100]]);
    assert_eq!(chosen(&round, &policy), [None]);
    let far = round.verdicts(&policy, &vec![None], 0);
    assert_eq!(far[0].reason, Reason::Gate(Gate::OutOfReach));
    round.requests[0].waited_ms = 20_000;
    assert_eq!(chosen(&round, &policy), [Some(0)]);
}

#[test]
fn a_driver_about_to_finish_may_be_waited_for() {
    let chaining = Policy {
        chain_ahead: Duration::from_secs(120),
        ..Policy::batched()
    };
    let mut round = round(&[&[100, 300]]);
    round.pairs[0].frees_in_ms = 40_000;
    assert_eq!(chosen(&round, &Policy::batched()), [Some(1)]);
    assert_eq!(chosen(&round, &chaining), [Some(0)]);
}

#[test]
fn a_queue_is_served_in_order_however_near_the_others_are() {
    let mut round = round(&[&[5, 10], &[5, 10]]);
    for pair in &mut round.pairs {
        pair.queue_place = if pair.driver == 1 { 1 } else { 2 };
    }
    for policy in [Policy::immediate(), Policy::batched()] {
        let chosen = chosen(&round, &policy);
        assert_eq!(chosen.iter().flatten().count(), 2);
    }
    round.requests.truncate(1);
    round.pairs.truncate(2);
    for policy in [Policy::immediate(), Policy::batched()] {
        assert_eq!(chosen(&round, &policy), [Some(1)]);
    }
}

#[test]
fn every_driver_has_a_verdict() {
    let mut round = round(&[&[60, 70, 80], &[65, 600, 900]]);
    round.gated.push(Gated {
        request: 0,
        driver: 3,
        gate: Gate::Product,
    });
    round.drivers.push(Driver {
        id: "d3".parse().unwrap(),
        idle_ms: 0,
    });
    let policy = Policy::batched();
    let choice = round.decide(&policy);
    let reasons: Vec<Reason> = round
        .verdicts(&policy, &choice, 0)
        .iter()
        .map(|verdict| verdict.reason)
        .collect();
    let expected = [
        Reason::TakenBy(1),
        Reason::Chosen,
        Reason::Dearer,
        Reason::Gate(Gate::Product),
    ];
    assert_eq!(reasons, expected);
}

/// A fleet at random on a town with all rules of the road.
struct Town {
    ground: Ground,
    fleet: Fleet,
    snaps: Vec<Snap>,
    excluded: Vec<BTreeSet<DriverId>>,
    pickups: Vec<Snap>,
}

impl Town {
    fn new(seed: u64, drivers: u32, requests: usize) -> Self {
        let roads = testmap::random_with_rules(seed, 120);
        let ground = Ground::new(Config::default(), Arc::new(roads));
        let roads = &ground.roads;
        let mut fleet = Fleet::new(roads, 300.0);
        let mut dice = Dice::new(seed);
        let snaps = testmap::random_snaps(roads, seed, drivers as usize);
        for (number, &snap) in snaps.iter().enumerate() {
            let key = fleet.intern(&format!("d{number:03}").parse().unwrap(), NOW);
            let change = ShiftChange {
                available: true,
                products: Some(ProductSet::ANY),
                vehicle: None,
                destination: None,
            };
            fleet.shift(key, change, NOW);
            let fix = Fix {
                place: snap.point,
                snap,
                heading_deg: None,
                at: NOW,
            };
            fleet.place(key, fix);
        }
        let pickups = testmap::random_snaps(roads, !seed, requests);
        let some = |dice: &mut Dice| {
            let number = dice.below(drivers);
            BTreeSet::from([format!("d{number:03}").parse().unwrap()])
        };
        let excluded = (0..requests).map(|_| some(&mut dice)).collect();
        Self {
            ground,
            fleet,
            snaps,
            excluded,
            pickups,
        }
    }

    fn plan(&self, policy: &Policy) -> Plan {
        let asker = |number: usize| Asker {
            trip: trip(number as u32),
            pickup: self.pickups[number],
            products: ProductSet::ANY,
            dropoff: None,
            seats: 1,
            shares: None,
            waited_ms: 0,
            excluded: &self.excluded[number],
        };
        let askers: Vec<Asker<'_>> = (0..self.pickups.len()).map(asker).collect();
        let scene = Scene {
            ground: &self.ground,
            fleet: &self.fleet,
            now: NOW,
        };
        scene.plan(policy, &askers)
    }

    /// The whole round, every driver for every request, by the oracle.
    fn whole(&self) -> Round {
        let times: Vec<Vec<Option<u32>>> = self
            .pickups
            .iter()
            .map(|pickup| oracle::all_times_to(&self.ground.roads, pickup, &self.snaps))
            .collect();
        let mut whole = round(&vec![&vec![0; self.snaps.len()][..]; self.pickups.len()]);
        whole
            .drivers
            .iter_mut()
            .zip(0..)
            .for_each(|(driver, number)| {
                driver.id = format!("d{number:03}").parse().unwrap();
            });
        whole.pairs.retain_mut(|pair| {
            let driver = &whole.drivers[pair.driver as usize].id;
            let time_ms = times[pair.request as usize][pair.driver as usize];
            pair.time_ms = time_ms.unwrap_or(u32::MAX);
            pair.drive_ms = pair.time_ms;
            time_ms.is_some() && !self.excluded[pair.request as usize].contains(driver)
        });
        whole
    }
}

fn total(round: &Round, policy: &Policy, choice: &Choice) -> (usize, i64) {
    let chosen = choice
        .iter()
        .flatten()
        .map(|&number| &round.pairs[number as usize]);
    let costs: Vec<i64> = chosen.map(|pair| round.cost(policy, pair)).collect();
    (costs.len(), costs.iter().sum())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Looking at the nearest few, and at more where need be, finds what looking at everybody does.
    #[test]
    fn rounds_are_as_good_as_if_everybody_was_looked_at(
        seed in any::<u64>(),
        drivers in 1_u32..40,
        requests in 1_usize..20,
    ) {
        let town = Town::new(seed, drivers, requests);
        let whole = town.whole();
        let ids = |round: &Round, choice: &Choice| -> Vec<Option<DriverId>> {
            let id = |number: u32| {
                let pair = round.pairs[number as usize];
                round.drivers[pair.driver as usize].id.clone()
            };
            choice.iter().map(|number| number.map(id)).collect()
        };
        let one_by_one = Policy { candidates: 2, ..Policy::immediate() };
        let plan = town.plan(&one_by_one);
        let expected = whole.decide(&one_by_one);
        prop_assert_eq!(ids(&plan.round, &plan.choice), ids(&whole, &expected));
        let together = Policy { candidates: 40, ..Policy::batched() };
        let plan = town.plan(&together);
        let expected = whole.decide(&together);
        prop_assert_eq!(
            total(&plan.round, &together, &plan.choice),
            total(&whole, &together, &expected)
        );
        // With fewer candidates nobody is left out who could be served, if only by others moving over.
        let few = Policy { candidates: 3, ..Policy::batched() };
        let plan = town.plan(&few);
        prop_assert_eq!(total(&plan.round, &few, &plan.choice).0, total(&whole, &few, &expected).0);
    }

    /// The same inputs, the same round, on any number of threads.
    #[test]
    fn rounds_are_the_same_on_any_number_of_threads(seed in any::<u64>()) {
        let town = Town::new(seed, 30, 12);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let plan = pool.install(|| town.plan(&Policy::batched()));
            (plan.round, plan.choice)
        };
        prop_assert_eq!(on(1), on(3));
    }

    /// What is kept of a round decides it again to the byte, whatever its policy.
    #[test]
    fn kept_rounds_are_decided_again_to_the_byte(
        seed in any::<u64>(),
        drivers in 1_u32..40,
        requests in 1_usize..20,
        candidates in 1_u32..12,
    ) {
        let town = Town::new(seed, drivers, requests);
        for policy in [Policy::immediate(), Policy::batched()] {
            let policy = Policy { candidates, ..policy };
            let Plan { round, choice, .. } = town.plan(&policy);
            let record = Record {
                id: RoundId(Uuid::from_u128(1)),
                decided_at: NOW,
                map: town.ground.roads.id(),
                policy_name: "ours".to_owned(),
                policy,
                round,
                choice,
            };
            let bytes = record.to_bytes();
            let kept = Record::from_bytes(&bytes).unwrap();
            prop_assert_eq!(&kept, &record);
            let again = Record { choice: kept.round.decide(&kept.policy), ..kept };
            prop_assert_eq!(again.to_bytes(), bytes);
        }
    }
}

#[test]
fn those_nearby_who_could_not_come_are_kept_with_the_reason() {
    let mut town = Town::new(7, 30, 1);
    let key = |town: &Town, number: usize| {
        town.fleet
            .key(&format!("d{number:03}").parse().unwrap())
            .unwrap()
    };
    let (offered, refused) = (key(&town, 3), town.excluded[0].first().cloned().unwrap());
    let hold = Hold::Offer(trip(9), jitney_proto::ids::OfferId(Uuid::from_u128(1)));
    assert!(town.fleet.hold(offered, hold, None));
    let plan = town.plan(&Policy::immediate());
    let gate = |id: &DriverId| {
        let place = plan
            .round
            .drivers
            .iter()
            .position(|driver| driver.id == *id)?;
        let gated = plan
            .round
            .gated
            .iter()
            .find(|gated| gated.driver as usize == place);
        gated.map(|gated| gated.gate)
    };
    assert_eq!(gate(town.fleet.id(offered)), Some(Gate::SetAside));
    assert_eq!(gate(&refused), Some(Gate::Declined));
    let others = plan
        .round
        .gated
        .iter()
        .filter(|gated| gated.gate == Gate::NotNearest);
    assert!(others.count() > 5);
}
