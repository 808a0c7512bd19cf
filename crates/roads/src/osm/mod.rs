//! Importing OpenStreetMap: from a `.osm.pbf` file to a road network for cars.
//!
//! - [`access`] says which ways and which barriers a car may pass,
//! - [`direction`] which way round,
//! - [`speed`] how fast,
//! - [`way`] puts the three together for one way's tags,
//! - [`delay`] says what stops a car at a node,
//! - `restriction` reads turn restrictions,
//! - `read` takes the file apart, trusting nothing in it,
//! - `split` cuts the ways at junctions into segments,
//! - `report` counts what was kept and dropped.
//!
//! Not read: conditional tags (`access:conditional` and its kin), relations other than turn restrictions.
//! Ferries are left out.

pub mod access;
pub mod delay;
pub mod direction;
mod read;
mod report;
mod restriction;
pub mod speed;
mod split;
pub mod way;

use std::path::Path;

pub use report::ImportReport;

use crate::{
    RoadNetwork, RoadsError,
    progress::{ImportProgress, Phase, Told},
};

/// Whom OpenStreetMap's licence asks to credit wherever the map is shown.
pub const ATTRIBUTION: &str = "© OpenStreetMap contributors";

/// Imports an OpenStreetMap PBF file. The map is named after the file.
///
/// # Errors
/// [`RoadsError::Read`] when the file cannot be read, [`RoadsError::NotPbf`] when it is something
/// else, [`RoadsError::DamagedPbf`] when it breaks off or makes no sense, [`RoadsError::NoRoads`]
/// when it has nothing to drive on, and [`RoadsError::TooLarge`].
pub fn import(path: &Path) -> Result<RoadNetwork, RoadsError> {
    let bytes = std::fs::read(path).map_err(|source| RoadsError::read(path, source))?;
    import_bytes(path, &bytes)
}

/// Imports the content of an OpenStreetMap PBF file that was read from `path`.
///
/// # Errors
/// As [`import`], except that nothing is read.
pub fn import_bytes(path: &Path, bytes: &[u8]) -> Result<RoadNetwork, RoadsError> {
    import_bytes_telling(path, bytes, &mut |_| {})
}

/// As [`import_bytes`], and tells how far it is.
pub(crate) fn import_bytes_telling(
    path: &Path,
    bytes: &[u8],
    told: Told<'_>,
) -> Result<RoadNetwork, RoadsError> {
    let mut report = ImportReport::default();
    let extract = read::car_ways(path, bytes, &mut report, told)?;
    told(ImportProgress::begins(Phase::Joining));
    let draft = split::draft(map_name(path), extract, &mut report)?;
    draft
        .freeze_with(report, told)
        .map_err(|error| match error {
            RoadsError::NoRoads { reason, .. } => RoadsError::NoRoads {
                origin: path.display().to_string(),
                reason,
            },
            other => other,
        })
}

/// The file's name without its endings.
pub(crate) fn map_name(path: &Path) -> &str {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("map");
    let name = name.strip_suffix(".pbf").unwrap_or(name);
    name.strip_suffix(".osm").unwrap_or(name)
}
