//! Import, snapping, travel times, routes, and new speeds under load.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use jitney_roads::{
    BackwardExpansion, PairSearch, RoadNetwork, Snap, SourceSet, TargetSearch, import, testmap,
};
use rayon::prelude::*;

use super::figure::{Report, Unit, timed};

/// Measures a network; `source` is what it was imported from.
pub fn run(
    report: &mut Report,
    network: &RoadNetwork,
    source: Option<&Path>,
    seed: u64,
) -> anyhow::Result<()> {
    if let Some(source) = source.filter(|source| source.extension().is_some_and(|e| e != "roads")) {
        let begun = Instant::now();
        import(source)?;
        report.times("import", Unit::Ms, None, &mut [begun.elapsed()]);
    }
    let bytes = network.to_bytes();
    let mut loads = timed(5, |_| drop(RoadNetwork::from_bytes(&bytes)));
    report.times("load a map file", Unit::Ms, None, &mut loads);
    let mut swaps = timed(20, |_| {
        drop(network.with_arc_times(network.arc_times_ms().to_vec()))
    });
    report.times("customize for new speeds", Unit::Ms, None, &mut swaps);

    let mut tightens = timed(5, |_| drop(network.tightened()));
    report.times("tighten them", Unit::Ms, None, &mut tightens);
    let network = &network.tightened();

    let snaps = testmap::random_snaps(network, seed, 40_000);
    let at = |number: usize| &snaps[number % snaps.len()];
    let mut times = timed(20_000, |number| drop(network.snap(at(number).point, 50.0)));
    report.times("snap a place", Unit::Us, None, &mut times);
    let mut times = timed(20_000, |number| {
        drop(network.snap_driving(at(number).point, (number % 360) as f64, 50.0));
    });
    report.times("snap a driving car", Unit::Us, None, &mut times);

    let mut pairs = PairSearch::new(network.clone());
    let mut times = timed(5_000, |number| {
        pairs.time_ms(at(2 * number), at(2 * number + 1));
    });
    report.times("time of a pair", Unit::Us, None, &mut times);
    let mut times = timed(2_000, |number| {
        drop(pairs.route(at(2 * number), at(2 * number + 1)))
    });
    report.times("route of a pair", Unit::Us, None, &mut times);

    let mut search = TargetSearch::new(network.clone());
    for many in [50, 1_000] {
        let mut times = timed(500, |number| {
            search.aim(at(number));
            for from in &snaps[20_000..20_000 + many] {
                search.time_from(from);
            }
        });
        report.times(
            &format!("times of {many} to one"),
            Unit::Us,
            None,
            &mut times,
        );
    }
    matrix(report, network, &snaps);
    let mut expansion = BackwardExpansion::new(network.clone());
    let mut times = timed(500, |number| {
        expansion.aim(at(number), 1_000);
        expansion.by_ref().for_each(drop);
    });
    report.times("1000 approaches settled", Unit::Us, None, &mut times);
    under_load(report, network, &snaps)
}

/// All times between 500 places and 500 others, on one thread and on all.
fn matrix(report: &mut Report, network: &RoadNetwork, snaps: &[Snap]) {
    const SIDE: usize = 500;
    let (from, to) = (&snaps[..SIDE], &snaps[SIDE..2 * SIDE]);
    let sweep = |to: &[Snap]| drop(SourceSet::new(network.clone(), from).times_to(to));
    let mut times = timed(5, |_| sweep(to));
    report.times(
        "matrix of 500 x 500, one thread",
        Unit::Ms,
        None,
        &mut times,
    );
    let mut times = timed(5, |_| {
        to.par_chunks(SIDE.div_ceil(rayon::current_num_threads()))
            .for_each(sweep);
    });
    report.times(
        "matrix of 500 x 500, all threads",
        Unit::Ms,
        None,
        &mut times,
    );
}

/// Searches while nothing else happens, and while new speeds are customized for all the time.
fn under_load(report: &mut Report, network: &RoadNetwork, snaps: &[Snap]) -> anyhow::Result<()> {
    let ask = |search: &mut TargetSearch| {
        timed(5_000, |number| {
            search.aim(&snaps[number % snaps.len()]);
            for from in &snaps[20_000..20_050] {
                search.time_from(from);
            }
        })
    };
    let mut search = TargetSearch::new(network.clone());
    let mut idle: Vec<Duration> = ask(&mut search);
    report.times("times of 50 to one, idle", Unit::Us, None, &mut idle);
    let is_over = AtomicBool::new(false);
    // On a thread of its own, as matching does it.
    let customizing = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut busy = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let times = network.arc_times_ms().to_vec();
                drop(customizing.install(|| network.with_arc_times(times)));
            }
        });
        let busy = ask(&mut search);
        is_over.store(true, Ordering::Relaxed);
        busy
    });
    report.times(
        "times of 50 to one, while customizing",
        Unit::Us,
        None,
        &mut busy,
    );
    Ok(())
}
