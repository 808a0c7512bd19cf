//! Map files: what is saved is what loads, and what is broken says so.

use std::fs;

use jitney_roads::cache::{MapOrigin, SIGNATURE, VERSION};
use jitney_roads::{RoadNetwork, RoadsError, import, open_map, testmap};

use crate::maps;

fn same_answers(a: &RoadNetwork, b: &RoadNetwork) {
    assert_eq!(
        (a.id(), a.name(), a.attribution()),
        (b.id(), b.name(), b.attribution())
    );
    assert_eq!(a.report(), b.report());
    assert_eq!(a.arc_times_ms(), b.arc_times_ms());
    assert_eq!(a.to_bytes(), b.to_bytes());
    for pair in testmap::random_snaps(a, 3, 100).chunks(2) {
        assert_eq!(a.route(&pair[0], &pair[1]), b.route(&pair[0], &pair[1]));
    }
}

#[test]
fn saved_and_loaded_is_the_same_map() {
    let folder = tempfile::tempdir().unwrap();
    for (seed, nodes) in [(1, 2), (2, 40), (3, 500)] {
        let network = testmap::random(seed, nodes);
        let path = folder.path().join("town.roads");
        network.save(&path).unwrap();
        same_answers(&network, &RoadNetwork::load(&path).unwrap());
        same_answers(
            &network,
            &RoadNetwork::from_bytes(&network.to_bytes()).unwrap(),
        );
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing else is left behind"
    );
}

#[test]
fn monaco_is_what_its_extract_gives() {
    let Some(extract) = maps::shared_extract("monaco.osm.pbf") else {
        return;
    };
    let network = import(&extract).unwrap();
    let saved = fs::read(maps::data_folder().join("monaco.roads")).unwrap();
    assert!(
        network.to_bytes() == saved,
        "import it again: data/README.md says how"
    );
}

#[test]
fn equal_maps_have_equal_ids_and_others_do_not() {
    let id = |seed| testmap::random(seed, 30).id();
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
    assert_eq!(id(1).to_string().len(), 16);
}

#[test]
fn every_broken_byte_is_noticed() {
    let good = testmap::grid(3, 3, 100.0).to_bytes();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        let error = RoadNetwork::from_bytes(&bad).unwrap_err();
        let as_expected = match at {
            0..8 => matches!(error, RoadsError::NotAMap { .. }),
            8..12 => matches!(error, RoadsError::OtherVersion { .. }),
            _ => matches!(error, RoadsError::DamagedMap { .. }),
        };
        assert!(as_expected, "byte {at}: {error}");
    }
    for length in 0..good.len() {
        assert!(
            RoadNetwork::from_bytes(&good[..length]).is_err(),
            "cut to {length} bytes"
        );
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert!(matches!(
        RoadNetwork::from_bytes(&longer),
        Err(RoadsError::DamagedMap { .. })
    ));
}

#[test]
fn a_wrong_body_with_a_right_checksum_is_noticed_too() {
    let good = testmap::random(8, 40).to_bytes();
    let mut dice = testmap::Dice::new(8);
    let (mut refused, mut harmless) = (0, 0);
    for _ in 0..4000 {
        let mut bad = good.clone();
        for _ in 0..=dice.below(3) {
            let at = 32 + dice.below(bad.len() as u32 - 32) as usize;
            bad[at] = dice.below(256) as u8;
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bad[12..20]);
        crc.update(&bad[32..]);
        bad[28..32].copy_from_slice(&crc.finalize().to_le_bytes());
        match RoadNetwork::from_bytes(&bad) {
            Ok(network) => {
                // A letter of a name, a bend: as good as any other map.
                harmless += 1;
                for pair in testmap::random_snaps(&network, 1, 8).chunks(2) {
                    let _ = network.route(&pair[0], &pair[1]);
                    let _ = network.snap(pair[0].point, 10.0);
                }
            }
            Err(RoadsError::DamagedMap { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        refused > 1000 && harmless > 100,
        "{refused} refused, {harmless} harmless"
    );
}

#[test]
fn errors_name_the_file_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.roads");
    let message = |path| RoadNetwork::load(path).unwrap_err().to_string();

    assert!(message(&path).contains("city.roads"));
    fs::write(&path, b"something else").unwrap();
    assert!(message(&path).contains("city.roads is not a Jitney map; make one with"));
    fs::write(
        &path,
        [SIGNATURE.as_slice(), &(VERSION + 1).to_le_bytes()].concat(),
    )
    .unwrap();
    let expected = format!(
        "is a Jitney map of version {}, this program reads version {VERSION}",
        VERSION + 1
    );
    assert!(message(&path).contains(&expected), "{}", message(&path));
    let good = testmap::grid(2, 2, 100.0).to_bytes();
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(
        message(&path).contains("is a damaged Jitney map: it should have"),
        "{}",
        message(&path)
    );
}

#[test]
fn saving_where_nothing_can_be_saved_is_an_error() {
    let network = testmap::grid(2, 2, 100.0);
    let folder = tempfile::tempdir().unwrap();
    for path in [
        folder.path().join("no/such/folder.roads"),
        folder.path().to_owned(),
    ] {
        assert!(matches!(network.save(&path), Err(RoadsError::Write { .. })));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn open_map_imports_once_and_survives_a_broken_cache() {
    let Some(extract) = maps::shared_extract("helsinki-centre.osm.pbf") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let first = open_map(&extract, &cache).unwrap();
    assert_eq!((first.origin, first.notes.len()), (MapOrigin::Import, 0));
    let again = open_map(&extract, &cache).unwrap();
    assert_eq!((again.origin, again.notes.len()), (MapOrigin::Cache, 0));
    same_answers(&first.network, &again.network);

    let cached = fs::read_dir(&cache)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(
        open_map(&cached, &cache).unwrap().origin,
        MapOrigin::MapFile
    );
    let bytes = fs::read(&cached).unwrap();
    fs::write(&cached, &bytes[..bytes.len() - 1]).unwrap();
    let mended = open_map(&extract, &cache).unwrap();
    assert_eq!(mended.origin, MapOrigin::Import);
    assert!(
        mended.notes[0].contains("is a damaged Jitney map"),
        "{:?}",
        mended.notes
    );
    assert_eq!(open_map(&extract, &cache).unwrap().origin, MapOrigin::Cache);

    let blocked = folder.path().join("file");
    fs::write(&blocked, b"not a folder").unwrap();
    let unkept = open_map(&extract, &blocked).unwrap();
    assert_eq!(unkept.origin, MapOrigin::Import);
    assert!(
        unkept
            .notes
            .iter()
            .any(|note| note.contains("imported again next time")),
        "{:?}",
        unkept.notes
    );
}

#[test]
fn a_map_file_by_name_must_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.roads");
    fs::write(&path, b"\0\0\0\x0d").unwrap();
    assert!(matches!(
        open_map(&path, folder.path()),
        Err(RoadsError::NotAMap { .. })
    ));
}
