//! Issuers of tokens besides our own key: login services that publish their public keys as a JSON Web
//! Key Set, at a URL or in a file.
//!
//! No request ever waits for a fetch. A task looks for new keys from time to time, and at once when a
//! token names a key that is not known, but no more often than `refetch_min`: made-up key ids are no
//! way to have us ask the issuer all day. While the issuer is away the last keys go on being used,
//! for at most `stale_max`.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwapOption;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jitney_proto::Code;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::Instant};
use tonic::Status;

use super::{
    Role,
    jwks::{self, KeySet},
};

/// A larger set is not read.
const SET_BYTES_MAX: usize = 256 << 10;
/// How long a fetch may take.
const FETCH_MAX: Duration = Duration::from_secs(5);

/// An issuer whose tokens are taken besides those signed with our own key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What its tokens have as `iss`.
    pub issuer: String,
    /// What its tokens have as `aud`, or in the list there.
    pub audience: String,
    /// Where its public keys are, as a JSON Web Key Set: an `https://` URL, or a file.
    pub jwks: String,
    /// The algorithms its tokens may be signed with: `EdDSA`, `ES256`, `RS256`.
    #[serde(default = "all_algorithms")]
    pub algorithms: Vec<String>,
    /// The roles it may give.
    #[serde(default = "people")]
    pub roles: Vec<Role>,
    /// The claim that holds the role.
    #[serde(default = "role_claim")]
    pub role_claim: String,
    /// How often its keys are looked at again.
    #[serde(default = "refresh", with = "humantime_serde")]
    pub refresh: Duration,
    /// How long after a look the next one may be, when tokens name keys that are not known.
    #[serde(default = "refetch_min", with = "humantime_serde")]
    pub refetch_min: Duration,
    /// How long keys are used while the issuer cannot be reached.
    #[serde(default = "stale_max", with = "humantime_serde")]
    pub stale_max: Duration,
}

fn all_algorithms() -> Vec<String> {
    let names = jwks::ALGORITHMS.iter();
    names.map(|(name, _)| (*name).to_owned()).collect()
}

fn people() -> Vec<Role> {
    vec![Role::Rider, Role::Driver]
}

fn role_claim() -> String {
    "role".to_owned()
}

fn refresh() -> Duration {
    Duration::from_secs(15 * 60)
}

fn refetch_min() -> Duration {
    Duration::from_secs(30)
}

fn stale_max() -> Duration {
    Duration::from_secs(24 * 3600)
}

/// An issuer with the keys it has now.
pub(super) struct Issuer {
    pub(super) config: IssuerConfig,
    algorithms: Vec<Algorithm>,
    source: Source,
    keys: ArcSwapOption<KeySet>,
    wanted: Notify,
    looked: Mutex<Looked>,
}

#[derive(Clone, Copy, Default)]
struct Looked {
    times: u64,
    last: Option<Instant>,
    fresh: Option<Instant>,
}

enum Source {
    File(PathBuf),
    Http(
        http::Uri,
        Box<Client<HttpsConnector<HttpConnector>, Empty<bytes::Bytes>>>,
    ),
}

impl Issuer {
    /// Checks the settings; nothing is fetched yet.
    pub(super) fn new(config: IssuerConfig) -> anyhow::Result<Issuer> {
        ensure!(!config.issuer.is_empty(), "an issuer has no name");
        ensure!(!config.audience.is_empty(), "an issuer has no audience");
        ensure!(!config.roles.is_empty(), "an issuer may give no role");
        for (key, duration) in [
            ("refresh", config.refresh),
            ("refetch_min", config.refetch_min),
            ("stale_max", config.stale_max),
        ] {
            ensure!(!duration.is_zero(), "auth.issuers: {key} is zero");
        }
        let algorithm = |name: &String| {
            jwks::algorithm_named(name)
                .with_context(|| format!("auth.issuers: {name:?} is none of EdDSA, ES256, RS256"))
        };
        let algorithms = config.algorithms.iter().map(algorithm);
        let algorithms: Vec<_> = algorithms.collect::<anyhow::Result<_>>()?;
        ensure!(!algorithms.is_empty(), "an issuer has no algorithm");
        Ok(Issuer {
            source: Source::of(&config.jwks)?,
            algorithms,
            keys: ArcSwapOption::empty(),
            wanted: Notify::new(),
            looked: Mutex::default(),
            config,
        })
    }

