//! The sandbox that makes a test short: a whole city in this process on free ports and a database of
//! its own, phones and driver apps on its gateway, and waiting on conditions.

mod collector;
mod driver_app;
mod phone;
mod process;

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use jitney_cli::{App, Config, Parts, Which};
use jitney_platform::{
    auth::{Role, TokenKeys},
    clock::Clock,
    testing::TestDatabase,
};
use jitney_roads::RoadNetwork;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use collector::Collector;
pub use driver_app::DriverApp;
pub use phone::Phone;
pub use process::{BillingProcess, Process, program};

/// Places on the roads of the built-in city, as latitude and longitude.
pub mod places {
    /// In front of the casino.
    pub const CASINO: (f64, f64) = (43.7393, 7.4276);
    /// By the railway station.
    pub const STATION: (f64, f64) = (43.7384, 7.4193);
    /// By the port.
    pub const PORT: (f64, f64) = (43.7350, 7.4213);
    /// In Fontvieille.
    pub const FONTVIEILLE: (f64, f64) = (43.7287, 7.4153);
    /// Out on the water.
    pub const SEA: (f64, f64) = (43.7200, 7.4600);
}

/// A place as JSON.
pub fn point(at: (f64, f64)) -> Value {
    json!({"latitude": at.0, "longitude": at.1})
}

/// The built-in city's map, read once.
pub fn monaco() -> Arc<RoadNetwork> {
    static MAP: std::sync::LazyLock<Arc<RoadNetwork>> = std::sync::LazyLock::new(|| {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/monaco.roads");
        Arc::new(RoadNetwork::load(&file).unwrap())
    });
    MAP.clone()
}

/// Waits until `condition` gives something, looking again and again. Fails the test after 30 s.
#[track_caller]
pub fn eventually<T, F, Fut>(what: &'static str, mut condition: F) -> impl Future<Output = T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "never happened: {what} ({caller})"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A whole city in this process.
pub struct City {
    /// The gateway's base URL.
    pub url: String,
    /// Makes tokens the city trusts.
    pub keys: Arc<TokenKeys>,
    /// The database of this city alone.
    pub database: TestDatabase,
    /// Where its services are.
    pub addresses: jitney_cli::app::Addresses,
    config: Config,
    roads: Arc<RoadNetwork>,
    shutdown: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl City {
    /// The built-in city with the defaults.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The built-in city with settings of the test's own.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(monaco(), change).await
    }

    /// A city on another map.
    pub async fn start_on(roads: Arc<RoadNetwork>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            seed: Some(1),
            ..Config::default()
        };
        config.listen.gateway = "127.0.0.1:0".into();
        config.listen.matching = "127.0.0.1:0".into();
        config.listen.trips = "127.0.0.1:0".into();
        config.listen.billing = "127.0.0.1:0".into();
        change(&mut config);
        let database = TestDatabase::new().await;
        let mut city = Self {
            url: String::new(),
            keys: Arc::new(TokenKeys::generate()),
            database,
            addresses: Default::default(),
            config,
            roads,
            shutdown: CancellationToken::new(),
            running: None,
        };
        city.run().await;
        city
    }

    async fn run(&mut self) {
        self.shutdown = CancellationToken::new();
        let parts = Parts {
            clock: Clock::system(),
            keys: self.keys.clone(),
            database: self.database.database(),
            roads: Some(self.roads.clone()),
            sessions: None,
            shutdown: self.shutdown.clone(),
        };
        let app = App::build(&self.config, Which::All, parts)
            .await
            .expect("the city starts");
        self.addresses = app.addresses();
        self.url = format!("http://{}", self.addresses.gateway.unwrap());
        self.running = Some(tokio::spawn(app.run()));
    }

    /// Stops the city as SIGTERM does, and starts it again on the same database and port.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.config.listen.gateway = self.addresses.gateway.unwrap().to_string();
        self.run().await;
    }

    /// Stops the city as SIGTERM does and waits until it has drained.
    pub async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(running) = self.running.take() {
            running
                .await
                .expect("the city does not panic")
                .expect("the city stops cleanly");
        }
    }

    /// A phone with a token of this role and id.
    pub fn phone(&self, role: Role, id: &str) -> Phone {
        let token = self
            .keys
            .mint(role, id, Duration::from_secs(3600), Clock::system().now())
            .unwrap();
        Phone::new(&self.url, id, token)
    }

    /// A rider's phone.
    pub fn rider(&self, id: &str) -> Phone {
        self.phone(Role::Rider, id)
    }

    /// A driver's phone, without the stream.
    pub fn driver(&self, id: &str) -> Phone {
        self.phone(Role::Driver, id)
    }

    /// An operator's phone.
    pub fn operator(&self) -> Phone {
        self.phone(Role::Operator, "ops")
    }

    /// A driver on shift at a place, serving `economy`.
    pub async fn driver_online(&self, id: &str, at: (f64, f64)) -> DriverApp {
        let mut app = DriverApp::connect(&self.driver(id)).await;
        app.go_online(at, &["economy"]).await;
        app
    }

    /// Asks for an economy ride and gives the trip.
    pub async fn request(&self, rider: &Phone, from: (f64, f64), to: (f64, f64)) -> Value {
        let body = json!({"pickup": point(from), "dropoff": point(to), "product": "economy"});
        let key = format!("{}-ride", rider.id);
        // As a phone does: a refusal for a while is tried again under the same key.
        eventually("the ride is asked for", || async {
            let answer = rider.post_keyed("/v1/trips", &key, body.clone()).await;
            (answer.status != 503).then(|| answer.ok()["trip"].clone())
        })
        .await
    }

    /// Whether the ledger holds, from the operator's point of view.
    pub async fn ledger(&self) -> Value {
        self.operator().get("/v1/ledger:check").await.ok()
    }
}

impl Drop for City {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Waits until a trip is in a state, and gives it.
pub async fn trip_in(phone: &Phone, trip_id: &str, state: &str) -> Value {
    eventually("the trip reaches the state", || async {
        let trip = phone.get(&format!("/v1/trips/{trip_id}")).await.ok()["trip"].clone();
        (trip["state"] == state).then_some(trip)
    })
    .await
}

/// Waits until the provider has taken what so many rides cost: two entries of each, and no other.
pub async fn assert_paid_once(ops: &Phone, rides: usize) {
    let is_there = || async {
        let request = ops.request(reqwest::Method::GET, "/v1/ledger:check");
        let ledger = ops.try_send(request).await.ok()?;
        let entries: usize = ledger.body["entries"].as_str()?.parse().ok()?;
        (entries >= 2 * rides).then_some(ledger.body)
    };
    let ledger = eventually("the provider has taken it", is_there).await;
    let entries = &ledger["entries"];
    assert_eq!(*entries, (2 * rides).to_string(), "{ledger}");
    assert_eq!(ledger["balanced"], true, "{ledger}");
}

/// Waits until a trip has its receipt, and gives it. The program may be starting meanwhile.
pub async fn receipt_of(phone: &Phone, trip_id: &str) -> Value {
    eventually("the receipt is there", || async {
        let request = phone.request(
            reqwest::Method::GET,
            &format!("/v1/trips/{trip_id}/receipt"),
        );
        let answer = phone.try_send(request).await.ok()?;
        answer
            .status
            .is_success()
            .then(|| answer.body["receipt"].clone())
    })
    .await
}
