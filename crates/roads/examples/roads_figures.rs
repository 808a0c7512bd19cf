//! Times of import, load and queries on one map, be it an extract, a graph or a map file:
//! `cargo run --release -p jitney-roads --example roads_figures -- city.osm.pbf`
//!
//! Searches are timed as they are in use: with tightened travel times.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use jitney_roads::{
    BackwardExpansion, PairSearch, RoadNetwork, RoadsError, Snap, SourceSearch, TargetSearch,
    open_map, testmap,
};

fn main() -> Result<(), Box<dyn Error>> {
    let source = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("give a .osm.pbf, .gr or .roads file")?;
    let cache = tempfile::tempdir()?;
    let open = || -> Result<RoadNetwork, RoadsError> {
        let begun = Instant::now();
        let opened = open_map(&source, cache.path())?;
        let (ms, origin) = (begun.elapsed().as_secs_f64() * 1e3, opened.origin);
        println!("{ms:>12.1}  ms  open, {origin:?}");
        Ok(opened.network)
    };
    open()?;
    let network = open()?;
    print!("{network:?}\n{}", network.report());
    let map = network.to_bytes();
    println!("{:>12.1}  KiB map file", map.len() as f64 / 1024.0);
    figure("load", 1, || drop(RoadNetwork::from_bytes(&map)));
    figure("customize", 1, || {
        drop(network.with_arc_times(network.arc_times_ms().to_vec()))
    });
    figure("tighten", 1, || drop(network.tightened()));
    let network = network.tightened();

    let snaps = testmap::random_snaps(&network, 7, 20_000);
    figure("snap", snaps.len(), || {
        snaps
            .iter()
            .for_each(|snap| drop(network.snap(snap.point, 50.0)))
    });
    figure("snap a driving car", snaps.len(), || {
        for (number, snap) in snaps.iter().enumerate() {
            drop(network.snap_driving(snap.point, (number % 360) as f64, 50.0));
        }
    });

    let mut pairs = PairSearch::new(network.clone());
    let mut each_pair = |what: &str, ask: fn(&mut PairSearch, &Snap, &Snap) -> bool| {
        figure(what, 2_000, || {
            assert!(
                snaps
                    .chunks(2)
                    .take(2_000)
                    .all(|pair| ask(&mut pairs, &pair[0], &pair[1]))
            );
        });
    };
    each_pair("time of a pair", |pairs, from, to| {
        pairs.time_ms(from, to).is_some()
    });
    each_pair("time and distance of a pair", |pairs, from, to| {
        pairs.travel(from, to).is_some()
    });
    each_pair("route of a pair", |pairs, from, to| {
        pairs.route(from, to).is_some()
    });

    let (places, fleet) = snaps.split_at(200);
    let mut to_target = TargetSearch::new(network.clone());
    let mut from_source = SourceSearch::new(network.clone());
    for drivers in [1, 50, 1000] {
        figure(
            &format!("{drivers} drivers to one target"),
            places.len(),
            || {
                for target in places {
                    to_target.aim(target);
                    assert!(
                        fleet[..drivers]
                            .iter()
                            .all(|driver| to_target.time_from(driver).is_some())
                    );
                }
            },
        );
        figure(
            &format!("one source to {drivers} targets"),
            places.len(),
            || {
                for source in places {
                    from_source.aim(source);
                    assert!(
                        fleet[..drivers]
                            .iter()
                            .all(|target| from_source.time_to(target).is_some())
                    );
                }
            },
        );
    }

    let mut expansion = BackwardExpansion::new(network);
    for budget in [100, 1000, 10_000] {
        figure(
            &format!("{budget} approaches settled backwards"),
            places.len(),
            || {
                for target in places {
                    expansion.aim(target, budget);
                    expansion.by_ref().for_each(drop);
                }
            },
        );
    }
    Ok(())
}

/// Prints what one of `times` takes when `work` does them all; of five runs the fastest, which is
/// the least disturbed.
fn figure(what: &str, times: usize, mut work: impl FnMut()) {
    let mut run = || {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64() * 1e6 / times as f64
    };
    let each_us = (0..5).map(|_| run()).fold(f64::INFINITY, f64::min);
    if each_us < 1000.0 {
        println!("{each_us:>12.2}  us  {what}");
    } else {
        println!("{:>12.1}  ms  {what}", each_us / 1000.0);
    }
}
