//! A city of one test: a database of its own, the trip service, and matching and billing as the test
//! plays them.

use std::{sync::Arc, time::Duration};

use jitney_platform::{
    Platform,
    auth::Role,
    client::Channel,
    serve::GrpcService,
    testing::{TestDatabase, eventually},
};
use jitney_proto::{
    billing::v1::billing_service_server::BillingServiceServer,
    common::v1::Point,
    matching::v1::matching_service_server::MatchingServiceServer,
    trips::v1::{
        GetTripRequest, Trip, TripQuote, TripState, TripTransition,
        trips_service_client::TripsServiceClient,
    },
};
use jitney_trips::{Config, Needs, SCHEMA, SERVICE, Trips};
use sqlx::{PgPool, Row};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, Routes, interceptor::InterceptedService},
};
use uuid::Uuid;

mod barrier;
mod billing;
mod calls;
mod matching;

pub use billing::FakeBilling;
pub use calls::*;
pub use matching::FakeMatching;

/// Where rides begin and end.
pub const PICKUP: Point = Point {
    latitude: 41.1496,
    longitude: -8.6110,
};
pub const DROPOFF: Point = Point {
    latitude: 41.1621,
    longitude: -8.5830,
};

/// A caller's client.
pub type Client = TripsServiceClient<InterceptedService<Channel, Token>>;

/// Puts a caller's token on every request.
#[derive(Clone)]
pub struct Token(String);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("Bearer {}", self.0)).expect("a token is text");
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// The city.
pub struct City {
    pub database: TestDatabase,
    pub matching: Arc<FakeMatching>,
    pub billing: Arc<FakeBilling>,
    pub pool: PgPool,
    config: Config,
    processes: Vec<Process>,
}

/// One process that runs the trip service.
pub struct Process {
    platform: Platform,
    service: GrpcService,
}

/// Times short enough for tests.
pub fn quick() -> Config {
    Config {
        search_recovery_interval: Duration::from_millis(200),
        search_lease: Duration::from_millis(1000),
        watch_poll_interval: Duration::from_millis(100),
        offer_record_wait: Duration::from_millis(500),
        ..Config::default()
    }
}

impl City {
    pub async fn new() -> City {
        City::with(quick()).await
    }

    pub async fn with(config: Config) -> City {
        let database = TestDatabase::new().await;
        let first = database.platform();
        let pool = first
            .database
            .open(SCHEMA, &jitney_trips::MIGRATOR)
            .await
            .expect("a schema");
        let mut city = City {
            database,
            matching: Arc::new(FakeMatching::default()),
            billing: Arc::new(FakeBilling::default()),
            pool,
            config,
            processes: Vec::new(),
        };
        city.start_process(first).await;
        city
    }

    async fn start_process(&mut self, platform: Platform) {
        let routes = Routes::new(MatchingServiceServer::from_arc(Arc::clone(&self.matching)));
        let matching =
            GrpcService::guard("jitney.matching.v1.MatchingService", routes, &platform).channel();
        let routes = Routes::new(BillingServiceServer::from_arc(Arc::clone(&self.billing)));
        let billing =
            GrpcService::guard("jitney.billing.v1.BillingService", routes, &platform).channel();
        let needs = Needs {
            platform: platform.clone(),
            matching,
            billing,
        };
        let trips = Trips::build(self.config.clone(), needs)
            .await
            .expect("the service builds");
        let service = GrpcService::guard(SERVICE, trips.rpcs(), &platform);
        self.processes.push(Process { platform, service });
    }

    /// One more process on the same database.
    pub async fn add_process(&mut self) {
        // The same keys, so that everybody's tokens go on being good.
        let keys = self.processes[0].platform.keys.clone();
        let platform = self.database.platform();
        self.start_process(Platform { keys, ..platform }).await;
    }

