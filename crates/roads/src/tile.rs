//! Map tiles: the roads inside one square of the map, as a Mapbox Vector Tile (version 2) to be drawn.
//!
//! A tile has one layer, [`LAYER`]. Near to the ground each segment is a feature of its own and has the
//! segment's number as its id, so that live traffic can be put on it; from farther away the pieces of a
//! street are one feature, and small roads are left out. Not for routing: lines are simplified to what
//! can be seen.

use std::collections::BTreeMap;

use crate::geo::{BoundingBox, LatLon};
use crate::graph::{RoadClass, SegmentId};
use crate::{RoadNetwork, RoadsError, Segment};

pub mod encoding;
mod line;

use encoding::{Layer, Tags};
use line::Square;

/// The layer's name.
pub const LAYER: &str = "roads";
/// The media type of a tile.
pub const CONTENT_TYPE: &str = "application/vnd.mapbox-vector-tile";
/// Units along the edge of a tile.
pub const EXTENT: u32 = 4096;
/// How far lines go on beyond the edge, in units, so that they do not end visibly there.
pub const BUFFER: u32 = 64;
/// The nearest zoom there are tiles of.
pub const ZOOM_MAX: u32 = 18;
/// From this zoom on each segment is a feature of its own.
pub const SEGMENTS_FROM_ZOOM: u32 = 12;
/// What of a bend cannot be seen, in units: a quarter of a pixel on a screen with 512 pixels to a tile.
const SIMPLIFIED_BY: f64 = 2.0;
/// Web Mercator ends here, degrees north and south.
const LATITUDE_MAX_DEG: f64 = 85.051_128_78;

/// Names a tile: the `zoom` doubles its number per edge, `x` counts from the west, `y` from the north.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileId {
    zoom: u32,
    x: u32,
    y: u32,
}

impl TileId {
    /// A tile's name.
    ///
    /// # Errors
    /// [`RoadsError::NotATile`] when the zoom is above [`ZOOM_MAX`] or the zoom has no such column or row.
    pub fn new(zoom: u32, x: u32, y: u32) -> Result<Self, RoadsError> {
        let is_tile = zoom <= ZOOM_MAX && x < 1 << zoom && y < 1 << zoom;
        if is_tile {
            Ok(Self { zoom, x, y })
        } else {
            Err(RoadsError::NotATile { zoom, x, y })
        }
    }

    /// The tile a place lies in.
    ///
    /// # Errors
    /// [`RoadsError::NotATile`] when the zoom is above [`ZOOM_MAX`].
    pub fn around(place: LatLon, zoom: u32) -> Result<Self, RoadsError> {
        let edge = f64::from(1u32 << zoom.min(ZOOM_MAX));
        let [x, y] = mercator(place);
        let number = |share: f64| (share * edge).clamp(0.0, edge - 1.0) as u32;
        Self::new(zoom, number(x), number(y))
    }

    /// The zoom.
    #[must_use]
    pub fn zoom(self) -> u32 {
        self.zoom
    }

    /// The column, from the west.
    #[must_use]
    pub fn x(self) -> u32 {
        self.x
    }

    /// The row, from the north.
    #[must_use]
    pub fn y(self) -> u32 {
        self.y
    }

    /// Where a place is drawn: units from the tile's north-west corner eastwards and southwards.
    #[must_use]
    pub fn project(self, place: LatLon) -> [f64; 2] {
        let edge = f64::from(1u32 << self.zoom);
        let [x, y] = mercator(place);
        let unit = f64::from(EXTENT);
        [
            (x * edge - f64::from(self.x)) * unit,
            (y * edge - f64::from(self.y)) * unit,
        ]
    }

    /// The place drawn so many units from the north-west corner.
    #[must_use]
    pub fn place_at(self, [x, y]: [f64; 2]) -> LatLon {
        let (edge, unit) = (f64::from(1u32 << self.zoom), f64::from(EXTENT));
        let (x, y) = (
            (f64::from(self.x) + x / unit) / edge,
            (f64::from(self.y) + y / unit) / edge,
        );
        let north = (std::f64::consts::PI * (1.0 - 2.0 * y)).sinh().atan();
        let degrees =
            |lat: f64, lon: f64| LatLon::new(lat.clamp(-90.0, 90.0), lon.clamp(-180.0, 180.0)).ok();
        degrees(north.to_degrees(), x * 360.0 - 180.0)
            .unwrap_or_else(|| BoundingBox::WORLD.centre())
    }

