//! What the gateway answers by itself, and the form of errors.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Adds the gateway's own paths.
pub(super) fn add(paths: &mut BTreeMap<String, Map<String, Value>>, login: bool) {
    let mut read = |path: &str, id: &str, summary: &str, description: &str| {
        let object = json!({"application/json": {"schema": {"type": "object"}}});
        let operation = json!({
            "operationId": id, "tags": ["Gateway"], "summary": summary, "description": description,
            "security": [],
            "responses": {
                "200": {"description": summary, "content": object},
                "default": {"$ref": "#/components/responses/Error"},
            },
        });
        paths
            .entry(path.to_owned())
            .or_default()
            .insert("get".to_owned(), operation);
    };
    read(
        "/v1",
        "ListRoutes",
        "Lists the routes",
        "Every route with its rpc and who may call.",
    );
    read(
        "/healthz",
        "Live",
        "Whether the gateway lives",
        "200 while it does.",
    );
    read(
        "/readyz",
        "Ready",
        "Whether the gateway is of use",
        "503 when a service behind does not answer.",
    );
    read("/openapi.json", "OpenApi", "This document", "OpenAPI 3.1.");
    read(
        "/.well-known/jwks.json",
        "Keys",
        "The public key of tokens",
        "A JSON Web Key Set, for programs that check Jitney's own tokens.",
    );
    if !login {
        return;
    }
    let mut post =
        |path: &str, id: &str, summary: &str, body: &str, example: Value, answer: &str| {
            let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
            let operation = json!({
                "operationId": id, "tags": ["Gateway"], "summary": summary,
                "description": "The login for development; see \"Logging in\" in the API's guide.",
                "security": [],
                "requestBody": {"required": true, "content": {"application/json": {
                    "schema": reference(body), "example": example,
                }}},
                "responses": {
                    "200": {
                        "description": summary,
                        "content": {"application/json": {"schema": reference(answer)}},
                    },
                    "default": {"$ref": "#/components/responses/Error"},
                },
            });
            paths
                .entry(path.to_owned())
                .or_default()
                .insert("post".to_owned(), operation);
        };
    post(
        "/v1/login:start",
        "StartLogin",
        "Makes a code for a phone number",
        "login.Start",
        json!({"phone": "+377 93 15 00 00"}),
        "login.Started",
    );
    post(
        "/v1/login:finish",
        "FinishLogin",
        "Opens a session for whoever has the code",
        "login.Finish",
        json!({"loginId": "0190a000-0000-7000-8000-000000000001", "code": "123456", "role": "rider"}),
        "login.Tokens",
    );
    let token = json!({"refreshToken": "…"});
    post(
        "/v1/login:refresh",
        "RefreshLogin",
        "The next tokens of a session",
        "login.Refresh",
        token.clone(),
        "login.Tokens",
    );
    post(
        "/v1/login:logout",
        "EndLogin",
        "Ends a session",
        "login.Refresh",
        token,
        "login.Nothing",
    );
}

/// The form of every error.
pub(super) fn responses() -> Value {
    let status = json!({"$ref": "#/components/schemas/google.rpc.Status"});
    json!({"Error": {
        "description": "What went wrong. Switch on `reason` of the first detail.",
        "headers": {
            "Retry-After": {
                "description": "Seconds to wait before trying again, where that makes sense.",
                "schema": {"type": "integer"},
            },
            "x-request-id": {
                "description": "Finds the request in the log.",
                "schema": {"type": "string"},
            },
        },
        "content": {
            "application/json": {"schema": status, "example": {
                "code": 5, "message": "there is no such trip", "details": [{
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "NOT_FOUND", "domain": "jitney", "metadata": {},
                }],
            }},
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
    }})
}

/// The schemas that no proto declares.
pub(super) fn schemas() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer"});
    let object = |required: &[&str], properties: Value| {
        let kind = "object";
        json!({"type": kind, "required": required, "properties": properties})
    };
    let taken = |required: &[&str], properties: Value| {
        let mut schema = object(required, properties);
        schema["additionalProperties"] = false.into();
        schema
    };
    let details = json!({"type": "array", "items": {
        "type": "object", "required": ["@type"], "properties": {"@type": text()},
    }});
    let role = json!({"type": "string", "enum": ["rider", "driver"]});
    let all = json!({
        "google.rpc.Status": object(&["code", "message", "details"], json!({
            "code": number(), "message": text(), "details": details.clone(),
        })),
        "Problem": object(&["type", "title", "status"], json!({
            "type": text(), "title": text(), "status": number(), "detail": text(),
            "reason": text(), "code": number(), "details": details,
        })),
        "login.Start": taken(&["phone"], json!({"phone": text()})),
        "login.Started": object(&["loginId", "expiresIn"], json!({
            "loginId": text(), "expiresIn": number(),
        })),
        "login.Finish": taken(&["loginId", "code", "role"], json!({
            "loginId": text(), "code": text(), "role": role.clone(),
        })),
        "login.Refresh": taken(&["refreshToken"], json!({"refreshToken": text()})),
        "login.Nothing": {"type": "object"},
        "login.Tokens": object(&["accessToken", "refreshToken"], json!({
            "accessToken": text(), "tokenType": text(), "expiresIn": number(),
            "refreshToken": text(), "refreshExpiresIn": number(), "role": role, "id": text(),
        })),
    });
    match all {
        Value::Object(all) => all,
        _ => Map::new(),
    }
}
