//! What production must not be started with. Everything that is wrong is told at once, with the setting
//! that makes it right.

use anyhow::bail;
use jitney_billing::provider::config::ProviderKind;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::{Config, Which, config::Mode};

/// Refuses settings that are unsafe outside development.
///
/// # Errors
/// In production, with every setting that is unsafe there for what this process runs.
pub fn check(config: &Config, which: Which) -> anyhow::Result<()> {
    if config.mode == Mode::Development {
        return Ok(());
    }
    let unsafe_settings = unsafe_settings(config, which);
    if unsafe_settings.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = unsafe_settings
        .iter()
        .map(|told| format!("\n- {told}"))
        .collect();
    bail!("not safe with mode = \"production\":{}", list.concat())
}

fn unsafe_settings(config: &Config, which: Which) -> Vec<String> {
    let mut told = Vec::new();
    let runs = |one| which == Which::All || which == one;
    let gateway = &config.gateway;
    if runs(Which::Gateway) {
        if !is_here(&config.listen.gateway) && !gateway.tls.is_on() && !gateway.behind_tls_proxy {
            told.push(format!(
                "listen.gateway = {:?} without TLS: tokens can be read on the way. Set gateway.tls, or \
                 gateway.behind_tls_proxy if a proxy speaks it",
                config.listen.gateway
            ));
        }
        for (key, rate) in [
            ("requests_per_second", gateway.requests_per_second),
            (
                "address_requests_per_second",
                gateway.address_requests_per_second,
            ),
            (
                "address_refusals_per_minute",
                gateway.address_refusals_per_minute,
            ),
        ] {
            if rate == 0 {
                told.push(format!("gateway.{key} = 0: nothing bounds who tries"));
            }
        }
    }
    let services = [
        (
            Which::Matching,
            "matching",
            &config.listen.matching,
            &config.services.matching,
        ),
        (
            Which::Trips,
            "trips",
            &config.listen.trips,
            &config.services.trips,
        ),
        (
            Which::Billing,
            "billing",
            &config.listen.billing,
            &config.services.billing,
        ),
    ];
    let has_mutual = config.tls.is_on() && config.tls.authority.is_some();
    for (one, name, listen, uri) in services {
        if runs(one) && !is_here(listen) && !has_mutual {
            told.push(format!(
                "listen.{name} = {listen:?} without certificates: set tls.certificate, tls.key and \
                 tls.authority"
            ));
        }
        let host = uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest);
        if calls(which, one) && !uri.starts_with("https://") && !is_here(host) {
            told.push(format!(
                "services.{name} = {uri:?}: calls cross the network without TLS; make it https:// and \
                 set tls"
            ));
        }
    }
    if config.tls.is_on() && !has_mutual {
        told.push("tls.authority is not set: anybody may call the services".to_owned());
    }
    if config.seed.is_some() {
        told.push("seed: whoever knows it sees through drivers' aliases".to_owned());
    }
    if runs(Which::Billing) && config.billing.provider.kind == ProviderKind::Sandbox {
        told.push(
            "billing.provider.kind = \"sandbox\": it plays payments, and no money moves; \
             use \"stripe\" or \"none\""
                .to_owned(),
        );
    }
    if let Some(url) = &config.database_url
        && which.needs_database()
        && let Ok(options) = url.reveal().parse::<PgConnectOptions>()
    {
        let is_local = options.get_socket().is_some()
            || options.get_host().starts_with('/')
            || is_here(options.get_host());
        let is_checked = matches!(
            options.get_ssl_mode(),
            PgSslMode::VerifyFull | PgSslMode::VerifyCa
        );
        if !is_local && !is_checked {
            told.push(
                "the database URL has no sslmode=verify-full: somebody in between could be it"
                    .to_owned(),
            );
        }
    }
    told
}

/// Whether a process that runs `which` calls `one` over the network.
fn calls(which: Which, one: Which) -> bool {
    match which {
        Which::Gateway => one != Which::Gateway,
        Which::Trips => matches!(one, Which::Matching | Which::Billing),
        _ => false,
    }
}

