//! Importing towns of a few streets, written for the purpose: what becomes of each oddity.

use std::path::Path;

use jitney_roads::osm::import_bytes;
use jitney_roads::{Phase, RoadClass, RoadNetwork, RoadsError, Segment, open_map_telling};

use crate::pbf::{Extract, Members, Nodes, Tags, blob};

const STREET: Tags<'static> = &[("highway", "residential"), ("maxspeed", "45")];
const PLAIN: Tags<'static> = &[];

/// A row of nodes eastwards, about 100 m apart, with those ids.
fn row(ids: &[i64]) -> Vec<(i64, f64, f64, Tags<'static>)> {
    ids.iter()
        .enumerate()
        .map(|(x, &id)| (id, 41.0, -8.0 + x as f64 * 0.0012, PLAIN))
        .collect()
}

fn import(extract: &Extract<'_>) -> Result<RoadNetwork, RoadsError> {
    let [dense, plain] = [Nodes::Dense, Nodes::Plain]
        .map(|nodes| import_bytes(Path::new("maps/town.osm.pbf"), &extract.bytes(nodes)));
    if let (Ok(dense), Ok(plain)) = (&dense, &plain) {
        assert_eq!(dense.segment_count(), plain.segment_count());
        assert_eq!(dense.arc_times_ms(), plain.arc_times_ms());
    }
    dense
}

/// Number of bends between the ends, per segment.
fn bends(network: &RoadNetwork) -> Vec<usize> {
    network
        .segments()
        .map(|segment| segment.line().len() - 2)
        .collect()
}

#[test]
fn an_import_tells_how_far_it_is() {
    let extract = Extract {
        nodes: row(&[1, 2, 3]),
        ways: vec![(vec![1, 2, 3], STREET)],
        ..Extract::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("town.osm.pbf");
    let bytes = extract.bytes(Nodes::Dense);
    std::fs::write(&path, &bytes).unwrap();
    let mut told = Vec::new();
    let cache = folder.path().join("maps");
    open_map_telling(&path, &cache, &mut |now| told.push(now)).unwrap();
    let mut phases: Vec<Phase> = told.iter().map(|now| now.phase).collect();
    phases.dedup();
    assert_eq!(
        phases,
        [Phase::Roads, Phase::Places, Phase::Joining, Phase::Ordering]
    );
    for phase in [Phase::Roads, Phase::Places] {
        let read: Vec<_> = told.iter().filter(|now| now.phase == phase).collect();
        assert!(read.is_sorted_by_key(|now| now.done), "{read:?}");
        let last = read.last().unwrap();
        assert_eq!((last.done, last.of), (bytes.len() as u64, last.done));
    }
    // The second time there is nothing to import, and nothing to tell.
    told.clear();
    open_map_telling(&path, &cache, &mut |now| told.push(now)).unwrap();
    assert_eq!(told, []);
}

#[test]
fn ways_are_cut_at_junctions_and_bend_elsewhere() {
    let mut nodes = row(&[-1, -2, -3, -4, -5]);
    nodes.push((-6, 41.001, -8.0 + 2.0 * 0.0012, PLAIN));
    let ways = vec![(vec![-1, -2, -3, -4, -5], STREET), (vec![-3, -6], STREET)];
    let network = import(&Extract {
        nodes,
        ways,
        ..Extract::default()
    })
    .unwrap();
    assert_eq!(
        (
            network.node_count(),
            network.segment_count(),
            network.arc_count()
        ),
        (4, 3, 6)
    );
    assert_eq!(bends(&network), [1, 1, 0]);
    assert_eq!(network.name(), "town");
    // 45 km/h at four fifths is 10 m/s.
    for segment in network.segments() {
        let time_ms = network.arc_time_ms(segment.arc(true).unwrap());
        assert!((f64::from(time_ms) - segment.length_m() * 100.0).abs() <= 1.0);
    }
    assert!((network.top_speed_m_per_s() - 10.0).abs() < 0.001);
}

#[test]
fn a_way_is_cut_where_the_extract_stops() {
    // Node 4 is not in the file; the way leaves, and comes back at 5.
    let nodes = [
        row(&[1, 2, 3]),
        vec![(5, 41.0, -7.99, PLAIN), (6, 41.0, -7.989, PLAIN)],
    ]
    .concat();
    let ways = vec![
        (vec![1, 2, 3, 4, 5, 6], STREET),
        (vec![1, 3], STREET),
        (vec![4, 8, 9], STREET),
        (vec![4, 5], STREET),
    ];
    let network = import(&Extract {
        nodes,
        ways,
        ..Extract::default()
    })
    .unwrap();
    // 1-2-3 and the doubled 1-3 are the largest part; 5-6 is cut off.
    assert_eq!((network.node_count(), network.segment_count()), (2, 2));
    let report = network.report();
    assert_eq!(
        (report.car_ways, report.missing_nodes, report.vanished_ways),
        (4, 3, 2)
    );
    assert_eq!(
        (report.unreachable_nodes, report.unreachable_segments),
        (2, 1)
    );
}

#[test]
fn nobody_drives_through_a_bollard() {
    let mut nodes = row(&[1, 2, 3, 4]);
    nodes[2].3 = &[("barrier", "bollard")];
    let ways = vec![(vec![1, 2, 3, 4], STREET), (vec![1, 2], STREET)];
    let closed = import(&Extract {
        nodes: nodes.clone(),
        ways: ways.clone(),
        ..Extract::default()
    })
    .unwrap();
    // From 1 to the bollard, but not beyond: 3-4 is cut off.
    assert_eq!(
        (
            closed.node_count(),
            closed.segment_count(),
            closed.report().barriers
        ),
        (3, 3, 1)
    );
    nodes[2].3 = &[("barrier", "bollard"), ("motorcar", "yes")];
    let open = import(&Extract {
        nodes,
        ways,
        ..Extract::default()
    })
    .unwrap();
    assert_eq!(
        (
            open.node_count(),
            open.segment_count(),
            open.report().barriers
        ),
        (3, 3, 0)
    );
    assert!(open.bounds().north_east.lon() > closed.bounds().north_east.lon());
}

#[test]
fn one_way_streets_keep_their_direction() {
    let nodes = row(&[1, 2, 3, 4]);
    let ways: Vec<(Vec<i64>, Tags<'_>)> = vec![
        (
            vec![1, 2],
            &[("highway", "primary"), ("oneway", "yes"), ("name", "there")],
        ),
        (
            vec![1, 2],
            &[("highway", "primary"), ("oneway", "-1"), ("name", "back")],
        ),
        (
            vec![2, 3],
            &[("highway", "living_street"), ("name", "both")],
        ),
        (
            vec![3, 4],
            &[("highway", "motorway"), ("name", "lost, it leads out only")],
        ),
    ];
    let network = import(&Extract {
        nodes,
        ways,
        ..Extract::default()
    })
    .unwrap();
    let directions = |segment: &Segment<'_>| {
        (
            segment.street().unwrap().to_owned(),
            segment.arc(true).is_some(),
            segment.arc(false).is_some(),
        )
    };
    let found: Vec<_> = network
        .segments()
        .map(|segment| directions(&segment))
        .collect();
    let expected = [
        ("there", true, false),
        ("back", false, true),
        ("both", true, true),
    ];
    assert_eq!(
        found,
        expected.map(|(name, there, back)| (name.to_owned(), there, back))
    );
    assert_eq!(
        network.segments().last().unwrap().class(),
        RoadClass::LivingStreet
    );
    assert_eq!(
        network.report().streets,
        3,
        "the name of a lost street is lost with it"
    );
}

