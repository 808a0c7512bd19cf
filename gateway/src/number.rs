//! Numbers in texts, as proto3 JSON has them: what Rust would read and JSON does not write is none.
//! Bodies ([`crate::reader`]) and queries ([`crate::text`]) read them alike.

use prost_reflect::{Kind, Value};

/// A whole number as the value of a field; `None` where the field cannot hold it.
pub fn integer(kind: &Kind, number: i128) -> Option<Value> {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => number.try_into().ok().map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => number.try_into().ok().map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => number.try_into().ok().map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => number.try_into().ok().map(Value::U64),
        _ => None,
    }
}

/// A double as a float, rounded; `None` where it is beyond the largest. What is above that by less than
/// half a step is it: so it is written in short.
#[allow(clippy::cast_possible_truncation)]
pub fn narrow(wide: f64) -> Option<f32> {
    let narrow = wide as f32;
    (narrow.is_finite() || !wide.is_finite()).then_some(narrow)
}

/// A decimal number, or one of the three names that proto3 JSON has for what is none; `None` for other
/// texts and what no double can hold.
pub fn real(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if is_number(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// A text as a whole number; the error says what is wrong with it.
pub fn whole_of(text: &str) -> Result<i128, &'static str> {
    if is_number(text) {
        whole(text).ok_or(NOT_WHOLE)
    } else {
        Err(NO_NUMBER)
    }
}

/// What is told of a number that is not whole, or far beyond 64 bits.
pub const NOT_WHOLE: &str = "expected a whole number";

/// What is told of a text that is no number.
pub const NO_NUMBER: &str = "the text is not a number as JSON writes them";

/// Whether a time or a duration has nine digits of a second at most: more would be cut off.
pub fn is_to_the_nanosecond(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.bytes().take_while(u8::is_ascii_digit).count() <= 9
}

/// Whether a text is a number as JSON writes them: no plus, no leading zeros, no bare points.
pub fn is_number(text: &str) -> bool {
    fn digits(text: &str) -> &str {
        text.trim_start_matches(|c: char| c.is_ascii_digit())
    }
    let text = text.strip_prefix('-').unwrap_or(text);
    let after = digits(text);
    let whole = &text[..text.len() - after.len()];
    if whole.is_empty() || whole.len() > 1 && whole.starts_with('0') {
        return false;
    }
    let mut rest = after;
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = digits(fraction);
        if rest.len() == fraction.len() {
            return false;
        }
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        rest = digits(exponent);
        if rest.len() == exponent.len() {
            return false;
        }
    }
    rest.is_empty()
}

/// A number of JSON as the whole number it is, exactly; `None` where it is none, or far beyond 64 bits.
pub fn whole(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let mut digits = format!("{integer}{fraction}");
    let mut shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    while shift < 0 && digits.len() > 1 && digits.ends_with('0') {
        digits.pop();
        shift += 1;
    }
    let value: i128 = digits.parse().ok()?;
    match u32::try_from(shift) {
        _ if value == 0 => Some(0),
        Ok(shift @ 0..=38) => value.checked_mul(10_i128.checked_pow(shift)?),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_json() {
        for good in [
            "0",
            "-0",
            "7",
            "-12",
            "1.5",
            "0.0",
            "1e3",
            "1E+3",
            "2.50e-1",
            "123456789012345678901",
        ] {
            assert!(is_number(good), "{good}");
        }
        for bad in [
            "", "-", "+1", "01", "-01", ".5", "5.", "1e", "1e+", "0x1", "1 ", " 1", "1_0", "inf",
            "NaN", "1e5.0", "١",
        ] {
            assert!(!is_number(bad), "{bad}");
        }
    }

    #[test]
    fn whole_numbers_are_read_exactly() {
        for (text, expected) in [
            ("1e3", Some(1000)),
            ("1.5e1", Some(15)),
            ("-2.50E+2", Some(-250)),
            ("1000e-3", Some(1)),
            ("100.000", Some(100)),
            ("0e99999", Some(0)),
            ("9223372036854775807e0", Some(9_223_372_036_854_775_807)),
            ("1e-1", None),
            ("1.5", None),
            ("1e39", None),
            ("1e99999999999", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
    }
}
