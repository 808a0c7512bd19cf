//! Matching as the test plays it: searches wait for what the test has them say, events are noted.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    common::v1::{Point, Route},
    matching::v1::{
        self as wire, ApplyTripEventsRequest, ApplyTripEventsResponse, CancelMatchRequest,
        CancelMatchResponse, ComputeRouteRequest, ComputeRouteResponse, Driver, GetDriverRequest,
        GetDriverResponse, GetServiceAreaRequest, GetServiceAreaResponse, MatchDriverRequest,
        MatchDriverResponse, MatchEndReason, MatchEnded, NearbyDriver, NearbyDriversRequest,
        NearbyDriversResponse, OfferEndReason, OfferEnded, OfferMade, Product, RequestMatchRequest,
        RequestMatchResponse, SetAvailabilityRequest, SetAvailabilityResponse, StreamDriverRequest,
        StreamDriverResponse, Vehicle, WatchDriverRequest, WatchDriverResponse, WatchFleetRequest,
        WatchFleetResponse, matching_service_server::MatchingService,
        request_match_response::Event,
    },
    time::timestamp,
    trips::v1::TripEvent,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Matching.
#[derive(Default)]
pub struct FakeMatching {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    searches: Vec<Search>,
    events: Vec<TripEvent>,
    applied: HashMap<String, i64>,
    watchers: Vec<(
        WatchDriverRequest,
        mpsc::Sender<Result<WatchDriverResponse, Status>>,
    )>,
    is_away: bool,
    searches_turned_away: usize,
    without_driver: HashSet<String>,
    places: HashMap<String, Point>,
    driven_m: HashMap<String, i64>,
    measures_turned_away: usize,
}

/// A search, as matching sees it.
#[derive(Clone)]
pub struct Search {
    /// What was asked.
    pub request: RequestMatchRequest,
    answers: mpsc::Sender<Result<RequestMatchResponse, Status>>,
}

impl Search {
    async fn say(&self, event: Event) {
        // The trip service may have gone away; that is what some tests are about.
        let _ = self
            .answers
            .send(Ok(RequestMatchResponse { event: Some(event) }))
            .await;
    }

    /// Makes an offer; its id.
    pub async fn offer(&self, driver: &str, ttl: Duration) -> String {
        let offer_id = Uuid::now_v7().to_string();
        self.offer_again(&offer_id, driver, ttl).await;
        offer_id
    }

    /// Makes an offer on top of another trip of the driver's; its id.
    pub async fn offer_beside(&self, driver: &str, trip_id: &str, shared: bool) -> String {
        let offer_id = Uuid::now_v7().to_string();
        let ttl = Duration::from_secs(15);
        self.make(&offer_id, driver, ttl, (trip_id, shared)).await;
        offer_id
    }

    /// Makes an offer of this id.
    pub async fn offer_again(&self, offer_id: &str, driver: &str, ttl: Duration) {
        self.make(offer_id, driver, ttl, ("", false)).await;
    }

    async fn make(&self, offer_id: &str, driver: &str, ttl: Duration, beside: (&str, bool)) {
        let expires_at = jitney_platform::clock::Clock::system().now() + ttl;
        self.say(Event::OfferMade(OfferMade {
            offer_id: offer_id.to_owned(),
            driver_id: driver.to_owned(),
            expires_at: Some(timestamp(expires_at)),
            pickup_duration_ms: 60_000,
            beside_trip_id: beside.0.to_owned(),
            shared: beside.1,
        }))
        .await;
    }

    /// Ends an offer.
    pub async fn end_offer(&self, offer_id: &str, driver: &str, reason: OfferEndReason) {
        self.say(Event::OfferEnded(OfferEnded {
            offer_id: offer_id.to_owned(),
            driver_id: driver.to_owned(),
            reason: reason.into(),
        }))
        .await;
    }

    /// Ends the search.
    pub async fn end(&self, reason: MatchEndReason) {
        let detail = "2 drivers offered, none accepted".to_owned();
        self.say(Event::Ended(MatchEnded {
            reason: reason.into(),
            detail,
        }))
        .await;
    }

