//! The `Stripe-Signature` of an event: `t=` when it was signed, and `v1=` an HMAC-SHA256 of that time, a dot
//! and the message. There may be several while a secret is being changed.

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::{
    provider::EventError,
    signing::{bytes_of_hex, hex},
};

/// How long ago, or how far ahead, an event may have been signed, seconds.
const TOLERANCE_SECONDS: i64 = 5 * 60;

/// Whether `payload` was signed with `secret` at about `now`.
pub(in crate::provider) fn verify(
    secret: &[u8],
    payload: &[u8],
    header: &str,
    now: DateTime<Utc>,
) -> Result<(), EventError> {
    let mut signed_at = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", time)) => signed_at = Some(time),
            Some(("v1", signature)) => signatures.extend(bytes_of_hex(signature)),
            _ => {}
        }
    }
    let signed_at = signed_at.ok_or(EventError::Forged)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| EventError::Forged)?;
    mac.update(signed_at.as_bytes());
    mac.update(b".");
    mac.update(payload);
    // Compared in constant time.
    let is_theirs = |signature: &Vec<u8>| mac.clone().verify_slice(signature).is_ok();
    if !signatures.iter().any(is_theirs) {
        return Err(EventError::Forged);
    }
    let signed_at: i64 = signed_at.parse().map_err(|_| EventError::Forged)?;
    let age = now.timestamp().saturating_sub(signed_at);
    if !(-TOLERANCE_SECONDS..=TOLERANCE_SECONDS).contains(&age) {
        return Err(EventError::Stale);
    }
    Ok(())
}

/// Signs `payload` as at that time.
pub(in crate::provider) fn sign(secret: &[u8], payload: &[u8], at: DateTime<Utc>) -> String {
    let at = at.timestamp();
    let signed = format!("{at}.");
    let code = Hmac::<Sha256>::new_from_slice(secret)
        .map(|mac| mac.chain_update(signed).chain_update(payload))
        .map(|mac| mac.finalize().into_bytes())
        .unwrap_or_default();
    format!("t={at},v1={}", hex(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"whsec_test";
    const PAYLOAD: &[u8] = br#"{"id":"evt_1"}"#;
    // printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
    const SIGNATURE: &str = "c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn what_is_signed_at_about_now_is_theirs() {
        let header = format!("t=1700000000,v1={SIGNATURE}");
        for now in [1_700_000_000, 1_700_000_300, 1_699_999_700] {
            assert_eq!(verify(SECRET, PAYLOAD, &header, at(now)), Ok(()));
        }
        let other = format!("t=1700000000,v0=00,v1=00, v1={SIGNATURE}");
        assert_eq!(verify(SECRET, PAYLOAD, &other, at(1_700_000_000)), Ok(()));
        for now in [1_700_000_301, 1_699_999_699] {
            assert_eq!(
                verify(SECRET, PAYLOAD, &header, at(now)),
                Err(EventError::Stale)
            );
        }
    }

    #[test]
    fn what_was_changed_or_is_not_signed_is_forged() {
        let header = format!("t=1700000000,v1={SIGNATURE}");
        let now = at(1_700_000_000);
        assert_eq!(
            verify(b"other", PAYLOAD, &header, now),
            Err(EventError::Forged)
        );
        assert_eq!(verify(SECRET, b"{}", &header, now), Err(EventError::Forged));
        for header in [
            String::new(),
            "t=1700000000".to_owned(),
            format!("v1={SIGNATURE}"),
            format!("t=1700000001,v1={SIGNATURE}"),
            format!("t=1700000000,v0={SIGNATURE}"),
            format!("t=1700000000,v1={}", &SIGNATURE[1..]),
            "t=1700000000,v1=zz".to_owned(),
        ] {
            assert_eq!(
                verify(SECRET, PAYLOAD, &header, now),
                Err(EventError::Forged),
                "{header}"
            );
        }
    }
}
