//! A small town to test in: ten by ten corners, 200 m apart, at 10 m/s. People are placed at corners,
//! so driving from `(x, y)` to `(0, 0)` takes about `20·(x + y)` seconds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use jitney_platform::{
    Platform,
    auth::{Role, TokenKeys},
    client::Channel,
    clock::{Clock, ManualClock},
    serve::GrpcService,
    testing::{TestDatabase, eventually},
};
use jitney_proto::{
    common::v1::{Money, Point},
    matching::v1::{
        self as wire, matching_service_client::MatchingServiceClient,
        stream_driver_request::Message as Say, stream_driver_response::Message as Told,
    },
    time::timestamp,
    trips::v1::{TripEvent, TripEventKind, TripState},
};
use jitney_roads::{RoadNetwork, testmap};
use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming};

use crate::{Config, Matching, Needs};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub type Client = MatchingServiceClient<Channel>;

/// The service in its town.
pub struct Town {
    database: TestDatabase,
    platform: Platform,
    hand: ManualClock,
    channel: Channel,
    config: Config,
    plan: Plan,
}

/// The configured map: corners eastwards and northwards; `None` cannot be opened.
type Plan = Arc<Mutex<Option<(u32, u32)>>>;

fn survey(plan: &Plan) -> anyhow::Result<RoadNetwork> {
    let size = *plan.lock().unwrap();
    let (columns, rows) = size.context("the map is burnt")?;
    Ok(testmap::grid(columns, rows, 200.0))
}

