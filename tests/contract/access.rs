//! I10: every rpc says who may call it, over REST and over gRPC, and everybody else is refused.

use std::collections::BTreeSet;

use jitney_platform::auth::{AccessRules, Role};
use reqwest::Method;

use crate::support::City;

/// Every binding of every rpc: its full name, verb and path template.
fn bindings() -> Vec<(String, Method, String)> {
    let pool = jitney_proto::descriptor_pool();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let mut found = Vec::new();
    for method in pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        let options = method.options();
        if !options.has_extension(&http) {
            continue;
        }
        let rule = options.get_extension(&http).as_message().unwrap().clone();
        let mut rules = vec![rule.clone()];
        let more = rule
            .get_field_by_name("additional_bindings")
            .unwrap()
            .into_owned();
        rules.extend(
            more.as_list()
                .unwrap()
                .iter()
                .map(|rule| rule.as_message().unwrap().clone()),
        );
        for rule in rules {
            for verb in ["get", "put", "post", "delete", "patch"] {
                let path = rule
                    .get_field_by_name(verb)
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .to_owned();
                if !path.is_empty() {
                    let path = path.replace(['{', '}'], "").replace("_id", "");
                    found.push((
                        format!("/{}/{}", method.parent_service().full_name(), method.name()),
                        Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap(),
                        path,
                    ));
                }
            }
        }
    }
    found
}

#[test]
fn every_rpc_has_a_rule() {
    let pool = jitney_proto::descriptor_pool();
    let rules = AccessRules::from_descriptors(&pool);
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            assert!(
                rules.grants(&path).is_some_and(|grants| !grants.is_empty()),
                "{path} has no access rule"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_nobody_and_the_wrong_role() {
    let city = City::start().await;
    let rules = AccessRules::from_descriptors(&jitney_proto::descriptor_pool());
    let bindings = bindings();
    assert!(
        bindings.len() > 20,
        "the walk finds the routes: {}",
        bindings.len()
    );
    for (rpc, verb, path) in &bindings {
        let mut nobody = city.rider("x");
        nobody.token.clear();
        let answer = nobody.send(nobody.request(verb.clone(), path)).await;
        if rules.is_public(rpc) {
            assert_ne!(
                answer.status.as_u16(),
                401,
                "{verb} {path} is for everybody"
            );
        } else {
            answer.refused(401, "UNAUTHENTICATED");
        }
        let granted: BTreeSet<String> = rules
            .grants(rpc)
            .unwrap()
            .iter()
            .map(|grant| format!("{:?}", grant.role))
            .collect();
        for role in Role::ALL {
            if granted.contains(&format!("{role:?}")) {
                continue;
            }
            let phone = city.phone(role, "stranger");
            let answer = phone.send(phone.request(verb.clone(), path)).await;
            assert_eq!(
                answer.status.as_u16(),
                403,
                "{verb} {path} as {role:?}: {}",
                answer.body
            );
            assert_eq!(answer.reason(), "PERMISSION_DENIED");
        }
    }
}

/// The same over gRPC, behind the gateway's back: the services check for themselves.
#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_nobody_and_the_wrong_role() {
    let city = City::start().await;
    let rules = AccessRules::from_descriptors(&jitney_proto::descriptor_pool());
    for service in jitney_proto::descriptor_pool().services() {
        let address = match service.name() {
            "MatchingService" => city.addresses.matching,
            "TripsService" => city.addresses.trips,
            "BillingService" => city.addresses.billing,
            other => panic!("{other} has no port in this test"),
        };
        let channel =
            tonic::transport::Endpoint::from_shared(format!("http://{}", address.unwrap()))
                .unwrap()
                .connect()
                .await
                .unwrap();
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let granted: BTreeSet<String> = rules
                .grants(&path)
                .unwrap()
                .iter()
                .map(|grant| format!("{:?}", grant.role))
                .collect();
            let call = async |token: Option<String>| {
                let mut client = tonic::client::Grpc::new(channel.clone());
                client.ready().await.unwrap();
                let mut request = tonic::Request::new(());
                if let Some(token) = token {
                    request
                        .metadata_mut()
                        .insert("authorization", format!("Bearer {token}").parse().unwrap());
                }
                let codec = tonic_prost::ProstCodec::<(), ()>::default();
                let answer = client.unary(request, path.parse().unwrap(), codec).await;
                answer.err().map_or(tonic::Code::Ok, |status| status.code())
            };
            let is_refused = call(None).await == tonic::Code::Unauthenticated;
            assert_eq!(is_refused, !rules.is_public(&path), "{path} as nobody");
            for role in Role::ALL {
                if !granted.contains(&format!("{role:?}")) {
                    let token = city.phone(role, "stranger").token;
                    assert_eq!(
                        call(Some(token)).await,
                        tonic::Code::PermissionDenied,
                        "{path} as {role:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_on_every_port() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let city = City::start().await;
    for (name, address) in [
        (
            "jitney.matching.v1.MatchingService",
            city.addresses.matching,
        ),
        ("jitney.trips.v1.TripsService", city.addresses.trips),
        ("jitney.billing.v1.BillingService", city.addresses.billing),
    ] {
        let channel =
            tonic::transport::Endpoint::from_shared(format!("http://{}", address.unwrap()))
                .unwrap()
                .connect()
                .await
                .unwrap();
        let health = HealthClient::new(channel.clone())
            .check(HealthCheckRequest {
                service: name.to_owned(),
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(health.status, 1, "{name} is SERVING");
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut answers = ServerReflectionClient::new(channel)
            .server_reflection_info(tokio_stream::once(request))
            .await
            .unwrap()
            .into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else {
            panic!("{answer:?}")
        };
        assert!(
            list.service.iter().any(|service| service.name == name),
            "{list:?}"
        );
    }
}
