//! Makes tokens and checks them: those signed with our own key, and those of the issuers that were
//! named in the configuration.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use hmac::{Hmac, Mac as _};
use jitney_proto::{Code, ids::is_name};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;
use uuid::Uuid;

use super::{AuthConfig, Caller, Role, issuer::Issuer, jwks, keyfile, strict};

/// Issuer and audience of our own tokens.
const JITNEY: &str = "jitney";
/// Longer texts are not worth the work of finding out that they are no tokens.
const TOKEN_BYTES_MAX: usize = 4096;
/// Half of the verified tokens that are remembered.
const GENERATION_MAX: usize = 8192;
/// How far the clocks of issuers and ours may be apart, where no configuration says otherwise.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    role: Role,
    iat: i64,
    exp: i64,
    jti: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
}

/// The key pair that tokens are signed and checked with, and the issuers trusted besides.
pub struct TokenKeys {
    signing: EncodingKey,
    verifying: DecodingKey,
    public: [u8; 32],
    id: String,
    seed: [u8; 32],
    issuers: Vec<Arc<Issuer>>,
    clock_skew: i64,
    verified: Mutex<Verified>,
    ended: Mutex<HashMap<String, i64>>,
    derivation: Hmac<Sha256>,
}

impl TokenKeys {
    /// The keys kept in `dir`, made there at the first start. Processes that start at once get the
    /// same ones.
    ///
    /// # Errors
    /// When the file cannot be made or read, is not a key, or can be read by other users.
    pub fn load_or_create(dir: &Path) -> anyhow::Result<Self> {
        Self::new(&keyfile::load_or_create(dir)?)
    }

    /// Keys that are kept nowhere, for tests.
    ///
    /// # Panics
    /// Never: a fresh key can be encoded.
    pub fn generate() -> Self {
        Self::new(&keyfile::generate()).expect("a fresh key can be encoded")
    }

    /// A key for another purpose, made from this one: an HMAC-SHA256 of the purpose under the private key.
    /// Whoever has it learns nothing of this one, nor of those for other purposes. Every new purpose takes
    /// its key from here.
    pub fn key_for(&self, purpose: &str) -> [u8; 32] {
        let mac = self.derivation.clone().chain_update(purpose);
        mac.finalize().into_bytes().into()
    }

    fn new(key: &SigningKey) -> anyhow::Result<Self> {
        let private = key
            .to_pkcs8_pem(LineEnding::LF)
            .context("the key cannot be encoded")?;
        let public = key
            .verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .context("the public key cannot be encoded")?;
        let bytes = key.verifying_key().to_bytes();
        Ok(Self {
            signing: EncodingKey::from_ed_pem(private.as_bytes())?,
            verifying: DecodingKey::from_ed_pem(public.as_bytes())?,
            public: bytes,
            id: thumbprint(&bytes),
            seed: key.to_bytes(),
            issuers: Vec::new(),
            clock_skew: seconds(CLOCK_SKEW),
            verified: Mutex::default(),
            ended: Mutex::default(),
            derivation: Hmac::new_from_slice(key.as_bytes())?,
        })
    }

    /// The same keys, and the issuers of the configuration besides. Their keys are fetched by
    /// [`TokenKeys::watch`].
    ///
    /// # Errors
    /// Settings that make no sense; the message names them.
    pub fn trusting(mut self, config: &AuthConfig) -> anyhow::Result<Self> {
        self.clock_skew = seconds(config.clock_skew);
        let mut issuers: Vec<Arc<Issuer>> = Vec::new();
        for issuer in &config.issuers {
            let is_known = |known: &Arc<Issuer>| known.config.issuer == issuer.issuer;
            ensure!(
                issuer.issuer != JITNEY && !issuers.iter().any(is_known),
                "auth.issuers: {:?} is there twice, or is Jitney's own name",
                issuer.issuer
            );
            issuers.push(Arc::new(Issuer::new(issuer.clone())?));
        }
        self.issuers = issuers;
        Ok(self)
    }

