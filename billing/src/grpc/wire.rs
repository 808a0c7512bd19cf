//! What the rpcs' messages mean, and how what we know is said in them.

use jitney_platform::auth::Caller;
use jitney_proto::{
    Code,
    billing::v1 as pb,
    common::v1::Point,
    ids::{DriverId, IdError, RiderId, TripId},
    money::{Currency, Money},
    time::timestamp,
};
use tonic::Status;

use crate::{
    event::payment_state,
    fare::{FareLines, MAX_MINOR},
    hold::{Hold, HoldState, PaymentMethod, Reason},
    idempotency::Key,
    place::Place,
    receipt::{Receipt, View},
    refund::Refund,
};

pub(super) fn key(text: String) -> Result<Key, Status> {
    Key::new(text)
        .map_err(|error| Code::InvalidRequest.bad_field("idempotency_key", error.to_string()))
}

/// A key that is the caller's own when they are a rider or a driver.
pub(super) fn key_of(caller: &Caller, text: String) -> Result<Key, Status> {
    Key::of(caller, text)
        .map_err(|error| Code::InvalidRequest.bad_field("idempotency_key", error.to_string()))
}

pub(super) fn trip_id(text: &str) -> Result<TripId, Status> {
    text.parse()
        .map_err(|error: IdError| error.status("trip_id"))
}

pub(super) fn rider_id(text: &str) -> Result<RiderId, Status> {
    text.parse()
        .map_err(|error: IdError| error.status("rider_id"))
}

pub(super) fn driver_id(text: &str) -> Result<DriverId, Status> {
    text.parse()
        .map_err(|error: IdError| error.status("driver_id"))
}

pub(super) fn not_negative(field: &str, value: i64) -> Result<(), Status> {
    if value < 0 {
        Err(Code::InvalidRequest.bad_field(field, "is below zero"))
    } else {
        Ok(())
    }
}

pub(super) fn reason(reason: pb::CaptureReason) -> Reason {
    match reason {
        pb::CaptureReason::Unspecified | pb::CaptureReason::Fare => Reason::Fare,
        pb::CaptureReason::CancellationFee => Reason::CancellationFee,
        pb::CaptureReason::NoShowFee => Reason::NoShowFee,
    }
}

/// How it is paid; by card unless somebody says otherwise.
pub(super) fn payment_method(method: i32) -> Result<PaymentMethod, Status> {
    match pb::PaymentMethod::try_from(method) {
        Ok(pb::PaymentMethod::Unspecified | pb::PaymentMethod::Card) => Ok(PaymentMethod::Card),
        Ok(pb::PaymentMethod::Cash) => Ok(PaymentMethod::Cash),
        Err(_) => Err(Code::InvalidRequest.bad_field("payment_method", "is not known")),
    }
}

fn told_method(method: PaymentMethod) -> i32 {
    match method {
        PaymentMethod::Card => pb::PaymentMethod::Card.into(),
        PaymentMethod::Cash => pb::PaymentMethod::Cash.into(),
    }
}

/// A place, where there is one.
pub(super) fn place(field: &str, point: Option<Point>) -> Result<Option<Place>, Status> {
    let Some(point) = point else {
        return Ok(None);
    };
    let place = Place::new(point.latitude, point.longitude);
    let not_there = || Code::InvalidRequest.bad_field(field, "is not a place on Earth");
    place.ok_or_else(not_there).map(Some)
}

pub(super) fn money(minor: i64, currency: Currency) -> Option<jitney_proto::common::v1::Money> {
    Some(Money::new(minor, currency).into())
}

/// The lines that are worth a line.
pub(super) fn lines(lines: &FareLines, currency: Currency) -> Vec<pb::FareLine> {
    let lines = lines.each().into_iter();
    lines.filter_map(|of| line(of, currency)).collect()
}

/// A line, if it is worth one.
fn line((kind, minor): (pb::FareLineKind, i64), currency: Currency) -> Option<pb::FareLine> {
    (minor != 0).then(|| pb::FareLine {
        kind: kind.into(),
        amount: money(minor, currency),
    })
}

pub(super) fn hold(hold: &Hold) -> pb::Hold {
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
        refunded: money(hold.refunded, hold.currency),
        payment_method: told_method(hold.payment_method),
        version: hold.version,
        payment_state: payment_state(hold).into(),
    }
}

