//! What reaches a collector: one trace across the gateway's layer, a client and a server, its log
//! lines and its durations, and no token anywhere. Telemetry is set up once per process, so this is a
//! process of its own.
#![allow(clippy::unwrap_used)] // It is a test from top to bottom.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use http::{
    Request,
    header::{AUTHORIZATION, COOKIE},
};
use jitney_platform::{
    Platform,
    auth::{Role, TokenKeys},
    client::Channel,
    clock::Clock,
    db::{Database, DatabaseConfig},
    serve::{self, GrpcService},
    telemetry::{self, TelemetryConfig, http_span_layer},
    testing::collector::Collector,
};
use jitney_proto::trips::v1::{GetTripRequest, trips_service_client::TripsServiceClient};
use opentelemetry_proto::tonic::trace::v1::Span;
use sqlx::postgres::PgConnectOptions;
use tonic::service::Routes;
use tower::ServiceExt;

const GET: &str = "jitney.trips.v1.TripsService/GetTrip";

/// A service that knows no rpc, behind its guard and on a port.
async fn service(platform: &Platform) -> Channel {
    let name = "jitney.trips.v1.TripsService";
    let service = GrpcService::guard(name, Routes::default(), platform);
    let listener = serve::bind("127.0.0.1:0", "the test").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve::serve_grpc(listener, vec![service], platform.clone()));
    Channel::remote(&uri).unwrap()
}

// Deliberately the runtime with one thread: exporting must not depend on it.
#[tokio::test]
async fn one_trace_from_door_to_door() {
    let exported = Arc::new(Mutex::new(Vec::new()));
    let kept = exported.clone();
    let collector = Collector::start(move |exported| kept.lock().unwrap().push(exported));
    let collector = collector.await.unwrap();
    let config = TelemetryConfig {
        endpoint: Some(collector.endpoint.clone()),
        ..TelemetryConfig::default()
    };
    let guard = telemetry::init(&config, "jitney-test", true).unwrap();
    assert!(
        telemetry::init(&config, "jitney-test", true).is_err(),
        "once per process"
    );

    let database = Database::new(
        PgConnectOptions::new_without_pgpass(),
        DatabaseConfig::default(),
    );
    let platform = Platform::new(Clock::system(), database, Arc::new(TokenKeys::generate()));
    let now = platform.clock.now();
    let token = platform
        .keys
        .mint(Role::Rider, "anna", Duration::from_secs(60), now)
        .unwrap();
    let channel = service(&platform).await;

    let bearer = format!("Bearer {token}");
    let handler = {
        let bearer = bearer.clone();
        async move |request: Request<Body>| {
            telemetry::name_route(request.method(), "/v1/trips/{trip_id}");
            assert!(request.headers()[AUTHORIZATION].is_sensitive());
            assert!(request.headers()[COOKIE].is_sensitive());
            tracing::info!("about to ask");
            let mut inner = tonic::Request::new(GetTripRequest::default());
            inner
                .metadata_mut()
                .insert("authorization", bearer.parse().unwrap());
            let status = TripsServiceClient::new(channel)
                .get_trip(inner)
                .await
                .unwrap_err();
            assert_eq!(status.code(), tonic::Code::Unimplemented);
            "asked"
        }
    };
    let gateway = axum::Router::new()
        .route("/v1/trips/{trip_id}", axum::routing::get(handler))
        .fallback(async |request: Request<Body>| {
            telemetry::name_route(request.method(), "/v1/late/{id}");
        })
        .layer(http_span_layer());
    let caller = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = Request::get("/v1/trips/secret-link?lat=43.7393")
        .header(AUTHORIZATION, &bearer)
        .header(COOKIE, "session=1")
        .header("traceparent", format!("00-{caller}-00f067aa0ba902b7-01"))
        .body(Body::empty())
        .unwrap();
    let late = Request::get("/v1/late/17").body(Body::empty()).unwrap();
    gateway.clone().oneshot(late).await.unwrap();
    let response = gateway.oneshot(request).await.unwrap();
    assert_eq!(
        axum::body::to_bytes(response.into_body(), 100)
            .await
            .unwrap(),
        "asked"
    );

    // Off the one thread, which the collector needs. Dropping sends what is still unsent.
    tokio::task::spawn_blocking(move || drop(guard))
        .await
        .unwrap();

    let exported = exported.lock().unwrap();
    let spans: HashMap<(String, i32), Span> = exported
        .iter()
        .flat_map(|exported| exported.spans())
        .map(|span| ((span.name.clone(), span.kind), span.clone()))
        .collect();
    let (server, client) = (2, 3); // OTLP's span kinds.
    let span = |name: &str, kind| {
        spans
            .get(&(name.to_owned(), kind))
            .unwrap_or_else(|| panic!("{name} in {spans:#?}"))
    };
    let door = span("GET /v1/trips/{trip_id}", server);
    span("GET /v1/late/{id}", server);
    let call = span(GET, client);
    let answer = span(GET, server);
    for span in [door, call, answer] {
        let id: String = span
            .trace_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(id, caller);
    }
    assert_eq!(call.parent_span_id, door.span_id);
    assert_eq!(answer.parent_span_id, call.span_id);
    assert_eq!(call.status.as_ref().unwrap().code, 2, "the caller failed");

    let everything = format!("{exported:?}");
    for part in [
        "jitney-test",
        "about to ask",
        "rpc.server.call.duration",
        "rpc.method",
        "rider",
    ] {
        assert!(everything.contains(part), "{part} did not arrive");
    }
    for secret in [token.as_str(), "secret-link", "43.7393", "Bearer"] {
        assert!(!everything.contains(secret), "{secret} arrived");
    }
}
