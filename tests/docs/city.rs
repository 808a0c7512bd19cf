//! The city that the documented calls are made in: the built program, and for every call a ride that
//! stands where the call wants it.

use std::{path::Path, process::Output};

use jitney_platform::clock::Clock;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{folder::Folder, shell::Line};
use crate::support::{DriverApp, Phone, Process, eventually, places, point, receipt_of};

/// Where a trip has to stand before a call that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Requested, while nobody drives.
    Searching,
    /// Offered to the driver.
    Offered,
    /// The driver has accepted.
    Assigned,
    /// The driver is at the pick-up.
    Arrived,
    /// The rider is on board.
    Started,
    /// Over, and charged.
    Paid,
}

/// What follows `TRIP_ID` in a call, and where the trip has to stand for it.
const STAGES: &[(&str, Stage)] = &[
    (":watch", Stage::Assigned),
    (":previewCancellation", Stage::Searching),
    (":cancel", Stage::Searching),
    (":share", Stage::Searching),
    (":promotion", Stage::Searching),
    ("/receipt", Stage::Paid),
    ("/receipt:document", Stage::Paid),
    (":tip", Stage::Paid),
    ("/offers/OFFER_ID:accept", Stage::Offered),
    ("/offers/OFFER_ID:decline", Stage::Offered),
    (":arrive", Stage::Assigned),
    (":start", Stage::Arrived),
    (":complete", Stage::Started),
];

/// Where the trip of a call has to stand; none for a call without one.
///
/// # Errors
/// When `STAGES` does not say.
pub fn stage(line: &Line) -> Result<Option<Stage>, String> {
    let Some((_, rest)) = line.text.split_once("TRIP_ID") else {
        return Ok(None);
    };
    let end = |c: char| c.is_whitespace() || "?\"'".contains(c);
    let verb = rest.split(end).next().unwrap_or_default();
    let known = STAGES.iter().find(|(known, _)| *known == verb);
    known
        .map(|(_, stage)| Some(*stage))
        .ok_or_else(|| format!("STAGES does not say where the trip has to stand for {verb:?}"))
}

/// The entries of `STAGES` that no line uses.
pub fn unused_stages(lines: &[Line]) -> Vec<String> {
    let is_used = |verb: &str| {
        let endings = [" ", "?", "\"", "\n"];
        let mut ways = endings.iter().map(|end| format!("TRIP_ID{verb}{end}"));
        ways.any(|way| lines.iter().any(|line| line.text.contains(&way)))
    };
    let unused = STAGES.iter().filter(|(verb, _)| !is_used(verb));
    unused
        .map(|(verb, _)| format!("STAGES: no call has TRIP_ID{verb}"))
        .collect()
}

/// A running city with one driver, dora.
pub struct City {
    process: Process,
    folder: Folder,
    api: String,
    dora: Phone,
    operator: Phone,
    riders: usize,
}

/// What a line is given.
struct Example {
    rider: Phone,
    /// What stands in the documentation, and what takes its place.
    values: Vec<(&'static str, String)>,
    /// The driver, who stays connected.
    app: Option<DriverApp>,
}

impl City {
    /// Starts it.
    pub async fn start() -> Self {
        let folder = Folder::new();
        let process = Process::serve_all_with(
            &folder.data(),
            None,
            &[
                ("JITNEY_LISTEN__METRICS", "127.0.0.1:0"),
                // Nobody waits for the driver whom the example of a reservation has set aside.
                ("JITNEY_MATCHING__RESERVATION_TTL", "1s"),
            ],
        );
        let operator = process.phone("operator", "ops");
        let terms = json!({
            "percent": 10, "cap": {"currencyCode": "EUR", "minorUnits": "100"}, "ridesPerRider": 1,
            "validFrom": "2020-01-01T00:00:00Z", "validTo": "2999-01-01T00:00:00Z",
        });
        operator.put("/v1/promotions/welcome", terms).await.ok();
        Self {
            api: format!("http://{}", process.gateway),
            dora: process.phone("driver", "dora"),
            operator,
            process,
            folder,
            riders: 0,
        }
    }

    /// Runs a line on a ride of its own, and gives what it said.
    pub async fn run(&mut self, line: &Line, script: &str) -> Output {
        let example = self.example(line).await;
        let mut script = script.replace("http://127.0.0.1:8080", &self.api);
        for (name, value) in &example.values {
            script = script.replace(name, value);
        }
        let metrics = self.process.metrics.map(|at| at.to_string());
        let mut command = self.folder.shell(&script);
        command
            .env("API", &self.api)
            .env("RIDER", &example.rider.token)
            .env("DRIVER", &self.dora.token)
            .env("OPERATOR", &self.operator.token)
            .env("JITNEY_LISTEN__GATEWAY", self.process.gateway.to_string())
            .env("JITNEY_LISTEN__METRICS", metrics.unwrap_or_default());
        let output = match line.text.contains("TRIP_ID:watch") {
            true => watched(&example, command).await,
            false => Folder::finish(command).await,
        };
        self.tidy(&example.rider).await;
        output
    }

