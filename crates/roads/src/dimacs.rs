//! Importing the graphs of the 9th DIMACS challenge, which road routing is measured on.
//!
//! A graph is three text files, each as it is or gzip-compressed: the arcs with their travel times
//! (`USA-road-t.NY.gr`), the same arcs with their lengths (`USA-road-d.NY.gr`) and the places of the
//! nodes (`USA-road-d.NY.co`). The first or the second is named, the others are found beside it. Times
//! are in units of 3.6 ms: that makes the four road classes 100, 80, 60 and 40 km/h. Lengths are in
//! units of 0.1 m.
//!
//! Arcs of one length between the same two nodes are one road, driven there and back; of arcs that say
//! the same twice the fastest counts. Turns are free, streets have no names, and every road is a
//! straight line. Where a road would be shorter than that line it is lengthened to it, so that no drive
//! beats the straight line at the top speed; times are kept as they are. Nearly all roads of the
//! challenge are, by a thousandth or less: they were measured on a slightly smaller Earth.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rustc_hash::FxHashMap;

use crate::draft::{Draft, Measured};
use crate::geo::{LatLon, Point};
use crate::graph::NodeId;
use crate::osm::ImportReport;
use crate::progress::{ImportProgress, Phase, Told};
use crate::{RoadNetwork, RoadsError};

/// Whom to credit.
pub const ATTRIBUTION: &str = "Road graph of the 9th DIMACS Implementation Challenge, \
                               made from TIGER/Line of the US Census Bureau";

/// Milliseconds of ten units of time.
const TEN_TIME_UNITS_MS: u64 = 36;
/// Millimetres of a unit of length.
const LENGTH_UNIT_MM: u64 = 100;

/// The files of a graph.
#[derive(Debug)]
pub(crate) struct Files {
    times: Option<TextFile>,
    lengths: Option<TextFile>,
    places: TextFile,
    named: PathBuf,
}

#[derive(Debug)]
struct TextFile {
    path: PathBuf,
    /// As on disk, perhaps compressed.
    bytes: Vec<u8>,
}

/// Whether bytes begin like a DIMACS graph, compressed or not.
pub(crate) fn looks_like_graph(bytes: &[u8]) -> bool {
    let mut begin = [0; 2];
    let read = match bytes {
        [0x1f, 0x8b, ..] => GzDecoder::new(bytes).read_exact(&mut begin),
        mut plain => plain.read_exact(&mut begin),
    };
    read.is_ok() && matches!(&begin, b"c " | b"p " | b"c\n")
}

impl Files {
    /// Reads a graph's files, given one of the two with arcs.
    pub fn read(named: &Path, bytes: Vec<u8>) -> Result<Self, RoadsError> {
        let name = named
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let plain = name.strip_suffix(".gz").unwrap_or(name);
        let Some(stem) = plain.strip_suffix(".gr") else {
            let reason = "a graph's file is named …-road-t.NAME.gr or …-road-d.NAME.gr".to_owned();
            return Err(damaged(named, 0, &reason));
        };
        let (with_times, with_lengths) = (
            stem.replace("-road-d.", "-road-t."),
            stem.replace("-road-t.", "-road-d."),
        );
        let beside = |name: &str| -> Result<Option<TextFile>, RoadsError> {
            for name in [name.to_owned(), format!("{name}.gz")] {
                let path = named.with_file_name(name);
                match fs::read(&path) {
                    Ok(bytes) => return Ok(Some(TextFile { path, bytes })),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(RoadsError::read(&path, error)),
                }
            }
            Ok(None)
        };
        let own = TextFile {
            path: named.to_owned(),
            bytes,
        };
        let is_lengths = stem == with_lengths && stem != with_times;
        let (times, lengths) = if is_lengths {
            (beside(&format!("{with_times}.gr"))?, Some(own))
        } else {
            let lengths = (with_times != with_lengths).then(|| format!("{with_lengths}.gr"));
            (Some(own), lengths.map_or(Ok(None), |name| beside(&name))?)
        };
        let places = match beside(&format!("{with_lengths}.co"))? {
            Some(places) => places,
            None => beside(&format!("{stem}.co"))?.ok_or_else(|| {
                let reason = format!("its places are missing: put {with_lengths}.co beside it");
                damaged(named, 0, &reason)
            })?,
        };
        Ok(Self {
            times,
            lengths,
            places,
            named: named.to_owned(),
        })
    }

    /// All bytes, for telling whether any file has changed.
    pub fn all_bytes(&self) -> Vec<u8> {
        let files = [
            self.times.as_ref(),
            self.lengths.as_ref(),
            Some(&self.places),
        ];
        let mut all = Vec::new();
        files
            .into_iter()
            .flatten()
            .for_each(|file| all.extend(&file.bytes));
        all
    }

