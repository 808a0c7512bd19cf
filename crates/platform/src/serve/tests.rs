//! The same calls over the network and in process: whoever calls cannot tell the difference.

use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use jitney_proto::{
    Code,
    trips::v1::{
        AcceptOfferRequest, GetTripRequest, GetTripResponse, Trip, WatchTripRequest,
        WatchTripResponse, trips_service_client::TripsServiceClient,
    },
};
use sqlx::postgres::PgConnectOptions;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus as Health, health_client::HealthClient,
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::*;
use crate::{
    auth::{Caller, Role, TokenKeys},
    clock::Clock,
    db::{Database, DatabaseConfig},
};

const TRIPS: &str = "jitney.trips.v1.TripsService";

/// Answers by the trip's id: `panic`, `forever`, `slow`; otherwise with who asked.
struct Trips;

impl tonic::server::UnaryService<GetTripRequest> for Trips {
    type Response = GetTripResponse;
    type Future = BoxFuture<'static, Result<Response<GetTripResponse>, Status>>;

    fn call(&mut self, request: Request<GetTripRequest>) -> Self::Future {
        Box::pin(async move {
            let caller = Caller::of(&request)?;
            match request.get_ref().trip_id.as_str() {
                "panic" => panic!("as the test wants it"),
                "forever" => std::future::pending().await,
                "slow" => tokio::time::sleep(Duration::from_millis(300)).await,
                _ => {}
            }
            let trip_id = format!("{} {}", caller.role, caller.id);
            let trip = Trip {
                trip_id,
                ..Trip::default()
            };
            Ok(Response::new(GetTripResponse {
                trip: Some(trip),
                ..Default::default()
            }))
        })
    }
}

impl tonic::server::ServerStreamingService<WatchTripRequest> for Trips {
    type Response = WatchTripResponse;
    type ResponseStream = BoxStream<'static, Result<WatchTripResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<WatchTripRequest>) -> Self::Future {
        let trip_id = request.into_inner().trip_id;
        let first = futures::stream::iter([Ok(WatchTripResponse::default())]);
        let rest: BoxStream<'static, Result<WatchTripResponse, Status>> = match trip_id.as_str() {
            // After the first message is on its way.
            "panic" => futures::stream::once(async {
                tokio::task::yield_now().await;
                panic!("as the test wants it")
            })
            .boxed(),
            "forever" => futures::stream::pending().boxed(),
            _ => futures::stream::empty().boxed(),
        };
        Box::pin(async move { Ok(Response::new(first.chain(rest).boxed())) })
    }
}

fn routes() -> Routes {
    let get = async |request: Request_| {
        let codec = ProstCodec::<GetTripResponse, GetTripRequest>::default();
        tonic::server::Grpc::new(codec).unary(Trips, request).await
    };
    let watch = async |request: Request_| {
        let codec = ProstCodec::<WatchTripResponse, WatchTripRequest>::default();
        tonic::server::Grpc::new(codec)
            .server_streaming(Trips, request)
            .await
    };
    let mut routes = Routes::default();
    let router = std::mem::take(routes.axum_router_mut())
        .route(
            "/jitney.trips.v1.TripsService/GetTrip",
            axum::routing::any(get),
        )
        .route(
            "/jitney.trips.v1.TripsService/WatchTrip",
            axum::routing::any(watch),
        );
    router
        .fallback(async || Status::unimplemented("").into_http::<axum::body::Body>())
        .into()
}

type Request_ = axum::extract::Request;

fn platform() -> Platform {
    let database = Database::new(
        PgConnectOptions::new_without_pgpass(),
        DatabaseConfig::default(),
    );
    Platform::new(Clock::system(), database, Arc::new(TokenKeys::generate()))
}

