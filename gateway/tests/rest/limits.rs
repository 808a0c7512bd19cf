//! What is bounded.

use std::time::Duration;

use jitney_gateway::Config;
use jitney_platform::testing::eventually;
use reqwest::Body;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::sandbox::{Sandbox, read, refused};

#[tokio::test]
async fn bodies_and_heads_are_small() {
    let config = Config {
        body_bytes_max: 1000,
        head_bytes_max: 2000,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let large = "x".repeat(1001);
    let (status, ..) = refused(sandbox.rider("POST", "/v1/trips").body(large.clone())).await;
    assert_eq!(status, 413);
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>(large)]);
    let chunked = sandbox
        .rider("POST", "/v1/trips")
        .body(Body::wrap_stream(chunks));
    assert_eq!(refused(chunked).await.0, 413);
    let heavy = sandbox
        .rider("GET", "/v1/trips/t")
        .header("x-ballast", "x".repeat(2000));
    assert_eq!(refused(heavy).await.0, 431);
    let long = sandbox.rider("GET", &format!("/v1/trips/{}", "x".repeat(2000)));
    assert_eq!(refused(long).await.0, 431);
}

#[tokio::test]
async fn a_full_gateway_says_so_at_once() {
    let config = Config {
        calls_max: 1,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let slow = sandbox
        .rider("POST", "/v1/trips")
        .json(&json!({"product": "slow"}))
        .send();
    let slow = tokio::spawn(slow);
    eventually("the slow call is under way", async || {
        sandbox.seen().contains("slow")
    })
    .await;
    let answer = sandbox.driver("GET", "/v1/trips/t").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    let (status, _) = read(sandbox.bare("GET", "/healthz")).await;
    assert_eq!(status, 200, "whether it lives can still be asked");
    slow.abort();
    let gone = async || read(sandbox.driver("GET", "/v1/trips/t")).await.0 == 200;
    eventually("the caller has left and there is room again", gone).await;
}

#[tokio::test]
async fn one_caller_may_not_take_it_all() {
    let config = Config {
        requests_per_second: 1,
        requests_burst: 3,
        streams_per_caller_max: 1,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let first = sandbox
        .rider("GET", "/v1/trips/endless:watch")
        .send()
        .await
        .unwrap();
    assert_eq!(first.status(), 200);
    let (status, reason, told) = refused(sandbox.rider("GET", "/v1/trips/endless:watch")).await;
    assert_eq!((status, reason.as_str()), (429, "OVERLOADED"), "{told}");
    assert_eq!(read(sandbox.rider("GET", "/v1/trips/t")).await.0, 200);
    let answer = sandbox.rider("GET", "/v1/trips/t").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(
        read(sandbox.driver("GET", "/v1/trips/t")).await.0,
        200,
        "others are served"
    );
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let config = Config {
        arrival_timeout: Duration::from_millis(200),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    for beginning in ["", "G", "GET /healthz HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n"] {
        let mut connection = TcpStream::connect(sandbox.address).await.unwrap();
        connection.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), connection.read_to_end(&mut rest));
        // Closed or reset, as the system has it.
        let _ = ended
            .await
            .unwrap_or_else(|_| panic!("{beginning:?} holds a connection"));
    }
    let token = sandbox.token(jitney_platform::auth::Role::Rider, "anna");
    let mut connection = TcpStream::connect(sandbox.address).await.unwrap();
    let head = format!(
        "POST /v1/trips HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 9\r\n\r\n{{"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn stopping_lets_calls_end() {
    let config = Config {
        call_timeout: Duration::from_millis(500),
        ..Config::default()
    };
    let mut sandbox = Sandbox::with(config).await;
    let slow = sandbox
        .rider("POST", "/v1/trips")
        .json(&json!({"product": "slow"}))
        .send();
    let slow = tokio::spawn(slow);
    eventually("the slow call is under way", async || {
        sandbox.seen().contains("slow")
    })
    .await;
    sandbox.platform.shutdown.cancel();
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.status(), 504, "it was given the time it had");
    let served = sandbox.served.take().unwrap();
    tokio::time::timeout(Duration::from_secs(5), served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        TcpStream::connect(sandbox.address).await.is_err(),
        "the port is closed"
    );
}
