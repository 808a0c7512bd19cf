//! Putting a round together: who asks, and from the living fleet who could come.
//!
//! Of the eligible drivers only the nearest few of each request are considered. Where requests take
//! those from each other, more are looked at for the ones left over, and for those who could make room for
//! them, within limits, so that hardly anybody is left out for want of looking.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{DriverId, TripId},
    matching::v1::StopKind,
};
use jitney_roads::{LatLon, Snap};
use rayon::prelude::*;

use super::{Choice, Driver, Gate, Gated, Pair, Request, Round};
use crate::{
    dispatch::Ground,
    fleet::{self, DriverKey, Fleet},
    nearest::{Found, Query},
    policy::{Method, Policy, millis},
    product::ProductSet,
    rides::{Beside, Leg, Live, StopOrder},
    sharing::{self, At, FirstParty, SecondParty},
    zone::ZoneNo,
};

/// Rounds of more requests than this keep only the drivers who could come, not those who could not.
const EXPLAINED_REQUESTS_MAX: usize = 64;
/// Idle drivers near a request who are kept with the gate that stopped them, at most.
const GATED_IDLE_MAX: usize = 16;
/// Drivers near a request who are not idle and are kept, at most.
const GATED_BUSY_MAX: usize = 8;
/// By so much the drivers looked at grow for a request that was left out.
const WIDER: usize = 4;
/// For one request no more drivers are looked at than this, or than its policy's candidates.
const LOOKED_AT_MAX: usize = 256;
/// A round is decided again with more drivers so often at most; who is left out then has the next.
const WIDENINGS_MAX: usize = 8;

/// In rounds of more requests than this nobody makes room for those left out: to look for it would hold
/// everybody up for longer than it takes until the next round.
const ROOM_REQUESTS_MAX: usize = 256;

/// A request as it comes.
pub struct Asker<'a> {
    /// The trip.
    pub trip: TripId,
    /// Where the rider waits.
    pub pickup: Snap,
    /// What would serve them.
    pub products: ProductSet,
    /// Where the rider goes; `None` when nobody knows.
    pub dropoff: Option<Snap>,
    /// How many riders.
    pub seats: u32,
    /// They may share a car of so many seats with another party.
    pub shares: Option<u32>,
    /// How long they have waited, milliseconds.
    pub waited_ms: u32,
    /// Who is not asked (again).
    pub excluded: &'a BTreeSet<DriverId>,
}

/// The fleet at one moment.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The roads and the searches on them.
    pub ground: &'a Ground,
    /// The drivers.
    pub fleet: &'a Fleet,
    /// The moment.
    pub now: DateTime<Utc>,
}

/// A round that was decided, with the keys its drivers have in the fleet.
#[derive(Debug)]
pub struct Plan {
    /// The inputs.
    pub round: Round,
    /// What was decided.
    pub choice: Choice,
    /// By the driver's place in the round.
    pub keys: Vec<DriverKey>,
}

/// A driver whose ride is about to end.
struct Finishing {
    driver: DriverKey,
    trip: TripId,
    at: Snap,
    frees_in_ms: u32,
}

/// A driver who could come, before drivers have places.
#[derive(Clone, Copy)]
struct Candidate {
    driver: DriverKey,
    time_ms: u32,
    frees_in_ms: u32,
    queue_place: u32,
    drive_ms: u32,
    beside: Option<Beside>,
}

impl Candidate {
    /// A driver who is free.
    fn free(driver: DriverKey, time_ms: u32) -> Self {
        Self {
            driver,
            time_ms,
            frees_in_ms: 0,
            queue_place: 0,
            drive_ms: time_ms,
            beside: None,
        }
    }
}

/// Who could come to a request.
struct Candidates {
    those: Vec<Candidate>,
    /// There may be more, farther away.
    has_more: bool,
    /// They queue in the request's zone.
    is_queue: bool,
    /// Those who could come only for some rides, and not for this one.
    stopped: Vec<(DriverKey, Gate)>,
}

