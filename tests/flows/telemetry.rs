//! One trace from the REST request through gRPC to SQL, one for a whole ride, and no secret in them. The
//! program runs in a process of its own and exports to a collector in this one.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use crate::support::{Collector, DriverApp, Process, eventually, places::*, point, trip_in};

/// A program that exports everything to a collector.
fn serve(folder: &std::path::Path, endpoint: &str) -> Process {
    let settings = [
        ("JITNEY_TELEMETRY__ENDPOINT", endpoint),
        ("JITNEY_TELEMETRY__SAMPLE_RATIO", "1.0"),
    ];
    Process::serve_all_with(folder, None, &settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_from_rest_to_sql_and_no_secret_in_it() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let program = serve(folder.path(), collector.endpoint());
    let anna = program.phone("rider", "anna");
    anna.post(
        "/v1/quotes",
        json!({"pickup": point(CASINO), "dropoff": point(PORT)}),
    )
    .await
    .ok();

    let spans = eventually("the whole trace has been exported", || async {
        let spans = collector.spans().trace_of("POST /v1/quotes")?;
        let has = |name: &str| spans.0.iter().any(|span| span.name.contains(name));
        let sql = |span: &Span| {
            span.attributes
                .iter()
                .any(|field| field.key == "db.operation.name")
        };
        let whole = has("ComputeRoute") && has("QuoteFare") && spans.0.iter().any(sql);
        whole.then_some(spans)
    })
    .await;
    assert_eq!(spans.roots(), 1, "one root: {:?}", spans.names());
    spans.assert_whole();

    let everything = collector.everything();
    let token = anna.token.rsplit('.').next().unwrap();
    assert!(
        !everything.contains(token),
        "the token reached the collector"
    );
    for coordinate in ["43.7393", "7.4276", "43.735", "7.4213"] {
        assert!(
            !everything.contains(coordinate),
            "a coordinate reached the collector"
        );
    }
    drop(program);
}

const CREATE: &str = "jitney.trips.v1.TripsService/CreateTrip";
const ACCEPT: &str = "jitney.trips.v1.TripsService/AcceptOffer";
const REQUEST_MATCH: &str = "jitney.matching.v1.MatchingService/RequestMatch";
const STREAM_DRIVER: &str = "jitney.matching.v1.MatchingService/StreamDriver";
const WATCH_TRIP: &str = "jitney.trips.v1.TripsService/WatchTrip";
const CAPTURE: &str = "jitney.billing.v1.BillingService/CaptureHold";
const AUTHORIZE: &str = "jitney.billing.v1.BillingService/AuthorizeHold";
const DISPUTED: &str = "jitney.billing.v1.BillingService/RecordChargeback";
const TOLD: &str = "jitney.trips.v1.TripsService/ApplyBillingEvent";

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_holds_a_whole_ride() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let program = serve(folder.path(), collector.endpoint());
    let anna = program.phone("rider", "anna");
    let mut ben = DriverApp::connect(&program.phone("driver", "ben")).await;
    ben.go_online(STATION, &["economy"]).await;

    let asked = json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "economy"});
    let trip = anna.post_keyed("/v1/trips", "ride", asked).await.ok()["trip"].clone();
    let trip_id = trip["tripId"].as_str().unwrap();
    let watch = anna.stream(&format!("/v1/trips/{trip_id}:watch")).await;
    let offer = ben.next("offer").await;
    ben.accept(&offer).await;
    ben.next("assignment").await;
    ben.drive(trip_id, trip["pin"].as_str().unwrap()).await;
    // The watch ends with the ride; the driver leaves, and with that their stream's span is over.
    watch.bytes().await.unwrap();
    drop(ben);
    eventually("the fare is taken", || async {
        let trip = trip_in(&anna, trip_id, "TRIP_STATE_COMPLETED").await;
        (trip["paymentState"] == "PAYMENT_STATE_CAPTURED").then_some(())
    })
    .await;

    let all = eventually("all of it has been exported", || async {
        let all = collector.spans();
        let ride = all.trace_of("POST /v1/trips")?;
        let wanted = [
            "offer",
            "trip COMPLETED",
            "apply COMPLETED",
            "capture_hold",
            "provider AUTHORIZE",
            TOLD,
            "trip.search",
        ];
        let others = [STREAM_DRIVER, WATCH_TRIP, "driver.pings"];
        let whole = wanted.iter().all(|name| ride.find(name).is_some())
            && others.iter().all(|name| all.find(name).is_some());
        whole.then_some(all)
    })
    .await;
    let ride = all.trace_of("POST /v1/trips").unwrap();
    let tree = || format!("{:#?}", ride.names());
    ride.assert_whole();
    assert_eq!(ride.roots(), 1, "{}", tree());
    let find = |name: &str| {
        ride.find(name)
            .unwrap_or_else(|| panic!("{name}: {}", tree()))
    };
    let above = |name: &str| ride.above(find(name));

    // The rider's request, and the search that goes on after it, over a stream.
    assert!(
        above("trip CREATED").contains(&CREATE.to_owned()),
        "{}",
        tree()
    );
    assert_eq!(above(REQUEST_MATCH)[..2], ["trip.search", CREATE]);
    let (search, offer) = (find("trip.search"), find("offer"));
    assert!(covers(search, offer), "the search's span covers its stream");

    // The round and the offer are the search's; they point at each other and at the driver's position.
    for name in ["dispatch.round", "offer", "trip OFFERED"] {
        let above = above(name);
        assert!(
            above.contains(&REQUEST_MATCH.to_owned()) || above.contains(&"trip.search".to_owned()),
            "{name}: {above:?}"
        );
    }
    let linked = all.linked(offer);
    assert!(linked.contains(&"dispatch.round".to_owned()), "{linked:?}");
    assert!(linked.contains(&"driver.pings".to_owned()), "{linked:?}");
    let linked = all.linked(find("dispatch.round"));
    assert!(linked.contains(&"offer".to_owned()), "{linked:?}");
    assert!(linked.contains(&"driver.pings".to_owned()), "{linked:?}");
    let pings = all.find("driver.pings").unwrap();
    assert_eq!(all.above(pings)[0], STREAM_DRIVER);
    assert!(covers(all.find(STREAM_DRIVER).unwrap(), pings));
    assert!(text(offer, "outcome") == Some("accepted"));

    // The driver's acceptance came in a trace of its own, and is told in the ride's.
    let accepted = find("trip ASSIGNED");
    assert_eq!(ride.above(accepted)[0], CREATE);
    let asked_in = all.linked(accepted);
    assert_eq!(asked_in.len(), 1, "{asked_in:?}");
    let accept = all.trace_of(ACCEPT).unwrap();
    assert!(
        accept
            .0
            .iter()
            .any(|span| all.linked(span).contains(&"trip ASSIGNED".to_owned())),
        "the driver's request points at the ride: {:?}",
        accept.names()
    );
    // So are the others, whether they were written alone or with those of other rides.
    for name in ["trip DRIVER_ARRIVED", "trip STARTED", "trip COMPLETED"] {
        assert!(above(name).contains(&CREATE.to_owned()), "{name}");
    }

    // Through the outbox: matching hears of the assignment, billing posts the fare, and trips of that.
    assert_eq!(above("apply ASSIGNED")[0], "trip ASSIGNED");
    let posted = above("capture_hold");
    assert_eq!(posted[0], CAPTURE);
    let deliver = posted
        .iter()
        .position(|name| name == "outbox.deliver")
        .expect("delivered");
    assert_eq!(posted[deliver + 1], "trip COMPLETED", "{posted:?}");
    let captured = |span: &&Span| ride.above(span).contains(&CAPTURE.to_owned());
    assert!(ride.named(TOLD).any(|span| captured(&span)), "{}", tree());

    // What the provider is asked comes of the hold, whenever it is.
    assert_eq!(above("provider AUTHORIZE")[0], AUTHORIZE);

    // Streams have spans that cover them.
    let watched = all.find(WATCH_TRIP).unwrap();
    assert!(
        covers(watched, find("trip COMPLETED")),
        "the watch's span covers the ride"
    );

    // Long after, and in a request that knows nothing of the ride's trace.
    let disputed = json!({
        "disputeId": "dp_1", "amount": {"currencyCode": "EUR", "minorUnits": "100"},
        "state": "CHARGEBACK_STATE_OPEN",
    });
    let olga = program.phone("operator", "olga");
    let path = format!("/v1/trips/{trip_id}:chargeback");
    olga.post(&path, disputed).await.ok();
    let all = eventually("the chargeback is told and exported", || async {
        let all = collector.spans();
        let ride = all.trace_of("POST /v1/trips")?;
        let told = |span: &Span| ride.above(span).contains(&"chargeback OPEN".to_owned());
        let whole = ride.named(TOLD).any(told) && all.find(DISPUTED).is_some();
        whole.then_some(all)
    })
    .await;
    let asked_in = all.linked(all.find("chargeback OPEN").unwrap());
    assert_eq!(asked_in, [DISPUTED]);
    let points_back = |span: &Span| all.linked(span).contains(&"chargeback OPEN".to_owned());
    assert!(all.named(DISPUTED).any(points_back));
    drop(program);
}

