//! Imports an OpenStreetMap PBF file into a map file and prints the report:
//! `cargo run --release -p jitney-roads --example import_map -- city.osm.pbf city.roads`

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [source, output] = paths.as_slice() else {
        return Err("give two files: what to import and what to write".into());
    };
    let network = jitney_roads::import(source)?;
    network.save(output)?;
    print!("{}", network.report());
    println!("map {} written to {}", network.id(), output.display());
    Ok(())
}