impl Scene<'_> {
    /// Puts the round together and decides it. Askers are in the order of their trips.
    pub fn plan(&self, policy: &Policy, askers: &[Asker<'_>]) -> Plan {
        let finishing = self.finishing(policy);
        let mut looks = vec![policy.candidates as usize; askers.len()];
        let look =
            |asker: &Asker<'_>, most: usize| self.candidates(policy, asker, most, &finishing);
        let mut candidates: Vec<Candidates> = askers
            .par_iter()
            .zip(&looks)
            .map(|(asker, &most)| look(asker, most))
            .collect();
        let mut widenings = 0;
        loop {
            let (round, keys) = self.round(policy, askers, &candidates);
            let choice = round.decide(policy);
            let mut left_out = self.wanting(policy, &round, &choice);
            left_out.retain(|&place| candidates[place].has_more && looks[place] < LOOKED_AT_MAX);
            if left_out.is_empty() || widenings == WIDENINGS_MAX {
                return Plan {
                    round,
                    choice,
                    keys,
                };
            }
            widenings += 1;
            left_out.iter().for_each(|&place| looks[place] *= WIDER);
            let wider: Vec<Candidates> = left_out
                .par_iter()
                .map(|&place| look(&askers[place], looks[place]))
                .collect();
            for (place, wider) in left_out.into_iter().zip(wider) {
                candidates[place] = wider;
            }
        }
    }

    /// Requests for which more drivers should be looked at, in their order: those left out, and those who
    /// have a driver that one of them could have, or one that one of these could have, and so on: if any
    /// took somebody else, all would be served. Where the oldest takes the nearest nobody makes room, and
    /// where no driver is free any more nobody can.
    fn wanting(&self, policy: &Policy, round: &Round, choice: &Choice) -> Vec<usize> {
        let is_left_out = |&place: &usize| choice[place].is_none();
        let mut wanting: Vec<usize> = (0..choice.len()).filter(is_left_out).collect();
        let is_room = self.fleet.index().len() > choice.len() - wanting.len();
        if policy.method == Method::Immediate || choice.len() > ROOM_REQUESTS_MAX || !is_room {
            return wanting;
        }
        let mut served = vec![None; round.drivers.len()];
        for number in choice.iter().flatten() {
            let pair = &round.pairs[*number as usize];
            served[pair.driver as usize] = Some(pair.request as usize);
        }
        let mut next = 0;
        while let Some(&place) = wanting.get(next) {
            next += 1;
            let begin = round
                .pairs
                .partition_point(|pair| (pair.request as usize) < place);
            let own = round.pairs[begin..].iter();
            for pair in own.take_while(|pair| pair.request as usize == place) {
                // Taken, so that each is come to once.
                if let Some(other) = served[pair.driver as usize].take() {
                    wanting.push(other);
                }
            }
        }
        wanting.sort_unstable();
        wanting
    }

    /// Drivers with one ride that ends soon enough for the next to be given to them.
    fn finishing(&self, policy: &Policy) -> Vec<Finishing> {
        let ahead_ms = millis(policy.chain_ahead);
        if ahead_ms == 0 {
            return Vec::new();
        }
        let nearest = &self.ground.nearest;
        let near_end = |(driver, state): (DriverKey, &fleet::Driver)| {
            let live = state.standing.only_ride()?;
            let is_aboard = live.leg == Leg::ToDropoff && state.destination.is_none();
            let dropoff = live.party.places?.dropoff.filter(|_| is_aboard)?;
            let fix = state.fix?;
            let least_ms = nearest.travel_ms_min(fix.snap.point, dropoff);
            (u64::from(least_ms) <= ahead_ms).then_some((driver, live.ride.trip, fix.snap, dropoff))
        };
        let near_end: Vec<_> = self.fleet.riding().filter_map(near_end).collect();
        let finishing = near_end
            .into_par_iter()
            .filter_map(|(driver, trip, from, dropoff)| {
                let at = self.ground.snap(dropoff).ok()?;
                let frees_in_ms = nearest.travel(&from, &at)?.duration_ms;
                (u64::from(frees_in_ms) <= ahead_ms).then_some(Finishing {
                    driver,
                    trip,
                    at,
                    frees_in_ms,
                })
            });
        finishing.collect()
    }

    /// Who could come to a request: the nearest `most` of those who are free, and who soon will be.
    fn candidates(
        &self,
        policy: &Policy,
        asker: &Asker<'_>,
        most: usize,
        finishing: &[Finishing],
    ) -> Candidates {
        let reach_ms = policy.reach_ms(asker.waited_ms);
        if let Some(zone) = self.ground.zones.at(asker.pickup.point)
            && let Some(queue) = self.queued(zone, asker, most, reach_ms)
        {
            return queue;
        }
        let query = Query {
            target: asker.pickup,
            products: asker.products,
            count: most,
            within_ms: reach_ms,
            excludes: &|driver| asker.excluded.contains(driver),
        };
        let nearest = &self.ground.nearest;
        let found = nearest.find(self.fleet.index(), self.fleet.ids(), &query);
        let mut candidates = Candidates {
            has_more: found.len() == most,
            those: Vec::new(),
            is_queue: false,
            stopped: Vec::new(),
        };
        let free = |&Found { driver, time_ms }: &Found| Candidate::free(driver, time_ms);
        candidates.those.extend(found.iter().map(free));
        self.add_homebound(asker, reach_ms, &mut candidates);
        self.add_sharing(asker, reach_ms, &mut candidates);
        self.add_finishing(asker, reach_ms, finishing, &mut candidates);
        candidates
    }

    /// Adds those whose ride is about to end.
    fn add_finishing(
        &self,
        asker: &Asker<'_>,
        reach_ms: u32,
        finishing: &[Finishing],
        candidates: &mut Candidates,
    ) {
        let nearest = &self.ground.nearest;
        let shared: BTreeSet<DriverKey> = candidates
            .those
            .iter()
            .filter(|candidate| candidate.beside.is_some())
            .map(|candidate| candidate.driver)
            .collect();
        let soon = |finishing: &&Finishing| {
            let (from, to) = (finishing.at.point, asker.pickup.point);
            self.may_serve(finishing.driver, asker)
                && !shared.contains(&finishing.driver)
                && nearest.travel_ms_min(from, to) <= reach_ms
        };
        let soon: Vec<&Finishing> = finishing.iter().filter(soon).collect();
        if soon.is_empty() {
            return;
        }
        let places: Vec<Snap> = soon.iter().map(|finishing| finishing.at).collect();
        let times = nearest.times_to(&asker.pickup, &places);
        let those = soon.iter().zip(times).filter_map(|(finishing, drive_ms)| {
            let drive_ms = drive_ms?;
            let time_ms = finishing.frees_in_ms.saturating_add(drive_ms);
            (time_ms <= reach_ms).then_some(Candidate {
                frees_in_ms: finishing.frees_in_ms,
                drive_ms,
                beside: Some(Beside {
                    trip: finishing.trip,
                    shared: false,
                    order: StopOrder::default(),
                }),
                ..Candidate::free(finishing.driver, time_ms)
            })
        });
        candidates.those.extend(those);
    }

    /// Adds those who have a party in the car, or on their way, that this one can join.
    fn add_sharing(&self, asker: &Asker<'_>, reach_ms: u32, candidates: &mut Candidates) {
        let (Some(seats_max), Some(dropoff)) = (asker.shares, asker.dropoff) else {
            return;
        };
        let nearest = &self.ground.nearest;
        let near = |(driver, state): (DriverKey, &fleet::Driver)| {
            let live = state.standing.only_ride()?;
            let may =
                live.party.shares && state.destination.is_none() && self.may_serve(driver, asker);
            let fix = state.fix.filter(|_| may)?;
            let least_ms = nearest.travel_ms_min(fix.snap.point, asker.pickup.point);
            (least_ms <= reach_ms).then_some((least_ms, driver, *live, fix.snap))
        };
        let mut cars: Vec<_> = self.fleet.riding().filter_map(near).collect();
        cars.sort_unstable_by_key(|&(least_ms, driver, ..)| (least_ms, self.fleet.id(driver)));
        cars.truncate(self.ground.config.sharing.cars_max);
        for (_, driver, live, car) in cars {
            let Some(time_ms) = self.times_between(&live, car, asker.pickup, dropoff) else {
                continue;
            };
            let aboard = live
                .party
                .boarded_at
                .filter(|_| live.leg == Leg::ToDropoff)
                .map(|at| (self.now - at).num_milliseconds().max(0));
            let first = FirstParty {
                seats: live.party.seats,
                aboard_ms: aboard.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)),
            };
            let second = SecondParty {
                seats: asker.seats,
                reach_ms,
            };
            let rules = &self.ground.config.sharing;
            match sharing::insert(first, second, seats_max, rules, time_ms) {
                Ok(insertion) => candidates.those.push(Candidate {
                    drive_ms: insertion.extra_ms,
                    beside: Some(Beside {
                        trip: live.ride.trip,
                        shared: true,
                        order: insertion.order,
                    }),
                    ..Candidate::free(driver, insertion.pickup_ms)
                }),
                Err(gate) => candidates.stopped.push((driver, gate)),
            }
        }
    }

    /// Driving times between a car and the stops of its party and another; `None` when nobody knows
    /// where its party goes.
    fn times_between(
        &self,
        live: &Live,
        car: Snap,
        pickup: Snap,
        dropoff: Snap,
    ) -> Option<impl Fn(At, At) -> Option<u32>> {
        use StopKind::{Dropoff, Pickup};
        let places = live.party.places?;
        let first_in = self.ground.snap(places.pickup).ok()?;
        let first_out = self.ground.snap(places.dropoff?).ok()?;
        let stops = [
            (At::Car, car),
            (At::First(Pickup), first_in),
            (At::First(Dropoff), first_out),
            (At::Second(Pickup), pickup),
            (At::Second(Dropoff), dropoff),
        ];
        let from: Vec<Snap> = stops.iter().map(|&(_, snap)| snap).collect();
        let columns: Vec<Vec<Option<u32>>> = from
            .iter()
            .skip(1)
            .map(|to| self.ground.nearest.times_to(to, &from))
            .collect();
        let place = move |at: At| stops.iter().position(|&(own, _)| own == at);
        Some(move |from: At, to: At| columns[place(to)?.checked_sub(1)?][place(from)?])
    }

    /// Adds those who are free for rides to where they want to get.
    fn add_homebound(&self, asker: &Asker<'_>, reach_ms: u32, candidates: &mut Candidates) {
        let nearest = &self.ground.nearest;
        let detour_ms = millis(self.ground.config.destination_detour_max);
        for (driver, state) in self.fleet.homebound() {
            let (Some(fix), Some(home)) = (state.fix, state.destination) else {
                continue;
            };
            let is_near = nearest.travel_ms_min(fix.snap.point, asker.pickup.point) <= reach_ms;
            if !is_near || !self.may_serve(driver, asker) {
                continue;
            }
            let way = || {
                let (dropoff, home) = (asker.dropoff?, self.ground.snap(home).ok()?);
                let to_pickup = nearest.travel(&fix.snap, &asker.pickup)?.duration_ms;
                let ride = nearest.travel(&asker.pickup, &dropoff)?.duration_ms;
                let from = [fix.snap, asker.pickup, dropoff];
                let times = nearest.times_to(&home, &from);
                let (straight, before, after) = (times[0]?, times[1]?, times[2]?);
                let with = u64::from(to_pickup) + u64::from(ride) + u64::from(after);
                let leads_there = after < before && with <= u64::from(straight) + detour_ms;
                (to_pickup <= reach_ms && leads_there).then_some(to_pickup)
            };
            match way() {
                Some(time_ms) => candidates.those.push(Candidate::free(driver, time_ms)),
                None => candidates.stopped.push((driver, Gate::GoingHome)),
            }
        }
    }

    /// Whether a driver serves what is asked for, and was not asked before.
    fn may_serve(&self, driver: DriverKey, asker: &Asker<'_>) -> bool {
        let products = self.fleet.driver(driver).products;
        products.meets(asker.products) && !asker.excluded.contains(self.fleet.id(driver))
    }

    /// The first of those who queue in a zone and could come; `None` when nobody could.
    fn queued(
        &self,
        zone: ZoneNo,
        asker: &Asker<'_>,
        most: usize,
        reach_ms: u32,
    ) -> Option<Candidates> {
        let queuing = self.fleet.iter().filter_map(|(driver, state)| {
            let (own, since) = state.queue?;
            let could = own == zone && state.is_open() && self.may_serve(driver, asker);
            could.then_some((since, self.fleet.id(driver), driver, state.fix?.snap))
        });
        let mut queue: Vec<_> = queuing.collect();
        queue.sort_unstable_by_key(|&(since, id, ..)| (since, id));
        let has_more = queue.len() > most;
        queue.truncate(most);
        let places: Vec<Snap> = queue.iter().map(|&(.., snap)| snap).collect();
        let times = self.ground.nearest.times_to(&asker.pickup, &places);
        let those: Vec<Candidate> = (1..)
            .zip(queue.iter().zip(times))
            .filter_map(|(queue_place, (&(_, _, driver, _), time_ms))| {
                let time_ms = time_ms.filter(|&time_ms| time_ms <= reach_ms)?;
                Some(Candidate {
                    queue_place,
                    ..Candidate::free(driver, time_ms)
                })
            })
            .collect();
        (!those.is_empty()).then_some(Candidates {
            those,
            has_more,
            is_queue: true,
            stopped: Vec::new(),
        })
    }

    /// The round's inputs in their order, and the drivers' keys.
    fn round(
        &self,
        policy: &Policy,
        askers: &[Asker<'_>],
        candidates: &[Candidates],
    ) -> (Round, Vec<DriverKey>) {
        let mut gated = Vec::new();
        if askers.len() <= EXPLAINED_REQUESTS_MAX {
            for (request, (asker, candidates)) in (0..).zip(askers.iter().zip(candidates)) {
                let stopped = self.gated(asker, candidates);
                gated.extend(stopped.into_iter().map(|(key, gate)| (request, key, gate)));
            }
        }
        let could = candidates.iter().flat_map(|candidates| &candidates.those);
        let looked_at = could.map(|candidate| candidate.driver).chain(
            gated
                .iter()
                .map(|&(_, key, _): &(u32, DriverKey, Gate)| key),
        );
        let by_id: BTreeMap<&DriverId, DriverKey> =
            looked_at.map(|key| (self.fleet.id(key), key)).collect();
        let keys: Vec<DriverKey> = by_id.into_values().collect();
        let places: BTreeMap<DriverKey, u32> = keys.iter().copied().zip(0..).collect();
        let mut pairs = Vec::new();
        for (request, candidates) in (0..).zip(candidates) {
            pairs.extend(candidates.those.iter().map(|candidate| Pair {
                request,
                driver: places[&candidate.driver],
                time_ms: candidate.time_ms,
                frees_in_ms: candidate.frees_in_ms,
                queue_place: candidate.queue_place,
                drive_ms: candidate.drive_ms,
                beside: candidate.beside,
            }));
        }
        pairs.sort_unstable();
        let gated = gated.into_iter().map(|(request, key, gate)| Gated {
            request,
            driver: places[&key],
            gate,
        });
        let mut gated: Vec<Gated> = gated.collect();
        gated.sort_unstable();
        let requests = askers
            .iter()
            .zip(candidates)
            .map(|(asker, candidates)| Request {
                trip: asker.trip,
                waited_ms: asker.waited_ms,
                reach_ms: policy.reach_ms(asker.waited_ms),
                has_more: candidates.has_more,
            });
        let drivers = keys.iter().map(|&key| Driver {
            id: self.fleet.id(key).clone(),
            idle_ms: self.fleet.driver(key).idle_ms(self.now),
        });
        let round = Round {
            requests: requests.collect(),
            drivers: drivers.collect(),
            pairs,
            gated,
        };
        (round, keys)
    }

    /// Drivers near a request who could not come, and why.
    fn gated(&self, asker: &Asker<'_>, candidates: &Candidates) -> Vec<(DriverKey, Gate)> {
        let known = candidates.those.iter().map(|those| those.driver);
        let stopped = candidates.stopped.iter().take(GATED_BUSY_MAX);
        let known: BTreeSet<DriverKey> = known
            .chain(stopped.clone().map(|&(driver, _)| driver))
            .collect();
        let declined = asker.excluded.iter().filter_map(|id| self.fleet.key(id));
        let mut gated: Vec<(DriverKey, Gate)> =
            declined.map(|driver| (driver, Gate::Declined)).collect();
        gated.extend(stopped);
        let here = asker.pickup.point;
        let cells = self.fleet.index().cells_from(here);
        let near = cells.flat_map(|(_, drivers)| drivers.iter().copied());
        let is_new = |driver: &DriverKey| {
            !known.contains(driver) && !asker.excluded.contains(self.fleet.id(*driver))
        };
        let idle = near.filter(is_new).take(GATED_IDLE_MAX);
        let idle = idle.map(|driver| {
            let gate = if !self.fleet.driver(driver).products.meets(asker.products) {
                Gate::Product
            } else if candidates.is_queue {
                Gate::Queue
            } else if candidates.has_more {
                Gate::NotNearest
            } else {
                Gate::OutOfReach
            };
            (driver, gate)
        });
        gated.extend(idle);
        let busy = self.fleet.iter().filter_map(|(driver, state)| {
            let fix = state.fix.filter(|_| state.standing.on_shift)?;
            let gate = if !state.standing.rides().is_empty() {
                Gate::OnTrip
            } else if state.standing.hold().is_some() {
                Gate::SetAside
            } else {
                return None;
            };
            is_new(&driver).then(|| (nearness(here, fix.place), driver, gate))
        });
        let mut busy: Vec<(u64, DriverKey, Gate)> = busy.collect();
        let kept = GATED_BUSY_MAX.min(busy.len());
        if kept > 0 {
            busy.select_nth_unstable(kept - 1);
        }
        let busy = busy.into_iter().take(kept);
        gated.extend(busy.map(|(_, driver, gate)| (driver, gate)));
        gated
    }
}

/// Orders places by their distance from one; near enough to choose whom to show.
fn nearness(from: LatLon, to: LatLon) -> u64 {
    let north = to.lat() - from.lat();
    let east = (to.lon() - from.lon()) * from.lat().to_radians().cos();
    ((north * north + east * east) * 1e14) as u64
}
