//! What a PATCH is about, where its request does not say: the fields that its body names.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;

use crate::route::{Binding, Body};

/// The paths a body names, in proto names. A message is descended into; a list, a map, a message that
/// is one value in JSON, and `null` or `{}` (which clear) count as a whole.
pub fn of(binding: &Binding, mask: &FieldDescriptor, body: &[u8]) -> Vec<String> {
    let body: Json = serde_json::from_slice(body).unwrap_or_default();
    let mut paths = Vec::new();
    match &binding.body {
        Body::None => {}
        Body::Field(field) => {
            if let Kind::Message(inner) = field.kind() {
                walk(&inner, &body, "", &mut paths);
            }
        }
        Body::Whole => {
            walk(&binding.rpc.input, &body, "", &mut paths);
            // What says which thing is changed is no change.
            let variables = binding.variables.iter().map(|fields| {
                let names: Vec<_> = fields.iter().map(FieldDescriptor::name).collect();
                names.join(".")
            });
            let taken: Vec<_> = variables.chain([mask.name().to_owned()]).collect();
            paths.retain(|path| !taken.contains(path));
        }
    }
    paths
}

/// A `FieldMask` of these paths.
pub fn value(field: &FieldDescriptor, paths: Vec<String>) -> Value {
    let Kind::Message(kind) = field.kind() else {
        return Value::List(Vec::new());
    };
    let mut mask = DynamicMessage::new(kind);
    let paths = paths.into_iter().map(Value::String).collect();
    mask.set_field_by_name("paths", Value::List(paths));
    Value::Message(mask)
}

fn walk(message: &MessageDescriptor, body: &Json, above: &str, paths: &mut Vec<String>) {
    let Json::Object(members) = body else { return };
    for (name, value) in members {
        let field = message
            .get_field_by_json_name(name)
            .or_else(|| message.get_field_by_name(name));
        let Some(field) = field else { continue };
        let path = format!("{above}{}", field.name());
        let is_nested = value.as_object().is_some_and(|inner| !inner.is_empty());
        match field.kind() {
            Kind::Message(inner)
                if is_nested
                    && !field.is_map()
                    && !field.is_list()
                    && !inner.full_name().starts_with("google.protobuf.") =>
            {
                walk(&inner, value, &format!("{path}."), paths);
            }
            _ => paths.push(path),
        }
    }
}
