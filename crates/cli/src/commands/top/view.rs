//! What is on the screen.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::Line,
    widgets::{Block, Paragraph, Row, Table},
};
use serde_json::Value;

use super::{Source, page::Between};

const HTTP: &str = "http_server_request_duration_seconds";
const RPC: &str = "rpc_server_call_duration_seconds";
const ROUNDS: &str = "jitney_matching_round_duration_seconds";
/// gRPC's codes that are the service's own failures.
const FAILURES: [&str; 6] = ["2", "4", "12", "13", "14", "15"];

/// A city at one moment.
pub struct City {
    gateway: String,
    between: Between,
    rounds: Result<Vec<Value>, String>,
    /// Why what is shown is old.
    pub problem: Option<String>,
}

impl City {
    /// What two looks tell.
    pub fn of(source: &Source, between: Between) -> City {
        City {
            gateway: source.gateway.clone(),
            between,
            rounds: source.rounds.clone(),
            problem: None,
        }
    }

    /// Draws everything.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let services = self.services();
        let [head, top, middle, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(services.len() as u16 + 3),
            Constraint::Length(9),
            Constraint::Min(8),
        ])
        .areas(frame.area());
        frame.render_widget(self.headline(), head);
        let names = ["service", "per second", "failed", "half", "95 %"];
        self.table(frame, top, "Services", names, services);
        let [left, right] = halves(middle);
        self.table(frame, left, "Drivers", ["state", "drivers"], self.drivers());
        self.table(frame, right, "Rides", ["", ""], self.rides());
        let [left, right] = halves(bottom);
        let names = ["round", "requests", "assigned", "policy"];
        self.table(frame, left, "Rounds", names, self.last_rounds());
        self.table(frame, right, "Outbox and database", ["", ""], self.stores());
    }

    fn headline(&self) -> Paragraph<'_> {
        match &self.problem {
            Some(problem) => Paragraph::new(Line::from(format!("jitney  {problem}")).red()),
            None => Paragraph::new(Line::from(format!("jitney  {}  q quits", self.gateway)).bold()),
        }
    }

    fn table<const COLUMNS: usize>(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        title: &'static str,
        names: [&'static str; COLUMNS],
        rows: Vec<[String; COLUMNS]>,
    ) {
        let mut widths = [Constraint::Length(11); COLUMNS];
        widths[0] = Constraint::Min(14);
        let table = Table::new(rows.into_iter().map(Row::new), widths)
            .block(Block::bordered().title(title));
        let table = if names.iter().all(|name| name.is_empty()) {
            table
        } else {
            table.header(Row::new(names).style(Style::new().bold()))
        };
        frame.render_widget(table, area);
    }

    fn services(&self) -> Vec<[String; 5]> {
        let between = &self.between;
        let count = format!("{HTTP}_count");
        let statuses = between.now.by(&count, "http_response_status_code");
        let failed = statuses.keys().filter(|status| status.starts_with('5'));
        let failed =
            failed.map(|status| between.rate(&count, &[("http_response_status_code", status)]));
        let mut rows = vec![[
            "gateway".to_owned(),
            rate(between.rate(&count, &[])),
            rate(failed.sum()),
            seconds(between.quantile(0.5, HTTP, &[])),
            seconds(between.quantile(0.95, HTTP, &[])),
        ]];
        let count = format!("{RPC}_count");
        for service in between.now.by(&count, "rpc_service").into_keys() {
            let own = ("rpc_service", service.as_str());
            let failed = FAILURES
                .iter()
                .map(|code| between.rate(&count, &[own, ("rpc_grpc_status_code", code)]));
            rows.push([
                short(&service),
                rate(between.rate(&count, &[own])),
                rate(failed.sum()),
                seconds(between.quantile(0.5, RPC, &[own])),
                seconds(between.quantile(0.95, RPC, &[own])),
            ]);
        }
        rows
    }

    fn drivers(&self) -> Vec<[String; 2]> {
        let drivers = self.between.now.by("jitney_matching_drivers", "state");
        drivers
            .into_iter()
            .map(|(state, count)| [state.to_lowercase().replace('_', " "), number(count)])
            .collect()
    }

    fn rides(&self) -> Vec<[String; 2]> {
        let (between, now) = (&self.between, &self.between.now);
        let transitions = "jitney_trips_transitions_total";
        let ended = |outcome: &str| {
            now.sum(
                "jitney_matching_offers_ended_total",
                &[("outcome", outcome)],
            )
        };
        let offers: f64 = now.sum("jitney_matching_offers_ended_total", &[]);
        let accepted = if offers > 0.0 {
            format!("{:.0} %", 100.0 * ended("accepted") / offers)
        } else {
            "-".to_owned()
        };
        let unmatched = [("outcome", "no_driver")];
        let unmatched = now.sum("jitney_matching_searches_ended_total", &unmatched);
        let of = |histogram: &str| seconds(between.quantile(0.5, histogram, &[]));
        [
            (
                "requests per minute",
                rate(60.0 * between.rate(transitions, &[("state", "SEARCHING")])),
            ),
            (
                "searches under way",
                number(now.sum("jitney_matching_searches", &[])),
            ),
            ("offers accepted", accepted),
            ("nobody found", number(unmatched)),
            (
                "request to acceptance",
                of("jitney_trips_match_duration_seconds"),
            ),
            (
                "acceptance to pick-up",
                of("jitney_trips_pickup_duration_seconds"),
            ),
            ("watched", number(now.sum("jitney_trips_watches", &[]))),
        ]
        .map(|(name, value)| [name.to_owned(), value])
        .to_vec()
    }

    fn last_rounds(&self) -> Vec<[String; 4]> {
        let between = &self.between;
        let mut rows = vec![[
            "per second, half, 99 %".to_owned(),
            rate(between.rate("jitney_matching_rounds_total", &[])),
            seconds(between.quantile(0.5, ROUNDS, &[])),
            seconds(between.quantile(0.99, ROUNDS, &[])),
        ]];
        match &self.rounds {
            Err(problem) => {
                rows.push([problem.clone(), String::new(), String::new(), String::new()])
            }
            Ok(rounds) => rows.extend(rounds.iter().map(|round| {
                let text = |field: &str| match &round[field] {
                    Value::String(text) => text.clone(),
                    Value::Null => "0".to_owned(),
                    other => other.to_string(),
                };
                let at = text("decidedAt");
                let time = at
                    .split('T')
                    .nth(1)
                    .map(|time| time.chars().take(8).collect());
                [
                    time.unwrap_or(at),
                    text("requests"),
                    text("assigned"),
                    text("policy"),
                ]
            })),
        }
        rows
    }

    fn stores(&self) -> Vec<[String; 2]> {
        let now = &self.between.now;
        let lags = now.by("jitney_outbox_lag_seconds", "consumer");
        let lags = lags
            .into_iter()
            .map(|(consumer, lag)| [format!("lag to {consumer}"), seconds(Some(lag))]);
        let pools = now.by(
            "db_client_connection_count",
            "db_client_connection_pool_name",
        );
        let pools = pools.into_iter().map(|(pool, all)| {
            let labels = [
                ("db_client_connection_pool_name", pool.as_str()),
                ("db_client_connection_state", "used"),
            ];
            let used = now.sum("db_client_connection_count", &labels);
            [
                format!("connections of {pool}"),
                format!("{used:.0} of {all:.0}"),
            ]
        });
        lags.chain(pools).collect()
    }
}