#[test]
fn roundabouts_and_loops_are_streets_too() {
    let mut nodes = row(&[1, 2]);
    nodes.extend([(3, 41.001, -7.9985, PLAIN), (4, 41.001, -7.999, PLAIN)]);
    let ways: Vec<(Vec<i64>, Tags<'_>)> = vec![
        (vec![1, 2], STREET),
        (
            vec![2, 3, 4, 2],
            &[("highway", "residential"), ("junction", "roundabout")],
        ),
    ];
    let network = import(&Extract {
        nodes,
        ways,
        ..Extract::default()
    })
    .unwrap();
    assert_eq!(
        (
            network.node_count(),
            network.segment_count(),
            network.arc_count()
        ),
        (2, 2, 3)
    );
    let circle = network.segments().last().unwrap();
    assert_eq!(circle.tail(), circle.head());
    // From a place on the circle to one behind it: on round, never back.
    let at = |mm| network.snap_on_segment(circle.id(), mm);
    let behind = network.travel(&at(circle.length_mm() / 2), &at(0)).unwrap();
    assert_eq!(behind.distance_m, (circle.length_m() / 2.0).round() as u32);
}

#[test]
fn what_is_dropped_is_counted() {
    let nodes = row(&[1, 2]);
    let ways: Vec<(Vec<i64>, Tags<'_>)> = vec![
        (vec![1, 2], STREET),
        (vec![1, 2], &[("highway", "footway")]),
        (vec![1, 2], &[("highway", "service"), ("area", "yes")]),
        (vec![1, 2], &[("highway", "service"), ("access", "no")]),
        (
            vec![1, 2],
            &[("highway", "primary"), ("oneway", "reversible")],
        ),
        (vec![1, 2], &[("waterway", "river")]),
        (vec![1, 2], &[("route", "ferry"), ("motor_vehicle", "yes")]),
        (vec![1, 1, 1], STREET),
        (vec![], STREET),
    ];
    let relations: Vec<(Members<'_>, Tags<'_>)> = vec![
        (&[], &[("type", "restriction")]),
        (&[], &[("type", "route")]),
    ];
    let network = import(&Extract {
        nodes,
        ways,
        relations,
    })
    .unwrap();
    let report = network.report();
    assert_eq!(
        (report.nodes_read, report.ways_read, report.relations_read),
        (2, 9, 2)
    );
    assert_eq!(
        (
            report.car_ways,
            report.car_ways_with_limit,
            report.other_highways,
            report.ferries
        ),
        (3, 3, 1, 1)
    );
    assert_eq!(
        (report.areas, report.no_access, report.reversible),
        (1, 1, 1)
    );
    assert_eq!(
        (report.vanished_ways, report.restrictions_for_others),
        (2, 1)
    );
    assert_eq!((report.nodes, report.segments, report.arcs), (2, 1, 2));
    let table = report.to_string();
    assert!(
        table.contains("           9  ways\n") && table.contains("turn restrictions for others"),
        "{table}"
    );
}

