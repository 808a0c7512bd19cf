//! The rpcs: decode, one call, encode. What they promise is in `billing.proto`.
#![allow(clippy::result_large_err)] // `Status` is what every handler answers.

use jitney_platform::auth::{Caller, Role};
use jitney_proto::{
    Code,
    billing::v1::{self as pb, billing_service_server::BillingService, get_balance_request::Owner},
    common::v1::Document,
    ids::{IdError, ProductId, TripId},
    money::Money,
    time::{moment, timestamp},
};
use tonic::{Request, Response, Status};

use crate::{
    Billing, Error,
    document::Sheet,
    hold::{Authorize, CaptureOf, Reason},
    ledger::Account,
    metrics::{Operation, counted},
    place::Place,
    quote::Asked,
    receipt::{Receipt, View},
    store::batch,
};

mod chargebacks;
mod entries;
mod payouts;
mod promotions;
mod providers;
mod refunds;
mod statements;
mod tips;
mod wire;

use wire::{
    driver_id, hold, key, lines, money, not_negative, payment_method, place, reason, receipt,
    rider_id, trip_id,
};

/// Points of a way that is to be priced, at most.
const WAY_POINTS_MAX: usize = 100_000;

/// Serves [`Billing`].
pub struct Grpc(pub(crate) Billing);

#[tonic::async_trait]
impl BillingService for Grpc {
    async fn quote_fare(
        &self,
        request: Request<pb::QuoteFareRequest>,
    ) -> Result<Response<pb::QuoteFareResponse>, Status> {
        let asked = request.into_inner();
        let product: ProductId = asked.product.parse().map_err(|error: IdError| {
            Code::UnknownProduct.bad_field("product", error.to_string())
        })?;
        not_negative("distance_meters", asked.distance_meters)?;
        not_negative("duration_ms", asked.duration_ms)?;
        not_negative("waiting_ms", asked.waiting_ms)?;
        if asked.way.len() > WAY_POINTS_MAX {
            let problem = format!("has more than {WAY_POINTS_MAX} points");
            return Err(Code::InvalidRequest.bad_field("way", problem));
        }
        let way = asked.way.into_iter().enumerate();
        let way = way.map(|(number, point)| place(&format!("way[{number}]"), Some(point)));
        let way: Vec<Option<Place>> = way.collect::<Result<_, _>>()?;
        let toll_minor = match asked.tolls_of_trip_id.as_str() {
            "" => 0,
            _ if !way.is_empty() => {
                let problem = "must be empty where there is a way";
                return Err(Code::InvalidRequest.bad_field("tolls_of_trip_id", problem));
            }
            trip => {
                let trip = trip.parse();
                let trip = trip.map_err(|error: IdError| error.status("tolls_of_trip_id"))?;
                self.0.store.held_toll(trip).await?
            }
        };
        let asked = Asked {
            product,
            way: way.into_iter().flatten().collect(),
            toll_minor,
            distance_meters: asked.distance_meters,
            duration_ms: asked.duration_ms,
            pickup: place("pickup", asked.pickup)?,
            dropoff: place("dropoff", asked.dropoff)?,
            pickup_at: asked
                .pickup_at
                .map(|at| moment(&at, "pickup_at"))
                .transpose()?,
            extra_stops: asked.extra_stops.into(),
            surge_percent: asked.surge_percent.into(),
            waiting_ms: asked.waiting_ms,
            tariff_version: Some(asked.tariff_version).filter(|version| !version.is_empty()),
        };
        let (quote, expires_at, signature) = self.0.quote(&asked).await?;
        let quote = pb::FareQuote {
            quote_id: quote.id.into(),
            product: quote.product.into(),
            tariff_version: quote.tariff_version,
            lines: lines(&quote.lines, quote.currency),
            total: money(quote.total_minor, quote.currency),
            expires_at: Some(timestamp(expires_at)),
            cancellation_fee: money(
                quote.cancellation_fee.total().map_err(Error::from)?,
                quote.currency,
            ),
            no_show_fee: money(
                quote.no_show_fee.total().map_err(Error::from)?,
                quote.currency,
            ),
            surge_percent: u32::try_from(quote.surge_percent).unwrap_or(u32::MAX),
            signature,
        };
        Ok(Response::new(pb::QuoteFareResponse { quote: Some(quote) }))
    }

