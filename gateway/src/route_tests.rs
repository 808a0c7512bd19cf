//! Which rpc a method and a path reach, and which rules cannot be followed.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::sample;

fn ours() -> Routes {
    Routes::from_descriptors(&jitney_proto::descriptor_pool()).unwrap()
}

fn found(routes: &Routes, method: &str, path: &str) -> String {
    match routes.find(&method.parse().unwrap(), &Path::cut(path)) {
        Found::Route(binding) => binding.rpc.name.rsplit('.').next().unwrap().to_owned(),
        Found::OtherMethods(allowed) => allowed
            .iter()
            .map(Method::as_str)
            .collect::<Vec<_>>()
            .join(", "),
        Found::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn the_api_is_reached_where_it_says() {
    let routes = ours();
    for (method, path, expected) in [
        ("POST", "/v1/quotes", "QuoteTrip"),
        ("POST", "/v1/trips", "CreateTrip"),
        ("GET", "/v1/trips", "ListTrips"),
        ("GET", "/v1/trips/7", "GetTrip"),
        ("HEAD", "/v1/trips/7", "GetTrip"),
        ("GET", "/v1/trips/7:watch", "WatchTrip"),
        ("POST", "/v1/trips/7:arrive", "ArriveAtPickup"),
        ("POST", "/v1/trips/7/offers/8:accept", "AcceptOffer"),
        ("GET", "/v1/trips/7/receipt", "GetReceipt"),
        ("GET", "/v1/drivers:nearby", "NearbyDrivers"),
        ("GET", "/v1/drivers/d", "GetDriver"),
        ("PUT", "/v1/drivers/d/availability", "SetAvailability"),
        ("GET", "/v1/drivers/d/balance", "GetBalance"),
        ("GET", "/v1/riders/r/balance", "GetBalance"),
        ("POST", "/match-driver", "MatchDriver"),
        ("POST", "/v1/drivers:match", "MatchDriver"),
        ("GET", "/v1/driver-stream", "StreamDriver"),
        ("GET", "/v1/fleet:watch", "WatchFleet"),
        // Another verb of HTTP.
        ("DELETE", "/v1/trips/7", "GET"),
        ("PUT", "/v1/trips", "GET, POST"),
        ("GET", "/v1/trips/7:arrive", "POST"),
        ("HEAD", "/v1/trips/7:watch", "GET"),
        ("POST", "/v1/drivers:nearby", "GET"),
        // No such place.
        ("GET", "/v1/trips/", "nothing"),
        ("GET", "/v1/trips/7/", "nothing"),
        ("GET", "//v1/trips", "nothing"),
        ("GET", "/v1/trips/7:fly", "nothing"),
        ("POST", "/v1/trips/:arrive", "nothing"),
        ("GET", "/v1/trips/7:watch:watch/x", "nothing"),
        ("GET", "/v2/trips", "nothing"),
        ("GET", "", "nothing"),
    ] {
        assert_eq!(found(&routes, method, path), expected, "{method} {path}");
    }
}

#[test]
fn what_the_messages_hold_is_known() {
    let routes = ours();
    let rpc = |name: &str| {
        let mut rpcs = routes.all().iter().map(|binding| &binding.rpc);
        rpcs.find(|rpc| rpc.name.ends_with(name)).unwrap().clone()
    };
    assert!(rpc("CreateTrip").idempotency_key.is_some());
    assert!(rpc("GetTrip").idempotency_key.is_none());
    let watch = rpc("WatchTrip");
    assert_eq!(watch.shape, Shape::ServerStream);
    assert!(watch.resume_from.is_some() && watch.resume_token.is_some());
    assert_eq!(watch.event.as_ref().unwrap().name(), "update");
    assert_eq!(rpc("StreamDriver").shape, Shape::Bidirectional);
    assert_eq!(
        rpc("StreamDriver").path.as_str(),
        "/jitney.matching.v1.MatchingService/StreamDriver"
    );
    // Internal rpcs have no route.
    assert!(
        routes
            .all()
            .iter()
            .all(|binding| !binding.rpc.name.ends_with("CaptureHold"))
    );
}

/// The routes of one service with an rpc per `(streams, rule)`.
fn declared(rpcs: &[(&str, &str)]) -> Result<Routes> {
    let mut source = String::from("service S {\n");
    for (at, (streams, rule)) in rpcs.iter().enumerate() {
        let (up, down) = match *streams {
            "up" => ("stream ", ""),
            "down" => ("", "stream "),
            "both" => ("stream ", "stream "),
            _ => ("", ""),
        };
        source += &format!(
            "rpc M{at}({up}Q) returns ({down}Q) {{ option (google.api.http) = {{ {rule} }}; }}\n"
        );
    }
    source += "}\nmessage Q { string id = 1; repeated string tags = 2; Q inner = 3; }";
    Routes::from_descriptors(&sample::pool(&source))
}

#[test]
fn a_literal_beats_a_variable_and_the_verb_of_http_decides_between_the_rest() {
    let routes = declared(&[
        ("", r#"get: "/a/{id}""#),
        ("", r#"get: "/a/b""#),
        ("", r#"post: "/a/*" body: "*""#),
        ("", r#"get: "/a/{id=**}""#),
        ("", r#"get: "/a/{id}/c""#),
        ("", r#"get: "/a/b/{id}""#),
        ("", r#"delete: "/a/{inner.id=x/*}""#),
        ("", r#"patch: "/**" body: "inner""#),
    ])
    .unwrap();
    for (method, path, expected) in [
        ("GET", "/a/b", "M1"),
        ("GET", "/a/x", "M0"),
        ("POST", "/a/b", "M2"),
        ("GET", "/a", "M3"),
        ("GET", "/a/x/y", "M3"),
        ("GET", "/a/x/c", "M4"),
        ("GET", "/a/b/c", "M5"),
        ("DELETE", "/a/x/y", "M6"),
        ("DELETE", "/a/y/x", "GET, PATCH"),
        ("PATCH", "/a/b", "M7"),
        // An empty segment fits nothing.
        ("PATCH", "/", "nothing"),
        ("GET", "/a/x//y", "nothing"),
    ] {
        assert_eq!(found(&routes, method, path), expected, "{method} {path}");
    }
}

#[test]
fn a_rule_that_cannot_be_followed_fails_with_the_name_of_its_rpc() {
    for (streams, rule, reason) in [
        ("", r#"get: "a""#, "does not begin with '/'"),
        ("", r#"get: "/a/{nothing}""#, "no field \"nothing\""),
        ("", r#"get: "/a/{tags}""#, "field of many values"),
        ("", r#"get: "/a/{inner}""#, "is a message"),
        ("", r#"get: "/a/{id.id}""#, "not a message"),
        ("", r#"post: "/a" body: "nothing""#, "no field \"nothing\""),
        ("", r#"get: "/a" body: "*""#, "GET takes no body"),
        ("", r#"get: "/a" response_body: "nothing""#, "no field"),
        ("", r#"body: "*""#, "names none of"),
        (
            "",
            r#"custom { kind: "NO SUCH" path: "/a" }"#,
            "no HTTP method",
        ),
        ("", r#"custom { path: "/a" }"#, "no kind"),
        ("", r#"custom { kind: "LOCK" }"#, "no path"),
        (
            "down",
            r#"get: "/a" response_body: "id""#,
            "not of a stream",
        ),
        (
            "",
            r#"get: "/a" additional_bindings { get: "/b" additional_bindings { get: "/c" } }"#,
            "bindings of its own",
        ),
        (
            "",
            r#"get: "/a" additional_bindings { get: "/a" }"#,
            "GET /a is x.S.M0's already",
        ),
        (
            "",
            r#"get: "/{id}" additional_bindings { get: "/*" }"#,
            "x.S.M0's already",
        ),
        ("up", r#"post: "/a" body: "*""#, "stream of requests"),
        ("up", r#"get: "/a/{id}""#, "stream of requests"),
        ("both", r#"post: "/a" body: "*""#, "WebSocket"),
        ("both", r#"get: "/a/{id}""#, "WebSocket"),
    ] {
        let error = format!("{:#}", declared(&[(streams, rule)]).unwrap_err());
        assert!(
            error.contains("x.S.M0") && error.contains(reason),
            "{rule}: {error}"
        );
    }
}

#[test]
fn a_rule_may_have_a_method_of_its_own_and_one_for_all() {
    let routes = declared(&[
        ("", r#"custom { kind: "LOCK" path: "/a/{id}" }"#),
        ("", r#"custom { kind: "*" path: "/a/{id}" }"#),
        ("", r#"get: "/a/{id}""#),
    ]);
    let routes = routes.unwrap();
    for (method, expected) in [
        ("LOCK", "M0"),
        ("GET", "M2"),
        ("HEAD", "M2"),
        ("POST", "M1"),
    ] {
        assert_eq!(found(&routes, method, "/a/x"), expected, "{method}");
    }
}

#[test]
fn one_field_may_be_the_body_and_the_answer() {
    let rule = r#"post: "/a" body: "tags" response_body: "inner""#;
    let routes = declared(&[("", rule)]).unwrap();
    let binding = routes.all().last().unwrap();
    assert_eq!(binding.answer.as_ref().unwrap().name(), "inner");
    assert!(matches!(&binding.body, Body::Field(field) if field.name() == "tags"));
}

#[test]
fn an_rpc_without_a_rule_has_no_route() {
    let source = "service S { rpc M(Q) returns (Q); } message Q {}";
    let all = Routes::from_descriptors(&sample::pool(source)).unwrap();
    assert!(all.all().iter().all(|binding| binding.rpc.service != "x.S"));
}

/// Whether one template fits a path, by trying each step in turn.
fn fits(template: &Template, path: &Path<'_>) -> bool {
    let fixed = template.steps.len() - usize::from(template.steps.last() == Some(&Step::Rest));
    let length = if fixed < template.steps.len() {
        path.segments.len() >= fixed
    } else {
        path.segments.len() == fixed
    };
    length
        && template.verb.as_deref() == path.verb
        && path
            .segments
            .iter()
            .enumerate()
            .all(|(at, segment)| match template.steps.get(at) {
                Some(Step::Literal(text)) => text == segment,
                _ => !segment.is_empty(),
            })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_tree_finds_what_trying_every_template_finds(
        templates in prop::collection::btree_set("(/(a|b|c|\\*)){1,3}(/\\*\\*)?(:(u|v))?", 1..8),
        paths in prop::collection::vec("(/(a|b|c|d|)){0,5}(:(u|v|w))?", 32),
    ) {
        let mut routes = Routes::default();
        let rpc = ours().all()[0].rpc.clone();
        for text in &templates {
            let template = Template::parse(text).unwrap();
            let body = Body::None;
            routes.add(Binding {
                rpc: rpc.clone(), method: Method::GET, template, variables: Vec::new(), body,
                mask: None,
                route: text.clone(),
                document: None,
                answer: None,
            }).unwrap();
        }
        for text in &paths {
            let path = Path::cut(text);
            let slow: Vec<_> =
                routes.all().iter().filter(|binding| fits(&binding.template, &path)).collect();
            match routes.find(&Method::GET, &path) {
                Found::Route(binding) => {
                    prop_assert!(slow.iter().any(|other| other.template == binding.template));
                    // Nothing that fits is more particular, decided from the left.
                    let rank = |template: &Template| -> Vec<u8> {
                        template.steps.iter().map(|step| match step {
                            Step::Literal(_) => 0,
                            Step::One => 1,
                            Step::Rest => 2,
                        }).collect()
                    };
                    let best = slow.iter().map(|binding| rank(&binding.template)).min();
                    prop_assert_eq!(Some(rank(&binding.template)), best);
                }
                Found::Nothing => prop_assert!(slow.is_empty(), "{} fits {:?}", text, slow),
                Found::OtherMethods(_) => prop_assert!(false, "there is only GET"),
            }
        }
    }
}
