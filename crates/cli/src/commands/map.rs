//! `jitney map`: imports OpenStreetMap extracts and benchmark graphs, and says what a map holds.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use crate::{Config, program, progress::Progress};

/// The commands of `jitney map`.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Turns an OpenStreetMap extract (.osm.pbf) or a DIMACS graph (.gr, with its .co beside it) into a
    /// map file and reports what was kept and dropped.
    #[command(after_help = "Example:\n  jitney map import porto.osm.pbf --output porto.roads")]
    Import {
        /// The extract.
        file: PathBuf,
        /// The map file to write; without it, the extract's name with `.roads`.
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Says what a map holds.
    #[command(after_help = "Examples:\n  jitney map info\n  jitney map info porto.roads")]
    Info {
        /// A map file or an extract; without it, the map of the configuration.
        file: Option<PathBuf>,
    },
}

/// Runs the command to its end.
pub fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Import { file, output } => {
            let output = output.unwrap_or_else(|| {
                // `porto.osm.pbf` becomes `porto.roads`.
                let stem = file
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let endings = [".gz", ".gr", ".pbf", ".osm"];
                let stem = endings.iter().fold(stem.as_str(), |stem, ending| {
                    stem.strip_suffix(ending).unwrap_or(stem)
                });
                file.with_file_name(format!("{stem}.roads"))
            });
            let begun = Instant::now();
            let mut progress = Progress::import(&file);
            let network = jitney_roads::import_telling(&file, &mut |now| progress.told(now))?;
            drop(progress);
            println!("{}\n", network.report());
            network.save(&output)?;
            println!("{}\n", summary(&network));
            println!("wrote {} in {:.1?}", output.display(), begun.elapsed());
        }
        Command::Info { file } => {
            let mut config = config.clone();
            if file.is_some() {
                config.map.file = file;
            }
            let begun = Instant::now();
            let network = program::open_roads(&config)?;
            println!("{}\nread in {:.1?}", summary(&network), begun.elapsed());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(network: &jitney_roads::RoadNetwork) -> String {
    let area = network.bounds();
    format!(
        "map         {}\nid          {}\njunctions   {}\nsegments    {}\ntop speed   {:.0} km/h\n\
         extent      {:.5},{:.5} to {:.5},{:.5} (latitude, longitude)\n{}",
        network.name(),
        network.id(),
        network.node_count(),
        network.segment_count(),
        network.top_speed_m_per_s() * 3.6,
        area.south_west.lat(),
        area.south_west.lon(),
        area.north_east.lat(),
        area.north_east.lon(),
        network.attribution(),
    )
}
