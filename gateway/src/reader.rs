//! Proto3 JSON as messages, in one pass.
//!
//! The library has a reader of its own. It lets through what proto3 JSON forbids (a field named twice,
//! texts that are numbers in Rust only, whole numbers that would be rounded) and refuses some of what that
//! allows (whole numbers in quotes with an exponent, `"1e3"`; an `Any` that holds nothing). So only the
//! texts of times, durations and masks are left to it, and `Struct`.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fmt,
};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value, prost::Message,
};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor, value::CowStrDeserializer,
};
use serde_json::{Value as Json, value::RawValue};

use crate::{
    number,
    transcode::Unknown,
    writer::{Form, inside, is_null, is_value_inside},
};

/// How a refusal of a field that was there before begins, up to its name in quotes.
pub const TWICE: &str = "duplicate field name '";
/// How a refusal of a field that nobody declared begins, up to its name in quotes.
pub const UNRECOGNIZED: &str = "unrecognized field name '";

/// A message to be read; the error's words are for the caller.
pub struct Read<'a> {
    /// What is read.
    pub message: &'a MessageDescriptor,
    /// What becomes of fields and names of enums that nobody declared.
    pub unknown: Unknown,
}

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = DynamicMessage;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<DynamicMessage, D::Error> {
        let Read { message, unknown } = self;
        match Form::of(message) {
            Form::Fields => from.deserialize_map(Members { message, unknown }),
            Form::Wrapper => {
                let mut wrapper = DynamicMessage::new(message.clone());
                if let Some(field) = message.get_field(1) {
                    let kind = &field.kind();
                    let value = One { kind, unknown }.deserialize(from)?;
                    if let Some(value) = value {
                        wrapper.set_field(&field, value);
                    }
                }
                Ok(wrapper)
            }
            Form::Timestamp | Form::Duration | Form::FieldMask => {
                from.deserialize_str(Text(message))
            }
            Form::Free => message
                .clone()
                .deserialize(Free.deserialize(from)?)
                .map_err(D::Error::custom),
            Form::Any => match Free.deserialize(from)? {
                Json::Object(members) => any(message, members, unknown).map_err(D::Error::custom),
                other => Err(D::Error::invalid_type(unexpected(&other), &"a map")),
            },
        }
    }
}

/// The members of an object.
struct Members<'a> {
    message: &'a MessageDescriptor,
    unknown: Unknown,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = DynamicMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<DynamicMessage, A::Error> {
        let Members { message, unknown } = self;
        let mut read = DynamicMessage::new(message.clone());
        let mut seen: Vec<u32> = Vec::with_capacity(8);
        let mut others = HashSet::new();
        while let Some(Name(name)) = members.next_key()? {
            let field = message
                .get_field_by_json_name(&name)
                .or_else(|| message.get_field_by_name(&name));
            let Some(field) = field else {
                if unknown == Unknown::Refuse {
                    return Err(A::Error::custom(format_args!("{UNRECOGNIZED}{name}'")));
                }
                if let Some(name) = others.replace(name) {
                    return Err(twice(&name));
                }
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen.contains(&field.number()) {
                return Err(twice(&name));
            }
            seen.push(field.number());
            let place = Place {
                field: &field,
                unknown,
            };
            let Some(value) = members.next_value_seed(place)? else {
                continue;
            };
            if let Some(choice) = field.containing_oneof()
                && choice.fields().any(|other| read.has_field(&other))
            {
                let name = choice.name();
                let told = format_args!("multiple fields provided for oneof '{name}'");
                return Err(A::Error::custom(told));
            }
            read.set_field(&field, value);
        }
        Ok(read)
    }
}

fn twice<E: Error>(name: &str) -> E {
    E::custom(format_args!("{TWICE}{name}'"))
}

/// A name, borrowed where it was written without escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
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

/// What a field holds; `None` when it is absent.
struct Place<'a> {
    field: &'a FieldDescriptor,
    unknown: Unknown,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        from.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Value>, E> {
        self.visit_none()
    }

    fn visit_none<E: Error>(self) -> Result<Option<Value>, E> {
        let kind = &self.field.kind();
        let unknown = self.unknown;
        if !self.field.is_list() && !self.field.is_map() && holds_null(kind) {
            let null = Json::Null;
            return One { kind, unknown }.deserialize(null).map_err(E::custom);
        }
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        let kind = &self.field.kind();
        let unknown = self.unknown;
        match kind {
            Kind::Message(entry) if self.field.is_map() => {
                from.deserialize_any(Entries { entry, unknown }).map(Some)
            }
            kind if self.field.is_list() => from.deserialize_any(Items { kind, unknown }).map(Some),
            kind => One { kind, unknown }.deserialize(from),
        }
    }
}

/// Whether `null` is a value of it, and not its absence.
fn holds_null(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value",
        Kind::Enum(known) => is_null(known),
        _ => false,
    }
}

/// A list's items.
struct Items<'a> {
    kind: &'a Kind,
    unknown: Unknown,
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Items { kind, unknown } = self;
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(One { kind, unknown })? {
            read.extend(item);
        }
        Ok(Value::List(read))
    }
}

