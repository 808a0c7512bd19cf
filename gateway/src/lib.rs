//! REST and live updates for phones, derived from the API's descriptors.
//!
//! Every rpc that carries a `google.api.http` option is served at its path: unary calls as JSON,
//! server streams as server-sent events, streams both ways as WebSockets. The gateway adds nothing to
//! the API and knows no service but by its descriptors: a new rpc is served as soon as it is declared.
//!
//! A request's way through the files: [`route`] finds the rpc, [`auth`] finds out who asks, [`limit`]
//! whether there is room, [`transcode`] (with [`template`], [`reader`] and [`text`]) makes the message,
//! [`upstream`] makes the call, and `transcode` ([`writer`]), [`stream`] or [`socket`] writes the answer. What goes
//! wrong on the way is a [`problem`].
//!
//! What is deliberately absent: SQL, the crates of the services, and any decision of theirs. Whether a
//! trip is the caller's own is for the trip service to say.
#![allow(clippy::result_large_err)] // `tonic::Status` is the error of every call.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context, Result};
use jitney_platform::{Platform, auth::AccessRules, client::Channel, tls::Tls};
use tokio::net::TcpListener;

pub mod address;
pub mod auth;
pub mod config;
pub mod document;
pub mod limit;
pub mod login;
pub mod mask;
pub mod number;
pub mod openapi;
pub mod problem;
pub mod rate;
pub mod reader;
pub mod route;
pub mod socket;
pub mod stream;
pub mod template;
pub mod text;
pub mod transcode;
pub mod upstream;
pub mod writer;

mod etag;
mod grpc_web;
mod handler;
mod health;
mod pages;
mod reference;
#[cfg(test)]
mod sample;
mod serve;
mod surround;
mod wire;

pub use config::Config;
pub use handler::OWN_PATHS;
pub use pages::are_built as pages_are_built;

use auth::Gate;
use handler::Handler;
use health::Readiness;
use limit::Limits;
use route::Routes;
use upstream::Upstream;

/// What the gateway stands on and whom it calls.
#[derive(Clone)]
pub struct Needs {
    /// Clock, keys and shutdown. The database is not touched.
    pub platform: Platform,
    /// Serves `jitney.matching.v1`. None of the channels may add a token of its own: the gateway
    /// forwards its callers'.
    pub matching: Channel,
    /// Serves `jitney.trips.v1`.
    pub trips: Channel,
    /// Serves `jitney.billing.v1`.
    pub billing: Channel,
    /// The login for development; `None` in production, where tokens come from elsewhere.
    pub login: Option<Arc<login::Login>>,
}

/// The gateway, ready to serve. Cloning it gives the same gateway.
#[derive(Clone)]
pub struct Gateway {
    handler: Arc<Handler>,
}

impl Gateway {
    /// Reads the routes from the descriptors. Fails, naming the rpc or the key, where an annotation
    /// or the configuration cannot be followed. Must be called inside a Tokio runtime.
    pub fn build(config: Config, needs: Needs) -> Result<Gateway> {
        config.check()?;
        let Needs {
            platform,
            matching,
            trips,
            billing,
            login,
        } = needs;
        let pool = jitney_proto::descriptor_pool();
        let routes = Routes::from_descriptors(&pool)?;
        for own in handler::OWN_PATHS {
            let taken = routes
                .all()
                .iter()
                .find(|binding| binding.template.to_string() == *own);
            if let Some(binding) = taken {
                anyhow::bail!(
                    "{} wants {own}, which is the gateway's own",
                    binding.rpc.name
                );
            }
        }
        let by_package = HashMap::from([
            ("jitney.matching.v1", matching),
            ("jitney.trips.v1", trips),
            ("jitney.billing.v1", billing),
        ]);
        let upstream = Arc::new(Upstream::new(
            &routes,
            &by_package,
            config.answer_bytes_max,
        )?);
        let rules = AccessRules::from_descriptors(&pool);
        let openapi = openapi::document(&pool, &routes, &rules, login.is_some());
        let gate = Gate::new(platform.keys.clone(), rules, platform.clock.clone());
        let handler = Handler {
            index: health::index(&routes, &gate),
            readiness: Readiness::of(upstream.clone()),
            limits: Limits::new(&config, platform.clock.clone()),
            openapi: openapi.to_string().into(),
            keys: platform.keys.public_set(),
            tls: {
                let tls = Tls::open(&config.tls, &["h2", "http/1.1"]).context("gateway.tls")?;
                if let Some(tls) = &tls {
                    tls.watch(&platform.tasks, &platform.shutdown);
                }
                tls
            },
            login,
            proxies: address::Proxies::read(&config.trusted_proxies)
                .context("gateway.trusted_proxies")?,
            cors: surround::cors(&config).context("gateway.cors_origins")?,
            config: Arc::new(config),
            routes,
            gate,
            upstream,
            shutdown: platform.shutdown,
            tasks: platform.tasks,
        };
        Ok(Gateway {
            handler: Arc::new(handler),
        })
    }

    /// Serves at a port until the platform is asked to stop, then drains: streams are told and ended,
    /// calls under way may end.
    pub async fn serve(&self, listener: TcpListener) -> Result<()> {
        let handler = &self.handler;
        let port = serve::Port {
            config: handler.config.clone(),
            tls: handler.tls.clone(),
            proxies: handler.proxies.clone(),
        };
        let paths = handler::paths(handler.clone());
        serve::serve(listener, paths, port, handler.shutdown.clone()).await
    }
}
