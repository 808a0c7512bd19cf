//! Trips is told where payments stand: whatever was committed, in order, however often trips is away, loses
//! an answer or refuses, and whoever is killed before it was told.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jitney_billing::Config;
use jitney_platform::{
    auth::{Caller, Role},
    outbox::{self, RelayConfig},
    serve::GrpcService,
    testing::eventually,
};
use jitney_proto::{
    Code,
    billing::v1::{BillingEvent, PaymentState},
    trips::v1::{
        trips_service_server::{TripsService, TripsServiceServer},
        *,
    },
};
use tonic::{Request, Response, Status, service::Routes};

use crate::support::{Held, Sandbox};

/// Trips as the test plays it: remembers what it is told.
#[derive(Default)]
struct FakeTrips {
    told: Mutex<Vec<BillingEvent>>,
    /// How many events it takes in without their being answered.
    loses_answers: Mutex<u32>,
    is_away: Mutex<bool>,
    /// A trip about which it wants to hear nothing.
    refuses: Mutex<Option<String>>,
}

impl FakeTrips {
    fn set_away(&self, is_away: bool) {
        *self.is_away.lock().unwrap() = is_away;
    }

    fn refuse(&self, trip: Option<&Held>) {
        *self.refuses.lock().unwrap() = trip.map(|held| held.trip.clone());
    }

    /// What it was told about a trip.
    fn of(&self, held: &Held) -> Vec<BillingEvent> {
        let told = self.told.lock().unwrap();
        let of = told.iter().filter(|event| event.trip_id == held.trip);
        of.cloned().collect()
    }

    fn versions(&self, held: &Held) -> Vec<i64> {
        self.of(held).iter().map(|event| event.version).collect()
    }
}

/// Implements the service: one rpc is played, the others are nobody's here.
macro_rules! played {
    ({ $($played:tt)* } $($name:ident($input:ty) -> $output:ty;)*) => {
        #[tonic::async_trait]
        impl TripsService for FakeTrips {
            type WatchTripStream = futures::stream::Empty<Result<WatchTripResponse, Status>>;
            $($played)*
            $(async fn $name(&self, _: Request<$input>) -> Result<Response<$output>, Status> {
                Err(Status::unimplemented("not played"))
            })*
        }
    };
}

played! { {
    async fn apply_billing_event(
        &self,
        request: Request<ApplyBillingEventRequest>,
    ) -> Result<Response<ApplyBillingEventResponse>, Status> {
        let caller = Caller::of(&request)?;
        assert_eq!((caller.role, caller.id.as_str()), (Role::Service, "billing"));
        if *self.is_away.lock().unwrap() {
            return Err(Code::Unavailable.status("trips is away"));
        }
        let event = request.into_inner().event.unwrap();
        if self.refuses.lock().unwrap().as_ref() == Some(&event.trip_id) {
            return Err(Code::TooEarly.status("the trip is being made"));
        }
        self.told.lock().unwrap().push(event);
        let mut left = self.loses_answers.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            return Err(Code::DeadlineExceeded.status("the answer is lost"));
        }
        Ok(Response::new(ApplyBillingEventResponse { applied: true }))
    }
}
    quote_trip(QuoteTripRequest) -> QuoteTripResponse;
    create_trip(CreateTripRequest) -> CreateTripResponse;
    get_trip(GetTripRequest) -> GetTripResponse;
    list_trips(ListTripsRequest) -> ListTripsResponse;
    watch_trip(WatchTripRequest) -> Self::WatchTripStream;
    accept_offer(AcceptOfferRequest) -> AcceptOfferResponse;
    decline_offer(DeclineOfferRequest) -> DeclineOfferResponse;
    arrive_at_pickup(ArriveAtPickupRequest) -> ArriveAtPickupResponse;
    start_trip(StartTripRequest) -> StartTripResponse;
    complete_trip(CompleteTripRequest) -> CompleteTripResponse;
    arrive_at_stop(ArriveAtStopRequest) -> ArriveAtStopResponse;
    declare_no_show(DeclareNoShowRequest) -> DeclareNoShowResponse;
    preview_cancellation(PreviewCancellationRequest) -> PreviewCancellationResponse;
    cancel_trip(CancelTripRequest) -> CancelTripResponse;
    edit_destination(EditDestinationRequest) -> EditDestinationResponse;
    rate_trip(RateTripRequest) -> RateTripResponse;
    get_rating(GetRatingRequest) -> GetRatingResponse;
    share_trip(ShareTripRequest) -> ShareTripResponse;
    unshare_trip(UnshareTripRequest) -> UnshareTripResponse;
    raise_sos(RaiseSosRequest) -> RaiseSosResponse;
    list_sos(ListSosRequest) -> ListSosResponse;
    acknowledge_sos(AcknowledgeSosRequest) -> AcknowledgeSosResponse;
    get_trip_stats(GetTripStatsRequest) -> GetTripStatsResponse;
}

fn quick() -> Config {
    Config {
        relay: RelayConfig {
            poll_interval: Duration::from_millis(50),
            backoff_min: Duration::from_millis(1),
            backoff_max: Duration::from_millis(20),
            ..RelayConfig::default()
        },
        ..Config::default()
    }
}

/// Has billing tell a trips of the test's.
fn told_by(sandbox: &Sandbox) -> Arc<FakeTrips> {
    let trips = Arc::new(FakeTrips::default());
    tell(sandbox, &trips);
    trips
}

