//! Public keys as issuers publish them: a JSON Web Key Set, read into the keys we can use. What a key
//! is used for is decided by what it *is*, never by what a token says: an Ed25519 key checks EdDSA, a
//! P-256 key ES256, an RSA key RS256, and nothing else.

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::strict;

/// The algorithms there are keys for.
pub(super) const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("EdDSA", Algorithm::EdDSA),
    ("ES256", Algorithm::ES256),
    ("RS256", Algorithm::RS256),
];

/// Keys above this number in one set are not looked at.
const KEYS_MAX: usize = 64;
/// RSA keys of fewer or more bytes are not used.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// One key that tokens may be signed with.
#[derive(Clone)]
pub(super) struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The keys of an issuer.
#[derive(Clone, Default)]
pub(super) struct KeySet(Vec<PublicKey>);

impl KeySet {
    /// Reads a set. Keys we cannot use (another algorithm, for encryption, too short) are left out.
    ///
    /// # Errors
    /// When it is no set, or holds no key that can be used.
    pub(super) fn read(json: &[u8], allowed: &[Algorithm]) -> anyhow::Result<KeySet> {
        let set = strict::object(json).context("the key set is not a JSON object")?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.context("the key set has no list `keys`")?;
        let usable: Vec<_> = keys
            .iter()
            .take(KEYS_MAX)
            .filter_map(|key| PublicKey::read(key.as_object()?))
            .filter(|key| allowed.contains(&key.algorithm))
            .collect();
        ensure!(
            !usable.is_empty(),
            "the key set holds no key that can be used"
        );
        Ok(KeySet(usable))
    }

    /// The key a token says it was signed with. A token that names none is checked with the only key
    /// of its algorithm, if there is only one.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id));
        let found = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then_some(&found.key)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl PublicKey {
    fn read(key: &Map<String, Value>) -> Option<PublicKey> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        if text("use").is_some_and(|used| used != "sig") {
            return None;
        }
        if let Some(operations) = key.get("key_ops") {
            let verifies = |operation: &Value| operation == "verify";
            operations.as_array()?.iter().find(|one| verifies(one))?;
        }
        let (algorithm, decoding) = match (text("kty")?, text("crv")) {
            ("OKP", Some("Ed25519")) => {
                let point = bytes("x").filter(|x| x.len() == 32)?;
                (Algorithm::EdDSA, DecodingKey::from_ed_der(&point))
            }
            ("EC", Some("P-256")) => {
                let is_whole = |part: &Vec<u8>| part.len() == 32;
                bytes("x").filter(is_whole)?;
                bytes("y").filter(is_whole)?;
                let decoding = DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?;
                (Algorithm::ES256, decoding)
            }
            ("RSA", _) => {
                let modulus = bytes("n").filter(|n| RSA_BYTES.contains(&n.len()))?;
                let exponent = bytes("e").filter(|e| (1..=8).contains(&e.len()))?;
                (
                    Algorithm::RS256,
                    DecodingKey::from_rsa_raw_components(&modulus, &exponent),
                )
            }
            _ => return None,
        };
        let declared = text("alg").map(|name| algorithm_named(name) == Some(algorithm));
        (declared != Some(false)).then(|| PublicKey {
            id: text("kid").map(str::to_owned),
            algorithm,
            key: decoding,
        })
    }
}

/// One of the three algorithms, by its name.
pub(super) fn algorithm_named(name: &str) -> Option<Algorithm> {
    let found = ALGORITHMS.iter().find(|(known, _)| *known == name);
    found.map(|(_, algorithm)| *algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];

    fn read(keys: &str) -> Result<usize, String> {
        let set = KeySet::read(format!("{{\"keys\": [{keys}]}}").as_bytes(), &ALL);
        set.map(|set| set.0.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn only_keys_that_can_be_used_are_kept() {
        let x = URL_SAFE_NO_PAD.encode([1; 32]);
        let good = format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{x}", "kid": "a"}}"#);
        assert_eq!(read(&good), Ok(1));
        let short = URL_SAFE_NO_PAD.encode([1; 128]);
        for bad in [
            format!(r#"{{"kty": "OKP", "crv": "Ed448", "x": "{x}"}}"#),
            format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{x}", "use": "enc"}}"#),
            format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{x}", "alg": "ES256"}}"#),
            format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{x}", "key_ops": ["sign"]}}"#),
            r#"{"kty": "OKP", "crv": "Ed25519", "x": "AQ"}"#.to_owned(),
            format!(r#"{{"kty": "EC", "crv": "P-256", "x": "{x}", "y": "AQ"}}"#),
            format!(r#"{{"kty": "oct", "k": "{x}", "alg": "HS256"}}"#),
            format!(r#"{{"kty": "RSA", "n": "{short}", "e": "AQAB"}}"#),
            "7".to_owned(),
        ] {
            assert!(read(&bad).unwrap_err().contains("no key"), "{bad}");
            assert_eq!(read(&format!("{bad}, {good}")), Ok(1), "{bad}");
        }
        assert!(KeySet::read(b"{}", &ALL).is_err());
        assert!(KeySet::read(b"[]", &ALL).is_err());
    }

    #[test]
    fn a_token_without_a_key_id_needs_a_set_of_one() {
        let key = |id: &str, byte: u8| {
            let x = URL_SAFE_NO_PAD.encode([byte; 32]);
            format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{x}", "kid": "{id}"}}"#)
        };
        let set =
            |keys: &str| KeySet::read(format!("{{\"keys\": [{keys}]}}").as_bytes(), &ALL).unwrap();
        let one = set(&key("a", 1));
        assert!(one.find(None, Algorithm::EdDSA).is_some());
        assert!(one.find(Some("a"), Algorithm::EdDSA).is_some());
        assert!(one.find(Some("b"), Algorithm::EdDSA).is_none());
        assert!(one.find(Some("a"), Algorithm::RS256).is_none());
        let two = set(&[key("a", 1), key("b", 2)].join(","));
        assert!(two.find(None, Algorithm::EdDSA).is_none());
        assert!(two.find(Some("b"), Algorithm::EdDSA).is_some());
    }
}
