//! Stripe: payment intents that are captured by hand, refunds, and transfers to connected accounts.
//!
//! Every call that changes something carries our key as its `Idempotency-Key` and in the metadata of what it
//! makes. Stripe keeps the former for a day; looking for an operation goes by the latter, in lists, which
//! show at once what was made (searches do not). A key whose first call ended in an error of Stripe's own
//! gives that error again until Stripe has forgotten it; it then is sent anew.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use jitney_proto::money::{Currency, Money};
use serde_json::Value;

use crate::chargeback::ChargebackState;

use super::{
    Dispute, Event, EventError, Found, Kind, Listed, Operation, Outcome, Provider, ProviderAccount,
    config::StripeConfig,
};

mod http;
pub(super) mod signature;

use http::{Http, Secret};

/// Where our key is in the metadata of what Stripe makes.
const KEY: &str = "jitney_key";
/// Where the trip's or the payout's id is.
const SUBJECT: &str = "jitney_subject";
/// How far our clock and Stripe's may differ when looking for what was made.
const SKEW: TimeDelta = TimeDelta::hours(1);
/// Pages that are read when looking for one operation, at most, of 100 each.
const PAGES_MAX: usize = 50;

/// Stripe.
pub struct Stripe {
    http: Http,
    webhook_secret: Option<Secret>,
}

impl Stripe {
    /// Stripe as configured. Nothing is called yet.
    ///
    /// # Errors
    /// When a secret cannot be read or the address makes no sense; the message says which setting.
    pub fn open(config: &StripeConfig) -> anyhow::Result<Stripe> {
        let Some(file) = &config.secret_key_file else {
            anyhow::bail!(
                "billing.provider.stripe.secret_key_file is required with kind = \"stripe\""
            );
        };
        let secret = Secret::read("billing.provider.stripe.secret_key_file", file)?;
        let webhook_secret = config.webhook_secret_file.as_ref();
        Ok(Stripe {
            http: Http::new(&config.base_url, secret)?,
            webhook_secret: webhook_secret
                .map(|file| Secret::read("billing.provider.stripe.webhook_secret_file", file))
                .transpose()?,
        })
    }

    /// Asks for something that changes something.
    async fn ask(
        &self,
        operation: &Operation,
        path: &str,
        fields: &[(&str, &str)],
        judge: fn(&Operation, &Value) -> Option<Outcome>,
    ) -> Outcome {
        let subject = operation.subject.to_string();
        let (key, subject_field) = (format!("metadata[{KEY}]"), format!("metadata[{SUBJECT}]"));
        let mut fields = fields.to_vec();
        // What is about an intent that there is already must not take its name over.
        if matches!(
            operation.kind,
            Kind::Authorize | Kind::Refund | Kind::Transfer
        ) {
            fields.extend([(&*key, &*operation.key), (&*subject_field, &*subject)]);
        }
        match self.http.post(path, &operation.key, &fields).await {
            Ok(object) => judge(operation, &object)
                .unwrap_or_else(|| Outcome::unknown("it was accepted and not done")),
            Err(outcome) => outcome,
        }
    }