    /// The key that a token names.
    ///
    /// # Errors
    /// UNAUTHENTICATED where there is none; UNAVAILABLE where it may be one that was not fetched yet.
    #[allow(clippy::result_large_err)]
    pub(super) fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, Status> {
        if !self.algorithms.contains(&algorithm) {
            let told = "the token is not signed with an algorithm that its issuer uses";
            return Err(Code::Unauthenticated.status(told));
        }
        let keys = self.keys.load();
        let found = keys.as_ref().and_then(|keys| keys.find(id, algorithm));
        if let Some(key) = found
            && !self.is_stale()
        {
            return Ok(key.clone());
        }
        self.wanted.notify_one();
        if self.may_look() || keys.is_none() || self.is_stale() {
            let told = "the keys of the token's issuer are being fetched; try again";
            return Err(Code::Unavailable.retry_after(told, Duration::from_secs(1)));
        }
        Err(Code::Unauthenticated.status("the token is signed with a key that is not known"))
    }

    /// Looks for new keys until it is dropped; `changed` is called when there are other ones.
    pub(super) async fn watch(&self, changed: impl Fn()) {
        loop {
            let fetched = tokio::time::timeout(FETCH_MAX, self.source.fetch()).await;
            let fetched = fetched.unwrap_or_else(|_| Err(anyhow::anyhow!("it took too long")));
            let read = fetched.and_then(|json| KeySet::read(&json, &self.algorithms));
            let now = Instant::now();
            let before = *self.looked();
            let mut looked = Looked {
                times: before.times + 1,
                last: Some(now),
                fresh: before.fresh,
            };
            match read {
                Ok(keys) => {
                    tracing::debug!(issuer = self.config.issuer, keys = keys.len(), "keys read");
                    self.keys.store(Some(keys.into()));
                    looked.fresh = Some(now);
                    changed();
                }
                Err(error) => {
                    let issuer = &self.config.issuer;
                    tracing::warn!(issuer, "the issuer's keys cannot be read: {error:#}");
                }
            }
            *self.looked() = looked;
            let soon = async {
                self.wanted.notified().await;
                tokio::time::sleep_until(now + self.config.refetch_min).await;
            };
            let _ = tokio::time::timeout(self.config.refresh, soon).await;
        }
    }

    /// How often it was looked for keys, for tests.
    #[cfg(test)]
    pub(super) fn looks(&self) -> u64 {
        self.looked().times
    }

    fn may_look(&self) -> bool {
        let last = self.looked().last;
        last.is_none_or(|last| last.elapsed() >= self.config.refetch_min)
    }

    fn is_stale(&self) -> bool {
        let fresh = self.looked().fresh;
        fresh.is_none_or(|fresh| fresh.elapsed() > self.config.stale_max)
    }

    fn looked(&self) -> std::sync::MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn of(place: &str) -> anyhow::Result<Source> {
        if !place.contains("://") {
            return Ok(Source::File(place.into()));
        }
        let uri: http::Uri = place
            .parse()
            .with_context(|| format!("auth.issuers: jwks = {place:?} is not a URL"))?;
        let host = uri.host().unwrap_or_default();
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_here => {}
            _ => bail!(
                "auth.issuers: jwks = {place:?} is not https://; whoever is in between could \
                 put in keys of their own"
            ),
        }
        let provider = rustls::crypto::ring::default_provider();
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(https);
        Ok(Source::Http(uri, Box::new(client)))
    }

    async fn fetch(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Source::File(path) => {
                let file = tokio::fs::read(path).await;
                let bytes = file.with_context(|| format!("{}", path.display()))?;
                ensure!(bytes.len() <= SET_BYTES_MAX, "the key set is too large");
                Ok(bytes)
            }
            Source::Http(uri, client) => {
                let answer = client.get(uri.clone()).await.context("no answer")?;
                ensure!(
                    answer.status() == http::StatusCode::OK,
                    "the answer is {}",
                    answer.status()
                );
                let body = Limited::new(answer.into_body(), SET_BYTES_MAX)
                    .collect()
                    .await;
                let body =
                    body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
                Ok(body.to_bytes().to_vec())
            }
        }
    }
}