    /// The box of all that is drawn on it, with its buffer.
    #[must_use]
    pub fn bounds(self) -> BoundingBox {
        let (low, high) = (-f64::from(BUFFER), f64::from(EXTENT + BUFFER));
        let [north_west, south_east] = [self.place_at([low, low]), self.place_at([high, high])];
        let corner = |lat: LatLon, lon: LatLon| LatLon::new(lat.lat(), lon.lon()).unwrap_or(lat);
        BoundingBox {
            south_west: corner(south_east, north_west),
            north_east: corner(north_west, south_east),
        }
    }
}

/// Shares of the whole map from the north-west corner.
fn mercator(place: LatLon) -> [f64; 2] {
    let latitude = place.lat().clamp(-LATITUDE_MAX_DEG, LATITUDE_MAX_DEG);
    let north = latitude.to_radians().tan().asinh() / std::f64::consts::PI;
    [(place.lon() + 180.0) / 360.0, (1.0 - north) / 2.0]
}

/// The zoom from which on a road is drawn.
#[must_use]
pub fn drawn_from_zoom(class: RoadClass) -> u32 {
    match class {
        RoadClass::Motorway | RoadClass::Trunk => 0,
        RoadClass::Primary => 7,
        RoadClass::Secondary => 9,
        RoadClass::Tertiary => 10,
        RoadClass::Unclassified | RoadClass::Residential => 12,
        RoadClass::LivingStreet => 13,
        RoadClass::Service => 14,
    }
}

/// The class as the tile says it.
#[must_use]
pub fn class_name(class: RoadClass) -> &'static str {
    match class {
        RoadClass::Motorway => "motorway",
        RoadClass::Trunk => "trunk",
        RoadClass::Primary => "primary",
        RoadClass::Secondary => "secondary",
        RoadClass::Tertiary => "tertiary",
        RoadClass::Unclassified => "unclassified",
        RoadClass::Residential => "residential",
        RoadClass::LivingStreet => "living_street",
        RoadClass::Service => "service",
    }
}

/// What features are told apart by, in the order they are drawn: small roads first, so that large ones
/// lie on top of them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind<'a> {
    class: std::cmp::Reverse<RoadClass>,
    street: Option<&'a str>,
    oneway: i64,
    segment: Option<SegmentId>,
}

impl RoadNetwork {
    /// The roads on a tile, encoded; empty where there are none. The same bytes for the same map.
    #[must_use]
    pub fn tile(&self, tile: TileId) -> Vec<u8> {
        let square = Square::new(BUFFER, EXTENT);
        let mut features: BTreeMap<Kind<'_>, Vec<Vec<[i32; 2]>>> = BTreeMap::new();
        for segment in self.segments_touching(&tile.bounds()) {
            if tile.zoom < drawn_from_zoom(segment.class()) {
                continue;
            }
            let course: Vec<[f64; 2]> = segment.line().map(|place| tile.project(place)).collect();
            let seen = line::simplify(&course, SIMPLIFIED_BY);
            let pieces = square.clip(&seen);
            if pieces.is_empty() {
                continue;
            }
            let is_alone = tile.zoom >= SEGMENTS_FROM_ZOOM;
            let kind = Kind {
                class: std::cmp::Reverse(segment.class()),
                street: segment.street(),
                oneway: if is_alone { oneway(&segment) } else { 0 },
                segment: is_alone.then_some(segment.id()),
            };
            features.entry(kind).or_default().extend(pieces);
        }
        if features.is_empty() {
            return Vec::new();
        }
        let mut layer = Layer::new(LAYER, EXTENT);
        for (kind, pieces) in features {
            let mut tags = Tags::default();
            tags.add("class", class_name(kind.class.0));
            if let Some(street) = kind.street {
                tags.add("name", street);
            }
            if kind.oneway != 0 {
                tags.add("oneway", kind.oneway);
            }
            layer.add_lines(kind.segment.map(|id| u64::from(id.0)), tags, &pieces);
        }
        layer.into_tile()
    }

    /// The segments with a piece that may lie in a box, in the order of their numbers.
    pub fn segments_touching(&self, area: &BoundingBox) -> impl Iterator<Item = Segment<'_>> {
        let numbers = self.topology.snapper.segments_touching(area);
        numbers
            .into_iter()
            .filter_map(|number| self.segment(SegmentId(number)))
    }
}

/// 1 when it is driven only the way it is drawn, -1 when only against that, 0 when both ways.
fn oneway(segment: &Segment<'_>) -> i64 {
    match (segment.arc(true), segment.arc(false)) {
        (Some(_), None) => 1,
        (None, Some(_)) => -1,
        _ => 0,
    }
}
