//! The one background job: holds that ran out are released. Refusals do not wait for it; it keeps
//! the riders' sums small and the charges' states honest.

use std::time::Duration;

use jitney_platform::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
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
