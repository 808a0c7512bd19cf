//! Puts the services together: the one place that knows them all. `Config → App::build → run` serves
//! `jitney serve` and the tests alike.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use jitney_billing::Billing;
use jitney_gateway::{
    Gateway,
    login::{self, Login},
};
use jitney_matching::Matching;
use jitney_platform::{
    Platform,
    auth::TokenKeys,
    client::Channel,
    clock::Clock,
    db::Database,
    serve::{self, GrpcService},
    telemetry,
    tls::Tls,
};
use jitney_roads::RoadNetwork;
use jitney_trips::Trips;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config,
    config::{METRICS_DEFAULT, Mode},
};

/// The proto services' full names, as clients call them.
const MATCHING: &str = "jitney.matching.v1.MatchingService";
const TRIPS: &str = "jitney.trips.v1.TripsService";
const BILLING: &str = "jitney.billing.v1.BillingService";

/// Which services one process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// Every service, calling each other without a socket.
    All,
    /// Who drives whom.
    Matching,
    /// Where every ride stands.
    Trips,
    /// Who owes whom.
    Billing,
    /// REST and live updates.
    Gateway,
}

impl Which {
    /// Whether this process runs `one`.
    fn runs(self, one: Which) -> bool {
        self == Which::All || self == one
    }

    /// Whether this process needs the road map.
    pub fn needs_roads(self) -> bool {
        self.runs(Which::Matching)
    }

    /// Whether this process needs a database.
    pub fn needs_database(self) -> bool {
        self != Which::Gateway
    }
}

/// What an [`App`] is built from besides its configuration.
pub struct Parts {
    /// The time.
    pub clock: Clock,
    /// Checks and makes tokens.
    pub keys: Arc<TokenKeys>,
    /// The database of all services, a schema each.
    pub database: Database,
    /// The road map; only matching needs it.
    pub roads: Option<Arc<RoadNetwork>>,
    /// Where the development login keeps its sessions; without it they end with the process.
    pub sessions: Option<PathBuf>,
    /// Cancelled to stop the program.
    pub shutdown: CancellationToken,
}

/// A gRPC port with what it serves.
struct Port {
    listener: TcpListener,
    service: GrpcService,
}

/// The services of one process, bound to their ports and not yet serving.
pub struct App {
    platform: Platform,
    tls: Option<Arc<Tls>>,
    ports: Vec<Port>,
    gateway: Option<(Gateway, TcpListener)>,
    metrics: Option<(axum::Router, TcpListener)>,
    addresses: Addresses,
}

/// Where the services of one process are; `None` for those it does not run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Addresses {
    /// REST, SSE and WebSocket.
    pub gateway: Option<SocketAddr>,
    /// Matching's gRPC.
    pub matching: Option<SocketAddr>,
    /// Trips' gRPC.
    pub trips: Option<SocketAddr>,
    /// Billing's gRPC.
    pub billing: Option<SocketAddr>,
    /// What is measured.
    pub metrics: Option<SocketAddr>,
}

impl App {
    /// Binds the ports, brings the schemas up to date and builds the services.
    ///
    /// # Errors
    /// A port that is taken (named), a database that cannot be reached or migrated, a setting that
    /// makes no sense.
    pub async fn build(config: &Config, which: Which, parts: Parts) -> anyhow::Result<Self> {
        // Ports first: a conflict is the commonest mistake and the cheapest to find.
        let (mut ports, mut addresses) = (Vec::new(), Addresses::default());
        let matching_listener = bind(which, Which::Matching, &config.listen.matching).await?;
        let trips_listener = bind(which, Which::Trips, &config.listen.trips).await?;
        let billing_listener = bind(which, Which::Billing, &config.listen.billing).await?;
        let gateway_listener = bind(which, Which::Gateway, &config.listen.gateway).await?;
        let metrics = bind_metrics(&config.listen.metrics).await?;
        if let Some((_, listener)) = &metrics {
            addresses.metrics = Some(listener.local_addr()?);
        }

        let platform = Platform {
            clock: parts.clock,
            database: parts.database,
            keys: parts.keys,
            shutdown: parts.shutdown,
            tasks: TaskTracker::new(),
        };
        platform.keys.watch(&platform.tasks, &platform.shutdown);
        let tls = Tls::open(&config.tls, &["h2"]).context("tls")?;
        if let Some(tls) = &tls {
            tls.watch(&platform.tasks, &platform.shutdown);
        }
        let mut port =
            |listener: TcpListener, service: &GrpcService| -> anyhow::Result<SocketAddr> {
                let address = listener.local_addr()?;
                ports.push(Port {
                    listener,
                    service: service.clone(),
                });
                Ok(address)
            };

        // Who tells others what they were not asked: it is given the way to them once they are built.
        let mut teller = None;
        let billing = match billing_listener {
            Some(listener) => {
                let needs = jitney_billing::Needs {
                    platform: platform.clone(),
                };
                let billing = Billing::build(config.billing.clone(), needs)
                    .await
                    .context("billing cannot start")?;
                let service = GrpcService::guard(BILLING, billing.rpcs(), &platform);
                addresses.billing = Some(port(listener, &service)?);
                teller = Some(billing);
                service.channel()
            }
            None => remote("services.billing", &config.services.billing, tls.as_ref())?,
        };

        let matching = match matching_listener {
            Some(listener) => {
                let needs = jitney_matching::Needs {
                    platform: platform.clone(),
                    roads: parts.roads.context("matching needs a road map")?,
                    open_map: {
                        let config = config.clone();
                        Arc::new(move || crate::program::open_roads(&config))
                    },
                    seed: config
                        .seed
                        .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0),
                };
                let matching = Matching::build(config.matching.clone(), needs)
                    .await
                    .context("matching cannot start")?;
                let service = GrpcService::guard(MATCHING, matching.rpcs(), &platform);
                addresses.matching = Some(port(listener, &service)?);
                service.channel()
            }
            None => remote("services.matching", &config.services.matching, tls.as_ref())?,
        };

