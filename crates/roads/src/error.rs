//! What can go wrong with maps and coordinates, in words an operator can act on.

use std::path::{Path, PathBuf};

use crate::geo::MAX_LATITUDE_DEG;

/// Everything this crate refuses. The text of each names the file or the value and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RoadsError {
    /// A coordinate that is not on Earth, or is not a number at all.
    #[error(
        "latitude {lat}, longitude {lon} is not a place: latitude must lie within \
         ±{MAX_LATITUDE_DEG} and longitude within ±180 degrees"
    )]
    NotAPlace {
        /// The latitude that was given, in degrees.
        lat: f64,
        /// The longitude that was given, in degrees.
        lon: f64,
    },

    /// There is no such map tile.
    #[error(
        "{zoom}/{x}/{y} is no tile: zooms go from 0 to {}, columns and rows from 0 to 2^zoom - 1",
        crate::tile::ZOOM_MAX
    )]
    NotATile {
        /// The zoom that was given.
        zoom: u32,
        /// The column.
        x: u32,
        /// The row.
        y: u32,
    },

    /// No road close enough to the point.
    #[error(
        "no road within {max_m:.0} m: the nearest road of the map `{map}` is {nearest_m:.0} m away"
    )]
    OutsideMap {
        /// Distance to the nearest road, in metres.
        nearest_m: f64,
        /// The largest distance that was allowed, in metres.
        max_m: f64,
        /// Name of the map that was searched.
        map: String,
    },

    /// The largest allowed snapping distance is negative or not a number.
    #[error("{max_m} is not a distance to search for roads within: give metres, zero or more")]
    NotADistance {
        /// What was given.
        max_m: f64,
    },

    /// The file could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why the system refused.
        source: std::io::Error,
    },

    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why the system refused.
        source: std::io::Error,
    },

    /// The file does not begin the way an OpenStreetMap PBF file does.
    #[error(
        "{} is not an OpenStreetMap PBF file ({reason}); give a file ending in .osm.pbf, \
         for instance an extract of your city",
        path.display()
    )]
    NotPbf {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        reason: String,
    },

    /// The file began well and then went wrong.
    #[error(
        "{} is damaged: {reason}; copy or download it again",
        path.display()
    )]
    DamagedPbf {
        /// The file.
        path: PathBuf,
        /// What was found, and where.
        reason: String,
    },

    /// A file of a DIMACS graph that is not as it should be.
    #[error("{} is not a usable DIMACS graph: {reason}", path.display())]
    DamagedGraph {
        /// The file.
        path: PathBuf,
        /// What was found, and where.
        reason: String,
    },

    /// The map holds nothing a car could drive on.
    #[error(
        "{origin} holds no road network for cars ({reason}); take an extract that includes \
         highways with their nodes"
    )]
    NoRoads {
        /// The file, or the name of the draft.
        origin: String,
        /// What was found instead.
        reason: String,
    },

    /// The file is not one of ours.
    #[error(
        "{origin} is not a Jitney map; make one with `jitney map import <city>.osm.pbf --output \
         <city>.roads`"
    )]
    NotAMap {
        /// The file, or a description of the bytes.
        origin: String,
    },

    /// The map was written by another version of this program.
    #[error(
        "{origin} is a Jitney map of version {found}, this program reads version {expected}; \
         import it again from its .osm.pbf"
    )]
    OtherVersion {
        /// The file, or a description of the bytes.
        origin: String,
        /// The version that was found.
        found: u32,
        /// The version this program writes.
        expected: u32,
    },

    /// The map is ours but broken.
    #[error("{origin} is a damaged Jitney map: {reason}; import it again from its .osm.pbf")]
    DamagedMap {
        /// The file, or a description of the bytes.
        origin: String,
        /// What was found.
        reason: String,
    },

    /// The network is larger than 32-bit ids can number.
    #[error("the road network is too large: {what}; cut the extract into smaller regions")]
    TooLarge {
        /// Which number ran out.
        what: String,
    },

    /// New arc times that do not fit the network.
    #[error("arc times do not fit the network: {reason}")]
    ArcTimes {
        /// What is wrong with them.
        reason: String,
    },
}

impl RoadsError {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn damaged_map(origin: &str, reason: impl Into<String>) -> Self {
        Self::DamagedMap {
            origin: origin.to_owned(),
            reason: reason.into(),
        }
    }
}
