//! The simulated people against a server on paper: rides go through whatever breaks, and a server
//! that breaks the rules is found out.
#![allow(clippy::unwrap_used)]

mod paper;

use std::{sync::Arc, time::Duration};

use jitney_roads::{RoadNetwork, testmap};
use jitney_sim::{Config, Report, Rule, Until, run};
use paper::{Faults, Paper, tokens};
use tokio_util::sync::CancellationToken;

fn roads() -> Arc<RoadNetwork> {
    Arc::new(testmap::grid(8, 8, 10.0))
}

fn config(gateway_url: String) -> Config {
    Config {
        gateway_url,
        seed: 5,
        drivers: 4,
        riders_per_hour: 9_000.0,
        until: Until::Requests(6),
        speed: 4.0,
        trip_meters_min: 15.0,
        trip_meters_max: 60.0,
        answer_time_max: Duration::from_millis(200),
        boarding_time_max: Duration::from_millis(200),
        cancel_time_max: Duration::from_secs(2),
        ping_interval: Duration::from_millis(100),
        patience: Duration::from_secs(10),
        receipt_patience: Duration::from_secs(1),
        grace: Duration::from_secs(60),
        progress: false,
        ..Config::default()
    }
}

async fn simulate(faults: Faults, change: fn(&mut Config)) -> Report {
    let roads = roads();
    let paper = Paper::serve(roads.id().to_string(), faults).await;
    let mut config = config(paper.url);
    change(&mut config);
    run(config, roads, tokens(), CancellationToken::new())
        .await
        .unwrap()
}