impl Town {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let database = TestDatabase::new().await;
        let start = "2025-06-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let (clock, hand) = Clock::manual(start);
        let keys = Arc::new(TokenKeys::generate());
        let platform = Platform::new(clock, database.database(), keys);
        let plan = Arc::new(Mutex::new(Some((10, 10))));
        let channel = serve(&platform, &config, &plan).await;
        Self {
            database,
            platform,
            hand,
            channel,
            config,
            plan,
        }
    }

    /// Puts another map, or none, into the place of the one that is configured.
    pub fn replace_map(&self, size: Option<(u32, u32)>) {
        *self.plan.lock().unwrap() = size;
    }

    /// Stops the service, whether orderly or as if it had been killed, and starts it again.
    pub async fn restart(self, orderly: bool) -> Self {
        let Self {
            database,
            platform,
            hand,
            config,
            plan,
            ..
        } = self;
        if orderly {
            assert!(platform.stop(PATIENCE).await, "everything ends");
        }
        // A killed one is left to itself with a clock that stands still from here on.
        let (clock, hand) = Clock::manual(hand.now());
        let keys = platform.keys.clone();
        let platform = Platform::new(clock, database.database(), keys);
        let channel = serve(&platform, &config, &plan).await;
        Self {
            database,
            platform,
            hand,
            channel,
            config,
            plan,
        }
    }

    /// The service's own tables.
    pub async fn pool(&self) -> sqlx::PgPool {
        self.platform.database.connect(crate::SCHEMA).await.unwrap()
    }

    pub fn client(&self) -> Client {
        MatchingServiceClient::new(self.channel.clone())
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.hand.now()
    }

    /// Lets time pass, second by second, and everything happen that is due.
    pub async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.hand.advance(Duration::from_secs(1));
            self.settle().await;
        }
    }

    /// Lets everything happen that is due now.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    /// Lets time pass until something is there.
    pub async fn until<T>(&self, something: impl Future<Output = T>) -> T {
        let mut something = std::pin::pin!(something);
        for _ in 0..1_000 {
            tokio::select! {
                there = &mut something => return there,
                () = self.settle() => self.hand.advance(Duration::from_secs(1)),
            }
        }
        panic!("it took too long");
    }

    /// Waits for a driver's state.
    pub async fn becomes(&self, id: &str, state: wire::DriverState) {
        eventually(&format!("{id} is {state:?}"), async || {
            self.state(id).await == state
        })
        .await;
    }

    pub fn request<T>(&self, role: Role, id: &str, message: T) -> Request<T> {
        let hour = Duration::from_secs(24 * 3_600);
        let token = self.platform.keys.mint(role, id, hour, self.now()).unwrap();
        let mut request = Request::new(message);
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    }

    pub fn as_service<T>(&self, message: T) -> Request<T> {
        self.request(Role::Service, "trips", message)
    }

    pub fn as_rider<T>(&self, id: &str, message: T) -> Request<T> {
        self.request(Role::Rider, id, message)
    }

    /// A driver's app connects.
    pub async fn connect(&self, id: &str, hello: wire::Hello) -> App {
        let (say, said) = mpsc::channel(64);
        let messages = tokio_stream::wrappers::ReceiverStream::new(said);
        let request = self.request(Role::Driver, id, messages);
        let told = self
            .client()
            .stream_driver(request)
            .await
            .unwrap()
            .into_inner();
        let app = App { say, told };
        app.say(Say::Hello(hello)).await;
        app
    }

    /// A driver of every product, on shift at a corner, with nothing unread but what follows.
    pub async fn driver_at(&self, id: &str, x: u32, y: u32) -> App {
        let mut app = self.connect(id, wire::Hello::default()).await;
        app.welcome().await;
        app.begin_shift(&["economy", "comfort", "van"]).await;
        app.ping(corner(x, y)).await;
        app
    }

    pub async fn driver(&self, id: &str) -> wire::Driver {
        let request = wire::GetDriverRequest {
            driver_id: id.into(),
        };
        let answer = self
            .client()
            .get_driver(self.as_service(request))
            .await
            .unwrap();
        answer.into_inner().driver.unwrap()
    }

    pub async fn state(&self, id: &str) -> wire::DriverState {
        self.driver(id).await.state()
    }

    /// A search for trip `number`, from the corner (0, 0).
    pub async fn search(&self, number: u32) -> Search {
        self.search_with(self.match_request(number)).await
    }

    pub async fn search_with(&self, request: wire::RequestMatchRequest) -> Search {
        let answer = self
            .client()
            .request_match(self.as_service(request))
            .await
            .unwrap();
        Search(answer.into_inner())
    }

    pub fn match_request(&self, number: u32) -> wire::RequestMatchRequest {
        wire::RequestMatchRequest {
            trip_id: trip(number),
            rider_id: "rita".into(),
            product: "economy".into(),
            pickup: Some(corner(0, 0)),
            dropoff: Some(corner(5, 5)),
            fare: Some(Money {
                currency_code: "EUR".into(),
                minor_units: 1234,
            }),
            give_up_at: Some(timestamp(self.now() + TimeDelta::seconds(120))),
            ..Default::default()
        }
    }

    /// The trip service says what happened; whether it was news.
    pub async fn tell(&self, event: TripEvent) -> bool {
        let outcomes = self.tell_all(vec![event]).await.unwrap();
        assert_eq!(outcomes[0].problem, "");
        outcomes[0].applied
    }

    /// The trip service says what happened; what became of each event.
    pub async fn tell_all(
        &self,
        events: Vec<TripEvent>,
    ) -> Result<Vec<wire::TripEventOutcome>, Status> {
        let request = wire::ApplyTripEventsRequest { events };
        let answer = self
            .client()
            .apply_trip_events(self.as_service(request))
            .await?;
        Ok(answer.into_inner().outcomes)
    }

    pub fn event(&self, number: u32, version: i64, kind: TripEventKind, driver: &str) -> TripEvent {
        let state = match kind {
            TripEventKind::Assigned => TripState::Assigned,
            TripEventKind::Started => TripState::InProgress,
            TripEventKind::Completed => TripState::Completed,
            TripEventKind::Cancelled => TripState::Cancelled,
            _ => TripState::Searching,
        };
        TripEvent {
            trip_id: trip(number),
            trip_version: version,
            kind: kind.into(),
            state: state.into(),
            occurred_at: Some(timestamp(self.now())),
            driver_id: driver.into(),
            pickup: Some(corner(0, 0)),
            dropoff: Some(corner(5, 5)),
            ..Default::default()
        }
    }
}

async fn serve(platform: &Platform, config: &Config, plan: &Plan) -> Channel {
    let roads = Arc::new(survey(plan).unwrap());
    let plan = Arc::clone(plan);
    let needs = Needs {
        platform: platform.clone(),
        roads,
        open_map: Arc::new(move || survey(&plan)),
        seed: 7,
    };
    let matching = Matching::build(config.clone(), needs).await.unwrap();
    GrpcService::guard(
        "jitney.matching.v1.MatchingService",
        matching.rpcs(),
        platform,
    )
    .channel()
}

/// A driver's app.
pub struct App {
    say: mpsc::Sender<wire::StreamDriverRequest>,
    told: Streaming<wire::StreamDriverResponse>,
}

impl App {
    pub async fn say(&self, message: Say) {
        assert!(self.try_say(message).await, "the service still listens");
    }

    /// Whether the service still listens.
    pub async fn try_say(&self, message: Say) -> bool {
        self.say
            .send(wire::StreamDriverRequest {
                message: Some(message),
            })
            .await
            .is_ok()
    }

    /// The next message, or the end.
    pub async fn next(&mut self) -> Result<wire::StreamDriverResponse, Status> {
        match tokio::time::timeout(PATIENCE, self.told.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => Err(Status::ok("the stream ended")),
            Err(_) => panic!("the app was told nothing"),
        }
    }