#[test]
fn nodes_that_are_nowhere_are_dropped_and_counted() {
    let mut nodes = row(&[1, 2, 3]);
    nodes.push((4, 95.0, 0.0, PLAIN));
    let ways = vec![(vec![1, 2, 3, 4], STREET)];
    let network = import(&Extract {
        nodes,
        ways,
        ..Extract::default()
    })
    .unwrap();
    assert_eq!(
        (network.segment_count(), network.report().impossible_nodes),
        (1, 1)
    );
    assert_eq!(network.report().missing_nodes, 0);
}

#[test]
fn an_extract_without_roads_says_what_it_has() {
    let extract = Extract {
        nodes: row(&[1, 2, 3]),
        ways: vec![(vec![1, 2], &[("building", "yes")])],
        ..Extract::default()
    };
    let message = import(&extract).unwrap_err().to_string();
    assert!(
        message.starts_with("maps/town.osm.pbf holds no road network for cars"),
        "{message}"
    );
    assert!(message.contains("it has 3 nodes and 1 ways"), "{message}");
    // Roads whose nodes are all elsewhere.
    let extract = Extract {
        nodes: row(&[1]),
        ways: vec![(vec![8, 9], STREET)],
        ..Extract::default()
    };
    assert!(matches!(import(&extract), Err(RoadsError::NoRoads { .. })));
    // Roads that lead out and never back.
    let ways: Vec<(Vec<i64>, Tags<'_>)> = vec![(vec![1, 2], &[("highway", "motorway")])];
    let message = import(&Extract {
        nodes: row(&[1, 2]),
        ways,
        ..Extract::default()
    })
    .unwrap_err()
    .to_string();
    assert!(
        message.contains("none of its 1 roads can be driven there and back"),
        "{message}"
    );
}

#[test]
fn numbers_that_overflow_are_damage_not_panic() {
    let extreme = Extract {
        nodes: vec![
            (i64::MAX / 2, 41.0, -8.0, PLAIN),
            (i64::MIN / 2 + 1, 41.0, -8.0, PLAIN),
        ],
        ways: vec![(vec![i64::MAX / 2, i64::MIN / 2 + 1], STREET)],
        ..Extract::default()
    };
    assert!(import(&extreme).is_err() || import(&extreme).is_ok());
    // Latitudes whose nanodegrees do not fit 64 bits.
    let nodes = vec![(1, 1e11, 0.0, PLAIN), (2, -1e11, 0.0, PLAIN)];
    let ways = vec![(vec![1, 2], STREET)];
    let error = import(&Extract {
        nodes,
        ways,
        ..Extract::default()
    })
    .unwrap_err();
    assert!(
        matches!(
            error,
            RoadsError::DamagedPbf { .. } | RoadsError::NoRoads { .. }
        ),
        "{error}"
    );
}

#[test]
fn a_small_file_is_damaged_in_every_way_and_never_panics() {
    let nodes = row(&[1, 2, 3, 4]);
    let ways = vec![(vec![1, 2, 3], STREET), (vec![2, 4], STREET)];
    let good = Extract {
        nodes,
        ways,
        ..Extract::default()
    }
    .bytes(Nodes::Dense);
    let path = Path::new("small.osm.pbf");
    assert!(import_bytes(path, &good).is_ok());
    for length in 0..good.len() {
        let _ = import_bytes(path, &good[..length]);
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let _ = import_bytes(path, &bad);
    }
}

#[test]
fn blocks_of_other_kinds_are_passed_over() {
    let extract = Extract {
        nodes: row(&[1, 2]),
        ways: vec![(vec![1, 2], STREET)],
        ..Extract::default()
    };
    let bytes = [
        blob("OSMHeader", b""),
        blob("Surprise", b"?"),
        extract.bytes(Nodes::Dense),
    ]
    .concat();
    assert!(import_bytes(Path::new("town.osm.pbf"), &bytes).is_ok());
    let empty = [blob("OSMHeader", b""), blob("Surprise", b"?")].concat();
    let error = import_bytes(Path::new("town.osm.pbf"), &empty).unwrap_err();
    assert!(
        error.to_string().contains("holds no block of map data"),
        "{error}"
    );
}
