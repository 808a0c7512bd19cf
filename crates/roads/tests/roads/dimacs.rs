//! Graphs of the DIMACS challenge: what becomes of each line, and of lines that make no sense.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use jitney_roads::{
    MapOrigin, RoadNetwork, RoadsError, TargetSearch, import, open_map, oracle, testmap,
};

use crate::maps;

const TIMES: &str = "c a town\np sp 4 8\na 1 2 1000\na 2 1 1000\na 2 3 500\na 3 2 700\n\
                     a 3 4 100\na 4 3 100\na 4 1 300\na 2 2 5\n";
const LENGTHS: &str = "p sp 4 8\na 1 2 1200\na 2 1 1200\na 2 3 1\na 3 2 1\n\
                       a 3 4 1200\na 4 3 1200\na 4 1 1200\na 2 2 5\n";
const PLACES: &str = "p aux sp co 4\nv 1 0 0\nv 2 1000 0\nv 3 1000 1000\nv 4 0 1000\n";

/// The three files in a folder of their own; gives the one with times.
fn graph(folder: &Path, times: &str, lengths: &str, places: &str) -> PathBuf {
    fs::write(folder.join("town-road-d.X.gr"), lengths).unwrap();
    fs::write(folder.join("town-road-d.X.co"), places).unwrap();
    let named = folder.join("town-road-t.X.gr");
    fs::write(&named, times).unwrap();
    named
}

fn imported(times: &str, lengths: &str, places: &str) -> Result<RoadNetwork, RoadsError> {
    let folder = tempfile::tempdir().unwrap();
    import(&graph(folder.path(), times, lengths, places))
}

#[test]
fn arcs_there_and_back_are_one_road() {
    let network = imported(TIMES, LENGTHS, PLACES).unwrap();
    assert_eq!(network.name(), "town-road-t.X");
    assert_eq!(
        (
            network.node_count(),
            network.segment_count(),
            network.arc_count()
        ),
        (4, 4, 7)
    );
    let times: Vec<[Option<u32>; 2]> = network
        .segments()
        .map(|segment| [true, false].map(|there| Some(network.arc_time_ms(segment.arc(there)?))))
        .collect();
    let expected = [
        [Some(3600), Some(3600)],
        [Some(1800), Some(2520)],
        [Some(360), Some(360)],
        [Some(1080), None],
    ];
    assert_eq!(times, expected);
    let lengths: Vec<u32> = network
        .segments()
        .map(|segment| segment.length_mm())
        .collect();
    assert_eq!(lengths[0], 120_000);
    assert!(
        (111_000..112_000).contains(&lengths[1]),
        "lengthened to the straight line"
    );
    assert_eq!(network.report().lengthened_roads, 1);
    assert_eq!(network.approach_count(), 4, "turns are free");
}

#[test]
fn roads_between_the_same_nodes_are_told_apart_by_length() {
    // The short way there is one-way, the long way is not; one of its arcs stands there three times.
    let times = "p sp 3 8\na 1 2 100\na 1 2 250\na 1 2 200\na 2 1 300\na 1 2 220\na 2 3 9\na 3 2 9\n\
                 a 3 1 0\n";
    let lengths = "p sp 3 8\na 1 2 1200\na 1 2 1500\na 1 2 1500\na 2 1 1500\na 1 2 1500\na 2 3 1600\n\
                   a 3 2 1600\na 3 1 2000\n";
    let places = "p aux sp co 3\nv 1 0 0\nv 2 1000 0\nv 3 1000 1000\n";
    let roads = |network: &RoadNetwork| -> Vec<(u32, [Option<u32>; 2])> {
        let time = |arc| Some(network.arc_time_ms(arc?));
        network
            .segments()
            .map(|road| {
                (
                    road.length_mm(),
                    [true, false].map(|way| time(road.arc(way))),
                )
            })
            .collect()
    };
    let expected = [
        (120_000, [Some(360), None]),
        (150_000, [Some(720), Some(1080)]),
        (160_000, [Some(33), Some(33)]),
        (200_000, [Some(1), None]),
    ];
    assert_eq!(roads(&imported(times, lengths, places).unwrap()), expected);

    // Without lengths they look alike, and the fastest counts.
    let folder = tempfile::tempdir().unwrap();
    let named = graph(folder.path(), times, lengths, places);
    fs::remove_file(folder.path().join("town-road-d.X.gr")).unwrap();
    let network = import(&named).unwrap();
    let times: Vec<_> = roads(&network)
        .into_iter()
        .map(|(_, times)| times)
        .collect();
    let expected = [
        [Some(360), Some(1080)],
        [Some(33), Some(33)],
        [Some(1), None],
    ];
    assert_eq!(times, expected);
    assert_eq!(
        network.report().lengthened_roads,
        3,
        "all are straight lines"
    );
}

