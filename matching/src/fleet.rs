//! All drivers, in memory: who they are, where they stand, what they are doing.
//!
//! A driver's id is interned once, after that they are a [`DriverKey`]. Every change goes through a
//! method here, which keeps these in step with it: the [`Index`] (exactly the drivers who are free for
//! any ride, with a known position), those who are free for rides to a destination, the driver of each
//! live trip, the change stamps that watchers compare, and the list of drivers that the database has yet
//! to hear about.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use jitney_proto::ids::{DriverId, TripId};
use jitney_roads::{LatLon, RoadNetwork};
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use crate::{
    index::{Index, Post},
    ping::Fix,
    product::ProductSet,
    rides::{Beside, Live, Rides},
    standing::{Hold, Standing},
    zone::ZoneNo,
};

/// A driver's number, from 0, for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverKey(pub u32);

impl DriverKey {
    /// The number as an array index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a rider looks for at the kerb.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vehicle {
    /// The number plate.
    pub plate: String,
    /// Colour, make and model.
    pub description: String,
}

/// One driver.
#[derive(Debug)]
pub struct Driver {
    /// On shift or not, and doing what.
    pub standing: Standing,
    /// What they serve.
    pub products: ProductSet,
    /// What they drive.
    pub vehicle: Option<Vehicle>,
    /// The last position that was believed.
    pub fix: Option<Fix>,
    /// The next position may be anywhere: they have just come on shift.
    pub anywhere: bool,
    /// When anything was last heard from their app.
    pub heard_at: DateTime<Utc>,
    /// Since when they have been idle; means nothing while they are not.
    pub idle_since: DateTime<Utc>,
    /// The zone they queue in, and since when.
    pub queue: Option<(ZoneNo, DateTime<Utc>)>,
    /// Counts changes of shift, products and vehicle, over restarts: the database keeps the latest.
    pub shift_no: i64,
    /// Where they want to get to: they are offered only rides on the way there.
    pub destination: Option<LatLon>,
    /// The fleet's stamp of the last change that watchers see.
    pub changed: u64,
    unsaved: bool,
    moved: Option<watch::Sender<()>>,
}

impl Driver {
    /// Free for any ride: idle, and without a destination that only some rides lead to.
    pub fn is_open(&self) -> bool {
        self.standing.is_idle() && self.destination.is_none()
    }

    /// How long they have been idle, in milliseconds; 0 for those who are not.
    pub fn idle_ms(&self, now: DateTime<Utc>) -> u32 {
        if !self.standing.is_idle() {
            return 0;
        }
        u32::try_from((now - self.idle_since).num_milliseconds().max(0)).unwrap_or(u32::MAX)
    }
}

/// A driver's shift as a request would have it; `None` keeps what was known.
#[derive(Clone, Debug, Default)]
pub struct ShiftChange {
    /// On or off.
    pub available: bool,
    /// What they serve.
    pub products: Option<ProductSet>,
    /// What they drive.
    pub vehicle: Option<Vehicle>,
    /// Where they want to get to; `Some(None)` is nowhere any more.
    pub destination: Option<Option<LatLon>>,
}

/// All drivers.
pub struct Fleet {
    keys: FxHashMap<DriverId, DriverKey>,
    ids: Vec<DriverId>,
    drivers: Vec<Driver>,
    index: Index,
    homebound: BTreeSet<DriverKey>,
    on_trip: BTreeMap<TripId, DriverKey>,
    stamp: u64,
    unsaved: Vec<DriverKey>,
    freed: bool,
}

impl Fleet {
    /// Nobody yet.
    pub fn new(roads: &RoadNetwork, cell_m: f64) -> Self {
        Self {
            keys: FxHashMap::default(),
            ids: Vec::new(),
            drivers: Vec::new(),
            index: Index::new(roads, cell_m),
            homebound: BTreeSet::new(),
            on_trip: BTreeMap::new(),
            stamp: 0,
            unsaved: Vec::new(),
            freed: false,
        }
    }

    /// The driver of that id, if they were ever heard of.
    pub fn key(&self, id: &DriverId) -> Option<DriverKey> {
        self.keys.get(id).copied()
    }

    /// The driver of that id, who is made known if they were not.
    pub fn intern(&mut self, id: &DriverId, now: DateTime<Utc>) -> DriverKey {
        if let Some(key) = self.key(id) {
            return key;
        }
        let key = DriverKey(self.drivers.len() as u32);
        self.keys.insert(id.clone(), key);
        self.ids.push(id.clone());
        self.drivers.push(Driver {
            standing: Standing::default(),
            products: ProductSet::default(),
            vehicle: None,
            fix: None,
            anywhere: true,
            heard_at: now,
            idle_since: now,
            queue: None,
            shift_no: 0,
            destination: None,
            changed: 0,
            unsaved: false,
            moved: None,
        });
        key
    }

    /// The ids, by key.
    pub fn ids(&self) -> &[DriverId] {
        &self.ids
    }

    /// A driver's id.
    pub fn id(&self, key: DriverKey) -> &DriverId {
        &self.ids[key.index()]
    }

