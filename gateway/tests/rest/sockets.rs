//! Streams both ways: WebSockets.

use std::time::Duration;

use chrono::DateTime;
use futures::{SinkExt, StreamExt};
use jitney_gateway::Config;
use jitney_platform::{auth::Role, clock::Clock, testing::eventually};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message, client::IntoClientRequest, handshake::client::Request,
        protocol::frame::coding::CloseCode,
    },
};

use crate::sandbox::Sandbox;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn upgrade(sandbox: &Sandbox, header: &'static str, value: &str) -> Request {
    upgrade_at("/v1/driver-stream", sandbox, header, value)
}

fn upgrade_at(path: &str, sandbox: &Sandbox, header: &'static str, value: &str) -> Request {
    let mut request = format!("ws://{}{path}", sandbox.address)
        .into_client_request()
        .unwrap();
    request.headers_mut().insert(header, value.parse().unwrap());
    request
}

async fn connect(sandbox: &Sandbox) -> Socket {
    let token = sandbox.token(Role::Driver, "dan");
    connect_async(upgrade(
        sandbox,
        "authorization",
        &format!("Bearer {token}"),
    ))
    .await
    .unwrap()
    .0
}

async fn say(socket: &mut Socket, message: Value) {
    socket
        .send(Message::text(message.to_string()))
        .await
        .unwrap();
}

/// The next message that is not a ping.
async fn hear(socket: &mut Socket) -> Value {
    loop {
        match tokio::time::timeout(Duration::from_secs(10), socket.next())
            .await
            .unwrap()
        {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("instead of a message: {other:?}"),
        }
    }
}

async fn welcomed(sandbox: &Sandbox) -> Socket {
    let mut socket = connect(sandbox).await;
    say(&mut socket, json!({"hello": {}})).await;
    assert_eq!(hear(&mut socket).await["welcome"]["sessionId"], "s-1");
    socket
}

/// The errors told, then the close code and reason.
async fn ending(socket: &mut Socket) -> (Vec<Value>, u16, String) {
    let mut errors = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(10), socket.next())
            .await
            .unwrap()
        {
            Some(Ok(Message::Text(text))) => {
                let mut message: Value = serde_json::from_str(&text).unwrap();
                if message.get("error").is_some() {
                    errors.push(message["error"].take());
                }
            }
            Some(Ok(Message::Close(Some(close)))) => {
                return (errors, close.code.into(), close.reason.to_string());
            }
            Some(Ok(_)) => {}
            other => panic!("no close frame but {other:?}"),
        }
    }
}

