//! Turns, on a crossing with a road round it: what they cost, what forbids them, what becomes of rules
//! that cannot be read.
//!
//! ```text
//!         4
//!       / | \          ways 1 (1-2), 2 (2-3), 3 (4-2), 4 (2-5) cross at node 2;
//!     1 - 2 - 3        ways 5 (1-4), 6 (4-3), 7 (3-5), 8 (5-1) go round it
//!       \ | /
//!         5
//! ```

use std::path::Path;

use jitney_roads::osm::import_bytes;
use jitney_roads::{Facing, LatLon, RoadNetwork, Snap, Travel};

use crate::pbf::{Extract, Member, Members, Nodes, Tags};

const STREET: Tags<'static> = &[("highway", "residential"), ("maxspeed", "45")];
/// Metres from the crossing to each of the corners, and from corner to corner.
const ARM_M: u32 = 200;
const SIDE_M: u32 = 283;

type Places = Vec<(i64, f64, f64, Tags<'static>)>;

/// Degrees for metres, at the equator.
fn degrees(metres: f64) -> f64 {
    metres / 111_195.0
}

fn places() -> Places {
    let arm = degrees(f64::from(ARM_M));
    vec![
        (1, 0.0, -arm, &[]),
        (2, 0.0, 0.0, &[]),
        (3, 0.0, arm, &[]),
        (4, arm, 0.0, &[]),
        (5, -arm, 0.0, &[]),
    ]
}

fn ways() -> Vec<(Vec<i64>, Tags<'static>)> {
    let ends = [
        [1, 2],
        [2, 3],
        [4, 2],
        [2, 5],
        [1, 4],
        [4, 3],
        [3, 5],
        [5, 1],
    ];
    ends.map(|ends| (ends.to_vec(), STREET)).to_vec()
}

fn town(relations: Vec<(Members<'_>, Tags<'_>)>) -> RoadNetwork {
    town_of(places(), ways(), relations)
}

fn town_of(
    nodes: Places,
    ways: Vec<(Vec<i64>, Tags<'_>)>,
    relations: Vec<(Members<'_>, Tags<'_>)>,
) -> RoadNetwork {
    let extract = Extract {
        nodes,
        ways,
        relations,
    };
    import_bytes(Path::new("crossing.osm.pbf"), &extract.bytes(Nodes::Dense)).unwrap()
}

/// The place that many metres east and north of the crossing.
fn at(network: &RoadNetwork, east_m: f64, north_m: f64) -> Snap {
    let place = LatLon::new(degrees(north_m), degrees(east_m)).unwrap();
    network.snap(place, 5.0).unwrap()
}

/// From half-way along the western arm, driving east, to half-way along another arm.
fn from_the_west(network: &RoadNetwork, east_m: f64, north_m: f64) -> Travel {
    let mut from = at(network, -100.0, 0.0);
    from.facing = Facing::Forward;
    network
        .travel(&from, &at(network, east_m, north_m))
        .unwrap()
}

const AT_THE_CROSSING: &[(&str, Member, i64)] = &[
    ("from", Member::Way, 1),
    ("via", Member::Node, 2),
    ("to", Member::Way, 2),
];

#[test]
fn turns_take_their_time() {
    let network = town(Vec::new());
    let straight = from_the_west(&network, 100.0, 0.0);
    let right = from_the_west(&network, 0.0, -100.0);
    let left = from_the_west(&network, 0.0, 100.0);
    for travel in [straight, right, left] {
        assert_eq!(travel.distance_m, ARM_M);
    }
    // 45 km/h at four fifths is 10 m/s.
    assert!((20_000..20_010).contains(&straight.duration_ms));
    assert_eq!(right.duration_ms - straight.duration_ms, 2_500);
    assert_eq!(left.duration_ms - straight.duration_ms, 4_500);
}

#[test]
fn nobody_turns_round_where_there_is_another_way() {
    let network = town(Vec::new());
    // The target lies behind the car: on to the crossing, left, left and left again.
    let behind = from_the_west(&network, -150.0, 0.0);
    assert_eq!(behind.distance_m, 100 + ARM_M + SIDE_M + 50);
    let mut free = at(&network, -100.0, 0.0);
    free.facing = Facing::Either;
    let free = network.travel(&free, &at(&network, -150.0, 0.0)).unwrap();
    assert_eq!(free.distance_m, 50, "whoever faces either way may");
}

#[test]
fn a_dead_end_is_turned_round_in() {
    let mut nodes = places();
    nodes.push((6, 0.0, degrees(300.0), &[]));
    let mut ways = ways();
    ways.push((vec![3, 6], STREET));
    let network = town_of(nodes, ways, Vec::new());
    let mut from = at(&network, 250.0, 0.0);
    from.facing = Facing::Forward;
    let back = network.travel(&from, &at(&network, 220.0, 0.0)).unwrap();
    assert_eq!(back.distance_m, 50 + 80);
    assert!((33_000..33_010).contains(&back.duration_ms), "{back:?}");
}

#[test]
fn a_forbidden_turn_is_driven_round() {
    let network = town(vec![(
        AT_THE_CROSSING,
        &[("type", "restriction"), ("restriction", "no_straight_on")],
    )]);
    assert_eq!(network.report().restrictions_applied, 1);
    let round = from_the_west(&network, 100.0, 0.0);
    assert_eq!(round.distance_m, 100 + ARM_M + SIDE_M + 100);
    // The other way it is nobody's business.
    let back = network.travel(&at(&network, 100.0, 0.0), &at(&network, -100.0, 0.0));
    assert_eq!(back.unwrap().distance_m, ARM_M);
}

#[test]
fn an_only_turn_forbids_the_others() {
    let network = town(vec![(
        AT_THE_CROSSING,
        &[("type", "restriction"), ("restriction", "only_straight_on")],
    )]);
    assert_eq!(from_the_west(&network, 100.0, 0.0).distance_m, ARM_M);
    for north_m in [-100.0, 100.0] {
        let round = from_the_west(&network, 0.0, north_m);
        assert_eq!(round.distance_m, 100 + ARM_M + SIDE_M + 100);
    }
}

#[test]
fn a_restriction_over_a_way_minds_where_one_comes_from() {
    let members: Members<'_> = &[
        ("from", Member::Way, 1),
        ("via", Member::Way, 2),
        ("to", Member::Way, 6),
    ];
    let network = town(vec![(
        members,
        &[("type", "restriction"), ("restriction", "no_left_turn")],
    )]);
    assert_eq!(network.report().restrictions_applied, 1);
    // Way 6 near node 3, from the west: by node 4 instead of straight on and round the corner.
    let target = |network: &RoadNetwork| at(network, 180.0, 20.0);
    let mut from = at(&network, -100.0, 0.0);
    from.facing = Facing::Forward;
    let forbidden = network.travel(&from, &target(&network)).unwrap();
    let mut from_north = at(&network, 0.0, 100.0);
    from_north.facing = Facing::Forward;
    let allowed = network.travel(&from_north, &target(&network)).unwrap();
    assert_eq!(allowed.distance_m, 100 + ARM_M + 28);
    assert_eq!(forbidden.distance_m, 100 + ARM_M + SIDE_M - 28);
}

#[test]
fn several_only_turns_over_a_way_allow_each_of_theirs() {
    let over_way_2 = |to: i64| {
        [
            ("from", Member::Way, 1),
            ("via", Member::Way, 2),
            ("to", Member::Way, to),
        ]
    };
    let only: Tags<'_> = &[("type", "restriction"), ("restriction", "only_straight_on")];
    let (left, right) = (over_way_2(6), over_way_2(7));
    // Way 9 leads on straight from node 3, and round to node 4.
    let arm = degrees(f64::from(ARM_M));
    let mut places = places();
    places.push((6, 0.0, 2.0 * arm, &[]));
    let mut ways = ways();
    ways.push((vec![3, 6, 4], STREET));
    let network = town_of(places, ways, vec![(&left, only), (&right, only)]);
    assert_eq!(network.report().restrictions_applied, 2);
    let mut from = at(&network, -100.0, 0.0);
    from.facing = Facing::Forward;
    let metres = |east_m, north_m| {
        let travel = network.travel(&from, &at(&network, east_m, north_m));
        travel.unwrap().distance_m
    };
    let past_the_corner = 100 + ARM_M + 28;
    assert_eq!(metres(180.0, 20.0), past_the_corner, "to the left");
    assert_eq!(metres(180.0, -20.0), past_the_corner, "to the right");
    assert!(metres(220.0, 0.0) > 100 + ARM_M + 20, "straight on");
}

#[test]
fn a_one_way_street_through_the_node_leaves_no_doubt() {
    // Ways 1 and 2 are one, from west to east through the crossing; it may not turn into way 3's end.
    let through = |oneway: &'static str| -> RoadNetwork {
        let mut ways = ways();
        let tags: &[Tags<'static>] = &[
            &[("highway", "residential"), ("maxspeed", "45")],
            &[
                ("highway", "residential"),
                ("maxspeed", "45"),
                ("oneway", "yes"),
            ],
        ];
        ways[0] = (vec![1, 2, 3], tags[usize::from(oneway == "yes")]);
        ways.remove(1);
        let members: Members<'_> = &[
            ("from", Member::Way, 1),
            ("via", Member::Node, 2),
            // The road to node 4, two places on now.
            ("to", Member::Way, 2),
        ];
        let rule: Tags<'_> = &[("type", "restriction"), ("restriction", "no_left_turn")];
        town_of(places(), ways, vec![(members, rule)])
    };
    let doubtful = through("no");
    assert_eq!(doubtful.report().restrictions_unclear, 1);
    let clear = through("yes");
    assert_eq!(clear.report().restrictions_applied, 1);
    let northwards = |network: &RoadNetwork| from_the_west(network, 0.0, 100.0).distance_m;
    assert_eq!(northwards(&doubtful), ARM_M);
    assert!(northwards(&clear) > ARM_M);
}

