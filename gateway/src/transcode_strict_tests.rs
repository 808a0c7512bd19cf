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
        ("/count", "1.5", "count", "integer"),
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

/// A gap that is known: an `Any` that holds nothing would be `{}` in proto3 JSON. No message of the API
/// has an `Any`; one that came would be refused, not misread.
#[test]
fn an_any_without_a_type_is_refused() {
    for body in [r#"{"any": {}}"#, r#"{"any": {"value": "x"}}"#] {
        let (field, told) = refusal(read("POST", "/whole/x", &[], body));
        assert!(field.starts_with("any"), "{field}: {told}");
    }
    let typed = r#"{"any": {"@type": "type.googleapis.com/x.Q", "count": 1}}"#;
    assert!(
        read("POST", "/whole/x", &[], typed)
            .unwrap()
            .contains("\"count\":1")
    );
    let twice = r#"{"any": {"@type": "type.googleapis.com/x.Q", "count": 1, "count": 2}}"#;
    assert_eq!(refusal(read("POST", "/whole/x", &[], twice)).0, "any.count");
    let pool = jitney_proto::descriptor_pool();
    let holds_any = |message: MessageDescriptor| {
        let any = |field: FieldDescriptor| {
            let kind = field.kind();
            kind.as_message()
                .is_some_and(|kind| kind.full_name() == "google.protobuf.Any")
        };
        message.full_name().starts_with("jitney.") && message.fields().any(any)
    };
    assert!(!pool.all_messages().any(holds_any));
}
