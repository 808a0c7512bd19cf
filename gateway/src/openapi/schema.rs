//! Messages as JSON Schema, in the form that proto3 JSON gives them, and examples of them.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::comments::Comments;

/// How deep examples go.
const SAMPLE_DEPTH: usize = 3;

/// The schemas that are referred to, and those still to be written.
pub(super) struct Schemas<'a> {
    comments: &'a Comments,
    messages: BTreeMap<String, MessageDescriptor>,
    requests: BTreeSet<String>,
    enums: BTreeMap<String, EnumDescriptor>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(comments: &'a Comments) -> Schemas<'a> {
        Schemas {
            comments,
            messages: BTreeMap::new(),
            requests: BTreeSet::new(),
            enums: BTreeMap::new(),
        }
    }

    /// A reference to a message.
    pub(super) fn of_message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(known) = well_known(message) {
            return known;
        }
        let name = message.full_name().to_owned();
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        self.messages.insert(name, message.clone());
        reference
    }

    /// A reference to what an rpc takes. A field that it does not know is refused there; in answers new
    /// ones may appear.
    pub(super) fn of_request(&mut self, message: &MessageDescriptor) -> Value {
        self.requests.insert(message.full_name().to_owned());
        self.of_message(message)
    }

    /// What a field holds.
    pub(super) fn of_field(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = entry.get_field_by_name("value");
                let value = value.map_or(json!({}), |value| self.of_kind(&value.kind()));
                json!({"type": "object", "additionalProperties": value})
            }
            kind if field.is_list() => json!({"type": "array", "items": self.of_kind(&kind)}),
            kind => self.of_kind(&kind),
        }
    }

    fn of_kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX})
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"})
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string", "format": "uint64", "pattern": "^[0-9]+$"})
            }
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Message(message) => self.of_message(message),
            Kind::Enum(kind) => {
                let name = kind.full_name().to_owned();
                let reference = json!({"$ref": format!("#/components/schemas/{name}")});
                self.enums.insert(name, kind.clone());
                reference
            }
        }
    }

    /// Everything referred to, and what that refers to.
    pub(super) fn written(mut self) -> Map<String, Value> {
        let mut all = Map::new();
        loop {
            let next = self
                .messages
                .iter()
                .find(|(name, _)| !all.contains_key(*name));
            let Some((name, message)) = next.map(|(name, found)| (name.clone(), found.clone()))
            else {
                break;
            };
            let schema = self.message(&message);
            all.insert(name, schema);
        }
        for (name, kind) in &self.enums {
            all.insert(name.clone(), self.enumeration(kind));
        }
        all
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            let mut schema = self.of_field(&field);
            let text = self.comments.of_field(&field);
            if !text.is_empty() {
                schema["description"] = text.into();
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if self.requests.contains(message.full_name()) {
            schema["additionalProperties"] = false.into();
        }
        let mut text = self.comments.of_message(message);
        for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
            let names: Vec<_> = choice
                .fields()
                .map(|field| format!("`{}`", field.json_name()))
                .collect();
            text = format!("{text}\n\nAt most one of {} is set.", names.join(", "));
        }
        if !text.is_empty() {
            schema["description"] = text.trim().into();
        }
        schema
    }

    fn enumeration(&self, kind: &EnumDescriptor) -> Value {
        let file = kind.parent_file();
        let mut text = self.comments.of_path(&file, kind.path());
        text.push('\n');
        let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
        for value in kind.values() {
            let told = self.comments.of_path(&file, value.path());
            text.push_str(&format!("\n- `{}`: {told}", value.name()));
        }
        json!({"type": "string", "enum": names, "description": text.trim()})
    }
}

/// The messages that proto3 JSON writes in a form of their own.
pub(super) fn well_known(message: &MessageDescriptor) -> Option<Value> {
    let name = message.full_name().strip_prefix("google.protobuf.")?;
    Some(match name {
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"}),
        "FieldMask" => json!({"type": "string"}),
        "Struct" | "Any" | "Empty" => json!({"type": "object"}),
        "ListValue" => json!({"type": "array", "items": {}}),
        "Value" => json!({}),
        "BoolValue" => json!({"type": ["boolean", "null"]}),
        "StringValue" | "BytesValue" | "Int64Value" | "UInt64Value" => {
            json!({"type": ["string", "null"]})
        }
        "DoubleValue" | "FloatValue" => json!({"type": ["number", "null"]}),
        "Int32Value" | "UInt32Value" => json!({"type": ["integer", "null"]}),
        _ => return None,
    })
}

/// An example of a message.
pub(super) fn sample(message: &MessageDescriptor, depth: usize) -> Value {
    match message.full_name() {
        "google.protobuf.Timestamp" => return json!("2026-01-31T12:00:00Z"),
        "google.protobuf.Duration" => return json!("90s"),
        "google.protobuf.FieldMask" => return json!("name"),
        _ => {}
    }
    let mut members = Map::new();
    let mut chosen: Vec<String> = Vec::new();
    for field in message.fields() {
        if let Some(choice) = field.containing_oneof()
            && !choice.is_synthetic()
        {
            // One of a choice.
            if chosen.contains(&choice.name().to_owned()) {
                continue;
            }
            chosen.push(choice.name().to_owned());
        }
        let is_message = matches!(field.kind(), Kind::Message(_));
        if is_message && depth + 1 >= SAMPLE_DEPTH {
            continue;
        }
        members.insert(
            field.json_name().to_owned(),
            sample_field(&field, depth + 1),
        );
    }
    Value::Object(members)
}

/// An example of a field.
pub(super) fn sample_field(field: &FieldDescriptor, depth: usize) -> Value {
    let one = match field.kind() {
        Kind::Message(_) if field.is_map() => return json!({}),
        Kind::Message(message) => sample(&message, depth),
        Kind::Enum(kind) => {
            // The first is what nobody means.
            let value = kind.values().nth(1).or_else(|| kind.values().next());
            json!(value.map(|value| value.name().to_owned()))
        }
        Kind::Bool => json!(true),
        Kind::Bytes => json!("AQID"),
        Kind::String => json!(sample_text(field.name())),
        Kind::Double | Kind::Float => json!(sample_real(field.name())),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => json!(1),
        _ => json!("1250"),
    };
    if field.is_list() { json!([one]) } else { one }
}

fn sample_text(name: &str) -> &'static str {
    match name {
        "rider_id" => "anna",
        "driver_id" => "dora",
        "product" | "products" => "economy",
        "currency_code" => "EUR",
        "month" => "2026-01",
        "pin" => "4711",
        "plate" => "AB-123-CD",
        "idempotency_key" => "my-first-ride",
        "page_token" | "next_page_token" => "",
        name if name.ends_with("_id") => "0190a000-0000-7000-8000-000000000001",
        _ => "text",
    }
}

fn sample_real(name: &str) -> f64 {
    match name {
        "latitude" => 43.7393,
        "longitude" => 7.4276,
        _ => 1.5,
    }
}
