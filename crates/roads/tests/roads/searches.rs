//! Every search against petgraph's Dijkstra.

use jitney_roads::{
    BackwardExpansion, Facing, NodeId, PairSearch, RoadNetwork, Snap, SourceSearch, SourceSet,
    TargetSearch, import, oracle, testmap,
};
use proptest::prelude::*;

use crate::maps;

/// Checks pair, target, source, matrix and backward searches from and to the same snaps, as they are and
/// tightened.
fn agree_with_the_oracle(network: &RoadNetwork, targets: &[Snap], sources: &[Snap]) {
    searches_agree(network, targets, sources);
    searches_agree(&network.tightened(), targets, sources);
}

fn searches_agree(network: &RoadNetwork, targets: &[Snap], sources: &[Snap]) {
    let matrix = SourceSet::new(network.clone(), sources).times_to(targets);
    for (target, times) in targets.iter().zip(matrix) {
        assert_eq!(
            times,
            oracle::all_times_to(network, target, sources),
            "matrix {target:?}"
        );
    }
    let mut pairs = PairSearch::new(network.clone());
    let mut to_target = TargetSearch::new(network.clone());
    let mut from_source = SourceSearch::new(network.clone());
    for target in targets {
        let expected = oracle::all_times_to(network, target, sources);
        to_target.aim(target);
        for (source, &expected) in sources.iter().zip(&expected) {
            assert_eq!(
                pairs.time_ms(source, target),
                expected,
                "pair {source:?} {target:?}"
            );
            assert_eq!(
                to_target.time_from(source),
                expected,
                "target {source:?} {target:?}"
            );
            let travel = pairs.travel(source, target);
            assert_eq!(travel.map(|travel| travel.duration_ms), expected);
            check_route(network, source, target, &mut pairs);
            let least = network.travel_ms_min(source.point, target.point);
            assert!(
                expected.is_none_or(|time_ms| least <= time_ms),
                "{least} > {expected:?}"
            );
        }
        let expected = oracle::all_times_from(network, target, sources);
        from_source.aim(target);
        for (source, &expected) in sources.iter().zip(&expected) {
            assert_eq!(
                from_source.time_to(source),
                expected,
                "source {target:?} {source:?}"
            );
        }
        expansion_agrees(network, target, sources);
    }
}

/// A route joins its ends without gaps, and is as long and as slow as it says.
fn check_route(network: &RoadNetwork, from: &Snap, to: &Snap, pairs: &mut PairSearch) {
    let (travel, route) = match (pairs.travel(from, to), pairs.route(from, to)) {
        (Some(travel), Some(route)) => (travel, route),
        (None, None) => return, // Facing the wrong way on a one-way street.
        (travel, route) => panic!("a route exists where a travel time does: {travel:?} {route:?}"),
    };
    assert_eq!(route.travel, travel);
    assert_eq!(network.travel(from, to), Some(travel));
    let (first, last) = (route.line.first().unwrap(), route.line.last().unwrap());
    assert!(
        first.distance_m(from.point) < 0.02,
        "the route begins at {first:?}"
    );
    assert!(
        last.distance_m(to.point) < 0.02,
        "the route ends at {last:?}"
    );
    let line_m: f64 = route
        .line
        .windows(2)
        .map(|ends| ends[0].distance_m(ends[1]))
        .sum();
    let distance_m = f64::from(travel.distance_m);
    assert!(
        (line_m - distance_m).abs() < 1.0 + distance_m * 1e-3,
        "the line is {line_m} m long, the route {distance_m} m"
    );
    let step_m: f64 = route.steps.iter().map(|step| step.distance_m).sum();
    assert!(
        (step_m - distance_m).abs() <= 0.501,
        "steps {step_m} route {distance_m}"
    );
    let step_ms: u32 = route.steps.iter().map(|step| step.duration_ms).sum();
    assert!(
        step_ms <= travel.duration_ms,
        "steps {step_ms} route {}",
        travel.duration_ms
    );
    assert!(
        route
            .steps
            .windows(2)
            .all(|pair| pair[0].street != pair[1].street)
    );
    assert!(
        route
            .steps
            .windows(2)
            .all(|pair| pair[0].line_start < pair[1].line_start)
    );
}

