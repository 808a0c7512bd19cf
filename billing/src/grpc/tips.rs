//! The rpc that thanks drivers.

use jitney_platform::auth::Caller;
use jitney_proto::{Code, billing::v1 as pb, time::timestamp};
use tonic::{Request, Response, Status};

use super::{
    Grpc,
    wire::{doer, key_of, money, positive, trip_id},
};
use crate::{
    metrics::{Operation, counted},
    tip::{TipOf, TipTerms},
};

impl Grpc {
    pub(super) async fn thank(
        &self,
        request: Request<pb::AddTipRequest>,
    ) -> Result<Response<pb::AddTipResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let key = key_of(&caller, asked.idempotency_key)?;
        let amount = positive("amount", asked.amount.as_ref())?;
        let missing = || Code::InvalidRequest.bad_field("amount", "is required");
        let asked = TipOf {
            trip_id: trip_id(&asked.trip_id)?,
            amount: amount.ok_or_else(missing)?,
            made_by: doer(&caller),
        };
        // Whose trip it is never changes once the fare was taken.
        self.seen(&caller, asked.trip_id).await?;
        let config = &self.0.config;
        let terms = TipTerms {
            max_minor: config.tip_max_minor,
            window: config.tip_window,
        };
        let (hold, tip) = counted(Operation::Tip, self.0.store.tip(&key, &asked, &terms).await)?;
        Ok(Response::new(pb::AddTipResponse {
            amount: money(tip.amount_minor, tip.currency),
            tips: money(hold.tipped, hold.currency),
            tipped_at: Some(timestamp(tip.tipped_at)),
        }))
    }
}
