//! gRPC-Web, as a browser's generated client speaks it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use jitney_gateway::Config;
use jitney_platform::auth::Role;
use jitney_proto::trips::v1::{
    GetTripRequest, GetTripResponse, WatchTripRequest, WatchTripResponse,
};
use prost::Message;
use reqwest::RequestBuilder;

use crate::sandbox::Sandbox;

const GET_TRIP: &str = "/jitney.trips.v1.TripsService/GetTrip";
const WATCH_TRIP: &str = "/jitney.trips.v1.TripsService/WatchTrip";

fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &bytes].concat()
}

/// Messages, and the status with what it says.
fn unframed(mut bytes: &[u8]) -> (Vec<Vec<u8>>, String, String) {
    let (mut messages, mut trailers) = (Vec::new(), String::new());
    while let [kind, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        assert!(length <= rest.len(), "{}", String::from_utf8_lossy(bytes));
        let (frame, after) = rest.split_at(length);
        match kind {
            0 => messages.push(frame.to_vec()),
            _ => trailers = String::from_utf8(frame.to_vec()).unwrap(),
        }
        bytes = after;
    }
    let field = |name: &str| {
        let line = trailers.lines().find(|line| line.starts_with(name));
        line.map(|line| line[name.len()..].trim().to_owned())
            .unwrap_or_default()
    };
    (messages, field("grpc-status:"), field("grpc-message:"))
}

