//! What driver apps say (hello, pings, shifts), what is brought back from the database, and silence.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{DriverId, SessionId, TripId},
    matching::v1 as wire,
    matching::v1::{StreamDriverResponse, stream_driver_response::Message},
};
use jitney_roads::{LatLon, RoadNetwork, Snap, Travel};

use super::Dispatch;
use crate::{
    config::delta,
    error::Refusal,
    fleet::{DriverKey, Remembered, ShiftChange},
    metrics,
    outbound::Outbound,
    ping::{Fix, PingRefusal, Sighting},
    rides::{Rides, Stop},
    search::Listener,
    session::ConnectionNo,
    standing::Hold,
    store::DriverRow,
    wire as words,
};

impl Dispatch {
    /// A driver's app connects: it is welcomed, and sent again what it may have missed. A resumed
    /// session goes on with the messages that were not acknowledged; a new one begins with the open
    /// offer or the live trip, if there is one.
    pub fn hello(
        &mut self,
        id: &DriverId,
        resume: Option<(SessionId, u64)>,
        outbound: Outbound<StreamDriverResponse>,
        now: DateTime<Utc>,
    ) -> (DriverKey, ConnectionNo) {
        let key = self.fleet.intern(id, now);
        self.fleet.heard(key, now);
        let fresh = self.names.session(now);
        let opened = self.sessions.open(key, resume, fresh, outbound, now);
        let silence_max = self.ground.config.silence_max.as_millis();
        self.sessions.tell(
            key,
            Message::Welcome(wire::Welcome {
                session_id: opened.session.to_string(),
                resumed: opened.resumed,
                driver: Some(self.wire_driver(key)),
                silence_max_ms: i64::try_from(silence_max).unwrap_or(i64::MAX),
            }),
        );
        if opened.resumed {
            self.sessions.resend(key);
        } else {
            self.push_what_is_open(key, now);
        }
        (key, opened.connection)
    }

    fn push_what_is_open(&mut self, key: DriverKey, now: DateTime<Utc>) {
        if let Some(Hold::Offer(trip, _)) = self.fleet.driver(key).standing.hold()
            && let Some(open) = self
                .searches
                .get(&trip)
                .and_then(|search| search.open.as_ref())
            && open.made
        {
            let rides = self.fleet.driver(key).standing.rides();
            let offer = open.offer.for_driver(rides, now);
            self.sessions.push(key, Message::Offer(offer));
        }
        let rides = self.fleet.driver(key).standing.rides();
        let trips: Vec<TripId> = rides.iter().map(|live| live.ride.trip).collect();
        for trip in trips {
            self.push_assignment(key, trip);
        }
    }

    /// Tells a driver of one of their live trips.
    pub(super) fn push_assignment(&mut self, key: DriverKey, trip: TripId) {
        let driver = self.fleet.driver(key);
        let rides = driver.standing.rides();
        let Some(live) = rides.of(trip).filter(|_| self.sessions.is_kept(key)) else {
            return;
        };
        let stops = rides.stops();
        let next = stops
            .first()
            .filter(|stop| stop.trip == trip && stop.kind == wire::StopKind::Pickup);
        let to_pickup = driver.fix.zip(next).and_then(|(fix, next)| {
            let pickup = self.ground.snap(next.place?).ok()?;
            words::route(&self.ground.nearest, &fix.snap, &pickup)
        });
        let beside = rides
            .second()
            .filter(|second| second.live.ride.trip == trip);
        let first = rides.first().filter(|_| beside.is_some());
        let places = live.party.places;
        let assignment = wire::Assignment {
            trip_id: trip.to_string(),
            pickup: places.map(|places| words::point(places.pickup)),
            dropoff: places.and_then(|places| places.dropoff).map(words::point),
            to_pickup,
            beside_trip_id: first
                .map(|first| first.ride.trip.to_string())
                .unwrap_or_default(),
            shared: beside.is_some_and(|second| second.shared),
            stops: stops.iter().map(words::stop).collect(),
            seats: live.party.seats,
        };
        self.sessions.push(key, Message::Assignment(assignment));
    }

