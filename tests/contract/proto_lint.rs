//! The rules of buf's STANDARD and COMMENTS categories that apply to these files, checked on the
//! descriptors, so that `make check` needs no other program.

use std::collections::HashMap;

use prost_reflect::{EnumDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor};

/// The files that are ours; `google/` is declared by others.
fn files() -> Vec<FileDescriptor> {
    jitney_proto::descriptor_pool()
        .files()
        .filter(|file| file.name().starts_with("jitney/"))
        .collect()
}

fn is_lower_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.contains("__")
        && !name.ends_with('_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// `DriverState` as the prefix of its values: `DRIVER_STATE_`.
fn value_prefix(enum_name: &str) -> String {
    let mut prefix = String::new();
    for (at, c) in enum_name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            prefix.push('_');
        }
        prefix.push(c.to_ascii_uppercase());
    }
    prefix + "_"
}

struct Complaints(Vec<String>);

impl Complaints {
    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// Every element of a file that has a leading comment, by its path in the source info.
fn commented(file: &FileDescriptor) -> Vec<Vec<i32>> {
    let proto = file.file_descriptor_proto();
    proto
        .source_code_info
        .iter()
        .flat_map(|info| &info.location)
        .filter(|at| {
            at.leading_comments
                .as_ref()
                .is_some_and(|text| !text.trim().is_empty())
        })
        .map(|at| at.path.clone())
        .collect()
}

fn lint_message(message: &MessageDescriptor, found: &mut Complaints) {
    let name = message.full_name();
    found.unless(is_pascal(message.name()), || {
        format!("{name}: not PascalCase")
    });
    let comments = commented(&message.parent_file());
    found.unless(comments.iter().any(|path| path == message.path()), || {
        format!("{name}: has no comment")
    });
    for field in message.fields() {
        let full = field.full_name();
        found.unless(is_lower_snake(field.name()), || {
            format!("{full}: not lower_snake_case")
        });
        found.unless(comments.iter().any(|path| path == field.path()), || {
            format!("{full}: has no comment")
        });
        // I7: no float carries money; floats are for places and headings.
        let is_float = matches!(field.kind(), Kind::Double | Kind::Float);
        let in_billing = message.package_name() == "jitney.billing.v1" || name.ends_with("Money");
        found.unless(!(is_float && in_billing), || {
            format!("{full}: a float near money")
        });
    }
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        found.unless(comments.iter().any(|path| path == oneof.path()), || {
            format!("{}: has no comment", oneof.full_name())
        });
    }
    for child in message.child_messages() {
        lint_message(&child, found);
    }
    for child in message.child_enums() {
        lint_enum(&child, found);
    }
}

fn lint_enum(enumeration: &EnumDescriptor, found: &mut Complaints) {
    let name = enumeration.full_name();
    found.unless(is_pascal(enumeration.name()), || {
        format!("{name}: not PascalCase")
    });
    let prefix = value_prefix(enumeration.name());
    let comments = commented(&enumeration.parent_file());
    for value in enumeration.values() {
        let full = value.full_name();
        found.unless(value.name().starts_with(&prefix), || {
            format!("{full}: lacks {prefix}")
        });
        found.unless(comments.iter().any(|path| path == value.path()), || {
            format!("{full}: has no comment")
        });
        if value.number() == 0 {
            found.unless(value.name() == format!("{prefix}UNSPECIFIED"), || {
                format!("{full}: the zero value is not {prefix}UNSPECIFIED")
            });
        }
    }
}

fn lint_method(
    method: &MethodDescriptor,
    users: &mut HashMap<String, String>,
    found: &mut Complaints,
) {
    let full = method.full_name();
    found.unless(is_pascal(method.name()), || {
        format!("{full}: not PascalCase")
    });
    for (message, suffix) in [(method.input(), "Request"), (method.output(), "Response")] {
        let standard = format!("{}{suffix}", method.name());
        found.unless(message.name() == standard, || {
            format!("{full}: {} should be {standard}", message.name())
        });
        if let Some(other) = users.insert(message.full_name().to_owned(), full.to_owned()) {
            found
                .0
                .push(format!("{full}: shares {} with {other}", message.name()));
        }
    }
    let comments = commented(&method.parent_file());
    found.unless(comments.iter().any(|path| path == method.path()), || {
        format!("{full}: has no comment")
    });
}

#[test]
fn the_proto_files_follow_the_standard_rules() {
    let mut found = Complaints(Vec::new());
    let mut users = HashMap::new();
    for file in files() {
        let (name, package) = (file.name().to_owned(), file.package_name().to_owned());
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        found.unless(folder == package.replace('.', "/"), || {
            format!("{name}: package {package} belongs in another folder")
        });
        let version = package.rsplit('.').next().unwrap_or_default();
        found.unless(
            version
                .strip_prefix('v')
                .is_some_and(|n| n.parse::<u32>().is_ok()),
            || format!("{name}: package {package} has no version"),
        );
        let stem = name
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".proto");
        found.unless(is_lower_snake(stem), || {
            format!("{name}: not lower_snake_case")
        });
        let used: Vec<String> = file
            .file_descriptor_proto()
            .dependency
            .iter()
            .filter(|import| !import.starts_with("google/protobuf/descriptor"))
            .cloned()
            .collect();
        let mut unique = used.clone();
        unique.sort();
        unique.dedup();
        found.unless(unique.len() == used.len(), || {
            format!("{name}: imports a file twice")
        });
        found.unless(
            file.file_descriptor_proto().public_dependency.is_empty(),
            || format!("{name}: public import"),
        );
        for message in file.messages() {
            lint_message(&message, &mut found);
        }
        for enumeration in file.enums() {
            lint_enum(&enumeration, &mut found);
        }
        for service in file.services() {
            found.unless(service.name().ends_with("Service"), || {
                format!("{}: lacks the suffix Service", service.full_name())
            });
            for method in service.methods() {
                lint_method(&method, &mut users, &mut found);
            }
        }
    }
    assert!(found.0.is_empty(), "\n{}", found.0.join("\n"));
}

#[test]
fn the_lint_sees_what_is_wrong() {
    assert!(!is_lower_snake("fareMinor"));
    assert!(!is_pascal("trip_state"));
    assert_eq!(value_prefix("OfferEndReason"), "OFFER_END_REASON_");
    let services: Vec<_> = files()
        .iter()
        .flat_map(|file| file.services().collect::<Vec<_>>())
        .collect();
    assert_eq!(services.len(), 3, "the descriptors hold the services");
    let rpc = services[0].methods().next().unwrap();
    let mut found = Complaints(Vec::new());
    let mut users = HashMap::new();
    lint_method(&rpc, &mut users, &mut found);
    assert!(found.0.is_empty(), "{:?}", found.0);
    lint_method(&rpc, &mut users, &mut found);
    assert_eq!(
        found.0.len(),
        2,
        "shared request and response are named: {:?}",
        found.0
    );
}