    /// What was made under the key of an operation, in a list.
    async fn look(
        &self,
        operation: &Operation,
        path: &str,
        filter: (&str, &str),
        judge: fn(&Operation, &Value) -> Option<Outcome>,
    ) -> Result<Found, Outcome> {
        let since = (operation.planned_at - SKEW).timestamp().to_string();
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![filter, ("created[gte]", &*since), ("limit", "100")];
            query.extend(after.as_deref().map(|id| ("starting_after", id)));
            let page = self.http.get(path, &query).await?;
            let Some(objects) = page["data"].as_array() else {
                return Err(Outcome::unknown("a list without data"));
            };
            let made = objects
                .iter()
                .find(|object| object["metadata"][KEY] == *operation.key);
            if let Some(object) = made {
                return Ok(known(judge(operation, object)));
            }
            if page["has_more"] != true {
                return Ok(Found::Never);
            }
            after = objects
                .last()
                .and_then(|object| object["id"].as_str())
                .map(str::to_owned);
        }
        Err(Outcome::unknown(
            "more was made meanwhile than is looked through",
        ))
    }

    async fn found(&self, operation: &Operation) -> Result<Found, Outcome> {
        match operation.kind {
            Kind::Authorize => {
                // Without an account it was never sent.
                let Some(account) = &operation.account else {
                    return Ok(Found::Never);
                };
                let filter = ("customer", &*account.account);
                self.look(operation, "/v1/payment_intents", filter, authorized)
                    .await
            }
            Kind::Capture | Kind::Void => {
                let judge = if operation.kind == Kind::Capture {
                    captured
                } else {
                    voided
                };
                let path = intent_path(operation, "")?;
                let intent = self.http.get(&path, &[]).await?;
                Ok(judge(operation, &intent).map_or(Found::Never, Found::Known))
            }
            Kind::Refund => {
                let filter = ("payment_intent", intent_of(operation)?);
                self.look(operation, "/v1/refunds", filter, refunded).await
            }
            Kind::Transfer => {
                let group = operation.subject.to_string();
                let filter = ("transfer_group", &*group);
                self.look(operation, "/v1/transfers", filter, transferred)
                    .await
            }
        }
    }
}

impl Stripe {
    async fn authorize(&self, operation: &Operation) -> Outcome {
        let (account, method) = match &operation.account {
            Some(ProviderAccount {
                account,
                payment_method: Some(method),
            }) => (account, method),
            _ => return declined("the rider has no account and payment method with the provider"),
        };
        let Some(amount) = amount(&operation.amount) else {
            return declined("the amount cannot be charged in this currency");
        };
        let fields = [
            ("amount", &*amount),
            ("currency", &*currency(&operation.amount)),
            ("customer", account),
            ("payment_method", method),
            ("capture_method", "manual"),
            ("confirm", "true"),
            ("off_session", "true"),
        ];
        self.ask(operation, "/v1/payment_intents", &fields, authorized)
            .await
    }

    async fn capture(&self, operation: &Operation) -> Outcome {
        let path = match intent_path(operation, "/capture") {
            Ok(path) => path,
            Err(outcome) => return outcome,
        };
        let Some(amount) = amount(&operation.amount) else {
            return declined("the amount cannot be charged in this currency");
        };
        self.ask(
            operation,
            &path,
            &[("amount_to_capture", &amount)],
            captured,
        )
        .await
    }

    async fn void(&self, operation: &Operation) -> Outcome {
        match intent_path(operation, "/cancel") {
            Ok(path) => self.ask(operation, &path, &[], voided).await,
            Err(outcome) => outcome,
        }
    }

    async fn refund(&self, operation: &Operation) -> Outcome {
        let intent = match intent_of(operation) {
            Ok(intent) => intent,
            Err(outcome) => return outcome,
        };
        let Some(amount) = amount(&operation.amount) else {
            return declined("the amount cannot be given back in this currency");
        };
        let fields = [("payment_intent", intent), ("amount", &amount)];
        self.ask(operation, "/v1/refunds", &fields, refunded).await
    }

    async fn transfer(&self, operation: &Operation) -> Outcome {
        let Some(account) = &operation.account else {
            return declined("the driver has no account with the provider");
        };
        let Some(amount) = amount(&operation.amount) else {
            return declined("the amount cannot be sent in this currency");
        };
        let group = operation.subject.to_string();
        let fields = [
            ("amount", &*amount),
            ("currency", &*currency(&operation.amount)),
            ("destination", &*account.account),
            ("transfer_group", &*group),
        ];
        self.ask(operation, "/v1/transfers", &fields, transferred)
            .await
    }
}