    /// Ends every process and starts a new one on the same database.
    pub async fn restart(&mut self) {
        for process in &self.processes {
            let is_done = process.platform.stop(Duration::from_secs(10)).await;
            assert!(is_done, "background work goes on after the stop");
        }
        let keys = self.processes[0].platform.keys.clone();
        self.processes.clear();
        let platform = self.database.platform();
        self.start_process(Platform { keys, ..platform }).await;
    }

    /// Ends one of several processes.
    pub async fn stop_process(&mut self, number: usize) {
        let process = self.processes.remove(number);
        assert!(process.platform.stop(Duration::from_secs(10)).await);
    }

    fn client(&self, role: Role, id: &str) -> Client {
        self.client_of(self.processes.len() - 1, role, id)
    }

    /// A client of one of several processes, in the order of their start.
    pub fn client_of(&self, process: usize, role: Role, id: &str) -> Client {
        let Process { platform, service } = &self.processes[process];
        let hour = Duration::from_secs(3600);
        let token = platform
            .keys
            .mint(role, id, hour, platform.clock.now())
            .expect("a token");
        TripsServiceClient::with_interceptor(service.channel(), Token(token))
    }

    /// A client with a token the service made.
    pub fn guest(&self, token: &str) -> Client {
        let service = &self.processes[self.processes.len() - 1].service;
        TripsServiceClient::with_interceptor(service.channel(), Token(token.to_owned()))
    }

    pub fn rider(&self, id: &str) -> Client {
        self.client(Role::Rider, id)
    }

    pub fn driver(&self, id: &str) -> Client {
        self.client(Role::Driver, id)
    }

    pub fn operator(&self) -> Client {
        self.client(Role::Operator, "olga")
    }

    /// Billing as it tells what happened to the money.
    pub fn billing_tells(&self) -> Client {
        self.client(Role::Service, "billing")
    }

    /// A quote for the usual ride.
    pub async fn quote(&self, rider: &str) -> TripQuote {
        let answer = self
            .rider(rider)
            .quote_trip(usual_way("economy"))
            .await
            .expect("a quote");
        answer.into_inner().quotes.remove(0)
    }

    /// A trip that a driver is looked for.
    pub async fn searching(&self, rider: &str) -> Trip {
        let quote = self.quote(rider).await;
        create(
            &mut self.rider(rider),
            &quote.quote_id,
            &Uuid::now_v7().to_string(),
        )
        .await
        .expect("a trip")
    }

    /// A trip that is offered to a driver, and the offer.
    pub async fn offered(&self, rider: &str, driver: &str) -> (Trip, String) {
        let trip = self.searching(rider).await;
        let offer_id = self.offer(&trip.trip_id, driver).await;
        (trip, offer_id)
    }

    /// Offers a searching trip to a driver and waits until that is recorded.
    pub async fn offer(&self, trip_id: &str, driver: &str) -> String {
        let search = self.matching.search(trip_id).await;
        let offer_id = search.offer(driver, Duration::from_secs(15)).await;
        self.in_state(trip_id, TripState::Offered).await;
        offer_id
    }

    /// A trip that is offered to a driver on top of another trip of theirs, and the offer.
    pub async fn offered_beside(
        &self,
        rider: &str,
        driver: &str,
        beside: &str,
        shared: bool,
    ) -> (Trip, String) {
        let trip = self.searching(rider).await;
        let search = self.matching.search(&trip.trip_id).await;
        let offer_id = search.offer_beside(driver, beside, shared).await;
        let trip = self.in_state(&trip.trip_id, TripState::Offered).await;
        (trip, offer_id)
    }

    /// A trip a driver has taken.
    pub async fn assigned(&self, rider: &str, driver: &str) -> Trip {
        let (trip, offer_id) = self.offered(rider, driver).await;
        accept(&mut self.driver(driver), &trip.trip_id, &offer_id)
            .await
            .expect("accepted")
    }

