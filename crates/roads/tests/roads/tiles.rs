//! Map tiles, decoded and held against the roads they were drawn from.

use std::collections::{BTreeMap, BTreeSet};

use jitney_roads::{
    LatLon, RoadClass, RoadNetwork, RoadsError, TileId, testmap,
    tile::{
        BUFFER, EXTENT, LAYER, SEGMENTS_FROM_ZOOM, ZOOM_MAX,
        encoding::{Tile, TileLayer, lines_of},
    },
};
use proptest::prelude::*;
use prost::Message;

use crate::maps;

/// How far from its road a line may be drawn, in units: what is simplified away, and whole units.
const SEEN: f64 = 3.0;

/// A feature as a client sees it.
#[derive(Debug)]
struct Feature {
    id: Option<u64>,
    tags: BTreeMap<String, String>,
    lines: Vec<Vec<[i32; 2]>>,
}

fn decode(bytes: &[u8]) -> Vec<Feature> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let tile = Tile::decode(bytes).unwrap();
    let [layer] = &tile.layers[..] else {
        panic!("{} layers", tile.layers.len())
    };
    assert_eq!(
        (layer.version, layer.name.as_str(), layer.extent),
        (2, LAYER, Some(EXTENT))
    );
    layer
        .features
        .iter()
        .map(|feature| {
            assert_eq!(feature.kind, Some(2), "a line");
            Feature {
                id: feature.id,
                tags: feature
                    .tags
                    .chunks(2)
                    .map(|pair| tag(layer, pair))
                    .collect(),
                lines: lines_of(&feature.geometry).unwrap(),
            }
        })
        .collect()
}

fn tag(layer: &TileLayer, pair: &[u32]) -> (String, String) {
    let value = &layer.values[pair[1] as usize];
    let value = value
        .text
        .clone()
        .or(value.number.map(|number| number.to_string()));
    (layer.keys[pair[0] as usize].clone(), value.unwrap())
}

/// How far a point is from the nearest piece of a line, in units.
fn off([x, y]: [f64; 2], line: &[[f64; 2]]) -> f64 {
    let to_piece = |ends: &[[f64; 2]]| {
        let (from, to) = (ends[0], ends[1]);
        let step = [to[0] - from[0], to[1] - from[1]];
        let length_2 = step[0] * step[0] + step[1] * step[1];
        let share = ((x - from[0]) * step[0] + (y - from[1]) * step[1]) / length_2.max(1e-12);
        let share = share.clamp(0.0, 1.0);
        (x - from[0] - step[0] * share).hypot(y - from[1] - step[1] * share)
    };
    line.windows(2).map(to_piece).fold(f64::INFINITY, f64::min)
}

