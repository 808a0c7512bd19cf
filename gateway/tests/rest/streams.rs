//! Server streams: events and lines.

use std::time::Duration;

use chrono::DateTime;
use eventsource_stream::{Event, Eventsource};
use futures::{Stream, StreamExt};
use jitney_gateway::Config;
use jitney_platform::{auth::Role, clock::Clock, testing::eventually};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, refused};

async fn events(request: RequestBuilder) -> impl Stream<Item = Event> + Unpin {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer
        .bytes_stream()
        .eventsource()
        .map(|event| event.unwrap())
        .boxed()
}

fn data(event: &Event) -> Value {
    assert!(!event.data.contains('\n'));
    serde_json::from_str(&event.data).unwrap()
}

/// Kinds and ids.
async fn outline(request: RequestBuilder) -> Vec<(String, String)> {
    events(request)
        .await
        .map(|event| (event.event, event.id))
        .collect()
        .await
}

#[tokio::test]
async fn a_stream_is_events_until_it_is_complete() {
    for sandbox in [Sandbox::start().await, Sandbox::in_process().await] {
        let all: Vec<_> = events(sandbox.rider("GET", "/v1/trips/t:watch"))
            .await
            .collect()
            .await;
        assert_eq!(all.len(), 4, "{all:?}");
        assert_eq!((all[0].event.as_str(), all[0].id.as_str()), ("trip", "1"));
        assert_eq!(data(&all[0])["trip"]["tripId"], "t");
        assert_eq!(data(&all[0])["resumeToken"], "1");
        assert_eq!(all[3].event, "end");
        assert_eq!(data(&all[3]), json!({"reason": "COMPLETE"}));
        eventually("the service's stream is over", async || {
            sandbox.open_streams() == 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_stream_resumes_behind_the_last_id() {
    let sandbox = Sandbox::start().await;
    let resume = |id: &str| {
        sandbox
            .rider("GET", "/v1/trips/t:watch")
            .header("Last-Event-ID", id)
    };
    assert_eq!(
        outline(resume("2")).await[0],
        ("trip".to_owned(), "3".to_owned())
    );
    assert!(
        sandbox.seen().contains(r#"resume_token: "2""#),
        "{}",
        sandbox.seen()
    );
    let by_query = sandbox.rider("GET", "/v1/trips/t:watch?resume_token=1");
    assert_eq!(outline(by_query).await[0].1, "2");
    let both = sandbox
        .rider("GET", "/v1/trips/t:watch?resume_token=1")
        .header("last-event-id", "2");
    assert_eq!(refused(both).await.0, 400);
}

#[tokio::test]
async fn a_refusal_before_the_stream_is_an_ordinary_one() {
    let sandbox = Sandbox::start().await;
    let (status, reason, _) = refused(sandbox.rider("GET", "/v1/trips/missing:watch")).await;
    assert_eq!((status, reason.as_str()), (404, "NOT_FOUND"));
}

#[tokio::test]
async fn a_failure_on_the_way_is_the_last_event() {
    let sandbox = Sandbox::start().await;
    let all: Vec<_> = events(sandbox.rider("GET", "/v1/trips/breaks:watch"))
        .await
        .collect()
        .await;
    assert_eq!(all.len(), 4);
    assert_eq!(all[3].event, "error");
    assert_eq!(data(&all[3])["code"], 14);
    assert_eq!(data(&all[3])["details"][0]["reason"], "UNAVAILABLE");
}

#[tokio::test]
async fn lines_say_the_same() {
    let sandbox = Sandbox::start().await;
    let read = async |path: &str| -> Vec<Value> {
        let answer = sandbox
            .rider("GET", path)
            .header("accept", "application/x-ndjson");
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        let text = answer.text().await.unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let lines = read("/v1/trips/t:watch").await;
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[1]["result"]["resumeToken"], "2");
    assert_eq!(lines[3], json!({"end": {"reason": "COMPLETE"}}));
    let lines = read("/v1/trips/breaks:watch").await;
    assert_eq!(lines[3]["error"]["code"], 14);
}

#[tokio::test]
async fn a_stream_without_tokens_and_oneofs_is_plain_data() {
    let sandbox = Sandbox::start().await;
    let token = sandbox.token(Role::Operator, "olga");
    let url =
        "/v1/fleet:watch?interval_ms=500&area.south_west.latitude=41&area.northEast.latitude=42";
    let all = outline(sandbox.bare("GET", url).bearer_auth(token)).await;
    assert_eq!(all[0], ("message".to_owned(), String::new()));
    let seen = sandbox.seen();
    assert!(
        seen.contains("interval_ms: 500") && seen.contains("latitude: 42.0"),
        "{seen}"
    );
}

#[tokio::test]
async fn the_service_is_let_go_when_the_caller_leaves() {
    let sandbox = Sandbox::start().await;
    let mut stream = events(sandbox.rider("GET", "/v1/trips/endless:watch")).await;
    stream.next().await.unwrap();
    assert_eq!(sandbox.open_streams(), 1);
    drop(stream);
    eventually("the service's stream is over", async || {
        sandbox.open_streams() == 0
    })
    .await;
}

#[tokio::test]
async fn the_service_is_let_go_when_the_caller_does_not_read() {
    let config = Config {
        unread_max: Duration::from_millis(300),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let stream = sandbox
        .rider("GET", "/v1/trips/flood:watch")
        .send()
        .await
        .unwrap();
    eventually("the stream has begun", async || sandbox.open_streams() == 1).await;
    eventually("the service's stream is over", async || {
        sandbox.open_streams() == 0
    })
    .await;
    drop(stream);
}

#[tokio::test]
async fn silence_is_filled_and_bounded() {
    let config = Config {
        heartbeat: Duration::from_millis(20),
        stream_idle_max: Duration::from_millis(300),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let answer = sandbox
        .rider("GET", "/v1/trips/endless:watch")
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    assert!(
        text.starts_with("retry: 1000\n\nid: 1\nevent: trip\ndata: {"),
        "{text}"
    );
    assert!(text.matches(": still here\n\n").count() >= 3, "{text}");
    assert!(
        text.ends_with("event: end\ndata: {\"reason\":\"IDLE\"}\n\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_stream_does_not_last_for_ever() {
    let config = Config {
        stream_lifetime_max: Duration::from_millis(50),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let all: Vec<_> = events(sandbox.rider("GET", "/v1/trips/endless:watch"))
        .await
        .collect()
        .await;
    assert_eq!(data(all.last().unwrap()), json!({"reason": "LIFETIME"}));
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let (clock, hand) = Clock::manual(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
    let config = Config {
        heartbeat: Duration::from_millis(20),
        ..Config::default()
    };
    let sandbox = Sandbox::at(config, clock).await;
    let mut stream = events(sandbox.rider("GET", "/v1/trips/endless:watch")).await;
    stream.next().await.unwrap();
    hand.advance(Duration::from_secs(3600));
    let rest: Vec<_> = stream.collect().await;
    let last = rest.last().unwrap();
    assert_eq!(last.event, "error");
    assert_eq!(data(last)["details"][0]["reason"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn stopping_tells_the_streams() {
    let mut sandbox = Sandbox::start().await;
    let mut stream = events(sandbox.rider("GET", "/v1/trips/endless:watch")).await;
    stream.next().await.unwrap();
    sandbox.platform.shutdown.cancel();
    let rest: Vec<_> = stream.collect().await;
    assert_eq!(data(rest.last().unwrap()), json!({"reason": "DRAINING"}));
    let served = sandbox.served.take().unwrap();
    tokio::time::timeout(Duration::from_secs(5), served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn one_http2_connection_carries_streams_and_calls() {
    let sandbox = Sandbox::start().await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let token = sandbox.token(Role::Rider, "anna");
    let get = |path: &str| {
        client
            .get(format!("http://{}{path}", sandbox.address))
            .bearer_auth(&token)
            .send()
    };
    let stream = get("/v1/trips/endless:watch").await.unwrap();
    assert_eq!(stream.version(), reqwest::Version::HTTP_2);
    let mut stream = stream.bytes_stream().eventsource();
    assert_eq!(stream.next().await.unwrap().unwrap().event, "trip");
    let answer = get("/v1/trips/t").await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, reqwest::Version::HTTP_2)
    );
    sandbox.platform.shutdown.cancel();
    let rest: Vec<_> = stream.map(|event| event.unwrap()).collect().await;
    assert_eq!(data(rest.last().unwrap()), json!({"reason": "DRAINING"}));
}