/// A map's entries.
struct Entries<'a> {
    entry: &'a MessageDescriptor,
    unknown: Unknown,
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let unknown = self.unknown;
        let of_key = self.entry.map_entry_key_field().kind();
        let kind = &self.entry.map_entry_value_field().kind();
        let mut read = HashMap::new();
        let mut left_out = HashSet::new();
        while let Some(Name(name)) = members.next_key()? {
            let key = key(&of_key, &name).map_err(A::Error::custom)?;
            if read.contains_key(&key) || left_out.contains(&key) {
                return Err(twice(&name));
            }
            match members.next_value_seed(One { kind, unknown })? {
                Some(value) => {
                    read.insert(key, value);
                }
                None => {
                    left_out.insert(key);
                }
            }
        }
        Ok(Value::Map(read))
    }
}

fn key(kind: &Kind, name: &str) -> Result<MapKey, &'static str> {
    match kind {
        Kind::String => return Ok(MapKey::String(name.to_owned())),
        Kind::Bool => {
            return match name {
                "true" => Ok(MapKey::Bool(true)),
                "false" => Ok(MapKey::Bool(false)),
                _ => Err("a key is not true or false"),
            };
        }
        _ => {}
    }
    let whole = number::whole_of(name)?;
    match number::integer(kind, whole) {
        Some(Value::I32(key)) => Ok(MapKey::I32(key)),
        Some(Value::I64(key)) => Ok(MapKey::I64(key)),
        Some(Value::U32(key)) => Ok(MapKey::U32(key)),
        Some(Value::U64(key)) => Ok(MapKey::U64(key)),
        _ => Err(OUT_OF_RANGE),
    }
}

const OUT_OF_RANGE: &str = "number out of range";

/// One value; `None` for an enum's name that nobody declared, where those are left out.
struct One<'a> {
    kind: &'a Kind,
    unknown: Unknown,
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        match self.kind {
            Kind::Message(message) => {
                let unknown = self.unknown;
                let read = Read { message, unknown }.deserialize(from)?;
                Ok(Some(Value::Message(read)))
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                self.exact(from)
            }
            _ => from.deserialize_any(self),
        }
    }
}

impl One<'_> {
    /// A whole number of 64 bits, by its text: as a double it would be rounded.
    fn exact<'de, D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        let raw = raw.get();
        if !raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            let read: Json = serde_json::from_str(raw).map_err(D::Error::custom)?;
            return match &read {
                Json::String(text) => self.visit_str(text),
                other => Err(D::Error::invalid_type(unexpected(other), &self)),
            };
        }
        self.whole(number::whole_of(raw).map_err(D::Error::custom)?)
    }

    fn is_real(&self) -> bool {
        matches!(self.kind, Kind::Double | Kind::Float)
    }

    fn is_whole(&self) -> bool {
        !self.is_real() && !matches!(self.kind, Kind::Bool | Kind::String | Kind::Bytes)
    }

    fn real<E: Error>(&self, number: f64) -> Result<Option<Value>, E> {
        if let Kind::Double = self.kind {
            return Ok(Some(Value::F64(number)));
        }
        let narrow = number::narrow(number).ok_or_else(|| E::custom(OUT_OF_RANGE))?;
        Ok(Some(Value::F32(narrow)))
    }

    fn whole<E: Error>(&self, number: i128) -> Result<Option<Value>, E> {
        let value = match self.kind {
            Kind::Enum(_) => number.try_into().ok().map(Value::EnumNumber),
            kind => number::integer(kind, number),
        };
        value.map(Some).ok_or_else(|| E::custom(OUT_OF_RANGE))
    }
}

