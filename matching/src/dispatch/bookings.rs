//! Drivers set aside for riders who may order.

use chrono::{DateTime, Utc};
use jitney_proto::ids::{ProductId, RiderId};
use jitney_roads::Snap;

use super::Dispatch;
use crate::{
    config::delta,
    error::Refusal,
    metrics,
    nearest::Query,
    product::ProductSet,
    reservation::{Booking, Wish},
    standing::Hold,
};

/// A request to set the nearest driver aside.
#[derive(Clone, Debug)]
pub struct BookingRequest {
    /// For whom.
    pub rider: RiderId,
    /// Names the request for repetition; empty: it is not repeated.
    pub key: String,
    /// What was asked.
    pub wish: Wish,
    /// Where that is, on the road.
    pub pickup: Snap,
    /// The kind of ride.
    pub product: ProductId,
    /// The same, as searches ask for it.
    pub wanted: ProductSet,
    /// Open reservations the rider may have, this one included; 0 is any number.
    pub open_max: usize,
}

impl Dispatch {
    /// Sets the nearest idle driver aside. Finding and setting aside is one step under the lock, so
    /// no two requests get the same driver.
    ///
    /// # Errors
    /// [`Refusal::NoDriver`], [`Refusal::KeyReused`], [`Refusal::TooManyReservations`].
    #[tracing::instrument(name = "booking.look", skip_all, fields(idle = self.fleet.index().len()))]
    pub fn book(
        &mut self,
        request: BookingRequest,
        now: DateTime<Utc>,
    ) -> Result<Booking, Refusal> {
        let BookingRequest {
            rider,
            key,
            wish,
            pickup,
            product,
            wanted,
            open_max,
        } = request;
        self.expire_reservations(now);
        if let Some(booking) = self.reservations.answered(&rider, &key, &wish)? {
            return Ok(booking);
        }
        if open_max > 0 && self.reservations.open_of(&rider) >= open_max {
            return Err(Refusal::TooManyReservations(open_max));
        }
        let no_driver = || Refusal::NoDriver(product.to_string());
        let query = Query {
            target: pickup,
            products: wanted,
            count: 1,
            within_ms: u32::MAX,
            excludes: &|_| false,
        };
        let found = self
            .ground
            .nearest
            .find(self.fleet.index(), self.fleet.ids(), &query);
        let driver = found.first().ok_or_else(no_driver)?.driver;
        let to_pickup = self.travel_to(driver, &pickup).ok_or_else(no_driver)?;
        let id = self.names.reservation(now);
        if !self.fleet.hold(driver, Hold::Reservation(id), None) {
            return Err(no_driver());
        }
        metrics::reservation_made();
        let booking = Booking {
            id,
            driver: self.fleet.id(driver).clone(),
            to_pickup,
            expires_at: now + self.reservation_ttl,
            vehicle: self.fleet.driver(driver).vehicle.clone(),
        };
        self.reservations.open(rider.clone(), driver, &booking);
        let until = now + delta(self.ground.config.reservation_memory);
        self.reservations
            .remember((rider, key), wish, booking.clone(), until);
        // Whoever waits for things to fall due has a new moment to wait for.
        self.rouse.notify_one();
        Ok(booking)
    }

    /// Frees the drivers whose reservation ran out.
    pub fn expire_reservations(&mut self, now: DateTime<Utc>) {
        for (id, reservation) in self.reservations.take_expired(now) {
            self.fleet
                .release(reservation.driver, Hold::Reservation(id));
        }
        self.rouse_if_freed();
    }
}
