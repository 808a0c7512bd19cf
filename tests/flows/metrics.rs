//! What is measured: every metric is written down and every one that is written down is there, dashboards and
//! alerts name only such, and nobody's secret is among them, whichever route it was sent through.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Collector, DriverApp, Phone, Process, eventually, places::*, point, trip_in};

/// Metrics that are there only once something happened that a test does not wait for.
const LATER: [&str; 1] = ["jitney_matching_customization_seconds"];
/// What Prometheus makes by itself.
const PROMETHEUS_OWN: [&str; 1] = ["up"];
/// How the names of metrics begin.
const PREFIXES: [&str; 6] = [
    "jitney_",
    "jitney:",
    "rpc_",
    "http_server_",
    "db_client_",
    "target_",
];

/// What must never be told: it is in what the requests below say.
const PHONE: &str = "+37799887766";
const POSITION: &str = "43.739123456";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn observability() -> PathBuf {
    root().join("deploy/observability")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_measured_is_written_down_and_nobodys_secret() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("JITNEY_TELEMETRY__ENDPOINT", collector.endpoint()),
        ("JITNEY_LISTEN__METRICS", "127.0.0.1:0"),
        // Minutes, otherwise.
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
    ];
    let program = Process::serve_all_with(folder.path(), None, &settings);
    ride(&program).await;
    let phones = ["rider", "driver", "operator"].map(|role| program.phone(role, "canary-id"));
    walk_every_route(&phones).await;

    let page = Page::parse(&program.scrape().await);
    page.is_as_written_down();
    for (source, names) in named_by_dashboards_and_rules() {
        for name in names {
            let is_known = page.has(&name) || PROMETHEUS_OWN.contains(&name.as_str());
            assert!(is_known, "{source} names {name}, which is not on the page");
        }
    }

    let routes = page.values("http_route");
    assert!(
        routes.contains("/v1/trips/{trip_id}"),
        "routes are templates: {routes:?}"
    );
    let otlp = eventually("metrics have been exported", || async {
        let otlp = collector.everything();
        let has = |name: &str| otlp.contains(&format!("name: \"{name}\""));
        (has("jitney.trips.transitions") && has("http.server.request.duration")).then_some(otlp)
    })
    .await;
    let token = phones[0].token.as_str();
    let secrets = [
        PHONE,
        &PHONE[4..],
        POSITION,
        "43.739",
        "canary",
        &token[token.len() - 40..],
    ];
    for secret in secrets {
        let told = page.text.lines().find(|line| line.contains(secret));
        assert_eq!(told, None, "{secret} is on the page");
        assert!(!otlp.contains(secret), "{secret} reached the collector");
    }
    top_shows_it(&program, folder.path());
    drop(program);
}

/// `jitney top` has the city on one picture, and `jitney doctor` finds nothing wrong with the machine.
fn top_shows_it(program: &Process, folder: &Path) {
    let metrics = format!("http://{}", program.metrics.unwrap());
    let gateway = format!("http://{}", program.gateway);
    let top = [
        "top",
        "--once",
        "--interval",
        "100ms",
        "--metrics",
        &metrics,
        "--url",
        &gateway,
    ];
    for (arguments, told) in [
        (
            &top[..],
            &["gateway", "trips", "idle", "Rounds", "lag to billing"][..],
        ),
        (
            &["doctor"][..],
            &["configuration", "data folder", "database"][..],
        ),
    ] {
        let output = Process::command(folder).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        for word in told {
            assert!(
                said.contains(word),
                "{arguments:?} does not tell {word}: {said}"
            );
        }
    }
}

/// One ride to its receipt.
async fn ride(program: &Process) {
    let anna = program.phone("rider", "anna");
    let mut ben = DriverApp::connect(&program.phone("driver", "ben")).await;
    ben.go_online(STATION, &["economy"]).await;
    let asked = json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "economy"});
    let trip = anna.post_keyed("/v1/trips", "ride", asked).await.ok()["trip"].clone();
    let trip_id = trip["tripId"].as_str().unwrap();
    let offer = ben.next("offer").await;
    ben.accept(&offer).await;
    ben.next("assignment").await;
    ben.drive(trip_id, trip["pin"].as_str().unwrap()).await;
    eventually("the fare is taken", || async {
        let trip = trip_in(&anna, trip_id, "TRIP_STATE_COMPLETED").await;
        (trip["paymentState"] == "PAYMENT_STATE_CAPTURED").then_some(())
    })
    .await;
}

