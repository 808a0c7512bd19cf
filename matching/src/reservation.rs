//! Drivers set aside for riders who may order, and the answers that are repeated to a repeated call.
//!
//! Soft state: a restart forgets it, which costs a rider who was about to order nothing but the first
//! place in the queue.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use jitney_proto::ids::{DriverId, ReservationId, RiderId};
use jitney_roads::{LatLon, Travel};
use rustc_hash::FxHashMap;

use crate::{
    error::Refusal,
    fleet::{DriverKey, Vehicle},
};

/// What the rider asked, to tell a repetition from another request under the same key.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// Where they wait.
    pub pickup: LatLon,
    /// The product as they named it.
    pub product: String,
}

/// A driver set aside, as the rider is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Booking {
    /// The reservation.
    pub id: ReservationId,
    /// The driver.
    pub driver: DriverId,
    /// How far the driver is.
    pub to_pickup: Travel,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// The vehicle to look for.
    pub vehicle: Option<Vehicle>,
}

/// An open reservation.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// For whom.
    pub rider: RiderId,
    /// Who.
    pub driver: DriverKey,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// Answers remembered at once, at most; the oldest go first.
const ANSWERS_MAX: usize = 100_000;

/// All of them.
#[derive(Default)]
pub struct Reservations {
    open: FxHashMap<ReservationId, Reservation>,
    answers: FxHashMap<(RiderId, String), (Wish, Booking)>,
    /// The keys of `answers`, oldest first, and until when each is remembered.
    remembered: VecDeque<(DateTime<Utc>, (RiderId, String))>,
}

impl Reservations {
    /// The answer that was given under a key.
    ///
    /// # Errors
    /// [`Refusal::KeyReused`] when it answered another wish.
    pub fn answered(
        &self,
        rider: &RiderId,
        key: &str,
        wish: &Wish,
    ) -> Result<Option<Booking>, Refusal> {
        if key.is_empty() {
            return Ok(None);
        }
        match self.answers.get(&(rider.clone(), key.to_owned())) {
            None => Ok(None),
            Some((before, booking)) if before == wish => Ok(Some(booking.clone())),
            Some(_) => Err(Refusal::KeyReused),
        }
    }

    /// Opens a reservation of a driver who was set aside for it.
    pub fn open(&mut self, rider: RiderId, driver: DriverKey, booking: &Booking) {
        let reservation = Reservation {
            rider,
            driver,
            expires_at: booking.expires_at,
        };
        self.open.insert(booking.id, reservation);
    }

    /// Remembers an answer under a key.
    pub fn remember(
        &mut self,
        (rider, key): (RiderId, String),
        wish: Wish,
        booking: Booking,
        until: DateTime<Utc>,
    ) {
        if key.is_empty() {
            return;
        }
        while self.remembered.len() >= ANSWERS_MAX {
            self.forget_oldest();
        }
        let name = (rider, key);
        self.remembered.push_back((until, name.clone()));
        self.answers.insert(name, (wish, booking));
    }

    /// Open reservations of a rider.
    pub fn open_of(&self, rider: &RiderId) -> usize {
        self.open
            .values()
            .filter(|reservation| reservation.rider == *rider)
            .count()
    }

    /// The reservation, if it is open, the rider's, and not over.
    pub fn get(
        &self,
        id: ReservationId,
        rider: &RiderId,
        now: DateTime<Utc>,
    ) -> Option<&Reservation> {
        let reservation = self.open.get(&id)?;
        (reservation.rider == *rider && reservation.expires_at > now).then_some(reservation)
    }

    /// Ends a reservation.
    pub fn close(&mut self, id: ReservationId) {
        self.open.remove(&id);
    }

    /// Reservations whose time is over, in the order of their ids; they are closed.
    pub fn take_expired(&mut self, now: DateTime<Utc>) -> Vec<(ReservationId, Reservation)> {
        while self
            .remembered
            .front()
            .is_some_and(|(until, _)| *until <= now)
        {
            self.forget_oldest();
        }
        let over = self
            .open
            .iter()
            .filter(|(_, reservation)| reservation.expires_at <= now);
        let mut ids: Vec<ReservationId> = over.map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| Some((id, self.open.remove(&id)?)))
            .collect()
    }

    /// When the next one's time is over.
    pub fn next_expiry(&self) -> Option<DateTime<Utc>> {
        self.open
            .values()
            .map(|reservation| reservation.expires_at)
            .min()
    }

    /// All that are open, in no particular order, and their drivers.
    #[cfg(test)]
    pub fn all_open(&self) -> impl Iterator<Item = (ReservationId, DriverKey)> {
        self.open
            .iter()
            .map(|(&id, reservation)| (id, reservation.driver))
    }

    fn forget_oldest(&mut self) {
        if let Some((_, name)) = self.remembered.pop_front() {
            self.answers.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    fn booking(second: i64) -> Booking {
        Booking {
            id: ReservationId(Uuid::from_u128(1)),
            driver: "anna".parse().unwrap(),
            to_pickup: Travel {
                duration_ms: 1,
                distance_m: 1,
            },
            expires_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            vehicle: None,
        }
    }

    #[test]
    fn a_key_answers_its_own_wish_and_no_other() {
        let mut all = Reservations::default();
        let rita: RiderId = "rita".parse().unwrap();
        let wish = |lat| Wish {
            pickup: LatLon::new(lat, 0.0).unwrap(),
            product: String::new(),
        };
        let until = DateTime::UNIX_EPOCH + TimeDelta::seconds(60);
        all.remember((rita.clone(), "k".into()), wish(1.0), booking(20), until);
        all.remember((rita.clone(), String::new()), wish(1.0), booking(20), until);
        assert_eq!(
            all.answered(&rita, "k", &wish(1.0)).unwrap(),
            Some(booking(20))
        );
        assert!(matches!(
            all.answered(&rita, "k", &wish(2.0)),
            Err(Refusal::KeyReused)
        ));
        assert_eq!(
            all.answered(&"rob".parse().unwrap(), "k", &wish(1.0))
                .unwrap(),
            None
        );
        assert_eq!(all.answered(&rita, "", &wish(1.0)).unwrap(), None);
        all.take_expired(until);
        assert_eq!(all.answered(&rita, "k", &wish(1.0)).unwrap(), None);
    }

    #[test]
    fn reservations_run_out() {
        let mut all = Reservations::default();
        let rita: RiderId = "rita".parse().unwrap();
        let booking = booking(20);
        all.open(rita.clone(), DriverKey(0), &booking);
        assert_eq!(all.next_expiry(), Some(booking.expires_at));
        let before = booking.expires_at - TimeDelta::milliseconds(1);
        assert!(all.get(booking.id, &rita, before).is_some());
        assert!(
            all.get(booking.id, &"rob".parse().unwrap(), before)
                .is_none()
        );
        assert!(all.get(booking.id, &rita, booking.expires_at).is_none());
        assert!(all.take_expired(before).is_empty());
        assert_eq!(all.open_of(&rita), 1);
        assert_eq!(all.take_expired(booking.expires_at).len(), 1);
        assert_eq!(all.open_of(&rita), 0);
    }
}
