//! Maps on disk: a compact file that loads in a fraction of the time an import takes.
//!
//! A map file (`.roads`) is a header and a body, all integers little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | the signature `JTNROADS` |
//! | 4 | version of the format, and of the rules by which maps are imported |
//! | 8 | fingerprint of the file it was imported from, 0 for none |
//! | 8 | length of the body |
//! | 4 | CRC-32 of the fingerprint and the body |
//! | … | the body: see `encoding.rs` |
//!
//! The CRC is against accidents. A body that is wrong and yet passes it is found out when the
//! network is built, which checks every number before using it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::graph::Blueprint;
use crate::network::MapId;
use crate::progress::Told;
use crate::{RoadNetwork, RoadsError, dimacs, encoding, osm};

/// How a map file begins.
pub const SIGNATURE: [u8; 8] = *b"JTNROADS";

/// Version of the format and of the import rules: raised whenever either changes, so that maps made
/// by older rules are imported again.
pub const VERSION: u32 = 4;

const HEADER_BYTES: usize = 32;

impl RoadNetwork {
    /// Loads a map file.
    ///
    /// # Errors
    /// [`RoadsError::Read`], or as [`RoadNetwork::from_bytes`].
    pub fn load(path: &Path) -> Result<Self, RoadsError> {
        let bytes = fs::read(path).map_err(|source| RoadsError::read(path, source))?;
        decode(&path.display().to_string(), &bytes).map(|(network, _)| network)
    }

    /// The map in the bytes of a map file, for one built into a program.
    ///
    /// # Errors
    /// [`RoadsError::NotAMap`], [`RoadsError::OtherVersion`] or [`RoadsError::DamagedMap`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RoadsError> {
        decode("the built-in map", bytes).map(|(network, _)| network)
    }

    /// The bytes of this network's map file. Travel times set since the map was made are kept out.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&self.topology.plan, 0)
    }

    /// Saves this network as a map file: whole or not at all, also when the machine stops half-way.
    /// Travel times set since the map was made are kept out.
    ///
    /// # Errors
    /// [`RoadsError::Write`].
    pub fn save(&self, path: &Path) -> Result<(), RoadsError> {
        write_whole(path, &self.to_bytes())
    }
}

/// A map that was opened, and where it came from.
#[derive(Debug)]
pub struct OpenedMap {
    /// The map.
    pub network: RoadNetwork,
    /// Where it came from.
    pub origin: MapOrigin,
    /// What the operator should know, in whole sentences; empty when all went well.
    pub notes: Vec<String>,
}

/// Where an opened map came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOrigin {
    /// It was a map file.
    MapFile,
    /// It was imported before and found in the cache.
    Cache,
    /// It was imported now.
    Import,
}

/// Imports a map: an OpenStreetMap PBF file, or a graph of the 9th DIMACS challenge, told apart by how
/// they begin. The map is named after the file.
///
/// # Errors
/// As [`osm::import`] and [`crate::dimacs`].
pub fn import(path: &Path) -> Result<RoadNetwork, RoadsError> {
    import_telling(path, &mut |_| {})
}

/// As [`import`], and tells how far it is.
///
/// # Errors
/// As [`import`].
pub fn import_telling(path: &Path, told: Told<'_>) -> Result<RoadNetwork, RoadsError> {
    let bytes = fs::read(path).map_err(|source| RoadsError::read(path, source))?;
    Source::read(path, bytes)?.import(told)
}

/// What a map is made from.
enum Source<'a> {
    Extract(&'a Path, Vec<u8>),
    Graph(dimacs::Files),
}

impl<'a> Source<'a> {
    fn read(path: &'a Path, bytes: Vec<u8>) -> Result<Self, RoadsError> {
        if dimacs::looks_like_graph(&bytes) {
            dimacs::Files::read(path, bytes).map(Self::Graph)
        } else {
            Ok(Self::Extract(path, bytes))
        }
    }

    fn fingerprint(&self) -> u64 {
        match self {
            Self::Extract(_, bytes) => fingerprint(bytes),
            Self::Graph(files) => fingerprint(&files.all_bytes()),
        }
    }

    fn import(&self, told: Told<'_>) -> Result<RoadNetwork, RoadsError> {
        match self {
            Self::Extract(path, bytes) => osm::import_bytes_telling(path, bytes, told),
            Self::Graph(files) => files.import(told),
        }
    }
}

/// Opens a map: one of our map files, or what [`import`] takes, told apart by how they begin. Of the
/// latter the import is kept in `cache_dir` under the fingerprint of its content, so a
/// changed file is imported anew; a cached map that is broken or of another version is replaced. A
/// cache that cannot be used costs time and leaves a note, nothing else.
///
/// # Errors
/// As [`RoadNetwork::load`] for a map file and [`osm::import`] for a PBF file.
pub fn open_map(path: &Path, cache_dir: &Path) -> Result<OpenedMap, RoadsError> {
    open_map_telling(path, cache_dir, &mut |_| {})
}

