//! Streets by their names.

use jitney_roads::{LatLon, RoadsError, testmap};

use crate::maps;

#[test]
fn a_street_is_found_by_the_beginnings_of_its_words() {
    let monaco = maps::monaco();
    let names = |text: &str| -> Vec<&str> {
        monaco
            .find_streets(text, None, 50)
            .iter()
            .map(|street| street.name)
            .collect()
    };
    let all = names("avenue");
    assert!(
        all.len() > 10
            && all
                .iter()
                .all(|name| name.to_lowercase().contains("avenue")),
        "{all:?}"
    );
    // Any case, with or without accents, words in any order, the last of them unfinished.
    let accented = monaco.segments().filter_map(|segment| segment.street());
    let mut accented = accented.filter(|name| !name.is_ascii());
    let name = accented.next().unwrap();
    for typed in [name.to_owned(), name.to_uppercase(), name.to_lowercase()] {
        assert_eq!(names(&typed)[0], name, "{typed}");
    }
    assert!(names("charlotte princ").contains(&"Boulevard Princesse Charlotte"));
    assert!(names("").is_empty() && names("  -- ").is_empty() && names("zzzz").is_empty());
    assert_eq!(monaco.find_streets("avenue", None, 3).len(), 3);
}

#[test]
fn what_is_typed_whole_comes_first_and_then_the_nearest() {
    let grid = testmap::grid(12, 12, 100.0);
    let near = LatLon::new(0.0, 0.0092).unwrap();
    let found = grid.find_streets("column 1", Some(near), 5);
    let names: Vec<&str> = found.iter().map(|street| street.name).collect();
    assert_eq!(names, ["Column 1", "Column 10", "Column 11"]);
    assert!(found[1].distance_m < found[2].distance_m);
    let found = grid.find_streets("col", Some(near), 2);
    let names: Vec<&str> = found.iter().map(|street| street.name).collect();
    assert_eq!(
        names,
        ["Column 10", "Column 11"],
        "the nearest of those that begin so"
    );
    let place = found[0].place;
    assert!(
        near.distance_m(place) < 200.0,
        "the piece of the street that is near"
    );
    assert_eq!(grid.find_streets("row", None, 1)[0].distance_m, None);
}

#[test]
fn a_place_is_told_by_the_nearest_street_with_a_name() {
    let monaco = maps::monaco();
    let mut named = 0;
    for segment in monaco.segments().step_by(7) {
        let place = monaco.point_on_segment(segment.id(), segment.length_mm() / 2);
        let (name, snap) = monaco.street_at(place, 5_000.0).unwrap();
        assert!(!name.is_empty());
        // No road with a name is nearer.
        for other in monaco.segments().filter(|other| other.street().is_some()) {
            for bend in other.line() {
                assert!(place.distance_m(bend) > snap.distance_m - 0.01);
            }
        }
        if let Some(street) = segment.street() {
            named += 1;
            assert!(name == street || snap.distance_m < 0.1);
        }
    }
    assert!(named > 20);
    let sea = LatLon::new(43.0, 7.4).unwrap();
    assert!(matches!(
        monaco.street_at(sea, 500.0),
        Err(RoadsError::OutsideMap { .. })
    ));
}
