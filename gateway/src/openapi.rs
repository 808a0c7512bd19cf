//! The API as OpenAPI 3.1, written from the descriptors: paths from the routes, schemas from the
//! messages, texts from the comments in the protos, who may call from the access rules. What the
//! gateway serves by itself is added by hand.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use jitney_platform::auth::{AccessRules, Scope};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::route::{Binding, Body, Routes, Shape};

mod comments;
mod own;
mod schema;

use comments::Comments;
use schema::Schemas;

/// How deep fields of fields become query parameters.
const QUERY_DEPTH: usize = 3;

const ABOUT: &str = "An open ride-hailing back end. Riders ask for rides, drivers give them, operators run the \
city. Everything here is also served over gRPC, from the same definitions.\n\nEvery call carries a token of one \
caller, whose role decides what it may do; what is not the caller's own is answered as if it did not exist.";

/// The whole document. `login` says whether the login for development is served.
pub fn document(pool: &DescriptorPool, routes: &Routes, rules: &AccessRules, login: bool) -> Value {
    let comments = Comments::of(pool);
    let mut schemas = Schemas::new(&comments);
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for binding in routes.all() {
        let writer = Writer {
            binding,
            comments: &comments,
            rules,
        };
        let operation = writer.operation(&mut schemas, &mut ids);
        for method in methods(&binding.method) {
            let path = paths.entry(path_of(binding)).or_default();
            path.insert(method, operation.clone());
        }
    }
    own::add(&mut paths, login);
    let mut components = schemas.written();
    components.extend(own::schemas());
    let tags: Vec<_> = pool
        .services()
        .filter(|service| service.full_name().starts_with("jitney."))
        .map(|service| {
            let text = comments.of_path(&service.parent_file(), service.path());
            json!({"name": service.name(), "description": text})
        })
        .chain([json!({"name": "Gateway", "description": "What the gateway answers by itself."})])
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Jitney",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Rides, from the request to the receipt.",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway this came from."}],
        "security": [{"bearer": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "A token of one caller: a role and an id.",
            }},
            "responses": own::responses(),
            "schemas": components,
        },
    })
}

/// The methods of OpenAPI that a route answers. It has no name for others than these.
fn methods(method: &Method) -> Vec<String> {
    let known = [
        "get", "put", "post", "delete", "patch", "head", "options", "trace",
    ];
    let own = method.as_str().to_ascii_lowercase();
    match own.as_str() {
        "*" => vec!["get".to_owned(), "post".to_owned()],
        own if known.contains(&own) => vec![own.to_owned()],
        _ => Vec::new(),
    }
}

/// The path with its variables bare: patterns have no place in OpenAPI.
fn path_of(binding: &Binding) -> String {
    let mut path = String::new();
    let mut rest = binding.template.to_string();
    while let Some((before, after)) = rest.split_once('{') {
        let (variable, left) = after.split_once('}').unwrap_or((after, ""));
        let name = variable.split('=').next().unwrap_or_default();
        path.extend([before, "{", name, "}"]);
        rest = left.to_owned();
    }
    path + &rest
}

struct Writer<'a> {
    binding: &'a Binding,
    comments: &'a Comments,
    rules: &'a AccessRules,
}

