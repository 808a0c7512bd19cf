//! A gateway and its fakes, each at a port of its own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jitney_gateway::{Config, Gateway, Needs, login::Login};
use jitney_platform::{
    Platform,
    auth::{Role, TokenKeys},
    client::Channel,
    clock::Clock,
    db::{Database, DatabaseConfig},
    serve::{self, GrpcService},
    tls::Tls,
};
use jitney_proto::{
    billing::v1::billing_service_server::BillingServiceServer,
    matching::v1::matching_service_server::MatchingServiceServer,
    trips::v1::trips_service_server::TripsServiceServer,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::backend::Backend;

pub struct Sandbox {
    pub address: std::net::SocketAddr,
    pub backend: Backend,
    /// The codes of logins, in order.
    pub codes: Arc<Mutex<Vec<String>>>,
    /// The gateway's surroundings; the fakes have their own, so that it stops alone.
    pub platform: Platform,
    pub served: Option<JoinHandle<anyhow::Result<()>>>,
    services: Platform,
    client: Client,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.platform.shutdown.cancel();
        self.services.shutdown.cancel();
    }
}

impl Sandbox {
    pub async fn start() -> Sandbox {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Sandbox {
        Self::at(config, Clock::system()).await
    }

    /// With services across the network.
    pub async fn at(config: Config, clock: Clock) -> Sandbox {
        let services = platform(clock);
        let backend = Backend::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve::serve_grpc(
            listener,
            guarded(&backend, &services),
            services.clone(),
        ));
        let channel = Channel::remote(&uri).unwrap();
        Self::around(
            config,
            services,
            backend,
            [channel.clone(), channel.clone(), channel],
        )
        .await
    }

    /// With services that ask for certificates; the gateway calls with `client`'s, or without any.
    pub async fn secured(server: Arc<Tls>, client: Option<Arc<Tls>>) -> Sandbox {
        let services = platform(Clock::system());
        let backend = Backend::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(serve::serve_grpc_with(
            listener,
            guarded(&backend, &services),
            services.clone(),
            Some(server),
        ));
        let channel = match client {
            Some(client) => Channel::remote_tls(&format!("https://{host}"), client),
            None => Channel::remote(&format!("http://{host}")),
        };
        let channel = channel.unwrap();
        let channels = [channel.clone(), channel.clone(), channel];
        Self::around(Config::default(), services, backend, channels).await
    }

    /// With services in the same process.
    pub async fn in_process() -> Sandbox {
        let services = platform(Clock::system());
        let backend = Backend::default();
        let channels: Vec<_> = guarded(&backend, &services)
            .iter()
            .map(GrpcService::channel)
            .collect();
        let channels = channels.try_into().ok().unwrap();
        Self::around(Config::default(), services, backend, channels).await
    }

    /// With channels that lead nowhere.
    pub async fn alone(config: Config) -> Sandbox {
        let services = platform(Clock::system());
        let nowhere = Channel::remote("http://127.0.0.1:9").unwrap();
        let channels = [nowhere.clone(), nowhere.clone(), nowhere];
        Self::around(config, services, Backend::default(), channels).await
    }

    async fn around(
        config: Config,
        services: Platform,
        backend: Backend,
        [trips, matching, billing]: [Channel; 3],
    ) -> Sandbox {
        let platform = Platform {
            shutdown: Default::default(),
            tasks: Default::default(),
            ..services.clone()
        };
        let codes = Arc::<Mutex<Vec<String>>>::default();
        let told = codes.clone();
        let login = Login::open(
            config.login.clone(),
            platform.keys.clone(),
            platform.clock.clone(),
            None,
            Arc::new(move |_, code| told.lock().unwrap().push(code.to_owned())),
        );
        let login = login.unwrap();
        let needs = Needs {
            platform: platform.clone(),
            trips,
            matching,
            billing,
            login: Some(Arc::new(login)),
        };
        let gateway = Gateway::build(config, needs).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Some(tokio::spawn(async move { gateway.serve(listener).await }));
        let client = Client::builder()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Sandbox {
            address,
            backend,
            codes,
            platform,
            served,
            services,
            client,
        }
    }

    pub fn token(&self, role: Role, id: &str) -> String {
        let now = self.platform.clock.now();
        self.platform
            .keys
            .mint(role, id, Duration::from_secs(3600), now)
            .unwrap()
    }

    /// A request without a token.
    pub fn bare(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    pub fn rider(&self, method: &str, path: &str) -> RequestBuilder {
        self.bare(method, path)
            .bearer_auth(self.token(Role::Rider, "anna"))
    }

    pub fn driver(&self, method: &str, path: &str) -> RequestBuilder {
        self.bare(method, path)
            .bearer_auth(self.token(Role::Driver, "dan"))
    }

    /// The last thing the services saw.
    pub fn seen(&self) -> String {
        self.backend
            .seen
            .lock()
            .unwrap()
            .last()
            .cloned()
            .unwrap_or_default()
    }

    pub fn has_seen(&self, line: &str) -> bool {
        self.backend
            .seen
            .lock()
            .unwrap()
            .iter()
            .any(|seen| seen == line)
    }

    pub fn open_streams(&self) -> usize {
        self.backend.open.load(std::sync::atomic::Ordering::SeqCst)
    }
}

fn platform(clock: Clock) -> Platform {
    let database = Database::new(PgConnectOptions::new(), DatabaseConfig::default());
    Platform::new(clock, database, Arc::new(TokenKeys::generate()))
}

/// Trips, matching, billing.
fn guarded(backend: &Backend, platform: &Platform) -> Vec<GrpcService> {
    let trips = TripsServiceServer::new(backend.clone());
    let matching = MatchingServiceServer::new(backend.clone());
    let billing = BillingServiceServer::new(backend.clone());
    vec![
        GrpcService::guard("jitney.trips.v1.TripsService", trips, platform),
        GrpcService::guard("jitney.matching.v1.MatchingService", matching, platform),
        GrpcService::guard("jitney.billing.v1.BillingService", billing, platform),
    ]
}

/// An answer's HTTP status and JSON.
pub async fn read(request: RequestBuilder) -> (u16, Value) {
    parse(request.send().await.unwrap()).await
}

pub async fn parse(response: Response) -> (u16, Value) {
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.headers().contains_key("x-request-id"));
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
    )
}

/// An error's HTTP status, reason and message.
pub async fn refused(request: RequestBuilder) -> (u16, String, String) {
    let (status, json) = read(request).await;
    let detail = &json["details"][0];
    assert_eq!(
        detail["@type"], "type.googleapis.com/google.rpc.ErrorInfo",
        "{json}"
    );
    assert_eq!(detail["domain"], "jitney");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (status, text(&detail["reason"]), text(&json["message"]))
}
