//! Signatures of quotes: a price that is held is the price that was made, by this deployment.
//!
//! A quote is signed with HMAC-SHA256 over everything it says and until when. The signature is kept with it
//! and looked at whenever the quote is used; a row that was changed by hand, or comes from elsewhere, is
//! good for nothing. Keys have names, so that a new one signs while older ones are still known.

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, Mac as _};
use jitney_platform::auth::TokenKeys;
use jitney_proto::billing::v1::FareLineKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::quote::Quote;

/// What every signature begins with, so that it is good for nothing else.
const DOMAIN: &[u8] = b"jitney.billing.fare_quote.v1";
/// What the key is for that comes from the token key.
const PURPOSE: &str = "jitney.billing.fare_quote";
/// The shortest secret that is taken, bytes.
const SECRET_BYTES_MIN: usize = 32;
/// How much of a key's hash is its name, bytes.
const NAME_BYTES: usize = 8;

/// What quotes are signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigningConfig {
    /// The file with the secret that quotes are signed with: one line of at least 32 characters. Left out:
    /// a key that is made from the token key.
    pub key_file: Option<PathBuf>,
    /// The files of secrets that were used before. What they signed is still good.
    pub old_key_files: Vec<PathBuf>,
    /// How long after a database began to sign quotes unsigned ones are taken, as the version before makes
    /// them. For example `1day`.
    #[serde(with = "humantime_serde")]
    pub unsigned_for: Duration,
}