/// The expansion settles every approach once, in order, at its true time; and a driver's time follows
/// from the approaches and the drive along the target's own segment.
fn expansion_agrees(network: &RoadNetwork, target: &Snap, sources: &[Snap]) {
    let mut expansion = BackwardExpansion::new(network.clone());
    expansion.aim(target, usize::MAX);
    let mut times = vec![None; network.approach_count()];
    let mut last_ms = 0;
    while let Some(next_ms) = expansion.next_time_ms() {
        let Some(settled) = expansion.next() else {
            break;
        };
        assert!(last_ms <= settled.time_ms && next_ms <= settled.time_ms);
        last_ms = settled.time_ms;
        assert_eq!(
            times[settled.approach.index()].replace(settled.time_ms),
            None
        );
    }
    let expected = oracle::all_times_to(network, target, sources);
    for (source, expected) in sources.iter().zip(expected) {
        let through = network
            .stubs_out(source)
            .filter_map(|stub| times[stub.approach.index()].map(|time_ms| time_ms + stub.time_ms));
        let best = through
            .chain(network.time_along_segment_ms(source, target))
            .min();
        assert_eq!(best, expected, "{source:?} {target:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn searches_agree_on_random_maps(seed in any::<u64>(), nodes in 2_u32..150) {
        let network = testmap::random(seed, nodes);
        let targets = testmap::random_snaps(&network, seed, 5);
        let mut sources = testmap::random_snaps(&network, !seed, 20);
        // Sharing a segment with the target is the awkward case.
        let beside = |snap: &Snap| network.snap_on_segment(snap.segment, snap.offset_mm / 2);
        let beyond = |snap: &Snap| {
            network.snap_on_segment(snap.segment, snap.offset_mm.saturating_add(5_000))
        };
        sources.extend(targets.iter().map(beside));
        sources.extend(targets.iter().map(beyond));
        sources.extend(&targets);
        agree_with_the_oracle(&network, &targets, &sources);
    }

    #[test]
    fn searches_agree_where_turns_have_rules(seed in any::<u64>(), nodes in 12_u32..120) {
        let network = testmap::random_with_rules(seed, nodes);
        let targets = testmap::random_snaps(&network, seed, 5);
        let mut sources = testmap::random_snaps(&network, !seed, 20);
        sources.extend(&targets);
        sources.extend(targets.iter().map(|snap| {
            network.snap_on_segment(snap.segment, snap.offset_mm.saturating_add(5_000))
        }));
        let facings = [Facing::Either, Facing::Forward, Facing::Backward];
        for (source, facing) in sources.iter_mut().zip(facings.into_iter().cycle()) {
            source.facing = facing;
        }
        agree_with_the_oracle(&network, &targets, &sources);
    }

    #[test]
    fn searches_agree_under_other_times(seed in any::<u64>()) {
        let roads = testmap::random(seed, 80);
        let mut dice = testmap::Dice::new(seed);
        let times = roads.arc_times_ms().iter().map(|_| 1 + dice.below(60_000)).collect();
        let network = roads.with_arc_times(times).unwrap();
        prop_assert_eq!(network.id(), roads.id());
        let targets = testmap::random_snaps(&network, seed, 4);
        let sources = testmap::random_snaps(&network, !seed, 20);
        agree_with_the_oracle(&network, &targets, &sources);
    }
}

#[test]
fn searches_agree_on_monaco() {
    let network = maps::monaco();
    let targets = testmap::random_snaps(&network, 1, 12);
    let sources = testmap::random_snaps(&network, 2, 100);
    agree_with_the_oracle(&network, &targets, &sources);
}

#[test]
fn searches_agree_on_porto() {
    let Some(extract) = maps::shared_extract("porto-portugal.osm.pbf") else {
        return;
    };
    let network = import(&extract).unwrap();
    let targets = testmap::random_snaps(&network, 1, 3);
    let sources = testmap::random_snaps(&network, 2, 150);
    agree_with_the_oracle(&network, &targets, &sources);
}

#[test]
fn networks_and_searches_may_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<RoadNetwork>();
    crosses::<PairSearch>();
    crosses::<TargetSearch>();
    crosses::<SourceSearch>();
    crosses::<BackwardExpansion>();
}

