//! What is small print to apps: compression, caching, deadlines, headers for browsers, TLS.

use std::{io::Write as _, path::PathBuf, time::Duration};

use jitney_gateway::Config;
use jitney_platform::{
    auth::Role,
    clock::Clock,
    tls::{Tls, TlsConfig},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::sandbox::{Sandbox, read, refused};

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn large_answers_are_packed_for_those_who_unpack() {
    let sandbox = Sandbox::in_process().await;
    let huge = || {
        sandbox
            .rider("POST", "/v1/trips")
            .json(&json!({"product": "huge"}))
    };
    let plain = huge().send().await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.bytes().await.unwrap();
    for encoding in ["gzip", "zstd"] {
        let packed = huge()
            .header("accept-encoding", encoding)
            .send()
            .await
            .unwrap();
        assert_eq!(packed.headers()["content-encoding"], encoding);
        assert!(
            packed.headers()["vary"]
                .to_str()
                .unwrap()
                .contains("accept-encoding")
        );
        let packed = packed.bytes().await.unwrap();
        assert!(
            packed.len() < plain.len() / 10,
            "{encoding}: {}",
            packed.len()
        );
        if encoding == "gzip" {
            let mut unpacked = Vec::new();
            let mut reader = flate2::read::GzDecoder::new(&*packed);
            std::io::Read::read_to_end(&mut reader, &mut unpacked).unwrap();
            assert_eq!(unpacked, plain);
        }
    }
    // Small ones and streams are sent as they are.
    for path in ["/v1/trips/t", "/v1/trips/t:watch"] {
        let request = sandbox.rider("GET", path).header("accept-encoding", "gzip");
        let answer = request.send().await.unwrap();
        assert!(!answer.headers().contains_key("content-encoding"), "{path}");
    }
}

#[tokio::test]
async fn a_packed_body_is_unpacked_and_bounded() {
    let config = Config {
        body_bytes_max: 100_000,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let send = |encoding: &str, body: Vec<u8>| {
        let request = sandbox.rider("POST", "/v1/trips");
        request.header("content-encoding", encoding).body(body)
    };
    let good = gzipped(br#"{"product": "economy", "idempotencyKey": "k"}"#);
    assert_eq!(read(send("gzip", good.clone())).await.0, 200);
    assert!(sandbox.seen().contains("economy"));
    // A few hundred bytes that are a hundred megabytes.
    let bomb = gzipped(&vec![b' '; 100_000_000]);
    assert!(bomb.len() < 99_000 * 2, "{}", bomb.len());
    assert_eq!(refused(send("gzip", bomb[..].to_vec())).await.0, 413);
    let (status, _, told) = refused(send("gzip", good[..20].to_vec())).await;
    assert_eq!(status, 400, "{told}");
    assert_eq!(refused(send("gzip", b"{}".to_vec())).await.0, 400);
    for encoding in ["br", "deflate", "gzip, gzip", "x"] {
        let answer = send(encoding, good.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 415, "{encoding}");
        assert_eq!(answer.headers()["accept-encoding"], "gzip, zstd");
    }
    assert_eq!(
        read(send("identity", b"{\"idempotencyKey\":\"k\"}".to_vec()))
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn what_seldom_changes_is_not_sent_again() {
    let sandbox = Sandbox::in_process().await;
    let ask = |known: &str| {
        let request = sandbox.rider("GET", "/v1/service-area");
        request.header("if-none-match", known)
    };
    let first = ask("\"x\"").send().await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["cache-control"], "private, max-age=60");
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    for known in [
        tag.clone(),
        format!("\"a\", {tag}"),
        tag[2..].to_owned(),
        "*".to_owned(),
    ] {
        let again = ask(&known).send().await.unwrap();
        assert_eq!(
            (again.status().as_u16(), &again.headers()["etag"]),
            (304, &tag.parse().unwrap())
        );
        assert_eq!(again.text().await.unwrap(), "");
    }
    *sandbox.backend.map_name.lock().unwrap() = "Porto".to_owned();
    let changed = ask(&tag).send().await.unwrap();
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.headers()["etag"], tag.as_str());
    // Who may not ask learns nothing by a guess.
    let bare = sandbox
        .bare("GET", "/v1/service-area")
        .header("if-none-match", "*");
    assert_eq!(refused(bare).await.0, 401);
    let own = sandbox.rider("GET", "/v1/trips/t").send().await.unwrap();
    assert_eq!(own.headers()["cache-control"], "no-store");
    assert!(!own.headers().contains_key("etag"));
}

#[tokio::test]
async fn a_caller_may_wait_shorter_than_is_allowed() {
    let sandbox = Sandbox::in_process().await;
    let slow = |timeout: &str| {
        let request = sandbox
            .rider("POST", "/v1/trips")
            .json(&json!({"product": "slow"}));
        request.header("grpc-timeout", timeout)
    };
    let start = std::time::Instant::now();
    assert_eq!(refused(slow("50m")).await.0, 504);
    assert!(start.elapsed() < Duration::from_secs(5));
    let config = Config {
        call_timeout: Duration::from_millis(50),
        ..Config::default()
    };
    let strict = Sandbox::with(config).await;
    for longer in ["1H", "nonsense"] {
        let request = strict
            .rider("POST", "/v1/trips")
            .json(&json!({"product": "slow"}));
        assert_eq!(refused(request.header("grpc-timeout", longer)).await.0, 504);
    }
}

#[tokio::test]
async fn browsers_are_told_to_be_careful() {
    let sandbox = Sandbox::in_process().await;
    for request in [
        sandbox.bare("GET", "/v1"),
        sandbox.bare("GET", "/nothing"),
        sandbox.rider("GET", "/v1/trips/t"),
        sandbox.rider("GET", "/v1/trips/t:watch"),
    ] {
        let answer = request.send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert!(header("content-security-policy").starts_with("default-src 'none'"));
        assert!(!answer.headers().contains_key("strict-transport-security"));
    }
}

/// Somebody asks for a flood and does not read it: the service is let go.
#[tokio::test]
async fn a_connection_that_is_not_read_is_cut() {
    let config = Config {
        unread_max: Duration::from_millis(200),
        answer_bytes_max: 64 << 20,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let token = sandbox.token(Role::Rider, "anna");
    let mut socket = TcpStream::connect(sandbox.address).await.unwrap();
    // The same request many times over: the answers are more than all buffers hold.
    let body = r#"{"product": "huge"}"#;
    let request = format!(
        "POST /v1/trips HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let flood = async {
        // The gateway stops taking requests once it cannot answer, and then hangs up.
        while socket.write_all(request.as_bytes()).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(15), flood)
        .await
        .expect("the connection is cut");
}

/// An authority in a folder, and certificates of it.
struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { dir, issuer }
    }

    fn issue(&self, name: &str) -> TlsConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |kind: &str| -> PathBuf { self.dir.path().join(format!("{name}.{kind}")) };
        std::fs::write(path("pem"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        TlsConfig {
            certificate: Some(path("pem")),
            key: Some(path("key")),
            ..TlsConfig::default()
        }
    }
}

#[tokio::test]
async fn the_port_speaks_tls() {
    let authority = Authority::new();
    let config = Config {
        tls: authority.issue("rides.example.org"),
        arrival_timeout: Duration::from_secs(2),
        ..Config::default()
    };
    let sandbox = Sandbox::at(config, Clock::system()).await;
    let mut phone = authority.issue("phone");
    phone.authority = Some(authority.dir.path().join("ca.pem"));
    let phone = Tls::open(&phone, &["http/1.1"]).unwrap().unwrap();
    let socket = TcpStream::connect(sandbox.address).await.unwrap();
    let mut stream = phone.connect("rides.example.org", socket).await.unwrap();
    let token = sandbox.token(Role::Rider, "anna");
    let request = format!(
        "GET /v1/trips/t HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("strict-transport-security: max-age="),
        "{answer}"
    );
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["trip"]["tripId"], "t");

    // Without TLS nothing is answered, and a silent one does not hold the port up.
    let _silent = TcpStream::connect(sandbox.address).await.unwrap();
    let mut plain = TcpStream::connect(sandbox.address).await.unwrap();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"));
    let socket = TcpStream::connect(sandbox.address).await.unwrap();
    assert!(phone.connect("rides.example.org", socket).await.is_ok());
    let socket = TcpStream::connect(sandbox.address).await.unwrap();
    assert!(phone.connect("other.example.org", socket).await.is_err());
}

#[tokio::test]
async fn services_know_each_other_by_their_certificates() {
    let mutual = |authority: &Authority, name: &str| {
        let mut config = authority.issue(name);
        config.authority = Some(authority.dir.path().join("ca.pem"));
        Tls::open(&config, &["h2"]).unwrap().unwrap()
    };
    let ours = Authority::new();
    let gateway = mutual(&ours, "gateway");
    let ask = async |sandbox: Sandbox| {
        let answer = sandbox.rider("GET", "/v1/trips/t").send().await.unwrap();
        (answer.status().as_u16(), sandbox.seen())
    };
    let (status, seen) =
        ask(Sandbox::secured(mutual(&ours, "localhost"), Some(gateway.clone())).await).await;
    assert_eq!(status, 200);
    assert!(seen.starts_with("GetTrip rider:anna"), "{seen}");
    // Somebody of another authority, nobody, and a server under another name.
    let theirs = Authority::new();
    // It trusts our servers, and has a certificate of its own making.
    let mut stranger = theirs.issue("stranger");
    stranger.authority = Some(ours.dir.path().join("ca.pem"));
    let stranger = Tls::open(&stranger, &["h2"]).unwrap().unwrap();
    for (server, client) in [
        (mutual(&ours, "localhost"), Some(stranger)),
        (mutual(&ours, "localhost"), Some(mutual(&theirs, "gateway"))),
        (mutual(&ours, "localhost"), None),
        (mutual(&ours, "billing.internal"), Some(gateway.clone())),
        (mutual(&theirs, "localhost"), Some(gateway)),
    ] {
        let (status, seen) = ask(Sandbox::secured(server, client).await).await;
        assert_eq!((status, seen.as_str()), (503, ""));
    }
}
