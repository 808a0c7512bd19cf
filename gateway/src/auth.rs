//! Who is asking, and whether the rpc's rule lets their role ask: refused here before anything is
//! read. Whether a thing is the caller's own is the service's to judge.
//!
//! The token comes in `Authorization: Bearer <token>`. A browser cannot set that header on a
//! WebSocket, so there it may come as `Sec-WebSocket-Protocol: bearer, <token>`. It is never taken
//! from the URL, which ends up in logs and histories, and it is never logged.

use std::{fmt, sync::Arc};

use axum::http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
    uri::PathAndQuery,
};
use jitney_platform::{
    auth::{AccessRules, Caller, Role, TokenKeys},
    clock::Clock,
};
use jitney_proto::Code;
use tonic::Status;

/// The WebSocket subprotocol that announces a token; it is also the one the gateway selects.
pub const SUBPROTOCOL: &str = "bearer";

/// What a token is handed on behind.
const SCHEME: &str = "Bearer ";

/// Judges tokens.
#[derive(Clone)]
pub struct Gate {
    keys: Arc<TokenKeys>,
    rules: AccessRules,
    clock: Clock,
}

/// A caller whose token was found good; or one who showed none, where none is needed.
#[derive(Clone)]
pub struct Bearer {
    /// Who; a guest without a name when there was no token.
    pub caller: Caller,
    /// The token as it is handed on; absent when there was none.
    forwarded: Option<HeaderValue>,
}

impl Gate {
    /// A gate that trusts `keys` and goes by `rules`.
    pub fn new(keys: Arc<TokenKeys>, rules: AccessRules, clock: Clock) -> Gate {
        Gate { keys, rules, clock }
    }

    /// The caller behind the headers of a request for an rpc, if the rpc's rule lets their role call.
    pub fn admit(&self, rpc_path: &str, headers: &HeaderMap) -> Result<Bearer, Status> {
        let is_silent = [AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL]
            .iter()
            .all(|name| !headers.contains_key(name));
        if is_silent && self.rules.is_public(rpc_path) {
            return Ok(Bearer::nobody());
        }
        let token = token(headers)?;
        let caller = self.keys.verify(token, self.clock.now())?;
        self.rules.check(rpc_path, &caller)?;
        let mut forwarded = HeaderValue::try_from(format!("{SCHEME}{token}"))
            .map_err(|_| Code::Unauthenticated.status("the token is malformed"))?;
        forwarded.set_sensitive(true);
        Ok(Bearer {
            caller,
            forwarded: Some(forwarded),
        })
    }

    /// Whether a token that was good still is; so is having shown none.
    pub fn check_again(&self, bearer: &Bearer) -> Result<(), Status> {
        let Some(forwarded) = &bearer.forwarded else {
            return Ok(());
        };
        let text = forwarded.to_str().unwrap_or_default();
        let token = text.strip_prefix(SCHEME).unwrap_or_default();
        self.keys.verify(token, self.clock.now()).map(drop)
    }

    /// Whether an rpc may be called without a token.
    pub fn is_public(&self, rpc_path: &PathAndQuery) -> bool {
        self.rules.is_public(rpc_path.as_str())
    }

    /// The roles that may call an rpc, as the index shows them.
    pub fn roles(&self, rpc_path: &str) -> Vec<&'static str> {
        let grants = self.rules.grants(rpc_path).unwrap_or_default();
        grants.iter().map(|grant| grant.role.name()).collect()
    }
}

impl Bearer {
    fn nobody() -> Bearer {
        Bearer {
            caller: Caller {
                role: Role::Guest,
                id: String::new(),
            },
            forwarded: None,
        }
    }

    /// Whether there was no token: such callers are told apart by their addresses only.
    pub fn is_nobody(&self) -> bool {
        self.forwarded.is_none()
    }

    /// Puts the caller's own token into the headers of a call.
    pub fn forward_in(&self, headers: &mut HeaderMap) {
        if let Some(token) = &self.forwarded {
            headers.insert(AUTHORIZATION, token.clone());
        }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

fn token(headers: &HeaderMap) -> Result<&str, Status> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = given.next() else {
        return token_of_socket(headers);
    };
    if given.next().is_some() {
        return Err(Code::Unauthenticated.status("there is more than one Authorization header"));
    }
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty())
        .ok_or_else(|| {
            Code::Unauthenticated
                .status("the Authorization header is not of the form 'Bearer <token>'")
        })
}

fn token_of_socket(headers: &HeaderMap) -> Result<&str, Status> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .skip_while(|protocol| *protocol != SUBPROTOCOL)
        .nth(1)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| {
            Code::Unauthenticated
                .status("send 'Authorization: Bearer <token>'; 'jitney token' makes one")
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<String, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        token(&map)
            .map(str::to_owned)
            .map_err(|status| status.message().to_owned())
    }

    #[test]
    fn the_token_comes_in_either_header() {
        assert_eq!(read(&[("authorization", "Bearer a.b.c")]).unwrap(), "a.b.c");
        assert_eq!(
            read(&[("authorization", "bearer  a.b.c ")]).unwrap(),
            "a.b.c"
        );
        assert_eq!(
            read(&[("sec-websocket-protocol", "bearer, a.b.c")]).unwrap(),
            "a.b.c"
        );
        assert_eq!(
            read(&[("sec-websocket-protocol", "v1,bearer,a.b.c")]).unwrap(),
            "a.b.c"
        );
        let split = [
            ("sec-websocket-protocol", "bearer"),
            ("sec-websocket-protocol", "a.b.c"),
        ];
        assert_eq!(read(&split).unwrap(), "a.b.c");
    }

    #[test]
    fn a_missing_or_odd_token_is_explained() {
        let missing = "send 'Authorization: Bearer <token>'; 'jitney token' makes one";
        assert_eq!(read(&[]).unwrap_err(), missing);
        assert_eq!(
            read(&[("sec-websocket-protocol", "bearer")]).unwrap_err(),
            missing
        );
        assert_eq!(
            read(&[("sec-websocket-protocol", "v1")]).unwrap_err(),
            missing
        );
        for odd in ["Basic YTpi", "Bearer", "Bearer ", "a.b.c"] {
            assert!(
                read(&[("authorization", odd)])
                    .unwrap_err()
                    .contains("form"),
                "{odd:?}"
            );
        }
        let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert!(read(&two).unwrap_err().contains("more than one"));
    }
}