#[tokio::test]
async fn messages_go_both_ways() {
    for sandbox in [Sandbox::start().await, Sandbox::in_process().await] {
        let mut socket = connect(&sandbox).await;
        say(&mut socket, json!({"hello": {"driverId": "dan"}})).await;
        let welcome = hear(&mut socket).await;
        assert_eq!(welcome["seq"], "0");
        assert_eq!(welcome["welcome"]["sessionId"], "s-1");
        for batch in 1..=100_u64 {
            let ping = json!({"location": {"latitude": 41.15, "longitude": -8.6}});
            say(
                &mut socket,
                json!({"pings": {"batch": batch, "pings": [ping]}}),
            )
            .await;
        }
        for batch in 1..=100_u64 {
            let receipt = &hear(&mut socket).await["pingReceipt"];
            assert_eq!(
                (&receipt["batch"], &receipt["accepted"]),
                (&json!(batch.to_string()), &json!(1))
            );
        }
        say(&mut socket, json!({"ack": {"seq": "98"}})).await;
        let (errors, code, _) = ending(&mut socket).await;
        assert_eq!((errors.len(), code), (0, 1000));
        eventually("the service's stream is over", async || {
            sandbox.open_streams() == 0
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_sent_before_goodbye_is_taken_in() {
    let sandbox = Sandbox::start().await;
    let mut socket = welcomed(&sandbox).await;
    for batch in 1..=20 {
        say(&mut socket, json!({"pings": {"batch": batch}})).await;
    }
    socket.close(None).await.unwrap();
    eventually("the last batch has arrived", async || {
        sandbox.has_seen("pings 20 0")
    })
    .await;
    eventually("the service sees the end", async || {
        sandbox.has_seen("the stream ended")
    })
    .await;
    // The goodbye is answered.
    while let Some(frame) = socket.next().await {
        frame.unwrap();
    }
}

#[tokio::test]
async fn a_caller_that_is_cut_off_is_let_go() {
    let sandbox = Sandbox::start().await;
    let socket = welcomed(&sandbox).await;
    assert_eq!(sandbox.open_streams(), 1);
    drop(socket);
    eventually("the service's stream is over", async || {
        sandbox.open_streams() == 0
    })
    .await;
}

#[tokio::test]
async fn the_services_refusal_is_told_twice() {
    let sandbox = Sandbox::start().await;
    let mut socket = welcomed(&sandbox).await;
    say(&mut socket, json!({"ack": {"seq": 99}})).await;
    let (errors, code, reason) = ending(&mut socket).await;
    assert_eq!(
        (code, reason.as_str()),
        (4409, "SUPERSEDED: a newer connection took over")
    );
    assert_eq!(errors[0]["details"][0]["reason"], "SUPERSEDED");

    let mut socket = connect(&sandbox).await;
    say(&mut socket, json!({"ack": {}})).await;
    assert_eq!(ending(&mut socket).await.1, 4400, "STREAM_ORDER");
    let mut socket = connect(&sandbox).await;
    say(&mut socket, json!({"hello": {"driverId": "eve"}})).await;
    assert_eq!(ending(&mut socket).await.1, 4403);
    let alone = Sandbox::alone(Config::default()).await;
    assert_eq!(ending(&mut connect(&alone).await).await.1, 4503);
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_ends_it() {
    let config = Config {
        frame_bytes_max: 1000,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    for (frame, code, field, told) in [
        (Message::text("{"), 4400, "", "not JSON"),
        (
            Message::text(r#"{"pings": {"nothing": 1}}"#),
            4400,
            "pings.nothing",
            "not a field",
        ),
        (
            Message::text(r#"{"pings": {"pings": [{"location": 1}]}}"#),
            4400,
            "pings.pings[0].location",
            "",
        ),
        (Message::binary(b"{}".as_slice()), 1003, "", "text frames"),
        (
            Message::text(format!("{{{}}}", " ".repeat(1000))),
            1009,
            "",
            "above 1000 bytes",
        ),
        (Message::text(" ".repeat(5000)), 1002, "", "far above"),
    ] {
        let mut socket = welcomed(&sandbox).await;
        let shown = format!("{frame:?}");
        socket.send(frame).await.unwrap();
        let (errors, told_code, reason) = ending(&mut socket).await;
        assert_eq!(told_code, code, "{shown}: {reason}");
        assert!(reason.starts_with("INVALID_REQUEST: "), "{reason}");
        assert_eq!(errors[0]["code"], 3);
        assert!(
            errors[0]["message"].as_str().unwrap().contains(told),
            "{shown}: {errors:?}"
        );
        let violated = &errors[0]["details"][1]["fieldViolations"][0]["field"];
        assert_eq!(violated.as_str().unwrap_or_default(), field);
    }
    eventually("the service's streams are over", async || {
        sandbox.open_streams() == 0
    })
    .await;
}

#[tokio::test]
async fn a_browser_brings_its_token_as_a_subprotocol() {
    let sandbox = Sandbox::start().await;
    let token = sandbox.token(Role::Driver, "dan");
    let request = upgrade(
        &sandbox,
        "sec-websocket-protocol",
        &format!("bearer, {token}"),
    );
    let (mut socket, answer) = connect_async(request).await.unwrap();
    assert_eq!(
        answer.headers()["sec-websocket-protocol"],
        "bearer",
        "the token is not echoed"
    );
    say(&mut socket, json!({"hello": {}})).await;
    assert_eq!(hear(&mut socket).await["welcome"]["sessionId"], "s-1");
}

#[tokio::test]
async fn who_may_not_is_refused_before_the_upgrade() {
    let sandbox = Sandbox::start().await;
    let rider = sandbox.token(Role::Rider, "anna");
    for (value, expected) in [
        ("Bearer nonsense".to_owned(), 401),
        (format!("Bearer {rider}"), 403),
    ] {
        match connect_async(upgrade(&sandbox, "authorization", &value)).await {
            Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_socket_ends_with_its_token() {
    let (clock, hand) = Clock::manual(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
    let config = Config {
        heartbeat: Duration::from_millis(20),
        ..Config::default()
    };
    let sandbox = Sandbox::at(config, clock).await;
    let mut socket = welcomed(&sandbox).await;
    hand.advance(Duration::from_secs(3600));
    let (errors, code, reason) = ending(&mut socket).await;
    assert_eq!(
        (code, reason.as_str()),
        (4401, "UNAUTHENTICATED: the token has expired")
    );
    assert_eq!(errors[0]["code"], 16);
}

#[tokio::test]
async fn an_app_that_does_not_answer_pings_is_gone() {
    let config = Config {
        heartbeat: Duration::from_millis(50),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let mut socket = welcomed(&sandbox).await;
    // Reading is what answers pings.
    let alive = tokio::time::timeout(Duration::from_millis(400), async {
        while let Some(frame) = socket.next().await {
            assert!(frame.unwrap().is_ping());
        }
    });
    assert!(alive.await.is_err(), "it is kept while it answers");
    eventually("it is let go", async || sandbox.open_streams() == 0).await;
    assert_eq!(ending(&mut socket).await.1, 4408);
}

#[tokio::test]
async fn an_app_that_does_not_read_is_cut() {
    let config = Config {
        unread_max: Duration::from_millis(300),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let mut socket = welcomed(&sandbox).await;
    say(&mut socket, json!({"ack": {"seq": 97}})).await;
    eventually("the service's stream is over", async || {
        sandbox.open_streams() == 0
    })
    .await;
}

#[tokio::test]
async fn a_socket_does_not_last_for_ever() {
    let config = Config {
        stream_lifetime_max: Duration::from_millis(100),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let (errors, code, reason) = ending(&mut welcomed(&sandbox).await).await;
    assert_eq!((errors.len(), code, reason.as_str()), (0, 1001, "LIFETIME"));
}

#[tokio::test]
async fn stopping_tells_the_sockets() {
    let mut sandbox = Sandbox::start().await;
    let mut socket = welcomed(&sandbox).await;
    sandbox.platform.shutdown.cancel();
    let (_, code, reason) = ending(&mut socket).await;
    assert_eq!(
        (CloseCode::from(code), reason.as_str()),
        (CloseCode::Away, "DRAINING")
    );
    drop(socket);
    let served = sandbox.served.take().unwrap();
    tokio::time::timeout(Duration::from_secs(5), served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        sandbox.platform.stop(Duration::from_secs(5)).await,
        "no task is left"
    );
}

async fn reporting(sandbox: &Sandbox) -> Socket {
    let token = sandbox.token(Role::Service, "fleet");
    let bearer = format!("Bearer {token}");
    let request = upgrade_at("/v1/location-stream", sandbox, "authorization", &bearer);
    connect_async(request).await.unwrap().0
}

#[tokio::test]
async fn many_messages_have_one_answer() {
    let positions = |driver: &str, count: usize| {
        let ping = json!({"location": {"latitude": 41.15, "longitude": -8.6}});
        json!({"drivers": [{"driverId": driver, "pings": vec![ping; count]}]})
    };
    for sandbox in [Sandbox::start().await, Sandbox::in_process().await] {
        let mut socket = reporting(&sandbox).await;
        for count in 1..=20 {
            say(&mut socket, positions("dan", count)).await;
        }
        // The end of messages, not of the socket.
        socket.send(Message::text("")).await.unwrap();
        assert_eq!(hear(&mut socket).await["accepted"], "210");
        assert_eq!(ending(&mut socket).await.1, 1000);
        assert!(sandbox.seen().starts_with("ReportLocations service:fleet"));

        let mut socket = reporting(&sandbox).await;
        say(&mut socket, positions("", 1)).await;
        let (errors, code, reason) = ending(&mut socket).await;
        assert_eq!(
            (code, errors[0]["details"][0]["reason"].as_str()),
            (4400, Some("INVALID_REQUEST"))
        );
        assert!(reason.starts_with("INVALID_REQUEST"), "{reason}");

        let mut socket = welcomed(&sandbox).await;
        socket.send(Message::text("")).await.unwrap();
        say(&mut socket, json!({"hello": {}})).await;
        let (_, code, reason) = ending(&mut socket).await;
        assert!(matches!(code, 1000 | 4400), "{code} {reason}");

        // An app that leaves in the middle is let go.
        let mut socket = reporting(&sandbox).await;
        say(&mut socket, positions("dan", 1)).await;
        drop(socket);
        eventually("the stream is let go", async || sandbox.open_streams() == 0).await;
    }
}