/// Whether an address, `host:port`, is on this machine.
fn is_here(address: &str) -> bool {
    let host = match address.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => address,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn production() -> Config {
        let mut config = Config {
            mode: Mode::Production,
            ..Config::default()
        };
        config.billing.provider.kind = ProviderKind::None;
        config
    }

    #[test]
    fn development_may_do_anything() {
        let mut config = Config {
            seed: Some(1),
            ..Config::default()
        };
        config.listen.gateway = "0.0.0.0:8080".into();
        check(&config, Which::All).unwrap();
    }

    #[test]
    fn production_is_refused_what_is_unsafe() {
        check(&production(), Which::All).unwrap();
        let refused = |which, change: &dyn Fn(&mut Config)| {
            let mut config = production();
            change(&mut config);
            check(&config, which)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        type Change = dyn Fn(&mut Config);
        let cases: [(Which, &Change, &str); 11] = [
            (
                Which::All,
                &|c| c.listen.gateway = "0.0.0.0:8080".into(),
                "listen.gateway",
            ),
            (
                Which::Gateway,
                &|c| c.listen.gateway = "[::]:8080".into(),
                "listen.gateway",
            ),
            (
                Which::Gateway,
                &|c| c.gateway.requests_per_second = 0,
                "gateway.requests_per_second",
            ),
            (
                Which::Gateway,
                &|c| c.gateway.address_refusals_per_minute = 0,
                "address_refusals",
            ),
            (
                Which::Trips,
                &|c| c.listen.trips = "10.0.0.1:1".into(),
                "listen.trips",
            ),
            (
                Which::Trips,
                &|c| c.services.billing = "http://billing:1".into(),
                "services.billing",
            ),
            (
                Which::Gateway,
                &|c| c.services.trips = "http://trips:1".into(),
                "services.trips",
            ),
            (Which::All, &|c| c.seed = Some(7), "seed"),
            (
                Which::All,
                &|c| c.billing.provider.kind = ProviderKind::Sandbox,
                "sandbox",
            ),
            (
                Which::All,
                &|c| c.tls.certificate = Some("x".into()),
                "tls.authority",
            ),
            (
                Which::Trips,
                &|c| c.database_url = Some("postgres://u@db.example.org/j".to_owned().into()),
                "verify-full",
            ),
        ];
        for (which, change, told) in cases {
            let refusal = refused(which, change);
            assert!(refusal.contains(told), "{told}: {refusal:?}");
        }
        // What another process runs is its own concern, and what is made safe is fine.
        let safe: [(Which, &Change); 6] = [
            (Which::Trips, &|c| c.listen.gateway = "0.0.0.0:8080".into()),
            (Which::Billing, &|c| {
                c.services.trips = "http://trips:1".into()
            }),
            (Which::Gateway, &|c| {
                c.listen.gateway = "0.0.0.0:8080".into();
                c.gateway.behind_tls_proxy = true;
            }),
            (Which::Gateway, &|c| {
                c.listen.gateway = "0.0.0.0:8080".into();
                c.gateway.tls.certificate = Some("x".into());
            }),
            (Which::Trips, &|c| {
                c.listen.trips = "10.0.0.1:1".into();
                c.services.matching = "https://matching:1".into();
                c.tls.certificate = Some("x".into());
                c.tls.authority = Some("x".into());
            }),
            (Which::Trips, &|c| {
                let url = "postgres://u@db.example.org/j?sslmode=verify-full";
                c.database_url = Some(url.to_owned().into());
            }),
        ];
        for (which, change) in safe {
            assert_eq!(refused(which, change), "");
        }
        let all = refused(Which::All, &|c| {
            c.seed = Some(1);
            c.listen.gateway = "0.0.0.0:1".into();
        });
        assert!(
            all.contains("seed") && all.contains("listen.gateway"),
            "{all}"
        );
    }

    #[test]
    fn this_machine_is_known() {
        for here in [
            "127.0.0.1:1",
            "localhost:1",
            "[::1]:1",
            "127.0.0.1",
            "localhost",
        ] {
            assert!(is_here(here), "{here}");
        }
        for away in [
            "0.0.0.0:1",
            "[::]:1",
            "10.0.0.1:1",
            "db.example.org",
            "localhost.example.org:1",
        ] {
            assert!(!is_here(away), "{away}");
        }
    }
}