fn rules(report: &Report) -> Vec<Rule> {
    let mut rules: Vec<_> = report
        .violations
        .iter()
        .map(|violation| violation.rule)
        .collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[tokio::test]
async fn a_city_lives() {
    let report = simulate(Faults::default(), |config| {
        config.decline_probability = 0.2;
        config.cancel_probability = 0.0;
    })
    .await;
    assert!(report.ok(), "{report}");
    assert_eq!(
        (report.rides.requested, report.rides.served),
        (6, 6),
        "{report}"
    );
    assert_eq!(report.fares.0["EUR"], 6_000);
    assert_eq!(report.assignment_wait.rides, 6);
    assert!(report.pickup_wait.median_ms >= report.assignment_wait.median_ms);
    assert!(report.driven_meters > 100, "{report}");
    assert!(
        report.pings.accepted > 0 && report.calls_failed.is_empty(),
        "{report}"
    );
}

#[tokio::test]
async fn rides_go_through_what_breaks() {
    let faults = Faults {
        refuse_every: 7,
        lose_every: 5,
        cut_socket_after: 8,
        cut_events_after: 2,
        ..Faults::default()
    };
    let report = simulate(faults, |config| config.cancel_probability = 0.0).await;
    assert!(report.ok(), "{report}");
    assert_eq!(report.rides.served, 6, "{report}");
    assert!(
        report.connections.lost > 0 && report.connections.resumed > 0,
        "{report}"
    );
    assert!(
        report
            .calls_failed
            .keys()
            .any(|label| label.contains("503 UNAVAILABLE")),
        "{report}"
    );
}

#[tokio::test]
async fn people_change_their_minds() {
    let riders = simulate(Faults::default(), |config| {
        config.cancel_probability = 0.5;
        config.ignore_probability = 0.2;
    });
    // Every ride is taken by somebody, so that there are enough to give back.
    let drivers = simulate(Faults::default(), |config| {
        config.cancel_probability = 0.0;
        config.give_back_probability = 0.6;
    });
    let (riders, drivers) = tokio::join!(riders, drivers);
    assert!(riders.ok() && drivers.ok(), "{riders}\n{drivers}");
    let rides = &riders.rides;
    assert_eq!(rides.served + rides.cancelled, 6, "{riders}");
    assert!(rides.cancelled > 0, "{riders}");
    assert!(drivers.offers.given_back > 0, "{drivers}");
}

#[tokio::test]
async fn a_server_that_breaks_the_rules_is_found_out() {
    let few = |config: &mut Config| {
        config.until = Until::Requests(2);
        config.cancel_probability = 0.0;
    };
    let short = Faults {
        short_receipts: true,
        ..Faults::default()
    };
    let none = Faults {
        no_receipts: true,
        ..Faults::default()
    };
    let wrong = Faults {
        wrong_driver: true,
        ..Faults::default()
    };
    let unbalanced = Faults {
        unbalanced: true,
        ..Faults::default()
    };
    let (short, none, wrong, unbalanced) = tokio::join!(
        simulate(short, few),
        simulate(none, few),
        simulate(wrong, few),
        simulate(unbalanced, few)
    );
    assert_eq!(rules(&short), [Rule::ReceiptIsTheFare], "{short}");
    assert_eq!(rules(&none), [Rule::ReceiptIsTheFare], "{none}");
    assert!(rules(&wrong).contains(&Rule::OneDriverPerTrip), "{wrong}");
    assert_eq!(rules(&unbalanced), [Rule::LedgerBalances], "{unbalanced}");
}

#[tokio::test]
async fn another_simulation_carries_on_with_what_one_left_behind() {
    let roads = roads();
    let paper = Paper::serve(roads.id().to_string(), Faults::default()).await;
    let url = paper.url.clone();
    let first = Config {
        until: Until::Stopped,
        cancel_probability: 0.0,
        riders_per_hour: 3_000.0,
        ..config(url.clone())
    };
    // Killed, not stopped: the task is gone from one moment to the next.
    let killed = tokio::spawn(run(
        first,
        Arc::clone(&roads),
        tokens(),
        CancellationToken::new(),
    ));
    paper.until_driven(3).await;
    killed.abort();
    let _ = killed.await;
    // Two of the drivers are not of the second city's own, but have rides to end.
    let second = Config {
        drivers: 2,
        until: Until::Requests(1),
        cancel_probability: 0.0,
        ..config(url)
    };
    let report = run(second, roads, tokens(), CancellationToken::new())
        .await
        .unwrap();
    assert!(report.ok(), "{report}");
    assert!(report.rides.carried_on > 0, "{report}");
    assert_eq!(report.rides.served, report.rides.carried_on + 1, "{report}");
}

#[tokio::test]
async fn a_city_that_is_stopped_leaves_nobody_out_there() {
    let roads = roads();
    let paper = Paper::serve(roads.id().to_string(), Faults::default()).await;
    let url = paper.url.clone();
    let stop = CancellationToken::new();
    let settings = Config {
        until: Until::Stopped,
        riders_per_hour: 3_000.0,
        ..config(url.clone())
    };
    let city = tokio::spawn(run(settings, Arc::clone(&roads), tokens(), stop.clone()));
    paper.until_driven(1).await;
    stop.cancel();
    let report = city.await.unwrap().unwrap();
    assert!(report.ok(), "{report}");
    assert_eq!(report.rides.unfinished, 0, "{report}");
    assert!(report.rides.requested > 0, "{report}");
    let after = Config {
        until: Until::Requests(1),
        ..config(url)
    };
    let report = run(after, roads, tokens(), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(report.rides.carried_on, 0, "{report}");
}

#[tokio::test]
async fn another_map_is_refused() {
    let paper = Paper::serve("0000000000000000".to_owned(), Faults::default()).await;
    let result = run(
        config(paper.url),
        roads(),
        tokens(),
        CancellationToken::new(),
    )
    .await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("give both the same map"), "{error}");
}

#[tokio::test]
async fn a_person_with_an_app_gets_to_their_goal() {
    let roads = roads();
    let paper = Paper::serve(roads.id().to_string(), Faults::default()).await;
    let url = paper.url.clone();
    let stop = CancellationToken::new();
    let settings = Config {
        until: Until::Stopped,
        riders_per_hour: 0.0,
        ..config(url.clone())
    };
    let city = tokio::spawn(run(settings, Arc::clone(&roads), tokens(), stop.clone()));
    let place = |lat: f64, lon: f64| serde_json::json!({"latitude": lat, "longitude": lon});
    let created: serde_json::Value = reqwest::Client::new()
        .post(format!("{url}/v1/trips"))
        .header("authorization", "Bearer ROLE_RIDER/anna")
        .header("idempotency-key", "k")
        .json(&serde_json::json!({"product": "economy",
            "pickup": place(0.0001, 0.0001), "dropoff": place(0.0005, 0.0005)}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let trip_id = created["trip"]["tripId"].as_str().unwrap();
    let ended = reqwest::Client::new()
        .get(format!("{url}/v1/trips/{trip_id}:watch"))
        .header("authorization", "Bearer ROLE_RIDER/anna")
        .send();
    let events = tokio::time::timeout(Duration::from_secs(30), async {
        ended.await.unwrap().text().await.unwrap()
    });
    assert!(events.await.unwrap().contains("TRIP_STATE_COMPLETED"));
    stop.cancel();
    assert!(city.await.unwrap().unwrap().ok());
}