    /// A connection ended. The driver stays on shift until the silence has lasted too long.
    pub fn left(&mut self, key: DriverKey, connection: ConnectionNo, now: DateTime<Utc>) {
        self.sessions.left(key, connection, now);
    }

    /// An app has taken in everything up to a number.
    pub fn acknowledge(&mut self, key: DriverKey, seq: u64, now: DateTime<Utc>) {
        self.fleet.heard(key, now);
        self.sessions.acknowledge(key, seq);
    }

    /// Takes a batch of positions and says which of them were believed.
    pub fn pings(
        &mut self,
        key: DriverKey,
        batch: u64,
        sightings: &[Result<Sighting, PingRefusal>],
        now: DateTime<Utc>,
    ) {
        let refused = self.positions(key, sightings, now);
        let accepted = u32::try_from(sightings.len() - refused.len()).unwrap_or(u32::MAX);
        let refused = refused
            .into_iter()
            .map(|(index, refusal)| wire::PingRefusal {
                index,
                reason: refusal.reason().to_owned(),
            });
        self.sessions.tell(
            key,
            Message::PingReceipt(wire::PingReceipt {
                batch,
                accepted,
                refused: refused.collect(),
            }),
        );
    }

    /// Takes positions of a driver, oldest first. Gives those that were not believed, by their place,
    /// and why.
    pub fn positions(
        &mut self,
        key: DriverKey,
        sightings: &[Result<Sighting, PingRefusal>],
        now: DateTime<Utc>,
    ) -> Vec<(u32, PingRefusal)> {
        self.fleet.heard(key, now);
        let driver = self.fleet.driver(key);
        let (mut last, mut anywhere) = (driver.fix, driver.anywhere);
        let mut refused = Vec::new();
        for (index, sighting) in (0..).zip(sightings) {
            let judged = sighting
                .as_ref()
                .map_err(|&refusal| refusal)
                .and_then(|sighting| {
                    self.ping_rules
                        .judge(sighting, last.as_ref(), anywhere, now)
                });
            match judged {
                Ok(fix) => {
                    self.observations.see(key, &fix, anywhere);
                    let rides = self.fleet.driver(key).standing.rides();
                    self.meters.see(rides, &fix);
                    (last, anywhere) = (Some(fix), false);
                }
                Err(refusal) => {
                    metrics::ping_refused(refusal);
                    refused.push((index, refusal));
                }
            }
        }
        let accepted = sightings.len() - refused.len();
        metrics::pings_accepted(accepted);
        if accepted > 0
            && let Some(fix) = last
        {
            self.fleet.place(key, fix);
            self.fleet.queue(key, self.ground.zones.at(fix.place), now);
            self.rouse_if_freed();
        }
        refused
    }

    /// A driver goes on or off shift. Whoever is connected as them hears of it.
    pub fn shift(&mut self, key: DriverKey, change: ShiftChange, now: DateTime<Utc>) {
        self.fleet.heard(key, now);
        self.end_or_begin_shift(key, change, now);
    }

    fn end_or_begin_shift(&mut self, key: DriverKey, change: ShiftChange, now: DateTime<Utc>) {
        if let Some(hold) = self.fleet.shift(key, change, now) {
            self.hold_ended(hold, now);
        }
        let place = self.fleet.driver(key).fix.map(|fix| fix.place);
        let zone = place.and_then(|place| self.ground.zones.at(place));
        self.fleet.queue(key, zone, now);
        let driver = Some(self.wire_driver(key));
        self.sessions
            .tell(key, Message::DriverUpdate(wire::DriverUpdate { driver }));
        self.rouse_if_freed();
    }

