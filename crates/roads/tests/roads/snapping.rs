//! Snapping against looking at every piece of every road.

use jitney_roads::{
    Draft, EARTH_RADIUS_M, Facing, LatLon, Road, RoadNetwork, RoadsError, Snap, testmap,
};
use proptest::prelude::*;

use crate::maps;

/// The least distance in metres from `place` to any road, on the plane that touches the Earth
/// there.
fn nearest_road_m(network: &RoadNetwork, place: LatLon) -> f64 {
    let shrink = place.lat().to_radians().cos();
    let metres = |other: LatLon| {
        let x = (other.lon() - place.lon()).to_radians() * shrink * EARTH_RADIUS_M;
        let y = (other.lat() - place.lat()).to_radians() * EARTH_RADIUS_M;
        (x, y)
    };
    let mut nearest = f64::INFINITY;
    for segment in network.segments() {
        let line: Vec<_> = segment.line().map(metres).collect();
        for ends in line.windows(2) {
            let ((x, y), (to_x, to_y)) = (ends[0], ends[1]);
            let (dx, dy) = (to_x - x, to_y - y);
            let along = (-(x * dx + y * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            let along = if along.is_nan() { 0.0 } else { along };
            nearest = nearest.min((x + dx * along).hypot(y + dy * along));
        }
    }
    nearest
}

fn check(network: &RoadNetwork, place: LatLon) {
    let snap = network.snap(place, f64::INFINITY).unwrap();
    let nearest_m = nearest_road_m(network, place);
    // A millimetre for the whole-millimetre offset, and the plane's own error, which grows with the
    // square of the distance.
    let slack_m = 0.002 + nearest_m * nearest_m * 1e-6;
    assert!(
        (snap.distance_m - nearest_m).abs() <= slack_m,
        "{snap:?}, nearest {nearest_m}"
    );
    let segment = network.segment(snap.segment).unwrap();
    assert!(snap.offset_mm <= segment.length_mm());
    assert_eq!(
        snap.point,
        network.point_on_segment(snap.segment, snap.offset_mm)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nearest_on_random_maps(
        seed in any::<u64>(),
        north in -0.01..0.02_f64,
        east in -0.01..0.02_f64,
    ) {
        let network = testmap::random(seed, 60);
        check(&network, LatLon::new(41.15 + north, -8.6 + east).unwrap());
    }

    #[test]
    fn any_place_on_earth_snaps_or_says_how_far_it_is(
        lat in -90.0..=90.0_f64,
        lon in -180.0..=180.0_f64,
    ) {
        let network = testmap::grid(3, 3, 100.0);
        match network.snap(LatLon::new(lat, lon).unwrap(), 1000.0) {
            Ok(snap) => prop_assert!(snap.distance_m <= 1000.0),
            Err(RoadsError::OutsideMap { nearest_m, max_m, .. }) => {
                prop_assert!(nearest_m > max_m && nearest_m.is_finite());
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

#[test]
fn nearest_all_over_monaco() {
    let network = maps::monaco();
    let (bounds, mut dice) = (network.bounds(), testmap::Dice::new(9));
    for _ in 0..300 {
        let mut within = |low: f64, high: f64| low + (high - low) * dice.share();
        let lat = within(bounds.south_west.lat(), bounds.north_east.lat());
        let lon = within(bounds.south_west.lon(), bounds.north_east.lon());
        check(&network, LatLon::new(lat, lon).unwrap());
    }
}

#[test]
fn a_snap_snaps_to_itself() {
    let network = maps::monaco();
    for snap in testmap::random_snaps(&network, 4, 2000) {
        let again = network.snap(snap.point, 0.01).unwrap();
        assert!(again.distance_m < 0.002, "{again:?}");
        if again.segment == snap.segment {
            // A street that touches itself may have the same place at two offsets.
            let touches = again.point.distance_m(snap.point) < 0.01;
            assert!(again.offset_mm.abs_diff(snap.offset_mm) <= 2 || touches);
        }
    }
}

#[test]
fn too_far_says_how_far() {
    let network = testmap::grid(3, 3, 100.0);
    let north = LatLon::new(0.1, 0.0005).unwrap();
    let Err(error) = network.snap(north, 500.0) else {
        panic!("the grid is 10.9 km away")
    };
    assert!(
        matches!(error, RoadsError::OutsideMap { nearest_m, .. } if (10.90e3..10.95e3).contains(&nearest_m))
    );
    assert!(
        error
            .to_string()
            .contains("the nearest road of the map `grid` is 109"),
        "{error}"
    );
    assert!(network.snap(north, 11_000.0).is_ok());
}

#[test]
fn nonsense_distances_are_refused() {
    let network = testmap::grid(2, 2, 100.0);
    let here = LatLon::new(0.0, 0.0).unwrap();
    for max_m in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        assert!(matches!(
            network.snap(here, max_m),
            Err(RoadsError::NotADistance { .. })
        ));
    }
    assert!(network.snap(here, 0.0).is_ok());
    assert!(network.snap(here, f64::INFINITY).is_ok());
}

#[test]
fn places_and_headings_along_a_segment() {
    let network = testmap::grid(2, 2, 100.0);
    let row = network
        .segments()
        .find(|segment| segment.street() == Some("Row 0"))
        .unwrap();
    assert!((network.heading_on_segment_deg(row.id(), 0) - 90.0).abs() < 0.01);
    assert!((network.heading_on_segment_deg(row.id(), u32::MAX) - 90.0).abs() < 0.01);
    let line: Vec<_> = row.line().collect();
    assert_eq!(network.point_on_segment(row.id(), 0), line[0]);
    assert_eq!(network.point_on_segment(row.id(), u32::MAX), line[1]);
    let middle = network.point_on_segment(row.id(), row.length_mm() / 2);
    assert!((middle.distance_m(line[0]) - 50.0).abs() < 0.01);
    assert!(network.bounds().contains(middle));
}

#[test]
fn a_driving_car_snaps_to_a_road_that_leads_its_way() {
    // A dual carriageway: two one-way roads, 10 m apart, joined at their ends.
    let mut draft = Draft::new("dual");
    let node = |draft: &mut Draft, lat: f64, lon: f64| {
        draft.add_node(LatLon::new(lat / 111_195.0, lon / 111_195.0).unwrap())
    };
    let south = [node(&mut draft, 0.0, 0.0), node(&mut draft, 0.0, 500.0)];
    let north = [node(&mut draft, 10.0, 0.0), node(&mut draft, 10.0, 500.0)];
    let roads = [
        (south[0], south[1], Road::one_way(50.0)),
        (north[1], north[0], Road::one_way(50.0)),
        (south[1], north[1], Road::two_way(50.0)),
        (north[0], south[0], Road::two_way(50.0)),
    ];
    for (from, to, road) in roads {
        draft.add_road(from, to, &[], &road).unwrap();
    }
    let network = draft.freeze().unwrap();
    // Nearer to the southern road, whatever the car does.
    let place = LatLon::new(4.0 / 111_195.0, 250.0 / 111_195.0).unwrap();
    let segment = |snap: &Snap| network.segment(snap.segment).unwrap();
    let lies_south = |snap: &Snap| snap.point.lat() < place.lat();
    assert!(lies_south(&network.snap(place, 50.0).unwrap()));
    for (heading_deg, south) in [(90.0, true), (60.0, true), (270.0, false), (240.0, false)] {
        let snap = network.snap_driving(place, heading_deg, 50.0).unwrap();
        assert_eq!(lies_south(&snap), south, "{heading_deg}");
        assert!(segment(&snap).is_one_way());
        assert_eq!(snap.facing, Facing::Forward);
    }
    // Across both roads: the heading is not believed.
    let across = network.snap_driving(place, 0.0, 50.0).unwrap();
    assert!(lies_south(&across) && across.facing == Facing::Either);
    // On a two-way road each direction is one to face.
    let place = LatLon::new(5.0 / 111_195.0, 500.0 / 111_195.0).unwrap();
    for (heading_deg, facing) in [(0.0, Facing::Forward), (180.0, Facing::Backward)] {
        let snap = network.snap_driving(place, heading_deg, 50.0).unwrap();
        assert_eq!(snap.facing, facing);
    }
}