/// The service, reachable in two ways.
struct Served {
    platform: Platform,
    in_process: Channel,
    remote: Channel,
    uri: String,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Served {
    async fn start() -> Self {
        let platform = platform();
        let service = GrpcService::guard(TRIPS, routes(), &platform);
        let listener = bind("127.0.0.1:0", "the test").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let in_process = service.channel();
        let remote = Channel::remote(&uri).unwrap();
        let server = tokio::spawn(serve_grpc(listener, vec![service], platform.clone()));
        Self {
            platform,
            in_process,
            remote,
            uri,
            server,
        }
    }

    fn both(&self) -> [(&'static str, TripsServiceClient<Channel>); 2] {
        [
            (
                "in process",
                TripsServiceClient::new(self.in_process.clone()),
            ),
            ("remote", TripsServiceClient::new(self.remote.clone())),
        ]
    }

    fn as_role<T>(&self, role: Role, message: T) -> Request<T> {
        let keys = &self.platform.keys;
        let now = self.platform.clock.now();
        let token = keys
            .mint(role, "anna", Duration::from_secs(60), now)
            .unwrap();
        with_token(message, &token)
    }

    fn get(&self, trip_id: &str) -> Request<GetTripRequest> {
        self.as_role(
            Role::Rider,
            GetTripRequest {
                trip_id: trip_id.to_owned(),
            },
        )
    }

    fn watch(&self, trip_id: &str) -> Request<WatchTripRequest> {
        let message = WatchTripRequest {
            trip_id: trip_id.to_owned(),
            ..Default::default()
        };
        self.as_role(Role::Rider, message)
    }
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test]
async fn the_handler_knows_who_calls() {
    let served = Served::start().await;
    for (way, mut client) in served.both() {
        let answer = client.get_trip(served.get("x")).await.unwrap().into_inner();
        assert_eq!(answer.trip.unwrap().trip_id, "rider anna", "{way}");
        let mut stream = client
            .watch_trip(served.watch("x"))
            .await
            .unwrap()
            .into_inner();
        assert!(stream.message().await.unwrap().is_some(), "{way}");
        assert!(stream.message().await.unwrap().is_none(), "{way}");
    }
}

#[tokio::test]
async fn nobody_gets_past_the_guard() {
    let served = Served::start().await;
    let stranger = TokenKeys::generate();
    let now = served.platform.clock.now();
    let forged = stranger
        .mint(Role::Operator, "eve", Duration::from_secs(60), now)
        .unwrap();
    for (way, mut client) in served.both() {
        let get = || GetTripRequest {
            trip_id: "x".to_owned(),
        };
        for request in [
            Request::new(get()),
            with_token(get(), ""),
            with_token(get(), "nonsense"),
            with_token(get(), &forged),
        ] {
            let status = client.get_trip(request).await.unwrap_err();
            assert_eq!(
                Code::of(&status),
                Some(Code::Unauthenticated),
                "{way}: {status:?}"
            );
            assert!(!status.message().contains(&forged));
        }
        let mut basic = Request::new(get());
        basic
            .metadata_mut()
            .insert("authorization", "Basic YTpi".parse().unwrap());
        let status = client.get_trip(basic).await.unwrap_err();
        assert!(status.message().contains("Bearer"), "{way}: {status:?}");

        // A rider may not take offers.
        let accept = served.as_role(Role::Rider, AcceptOfferRequest::default());
        let status = client.accept_offer(accept).await.unwrap_err();
        assert_eq!(
            Code::of(&status),
            Some(Code::PermissionDenied),
            "{way}: {status:?}"
        );
        // A driver may, but this service does not know how.
        let accept = served.as_role(Role::Driver, AcceptOfferRequest::default());
        let status = client.accept_offer(accept).await.unwrap_err();
        assert_eq!(
            status.code(),
            tonic::Code::Unimplemented,
            "{way}: {status:?}"
        );
        // A stream is refused before it begins.
        let status = client
            .watch_trip(WatchTripRequest::default())
            .await
            .unwrap_err();
        assert_eq!(
            Code::of(&status),
            Some(Code::Unauthenticated),
            "{way}: {status:?}"
        );
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_next_call_works() {
    let served = Served::start().await;
    for (way, mut client) in served.both() {
        let status = client.get_trip(served.get("panic")).await.unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::Internal), "{way}: {status:?}");
        assert!(!status.message().contains("as the test wants it"), "{way}");

        let mut stream = client
            .watch_trip(served.watch("panic"))
            .await
            .unwrap()
            .into_inner();
        assert!(stream.message().await.unwrap().is_some());
        let status = stream.message().await.unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::Internal), "{way}: {status:?}");
        client.get_trip(served.get("x")).await.unwrap();
    }
}

