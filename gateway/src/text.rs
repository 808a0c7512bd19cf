//! Text onto fields: path variables, query parameters and headers are read into a request message
//! here. What a JSON body says is [`crate::transcode`]'s.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use jitney_proto::Code;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde::de::value::Error as TextError;
use tonic::Status;

use crate::{number, reader, template::decode};

/// The parameters of a query string, decoded, in their order.
pub fn parameters(query: &str) -> Result<Vec<(String, String)>, Status> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |text: &str| decode(&text.replace('+', " "), false);
            plain(name)
                .and_then(|name| Ok((name, plain(value)?)))
                .map_err(|_| {
                    Code::InvalidRequest.status(
                    "the query holds an escape that is not '%' and two hex digits, or not UTF-8",
                )
                })
        })
        .collect()
}

/// The fields a query parameter's name leads through, by proto name or JSON name, outermost first.
pub fn field_path(message: &MessageDescriptor, name: &str) -> Result<Vec<FieldDescriptor>, Status> {
    let refuse = |problem: String| Code::InvalidRequest.bad_field(&shown(name), problem);
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for part in name.split('.') {
        let parent = match fields.last().map(|field| (field.kind(), field)) {
            None => message.clone(),
            Some((Kind::Message(inner), field)) if !field.is_list() && !field.is_map() => inner,
            Some((_, field)) => {
                return Err(refuse(format!(
                    "{:?} has no fields of its own",
                    field.name()
                )));
            }
        };
        let field = parent
            .get_field_by_name(part)
            .or_else(|| parent.get_field_by_json_name(part));
        fields.push(field.ok_or_else(|| refuse("is not a parameter of this request".to_owned()))?);
    }
    Ok(fields)
}

/// Reads all values a query gives for one parameter into the field at the end of a path.
pub fn place(
    message: &mut DynamicMessage,
    fields: &[FieldDescriptor],
    name: &str,
    values: &[String],
) -> Result<(), Status> {
    let refuse = |problem: &str| Code::InvalidRequest.bad_field(&shown(name), problem);
    let Some((last, outer)) = fields.split_last() else {
        return Err(refuse("is not a parameter of this request"));
    };
    let value = match values {
        _ if last.is_map() => return Err(refuse("is a map, which only a body can hold")),
        many if last.is_list() => {
            let read: Result<_, _> = many.iter().map(|text| value(&last.kind(), text)).collect();
            Value::List(read.map_err(|problem| refuse(&problem))?)
        }
        [one] => value(&last.kind(), one).map_err(|problem| refuse(&problem))?,
        _ => return Err(refuse("is given more than once")),
    };
    let mut inner = message;
    for field in outer {
        check_choice(inner, field, name)?;
        inner = inner
            .get_field_mut(field)
            .as_message_mut()
            .ok_or_else(|| refuse("leads through a field that is not a message"))?;
    }
    check_choice(inner, last, name)?;
    if inner.has_field(last) && *inner.get_field(last) != value {
        return Err(refuse("is given twice, with different values"));
    }
    inner.set_field(last, value);
    Ok(())
}

/// Setting one member of a oneof would silently clear another: that is refused instead.
fn check_choice(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    name: &str,
) -> Result<(), Status> {
    let Some(choice) = field.containing_oneof() else {
        return Ok(());
    };
    match choice
        .fields()
        .find(|other| other != field && message.has_field(other))
    {
        None => Ok(()),
        Some(other) => {
            let problem = format!("cannot be given together with {:?}", other.name());
            Err(Code::InvalidRequest.bad_field(&shown(name), problem))
        }
    }
}

/// A name a caller made up, short enough to repeat.
pub fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// One value, in the form proto3 JSON gives it inside quotes. The error says what was expected.
fn value(kind: &Kind, text: &str) -> Result<Value, String> {
    let whole = |what: &str| {
        let read = number::whole_of(text).ok();
        let value = read.and_then(|read| number::integer(kind, read));
        value.ok_or_else(|| format!("is not a whole number{what}"))
    };
    match kind {
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("is not true or false".to_owned()),
        },
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => whole(" of 32 bits"),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => whole(" of 64 bits"),
        Kind::Uint32 | Kind::Fixed32 => whole(" from 0, of 32 bits"),
        Kind::Uint64 | Kind::Fixed64 => whole(" from 0, of 64 bits"),
        Kind::Double => real(text).map(Value::F64),
        Kind::Float => number::narrow(real(text)?)
            .map(Value::F32)
            .ok_or_else(|| "is not a number of 32 bits".to_owned()),
        Kind::Enum(known) => {
            if let Some(named) = known.get_value_by_name(text) {
                return Ok(Value::EnumNumber(named.number()));
            }
            if let Some(numbered) = text.parse().ok().and_then(|number| known.get_value(number)) {
                return Ok(Value::EnumNumber(numbered.number()));
            }
            let names: Vec<_> = known
                .values()
                .map(|value| value.name().to_owned())
                .collect();
            Err(format!("is not one of {}", names.join(", ")))
        }
        Kind::Bytes => base64(text).map(|bytes| Value::Bytes(bytes.into())),
        Kind::Message(message) => well_known(message, text),
    }
}

/// Bytes in either alphabet, padded or not.
fn base64(text: &str) -> Result<Vec<u8>, String> {
    // In a query a plus is a space.
    let plain = text.replace('-', "+").replace('_', "/").replace(' ', "+");
    let plain = plain.trim_end_matches('=');
    STANDARD_NO_PAD
        .decode(plain)
        .map_err(|_| "is not base64".to_owned())
}

fn real(text: &str) -> Result<f64, String> {
    number::real(text).ok_or_else(|| "is not a number".to_owned())
}

/// The messages that proto3 JSON writes as one string, and the wrappers of single values.
fn well_known(message: &MessageDescriptor, text: &str) -> Result<Value, String> {
    let expected = match message.full_name() {
        "google.protobuf.Timestamp" => "a time like 2026-01-31T12:00:00Z",
        "google.protobuf.Duration" => "a duration like 1.5s",
        "google.protobuf.FieldMask" => "a list of field names with commas",
        "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int64Value"
        | "google.protobuf.UInt64Value"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.BoolValue"
        | "google.protobuf.StringValue"
        | "google.protobuf.BytesValue" => {
            let inner = message.get_field(1).ok_or("is a wrapper of nothing")?;
            let mut wrapper = DynamicMessage::new(message.clone());
            wrapper.set_field(&inner, value(&inner.kind(), text)?);
            return Ok(Value::Message(wrapper));
        }
        _ => return Err("has fields of its own: name one, like 'location.latitude'".to_owned()),
    };
    reader::of_text::<TextError>(message, text)
        .map(Value::Message)
        .map_err(|_| format!("is not {expected}"))
}
