//! Requests and answers between JSON and messages.
//!
//! The JSON is proto3 JSON, with these choices:
//!
//! - **In**: `lowerCamelCase` names or the proto's own; 64-bit integers as strings or numbers; enums
//!   by name or number; `null` means absent. A field nobody declared is refused by its name, and so
//!   is one that is there twice ([`crate::reader`]). No body counts as `{}`.
//! - **Out**: `lowerCamelCase` names; 64-bit integers as strings; enums by name; fields that are not
//!   messages are always there, with their default when nothing was set, so that an app need not
//!   guess; messages, `optional` fields and members of a oneof are left out when unset.
//! - What the path says is not repeated in the body; where it is, both must agree. With `body: "*"`
//!   there are no query parameters.

use axum::http::{HeaderMap, header::CONTENT_TYPE};
use jitney_proto::Code;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeSeed, IgnoredAny},
};
use serde_path_to_error::{Deserializer, Track};
use tonic::Status;

use crate::{
    mask,
    problem::Problem,
    reader::{Read, TWICE, UNRECOGNIZED},
    route::{Binding, Body, Rpc},
    template::Path,
    text,
    writer::Json,
};

/// The parts of an HTTP request that become a message.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The path, cut.
    pub path: &'a Path<'a>,
    /// What stands after the question mark; empty when there is none.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body; empty when there is none.
    pub body: &'a [u8],
}

/// What to do with fields and parameters that nobody declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// Refuse them by name: a misspelt field is never silently ignored.
    #[default]
    Refuse,
    /// Leave them out, for apps that are ahead of the gateway.
    Ignore,
}

/// The message an HTTP request stands for. Errors are `INVALID_REQUEST` and name what is wrong.
pub fn request(
    binding: &Binding,
    parts: Parts<'_>,
    unknown: Unknown,
) -> Result<DynamicMessage, Status> {
    let input = &binding.rpc.input;
    let mut message = match &binding.body {
        Body::Whole if !parts.body.is_empty() => from_json(input, parts.body, unknown)?,
        Body::Field(field) if !parts.body.is_empty() => {
            let mut message = DynamicMessage::new(input.clone());
            match field.kind() {
                Kind::Message(inner) if !field.is_list() && !field.is_map() => {
                    let inner = from_json(&inner, parts.body, unknown)?;
                    message.set_field(field, Value::Message(inner));
                }
                _ => message = from_member(input, field, parts.body, unknown)?,
            }
            message
        }
        _ => DynamicMessage::new(input.clone()),
    };
    read_path(binding, parts.path, &mut message)?;
    read_query(binding, parts.query, &mut message, unknown)?;
    read_headers(&binding.rpc, parts.headers, &mut message)?;
    if let Some(mask) = &binding.mask
        && !message.has_field(mask)
    {
        let paths = mask::of(binding, mask, parts.body);
        message.set_field(mask, mask::value(mask, paths));
    }
    Ok(message)
}

/// Refuses a body that does not say it is JSON (415). One that says nothing is taken for JSON.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = given.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let json = kind.eq_ignore_ascii_case("application/json")
        || kind.len() > 5 && kind.to_ascii_lowercase().ends_with("+json");
    if json {
        Ok(())
    } else {
        Err(Problem::not_json())
    }
}

/// Reads JSON; the error names the field and the line.
pub fn from_json(
    descriptor: &MessageDescriptor,
    json: &[u8],
    unknown: Unknown,
) -> Result<DynamicMessage, Status> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut track = Track::new();
    let read = Read {
        message: descriptor,
        unknown,
    };
    let read = read.deserialize(Deserializer::new(&mut reader, &mut track));
    let read = read.map_err(|error| refusal(&error, &track.path().to_string()))?;
    reader.end().map_err(|error| refusal(&error, "."))?;
    Ok(read)
}

/// Reads a body that is a field which is no message: a list, a map, a number, a text.
fn from_member(
    input: &MessageDescriptor,
    field: &FieldDescriptor,
    body: &[u8],
    unknown: Unknown,
) -> Result<DynamicMessage, Status> {
    // One value and no more, so that it cannot add members of its own.
    serde_json::from_slice::<IgnoredAny>(body).map_err(|error| refusal(&error, "."))?;
    let mut whole = format!("{{\"{}\":\n", field.json_name()).into_bytes();
    whole.extend_from_slice(body);
    whole.push(b'}');
    from_json(input, &whole, unknown)
}

/// Writes JSON on one line.
pub fn to_json(message: &DynamicMessage) -> Result<Vec<u8>, Status> {
    let mut json = Vec::with_capacity(256);
    let mut writer = serde_json::Serializer::new(&mut json);
    match Json(message).serialize(&mut writer) {
        Ok(()) => Ok(json),
        Err(error) => {
            let name = message_name(message);
            tracing::error!(message = name, %error, "a message has no JSON form");
            Err(Code::Internal.status("the answer could not be written as JSON"))
        }
    }
}

/// Writes one field of an answer as JSON; `null` for a message that is absent.
pub fn field_to_json(message: &DynamicMessage, field: &FieldDescriptor) -> Result<Vec<u8>, Status> {
    if let Kind::Message(_) = field.kind()
        && !field.is_list()
        && !field.is_map()
    {
        if !message.has_field(field) {
            return Ok(b"null".to_vec());
        }
        return match &*message.get_field(field) {
            Value::Message(inner) => to_json(inner),
            _ => Ok(b"null".to_vec()),
        };
    }
    let whole: serde_json::Value = serde_json::from_slice(&to_json(message)?).unwrap_or_default();
    let value = whole.get(field.json_name()).cloned().unwrap_or_default();
    Ok(value.to_string().into_bytes())
}

