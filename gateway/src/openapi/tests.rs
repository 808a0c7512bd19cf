//! The document is one: by another reader's judgement, and complete.

use super::*;

fn whole(login: bool) -> Value {
    let pool = jitney_proto::descriptor_pool();
    let routes = Routes::from_descriptors(&pool).unwrap();
    let rules = AccessRules::from_descriptors(&pool);
    document(&pool, &routes, &rules, login)
}

/// Every value under a key, wherever it stands.
fn all<'a>(value: &'a Value, key: &str, into: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if name == key {
                    into.push(value);
                }
                all(value, key, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all(item, key, into)),
        _ => {}
    }
}

#[test]
fn another_reader_takes_it() {
    for login in [true, false] {
        let text = whole(login).to_string();
        let spec = oas3::from_json(&text).unwrap();
        assert_eq!(spec.openapi, "3.1.0");
        let paths = spec.paths.as_ref().unwrap();
        assert!(paths.len() > 40, "{}", paths.len());
        assert_eq!(paths.contains_key("/v1/login:start"), login);
        for (path, _, operation) in spec.operations() {
            for parameter in operation.parameters(&spec).unwrap() {
                assert!(!parameter.name.is_empty(), "{path}");
            }
        }
        for schema in spec.components.as_ref().unwrap().schemas.values() {
            schema.resolve(&spec).unwrap();
        }
    }
}

#[test]
fn every_route_is_there_with_its_parameters() {
    let spec = whole(true);
    let routes = Routes::from_descriptors(&jitney_proto::descriptor_pool()).unwrap();
    let mut ids = BTreeSet::new();
    for binding in routes.all() {
        let method = binding.method.as_str().to_ascii_lowercase();
        let operation = &spec["paths"][path_of(binding)][&method];
        assert!(operation.is_object(), "{method} {}", binding.template);
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
        let text = operation["description"].as_str().unwrap();
        assert!(
            text.contains("May call: ") && !text.ends_with(": ."),
            "{text}"
        );
        assert!(
            operation["summary"].as_str().unwrap().len() > 5,
            "{operation}"
        );
        let declared: BTreeSet<_> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        let named = binding
            .template
            .variables
            .iter()
            .map(|variable| variable.field.join("."));
        assert_eq!(declared, named.collect(), "{}", binding.template);
    }
    let nearby = &spec["paths"]["/v1/drivers:nearby"]["get"]["parameters"];
    let names: Vec<_> = nearby
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert!(names.contains(&&json!("location.latitude")), "{names:?}");
}

#[test]
fn what_is_referred_to_is_there_and_explained() {
    let spec = whole(true);
    let mut references = Vec::new();
    all(&spec, "$ref", &mut references);
    assert!(references.len() > 200);
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(spec.pointer(pointer).is_some(), "{reference}");
    }
    let trip = &spec["components"]["schemas"]["jitney.trips.v1.Trip"]["properties"];
    assert_eq!(trip["version"]["type"], "string", "64 bits");
    assert_eq!(trip["createdAt"]["format"], "date-time");
    assert!(trip["pin"]["description"].as_str().unwrap().len() > 5);
    let state = &spec["components"]["schemas"]["jitney.trips.v1.TripState"];
    assert!(
        state["enum"]
            .as_array()
            .unwrap()
            .contains(&json!("TRIP_STATE_ASSIGNED"))
    );
    assert!(
        state["description"]
            .as_str()
            .unwrap()
            .contains("`TRIP_STATE_ASSIGNED`: ")
    );
}

/// A client may rely on what answers hold, and must not on that being all.
#[test]
fn requests_are_closed_and_answers_open() {
    let spec = whole(true);
    let schemas = spec["components"]["schemas"].as_object().unwrap();
    let routes = Routes::from_descriptors(&jitney_proto::descriptor_pool()).unwrap();
    for binding in routes.all() {
        if let Some(input) = schemas.get(binding.rpc.input.full_name()) {
            assert_eq!(input["additionalProperties"], false, "{}", binding.rpc.name);
        }
        if let Some(output) = schemas.get(binding.rpc.output.full_name()) {
            assert!(
                output["additionalProperties"].is_null(),
                "{}",
                binding.rpc.name
            );
        }
    }
    assert_eq!(schemas["login.Finish"]["additionalProperties"], false);
    assert!(schemas["login.Tokens"]["additionalProperties"].is_null());
}

/// An example that the gateway itself would refuse helps nobody.
#[test]
fn examples_are_taken() {
    use crate::transcode::{Unknown, from_json};
    let spec = whole(true);
    let routes = Routes::from_descriptors(&jitney_proto::descriptor_pool()).unwrap();
    let mut seen = 0;
    for binding in routes.all() {
        let method = binding.method.as_str().to_ascii_lowercase();
        let operation = &spec["paths"][path_of(binding)][&method];
        let request = &operation["requestBody"]["content"]["application/json"]["example"];
        if binding.body == Body::Whole {
            let read = from_json(
                &binding.rpc.input,
                request.to_string().as_bytes(),
                Unknown::Refuse,
            );
            read.unwrap_or_else(|status| panic!("{}: {status}", binding.template));
            seen += 1;
        }
        let answer = &operation["responses"]["200"]["content"]["application/json"]["example"];
        if !answer.is_null() && binding.answer.is_none() {
            let read = from_json(
                &binding.rpc.output,
                answer.to_string().as_bytes(),
                Unknown::Refuse,
            );
            read.unwrap_or_else(|status| panic!("{}: {status}", binding.template));
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}