    /// A driver.
    pub fn driver(&self, key: DriverKey) -> &Driver {
        &self.drivers[key.index()]
    }

    /// Everybody, by key.
    pub fn iter(&self) -> impl Iterator<Item = (DriverKey, &Driver)> {
        (0..).map(DriverKey).zip(&self.drivers)
    }

    /// The drivers who are free for any ride.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Idle drivers with a known position who take only rides to their destination.
    pub fn homebound(&self) -> impl Iterator<Item = (DriverKey, &Driver)> {
        self.homebound.iter().map(|&key| (key, self.driver(key)))
    }

    /// Everybody with a live ride, by trip; who has two is there twice.
    pub fn riding(&self) -> impl Iterator<Item = (DriverKey, &Driver)> {
        self.on_trip.values().map(|&key| (key, self.driver(key)))
    }

    /// Who has a live trip.
    pub fn driver_of(&self, trip: TripId) -> Option<DriverKey> {
        self.on_trip.get(&trip).copied()
    }

    /// The stamp of the latest change.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Whether anybody became findable by searches since [`Fleet::take_freed`].
    pub fn has_freed(&self) -> bool {
        self.freed
    }

    /// Whether anybody became findable by searches since this was last asked.
    pub fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Something was heard from the driver's app.
    pub fn heard(&mut self, key: DriverKey, now: DateTime<Utc>) {
        self.drivers[key.index()].heard_at = now;
    }

    /// Takes a position that was believed.
    pub fn place(&mut self, key: DriverKey, fix: Fix) {
        let driver = &mut self.drivers[key.index()];
        driver.fix = Some(fix);
        driver.anywhere = false;
        if let Some(moved) = &driver.moved
            && moved.send(()).is_err()
        {
            driver.moved = None;
        }
        self.changed(key);
        self.to_save(key);
    }

    /// Everybody stands on another map from now on, where `fix_of` says; without a position there they
    /// have none. How many lost theirs. The database keeps the positions it has: the old map may come
    /// back.
    pub fn move_to(
        &mut self,
        roads: &RoadNetwork,
        cell_m: f64,
        mut fix_of: impl FnMut(DriverKey, &Fix) -> Option<Fix>,
    ) -> usize {
        self.index = Index::new(roads, cell_m);
        self.homebound.clear();
        let mut lost = 0;
        for number in 0..self.drivers.len() {
            let key = DriverKey(number as u32);
            let Some(fix) = self.drivers[number].fix else {
                continue;
            };
            let moved = fix_of(key, &fix);
            lost += usize::from(moved.is_none());
            self.drivers[number].fix = moved;
            self.changed(key);
        }
        lost
    }

    /// A driver is in that zone, or in none: they queue there from now on, or go on to.
    pub fn queue(&mut self, key: DriverKey, zone: Option<ZoneNo>, now: DateTime<Utc>) {
        let driver = &mut self.drivers[key.index()];
        let may_queue = driver.standing.on_shift && driver.standing.rides().is_empty();
        let zone = zone.filter(|_| may_queue);
        if driver.queue.map(|(own, _)| own) != zone {
            driver.queue = zone.map(|zone| (zone, now));
        }
    }

    /// Tells of every new position of a driver from now on.
    pub fn watch(&mut self, key: DriverKey) -> watch::Receiver<()> {
        self.drivers[key.index()]
            .moved
            .get_or_insert_with(|| watch::Sender::new(()))
            .subscribe()
    }

    /// Goes on or off shift. Gives the hold that ended with it.
    pub fn shift(
        &mut self,
        key: DriverKey,
        change: ShiftChange,
        now: DateTime<Utc>,
    ) -> Option<Hold> {
        let driver = &mut self.drivers[key.index()];
        let was_on_shift = driver.standing.on_shift;
        let mut ended = None;
        if change.available {
            driver.standing = driver.standing.begin_shift();
            if !was_on_shift {
                driver.anywhere = true;
                driver.idle_since = now;
            }
        } else {
            (driver.standing, ended) = driver.standing.end_shift();
        }
        let known = |driver: &Driver| {
            let vehicle = driver.vehicle.clone();
            (driver.products, vehicle, driver.destination)
        };
        let before = (was_on_shift, known(driver));
        driver.products = change.products.unwrap_or(driver.products);
        driver.vehicle = change.vehicle.or(driver.vehicle.take());
        driver.destination = change
            .destination
            .unwrap_or(driver.destination)
            .filter(|_| change.available);
        if before != (change.available, known(driver)) {
            driver.shift_no += 1;
            self.changed(key);
        }
        self.to_save(key);
        ended
    }

    /// Sets a driver aside who is idle, or whose only ride is the one the hold is to come `beside`;
    /// whether they were.
    #[must_use]
    pub fn hold(&mut self, key: DriverKey, hold: Hold, beside: Option<TripId>) -> bool {
        let standing = self.driver(key).standing.hold_for(hold, beside);
        self.stand(key, standing)
    }

    /// Changes what a driver is set aside for; whether they were set aside for that.
    #[must_use]
    pub fn pass_on(&mut self, key: DriverKey, from: Hold, to: Hold) -> bool {
        let standing = self.driver(key).standing.pass_on(from, to);
        self.stand(key, standing)
    }

