//! What proto3 JSON forbids and the reader of [`crate::transcode`] lets through: a field named twice,
//! texts that are numbers in Rust only, whole numbers that would be rounded. And what it allows and the
//! reader does not know: whole numbers in quotes with an exponent (`"1e3"`).
//!
//! The body is walked beside its descriptor once, before it is read. In the rare case of quoted
//! exponents it is written anew.

use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// How a refusal of a field that was there before begins, up to its name in quotes.
pub const TWICE: &str = "duplicate field name '";

/// What a place in the JSON must be.
#[derive(Clone)]
enum Place {
    Message(MessageDescriptor),
    /// Any JSON, whose objects name every member once.
    Free,
    /// A time or a duration, to the nanosecond.
    Time,
    List(Box<Place>),
    Map(Box<Place>),
    Scalar(Kind),
}

/// Whether something was seen that has to be written anew.
#[derive(Default)]
pub struct Seen {
    exponent: Cell<bool>,
}

impl Seen {
    /// Whether a whole number stands in quotes with an exponent.
    pub fn quoted_exponent(&self) -> bool {
        self.exponent.get()
    }
}

/// Walks a body; the error's words are for the caller.
pub struct Walk<'a> {
    place: Place,
    seen: &'a Seen,
}

impl<'a> Walk<'a> {
    /// A walk beside a message.
    pub fn of(message: &MessageDescriptor, seen: &'a Seen) -> Walk<'a> {
        Walk {
            place: Place::of_message(message.clone()),
            seen,
        }
    }
}

impl Place {
    fn of_message(message: MessageDescriptor) -> Place {
        match message.full_name() {
            "google.protobuf.Any"
            | "google.protobuf.Struct"
            | "google.protobuf.Value"
            | "google.protobuf.ListValue"
            | "google.protobuf.FieldMask" => Place::Free,
            "google.protobuf.Timestamp" | "google.protobuf.Duration" => Place::Time,
            name if name.starts_with("google.protobuf.") && name.ends_with("Value") => message
                .get_field_by_name("value")
                .map_or(Place::Free, |field| Place::Scalar(field.kind())),
            _ => Place::Message(message),
        }
    }

    fn of_kind(kind: Kind) -> Place {
        match kind {
            Kind::Message(message) => Place::of_message(message),
            other => Place::Scalar(other),
        }
    }

