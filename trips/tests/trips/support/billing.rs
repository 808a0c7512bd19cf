//! Billing as the test plays it: it holds, takes and releases by the book, and can be away, lose its
//! answers, or find a rider poor.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use jitney_proto::{
    Code,
    billing::v1::{billing_service_server::BillingService, *},
    common::v1::Money,
    time::{moment, timestamp},
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Billing.
#[derive(Default)]
pub struct FakeBilling {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    holds: HashMap<String, Held>,
    captures: Vec<(String, CaptureReason)>,
    is_away: bool,
    turned_away: u32,
    loses_hold_answers: u32,
    gate: Option<Arc<Semaphore>>,
    holds_waiting: u32,
    voids_without_hold: u32,
    changes_without_hold: u32,
    renewals: Vec<String>,
    loses_captures: u32,
    quotes_live: Option<Duration>,
    asked: Option<QuoteFareRequest>,
    said: (i64, PaymentState),
}

struct Held {
    key: String,
    /// The quote that was asked for under the key.
    asked: String,
    quote_id: String,
    state: HoldState,
    payment_method: PaymentMethod,
}

fn euros(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    })
}

fn moment_of(pickup_at: Option<&prost_types::Timestamp>) -> DateTime<Utc> {
    let now = jitney_platform::clock::Clock::system().now();
    let named = pickup_at.map(|at| moment(at, "pickup_at").expect("a moment"));
    named.map_or(now, |at| at.max(now))
}

fn hold(
    trip_id: &str,
    state: HoldState,
    (version, payment_state): (i64, PaymentState),
) -> Option<Hold> {
    let captured = if state == HoldState::Captured { 890 } else { 0 };
    Some(Hold {
        trip_id: trip_id.to_owned(),
        state: state.into(),
        authorized: euros(890),
        captured: euros(captured),
        expires_at: None,
        refunded: euros(0),
        payment_method: 1,
        version,
        payment_state: payment_state.into(),
    })
}

impl FakeBilling {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a trip's hold stands.
    pub fn hold(&self, trip_id: &str) -> Option<HoldState> {
        self.lock().holds.get(trip_id).map(|held| held.state)
    }

    /// How a trip is going to be paid.
    pub fn payment_method(&self, trip_id: &str) -> Option<PaymentMethod> {
        let state = self.lock();
        state.holds.get(trip_id).map(|held| held.payment_method)
    }

    /// How many holds are in a state.
    pub fn holds(&self, state: HoldState) -> usize {
        self.lock()
            .holds
            .values()
            .filter(|held| held.state == state)
            .count()
    }

    /// How often money was taken.
    pub fn captures(&self) -> usize {
        self.lock().captures.len()
    }

    /// What money was taken for from a trip's hold; `None` when none was.
    pub fn taken_for(&self, trip_id: &str) -> Option<CaptureReason> {
        let state = self.lock();
        let mut taken = state.captures.iter().filter(|(trip, _)| trip == trip_id);
        let first = taken.next().map(|(_, reason)| *reason);
        assert!(taken.next().is_none(), "taken twice");
        first
    }

    /// Refuses every call, or none.
    pub fn set_away(&self, is_away: bool) {
        self.lock().is_away = is_away;
    }

    /// How many calls came while it was away.
    pub fn turned_away(&self) -> u32 {
        self.lock().turned_away
    }

    /// Says from now on that captures and releases made this version of the payment, and where it stands.
    pub fn say(&self, version: i64, payment: PaymentState) {
        self.lock().said = (version, payment);
    }

    /// Makes the next holds, and loses the answers.
    pub fn lose_hold_answers(&self, number: u32) {
        self.lock().loses_hold_answers = number;
    }

