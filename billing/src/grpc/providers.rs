//! The rpcs about the payment provider.

use chrono::TimeDelta;
use jitney_platform::{auth::Caller, status};
use jitney_proto::{Code, billing::v1 as pb};
use tonic::{Request, Response, Status};

use super::{
    Grpc,
    statements::span,
    wire::{doer, driver_id, rider_id},
};
use crate::{
    provider::{EventError, OwnerRole, Provider, ProviderAccount, State},
    reconcile::{Difference, ReconcileError, Row, reconcile},
};

/// The longest name a provider has for somebody, bytes.
const NAME_BYTES_MAX: usize = 200;

impl Grpc {
    pub(super) async fn put_account(
        &self,
        request: Request<pb::PutProviderAccountRequest>,
    ) -> Result<Response<pb::PutProviderAccountResponse>, Status> {
        use pb::put_provider_account_request::Owner;
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let account = name("account", asked.account)?;
        let (role, owner, payment_method) = match asked.owner {
            Some(Owner::RiderId(id)) => {
                let method = name("payment_method", asked.payment_method)?;
                (OwnerRole::Rider, rider_id(&id)?.to_string(), Some(method))
            }
            Some(Owner::DriverId(_)) if !asked.payment_method.is_empty() => {
                let problem = "must be empty for a driver";
                return Err(Code::InvalidRequest.bad_field("payment_method", problem));
            }
            Some(Owner::DriverId(id)) => (OwnerRole::Driver, driver_id(&id)?.to_string(), None),
            None => return Err(Code::InvalidRequest.bad_field("owner", "is required")),
        };
        let account = ProviderAccount {
            account,
            payment_method,
        };
        let put_by = doer(&caller);
        let store = &self.0.store;
        store
            .put_provider_account(role, &owner, &account, &put_by)
            .await?;
        Ok(Response::new(pb::PutProviderAccountResponse {}))
    }

    pub(super) async fn hear(
        &self,
        request: Request<pb::HandleProviderEventRequest>,
    ) -> Result<Response<pb::HandleProviderEventResponse>, Status> {
        let asked = request.into_inner();
        let now = self.0.platform.clock.now();
        let provider = self.provider_in_use()?;
        let mut event = provider
            .event(&asked.payload, &asked.signature, now)
            .map_err(|error| match error {
                EventError::NotExpected => Code::ProviderUnused.status(error.to_string()),
                EventError::Forged | EventError::Stale => {
                    Code::InvalidRequest.bad_field("signature", error.to_string())
                }
                EventError::Unreadable => {
                    Code::InvalidRequest.bad_field("payload", error.to_string())
                }
            })?;
        // First: once the event is kept, it is not listened to again.
        if let Some(dispute) = event.dispute.take() {
            self.disputed(provider.name(), dispute).await?;
        }
        let news = self.0.store.hear_provider(&event).await?;
        Ok(Response::new(pb::HandleProviderEventResponse { news }))
    }

    pub(super) async fn compare(
        &self,
        request: Request<pb::ReconcileProviderRequest>,
    ) -> Result<Response<pb::ReconcileProviderResponse>, Status> {
        let asked = request.into_inner();
        let provider = self.provider_in_use()?;
        let [from, to] = span(asked.from.as_ref(), asked.to.as_ref())?;
        let to = to.unwrap_or_else(|| self.0.platform.clock.now());
        let hour_before = to.checked_sub_signed(TimeDelta::hours(1));
        let from = from.or(hour_before).unwrap_or(to);
        let timeout = self.0.config.provider.timeout;
        let report = reconcile(&self.0.store, provider, timeout, from, to).await;
        let report = report.map_err(|error| match error {
            error @ ReconcileError::TooMany => {
                Code::InvalidRequest.bad_field("from", error.to_string())
            }
            error @ ReconcileError::Provider(_) => status::unavailable("the provider", error),
            ReconcileError::Inside(error) => error.into(),
        })?;
        let count = |difference| i64::try_from(report.count(difference)).unwrap_or(i64::MAX);
        let size = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let answer = pb::ReconcileProviderResponse {
            provider: provider.name().to_owned(),
            compared: size(report.compared),
            unfinished: size(report.unfinished),
            unanswered: size(report.unanswered),
            missing_there: count(Difference::MissingThere),
            missing_here: count(Difference::MissingHere),
            amount_differs: count(Difference::Amount),
            state_differs: count(Difference::State),
            ledger_differs: count(Difference::Ledger),
            differences: report.rows.into_iter().map(difference).collect(),
        };
        if !answer.differences.is_empty() {
            tracing::error!(
                provider = answer.provider,
                missing_there = answer.missing_there,
                missing_here = answer.missing_here,
                amount_differs = answer.amount_differs,
                state_differs = answer.state_differs,
                ledger_differs = answer.ledger_differs,
                "our books and the provider's differ"
            );
        }
        Ok(Response::new(answer))
    }

    fn provider_in_use(&self) -> Result<&dyn Provider, Status> {
        let unused = || Code::ProviderUnused.status("no payment provider is in use");
        self.0.provider().ok_or_else(unused)
    }
}

fn difference(row: Row) -> pb::ProviderDifference {
    use pb::ProviderDifferenceKind as Wire;
    let kind = match row.difference {
        Difference::MissingThere => Wire::MissingThere,
        Difference::MissingHere => Wire::MissingHere,
        Difference::Amount => Wire::Amount,
        Difference::State => Wire::State,
        Difference::Ledger => Wire::Ledger,
    };
    let name = |state: Option<State>| state.map_or_else(String::new, |of| of.name().to_owned());
    pb::ProviderDifference {
        kind: kind.into(),
        subject_id: row.subject.to_string(),
        key: row.key,
        ours: row.ours.map(Into::into),
        theirs: row.theirs.map(Into::into),
        our_state: name(row.our_state),
        their_state: name(row.their_state),
        reason: row.reason.unwrap_or_default(),
    }
}

/// A name of the provider's.
pub(super) fn name(field: &str, text: String) -> Result<String, Status> {
    let bad = |problem: &str| Err(Code::InvalidRequest.bad_field(field, problem));
    if text.is_empty() {
        bad("is required")
    } else if text.len() > NAME_BYTES_MAX {
        bad("is longer than 200 bytes")
    } else if !text.chars().all(|c| c.is_ascii_graphic()) {
        bad("has characters that no provider's name has")
    } else {
        Ok(text)
    }
}