async fn answered(request: RequestBuilder) -> (Vec<Vec<u8>>, String, String) {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // An answer that is only a status may have it in the head.
    let head = |name: &str| {
        let value = answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (status, message) = (head("grpc-status"), head("grpc-message"));
    let body = answer.bytes().await.unwrap();
    let (messages, in_body, told) = unframed(&body);
    match status.is_empty() {
        true => (messages, in_body, told),
        false => (messages, status, message),
    }
}

fn ask(
    sandbox: &Sandbox,
    token: Option<String>,
    path: &str,
    message: &impl Message,
) -> RequestBuilder {
    let mut request = sandbox
        .bare("POST", path)
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .body(framed(message));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request
}

#[tokio::test]
async fn a_browser_calls_as_itself() {
    for sandbox in [Sandbox::start().await, Sandbox::in_process().await] {
        let anna = sandbox.token(Role::Rider, "anna");
        let get = |id: &str| GetTripRequest { trip_id: id.into() };
        let (messages, status, told) =
            answered(ask(&sandbox, Some(anna.clone()), GET_TRIP, &get("t-7"))).await;
        assert_eq!(status, "0", "{told}");
        let trip = GetTripResponse::decode(&*messages[0])
            .unwrap()
            .trip
            .unwrap();
        assert_eq!(trip.trip_id, "t-7");
        assert!(
            sandbox.seen().starts_with("GetTrip rider:anna"),
            "{}",
            sandbox.seen()
        );
        assert_eq!(sandbox.backend.request_id.lock().unwrap().len(), 36);

        // The same in text.
        let text = sandbox
            .bare("POST", GET_TRIP)
            .header("content-type", "application/grpc-web-text")
            .header("accept", "application/grpc-web-text")
            .bearer_auth(&anna)
            .body(STANDARD.encode(framed(&get("t-8"))));
        let text = text.send().await.unwrap();
        let text = text.text().await.unwrap();
        let text: Vec<u8> = text
            .split_inclusive('=')
            .collect::<String>()
            .as_bytes()
            .chunks(4)
            .flat_map(|chunk| STANDARD.decode(chunk).unwrap())
            .collect();
        assert_eq!(unframed(&text).1, "0");

        let watch = WatchTripRequest {
            trip_id: "t".into(),
            ..Default::default()
        };
        let (messages, status, _) =
            answered(ask(&sandbox, Some(anna.clone()), WATCH_TRIP, &watch)).await;
        assert_eq!((messages.len(), status.as_str()), (3, "0"));
        let last = WatchTripResponse::decode(&*messages[2]).unwrap();
        assert_eq!(last.resume_token, "3");
        let missing = answered(ask(&sandbox, Some(anna), GET_TRIP, &get("missing"))).await;
        assert_eq!(missing.1, "5", "{}", missing.2);
    }
}

#[tokio::test]
async fn the_rules_are_those_of_rest() {
    let config = Config {
        body_bytes_max: 10_000,
        call_timeout: Duration::from_millis(200),
        requests_per_second: 1,
        requests_burst: 30,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let anna = || Some(sandbox.token(Role::Rider, "anna"));
    let get = GetTripRequest {
        trip_id: "t".into(),
    };
    let status = async |request| answered(request).await.1;
    assert_eq!(status(ask(&sandbox, None, GET_TRIP, &get)).await, "16");
    assert_eq!(
        status(ask(&sandbox, Some("a.b.c".into()), GET_TRIP, &get)).await,
        "16"
    );
    let accept = "/jitney.trips.v1.TripsService/AcceptOffer";
    assert_eq!(status(ask(&sandbox, anna(), accept, &get)).await, "7");
    // The gateway refuses by itself: with nobody behind it the answer is the same.
    let alone = Sandbox::alone(Config::default()).await;
    let rider = Some(alone.token(Role::Rider, "anna"));
    assert_eq!(status(ask(&alone, rider, accept, &get)).await, "7");
    // What has no route is not reached this way either, nor what streams up.
    for path in [
        "/jitney.billing.v1.BillingService/CaptureHold",
        "/jitney.trips.v1.TripsService/Nothing",
        "/grpc.health.v1.Health/Check",
        "/jitney.trips.v1.TripsService/GetTrip/",
        "/jitney.trips.v1.TripsService%2FGetTrip",
    ] {
        assert_eq!(
            status(ask(&sandbox, anna(), path, &get)).await,
            "12",
            "{path}"
        );
    }
    let socket = "/jitney.matching.v1.MatchingService/StreamDriver";
    let dan = Some(sandbox.token(Role::Driver, "dan"));
    assert_eq!(status(ask(&sandbox, dan, socket, &get)).await, "12");
    assert!(sandbox.seen().is_empty(), "{}", sandbox.seen());
    let large = GetTripRequest {
        trip_id: "x".repeat(20_000),
    };
    assert_ne!(status(ask(&sandbox, anna(), GET_TRIP, &large)).await, "0");
    assert!(sandbox.seen().is_empty(), "{}", sandbox.seen());
    let create = "/jitney.trips.v1.TripsService/CreateTrip";
    let slow = jitney_proto::trips::v1::CreateTripRequest {
        product: "slow".into(),
        ..Default::default()
    };
    assert_eq!(status(ask(&sandbox, anna(), create, &slow)).await, "4");
    let mut last = String::new();
    for _ in 0..60 {
        last = status(ask(&sandbox, anna(), GET_TRIP, &get)).await;
    }
    assert_eq!(last, "8", "too often");
}

#[tokio::test]
async fn a_stream_of_a_browser_is_bounded() {
    let config = Config {
        heartbeat: Duration::from_millis(50),
        stream_lifetime_max: Duration::from_millis(300),
        streams_per_caller_max: 1,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let watch = WatchTripRequest {
        trip_id: "endless".into(),
        ..Default::default()
    };
    let token = |ttl| {
        let now = sandbox.platform.clock.now();
        sandbox
            .platform
            .keys
            .mint(Role::Rider, "anna", ttl, now)
            .unwrap()
    };
    let hour = token(Duration::from_secs(3600));
    let open = ask(&sandbox, Some(hour.clone()), WATCH_TRIP, &watch)
        .send()
        .await
        .unwrap();
    assert_eq!(
        answered(ask(&sandbox, Some(hour), WATCH_TRIP, &watch))
            .await
            .1,
        "8"
    );
    let (messages, status, told) = unframed(&open.bytes().await.unwrap());
    assert_eq!((messages.len(), status.as_str()), (3, "14"), "{told}");
    jitney_platform::testing::eventually("the service is let go", async || {
        sandbox.open_streams() == 0
    })
    .await;
    let flood = WatchTripRequest {
        trip_id: "flood".into(),
        ..Default::default()
    };
    let short = token(Duration::from_secs(3600));
    assert_eq!(
        answered(ask(&sandbox, Some(short), WATCH_TRIP, &flood))
            .await
            .1,
        "14"
    );
}
