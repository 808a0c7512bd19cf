//! Good tokens and bad ones.

use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use rsa::traits::PublicKeyParts;

use super::*;
use crate::auth::IssuerConfig;

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn refusal(keys: &TokenKeys, token: &str) -> String {
    let status = keys.verify(token, at(1000)).unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::Unauthenticated), "{status}");
    assert!(
        token.len() < 8 || !status.message().contains(token),
        "the token is echoed"
    );
    status.message().to_owned()
}

fn sign(keys: &TokenKeys, header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &keys.signing).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "jitney", "aud": "jitney", "sub": "anna", "role": "rider",
        "iat": 0, "exp": 9000, "jti": Uuid::nil(),
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

/// A token of our own key whose parts are written by hand.
fn by_hand(keys: &TokenKeys, header: &str, claims: &str) -> String {
    let signed = [header, claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let signature = crypto::sign(signed.as_bytes(), &keys.signing, Algorithm::EdDSA).unwrap();
    format!("{signed}.{signature}")
}

#[test]
fn a_token_says_who_until_it_expires() {
    let keys = TokenKeys::generate();
    let token = keys.mint(Role::Rider, "anna", HOUR, at(0)).unwrap();
    let anna = Caller {
        role: Role::Rider,
        id: "anna".to_owned(),
    };
    for now in [0, 1, 3599] {
        assert_eq!(keys.verify(&token, at(now)).unwrap(), anna);
    }
    // It is remembered by now, and all the same:
    let status = keys.verify(&token, at(3600)).unwrap_err();
    assert_eq!(status.message(), "the token has expired");
    // A clock that is a little behind the issuer's is no reason to refuse.
    let early = keys.mint(Role::Rider, "anna", HOUR, at(1030)).unwrap();
    assert!(keys.verify(&early, at(1000)).is_ok());
    let far = keys.mint(Role::Rider, "anna", HOUR, at(1031)).unwrap();
    assert_eq!(refusal(&keys, &far), "the token is not good yet");
}

/// Every bad token, and what is said about it.
#[test]
fn bad_tokens_are_refused() {
    let keys = TokenKeys::generate();
    let own = Header::new(Algorithm::EdDSA);
    let good = sign(&keys, &own, &claims());
    assert!(keys.verify(&good, at(1000)).is_ok(), "the pattern is good");
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}")
    };
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let public_pem = SigningKey::from_bytes(&keys.seed)
        .verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .unwrap();
    let hmac = |secret: &[u8]| {
        let secret = EncodingKey::from_secret(secret);
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap()
    };
    let stranger = TokenKeys::generate();
    let mut foreign_id = own.clone();
    foreign_id.kid = Some("elsewhere".into());
    let mut embedded = own.clone();
    embedded.jwk = serde_json::from_value(stranger.public_set()["keys"][0].clone()).ok();
    assert!(embedded.jwk.is_some());
    let once = r#"{"alg":"EdDSA","typ":"JWT"}"#;
    let twice = claims()
        .to_string()
        .replacen('{', r#"{"role":"operator","#, 1);
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        sign(&keys, &own, &claims)
    };
    let altered = encoded(&with("role", "operator".into()).to_string());
    let last = if signature.ends_with('A') { "B" } else { "A" };

    let bad: Vec<(&str, String, &str)> = vec![
        ("nothing", String::new(), "malformed"),
        ("a word", "x".into(), "malformed"),
        ("one dot", "a.b".into(), "malformed"),
        ("no base64", "a.b.c".into(), "malformed"),
        ("dots", "....".into(), "malformed"),
        ("not ASCII", "ä.ö.ü".into(), "malformed"),
        ("oversized", "x".repeat(1_000_000), "too long"),
        (
            "oversized but genuine",
            sign(&keys, &own, &with("x", "y".repeat(5000).into())),
            "too long",
        ),
        ("no signature", format!("{header}.{payload}."), "not ours"),
        ("no third part", format!("{header}.{payload}"), "malformed"),
        ("a fourth part", format!("{good}.{signature}"), "malformed"),
        ("truncated", good[..good.len() - 4].into(), "not ours"),
        (
            "another signature",
            format!(
                "{header}.{payload}.{}{last}",
                &signature[..signature.len() - 8]
            ),
            "not ours",
        ),
        (
            "altered claims",
            format!("{header}.{altered}.{signature}"),
            "not ours",
        ),
        (
            "padded",
            format!("{header}=.{payload}.{signature}"),
            "malformed",
        ),
        (
            "alg none",
            format!("{}.{payload}.", encoded(r#"{"alg":"none"}"#)),
            "EdDSA, ES256 and RS256",
        ),
        (
            "alg None, signed",
            by_hand(&keys, r#"{"alg":"None"}"#, &claims().to_string()),
            "EdDSA, ES256",
        ),
        (
            "alg missing",
            by_hand(&keys, r#"{"typ":"JWT"}"#, &claims().to_string()),
            "EdDSA, ES256",
        ),
        (
            "alg a number",
            by_hand(&keys, r#"{"alg":1}"#, &claims().to_string()),
            "EdDSA, ES256",
        ),
        ("HS256 with a word", hmac(b"jitney"), "EdDSA, ES256"),
        (
            "HS256 with the public key",
            hmac(&keys.public),
            "EdDSA, ES256",
        ),
        (
            "HS256 with the public PEM",
            hmac(public_pem.as_bytes()),
            "EdDSA, ES256",
        ),
        (
            "ES256 by its own word",
            by_hand(&keys, r#"{"alg":"ES256"}"#, &claims().to_string()),
            "as ours are",
        ),
        (
            "alg twice",
            by_hand(
                &keys,
                r#"{"alg":"none","alg":"EdDSA"}"#,
                &claims().to_string(),
            ),
            "malformed",
        ),
        (
            "another key",
            stranger.mint(Role::Operator, "eve", HOUR, at(0)).unwrap(),
            "not ours",
        ),
        (
            "another key under our id",
            {
                let mut ours = own.clone();
                ours.kid = Some(keys.id.clone());
                sign(&stranger, &ours, &claims())
            },
            "not ours",
        ),
        (
            "a key it brings along",
            sign(&stranger, &embedded, &claims()),
            "not ours",
        ),
        (
            "another key id",
            sign(&keys, &foreign_id, &claims()),
            "not ours",
        ),
        (
            "a key id that is a path",
            by_hand(
                &keys,
                r#"{"alg":"EdDSA","kid":["x"]}"#,
                &claims().to_string(),
            ),
            "malformed",
        ),
        (
            "crit",
            by_hand(
                &keys,
                r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#,
                &claims().to_string(),
            ),
            "malformed",
        ),
        (
            "another audience",
            sign(&keys, &own, &with("aud", "elsewhere".into())),
            "audience",
        ),
        (
            "another issuer",
            sign(&keys, &own, &with("iss", "elsewhere".into())),
            "issuer",
        ),
        (
            "a list of issuers",
            sign(&keys, &own, &with("iss", json!(["jitney"]))),
            "malformed",
        ),
        (
            "expired",
            sign(&keys, &own, &with("exp", 1000.into())),
            "expired",
        ),
        (
            "an end that is a text",
            sign(&keys, &own, &with("exp", "9000".into())),
            "malformed",
        ),
        (
            "an end beyond numbers",
            by_hand(&keys, once, &claims().to_string().replace("9000", "1e300")),
            "malformed",
        ),
        (
            "not yet",
            sign(&keys, &own, &with("nbf", 2000.into())),
            "not good yet",
        ),
        (
            "made in the future",
            sign(&keys, &own, &with("iat", 2000.into())),
            "not good yet",
        ),
        (
            "no role",
            sign(&keys, &own, &with("role", "king".into())),
            "malformed",
        ),
        (
            "a list of roles",
            sign(&keys, &own, &with("role", json!(["rider"]))),
            "malformed",
        ),
        (
            "no id",
            sign(&keys, &own, &with("sub", "a b".into())),
            "not an id",
        ),
        (
            "an id that is a path",
            sign(&keys, &own, &with("sub", "../ben".into())),
            "not an id",
        ),
        ("a claim twice", by_hand(&keys, once, &twice), "malformed"),
        (
            "claims that are a list",
            by_hand(&keys, once, "[]"),
            "malformed",
        ),
        ("without iss", without("iss"), "malformed"),
        ("without aud", without("aud"), "malformed"),
        ("without sub", without("sub"), "malformed"),
        ("without role", without("role"), "malformed"),
        ("without exp", without("exp"), "malformed"),
    ];
    assert!(bad.len() >= 25, "{}", bad.len());
    for (what, token, told) in bad {
        let refusal = refusal(&keys, &token);
        assert!(refusal.contains(told), "{what}: {refusal}");
    }
}

#[test]
fn tokens_of_an_ended_session_are_refused() {
    let keys = TokenKeys::generate();
    let mint = |session| {
        keys.mint_in(session, Role::Rider, "anna", HOUR, at(0))
            .unwrap()
    };
    let (one, other, none) = (mint(Some("s-1")), mint(Some("s-2")), mint(None));
    assert!(keys.verify(&one, at(1000)).is_ok());
    keys.end_session("s-1", at(3600), at(1000));
    assert_eq!(refusal(&keys, &one), "the token's session has ended");
    assert!(keys.verify(&other, at(1000)).is_ok());
    assert!(keys.verify(&none, at(1000)).is_ok());
}

#[test]
fn what_is_no_id_gets_no_token() {
    let keys = TokenKeys::generate();
    assert!(keys.mint(Role::Rider, "a b", HOUR, at(0)).is_err());
    assert!(
        keys.mint(Role::Rider, "anna", Duration::ZERO, at(0))
            .is_err()
    );
    assert!(
        keys.mint(Role::Rider, "anna", Duration::MAX, at(0))
            .is_err()
    );
}

#[test]
fn secrets_differ_by_purpose_and_key() {
    let (keys, others) = (TokenKeys::generate(), TokenKeys::generate());
    assert_eq!(keys.key_for("a"), keys.key_for("a"));
    assert_ne!(keys.key_for("a"), keys.key_for("b"));
    assert_ne!(keys.key_for("a"), others.key_for("a"));
    assert_ne!(keys.login_secret(), others.login_secret());
    assert_ne!(keys.login_secret(), keys.key_for("login"));
}

/// Quotes that are signed and people's ids outlive the program: neither may come out otherwise one day.
#[test]
fn secrets_are_for_good() {
    let seed: Vec<u8> = (0..32).collect();
    let key = SigningKey::from_bytes(&seed.try_into().unwrap());
    let keys = TokenKeys::new(&key).unwrap();
    let hex = |bytes: [u8; 32]| -> String { bytes.map(|byte| format!("{byte:02x}")).concat() };
    assert_eq!(
        hex(keys.key_for("jitney.billing.fare_quote")),
        "6e2012e3559c88998df437c9eb3b9479e1a77ff62936d40e3386969c81c6a666"
    );
    assert_eq!(
        hex(keys.login_secret()),
        "ba9817ac264c11239534deb2afb69661885bb66374d8eabc9839ad137719c080"
    );
}

/// A login service of another maker: its private keys, and the set it publishes in a file.
struct Elsewhere {
    dir: tempfile::TempDir,
    ed: EncodingKey,
    ec: EncodingKey,
    rsa: EncodingKey,
    set: Value,
}

impl Elsewhere {
    fn new() -> Elsewhere {
        let ed = keyfile::generate();
        let ec = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let rsa = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // An uncompressed point: 4, x, y.
        let point = ec.public_key_raw();
        let set = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encoded(&ed.verifying_key().to_bytes())},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256",
             "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
            {"kty": "RSA", "kid": "rsa", "use": "sig",
             "n": encoded(&rsa.n().to_bytes_be()), "e": encoded(&rsa.e().to_bytes_be())},
        ]});
        let pem = |pem: &str| pem.as_bytes().to_vec();
        let ed = pem(&ed.to_pkcs8_pem(LineEnding::LF).unwrap());
        let rsa = pem(&rsa.to_pkcs8_pem(LineEnding::LF).unwrap());
        Elsewhere {
            dir: tempfile::tempdir().unwrap(),
            ed: EncodingKey::from_ed_pem(&ed).unwrap(),
            ec: EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap(),
            rsa: EncodingKey::from_rsa_pem(&rsa).unwrap(),
            set,
        }
    }

    fn publish(&self, set: &Value) -> String {
        let path = self.dir.path().join("jwks.json");
        std::fs::write(&path, set.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn config(&self) -> AuthConfig {
        let issuer = json!({
            "issuer": "https://login.example.org", "audience": "rides",
            "jwks": self.publish(&self.set), "refresh": "1h", "refetch_min": "1ms",
        });
        AuthConfig {
            issuers: vec![serde_json::from_value::<IssuerConfig>(issuer).unwrap()],
            ..AuthConfig::default()
        }
    }

    fn token(&self, id: &str, algorithm: Algorithm, change: Value) -> String {
        let mut claims = json!({
            "iss": "https://login.example.org", "aud": ["other", "rides"], "sub": "anna",
            "role": "rider", "exp": 2000,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut header = Header::new(algorithm);
        header.kid = (!id.is_empty()).then(|| id.to_owned());
        let key = match algorithm {
            Algorithm::EdDSA => &self.ed,
            Algorithm::ES256 => &self.ec,
            _ => &self.rsa,
        };
        jsonwebtoken::encode(&header, &claims, key).unwrap()
    }
}

async fn watched(keys: TokenKeys) -> (Arc<TokenKeys>, tokio_util::sync::DropGuard) {
    let (keys, shutdown) = (Arc::new(keys), CancellationToken::new());
    keys.watch(&TaskTracker::new(), &shutdown);
    (keys, shutdown.drop_guard())
}

async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("it never happened");
}

#[tokio::test]
async fn tokens_of_another_issuer_are_checked_with_its_published_keys() {
    let elsewhere = Elsewhere::new();
    let keys = TokenKeys::generate().trusting(&elsewhere.config()).unwrap();
    let ed = elsewhere.token("ed", Algorithm::EdDSA, json!({}));
    // Nothing is waited for: until the keys are here the answer is "try again".
    let status = keys.verify(&ed, at(1000)).unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::Unavailable));
    let (keys, _guard) = watched(keys).await;
    until(|| keys.verify(&ed, at(1000)).is_ok()).await;
    let good = |token: &str| keys.verify(token, at(1000)).map(|caller| caller.id);
    for (id, algorithm) in [
        ("ed", Algorithm::EdDSA),
        ("ec", Algorithm::ES256),
        ("rsa", Algorithm::RS256),
        ("", Algorithm::RS256),
    ] {
        let token = elsewhere.token(id, algorithm, json!({}));
        assert_eq!(good(&token).unwrap(), "anna", "{id} {algorithm:?}");
    }
    // Its clock may be half a minute ahead of ours, or behind.
    let rs = |change| elsewhere.token("rsa", Algorithm::RS256, change);
    assert!(good(&rs(json!({"exp": 971}))).is_ok());
    assert!(good(&rs(json!({"nbf": 1030}))).is_ok());
    for (change, told) in [
        (json!({"exp": 970}), "expired"),
        (json!({"nbf": 1031}), "not good yet"),
        (json!({"aud": "jitney"}), "audience"),
        (json!({"aud": ["a", "b"]}), "audience"),
        (json!({"role": "operator"}), "may not give this role"),
        (json!({"role": "service"}), "may not give this role"),
        (
            json!({"iss": "https://login.example.org/"}),
            "another issuer",
        ),
        (json!({"iss": "jitney"}), "as ours are"),
    ] {
        let refusal = refusal(&keys, &rs(change.clone()));
        assert!(refusal.contains(told), "{change}: {refusal}");
    }
    // A key is for one algorithm, whatever the token says.
    let confused = elsewhere.token("ec", Algorithm::RS256, json!({}));
    let status = keys.verify(&confused, at(1000)).unwrap_err();
    assert_ne!(status.code(), tonic::Code::Ok);
    // Our own tokens are taken as before.
    assert!(good(&keys.mint(Role::Operator, "olga", HOUR, at(1000)).unwrap()).is_ok());
}

#[tokio::test]
async fn a_key_that_is_not_known_is_looked_for_and_one_taken_back_is_forgotten() {
    let elsewhere = Elsewhere::new();
    let all = elsewhere.set["keys"].as_array().unwrap().clone();
    let config = elsewhere.config();
    elsewhere.publish(&json!({"keys": [all[0]]}));
    let (keys, _guard) = watched(TokenKeys::generate().trusting(&config).unwrap()).await;
    let old = elsewhere.token("ed", Algorithm::EdDSA, json!({}));
    let new = elsewhere.token("ec", Algorithm::ES256, json!({}));
    until(|| keys.verify(&old, at(1000)).is_ok()).await;
    elsewhere.publish(&json!({"keys": [all[1]]}));
    until(|| keys.verify(&new, at(1000)).is_ok()).await;
    assert!(keys.verify(&old, at(1000)).is_err(), "it was remembered");
    // A set that cannot be read changes nothing.
    elsewhere.publish(&json!({"keys": []}));
    let unknown = elsewhere.token("nobody", Algorithm::ES256, json!({}));
    let before = keys.issuers[0].looks();
    // The first look may have read the set before.
    until(|| keys.verify(&unknown, at(1000)).is_err() && keys.issuers[0].looks() >= before + 2)
        .await;
    assert!(keys.verify(&new, at(1000)).is_ok());
    // One that was not seen before, and is not merely remembered.
    let newer = elsewhere.token("ec", Algorithm::ES256, json!({"exp": 1999}));
    assert!(keys.verify(&newer, at(1000)).is_ok());
}

/// Made-up key ids do not have the issuer asked again and again.
#[tokio::test]
async fn looking_again_is_bounded() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let elsewhere = Elsewhere::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut config = elsewhere.config();
    let address = listener.local_addr().unwrap();
    config.issuers[0].jwks = format!("http://{address}/jwks");
    config.issuers[0].refetch_min = Duration::from_secs(3600);
    let (count, set) = (asked.clone(), elsewhere.set.to_string());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let length = set.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all((head + &set).as_bytes()).await;
        }
    });
    let (keys, _guard) = watched(TokenKeys::generate().trusting(&config).unwrap()).await;
    let good = elsewhere.token("rsa", Algorithm::RS256, json!({}));
    until(|| keys.verify(&good, at(1000)).is_ok()).await;
    for n in 0..200 {
        let made_up = elsewhere.token(&format!("k{n}"), Algorithm::EdDSA, json!({}));
        assert!(refusal(&keys, &made_up).contains("not known"));
        tokio::task::yield_now().await;
    }
    // Who asks now is answered after everybody who has asked before.
    let mut last = tokio::net::TcpStream::connect(address).await.unwrap();
    last.read_to_end(&mut Vec::new()).await.unwrap();
    let others = asked.load(std::sync::atomic::Ordering::SeqCst) - 1;
    assert_eq!(others, 1);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let elsewhere = json!({"issuer": "i", "audience": "a", "jwks": "/x"});
    let refused = |change: Value| {
        let mut issuer = elsewhere.clone();
        for (name, value) in change.as_object().unwrap() {
            issuer[name] = value.clone();
        }
        let config = AuthConfig {
            issuers: vec![serde_json::from_value(issuer).unwrap()],
            ..AuthConfig::default()
        };
        TokenKeys::generate()
            .trusting(&config)
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(refused(json!({})), None);
    assert_eq!(
        refused(json!({"jwks": "https://login.example.org/jwks"})),
        None
    );
    for (change, told) in [
        (json!({"issuer": "jitney"}), "own name"),
        (json!({"algorithms": ["HS256"]}), "HS256"),
        (json!({"algorithms": []}), "no algorithm"),
        (
            json!({"jwks": "http://login.example.org/jwks"}),
            "not https://",
        ),
        (json!({"jwks": "ftp://x/y"}), "not https://"),
        (json!({"refresh": "0s"}), "refresh is zero"),
        (json!({"roles": []}), "no role"),
    ] {
        let refusal = refused(change.clone()).unwrap_or_default();
        assert!(refusal.contains(told), "{change}: {refusal}");
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut verified = Verified::default();
    let known = Known {
        caller: Caller {
            role: Role::Rider,
            id: "a".to_owned(),
        },
        start: 0,
        end: 0,
        session: None,
    };
    for n in 0..5 * GENERATION_MAX {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_le_bytes());
        verified.insert(hash, known.clone());
        let in_use = verified.get(&[0; 32]);
        assert!(in_use.is_some(), "what is in use is kept");
    }
    assert!(verified.young.len() + verified.old.len() <= 2 * GENERATION_MAX);
}
