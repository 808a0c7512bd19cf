//! What is refused, and in which words.

use std::time::Duration;

use jitney_gateway::Config;
use jitney_platform::auth::{AccessRules, Role};
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, read, refused};

fn is(expected: (u16, &str, &str), actual: &(u16, String, String)) {
    let (status, reason, message) = actual;
    assert_eq!(
        (*status, reason.as_str()),
        (expected.0, expected.1),
        "{message}"
    );
    assert!(message.contains(expected.2), "{message}");
}

#[tokio::test]
async fn the_services_errors_arrive_whole() {
    let sandbox = Sandbox::start().await;
    let create = |product: &str| {
        sandbox
            .rider("POST", "/v1/trips")
            .json(&json!({"product": product}))
    };
    let missing = refused(sandbox.rider("GET", "/v1/trips/missing")).await;
    is((404, "NOT_FOUND", "there is no such trip"), &missing);

    let (status, error) = read(create("declined")).await;
    assert_eq!((status, &error["code"]), (400, &json!(9)));
    assert_eq!(error["details"][0]["reason"], "PAYMENT_DECLINED");
    assert_eq!(
        error["details"][0]["metadata"],
        json!({"limit": "EUR 50.00"})
    );

    let (status, error) = read(create("far")).await;
    assert_eq!((status, &error["code"]), (400, &json!(3)));
    assert_eq!(error["details"][0]["reason"], "OUTSIDE_MAP");
    let violation = json!({"field": "pickup", "description": "is not near any road"});
    assert_eq!(error["details"][1]["fieldViolations"], json!([violation]));

    let answer = create("busy").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "2");
    let error: Value = answer.json().await.unwrap();
    assert_eq!(error["details"][1]["retryDelay"], "1.500s");
}

#[tokio::test]
async fn a_defect_is_told_without_its_detail() {
    for sandbox in [Sandbox::start().await, Sandbox::in_process().await] {
        for product in ["broken", "raw"] {
            let body = json!({"product": product});
            let (status, error) = read(sandbox.rider("POST", "/v1/trips").json(&body)).await;
            assert_eq!(status, 500);
            let text = error.to_string();
            assert!(!text.contains("4711") && !text.contains("0xdead"), "{text}");
            assert_eq!(error["details"][0]["reason"], "INTERNAL");
        }
        // What the fakes do not have.
        let (status, error) = read(sandbox.rider("POST", "/v1/quotes").json(&json!({}))).await;
        assert_eq!(
            (status, &error["details"][0]["reason"]),
            (500, &json!("INTERNAL"))
        );
    }
}

