//! Requests out of bodies, queries, paths and headers, and answers as JSON.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use jitney_proto::{matching::v1 as matching, trips::v1 as trips};
use proptest::prelude::*;
use prost::Message;
use prost_reflect::DescriptorPool;
use tonic_types::StatusExt;

use super::*;
use crate::{
    route::{Found, Routes},
    sample,
};

const SAMPLE: &str = r#"
service S {
  rpc Whole(Q) returns (Q) { option (google.api.http) = {post: "/whole/{id}" body: "*"}; }
  rpc Part(Q) returns (Q) { option (google.api.http) = {put: "/part/{inner.id}" body: "other"}; }
  rpc Query(Q) returns (Q) {
    option (google.api.http) = {get: "/query" additional_bindings {get: "/query/{id}/{count}"}};
  }
  rpc Tags(Q) returns (Q) { option (google.api.http) = {put: "/tags/{id}" body: "tags"}; }
  rpc Words(Q) returns (Q) { option (google.api.http) = {put: "/words" body: "words"}; }
  rpc Count(Q) returns (Q) { option (google.api.http) = {put: "/count" body: "count"}; }
  rpc Patch(Q) returns (Q) {
    option (google.api.http) = {
      patch: "/part/{inner.id}" body: "other" additional_bindings {patch: "/whole/{id}" body: "*"}
    };
  }
  rpc Choice(Q) returns (Q) { option (google.api.http) = {get: "/choice/{left}"}; }
}
enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; COLOUR_BLUE = 2; }
message Q {
  string id = 1;
  int32 count = 2;
  int64 big = 3;
  uint64 huge = 4;
  double ratio = 5;
  bool yes = 6;
  Colour colour = 7;
  repeated string tags = 8;
  repeated Colour colours = 9;
  Q inner = 10;
  Q other = 11;
  bytes blob = 12;
  map<string, string> words = 13;
  google.protobuf.Timestamp at = 14;
  google.protobuf.Duration wait = 15;
  google.protobuf.Int64Value maybe_big = 16;
  google.protobuf.StringValue maybe_text = 17;
  google.protobuf.BoolValue maybe_yes = 18;
  google.protobuf.FieldMask fields = 19;
  optional int32 chosen = 20;
  oneof side { string left = 21; string right = 22; Q both = 23; }
  string idempotency_key = 24;
  string resume_token = 25;
  float thin = 26;
  map<int64, Q> by_number = 27;
  google.protobuf.FieldMask update_mask = 28;
  repeated Q list = 29;
  google.protobuf.BytesValue maybe_blob = 30;
  google.protobuf.Any any = 31;
  google.protobuf.DoubleValue maybe_ratio = 32;
  google.protobuf.FloatValue maybe_thin = 33;
  google.protobuf.Value free = 34;
  repeated google.protobuf.Value frees = 35;
  google.protobuf.NullValue nil = 36;
  repeated google.protobuf.NullValue nils = 37;
  google.protobuf.Struct table = 38;
  google.protobuf.Empty empty = 39;
  map<string, Colour> colour_of = 40;
  map<bool, string> said = 41;
  repeated google.protobuf.Any anys = 42;
}
"#;

/// Reads a request of the sample service; the answer is the message's JSON without defaults.
fn read(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Result<String, Status> {
    read_as(Unknown::Refuse, method, url, headers, body)
}

fn read_as(
    unknown: Unknown,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<String, Status> {
    use prost_reflect::SerializeOptions;
    let routes = Routes::from_descriptors(&sample::pool(SAMPLE)).unwrap();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let path = Path::cut(path);
    let Found::Route(binding) = routes.find(&method.parse().unwrap(), &path) else {
        panic!("no route for {method} {url}");
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            axum::http::HeaderName::try_from(*name).unwrap(),
            value.parse().unwrap(),
        );
    }
    let parts = Parts {
        path: &path,
        query,
        headers: &map,
        body: body.as_bytes(),
    };
    let message = request(binding, parts, unknown)?;
    let mut json = Vec::new();
    let mut writer = serde_json::Serializer::new(&mut json);
    message
        .serialize_with_options(&mut writer, &SerializeOptions::new())
        .unwrap();
    Ok(String::from_utf8(json).unwrap())
}

/// The field a refusal is about, empty when none, and the message.
fn refusal(answer: Result<String, Status>) -> (String, String) {
    let status = answer.unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::InvalidRequest), "{status:?}");
    let violations = status
        .get_details_bad_request()
        .map(|bad| bad.field_violations);
    let field = violations
        .and_then(|bad| Some(bad.first()?.field.clone()))
        .unwrap_or_default();
    (field, status.message().to_owned())
}