/// What a response says about itself, for event streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Where to resume after it.
    pub resume_token: Option<String>,
    /// The JSON name of the oneof member that is set.
    pub event: Option<String>,
}

/// The resume token and the event's name of a response.
pub fn labels(rpc: &Rpc, message: &DynamicMessage) -> Labels {
    let resume_token = rpc.resume_token.as_ref().and_then(|field| {
        let token = message.get_field(field).as_str().map(str::to_owned);
        token.filter(|token| !token.is_empty())
    });
    let event = rpc.event.as_ref().and_then(|choice| {
        let set = choice.fields().find(|field| message.has_field(field));
        set.map(|field| field.json_name().to_owned())
    });
    Labels {
        resume_token,
        event,
    }
}

fn read_path(
    binding: &Binding,
    path: &Path<'_>,
    message: &mut DynamicMessage,
) -> Result<(), Status> {
    let values = binding.template.values(path);
    let values = values.map_err(|error| Code::InvalidRequest.status(error.to_string()))?;
    for ((fields, variable), value) in binding
        .variables
        .iter()
        .zip(&binding.template.variables)
        .zip(values)
    {
        text::place(message, fields, &variable.field.join("."), &[value])?;
    }
    Ok(())
}

fn read_query(
    binding: &Binding,
    query: &str,
    message: &mut DynamicMessage,
    unknown: Unknown,
) -> Result<(), Status> {
    let mut grouped: Vec<(String, Vec<FieldDescriptor>, Vec<String>)> = Vec::new();
    for (name, value) in text::parameters(query)? {
        let refuse = |problem| Err(Code::InvalidRequest.bad_field(&text::shown(&name), problem));
        if binding.body == Body::Whole {
            return refuse("is not taken from the query: this request's body holds every field");
        }
        let fields = match text::field_path(&binding.rpc.input, &name) {
            Err(_) if unknown == Unknown::Ignore => continue,
            fields => fields?,
        };
        if binding.variables.contains(&fields) {
            return refuse("is not taken from the query: the path holds it");
        }
        if let (Body::Field(body), Some(first)) = (&binding.body, fields.first())
            && body == first
        {
            return refuse("is not taken from the query: the body holds it");
        }
        match grouped.iter_mut().find(|(_, known, _)| *known == fields) {
            Some((_, _, values)) => values.push(value),
            None => grouped.push((name, fields, vec![value])),
        }
    }
    for (name, fields, values) in grouped {
        text::place(message, &fields, &name, &values)?;
    }
    Ok(())
}

fn read_headers(
    rpc: &Rpc,
    headers: &HeaderMap,
    message: &mut DynamicMessage,
) -> Result<(), Status> {
    for (header, field) in [
        ("idempotency-key", &rpc.idempotency_key),
        ("last-event-id", &rpc.resume_from),
    ] {
        let Some(field) = field else { continue };
        let mut given = headers.get_all(header).iter();
        let Some(value) = given.next() else { continue };
        let value = value
            .to_str()
            .ok()
            .filter(|_| given.next().is_none())
            .ok_or_else(|| {
                let problem = "is given more than once, or holds more than printable ASCII";
                Code::InvalidRequest.bad_field(header, problem)
            })?;
        let known = message
            .get_field(field)
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if !known.is_empty() && known != value {
            let problem = format!("differs from the request's {:?}", field.name());
            return Err(Code::InvalidRequest.bad_field(header, problem));
        }
        message.set_field(field, Value::String(value.to_owned()));
    }
    Ok(())
}

fn refusal(error: &serde_json::Error, path: &str) -> Status {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let whole = error.to_string();
    let told = whole.strip_suffix(&place).unwrap_or(&whole);
    // The reader stops at the name of a field it does not know, before it steps into it.
    let unknown = told
        .strip_prefix(UNRECOGNIZED)
        .and_then(|rest| rest.strip_suffix('\''));
    let inside = (path != ".").then_some(path);
    let twice = told
        .strip_prefix(TWICE)
        .and_then(|rest| rest.strip_suffix('\''));
    if let Some(name) = twice {
        let names = inside
            .into_iter()
            .map(str::to_owned)
            .chain([text::shown(name)]);
        let field = names.collect::<Vec<_>>().join(".");
        return Code::InvalidRequest.bad_field(&field, format!("is given twice{place}"));
    }
    if let Some(name) = unknown {
        let field: Vec<_> = inside
            .into_iter()
            .map(str::to_owned)
            .chain([text::shown(name)])
            .collect();
        let problem = format!("is not a field of this request{place}");
        return Code::InvalidRequest.bad_field(&field.join("."), problem);
    }
    // A value of the caller's own may be in there, of any length.
    let told: String = told.chars().take(200).collect();
    match inside {
        _ if !error.is_data() => {
            Code::InvalidRequest.status(format!("the body is not JSON: {told}{place}"))
        }
        Some(field) => Code::InvalidRequest.bad_field(field, format!("{told}{place}")),
        None => Code::InvalidRequest.status(format!("the body does not fit: {told}{place}")),
    }
}

fn message_name(message: &DynamicMessage) -> String {
    use prost_reflect::ReflectMessage;
    message.descriptor().full_name().to_owned()
}

#[cfg(test)]
#[path = "transcode_tests.rs"]
mod tests;
