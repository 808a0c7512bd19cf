//! Where a request comes from: the other end of its connection, or, where that is a proxy we trust,
//! whom the proxy names.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use axum::http::HeaderMap;
use ipnet::IpNet;

/// The other end of a connection, which the port puts into the extensions of each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The proxies whose word is taken.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads addresses and networks.
    pub fn read(trusted: &[String]) -> anyhow::Result<Proxies> {
        let network = |text: &String| -> anyhow::Result<IpNet> {
            match text.parse::<IpAddr>() {
                Ok(address) => Ok(address.into()),
                Err(_) => text.parse().with_context(|| {
                    format!("{text:?} is neither an address nor a network like 10.0.0.0/8")
                }),
            }
        };
        trusted
            .iter()
            .map(network)
            .collect::<Result<_, _>>()
            .map(Proxies)
    }

    /// The address a request is counted under. Each trusted proxy appends whom it heard from, so the
    /// list is read from its end, up to the first that is no proxy of ours; what stands before that
    /// anybody may have written.
    pub fn origin(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        let mut origin = peer.0.ip().to_canonical();
        let lists: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        let named = lists
            .iter()
            .rev()
            .flat_map(|list| list.to_str().unwrap_or_default().rsplit(','));
        for name in named {
            if !self.trusts(origin) {
                break;
            }
            // A proxy that names nobody leaves us with itself.
            let Ok(address) = name.trim().parse::<IpAddr>() else {
                break;
            };
            origin = address.to_canonical();
        }
        origin
    }

    /// Whether an address is one of them.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8".to_owned(), "192.0.2.9".to_owned()];
        let proxies = Proxies::read(&trusted).unwrap();
        let origin = |peer: &str, lists: &[&str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append("x-forwarded-for", list.parse().unwrap());
            }
            let peer = Peer(format!("{peer}:1234").parse().unwrap());
            proxies.origin(peer, &headers).to_string()
        };
        assert_eq!(origin("10.1.1.1", &["203.0.113.7"]), "203.0.113.7");
        assert_eq!(origin("203.0.113.7", &["198.51.100.1"]), "203.0.113.7");
        // The first name was made up by whoever asked; the proxies appended the others.
        let made_up = ["198.51.100.1, 203.0.113.7, 192.0.2.9"];
        assert_eq!(origin("10.1.1.1", &made_up), "203.0.113.7");
        assert_eq!(
            origin("10.1.1.1", &["198.51.100.1", "203.0.113.7"]),
            "203.0.113.7"
        );
        assert_eq!(origin("10.1.1.1", &["unknown"]), "10.1.1.1");
        assert_eq!(origin("10.1.1.1", &[]), "10.1.1.1");
        assert!(Proxies::read(&["proxy".to_owned()]).is_err());
    }
}
