//! Which role may call which rpc: the `access` option of the API's descriptors, and nothing else.

use std::{collections::HashMap, sync::Arc};

use jitney_proto::{Code, common::v1 as pb};
use prost::Message;
use prost_reflect::DescriptorPool;
use tonic::Status;

use super::{Caller, Role};

/// The option that carries the rule of an rpc.
const ACCESS_OPTION: &str = "jitney.common.v1.access";

/// How far a role's reach goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every request of the role.
    Any,
    /// Only requests about what is the caller's own, which the service judges.
    Own,
}

/// One role that may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// Its reach.
    pub scope: Scope,
}

/// The rule of one rpc.
#[derive(Clone, Debug, Default)]
struct Rule {
    grants: Vec<Grant>,
    is_public: bool,
}

/// The rule of every rpc, by its path. An rpc that declares none grants nothing. Cloning it gives the same.
#[derive(Clone, Debug)]
pub struct AccessRules(Arc<HashMap<String, Rule>>);

impl AccessRules {
    /// The rules that the API's own descriptors declare.
    pub fn from_descriptors(pool: &DescriptorPool) -> Self {
        let option = pool.get_extension_by_name(ACCESS_OPTION);
        let mut rules = HashMap::new();
        for service in pool.services() {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let rule = option.as_ref().map(|option| {
                    let options = method.options();
                    let access = options.get_extension(option);
                    let message = access.as_message().map(Message::encode_to_vec);
                    rule_of(&message.unwrap_or_default())
                });
                rules.insert(path, rule.unwrap_or_default());
            }
        }
        Self(Arc::new(rules))
    }

    /// Whether `caller` may call `path`, for example `/jitney.trips.v1.TripsService/GetTrip`.
    ///
    /// # Errors
    /// PERMISSION_DENIED when the role has no grant, UNIMPLEMENTED when there is no such rpc.
    #[allow(clippy::result_large_err)]
    pub fn check(&self, path: &str, caller: &Caller) -> Result<(), Status> {
        let Some(rule) = self.0.get(path) else {
            return Err(Status::unimplemented("there is no such rpc"));
        };
        if rule.grants.iter().any(|grant| grant.role == caller.role) {
            return Ok(());
        }
        Err(Code::PermissionDenied.status(format!("a {} may not call this", caller.role)))
    }

    /// Who may call `path`; `None` when there is no such rpc.
    pub fn grants(&self, path: &str) -> Option<&[Grant]> {
        self.0.get(path).map(|rule| rule.grants.as_slice())
    }

    /// Whether `path` may be called without a token too.
    pub fn is_public(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|rule| rule.is_public)
    }

    /// The path of every rpc.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn rule_of(encoded: &[u8]) -> Rule {
    // Bytes that are no rule grant nothing.
    let access = pb::Access::decode(encoded).unwrap_or_default();
    let grants = access
        .grants
        .iter()
        .filter_map(|grant| {
            let role = Role::of(grant.role())?;
            let scope = match grant.scope() {
                pb::Scope::Unspecified | pb::Scope::Any => Scope::Any,
                pb::Scope::Own => Scope::Own,
            };
            Some(Grant { role, scope })
        })
        .collect();
    Rule {
        grants,
        is_public: access.public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_says_who_may_call_it() {
        let rules = AccessRules::from_descriptors(&jitney_proto::descriptor_pool());
        let ours: Vec<_> = rules
            .paths()
            .filter(|path| path.starts_with("/jitney."))
            .collect();
        assert!(ours.len() > 10, "{ours:?}");
        for path in ours {
            assert!(
                !rules.grants(path).unwrap().is_empty(),
                "{path} has no access option"
            );
        }
    }

    #[test]
    fn only_the_map_is_public() {
        let rules = AccessRules::from_descriptors(&jitney_proto::descriptor_pool());
        let public: Vec<_> = rules.paths().filter(|path| rules.is_public(path)).collect();
        assert_eq!(public, ["/jitney.matching.v1.MatchingService/GetMapTile"]);
    }

    #[test]
    fn what_is_not_granted_is_refused() {
        let rules = AccessRules::from_descriptors(&jitney_proto::descriptor_pool());
        let path = "/jitney.trips.v1.TripsService/AcceptOffer";
        let may = |role| {
            rules.check(
                path,
                &Caller {
                    role,
                    id: "x".to_owned(),
                },
            )
        };
        assert!(may(Role::Driver).is_ok());
        assert_eq!(
            Code::of(&may(Role::Rider).unwrap_err()),
            Some(Code::PermissionDenied)
        );
        let own = Grant {
            role: Role::Driver,
            scope: Scope::Own,
        };
        assert!(rules.grants(path).unwrap().contains(&own));

        let caller = Caller {
            role: Role::Operator,
            id: "x".to_owned(),
        };
        let unknown = rules.check("/jitney.trips.v1.TripsService/Nothing", &caller);
        assert_eq!(unknown.unwrap_err().code(), tonic::Code::Unimplemented);
    }

    #[test]
    fn an_rpc_without_a_rule_is_refused_to_all() {
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_proto(prost_types::FileDescriptorProto {
            name: Some("x.proto".to_owned()),
            package: Some("x".to_owned()),
            message_type: vec![prost_types::DescriptorProto {
                name: Some("M".to_owned()),
                ..Default::default()
            }],
            service: vec![prost_types::ServiceDescriptorProto {
                name: Some("S".to_owned()),
                method: vec![prost_types::MethodDescriptorProto {
                    name: Some("Do".to_owned()),
                    input_type: Some(".x.M".to_owned()),
                    output_type: Some(".x.M".to_owned()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        })
        .unwrap();
        let rules = AccessRules::from_descriptors(&pool);
        for role in Role::ALL {
            let status = rules
                .check(
                    "/x.S/Do",
                    &Caller {
                        role,
                        id: "x".to_owned(),
                    },
                )
                .unwrap_err();
            assert_eq!(Code::of(&status), Some(Code::PermissionDenied));
        }
    }
}