    /// Lets no hold through until the gate has permits.
    pub fn close_gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.lock().gate = Some(Arc::clone(&gate));
        gate
    }

    /// How many holds came to a gate.
    pub fn holds_waiting(&self) -> u32 {
        self.lock().holds_waiting
    }

    /// How often there was nothing to release.
    pub fn voids_without_hold(&self) -> u32 {
        self.lock().voids_without_hold
    }

    /// How often there was nothing to put under another price.
    pub fn changes_without_hold(&self) -> u32 {
        self.lock().changes_without_hold
    }

    /// How often a trip's hold was renewed.
    pub fn renewals(&self, trip_id: &str) -> usize {
        let state = self.lock();
        state
            .renewals
            .iter()
            .filter(|trip| *trip == trip_id)
            .count()
    }

    /// Does not hear the next captures.
    pub fn lose_captures(&self, number: u32) {
        self.lock().loses_captures = number;
    }

    /// Releases a hold behind everybody's back.
    pub fn lapse(&self, trip_id: &str) {
        if let Some(held) = self.lock().holds.get_mut(trip_id) {
            held.state = HoldState::Voided;
        }
    }

    /// The quote a trip's fare is held under.
    pub fn held_under(&self, trip_id: &str) -> Option<String> {
        self.lock()
            .holds
            .get(trip_id)
            .map(|held| held.quote_id.clone())
    }

    /// Puts a hold under another quote behind everybody's back.
    pub fn put_under(&self, trip_id: &str, quote_id: &str) {
        if let Some(held) = self.lock().holds.get_mut(trip_id) {
            held.quote_id = quote_id.to_owned();
        }
    }

    /// What was last asked to be priced.
    pub fn asked(&self) -> Option<QuoteFareRequest> {
        self.lock().asked.clone()
    }

    /// Holds a trip's fare behind everybody's back.
    pub fn hold_for(&self, trip_id: &str) {
        let held = Held {
            key: format!("{trip_id}:hold"),
            asked: String::new(),
            quote_id: String::new(),
            state: HoldState::Held,
            payment_method: PaymentMethod::Card,
        };
        self.lock().holds.insert(trip_id.to_owned(), held);
    }

    /// Quotes from now on hold so long.
    pub fn set_quotes_live(&self, how_long: Duration) {
        self.lock().quotes_live = Some(how_long);
    }

    #[allow(clippy::result_large_err)]
    fn here(&self) -> Result<MutexGuard<'_, State>, Status> {
        let mut state = self.lock();
        if state.is_away {
            state.turned_away += 1;
            Err(Code::Unavailable.status("billing is away"))
        } else {
            Ok(state)
        }
    }
}

/// Implements the service: the rpcs that are played, and refusals for those nobody here calls.
macro_rules! played {
    ({ $($played:tt)* } $($name:ident($input:ty) -> $output:ty;)*) => {
        #[tonic::async_trait]
        impl BillingService for FakeBilling {
            $($played)*
            $(async fn $name(&self, _: Request<$input>) -> Result<Response<$output>, Status> {
                Err(Status::unimplemented("not played"))
            })*
        }
    };
}

