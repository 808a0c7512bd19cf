//! Proto3 JSON to the letter, and the shapes of bodies and queries.

use super::*;

#[test]
fn the_letter_of_proto3_json() {
    let taken = |body: &str| {
        read("PUT", "/part/p", &[], body).map(|json| {
            let json = json.replace(r#"{"inner":{"id":"p"},"other":"#, "");
            json.strip_suffix('}').unwrap_or_default().to_owned()
        })
    };
    for (body, expected) in [
        // Exponents and fractions of nothing are whole numbers, bare or in quotes.
        (r#"{"count": 1e3}"#, r#"{"count":1000}"#),
        (r#"{"count": "1e3"}"#, r#"{"count":1000}"#),
        (r#"{"count": "1.50E+1"}"#, r#"{"count":15}"#),
        (r#"{"count": "-0"}"#, "{}"),
        (
            r#"{"big": "9223372036854775807"}"#,
            r#"{"big":"9223372036854775807"}"#,
        ),
        (
            r#"{"big": 9.223372036854775807e18, "maybeBig": 9007199254740993.0}"#,
            r#"{"big":"9223372036854775807","maybeBig":"9007199254740993"}"#,
        ),
        (r#"{"big": "\u0031"}"#, r#"{"big":"1"}"#),
        (
            r#"{"big": "9.223372036854775807e18"}"#,
            r#"{"big":"9223372036854775807"}"#,
        ),
        (
            r#"{"big": -9223372036854775808}"#,
            r#"{"big":"-9223372036854775808"}"#,
        ),
        (
            r#"{"huge": "18446744073709551615"}"#,
            r#"{"huge":"18446744073709551615"}"#,
        ),
        (
            r#"{"list": [{"count": "1e1"}], "byNumber": {"7": {"count": "2e1"}}}"#,
            r#"{"byNumber":{"7":{"count":20}},"list":[{"count":10}]}"#,
        ),
        // Doubles at the edge.
        (
            r#"{"ratio": 1.7976931348623157e308}"#,
            r#"{"ratio":1.7976931348623157e+308}"#,
        ),
        (
            r#"{"ratio": "-1.7976931348623157e308"}"#,
            r#"{"ratio":-1.7976931348623157e+308}"#,
        ),
        (r#"{"ratio": 5e-324}"#, r#"{"ratio":5e-324}"#),
        (r#"{"ratio": "Infinity"}"#, r#"{"ratio":"Infinity"}"#),
        (r#"{"ratio": "NaN"}"#, r#"{"ratio":"NaN"}"#),
        (
            r#"{"thin": 3.4028234663852886e38}"#,
            r#"{"thin":3.4028235e+38}"#,
        ),
        // Times and durations at the edge.
        (
            r#"{"at": "0001-01-01T00:00:00Z"}"#,
            r#"{"at":"0001-01-01T00:00:00Z"}"#,
        ),
        (
            r#"{"at": "9999-12-31T23:59:59.999999999Z"}"#,
            r#"{"at":"9999-12-31T23:59:59.999999999Z"}"#,
        ),
        (
            r#"{"at": "2026-01-31T12:00:00+01:00"}"#,
            r#"{"at":"2026-01-31T11:00:00Z"}"#,
        ),
        (
            r#"{"wait": "315576000000s"}"#,
            r#"{"wait":"315576000000s"}"#,
        ),
        (
            r#"{"wait": "-315576000000.999999999s"}"#,
            r#"{"wait":"-315576000000.999999999s"}"#,
        ),
        (r#"{"maybeBig": "1e2"}"#, r#"{"maybeBig":"100"}"#),
        // Bytes in either alphabet.
        (r#"{"blob": "-_8"}"#, r#"{"blob":"+/8="}"#),
        // Null is absent, wherever it stands.
        (r#"{"count": null, "inner": null, "tags": null}"#, "{}"),
    ] {
        assert_eq!(taken(body).unwrap(), expected, "{body}");
    }
    let mut wrong = Vec::new();
    for (body, field, told) in [
        (r#"{"id": "a", "id": "a"}"#, "id", "given twice"),
        (
            r#"{"maybeBig": 1, "maybe_big": 1}"#,
            "maybe_big",
            "given twice",
        ),
        (r#"{"id": null, "id": "a"}"#, "id", "given twice"),
        (
            r#"{"inner": {"inner": {"count": 1, "\u0063ount": 2}}}"#,
            "inner.inner.count",
            "given twice",
        ),
        (
            r#"{"list": [{}, {"id": "a", "id": "b"}]}"#,
            "list[1].id",
            "given twice",
        ),
        (
            r#"{"words": {"a": "1", "a": "2"}}"#,
            "words.a",
            "given twice",
        ),
        (r#"{"count": "1e-1"}"#, "count", "whole number"),
        (r#"{"count": "1.5"}"#, "count", "whole number"),
        (r#"{"count": "1e10"}"#, "count", ""),
        (r#"{"count": ""}"#, "count", "as JSON writes"),
        (r#"{"count": "+1"}"#, "count", "as JSON writes"),
        (r#"{"count": " 1"}"#, "count", "as JSON writes"),
        (r#"{"count": "0x1"}"#, "count", "as JSON writes"),
        (r#"{"count": 2147483648.0}"#, "count", "out of range"),
        (r#"{"big": 9223372036854775808}"#, "big", ""),
        (r#"{"big": 9223372036854775808.0}"#, "big", "out of range"),
        (r#"{"big": 1e19}"#, "big", "out of range"),
        (r#"{"big": -9223372036854775809}"#, "big", "out of range"),
        (r#"{"big": 9007199254740992.5}"#, "big", "whole number"),
        (r#"{"big": 1e400}"#, "big", "whole number"),
        (r#"{"big": true}"#, "big", "a whole number"),
        (r#"{"big": [1]}"#, "big", "a whole number"),
        (r#"{"huge": 18446744073709551616}"#, "huge", "out of range"),
        (r#"{"huge": "-1"}"#, "huge", "out of range"),
        (r#"{"big": "1e19"}"#, "big", ""),
        (r#"{"huge": -1}"#, "huge", ""),
        (r#"{"huge": 1.8446744073709552e19}"#, "huge", "out of range"),
        (r#"{"ratio": 1e309}"#, "", "out of range"),
        (r#"{"ratio": "1e309"}"#, "ratio", "out of range"),
        (r#"{"ratio": "inf"}"#, "ratio", "as JSON writes"),
        (r#"{"ratio": "nan"}"#, "ratio", "as JSON writes"),
        (r#"{"ratio": ".5"}"#, "ratio", "as JSON writes"),
        (r#"{"thin": 3.5e38}"#, "thin", "out of range"),
        (r#"{"thin": "3.5e38"}"#, "thin", "out of range"),
        (r#"{"at": "0000-12-31T23:59:59Z"}"#, "at", ""),
        (r#"{"at": "10000-01-01T00:00:00Z"}"#, "at", ""),
        (r#"{"at": "9999-12-31T23:59:59-01:00"}"#, "at", ""),
        (r#"{"at": "2026-01-31t12:00:00z"}"#, "at", ""),
        (r#"{"at": "2026-02-30T12:00:00Z"}"#, "at", ""),
        (r#"{"at": "2016-12-31T23:59:60Z"}"#, "at", "leap second"),
        (r#"{"at": "2026-01-31T12:00:00"}"#, "at", ""),
        (r#"{"at": "2026-01-31T12:00:00.1234567890Z"}"#, "at", ""),
        (r#"{"wait": "315576000001s"}"#, "wait", ""),
        (r#"{"wait": "1"}"#, "wait", ""),
        (r#"{"wait": "1.0000000001s"}"#, "wait", ""),
        (r#"{"wait": "1e3s"}"#, "wait", ""),
        (r#"{"fields": "a_b"}"#, "fields", ""),
        (r#"{"id": "\ud800"}"#, "", "hex escape"),
    ] {
        match read("PUT", "/part/p", &[], body) {
            Ok(taken) => wrong.push(format!("{body} is taken: {taken}")),
            refused => {
                let (read_field, message) = refusal(refused);
                if read_field != field || !message.contains(told) {
                    wrong.push(format!("{body} {field}: {message}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_body_may_be_a_field_that_is_no_message() {
    assert_eq!(
        read("PUT", "/tags/x?count=2", &[], r#"["a", "b"]"#).unwrap(),
        r#"{"id":"x","count":2,"tags":["a","b"]}"#
    );
    assert_eq!(
        read("PUT", "/words", &[], r#"{"a": "b"}"#).unwrap(),
        r#"{"words":{"a":"b"}}"#
    );
    assert_eq!(
        read("PUT", "/count", &[], "\"1e2\"").unwrap(),
        r#"{"count":100}"#
    );
    assert_eq!(read("PUT", "/count", &[], "").unwrap(), "{}");
    for (url, body, field, told) in [
        ("/count", "1.5", "count", "whole number"),
        ("/tags/x", r#"["a", 1]"#, "tags[1]", "string"),
        (
            "/words",
            r#"{"a": "b", "a": "c"}"#,
            "words.a",
            "given twice",
        ),
        // One value: what follows cannot add fields of its own.
        ("/count", r#"1, "id": "x""#, "", "trailing"),
        ("/count", r#"1}, {"#, "", "trailing"),
    ] {
        let (read_field, message) = refusal(read("PUT", url, &[], body));
        assert_eq!(read_field, field, "{body}: {message}");
        assert!(message.contains(told), "{body}: {message}");
    }
}

#[test]
fn a_patch_says_what_it_is_about() {
    let mask = |url: &str, body: &str| {
        let json = read("PATCH", url, &[], body).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["updateMask"].as_str().map(str::to_owned)
    };
    let own = |text: &str| Some(text.to_owned());
    assert_eq!(
        mask("/part/p", r#"{"id": "a", "maybe_big": 1}"#),
        own("id,maybeBig")
    );
    let nested = r#"{"inner": {"id": "a", "inner": {"count": 0}}, "list": [{"id": "b"}]}"#;
    assert_eq!(
        mask("/part/p", nested),
        own("inner.id,inner.inner.count,list")
    );
    let cleared = r#"{"inner": null, "other": {}, "at": null, "words": {"a": "b"}}"#;
    assert_eq!(mask("/part/p", cleared), own("at,inner,other,words"));
    assert_eq!(
        mask("/part/p?updateMask=count", r#"{"id": "a"}"#),
        own("count")
    );
    // What names the thing is not part of the change.
    assert_eq!(mask("/whole/x", r#"{"id": "x", "count": 1}"#), own("count"));
    assert_eq!(
        mask("/whole/x", r#"{"count": 1, "updateMask": "big"}"#),
        own("big")
    );
    // A PUT is about everything.
    assert_eq!(
        read("PUT", "/part/p", &[], "{}").unwrap(),
        r#"{"inner":{"id":"p"},"other":{}}"#
    );
}

#[test]
fn what_nobody_declared_may_be_ignored() {
    let ignore = |method, url, body| read_as(Unknown::Ignore, method, url, &[], body);
    let body = r#"{"nothing": {"x": [1]}, "count": 1, "inner": {"no": 1}, "colour": "GREEN"}"#;
    assert_eq!(
        ignore("POST", "/whole/x", body).unwrap(),
        r#"{"id":"x","count":1,"inner":{}}"#
    );
    assert_eq!(
        ignore("GET", "/query?nothing=1&count=2&inner.no=3", "").unwrap(),
        r#"{"count":2}"#
    );
    // What is wrong is refused all the same.
    assert_eq!(
        refusal(ignore("POST", "/whole/x", r#"{"count": "x"}"#)).0,
        "count"
    );
    assert_eq!(refusal(ignore("GET", "/query?count=x", "")).0, "count");
    assert_eq!(
        refusal(ignore("POST", "/whole/x", r#"{"no": 1, "no": 2}"#)).0,
        "no"
    );
}

#[test]
fn bytes_and_repeated_values_are_read_from_a_query() {
    assert_eq!(
        read(
            "GET",
            "/query?blob=-_8&maybeBlob=AQ%3D%3D&tags=b&tags=a&tags=b&inner.tags=c",
            &[],
            ""
        )
        .unwrap(),
        r#"{"tags":["b","a","b"],"inner":{"tags":["c"]},"blob":"+/8=","maybeBlob":"AQ=="}"#
    );
    for url in [
        "/query?at=2026-01-31T12:00:00.1234567890Z",
        "/query?wait=1.0000000001s",
        "/query?at=2016-12-31T23:59:60Z",
    ] {
        assert!(read("GET", url, &[], "").is_err(), "{url}");
    }
    assert_eq!(
        read("GET", "/query?count=1e2&ratio=Infinity", &[], "").unwrap(),
        r#"{"count":100,"ratio":"Infinity"}"#
    );
}

#[test]
fn a_large_object_of_other_names_is_walked_quickly() {
    use std::fmt::Write;
    let mut body = String::from("{\"words\":{");
    for n in 0..60_000 {
        write!(body, "\"{n}\":\"\",").unwrap();
    }
    body.push_str("\"0\":\"\"}}");
    let start = std::time::Instant::now();
    assert_eq!(refusal(read("POST", "/whole/x", &[], &body)).0, "words.0");
    assert!(start.elapsed() < std::time::Duration::from_secs(3));
}

/// A message of the sample, from JSON and to it again: without the fields that are always there.
fn again(json: &str) -> Result<serde_json::Value, Status> {
    again_as(Unknown::Refuse, json)
}

fn again_as(unknown: Unknown, json: &str) -> Result<serde_json::Value, Status> {
    let sample = sample::pool(SAMPLE).get_message_by_name("x.Q").unwrap();
    let written = |message: &DynamicMessage| {
        let json = to_json(message).unwrap();
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()
    };
    let always = written(&DynamicMessage::new(sample.clone()));
    let mut json = written(&from_json(&sample, json.as_bytes(), unknown)?);
    let members = json.as_object_mut().unwrap();
    members.retain(|name, value| always.get(name) != Some(value));
    Ok(json)
}

fn refused(json: &str) -> (String, String) {
    refusal(again(json).map(|json| json.to_string()))
}

/// What is read is written as it came, in this form or another.
#[test]
fn every_form_comes_back() {
    for (json, expected) in [
        // What is no number, in wrappers too.
        (r#"{"maybeRatio": "NaN", "maybeThin": "-Infinity"}"#, ""),
        (r#"{"maybeRatio": 1e300, "maybeThin": 0.5}"#, ""),
        // The largest float, as it is written in short.
        (r#"{"thin": 3.4028235e38}"#, ""),
        (r#"{"thin": "3.4028235e38"}"#, r#"{"thin": 3.4028235e38}"#),
        // An enum's number is a number.
        (r#"{"colour": 1.0}"#, r#"{"colour": "COLOUR_RED"}"#),
        (r#"{"colour": 7}"#, ""),
        // Any JSON.
        (r#"{"free": null}"#, ""),
        (
            r#"{"free": {"a": [1.5, null, "x", true]}, "table": {"b": {}}}"#,
            "",
        ),
        (
            r#"{"frees": [null, [], 1e3]}"#,
            r#"{"frees": [null, [], 1000.0]}"#,
        ),
        (r#"{"frees": null, "table": null, "said": null}"#, "{}"),
        (
            r#"{"nils": [null, "NULL_VALUE", 0]}"#,
            r#"{"nils": [null, null, null]}"#,
        ),
        (r#"{"empty": {}}"#, ""),
        // Keys of maps.
        (r#"{"said": {"true": "yes", "false": "no"}}"#, ""),
        (r#"{"byNumber": {"-0": null}}"#, "refused"),
        (r#"{"words": {"": "a", "b": ""}}"#, ""),
        // An `Any` holds nothing, or says what.
        (r#"{"any": {}}"#, ""),
        (
            r#"{"anys": [{}, {"@type": "t/google.protobuf.Empty", "value": {}}]}"#,
            "",
        ),
        (
            r#"{"any": {"@type": "t/google.protobuf.Empty"}}"#,
            r#"{"any": {"@type": "t/google.protobuf.Empty", "value": {}}}"#,
        ),
        (
            r#"{"any": {"value": "1.500s", "@type": "t/google.protobuf.Duration"}}"#,
            "",
        ),
        (
            r#"{"any": {"@type": "t/google.protobuf.Any", "value": {}}}"#,
            "",
        ),
        (
            r#"{"any": {"@type": "t/google.protobuf.Value", "value": null}}"#,
            "",
        ),
        (
            r#"{"any": {"@type": "t/google.protobuf.DoubleValue", "value": "NaN"}}"#,
            "",
        ),
    ] {
        let value = |json| serde_json::from_str::<serde_json::Value>(json).unwrap();
        match again(json) {
            Ok(read) if expected.is_empty() => assert_eq!(read, value(json), "{json}"),
            Ok(read) => assert_eq!(read, value(expected), "{json}"),
            Err(status) => assert_eq!(expected, "refused", "{json}: {status}"),
        }
    }
    let typed = r#"{"any": {"big": 12, "@type": "t/x.Q", "inner": {"count": "2e1", "big": "3"}}}"#;
    let typed = again(typed).unwrap();
    assert_eq!(typed["any"]["big"], "12");
    assert_eq!(typed["any"]["inner"]["big"], "3");
    assert_eq!(typed["any"]["inner"]["count"], 20);
    assert_eq!(typed["any"]["@type"], "t/x.Q");
    // `null` is the only value of its kind, and there even when nobody set it.
    let sample = sample::pool(SAMPLE).get_message_by_name("x.Q").unwrap();
    let written = to_json(&DynamicMessage::new(sample)).unwrap();
    assert!(
        String::from_utf8(written)
            .unwrap()
            .contains(r#""nil":null"#)
    );
}

/// A gap that is left: the library takes a negative zero for a field's default, and does not send it.
#[test]
fn a_negative_zero_arrives_as_zero() {
    let sample = sample::pool(SAMPLE).get_message_by_name("x.Q").unwrap();
    for json in [
        r#"{"ratio": -0.0}"#,
        r#"{"ratio": "-0"}"#,
        r#"{"thin": -0.0}"#,
    ] {
        let read = from_json(&sample, json.as_bytes(), Unknown::Refuse).unwrap();
        assert_eq!(read.encode_to_vec(), b"", "{json}");
    }
}

#[test]
fn odd_forms_are_refused() {
    for (json, field, told) in [
        (r#"{"any": {"value": "x"}}"#, "any", "@type"),
        (r#"{"any": {"@type": null}}"#, "any", "@type"),
        (r#"{"any": {"@type": ""}}"#, "any", "has no '/'"),
        (r#"{"any": {"@type": "x.Q"}}"#, "any", "has no '/'"),
        (r#"{"any": {"@type": "t/x.Nobody"}}"#, "any", "is not known"),
        (
            r#"{"any": {"@type": "t/google.protobuf.Duration"}}"#,
            "any",
            "'value'",
        ),
        (
            r#"{"any": {"@type": "t/x.Q", "count": 1, "count": 2}}"#,
            "any.count",
            "twice",
        ),
        (
            r#"{"any": {"@type": "t/x.Q", "no": 1}}"#,
            "any.no",
            "not a field",
        ),
        (
            r#"{"any": {"@type": "t/google.protobuf.Duration", "value": "1s", "no": 1}}"#,
            "any.no",
            "not a field",
        ),
        (
            r#"{"any": {"@type": "t/google.protobuf.Empty", "value": 1}}"#,
            "any",
            "a map",
        ),
        (r#"{"any": []}"#, "any", "a map"),
        (r#"{"anys": [null]}"#, "anys[0]", "a map"),
        (r#"{"empty": {"no": 1}}"#, "empty.no", "not a field"),
        (
            r#"{"table": {"a": {"b": 1, "b": 1}}}"#,
            "table.a.b",
            "twice",
        ),
        (r#"{"table": []}"#, "table", ""),
        (r#"{"frees": 1}"#, "frees", "a list"),
        (r#"{"words": []}"#, "words", "a map"),
        (r#"{"words": {"a": null}}"#, "words.a", "null"),
        (r#"{"byNumber": {"01": {}}}"#, "byNumber", "as JSON writes"),
        (r#"{"byNumber": {"+1": {}}}"#, "byNumber", "as JSON writes"),
        (r#"{"byNumber": {"1.5": {}}}"#, "byNumber", "whole number"),
        (
            r#"{"byNumber": {"9223372036854775808": {}}}"#,
            "byNumber",
            "out of range",
        ),
        (
            r#"{"byNumber": {"0": {}, "-0": {}}}"#,
            "byNumber.-0",
            "twice",
        ),
        (r#"{"said": {"True": ""}}"#, "said", "true or false"),
        (r#"{"colour": 1.5}"#, "colour", "whole number"),
        (r#"{"colour": 2147483648}"#, "colour", "out of range"),
        (r#"{"colour": "1"}"#, "colour", "unrecognized enum value"),
        (r#"{"colour": true}"#, "colour", "a name or a number"),
        (r#"{"nil": false}"#, "nil", "null"),
        (r#"{"thin": 3.4028236e38}"#, "thin", "out of range"),
        (r#"{"count": 1e300}"#, "count", "out of range"),
        (r#"{"id": 1.5}"#, "id", "a string"),
        (r#"{"yes": 1}"#, "yes", "a boolean"),
        (r#"{"ratio": false}"#, "ratio", "a number"),
        (r#"{"blob": "a"}"#, "blob", "base64"),
        (r#"{"blob": "-/8="}"#, "blob", "base64"),
    ] {
        let (read_field, message) = refused(json);
        assert_eq!(read_field, field, "{json}: {message}");
        assert!(message.contains(told), "{json}: {message}");
    }
    let ignored = [
        (
            r#"{"colours": ["COLOUR_RED", "GREEN"]}"#,
            r#"{"colours": ["COLOUR_RED"]}"#,
        ),
        (
            r#"{"colourOf": {"a": "GREEN", "b": "COLOUR_BLUE"}}"#,
            r#"{"colourOf": {"b": "COLOUR_BLUE"}}"#,
        ),
        (r#"{"empty": {"no": 1}}"#, r#"{"empty": {}}"#),
        (
            r#"{"any": {"no": 1, "@type": "t/google.protobuf.Duration", "value": "1s"}}"#,
            r#"{"any": {"@type": "t/google.protobuf.Duration", "value": "1s"}}"#,
        ),
    ];
    for (json, expected) in ignored {
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(again_as(Unknown::Ignore, json).unwrap(), expected, "{json}");
    }
    let twice = r#"{"colourOf": {"a": "GREEN", "a": "GREEN"}}"#;
    let twice = again_as(Unknown::Ignore, twice).map(|json| json.to_string());
    assert_eq!(refusal(twice).0, "colourOf.a");
}

/// The library would move nanoseconds into seconds, and write what nobody said.
#[test]
fn times_that_are_not_valid_have_no_json() {
    let wait = |seconds, nanos| prost_types::Duration { seconds, nanos };
    let at = |seconds, nanos| prost_types::Timestamp { seconds, nanos };
    let sample = sample::pool(SAMPLE);
    let json = |name: &str, bytes: Vec<u8>| {
        let message = sample.get_message_by_name(name).unwrap();
        let message = DynamicMessage::decode(message, bytes.as_slice()).unwrap();
        to_json(&message).map(|json| String::from_utf8(json).unwrap())
    };
    let duration =
        |value: prost_types::Duration| json("google.protobuf.Duration", value.encode_to_vec()).ok();
    let timestamp = |value: prost_types::Timestamp| {
        json("google.protobuf.Timestamp", value.encode_to_vec()).ok()
    };
    for (value, expected) in [
        (wait(0, 0), Some("0s")),
        (wait(0, -500_000_000), Some("-0.500s")),
        (wait(-1, -1), Some("-1.000000001s")),
        (wait(1, 999_999_999), Some("1.999999999s")),
        (wait(1, -1), None),
        (wait(-1, 1), None),
        (wait(0, 1_000_000_000), None),
        (wait(0, i32::MIN), None),
        (wait(315_576_000_001, 0), None),
    ] {
        let expected = expected.map(|text| format!("{text:?}"));
        assert_eq!(duration(value), expected, "{value:?}");
    }
    for (value, expected) in [
        (at(-1, 1), Some("1969-12-31T23:59:59.000000001Z")),
        (at(0, 999_999_999), Some("1970-01-01T00:00:00.999999999Z")),
        (at(0, -1), None),
        (at(0, 1_000_000_000), None),
        (at(253_402_300_800, 0), None),
        (at(-62_135_596_801, 0), None),
    ] {
        let expected = expected.map(|text| format!("{text:?}"));
        assert_eq!(timestamp(value), expected, "{value:?}");
    }
    let untyped = prost_types::Any {
        type_url: String::new(),
        value: vec![1],
    };
    let untyped = json("google.protobuf.Any", untyped.encode_to_vec());
    assert_eq!(Code::of(&untyped.unwrap_err()), Some(Code::Internal));
}