fn tell(sandbox: &Sandbox, trips: &Arc<FakeTrips>) {
    let routes = Routes::new(TripsServiceServer::from_arc(trips.clone()));
    let name = "jitney.trips.v1.TripsService";
    let service = GrpcService::guard(name, routes, &sandbox.platform);
    sandbox.billing.tell(service.channel());
}

async fn refund(sandbox: &Sandbox, held: &Held, minor_units: Option<i64>) {
    let key = format!("{}:{minor_units:?}", held.trip);
    let mut olga = sandbox.client(Role::Operator, "olga");
    let refund = olga.refund_trip(held.refund(&key, minor_units)).await;
    refund.unwrap();
}

async fn heard(trips: &FakeTrips, held: &Held, versions: &[i64]) {
    eventually("trips hears of it", async || {
        trips.versions(held) == versions
    })
    .await;
}

/// Waits until nothing is left to tell.
async fn told_all(sandbox: &Sandbox) {
    eventually("all is told", async || {
        let behind = "outbox, outbox_cursor AS c WHERE (c.xid, c.seq) < (outbox.xid, outbox.seq)";
        sandbox.count(behind).await == 0 && sandbox.count("outbox_parked").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_refund_is_told_after_what_came_before() {
    let sandbox = Sandbox::with(quick()).await;
    let trips = told_by(&sandbox);
    let held = sandbox.captured("anna").await;
    refund(&sandbox, &held, Some(5)).await;
    refund(&sandbox, &held, None).await;
    heard(&trips, &held, &[1, 2, 3, 4]).await;
    let states: Vec<_> = trips
        .of(&held)
        .iter()
        .map(|event| event.payment_state())
        .collect();
    assert_eq!(
        states,
        [
            PaymentState::Held,
            PaymentState::Captured,
            PaymentState::PartiallyRefunded,
            PaymentState::Refunded
        ]
    );
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn what_trips_misses_while_it_is_away_it_hears_later() {
    let sandbox = Sandbox::with(quick()).await;
    let trips = told_by(&sandbox);
    trips.set_away(true);
    let all = [
        sandbox.captured("anna").await,
        sandbox.captured("bob").await,
    ];
    for held in &all {
        refund(&sandbox, held, Some(5)).await;
    }
    // Nothing stands still because of it, and nothing is given up.
    sandbox.assert_sound().await;
    trips.set_away(false);
    for held in &all {
        heard(&trips, held, &[1, 2, 3]).await;
    }
    told_all(&sandbox).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_an_event_told_again() {
    let sandbox = Sandbox::with(quick()).await;
    let held = sandbox.captured("anna").await;
    let trips = Arc::new(FakeTrips::default());
    *trips.loses_answers.lock().unwrap() = 1;
    tell(&sandbox, &trips);
    heard(&trips, &held, &[1, 1, 2]).await;
    let events = trips.of(&held);
    assert_eq!(
        events[0], events[1],
        "the same, by which trips knows it again"
    );
    told_all(&sandbox).await;
}

#[tokio::test]
async fn what_trips_will_not_hear_yet_keeps_no_other_from_it() {
    let sandbox = Sandbox::with(quick()).await;
    let trips = told_by(&sandbox);
    let early = sandbox.held("anna").await;
    trips.refuse(Some(&early));
    let other = sandbox.captured("bob").await;
    heard(&trips, &other, &[1, 2]).await;
    sandbox.trips().void_hold(early.void("v")).await.unwrap();
    refund(&sandbox, &other, None).await;
    heard(&trips, &other, &[1, 2, 3]).await;
    eventually("both events are parked", async || {
        sandbox.count("outbox_parked").await == 2
    })
    .await;
    assert_eq!(trips.versions(&early), [0_i64; 0]);
    trips.refuse(None);
    heard(&trips, &early, &[1, 2]).await;
    told_all(&sandbox).await;
}

#[tokio::test]
async fn who_is_killed_before_it_was_told_tells_after_the_restart() {
    // Killed as soon as the statement is committed: nobody tells.
    let first = Sandbox::with(quick()).await;
    let held = first.captured("anna").await;
    refund(&first, &held, Some(5)).await;
    first.pool().close().await;

    let platform = first.database.platform();
    let sandbox = Sandbox::on(first.database, platform, quick()).await;
    let trips = told_by(&sandbox);
    heard(&trips, &held, &[1, 2, 3]).await;
    // And it goes on from there.
    refund(&sandbox, &held, None).await;
    heard(&trips, &held, &[1, 2, 3, 4]).await;
}

#[tokio::test]
async fn what_was_told_is_forgotten_and_nothing_else() {
    let sandbox = Sandbox::with(quick()).await;
    let trips = told_by(&sandbox);
    let early = sandbox.held("anna").await;
    trips.refuse(Some(&early));
    let held = sandbox.captured("bob").await;
    heard(&trips, &held, &[1, 2]).await;
    eventually("one waits", async || {
        sandbox.count("outbox_parked").await == 1
    })
    .await;
    // As the service itself, with its rights.
    eventually("what was told is gone", async || {
        outbox::prune(sandbox.pool(), Duration::ZERO).await.unwrap();
        sandbox.count("outbox").await == 1
    })
    .await;
    trips.refuse(None);
    heard(&trips, &early, &[1]).await;
}
