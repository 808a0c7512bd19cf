//! Tells the watchers in this process of a trip's changes as they are committed. Another process's
//! changes are found by looking ([`crate::jobs::look_for_changes`]); either way a watcher reads whole
//! trips, so one that was missed is made good by the next.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jitney_proto::ids::TripId;
use tokio::sync::broadcast;

use crate::{store::Standing, trip::Trip};

/// How many changes a watcher may be behind before it reads the trip instead.
const BEHIND_MAX: usize = 16;

/// The trips that are watched in this process.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    watched: Arc<Mutex<HashMap<TripId, Watched>>>,
}

#[derive(Debug)]
struct Watched {
    sender: broadcast::Sender<Arc<Trip>>,
    /// How far the newest trip that was told is; nothing was told yet where it is `None`.
    told: Option<Standing>,
}

/// One watcher's ear. Dropping it takes it off.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    trip_id: TripId,
    receiver: Option<broadcast::Receiver<Arc<Trip>>>,
}

/// Whether a trip that is so far is news to one who knows `known`.
pub fn is_news(now: Standing, known: Standing) -> bool {
    now.0 > known.0 || (now.0 == known.0 && now.1 != known.1)
}

/// How far a trip is.
pub fn standing(trip: &Trip) -> Standing {
    (trip.version, trip.payment_state)
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, HashMap<TripId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a trip from now on.
    pub fn subscribe(&self, trip_id: TripId) -> Subscription {
        let mut watched = self.lock();
        let entry = watched.entry(trip_id).or_insert_with(|| Watched {
            sender: broadcast::Sender::new(BEHIND_MAX),
            told: None,
        });
        let receiver = Some(entry.sender.subscribe());
        Subscription {
            hub: self.clone(),
            trip_id,
            receiver,
        }
    }

    /// Tells the watchers, if it is news.
    pub fn tell(&self, trip: &Arc<Trip>) {
        let mut watched = self.lock();
        let Some(entry) = watched.get_mut(&trip.trip_id) else {
            return;
        };
        let now = standing(trip);
        if entry.told.is_none_or(|told| is_news(now, told)) {
            entry.told = Some(now);
            // Without a receiver the entry is being taken out.
            let _ = entry.sender.send(Arc::clone(trip));
        }
    }

    /// What is watched, and how far it was told.
    pub fn watched(&self) -> HashMap<TripId, Option<Standing>> {
        self.lock()
            .iter()
            .map(|(trip, entry)| (*trip, entry.told))
            .collect()
    }
}

impl Subscription {
    /// The next change; `None` when some were missed and the trip has to be read.
    pub async fn next(&mut self) -> Option<Arc<Trip>> {
        match &mut self.receiver {
            // The sender lives as long as this subscription, so it is never closed.
            Some(receiver) => receiver.recv().await.ok(),
            None => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut watched = self.hub.lock();
        self.receiver = None;
        if let Entry::Occupied(entry) = watched.entry(self.trip_id)
            && entry.get().sender.receiver_count() == 0
        {
            entry.remove();
        }
    }
}
