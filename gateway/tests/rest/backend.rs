//! Services that do as their requests say: ids and products choose what happens.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use jitney_platform::auth::Caller;
use jitney_proto::{
    Code,
    billing::v1::{self as billing, billing_service_server::BillingService},
    common::v1::{Document, Money},
    matching::v1::{self as matching, matching_service_server::MatchingService},
    trips::v1::{self as trips, trips_service_server::TripsService},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;

/// What the fakes have seen; shared with the test.
#[derive(Clone, Default)]
pub struct Backend {
    /// Every request, as `rpc caller request`, in order.
    pub seen: Arc<Mutex<Vec<String>>>,
    /// The `x-request-id` of the last request.
    pub request_id: Arc<Mutex<String>>,
    /// What the service area is called.
    pub map_name: Arc<Mutex<String>>,
    /// Streams that are being served.
    pub open: Arc<AtomicUsize>,
}

/// Counts a stream for as long as it is served.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend {
    fn note<T: std::fmt::Debug>(&self, rpc: &str, request: &Request<T>) -> Result<Caller, Status> {
        let caller = Caller::of(request)?;
        let id = request
            .metadata()
            .get("x-request-id")
            .and_then(|id| id.to_str().ok());
        *self.request_id.lock().unwrap() = id.unwrap_or_default().to_owned();
        let line = format!(
            "{rpc} {}:{} {:?}",
            caller.role,
            caller.id,
            request.get_ref()
        );
        self.seen.lock().unwrap().push(line);
        Ok(caller)
    }

    fn opened(&self) -> Open {
        self.open.fetch_add(1, Ordering::SeqCst);
        Open(self.open.clone())
    }

    fn trip(trip_id: &str, rider_id: &str) -> trips::Trip {
        trips::Trip {
            trip_id: trip_id.to_owned(),
            version: 1,
            state: trips::TripState::Searching.into(),
            rider_id: rider_id.to_owned(),
            fare: Some(Money {
                currency_code: "EUR".to_owned(),
                minor_units: 1234,
            }),
            created_at: Some(prost_types::Timestamp {
                seconds: 0,
                nanos: 0,
            }),
            ..Default::default()
        }
    }
}

/// Implements a service: the rpcs a test needs, and refusals for the rest.
macro_rules! fake {
    ($service:ident { $($kept:tt)* } $($name:ident($input:ty) -> $output:ty;)*) => {
        #[tonic::async_trait]
        impl $service for Backend {
            $($kept)*
            $(async fn $name(&self, _: Request<$input>) -> Answer<$output> {
                Err(Status::unimplemented("not faked"))
            })*
        }
    };
}

fn update(token: u32, trip: trips::Trip) -> trips::WatchTripResponse {
    trips::WatchTripResponse {
        resume_token: token.to_string(),
        update: Some(trips::watch_trip_response::Update::Trip(trip)),
    }
}