    /// Builds the network.
    pub fn import(&self, told: Told<'_>) -> Result<RoadNetwork, RoadsError> {
        told(ImportProgress::begins(Phase::Places));
        let places = read_places(&self.places)?;
        told(ImportProgress::begins(Phase::Roads));
        let read = |file: &Option<TextFile>| -> Result<Option<Vec<Arc>>, RoadsError> {
            let arcs = file.as_ref().map(|file| read_arcs(file, places.len()));
            arcs.transpose()
        };
        let (times, lengths) = (read(&self.times)?, read(&self.lengths)?);
        told(ImportProgress::begins(Phase::Joining));
        let path = self.times.as_ref().or(self.lengths.as_ref());
        let path = path.map_or(&self.named, |file| &file.path);
        let (times, lengths) = (times.as_deref(), lengths.as_deref());
        if let (Some(times), Some(lengths)) = (times, lengths)
            && let Some(line) = first_unlike(times, lengths)
        {
            let reason = "its arcs with times are not those with lengths";
            return Err(damaged(path, line, reason));
        }
        let arcs = times.or(lengths).unwrap_or_default();
        let mut report = ImportReport {
            file_bytes: self.all_bytes().len() as u64,
            nodes_read: places.len() as u64,
            ways_read: arcs.len() as u64,
            ..ImportReport::default()
        };
        let mut draft = Draft::new(&self.name());
        draft.set_attribution(ATTRIBUTION);
        for &place in &places {
            draft.add_point(place);
        }
        for road in roads(arcs, lengths) {
            let [from, to] = [road.from, road.to].map(|node| LatLon::from(places[node as usize]));
            let straight_mm = ((from.distance_m(to) * 1000.0).ceil() as u64).max(1);
            let measured_mm = u64::from(road.length.unwrap_or(0)) * LENGTH_UNIT_MM;
            report.lengthened_roads += u64::from(measured_mm < straight_mm);
            let length_mm = measured_mm.max(straight_mm);
            let time_ms = |arc: &Arc| match times {
                Some(_) => (u64::from(arc.weight) * TEN_TIME_UNITS_MS)
                    .div_ceil(10)
                    .max(1),
                // Only lengths: everybody drives 40 km/h, the commonest class.
                None => (length_mm * 9).div_ceil(100),
            };
            let [forward_ms, backward_ms] = road.arcs.map(|arc| arc.map_or(0, time_ms));
            let measured = Measured {
                length_mm,
                forward_ms,
                backward_ms,
            };
            let added = draft.add_measured(NodeId(road.from), NodeId(road.to), measured);
            added.map_err(|error| match error {
                RoadsError::TooLarge { what } => {
                    let ends = format!("from node {} to node {}", road.from + 1, road.to + 1);
                    damaged(path, road.line, &format!("{what}, {ends}"))
                }
                other => other,
            })?;
        }
        draft.freeze_with(report, told)
    }

    fn name(&self) -> String {
        let name = self
            .named
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("graph");
        let name = name.strip_suffix(".gz").unwrap_or(name);
        name.strip_suffix(".gr").unwrap_or(name).to_owned()
    }
}

/// An arc with its time or length, in the file's units. Nodes are numbered from 0.
struct Arc {
    from: u32,
    to: u32,
    weight: u32,
    /// Where in its file it stands.
    line: usize,
}

/// The line of the first arc with a time that is not the arc with a length, if there is one.
fn first_unlike(times: &[Arc], lengths: &[Arc]) -> Option<usize> {
    let ends = |arc: &Arc| (arc.from, arc.to);
    let mut pairs = times.iter().zip(lengths);
    match pairs.find(|(time, length)| ends(time) != ends(length)) {
        Some((time, _)) => Some(time.line),
        // One has more arcs than the other: that is the whole file's fault.
        None => (times.len() != lengths.len()).then_some(0),
    }
}

/// What the arcs of one length between two nodes become.
struct GraphRoad<'a> {
    from: u32,
    to: u32,
    /// In the file's units, when there are lengths.
    length: Option<u32>,
    /// The fastest arc there, and the fastest back.
    arcs: [Option<&'a Arc>; 2],
    /// Where it first stands in its file.
    line: usize,
}

