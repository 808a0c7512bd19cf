//! Who is calling, and whether they may. Tokens are JWTs: our own are signed with Ed25519 and nothing
//! else, those of other issuers with what their published keys are for. Which role may call which rpc
//! is read from the API's descriptors, and what they do not allow is refused. Whether a thing is the
//! caller's own is for the service to judge, which knows the thing.

use std::{fmt, str::FromStr, time::Duration};

use jitney_proto::{
    Code,
    common::v1 as pb,
    ids::{DriverId, RiderId},
};
use serde::{Deserialize, Serialize};
use tonic::Status;

mod access;
mod issuer;
mod jwks;
mod keyfile;
mod keys;
mod strict;

pub use access::{AccessRules, Grant, Scope};
pub use issuer::IssuerConfig;
pub use keys::TokenKeys;

/// Whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// How far the clocks of issuers and ours may be apart.
    #[serde(with = "humantime_serde")]
    pub clock_skew: Duration,
    /// Issuers whose tokens are taken besides those signed with our own key.
    pub issuers: Vec<IssuerConfig>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            clock_skew: Duration::from_secs(30),
            issuers: Vec::new(),
        }
    }
}

/// What the bearer of a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person who asks for rides.
    Rider,
    /// A person who gives rides.
    Driver,
    /// The people who run the city.
    Operator,
    /// Another part of Jitney, or a back end of the operator's own.
    Service,
    /// Whoever has a link to one trip; the id is the link's.
    Guest,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [
        Role::Rider,
        Role::Driver,
        Role::Operator,
        Role::Service,
        Role::Guest,
    ];

    /// The role's name in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Role::Rider => "rider",
            Role::Driver => "driver",
            Role::Operator => "operator",
            Role::Service => "service",
            Role::Guest => "guest",
        }
    }

    /// The role of the API; `None` for one that is never granted.
    pub fn of(role: pb::Role) -> Option<Role> {
        match role {
            pb::Role::Unspecified => None,
            pb::Role::Rider => Some(Role::Rider),
            pb::Role::Driver => Some(Role::Driver),
            pb::Role::Operator => Some(Role::Operator),
            pb::Role::Service => Some(Role::Service),
            pb::Role::Guest => Some(Role::Guest),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text is not a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of rider, driver, operator, service, guest")]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;
    fn from_str(text: &str) -> Result<Self, NotARole> {
        Role::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or(NotARole)
    }
}

/// Who is calling: what a verified token says. The guard of [`crate::serve`] puts it into the
/// extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// What they are.
    pub role: Role,
    /// Which of them: a rider's, a driver's, an operator's or a service's id.
    pub id: String,
}

impl Caller {
    /// Who made a request.
    ///
    /// # Errors
    /// UNAUTHENTICATED when the request came round the guard.
    #[allow(clippy::result_large_err)] // Status is what every handler answers.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
        request
            .extensions()
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| Code::Unauthenticated.status("the request carries no verified caller"))
    }

    /// Whether the caller sees everything: an operator or a service.
    pub fn is_staff(&self) -> bool {
        matches!(self.role, Role::Operator | Role::Service)
    }

    /// The caller as a rider.
    ///
    /// # Errors
    /// PERMISSION_DENIED for any other role.
    #[allow(clippy::result_large_err)]
    pub fn rider_id(&self) -> Result<RiderId, Status> {
        self.id_as(Role::Rider)
    }

    /// The caller as a driver.
    ///
    /// # Errors
    /// PERMISSION_DENIED for any other role.
    #[allow(clippy::result_large_err)]
    pub fn driver_id(&self) -> Result<DriverId, Status> {
        self.id_as(Role::Driver)
    }

    #[allow(clippy::result_large_err)]
    fn id_as<I: FromStr>(&self, role: Role) -> Result<I, Status>
    where
        I::Err: fmt::Display,
    {
        if self.role != role {
            let message = format!("this is for a {role}; the token is a {}'s", self.role);
            return Err(Code::PermissionDenied.status(message));
        }
        self.id
            .parse()
            .map_err(|error: I::Err| Code::Unauthenticated.status(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_one_thing_only() {
        let rider = Caller {
            role: Role::Rider,
            id: "anna".to_owned(),
        };
        assert_eq!(rider.rider_id().unwrap().as_str(), "anna");
        assert_eq!(
            Code::of(&rider.driver_id().unwrap_err()),
            Some(Code::PermissionDenied)
        );
        assert!(!rider.is_staff());
        assert!(
            Caller {
                role: Role::Service,
                id: "trips".to_owned()
            }
            .is_staff()
        );
    }

    #[test]
    fn a_request_round_the_guard_is_nobodys() {
        let status = Caller::of(&tonic::Request::new(())).unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::Unauthenticated));
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!("admin".parse::<Role>(), Err(NotARole));
    }
}
