//! The bytes of a Mapbox Vector Tile, version 2: a Protobuf message of layers, features and the keys and
//! values these share. Only lines are written here.

use std::collections::HashMap;
use std::hash::Hash;

use prost::Message;

/// A tile.
#[derive(Clone, PartialEq, Message)]
pub struct Tile {
    /// Its layers.
    #[prost(message, repeated, tag = "3")]
    pub layers: Vec<TileLayer>,
}

/// A layer of a tile.
#[derive(Clone, PartialEq, Message)]
pub struct TileLayer {
    /// Its version: 2.
    #[prost(uint32, required, tag = "15")]
    pub version: u32,
    /// Its name.
    #[prost(string, required, tag = "1")]
    pub name: String,
    /// What is drawn.
    #[prost(message, repeated, tag = "2")]
    pub features: Vec<TileFeature>,
    /// Keys of tags.
    #[prost(string, repeated, tag = "3")]
    pub keys: Vec<String>,
    /// Values of tags.
    #[prost(message, repeated, tag = "4")]
    pub values: Vec<TileValue>,
    /// Units along an edge.
    #[prost(uint32, optional, tag = "5")]
    pub extent: Option<u32>,
}

/// One thing that is drawn.
#[derive(Clone, PartialEq, Message)]
pub struct TileFeature {
    /// Its number.
    #[prost(uint64, optional, tag = "1")]
    pub id: Option<u64>,
    /// Its tags: the place of a key, the place of its value, and so on.
    #[prost(uint32, repeated, tag = "2")]
    pub tags: Vec<u32>,
    /// What it is: 2 for lines.
    #[prost(uint32, optional, tag = "3")]
    pub kind: Option<u32>,
    /// Commands that draw it.
    #[prost(uint32, repeated, tag = "4")]
    pub geometry: Vec<u32>,
}

/// A value of a tag; one field is set.
#[derive(Clone, PartialEq, Message)]
pub struct TileValue {
    /// A text.
    #[prost(string, optional, tag = "1")]
    pub text: Option<String>,
    /// A number.
    #[prost(sint64, optional, tag = "6")]
    pub number: Option<i64>,
}

const LINES: u32 = 2;
const MOVE_TO: u32 = 1;
const LINE_TO: u32 = 2;

/// What a tag says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TagValue {
    Text(String),
    Number(i64),
}

impl From<&str> for TagValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for TagValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// The tags of a feature.
#[derive(Default)]
pub(super) struct Tags(Vec<(&'static str, TagValue)>);

impl Tags {
    pub fn add(&mut self, key: &'static str, value: impl Into<TagValue>) {
        self.0.push((key, value.into()));
    }
}

/// Things that are written once and named by their place.
struct Pool<T>(HashMap<T, u32>);

impl<T: Eq + Hash + Clone> Pool<T> {
    fn place(&mut self, thing: &T, write: impl FnOnce()) -> u32 {
        if let Some(place) = self.0.get(thing) {
            return *place;
        }
        let place = self.0.len() as u32;
        self.0.insert(thing.clone(), place);
        write();
        place
    }
}

/// A layer that is being written.
pub(super) struct Layer {
    layer: TileLayer,
    keys: Pool<&'static str>,
    values: Pool<TagValue>,
}

impl Layer {
    pub fn new(name: &str, extent: u32) -> Self {
        Self {
            layer: TileLayer {
                version: 2,
                name: name.to_owned(),
                extent: Some(extent),
                ..Default::default()
            },
            keys: Pool(HashMap::new()),
            values: Pool(HashMap::new()),
        }
    }

    pub fn add_lines(&mut self, id: Option<u64>, tags: Tags, lines: &[Vec<[i32; 2]>]) {
        let Layer {
            layer,
            keys,
            values,
        } = self;
        let mut places = Vec::with_capacity(tags.0.len() * 2);
        for (key, value) in tags.0 {
            places.push(keys.place(&key, || layer.keys.push(key.to_owned())));
            let written = || {
                layer.values.push(match &value {
                    TagValue::Text(text) => TileValue {
                        text: Some(text.clone()),
                        ..Default::default()
                    },
                    TagValue::Number(number) => TileValue {
                        number: Some(*number),
                        ..Default::default()
                    },
                });
            };
            places.push(values.place(&value, written));
        }
        layer.features.push(TileFeature {
            id,
            tags: places,
            kind: Some(LINES),
            geometry: draw(lines),
        });
    }

    pub fn into_tile(self) -> Vec<u8> {
        let tile = Tile {
            layers: vec![self.layer],
        };
        tile.encode_to_vec()
    }
}

/// The commands that draw some lines, each of two points or more.
fn draw(lines: &[Vec<[i32; 2]>]) -> Vec<u32> {
    let points = lines.iter().map(Vec::len).sum::<usize>();
    let mut commands = Vec::with_capacity(points * 2 + lines.len() * 2);
    let mut pen = [0, 0];
    let mut step = |commands: &mut Vec<u32>, to: &[i32; 2]| {
        commands.extend([zigzag(to[0] - pen[0]), zigzag(to[1] - pen[1])]);
        pen = *to;
    };
    for line in lines {
        let Some((first, rest)) = line.split_first() else {
            continue;
        };
        commands.push(MOVE_TO | 1 << 3);
        step(&mut commands, first);
        commands.push(LINE_TO | (rest.len() as u32) << 3);
        for point in rest {
            step(&mut commands, point);
        }
    }
    commands
}

fn zigzag(number: i32) -> u32 {
    ((number << 1) ^ (number >> 31)).cast_unsigned()
}

/// The lines that a feature's commands draw, in units; `None` where they are no lines.
#[must_use]
pub fn lines_of(geometry: &[u32]) -> Option<Vec<Vec<[i32; 2]>>> {
    let unzigzag = |number: u32| (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
    let mut lines: Vec<Vec<[i32; 2]>> = Vec::new();
    let (mut pen, mut left) = ([0_i32, 0], geometry.iter().copied());
    while let Some(command) = left.next() {
        for _ in 0..command >> 3 {
            for axis in &mut pen {
                *axis = axis.checked_add(unzigzag(left.next()?))?;
            }
            match command & 7 {
                MOVE_TO => lines.push(vec![pen]),
                LINE_TO => lines.last_mut()?.push(pen),
                _ => return None,
            }
        }
    }
    Some(lines)
}
