//! What telemetry costs: the processor time that a whole city takes for a request, with telemetry off and with
//! one trace in a hundred exported, log lines and metrics as well, and a scrape. Each city is a process of its
//! own with a database of its own; they take turns under the same load. The collector is in this process, and
//! what it and the database take is not counted.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures::future::try_join_all;
use jitney_platform::{
    auth::{Role, TokenKeys},
    clock::Clock,
    testing::collector::Collector,
};
use serde_json::{Value, json};

use super::{Loads, Report, figure::median, server::TempFolder};
use crate::{Config, progress::Progress};

/// The share of traces that is exported.
const SAMPLE_RATIO: &str = "0.01";
/// How long a city may take to start.
const START_MAX: Duration = Duration::from_secs(90);
/// How long the tokens of the load last.
const TTL: Duration = Duration::from_secs(24 * 3600);
/// In how many parts of a second Linux tells programs of processor time (USER_HZ), whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;
/// Two places of the built-in city.
const PLACES: [(f64, f64); 2] = [(43.7393, 7.4276), (43.7350, 7.4213)];
/// Of so many requests one is a quote, which goes through every service and is written down; the others read.
const QUOTE_EVERY: usize = 4;

/// Measures and prints.
pub fn run(report: &mut Report, loads: &Loads) -> anyhow::Result<()> {
    super::super::runtime()?.block_on(async {
        let exported = Arc::new(AtomicUsize::new(0));
        let counted = exported.clone();
        let collector = Collector::start(move |exported| {
            counted.fetch_add(exported.spans().count(), Ordering::Relaxed);
        })
        .await?;
        let off = City::start("off", &[("JITNEY_LISTEN__METRICS", "")])?;
        let on = City::start(
            "on",
            &[
                ("JITNEY_LISTEN__METRICS", "127.0.0.1:0"),
                ("JITNEY_TELEMETRY__ENDPOINT", &collector.endpoint),
                ("JITNEY_TELEMETRY__SAMPLE_RATIO", SAMPLE_RATIO),
            ],
        )?;
        for &clients in &loads.clients {
            compare(report, loads, clients, [&off, &on]).await?;
        }
        let spans = exported.load(Ordering::Relaxed);
        ensure!(spans > 0, "nothing was exported: this measured nothing");
        report.value("spans exported", "count", None, spans as f64, loads.rounds);
        Ok(())
    })
}

async fn compare(
    report: &mut Report,
    loads: &Loads,
    clients: usize,
    cities: [&City; 2],
) -> anyhow::Result<()> {
    let mut costs = [const { Vec::new() }; 2];
    let progress = Progress::steps("rounds", loads.rounds + 1);
    for round in 0..=loads.rounds {
        // Who begins changes with every round.
        for turn in 0..2 {
            let at = (turn + round) % 2;
            // The first round warms up.
            let seconds = if round == 0 { 2 } else { loads.seconds };
            let cost = cities[at]
                .load(clients, Duration::from_secs(seconds))
                .await?;
            if round > 0 {
                costs[at].push(cost);
            }
        }
        progress.step();
    }
    drop(progress);
    let [off, on] = &costs;
    for (name, costs) in [("off", off), ("on, 1 % of the traces", on)] {
        let name = format!("processor time of a request, telemetry {name}, {clients} clients");
        report.value(&name, "us", None, median(costs) * 1e6, costs.len());
    }
    let ratios: Vec<f64> = on.iter().zip(off).map(|(on, off)| on / off).collect();
    let name = format!("telemetry on / off, {clients} clients");
    report.value(&name, "ratio", None, median(&ratios), ratios.len());
    Ok(())
}

/// A city in a process of its own.
struct City {
    child: Child,
    folder: TempFolder,
    gateway: String,
    metrics: Option<String>,
    keys: TokenKeys,
    http: reqwest::Client,
}

