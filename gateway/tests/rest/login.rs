//! The login for development, as an app uses it.

use jitney_gateway::Config;
use jitney_platform::auth::{Role, TokenKeys};
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, read, refused};

async fn log_in(sandbox: &Sandbox, phone: &str) -> Value {
    let body = json!({"phone": phone});
    let (status, started) = read(sandbox.bare("POST", "/v1/login:start").json(&body)).await;
    assert_eq!(status, 200, "{started}");
    let code = sandbox.codes.lock().unwrap().last().cloned().unwrap();
    assert!(
        !started.to_string().contains(&code),
        "the code is not sent back"
    );
    let body = json!({"loginId": started["loginId"], "code": code, "role": "rider"});
    let (status, tokens) = read(sandbox.bare("POST", "/v1/login:finish").json(&body)).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_app_logs_in_renews_and_leaves() {
    let sandbox = Sandbox::in_process().await;
    let tokens = log_in(&sandbox, "+377 93 15 00 00").await;
    assert_eq!(tokens["tokenType"], "Bearer");
    let ask = |token: String| sandbox.bare("GET", "/v1/trips/t").bearer_auth(token);
    let (status, _) = read(ask(text(&tokens["accessToken"]))).await;
    assert_eq!(status, 200);
    let who = format!("GetTrip rider:{}", tokens["id"].as_str().unwrap());
    assert!(sandbox.seen().starts_with(&who), "{}", sandbox.seen());

    let renew = |token: &Value| {
        let body = json!({"refreshToken": token});
        sandbox.bare("POST", "/v1/login:refresh").json(&body)
    };
    let (status, second) = read(renew(&tokens["refreshToken"])).await;
    assert_eq!(status, 200, "{second}");
    assert_eq!(read(ask(text(&second["accessToken"]))).await.0, 200);
    // Replayed: the whole session is over, in the services too.
    let replayed = refused(renew(&tokens["refreshToken"])).await;
    assert_eq!((replayed.0, replayed.1.as_str()), (401, "UNAUTHENTICATED"));
    for token in [&tokens, &second] {
        let answer = refused(ask(text(&token["accessToken"]))).await;
        assert_eq!(answer.0, 401);
        assert!(answer.2.contains("session has ended"), "{}", answer.2);
    }
    assert_eq!(refused(renew(&second["refreshToken"])).await.0, 401);

    let third = log_in(&sandbox, "+377 93 15 00 00").await;
    assert_eq!(third["id"], tokens["id"]);
    let leave = json!({"refreshToken": third["refreshToken"]});
    let left = sandbox.bare("POST", "/v1/login:logout").json(&leave);
    assert_eq!(read(left).await, (200, json!({})));
    assert_eq!(refused(ask(text(&third["accessToken"]))).await.0, 401);
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let config = Config {
        heartbeat: std::time::Duration::from_millis(50),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let tokens = log_in(&sandbox, "+37793150000").await;
    let watch = sandbox
        .bare("GET", "/v1/trips/endless:watch")
        .bearer_auth(text(&tokens["accessToken"]))
        .send()
        .await
        .unwrap();
    assert_eq!(watch.status(), 200);
    let leave = json!({"refreshToken": tokens["refreshToken"]});
    read(sandbox.bare("POST", "/v1/login:logout").json(&leave)).await;
    let all = watch.text().await.unwrap();
    assert!(
        all.contains("event: error") && all.contains("UNAUTHENTICATED"),
        "{all}"
    );
}

#[tokio::test]
async fn what_a_login_may_not_say_is_refused() {
    let sandbox = Sandbox::in_process().await;
    let canary = "hunter2-canary";
    for (path, body) in [
        ("/v1/login:start", "{}".to_owned()),
        (
            "/v1/login:start",
            r#"{"phone": "+377931500"}, {}"#.to_owned(),
        ),
        (
            "/v1/login:start",
            r#"{"phone": "+37793150000", "phone": "+37793150001"}"#.to_owned(),
        ),
        (
            "/v1/login:start",
            r#"{"phone": "+37793150000", "role": "operator"}"#.to_owned(),
        ),
        ("/v1/login:start", format!(r#"{{"phone": "{canary}"}}"#)),
        ("/v1/login:start", format!(r#"["{canary}"]"#)),
        (
            "/v1/login:finish",
            format!(r#"{{"loginId": "x", "code": "{canary}", "role": "{canary}"}}"#),
        ),
        (
            "/v1/login:finish",
            r#"{"loginId": "x", "code": 123456, "role": "rider"}"#.to_owned(),
        ),
        (
            "/v1/login:finish",
            r#"{"loginId": "x", "code": "1", "role": "operator"}"#.to_owned(),
        ),
        ("/v1/login:refresh", r#"{"refreshToken": null}"#.to_owned()),
        ("/v1/login:refresh", String::new()),
    ] {
        let request = sandbox.bare("POST", path).body(body.clone());
        let (status, error) = read(request).await;
        assert_eq!(status, 400, "{path} {body}: {error}");
        assert!(!error.to_string().contains(canary), "{error}");
    }
    assert!(sandbox.codes.lock().unwrap().is_empty());
    let answer = sandbox.bare("GET", "/v1/login:start").send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
    let query = sandbox
        .bare("POST", "/v1/login:start?phone=%2B37793150000")
        .body("{}");
    assert_eq!(refused(query).await.0, 400);
}

#[tokio::test]
async fn guesses_from_an_address_are_bounded() {
    let config = Config {
        address_refusals_per_minute: 20,
        trusted_proxies: vec!["127.0.0.0/8".to_owned()],
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let foreign = TokenKeys::generate();
    let hour = std::time::Duration::from_secs(3600);
    let now = sandbox.platform.clock.now();
    let guess = |n: usize, address: &str| {
        let token = foreign
            .mint(Role::Rider, &format!("r{n}"), hour, now)
            .unwrap();
        sandbox
            .bare("GET", "/v1/trips/t")
            .header("x-forwarded-for", address)
            .bearer_auth(token)
    };
    for n in 0..20 {
        assert_eq!(refused(guess(n, "192.0.2.1")).await.0, 401);
    }
    let answer = guess(20, "192.0.2.1").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains_key("retry-after"));
    let body = json!({"phone": "+37793150000"});
    let start = sandbox
        .bare("POST", "/v1/login:start")
        .header("x-forwarded-for", "192.0.2.1");
    assert_eq!(refused(start.json(&body)).await.0, 429);
    // Neighbours, and those with a good token behind the same address, are not touched.
    assert_eq!(refused(guess(21, "192.0.2.2")).await.0, 401);
    let good = sandbox
        .rider("GET", "/v1/trips/t")
        .header("x-forwarded-for", "192.0.2.1");
    assert_eq!(read(good).await.0, 200);
}

#[tokio::test]
async fn our_public_key_is_for_all_to_see() {
    let sandbox = Sandbox::in_process().await;
    let (status, set) = read(sandbox.bare("GET", "/.well-known/jwks.json")).await;
    assert_eq!((status, &set["keys"][0]["alg"]), (200, &json!("EdDSA")));
    assert!(set["keys"][0].get("d").is_none(), "the private half stays");
}
