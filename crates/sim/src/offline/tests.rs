//! Small cities, and what must hold in each whatever its policy: every request ends exactly once, a
//! driver has one ride at a time unless the policy or the product says otherwise, kilometres add up,
//! and the same seed is the same city.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jitney_matching::policy::Policy;
use jitney_roads::{RoadNetwork, testmap};

use super::{city::City, habits::ms, log::Happening, *};

const HOUR_MS: i64 = 3_600_000;

fn monaco() -> Arc<RoadNetwork> {
    let bytes = include_bytes!("../../../../data/monaco.roads");
    Arc::new(RoadNetwork::from_bytes(bytes).unwrap())
}

fn recipe() -> Recipe {
    Recipe {
        from_ms: 18 * HOUR_MS,
        to_ms: 19 * HOUR_MS,
        scale: 1.0,
        fit_share: None,
        traffic: false,
        snap_distance_max_m: 250.0,
        seed: 4,
    }
}

/// An hour in a town of streets and rules.
fn town(change: impl Fn(&mut Recipe)) -> Scenario {
    let roads = Arc::new(testmap::grid(14, 14, 250.0));
    let mut recipe = recipe();
    change(&mut recipe);
    let demand = synthetic(&roads, 90.0, recipe.seed).unwrap();
    Scenario::new(roads, &demand, &recipe).unwrap()
}

/// Habits that make everything happen often.
fn restless() -> Habits {
    Habits {
        decline_probability: 0.2,
        ignore_probability: 0.1,
        cancel_probability: 0.2,
        break_share: 0.5,
        ..Habits::default()
    }
}

fn trials() -> Trials {
    let mut matching = jitney_matching::Config::default();
    let chained = Policy {
        chain_ahead: Duration::from_secs(120),
        window: Duration::from_secs(5),
        ..Policy::batched()
    };
    matching.policies.insert("chained".to_owned(), chained);
    Trials {
        matching,
        product: String::new(),
        habits: restless(),
        policies: vec![
            "immediate".to_owned(),
            "batched".to_owned(),
            "chained".to_owned(),
        ],
        drivers: vec![12],
    }
}

fn lived<'a>(scenario: &'a Scenario, trials: &'a Trials, policy: &str, drivers: u32) -> City<'a> {
    let matching = jitney_matching::Config {
        policy: policy.to_owned(),
        ..trials.matching.clone()
    };
    let mut city = City::new(scenario, &trials.habits, matching, &trials.product, drivers).unwrap();
    city.live().unwrap();
    city
}

#[test]
fn the_same_seed_is_the_same_city_on_any_number_of_threads() {
    let roads = monaco();
    let demand = synthetic(&roads, 60.0, 4).unwrap();
    let scenario = |seed| {
        let recipe = Recipe {
            traffic: true,
            seed,
            ..recipe()
        };
        Scenario::new(Arc::clone(&roads), &demand, &recipe).unwrap()
    };
    let (alone, shared) = (
        trials(),
        Trials {
            product: "shared".to_owned(),
            ..trials()
        },
    );
    let own = alone.policies.iter().map(|policy| (&alone, policy));
    let joining = shared.policies[1..].iter().map(|policy| (&shared, policy));
    for (trials, policy) in own.chain(joining) {
        let on = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let outcome = pool.install(|| run(&scenario(seed), trials, policy, 12).unwrap());
            (outcome.event_log_hash, outcome.events)
        };
        let one = on(1, 4);
        assert!(one.1 > 1_000);
        assert_eq!(one, on(2, 4), "{policy}");
        assert_ne!(one, on(2, 5), "{policy}");
    }
}

#[test]
fn every_request_ends_once_and_a_driver_has_one_rider_at_a_time() {
    let (scenario, trials) = (town(|_| {}), trials());
    for policy in &trials.policies {
        for drivers in [1, 8, 25] {
            let city = lived(&scenario, &trials, policy, drivers);
            let mut ends: BTreeMap<i64, Happening> = BTreeMap::new();
            let mut busy: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
            let rides_max = if policy == "chained" { 2 } else { 1 };
            let mut kinds: BTreeMap<u8, u64> = BTreeMap::new();
            for (_, what, about) in &city.log.entries {
                *kinds.entry(*what as u8).or_default() += 1;
                match what {
                    Happening::Accepted => {
                        let rides = busy.entry(about[1]).or_default();
                        assert!(
                            rides.insert(about[0]) && rides.len() <= rides_max,
                            "{about:?}"
                        );
                    }
                    Happening::AtKerb | Happening::Boarded => {
                        assert!(busy[&about[1]].contains(&about[0]));
                    }
                    Happening::OfferMade => {
                        let rides = busy.get(&about[1]).map_or(0, BTreeSet::len);
                        assert!(rides < rides_max, "offered while busy");
                    }
                    Happening::Completed
                    | Happening::CalledOff
                    | Happening::GaveUp
                    | Happening::NoDriver => {
                        assert_eq!(ends.insert(about[0], *what), None);
                        busy.values_mut().for_each(|rides| {
                            rides.remove(&about[0]);
                        });
                    }
                    _ => {}
                }
            }
            assert_eq!(ends.len(), scenario.request_count());
            assert!(busy.values().all(BTreeSet::is_empty));
            let outcome = city.outcome();
            let rides = &outcome.rides;
            assert_eq!(rides.requested, scenario.request_count() as u64);
            let ended = rides.served + rides.gave_up + rides.called_off + rides.expired;
            assert_eq!(ended, rides.requested);
            assert_eq!(rides.chained > 0, rides_max == 2, "{policy} {drivers}");
            assert_eq!(outcome.pings.refused, 0);
            let offers = &outcome.offers;
            let over = offers.accepted + offers.declined + offers.expired + offers.withdrawn;
            assert_eq!(over, offers.made);
            if drivers == 8 {
                // All there is to happen does.
                for kind in [8, 9, 7, 13, 14, 15] {
                    assert!(kinds.contains_key(&kind), "{policy} {drivers}: no {kind}");
                }
                assert!(rides.served > 10 && outcome.utilisation > 0.2);
            }
        }
    }
}

