//! What riders and drivers do.

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use jitney_matching::{
    fleet::ShiftChange,
    news::What,
    offer::OfferEnd,
    outbound::outbound,
    ping::Sighting,
    rides::{Beside, Leg, Live, Party, Places, Ride, StopOrder},
    search::Errand,
};
use jitney_proto::{
    common::v1::Point,
    ids::{DriverId, OfferId, TripId},
    matching::v1::{Ping, StopKind},
    trips::v1::TripState,
};
use jitney_roads::{Snap, Travel};
use rand::RngExt;

use super::{Answer, City, Event, Happening, STREAM_MAX, Stage, ms};
use crate::{
    chance::{Purpose, chance},
    offline::cab::{Cab, Journey},
};

impl City<'_> {
    /// Brings so many drivers on shift, each where some rider begins. A larger fleet has those of a
    /// smaller one, at the same places.
    pub(super) fn settle_drivers(&mut self, drivers: u32) -> anyhow::Result<()> {
        let (seed, now) = (self.scenario.seed, self.now());
        let (from_ms, to_ms) = (self.scenario.from_ms, self.scenario.to_ms);
        for number in 0..drivers {
            let key = self.dispatch.intern(&format!("d{number}").parse()?, now);
            ensure!(key.0 == number, "drivers are numbered in their order");
            let mut chance = chance(seed, Purpose::Driver, u64::from(number));
            let place = chance.random_range(0..self.scenario.requests.len());
            let pickup = self.scenario.requests[place].pickup;
            self.cabs.push(Cab::new(key, pickup));
            let shift = |begins| Event::Shift {
                cab: number,
                begins,
            };
            self.agenda.put(from_ms, shift(true));
            if let Some((begins_ms, ends_ms)) = self.habits.rest(seed, number, from_ms, to_ms) {
                self.agenda.put(begins_ms, shift(false));
                self.agenda.put(ends_ms, shift(true));
            }
        }
        Ok(())
    }

    pub(super) fn shift(&mut self, number: u32, begins: bool) {
        let now = self.now();
        let cab = &mut self.cabs[number as usize];
        let key = cab.key;
        if begins {
            cab.leaves = false;
            if !cab.on_shift {
                cab.on_shift = true;
                cab.shift_since_ms = self.now_ms;
                cab.ping_no += 1;
                let ping_no = cab.ping_no;
                self.agenda.put(
                    self.now_ms,
                    Event::Ping {
                        cab: number,
                        ping_no,
                    },
                );
                self.log
                    .add(self.now_ms, Happening::ShiftBegins, &[i64::from(number)]);
            }
        } else if cab.rides > 0 {
            cab.leaves = true;
        } else {
            self.go_off_shift(number);
        }
        let change = ShiftChange {
            available: begins,
            products: Some(self.wanted),
            vehicle: None,
            destination: None,
        };
        self.dispatch.shift(key, change, now);
    }

    fn go_off_shift(&mut self, number: u32) {
        let to_ms = self.scenario.to_ms;
        let cab = &mut self.cabs[number as usize];
        cab.on_shift = false;
        cab.leaves = false;
        cab.ping_no += 1;
        cab.shift_ms += (self.now_ms.min(to_ms) - cab.shift_since_ms).max(0);
        self.log
            .add(self.now_ms, Happening::ShiftEnds, &[i64::from(number)]);
    }

    pub(super) fn ping(&mut self, number: u32, ping_no: u32) {
        let (now_ms, now) = (self.now_ms, self.now());
        let cab = &mut self.cabs[number as usize];
        if cab.ping_no != ping_no {
            return;
        }
        let (place, heading_deg, speed_mps) = cab.measured(now_ms);
        let sighting = cab.sighting(|| {
            let ping = Ping {
                location: Some(Point::new(place.lat(), place.lon())),
                heading_degrees: heading_deg.map(|deg| deg as f32),
                speed_mps: Some(speed_mps as f32),
                ..Ping::default()
            };
            let max_m = self.ground.config.snap_distance_max_m;
            Sighting::read(&ping, &self.ground.roads, max_m)
        });
        let interval = if cab.is_driving() {
            self.habits.ping_interval_driving
        } else {
            self.habits.ping_interval_parked
        };
        cab.next_ping_ms = now_ms + ms(interval);
        let next = Event::Ping {
            cab: number,
            ping_no,
        };
        self.agenda.put(cab.next_ping_ms, next);
        let key = cab.key;
        self.dispatch.pings(key, 0, &[sighting], now);
        let fix = self.dispatch.fleet().driver(key).fix;
        let is_taken = fix.is_some_and(|fix| fix.at == now);
        self.tally.pings.sent += 1;
        self.tally.pings.refused += u64::from(!is_taken);
        let e7 = |degrees: f64| (degrees * 1e7).round() as i64;
        let about = [
            i64::from(number),
            e7(place.lat()),
            e7(place.lon()),
            i64::from(is_taken),
        ];
        self.log.add(now_ms, Happening::Ping, &about);
    }

    pub(super) fn request(&mut self, number: u32) {
        let now = self.now();
        let temper = self.riders[number as usize].temper;
        let about = [i64::from(number), temper.patience_ms];
        self.log.add(self.now_ms, Happening::Request, &about);
        self.tally.rides.requested += 1;
        self.search(number, Vec::new(), now);
        self.agenda
            .put(self.now_ms + temper.patience_ms, Event::Impatience(number));
    }

    fn search(&mut self, number: u32, excluded: Vec<DriverId>, now: DateTime<Utc>) {
        let request = self.scenario.requests[number as usize];
        let timeout = TimeDelta::milliseconds(ms(self.habits.search_timeout));
        let trip = self.trip(number);
        let errand = Errand {
            trip,
            rider: self.nobody.clone(),
            product: self.product.clone(),
            wanted: self.wanted,
            places: self.places(number),
            pickup: request.pickup,
            dropoff: Some(request.dropoff),
            seats: 1,
            shares: self.ground.catalogue.shares(self.product.as_str()),
            fare: None,
            reservation: None,
            give_up_at: self.moment(request.at_ms) + timeout,
        };
        let (out, stream) = outbound(STREAM_MAX);
        self.riders[number as usize].stage = Stage::Searching { stream, open: None };
        self.searching.insert(number);
        self.dispatch.request(errand, excluded, None, out, now);
    }

    fn places(&self, number: u32) -> Places {
        let request = &self.scenario.requests[number as usize];
        Places {
            pickup: request.pickup.point,
            dropoff: Some(request.dropoff.point),
        }
    }

    pub(super) fn impatience(&mut self, number: u32) -> anyhow::Result<()> {
        if let Stage::Searching { open, .. } = &self.riders[number as usize].stage {
            self.tally.offers.withdrawn += u64::from(open.is_some());
            self.tally.rides.gave_up += 1;
            self.end(number, Happening::GaveUp)?;
            self.tell(
                number,
                What::Over {
                    state: TripState::Cancelled,
                },
            );
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, cab: u32, number: u32, offer: OfferId) -> anyhow::Result<()> {
        let now = self.now();
        let Stage::Searching {
            open: Some(open), ..
        } = &self.riders[number as usize].stage
        else {
            return Ok(());
        };
        if open.offer != offer || open.expires_at < now {
            return Ok(());
        }
        let beside = open.beside;
        let about = [i64::from(number), i64::from(cab)];
        if let Answer::Declines(_) = self.habits.answer(self.scenario.seed, cab, number) {
            self.tally.offers.declined += 1;
            self.log.add(self.now_ms, Happening::Declined, &about);
            let end = OfferEnd::Declined;
            self.tell(number, What::OfferOver { offer, end });
            return Ok(());
        }
        self.tally.offers.accepted += 1;
        self.log.add(self.now_ms, Happening::Accepted, &about);
        self.assigned(cab, number, beside)
    }

    /// A driver has the ride, and sets out, or drives on if there is another stop first. As the trip
    /// service does, a ride is given beside another only while that one is live.
    fn assigned(
        &mut self,
        number: u32,
        request: u32,
        beside: Option<(TripId, bool)>,
    ) -> anyhow::Result<()> {
        let now_ms = self.now_ms;
        let is_live = |&(trip, _): &(TripId, bool)| {
            let driver = self.dispatch.fleet().driver_of(trip);
            driver.is_some_and(|key| key.0 == number)
        };
        let beside = beside.filter(is_live);
        let cab = &mut self.cabs[number as usize];
        ensure!(
            cab.on_shift && cab.rides == u32::from(beside.is_some()),
            "driver {number} is given request {request} while busy"
        );
        let rider = &mut self.riders[request as usize];
        rider.stage = Stage::Assigned(number);
        rider.assigned_ms = now_ms;
        let regret_ms = rider.temper.regret_ms;
        if cab.rides == 0 {
            cab.engaged_since_ms = now_ms;
        }
        cab.rides += 1;
        self.searching.remove(&request);
        match beside {
            Some((other, true)) => {
                self.tally.rides.joined += 1;
                let other = Self::request_of(other);
                for party in [request, other] {
                    self.riders[party as usize].shares = true;
                }
            }
            Some((_, false)) => self.tally.rides.chained += 1,
            None => {}
        }
        let beside = beside.map(|(trip, shared)| Beside {
            trip,
            shared,
            order: StopOrder::default(),
        });
        self.riding(number, request, Leg::ToPickup, beside);
        let live = self.dispatch.fleet().driver_of(self.trip(request));
        ensure!(
            live.is_some_and(|key| key.0 == number),
            "matching gave request {request} to somebody else"
        );
        if let Some(regret_ms) = regret_ms {
            self.agenda.put(now_ms + regret_ms, Event::Regret(request));
        }
        let at_ms = self.scenario.requests[request as usize].at_ms;
        self.tally.assign_waits_ms.push(now_ms - at_ms);
        self.head_on(number)
    }

    /// There is no way after all: the trip service looks for somebody else.
    fn give_back(&mut self, number: u32, request: u32) {
        let now = self.now();
        self.tally.offers.given_back += 1;
        let about = [i64::from(request), i64::from(number)];
        self.log.add(self.now_ms, Happening::GivenBack, &about);
        self.tell(
            request,
            What::Released {
                state: TripState::Searching,
            },
        );
        self.ride_over(number);
        let driver = self
            .dispatch
            .fleet()
            .id(self.cabs[number as usize].key)
            .clone();
        self.search(request, vec![driver], now);
    }

    fn riding(&mut self, cab: u32, request: u32, leg: Leg, beside: Option<Beside>) {
        let since = self.moment(self.riders[request as usize].assigned_ms);
        let driver = self
            .dispatch
            .fleet()
            .id(self.cabs[cab as usize].key)
            .clone();
        let trip = self.trip(request);
        let live = Live {
            ride: Ride { trip, since },
            leg,
            party: Party {
                places: Some(self.places(request)),
                seats: 1,
                shares: self.ground.catalogue.shares(self.product.as_str()),
                boarded_at: (leg == Leg::ToDropoff).then(|| self.now()),
                stops_left: 0,
            },
        };
        let what = What::Riding {
            driver,
            live,
            beside,
        };
        self.tell(request, what);
    }

    /// Drives to the next stop, as matching has planned it. Rides whose next stop cannot be reached are
    /// given back.
    fn head_on(&mut self, number: u32) -> anyhow::Result<()> {
        loop {
            let cab = &self.cabs[number as usize];
            let driver = self.dispatch.fleet().driver(cab.key);
            let stops = driver.standing.rides().stops();
            let next = stops
                .first()
                .map(|stop| (Self::request_of(stop.trip), stop.kind));
            if cab.is_boarding || (cab.is_driving() && cab.goal == next) {
                return Ok(());
            }
            self.pull_over(number);
            self.cabs[number as usize].goal = next;
            let Some((request, kind)) = next else {
                return Ok(());
            };
            let ends = self.scenario.requests[request as usize];
            let place = if kind == StopKind::Pickup {
                self.riders[request as usize].set_out_ms = self.now_ms;
                ends.pickup
            } else {
                ends.dropoff
            };
            if self.set_out(number, place)? {
                return Ok(());
            }
            // There was a way for the ride when the scenario was made.
            ensure!(kind == StopKind::Pickup, "request {request} has no way");
            self.give_back(number, request);
        }
    }

    /// Stops if it drives; gives the millimetres driven.
    fn pull_over(&mut self, number: u32) {
        let cab = &mut self.cabs[number as usize];
        let is_loaded = cab.aboard > 0;
        let driven_mm = cab.stop(&self.scenario.roads, self.now_ms, is_loaded);
        if is_loaded {
            self.tally.loaded_mm += driven_mm;
        } else {
            self.tally.empty_mm += driven_mm;
        }
    }

    /// Drives off; whether there is a way.
    fn set_out(&mut self, number: u32, goal: Snap) -> anyhow::Result<bool> {
        let now_ms = self.now_ms;
        let from = self.cabs[number as usize].place(&self.scenario.roads, now_ms);
        let Some(route) = self.route(&from, &goal) else {
            return Ok(false);
        };
        let journey = Journey::new(&route, goal, now_ms).context("a way without a line")?;
        let about = [
            i64::from(number),
            journey.duration_ms(),
            i64::from(route.travel.distance_m),
        ];
        self.log.add(now_ms, Happening::SetOut, &about);
        let cab = &mut self.cabs[number as usize];
        let ends_ms = journey.ends_ms();
        cab.set_out(journey);
        let arrival = Event::Arrival {
            cab: number,
            drive_no: cab.drive_no,
        };
        self.agenda.put(ends_ms, arrival);
        // The phone notices that it moves.
        let soon_ms = now_ms + ms(self.habits.ping_interval_driving);
        if cab.next_ping_ms > soon_ms {
            cab.next_ping_ms = soon_ms;
            cab.ping_no += 1;
            let ping = Event::Ping {
                cab: number,
                ping_no: cab.ping_no,
            };
            self.agenda.put(soon_ms, ping);
        }
        Ok(true)
    }

    pub(super) fn arrival(&mut self, number: u32, drive_no: u32) -> anyhow::Result<()> {
        let now_ms = self.now_ms;
        let cab = &mut self.cabs[number as usize];
        if cab.drive_no != drive_no {
            return Ok(());
        }
        let (request, kind) = cab.goal.context("a car drives for nobody")?;
        self.pull_over(number);
        let about = [i64::from(request), i64::from(number)];
        match kind {
            StopKind::Pickup => {
                let rider = &self.riders[request as usize];
                let asked_ms = self.scenario.requests[request as usize].at_ms;
                self.tally.pickup_waits_ms.push(now_ms - asked_ms);
                self.tally.pickup_drives_ms.push(now_ms - rider.set_out_ms);
                self.log.add(now_ms, Happening::AtKerb, &about);
                self.cabs[number as usize].is_boarding = true;
                self.riding(number, request, Leg::ToPickup, None);
                let boarded = Event::Boarded {
                    cab: number,
                    request,
                };
                self.agenda
                    .put(now_ms + ms(self.habits.boarding_time), boarded);
                Ok(())
            }
            _ => {
                let (cab, habits) = (&mut self.cabs[number as usize], self.habits);
                let rider = &self.riders[request as usize];
                let Travel {
                    duration_ms,
                    distance_m,
                } = rider.quoted;
                cab.income += habits.fare_base
                    + habits.fare_per_km * i64::from(distance_m) / 1000
                    + habits.fare_per_minute * i64::from(duration_ms) / 60_000;
                cab.aboard -= 1;
                if rider.shares {
                    self.tally.shared_ms += now_ms - rider.boarded_ms;
                    self.tally.shared_quoted_ms += i64::from(duration_ms);
                }
                self.tally.rides.served += 1;
                self.over(number, request, Happening::Completed, TripState::Completed)
            }
        }
    }

    pub(super) fn boarded(&mut self, number: u32, request: u32) -> anyhow::Result<()> {
        let about = [i64::from(request), i64::from(number)];
        self.log.add(self.now_ms, Happening::Boarded, &about);
        let ends = self.scenario.requests[request as usize];
        let route = self.route(&ends.pickup, &ends.dropoff);
        let rider = &mut self.riders[request as usize];
        let cab = &mut self.cabs[number as usize];
        ensure!(
            matches!(rider.stage, Stage::Assigned(own) if own == number)
                && cab.goal == Some((request, StopKind::Pickup)),
            "request {request} boards a car that is not theirs"
        );
        rider.quoted = route.context("a ride without a way")?.travel;
        rider.stage = Stage::Aboard;
        rider.boarded_ms = self.now_ms;
        cab.aboard += 1;
        cab.is_boarding = false;
        self.riding(number, request, Leg::ToDropoff, None);
        self.head_on(number)
    }

    pub(super) fn regret(&mut self, request: u32) -> anyhow::Result<()> {
        let Stage::Assigned(number) = self.riders[request as usize].stage else {
            return Ok(());
        };
        let cab = &self.cabs[number as usize];
        if cab.is_boarding && cab.goal == Some((request, StopKind::Pickup)) {
            return Ok(()); // The car is there; they go with it.
        }
        self.tally.rides.called_off += 1;
        self.over(number, request, Happening::CalledOff, TripState::Cancelled)
    }

    /// A ride is over, and its driver goes on to the next stop if there is one.
    fn over(
        &mut self,
        number: u32,
        request: u32,
        how: Happening,
        state: TripState,
    ) -> anyhow::Result<()> {
        self.end(request, how)?;
        if self.cabs[number as usize].rides == 1 {
            self.pull_over(number);
        }
        self.ride_over(number);
        self.tell(request, What::Over { state });
        self.head_on(number)
    }

    /// One of a driver's rides is over.
    fn ride_over(&mut self, number: u32) {
        let to_ms = self.scenario.to_ms;
        let cab = &mut self.cabs[number as usize];
        cab.rides -= 1;
        if cab.rides > 0 {
            return;
        }
        cab.engaged_ms += (self.now_ms.min(to_ms) - cab.engaged_since_ms).max(0);
        if cab.leaves {
            self.go_off_shift(number);
        }
    }

    /// The end: whoever is still on shift goes home.
    pub(super) fn close_books(&mut self, number: usize) -> anyhow::Result<()> {
        let cab = &mut self.cabs[number];
        ensure!(cab.rides == 0, "driver {number} still has a ride");
        if cab.on_shift {
            cab.shift_ms += (self.scenario.to_ms.min(self.now_ms) - cab.shift_since_ms).max(0);
        }
        Ok(())
    }
}