played! { {
    async fn quote_fare(
        &self,
        request: Request<QuoteFareRequest>,
    ) -> Result<Response<QuoteFareResponse>, Status> {
        let mut state = self.here()?;
        let request = request.into_inner();
        state.asked = Some(request.clone());
        let live = state.quotes_live.unwrap_or(Duration::from_secs(300));
        let line = |kind: FareLineKind, minor| FareLine {
            kind: kind.into(),
            amount: euros(minor),
        };
        // The usual way costs 8.90, another a cent for every ten metres more.
        let longer = (request.distance_meters - 4_200) / 10;
        let quote = FareQuote {
            quote_id: Uuid::now_v7().to_string(),
            product: request.product,
            tariff_version: "1".to_owned(),
            lines: vec![
                line(FareLineKind::Base, 250),
                line(FareLineKind::MinimumTopUp, 640 + longer),
            ],
            total: euros(890 + longer),
            expires_at: Some(timestamp(
                // A booked ride's price holds until then, and so long beyond.
                moment_of(request.pickup_at.as_ref()) + live,
            )),
            cancellation_fee: euros(500),
            no_show_fee: euros(600),
            surge_percent: request.surge_percent,
            signature: String::new(),
        };
        Ok(Response::new(QuoteFareResponse { quote: Some(quote) }))
    }

    async fn authorize_hold(
        &self,
        request: Request<AuthorizeHoldRequest>,
    ) -> Result<Response<AuthorizeHoldResponse>, Status> {
        let request = request.into_inner();
        let gate = self.lock().gate.clone();
        if let Some(gate) = gate {
            self.lock().holds_waiting += 1;
            gate.acquire().await.expect("it stays open").forget();
        }
        let mut state = self.here()?;
        if request.rider_id.starts_with("poor") {
            return Err(Code::PaymentDeclined.status("over the limit"));
        }
        let held = state
            .holds
            .entry(request.trip_id.clone())
            .or_insert_with(|| Held {
                key: request.idempotency_key.clone(),
                asked: request.quote_id.clone(),
                quote_id: request.quote_id.clone(),
                state: HoldState::Held,
                payment_method: request.payment_method(),
            });
        if held.key != request.idempotency_key {
            return Err(Code::AlreadyExists.status("the trip has a hold"));
        }
        if held.asked != request.quote_id {
            return Err(Code::IdempotencyKeyReused.status("another quote under the same key"));
        }
        let hold = hold(&request.trip_id, held.state, Default::default());
        if state.loses_hold_answers > 0 {
            state.loses_hold_answers -= 1;
            return Err(Code::Unavailable.status("the answer is lost"));
        }
        Ok(Response::new(AuthorizeHoldResponse { hold }))
    }

    async fn capture_hold(
        &self,
        request: Request<CaptureHoldRequest>,
    ) -> Result<Response<CaptureHoldResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.here()?;
        if state.loses_captures > 0 {
            state.loses_captures -= 1;
            return Err(Code::Unavailable.status("not heard"));
        }
        let held = state
            .holds
            .get_mut(&request.trip_id)
            .ok_or_else(|| Code::NotFound.status("no such hold"))?;
        match held.state {
            HoldState::Held => {
                held.state = HoldState::Captured;
                let reason = request.reason();
                state.captures.push((request.trip_id.clone(), reason));
            }
            HoldState::Captured => {}
            _ => return Err(Code::HoldNotOpen.status("the hold was released")),
        }
        let hold = hold(&request.trip_id, HoldState::Captured, state.said);
        Ok(Response::new(CaptureHoldResponse {
            hold,
            receipt: None,
        }))
    }

    async fn change_hold(
        &self,
        request: Request<ChangeHoldRequest>,
    ) -> Result<Response<ChangeHoldResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.here()?;
        if !state.holds.contains_key(&request.trip_id) {
            state.changes_without_hold += 1;
        }
        let held = state
            .holds
            .get_mut(&request.trip_id)
            .ok_or_else(|| Code::NotFound.status("no such hold"))?;
        if held.state != HoldState::Held {
            return Err(Code::HoldNotOpen.status("the hold is not open"));
        }
        held.quote_id = request.quote_id;
        Ok(Response::new(ChangeHoldResponse {
            hold: hold(&request.trip_id, HoldState::Held, Default::default()),
        }))
    }

    async fn renew_hold(
        &self,
        request: Request<RenewHoldRequest>,
    ) -> Result<Response<RenewHoldResponse>, Status> {
        let trip_id = request.into_inner().trip_id;
        let mut state = self.here()?;
        state.renewals.push(trip_id.clone());
        match state.holds.get(&trip_id).map(|held| held.state) {
            None => Err(Code::NotFound.status("no such hold")),
            Some(HoldState::Held) => Ok(Response::new(RenewHoldResponse {
                hold: hold(&trip_id, HoldState::Held, Default::default()),
            })),
            Some(_) => Err(Code::HoldNotOpen.status("the hold is not open")),
        }
    }

    async fn void_hold(
        &self,
        request: Request<VoidHoldRequest>,
    ) -> Result<Response<VoidHoldResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.here()?;
        if !state.holds.contains_key(&request.trip_id) {
            state.voids_without_hold += 1;
        }
        let held = state
            .holds
            .get_mut(&request.trip_id)
            .ok_or_else(|| Code::NotFound.status("no such hold"))?;
        if held.state == HoldState::Captured {
            return Err(Code::HoldNotOpen.status("the hold was captured"));
        }
        held.state = HoldState::Voided;
        Ok(Response::new(VoidHoldResponse {
            hold: hold(&request.trip_id, HoldState::Voided, state.said),
        }))
    }
}
    get_receipt(GetReceiptRequest) -> GetReceiptResponse;
    get_receipt_document(GetReceiptDocumentRequest) -> GetReceiptDocumentResponse;
    refund_trip(RefundTripRequest) -> RefundTripResponse;
    add_tip(AddTipRequest) -> AddTipResponse;
    get_balance(GetBalanceRequest) -> GetBalanceResponse;
    list_postings(ListPostingsRequest) -> ListPostingsResponse;
    list_trip_entries(ListTripEntriesRequest) -> ListTripEntriesResponse;
    list_fare_zones(ListFareZonesRequest) -> ListFareZonesResponse;
    get_postings_document(GetPostingsDocumentRequest) -> GetPostingsDocumentResponse;
    get_driver_statement(GetDriverStatementRequest) -> GetDriverStatementResponse;
    get_driver_statement_document(GetDriverStatementDocumentRequest) -> GetDriverStatementDocumentResponse;
    create_payout(CreatePayoutRequest) -> CreatePayoutResponse;
    finish_payout(FinishPayoutRequest) -> FinishPayoutResponse;
    record_chargeback(RecordChargebackRequest) -> RecordChargebackResponse;
    fail_payout(FailPayoutRequest) -> FailPayoutResponse;
    list_payouts(ListPayoutsRequest) -> ListPayoutsResponse;
    grant_credit(GrantCreditRequest) -> GrantCreditResponse;
    put_promotion(PutPromotionRequest) -> PutPromotionResponse;
    list_promotions(ListPromotionsRequest) -> ListPromotionsResponse;
    preview_promotion(PreviewPromotionRequest) -> PreviewPromotionResponse;
    apply_promotion(ApplyPromotionRequest) -> ApplyPromotionResponse;
    put_provider_account(PutProviderAccountRequest) -> PutProviderAccountResponse;
    handle_provider_event(HandleProviderEventRequest) -> HandleProviderEventResponse;
    reconcile_provider(ReconcileProviderRequest) -> ReconcileProviderResponse;
    check_ledger(CheckLedgerRequest) -> CheckLedgerResponse;
}
