//! Messages as proto3 JSON.
//!
//! What is no message is written here, and so is what the library writes otherwise than proto3 JSON has
//! it: numbers that are none in a wrapper (`"NaN"`, which would become `null`), an `Any` that holds
//! nothing, times and durations that are not valid (refused, where the library would repair them).

use base64::{display::Base64Display, prelude::BASE64_STANDARD};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, SerializeOptions, Value,
};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};

/// How proto3 JSON writes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An object of its fields.
    Fields,
    /// As its only field.
    Wrapper,
    /// The fields of the message inside, with its type.
    Any,
    Timestamp,
    Duration,
    FieldMask,
    /// Any JSON: `Struct`, `Value` or `ListValue`.
    Free,
}

impl Form {
    /// The form of a message.
    pub(crate) fn of(message: &MessageDescriptor) -> Form {
        let Some(name) = message.full_name().strip_prefix("google.protobuf.") else {
            return Form::Fields;
        };
        match name {
            "Any" => Form::Any,
            "Timestamp" => Form::Timestamp,
            "Duration" => Form::Duration,
            "FieldMask" => Form::FieldMask,
            "Struct" | "Value" | "ListValue" => Form::Free,
            "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
            | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => Form::Wrapper,
            _ => Form::Fields,
        }
    }
}

/// The message that an `Any` of this type holds; the error is for whoever wrote the type.
pub(crate) fn inside(any: &MessageDescriptor, url: &str) -> Result<MessageDescriptor, String> {
    let (_, name) = url
        .rsplit_once('/')
        .ok_or_else(|| format!("type {url:?} has no '/'"))?;
    any.parent_pool()
        .get_message_by_name(name)
        .ok_or_else(|| format!("type {name:?} is not known"))
}

/// Whether a message inside an `Any` is its `value`, and not beside its `@type`.
pub(crate) fn is_value_inside(message: &MessageDescriptor) -> bool {
    Form::of(message) != Form::Fields || message.full_name() == "google.protobuf.Empty"
}

/// Whether an enum is the one whose only value is `null`.
pub(crate) fn is_null(known: &EnumDescriptor) -> bool {
    known.full_name() == "google.protobuf.NullValue"
}

/// A message, to be written.
pub struct Json<'a>(pub &'a DynamicMessage);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let descriptor = message.descriptor();
        match Form::of(&descriptor) {
            Form::Fields => {
                let mut map = to.serialize_map(None)?;
                fields(&mut map, message, &descriptor)?;
                map.end()
            }
            Form::Wrapper => {
                let field = descriptor
                    .get_field(1)
                    .ok_or_else(|| S::Error::custom("no value"))?;
                let (value, kind) = (&*message.get_field(&field), &field.kind());
                Item { value, kind }.serialize(to)
            }
            Form::Any => any(message, &descriptor, to),
            form @ (Form::Timestamp | Form::Duration) => {
                is_valid(form, message).map_err(S::Error::custom)?;
                message.serialize_with_options(to, &SerializeOptions::new())
            }
            Form::FieldMask | Form::Free => {
                message.serialize_with_options(to, &SerializeOptions::new())
            }
        }
    }
}

fn fields<M: SerializeMap>(
    map: &mut M,
    message: &DynamicMessage,
    descriptor: &MessageDescriptor,
) -> Result<(), M::Error> {
    for field in descriptor.fields() {
        if !field.supports_presence() || message.has_field(&field) {
            let (value, kind) = (&*message.get_field(&field), &field.kind());
            map.serialize_entry(field.json_name(), &Item { value, kind })?;
        }
    }
    Ok(())
}