/// Every feature lies on its road, and every road that runs through the middle of the tile is drawn.
fn check(network: &RoadNetwork, tile: TileId) {
    let features = decode(&network.tile(tile));
    let mut drawn = BTreeSet::new();
    for feature in &features {
        let id = feature.id.unwrap();
        drawn.insert(id);
        let segment = network.segment(jitney_roads::SegmentId(id as u32)).unwrap();
        let course: Vec<[f64; 2]> = segment.line().map(|place| tile.project(place)).collect();
        assert_eq!(
            feature.tags.get("name").map(String::as_str),
            segment.street()
        );
        let oneway = match (segment.arc(true), segment.arc(false)) {
            (Some(_), None) => Some("1"),
            (None, Some(_)) => Some("-1"),
            _ => None,
        };
        assert_eq!(feature.tags.get("oneway").map(String::as_str), oneway);
        for [x, y] in feature.lines.iter().flatten() {
            let inside = -(BUFFER as i32)..=(EXTENT + BUFFER) as i32;
            assert!(
                inside.contains(x) && inside.contains(y),
                "{x} {y} is off the tile"
            );
            assert!(
                off([f64::from(*x), f64::from(*y)], &course) < SEEN,
                "{x} {y} is off its road"
            );
        }
        // And the road's bends on the tile lie on what is drawn.
        for bend in &course {
            if bend
                .iter()
                .any(|at| !(0.0..=f64::from(EXTENT)).contains(at))
            {
                continue;
            }
            let nearest = feature.lines.iter().map(|line| {
                let line: Vec<[f64; 2]> = line.iter().map(|p| p.map(f64::from)).collect();
                off(*bend, &line)
            });
            let nearest = nearest.fold(f64::INFINITY, f64::min);
            assert!(
                nearest < SEEN,
                "a bend is {nearest} units off what is drawn"
            );
        }
    }
    for segment in network.segments() {
        let course: Vec<[f64; 2]> = segment.line().map(|place| tile.project(place)).collect();
        let is_in = |[x, y]: &[f64; 2]| {
            [x, y]
                .iter()
                .all(|&&at| (0.0..=f64::from(EXTENT)).contains(&at))
        };
        let (first, last) = (course[0], course[course.len() - 1]);
        if course.iter().all(is_in) && (first[0] - last[0]).hypot(first[1] - last[1]) > 2.0 {
            let from_zoom = jitney_roads::tile::drawn_from_zoom(segment.class());
            assert_eq!(
                drawn.contains(&u64::from(segment.id().0)),
                tile.zoom() >= from_zoom
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_tile_shows_the_roads_on_it(
        seed in any::<u64>(), zoom in SEGMENTS_FROM_ZOOM..=ZOOM_MAX, share in 0.0..1.0_f64,
    ) {
        let network = testmap::random(seed, 120);
        let area = network.bounds();
        let between = |from: f64, to: f64| from + (to - from) * share;
        let place = LatLon::new(
            between(area.south_west.lat(), area.north_east.lat()),
            between(area.north_east.lon(), area.south_west.lon()),
        )?;
        check(&network, TileId::around(place, zoom)?);
    }
}

#[test]
fn the_built_in_city_on_all_zooms() {
    let monaco = maps::monaco();
    let centre = monaco.bounds().centre();
    for zoom in SEGMENTS_FROM_ZOOM..=ZOOM_MAX {
        check(&monaco, TileId::around(centre, zoom).unwrap());
    }
    // A line that crosses the edge goes on to the end of the buffer.
    let near = decode(&monaco.tile(TileId::around(centre, 16).unwrap()));
    let (low, high) = (-(BUFFER as i32), (EXTENT + BUFFER) as i32);
    let at_end = |[x, y]: &[i32; 2]| [x, y].iter().any(|at| **at == low || **at == high);
    let crossing = near
        .iter()
        .flat_map(|feature| feature.lines.iter().flatten())
        .filter(|p| at_end(p));
    assert!(crossing.count() > 5, "lines do not end at the edge");
    // From farther away: streets in one piece, and only the large ones.
    let far = decode(&monaco.tile(TileId::around(centre, 10).unwrap()));
    let classes: BTreeSet<&str> = far
        .iter()
        .map(|feature| feature.tags["class"].as_str())
        .collect();
    assert!(
        !classes.contains("residential") && classes.contains("primary"),
        "{classes:?}"
    );
    assert!(far.iter().all(|feature| feature.id.is_none()));
    let names: Vec<_> = far
        .iter()
        .map(|feature| (&feature.tags["class"], feature.tags.get("name")))
        .collect();
    assert_eq!(
        names.iter().collect::<BTreeSet<_>>().len(),
        names.len(),
        "each street once"
    );
    let size = |zoom| monaco.tile(TileId::around(centre, zoom).unwrap()).len();
    assert!(
        size(14) < 100_000 && size(10) < size(14),
        "{} {}",
        size(10),
        size(14)
    );
    assert!(
        monaco.tile(TileId::new(14, 0, 0).unwrap()).is_empty(),
        "nothing of it in the Pacific"
    );
    let tile = TileId::around(centre, 14).unwrap();
    assert_eq!(
        monaco.tile(tile),
        maps::monaco().tile(tile),
        "the same bytes"
    );
}

#[test]
fn large_roads_lie_on_small_ones() {
    let features =
        decode(&maps::monaco().tile(TileId::around(maps::monaco().bounds().centre(), 15).unwrap()));
    let class = |name: &str| {
        features
            .iter()
            .map(|f| f.tags["class"].as_str())
            .collect::<Vec<_>>()
            .iter()
            .rposition(|own| *own == name)
    };
    assert!(class("service") < class("primary"));
    assert_eq!(
        jitney_roads::tile::class_name(RoadClass::LivingStreet),
        "living_street"
    );
}

#[test]
fn only_tiles_are_tiles() {
    for (zoom, x, y) in [
        (19, 0, 0),
        (3, 8, 0),
        (3, 0, 8),
        (u32::MAX, 0, 0),
        (0, 1, 0),
    ] {
        let refused = TileId::new(zoom, x, y);
        assert!(
            matches!(refused, Err(RoadsError::NotATile { .. })),
            "{zoom} {x} {y}"
        );
    }
    let whole = TileId::new(0, 0, 0).unwrap();
    assert!(whole.bounds().contains(LatLon::new(0.0, 0.0).unwrap()));
    let place = LatLon::new(43.7384, 7.4246).unwrap();
    let tile = TileId::around(place, 14).unwrap();
    assert_eq!((tile.x(), tile.y()), (8529, 5974));
    assert!(tile.place_at(tile.project(place)).distance_m(place) < 0.001);
    assert!(tile.bounds().contains(place));
    let pole = TileId::around(LatLon::new(90.0, 180.0).unwrap(), 5).unwrap();
    assert_eq!((pole.x(), pole.y()), (31, 0));
}
