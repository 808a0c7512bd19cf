//! Maps to test on.

use std::path::{Path, PathBuf};

use jitney_roads::RoadNetwork;

/// The map that is always there.
pub fn monaco() -> RoadNetwork {
    RoadNetwork::load(&data_folder().join("monaco.roads")).unwrap()
}

pub fn data_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data")
}

/// An extract from the folder of shared maps (`SHARED_DIR`, else `../shared` beside the
/// workspace); `None`, with a line that says so, where there is no such folder.
pub fn shared_extract(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("SHARED_DIR").map_or_else(beside, PathBuf::from);
    let extract = shared.join("maps").join(name);
    if extract.is_file() {
        Some(extract)
    } else {
        println!("skipped: {} is not there", extract.display());
        None
    }
}
