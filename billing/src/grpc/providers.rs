//! The rpcs about the payment provider.

use jitney_platform::auth::Caller;
use jitney_proto::{Code, billing::v1 as pb};
use tonic::{Request, Response, Status};

use super::{
    Grpc,
    wire::{doer, driver_id, rider_id},
};
use crate::provider::{EventError, OwnerRole, Provider, ProviderAccount};

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
        let now = self.0.clock.now();
        let event = self
            .provider_in_use()?
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
        let news = self.0.store.hear_provider(&event).await?;
        Ok(Response::new(pb::HandleProviderEventResponse { news }))
    }

    fn provider_in_use(&self) -> Result<&dyn Provider, Status> {
        let unused = || Code::ProviderUnused.status("no payment provider is in use");
        self.0.provider().ok_or_else(unused)
    }
}

/// A name of the provider's.
fn name(field: &str, text: String) -> Result<String, Status> {
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