#[test]
fn a_search_is_not_misled_by_its_earlier_aims() {
    let network = testmap::random(5, 120);
    let snaps = testmap::random_snaps(&network, 6, 30);
    let mut kept = TargetSearch::new(network.clone());
    for target in &snaps {
        let mut fresh = TargetSearch::new(network.clone());
        fresh.aim(target);
        kept.aim(target);
        for source in &snaps {
            assert_eq!(kept.time_from(source), fresh.time_from(source));
        }
    }
}

#[test]
fn a_search_aimed_nowhere_finds_nothing() {
    let network = testmap::grid(2, 2, 100.0);
    let snap = network.snap_on_segment(jitney_roads::SegmentId(0), 0);
    assert_eq!(TargetSearch::new(network.clone()).time_from(&snap), None);
    assert_eq!(SourceSearch::new(network.clone()).time_to(&snap), None);
    assert_eq!(BackwardExpansion::new(network).next(), None);
}

#[test]
fn a_block_of_the_grid_takes_ten_seconds() {
    let network = testmap::grid(4, 3, 100.0);
    assert_eq!((network.node_count(), network.segment_count()), (12, 17));
    let near = |north_m: f64, east_m: f64| {
        let degrees = 111_195.0;
        let place = jitney_roads::LatLon::new(north_m / degrees, east_m / degrees).unwrap();
        network.snap(place, 5.0).unwrap()
    };
    // Half a block east, two up, one and a half east.
    let travel = network
        .travel(&near(0.0, 50.0), &near(200.0, 300.0))
        .unwrap();
    assert!((45_000..45_020).contains(&travel.duration_ms), "{travel:?}");
    assert_eq!(travel.distance_m, 450);
    // Straight along one street: one step, no detour through nodes.
    let route = network.route(&near(0.0, 10.0), &near(0.0, 90.0)).unwrap();
    assert_eq!(route.travel.distance_m, 80);
    assert_eq!(route.steps.len(), 1);
    assert_eq!(route.steps[0].street.as_deref(), Some("Row 0"));
    // Standing still is a route too.
    let still = network.route(&near(0.0, 10.0), &near(0.0, 10.0)).unwrap();
    assert_eq!(
        (
            still.travel.duration_ms,
            still.line.len(),
            still.steps.len()
        ),
        (0, 1, 0)
    );
}

#[test]
fn behind_on_a_one_way_street_means_all_the_way_round() {
    let mut draft = jitney_roads::Draft::new("ring");
    let corner = |lat: f64, lon: f64| jitney_roads::LatLon::new(lat, lon).unwrap();
    let corners = [corner(0.0, 0.0), corner(0.0, 0.001), corner(0.001, 0.001)];
    let nodes = corners.map(|place| draft.add_node(place));
    for side in 0..3 {
        let road = jitney_roads::Road::one_way(36.0);
        draft
            .add_road(nodes[side], nodes[(side + 1) % 3], &[], &road)
            .unwrap();
    }
    let network = draft.freeze().unwrap();
    let first = jitney_roads::SegmentId(0);
    let (ahead, behind) = (
        network.snap_on_segment(first, 80_000),
        network.snap_on_segment(first, 20_000),
    );
    assert_eq!(network.travel(&behind, &ahead).unwrap().distance_m, 60);
    let round_m: f64 = network.segments().map(|segment| segment.length_m()).sum();
    let round = network.travel(&ahead, &behind).unwrap();
    assert_eq!(f64::from(round.distance_m), (round_m - 60.0).round());
    assert_eq!(
        oracle::travel_time_ms(&network, &ahead, &behind),
        Some(round.duration_ms)
    );
}