    /// A trip whose rider is on board.
    pub async fn in_progress(&self, rider: &str, driver: &str) -> Trip {
        let trip = self.assigned(rider, driver).await;
        let pin = get(&mut self.rider(rider), &trip.trip_id)
            .await
            .expect("the rider's trip")
            .pin;
        let mut driver = self.driver(driver);
        arrive(&mut driver, &trip.trip_id).await.expect("arrived");
        start(&mut driver, &trip.trip_id, &pin)
            .await
            .expect("started")
    }

    /// Waits until a trip is in a state.
    pub async fn in_state(&self, trip_id: &str, state: TripState) -> Trip {
        let mut operator = self.operator();
        eventually(state.as_str_name(), async || {
            get(&mut operator, trip_id).await.expect("the trip").state() == state
        })
        .await;
        get(&mut operator, trip_id).await.expect("the trip")
    }

    /// A trip's log.
    pub async fn log(&self, trip_id: &str) -> Vec<TripTransition> {
        let request = GetTripRequest {
            trip_id: trip_id.to_owned(),
        };
        self.operator()
            .get_trip(request)
            .await
            .expect("the trip")
            .into_inner()
            .transitions
    }

    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .expect("a count")
    }

    /// What must hold at any moment, however rides were raced, repeated or killed.
    pub async fn check(&self) {
        // In one snapshot: changes go on meanwhile.
        let row = sqlx::query(INVARIANTS)
            .fetch_one(&self.pool)
            .await
            .expect("the invariants");
        for broken in [
            "drivers_on_three_trips",
            "second_claims_astray",
            "claims_without_trip",
            "trips_without_claim",
            "trips_off_their_log",
            "gaps_in_a_log",
            "changes_without_event",
            "pending_offers_astray",
        ] {
            let number: i64 = row.try_get(broken).expect("a count");
            assert_eq!(number, 0, "{broken}");
        }
    }
}

const INVARIANTS: &str = "
    WITH live AS (
        SELECT trip_id, driver_id FROM trip
        WHERE state IN ('ASSIGNED', 'DRIVER_ARRIVED', 'IN_PROGRESS'))
    SELECT
        (SELECT count(*) FROM (SELECT driver_id FROM live GROUP BY driver_id HAVING count(*) > 2) d)
            AS drivers_on_three_trips,
        (SELECT count(*) FROM driver_claims s JOIN trip t USING (trip_id) JOIN offer o USING (offer_id)
            LEFT JOIN driver_claims f ON f.driver_id = s.driver_id AND f.slot = 0
            WHERE s.slot = 1 AND (f.trip_id IS DISTINCT FROM o.beside_trip_id OR s.shared <> o.shared))
            AS second_claims_astray,
        (SELECT count(*) FROM driver_claims c LEFT JOIN live l USING (trip_id, driver_id)
            WHERE l.trip_id IS NULL) AS claims_without_trip,
        (SELECT count(*) FROM live l LEFT JOIN driver_claims c USING (trip_id, driver_id)
            WHERE c.trip_id IS NULL) AS trips_without_claim,
        (SELECT count(*) FROM trip t LEFT JOIN trip_transition l
            ON l.trip_id = t.trip_id AND l.version = t.version AND l.to_state = t.state
            WHERE l.trip_id IS NULL) AS trips_off_their_log,
        (SELECT count(*) FROM trip_transition l
            LEFT JOIN trip_transition b ON b.trip_id = l.trip_id AND b.version = l.version - 1
            WHERE l.version > 1 AND b.to_state IS DISTINCT FROM l.from_state) AS gaps_in_a_log,
        (SELECT count(*) FROM trip_transition l FULL JOIN outbox o
            ON o.aggregateid = l.trip_id AND o.version = l.version
            WHERE l.trip_id IS NULL OR o.id IS NULL) AS changes_without_event,
        (SELECT count(*) FROM offer o JOIN trip t USING (trip_id)
            WHERE (o.state = 'PENDING') <> (t.state = 'OFFERED' AND t.offer_id = o.offer_id))
            AS pending_offers_astray";