    async fn authorize_hold(
        &self,
        request: Request<pb::AuthorizeHoldRequest>,
    ) -> Result<Response<pb::AuthorizeHoldResponse>, Status> {
        let asked = request.into_inner();
        let key = key(asked.idempotency_key)?;
        let asked = Authorize {
            trip_id: trip_id(&asked.trip_id)?,
            rider_id: rider_id(&asked.rider_id)?,
            quote_id: asked
                .quote_id
                .parse()
                .map_err(|e: IdError| e.status("quote_id"))?,
            payment_method: payment_method(asked.payment_method)?,
        };
        let terms = self.0.terms();
        let held = self.0.store.authorize(&key, &asked, &terms);
        let held = counted(Operation::Authorize, held.await)?;
        Ok(Response::new(pb::AuthorizeHoldResponse {
            hold: Some(hold(&held)),
        }))
    }

    async fn capture_hold(
        &self,
        request: Request<pb::CaptureHoldRequest>,
    ) -> Result<Response<pb::CaptureHoldResponse>, Status> {
        let asked = request.into_inner();
        let reason = reason(asked.reason());
        let key = key(asked.idempotency_key)?;
        let amount = match &asked.amount {
            Some(amount) => Some(Money::from_wire(amount, "amount")?),
            None => None,
        };
        not_negative(
            "amount.minor_units",
            amount.map_or(0, |amount| amount.minor),
        )?;
        if amount.is_some() && reason != Reason::Fare {
            return Err(Code::InvalidRequest.bad_field("amount", "must be absent with a fee"));
        }
        let capture = CaptureOf {
            trip_id: trip_id(&asked.trip_id)?,
            driver_id: driver_id(&asked.driver_id)?,
            amount,
            reason,
        };
        let captured = self.0.captures.ask(batch::Asked {
            key,
            capture,
            traceparent: jitney_platform::telemetry::traceparent(),
        });
        let (held, charged) = counted(Operation::Capture, captured.await)?;
        Ok(Response::new(pb::CaptureHoldResponse {
            hold: Some(hold(&held)),
            receipt: Some(receipt(charged, View::Staff)),
        }))
    }

    async fn void_hold(
        &self,
        request: Request<pb::VoidHoldRequest>,
    ) -> Result<Response<pb::VoidHoldResponse>, Status> {
        let asked = request.into_inner();
        let key = key(asked.idempotency_key)?;
        let held = self.0.store.void(&key, trip_id(&asked.trip_id)?);
        let held = counted(Operation::Void, held.await)?;
        Ok(Response::new(pb::VoidHoldResponse {
            hold: Some(hold(&held)),
        }))
    }

    async fn change_hold(
        &self,
        request: Request<pb::ChangeHoldRequest>,
    ) -> Result<Response<pb::ChangeHoldResponse>, Status> {
        let asked = request.into_inner();
        let key = key(asked.idempotency_key)?;
        let trip_id = trip_id(&asked.trip_id)?;
        let quote_id = asked.quote_id.parse();
        let quote_id = quote_id.map_err(|e: IdError| e.status("quote_id"))?;
        let held = self.0.store.change_hold(&key, trip_id, quote_id);
        let held = counted(Operation::Change, held.await)?;
        Ok(Response::new(pb::ChangeHoldResponse {
            hold: Some(hold(&held)),
        }))
    }

    async fn renew_hold(
        &self,
        request: Request<pb::RenewHoldRequest>,
    ) -> Result<Response<pb::RenewHoldResponse>, Status> {
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        let terms = self.0.terms();
        let held = self.0.store.renew_hold(trip_id, &terms);
        let held = counted(Operation::Renew, held.await)?;
        Ok(Response::new(pb::RenewHoldResponse {
            hold: Some(hold(&held)),
        }))
    }

    async fn get_receipt(
        &self,
        request: Request<pb::GetReceiptRequest>,
    ) -> Result<Response<pb::GetReceiptResponse>, Status> {
        let caller = Caller::of(&request)?;
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        let (view, charged) = self.seen(&caller, trip_id).await?;
        Ok(Response::new(pb::GetReceiptResponse {
            receipt: Some(receipt(charged, view)),
        }))
    }