#[async_trait]
impl Provider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    async fn carry_out(&self, operation: &Operation) -> Outcome {
        match operation.kind {
            Kind::Authorize => self.authorize(operation).await,
            Kind::Capture => self.capture(operation).await,
            Kind::Void => self.void(operation).await,
            Kind::Refund => self.refund(operation).await,
            Kind::Transfer => self.transfer(operation).await,
        }
    }

    async fn find(&self, operation: &Operation) -> Found {
        self.found(operation).await.unwrap_or_else(Found::Known)
    }

    async fn list(
        &self,
        _: DateTime<Utc>,
        _: DateTime<Utc>,
        _: usize,
    ) -> Result<Option<Vec<Listed>>, String> {
        Ok(None)
    }

    fn event(
        &self,
        payload: &[u8],
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<Event, EventError> {
        let secret = self
            .webhook_secret
            .as_ref()
            .ok_or(EventError::NotExpected)?;
        signature::verify(secret.expose().as_bytes(), payload, signature, now)?;
        let event: Value = serde_json::from_slice(payload).map_err(|_| EventError::Unreadable)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let subject = event["data"]["object"]["metadata"][SUBJECT].as_str();
        Ok(Event {
            id: text(&event["id"]).ok_or(EventError::Unreadable)?,
            kind: text(&event["type"]).ok_or(EventError::Unreadable)?,
            subject: subject.and_then(|subject| subject.parse().ok()),
            dispute: dispute(&event)?,
        })
    }
}

/// What an event tells of a dispute. An inquiry is none yet: nothing was taken back.
fn dispute(event: &Value) -> Result<Option<Dispute>, EventError> {
    let object = &event["data"]["object"];
    let state = match (event["type"].as_str(), object["status"].as_str()) {
        (Some("charge.dispute.created"), Some(status)) if !status.starts_with("warning_") => {
            ChargebackState::Open
        }
        (Some("charge.dispute.closed"), Some("won")) => ChargebackState::Won,
        (Some("charge.dispute.closed"), Some("lost")) => ChargebackState::Lost,
        _ => return Ok(None),
    };
    let text = |field: &str| object[field].as_str().map(str::to_owned);
    let amount = || {
        let code = text("currency")?.to_ascii_uppercase();
        told_amount(object["amount"].as_i64()?, code.parse().ok()?)
    };
    Ok(Some(Dispute {
        id: text("id").ok_or(EventError::Unreadable)?,
        trip: None,
        payment: text("payment_intent").ok_or(EventError::Unreadable)?,
        amount: amount().ok_or(EventError::Unreadable)?,
        state,
    }))
}

fn known(outcome: Option<Outcome>) -> Found {
    Found::Known(outcome.unwrap_or_else(|| Outcome::unknown("it is not decided yet")))
}

fn declined(reason: impl Into<String>) -> Outcome {
    Outcome::Declined {
        reason: reason.into(),
    }
}

/// The name of the intent that an operation is about.
fn intent_of(operation: &Operation) -> Result<&str, Outcome> {
    let intent = operation.authorization.as_deref();
    intent.ok_or_else(|| declined("nothing was authorised"))
}

fn intent_path(operation: &Operation, action: &str) -> Result<String, Outcome> {
    let intent = intent_of(operation)?;
    let is_name = |c: char| c.is_ascii_alphabetic() || c.is_ascii_digit() || c == '_';
    if intent.is_empty() || !intent.chars().all(is_name) {
        return Err(Outcome::unknown(
            "the authorisation has no name of Stripe's",
        ));
    }
    Ok(format!("/v1/payment_intents/{intent}{action}"))
}

/// `id` of what was carried out.
fn succeeded(reference: &Value) -> Outcome {
    match reference.as_str() {
        Some(reference) => Outcome::Succeeded {
            reference: reference.to_owned(),
        },
        None => Outcome::unknown("an answer without an id"),
    }
}

fn status(object: &Value) -> &str {
    object["status"].as_str().unwrap_or("no status")
}

fn authorized(_: &Operation, intent: &Value) -> Option<Outcome> {
    match status(intent) {
        "requires_capture" | "succeeded" => Some(succeeded(&intent["id"])),
        ended @ ("canceled"
        | "requires_payment_method"
        | "requires_action"
        | "requires_confirmation") => {
            let code = intent["last_payment_error"]["code"].as_str();
            Some(declined(code.unwrap_or(ended)))
        }
        _ => None,
    }
}