fn any<S: Serializer>(
    message: &DynamicMessage,
    descriptor: &MessageDescriptor,
    to: S,
) -> Result<S::Ok, S::Error> {
    let url = message.get_field_by_number(1);
    let url = url
        .as_ref()
        .and_then(|url| url.as_str())
        .unwrap_or_default();
    let held = message.get_field_by_number(2);
    let held = held.as_ref().and_then(|held| held.as_bytes());
    let held = held.cloned().unwrap_or_default();
    let mut map = to.serialize_map(None)?;
    if url.is_empty() && held.is_empty() {
        return map.end();
    }
    let inner = inside(descriptor, url).map_err(S::Error::custom)?;
    let content = DynamicMessage::decode(inner.clone(), held).map_err(S::Error::custom)?;
    map.serialize_entry("@type", url)?;
    if is_value_inside(&inner) {
        map.serialize_entry("value", &Json(&content))?;
    } else {
        fields(&mut map, &content, &inner)?;
    }
    map.end()
}

/// The nanoseconds of a time count forwards, those of a duration in its direction. The bounds of seconds
/// are the library's.
fn is_valid(form: Form, message: &DynamicMessage) -> Result<(), &'static str> {
    let number = |number| message.get_field_by_number(number);
    let seconds = number(1).and_then(|seconds| seconds.as_i64()).unwrap_or(0);
    let nanos = number(2).and_then(|nanos| nanos.as_i32()).unwrap_or(0);
    let valid = match form {
        Form::Timestamp => (0..1_000_000_000).contains(&nanos),
        _ => {
            nanos.unsigned_abs() < 1_000_000_000
                && i64::from(nanos.signum()) * seconds.signum() >= 0
        }
    };
    if valid {
        Ok(())
    } else {
        Err("its nanoseconds are not valid")
    }
}

/// What is written for a field that nobody set.
pub(crate) fn default_json(field: &FieldDescriptor) -> Result<Vec<u8>, serde_json::Error> {
    let (value, kind) = (&field.default_value(), &field.kind());
    serde_json::to_vec(&Item { value, kind })
}

/// What a field holds, or one of what it holds.
struct Item<'a> {
    value: &'a Value,
    kind: &'a Kind,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Bool(value) => to.serialize_bool(*value),
            Value::I32(value) => to.serialize_i32(*value),
            Value::U32(value) => to.serialize_u32(*value),
            Value::I64(value) => to.collect_str(value),
            Value::U64(value) => to.collect_str(value),
            Value::F32(value) if value.is_finite() => to.serialize_f32(*value),
            Value::F32(value) => to.serialize_str(no_number((*value).into())),
            Value::F64(value) if value.is_finite() => to.serialize_f64(*value),
            Value::F64(value) => to.serialize_str(no_number(*value)),
            Value::String(value) => to.serialize_str(value),
            Value::Bytes(value) => to.collect_str(&Base64Display::new(value, &BASE64_STANDARD)),
            Value::EnumNumber(number) => {
                let known = self.kind.as_enum();
                if known.is_some_and(is_null) {
                    return to.serialize_unit();
                }
                match known.and_then(|known| known.get_value(*number)) {
                    Some(value) => to.serialize_str(value.name()),
                    None => to.serialize_i32(*number),
                }
            }
            Value::Message(message) => Json(message).serialize(to),
            Value::List(values) => {
                let mut list = to.serialize_seq(Some(values.len()))?;
                for value in values {
                    let kind = self.kind;
                    list.serialize_element(&Item { value, kind })?;
                }
                list.end()
            }
            Value::Map(values) => {
                let entry = self.kind.as_message();
                let kind = entry.map(|entry| entry.map_entry_value_field().kind());
                let kind = &kind.ok_or_else(|| S::Error::custom("a map of no entries"))?;
                let mut map = to.serialize_map(Some(values.len()))?;
                for (key, value) in values {
                    map.serialize_entry(&Key(key), &Item { value, kind })?;
                }
                map.end()
            }
        }
    }
}

/// What proto3 JSON writes for what is no number.
pub(crate) fn no_number(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

struct Key<'a>(&'a MapKey);

impl Serialize for Key<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            MapKey::Bool(key) => to.collect_str(key),
            MapKey::I32(key) => to.collect_str(key),
            MapKey::I64(key) => to.collect_str(key),
            MapKey::U32(key) => to.collect_str(key),
            MapKey::U64(key) => to.collect_str(key),
            MapKey::String(key) => to.serialize_str(key),
        }
    }
}
