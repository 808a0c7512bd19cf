//! What goes on by itself: holds that ran out are released, and trips is told where payments stand.
//! Refusals do not wait for the release; it keeps the riders' sums small and the charges' states honest.

use std::time::Duration;

use futures::{FutureExt as _, future::BoxFuture};
use jitney_platform::{
    client::Channel,
    clock::Clock,
    outbox::{DeliveryError, OutboxEvent},
};
use jitney_proto::trips::v1::{ApplyBillingEventRequest, trips_service_client::TripsServiceClient};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, event,
    store::{LAPSED_MAX, Store},
};

/// Releases what ran out, every `interval`, until `shutdown`. Any number of processes may do so.
pub async fn lapse_holds(
    store: Store,
    interval: Duration,
    clock: Clock,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = clock.sleep(interval) => {}
        }
        match lapse_all(&store).await {
            Ok(0) => {}
            Ok(released) => tracing::info!(released, "holds ran out"),
            Err(error) => tracing::warn!(%error, "holds that ran out were not released"),
        }
    }
}

async fn lapse_all(store: &Store) -> Result<i64, Error> {
    let mut all = 0;
    loop {
        let released = store.lapse(None).await?;
        all += released;
        if released < LAPSED_MAX {
            return Ok(all);
        }
    }
}

/// Tells trips one event of the outbox. It may be told again; trips goes by its id and version.
pub fn tell_trips(
    trips: TripsServiceClient<Channel>,
) -> impl Fn(OutboxEvent) -> BoxFuture<'static, Result<(), DeliveryError>> + Send + Sync {
    move |row| {
        let mut trips = trips.clone();
        async move {
            let event = event::of(&row).map_err(DeliveryError::failed)?;
            let request = ApplyBillingEventRequest { event: Some(event) };
            trips.apply_billing_event(request).await?;
            Ok(())
        }
        .boxed()
    }
}