    pub async fn told(&mut self) -> (u64, Told) {
        let message = self.next().await.unwrap();
        (message.seq, message.message.unwrap())
    }

    pub async fn welcome(&mut self) -> wire::Welcome {
        match self.told().await {
            (0, Told::Welcome(welcome)) => welcome,
            other => panic!("{other:?} is no welcome"),
        }
    }

    /// The next offer; its number.
    pub async fn offer(&mut self) -> (u64, wire::Offer) {
        match self.told().await {
            (seq, Told::Offer(offer)) => (seq, offer),
            other => panic!("{other:?} is no offer"),
        }
    }

    pub async fn withdrawn(&mut self) -> wire::OfferEndReason {
        match self.told().await {
            (_, Told::OfferWithdrawn(withdrawn)) => withdrawn.reason(),
            other => panic!("{other:?} is no withdrawal"),
        }
    }

    pub async fn assignment(&mut self) -> wire::Assignment {
        match self.told().await {
            (_, Told::Assignment(assignment)) => assignment,
            other => panic!("{other:?} is no assignment"),
        }
    }

    pub async fn assignment_ended(&mut self) -> wire::AssignmentEnded {
        match self.told().await {
            (_, Told::AssignmentEnded(ended)) => ended,
            other => panic!("{other:?} ends no assignment"),
        }
    }

    pub async fn updated(&mut self) -> wire::DriverState {
        match self.told().await {
            (0, Told::DriverUpdate(update)) => update.driver.unwrap().state(),
            other => panic!("{other:?} is no update"),
        }
    }

    pub async fn begin_shift(&mut self, products: &[&str]) {
        let products = products.iter().map(ToString::to_string).collect();
        let vehicle = Some(wire::Vehicle {
            plate: "AB 123".into(),
            description: "white".into(),
        });
        self.say(Say::Availability(wire::Availability {
            available: true,
            products,
            vehicle,
            destination_filter: None,
        }))
        .await;
        self.updated().await;
    }

    pub async fn pings(&mut self, batch: u64, pings: Vec<wire::Ping>) -> wire::PingReceipt {
        self.say(Say::Pings(wire::Pings { batch, pings })).await;
        match self.told().await {
            (0, Told::PingReceipt(receipt)) => receipt,
            other => panic!("{other:?} is no receipt"),
        }
    }

    pub async fn ping(&mut self, place: Point) {
        let ping = wire::Ping {
            location: Some(place),
            ..Default::default()
        };
        let receipt = self.pings(1, vec![ping]).await;
        assert_eq!(receipt.accepted, 1, "{receipt:?}");
    }

    pub async fn ack(&self, seq: u64) {
        self.say(Say::Ack(wire::Ack { seq })).await;
    }
}

/// The trip service's end of a search.
pub struct Search(Streaming<wire::RequestMatchResponse>);

use wire::request_match_response::Event;

impl Search {
    pub async fn next(&mut self) -> Result<Event, Status> {
        match tokio::time::timeout(PATIENCE, self.0.next()).await {
            Ok(Some(message)) => message.map(|message| message.event.unwrap()),
            Ok(None) => Err(Status::ok("the stream ended")),
            Err(_) => panic!("the search says nothing"),
        }
    }

    pub async fn made(&mut self) -> wire::OfferMade {
        match self.next().await.unwrap() {
            Event::OfferMade(made) => made,
            other => panic!("{other:?} makes no offer"),
        }
    }

    pub async fn offer_ended(&mut self) -> wire::OfferEnded {
        match self.next().await.unwrap() {
            Event::OfferEnded(ended) => ended,
            other => panic!("{other:?} ends no offer"),
        }
    }

    pub async fn ended(&mut self) -> wire::MatchEndReason {
        self.ended_telling().await.reason()
    }

    /// The end of the search, with what it tells people.
    pub async fn ended_telling(&mut self) -> wire::MatchEnded {
        let ended = match self.next().await.unwrap() {
            Event::Ended(ended) => ended,
            other => panic!("{other:?} ends no search"),
        };
        assert_eq!(
            self.next().await.unwrap_err().code(),
            tonic::Code::Ok,
            "it was the last message"
        );
        ended
    }
}

/// A corner of the town; columns count eastwards, rows northwards.
pub fn corner(x: u32, y: u32) -> Point {
    let degrees = |blocks: u32| f64::from(blocks) * 200.0 / 111_195.0;
    Point::new(degrees(y), degrees(x))
}

pub fn trip(number: u32) -> String {
    format!("0190a000-0000-7000-8000-{number:012}")
}
