//! Putting a round together: who asks, and from the living fleet who could come.
//!
//! Of the eligible drivers only the nearest few of each request are considered. Where requests take
//! those from each other, more are looked at for the ones left over, within limits, so that hardly
//! anybody is left out for want of looking.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use jitney_proto::ids::{DriverId, TripId};
use jitney_roads::{LatLon, Snap};
use rayon::prelude::*;

use super::{Choice, Driver, Gate, Gated, Pair, Request, Round};
use crate::{
    dispatch::Ground,
    fleet::{DriverKey, Fleet},
    nearest::{Found, Query},
    policy::{Policy, millis},
    product::ProductSet,
    standing::Doing,
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

/// A request as it comes.
pub struct Asker<'a> {
    /// The trip.
    pub trip: TripId,
    /// Where the rider waits.
    pub pickup: Snap,
    /// What would serve them.
    pub products: ProductSet,
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
}

/// Who could come to a request.
struct Candidates {
    those: Vec<Candidate>,
    /// There may be more, farther away.
    has_more: bool,
    /// They queue in the request's zone.
    is_queue: bool,
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
            let is_left_out = |&place: &usize| {
                let may_look = candidates[place].has_more && looks[place] < LOOKED_AT_MAX;
                may_look && choice[place].is_none()
            };
            let left_out: Vec<usize> = (0..askers.len()).filter(is_left_out).collect();
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

    /// Drivers whose ride ends soon enough to be waited for.
    fn finishing(&self, policy: &Policy) -> Vec<Finishing> {
        let ahead_ms = millis(policy.chain_ahead);
        if ahead_ms == 0 {
            return Vec::new();
        }
        let finishing = self.fleet.iter().filter_map(|(driver, state)| {
            if !state.standing.on_shift || !matches!(state.standing.doing, Doing::OnTrip(_)) {
                return None;
            }
            let at = self.ground.snap(state.places?.dropoff?).ok()?;
            let to_dropoff = self.ground.nearest.travel(&state.fix?.snap, &at)?;
            let frees_in_ms = to_dropoff.duration_ms;
            (u64::from(frees_in_ms) <= ahead_ms).then_some(Finishing {
                driver,
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
        let has_more = found.len() == most;
        let free = found.iter().map(|&Found { driver, time_ms }| Candidate {
            driver,
            time_ms,
            frees_in_ms: 0,
            queue_place: 0,
        });
        let mut those: Vec<Candidate> = free.collect();
        let soon = |finishing: &&Finishing| {
            let driver = self.fleet.driver(finishing.driver);
            let (from, to) = (finishing.at.point, asker.pickup.point);
            driver.products.meets(asker.products)
                && !asker.excluded.contains(self.fleet.id(finishing.driver))
                && nearest.travel_ms_min(from, to) <= reach_ms
        };
        let soon: Vec<&Finishing> = finishing.iter().filter(soon).collect();
        if !soon.is_empty() {
            let places: Vec<Snap> = soon.iter().map(|finishing| finishing.at).collect();
            let times = nearest.times_to(&asker.pickup, &places);
            those.extend(soon.iter().zip(times).filter_map(|(finishing, drive_ms)| {
                let time_ms = finishing.frees_in_ms.saturating_add(drive_ms?);
                (time_ms <= reach_ms).then_some(Candidate {
                    driver: finishing.driver,
                    time_ms,
                    frees_in_ms: finishing.frees_in_ms,
                    queue_place: 0,
                })
            }));
        }
        Candidates {
            those,
            has_more,
            is_queue: false,
        }
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
            let id = self.fleet.id(driver);
            let could = own == zone
                && state.standing.is_idle()
                && state.products.meets(asker.products)
                && !asker.excluded.contains(id);
            could.then_some((since, id, driver, state.fix?.snap))
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
                    driver,
                    time_ms,
                    frees_in_ms: 0,
                    queue_place,
                })
            })
            .collect();
        (!those.is_empty()).then_some(Candidates {
            those,
            has_more,
            is_queue: true,
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
        let could: BTreeSet<DriverKey> =
            candidates.those.iter().map(|those| those.driver).collect();
        let declined = asker.excluded.iter().filter_map(|id| self.fleet.key(id));
        let mut gated: Vec<(DriverKey, Gate)> =
            declined.map(|driver| (driver, Gate::Declined)).collect();
        let here = asker.pickup.point;
        let cells = self.fleet.index().cells_from(here);
        let near = cells.flat_map(|(_, drivers)| drivers.iter().copied());
        let is_new = |driver: &DriverKey| {
            !could.contains(driver) && !asker.excluded.contains(self.fleet.id(*driver))
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
            let gate = match state.standing.doing {
                Doing::EnRoute(_) | Doing::OnTrip(_) => Gate::OnTrip,
                Doing::Held(_) => Gate::SetAside,
                Doing::Nothing => return None,
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
