//! How often and how much one caller may ask, and when the limits forget them.

#![allow(clippy::unwrap_used)]

use chrono::DateTime;
use jitney_platform::{auth::Role, clock::ManualClock};

use super::*;

fn limits(config: Config) -> (Limits, ManualClock) {
    let (clock, hand) = Clock::manual(DateTime::UNIX_EPOCH);
    (Limits::new(&config, clock), hand)
}

fn caller(id: &str) -> Caller {
    Caller {
        role: Role::Rider,
        id: id.to_owned(),
    }
}

#[test]
fn a_caller_has_a_burst_and_then_a_rate() {
    let config = Config {
        requests_per_second: 10,
        requests_burst: 3,
        ..Config::default()
    };
    let (limits, hand) = limits(config);
    let anna = caller("anna");
    for _ in 0..3 {
        limits.request(&anna).unwrap();
    }
    let refused = Problem::from(limits.request(&anna).unwrap_err());
    assert_eq!(refused.http().as_u16(), 429);
    assert_eq!(refused.json()["details"][1]["retryDelay"], "0.100s");
    limits.request(&caller("ben")).unwrap();
    hand.advance(Duration::from_millis(99));
    assert!(limits.request(&anna).is_err());
    hand.advance(Duration::from_millis(1));
    limits.request(&anna).unwrap();
    assert!(limits.request(&anna).is_err());
    hand.advance(Duration::from_secs(3600));
    for _ in 0..3 {
        limits.request(&anna).unwrap();
    }
    assert!(limits.request(&anna).is_err());
}

#[test]
fn no_rate_is_no_limit() {
    let (limits, _hand) = limits(Config {
        requests_per_second: 0,
        ..Config::default()
    });
    for _ in 0..10_000 {
        limits.request(&caller("anna")).unwrap();
    }
}

#[test]
fn room_is_given_back() {
    let config = Config {
        calls_max: 1,
        streams_max: 3,
        streams_per_caller_max: 2,
        ..Config::default()
    };
    let (limits, _hand) = limits(config);
    let call = limits.call().unwrap();
    assert_eq!(limits.call().unwrap_err().http().as_u16(), 503);
    drop(call);
    limits.call().unwrap();

    let (anna, ben) = (caller("anna"), caller("ben"));
    let first = limits.stream(&anna).unwrap();
    let _second = limits.stream(&anna).unwrap();
    assert_eq!(limits.stream(&anna).unwrap_err().http().as_u16(), 429);
    let _third = limits.stream(&ben).unwrap();
    assert_eq!(limits.stream(&ben).unwrap_err().http().as_u16(), 503);
    drop(first);
    limits.stream(&ben).unwrap();
}

#[test]
fn callers_without_streams_are_forgotten() {
    let (limits, _hand) = limits(Config::default());
    let streaming = limits.stream(&caller("streaming")).unwrap();
    drop(limits.stream(&caller("gone")).unwrap());
    assert_eq!(limits.open.lock().unwrap().len(), 1);
    drop(streaming);
    assert!(limits.open.lock().unwrap().is_empty());
}

#[test]
fn an_address_is_bounded_whoever_asks() {
    let config = Config {
        address_requests_per_second: 10,
        address_requests_burst: 2,
        address_refusals_per_minute: 3,
        ..Config::default()
    };
    let (limits, hand) = limits(config);
    let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
    limits.address(here).unwrap();
    limits.address(here).unwrap();
    let refused = Problem::from(limits.address(here).unwrap_err());
    assert_eq!(refused.http().as_u16(), 429);
    limits.address(there).unwrap();
    for _ in 0..3 {
        limits.guess(here).unwrap();
    }
    assert!(limits.guess(here).is_err());
    limits.guess(there).unwrap();
    hand.advance(Duration::from_secs(20));
    limits.guess(here).unwrap();
    assert!(limits.guess(here).is_err());
}

#[tokio::test]
async fn a_body_is_small_and_comes_soon() {
    let config = Config {
        body_bytes_max: 10,
        arrival_timeout: Duration::from_millis(20),
        ..Config::default()
    };
    let none = HeaderMap::new();
    let read = |body: Body| read_body(body, &none, &config);
    assert_eq!(read(Body::from("0123456789")).await.unwrap(), "0123456789");
    assert_eq!(
        read(Body::from("0123456789a"))
            .await
            .unwrap_err()
            .http()
            .as_u16(),
        413
    );
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(read(never).await.unwrap_err().http().as_u16(), 408);
    let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
    assert_eq!(
        read(Body::from_stream(broken))
            .await
            .unwrap_err()
            .http()
            .as_u16(),
        400
    );
    let mut announced = HeaderMap::new();
    announced.insert(CONTENT_LENGTH, "11".parse().unwrap());
    let refused = read_body(Body::empty(), &announced, &config)
        .await
        .unwrap_err();
    assert_eq!(refused.http().as_u16(), 413);
}

#[test]
fn a_head_has_a_bound() {
    let mut headers = HeaderMap::new();
    headers.insert("a", "x".repeat(100).parse().unwrap());
    let uri: Uri = "http://host/path?query".parse().unwrap();
    check_head(&uri, &headers, 116).unwrap();
    assert_eq!(
        check_head(&uri, &headers, 115).unwrap_err().http().as_u16(),
        431
    );
}