    /// Ends a hold, if it is the driver's.
    pub fn release(&mut self, key: DriverKey, hold: Hold) {
        let standing = self.driver(key).standing.release(hold);
        self.stand(key, standing);
    }

    /// The driver has this ride, alone or beside another: a fact.
    pub fn ride(
        &mut self,
        key: DriverKey,
        live: Live,
        beside: Option<Beside>,
        now: DateTime<Utc>,
    ) -> Ridden {
        let trip = live.ride.trip;
        if let Some(other) = self.driver_of(trip).filter(|&other| other != key) {
            self.free(other, trip, now);
        }
        let (standing, taken, ended) = self.driver(key).standing.ride(live, beside);
        for displaced in taken.displaced.into_iter().flatten() {
            self.on_trip.remove(&displaced);
        }
        if taken.is_new {
            self.on_trip.insert(trip, key);
            self.drivers[key.index()].queue = None;
        }
        self.stand(key, Some(standing));
        Ridden {
            ended,
            is_new: taken.is_new,
            displaced: taken.displaced,
        }
    }

    /// The trip is over, or no longer this driver's: a fact. Whether it was.
    pub fn free(&mut self, key: DriverKey, trip: TripId, now: DateTime<Utc>) -> bool {
        let standing = self.driver(key).standing.free(trip);
        if standing.is_some() {
            self.on_trip.remove(&trip);
            self.drivers[key.index()].idle_since = now;
        }
        self.stand(key, standing)
    }

    /// Puts a driver back as the database remembers them; nothing of it is new to the database.
    pub fn restore(&mut self, id: &DriverId, remembered: Remembered, now: DateTime<Utc>) {
        let key = self.intern(id, now);
        let driver = &mut self.drivers[key.index()];
        driver.standing.on_shift = remembered.available;
        driver.products = remembered.products;
        driver.vehicle = remembered.vehicle;
        driver.fix = remembered.fix;
        driver.anywhere = false;
        driver.shift_no = remembered.shift_no;
        driver.destination = remembered.destination;
        if let Some(&first) = remembered.rides.first() {
            self.ride(key, first, None, now);
        }
        if let Some(second) = remembered.rides.second() {
            let beside = remembered.rides.first().map(|first| Beside {
                trip: first.ride.trip,
                shared: second.shared,
                order: second.order,
            });
            self.ride(key, second.live, beside, now);
        }
        self.changed(key);
    }

    /// Drivers whose changes the database has not heard of, at most `most`; they count as saved now.
    pub fn take_unsaved(&mut self, most: usize) -> Vec<DriverKey> {
        let rest = self.unsaved.len().saturating_sub(most);
        let taken = self.unsaved.split_off(rest);
        for key in &taken {
            self.drivers[key.index()].unsaved = false;
        }
        taken
    }

    /// The database has (still) to hear of this driver.
    pub fn to_save(&mut self, key: DriverKey) {
        let driver = &mut self.drivers[key.index()];
        if !std::mem::replace(&mut driver.unsaved, true) {
            self.unsaved.push(key);
        }
    }

    /// Takes a new standing over, if there is one; whether there was.
    fn stand(&mut self, key: DriverKey, standing: Option<Standing>) -> bool {
        if let Some(standing) = standing
            && standing != self.driver(key).standing
        {
            self.drivers[key.index()].standing = standing;
            self.changed(key);
        }
        standing.is_some()
    }

    fn changed(&mut self, key: DriverKey) {
        self.stamp += 1;
        let driver = &mut self.drivers[key.index()];
        driver.changed = self.stamp;
        let is_homebound = driver.standing.is_idle() && driver.destination.is_some();
        if is_homebound && driver.fix.is_some() {
            self.freed |= self.homebound.insert(key);
        } else {
            self.homebound.remove(&key);
        }
        match driver.fix.filter(|_| driver.is_open()) {
            Some(fix) => {
                let post = Post {
                    snap: fix.snap,
                    products: driver.products,
                };
                let before = self.index.post(key).map(|post| post.products);
                self.freed |= before != Some(post.products);
                self.index.put(key, post);
            }
            None => self.index.remove(key),
        }
    }
}

/// A driver as the database remembers them.
#[derive(Debug, Default)]
pub struct Remembered {
    /// On shift.
    pub available: bool,
    /// What they serve.
    pub products: ProductSet,
    /// What they drive.
    pub vehicle: Option<Vehicle>,
    /// Where they were.
    pub fix: Option<Fix>,
    /// See [`Driver::shift_no`].
    pub shift_no: i64,
    /// Where they want to get to.
    pub destination: Option<LatLon>,
    /// The live rides.
    pub rides: Rides,
}

/// What became of news that a driver has a ride.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ridden {
    /// The hold that ended with it.
    pub ended: Option<Hold>,
    /// The ride is live, and was not before.
    pub is_new: bool,
    /// Rides that are over, whose end is yet to be heard.
    pub displaced: [Option<TripId>; 2],
}

#[cfg(test)]
mod tests;