impl City {
    fn start(name: &str, settings: &[(&str, &str)]) -> anyhow::Result<City> {
        let folder = TempFolder::named(&format!("telemetry-{name}"));
        std::fs::create_dir_all(&folder.0)?;
        let mut command = Command::new(std::env::current_exe()?);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("JITNEY_")) {
            command.env_remove(name);
        }
        for service in ["GATEWAY", "MATCHING", "TRIPS", "BILLING"] {
            command.env(format!("JITNEY_LISTEN__{service}"), "127.0.0.1:0");
        }
        let mut child = command
            .args(["serve", "all"])
            .env_remove("DATABASE_URL")
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .env("JITNEY_DATA_DIR", &folder.0)
            .env("JITNEY_TELEMETRY__LOG_FORMAT", "json")
            .env("JITNEY_GATEWAY__REQUESTS_PER_SECOND", "0")
            .env("JITNEY_GATEWAY__ADDRESS_REQUESTS_PER_SECOND", "0")
            .envs(settings.iter().copied())
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("the program cannot be started again")?;
        let log = child.stderr.take().context("it has no log")?;
        let (found, addresses) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to its end, or the city would stop at a full pipe.
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let record: Value = serde_json::from_str(&line).unwrap_or_default();
                let told = record["service"].as_str().zip(record["address"].as_str());
                if let Some((service, address)) = told {
                    let _ = found.send((service.to_owned(), format!("http://{address}")));
                }
            }
        });
        let mut city = City {
            child,
            keys: TokenKeys::generate(),
            gateway: String::new(),
            metrics: None,
            http: reqwest::Client::builder().no_proxy().build()?,
            folder,
        };
        let until = Instant::now() + START_MAX;
        while city.gateway.is_empty() {
            let patience = until.saturating_duration_since(Instant::now());
            match addresses.recv_timeout(patience) {
                Ok((service, address)) if service == "gateway" => city.gateway = address,
                Ok((service, address)) if service == "metrics" => city.metrics = Some(address),
                Ok(_) => {}
                Err(_) => bail!("the city with telemetry {name} did not start"),
            }
        }
        let config = Config {
            data_dir: city.folder.0.clone(),
            ..Config::default()
        };
        city.keys = TokenKeys::load_or_create(&config.key_folder())?;
        Ok(city)
    }

    /// The processor time that one request took, in seconds, under so many clients for so long.
    async fn load(&self, clients: usize, time: Duration) -> anyhow::Result<f64> {
        let before = self.processor_seconds()?;
        let end = Instant::now() + time;
        let done = try_join_all((0..clients).map(|client| self.ask_until(client, end))).await?;
        if let Some(metrics) = &self.metrics {
            let page = self.http.get(format!("{metrics}/metrics")).send().await?;
            page.error_for_status()?.bytes().await?;
        }
        let requests: usize = done.into_iter().sum();
        ensure!(requests > 0, "no request was answered");
        Ok((self.processor_seconds()? - before) / requests as f64)
    }

    async fn ask_until(&self, client: usize, end: Instant) -> anyhow::Result<usize> {
        let now = Clock::system().now();
        let token = self
            .keys
            .mint(Role::Rider, &format!("r{client}"), TTL, now)?;
        let point = |(latitude, longitude): (f64, f64)| json!({"latitude": latitude, "longitude": longitude});
        let way = json!({"pickup": point(PLACES[0]), "dropoff": point(PLACES[1])});
        let mut asked = 0;
        while Instant::now() < end {
            let request = if asked % QUOTE_EVERY == 0 {
                self.http
                    .post(format!("{}/v1/quotes", self.gateway))
                    .json(&way)
            } else {
                self.http.get(format!("{}/v1/trips", self.gateway))
            };
            let answer = request.bearer_auth(&token).send().await?;
            let status = answer.status();
            ensure!(status.is_success(), "the gateway answered {status}");
            answer.bytes().await?;
            asked += 1;
        }
        Ok(asked)
    }

    /// What the process has taken so far, its children not counted.
    fn processor_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .context("processor time is read where Linux tells it")?;
        let ticks = ticks_of(&stat).context("/proc/…/stat cannot be read")?;
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }
}

impl Drop for City {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).map(nix::unistd::Pid::from_raw);
        // It shuts its database down. What cannot be told to end is ended.
        let told = pid.map(|pid| nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM));
        if !matches!(told, Ok(Ok(()))) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// User and system time from the text of a process's `stat`: what comes after the name in brackets.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_any_name() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 99 98";
        assert_eq!(ticks_of(stat), Some(300));
        assert_eq!(ticks_of("7 (a"), None);
    }
}
