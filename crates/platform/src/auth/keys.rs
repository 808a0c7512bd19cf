//! Makes tokens and checks them.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use hmac::{Hmac, Mac as _};
use jitney_proto::{Code, ids::is_name};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tonic::Status;
use uuid::Uuid;

use super::{Caller, Role, keyfile};

/// Issuer and audience of every token.
const JITNEY: &str = "jitney";
/// Longer texts are not worth the work of finding out that they are no tokens.
const TOKEN_BYTES_MAX: usize = 4096;
/// Half of the verified tokens that are remembered.
const GENERATION_MAX: usize = 8192;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    role: Role,
    iat: i64,
    exp: i64,
    jti: Uuid,
}

/// The key pair that tokens are signed and checked with.
pub struct TokenKeys {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    verified: Mutex<Verified>,
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
    /// Whoever has it learns nothing of this one, nor of those for other purposes.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
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
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[JITNEY]);
        validation.set_audience(&[JITNEY]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // The time is handed in; the library would ask the machine.
        validation.validate_exp = false;
        Ok(Self {
            signing: EncodingKey::from_ed_pem(private.as_bytes())?,
            verifying: DecodingKey::from_ed_pem(public.as_bytes())?,
            validation,
            verified: Mutex::default(),
            derivation: Hmac::new_from_slice(key.as_bytes())?,
        })
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
            iss: JITNEY.to_owned(),
            aud: JITNEY.to_owned(),
            sub: id.to_owned(),
            role,
            iat,
            exp: exp.context("a token cannot live that long")?,
            jti: Uuid::new_v4(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.signing)
            .context("the token cannot be signed")
    }

    /// Whom a token is for. Tokens that were verified lately are recognized by their hash.
    ///
    /// # Errors
    /// UNAUTHENTICATED, saying what is wrong with the token but never what is in it.
    #[allow(clippy::result_large_err)]
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, Status> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Code::Unauthenticated.status("the token is malformed: too long"));
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = self.remembered().get(&hash);
        let (known, new) = match known {
            Some(known) => (known, false),
            None => (self.read(token)?, true),
        };
        if now.timestamp() >= known.exp {
            return Err(Code::Unauthenticated.status("the token has expired"));
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
        let refuse = |problem| Code::Unauthenticated.status(problem);
        let read = jsonwebtoken::decode::<Claims>(token, &self.verifying, &self.validation);
        let claims = read.map_err(|error| refuse(problem(error.kind())))?.claims;
        if !is_name(&claims.sub) {
            return Err(refuse("the token is malformed: its subject is not an id"));
        }
        Ok(Known {
            caller: Caller {
                role: claims.role,
                id: claims.sub,
            },
            exp: claims.exp,
        })
    }
}

fn problem(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "the token's signature is not ours",
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => {
            "the token is not signed with EdDSA"
        }
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::MissingRequiredClaim(_) => "the token is malformed: a claim is missing",
        _ => "the token is malformed",
    }
}

#[derive(Clone)]
struct Known {
    caller: Caller,
    exp: i64,
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
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn refusal(keys: &TokenKeys, token: &str) -> String {
        let status = keys.verify(token, at(1000)).unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::Unauthenticated));
        assert!(
            token.len() < 8 || !status.message().contains(token),
            "the token is echoed"
        );
        status.message().to_owned()
    }

    fn sign(keys: &TokenKeys, header: &Header, claims: &serde_json::Value) -> String {
        jsonwebtoken::encode(header, claims, &keys.signing).unwrap()
    }

    fn claims() -> serde_json::Value {
        serde_json::json!({
            "iss": "jitney", "aud": "jitney", "sub": "anna", "role": "rider",
            "iat": 0, "exp": 9000, "jti": Uuid::nil(),
        })
    }

    #[test]
    fn every_purpose_has_a_key_of_its_own() {
        let key = keyfile::generate();
        let [keys, again] = [&key, &key].map(|key| TokenKeys::new(key).unwrap());
        assert_eq!(keys.derive("a"), again.derive("a"), "after a restart too");
        assert_ne!(keys.derive("a"), keys.derive("b"));
        assert_ne!(keys.derive("a"), TokenKeys::generate().derive("a"));
        assert_ne!(keys.derive("a"), key.to_bytes());
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
    }

    #[test]
    fn the_refusal_says_what_is_wrong() {
        let keys = TokenKeys::generate();
        let header = Header::new(Algorithm::EdDSA);
        for nonsense in ["", "x", "a.b.c", "....", "ä.ö.ü"] {
            assert!(
                refusal(&keys, nonsense).contains("malformed"),
                "{nonsense:?}"
            );
        }
        assert!(refusal(&keys, &"x".repeat(1_000_000)).contains("too long"));

        let stranger = TokenKeys::generate()
            .mint(Role::Operator, "eve", HOUR, at(0))
            .unwrap();
        assert_eq!(
            refusal(&keys, &stranger),
            "the token's signature is not ours"
        );

        let mut other = claims();
        other["aud"] = "elsewhere".into();
        assert!(refusal(&keys, &sign(&keys, &header, &other)).contains("audience"));
        let mut other = claims();
        other["iss"] = "elsewhere".into();
        assert!(refusal(&keys, &sign(&keys, &header, &other)).contains("issuer"));
        let mut other = claims();
        other["role"] = "king".into();
        assert!(refusal(&keys, &sign(&keys, &header, &other)).contains("malformed"));
        let mut other = claims();
        other["sub"] = "a b".into();
        assert!(refusal(&keys, &sign(&keys, &header, &other)).contains("not an id"));
        for claim in ["iss", "aud", "sub", "role", "exp"] {
            let mut other = claims();
            other.as_object_mut().unwrap().remove(claim);
            assert!(
                refusal(&keys, &sign(&keys, &header, &other)).contains("malformed"),
                "{claim}"
            );
        }
        assert!(
            keys.verify(&sign(&keys, &header, &claims()), at(1000))
                .is_ok()
        );
    }

    #[test]
    fn no_other_algorithm_is_taken() {
        let keys = TokenKeys::generate();
        let secret = EncodingKey::from_secret(b"jitney");
        let hmac =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
        assert_eq!(refusal(&keys, &hmac), "the token is not signed with EdDSA");
        // {"alg":"none"} with no signature.
        let payload = hmac.split('.').nth(1).unwrap();
        assert!(refusal(&keys, &format!("eyJhbGciOiJub25lIn0.{payload}.")).contains("malformed"));
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
    fn what_is_remembered_is_bounded() {
        let mut verified = Verified::default();
        let known = Known {
            caller: Caller {
                role: Role::Rider,
                id: "a".to_owned(),
            },
            exp: 0,
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
}