fake! { TripsService {
    type WatchTripStream = BoxStream<'static, Result<trips::WatchTripResponse, Status>>;

    async fn create_trip(
        &self,
        request: Request<trips::CreateTripRequest>,
    ) -> Answer<trips::CreateTripResponse> {
        let caller = self.note("CreateTrip", &request)?;
        match request.get_ref().product.as_str() {
            "slow" => std::future::pending().await,
            "broken" => panic!("the secret is 4711"),
            "declined" => {
                let facts = [("limit", "EUR 50.00".to_owned())];
                return Err(Code::PaymentDeclined.status_with("the card was refused", facts));
            }
            "busy" => {
                let wait = Duration::from_millis(1500);
                return Err(Code::Overloaded.retry_after("too many rides", wait));
            }
            "far" => return Err(Code::OutsideMap.bad_field("pickup", "is not near any road")),
            "raw" => return Err(Status::unknown("segfault at 0xdead")),
            "huge" => {
                let trip = Self::trip(&"x".repeat(100_000), "r");
                return Ok(Response::new(trips::CreateTripResponse { trip: Some(trip) }));
            }
            _ => {}
        }
        let trip = Self::trip("t-1", &caller.id);
        Ok(Response::new(trips::CreateTripResponse { trip: Some(trip) }))
    }

    async fn get_trip(&self, request: Request<trips::GetTripRequest>) -> Answer<trips::GetTripResponse> {
        let caller = self.note("GetTrip", &request)?;
        if request.get_ref().trip_id == "missing" {
            return Err(Code::NotFound.status("there is no such trip"));
        }
        let trip = Self::trip(&request.get_ref().trip_id, &caller.id);
        Ok(Response::new(trips::GetTripResponse { trip: Some(trip), transitions: Vec::new() }))
    }

    async fn list_trips(
        &self,
        request: Request<trips::ListTripsRequest>,
    ) -> Answer<trips::ListTripsResponse> {
        self.note("ListTrips", &request)?;
        Ok(Response::new(trips::ListTripsResponse::default()))
    }

    async fn accept_offer(
        &self,
        request: Request<trips::AcceptOfferRequest>,
    ) -> Answer<trips::AcceptOfferResponse> {
        self.note("AcceptOffer", &request)?;
        Ok(Response::new(trips::AcceptOfferResponse::default()))
    }

    /// Three updates, from the resume token on; the trip's id chooses how it ends.
    async fn watch_trip(
        &self,
        request: Request<trips::WatchTripRequest>,
    ) -> Answer<Self::WatchTripStream> {
        self.note("WatchTrip", &request)?;
        let trips::WatchTripRequest { trip_id, resume_token } = request.into_inner();
        if trip_id == "missing" {
            return Err(Code::NotFound.status("there is no such trip"));
        }
        let after: u32 = resume_token.parse().unwrap_or(0);
        let trip = Self::trip(&trip_id, "r");
        let open = self.opened();
        let updates = (after + 1..=3).map(move |token| Ok(update(token, trip.clone())));
        let updates = futures::stream::iter(updates);
        let stream: Self::WatchTripStream = match trip_id.as_str() {
            "endless" => updates.chain(futures::stream::pending()).boxed(),
            "breaks" => {
                let broken = Err(Code::Unavailable.status("the database went away"));
                updates.chain(futures::stream::iter([broken])).boxed()
            }
            "flood" => {
                let trip = Self::trip(&"x".repeat(10_000), "r");
                futures::stream::repeat_with(move || Ok(update(1, trip.clone()))).boxed()
            }
            _ => updates.boxed(),
        };
        Ok(Response::new(held(stream, open).boxed()))
    }
}
    quote_trip(trips::QuoteTripRequest) -> trips::QuoteTripResponse;
    decline_offer(trips::DeclineOfferRequest) -> trips::DeclineOfferResponse;
    arrive_at_pickup(trips::ArriveAtPickupRequest) -> trips::ArriveAtPickupResponse;
    start_trip(trips::StartTripRequest) -> trips::StartTripResponse;
    complete_trip(trips::CompleteTripRequest) -> trips::CompleteTripResponse;
    arrive_at_stop(trips::ArriveAtStopRequest) -> trips::ArriveAtStopResponse;
    declare_no_show(trips::DeclareNoShowRequest) -> trips::DeclareNoShowResponse;
    preview_cancellation(trips::PreviewCancellationRequest) -> trips::PreviewCancellationResponse;
    cancel_trip(trips::CancelTripRequest) -> trips::CancelTripResponse;
    edit_destination(trips::EditDestinationRequest) -> trips::EditDestinationResponse;
    rate_trip(trips::RateTripRequest) -> trips::RateTripResponse;
    get_rating(trips::GetRatingRequest) -> trips::GetRatingResponse;
    share_trip(trips::ShareTripRequest) -> trips::ShareTripResponse;
    unshare_trip(trips::UnshareTripRequest) -> trips::UnshareTripResponse;
    get_trip_stats(trips::GetTripStatsRequest) -> trips::GetTripStatsResponse;
    raise_sos(trips::RaiseSosRequest) -> trips::RaiseSosResponse;
    list_sos(trips::ListSosRequest) -> trips::ListSosResponse;
    acknowledge_sos(trips::AcknowledgeSosRequest) -> trips::AcknowledgeSosResponse;
    apply_billing_event(trips::ApplyBillingEventRequest) -> trips::ApplyBillingEventResponse;
}