impl Writer<'_> {
    fn operation(&self, schemas: &mut Schemas<'_>, ids: &mut BTreeSet<String>) -> Value {
        let rpc = &self.binding.rpc;
        let service = rpc.service.rsplit('.').next().unwrap_or_default();
        let name = rpc.name.rsplit('.').next().unwrap_or_default();
        let mut id = name.to_owned();
        let mut count = 1;
        while !ids.insert(id.clone()) {
            count += 1;
            id = format!("{name}{count}");
        }
        let text = self.comments.of_rpc(&rpc.name);
        let summary = text
            .split_once(". ")
            .map_or(text.as_str(), |(first, _)| first);
        let summary = summary
            .lines()
            .next()
            .unwrap_or_default()
            .trim_end_matches('.');
        let mut operation = json!({
            "operationId": id,
            "tags": [service],
            "summary": summary,
            "description": format!("{text}\n\nMay call: {}.", self.callers()),
            "responses": self.responses(schemas),
        });
        if self.rules.is_public(self.binding.rpc.path.as_str()) {
            // A token may be shown, and need not be.
            operation["security"] = json!([{}, {"bearer": []}]);
        }
        let parameters = self.parameters(schemas);
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = self.body(schemas) {
            operation["requestBody"] = body;
        }
        operation
    }

    fn callers(&self) -> String {
        let grants = self
            .rules
            .grants(self.binding.rpc.path.as_str())
            .unwrap_or_default();
        let names: Vec<_> = grants
            .iter()
            .map(|grant| match grant.scope {
                Scope::Any => grant.role.name().to_owned(),
                Scope::Own => format!("{} (own only)", grant.role.name()),
            })
            .collect();
        if self.rules.is_public(self.binding.rpc.path.as_str()) {
            return format!("everybody, also without a token ({})", names.join(", "));
        }
        names.join(", ")
    }

    fn parameters(&self, schemas: &mut Schemas<'_>) -> Vec<Value> {
        let Binding {
            rpc,
            template,
            variables,
            body,
            ..
        } = self.binding;
        let mut parameters = Vec::new();
        for (variable, fields) in template.variables.iter().zip(variables) {
            let Some(field) = fields.last() else { continue };
            parameters.push(json!({
                "name": variable.field.join("."), "in": "path", "required": true,
                "description": self.comments.of_field(field),
                "schema": schemas.of_field(field),
                "example": schema::sample_field(field, 0),
            }));
        }
        for (field, header) in [
            (&rpc.idempotency_key, "Idempotency-Key"),
            (&rpc.resume_from, "Last-Event-ID"),
        ] {
            if let Some(field) = field {
                parameters.push(json!({
                    "name": header, "in": "header", "required": false,
                    "description": self.comments.of_field(field),
                    "schema": {"type": "string"},
                }));
            }
        }
        let taken = match body {
            _ if rpc.shape.is_socket() => return parameters,
            Body::Whole => return parameters,
            Body::Field(field) => Some(field),
            Body::None => None,
        };
        for field in rpc.input.fields() {
            if Some(&field) != taken {
                let mut path = vec![field];
                self.query(&mut path, schemas, &mut parameters);
            }
        }
        parameters
    }

    fn query(
        &self,
        path: &mut Vec<FieldDescriptor>,
        schemas: &mut Schemas<'_>,
        into: &mut Vec<Value>,
    ) {
        let Some(field) = path.last().cloned() else {
            return;
        };
        if self.binding.variables.contains(path) || field.is_map() {
            return;
        }
        if let Kind::Message(inner) = field.kind()
            && schema::well_known(&inner).is_none()
        {
            if !field.is_list() && path.len() < QUERY_DEPTH {
                for deeper in inner.fields() {
                    path.push(deeper);
                    self.query(path, schemas, into);
                    path.pop();
                }
            }
            return;
        }
        let names: Vec<_> = path.iter().map(FieldDescriptor::json_name).collect();
        into.push(json!({
            "name": names.join("."), "in": "query", "required": false,
            "description": self.comments.of_field(&field),
            "schema": schemas.of_field(&field),
        }));
    }

    fn body(&self, schemas: &mut Schemas<'_>) -> Option<Value> {
        let (schema, example) = match &self.binding.body {
            Body::None => return None,
            Body::Whole => {
                let input = &self.binding.rpc.input;
                (schemas.of_request(input), self.sample_without_path(input))
            }
            Body::Field(field) => (schemas.of_field(field), schema::sample_field(field, 0)),
        };
        let content = json!({"schema": schema, "example": example});
        Some(json!({"required": false, "content": {"application/json": content}}))
    }

    /// What the path says need not be in the body.
    fn sample_without_path(&self, message: &MessageDescriptor) -> Value {
        let mut sample = schema::sample(message, 0);
        for fields in &self.binding.variables {
            if let ([field], Some(members)) = (&fields[..], sample.as_object_mut()) {
                members.remove(field.json_name());
            }
        }
        sample
    }

    fn responses(&self, schemas: &mut Schemas<'_>) -> Value {
        let Binding {
            rpc,
            document,
            answer,
            ..
        } = self.binding;
        let output = schemas.of_message(&rpc.output);
        let text = self.comments.of_message(&rpc.output);
        let text = if text.is_empty() {
            "The answer.".to_owned()
        } else {
            text
        };
        let error = json!({"$ref": "#/components/responses/Error"});
        let content = match (rpc.shape, document, answer) {
            (Shape::ClientStream | Shape::Bidirectional, ..) => {
                let input = schemas.of_request(&rpc.input);
                return json!({
                    "101": {
                        "description": "A WebSocket with one JSON message per text frame, in each direction.",
                        "x-websocket": {"up": input, "down": output},
                    },
                    "default": error,
                });
            }
            (Shape::ServerStream, ..) => json!({
                "text/event-stream": {
                    "schema": {
                        "type": "string",
                        "description": "Server-sent events; `data` of each is the message as JSON.",
                    },
                    "x-message": output.clone(),
                },
                "application/x-ndjson": {
                    "schema": {"type": "object", "properties": {
                        "result": output,
                        "heartbeat": {"type": "object"},
                        "end": {"type": "object", "properties": {"reason": {"type": "string"}}},
                        "error": {"$ref": "#/components/schemas/google.rpc.Status"},
                    }},
                },
            }),
            (Shape::Unary, Some(_), _) => json!({
                "text/html": {"schema": {"type": "string"}},
                "application/pdf": {"schema": {"type": "string", "format": "binary"}},
                "text/csv": {"schema": {"type": "string"}},
                "application/vnd.mapbox-vector-tile": {"schema": {"type": "string", "format": "binary"}},
            }),
            (Shape::Unary, None, Some(field)) => json!({"application/json": {
                "schema": schemas.of_field(field), "example": schema::sample_field(field, 0),
            }}),
            (Shape::Unary, None, None) => json!({"application/json": {
                "schema": output, "example": schema::sample(&rpc.output, 0),
            }}),
        };
        let mut responses = json!({
            "200": {"description": text, "content": content},
            "default": error,
        });
        if rpc.cache_seconds.is_some() {
            responses["304"] = json!({"description": "Nothing has changed since the ETag given."});
        }
        responses
    }
}

#[cfg(test)]
#[path = "openapi/tests.rs"]
mod tests;