    /// Takes everybody off shift who was silent for too long, except those on a trip, and forgets the
    /// sessions nobody came back to.
    pub fn sweep(&mut self, now: DateTime<Utc>) {
        let silent_since = now - delta(self.ground.config.silence_max);
        let is_silent = |driver: &crate::fleet::Driver| {
            driver.standing.on_shift
                && driver.standing.rides().is_empty()
                && driver.heard_at <= silent_since
        };
        let silent: Vec<DriverKey> = self
            .fleet
            .iter()
            .filter(|(_, driver)| is_silent(driver))
            .map(|(key, _)| key)
            .collect();
        for &key in &silent {
            self.end_or_begin_shift(key, ShiftChange::default(), now);
        }
        if !silent.is_empty() {
            tracing::info!(
                drivers = silent.len(),
                "taken off shift after too long a silence"
            );
        }
        self.sessions.forget_before(silent_since);
    }

    /// Closes every stream, for an orderly stop.
    pub fn close_streams(&mut self, status: &tonic::Status) {
        self.sessions.close_all(status);
        for search in self.searches.values() {
            if let Listener::Reading(outbound) = &search.listener {
                outbound.close(status.clone());
            }
        }
    }

    /// Puts a driver back as the database remembers them. They count as heard of now, so that their
    /// app has the whole silence to come back.
    pub fn restore_driver(&mut self, row: DriverRow, rides: Rides, now: DateTime<Utc>) {
        let products = row.products.iter().map(String::as_str);
        let fix = row.position.and_then(|(place, heading_deg, at)| {
            // Another map than last time may not reach there.
            let snap = self.ground.snap(place).ok()?;
            Some(Fix {
                place,
                snap,
                heading_deg,
                at,
            })
        });
        let remembered = Remembered {
            available: row.available,
            products: self.ground.catalogue.known(products),
            vehicle: row.vehicle,
            fix,
            shift_no: row.shift_no,
            destination: row.destination,
            rides,
        };
        self.fleet.restore(&row.id, remembered, now);
    }

    /// A driver, on the wire.
    pub fn wire_driver(&self, key: DriverKey) -> wire::Driver {
        words::driver(&self.fleet, &self.ground.catalogue, key)
    }

    /// A driver by id.
    ///
    /// # Errors
    /// [`Refusal::UnknownDriver`].
    pub fn known(&self, id: &DriverId) -> Result<DriverKey, Refusal> {
        self.fleet.key(id).ok_or(Refusal::UnknownDriver)
    }

    /// A driver by id, who is made known if need be.
    pub fn intern(&mut self, id: &DriverId, now: DateTime<Utc>) -> DriverKey {
        self.fleet.intern(id, now)
    }

    /// Tells of every new position of a driver from now on.
    pub fn watch(&mut self, key: DriverKey) -> tokio::sync::watch::Receiver<()> {
        self.fleet.watch(key)
    }
}

impl super::Ground {
    /// A place on the road, if there is one near enough.
    ///
    /// # Errors
    /// As [`RoadNetwork::snap`].
    pub fn snap(&self, place: LatLon) -> Result<Snap, jitney_roads::RoadsError> {
        RoadNetwork::snap(&self.roads, place, self.config.snap_distance_max_m)
    }

    /// How far it is from a place by way of these stops to the last of them; `None` when nobody knows
    /// where one is, or there is no way.
    pub fn travel_along(&self, from: Snap, stops: &[Stop]) -> Option<Travel> {
        let mut here = from;
        let mut all = Travel {
            duration_ms: 0,
            distance_m: 0,
        };
        for stop in stops {
            let there = self.snap(stop.place?).ok()?;
            let travel = self.nearest.travel(&here, &there)?;
            all.duration_ms = all.duration_ms.saturating_add(travel.duration_ms);
            all.distance_m = all.distance_m.saturating_add(travel.distance_m);
            here = there;
        }
        Some(all)
    }
}