    /// Keeps the issuers' keys up to date until `shutdown`.
    pub fn watch(self: &Arc<Self>, tasks: &TaskTracker, shutdown: &CancellationToken) {
        for issuer in &self.issuers {
            let (keys, issuer, shutdown) = (self.clone(), issuer.clone(), shutdown.clone());
            tasks.spawn(async move {
                // A key that was taken back checks nothing any more, not even what was checked before.
                let changed = || *keys.remembered() = Verified::default();
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = issuer.watch(changed) => {}
                }
            });
        }
    }

    /// Our own public key as a JSON Web Key Set, for programs that check our tokens.
    pub fn public_set(&self) -> Value {
        json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.public),
            "alg": "EdDSA", "use": "sig", "kid": self.id,
        }]})
    }

    /// What the login for development makes people's ids and its codes with. It is older than
    /// [`TokenKeys::key_for`] and made otherwise, and has to stay so: who logs in is known by an id made with
    /// it, which their rides and postings have for good.
    pub fn login_secret(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"jitney derived secret\0login\0");
        hash.update(self.seed);
        hash.finalize().into()
    }

    /// A token for `id` in `role`, good for `ttl` from `now` (whole seconds).
    ///
    /// # Errors
    /// When the id is not one (see [`jitney_proto::ids`]), or `ttl` is under a second or beyond the
    /// end of time.
    pub fn mint(
        &self,
        role: Role,
        id: &str,
        ttl: Duration,
        now: DateTime<Utc>,
    ) -> anyhow::Result<String> {
        self.mint_in(None, role, id, ttl, now)
    }

    /// As [`TokenKeys::mint`], as part of a session that [`TokenKeys::end_session`] can end.
    ///
    /// # Errors
    /// As there.
    pub fn mint_in(
        &self,
        session: Option<&str>,
        role: Role,
        id: &str,
        ttl: Duration,
        now: DateTime<Utc>,
    ) -> anyhow::Result<String> {
        ensure!(
            is_name(id),
            "{id:?} is not an id: 1 to 64 letters, digits, '-', '_' or '.'"
        );
        ensure!(
            ttl >= Duration::from_secs(1),
            "a token lives at least a second"
        );
        let iat = now.timestamp();
        let exp = i64::try_from(ttl.as_secs())
            .ok()
            .and_then(|ttl| iat.checked_add(ttl));
        let claims = Claims {
            iss: JITNEY,
            aud: JITNEY,
            sub: id,
            role,
            iat,
            exp: exp.context("a token cannot live that long")?,
            jti: Uuid::new_v4(),
            sid: session,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing).context("the token cannot be signed")
    }

    /// Ends a session: its tokens are refused from now on, here, until `until`, when the last of them
    /// has expired by itself.
    pub fn end_session(&self, session: &str, until: DateTime<Utc>, now: DateTime<Utc>) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, until| *until > now.timestamp());
        ended.insert(session.to_owned(), until.timestamp());
    }

    /// Whom a token is for. Tokens that were verified lately are recognized by their hash.
    ///
    /// # Errors
    /// UNAUTHENTICATED, saying what is wrong with the token but never what is in it. UNAVAILABLE when
    /// it may be good, and the keys of its issuer are not here yet.
    #[allow(clippy::result_large_err)]
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, Status> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refuse("the token is malformed: too long"));
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = self.remembered().get(&hash);
        let (known, new) = match known {
            Some(known) => (known, false),
            None => (self.read(token)?, true),
        };
        let now = now.timestamp();
        if now >= known.end {
            return Err(refuse("the token has expired"));
        }
        if now < known.start {
            return Err(refuse("the token is not good yet"));
        }
        if let Some(session) = &known.session {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            if ended.contains_key(session) {
                return Err(refuse("the token's session has ended"));
            }
        }
        let caller = known.caller.clone();
        if new {
            self.remembered().insert(hash, known);
        }
        Ok(caller)
    }

    fn remembered(&self) -> MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::result_large_err)]
    fn read(&self, token: &str) -> Result<Known, Status> {
        let malformed = || refuse("the token is malformed");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let part = |text: &str| strict::object(&URL_SAFE_NO_PAD.decode(text).ok()?);
        let header = part(header).ok_or_else(malformed)?;
        let claims = part(claims).ok_or_else(malformed)?;

        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(jwks::algorithm_named);
        let algorithm = algorithm
            .ok_or_else(|| refuse("the token is not signed with one of EdDSA, ES256 and RS256"))?;
        // Extensions that must be understood are none of ours.
        if header.contains_key("crit") || header.contains_key("zip") {
            return Err(malformed());
        }
        let id = match header.get("kid") {
            None => None,
            Some(id) => Some(id.as_str().ok_or_else(malformed)?),
        };
        let claimed = text(&claims, "iss")?;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.config.issuer == claimed);
        let key = match issuer {
            Some(issuer) => &issuer.key(id, algorithm)?,
            None if claimed != JITNEY => return Err(refuse("the token is from another issuer")),
            None if algorithm != Algorithm::EdDSA => {
                return Err(refuse("the token is not signed with EdDSA, as ours are"));
            }
            None if id.is_some_and(|id| id != self.id) => {
                return Err(refuse("the token's signature is not ours"));
            }
            None => &self.verifying,
        };
        let is_genuine = crypto::verify(signature, signed.as_bytes(), key, algorithm);
        if !is_genuine.unwrap_or(false) {
            return Err(refuse("the token's signature is not ours"));
        }
        match issuer {
            None => self.known(&claims, JITNEY, "role", &Role::ALL, 0),
            Some(issuer) => {
                let (config, skew) = (&issuer.config, self.clock_skew);
                self.known(
                    &claims,
                    &config.audience,
                    &config.role_claim,
                    &config.roles,
                    skew,
                )
            }
        }
    }

    /// What the claims of a genuine token say.
    #[allow(clippy::result_large_err)]
    fn known(
        &self,
        claims: &Map<String, Value>,
        audience: &str,
        role_claim: &str,
        roles: &[Role],
        leeway: i64,
    ) -> Result<Known, Status> {
        let is_ours = |one: &Value| one.as_str() == Some(audience);
        let is_for_us = match claims.get("aud") {
            None => return Err(missing()),
            Some(Value::Array(several)) => several.iter().any(is_ours),
            Some(one) => is_ours(one),
        };
        if !is_for_us {
            return Err(refuse("the token is for another audience"));
        }
        let id = text(claims, "sub")?;
        if !is_name(id) {
            return Err(refuse("the token is malformed: its subject is not an id"));
        }
        let role: Role = text(claims, role_claim)?
            .parse()
            .map_err(|_| refuse("the token is malformed: its role is not one"))?;
        if !roles.contains(&role) {
            return Err(refuse("the token's issuer may not give this role"));
        }
        let end = time(claims, "exp")?.ok_or_else(missing)?;
        let start = time(claims, "nbf")?.max(time(claims, "iat")?);
        let session = match claims.get("sid") {
            None => None,
            Some(_) => Some(text(claims, "sid")?.to_owned()),
        };
        Ok(Known {
            caller: Caller {
                role,
                id: id.to_owned(),
            },
            start: start.map_or(i64::MIN, |start| start.saturating_sub(self.clock_skew)),
            end: end.saturating_add(leeway),
            session,
        })
    }
}

