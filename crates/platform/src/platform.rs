//! What a service is handed when it is built.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{auth::TokenKeys, clock::Clock, db::Database};

/// The surroundings of a service. Cloning it gives the same surroundings.
#[derive(Clone)]
pub struct Platform {
    /// Where the time comes from.
    pub clock: Clock,
    /// Where schemas are opened.
    pub database: Database,
    /// The keys that tokens are signed and checked with.
    pub keys: Arc<TokenKeys>,
    /// Cancelled when the process is to stop; background tasks end then.
    pub shutdown: CancellationToken,
    /// Where background tasks are spawned, so that stopping can wait for them.
    pub tasks: TaskTracker,
}

impl Platform {
    /// Surroundings that nobody has asked to stop yet.
    pub fn new(clock: Clock, database: Database, keys: Arc<TokenKeys>) -> Self {
        Self {
            clock,
            database,
            keys,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Asks everything to stop and waits for the background tasks, at most `grace`; whether all of
    /// them ended in time.
    pub async fn stop(&self, grace: std::time::Duration) -> bool {
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }
}