#[tokio::test]
async fn deadlines_hold_for_answers_and_streams() {
    let served = Served::start().await;
    for (way, mut client) in served.both() {
        let mut request = served.get("forever");
        request.set_timeout(Duration::from_millis(60));
        let status = client.get_trip(request).await.unwrap_err();
        assert_eq!(
            Code::of(&status),
            Some(Code::DeadlineExceeded),
            "{way}: {status:?}"
        );

        let mut request = served.watch("forever");
        // Long enough for the first message on a busy machine.
        request.set_timeout(Duration::from_millis(600));
        let mut stream = client.watch_trip(request).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        let end = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
        let status = end.expect("the stream ends").unwrap_err();
        assert_eq!(
            Code::of(&status),
            Some(Code::DeadlineExceeded),
            "{way}: {status:?}"
        );
    }
}

#[tokio::test]
async fn health_and_reflection_need_no_token() {
    let served = Served::start().await;
    let channel = tonic::transport::Channel::from_shared(served.uri.clone()).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    for service in ["", TRIPS] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), Health::Serving);
    }
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?}");
    };
    assert!(list.service.iter().any(|service| service.name == TRIPS));
}

#[tokio::test]
async fn stopping_says_so_and_finishes_what_was_begun() {
    let served = Served::start().await;
    let channel = tonic::transport::Channel::from_shared(served.uri.clone()).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let request = HealthCheckRequest {
        service: TRIPS.to_owned(),
    };
    let mut states = health.watch(request).await.unwrap().into_inner();
    assert_eq!(
        states.message().await.unwrap().unwrap().status(),
        Health::Serving
    );

    let mut client = TripsServiceClient::new(served.remote.clone());
    let request = served.get("slow");
    let under_way = tokio::spawn(async move { client.get_trip(request).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.platform.shutdown.cancel();
    assert_eq!(
        states.message().await.unwrap().unwrap().status(),
        Health::NotServing
    );
    under_way.await.unwrap().unwrap();
    drop((states, health));
    let ended = tokio::time::timeout(Duration::from_secs(5), served.server).await;
    ended.expect("the server ends").unwrap().unwrap();

    // Nobody is there any more, and the error says who.
    let mut client = TripsServiceClient::new(Channel::remote(&served.uri).unwrap());
    let status = client
        .get_trip(GetTripRequest::default())
        .await
        .unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::Unavailable), "{status:?}");
    assert!(status.message().contains(TRIPS), "{status:?}");
}

#[tokio::test]
async fn a_service_signs_only_what_is_unsigned() {
    let served = Served::start().await;
    for channel in [&served.in_process, &served.remote] {
        let Platform { keys, clock, .. } = &served.platform;
        let channel = channel
            .clone()
            .with_service_token(keys.clone(), clock.clone(), "trips");
        let mut client = TripsServiceClient::new(channel);
        let answer = client
            .get_trip(GetTripRequest::default())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.trip.unwrap().trip_id, "service trips");
        let answer = client.get_trip(served.get("x")).await.unwrap().into_inner();
        assert_eq!(answer.trip.unwrap().trip_id, "rider anna");
    }
}

#[tokio::test]
async fn a_port_that_cannot_be_had_is_explained() {
    let taken = bind("127.0.0.1:0", "the first").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let problem = bind(&address, "the second").await.unwrap_err().to_string();
    for part in [address.as_str(), "the second", "another program"] {
        assert!(problem.contains(part), "{problem}");
    }
    assert!(
        bind("nonsense", "x")
            .await
            .unwrap_err()
            .to_string()
            .contains("127.0.0.1:7000")
    );
    assert!(Channel::remote("nonsense").is_err());
}
