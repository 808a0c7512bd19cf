//! The rpcs that give money back.

use jitney_platform::auth::Caller;
use jitney_proto::billing::v1 as pb;
use tonic::{Request, Response, Status};

use super::{
    Grpc,
    wire::{doer, hold, key, positive, refund, trip_id, words},
};
use crate::{
    metrics::{Operation, counted},
    receipt::View,
    refund::{REASON_CHARS_MAX, RefundOf},
};

impl Grpc {
    pub(super) async fn give_back(
        &self,
        request: Request<pb::RefundTripRequest>,
    ) -> Result<Response<pb::RefundTripResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let key = key(asked.idempotency_key)?;
        let asked = RefundOf {
            trip_id: trip_id(&asked.trip_id)?,
            amount: positive("amount", asked.amount.as_ref())?,
            reason: words("reason", asked.reason, REASON_CHARS_MAX)?,
            made_by: doer(&caller),
        };
        let (held, given) = counted(Operation::Refund, self.0.store.refund(&key, &asked).await)?;
        Ok(Response::new(pb::RefundTripResponse {
            refund: Some(refund(given, View::Staff)),
            hold: Some(hold(&held)),
        }))
    }
}
