//! `jitney up`: a whole city on this machine, with a small simulated fleet, and what to type for a
//! first ride. `make run` is this.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use jitney_platform::{auth::Role, telemetry};
use jitney_roads::{LatLon, RoadNetwork};
use serde_json::Value;

use super::simulate;
use crate::{Config, Which, app::Addresses, program::Program};

/// How long an idle driver is waited for before the welcome is printed without one: started again
/// after a kill, the whole fleet may have rides to end first.
const FLEET_WAIT_MAX: Duration = Duration::from_secs(3);

/// How far a place of the first ride may be moved to the nearest road, metres.
const SNAP_MAX_M: f64 = 50_000.0;

/// A first ride in the built-in city: from the casino to the port.
const FIRST_RIDE: [(f64, f64); 2] = [(43.7393, 7.4276), (43.7350, 7.4213)];

/// Arguments of `jitney up`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  jitney up\n  jitney up --map porto.osm.pbf --drivers 60")]
pub struct Args {
    /// An OpenStreetMap extract or an imported map; without it, the map of the configuration.
    #[arg(long)]
    map: Option<PathBuf>,
    /// Simulated drivers; 0 leaves the city empty.
    #[arg(long, default_value_t = 12)]
    drivers: u32,
    /// Rides the simulated riders ask for in an hour, on average; 0 leaves the drivers to you.
    #[arg(long, default_value_t = 60.0)]
    riders_per_hour: f64,
    /// Simulated seconds in a real one: above 1 the cars come sooner.
    #[arg(long, default_value_t = 3.0)]
    speed: f64,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: Args, mut config: Config) -> anyhow::Result<ExitCode> {
    if args.map.is_some() {
        config.map.file.clone_from(&args.map);
    }
    super::runtime()?.block_on(async {
        let _telemetry = telemetry::init(&config.telemetry, "jitney", config.is_scraped())?;
        let program = Program::start(&config, Which::All).await?;
        let roads = program.roads.clone().context("the city has no map")?;
        let at = program.addresses();
        let gateway = format!("http://{}", at.gateway.context("the city has no gateway")?);
        let token = |role, id, days: u64| {
            let ttl = Duration::from_secs(days * 86_400);
            program.keys.mint(role, id, ttl, program.clock.now())
        };
        let (rider, driver, operator) = (
            token(Role::Rider, "anna", 30)?,
            token(Role::Driver, "dora", 1)?,
            token(Role::Operator, "ops", 1)?,
        );
        // Behind the `#`, where no server sees it.
        let pages = match jitney_gateway::pages_are_built() {
            true => format!(
                "{gateway}/\n\nOpen a page signed in, on this machine:\n\n  \
                 a rider's     {gateway}/rider#token={rider}\n  \
                 a driver's    {gateway}/driver#token={driver}\n  \
                 the city's    {gateway}/city#token={operator}"
            ),
            false => "not built into this program; with Node: make web build".to_owned(),
        };
        let ride = first_ride(&roads, config.map.file.is_none())?;
        let welcome = Welcome {
            gateway: gateway.clone(),
            at,
            token: rider,
            pages,
            ride,
            drivers: args.drivers,
        };
        let text = welcome.text(&roads, &config);

        let shutdown = program.shutdown();
        let simulation = jitney_sim::Config {
            // The process is Poisson: a rate of nothing is one ride in a hundred years.
            riders_per_hour: args.riders_per_hour.max(1e-6),
            speed: args.speed,
            progress: false,
            ..jitney_sim::Config::forever(gateway, args.drivers)
        };
        simulation.check()?;
        let tokens = simulate::tokens(program.keys.clone(), program.clock.clone());
        let fleet = (args.drivers > 0).then(|| {
            tokio::spawn(jitney_sim::run(
                simulation,
                roads,
                tokens,
                shutdown.child_token(),
            ))
        });
        let announcing = tokio::spawn(async move {
            welcome.until_ready().await;
            println!("{text}");
        });
        let outcome = program.run().await;
        announcing.abort();
        if let Some(fleet) = fleet {
            fleet.abort();
        }
        outcome?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Two places on the map with a ride between them.
fn first_ride(roads: &RoadNetwork, built_in: bool) -> anyhow::Result<[LatLon; 2]> {
    if built_in {
        let [from, to] = FIRST_RIDE;
        return Ok([LatLon::new(from.0, from.1)?, LatLon::new(to.0, to.1)?]);
    }
    // From the middle of the map to a place a tenth of the way to its north-east corner.
    let (centre, corner) = (roads.bounds().centre(), roads.bounds().north_east);
    let tenth = |from: f64, to: f64| from + (to - from) / 10.0;
    let towards = LatLon::new(
        tenth(centre.lat(), corner.lat()),
        tenth(centre.lon(), corner.lon()),
    )?;
    Ok([
        roads.snap(centre, SNAP_MAX_M)?.point,
        roads.snap(towards, SNAP_MAX_M)?.point,
    ])
}

/// What is printed when the city is ready.
struct Welcome {
    gateway: String,
    at: Addresses,
    token: String,
    /// Where the pages are, and links to them.
    pages: String,
    ride: [LatLon; 2],
    drivers: u32,
}

impl Welcome {
    /// Waits until the gateway answers and a driver could be matched at the first pick-up.
    async fn until_ready(&self) {
        let [pickup, _] = self.ride;
        let nearby = format!(
            "{}/v1/drivers:nearby?location.latitude={}&location.longitude={}&limit=1",
            self.gateway,
            pickup.lat(),
            pickup.lon()
        );
        let client = reqwest::Client::new();
        let look = async {
            let mut again = tokio::time::interval(Duration::from_millis(50));
            loop {
                again.tick().await;
                let answer = client.get(&nearby).bearer_auth(&self.token).send().await;
                let Ok(answer) = answer else { continue };
                let Ok(found) = answer.json::<Value>().await else {
                    continue;
                };
                let someone = found["drivers"]
                    .as_array()
                    .is_some_and(|list| !list.is_empty());
                if someone || self.drivers == 0 {
                    return;
                }
            }
        };
        // A fleet that does not come is no reason to keep the addresses secret.
        let _ = tokio::time::timeout(FLEET_WAIT_MAX, look).await;
    }

    /// Where everything is, a token, and the lines of a first ride.
    fn text(&self, roads: &RoadNetwork, config: &Config) -> String {
        let place = |at: LatLon| {
            format!(
                "{{\"latitude\": {:.5}, \"longitude\": {:.5}}}",
                at.lat(),
                at.lon()
            )
        };
        let [pickup, dropoff] = self.ride.map(place);
        let grpc = |address: Option<std::net::SocketAddr>| {
            address.map_or_else(String::new, |address| address.to_string())
        };
        format!(
            "\n\
             Jitney is ready: {map}, {drivers} simulated drivers. Ctrl-C stops it.\n\n  \
             REST   {gateway}/   (lists every route)\n  \
             gRPC   matching {matching}, trips {trips}, billing {billing}\n  \
             data   {data}\n  \
             map    {attribution}\n  \
             pages  {pages}\n\n\
             A first ride, from another terminal:\n\n\
             export API={gateway} RIDER={token}\n\n\
             # What would it cost, and when could a car be here?\n\
             curl -s $API/v1/quotes -H \"Authorization: Bearer $RIDER\" -H 'Content-Type: application/json' \\\n  \
             -d '{{\"pickup\": {pickup}, \"dropoff\": {dropoff}}}'\n\n\
             # Ask for the ride; the same key again gives the same trip.\n\
             curl -s $API/v1/trips -H \"Authorization: Bearer $RIDER\" -H 'Content-Type: application/json' \\\n  \
             -H 'Idempotency-Key: my-first-ride' \\\n  \
             -d '{{\"pickup\": {pickup}, \"dropoff\": {dropoff}, \"product\": \"economy\"}}'\n\n\
             # Watch the car come, with the tripId of the answer; then what it cost.\n\
             curl -sN $API/v1/trips/TRIP_ID:watch -H \"Authorization: Bearer $RIDER\"\n\
             curl -s $API/v1/trips/TRIP_ID/receipt -H \"Authorization: Bearer $RIDER\"\n\n\
             # The operator's view: is the ledger sound?\n\
             curl -s $API/v1/ledger:check -H \"Authorization: Bearer $({program} token --role operator --id ops)\"\n",
            map = roads.name(),
            drivers = self.drivers,
            gateway = self.gateway,
            matching = grpc(self.at.matching),
            trips = grpc(self.at.trips),
            billing = grpc(self.at.billing),
            data = config.data_dir.display(),
            attribution = roads.attribution(),
            token = self.token,
            pages = self.pages,
            program = std::env::current_exe()
                .map_or_else(|_| "jitney".to_owned(), |path| path.display().to_string()),
        )
    }
}