#[tokio::test]
async fn a_service_that_hangs_is_not_waited_for() {
    let config = Config {
        call_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let slow = sandbox
        .rider("POST", "/v1/trips")
        .json(&json!({"product": "slow"}));
    is((504, "DEADLINE_EXCEEDED", ""), &refused(slow).await);
}

#[tokio::test]
async fn a_service_that_is_away_may_be_asked_again() {
    let sandbox = Sandbox::alone(Config::default()).await;
    let answer = sandbox.rider("GET", "/v1/trips/t").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    let error: Value = answer.json().await.unwrap();
    assert_eq!(error["details"][0]["reason"], "UNAVAILABLE");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    is(
        (503, "UNAVAILABLE", ""),
        &refused(sandbox.rider("GET", "/v1/trips/t:watch")).await,
    );
}

#[tokio::test]
async fn an_answer_may_be_too_large() {
    let config = Config {
        answer_bytes_max: 10_000,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let huge = sandbox
        .rider("POST", "/v1/trips")
        .json(&json!({"product": "huge"}));
    is((500, "INTERNAL", ""), &refused(huge).await);
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_explained() {
    let sandbox = Sandbox::start().await;
    let send = |body: &'static str| {
        sandbox
            .rider("POST", "/v1/trips")
            .header("content-type", "application/json")
            .body(body)
    };
    let (status, error) = read(send("{\n \"pickup\": {\"lat\": 1}}")).await;
    assert_eq!(status, 400);
    assert_eq!(error["details"][0]["reason"], "INVALID_REQUEST");
    assert_eq!(
        error["details"][1]["fieldViolations"][0]["field"],
        "pickup.lat"
    );
    let (_, error) = read(send("{\"pickup\": {\"latitude\": \"north\"}}")).await;
    assert_eq!(
        error["details"][1]["fieldViolations"][0]["field"],
        "pickup.latitude"
    );
    is(
        (400, "INVALID_REQUEST", "line 1 column 2"),
        &refused(send("{{}")).await,
    );
    let (_, error) = read(sandbox.rider("GET", "/v1/trips?page=1")).await;
    assert_eq!(error["details"][1]["fieldViolations"][0]["field"], "page");
    assert!(sandbox.seen().is_empty(), "nothing reached a service");
}

#[tokio::test]
async fn what_is_asked_the_wrong_way_is_explained() {
    let sandbox = Sandbox::start().await;
    is(
        (404, "NOT_FOUND", "/v1/nothing"),
        &refused(sandbox.rider("GET", "/v1/nothing")).await,
    );
    is(
        (404, "NOT_FOUND", ""),
        &refused(sandbox.bare("GET", "/v1/trips/t:fly")).await,
    );
    for (method, path, allow) in [
        ("PUT", "/v1/trips", "GET, POST"),
        ("GET", "/v1/trips/t:arrive", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/v1", "GET, HEAD"),
    ] {
        let answer = sandbox.rider(method, path).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{method} {path}");
        assert_eq!(answer.headers()["allow"], allow, "{method} {path}");
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["details"][0]["reason"], "INVALID_REQUEST");
    }
    let form = sandbox
        .rider("POST", "/v1/trips")
        .header("content-type", "text/plain")
        .body("{}");
    is(
        (415, "INVALID_REQUEST", "application/json"),
        &refused(form).await,
    );
    let with_body = sandbox.rider("GET", "/v1/trips/t").body("{}");
    is(
        (400, "INVALID_REQUEST", "takes no body"),
        &refused(with_body).await,
    );
    let socket = sandbox.driver("GET", "/v1/driver-stream");
    is(
        (426, "INVALID_REQUEST", "WebSocket"),
        &refused(socket).await,
    );
}

#[tokio::test]
async fn the_token_is_looked_at_first() {
    let sandbox = Sandbox::start().await;
    let bare = || sandbox.bare("POST", "/v1/trips").body("nonsense");
    let answer = bare().send().await.unwrap();
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let told = "send 'Authorization: Bearer <token>'; 'jitney token' makes one";
    is((401, "UNAUTHENTICATED", told), &refused(bare()).await);
    is(
        (401, "UNAUTHENTICATED", "malformed"),
        &refused(bare().bearer_auth("a.b.c")).await,
    );
    let now = sandbox.platform.clock.now() - chrono::TimeDelta::hours(2);
    let hour = Duration::from_secs(3600);
    let old = sandbox
        .platform
        .keys
        .mint(Role::Rider, "anna", hour, now)
        .unwrap();
    is(
        (401, "UNAUTHENTICATED", "expired"),
        &refused(bare().bearer_auth(old)).await,
    );
    let stranger = jitney_platform::auth::TokenKeys::generate();
    let foreign = stranger
        .mint(Role::Operator, "eve", hour, sandbox.platform.clock.now())
        .unwrap();
    is(
        (401, "UNAUTHENTICATED", "not ours"),
        &refused(bare().bearer_auth(foreign)).await,
    );
    let url = format!(
        "/v1/trips?access_token={}",
        sandbox.token(Role::Rider, "anna")
    );
    is(
        (401, "UNAUTHENTICATED", "Authorization"),
        &refused(sandbox.bare("GET", &url)).await,
    );
}

/// Every route, asked as nobody and as every role: those that no rule lets in stay out.
#[tokio::test]
async fn every_route_keeps_its_rule() {
    let sandbox = Sandbox::start().await;
    let rules = AccessRules::from_descriptors(&jitney_proto::descriptor_pool());
    let (_, index) = read(sandbox.bare("GET", "/v1")).await;
    let mut walked = 0;
    for route in index["routes"].as_array().unwrap() {
        let text = |key: &str| route[key].as_str().unwrap();
        let path = text("path").replace(['{', '}'], "");
        let ask = || sandbox.bare(text("method"), &path);
        let (service, method) = text("rpc").rsplit_once('.').unwrap();
        let rpc = format!("/{service}/{method}");
        if !rules.is_public(&rpc) {
            is((401, "UNAUTHENTICATED", "Bearer"), &refused(ask()).await);
        }
        let granted = rules.grants(&rpc).unwrap();
        for role in Role::ALL {
            if granted.iter().any(|grant| grant.role == role) {
                continue;
            }
            let answer = refused(ask().bearer_auth(sandbox.token(role, "x"))).await;
            is((403, "PERMISSION_DENIED", role.name()), &answer);
            walked += 1;
        }
    }
    assert!(walked > 20, "{walked}");
    assert!(sandbox.seen().is_empty(), "nothing reached a service");
}

#[tokio::test]
async fn an_error_may_be_asked_for_as_a_problem() {
    let sandbox = Sandbox::in_process().await;
    let ask = async |request: reqwest::RequestBuilder, accept: &str| {
        let answer = request.header("accept", accept).send().await.unwrap();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (
            answer.status().as_u16(),
            kind,
            answer.json::<Value>().await.unwrap(),
        )
    };
    let both = "application/json, application/problem+json";
    let missing = || sandbox.rider("GET", "/v1/trips/missing");
    let (status, kind, problem) = ask(missing(), both).await;
    assert_eq!((status, kind.as_str()), (404, "application/problem+json"));
    assert_eq!(problem["type"], "urn:jitney:problem:NOT_FOUND");
    assert_eq!(
        (&problem["title"], &problem["status"]),
        (&json!("Not Found"), &json!(404))
    );
    assert_eq!(problem["detail"], "there is no such trip");
    assert_eq!(problem["details"][0]["reason"], "NOT_FOUND");
    for accept in ["application/json", "*/*", "application/problem+json;q=0"] {
        let (_, kind, status) = ask(missing(), accept).await;
        assert_eq!(
            (kind.as_str(), &status["code"]),
            ("application/json", &json!(5)),
            "{accept}"
        );
    }
    // Wherever an error is made.
    for request in [
        sandbox.bare("GET", "/v1/trips/t"),
        sandbox.bare("GET", "/v1/nothing"),
        sandbox.bare("DELETE", "/v1"),
        sandbox.bare("POST", "/v1/login:start"),
        sandbox.rider("GET", &format!("/v1/trips/{}", "x".repeat(20_000))),
    ] {
        assert_eq!(ask(request, both).await.1, "application/problem+json");
    }
}