    /// Breaks the stream.
    pub async fn break_off(&self, status: Status) {
        let _ = self.answers.send(Err(status)).await;
    }

    /// Whether the trip service still listens.
    pub fn is_heard(&self) -> bool {
        !self.answers.is_closed()
    }
}

impl FakeMatching {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The searches for a trip that are listened to.
    pub fn open_searches(&self, trip_id: &str) -> Vec<Search> {
        let state = self.lock();
        let open = |search: &&Search| search.request.trip_id == trip_id && search.is_heard();
        state.searches.iter().filter(open).cloned().collect()
    }

    /// The newest search for a trip, once there is one.
    pub async fn search(&self, trip_id: &str) -> Search {
        eventually("a search", async || !self.open_searches(trip_id).is_empty()).await;
        self.open_searches(trip_id).pop().expect("just seen")
    }

    /// How many searches were ever asked for, for a trip.
    pub fn searches(&self, trip_id: &str) -> usize {
        let state = self.lock();
        state
            .searches
            .iter()
            .filter(|search| search.request.trip_id == trip_id)
            .count()
    }

    /// How many searches were asked for while it was away.
    pub fn searches_turned_away(&self) -> usize {
        self.lock().searches_turned_away
    }

    /// What was told of a trip, in the order it was told, redeliveries included.
    pub fn events(&self, trip_id: &str) -> Vec<TripEvent> {
        let state = self.lock();
        state
            .events
            .iter()
            .filter(|event| event.trip_id == trip_id)
            .cloned()
            .collect()
    }

    /// Refuses every call, or none.
    pub fn set_away(&self, is_away: bool) {
        self.lock().is_away = is_away;
    }

    /// Knows nothing of a driver.
    pub fn forget_driver(&self, driver: &str) {
        self.lock().without_driver.insert(driver.to_owned());
    }

    /// Where a driver is.
    pub fn place_driver(&self, driver: &str, at: Point) {
        self.lock().places.insert(driver.to_owned(), at);
    }

    /// How often it was asked how far riders were driven while it was away.
    pub fn measures_turned_away(&self) -> usize {
        self.lock().measures_turned_away
    }

    /// A trip's rider was driven so far, metres.
    pub fn set_driven(&self, trip_id: &str, metres: i64) {
        self.lock().driven_m.insert(trip_id.to_owned(), metres);
    }

    /// The targets that a driver is watched on the way to, by those who still listen.
    pub fn targets(&self, driver: &str) -> Vec<jitney_proto::common::v1::Point> {
        let state = self.lock();
        let open = state
            .watchers
            .iter()
            .filter(|(request, watcher)| request.driver_id == driver && !watcher.is_closed());
        open.filter_map(|(request, _)| request.target).collect()
    }

    /// Moves a driver.
    pub async fn moved(&self, driver: &str, latitude: f64, eta_ms: i64) {
        let watchers: Vec<_> = self
            .lock()
            .watchers
            .iter()
            .filter(|(request, _)| request.driver_id == driver)
            .map(|(_, watcher)| watcher.clone())
            .collect();
        for watcher in watchers {
            let position = WatchDriverResponse {
                location: Some(jitney_proto::common::v1::Point::new(latitude, -8.6)),
                heading_degrees: Some(90.0),
                located_at: None,
                eta_ms: Some(eta_ms),
            };
            let _ = watcher.send(Ok(position)).await;
        }
    }

    #[allow(clippy::result_large_err)]
    fn here(&self) -> Result<(), Status> {
        if self.lock().is_away {
            Err(Code::Unavailable.status("matching is away"))
        } else {
            Ok(())
        }
    }
}

/// Implements the service: the rpcs that are played, and refusals for those nobody here calls.
macro_rules! played {
    ({ $($played:tt)* } $($name:ident($input:ty) -> $output:ty;)*) => {
        #[tonic::async_trait]
        impl MatchingService for FakeMatching {
            $($played)*
            $(async fn $name(&self, _: Request<$input>) -> Result<Response<$output>, Status> {
                Err(Status::unimplemented("not played"))
            })*
        }
    };
}

