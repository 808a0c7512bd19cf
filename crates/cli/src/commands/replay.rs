//! `jitney replay`: why a past dispatch round was decided as it was, and what another policy would have
//! decided on the same inputs. Asks the gateway, as an operator of this data folder.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use jitney_platform::{
    auth::{Role, TokenKeys},
    clock::Clock,
};
use jitney_proto::ids::{RoundId, TripId};
use serde_json::{Value, json};

use crate::Config;

/// Arguments of `jitney replay`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  jitney replay\n  jitney replay --trip 0190a000-0000-7000-8000-000000000001\n  \
    jitney replay 0190a000-0000-7000-8000-0000000000aa --policy batched"
)]
pub struct Args {
    /// The round; without it, the latest rounds are listed.
    round: Option<RoundId>,
    /// Decide the round under this policy instead of its own.
    #[arg(long, requires = "round")]
    policy: Option<String>,
    /// List only the rounds this trip was in.
    #[arg(long, conflicts_with = "round")]
    trip: Option<TripId>,
    /// Rounds listed, at most.
    #[arg(long, default_value_t = 20, conflicts_with = "round")]
    limit: u32,
    /// Where the gateway is; without it, the address of the configuration.
    #[arg(long)]
    url: Option<String>,
    /// Print what the gateway answered.
    #[arg(long)]
    json: bool,
}

/// Lists rounds, or explains one and decides it again. The exit code says whether a replay under the
/// round's own policy gave what was decided.
pub fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let keys = TokenKeys::load_or_create(&config.key_folder())?;
    let hour = Duration::from_secs(3600);
    let gateway = Gateway {
        http: reqwest::Client::builder().no_proxy().build()?,
        url: args
            .url
            .clone()
            .unwrap_or_else(|| format!("http://{}", config.listen.gateway)),
        token: keys.mint(Role::Operator, "replay", hour, Clock::system().now())?,
    };
    super::runtime()?.block_on(async {
        match args.round {
            Some(round) => gateway.round(round, args).await,
            None => gateway.list(args).await,
        }
    })
}

struct Gateway {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Gateway {
    async fn list(&self, args: &Args) -> anyhow::Result<ExitCode> {
        let trip = args
            .trip
            .map_or_else(String::new, |trip| format!("&tripId={trip}"));
        let url = format!("{}/v1/rounds?limit={}{trip}", self.url, args.limit);
        let answer = self.ask(self.http.get(url)).await?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&answer)?);
            return Ok(ExitCode::SUCCESS);
        }
        let rounds = list(&answer, "rounds");
        if rounds.is_empty() {
            println!("no rounds are kept");
        }
        for round in rounds {
            println!("{}", headline(round));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn round(&self, round: RoundId, args: &Args) -> anyhow::Result<ExitCode> {
        let of_round = |verb: &str| format!("{}/v1/rounds/{round}:{verb}", self.url);
        let explained = self.ask(self.http.get(of_round("explain"))).await?;
        let body = json!({ "policy": args.policy.as_deref().unwrap_or_default() });
        let replayed = self.http.post(of_round("replay")).json(&body);
        let replayed = self.ask(replayed).await?;
        let is_identical = replayed["isIdentical"].as_bool().unwrap_or(false);
        if args.json {
            let both = json!({ "explained": explained, "replayed": replayed });
            println!("{}", serde_json::to_string_pretty(&both)?);
        } else {
            explain(&explained);
            compare(&replayed, is_identical);
        }
        // Another policy may decide otherwise; the same one may not.
        Ok(if is_identical || args.policy.is_some() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let answer = request
            .bearer_auth(&self.token)
            .timeout(Duration::from_secs(30))
            .send()
            .await
            .with_context(|| format!("no gateway answers at {}; give its --url", self.url))?;
        let status = answer.status();
        let body: Value = answer
            .json()
            .await
            .context("the gateway's answer is not JSON")?;
        let message = body["message"].as_str().unwrap_or("no reason was given");
        ensure!(
            status.is_success(),
            "the gateway refused ({status}): {message}"
        );
        Ok(body)
    }
}

fn explain(explained: &Value) {
    println!("{}", headline(&explained["round"]));
    for outcome in list(explained, "outcomes") {
        let driver = text(outcome, "driverId");
        let got = match driver {
            "" => "nobody".to_owned(),
            driver => format!("{driver} in {}", seconds(outcome, "pickupDurationMs")),
        };
        let waits = outcome["waitsForDriver"].as_bool() == Some(true);
        println!(
            "\ntrip {}, waited {}: {got}{}",
            text(outcome, "tripId"),
            seconds(outcome, "waitedMs"),
            if waits { ", once they are free" } else { "" }
        );
        for verdict in list(outcome, "drivers") {
            let reason = text(verdict, "reason").trim_start_matches("VERDICT_REASON_");
            let taken_by = match text(verdict, "takenByTripId") {
                "" => String::new(),
                trip => format!(" by trip {trip}"),
            };
            println!(
                "  {:<24} {:>9} {:>10}  {}{taken_by}",
                text(verdict, "driverId"),
                seconds(verdict, "pickupDurationMs"),
                seconds(verdict, "costMs"),
                reason.to_lowercase().replace('_', " "),
            );
        }
    }
}

fn compare(replayed: &Value, is_identical: bool) {
    let policy = text(replayed, "policy");
    if is_identical {
        println!("\ndecided again under {policy}: the same");
        return;
    }
    println!("\ndecided again under {policy}:");
    for request in list(replayed, "requests") {
        let got = |driver: &str, ms: &str| match text(request, driver) {
            "" => "nobody".to_owned(),
            id => format!("{id} in {}", seconds(request, ms)),
        };
        println!(
            "  trip {}: {} -> {}",
            text(request, "tripId"),
            got("driverId", "pickupDurationMs"),
            got("replayedDriverId", "replayedPickupDurationMs"),
        );
    }
}

fn headline(round: &Value) -> String {
    let count = |field: &str| round[field].as_u64().unwrap_or(0);
    format!(
        "{}  {}  {:<12} {} of {} requests got a driver",
        text(round, "roundId"),
        text(round, "decidedAt"),
        text(round, "policy"),
        count("assigned"),
        count("requests"),
    )
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// A time in milliseconds, which proto3 JSON writes as text; "-" where there is none.
fn seconds(value: &Value, field: &str) -> String {
    let ms = match &value[field] {
        Value::String(text) => text.parse::<f64>().ok(),
        Value::Number(number) => number.as_f64(),
        _ => None,
    };
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms / 1000.0))
}
