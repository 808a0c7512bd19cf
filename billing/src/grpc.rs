//! The rpcs: decode, one call, encode. What they promise is in `billing.proto`.
#![allow(clippy::result_large_err)] // `Status` is what every handler answers.

use jitney_platform::auth::{Caller, Role};
use jitney_proto::{
    Code,
    billing::v1::{self as pb, billing_service_server::BillingService, get_balance_request::Owner},
    common::v1::{Document, Point},
    ids::{DriverId, IdError, ProductId, RiderId, TripId},
    money::{Currency, Money},
    time::{moment, timestamp},
};
use tonic::{Request, Response, Status};

use crate::{
    Billing, Error,
    document::Sheet,
    fare::FareLines,
    hold::{Authorize, CaptureOf, Hold, HoldState, Reason},
    idempotency::Key,
    ledger::Account,
    place::Place,
    quote::Asked,
    receipt::{Receipt, View},
};

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
        let asked = Asked {
            product,
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
        };
        let (quote, expires_at) = self.0.quote(&asked).await?;
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
        };
        let held = self
            .0
            .store
            .authorize(&key, &asked, &self.0.terms())
            .await?;
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
        let asked = CaptureOf {
            trip_id: trip_id(&asked.trip_id)?,
            driver_id: driver_id(&asked.driver_id)?,
            amount,
            reason,
        };
        let (held, charged) = self.0.captures.capture(key, asked).await?;
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
        let held = self.0.store.void(&key, trip_id(&asked.trip_id)?).await?;
        Ok(Response::new(pb::VoidHoldResponse {
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
        let balances = self.0.store.balances(account, &owner).await?;
        let balances = balances.into_iter().map(|balance| match account {
            // A credit is what we owe them.
            Account::DriverPayable => Money::new(-balance.minor, balance.currency).into(),
            _ => balance.into(),
        });
        Ok(Response::new(pb::GetBalanceResponse {
            balances: balances.collect(),
        }))
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

fn key(text: String) -> Result<Key, Status> {
    Key::new(text)
        .map_err(|error| Code::InvalidRequest.bad_field("idempotency_key", error.to_string()))
}

fn trip_id(text: &str) -> Result<TripId, Status> {
    text.parse()
        .map_err(|error: IdError| error.status("trip_id"))
}

fn rider_id(text: &str) -> Result<RiderId, Status> {
    text.parse()
        .map_err(|error: IdError| error.status("rider_id"))
}

fn driver_id(text: &str) -> Result<DriverId, Status> {
    text.parse()
        .map_err(|error: IdError| error.status("driver_id"))
}

fn not_negative(field: &str, value: i64) -> Result<(), Status> {
    if value < 0 {
        Err(Code::InvalidRequest.bad_field(field, "is below zero"))
    } else {
        Ok(())
    }
}

fn reason(reason: pb::CaptureReason) -> Reason {
    match reason {
        pb::CaptureReason::Unspecified | pb::CaptureReason::Fare => Reason::Fare,
        pb::CaptureReason::CancellationFee => Reason::CancellationFee,
        pb::CaptureReason::NoShowFee => Reason::NoShowFee,
    }
}

/// A place, where there is one.
fn place(field: &str, point: Option<Point>) -> Result<Option<Place>, Status> {
    let Some(point) = point else {
        return Ok(None);
    };
    let place = Place::new(point.latitude, point.longitude);
    let not_there = || Code::InvalidRequest.bad_field(field, "is not a place on Earth");
    place.ok_or_else(not_there).map(Some)
}

fn money(minor: i64, currency: Currency) -> Option<jitney_proto::common::v1::Money> {
    Some(Money::new(minor, currency).into())
}

/// The lines that are worth a line.
fn lines(lines: &FareLines, currency: Currency) -> Vec<pb::FareLine> {
    let worth = lines.each().into_iter().filter(|(_, minor)| *minor != 0);
    worth
        .map(|(kind, minor)| pb::FareLine {
            kind: kind.into(),
            amount: money(minor, currency),
        })
        .collect()
}

fn hold(hold: &Hold) -> pb::Hold {
    let state = match hold.state {
        HoldState::Held => pb::HoldState::Held,
        HoldState::Captured => pb::HoldState::Captured,
        HoldState::Voided => pb::HoldState::Voided,
    };
    pb::Hold {
        trip_id: hold.trip_id.into(),
        state: state.into(),
        authorized: money(hold.authorised, hold.currency),
        captured: money(hold.captured, hold.currency),
        expires_at: Some(timestamp(hold.expires_at)),
    }
}

fn receipt(receipt: Receipt, view: View) -> pb::Receipt {
    let currency = receipt.currency;
    let shown = |minor, shows: bool| if shows { money(minor, currency) } else { None };
    pb::Receipt {
        trip_id: receipt.trip_id.into(),
        rider_id: receipt.rider_id,
        driver_id: receipt.driver_id,
        product: receipt.product,
        lines: lines(&receipt.lines, currency),
        total: money(receipt.total_minor, currency),
        driver_share: shown(receipt.driver_share_minor, view.shows_driver_share()),
        platform_share: shown(receipt.platform_share_minor, view.shows_platform_share()),
        tax: money(receipt.lines.tax_minor, currency),
        tariff_version: receipt.tariff_version,
        captured_at: Some(timestamp(receipt.captured_at)),
    }
}