fn captured(operation: &Operation, intent: &Value) -> Option<Outcome> {
    match status(intent) {
        "succeeded" => {
            let taken = intent["amount_received"]
                .as_i64()
                .map(|taken| taken.to_string());
            if taken == amount(&operation.amount) {
                Some(succeeded(&intent["id"]))
            } else {
                Some(declined("another amount was taken"))
            }
        }
        "canceled" => Some(declined("the authorisation was released")),
        _ => None,
    }
}

fn voided(_: &Operation, intent: &Value) -> Option<Outcome> {
    match status(intent) {
        "canceled" => Some(succeeded(&intent["id"])),
        "succeeded" => Some(declined("the amount was taken")),
        _ => None,
    }
}

fn refunded(_: &Operation, refund: &Value) -> Option<Outcome> {
    match status(refund) {
        "succeeded" => Some(succeeded(&refund["id"])),
        "failed" | "canceled" => {
            let reason = refund["failure_reason"].as_str();
            Some(declined(reason.unwrap_or("the refund failed")))
        }
        _ => None,
    }
}

fn transferred(_: &Operation, transfer: &Value) -> Option<Outcome> {
    if transfer["reversed"] == true {
        return Some(declined("the transfer was reversed"));
    }
    Some(succeeded(&transfer["id"]))
}

fn currency(money: &Money) -> String {
    money.currency.as_str().to_ascii_lowercase()
}

/// An amount as Stripe counts it; none when it cannot be said so. Stripe counts some currencies otherwise
/// than ISO 4217: with two digits that have none, without those they have, or by tens of the least unit.
fn amount(money: &Money) -> Option<String> {
    let minor = money.minor;
    let whole = |by: i64| (minor % by == 0).then(|| minor / by);
    let amount = match (money.currency.as_str(), money.currency.exponent()) {
        ("ISK" | "UGX", 0) => minor.checked_mul(100)?,
        ("MGA", 2) => whole(100)?,
        (_, 0 | 2) => minor,
        // Three digits, of which the last must be 0.
        (_, 3) => whole(10)?.checked_mul(10)?,
        _ => return None,
    };
    Some(amount.to_string())
}

/// An amount that Stripe counted; the reverse of [`amount`]. None when it is not above zero, or is no
/// amount of ours.
fn told_amount(count: i64, currency: Currency) -> Option<Money> {
    let minor = match currency.as_str() {
        "ISK" | "UGX" => count / 100,
        "MGA" => count.checked_mul(100)?,
        _ => count,
    };
    let money = Money::new(minor, currency);
    (minor > 0 && amount(&money)? == count.to_string()).then_some(money)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_counted() {
        for (minor, code) in [
            (1234, "EUR"),
            (1234, "JPY"),
            (12_340, "KWD"),
            (5, "ISK"),
            (500, "MGA"),
        ] {
            let money = Money::new(minor, code.parse().unwrap());
            let count = amount(&money).unwrap().parse().unwrap();
            assert_eq!(told_amount(count, money.currency), Some(money));
        }
        for (count, code) in [(0, "EUR"), (-5, "EUR"), (501, "ISK"), (12_345, "KWD")] {
            assert_eq!(
                told_amount(count, code.parse().unwrap()),
                None,
                "{count} {code}"
            );
        }
    }

    #[test]
    fn amounts_are_counted_as_stripe_does() {
        for (minor, code, expected) in [
            (1234, "EUR", Some("1234")),
            (1234, "JPY", Some("1234")),
            (12_340, "KWD", Some("12340")),
            (12_345, "KWD", None),
            (5, "ISK", Some("500")),
            (500, "MGA", Some("5")),
            (501, "MGA", None),
            (5, "CLF", None),
            (i64::MAX, "UGX", None),
        ] {
            let money = Money::new(minor, code.parse().unwrap());
            assert_eq!(amount(&money).as_deref(), expected, "{minor} {code}");
        }
    }
}
