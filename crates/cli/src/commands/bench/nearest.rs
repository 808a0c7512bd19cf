//! The nearest drivers by road time, and drivers that move.

use std::{sync::Arc, time::Instant};

use jitney_matching::{
    Config,
    fleet::DriverKey,
    index::{Index, Post},
    nearest::{Nearest, Query},
    product::ProductSet,
};
use jitney_proto::ids::DriverId;
use jitney_roads::{RoadNetwork, Snap, testmap};

use super::figure::{Report, Unit, timed};

/// How many drivers are asked for.
const NEAREST: usize = 10;
/// Queries per figure.
const QUERIES: usize = 5_000;
/// Queries that both searches answer.
const CHECKS: usize = 200;
/// Moves per figure.
const MOVES: usize = 2_000_000;

/// Measures with so many drivers each.
pub fn run(report: &mut Report, network: &RoadNetwork, drivers: &[usize], seed: u64) {
    let config = Config::default();
    let roads = Arc::new(network.clone());
    let targets = testmap::random_snaps(network, !seed, QUERIES);
    for &count in drivers {
        let snaps = testmap::random_snaps(network, seed, count);
        let ids: Vec<DriverId> = (0..count)
            .filter_map(|n| format!("d{n}").parse().ok())
            .collect();
        let mut index = Index::new(network, config.cell_m);
        for (key, &snap) in (0..).zip(&snaps) {
            index.put(DriverKey(key), post(snap));
        }
        let nearest = Nearest::new(Arc::clone(&roads), config.settle_budget);
        let query = |target: &Snap| Query {
            target: *target,
            products: ProductSet::ANY,
            count: NEAREST,
            within_ms: u32::MAX,
            excludes: &|_| false,
        };
        let mut times = timed(QUERIES, |number| {
            drop(nearest.find(&index, &ids, &query(&targets[number])));
        });
        report.times("exact 10 nearest", Unit::Us, Some(count), &mut times);
        let exact = targets.iter().take(CHECKS).filter(|target| {
            let query = query(target);
            let dense = nearest.dense(&index, &ids, &query, usize::MAX);
            dense.as_ref() == Some(&nearest.sparse(&index, &ids, &query))
        });
        let share = exact.count() as f64 / CHECKS as f64;
        report.value("both searches agree", "share", Some(count), share, CHECKS);
        moves(report, network, &mut index, snaps, seed);
    }
}

/// Drivers that drive on by some metres, over and over, and drivers that appear elsewhere.
fn moves(
    report: &mut Report,
    network: &RoadNetwork,
    index: &mut Index,
    mut snaps: Vec<Snap>,
    seed: u64,
) {
    let count = snaps.len();
    let mut dice = testmap::Dice::new(seed);
    // Drawn beforehand: what is measured is the index.
    let mut steps = Vec::with_capacity(MOVES);
    for _ in 0..MOVES {
        let key = dice.below(count as u32);
        let snap = driven_on(
            network,
            snaps[key as usize],
            10_000 + dice.below(40_000),
            &mut dice,
        );
        snaps[key as usize] = snap;
        steps.push((DriverKey(key), post(snap)));
    }
    let begun = Instant::now();
    for &(key, post) in &steps {
        index.put(key, post);
    }
    let each_ns = begun.elapsed().as_secs_f64() * 1e9 / MOVES as f64;
    report.value("move by 10 to 50 m", "ns", Some(count), each_ns, MOVES);
    let places = testmap::random_snaps(network, !seed, 100_000);
    for step in &mut steps {
        step.1 = post(places[dice.below(places.len() as u32) as usize]);
    }
    let begun = Instant::now();
    for &(key, post) in &steps {
        index.put(key, post);
    }
    let each_ns = begun.elapsed().as_secs_f64() * 1e9 / MOVES as f64;
    report.value("move to anywhere", "ns", Some(count), each_ns, MOVES);
}

/// A place that far on along the road, turning where the road ends.
fn driven_on(
    network: &RoadNetwork,
    mut snap: Snap,
    mut by_mm: u32,
    dice: &mut testmap::Dice,
) -> Snap {
    for _ in 0..100 {
        let Some(segment) = network.segment(snap.segment) else {
            return snap;
        };
        let forward = segment.arc(true).is_some();
        let rest_mm = if forward {
            segment.length_mm() - snap.offset_mm
        } else {
            snap.offset_mm
        };
        if by_mm <= rest_mm {
            let offset_mm = if forward {
                snap.offset_mm + by_mm
            } else {
                snap.offset_mm - by_mm
            };
            return network.snap_on_segment(snap.segment, offset_mm);
        }
        by_mm -= rest_mm;
        let node = if forward {
            segment.head()
        } else {
            segment.tail()
        };
        let mut exits = network.arcs_from(node);
        let way = dice.below(exits.len() as u32) as usize;
        let Some(arc) = exits.nth(way) else {
            return snap;
        };
        let arc = network.arc(arc);
        let length_mm = network
            .segment(arc.segment)
            .map_or(0, |segment| segment.length_mm());
        let offset_mm = if arc.forward { 0 } else { length_mm };
        snap = network.snap_on_segment(arc.segment, offset_mm);
    }
    snap
}

fn post(snap: Snap) -> Post {
    Post {
        snap,
        products: ProductSet::ANY,
    }
}