#[test]
fn nobody_drives_through_a_street_for_its_destinations() {
    let private: Tags<'static> = &[("highway", "residential"), ("motor_vehicle", "destination")];
    let mut ways = ways();
    ways[1].1 = private;
    let network = town_of(places(), ways, Vec::new());
    assert_eq!(network.report().destination_only, 1);
    // In from either end, out by either end, through by neither.
    assert_eq!(from_the_west(&network, 100.0, 0.0).distance_m, ARM_M);
    let out = network.travel(&at(&network, 100.0, 0.0), &at(&network, 180.0, 20.0));
    assert_eq!(out.unwrap().distance_m, 100 + 28);
    let past = from_the_west(&network, 180.0, 20.0);
    assert_eq!(past.distance_m, 100 + ARM_M + SIDE_M - 28);
}

#[test]
fn lights_cost_those_who_meet_them() {
    let mut nodes = places();
    nodes[1].3 = &[("highway", "traffic_signals")];
    let arm = degrees(20.0);
    nodes.push((
        6,
        0.0,
        -arm,
        &[("highway", "stop"), ("direction", "forward")],
    ));
    let mut ways = ways();
    ways[0].0 = vec![1, 6, 2];
    let network = town_of(nodes, ways, Vec::new());
    let plain = town(Vec::new());
    let lost_ms = |from: [f64; 2], to: [f64; 2]| {
        let time_ms = |network: &RoadNetwork| {
            let (from, to) = (at(network, from[0], from[1]), at(network, to[0], to[1]));
            i64::from(network.travel(&from, &to).unwrap().duration_ms)
        };
        time_ms(&network) - time_ms(&plain)
    };
    // The whole arm, so that the stop sign, which is spread over it, counts in full.
    assert!((lost_ms([-199.9, 0.0], [100.0, 0.0]) - 4_000).abs() < 10);
    assert!((lost_ms([100.0, 0.0], [-199.9, 0.0]) - 2_000).abs() < 10);
}