#[test]
fn compressed_files_and_lengths_alone_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let plain = graph(folder.path(), TIMES, LENGTHS, PLACES);
    let packed = folder.path().join("packed-road-d.X.gr.gz");
    for (name, text) in [
        ("packed-road-d.X.gr.gz", LENGTHS),
        ("packed-road-d.X.co.gz", PLACES),
    ] {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        fs::write(folder.path().join(name), encoder.finish().unwrap()).unwrap();
    }
    let network = import(&packed).unwrap();
    // 120 m at 40 km/h.
    assert_eq!(network.arc_times_ms()[0], 10_800);
    let cache = folder.path().join("cache");
    assert_eq!(open_map(&plain, &cache).unwrap().origin, MapOrigin::Import);
    assert_eq!(open_map(&plain, &cache).unwrap().origin, MapOrigin::Cache);
    fs::write(
        folder.path().join("town-road-d.X.co"),
        PLACES.replace("1000 0", "1001 0"),
    )
    .unwrap();
    assert_eq!(
        open_map(&plain, &cache).unwrap().origin,
        MapOrigin::Import,
        "a file changed"
    );
}

#[test]
fn nonsense_is_refused_by_file_and_line() {
    let refused = |times: &str, lengths: &str, places: &str, what: &str| {
        let error = imported(times, lengths, places).unwrap_err().to_string();
        assert!(error.contains(what), "{error} does not say {what}");
    };
    refused(
        &TIMES.replace("a 4 1 300", "a 5 1 300"),
        LENGTHS,
        PLACES,
        "line 9: there is no node 5",
    );
    refused(
        &TIMES.replace("a 4 1 300", "a 0 1 300"),
        LENGTHS,
        PLACES,
        "there is no node 0",
    );
    refused(
        &TIMES.replace("300", "-300"),
        LENGTHS,
        PLACES,
        "\"-300\" is not a whole number",
    );
    refused(&TIMES.replace("300", "NaN"), LENGTHS, PLACES, "\"NaN\"");
    refused(
        &TIMES.replace("sp 4 8", "sp 4 9"),
        LENGTHS,
        PLACES,
        "should have 9 arcs and has 8",
    );
    refused(
        &TIMES.replace("sp 4 8", "sp 3 8"),
        LENGTHS,
        PLACES,
        "it has 3 nodes",
    );
    refused(
        &TIMES.replace("p sp 4 8\n", ""),
        LENGTHS,
        PLACES,
        "no problem line",
    );
    refused(
        TIMES,
        &LENGTHS.replace("a 4 1", "a 1 4"),
        PLACES,
        "line 9: its arcs with times are not those with lengths",
    );
    refused(
        &TIMES.replace("300", "24000001"),
        LENGTHS,
        PLACES,
        "line 9: one road alone takes more than a day",
    );
    refused(
        TIMES,
        &LENGTHS.replace("a 4 1 1200", "a 4 1 4294967295"),
        PLACES,
        "line 9: one road alone is 429496 km long, from node 4 to node 1",
    );
    refused(
        TIMES,
        LENGTHS,
        &PLACES.replace("v 3", "v 7"),
        "line 4: node 7 is out of order",
    );
    refused(
        TIMES,
        LENGTHS,
        &PLACES.replace("v 4 0 1000", "v 4 0 99000000"),
        "not on Earth",
    );
    refused(TIMES, LENGTHS, &PLACES.replace("v 4", "x 4"), "neither");

    let folder = tempfile::tempdir().unwrap();
    let named = graph(folder.path(), TIMES, LENGTHS, PLACES);
    fs::remove_file(folder.path().join("town-road-d.X.co")).unwrap();
    let error = import(&named).unwrap_err().to_string();
    assert!(error.contains("put town-road-d.X.co beside it"), "{error}");
}

#[test]
fn compressed_files_that_break_off_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plain = graph(folder.path(), TIMES, LENGTHS, PLACES);
    fs::remove_file(&plain).unwrap();
    let named = folder.path().join("town-road-t.X.gr.gz");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(TIMES.as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    // Without its last byte, in the middle, and with a bit of its checksum turned over.
    let mut turned = whole.clone();
    turned[whole.len() - 6] ^= 1;
    for bytes in [
        &whole[..whole.len() - 1],
        &whole[..whole.len() / 2],
        &turned,
    ] {
        fs::write(&named, bytes).unwrap();
        let error = import(&named).unwrap_err().to_string();
        assert!(
            error.contains("town-road-t.X.gr.gz is not a usable DIMACS graph: it cannot be read"),
            "{error}"
        );
    }
    fs::write(&named, whole).unwrap();
    assert_eq!(import(&named).unwrap().node_count(), 4);
}

#[test]
fn searches_agree_on_new_york() {
    let Some(times) = maps::shared_extract("nyc-dimacs/USA-road-t.NY.gr.gz") else {
        return;
    };
    let network = import(&times).unwrap();
    assert_eq!(network.report().nodes_read, 264_346);
    assert_eq!(network.node_count(), 264_346);
    // 733,846 arcs, 3,746 of which say what another says.
    assert_eq!(network.arc_count(), 730_100);
    assert!((100.0..104.0).contains(&(network.top_speed_m_per_s() * 3.6)));
    assert_eq!(network.approach_count(), network.node_count());
    let targets = testmap::random_snaps(&network, 1, 2);
    let sources = testmap::random_snaps(&network, 2, 50);
    let mut search = TargetSearch::new(network.clone());
    for target in &targets {
        search.aim(target);
        let expected = oracle::all_times_to(&network, target, &sources);
        for (source, expected) in sources.iter().zip(expected) {
            assert_eq!(search.time_from(source), expected);
        }
    }
}