/// Sends secrets through every route, as everybody.
async fn walk_every_route(phones: &[Phone]) {
    let document = phones[0].get("/openapi.json").await.ok();
    let body = json!({
        "phone": PHONE,
        "note": "canary-note",
        "pickup": {"latitude": POSITION.parse::<f64>().unwrap(), "longitude": 7.42},
    });
    let mut walked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        // Everything is in one process with the database: it is not to end.
        let path = path
            .replace("trip_id}", "canary-trip}")
            .replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys() {
            let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else {
                continue;
            };
            for phone in phones {
                let token = &phone.token;
                let url = format!("{path}?location.latitude={POSITION}&access_token={token}");
                let mut request = phone
                    .request(method.clone(), &url)
                    .header("cookie", "canary-cookie")
                    .header("idempotency-key", "canary-key");
                if method != Method::GET {
                    request = request.json(&body);
                }
                // A stream that is let in is dropped again.
                request.send().await.unwrap();
                walked += 1;
            }
        }
    }
    assert!(walked > 150, "{walked}");
}

/// A page of metrics.
struct Page {
    text: String,
    /// Families with their types.
    types: BTreeMap<String, String>,
    /// Labels of every family, and their values.
    labels: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Page {
    fn parse(text: &str) -> Page {
        let mut page = Page {
            text: text.to_owned(),
            types: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').unwrap();
                page.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                page.series(line);
            }
        }
        page
    }

    fn series(&mut self, line: &str) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let family = self.family(name).unwrap_or_else(|| panic!("{line}"));
        let labels = self.labels.entry(family).or_default();
        let Some((inside, _)) = rest
            .strip_prefix('{')
            .and_then(|rest| rest.rsplit_once('}'))
        else {
            return;
        };
        for (label, value) in pairs(inside) {
            if label != "le" {
                labels.entry(label).or_default().insert(value);
            }
        }
    }

    /// The family that a series is of.
    fn family(&self, name: &str) -> Option<String> {
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|end| name.strip_suffix(end))
            .find(|name| {
                self.types
                    .get(*name)
                    .is_some_and(|kind| kind == "histogram")
            });
        let family = of_histogram.unwrap_or(name);
        self.types.contains_key(family).then(|| family.to_owned())
    }

    fn has(&self, name: &str) -> bool {
        self.family(name).is_some()
    }

    /// Every value of a label.
    fn values(&self, label: &str) -> BTreeSet<String> {
        let values = self.labels.values().filter_map(|labels| labels.get(label));
        values.flatten().cloned().collect()
    }

    /// Compares it with the table of the documentation, both ways.
    fn is_as_written_down(&self) {
        let written = written_down();
        for (name, kind) in &self.types {
            let Some(row) = written.get(name) else {
                panic!("{name} ({kind}) is not in docs/observability.md");
            };
            assert_eq!(&row.kind, kind, "{name}");
            let told = self.labels.get(name).cloned().unwrap_or_default();
            for label in told.keys() {
                assert!(
                    row.labels.contains(label),
                    "{name} has a label {label} that is not told of"
                );
            }
        }
        for (name, row) in &written {
            let Some(told) = self.labels.get(name) else {
                assert!(
                    LATER.contains(&name.as_str()),
                    "{name} is written down and not there"
                );
                continue;
            };
            for label in &row.labels {
                assert!(told.contains_key(label), "{name} has no label {label}");
            }
        }
    }
}

/// The labels of a series.
fn pairs(inside: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = inside;
    while let Some((label, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = after.char_indices();
        let mut end = after.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => value.extend(characters.next().map(|(_, next)| next)),
                '"' => {
                    end = at;
                    break;
                }
                other => value.push(other),
            }
        }
        pairs.push((label.trim_start_matches(',').to_owned(), value));
        rest = after.get(end + 1..).unwrap_or_default();
    }
    pairs
}

struct Row {
    kind: String,
    labels: BTreeSet<String>,
}

/// The table of the documentation.
fn written_down() -> BTreeMap<String, Row> {
    let text = read(&root().join("docs/observability.md"));
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, _, labels, _, _] = cells[..] else {
            continue;
        };
        if !["counter", "gauge", "histogram"].contains(&kind) {
            continue;
        }
        let labels = labels
            .split(',')
            .map(|label| label.trim().trim_matches('`'));
        let row = Row {
            kind: kind.to_owned(),
            labels: labels
                .filter(|label| !label.is_empty())
                .map(str::to_owned)
                .collect(),
        };
        let name = name.trim_matches('`').to_owned();
        assert!(
            rows.insert(name.clone(), row).is_none(),
            "{name} is there twice"
        );
    }
    assert!(rows.len() > 30, "the table is read");
    rows
}