/// Nobody drives, and the hold runs out.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_lapses_is_told_in_its_rides_trace() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("JITNEY_TELEMETRY__ENDPOINT", collector.endpoint()),
        ("JITNEY_TELEMETRY__SAMPLE_RATIO", "1.0"),
        ("JITNEY_BILLING__HOLD_VALIDITY", "100ms"),
        // Nobody renews it in time.
        ("JITNEY_TRIPS__TIMERS__RENEW_AFTER", "50ms"),
        ("JITNEY_TRIPS__TIMERS__POLL_INTERVAL", "1h"),
        ("JITNEY_BILLING__LAPSE_INTERVAL", "50ms"),
    ];
    let program = Process::serve_all_with(folder.path(), None, &settings);
    let anna = program.phone("rider", "anna");
    let asked = json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "economy"});
    anna.post_keyed("/v1/trips", "ride", asked).await.ok();
    let all = eventually("the lapse is told and exported", || async {
        let all = collector.spans();
        let ride = all.trace_of("POST /v1/trips")?;
        // That it was held, and that it lapsed.
        let told = ride
            .named(TOLD)
            .filter(|span| ride.above(span).contains(&AUTHORIZE.to_owned()));
        let is_linked = |span: &Span| all.linked(span).contains(&AUTHORIZE.to_owned());
        let whole = told.count() >= 4 && all.named("lapse_holds").any(is_linked);
        whole.then_some(all)
    })
    .await;
    let ride = all.trace_of("POST /v1/trips").unwrap();
    assert!(
        ride.find("lapse_holds").is_none(),
        "it is the ride's no more than another's"
    );
    drop(program);
}

/// Whether one span lasts at least as long as the other, at either end.
fn covers(outer: &Span, inner: &Span) -> bool {
    outer.start_time_unix_nano <= inner.start_time_unix_nano
        && outer.end_time_unix_nano >= inner.end_time_unix_nano
}

/// What a span says under a name.
fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let field = span.attributes.iter().find(|field| field.key == key)?;
    match field.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
