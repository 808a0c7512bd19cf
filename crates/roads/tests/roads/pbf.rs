//! Writes small OpenStreetMap PBF files, so that importing can be tested on towns of a few streets.
//!
//! Knows the little of Protobuf that takes: numbers, strings and messages in messages.

/// Tags of an element.
pub type Tags<'a> = &'a [(&'a str, &'a str)];

/// Members of a relation: role, kind, id.
pub type Members<'a> = &'a [(&'a str, Member, i64)];

/// What a relation's member is, numbered as in the format.
#[derive(Clone, Copy)]
pub enum Member {
    /// A node.
    Node = 0,
    /// A way.
    Way = 1,
}

/// The content of an extract. Ways are numbered from 1 in order; all relations have id 1, nothing looks
/// at it.
#[derive(Default)]
pub struct Extract<'a> {
    /// Id, latitude, longitude, tags.
    pub nodes: Vec<(i64, f64, f64, Tags<'a>)>,
    /// Ids of its nodes, tags.
    pub ways: Vec<(Vec<i64>, Tags<'a>)>,
    /// Members, tags.
    pub relations: Vec<(Members<'a>, Tags<'a>)>,
}

/// How nodes are written.
#[derive(Clone, Copy, PartialEq)]
pub enum Nodes {
    /// One message each.
    Plain,
    /// All in one, as differences.
    Dense,
}

impl Extract<'_> {
    /// The file, with a block of nodes, one of ways and one of relations, and no header block.
    pub fn bytes(&self, nodes: Nodes) -> Vec<u8> {
        let mut blocks = vec![match nodes {
            Nodes::Plain => self.plain_nodes(),
            Nodes::Dense => self.dense_nodes(),
        }];
        blocks.push(block(|strings| {
            let numbered = (1..).zip(&self.ways);
            numbered
                .flat_map(|(id, (refs, tags))| message(3, &way(id, refs, tags, strings)))
                .collect()
        }));
        blocks.push(block(|strings| {
            self.relations
                .iter()
                .flat_map(|(members, tags)| message(4, &relation(members, tags, strings)))
                .collect()
        }));
        blocks
            .iter()
            .flat_map(|block| blob("OSMData", block))
            .collect()
    }

    fn plain_nodes(&self) -> Vec<u8> {
        block(|strings| {
            let node = |&(id, lat, lon, tags): &(i64, f64, f64, Tags<'_>)| {
                let mut node = number(1, zigzag(id));
                node.extend(keys_and_values(tags, strings));
                node.extend(number(8, zigzag(e7(lat))));
                node.extend(number(9, zigzag(e7(lon))));
                message(1, &node)
            };
            self.nodes.iter().flat_map(node).collect()
        })
    }

    fn dense_nodes(&self) -> Vec<u8> {
        block(|strings| {
            let tags = self.nodes.iter().flat_map(|(_, _, _, tags)| {
                let pairs = tags
                    .iter()
                    .flat_map(|(key, value)| [strings.number(key), strings.number(value)]);
                pairs.chain([0]).collect::<Vec<u64>>()
            });
            let tags = packed(10, tags.collect::<Vec<_>>());
            let mut dense = packed(1, differences(self.nodes.iter().map(|node| node.0)));
            dense.extend(packed(
                8,
                differences(self.nodes.iter().map(|node| e7(node.1))),
            ));
            dense.extend(packed(
                9,
                differences(self.nodes.iter().map(|node| e7(node.2))),
            ));
            dense.extend(tags);
            message(2, &dense)
        })
    }
}

/// A file block of that type around its content.
pub fn blob(kind: &str, content: &[u8]) -> Vec<u8> {
    let blob = message(1, content);
    let header = [message(1, kind.as_bytes()), number(3, blob.len() as u64)].concat();
    [
        &(header.len() as u32).to_be_bytes(),
        header.as_slice(),
        &blob,
    ]
    .concat()
}

#[derive(Default)]
struct Strings {
    table: Vec<String>,
}

impl Strings {
    /// The number of a string; 0 is kept for none.
    fn number(&mut self, string: &str) -> u64 {
        let known = self.table.iter().position(|known| known == string);
        known.unwrap_or_else(|| {
            self.table.push(string.to_owned());
            self.table.len() - 1
        }) as u64
            + 1
    }
}

/// A block with one group, whose strings are collected while it is written.
fn block(write_group: impl FnOnce(&mut Strings) -> Vec<u8>) -> Vec<u8> {
    let mut strings = Strings::default();
    let group = write_group(&mut strings);
    let mut table = message(1, b"");
    table.extend(
        strings
            .table
            .iter()
            .flat_map(|string| message(1, string.as_bytes())),
    );
    [message(1, &table), message(2, &group)].concat()
}

fn relation(members: Members<'_>, tags: Tags<'_>, strings: &mut Strings) -> Vec<u8> {
    let mut relation = number(1, 1);
    relation.extend(keys_and_values(tags, strings));
    let roles = members.iter().map(|(role, ..)| strings.number(role));
    relation.extend(packed(8, roles.collect()));
    relation.extend(packed(
        9,
        differences(members.iter().map(|member| member.2)),
    ));
    relation.extend(packed(
        10,
        members.iter().map(|member| member.1 as u64).collect(),
    ));
    relation
}

fn way(id: u64, refs: &[i64], tags: Tags<'_>, strings: &mut Strings) -> Vec<u8> {
    let mut way = number(1, id);
    way.extend(keys_and_values(tags, strings));
    way.extend(packed(8, differences(refs.iter().copied())));
    way
}

fn keys_and_values(tags: Tags<'_>, strings: &mut Strings) -> Vec<u8> {
    let keys: Vec<u64> = tags.iter().map(|(key, _)| strings.number(key)).collect();
    let values: Vec<u64> = tags
        .iter()
        .map(|(_, value)| strings.number(value))
        .collect();
    [packed(2, keys), packed(3, values)].concat()
}

fn differences(numbers: impl Iterator<Item = i64>) -> Vec<u64> {
    let step = |last: &mut i64, number: i64| Some(zigzag(number - std::mem::replace(last, number)));
    numbers.scan(0, step).collect()
}

fn e7(degrees: f64) -> i64 {
    (degrees * 1e7).round() as i64
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn number(field: u64, number: u64) -> Vec<u8> {
    [varint(field << 3), varint(number)].concat()
}

fn message(field: u64, content: &[u8]) -> Vec<u8> {
    [
        varint(field << 3 | 2),
        varint(content.len() as u64),
        content.to_vec(),
    ]
    .concat()
}

fn packed(field: u64, numbers: Vec<u64>) -> Vec<u8> {
    message(
        field,
        &numbers.into_iter().flat_map(varint).collect::<Vec<u8>>(),
    )
}