#[test]
fn parties_share_cars_within_their_bounds() {
    let scenario = town(|_| {});
    let shared = Trials {
        product: "shared".to_owned(),
        ..trials()
    };
    let city = lived(&scenario, &shared, "batched", 8);
    let rules = &shared.matching.sharing;
    let boarding_ms = 2 * ms(shared.habits.boarding_time);
    let (mut aboard, mut together) = (BTreeMap::new(), 0);
    for (at_ms, what, about) in &city.log.entries {
        match what {
            Happening::Boarded => {
                aboard.insert(about[0], (*at_ms, about[1]));
                let in_car = aboard.values().filter(|(_, car)| *car == about[1]).count();
                assert!(in_car <= 2);
                together += usize::from(in_car == 2);
            }
            Happening::Completed => {
                let (boarded_ms, _) = aboard.remove(&about[0]).unwrap();
                let alone_ms = i64::from(city.riders[about[0] as usize].quoted.duration_ms);
                let detour_ms = alone_ms * i64::from(rules.detour_percent) / 100;
                let most_ms = alone_ms + detour_ms.max(ms(rules.detour_min)) + boarding_ms;
                assert!(
                    at_ms - boarded_ms <= most_ms,
                    "request {} is driven about",
                    about[0]
                );
            }
            _ => {}
        }
    }
    assert!(together > 0 && aboard.is_empty());
    let with = city.outcome();
    assert!(with.rides.joined as usize >= together && with.detour_percent > 0.0);
    let alone = run(&scenario, &trials(), "batched", 8).unwrap();
    assert!(with.rides.served > alone.rides.served, "{with:?} {alone:?}");
}

#[test]
fn kilometres_add_up() {
    let (scenario, trials) = (town(|_| {}), trials());
    let city = lived(&scenario, &trials, "batched", 15);
    let mut ridden_m = 0.0;
    for (_, what, about) in &city.log.entries {
        if *what == Happening::Completed {
            let request = &scenario.requests[about[0] as usize];
            let travel = scenario.roads.travel(&request.pickup, &request.dropoff);
            ridden_m += f64::from(travel.unwrap().distance_m);
        }
    }
    let of_cars = |of: fn(&cab::Cab) -> u64| city.cabs.iter().map(of).sum::<u64>() as f64 / 1e6;
    let (empty_km, loaded_km) = (of_cars(|cab| cab.empty_mm), of_cars(|cab| cab.loaded_mm));
    let outcome = city.outcome();
    // Riders are driven the shortest way, which here is as long as any fastest one, to the metre.
    let served = outcome.rides.served as f64;
    assert!((outcome.loaded_km * 1000.0 - ridden_m).abs() <= served * 2.0 + ridden_m * 1e-3);
    assert!((outcome.loaded_km - loaded_km).abs() < 1e-9);
    assert!((outcome.empty_km - empty_km).abs() < 1e-9);
    assert!(empty_km > 1.0);
}

#[test]
fn without_drivers_nobody_is_served() {
    let (scenario, trials) = (town(|_| {}), trials());
    let outcome = run(&scenario, &trials, "batched", 0).unwrap();
    assert_eq!(outcome.rides.served, 0);
    assert_eq!(outcome.offers.made, 0);
    let rides = outcome.rides;
    assert_eq!(rides.gave_up + rides.expired, rides.requested);
    let error = run(&scenario, &trials, "batched", u32::MAX).unwrap_err();
    assert!(error.to_string().contains("drivers are more"), "{error}");
}

#[test]
fn policies_are_held_against_each_other_in_a_table() {
    let scenarios = [town(|_| {}), town(|recipe| recipe.seed = 5)];
    let trials = Trials {
        drivers: vec![10, 14],
        ..trials()
    };
    let two = NonZero::new(2).unwrap();
    let report = run_all(&scenarios, &trials, two).unwrap();
    assert_eq!(report.outcomes.len(), 12);
    let alone = run(&scenarios[1], &trials, "batched", 14).unwrap();
    let together = &report.outcomes[9];
    assert_eq!(together.event_log_hash, alone.event_log_hash);
    let text = report.to_string();
    assert!(text.contains("14 drivers, mean of seeds 4, 5"), "{text}");
    assert!(text.contains("pick-up mean"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["outcomes"][9]["drivers"], 14);

    let unknown = Trials {
        policies: vec!["best".to_owned()],
        ..trials
    };
    let error = run_all(&scenarios, &unknown, two).unwrap_err();
    assert!(
        format!("{error:#}").contains("\"best\" is none of"),
        "{error:#}"
    );
}