impl Visitor<'_> for One<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Double | Kind::Float => "a number",
            Kind::Bool => "a boolean",
            Kind::String => "a string",
            Kind::Bytes => "a base64-encoded string",
            Kind::Enum(known) if is_null(known) => "null",
            Kind::Enum(_) => "a name or a number",
            _ => "a whole number",
        })
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<Value>, E> {
        match self.kind {
            Kind::Bool => Ok(Some(Value::Bool(value))),
            _ => Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Value>, E> {
        match self.kind {
            Kind::Enum(known) if is_null(known) => Ok(Some(Value::EnumNumber(0))),
            _ => Err(E::invalid_type(Unexpected::Other("null"), &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<Value>, E> {
        match self.kind {
            #[allow(clippy::cast_precision_loss)]
            _ if self.is_real() => self.real(number as f64),
            _ if self.is_whole() => self.whole(number.into()),
            _ => Err(E::invalid_type(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<Value>, E> {
        match self.kind {
            #[allow(clippy::cast_precision_loss)]
            _ if self.is_real() => self.real(number as f64),
            _ if self.is_whole() => self.whole(number.into()),
            _ => Err(E::invalid_type(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<Value>, E> {
        match self.kind {
            _ if self.is_real() => self.real(number),
            _ if !self.is_whole() => Err(E::invalid_type(Unexpected::Float(number), &self)),
            _ if number.fract() != 0.0 => Err(E::custom(number::NOT_WHOLE)),
            // What is beyond 128 bits becomes the end of them, which is out of range as well.
            #[allow(clippy::cast_possible_truncation)]
            _ => self.whole(number as i128),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<Value>, E> {
        match self.kind {
            Kind::String => Ok(Some(Value::String(text.to_owned()))),
            Kind::Bytes => base64(text).map(|bytes| Some(Value::Bytes(bytes.into()))),
            Kind::Bool => Err(E::invalid_type(Unexpected::Str(text), &self)),
            Kind::Double | Kind::Float => match number::real(text) {
                Some(number) => self.real(number),
                None if number::is_number(text) => Err(E::custom(OUT_OF_RANGE)),
                None => Err(E::custom(number::NO_NUMBER)),
            },
            Kind::Enum(known) => match known.get_value_by_name(text) {
                Some(value) => Ok(Some(Value::EnumNumber(value.number()))),
                None if self.unknown == Unknown::Ignore => Ok(None),
                None => Err(E::custom(format_args!("unrecognized enum value '{text}'"))),
            },
            _ => self.whole(number::whole_of(text).map_err(E::custom)?),
        }
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Option<Value>, E> {
        match self.kind {
            Kind::String => Ok(Some(Value::String(text))),
            _ => self.visit_str(&text),
        }
    }
}

/// Bytes in either alphabet, padded or not.
fn base64<E: Error>(text: &str) -> Result<Vec<u8>, E> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    let engine = if text.contains(['-', '_']) {
        URL_SAFE
    } else {
        STANDARD
    };
    let read = engine.decode(text);
    read.map_err(|error| E::custom(format_args!("invalid base64: {error}")))
}

/// A message that is one text.
struct Text<'a>(&'a MessageDescriptor);

impl Visitor<'_> for Text<'_> {
    type Value = DynamicMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match Form::of(self.0) {
            Form::Timestamp => "a time like 2026-01-31T12:00:00Z",
            Form::Duration => "a duration like 1.5s",
            _ => "names of fields with commas",
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<DynamicMessage, E> {
        of_text(self.0, text)
    }
}

/// A time, a duration or a mask of fields. What the library would cut off or move to another second is
/// refused.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn of_text<E: Error>(
    message: &MessageDescriptor,
    text: &str,
) -> Result<DynamicMessage, E> {
    let form = Form::of(message);
    if form != Form::FieldMask && !number::is_to_the_nanosecond(text) {
        return Err(E::custom("more than nine digits of a second"));
    }
    if form == Form::Timestamp && text.get(17..19) == Some("60") {
        return Err(E::custom("a leap second is no time here"));
    }
    let text: CowStrDeserializer<'_, E> = Cow::Borrowed(text).into_deserializer();
    DynamicMessage::deserialize(message.clone(), text)
}

/// An `Any`, which is empty or names its type.
fn any(
    message: &MessageDescriptor,
    mut members: serde_json::Map<String, Json>,
    unknown: Unknown,
) -> Result<DynamicMessage, serde_json::Error> {
    let mut any = DynamicMessage::new(message.clone());
    if members.is_empty() {
        return Ok(any);
    }
    let Some(Json::String(url)) = members.remove("@type") else {
        return Err(Error::custom("expected the '@type' of what it holds"));
    };
    let inner = inside(message, &url).map_err(Error::custom)?;
    let json = if Form::of(&inner) == Form::Fields {
        // Of nothing there is nothing to say, in either place.
        match is_value_inside(&inner).then(|| members.remove("value")) {
            Some(Some(value)) if members.is_empty() => value,
            _ => Json::Object(members),
        }
    } else {
        let value = members.remove("value");
        if let Some(name) = members.keys().next().filter(|_| unknown == Unknown::Refuse) {
            return Err(Error::custom(format_args!("{UNRECOGNIZED}{name}'")));
        }
        value.ok_or_else(|| Error::custom("expected a 'value'"))?
    };
    let message = &inner;
    let held = Read { message, unknown }.deserialize(json)?;
    any.set_field_by_number(1, Value::String(url));
    any.set_field_by_number(2, Value::Bytes(held.encode_to_vec().into()));
    Ok(any)
}

/// Any JSON, whose objects name every member once.
struct Free;

impl<'de> DeserializeSeed<'de> for Free {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Free {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(Free)? {
            read.push(item);
        }
        Ok(read.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut read = serde_json::Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if read.contains_key(&name) {
                return Err(twice(&name));
            }
            read.insert(name, members.next_value_seed(Free)?);
        }
        Ok(read.into())
    }
}

fn unexpected(json: &Json) -> Unexpected<'_> {
    match json {
        Json::Null => Unexpected::Unit,
        Json::Bool(value) => Unexpected::Bool(*value),
        Json::Number(_) => Unexpected::Other("number"),
        Json::String(text) => Unexpected::Str(text),
        Json::Array(_) => Unexpected::Seq,
        Json::Object(_) => Unexpected::Map,
    }
}
