//! Calls of one message each way.

use jitney_platform::auth::Role;
use serde_json::json;

use crate::sandbox::{Sandbox, parse, read};

#[tokio::test]
async fn a_call_reaches_its_service_as_its_caller() {
    for sandbox in [Sandbox::start().await, Sandbox::in_process().await] {
        let (status, trip) = read(sandbox.rider("GET", "/v1/trips/t%2D7")).await;
        assert_eq!(status, 200, "{trip}");
        assert_eq!(
            sandbox.seen(),
            r#"GetTrip rider:anna GetTripRequest { trip_id: "t-7" }"#
        );
        let trip = &trip["trip"];
        assert_eq!(trip["tripId"], "t-7");
        assert_eq!(trip["version"], "1", "64-bit integers are strings");
        assert_eq!(trip["state"], "TRIP_STATE_SEARCHING");
        assert_eq!(
            trip["fare"],
            json!({"currencyCode": "EUR", "minorUnits": "1234"})
        );
        assert_eq!(trip["createdAt"], "1970-01-01T00:00:00Z");
        assert_eq!(trip["pin"], "", "defaults are there");
        assert!(trip.get("driver").is_none(), "absent messages are not");
    }
}

#[tokio::test]
async fn a_query_becomes_fields() {
    let sandbox = Sandbox::start().await;
    let url = "/v1/drivers:nearby?location.latitude=41.15&location.longitude=-8.6&limit=3";
    let (status, answer) = read(sandbox.rider("GET", url)).await;
    assert_eq!(status, 200, "{answer}");
    let location = json!({"latitude": 41.15, "longitude": -8.6});
    assert_eq!(answer["drivers"][0]["location"], location);
    assert!(sandbox.seen().contains("limit: 3"), "{}", sandbox.seen());

    let url = "/v1/trips?pageSize=5&states=TRIP_STATE_SEARCHING&states=TRIP_STATE_OFFERED";
    read(sandbox.rider("GET", url)).await;
    let seen = sandbox.seen();
    assert!(
        seen.contains("page_size: 5") && seen.contains("states: [Searching, Offered]"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_body_and_a_path_become_one_message() {
    let sandbox = Sandbox::start().await;
    let body = json!({"available": true, "products": ["economy"], "vehicle": {"plate": "AA-1"}});
    let (status, _) = read(
        sandbox
            .driver("PUT", "/v1/drivers/dan/availability")
            .json(&body),
    )
    .await;
    assert_eq!(status, 200);
    let seen = sandbox.seen();
    for part in [
        r#"driver_id: "dan""#,
        "available: true",
        r#"["economy"]"#,
        r#"plate: "AA-1""#,
    ] {
        assert!(seen.contains(part), "{seen}");
    }
    // No body counts as an empty one.
    let (status, _) = read(sandbox.driver("POST", "/v1/trips/t/offers/o:accept")).await;
    assert_eq!(status, 200);
    assert!(
        sandbox.seen().contains(r#"trip_id: "t", offer_id: "o""#),
        "{}",
        sandbox.seen()
    );
}

#[tokio::test]
async fn further_bindings_are_served() {
    let sandbox = Sandbox::start().await;
    for path in ["/v1/drivers:match", "/match-driver"] {
        let body = json!({"pickup": {"latitude": 1, "longitude": 2}});
        let (status, _) = read(sandbox.rider("POST", path).json(&body)).await;
        assert_eq!(status, 200, "{path}");
        assert!(
            sandbox.seen().starts_with("MatchDriver rider:anna"),
            "{}",
            sandbox.seen()
        );
    }
    let (status, _) = read(sandbox.rider("GET", "/v1/riders/anna/balance")).await;
    assert_eq!(status, 200);
    assert!(
        sandbox.seen().contains(r#"RiderId("anna")"#),
        "{}",
        sandbox.seen()
    );
}

#[tokio::test]
async fn the_idempotency_key_may_be_a_header() {
    let sandbox = Sandbox::start().await;
    let create = || {
        sandbox
            .rider("POST", "/v1/trips")
            .header("Idempotency-Key", "k-1")
    };
    let (status, _) = read(create().json(&json!({"product": "economy"}))).await;
    assert_eq!(status, 200);
    assert!(
        sandbox.seen().contains(r#"idempotency_key: "k-1""#),
        "{}",
        sandbox.seen()
    );
    let (status, _) = read(create().json(&json!({"idempotency_key": "k-1"}))).await;
    assert_eq!(status, 200);
    let (status, error) = read(create().json(&json!({"idempotencyKey": "k-2"}))).await;
    assert_eq!(status, 400, "{error}");
    assert_eq!(
        error["details"][1]["fieldViolations"][0]["field"],
        "idempotency-key"
    );
}

#[tokio::test]
async fn a_request_has_an_id_all_the_way() {
    let sandbox = Sandbox::start().await;
    let answer = sandbox
        .rider("GET", "/v1/trips/t")
        .header("x-request-id", "my-1")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-request-id"], "my-1");
    assert_eq!(*sandbox.backend.request_id.lock().unwrap(), "my-1");
    let odd = sandbox
        .rider("GET", "/v1/trips/t")
        .header("x-request-id", "a b\"c");
    let answer = odd.send().await.unwrap();
    let own = answer.headers()["x-request-id"].to_str().unwrap();
    assert_eq!(own.len(), 36, "{own}");
    assert_eq!(*sandbox.backend.request_id.lock().unwrap(), own);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let sandbox = Sandbox::start().await;
    let answer = sandbox.rider("HEAD", "/v1/trips/t").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.text().await.unwrap(), "");
}

#[tokio::test]
async fn what_needs_no_token_is_open() {
    let sandbox = Sandbox::start().await;
    let (status, live) = read(sandbox.bare("GET", "/healthz")).await;
    assert_eq!((status, live), (200, json!({"live": true})));
    let (status, ready) = read(sandbox.bare("GET", "/readyz")).await;
    assert_eq!((status, &ready["ready"]), (200, &json!(true)), "{ready}");
    assert_eq!(ready["services"]["jitney.trips.v1.TripsService"], "ok");
    for path in ["/", "/v1"] {
        let (status, index) = read(sandbox.bare("GET", path)).await;
        assert_eq!(status, 200);
        let routes = index["routes"].as_array().unwrap();
        let watch = routes
            .iter()
            .find(|route| route["path"] == "/v1/trips/{trip_id}:watch");
        let expected = json!({
            "method": "GET", "path": "/v1/trips/{trip_id}:watch", "form": "events",
            "rpc": "jitney.trips.v1.TripsService.WatchTrip",
            "roles": ["rider", "driver", "guest", "operator", "service"],
        });
        assert_eq!(watch, Some(&expected));
    }
    let in_process = Sandbox::in_process().await;
    assert_eq!(read(in_process.bare("GET", "/readyz")).await.0, 200);
    let alone = Sandbox::alone(Default::default()).await;
    let (status, ready) = read(alone.bare("GET", "/readyz")).await;
    assert_eq!(status, 503);
    assert_eq!(
        ready["services"]["jitney.billing.v1.BillingService"],
        "unreachable"
    );
}

#[tokio::test]
async fn pages_of_other_origins_may_call() {
    let sandbox = Sandbox::start().await;
    let answer = sandbox
        .bare("OPTIONS", "/v1/trips")
        .header("origin", "https://app.example.org")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,idempotency-key,content-type",
        )
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let allowed = answer.headers()["access-control-allow-headers"]
        .to_str()
        .unwrap();
    assert!(
        allowed.contains("authorization") && allowed.contains("idempotency-key"),
        "{allowed}"
    );
    let answer = sandbox
        .bare("GET", "/v1/trips")
        .header("origin", "https://x.example")
        .send()
        .await;
    let answer = answer.unwrap();
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "*",
        "errors too"
    );
    assert_eq!(parse(answer).await.0, 401);
}

#[tokio::test]
async fn an_operator_may_do_what_the_rule_says() {
    let sandbox = Sandbox::start().await;
    let token = sandbox.token(Role::Operator, "olga");
    let (status, _) = read(sandbox.bare("GET", "/v1/trips").bearer_auth(token)).await;
    assert_eq!(status, 200);
    assert!(
        sandbox.seen().starts_with("ListTrips operator:olga"),
        "{}",
        sandbox.seen()
    );
}

#[tokio::test]
async fn a_document_is_the_answer_itself() {
    let sandbox = Sandbox::start().await;
    let get = |id: &str| sandbox.rider("GET", &format!("/v1/trips/{id}/receipt:document?format=2"));
    for (id, content_type, name) in [
        ("t-1", "text/html; charset=utf-8", "receipt.html"),
        ("pdf", "application/pdf", "receipt.pdf"),
    ] {
        let answer = get(id).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), content_type);
        assert_eq!(
            header("content-disposition"),
            format!("inline; filename=\"{name}\"")
        );
        assert!(header("content-security-policy").starts_with("default-src 'none';"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(&*answer.bytes().await.unwrap(), b"\x00\xff<p>");
    }
    assert!(sandbox.seen().contains("format: Pdf"), "{}", sandbox.seen());
    // What a browser might run, or take for a header, is not passed on; nor is nothing.
    for id in ["odd-type", "odd-name", "none"] {
        let (status, problem) = read(get(id)).await;
        assert_eq!(status, 500, "{problem}");
        assert!(!problem.to_string().contains("Cookie"), "{problem}");
    }
}

#[tokio::test]
async fn the_reference_works_by_itself() {
    let sandbox = Sandbox::in_process().await;
    let (status, spec) = read(sandbox.bare("GET", "/openapi.json")).await;
    assert_eq!((status, &spec["openapi"]), (200, &json!("3.1.0")));
    assert!(spec["paths"]["/v1/trips/{trip_id}"]["get"].is_object());
    let page = sandbox.bare("GET", "/docs").send().await.unwrap();
    let rules = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        rules.starts_with("default-src 'none'; script-src 'self'"),
        "{rules}"
    );
    let page = page.text().await.unwrap();
    for file in ["/docs/reference.js", "/docs/reference.css"] {
        assert!(page.contains(file));
        let file = sandbox.bare("GET", file).send().await.unwrap();
        assert_eq!(file.status(), 200);
        let text = file.text().await.unwrap();
        // Offline: nothing is loaded from elsewhere.
        assert!(!text.contains("http://") && !text.contains("https://"));
        assert!(!text.contains("innerHTML"), "comments are text, not pages");
    }
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("onclick"));
}