fn refuse(problem: &str) -> Status {
    Code::Unauthenticated.status(problem)
}

fn missing() -> Status {
    refuse("the token is malformed: a claim is missing")
}

#[allow(clippy::result_large_err)]
fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<&'a str, Status> {
    let claim = claims.get(name).ok_or_else(missing)?;
    claim
        .as_str()
        .ok_or_else(|| refuse("the token is malformed"))
}

/// A moment in seconds since 1970; some issuers write fractions.
#[allow(clippy::result_large_err)]
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Status> {
    let Some(claim) = claims.get(name) else {
        return Ok(None);
    };
    #[allow(clippy::cast_possible_truncation)] // Bounded by the filter.
    let rounded = || {
        let seconds = claim.as_f64().filter(|seconds| seconds.abs() < 1e15);
        seconds.map(|seconds| seconds.floor() as i64)
    };
    let seconds = claim.as_i64().or_else(rounded);
    seconds
        .map(Some)
        .ok_or_else(|| refuse("the token is malformed"))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The name of an Ed25519 key that everybody computes alike (RFC 7638).
fn thumbprint(public: &[u8; 32]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
}

#[derive(Clone)]
struct Known {
    caller: Caller,
    start: i64,
    end: i64,
    session: Option<String>,
}

/// Tokens that were verified, by the SHA-256 of their text. When the younger half is full, the older
/// one is dropped: what is in use moves to the younger half each time it is seen.
#[derive(Default)]
struct Verified {
    young: HashMap<[u8; 32], Known>,
    old: HashMap<[u8; 32], Known>,
}

impl Verified {
    fn get(&mut self, hash: &[u8; 32]) -> Option<Known> {
        if let Some(known) = self.young.get(hash) {
            return Some(known.clone());
        }
        let known = self.old.remove(hash)?;
        self.insert(*hash, known.clone());
        Some(known)
    }

    fn insert(&mut self, hash: [u8; 32], known: Known) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, known);
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