#[test]
fn a_body_is_read_with_either_kind_of_names() {
    let body = r#"{"maybeBig": "5", "inner": {"idempotency_key": "k"}, "big": 9007199254740993,
        "huge": "18446744073709551615", "colour": "COLOUR_RED", "colours": [2, "COLOUR_RED"],
        "at": "2026-01-31T12:00:00.5Z", "ratio": 1, "chosen": 0, "tags": null}"#;
    assert_eq!(
        read("POST", "/whole/x", &[], body).unwrap(),
        concat!(
            r#"{"id":"x","big":"9007199254740993","huge":"18446744073709551615","ratio":1.0,"#,
            r#""colour":"COLOUR_RED","colours":["COLOUR_BLUE","COLOUR_RED"],"#,
            r#""inner":{"idempotencyKey":"k"},"at":"2026-01-31T12:00:00.500Z","#,
            r#""maybeBig":"5","chosen":0}"#,
        )
    );
    assert_eq!(read("POST", "/whole/x", &[], "").unwrap(), r#"{"id":"x"}"#);
    assert_eq!(
        read("POST", "/whole/x", &[], r#"{"id": "x"}"#).unwrap(),
        r#"{"id":"x"}"#
    );
}

#[test]
fn what_a_body_may_not_say_is_named() {
    for (body, field, told) in [
        (
            "{",
            "",
            "not JSON: EOF while parsing an object at line 1 column 1",
        ),
        ("{\n  \"id\": }", "", "line 2 column 9"),
        (
            "{} x",
            "",
            "not JSON: trailing characters at line 1 column 4",
        ),
        ("[]", "", "the body does not fit"),
        ("7", "", "the body does not fit"),
        ("null", "", "the body does not fit"),
        (
            r#"{"nothing": 1}"#,
            "nothing",
            "nothing: is not a field of this request at line 1",
        ),
        (r#"{"inner": {"a'b": 1}}"#, "inner.a'b", "is not a field"),
        (
            r#"{"inner": {"inner": {"count": "x"}}}"#,
            "inner.inner.count",
            "at line 1 column",
        ),
        (
            r#"{"colours": ["COLOUR_RED", "GREEN"]}"#,
            "colours[1]",
            "unrecognized enum value 'GREEN'",
        ),
        (r#"{"count": 2147483648}"#, "count", "out of range"),
        (r#"{"count": 1.5}"#, "count", "whole number"),
        (r#"{"big": "9223372036854775808"}"#, "big", "out of range"),
        (r#"{"yes": "true"}"#, "yes", "boolean"),
        (r#"{"id": 7}"#, "id", "string"),
        (r#"{"at": "yesterday"}"#, "at", ""),
        (r#"{"blob": "!"}"#, "blob", "base64"),
        (r#"{"tags": [null]}"#, "tags[0]", "null"),
        (
            r#"{"left": "a", "right": "b"}"#,
            "",
            "multiple fields provided for oneof 'side'",
        ),
        (r#"{"id": "y"}"#, "id", "given twice, with different values"),
    ] {
        let (read_field, message) = refusal(read("POST", "/whole/x", &[], body));
        assert_eq!(read_field, field, "{body}: {message}");
        assert!(message.contains(told), "{body}: {message}");
    }
    let (_, message) = refusal(read(
        "POST",
        "/whole/x",
        &[],
        &format!("{{\"count\": \"{}\"}}", "x".repeat(9999)),
    ));
    assert!(message.len() < 400, "{message}");
    let deep = format!("{}{}", r#"{"inner":"#.repeat(500), "{}");
    assert!(
        refusal(read("POST", "/whole/x", &[], &deep))
            .1
            .contains("recursion")
    );
}

#[test]
fn a_query_is_read_onto_fields() {
    let url = "/query?id=a+b%26c&count=-3&big=9223372036854775807&ratio=1e3&yes=true\
        &colour=COLOUR_BLUE&colours=1&colours=COLOUR_BLUE&tags=x&tags=&inner.inner.id=deep\
        &inner.count=4&at=2026-01-31T12%3A00%3A00Z&wait=1.5s&maybeBig=7&maybe_text=t&maybeYes=false\
        &fields=a.bC,d&chosen=0&left=l";
    assert_eq!(
        read("GET", url, &[], "").unwrap(),
        concat!(
            r#"{"id":"a b&c","count":-3,"big":"9223372036854775807","ratio":1000.0,"yes":true,"#,
            r#""colour":"COLOUR_BLUE","tags":["x",""],"colours":["COLOUR_RED","COLOUR_BLUE"],"#,
            r#""inner":{"count":4,"inner":{"id":"deep"}},"at":"2026-01-31T12:00:00Z","#,
            r#""wait":"1.500s","maybeBig":"7","maybeText":"t","maybeYes":false,"#,
            r#""fields":"a.bC,d","chosen":0,"left":"l"}"#,
        )
    );
    assert_eq!(read("GET", "/query?&", &[], "").unwrap(), "{}");
    assert_eq!(
        read("GET", "/query/x/7", &[], "").unwrap(),
        r#"{"id":"x","count":7}"#
    );
}

#[test]
fn what_a_query_may_not_say_is_named() {
    for (url, field, told) in [
        (
            "/query?nothing=1",
            "nothing",
            "is not a parameter of this request",
        ),
        (
            "/query?inner.nothing=1",
            "inner.nothing",
            "is not a parameter",
        ),
        ("/query?id.x=1", "id.x", "\"id\" has no fields of its own"),
        ("/query?tags.x=1", "tags.x", "\"tags\" has no fields"),
        ("/query?words.x=1", "words.x", "\"words\" has no fields"),
        ("/query?inner=1", "inner", "has fields of its own"),
        ("/query?words=1", "words", "only a body can hold"),
        ("/query?blob=a", "blob", "is not base64"),
        ("/query?id=1&id=2", "id", "more than once"),
        (
            "/query?maybe_big=1&maybeBig=1",
            "maybe_big",
            "more than once",
        ),
        ("/query?count=", "count", "whole number of 32 bits"),
        ("/query?count=1.5", "count", "whole number"),
        ("/query?count=%2B1", "count", "whole number"),
        ("/query?count=007", "count", "whole number"),
        ("/query?count=2147483648", "count", "whole number"),
        ("/query?big=9223372036854775808", "big", "whole number"),
        ("/query?ratio=1e400", "ratio", "is not a number"),
        ("/query?ratio=.5", "ratio", "is not a number"),
        ("/query?thin=3.5e38", "thin", "32 bits"),
        ("/query?huge=-1", "huge", "from 0"),
        ("/query?ratio=inf", "ratio", "is not a number"),
        ("/query?ratio=", "ratio", "is not a number"),
        ("/query?yes=1", "yes", "true or false"),
        (
            "/query?colour=RED",
            "colour",
            "COLOUR_UNSPECIFIED, COLOUR_RED, COLOUR_BLUE",
        ),
        ("/query?colours=9", "colours", "is not one of"),
        ("/query?at=now", "at", "2026-01-31T12:00:00Z"),
        ("/query?wait=3", "wait", "1.5s"),
        ("/query?left=a&right=b", "right", "together with \"left\""),
        (
            "/query?left=a&both.id=b",
            "both.id",
            "together with \"left\"",
        ),
        ("/choice/a?right=b", "right", "together with \"left\""),
        ("/choice/a?left=b", "left", "the path holds it"),
        ("/query/x/7?count=7", "count", "the path holds it"),
        ("/query/x/seven", "count", "whole number"),
        ("/query?%zz=1", "", "escape"),
        ("/query?id=%FF", "", "escape"),
        ("/query/%FF/7", "", "escape"),
    ] {
        let (read_field, message) = refusal(read("GET", url, &[], ""));
        assert_eq!(read_field, field, "{url}: {message}");
        assert!(message.contains(told), "{url}: {message}");
    }
    let (field, _) = refusal(read("POST", "/whole/x?count=1", &[], "{}"));
    assert_eq!(field, "count");
}

#[test]
fn a_body_may_be_one_field() {
    let answer = read("PUT", "/part/p?count=2", &[], r#"{"id": "o"}"#).unwrap();
    assert_eq!(
        answer,
        r#"{"count":2,"inner":{"id":"p"},"other":{"id":"o"}}"#
    );
    assert_eq!(
        read("PUT", "/part/p", &[], "").unwrap(),
        r#"{"inner":{"id":"p"}}"#
    );
    let (field, _) = refusal(read("PUT", "/part/p?other.id=x", &[], ""));
    assert_eq!(field, "other.id");
}

#[test]
fn headers_fill_the_fields_made_for_them() {
    let headers = [("idempotency-key", "k-1"), ("last-event-id", "41")];
    let expected = r#"{"id":"x","idempotencyKey":"k-1","resumeToken":"41"}"#;
    assert_eq!(read("POST", "/whole/x", &headers, "").unwrap(), expected);
    let same = r#"{"idempotencyKey": "k-1"}"#;
    assert_eq!(read("POST", "/whole/x", &headers, same).unwrap(), expected);
    let (field, message) = refusal(read(
        "POST",
        "/whole/x",
        &headers,
        r#"{"idempotencyKey": "k-2"}"#,
    ));
    assert_eq!(field, "idempotency-key");
    assert!(message.contains("differs"), "{message}");
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    assert!(
        refusal(read("POST", "/whole/x", &twice, ""))
            .1
            .contains("more than once")
    );
    assert!(
        refusal(read("POST", "/whole/x", &[("last-event-id", "ä")], ""))
            .1
            .contains("ASCII")
    );
}

#[test]
fn only_json_is_taken() {
    let check = |value: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
        }
        check_content_type(&headers).is_ok()
    };
    assert!(check(None));
    assert!(check(Some("application/json")));
    assert!(check(Some("Application/JSON; charset=utf-8")));
    assert!(check(Some("application/merge-patch+json")));
    for other in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "+json",
    ] {
        assert!(!check(Some(other)), "{other}");
    }
}

fn ours(name: &str) -> MessageDescriptor {
    let pool: DescriptorPool = jitney_proto::descriptor_pool();
    pool.get_message_by_name(name).unwrap()
}

fn written(name: &str, message: &impl Message) -> String {
    let message = DynamicMessage::decode(ours(name), message.encode_to_vec().as_slice()).unwrap();
    String::from_utf8(to_json(&message).unwrap()).unwrap()
}

#[test]
fn an_answer_holds_defaults_but_no_absent_messages() {
    let route = jitney_proto::common::v1::Route {
        distance_meters: 12,
        ..Default::default()
    };
    let quotes = trips::QuoteTripResponse {
        quotes: vec![trips::TripQuote {
            pickup_eta_ms: Some(0),
            ..Default::default()
        }],
        route: Some(route),
    };
    assert_eq!(
        written("jitney.trips.v1.QuoteTripResponse", &quotes),
        concat!(
            r#"{"quotes":[{"quoteId":"","product":"","lines":[],"distanceMeters":"0","#,
            r#""durationMs":"0","pickupEtaMs":"0","tariffVersion":"","surgePercent":0,"stops":[]}],"#,
            r#""route":{"distanceMeters":"12","durationMs":"0","line":[],"steps":[]}}"#,
        )
    );
    let hello = matching::StreamDriverRequest::default();
    assert_eq!(
        written("jitney.matching.v1.StreamDriverRequest", &hello),
        "{}"
    );
    let driver = matching::Driver {
        state: 3,
        ..Default::default()
    };
    assert!(
        written("jitney.matching.v1.Driver", &driver).contains(r#""state":"DRIVER_STATE_OFFERED""#)
    );
    let unknown = matching::Driver {
        state: 77,
        ..Default::default()
    };
    assert!(written("jitney.matching.v1.Driver", &unknown).contains(r#""state":77"#));
}

#[test]
fn an_answer_that_has_no_json_is_a_defect() {
    let trip = trips::Trip {
        created_at: Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        ..Default::default()
    };
    let trip = DynamicMessage::decode(
        ours("jitney.trips.v1.Trip"),
        trip.encode_to_vec().as_slice(),
    );
    assert_eq!(
        Code::of(&to_json(&trip.unwrap()).unwrap_err()),
        Some(Code::Internal)
    );
}

#[test]
fn a_response_says_where_to_resume_and_what_it_is() {
    let routes = Routes::from_descriptors(&jitney_proto::descriptor_pool()).unwrap();
    let rpc = |name: &str| -> Arc<Rpc> {
        routes
            .all()
            .iter()
            .find(|binding| binding.rpc.name.ends_with(name))
            .unwrap()
            .rpc
            .clone()
    };
    let watch = rpc("WatchTrip");
    let update = trips::WatchTripResponse {
        resume_token: "9".to_owned(),
        update: Some(trips::watch_trip_response::Update::DriverPosition(
            Default::default(),
        )),
    };
    let update = DynamicMessage::decode(watch.output.clone(), update.encode_to_vec().as_slice());
    let expected = Labels {
        resume_token: Some("9".to_owned()),
        event: Some("driverPosition".to_owned()),
    };
    assert_eq!(labels(&watch, &update.unwrap()), expected);
    let empty = DynamicMessage::new(watch.output.clone());
    assert_eq!(labels(&watch, &empty), Labels::default());
    let fleet = rpc("WatchFleet");
    assert_eq!(
        labels(&fleet, &DynamicMessage::new(fleet.output.clone())),
        Labels::default()
    );
}

proptest! {
    #[test]
    fn json_gives_back_what_it_was_given(
        text in "\\PC{0,20}",
        big in any::<i64>(),
        ratio in any::<f64>().prop_filter("NaN is not itself", |ratio| !ratio.is_nan()),
        seconds in -62_135_596_800_i64..253_402_300_800,
        nanos in 0..1_000_000_000_i32,
        state in 0..7_i32,
        heading in prop::option::of(any::<f32>().prop_filter("NaN", |heading| !heading.is_nan())),
    ) {
        let driver = matching::Driver {
            driver_id: text.clone(),
            state,
            location: Some(jitney_proto::common::v1::Point { latitude: ratio, longitude: -ratio }),
            heading_degrees: heading,
            located_at: Some(prost_types::Timestamp { seconds, nanos }),
            products: vec![text.clone(), String::new()],
            vehicle: Some(matching::Vehicle::default()),
            trip_id: big.to_string(),
            ..Default::default()
        };
        let json = written("jitney.matching.v1.Driver", &driver);
        let read = from_json(&ours("jitney.matching.v1.Driver"), json.as_bytes(), Unknown::Refuse).unwrap();
        prop_assert_eq!(read.transcode_to::<matching::Driver>().unwrap(), driver);
    }

    #[test]
    fn no_bytes_are_too_odd_to_refuse(json in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = from_json(&ours("jitney.trips.v1.CreateTripRequest"), &json, Unknown::Refuse);
    }
}

#[path = "transcode_strict_tests.rs"]
mod to_the_letter;
