//! Tables in the documentation that repeat what the code says: routes, error codes, database tables.

use jitney_gateway::route::{Routes, Shape};
use jitney_platform::auth::{AccessRules, Scope};
use jitney_proto::Code;

use super::{names, page};

/// Compares a table with what it should be; a failure shows the rows to paste.
#[track_caller]
fn assert_rows(name: &str, head: &[&str], expected: &[Vec<String>]) {
    let width = expected.first().map_or(0, Vec::len);
    let mut rows = page(name).table(head);
    // What follows is for people.
    rows.iter_mut().for_each(|row| row.truncate(width));
    let shown: Vec<_> = expected
        .iter()
        .map(|row| format!("| {} |", row.join(" | ")))
        .collect();
    assert!(
        rows == expected,
        "{name}: the table of {head:?} should be\n{}\n",
        shown.join("\n")
    );
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// `rider (own), operator`.
fn callers(rules: &AccessRules, rpc: &str) -> String {
    let grants = rules.grants(rpc).unwrap_or_default().iter();
    let callers: Vec<_> = grants
        .map(|grant| match grant.scope {
            Scope::Any => grant.role.name().to_owned(),
            Scope::Own => format!("{} (own)", grant.role.name()),
        })
        .chain(rules.is_public(rpc).then(|| "nobody".to_owned()))
        .collect();
    callers.join(", ")
}

/// `/jitney.trips.v1.TripsService/GetTrip` as readers look for it.
fn rpc_name(path: &str) -> String {
    code(path.rsplit('/').next().unwrap_or_default())
}

#[test]
fn the_table_of_routes_is_the_descriptors() {
    let pool = jitney_proto::descriptor_pool();
    let rules = AccessRules::from_descriptors(&pool);
    let routes = Routes::from_descriptors(&pool).unwrap();
    let rows: Vec<Vec<String>> = routes
        .all()
        .iter()
        .map(|binding| {
            let rpc = binding.rpc.path.as_str();
            let answer = match binding.rpc.shape {
                Shape::Unary if binding.document.is_some() => "file",
                Shape::Unary => "JSON",
                Shape::ServerStream => "events",
                Shape::ClientStream | Shape::Bidirectional => "WebSocket",
            };
            vec![
                binding.method.to_string(),
                code(&binding.template.to_string()),
                rpc_name(rpc),
                answer.to_owned(),
                callers(&rules, rpc),
            ]
        })
        .collect();
    assert!(rows.len() > 20, "{rows:?}");
    assert_rows("docs/api.md", &["method", "path"], &rows);

    // In the order of the proto files.
    let services: Vec<_> = pool.services().collect();
    let inner: Vec<Vec<String>> = services
        .iter()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter_map(|method| {
            let rpc = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let is_routed = routes.all().iter().any(|binding| binding.rpc.path == rpc);
            let service = code(method.parent_service().name());
            (!is_routed).then(|| vec![rpc_name(&rpc), service, callers(&rules, &rpc)])
        })
        .collect();
    assert_rows("docs/api.md", &["rpc", "service"], &inner);
}

#[test]
fn the_table_of_reasons_is_the_closed_list() {
    let rows: Vec<Vec<String>> = Code::ALL
        .iter()
        .map(|reason| {
            // `InvalidArgument` as the protocol writes it.
            let mut grpc = String::new();
            for c in format!("{:?}", reason.grpc()).chars() {
                if c.is_ascii_uppercase() && !grpc.is_empty() {
                    grpc.push('_');
                }
                grpc.push(c.to_ascii_uppercase());
            }
            let number = reason.grpc() as i32;
            vec![
                code(reason.reason()),
                reason.http().to_string(),
                format!("{number} {grpc}"),
            ]
        })
        .collect();
    assert_rows("docs/api.md", &["reason", "HTTP"], &rows);
}

#[test]
fn the_table_of_tables_is_the_migrations() {
    let mut rows: Vec<Vec<String>> = names::tables()
        .into_iter()
        .map(|(schema, table, _)| vec![code(&format!("{schema}.{table}"))])
        .collect();
    rows.sort();
    let mut told = page("docs/data-model.md").table(&["table", "one row per"]);
    told.iter_mut().for_each(|row| row.truncate(1));
    told.sort();
    assert_eq!(told, rows);
}
