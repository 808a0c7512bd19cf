//! Taking a PBF file apart: its car ways, and the nodes they run through.
//!
//! Twice through the file, which keeps memory to the roads: first the ways, then the coordinates of
//! the nodes they name. Nothing in the file is trusted. What the decoder refuses becomes an error
//! that names the file; a file cut off in the middle is noticed even where the decoder takes it for
//! the end; coordinates off the Earth are dropped and counted.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use osmpbf::{BlobDecode, BlobError, BlobReader, Element, ErrorKind, PrimitiveBlock};
use rustc_hash::FxHashMap;

use crate::RoadsError;
use crate::geo::Point;
use crate::progress::{ImportProgress, Phase, Told};

use super::access::blocks_cars;
use super::delay::{Delay, delay};
use super::report::ImportReport;
use super::restriction::{self, Stated};
use super::way::{CarWay, NotForCars, Tags, car_way};

/// What an extract holds for cars.
pub(super) struct Extract {
    pub ways: Vec<NamedWay>,
    pub nodes: WayNodes,
    pub restrictions: Vec<Stated>,
}

/// A car way with the ids of its nodes.
pub(super) struct NamedWay {
    pub id: i64,
    pub way: CarWay,
    pub node_ids: Vec<i64>,
}

/// A node some car way runs through.
#[derive(Clone, Copy, Default)]
pub(super) struct WayNode {
    /// Where it is; `None` until its coordinates were read, and when the file has none.
    pub point: Option<Point>,
    /// How often car ways pass it; a way's ends count twice.
    pub uses: u32,
    /// Whether a barrier on it stops cars.
    pub is_closed: bool,
    pub delay: Delay,
}

pub(super) type WayNodes = FxHashMap<i64, WayNode>;

/// Reads the car ways, their nodes and the turn restrictions, counting into the report.
pub(super) fn car_ways(
    path: &Path,
    bytes: &[u8],
    report: &mut ImportReport,
    told: Told<'_>,
) -> Result<Extract, RoadsError> {
    check_signature(path, bytes)?;
    report.file_bytes = bytes.len() as u64;
    let (mut ways, mut nodes) = (Vec::new(), WayNodes::default());
    let mut restrictions = Vec::new();
    let mut telling = Telling {
        phase: Phase::Roads,
        told,
    };
    each_element(path, bytes, &mut telling, |element| match element {
        Element::Way(way) => {
            report.ways_read += 1;
            read_way(&way, &mut ways, &mut nodes, report);
        }
        Element::Relation(relation) => {
            report.relations_read += 1;
            restrictions.extend(restriction::read(&relation, report));
        }
        Element::Node(_) | Element::DenseNode(_) => report.nodes_read += 1,
    })?;
    if ways.is_empty() {
        let reason = format!(
            "it has {} nodes and {} ways, none of them a road open to cars",
            report.nodes_read, report.ways_read
        );
        return Err(RoadsError::NoRoads {
            origin: path.display().to_string(),
            reason,
        });
    }
    let mut locate = |id: i64, lat_nano: i64, lon_nano: i64, tags: Tags<'_>| {
        let Some(node) = nodes.get_mut(&id) else {
            return;
        };
        node.point = Point::checked(lat_nano / 100, lon_nano / 100);
        report.impossible_nodes += u64::from(node.point.is_none());
        node.is_closed = blocks_cars(&tags);
        node.delay = delay(&tags);
    };
    telling.phase = Phase::Places;
    each_element(path, bytes, &mut telling, |element| match element {
        Element::Node(node) => {
            locate(
                node.id(),
                node.nano_lat(),
                node.nano_lon(),
                node.tags().collect(),
            );
        }
        Element::DenseNode(node) => {
            locate(
                node.id(),
                node.nano_lat(),
                node.nano_lon(),
                node.tags().collect(),
            );
        }
        Element::Way(_) | Element::Relation(_) => {}
    })?;
    Ok(Extract {
        ways,
        nodes,
        restrictions,
    })
}

fn read_way(
    way: &osmpbf::Way<'_>,
    ways: &mut Vec<NamedWay>,
    nodes: &mut WayNodes,
    report: &mut ImportReport,
) {
    let read = match car_way(&way.tags().collect()) {
        Ok(read) => read,
        Err(reason) => {
            match reason {
                NotForCars::NotARoad => {}
                NotForCars::Ferry => report.ferries += 1,
                NotForCars::OtherHighway => report.other_highways += 1,
                NotForCars::Area => report.areas += 1,
                NotForCars::NoAccess => report.no_access += 1,
                NotForCars::Reversible => report.reversible += 1,
            }
            return;
        }
    };
    report.car_ways += 1;
    report.car_ways_with_limit += u64::from(read.has_limit);
    report.destination_only += u64::from(read.destination_only);
    let mut node_ids: Vec<i64> = way.refs().collect();
    node_ids.dedup();
    for &id in &node_ids {
        let node = nodes.entry(id).or_default();
        node.uses = node.uses.saturating_add(1);
    }
    for end in [node_ids.first(), node_ids.last()].into_iter().flatten() {
        if let Some(node) = nodes.get_mut(end) {
            node.uses = node.uses.saturating_add(1);
        }
    }
    ways.push(NamedWay {
        id: way.id(),
        way: read,
        node_ids,
    });
}

