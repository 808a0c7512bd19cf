//! What everybody in the city shares.

use std::sync::Arc;

use jitney_proto::common::v1::Role;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, Badge},
    chance::{Backoff, Purpose, chance},
    chronicle::Chronicle,
    config::Config,
    kerb::Kerb,
    streets::Streets,
};

/// The city.
pub(crate) struct World {
    pub config: Config,
    pub api: Arc<Api>,
    pub streets: Arc<Streets>,
    pub kerb: Kerb,
    pub chronicle: Arc<Chronicle>,
    /// Names this run in idempotency keys, so that a second run of a seed asks for rides of its own.
    pub run_id: String,
    /// Cancelled when the city closes: waiting riders call off, drivers let people out and go home.
    pub closing: CancellationToken,
}

impl World {
    /// The id of a simulated rider.
    pub fn rider_id(&self, number: u64) -> String {
        format!("{}rider-{number}", self.config.name_prefix)
    }

    /// The id of a simulated driver.
    pub fn driver_id(&self, number: u32) -> String {
        format!("{}driver-{number}", self.config.name_prefix)
    }

    /// The number of a simulated driver of this city.
    pub fn driver_number(&self, id: &str) -> Option<u32> {
        id.strip_prefix(&self.config.name_prefix)?
            .strip_prefix("driver-")?
            .parse()
            .ok()
    }

    /// Whether an id is that of a simulated rider of this city.
    pub fn is_rider_id(&self, id: &str) -> bool {
        id.strip_prefix(&self.config.name_prefix)
            .is_some_and(|rest| rest.starts_with("rider-"))
    }

    /// Somebody's way to the gateway.
    pub fn badge(&self, role: Role, id: String) -> Badge {
        let backoff = self.backoff(&id);
        self.api.badge(role, id, backoff)
    }

    /// Waits between somebody's tries.
    pub fn backoff(&self, id: &str) -> Backoff {
        // Any number will do, as long as people differ in it.
        let number = id.bytes().fold(0_u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        Backoff::new(chance(self.config.seed, Purpose::Backoff, number))
    }
}
