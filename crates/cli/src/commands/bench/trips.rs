//! Transitions of trips: drivers arrive and start rides over gRPC on a loopback port, against pgbench's
//! own transactions (like TPC-B) on the same server with as many clients; with the relays of the outbox
//! telling matching and billing of it, and without.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use jitney_platform::{auth::Role, client::Channel, clock::Clock};
use jitney_proto::trips::v1::{self as wire, trips_service_client::TripsServiceClient as Client};
use sqlx::{Connection, PgConnection};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::{Request, metadata::AsciiMetadataValue};
use uuid::Uuid;

use super::{
    Loads,
    figure::{Report, Unit},
    server::{Pgbench, Server},
};
use crate::{App, Config, Parts, Which, program, progress::Progress};

/// Branches of pgbench's tables.
const SCALE: u32 = 10;
/// Trips for a second of a load whose speed is not known yet; each makes two transitions.
const TRIPS_PER_S: f64 = 1_500.0;
/// How much faster than ever before a load may be until it runs out of trips.
const ROOM: f64 = 2.0;
/// How often the lag of the relays is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long the relays may take to tell what is left.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// The loads.
const TPC_B: &str = "pgbench, TPC-B";
const RELAYED: &str = "transitions, relayed";
const UNTOLD: &str = "transitions, not relayed";

/// Measures transitions.
pub fn run(report: &mut Report, config: &Config, loads: &Loads) -> anyhow::Result<()> {
    crate::commands::runtime()?.block_on(async {
        let mut city = City::open(config).await?;
        let mut all = Vec::new();
        for &clients in &loads.clients {
            all.extend([TPC_B, RELAYED, UNTOLD].map(|name| Load {
                name,
                clients,
                rates: Vec::new(),
                latencies: Vec::new(),
                lags: Vec::new(),
            }));
        }
        let progress = Progress::steps("rounds", loads.rounds);
        for _ in 0..loads.rounds {
            for load in &mut all {
                city.measure(load, loads.seconds).await?;
            }
            progress.step();
        }
        drop(progress);
        tell(report, &mut all);
        city.audit(report).await?;
        city.close().await
    })
}

/// One load and how it went in each round.
struct Load {
    name: &'static str,
    clients: usize,
    rates: Vec<f64>,
    latencies: Vec<Duration>,
    lags: Vec<Duration>,
}

/// The services, the server, and what was done to them.
struct City {
    server: Server,
    owner: PgConnection,
    keys: Arc<jitney_platform::auth::TokenKeys>,
    trips: Channel,
    serving: JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
    /// Everybody who drives, by their tokens. Matching knows them.
    drivers: Vec<AsciiMetadataValue>,
    transitions: u64,
}

/// A trip that waits for its driver to arrive.
struct Ride {
    trip: String,
    token: AsciiMetadataValue,
}

