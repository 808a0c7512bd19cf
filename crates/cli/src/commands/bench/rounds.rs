//! Whole dispatch rounds: every request and every idle driver of a city at once.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use jitney_matching::{
    Config,
    dispatch::Ground,
    fleet::{Fleet, ShiftChange},
    ping::Fix,
    policy::Policy,
    product::ProductSet,
    round::gather::{Asker, Scene},
};
use jitney_proto::ids::TripId;
use jitney_roads::{RoadNetwork, testmap};
use uuid::Uuid;

use super::figure::{Report, Unit, timed};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// Measures rounds of that many requests with so many drivers each.
pub fn run(
    report: &mut Report,
    network: &RoadNetwork,
    requests: usize,
    drivers: &[usize],
    seed: u64,
) -> anyhow::Result<()> {
    let ground = Ground::new(Config::default(), Arc::new(network.clone()));
    let policy = Policy::batched();
    let nobody = BTreeSet::new();
    for &count in drivers {
        let mut fleet = Fleet::new(network, ground.config.cell_m);
        for (number, snap) in (0..).zip(testmap::random_snaps(network, seed, count)) {
            let number: u32 = number;
            let key = fleet.intern(&format!("d{number}").parse()?, NOW);
            let change = ShiftChange {
                available: true,
                products: Some(ProductSet::ANY),
                ..ShiftChange::default()
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
        let pickups = testmap::random_snaps(network, !seed, requests);
        let asker = |(number, pickup): (u128, &jitney_roads::Snap)| Asker {
            trip: TripId(Uuid::from_u128(number)),
            pickup: *pickup,
            products: ProductSet::ANY,
            dropoff: None,
            seats: 1,
            shares: None,
            waited_ms: 0,
            excluded: &nobody,
        };
        let askers: Vec<Asker<'_>> = (0..).zip(&pickups).map(asker).collect();
        let scene = Scene {
            ground: &ground,
            fleet: &fleet,
            now: NOW,
        };
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        let mut times = timed(5, |_| drop(single.install(|| scene.plan(&policy, &askers))));
        let name = format!("batched round of {requests}, one thread");
        report.times(&name, Unit::Ms, Some(count), &mut times);
        let mut times = timed(10, |_| drop(scene.plan(&policy, &askers)));
        let name = format!("batched round of {requests}, all threads");
        report.times(&name, Unit::Ms, Some(count), &mut times);
        let plan = scene.plan(&policy, &askers);
        let mut times = timed(10, |_| drop(plan.round.decide(&policy)));
        report.times("of that, deciding", Unit::Ms, Some(count), &mut times);
        let served = plan.choice.iter().flatten().count() as f64 / requests as f64;
        report.value(
            "requests that got a driver",
            "share",
            Some(count),
            served,
            requests,
        );
    }
    Ok(())
}