#[test]
fn a_settle_budget_is_kept() {
    let network = testmap::grid(10, 10, 100.0);
    let target = network.snap_on_segment(jitney_roads::SegmentId(30), 10_000);
    let mut expansion = BackwardExpansion::new(network);
    expansion.aim(&target, 7);
    assert_eq!(expansion.by_ref().count(), 7);
    assert_eq!(expansion.budget_left(), 0);
    assert!(
        expansion.next_time_ms().is_some(),
        "there was more to settle"
    );
    expansion.aim(&target, 1000);
    assert_eq!(expansion.by_ref().count(), 100);
    assert_eq!(expansion.next_time_ms(), None);
}

#[test]
fn snaps_of_another_map_reach_nothing_and_panic_nowhere() {
    let (small, large) = (testmap::grid(2, 2, 100.0), testmap::grid(9, 9, 100.0));
    let here = small.snap_on_segment(jitney_roads::SegmentId(0), 0);
    let strange = large.snap_on_segment(jitney_roads::SegmentId(100), 50_000);
    assert_eq!(small.travel(&here, &strange), None);
    assert_eq!(small.travel(&strange, &here), None);
    assert_eq!(small.route(&strange, &strange), None);
    let mut search = TargetSearch::new(small.clone());
    search.aim(&strange);
    assert_eq!(search.time_from(&here), None);
    let mut expansion = BackwardExpansion::new(small);
    expansion.aim(&strange, 10);
    assert_eq!(expansion.next(), None);
}

#[test]
fn times_that_do_not_fit_are_refused() {
    let network = testmap::grid(2, 2, 100.0);
    let arcs = network.arc_count();
    for times in [
        vec![],
        vec![1; arcs + 1],
        vec![0; arcs],
        vec![u32::MAX; arcs],
    ] {
        assert!(network.with_arc_times(times).is_err());
    }
    let slow = network
        .with_arc_times(vec![jitney_roads::graph::ARC_TIME_MS_MAX; arcs])
        .unwrap();
    let (from, to) = (
        slow.snap_on_segment(jitney_roads::SegmentId(0), 0),
        slow.snap_on_segment(jitney_roads::SegmentId(3), 0),
    );
    assert_eq!(
        slow.travel(&from, &to).map(|travel| travel.duration_ms),
        oracle::travel_time_ms(&slow, &from, &to)
    );
}

#[test]
fn a_trip_of_more_than_24_days_is_no_trip() {
    let network = testmap::grid(40, 1, 100.0);
    let slow = network
        .with_arc_times(vec![
            jitney_roads::graph::ARC_TIME_MS_MAX;
            network.arc_count()
        ])
        .unwrap();
    let at = |x: u32| slow.snap(slow.node_position(NodeId(x)), 1.0).unwrap();
    assert!(slow.travel(&at(0), &at(20)).is_some());
    assert_eq!(slow.travel(&at(0), &at(39)), None);
    assert_eq!(oracle::travel_time_ms(&slow, &at(0), &at(39)), None);
}

#[test]
fn adjacent_arcs_know_each_other() {
    let network = testmap::random(3, 100);
    for node in (0..network.node_count() as u32).map(NodeId) {
        assert!(
            network
                .arcs_from(node)
                .all(|arc| network.arc(arc).tail == node)
        );
        assert!(
            network
                .arcs_into(node)
                .all(|arc| network.arc(arc).head == node)
        );
    }
    let from: usize = (0..network.node_count() as u32)
        .map(|node| network.arcs_from(NodeId(node)).len())
        .sum();
    let into: usize = (0..network.node_count() as u32)
        .map(|node| network.arcs_into(NodeId(node)).len())
        .sum();
    assert_eq!((from, into), (network.arc_count(), network.arc_count()));
    for segment in network.segments() {
        for forward in [true, false] {
            let Some(arc) = segment.arc(forward) else {
                continue;
            };
            assert_eq!(network.arc(arc).segment, segment.id());
            assert_eq!(network.arc(arc).forward, forward);
            assert_eq!(
                network.part_of_arc_ms(arc, segment.length_mm()),
                network.arc_time_ms(arc)
            );
        }
    }
}
