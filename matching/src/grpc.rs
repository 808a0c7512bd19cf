//! The rpcs of [`MatchingService`]: who may, what was asked, what is answered. Decisions are made
//! elsewhere, see [`crate::dispatch`].

mod booking;
mod demand;
mod driver_stream;
mod map;
mod match_stream;
mod meter;
mod nearby;
mod places;
mod report;
mod rounds;
mod route;
mod traffic;
mod trip_events;
mod watch;

use std::sync::Arc;

use futures::stream::BoxStream;
use jitney_platform::auth::Caller;
use jitney_proto::{
    ids::{DriverId, IdError, TripId},
    matching::v1::{self as wire, matching_service_server::MatchingService},
};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    dispatch::Ground, error::Refusal, fleet::ShiftChange, outbound::OutboundStream,
    service::Service, wire as words,
};

/// The handlers.
pub struct Handlers {
    service: Arc<Service>,
}

impl Handlers {
    /// Handlers of a running service.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl MatchingService for Handlers {
    type StreamDriverStream = OutboundStream<wire::StreamDriverResponse>;

    async fn stream_driver(
        &self,
        request: Request<Streaming<wire::StreamDriverRequest>>,
    ) -> Result<Response<Self::StreamDriverStream>, Status> {
        let driver = Caller::of(&request)?.driver_id()?;
        let service = Arc::clone(&self.service);
        Ok(Response::new(driver_stream::open(
            service,
            driver,
            request.into_inner(),
        )))
    }

    async fn report_locations(
        &self,
        request: Request<Streaming<wire::ReportLocationsRequest>>,
    ) -> Result<Response<wire::ReportLocationsResponse>, Status> {
        let report = report::report(&self.service, request.into_inner()).await;
        report.map(Response::new)
    }