pub(super) fn receipt(receipt: Receipt, view: View) -> pb::Receipt {
    let currency = receipt.currency;
    let shown = |minor, shows: bool| if shows { money(minor, currency) } else { None };
    let payment_state = match receipt.refunded_minor {
        0 => pb::PaymentState::Captured,
        all if all == receipt.total_minor => pb::PaymentState::Refunded,
        _ => pb::PaymentState::PartiallyRefunded,
    };
    let to_pay_minor = receipt.to_pay_minor();
    let refunds = receipt.refunds.into_iter();
    let mut fare_lines = lines(&receipt.lines, currency);
    let beside = [
        (pb::FareLineKind::Promotion, -receipt.promotion_minor),
        (pb::FareLineKind::Dues, receipt.dues_minor),
        (pb::FareLineKind::Tip, receipt.tip_minor),
    ];
    fare_lines.extend(beside.into_iter().filter_map(|of| line(of, currency)));
    pb::Receipt {
        trip_id: receipt.trip_id.into(),
        rider_id: receipt.rider_id,
        driver_id: receipt.driver_id,
        product: receipt.product,
        lines: fare_lines,
        total: money(to_pay_minor, currency),
        driver_share: shown(receipt.driver_share_minor, view.shows_driver_share()),
        platform_share: shown(receipt.platform_share_minor, view.shows_platform_share()),
        tax: money(receipt.lines.tax_minor, currency),
        tariff_version: receipt.tariff_version,
        captured_at: Some(timestamp(receipt.captured_at)),
        refunded: money(receipt.refunded_minor, currency),
        refunds: refunds.map(|given| refund(given, view)).collect(),
        payment_state: payment_state.into(),
        upfront: money(
            receipt.upfront_minor.unwrap_or(receipt.total_minor),
            currency,
        ),
        fare: money(receipt.total_minor, currency),
        credit: money(receipt.credit_minor, currency),
        payment_method: told_method(receipt.payment_method),
        cash: money(receipt.cash_minor, currency),
        carried: money(receipt.carried_minor, currency),
    }
}

pub(super) fn refund(refund: Refund, view: View) -> pb::Refund {
    let currency = refund.currency;
    let mut refund_lines = lines(&refund.lines, currency);
    refund_lines.extend(line(
        (pb::FareLineKind::Promotion, -refund.promotion_minor),
        currency,
    ));
    let shown = |minor, shows: bool| if shows { money(minor, currency) } else { None };
    pb::Refund {
        number: refund.seq,
        amount: money(refund.total_minor, currency),
        lines: refund_lines,
        driver_share: shown(refund.driver_share_minor, view.shows_driver_share()),
        platform_share: shown(refund.platform_share_minor, view.shows_platform_share()),
        reason: refund.reason,
        refunded_at: Some(timestamp(refund.refunded_at)),
        credit: money(refund.credit_minor, currency),
    }
}

/// Which part of a list is asked for.
pub(super) struct Page<P> {
    /// Everything up to here was answered before.
    pub after: Option<P>,
    wanted: usize,
}

/// Entries of a page, when nobody says.
const PAGE_DEFAULT: usize = 20;
/// Entries of a page, at most.
const PAGE_MAX: usize = 100;

impl<P> Page<P> {
    /// Reads `page_size` and `page_token`.
    pub fn of(size: i32, token: &str, read: fn(&str) -> Option<P>) -> Result<Page<P>, Status> {
        let bad = |field, problem| Code::InvalidRequest.bad_field(field, problem);
        let wanted = match usize::try_from(size) {
            Ok(0) => PAGE_DEFAULT,
            Ok(size) => size.min(PAGE_MAX),
            Err(_) => return Err(bad("page_size", "is below zero")),
        };
        let unknown = || bad("page_token", "is not a next_page_token");
        let after = match token {
            "" => None,
            token => Some(read(token).ok_or_else(unknown)?),
        };
        Ok(Page { after, wanted })
    }

    /// How many to look for: one more than wanted tells whether there is another page.
    pub fn asks_for(&self) -> i64 {
        i64::try_from(self.wanted + 1).unwrap_or(i64::MAX)
    }

    /// The page of what was found, and the token of the next one.
    pub fn cut<T>(&self, mut found: Vec<T>, token: impl Fn(&T) -> String) -> (Vec<T>, String) {
        let is_more = found.len() > self.wanted;
        found.truncate(self.wanted);
        let last = found.last().filter(|_| is_more);
        let next = last.map(token).unwrap_or_default();
        (found, next)
    }
}

/// Who did something, for the books.
pub(super) fn doer(caller: &Caller) -> String {
    format!("{}:{}", caller.role, caller.id)
}

/// A text that people wrote: so many characters at most, and none that nobody can see.
pub(super) fn words(field: &str, text: String, chars_max: usize) -> Result<String, Status> {
    let bad = |problem: String| Err(Code::InvalidRequest.bad_field(field, problem));
    let text = text.trim();
    if text.is_empty() {
        bad("is required".to_owned())
    } else if text.chars().count() > chars_max {
        bad(format!("is longer than {chars_max} characters"))
    } else if text.chars().any(char::is_control) {
        bad("has control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// An amount above zero, where there is one.
pub(super) fn positive(
    field: &str,
    amount: Option<&jitney_proto::common::v1::Money>,
) -> Result<Option<Money>, Status> {
    let Some(amount) = amount else {
        return Ok(None);
    };
    let amount = Money::from_wire(amount, field)?;
    if (1..=MAX_MINOR).contains(&amount.minor) {
        Ok(Some(amount))
    } else {
        let field = format!("{field}.minor_units");
        let problem = format!("is not between 1 and {MAX_MINOR}");
        Err(Code::InvalidRequest.bad_field(&field, problem))
    }
}
