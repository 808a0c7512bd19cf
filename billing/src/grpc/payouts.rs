//! The rpcs that send drivers their money.

use jitney_platform::auth::{Caller, Role};
use jitney_proto::{
    Code,
    billing::v1 as pb,
    ids::{IdError, PayoutId},
    time::timestamp,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Grpc,
    wire::{Page, doer, driver_id, key, money, positive, words},
};
use crate::{
    payout::{Payout, PayoutOf, PayoutState, Place},
    refund::REASON_CHARS_MAX,
};

impl Grpc {
    pub(super) async fn send(
        &self,
        request: Request<pb::CreatePayoutRequest>,
    ) -> Result<Response<pb::CreatePayoutResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let key = key(asked.idempotency_key)?;
        let amount = positive("amount", asked.amount.as_ref())?;
        let asked = PayoutOf {
            driver_id: driver_id(&asked.driver_id)?,
            payout_id: PayoutId(Uuid::now_v7()),
            currency: amount.map_or(self.0.config.currency, |amount| amount.currency),
            amount,
            made_by: doer(&caller),
        };
        let made = self.0.store.create_payout(&key, &asked).await?;
        Ok(Response::new(pb::CreatePayoutResponse {
            payout: Some(payout(made)),
        }))
    }

    pub(super) async fn arrived(
        &self,
        request: Request<pb::FinishPayoutRequest>,
    ) -> Result<Response<pb::FinishPayoutResponse>, Status> {
        let asked = request.into_inner();
        let closed = self
            .0
            .store
            .close_payout(
                &driver_id(&asked.driver_id)?,
                payout_id(&asked.payout_id)?,
                PayoutState::Settled,
                None,
            )
            .await?;
        Ok(Response::new(pb::FinishPayoutResponse {
            payout: Some(payout(closed)),
        }))
    }

    pub(super) async fn came_back(
        &self,
        request: Request<pb::FailPayoutRequest>,
    ) -> Result<Response<pb::FailPayoutResponse>, Status> {
        let asked = request.into_inner();
        let reason = words("reason", asked.reason, REASON_CHARS_MAX)?;
        let closed = self
            .0
            .store
            .close_payout(
                &driver_id(&asked.driver_id)?,
                payout_id(&asked.payout_id)?,
                PayoutState::Failed,
                Some(&reason),
            )
            .await?;
        Ok(Response::new(pb::FailPayoutResponse {
            payout: Some(payout(closed)),
        }))
    }

    pub(super) async fn sent(
        &self,
        request: Request<pb::ListPayoutsRequest>,
    ) -> Result<Response<pb::ListPayoutsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let state = match asked.state() {
            pb::PayoutState::Unspecified if asked.state == 0 => None,
            pb::PayoutState::Unspecified => {
                return Err(Code::InvalidRequest.bad_field("state", "is not known"));
            }
            pb::PayoutState::Open => Some(PayoutState::Open),
            pb::PayoutState::Settled => Some(PayoutState::Settled),
            pb::PayoutState::Failed => Some(PayoutState::Failed),
        };
        let driver = match asked.driver_id.as_str() {
            "" if caller.is_staff() => None,
            id => Some(driver_id(id)?),
        };
        let is_own = caller.role == Role::Driver
            && driver.as_ref().is_some_and(|id| id.as_str() == caller.id);
        if !caller.is_staff() && !is_own {
            return Err(Code::NotFound.status("there is no such driver"));
        }
        let page = Page::of(asked.page_size, &asked.page_token, Place::from_token)?;
        let found = self
            .0
            .store
            .payouts(driver.as_ref(), state, page.after, page.asks_for())
            .await?;
        let (found, next_page_token) = page.cut(found, |last| {
            let place = Place {
                created_at: last.created_at,
                payout_id: last.payout_id,
            };
            place.token()
        });
        Ok(Response::new(pb::ListPayoutsResponse {
            payouts: found.into_iter().map(payout).collect(),
            next_page_token,
        }))
    }
}

fn payout_id(text: &str) -> Result<PayoutId, Status> {
    text.parse()
        .map_err(|error: IdError| error.status("payout_id"))
}

fn payout(payout: Payout) -> pb::Payout {
    let state = match payout.state {
        PayoutState::Open => pb::PayoutState::Open,
        PayoutState::Settled => pb::PayoutState::Settled,
        PayoutState::Failed => pb::PayoutState::Failed,
    };
    pb::Payout {
        payout_id: payout.payout_id.into(),
        driver_id: payout.driver_id,
        state: state.into(),
        amount: money(payout.amount_minor, payout.currency),
        dues: money(payout.dues_minor, payout.currency),
        failure_reason: payout.reason.unwrap_or_default(),
        created_at: Some(timestamp(payout.created_at)),
        closed_at: payout.closed_at.map(timestamp),
    }
}