    async fn set_availability(
        &self,
        request: Request<wire::SetAvailabilityRequest>,
    ) -> Result<Response<wire::SetAvailabilityResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let id = own_driver(&caller, &request.driver_id)?;
        let wire::SetAvailabilityRequest {
            available,
            products,
            vehicle,
            destination_filter,
            ..
        } = request;
        let change = shift_change(
            &self.service.ground(),
            available,
            &products,
            vehicle,
            destination_filter,
        )?;
        let driver = self.service.shift(&id, change).await?;
        Ok(Response::new(wire::SetAvailabilityResponse {
            driver: Some(driver),
        }))
    }

    async fn get_driver(
        &self,
        request: Request<wire::GetDriverRequest>,
    ) -> Result<Response<wire::GetDriverResponse>, Status> {
        let id = own_driver(&Caller::of(&request)?, &request.get_ref().driver_id)?;
        let dispatch = self.service.look();
        let driver = dispatch.wire_driver(dispatch.known(&id)?);
        Ok(Response::new(wire::GetDriverResponse {
            driver: Some(driver),
        }))
    }

    async fn nearby_drivers(
        &self,
        request: Request<wire::NearbyDriversRequest>,
    ) -> Result<Response<wire::NearbyDriversResponse>, Status> {
        let caller = Caller::of(&request)?;
        let drivers = nearby::nearby(&self.service, &caller, request.get_ref())?;
        Ok(Response::new(wire::NearbyDriversResponse { drivers }))
    }

    async fn match_driver(
        &self,
        request: Request<wire::MatchDriverRequest>,
    ) -> Result<Response<wire::MatchDriverResponse>, Status> {
        let caller = Caller::of(&request)?;
        booking::book(&self.service, &caller, request.into_inner()).map(Response::new)
    }

    type RequestMatchStream = OutboundStream<wire::RequestMatchResponse>;

    async fn request_match(
        &self,
        request: Request<wire::RequestMatchRequest>,
    ) -> Result<Response<Self::RequestMatchStream>, Status> {
        match_stream::open(&self.service, request.into_inner()).map(Response::new)
    }

    async fn cancel_match(
        &self,
        request: Request<wire::CancelMatchRequest>,
    ) -> Result<Response<wire::CancelMatchResponse>, Status> {
        let trip: TripId = read_id(&request.get_ref().trip_id, "trip_id")?;
        self.service.change().cancel(trip, self.service.clock.now());
        Ok(Response::new(wire::CancelMatchResponse {}))
    }

    async fn apply_trip_events(
        &self,
        request: Request<wire::ApplyTripEventsRequest>,
    ) -> Result<Response<wire::ApplyTripEventsResponse>, Status> {
        trip_events::apply(&self.service, request.into_inner())
            .await
            .map(Response::new)
    }

    type WatchDriverStream = BoxStream<'static, Result<wire::WatchDriverResponse, Status>>;

    async fn watch_driver(
        &self,
        request: Request<wire::WatchDriverRequest>,
    ) -> Result<Response<Self::WatchDriverStream>, Status> {
        watch::driver(Arc::clone(&self.service), request.get_ref()).map(Response::new)
    }

    async fn compute_route(
        &self,
        request: Request<wire::ComputeRouteRequest>,
    ) -> Result<Response<wire::ComputeRouteResponse>, Status> {
        let route = route::compute(&self.service.ground(), request.get_ref())?;
        Ok(Response::new(wire::ComputeRouteResponse {
            route: Some(route),
        }))
    }

    async fn compute_matrix(
        &self,
        request: Request<wire::ComputeMatrixRequest>,
    ) -> Result<Response<wire::ComputeMatrixResponse>, Status> {
        let ground = self.service.ground();
        let matrix = move || route::matrix(&ground, request.get_ref());
        let computed = tokio::task::spawn_blocking(matrix).await;
        let computed = computed.map_err(jitney_platform::status::internal)?;
        Ok(Response::new(computed?))
    }

    async fn traffic_snapshot(
        &self,
        request: Request<wire::TrafficSnapshotRequest>,
    ) -> Result<Response<wire::TrafficSnapshotResponse>, Status> {
        // What is known is locked while observations are taken in.
        let service = Arc::clone(&self.service);
        let snapshot = move || traffic::snapshot(&service, request.get_ref());
        let taken = tokio::task::spawn_blocking(snapshot).await;
        let taken = taken.map_err(jitney_platform::status::internal)?;
        Ok(Response::new(taken?))
    }

    async fn measure_trip(
        &self,
        request: Request<wire::MeasureTripRequest>,
    ) -> Result<Response<wire::MeasureTripResponse>, Status> {
        // As many ways by road as there are positions: too long for a serving thread.
        let service = Arc::clone(&self.service);
        let measure = move || meter::measure(&service, request.get_ref());
        let measured = tokio::task::spawn_blocking(measure).await;
        let measured = measured.map_err(jitney_platform::status::internal)?;
        Ok(Response::new(measured?))
    }

    async fn demand_map(
        &self,
        request: Request<wire::DemandMapRequest>,
    ) -> Result<Response<wire::DemandMapResponse>, Status> {
        demand::map(&self.service, request.get_ref()).map(Response::new)
    }

    async fn list_rounds(
        &self,
        request: Request<wire::ListRoundsRequest>,
    ) -> Result<Response<wire::ListRoundsResponse>, Status> {
        rounds::list(&self.service, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn explain_round(
        &self,
        request: Request<wire::ExplainRoundRequest>,
    ) -> Result<Response<wire::ExplainRoundResponse>, Status> {
        rounds::explain(&self.service, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn replay_round(
        &self,
        request: Request<wire::ReplayRoundRequest>,
    ) -> Result<Response<wire::ReplayRoundResponse>, Status> {
        rounds::replay(&self.service, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn get_policy(
        &self,
        _: Request<wire::GetPolicyRequest>,
    ) -> Result<Response<wire::GetPolicyResponse>, Status> {
        Ok(Response::new(rounds::policies(&self.service)))
    }

    async fn use_policy(
        &self,
        request: Request<wire::UsePolicyRequest>,
    ) -> Result<Response<wire::UsePolicyResponse>, Status> {
        rounds::use_policy(&self.service, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn reload_map(
        &self,
        _: Request<wire::ReloadMapRequest>,
    ) -> Result<Response<wire::ReloadMapResponse>, Status> {
        map::reload(&self.service).await.map(Response::new)
    }

    type WatchFleetStream = BoxStream<'static, Result<wire::WatchFleetResponse, Status>>;

    async fn watch_fleet(
        &self,
        request: Request<wire::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        watch::fleet(Arc::clone(&self.service), request.get_ref()).map(Response::new)
    }

    async fn get_map_tile(
        &self,
        request: Request<wire::GetMapTileRequest>,
    ) -> Result<Response<wire::GetMapTileResponse>, Status> {
        let tile = places::draw(&self.service, request.into_inner()).await?;
        Ok(Response::new(wire::GetMapTileResponse { tile: Some(tile) }))
    }

    async fn search_places(
        &self,
        request: Request<wire::SearchPlacesRequest>,
    ) -> Result<Response<wire::SearchPlacesResponse>, Status> {
        // The first search on a map builds the index of its names.
        let ground = self.service.ground();
        let search = move || places::search(&ground, request.get_ref());
        let found = tokio::task::spawn_blocking(search).await;
        let places = found.map_err(jitney_platform::status::internal)??;
        Ok(Response::new(wire::SearchPlacesResponse { places }))
    }

    async fn describe_place(
        &self,
        request: Request<wire::DescribePlaceRequest>,
    ) -> Result<Response<wire::DescribePlaceResponse>, Status> {
        let place = places::describe(&self.service.ground(), request.get_ref())?;
        Ok(Response::new(wire::DescribePlaceResponse {
            place: Some(place),
        }))
    }

    async fn get_service_area(
        &self,
        _: Request<wire::GetServiceAreaRequest>,
    ) -> Result<Response<wire::GetServiceAreaResponse>, Status> {
        Ok(Response::new(route::service_area(&self.service.ground())))
    }
}

/// An id of a request.
fn read_id<I: std::str::FromStr<Err = IdError>>(text: &str, field: &str) -> Result<I, Status> {
    text.parse().map_err(|error: IdError| error.status(field))
}

/// As [`read_id`], where empty means absent.
fn read_id_if_any<I: std::str::FromStr<Err = IdError>>(
    text: &str,
    field: &str,
) -> Result<Option<I>, Status> {
    if text.is_empty() {
        Ok(None)
    } else {
        read_id(text, field).map(Some)
    }
}

/// The driver a request is about, who must be the caller unless those are staff. Another driver's id
/// is answered like one that nobody has.
fn own_driver(caller: &Caller, text: &str) -> Result<DriverId, Status> {
    if !caller.is_staff() && caller.driver_id()?.as_str() != text {
        return Err(Refusal::UnknownDriver.into());
    }
    read_id(text, "driver_id")
}

/// A change of shift as requests spell it: what is empty or absent keeps what was known.
fn shift_change(
    ground: &Ground,
    available: bool,
    products: &[String],
    vehicle: Option<wire::Vehicle>,
    filter: Option<wire::DestinationFilter>,
) -> Result<ShiftChange, Refusal> {
    const DESTINATION: &str = "destination_filter.destination";
    let set = ground.catalogue.set(products.iter().map(String::as_str))?;
    let reach_m = ground.config.snap_distance_max_m;
    let destination = |filter: wire::DestinationFilter| {
        let Some(point) = filter.destination else {
            return Ok(None);
        };
        words::on_road(&ground.roads, reach_m, Some(&point), DESTINATION)?;
        words::place(Some(&point), DESTINATION).map(Some)
    };
    Ok(ShiftChange {
        available,
        products: (!products.is_empty()).then_some(set),
        vehicle: vehicle.map(words::vehicle).transpose()?,
        destination: filter.map(destination).transpose()?,
    })
}
