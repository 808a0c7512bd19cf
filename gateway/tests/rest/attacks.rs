//! Tried as an attacker would: paths, heads and bodies that mean one thing to one reader and another to
//! the next, and more of everything than is good.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jitney_gateway::Config;
use jitney_platform::auth::Role;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::sandbox::{Sandbox, read, refused};

/// What comes back on a connection of its own, until it is closed or a second has passed.
async fn raw(sandbox: &Sandbox, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(sandbox.address).await.unwrap();
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(1), socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn paths_mean_one_thing() {
    let sandbox = Sandbox::in_process().await;
    let token = sandbox.token(Role::Rider, "anna");
    let ask = async |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        raw(&sandbox, request.as_bytes()).await
    };
    for path in [
        "/v1/trips//",
        "//v1/trips/t",
        "/v1//trips/t",
        "/v1/trips/t/",
        "/v1/./trips/t",
        "/v1/../v1/trips/t",
        "/v1/trips/../trips/t",
        "/v1%2Ftrips%2Ft",
        "/v1/trips%2Ft",
        "/V1/trips/t",
        "/v1/trips/t/receipt/..",
        "/v1/trips;x=1/t",
        "/v1\\trips\\t",
    ] {
        let answer = ask(path).await;
        assert!(
            answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"),
            "{path}: {answer:.80}"
        );
    }
    assert!(sandbox.seen().is_empty(), "{}", sandbox.seen());
    // One segment is one value, whatever is in it; the service judges it.
    for (path, id) in [
        ("/v1/trips/..%2F..%2Fetc", "../../etc"),
        ("/v1/trips/a%2Fb", "a/b"),
        ("/v1/trips/%2e%2e", ".."),
        ("/v1/trips/a%3Awatch", "a:watch"),
        ("/v1/trips/a%00b", "a\\0b"),
        ("/v1/trips/a%250ab", "a%0ab"),
        ("/v1/trips/..", ".."),
    ] {
        let answer = ask(path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:.80}");
        let seen = sandbox.seen();
        assert!(
            seen.contains(&format!("trip_id: \"{id}\"")),
            "{path}: {seen}"
        );
    }
    for path in [
        "/v1/trips/%",
        "/v1/trips/%zz",
        "/v1/trips/%ff",
        "/v1/trips/%c0%af",
    ] {
        assert!(ask(path).await.starts_with("HTTP/1.1 400"), "{path}");
    }
}

#[tokio::test]
async fn one_request_is_one_request() {
    let sandbox = Sandbox::in_process().await;
    let token = sandbox.token(Role::Rider, "anna");
    let auth = format!("authorization: Bearer {token}\r\n");
    let smuggled = format!("GET /v1/trips/smuggled HTTP/1.1\r\nhost: x\r\n{auth}\r\n");
    let length = smuggled.len();
    for head in [
        "content-length: 0\r\ncontent-length: 5\r\n".to_owned(),
        "content-length: +5\r\n".to_owned(),
        "content-length: 5, 6\r\n".to_owned(),
        "content-length: -1\r\n".to_owned(),
        "transfer-encoding: x, chunked, identity\r\n".to_owned(),
        format!("content-length: {length}\r\ntransfer-encoding : chunked\r\n"),
        "transfer-encoding:\x0bchunked\r\n".to_owned(),
        "x: y\r\n transfer-encoding: chunked\r\n".to_owned(),
        "x\0: y\r\n".to_owned(),
    ] {
        let request = format!("POST /v1/trips HTTP/1.1\r\nhost: x\r\n{auth}{head}\r\n{smuggled}");
        let answer = raw(&sandbox, request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400") || answer.is_empty(),
            "{head:?}: {answer:.100}"
        );
        assert!(!sandbox.seen().contains("smuggled"), "{head:?}");
    }
    // Both lengths: chunks count, as the standard has it, and the connection ends after it.
    let both = format!(
        "POST /v1/trips HTTP/1.1\r\nhost: x\r\n{auth}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\n\r\n{smuggled}"
    );
    let answer = raw(&sandbox, both.as_bytes()).await;
    assert!(answer.matches("HTTP/1.1").count() <= 2, "{answer}");
    let twice = format!("GET /v1/trips/t HTTP/1.1\r\nhost: x\r\n{auth}{auth}\r\n");
    assert!(
        raw(&sandbox, twice.as_bytes())
            .await
            .starts_with("HTTP/1.1 401")
    );
    // What only we may say about ourselves is not taken from outside.
    let (status, _) = read(
        sandbox
            .rider("GET", "/v1/trips/t")
            .header("x-forwarded-user", "ops")
            .header("x-caller-role", "operator")
            .header("grpc-status", "0")
            .header("te", "trailers"),
    )
    .await;
    assert_eq!(status, 200);
    assert!(sandbox.seen().contains("rider:anna"), "{}", sandbox.seen());
}