    async fn get_receipt_document(
        &self,
        request: Request<pb::GetReceiptDocumentRequest>,
    ) -> Result<Response<pb::GetReceiptDocumentResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.get_ref();
        let trip_id = trip_id(&asked.trip_id)?;
        let format = pb::DocumentFormat::try_from(asked.format);
        let unknown = |_| Code::InvalidRequest.bad_field("format", "is not known");
        let format = format.map_err(unknown)?;
        let (view, charged) = self.seen(&caller, trip_id).await?;
        let sheet = Sheet::of_receipt(&charged, view);
        let (content_type, ending, data) = match format {
            pb::DocumentFormat::Unspecified | pb::DocumentFormat::Html => (
                "text/html; charset=utf-8",
                "html",
                sheet.html().into_bytes(),
            ),
            pb::DocumentFormat::Pdf => ("application/pdf", "pdf", sheet.pdf()),
        };
        let document = Document {
            content_type: content_type.to_owned(),
            file_name: format!("receipt-{trip_id}.{ending}"),
            data,
        };
        Ok(Response::new(pb::GetReceiptDocumentResponse {
            document: Some(document),
        }))
    }

    async fn refund_trip(
        &self,
        request: Request<pb::RefundTripRequest>,
    ) -> Result<Response<pb::RefundTripResponse>, Status> {
        self.give_back(request).await
    }

    async fn add_tip(
        &self,
        request: Request<pb::AddTipRequest>,
    ) -> Result<Response<pb::AddTipResponse>, Status> {
        self.thank(request).await
    }

    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::GetBalanceResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (role, account, owner) = match request.into_inner().owner {
            Some(Owner::DriverId(id)) => (
                Role::Driver,
                Account::DriverPayable,
                driver_id(&id)?.to_string(),
            ),
            Some(Owner::RiderId(id)) => (
                Role::Rider,
                Account::RiderReceivable,
                rider_id(&id)?.to_string(),
            ),
            None => return Err(Code::InvalidRequest.bad_field("owner", "is required")),
        };
        if !caller.is_staff() && (caller.role != role || caller.id != owner) {
            return Err(Code::NotFound.status("there is no such account"));
        }
        let mut balances = self.0.store.balances(account, &owner).await?;
        let mut cash_dues = Vec::new();
        if role == Role::Driver {
            cash_dues = self
                .0
                .store
                .balances(Account::DriverCashDue, &owner)
                .await?;
            cash_dues.retain(|due| due.minor != 0);
            for due in &cash_dues {
                match balances.iter_mut().find(|own| own.currency == due.currency) {
                    Some(own) => own.minor += due.minor,
                    None => balances.push(*due),
                }
            }
        }
        let balances = balances.into_iter().map(|balance| match account {
            // A credit is what we owe them.
            Account::DriverPayable => Money::new(-balance.minor, balance.currency).into(),
            _ => balance.into(),
        });
        let credits = match role {
            Role::Rider => self.0.store.balances(Account::RiderCredit, &owner).await?,
            _ => Vec::new(),
        };
        let credits = credits.into_iter().filter(|credit| credit.minor != 0);
        Ok(Response::new(pb::GetBalanceResponse {
            balances: balances.collect(),
            cash_dues: cash_dues.into_iter().map(Into::into).collect(),
            credits: credits
                .map(|credit| Money::new(-credit.minor, credit.currency).into())
                .collect(),
        }))
    }

    async fn list_postings(
        &self,
        request: Request<pb::ListPostingsRequest>,
    ) -> Result<Response<pb::ListPostingsResponse>, Status> {
        self.posted(request).await
    }

    async fn get_postings_document(
        &self,
        request: Request<pb::GetPostingsDocumentRequest>,
    ) -> Result<Response<pb::GetPostingsDocumentResponse>, Status> {
        let document = Some(self.posted_table(request).await?);
        Ok(Response::new(pb::GetPostingsDocumentResponse { document }))
    }

    async fn list_trip_entries(
        &self,
        request: Request<pb::ListTripEntriesRequest>,
    ) -> Result<Response<pb::ListTripEntriesResponse>, Status> {
        self.journal(request).await
    }

    async fn list_fare_zones(
        &self,
        _: Request<pb::ListFareZonesRequest>,
    ) -> Result<Response<pb::ListFareZonesResponse>, Status> {
        self.fare_zones()
    }

    async fn get_driver_statement(
        &self,
        request: Request<pb::GetDriverStatementRequest>,
    ) -> Result<Response<pb::GetDriverStatementResponse>, Status> {
        self.month(request).await
    }

    async fn get_driver_statement_document(
        &self,
        request: Request<pb::GetDriverStatementDocumentRequest>,
    ) -> Result<Response<pb::GetDriverStatementDocumentResponse>, Status> {
        let document = Some(self.month_table(request).await?);
        Ok(Response::new(pb::GetDriverStatementDocumentResponse {
            document,
        }))
    }

    async fn create_payout(
        &self,
        request: Request<pb::CreatePayoutRequest>,
    ) -> Result<Response<pb::CreatePayoutResponse>, Status> {
        self.send(request).await
    }

    async fn finish_payout(
        &self,
        request: Request<pb::FinishPayoutRequest>,
    ) -> Result<Response<pb::FinishPayoutResponse>, Status> {
        self.arrived(request).await
    }

    async fn fail_payout(
        &self,
        request: Request<pb::FailPayoutRequest>,
    ) -> Result<Response<pb::FailPayoutResponse>, Status> {
        self.came_back(request).await
    }

    async fn list_payouts(
        &self,
        request: Request<pb::ListPayoutsRequest>,
    ) -> Result<Response<pb::ListPayoutsResponse>, Status> {
        self.sent(request).await
    }

    async fn grant_credit(
        &self,
        request: Request<pb::GrantCreditRequest>,
    ) -> Result<Response<pb::GrantCreditResponse>, Status> {
        self.give_credit(request).await
    }

    async fn put_promotion(
        &self,
        request: Request<pb::PutPromotionRequest>,
    ) -> Result<Response<pb::PutPromotionResponse>, Status> {
        self.put(request).await
    }

    async fn list_promotions(
        &self,
        request: Request<pb::ListPromotionsRequest>,
    ) -> Result<Response<pb::ListPromotionsResponse>, Status> {
        self.promotions(request).await
    }

    async fn preview_promotion(
        &self,
        request: Request<pb::PreviewPromotionRequest>,
    ) -> Result<Response<pb::PreviewPromotionResponse>, Status> {
        self.preview(request).await
    }

    async fn apply_promotion(
        &self,
        request: Request<pb::ApplyPromotionRequest>,
    ) -> Result<Response<pb::ApplyPromotionResponse>, Status> {
        self.apply(request).await
    }

    async fn put_provider_account(
        &self,
        request: Request<pb::PutProviderAccountRequest>,
    ) -> Result<Response<pb::PutProviderAccountResponse>, Status> {
        self.put_account(request).await
    }

    async fn handle_provider_event(
        &self,
        request: Request<pb::HandleProviderEventRequest>,
    ) -> Result<Response<pb::HandleProviderEventResponse>, Status> {
        self.hear(request).await
    }

    async fn record_chargeback(
        &self,
        request: Request<pb::RecordChargebackRequest>,
    ) -> Result<Response<pb::RecordChargebackResponse>, Status> {
        self.charged_back(request).await
    }

    async fn reconcile_provider(
        &self,
        request: Request<pb::ReconcileProviderRequest>,
    ) -> Result<Response<pb::ReconcileProviderResponse>, Status> {
        self.compare(request).await
    }

    async fn check_ledger(
        &self,
        _: Request<pb::CheckLedgerRequest>,
    ) -> Result<Response<pb::CheckLedgerResponse>, Status> {
        let found = self.0.store.check_ledger().await?;
        let balanced = found.is_balanced();
        if !balanced {
            tracing::error!(
                unbalanced_entries = found.unbalanced_entries,
                wrong_balances = found.wrong_balances,
                wrong_charges = found.wrong_charges,
                wrong_payouts = found.wrong_payouts,
                wrong_credits = found.wrong_credits,
                "the ledger does not hold"
            );
        }
        let totals = found.totals.into_iter().map(|total| pb::AccountTotal {
            account: total.account,
            total: money(total.total_minor, total.currency),
        });
        Ok(Response::new(pb::CheckLedgerResponse {
            balanced,
            entries: found.entries,
            unbalanced_entries: found.unbalanced_entries,
            wrong_balances: found.wrong_balances,
            wrong_charges: found.wrong_charges,
            wrong_payouts: found.wrong_payouts,
            wrong_credits: found.wrong_credits,
            totals: totals.collect(),
        }))
    }
}

impl Grpc {
    /// A receipt and what the caller sees of it. A trip that was never charged and one of somebody
    /// else's read the same.
    async fn seen(&self, caller: &Caller, trip_id: TripId) -> Result<(View, Receipt), Status> {
        let charged = self.0.store.receipt(trip_id).await?;
        let seen = charged.and_then(|receipt| Some((View::of(&receipt, caller)?, receipt)));
        seen.ok_or_else(|| Code::NotFound.status("there is no receipt for this trip"))
    }
}