impl Default for SigningConfig {
    fn default() -> Self {
        Self {
            key_file: None,
            old_key_files: Vec::new(),
            unsigned_for: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// A quote as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The price.
    pub quote: Quote,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it may be held.
    pub expires_at: DateTime<Utc>,
    /// Its signature; none in a row of the version before.
    pub signature: Option<String>,
}

/// The secrets, by their names.
pub struct QuoteKeys {
    /// Signs.
    current: String,
    known: HashMap<String, Hmac<Sha256>>,
    unsigned_for: Duration,
    /// How long a quote lives at most.
    lifetime_max: Duration,
}

impl fmt::Debug for QuoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuoteKeys")
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

impl QuoteKeys {
    /// Reads the keys. The one that comes from the token key is always known: whoever has that may do
    /// anything anyway.
    ///
    /// # Errors
    /// When a file cannot be read or holds no secret; the message says which.
    pub fn open(
        config: &SigningConfig,
        tokens: &TokenKeys,
        lifetime_max: Duration,
    ) -> anyhow::Result<QuoteKeys> {
        let mut keys = QuoteKeys {
            current: String::new(),
            known: HashMap::new(),
            unsigned_for: config.unsigned_for,
            lifetime_max,
        };
        keys.current = keys.know(&tokens.key_for(PURPOSE))?;
        for file in &config.old_key_files {
            keys.know(&secret("billing.quote_signing.old_key_files", file)?)?;
        }
        if let Some(file) = &config.key_file {
            keys.current = keys.know(&secret("billing.quote_signing.key_file", file)?)?;
        }
        Ok(keys)
    }

    /// Adds a key; its name.
    fn know(&mut self, secret: &[u8]) -> anyhow::Result<String> {
        let mac = Hmac::<Sha256>::new_from_slice(secret).context("a key has no length")?;
        // Of the key in use, not of the secret: who knows the name can try no secrets faster.
        let hash = mac.clone().chain_update(b"name").finalize().into_bytes();
        let name = hex(&hash[..NAME_BYTES]);
        self.known.insert(name.clone(), mac);
        Ok(name)
    }

    /// Signs a quote that ends then.
    pub fn sign(&self, quote: &Quote, expires_at: DateTime<Utc>) -> String {
        let mac = self.known[&self.current].clone();
        let mac = mac.chain_update(said(&self.current, quote, expires_at));
        format!("{}.{}", self.current, hex(&mac.finalize().into_bytes()))
    }

    /// Whether a kept quote is one of ours, as it was made. An unsigned one is, where the database has not
    /// signed any for long.
    pub fn is_genuine(&self, kept: &Kept, signing_since: DateTime<Utc>) -> bool {
        let Some(signature) = &kept.signature else {
            let later = |from: DateTime<Utc>, by| {
                from.checked_add_signed(TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX))
            };
            // Later than it could have been made to last, its times were changed as well.
            return later(signing_since, self.unsigned_for)
                .is_none_or(|until| kept.created_at < until)
                && later(kept.created_at, self.lifetime_max)
                    .is_none_or(|latest| kept.expires_at <= latest);
        };
        let Some((name, code)) = signature.split_once('.') else {
            return false;
        };
        let Some(mac) = self.known.get(name).cloned() else {
            return false;
        };
        let mac = mac.chain_update(said(name, &kept.quote, kept.expires_at));
        // Compared in constant time.
        bytes_of_hex(code).is_some_and(|code| mac.verify_slice(&code).is_ok())
    }
}

/// Everything a quote says, each thing with its length, so that no two quotes say the same.
fn said(key: &str, quote: &Quote, expires_at: DateTime<Utc>) -> Vec<u8> {
    let mut said = Vec::with_capacity(512);
    let mut say = |field: &[u8]| {
        said.extend((field.len() as u64).to_be_bytes());
        said.extend(field);
    };
    say(DOMAIN);
    say(key.as_bytes());
    say(quote.id.0.as_bytes());
    say(quote.product.as_str().as_bytes());
    say(quote.tariff_version.as_bytes());
    say(quote.currency.as_str().as_bytes());
    let lines = [&quote.lines, &quote.cancellation_fee, &quote.no_show_fee];
    for (kind, minor) in lines.iter().flat_map(|lines| lines.each()) {
        if kind != FareLineKind::Toll {
            say(&minor.to_be_bytes());
        }
    }
    for number in [
        quote.total_minor,
        quote.distance_meters,
        quote.duration_ms,
        quote.platform_share_basis_points,
        quote.surge_percent,
        expires_at.timestamp_micros(),
    ] {
        say(&number.to_be_bytes());
    }
    // Said only where there is one: quotes of before there were tolls stay genuine.
    if quote.lines.toll_minor != 0 {
        say(b"toll");
        say(&quote.lines.toll_minor.to_be_bytes());
    }
    said
}

/// The secret in a file.
fn secret(setting: &str, file: &Path) -> anyhow::Result<Vec<u8>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("{setting}: cannot read {}", file.display()))?;
    let text = text.trim();
    anyhow::ensure!(
        text.len() >= SECRET_BYTES_MIN && text.chars().all(|c| c.is_ascii_graphic()),
        "{setting}: {} does not hold one line of at least {SECRET_BYTES_MIN} plain characters",
        file.display()
    );
    Ok(Sha256::digest(text).to_vec())
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hex digits stand for.
pub(crate) fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{quote::Asked, tariff};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 123_456_000).unwrap()
    }

    fn keys(config: &SigningConfig) -> QuoteKeys {
        QuoteKeys::open(config, &TokenKeys::generate(), DAY).unwrap()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn kept() -> Kept {
        let config = crate::Config::default();
        let asked = Asked {
            product: "economy".parse().unwrap(),
            distance_meters: 5_100,
            duration_ms: 600_000,
            pickup: None,
            dropoff: None,
            pickup_at: None,
            extra_stops: 1,
            surge_percent: 120,
            waiting_ms: 0,
            way: Vec::new(),
            toll_minor: 0,
            tariff_version: None,
        };
        let tariff = tariff::in_force(&config.tariffs, at(0)).unwrap();
        Kept {
            quote: Quote::under(tariff, config.currency, &asked, at(0)).unwrap(),
            created_at: at(0),
            expires_at: at(600),
            signature: None,
        }
    }

    fn signed(keys: &QuoteKeys) -> Kept {
        let mut kept = kept();
        kept.signature = Some(keys.sign(&kept.quote, kept.expires_at));
        kept
    }

    #[test]
    fn whatever_is_changed_is_seen() {
        let keys = keys(&SigningConfig::default());
        let kept = signed(&keys);
        assert!(keys.is_genuine(&kept, at(0)));
        let changes: [fn(&mut Kept); 19] = [
            |kept| kept.quote.id.0 = uuid::Uuid::nil(),
            |kept| kept.quote.product = "van".parse().unwrap(),
            |kept| kept.quote.tariff_version.push('x'),
            |kept| kept.quote.currency = "CHF".parse().unwrap(),
            |kept| kept.quote.total_minor -= 1,
            |kept| kept.quote.distance_meters += 1,
            |kept| kept.quote.duration_ms += 1,
            |kept| kept.quote.platform_share_basis_points += 1,
            |kept| kept.quote.surge_percent += 1,
            |kept| kept.expires_at += TimeDelta::microseconds(1),
            |kept| kept.quote.cancellation_fee.tax_minor += 1,
            |kept| kept.quote.no_show_fee.no_show_fee_minor += 1,
            |kept| kept.signature = Some(String::new()),
            |kept| kept.signature = kept.signature.take().map(|text| text.replace('.', ":")),
            |kept| kept.signature = kept.signature.take().map(|text| text[1..].to_owned()),
            |kept| {
                kept.signature = kept
                    .signature
                    .take()
                    .map(|text| text[..text.len() - 2].to_owned());
            },
            |kept| kept.signature = kept.signature.take().map(|text| text + "00"),
            // From one line to another: the sum stays.
            |kept| {
                kept.quote.lines.base_minor -= 1;
                kept.quote.lines.booking_fee_minor += 1;
            },
            |kept| {
                kept.quote.lines.base_minor -= 1;
                kept.quote.lines.toll_minor += 1;
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = kept.clone();
            change(&mut other);
            assert_ne!(other, kept, "change {number}");
            assert!(!keys.is_genuine(&other, at(0)), "change {number}");
        }
        let elsewhere = QuoteKeys::open(&SigningConfig::default(), &TokenKeys::generate(), DAY);
        assert!(!elsewhere.unwrap().is_genuine(&kept, at(0)));
    }

    #[test]
    fn a_quote_without_a_toll_says_what_it_said_before_there_were_tolls() {
        let fields = |quote: &Quote| {
            let said = said("key", quote, at(600));
            let (mut rest, mut fields) = (said.as_slice(), Vec::new());
            while let Some((length, behind)) = rest.split_first_chunk::<8>() {
                let length = usize::try_from(u64::from_be_bytes(*length)).unwrap();
                let (field, behind) = behind.split_at(length);
                fields.push(field.to_vec());
                rest = behind;
            }
            fields
        };
        let mut quote = kept().quote;
        let before = fields(&quote);
        // Domain, key, id, product, tariff, currency; three times 13 lines; six numbers.
        assert_eq!(before.len(), 6 + 3 * 13 + 6);
        quote.lines.toll_minor = 7;
        let with_toll = fields(&quote);
        assert_eq!(with_toll[..before.len()], before);
        let toll = [b"toll".to_vec(), 7_i64.to_be_bytes().to_vec()];
        assert_eq!(with_toll[before.len()..], toll);
    }

    #[test]
    fn keys_change_while_what_they_signed_is_good() {
        let tokens = TokenKeys::generate();
        let open = |config: &SigningConfig| QuoteKeys::open(config, &tokens, DAY).unwrap();
        let (first, second) = (
            file(&"a".repeat(32)),
            file(&format!("{}\n", "b".repeat(40))),
        );
        let made_from_tokens = open(&SigningConfig::default());
        let with_first = open(&SigningConfig {
            key_file: Some(first.path().to_owned()),
            ..SigningConfig::default()
        });
        let with_both = open(&SigningConfig {
            key_file: Some(second.path().to_owned()),
            old_key_files: vec![first.path().to_owned()],
            ..SigningConfig::default()
        });
        let with_second = open(&SigningConfig {
            key_file: Some(second.path().to_owned()),
            ..SigningConfig::default()
        });
        let genuine = |keys: &QuoteKeys, by: &QuoteKeys| keys.is_genuine(&signed(by), at(0));
        assert!(genuine(&with_first, &made_from_tokens));
        assert!(genuine(&with_both, &made_from_tokens));
        assert!(genuine(&with_both, &with_first));
        assert!(genuine(&with_both, &with_second));
        assert!(genuine(&with_second, &with_both), "the newest one signs");
        assert!(!genuine(&with_second, &with_first), "it is forgotten");
        assert!(!genuine(&made_from_tokens, &with_first));
        // A name belongs to what is signed: one key's code under another's name is nothing.
        let mut kept = signed(&with_first);
        let code = kept.signature.as_ref().unwrap().split_once('.').unwrap().1;
        kept.signature = Some(format!("{}.{code}", with_second.current));
        assert!(!with_both.is_genuine(&kept, at(0)));
    }

    #[test]
    fn an_unsigned_quote_is_good_for_a_while_after_signing_began() {
        let keys = keys(&SigningConfig {
            unsigned_for: Duration::from_secs(100),
            ..SigningConfig::default()
        });
        let kept = kept();
        assert!(keys.is_genuine(&kept, at(1)));
        assert!(keys.is_genuine(&kept, at(-99)));
        assert!(!keys.is_genuine(&kept, at(-100)));
        let mut lasting = kept;
        lasting.expires_at = at(24 * 60 * 60);
        assert!(keys.is_genuine(&lasting, at(0)));
        lasting.expires_at = at(24 * 60 * 60 + 1);
        assert!(!keys.is_genuine(&lasting, at(0)));
    }

    #[test]
    fn a_weak_or_missing_secret_is_refused_by_its_setting() {
        let refusal = |file: &Path| {
            let config = SigningConfig {
                key_file: Some(file.to_owned()),
                ..SigningConfig::default()
            };
            let refused = QuoteKeys::open(&config, &TokenKeys::generate(), DAY);
            format!("{:#}", refused.unwrap_err())
        };
        for text in [String::new(), "a".repeat(31), "a ".repeat(40)] {
            let file = file(&text);
            let refusal = refusal(file.path());
            assert!(refusal.contains("quote_signing.key_file"), "{refusal}");
            assert!(
                text.is_empty() || !refusal.contains(text.trim()),
                "{refusal}"
            );
        }
        assert!(refusal(Path::new("/nowhere")).contains("cannot read /nowhere"));
    }
}
