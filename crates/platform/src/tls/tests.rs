//! Handshakes that succeed and that do not, and certificates that change.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

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

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.path().join(name))
    }

    /// Writes a new certificate for a name over the old one.
    fn issue(&self, file: &str, name: &str) -> TlsConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let write = |kind: &str, text: String| {
            std::fs::write(self.dir.path().join(format!("{file}.{kind}")), text).unwrap();
        };
        write("pem", certificate.pem());
        write("key", key.serialize_pem());
        TlsConfig {
            certificate: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
            authority: self.path("ca.pem"),
            ..TlsConfig::default()
        }
    }
}

fn open(config: &TlsConfig) -> Arc<Tls> {
    Tls::open(config, &["h2"]).unwrap().unwrap()
}

/// Whether a byte comes back over a connection between the two.
async fn talk(server: &Arc<Tls>, client: Option<&Arc<Tls>>, name: &str) -> io::Result<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = server.clone();
    let serving = tokio::spawn(async move {
        let mut stream = server.accept(listener.accept().await?.0).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte + 1).await?;
        stream.flush().await?;
        // The client hangs up when it has read.
        let _ = stream.read_u8().await;
        io::Result::Ok(())
    });
    let plain = TcpStream::connect(address).await?;
    let mut stream = match client {
        Some(client) => client.connect(name, plain).await?,
        None => Stream::Plain(plain),
    };
    stream.write_u8(7).await?;
    stream.flush().await?;
    let answer = stream.read_u8().await;
    drop(stream);
    serving.await.unwrap()?;
    answer
}

#[tokio::test]
async fn both_sides_must_be_of_the_authority() {
    let ours = Authority::new();
    let trips = open(&ours.issue("trips", "trips"));
    let gateway = open(&ours.issue("gateway", "gateway"));
    assert_eq!(talk(&trips, Some(&gateway), "trips").await.unwrap(), 8);
    // A server of another name, somebody of another authority, nobody, no TLS at all.
    assert!(talk(&trips, Some(&gateway), "billing").await.is_err());
    let theirs = Authority::new();
    let mut stranger = theirs.issue("stranger", "trips");
    assert!(
        talk(&open(&stranger), Some(&gateway), "trips")
            .await
            .is_err()
    );
    stranger.authority = ours.path("ca.pem");
    assert!(talk(&trips, Some(&open(&stranger)), "trips").await.is_err());
    assert!(talk(&trips, None, "trips").await.is_err());
}

#[tokio::test]
async fn a_new_certificate_counts_without_a_restart() {
    let ours = Authority::new();
    let server = open(&ours.issue("server", "old"));
    let client = open(&ours.issue("client", "client"));
    assert!(talk(&server, Some(&client), "old").await.is_ok());
    assert!(!server.reload().unwrap(), "nothing has changed");
    ours.issue("server", "new");
    assert!(server.reload().unwrap());
    assert!(talk(&server, Some(&client), "new").await.is_ok());
    assert!(talk(&server, Some(&client), "old").await.is_err());
    // Half a change, and nonsense, leave what is in use.
    let key = std::fs::read(ours.path("server.key").unwrap()).unwrap();
    ours.issue("server", "newer");
    std::fs::write(ours.path("server.key").unwrap(), &key).unwrap();
    assert!(format!("{:#}", server.reload().unwrap_err()).contains("do not belong together"));
    std::fs::write(ours.path("server.pem").unwrap(), "nonsense").unwrap();
    assert!(format!("{:#}", server.reload().unwrap_err()).contains("server.pem"));
    assert!(talk(&server, Some(&client), "new").await.is_ok());
}

#[tokio::test]
async fn the_files_are_watched() {
    let ours = Authority::new();
    let mut config = ours.issue("server", "old");
    config.reload = Duration::from_millis(5);
    let (server, shutdown) = (open(&config), CancellationToken::new());
    let client = open(&ours.issue("client", "client"));
    let tasks = TaskTracker::new();
    server.watch(&tasks, &shutdown);
    ours.issue("server", "new");
    crate::testing::eventually("the new certificate is used", async || {
        talk(&server, Some(&client), "new").await.is_ok()
    })
    .await;
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
}

#[test]
fn settings_that_do_not_fit_are_named() {
    let ours = Authority::new();
    let good = ours.issue("a", "a");
    assert!(Tls::open(&TlsConfig::default(), &[]).unwrap().is_none());
    let refused = |change: &dyn Fn(&mut TlsConfig)| {
        let mut config = good.clone();
        change(&mut config);
        format!("{:#}", Tls::open(&config, &[]).err().unwrap())
    };
    assert!(refused(&|config| config.key = None).contains("belong together"));
    assert!(refused(&|config| config.certificate = ours.path("none")).contains("none"));
    assert!(refused(&|config| config.key = ours.path("a.pem")).contains("private key"));
    assert!(refused(&|config| config.authority = ours.path("a.key")).contains("a.key"));
    assert!(refused(&|config| config.reload = Duration::ZERO).contains("zero"));
    let alone = TlsConfig {
        authority: ours.path("ca.pem"),
        ..TlsConfig::default()
    };
    assert!(Tls::open(&alone, &[]).is_err());
}

#[tokio::test]
async fn what_a_connection_begins_with_is_seen_and_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let http2 = String::from_utf8_lossy(HTTP2_PREFACE);
    for (begin, is_http1) in [
        ("GET / HTTP/1.1\r\n", true),
        ("P", false),
        ("PO", true),
        ("PRI * HTTP/1.1", true),
        (&*http2, false),
        (&*format!("{http2}and more"), false),
    ] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(begin.as_bytes()).await.unwrap();
        let mut stream = Stream::Plain(stream);
        assert_eq!(
            stream.begins_as_http1().await.unwrap(),
            is_http1,
            "{begin:?}"
        );
        let mut left = vec![0; begin.len()];
        stream.read_exact(&mut left).await.unwrap();
        assert_eq!(left, begin.as_bytes());
        drop(client);
        assert!(stream.begins_as_http1().await.is_err());
    }
}

#[tokio::test]
async fn what_was_agreed_on_tells_what_begins() {
    let ours = Authority::new();
    let speaks = |name: &str, alpn: &[&str]| {
        let config = ours.issue(name, name);
        Tls::open(&config, alpn).unwrap().unwrap()
    };
    let server = speaks("server", &["h2", "http/1.1"]);
    for (alpn, is_http1) in [
        (&["h2"][..], false),
        (&["http/1.1"], true),
        // Nothing was agreed on: it may be either.
        (&[], false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (accepted, _) = listener.accept().await.unwrap();
        let client = speaks("client", alpn);
        let connecting = client.connect("server", plain.unwrap());
        let (accepted, _connected) = tokio::join!(server.accept(accepted), connecting);
        let found = accepted.unwrap().begins_as_http1().await.unwrap();
        assert_eq!(found, is_http1, "{alpn:?}");
    }
}