/// As [`open_map`], and tells how far the import is where there is one.
///
/// # Errors
/// As [`open_map`].
pub fn open_map_telling(
    path: &Path,
    cache_dir: &Path,
    told: Told<'_>,
) -> Result<OpenedMap, RoadsError> {
    let bytes = fs::read(path).map_err(|source| RoadsError::read(path, source))?;
    let mut notes = Vec::new();
    let named_as_ours = path.extension().is_some_and(|ending| ending == "roads");
    if named_as_ours || bytes.starts_with(&SIGNATURE) {
        let (network, _) = decode(&path.display().to_string(), &bytes)?;
        return Ok(OpenedMap {
            network,
            origin: MapOrigin::MapFile,
            notes,
        });
    }
    let extract = Source::read(path, bytes)?;
    let source = extract.fingerprint();
    let cached = cache_path(path, cache_dir, source);
    match load_cached(&cached, source) {
        Ok(network) => {
            return Ok(OpenedMap {
                network,
                origin: MapOrigin::Cache,
                notes,
            });
        }
        Err(RoadsError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => notes.push(format!("The cached map was not used: {error}.")),
    }
    let network = extract.import(told)?;
    let kept = fs::create_dir_all(cache_dir)
        .map_err(|error| RoadsError::write(cache_dir, error))
        .and_then(|()| write_whole(&cached, &encode(&network.topology.plan, source)));
    if let Err(error) = kept {
        notes.push(format!(
            "The map will be imported again next time: {error}."
        ));
    }
    Ok(OpenedMap {
        network,
        origin: MapOrigin::Import,
        notes,
    })
}

fn cache_path(path: &Path, cache_dir: &Path, source: u64) -> PathBuf {
    cache_dir.join(format!("{}-{source:016x}.roads", osm::map_name(path)))
}

fn load_cached(cached: &Path, source: u64) -> Result<RoadNetwork, RoadsError> {
    let bytes = fs::read(cached).map_err(|source| RoadsError::read(cached, source))?;
    let origin = cached.display().to_string();
    let (network, made_from) = decode(&origin, &bytes)?;
    if made_from != source {
        return Err(RoadsError::damaged_map(
            &origin,
            "it was imported from another file",
        ));
    }
    Ok(network)
}

/// Identity of the map with that blueprint.
pub(crate) fn map_id(plan: &Blueprint) -> MapId {
    MapId(fingerprint(&encoding::to_body(plan)))
}

fn encode(plan: &Blueprint, source: u64) -> Vec<u8> {
    let body = encoding::to_body(plan);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend(SIGNATURE);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(source.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(checksum(source, &body).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// The network in a map file's bytes, and the fingerprint of what it was made from.
fn decode(origin: &str, bytes: &[u8]) -> Result<(RoadNetwork, u64), RoadsError> {
    if !bytes.starts_with(&SIGNATURE) {
        return Err(RoadsError::NotAMap {
            origin: origin.to_owned(),
        });
    }
    let mut header = Fields {
        rest: &bytes[SIGNATURE.len()..],
    };
    let too_short = || RoadsError::damaged_map(origin, "it breaks off in its header");
    let found = header.u32().ok_or_else(too_short)?;
    if found != VERSION {
        return Err(RoadsError::OtherVersion {
            origin: origin.to_owned(),
            found,
            expected: VERSION,
        });
    }
    let source = header.u64().ok_or_else(too_short)?;
    let length = header.u64().ok_or_else(too_short)?;
    let expected = header.u32().ok_or_else(too_short)?;
    let body = header.rest;
    if body.len() as u64 != length {
        let reason = format!(
            "it should have {length} bytes after its header and has {}",
            body.len()
        );
        return Err(RoadsError::damaged_map(origin, reason));
    }
    if checksum(source, body) != expected {
        return Err(RoadsError::damaged_map(
            origin,
            "its checksum does not match",
        ));
    }
    let plan = encoding::from_body(body).map_err(|what| RoadsError::damaged_map(origin, what))?;
    let network = RoadNetwork::build(MapId(fingerprint(body)), plan)
        .map_err(|what| RoadsError::damaged_map(origin, what))?;
    Ok((network, source))
}

fn checksum(source: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&source.to_le_bytes());
    crc.update(body);
    crc.finalize()
}

/// FNV-1a, 64 bits: tells contents apart, guards against nobody.
fn fingerprint(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// Writes beside the file and renames, so that readers see the old content or the new.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RoadsError> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let refuse = |error| RoadsError::write(path, error);
    let Some(name) = path.file_name() else {
        return Err(refuse(std::io::Error::other("it does not name a file")));
    };
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut beside = name.to_owned();
    beside.push(format!(".{}-{number}.new", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = write_synced(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        // What is left of it is of no use, and a failure to tidy up would hide the reason.
        let _ = fs::remove_file(&beside);
        return Err(refuse(error));
    }
    sync_folder_of(path).map_err(refuse)
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the rename itself last.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// Reads fields off the front of a slice; `None` where it is too short.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