fn roads<'a>(arcs: &'a [Arc], lengths: Option<&[Arc]>) -> Vec<GraphRoad<'a>> {
    let mut known = FxHashMap::default();
    let mut roads: Vec<GraphRoad<'a>> = Vec::with_capacity(arcs.len() / 2 + 1);
    for (number, arc) in arcs.iter().enumerate() {
        if arc.from == arc.to {
            continue; // goes nowhere
        }
        let length = lengths.map(|lengths| lengths[number].weight);
        let ends = (arc.from.min(arc.to), arc.from.max(arc.to));
        let road = *known.entry((ends, length)).or_insert(roads.len());
        if road == roads.len() {
            roads.push(GraphRoad {
                from: arc.from,
                to: arc.to,
                length,
                arcs: [None; 2],
                line: arc.line,
            });
        }
        let road = &mut roads[road];
        let fastest = &mut road.arcs[usize::from(arc.from != road.from)];
        if fastest.is_none_or(|fastest| arc.weight < fastest.weight) {
            *fastest = Some(arc);
        }
    }
    roads
}

/// The lines of a file with their numbers, comments left out, each as its words.
fn each_line(
    file: &TextFile,
    mut visit: impl FnMut(usize, &[&str]) -> Result<(), String>,
) -> Result<(), RoadsError> {
    let mut text = String::new();
    let read = match &file.bytes[..] {
        packed @ [0x1f, 0x8b, ..] => GzDecoder::new(packed).read_to_string(&mut text),
        mut plain => plain.read_to_string(&mut text),
    };
    read.map_err(|error| damaged(&file.path, 0, &format!("it cannot be read ({error})")))?;
    let mut words = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        words.clear();
        words.extend(line.split_ascii_whitespace());
        if !matches!(words.first(), None | Some(&"c")) {
            visit(number, &words).map_err(|reason| damaged(&file.path, number, &reason))?;
        }
    }
    Ok(())
}

fn read_arcs(file: &TextFile, nodes: usize) -> Result<Vec<Arc>, RoadsError> {
    let (mut arcs, mut stated) = (Vec::new(), None);
    each_line(file, |line, words| match words {
        ["p", "sp", stated_nodes, stated_arcs] => {
            if number(stated_nodes)? as usize != nodes {
                return Err(format!(
                    "it has {stated_nodes} nodes, the file of places {nodes}"
                ));
            }
            stated = Some(number(stated_arcs)? as usize);
            Ok(())
        }
        ["a", from, to, weight] => {
            let node = |word: &str| match number(word)? {
                node if (1..=nodes).contains(&(node as usize)) => Ok(node - 1),
                _ => Err(format!("there is no node {word}")),
            };
            arcs.push(Arc {
                from: node(from)?,
                to: node(to)?,
                weight: number(weight)?,
                line,
            });
            Ok(())
        }
        _ => Err("it is neither a problem line nor an arc".to_owned()),
    })?;
    check_count(file, "arcs", arcs.len(), stated)?;
    Ok(arcs)
}

fn read_places(file: &TextFile) -> Result<Vec<Point>, RoadsError> {
    let (mut places, mut stated) = (Vec::new(), None);
    each_line(file, |_, words| match words {
        ["p", "aux", "sp", "co", count] => {
            stated = Some(number(count)? as usize);
            Ok(())
        }
        ["v", node, lon_e6, lat_e6] => {
            if number(node)? as usize != places.len() + 1 {
                return Err(format!("node {node} is out of order"));
            }
            let e7 = |word: &str| match word.parse::<i64>() {
                Ok(e6) => Ok(e6.saturating_mul(10)),
                Err(_) => Err(format!(
                    "{word:?} is not a coordinate in millionths of a degree"
                )),
            };
            let place = Point::checked(e7(lat_e6)?, e7(lon_e6)?);
            places.push(place.ok_or_else(|| "the place is not on Earth".to_owned())?);
            Ok(())
        }
        _ => Err("it is neither a problem line nor a place".to_owned()),
    })?;
    check_count(file, "places", places.len(), stated)?;
    Ok(places)
}

fn number(word: &str) -> Result<u32, String> {
    word.parse()
        .map_err(|_| format!("{word:?} is not a whole number"))
}

fn check_count(
    file: &TextFile,
    what: &str,
    found: usize,
    stated: Option<usize>,
) -> Result<(), RoadsError> {
    match stated {
        Some(stated) if stated == found => Ok(()),
        Some(stated) => {
            let reason = format!("it should have {stated} {what} and has {found}");
            Err(damaged(&file.path, 0, &reason))
        }
        None => Err(damaged(&file.path, 0, "it has no problem line")),
    }
}

fn damaged(path: &Path, line: usize, reason: &str) -> RoadsError {
    let reason = match line {
        0 => reason.to_owned(),
        line => format!("line {line}: {reason}"),
    };
    RoadsError::DamagedGraph {
        path: path.to_owned(),
        reason,
    }
}
