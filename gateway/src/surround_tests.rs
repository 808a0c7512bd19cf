//! What stands around every path, tried with paths of the tests' own.

use axum::routing::get;
use jitney_platform::{
    Platform,
    auth::TokenKeys,
    client::Channel,
    clock::Clock,
    db::{Database, DatabaseConfig},
};
use sqlx::postgres::PgConnectOptions;

use super::*;
use crate::{Gateway, Needs};

/// Paths of a test's own, with what stands around all paths.
fn around(router: Router, cors_origins: &[&str]) -> Surround {
    let database = Database::new(PgConnectOptions::new(), DatabaseConfig::default());
    let platform = Platform::new(Clock::system(), database, Arc::new(TokenKeys::generate()));
    let nowhere = Channel::remote("http://127.0.0.1:9").unwrap();
    let needs = Needs {
        platform,
        matching: nowhere.clone(),
        trips: nowhere.clone(),
        billing: nowhere,
        login: None,
    };
    let config = Config {
        cors_origins: cors_origins.iter().map(|&origin| origin.into()).collect(),
        ..Config::default()
    };
    Surround::new(router, Gateway::build(config, needs).unwrap().handler)
}

async fn ask(paths: &Surround, path: &str, headers: &[(HeaderName, &str)]) -> Response<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    paths.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_panic_is_an_answer_and_not_the_end() {
    let broken = async || -> &'static str { panic!("the secret is 4711") };
    let paths = around(Router::new().route("/broken", get(broken)), &[]);
    let answer = ask(&paths, "/broken", &[]).await;
    assert_eq!(answer.status(), 500);
    assert!(answer.headers().contains_key(REQUEST_ID));
    assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await;
    let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
    assert!(
        body.contains("INTERNAL") && !body.contains("4711"),
        "{body}"
    );
}

#[tokio::test]
async fn what_is_small_or_not_wanted_packed_is_not_packed() {
    let router = Router::new()
        .route("/small", get(async || "a".repeat(1023)))
        .route("/large", get(async || "a".repeat(1024)));
    let paths = around(router, &[]);
    let gzip = [(ACCEPT_ENCODING, "gzip")];
    for (path, headers, is_packed) in [
        ("/small", &gzip[..], false),
        ("/large", &gzip[..], true),
        ("/large", &[], false),
    ] {
        let answer = ask(&paths, path, headers).await;
        let packed = answer.headers().contains_key(CONTENT_ENCODING);
        assert_eq!(packed, is_packed, "{path} {headers:?}");
    }
}

#[tokio::test]
async fn caches_keep_pages_and_programs_apart_where_it_matters() {
    let page = [(ORIGIN, "https://app.example.org")];
    let varies = async |origins: &[&str], headers: &[(HeaderName, &str)]| {
        let paths = around(Router::new().route("/", get(async || "here")), origins);
        let answer = ask(&paths, "/", headers).await;
        let mut vary = answer.headers().get_all(VARY).iter();
        vary.any(|names| names.to_str().unwrap().contains("origin"))
    };
    let some = ["https://app.example.org"];
    assert!(varies(&some, &page).await);
    assert!(varies(&some, &[]).await, "a program's answer too");
    assert!(!varies(&["*"], &[]).await, "all get the same");
}