/// What dashboards ask Prometheus for, panel by panel.
fn panels() -> Vec<(String, String)> {
    let mut panels = Vec::new();
    for file in std::fs::read_dir(observability().join("dashboards")).unwrap() {
        let path = file.unwrap().path();
        let board: Value = serde_json::from_str(&read(&path)).unwrap();
        let uid = board["uid"].as_str().expect("a dashboard has a uid");
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().expect("a panel has a title");
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{uid}: {title} has no id of its own"
            );
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{uid}: {title} asks for nothing");
            for target in targets {
                let asked = target["expr"].as_str().unwrap().to_owned();
                panels.push((format!("{uid}: {title}"), asked));
            }
        }
    }
    assert!(panels.len() > 40, "panels are read");
    panels
}

/// Metrics that dashboards and rules name. What the rules record they may name too.
fn named_by_dashboards_and_rules() -> Vec<(String, BTreeSet<String>)> {
    let rules = read(&observability().join("rules.yaml"));
    let recorded: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .collect();
    assert!(recorded.len() > 5, "recording rules are read");
    let expressions: Vec<&str> = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', '-']))
        .filter(|line| !line.contains("summary:") && !line.contains("description:"))
        .collect();
    let mut all = panels();
    all.push(("rules.yaml".to_owned(), expressions.join("\n")));
    let mut named = Vec::new();
    for (source, asked) in all {
        let names = metric_names(&asked);
        let not_recorded = |name: &String| {
            let is_recorded = recorded.contains(name.as_str());
            assert!(
                is_recorded || !name.contains(':'),
                "{source}: nobody records {name}"
            );
            !is_recorded
        };
        named.push((
            source.clone(),
            names.into_iter().filter(not_recorded).collect(),
        ));
    }
    named
}

/// The metrics in an expression: words that begin as ours do, outside of `{}` and of `by ()`.
fn metric_names(expression: &str) -> BTreeSet<String> {
    let mut bare = String::new();
    let (mut depth, mut skipping) = (0, false);
    for (at, character) in expression.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            '(' if ends_with_grouping(&expression[..at]) => skipping = true,
            ')' if skipping => skipping = false,
            other if depth == 0 && !skipping => bare.push(other),
            _ => {}
        }
    }
    bare.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)) || *word == "up")
        .map(str::to_owned)
        .collect()
}

fn ends_with_grouping(before: &str) -> bool {
    let word = before.trim_end().rsplit([' ', '(', '\n']).next();
    matches!(word, Some("by" | "without" | "on" | "ignoring"))
}

#[test]
fn metric_names_are_found() {
    let names = metric_names(
        "sum by (rpc_service, le) (rate(rpc_x_bucket{rpc_y=\"a|b\"}[5m])) / up{job=\"j\"} > jitney:a:b",
    );
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(names, ["jitney:a:b", "rpc_x_bucket", "up"]);
}

#[test]
fn prometheus_takes_the_rules_and_the_panels() {
    let promtool = |arguments: &[&str]| {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(observability())
            .output();
        output.map(|output| {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(output.status.success(), "promtool {arguments:?}: {said}");
        })
    };
    if let Err(error) = promtool(&["--version"]) {
        assert!(
            std::env::var_os("CI").is_none(),
            "promtool: {error}; `make setup` installs it"
        );
        eprintln!("SKIPPED: promtool: {error}; `make setup` installs it");
        return;
    }
    promtool(&["check", "rules", "rules.yaml"]).unwrap();
    promtool(&["check", "config", "prometheus.yaml"]).unwrap();
    promtool(&["test", "rules", "rules_test.yaml"]).unwrap();
    // A panel's expression is as good as a rule's.
    let mut rules = "groups:\n- name: panels\n  rules:\n".to_owned();
    for (number, (_, asked)) in panels().iter().enumerate() {
        rules += &format!("  - record: panel_{number}\n    expr: {}\n", json!(asked));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("panels.yaml");
    std::fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]).unwrap();
}

#[test]
fn what_compose_mounts_is_there() {
    let compose = read(&observability().join("compose.observability.yaml"));
    let mounted: Vec<&str> = compose
        .split(['"', ' ', '\n', '['])
        .filter_map(|word| word.strip_prefix("./")?.split(':').next())
        .collect();
    assert!(mounted.len() >= 6, "{mounted:?}");
    for file in mounted {
        assert!(observability().join(file).exists(), "{file}");
    }
}