#[tokio::test]
async fn nested_and_oversized_bodies_are_refused_cheaply() {
    let sandbox = Sandbox::in_process().await;
    let send = |body: Vec<u8>| sandbox.rider("POST", "/v1/trips").body(body);
    let megabyte = 1 << 20;
    let start = std::time::Instant::now();
    let bodies: [(&str, Vec<u8>); 8] = [
        ("brackets", vec![b'['; megabyte]),
        ("braces", br#"{"pickup":"#.repeat(megabyte / 10)),
        ("nested unknown", br#"{"x":"#.repeat(megabyte / 5)),
        (
            "digits",
            [
                br#"{"seats":"#.to_vec(),
                vec![b'9'; megabyte - 20],
                b"}".to_vec(),
            ]
            .concat(),
        ),
        ("exponent", br#"{"seats":"1e999999999999999999"}"#.to_vec()),
        (
            "zeros",
            [
                br#"{"seats":"1e-"#.to_vec(),
                vec![b'7'; 500_000],
                br#""}"#.to_vec(),
            ]
            .concat(),
        ),
        (
            "names",
            [
                vec![b'{'],
                br#""a":1,"#.repeat(megabyte / 7 - 2),
                br#""a":1}"#.to_vec(),
            ]
            .concat(),
        ),
        (
            "broken text",
            [
                br#"{"product":""#.to_vec(),
                vec![0xff; 1000],
                br#""}"#.to_vec(),
            ]
            .concat(),
        ),
    ];
    for (what, body) in bodies {
        let (status, reason, told) = refused(send(body)).await;
        assert_eq!(
            (status, reason.as_str()),
            (400, "INVALID_REQUEST"),
            "{what}: {told}"
        );
        assert!(told.len() < 600, "{what}: {told}");
    }
    assert_eq!(refused(send(vec![b' '; megabyte + 1])).await.0, 413);
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    // Mass assignment: what the server decides is no field of the request.
    for field in [
        "tripId",
        "state",
        "fare",
        "pin",
        "driverId",
        "version",
        "__proto__",
    ] {
        let body = json!({"product": "economy", field: "x"});
        let (_, _, told) = refused(sandbox.rider("POST", "/v1/trips").json(&body)).await;
        assert!(told.contains(field), "{field}: {told}");
    }
    assert!(sandbox.seen().is_empty(), "{}", sandbox.seen());
}

#[tokio::test]
async fn slow_heads_and_bodies_are_given_up() {
    let config = Config {
        arrival_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let token = sandbox.token(Role::Rider, "anna");
    for (what, first) in [
        ("nothing", String::new()),
        (
            "half a head",
            "POST /v1/trips HTTP/1.1\r\nhost: x\r\n".to_owned(),
        ),
        (
            "half a body",
            format!(
                "POST /v1/trips HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 50\r\n\r\n{{"
            ),
        ),
    ] {
        let mut socket = TcpStream::connect(sandbox.address).await.unwrap();
        socket.write_all(first.as_bytes()).await.unwrap();
        let drip = async {
            // A byte now and then keeps nobody waiting for ever.
            let mut answer = Vec::new();
            let mut buffer = [0; 1024];
            let mut drops = tokio::time::interval(Duration::from_millis(50));
            loop {
                tokio::select! {
                    read = socket.read(&mut buffer) => match read {
                        Ok(0) | Err(_) => return answer,
                        Ok(count) => answer.extend_from_slice(&buffer[..count]),
                    },
                    _ = drops.tick() => {
                        if !first.is_empty() && socket.write_all(b"x").await.is_err() {
                            return answer;
                        }
                    }
                }
            }
        };
        let answer = timeout(Duration::from_secs(10), drip).await;
        let answer = answer.unwrap_or_else(|_| panic!("{what} is waited for"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.contains("408"),
            "{what}: {answer}"
        );
    }
}

/// HTTP/2 rapid reset: requests that are given up at once.
#[tokio::test]
async fn rapid_resets_end_the_connection_and_nothing_else() {
    let sandbox = Sandbox::in_process().await;
    let mut socket = TcpStream::connect(sandbox.address).await.unwrap();
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    frames.extend(frame(4, 0, 0, &[]));
    // :method GET, :scheme http, :path /, from the static table.
    let headers = [0x82, 0x86, 0x84];
    for n in 0..20_000_u32 {
        frames.extend(frame(1, 5, 2 * n + 1, &headers));
        frames.extend(frame(3, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    let (mut reading, mut writing) = socket.split();
    let send = async {
        let _ = writing.write_all(&frames).await;
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(10), async {
        tokio::select! {
            () = send => {}
            _ = reading.read_to_end(&mut answer) => {}
        }
    });
    ended.await.expect("the connection is ended");
    assert_eq!(read(sandbox.rider("GET", "/v1/trips/t")).await.0, 200);
}

/// Where log lines of this test go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is secret or private never reaches a log line or a span, however much is logged.
#[tokio::test]
async fn secrets_and_positions_are_not_logged() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        // The libraries' own bytes at TRACE are another matter; ours and the request's spans count.
        .with_env_filter("jitney=trace,jitney_gateway=trace,jitney_platform=trace,rest=trace,warn")
        .finish();
    // With but one subscriber alive, what another test's thread says first would be taken for what nobody
    // listens to, here too.
    let _other = tracing::Dispatch::new(tracing_subscriber::registry());
    // One thread: everything of this test goes to these lines.
    let _guard = tracing::subscriber::set_default(subscriber);
    let sandbox = Sandbox::in_process().await;
    let token = sandbox.token(Role::Rider, "anna");
    let phone = "+37793159753";
    let position = "43.7391234567";
    let start = json!({"phone": phone});
    read(sandbox.bare("POST", "/v1/login:start").json(&start)).await;
    let code = sandbox.codes.lock().unwrap().last().cloned().unwrap();
    let wrong = json!({"loginId": "x", "code": "canary-code", "role": "rider"});
    read(sandbox.bare("POST", "/v1/login:finish").json(&wrong)).await;
    let refresh = json!({"refreshToken": "canary-refresh.1.x"});
    read(sandbox.bare("POST", "/v1/login:refresh").json(&refresh)).await;
    let spec: serde_json::Value = sandbox
        .bare("GET", "/openapi.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let mut walked = 0;
    for (path, methods) in spec["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path
                .replace("trip_id}", "canary-trip}")
                .replace(['{', '}'], "");
            let method = method.to_uppercase();
            let body = json!({"phone": phone, "pickup": {"latitude": 43.739_123_456_7}, "note": "canary-note"});
            for role in [Role::Rider, Role::Driver, Role::Operator] {
                let url = format!("{path}?location.latitude={position}&access_token={token}");
                let mut request = sandbox
                    .bare(&method, &url)
                    .bearer_auth(sandbox.token(role, "canary-id"))
                    .header("cookie", "canary-cookie")
                    .header("idempotency-key", "canary-key");
                if method != "GET" {
                    request = request.json(&body);
                }
                // A stream that is let in is dropped again.
                let _ = request.send().await.unwrap().status();
                walked += 1;
            }
        }
    }
    assert!(walked > 150, "{walked}");
    let told = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(told.contains("answered"), "lines are caught");
    for canary in [
        token.as_str(),
        &token[token.len() - 40..],
        &phone[4..],
        &code,
        position,
        "43.739",
        "canary",
    ] {
        let line = told.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary}");
    }
}