#[test]
fn rules_that_are_not_for_us_or_not_clear_are_counted() {
    let nowhere: Members<'_> = &[
        ("from", Member::Way, 1),
        ("via", Member::Node, 2),
        ("to", Member::Way, 99),
    ];
    let apart: Members<'_> = &[
        ("from", Member::Way, 1),
        ("via", Member::Node, 5),
        ("to", Member::Way, 2),
    ];
    let network = town(vec![
        (
            AT_THE_CROSSING,
            &[
                ("type", "restriction"),
                ("restriction", "no_straight_on"),
                ("except", "bicycle; motorcar"),
            ],
        ),
        (
            AT_THE_CROSSING,
            &[
                ("type", "restriction"),
                ("restriction:hgv", "no_straight_on"),
            ],
        ),
        (
            AT_THE_CROSSING,
            &[
                ("type", "restriction"),
                (
                    "restriction:conditional",
                    "no_straight_on @ (Mo-Fr 07:00-09:00)",
                ),
            ],
        ),
        (
            AT_THE_CROSSING,
            &[("type", "restriction"), ("restriction", "sometimes")],
        ),
        (
            nowhere,
            &[("type", "restriction"), ("restriction", "no_straight_on")],
        ),
        (
            apart,
            &[("type", "restriction"), ("restriction", "no_straight_on")],
        ),
    ]);
    let report = network.report();
    assert_eq!(report.turn_restrictions, 6);
    assert_eq!(report.restrictions_applied, 0);
    assert_eq!(report.restrictions_for_others, 2);
    assert_eq!(report.restrictions_conditional, 1);
    assert_eq!(report.restrictions_incomplete, 1);
    assert_eq!(report.restrictions_unclear, 2);
    assert_eq!(from_the_west(&network, 100.0, 0.0).distance_m, ARM_M);
}