fn halves(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(area)
}

/// `jitney.trips.v1.TripsService` as people say it.
fn short(service: &str) -> String {
    let own = service.strip_prefix("jitney.");
    let name = own.and_then(|rest| rest.split('.').next());
    name.unwrap_or(service).to_owned()
}

fn number(value: f64) -> String {
    format!("{value:.0}")
}

fn rate(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 10.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    }
}

fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 0.001 => format!("{:.0} µs", value * 1e6),
        Some(value) if value < 1.0 => format!("{:.1} ms", value * 1e3),
        Some(value) => format!("{value:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use serde_json::json;

    use super::{super::page::Page, *};

    #[test]
    fn a_city_is_on_one_screen() {
        let page = "jitney_matching_drivers{state=\"EN_ROUTE\"} 12\njitney_matching_searches 3\n\
            http_server_request_duration_seconds_count{http_response_status_code=\"500\"} 4\n\
            rpc_server_call_duration_seconds_count{rpc_service=\"jitney.trips.v1.TripsService\"} 4\n\
            jitney_outbox_lag_seconds{consumer=\"billing\"} 0.25\n\
            db_client_connection_count{db_client_connection_pool_name=\"trips\",\
            db_client_connection_state=\"used\"} 2\n";
        let city = City {
            gateway: "http://127.0.0.1:8080".to_owned(),
            between: Between {
                before: Page::default(),
                now: Page::parse(page),
                seconds: 2.0,
            },
            rounds: Ok(vec![
                json!({"decidedAt": "2026-01-02T03:04:05Z", "requests": 2, "policy": "batched"}),
            ]),
            problem: None,
        };
        let mut terminal = Terminal::new(TestBackend::new(110, 40)).unwrap();
        terminal.draw(|frame| city.draw(frame)).unwrap();
        let text: String = terminal
            .backend()
            .buffer()
            .content
            .iter()
            .map(|cell| cell.symbol())
            .collect();
        for told in [
            "en route", "12", "trips", "2.00", "03:04:05", "batched", "250.0 ms", "2 of 2",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
        // However small the terminal is.
        let mut terminal = Terminal::new(TestBackend::new(10, 3)).unwrap();
        terminal.draw(|frame| city.draw(frame)).unwrap();
    }
}