        let trips = match trips_listener {
            Some(listener) => {
                let as_trips = |channel: &Channel| {
                    channel.clone().with_service_token(
                        platform.keys.clone(),
                        platform.clock.clone(),
                        "trips",
                    )
                };
                let needs = jitney_trips::Needs {
                    platform: platform.clone(),
                    matching: as_trips(&matching),
                    billing: as_trips(&billing),
                };
                let trips = Trips::build(config.trips.clone(), needs)
                    .await
                    .context("trips cannot start")?;
                let service = GrpcService::guard(TRIPS, trips.rpcs(), &platform);
                addresses.trips = Some(port(listener, &service)?);
                service.channel()
            }
            None => remote("services.trips", &config.services.trips, tls.as_ref())?,
        };

        if let Some(billing) = teller {
            billing.tell(trips.clone());
        }

        let gateway = match gateway_listener {
            Some(listener) => {
                addresses.gateway = Some(listener.local_addr()?);
                let needs = jitney_gateway::Needs {
                    login: login(config, &platform, parts.sessions.as_deref())?,
                    platform: platform.clone(),
                    matching,
                    trips,
                    billing,
                };
                Some((Gateway::build(config.gateway.clone(), needs)?, listener))
            }
            None => None,
        };
        Ok(Self {
            platform,
            tls,
            ports,
            gateway,
            metrics,
            addresses,
        })
    }

    /// Where the services of this process are.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until the shutdown token is cancelled, then drains: no new calls, open ones finish,
    /// background tasks stop.
    ///
    /// # Errors
    /// A listener that fails: the others are drained first, for half a city helps nobody.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut serving = JoinSet::new();
        for Port { listener, service } in self.ports {
            serving.spawn(serve::serve_grpc_with(
                listener,
                vec![service],
                self.platform.clone(),
                self.tls.clone(),
            ));
        }
        if let Some((gateway, listener)) = self.gateway {
            serving.spawn(async move { gateway.serve(listener).await });
        }
        if let Some((router, listener)) = self.metrics {
            let shutdown = self.platform.shutdown.clone();
            serving.spawn(async move {
                let served = axum::serve(listener, router);
                let served = served.with_graceful_shutdown(shutdown.cancelled_owned());
                Ok(served.await?)
            });
        }
        let mut outcome = Ok(());
        while let Some(ended) = serving.join_next().await {
            let ended = ended
                .context("a listener panicked")
                .and_then(|served| served);
            if ended.is_err() {
                self.platform.shutdown.cancel();
            }
            outcome = outcome.and(ended);
        }
        self.platform.tasks.close();
        self.platform.tasks.wait().await;
        self.platform.database.close().await;
        outcome
    }
}

async fn bind(which: Which, one: Which, address: &str) -> anyhow::Result<Option<TcpListener>> {
    if !which.runs(one) {
        return Ok(None);
    }
    let what = format!("listen.{}", format!("{one:?}").to_lowercase());
    serve::bind(address, &what).await.map(Some)
}

/// The port for what is measured, where anything is and somewhere to tell it. The default may be taken by
/// another process of ours, which is no reason not to serve; one that was asked for must be had.
async fn bind_metrics(address: &str) -> anyhow::Result<Option<(axum::Router, TcpListener)>> {
    if address.is_empty() {
        return Ok(None);
    }
    let Some(router) = telemetry::metrics_router() else {
        return Ok(None);
    };
    match serve::bind(address, "listen.metrics").await {
        Ok(listener) => Ok(Some((router, listener))),
        Err(error) if address == METRICS_DEFAULT => {
            tracing::warn!("{error:#}; metrics are not served");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The login, where there is one.
fn login(
    config: &Config,
    platform: &Platform,
    sessions: Option<&Path>,
) -> anyhow::Result<Option<Arc<Login>>> {
    if config.mode == Mode::Production {
        return Ok(None);
    }
    let login = Login::open(
        config.gateway.login.clone(),
        platform.keys.clone(),
        platform.clock.clone(),
        sessions,
        login::to_log(),
    );
    Ok(Some(Arc::new(login.context("the development login")?)))
}

fn remote(key: &str, uri: &str, tls: Option<&Arc<Tls>>) -> anyhow::Result<Channel> {
    let channel = match tls {
        Some(tls) if uri.starts_with("https://") => Channel::remote_tls(uri, tls.clone()),
        _ if uri.starts_with("https://") => {
            anyhow::bail!("{key} = {uri:?} needs a certificate: set tls")
        }
        _ => Channel::remote(uri),
    };
    channel.with_context(|| format!("{key} = {uri:?} is not a URL"))
}