impl City {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let server = Server::start().await?;
        server.prepare_tpc_b(SCALE).await?;
        let keys = Arc::new(jitney_platform::auth::TokenKeys::generate());
        let shutdown = CancellationToken::new();
        let mut config = config.clone();
        for listen in [
            &mut config.listen.gateway,
            &mut config.listen.matching,
            &mut config.listen.trips,
            &mut config.listen.billing,
        ] {
            *listen = "127.0.0.1:0".to_owned();
        }
        let parts = Parts {
            clock: Clock::system(),
            keys: Arc::clone(&keys),
            database: server.database(),
            roads: Some(Arc::new(program::open_roads(&config)?)),
            sessions: None,
            shutdown: shutdown.clone(),
        };
        let app = App::build(&config, Which::All, parts).await?;
        let address = app.addresses().trips.context("trips listens")?;
        let serving = tokio::spawn(app.run());
        let options = server.options().options([("search_path", "trips")]);
        let mut owner = PgConnection::connect_with(&options).await?;
        // The relays have made their cursors.
        eventually(DRAIN_MAX, async || {
            let cursors = "SELECT count(*) FROM outbox_cursor";
            let count: i64 = sqlx::query_scalar(cursors).fetch_one(&mut owner).await?;
            Ok(count == 2)
        })
        .await?;
        Ok(Self {
            trips: Channel::remote(&format!("http://{address}"))?,
            server,
            owner,
            keys,
            serving,
            shutdown,
            drivers: Vec::new(),
            transitions: 0,
        })
    }

    async fn measure(&mut self, load: &mut Load, seconds: u64) -> anyhow::Result<()> {
        if load.name == TPC_B {
            sqlx::raw_sql("CHECKPOINT").execute(&mut self.owner).await?;
            let pgbench = Pgbench {
                clients: load.clients,
                seconds,
                script: None,
                variables: &[],
                settings: &[],
            };
            load.rates.push(self.server.pgbench(&pgbench).await?.per_s);
            return Ok(());
        }
        let fastest = load.rates.iter().copied().reduce(f64::max);
        let trips = fastest.map_or(TRIPS_PER_S, |rate| rate * ROOM / 2.0) * seconds as f64;
        let rides = self.assign(trips as usize).await?;
        self.relay(load.name == RELAYED).await?;
        let watching = CancellationToken::new();
        let lags = (load.name == RELAYED).then(|| {
            let options = self.server.options().options([("search_path", "trips")]);
            tokio::spawn(watch_lag(options, watching.clone()))
        });
        let begun = Instant::now();
        let time = Duration::from_secs(seconds);
        let mut latencies = drive(&self.trips, rides, load.clients, time).await?;
        load.rates
            .push(latencies.len() as f64 / begun.elapsed().as_secs_f64());
        self.transitions += latencies.len() as u64;
        load.latencies.append(&mut latencies);
        watching.cancel();
        if let Some(lags) = lags {
            load.lags.extend(lags.await??);
            // Nothing of it is left for the next load.
            eventually(DRAIN_MAX, async || {
                Ok(lag(&mut self.owner).await? == Duration::ZERO)
            })
            .await
            .context("the relays do not come to an end")?;
        }
        Ok(())
    }

    /// Sees to it that there are so many drivers.
    async fn hire(&mut self, count: usize) -> anyhow::Result<()> {
        let (now, day) = (Clock::system().now(), Duration::from_secs(24 * 3_600));
        for driver in self.drivers.len()..count {
            let token = self.keys.mint(Role::Driver, &driver_id(driver), day, now)?;
            self.drivers.push(format!("Bearer {token}").parse()?);
        }
        let ids: Vec<String> = (0..count).map(driver_id).collect();
        sqlx::query(
            "INSERT INTO matching.driver (driver_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING",
        )
        .bind(ids)
        .execute(&mut self.owner)
        .await
        .context("matching cannot be told of the drivers")?;
        sqlx::raw_sql("ANALYZE matching.driver")
            .execute(&mut self.owner)
            .await?;
        Ok(())
    }

    /// Makes trips whose drivers are on their way, in place of those that the last load has left.
    async fn assign(&mut self, count: usize) -> anyhow::Result<Vec<Ride>> {
        sqlx::raw_sql(
            "DELETE FROM driver_claims;
             UPDATE trip SET state = 'CANCELLED', cancelled_by = 'SYSTEM', end_reason = 'left over',
                 ended_at = now()
             WHERE state IN ('ASSIGNED', 'DRIVER_ARRIVED', 'IN_PROGRESS')",
        )
        .execute(&mut self.owner)
        .await?;
        self.hire(count).await?;
        let trips: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
        let drivers: Vec<String> = (0..count).map(driver_id).collect();
        sqlx::query(
            "WITH asked AS (
                 SELECT trip_id, 'rider-' || trip_id AS rider_id, driver_id, gen_random_uuid() AS offer_id
                 FROM unnest($1::uuid[], $2::text[]) AS asked (trip_id, driver_id)
             ),
             made AS (
                 INSERT INTO trip (
                     trip_id, version, state, rider_id, driver_id, driver_plate, driver_vehicle,
                     offer_id, product, pickup_latitude, pickup_longitude, dropoff_latitude,
                     dropoff_longitude, fare_minor, fare_currency, distance_m, duration_ms,
                     payment_state, pin, search_until, created_at, updated_at, assigned_at
                 )
                 SELECT
                     trip_id, 3, 'ASSIGNED', rider_id, driver_id, '', '', offer_id, 'economy',
                     43.7393, 7.4276, 43.7350, 7.4213, 995, 'EUR', 5100, 600000, 'HELD', '1234',
                     now() + interval '1 h', now(), now(), now()
                 FROM asked
             ),
             offered AS (
                 INSERT INTO offer (
                     offer_id, trip_id, driver_id, expires_at, state, created_at, ended_at
                 )
                 SELECT offer_id, trip_id, driver_id, now(), 'ACCEPTED', now(), now() FROM asked
             )
             INSERT INTO driver_claims (driver_id, trip_id, epoch)
             SELECT driver_id, trip_id, 1 FROM asked",
        )
        .bind(&trips)
        .bind(&drivers)
        .execute(&mut self.owner)
        .await
        .context("trips cannot be made")?;
        sqlx::raw_sql("ANALYZE trip, offer, driver_claims, outbox, trip_transition; CHECKPOINT")
            .execute(&mut self.owner)
            .await?;
        let ride = |(trip, token): (&Uuid, &AsciiMetadataValue)| Ride {
            trip: trip.to_string(),
            token: token.clone(),
        };
        Ok(trips.iter().zip(&self.drivers).map(ride).collect())
    }

    /// Lets the relays work, or takes their leases away as another process would. What was not told
    /// meanwhile is never told.
    async fn relay(&mut self, works: bool) -> anyhow::Result<()> {
        let statement = if works {
            "UPDATE outbox_cursor SET (xid, seq) = (SELECT xid, seq FROM outbox ORDER BY xid DESC, seq DESC LIMIT 1)
             WHERE EXISTS (SELECT 1 FROM outbox);
             DELETE FROM lease WHERE name LIKE 'outbox-%'"
        } else {
            "INSERT INTO lease (name, holder, expires_at)
             SELECT 'outbox-' || consumer, gen_random_uuid(), now() + interval '1 day'
             FROM outbox_cursor
             ON CONFLICT (name) DO UPDATE
                 SET holder = excluded.holder, expires_at = excluded.expires_at"
        };
        sqlx::raw_sql(statement).execute(&mut self.owner).await?;
        if works {
            // They look again every second.
            eventually(DRAIN_MAX, async || {
                let leases = "SELECT count(*) FROM lease WHERE name LIKE 'outbox-%'";
                let count: i64 = sqlx::query_scalar(leases)
                    .fetch_one(&mut self.owner)
                    .await?;
                Ok(count == 2)
            })
            .await?;
        }
        Ok(())
    }

    /// Counts what must not have happened.
    async fn audit(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let (logged, events, parked): (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM trip_transition), (SELECT count(*) FROM outbox),
                    (SELECT count(*) FROM outbox_parked)",
        )
        .fetch_one(&mut self.owner)
        .await?;
        let made = self.transitions as i64;
        for (name, count) in [
            ("transitions made", made),
            ("of those, not in the log", (made - logged).abs()),
            ("of those, without an event", (made - events).abs()),
            ("events that a consumer refused", parked),
        ] {
            report.value(name, "count", None, count as f64, made as usize);
        }
        ensure!(logged == made && events == made, "something was lost");
        Ok(())
    }

    async fn close(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.serving.await??;
        self.owner.close().await?;
        self.server.stop().await
    }
}