    /// The folder the lines run in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn example(&mut self, line: &Line) -> Example {
        self.riders += 1;
        let mut example = Example {
            rider: self
                .process
                .phone("rider", &format!("anna-{}", self.riders)),
            values: Vec::new(),
            app: None,
        };
        let text = &line.text;
        let stage = stage(line).expect("it was looked at before");
        if stage > Some(Stage::Searching)
            || text.contains("match-driver")
            || text.contains("/dora/")
        {
            let mut app = DriverApp::connect(&self.dora).await;
            app.go_online(places::STATION, &["economy"]).await;
            example.app = Some(app);
        }
        if let Some(stage) = stage {
            ride_to(stage, &mut example).await;
        }
        if text.contains("QUOTE_ID") {
            let quotes = example.rider.post("/v1/quotes", wish()).await.ok();
            example
                .values
                .push(("QUOTE_ID", string(&quotes["quotes"][0]["quoteId"])));
        }
        if text.contains("login:finish") {
            self.begin_login(&mut example).await;
        }
        if text.contains("replay") {
            self.round(&mut example).await;
        }
        // A month that is over, or has not come, says nothing of this driver.
        let month = Clock::system().now().format("%Y-%m").to_string();
        example.values.push(("2026-11", month));
        example
    }

    /// A login that waits for its code, which the gateway writes to its log.
    async fn begin_login(&self, example: &mut Example) {
        let phone = json!({"phone": "+377 93 15 00 00"});
        let nobody = Phone::new(&self.api, "", String::new());
        let login = string(&nobody.post("/v1/login:start", phone).await.ok()["loginId"]);
        let code = eventually("the code is in the log", async || {
            let log = std::fs::read_to_string(self.process.log()).ok()?;
            let mut records = log
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let record = records.find(|record: &Value| record["login_id"] == login.as_str())?;
            record["code"].as_str().map(str::to_owned)
        })
        .await;
        example.values.extend([("0190…", login), ("123456", code)]);
    }

    /// The latest round, and a trip in it.
    async fn round(&self, example: &mut Example) {
        ride_to(Stage::Searching, example).await;
        let round = eventually("there is a round", async || {
            let rounds = self.operator.get("/v1/rounds?limit=1").await.ok();
            rounds["rounds"][0]["roundId"].as_str().map(str::to_owned)
        })
        .await;
        let trip = example.values.iter().find(|(name, _)| *name == "TRIP_ID");
        let trip = trip.expect("a ride was asked for").1.clone();
        example.values.extend([
            ("0190a000-0000-7000-8000-000000000001", trip),
            ("0190a000-0000-7000-8000-0000000000aa", round),
        ]);
    }

    /// Ends the rides of a rider, so that the driver is free for the next.
    async fn tidy(&self, rider: &Phone) {
        let trips = rider.get("/v1/trips").await.ok();
        for trip in trips["trips"].as_array().into_iter().flatten() {
            let id = string(&trip["tripId"]);
            match trip["state"].as_str().unwrap_or_default() {
                "TRIP_STATE_COMPLETED" | "TRIP_STATE_CANCELLED" | "TRIP_STATE_EXPIRED" => {}
                "TRIP_STATE_IN_PROGRESS" => {
                    self.dora
                        .post(&format!("/v1/trips/{id}:complete"), json!({}))
                        .await
                        .ok();
                }
                _ => {
                    rider
                        .post(&format!("/v1/trips/{id}:cancel"), json!({}))
                        .await
                        .ok();
                }
            }
        }
    }
}

/// A ride through the built-in city.
fn wish() -> Value {
    json!({"pickup": point(places::CASINO), "dropoff": point(places::PORT), "product": "economy"})
}

fn string(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// Watches a ride that is driven meanwhile: the watching ends by itself, and has seen the end of the ride.
async fn watched(example: &Example, command: Command) -> Output {
    let value = |wanted| {
        let found = example.values.iter().find(|(name, _)| *name == wanted);
        found.expect("a ride was asked for").1.as_str()
    };
    let app = example.app.as_ref().expect("the driver is on shift");
    let ride = app.drive(value("TRIP_ID"), value("2862"));
    let (output, _) = tokio::join!(Folder::finish(command), ride);
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(seen.contains("TRIP_STATE_COMPLETED"), "{seen}");
    output
}

/// Asks for a ride and brings it where it has to stand.
async fn ride_to(stage: Stage, example: &mut Example) {
    let rider = example.rider.clone();
    let trip = rider.post_keyed("/v1/trips", "ride", wish()).await.ok()["trip"].clone();
    let (id, pin) = (string(&trip["tripId"]), string(&trip["pin"]));
    example
        .values
        .extend([("TRIP_ID", id.clone()), ("2862", pin.clone())]);
    if stage == Stage::Searching {
        return;
    }
    let app = example.app.as_mut().expect("the driver is on shift");
    let offer = loop {
        let offer = app.next("offer").await;
        if offer["tripId"] == id.as_str() {
            break offer;
        }
    };
    example.values.push(("OFFER_ID", string(&offer["offerId"])));
    let steps = [
        (Stage::Arrived, "arrive", json!({})),
        (Stage::Started, "start", json!({"pin": pin})),
        (Stage::Paid, "complete", json!({})),
    ];
    if stage >= Stage::Assigned {
        app.accept(&offer).await;
    }
    for (reached, verb, body) in steps {
        if stage >= reached {
            app.phone
                .post(&format!("/v1/trips/{id}:{verb}"), body)
                .await
                .ok();
        }
    }
    if stage == Stage::Paid {
        receipt_of(&rider, &id).await;
    }
}
