//! The rpc about payments that were taken back, and what the provider tells of them.

use jitney_platform::auth::Caller;
use jitney_proto::{Code, billing::v1 as pb, time::timestamp};
use tonic::{Request, Response, Status};

use super::{
    Grpc,
    providers::name,
    wire::{doer, money, positive, trip_id},
};
use crate::{
    Error,
    chargeback::{Chargeback, ChargebackOf, ChargebackState},
    provider::Dispute,
};

impl Grpc {
    pub(super) async fn charged_back(
        &self,
        request: Request<pb::RecordChargebackRequest>,
    ) -> Result<Response<pb::RecordChargebackResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let state = match asked.state() {
            pb::ChargebackState::Open => ChargebackState::Open,
            pb::ChargebackState::Won => ChargebackState::Won,
            pb::ChargebackState::Lost => ChargebackState::Lost,
            pb::ChargebackState::Unspecified => {
                return Err(Code::InvalidRequest.bad_field("state", "is required"));
            }
        };
        let amount = positive("amount", asked.amount.as_ref())?;
        let required = || Code::InvalidRequest.bad_field("amount", "is required");
        let told = ChargebackOf {
            trip_id: trip_id(&asked.trip_id)?,
            dispute_id: name("dispute_id", asked.dispute_id)?,
            amount: amount.ok_or_else(required)?,
            state,
            recorded_by: doer(&caller),
        };
        let recorded = self.0.store.record_chargeback(&told).await?;
        Ok(Response::new(pb::RecordChargebackResponse {
            chargeback: Some(chargeback(recorded)),
        }))
    }

    /// Writes down what the provider tells of a dispute. What is about no payment of ours, or cannot be, is
    /// left to people: telling it again would not help.
    pub(super) async fn disputed(&self, provider: &str, dispute: Dispute) -> Result<(), Error> {
        let store = &self.0.store;
        let trip = match dispute.trip {
            Some(trip) => Some(trip),
            None => store.trip_of_payment(provider, &dispute.payment).await?,
        };
        let Some(trip_id) = trip else {
            tracing::error!(
                dispute = dispute.id,
                payment = dispute.payment,
                "a payment was disputed that is not one of ours"
            );
            return Ok(());
        };
        let told = ChargebackOf {
            trip_id,
            dispute_id: dispute.id,
            amount: dispute.amount,
            state: dispute.state,
            recorded_by: provider.to_owned(),
        };
        match store.record_chargeback(&told).await {
            Ok(recorded) => {
                tracing::warn!(dispute = recorded.dispute_id, %trip_id, amount = %told.amount,
                    state = recorded.state.name(), "a payment was disputed");
                Ok(())
            }
            Err(Error::Refused(refusal)) => {
                tracing::error!(dispute = told.dispute_id, %trip_id, amount = %told.amount, %refusal,
                    "what the provider tells of a dispute cannot be written down");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn chargeback(of: Chargeback) -> pb::Chargeback {
    let state = match of.state {
        ChargebackState::Open => pb::ChargebackState::Open,
        ChargebackState::Won => pb::ChargebackState::Won,
        ChargebackState::Lost => pb::ChargebackState::Lost,
    };
    pb::Chargeback {
        trip_id: of.trip_id.into(),
        dispute_id: of.dispute_id,
        amount: money(of.amount_minor, of.currency),
        state: state.into(),
        opened_at: Some(timestamp(of.opened_at)),
        closed_at: of.closed_at.map(timestamp),
    }
}