/// A stream that counts as open until it is dropped.
fn held<T>(stream: impl Stream<Item = T> + Send, open: Open) -> impl Stream<Item = T> + Send {
    stream.map(move |item| {
        let _ = &open;
        item
    })
}

fake! { MatchingService {
    /// A tile that tells which it is and who asked; empty in the far north.
    async fn get_map_tile(
        &self,
        request: Request<matching::GetMapTileRequest>,
    ) -> Answer<matching::GetMapTileResponse> {
        let asked_by = Caller::of(&request).map(|caller| caller.role.to_string());
        let asked_by = asked_by.unwrap_or_else(|_| "nobody".to_owned());
        let matching::GetMapTileRequest { zoom, x, y } = request.into_inner();
        let data = match y {
            0 => Vec::new(),
            _ => format!("{zoom}/{x}/{y} for {asked_by}").into_bytes(),
        };
        let tile = Document {
            content_type: "application/vnd.mapbox-vector-tile".to_owned(),
            file_name: format!("{zoom}-{x}-{y}.mvt"),
            data,
        };
        Ok(Response::new(matching::GetMapTileResponse { tile: Some(tile) }))
    }

    async fn get_service_area(
        &self,
        request: Request<matching::GetServiceAreaRequest>,
    ) -> Answer<matching::GetServiceAreaResponse> {
        self.note("GetServiceArea", &request)?;
        let map_name = self.map_name.lock().unwrap().clone();
        let area = matching::GetServiceAreaResponse { map_name, ..Default::default() };
        Ok(Response::new(area))
    }

    /// Counts positions; a driver without an id is refused.
    async fn report_locations(
        &self,
        request: Request<Streaming<matching::ReportLocationsRequest>>,
    ) -> Answer<matching::ReportLocationsResponse> {
        let _open = self.opened();
        self.note("ReportLocations", &request)?;
        let mut messages = request.into_inner();
        let mut accepted = 0;
        while let Some(message) = messages.message().await? {
            for driver in message.drivers {
                if driver.driver_id.is_empty() {
                    return Err(Code::InvalidRequest.bad_field("drivers", "has no id"));
                }
                accepted += driver.pings.len() as u64;
            }
        }
        Ok(Response::new(matching::ReportLocationsResponse { accepted, refused: Vec::new() }))
    }

    type StreamDriverStream = BoxStream<'static, Result<matching::StreamDriverResponse, Status>>;
    type RequestMatchStream = BoxStream<'static, Result<matching::RequestMatchResponse, Status>>;
    type WatchDriverStream = BoxStream<'static, Result<matching::WatchDriverResponse, Status>>;
    type WatchFleetStream = BoxStream<'static, Result<matching::WatchFleetResponse, Status>>;

    /// Welcomes after hello, takes pings; acknowledging 99 is superseded, 98 ends it well, 97
    /// floods.
    async fn stream_driver(
        &self,
        request: Request<Streaming<matching::StreamDriverRequest>>,
    ) -> Answer<Self::StreamDriverStream> {
        use matching::{stream_driver_request::Message as Up, stream_driver_response::Message as Down};
        let caller = Caller::of(&request)?;
        let mut messages = request.into_inner();
        let Some(Up::Hello(hello)) = messages.message().await?.and_then(|first| first.message)
        else {
            return Err(Code::StreamOrder.status("the first message must be hello"));
        };
        if !hello.driver_id.is_empty() && hello.driver_id != caller.id {
            return Err(Code::PermissionDenied.status("that is another driver"));
        }
        let (down, waiting) = mpsc::channel(1);
        let (backend, open) = (self.clone(), self.opened());
        tokio::spawn(async move {
            let _open = open;
            let tell = async |message| {
                let response = matching::StreamDriverResponse { seq: 0, message: Some(message) };
                down.send(Ok(response)).await.is_ok()
            };
            let welcome = matching::Welcome { session_id: "s-1".to_owned(), ..Default::default() };
            tell(Down::Welcome(welcome)).await;
            loop {
                match messages.message().await {
                    Ok(Some(message)) => match message.message {
                        Some(Up::Pings(pings)) => {
                            let accepted = pings.pings.len() as u32;
                            let batch = pings.batch;
                            backend.seen.lock().unwrap().push(format!("pings {batch} {accepted}"));
                            let receipt =
                                matching::PingReceipt { batch, accepted, ..Default::default() };
                            tell(Down::PingReceipt(receipt)).await;
                        }
                        Some(Up::Ack(ack)) if ack.seq == 99 => {
                            let taken = Code::Superseded.status("a newer connection took over");
                            let _ = down.send(Err(taken)).await;
                            return;
                        }
                        Some(Up::Ack(ack)) if ack.seq == 98 => return,
                        Some(Up::Ack(ack)) if ack.seq == 97 => {
                            let session_id = "x".repeat(10_000);
                            let welcome = matching::Welcome { session_id, ..Default::default() };
                            while tell(Down::Welcome(welcome.clone())).await {}
                            return;
                        }
                        _ => {}
                    },
                    Ok(None) => {
                        backend.seen.lock().unwrap().push("the stream ended".to_owned());
                        return;
                    }
                    Err(_) => {
                        backend.seen.lock().unwrap().push("the stream was cut".to_owned());
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(waiting).boxed()))
    }

    async fn nearby_drivers(
        &self,
        request: Request<matching::NearbyDriversRequest>,
    ) -> Answer<matching::NearbyDriversResponse> {
        self.note("NearbyDrivers", &request)?;
        let location = request.into_inner().location;
        let driver = matching::NearbyDriver { location, duration_ms: 5, ..Default::default() };
        Ok(Response::new(matching::NearbyDriversResponse { drivers: vec![driver] }))
    }

    async fn set_availability(
        &self,
        request: Request<matching::SetAvailabilityRequest>,
    ) -> Answer<matching::SetAvailabilityResponse> {
        self.note("SetAvailability", &request)?;
        Ok(Response::new(matching::SetAvailabilityResponse::default()))
    }

    async fn match_driver(
        &self,
        request: Request<matching::MatchDriverRequest>,
    ) -> Answer<matching::MatchDriverResponse> {
        self.note("MatchDriver", &request)?;
        Ok(Response::new(matching::MatchDriverResponse::default()))
    }

    async fn request_match(
        &self,
        _: Request<matching::RequestMatchRequest>,
    ) -> Answer<Self::RequestMatchStream> {
        Err(Status::unimplemented("not faked"))
    }

    async fn watch_driver(
        &self,
        _: Request<matching::WatchDriverRequest>,
    ) -> Answer<Self::WatchDriverStream> {
        Err(Status::unimplemented("not faked"))
    }

    async fn watch_fleet(
        &self,
        request: Request<matching::WatchFleetRequest>,
    ) -> Answer<Self::WatchFleetStream> {
        self.note("WatchFleet", &request)?;
        let first = matching::WatchFleetResponse { snapshot: true, ..Default::default() };
        Ok(Response::new(futures::stream::iter([Ok(first)]).boxed()))
    }
}
    get_driver(matching::GetDriverRequest) -> matching::GetDriverResponse;
    cancel_match(matching::CancelMatchRequest) -> matching::CancelMatchResponse;
    apply_trip_events(matching::ApplyTripEventsRequest) -> matching::ApplyTripEventsResponse;
    compute_route(matching::ComputeRouteRequest) -> matching::ComputeRouteResponse;
    compute_matrix(matching::ComputeMatrixRequest) -> matching::ComputeMatrixResponse;
    traffic_snapshot(matching::TrafficSnapshotRequest) -> matching::TrafficSnapshotResponse;
    list_rounds(matching::ListRoundsRequest) -> matching::ListRoundsResponse;
    explain_round(matching::ExplainRoundRequest) -> matching::ExplainRoundResponse;
    replay_round(matching::ReplayRoundRequest) -> matching::ReplayRoundResponse;
    get_policy(matching::GetPolicyRequest) -> matching::GetPolicyResponse;
    use_policy(matching::UsePolicyRequest) -> matching::UsePolicyResponse;
    measure_trip(matching::MeasureTripRequest) -> matching::MeasureTripResponse;
    demand_map(matching::DemandMapRequest) -> matching::DemandMapResponse;
    search_places(matching::SearchPlacesRequest) -> matching::SearchPlacesResponse;
    describe_place(matching::DescribePlaceRequest) -> matching::DescribePlaceResponse;
    reload_map(matching::ReloadMapRequest) -> matching::ReloadMapResponse;
}

fake! { BillingService {
    async fn get_balance(
        &self,
        request: Request<billing::GetBalanceRequest>,
    ) -> Answer<billing::GetBalanceResponse> {
        self.note("GetBalance", &request)?;
        Ok(Response::new(billing::GetBalanceResponse::default()))
    }

    /// The id says what kind of file it is, and what is wrong with it.
    async fn get_receipt_document(
        &self,
        request: Request<billing::GetReceiptDocumentRequest>,
    ) -> Answer<billing::GetReceiptDocumentResponse> {
        self.note("GetReceiptDocument", &request)?;
        let (content_type, file_name) = match request.get_ref().trip_id.as_str() {
            "none" => return Ok(Response::new(billing::GetReceiptDocumentResponse::default())),
            "pdf" => ("application/pdf", "receipt.pdf"),
            "odd-type" => ("image/svg+xml", "receipt.svg"),
            "odd-name" => ("application/pdf", "a\"\r\nSet-Cookie: b"),
            _ => ("text/html; charset=utf-8", "receipt.html"),
        };
        let document = Document {
            content_type: content_type.to_owned(),
            file_name: file_name.to_owned(),
            data: b"\x00\xff<p>".to_vec(),
        };
        Ok(Response::new(billing::GetReceiptDocumentResponse { document: Some(document) }))
    }
}
    quote_fare(billing::QuoteFareRequest) -> billing::QuoteFareResponse;
    authorize_hold(billing::AuthorizeHoldRequest) -> billing::AuthorizeHoldResponse;
    capture_hold(billing::CaptureHoldRequest) -> billing::CaptureHoldResponse;
    change_hold(billing::ChangeHoldRequest) -> billing::ChangeHoldResponse;
    renew_hold(billing::RenewHoldRequest) -> billing::RenewHoldResponse;
    void_hold(billing::VoidHoldRequest) -> billing::VoidHoldResponse;
    get_receipt(billing::GetReceiptRequest) -> billing::GetReceiptResponse;
    refund_trip(billing::RefundTripRequest) -> billing::RefundTripResponse;
    add_tip(billing::AddTipRequest) -> billing::AddTipResponse;
    list_trip_entries(billing::ListTripEntriesRequest) -> billing::ListTripEntriesResponse;
    list_fare_zones(billing::ListFareZonesRequest) -> billing::ListFareZonesResponse;
    list_postings(billing::ListPostingsRequest) -> billing::ListPostingsResponse;
    get_postings_document(billing::GetPostingsDocumentRequest) -> billing::GetPostingsDocumentResponse;
    get_driver_statement(billing::GetDriverStatementRequest) -> billing::GetDriverStatementResponse;
    get_driver_statement_document(billing::GetDriverStatementDocumentRequest)
        -> billing::GetDriverStatementDocumentResponse;
    create_payout(billing::CreatePayoutRequest) -> billing::CreatePayoutResponse;
    finish_payout(billing::FinishPayoutRequest) -> billing::FinishPayoutResponse;
    record_chargeback(billing::RecordChargebackRequest) -> billing::RecordChargebackResponse;
    fail_payout(billing::FailPayoutRequest) -> billing::FailPayoutResponse;
    list_payouts(billing::ListPayoutsRequest) -> billing::ListPayoutsResponse;
    grant_credit(billing::GrantCreditRequest) -> billing::GrantCreditResponse;
    put_promotion(billing::PutPromotionRequest) -> billing::PutPromotionResponse;
    list_promotions(billing::ListPromotionsRequest) -> billing::ListPromotionsResponse;
    preview_promotion(billing::PreviewPromotionRequest) -> billing::PreviewPromotionResponse;
    apply_promotion(billing::ApplyPromotionRequest) -> billing::ApplyPromotionResponse;
    put_provider_account(billing::PutProviderAccountRequest) -> billing::PutProviderAccountResponse;
    handle_provider_event(billing::HandleProviderEventRequest) -> billing::HandleProviderEventResponse;
    reconcile_provider(billing::ReconcileProviderRequest) -> billing::ReconcileProviderResponse;
    check_ledger(billing::CheckLedgerRequest) -> billing::CheckLedgerResponse;
}
