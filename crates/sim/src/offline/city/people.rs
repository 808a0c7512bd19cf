//! What riders and drivers do.

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use jitney_matching::{
    fleet::{Places, ShiftChange},
    news::What,
    offer::OfferEnd,
    outbound::outbound,
    ping::Sighting,
    search::Errand,
    standing::{Leg, Ride},
};
use jitney_proto::{
    common::v1::Point,
    ids::{DriverId, OfferId},
    matching::v1::Ping,
    trips::v1::TripState,
};
use jitney_roads::Snap;
use rand::RngExt;

use super::{Answer, City, Event, Happening, STREAM_MAX, Stage, ms};
use crate::{
    chance::{Purpose, chance},
    offline::cab::{Cab, Journey, Motion},
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
        } else if cab.ride.is_some() {
            cab.leaves = true;
        } else {
            self.go_off_shift(number);
        }
        let change = ShiftChange {
            available: begins,
            products: Some(self.wanted),
            vehicle: None,
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
        self.assigned(cab, number)
    }

    /// A driver has the ride, and sets out.
    fn assigned(&mut self, number: u32, request: u32) -> anyhow::Result<()> {
        let now_ms = self.now_ms;
        let cab = &mut self.cabs[number as usize];
        ensure!(
            cab.ride.is_none() && cab.on_shift && !cab.is_driving(),
            "driver {number} is given request {request} while busy"
        );
        let rider = &mut self.riders[request as usize];
        rider.stage = Stage::Assigned(number);
        rider.assigned_ms = now_ms;
        rider.set_out_ms = now_ms;
        let regret_ms = rider.temper.regret_ms;
        cab.ride = Some(request);
        cab.engaged_since_ms = now_ms;
        self.searching.remove(&request);
        self.riding(number, request, Leg::ToPickup);
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
        let goal = self.scenario.requests[request as usize].pickup;
        if !self.set_out(number, goal)? {
            self.give_back(number, request);
        }
        Ok(())
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
        self.freed(number);
        let driver = self
            .dispatch
            .fleet()
            .id(self.cabs[number as usize].key)
            .clone();
        self.search(request, vec![driver], now);
    }

    fn riding(&mut self, cab: u32, request: u32, leg: Leg) {
        let since = self.moment(self.riders[request as usize].assigned_ms);
        let driver = self
            .dispatch
            .fleet()
            .id(self.cabs[cab as usize].key)
            .clone();
        let trip = self.trip(request);
        let places = Some(self.places(request));
        let what = What::Riding {
            driver,
            ride: Ride { trip, since },
            leg,
            places,
        };
        self.tell(request, what);
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
        let request = cab.ride.context("a car drives for nobody")?;
        let rider = &mut self.riders[request as usize];
        let asked_ms = self.scenario.requests[request as usize].at_ms;
        let about = [i64::from(request), i64::from(number)];
        match rider.stage {
            Stage::Assigned(_) => {
                self.tally.empty_mm += cab.stop(&self.scenario.roads, now_ms, false);
                self.tally.pickup_waits_ms.push(now_ms - asked_ms);
                self.tally.pickup_drives_ms.push(now_ms - rider.set_out_ms);
                self.log.add(now_ms, Happening::AtKerb, &about);
                self.riding(number, request, Leg::ToPickup);
                let boarded = Event::Boarded {
                    cab: number,
                    request,
                };
                self.agenda
                    .put(now_ms + ms(self.habits.boarding_time), boarded);
            }
            Stage::Aboard => {
                let ridden_mm = cab.stop(&self.scenario.roads, now_ms, true);
                self.tally.loaded_mm += ridden_mm;
                let habits = self.habits;
                cab.income += habits.fare_base
                    + habits.fare_per_km * (ridden_mm / 1000) as i64 / 1000
                    + habits.fare_per_minute * (now_ms - rider.boarded_ms) / 60_000;
                self.tally.rides.served += 1;
                self.end(request, Happening::Completed)?;
                self.freed(number);
                self.tell(
                    request,
                    What::Over {
                        state: TripState::Completed,
                    },
                );
            }
            _ => anyhow::bail!("driver {number} arrives for request {request}, which is over"),
        }
        Ok(())
    }

    pub(super) fn boarded(&mut self, number: u32, request: u32) -> anyhow::Result<()> {
        let about = [i64::from(request), i64::from(number)];
        self.log.add(self.now_ms, Happening::Boarded, &about);
        let rider = &mut self.riders[request as usize];
        ensure!(
            matches!(rider.stage, Stage::Assigned(cab) if cab == number)
                && self.cabs[number as usize].ride == Some(request),
            "request {request} boards a car that is not theirs"
        );
        rider.stage = Stage::Aboard;
        rider.boarded_ms = self.now_ms;
        self.riding(number, request, Leg::ToDropoff);
        let goal = self.scenario.requests[request as usize].dropoff;
        // There was a way when the scenario was made.
        ensure!(self.set_out(number, goal)?, "request {request} has no way");
        Ok(())
    }

    pub(super) fn regret(&mut self, request: u32) -> anyhow::Result<()> {
        let Stage::Assigned(number) = self.riders[request as usize].stage else {
            return Ok(());
        };
        let cab = &mut self.cabs[number as usize];
        if !matches!(cab.motion, Motion::Driving(_)) {
            return Ok(()); // The car is there; they go with it.
        }
        self.tally.empty_mm += cab.stop(&self.scenario.roads, self.now_ms, false);
        self.tally.rides.called_off += 1;
        self.end(request, Happening::CalledOff)?;
        self.freed(number);
        self.tell(
            request,
            What::Over {
                state: TripState::Cancelled,
            },
        );
        Ok(())
    }

    /// A driver's ride is over.
    fn freed(&mut self, number: u32) {
        let to_ms = self.scenario.to_ms;
        let cab = &mut self.cabs[number as usize];
        cab.ride = None;
        cab.engaged_ms += (self.now_ms.min(to_ms) - cab.engaged_since_ms).max(0);
        if cab.leaves {
            self.go_off_shift(number);
        }
    }

    /// The end: whoever is still on shift goes home.
    pub(super) fn close_books(&mut self, number: usize) -> anyhow::Result<()> {
        let cab = &mut self.cabs[number];
        ensure!(cab.ride.is_none(), "driver {number} still has a ride");
        if cab.on_shift {
            cab.shift_ms += (self.scenario.to_ms.min(self.now_ms) - cab.shift_since_ms).max(0);
        }
        Ok(())
    }
}