/// Calls `visit` with every element of the file, in order.
fn each_element(
    path: &Path,
    bytes: &[u8],
    telling: &mut Telling<'_>,
    mut visit: impl FnMut(Element<'_>),
) -> Result<(), RoadsError> {
    let mut source = Source {
        rest: bytes,
        whole: bytes.len(),
        telling,
        ended_early: false,
    };
    let mut blocks_read = 0_u64;
    let mut blobs = BlobReader::new(&mut source);
    for number in 1_u64.. {
        let Some(blob) = blobs.next() else { break };
        let blob = blob.map_err(|error| refusal(path, number, &error))?;
        match blob
            .decode()
            .map_err(|error| refusal(path, number, &error))?
        {
            BlobDecode::OsmData(block) => {
                visit_block(&block, &mut visit).map_err(|reason| RoadsError::DamagedPbf {
                    path: path.to_owned(),
                    reason: format!("{reason} in block {number}"),
                })?;
                blocks_read += 1;
            }
            BlobDecode::OsmHeader(_) | BlobDecode::Unknown(_) => {}
        }
    }
    if source.ended_early {
        let reason = format!("it breaks off after {} bytes", bytes.len());
        return Err(RoadsError::DamagedPbf {
            path: path.to_owned(),
            reason,
        });
    }
    if blocks_read == 0 {
        let reason = "it holds no block of map data".to_owned();
        return Err(RoadsError::NotPbf {
            path: path.to_owned(),
            reason,
        });
    }
    Ok(())
}

/// Visits one block. Its numbers are sums of differences that the decoder adds without looking:
/// where they overflow it wraps round, which the range check on coordinates catches, or, in builds
/// that check arithmetic, panics, which is caught here.
fn visit_block(block: &PrimitiveBlock, visit: &mut impl FnMut(Element<'_>)) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| block.for_each_element(visit)))
        .map_err(|_| "numbers that make no sense".to_owned())
}

fn refusal(path: &Path, block: u64, error: &osmpbf::Error) -> RoadsError {
    let path = path.to_owned();
    let reason = match error.kind() {
        ErrorKind::Blob(BlobError::Empty) => {
            format!("block {block} is compressed in a way other than zlib")
        }
        _ => format!("block {block}: {error}"),
    };
    if block == 1 {
        RoadsError::NotPbf { path, reason }
    } else {
        RoadsError::DamagedPbf { path, reason }
    }
}

/// Tells the commonest things that are not PBF by how they begin. A PBF file begins with the length
/// of its first block header, which is short, so its first two bytes are zero.
fn check_signature(path: &Path, bytes: &[u8]) -> Result<(), RoadsError> {
    let looks_like = match bytes {
        [] => "it is empty",
        [b'<', ..] => "it looks like XML or a web page",
        [b'{' | b'[', ..] => "it looks like JSON",
        [0x1f, 0x8b, ..] => "it is gzip-compressed",
        [b'B', b'Z', b'h', ..] => "it is bzip2-compressed",
        [b'P', b'K', 3, 4, ..] => "it is a zip archive",
        [0, 0, ..] => return Ok(()),
        _ => "it does not begin with a block header",
    };
    Err(RoadsError::NotPbf {
        path: path.to_owned(),
        reason: looks_like.to_owned(),
    })
}

/// The file's bytes, noticing when they end in the middle of what a reader wanted.
struct Source<'a, 'told> {
    rest: &'a [u8],
    whole: usize,
    telling: &'a mut Telling<'told>,
    ended_early: bool,
}

/// Tells how much of the file was read in a phase.
struct Telling<'told> {
    phase: Phase,
    told: Told<'told>,
}

impl Read for Source<'_, '_> {
    fn read(&mut self, wanted: &mut [u8]) -> std::io::Result<usize> {
        // A reader never asks for more than its block has left, so getting less, but something,
        // means that the block is not all there.
        self.ended_early |= !self.rest.is_empty() && self.rest.len() < wanted.len();
        let read = self.rest.read(wanted);
        (self.telling.told)(ImportProgress {
            phase: self.telling.phase,
            done: (self.whole - self.rest.len()) as u64,
            of: self.whole as u64,
        });
        read
    }
}
