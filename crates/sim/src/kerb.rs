//! The kerb, where a rider tells the driver the PIN: the one thing the simulated people say to each
//! other without the server.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

/// PINs that riders are ready to tell, by trip.
#[derive(Debug, Default)]
pub(crate) struct Kerb {
    pins: Mutex<HashMap<String, String>>,
    told: Notify,
}

impl Kerb {
    /// The rider stands at the kerb and will tell this PIN.
    pub fn tell(&self, trip_id: &str, pin: &str) {
        self.pins().insert(trip_id.to_owned(), pin.to_owned());
        self.told.notify_waiters();
    }

    /// The rider is gone, or on board.
    pub fn leave(&self, trip_id: &str) {
        self.pins().remove(trip_id);
    }

    /// The PIN of a trip, as soon as its rider is there.
    pub async fn ask(&self, trip_id: &str) -> String {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            // From here on a rider who comes is noticed.
            told.as_mut().enable();
            if let Some(pin) = self.pins().get(trip_id) {
                return pin.clone();
            }
            told.await;
        }
    }

    fn pins(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_driver_waits_for_the_right_rider() {
        let kerb = Arc::new(Kerb::default());
        let asking = tokio::spawn({
            let kerb = Arc::clone(&kerb);
            async move { kerb.ask("t1").await }
        });
        tokio::task::yield_now().await;
        kerb.tell("t2", "2222");
        tokio::task::yield_now().await;
        assert!(!asking.is_finished());
        kerb.tell("t1", "1111");
        assert_eq!(asking.await.unwrap(), "1111");
        kerb.leave("t1");
        assert!(kerb.pins().get("t1").is_none());
    }
}