/// Every client arrives with one trip after the other and starts it, until the time is over or no trip
/// is left; how long each transition took.
async fn drive(
    channel: &Channel,
    mut rides: Vec<Ride>,
    clients: usize,
    time: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let begun = Instant::now();
    let share = rides.len().div_ceil(clients).max(1);
    let mut tasks = JoinSet::new();
    while !rides.is_empty() {
        let own = rides.split_off(rides.len().saturating_sub(share));
        let mut client = Client::new(channel.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            for Ride { trip, token } in own {
                if begun.elapsed() >= time {
                    break;
                }
                let sent = Instant::now();
                let arrive = wire::ArriveAtPickupRequest {
                    trip_id: trip.clone(),
                };
                client.arrive_at_pickup(signed(arrive, &token)).await?;
                latencies.push(sent.elapsed());
                let sent = Instant::now();
                let start = wire::StartTripRequest {
                    trip_id: trip,
                    pin: "1234".to_owned(),
                };
                client.start_trip(signed(start, &token)).await?;
                latencies.push(sent.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(latencies) = tasks.join_next().await {
        all.extend(latencies??);
    }
    Ok(all)
}

fn driver_id(number: usize) -> String {
    format!("driver-{number}")
}

fn signed<T>(message: T, token: &AsciiMetadataValue) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", token.clone());
    request
}

/// Looks at the lag of the relays until it is told to stop.
async fn watch_lag(
    options: sqlx::postgres::PgConnectOptions,
    stop: CancellationToken,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = PgConnection::connect_with(&options).await?;
    let mut lags = Vec::new();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(lags),
            _ = looks.tick() => lags.push(lag(&mut connection).await?),
        }
    }
}

/// The age of the oldest event that a consumer has not been told; zero when there is none.
async fn lag(connection: &mut PgConnection) -> anyhow::Result<Duration> {
    let microseconds: i64 = sqlx::query_scalar(
        "SELECT coalesce(max(
             (extract(epoch FROM clock_timestamp() - next.created_at) * 1000000)::bigint), 0)
         FROM outbox_cursor AS cursor
         CROSS JOIN LATERAL (
             SELECT created_at FROM outbox WHERE (xid, seq) > (cursor.xid, cursor.seq)
             ORDER BY xid, seq LIMIT 1
         ) AS next",
    )
    // A plan for an outbox that was empty would read all of it.
    .persistent(false)
    .fetch_one(connection)
    .await?;
    Ok(Duration::from_micros(microseconds.max(0) as u64))
}

/// Waits until something is so.
async fn eventually(
    patience: Duration,
    mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_so().await? {
        ensure!(
            begun.elapsed() < patience,
            "waited for {patience:?} in vain"
        );
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Prints rates, times and how they compare.
fn tell(report: &mut Report, loads: &mut [Load]) {
    for load in &mut *loads {
        let name = format!("{}, {} clients", load.name, load.clients);
        report.rates(&name, &load.rates);
        let name = format!("one of the {name}");
        report.times(&name, Unit::Ms, None, &mut load.latencies);
        let name = format!("lag of the relays, {} clients", load.clients);
        report.times(&name, Unit::Ms, None, &mut load.lags);
    }
    for three in loads.chunks(3) {
        let [tpc_b, relayed, untold] = three else {
            continue;
        };
        let clients = relayed.clients;
        let name = format!("relayed ÷ TPC-B, {clients} clients");
        report.ratio(&name, &relayed.rates, &tpc_b.rates);
        let name = format!("relayed ÷ not relayed, {clients} clients");
        report.ratio(&name, &relayed.rates, &untold.rates);
    }
}