    fn of(field: &FieldDescriptor) -> Place {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = entry.get_field_by_name("value");
                let value = value.map_or(Place::Free, |value| Place::of_kind(value.kind()));
                Place::Map(Box::new(value))
            }
            kind if field.is_list() => Place::List(Box::new(Place::of_kind(kind))),
            kind => Place::of_kind(kind),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        let Place::Scalar(kind) = &self.place else {
            return Ok(());
        };
        match bounds(kind) {
            // What is no whole number is refused by the reader.
            Some(Bounds { below, from }) if number.fract() == 0.0 => {
                if number >= from && number < below {
                    Ok(())
                } else {
                    Err(E::custom("number out of range"))
                }
            }
            _ => Ok(()),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if let Place::Time = &self.place {
            return if is_to_the_nanosecond(text) {
                Ok(())
            } else {
                Err(E::custom("more than nine digits of a second"))
            };
        }
        let Place::Scalar(kind) = &self.place else {
            return Ok(());
        };
        match kind {
            Kind::Double | Kind::Float => real(kind, text).map_err(E::custom),
            kind if bounds(kind).is_some() => {
                if !is_number(text) {
                    return Err(E::custom("the text is not a number as JSON writes them"));
                }
                if text.contains(['e', 'E', '.']) {
                    whole(text).ok_or_else(|| E::custom("expected a whole number"))?;
                    self.seen.exponent.set(true);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let place = match self.place {
            Place::List(inner) => *inner,
            // The reader says that this is no place for a list.
            _ => Place::Free,
        };
        let seen = self.seen;
        while let Some(()) = items.next_element_seed(Walk {
            place: place.clone(),
            seen,
        })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let seen = self.seen;
        let Place::Message(message) = self.place else {
            let place = match self.place {
                Place::Map(inner) => *inner,
                _ => Place::Free,
            };
            let mut names = HashSet::new();
            while let Some(name) = members.next_key::<Name<'de>>()? {
                once(&mut names, name.0)?;
                let place = place.clone();
                members.next_value_seed(Walk { place, seen })?;
            }
            return Ok(());
        };
        let mut fields: Vec<u32> = Vec::with_capacity(8);
        let mut others = HashSet::new();
        while let Some(name) = members.next_key::<Name<'de>>()? {
            let name = name.0;
            let field = message
                .get_field_by_json_name(&name)
                .or_else(|| message.get_field_by_name(&name));
            let Some(field) = field else {
                // Whether it may be there is for the reader to say.
                once(&mut others, name)?;
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            if fields.contains(&field.number()) {
                return Err(A::Error::custom(format_args!("{TWICE}{name}'")));
            }
            fields.push(field.number());
            let place = Place::of(&field);
            members.next_value_seed(Walk { place, seen })?;
        }
        Ok(())
    }
}

fn once<'de, E: Error>(names: &mut HashSet<Cow<'de, str>>, name: Cow<'de, str>) -> Result<(), E> {
    match names.get(&name) {
        Some(name) => Err(E::custom(format_args!("{TWICE}{name}'"))),
        None => {
            names.insert(name);
            Ok(())
        }
    }
}

/// A name, borrowed where it was written without escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        from.deserialize_str(Reader)
    }
}

struct Bounds {
    from: f64,
    below: f64,
}

/// The range of a whole number, as doubles that are exact.
fn bounds(kind: &Kind) -> Option<Bounds> {
    let (from, below) = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => (-2_147_483_648.0, 2_147_483_648.0),
        Kind::Uint32 | Kind::Fixed32 => (0.0, 4_294_967_296.0),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            (-9_223_372_036_854_775_808.0, 9_223_372_036_854_775_808.0)
        }
        Kind::Uint64 | Kind::Fixed64 => (0.0, 18_446_744_073_709_551_616.0),
        _ => return None,
    };
    Some(Bounds { from, below })
}

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

/// Whether a text stands for a real number that fits.
fn real(kind: &Kind, text: &str) -> Result<(), &'static str> {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return Ok(());
    }
    if !is_number(text) {
        return Err("the text is not a number as JSON writes them");
    }
    let value: f64 = text.parse().map_err(|_| "the text is not a number")?;
    let fits = match kind {
        Kind::Float => value.abs() <= f64::from(f32::MAX),
        _ => value.is_finite(),
    };
    if fits {
        Ok(())
    } else {
        Err("number out of range")
    }
}

/// Writes a body anew, with whole numbers in quotes that have no exponent.
pub fn rewritten(message: &MessageDescriptor, mut body: Value) -> Value {
    fix(&Place::of_message(message.clone()), &mut body);
    body
}

fn fix(place: &Place, value: &mut Value) {
    match (place, value) {
        (Place::Message(message), Value::Object(members)) => {
            for (name, value) in members {
                let field = message
                    .get_field_by_json_name(name)
                    .or_else(|| message.get_field_by_name(name));
                if let Some(field) = field {
                    fix(&Place::of(&field), value);
                }
            }
        }
        (Place::Map(inner), Value::Object(members)) => {
            members.values_mut().for_each(|value| fix(inner, value));
        }
        (Place::List(inner), Value::Array(items)) => {
            items.iter_mut().for_each(|value| fix(inner, value));
        }
        (Place::Scalar(kind), Value::String(text)) if bounds(kind).is_some() => {
            if let Some(number) = whole(text) {
                *text = number.to_string();
            }
        }
        _ => {}
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