played! { {
    type StreamDriverStream = Answers<StreamDriverResponse>;
    type RequestMatchStream = Answers<RequestMatchResponse>;
    type WatchDriverStream = Answers<WatchDriverResponse>;
    type WatchFleetStream = Answers<WatchFleetResponse>;

    async fn stream_driver(
        &self,
        _: Request<Streaming<StreamDriverRequest>>,
    ) -> Result<Response<Self::StreamDriverStream>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn set_availability(
        &self,
        _: Request<SetAvailabilityRequest>,
    ) -> Result<Response<SetAvailabilityResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn get_driver(
        &self,
        request: Request<GetDriverRequest>,
    ) -> Result<Response<GetDriverResponse>, Status> {
        self.here()?;
        let driver_id = request.into_inner().driver_id;
        if self.lock().without_driver.contains(&driver_id) {
            return Err(Code::NotFound.status("no such driver"));
        }
        let plate = format!("{}-1", driver_id.to_uppercase());
        let vehicle = Some(Vehicle {
            plate,
            description: "white Corolla".to_owned(),
        });
        let location = self.lock().places.get(&driver_id).copied();
        let driver = Some(Driver {
            driver_id,
            vehicle,
            location,
            ..Driver::default()
        });
        Ok(Response::new(GetDriverResponse { driver }))
    }

    async fn nearby_drivers(
        &self,
        request: Request<NearbyDriversRequest>,
    ) -> Result<Response<NearbyDriversResponse>, Status> {
        self.here()?;
        // Nobody drives comfort.
        let drivers = match request.into_inner().product.as_str() {
            "economy" => vec![NearbyDriver {
                duration_ms: 90_000,
                ..NearbyDriver::default()
            }],
            _ => Vec::new(),
        };
        Ok(Response::new(NearbyDriversResponse { drivers }))
    }

    async fn match_driver(
        &self,
        _: Request<MatchDriverRequest>,
    ) -> Result<Response<MatchDriverResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn request_match(
        &self,
        request: Request<RequestMatchRequest>,
    ) -> Result<Response<Self::RequestMatchStream>, Status> {
        if let Err(away) = self.here() {
            self.lock().searches_turned_away += 1;
            return Err(away);
        }
        let (answers, receiver) = mpsc::channel(64);
        self.lock().searches.push(Search {
            request: request.into_inner(),
            answers,
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn cancel_match(
        &self,
        _: Request<CancelMatchRequest>,
    ) -> Result<Response<CancelMatchResponse>, Status> {
        Ok(Response::new(CancelMatchResponse {}))
    }

    async fn apply_trip_events(
        &self,
        request: Request<ApplyTripEventsRequest>,
    ) -> Result<Response<ApplyTripEventsResponse>, Status> {
        self.here()?;
        let mut state = self.lock();
        let outcome = |event: TripEvent| {
            let last = state.applied.entry(event.trip_id.clone()).or_default();
            let applied = event.trip_version > *last;
            *last = event.trip_version.max(*last);
            state.events.push(event);
            wire::TripEventOutcome {
                applied,
                problem: String::new(),
            }
        };
        let outcomes = request.into_inner().events.into_iter().map(outcome).collect();
        Ok(Response::new(ApplyTripEventsResponse { outcomes }))
    }

    async fn watch_driver(
        &self,
        request: Request<WatchDriverRequest>,
    ) -> Result<Response<Self::WatchDriverStream>, Status> {
        self.here()?;
        let (watcher, receiver) = mpsc::channel(64);
        self.lock().watchers.push((request.into_inner(), watcher));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn compute_route(
        &self,
        request: Request<ComputeRouteRequest>,
    ) -> Result<Response<ComputeRouteResponse>, Status> {
        self.here()?;
        let points = request.into_inner().points;
        for (index, point) in points.iter().enumerate() {
            let field = format!("points[{index}]");
            if point.latitude > 80.0 {
                return Err(Code::OutsideMap.bad_field(&field, "is 4000 km from any road"));
            }
            // Nobody knows places in the far south.
            if point.latitude < -80.0 {
                return Err(Code::InvalidRequest.bad_field(&field, "is no place"));
            }
        }
        // There is no bridge to the north.
        if points.iter().any(|point| point.latitude > 70.0) {
            let problem = "there is no way by road from point 0 to point 1";
            return Err(Code::NoRoute.status(problem));
        }
        // The usual way; a kilometre more for every place on it, three to anywhere else.
        let is_usual = points.last() == Some(&super::DROPOFF);
        let more = i64::try_from(points.len()).expect("few") - 2 + if is_usual { 0 } else { 3 };
        let route = Route {
            distance_meters: 4_200 + 1_000 * more,
            duration_ms: 660_000,
            line: points,
            steps: Vec::new(),
        };
        Ok(Response::new(ComputeRouteResponse { route: Some(route) }))
    }

    /// As far as the test says.
    async fn measure_trip(
        &self,
        request: Request<wire::MeasureTripRequest>,
    ) -> Result<Response<wire::MeasureTripResponse>, Status> {
        if let Err(away) = self.here() {
            self.lock().measures_turned_away += 1;
            return Err(away);
        }
        let driven_m = self.lock().driven_m.get(&request.into_inner().trip_id).copied();
        let distance_meters = driven_m.ok_or_else(|| Code::NotFound.status("not followed"))?;
        Ok(Response::new(wire::MeasureTripResponse {
            distance_meters,
            positions: 20,
            gap_ms: 20_000,
            way: vec![super::DROPOFF],
        }))
    }

    /// Cars are scarce everywhere.
    async fn demand_map(
        &self,
        request: Request<wire::DemandMapRequest>,
    ) -> Result<Response<wire::DemandMapResponse>, Status> {
        self.here()?;
        assert!(request.into_inner().at.is_some(), "one place is asked for");
        let cell = wire::DemandCell {
            surge_percent: 125,
            ..Default::default()
        };
        let cells = vec![cell];
        Ok(Response::new(wire::DemandMapResponse {
            cells,
            ..Default::default()
        }))
    }

    async fn watch_fleet(
        &self,
        _: Request<WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn get_service_area(
        &self,
        _: Request<GetServiceAreaRequest>,
    ) -> Result<Response<GetServiceAreaResponse>, Status> {
        self.here()?;
        let products = ["economy", "comfort"].map(|product| Product {
            product: product.to_owned(),
            title: product.to_owned(),
            seats: 4,
            shared: false,
        });
        let products = products.to_vec();
        Ok(Response::new(GetServiceAreaResponse {
            products,
            ..Default::default()
        }))
    }
}
    report_locations(Streaming<wire::ReportLocationsRequest>) -> wire::ReportLocationsResponse;
    compute_matrix(wire::ComputeMatrixRequest) -> wire::ComputeMatrixResponse;
    traffic_snapshot(wire::TrafficSnapshotRequest) -> wire::TrafficSnapshotResponse;
    list_rounds(wire::ListRoundsRequest) -> wire::ListRoundsResponse;
    explain_round(wire::ExplainRoundRequest) -> wire::ExplainRoundResponse;
    replay_round(wire::ReplayRoundRequest) -> wire::ReplayRoundResponse;
    get_policy(wire::GetPolicyRequest) -> wire::GetPolicyResponse;
    use_policy(wire::UsePolicyRequest) -> wire::UsePolicyResponse;
    reload_map(wire::ReloadMapRequest) -> wire::ReloadMapResponse;
    get_map_tile(wire::GetMapTileRequest) -> wire::GetMapTileResponse;
    search_places(wire::SearchPlacesRequest) -> wire::SearchPlacesResponse;
    describe_place(wire::DescribePlaceRequest) -> wire::DescribePlaceResponse;
}
