//! Two parties in one car: where in a driver's stops a second party fits, and whether either would be
//! asked too much. Pure: travel times come in, the best order of stops comes out.
//!
//! Of all orders in which both parties are in the car for a while, the one with the least driving is
//! taken, among those within the bounds:
//!
//! - the riders who are in the car at any time have seats;
//! - neither party is under way longer than alone by more than the allowed detour, counted from when
//!   they got in;
//! - the first party's pick-up is not delayed by more than is allowed;
//! - the second party is picked up within its reach.
//!
//! With two parties there are at most four such orders, so all are tried (the general problem is the
//! dial-a-ride problem with ride-time limits, see Cordeau and Laporte, *The dial-a-ride problem: models
//! and algorithms*, 2007).

use jitney_proto::matching::v1::StopKind;

use crate::{config::SharingConfig, policy::millis, rides::StopOrder, round::Gate};

/// The party in the car, or on the car's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstParty {
    /// How many.
    pub seats: u32,
    /// How long they have been in the car, milliseconds; `None` while they wait for it.
    pub aboard_ms: Option<u32>,
}

/// The party that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondParty {
    /// How many.
    pub seats: u32,
    /// How soon they must be picked up, milliseconds.
    pub reach_ms: u32,
}

/// A place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// Where the car is.
    Car,
    /// A stop of the first party's.
    First(StopKind),
    /// A stop of the second party's.
    Second(StopKind),
}

/// How a second party fits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Insertion {
    /// All driving from now on, milliseconds.
    pub total_ms: u32,
    /// Until the second party is picked up, milliseconds.
    pub pickup_ms: u32,
    /// The order of the stops.
    pub order: StopOrder,
    /// By how much the driving grows beyond what the second party's own way takes, milliseconds.
    pub extra_ms: u32,
}

/// The orders in which both parties are in the car for a while.
const ORDERS: [StopOrder; 4] = [
    StopOrder::ABab,
    StopOrder::ABba,
    StopOrder::BAba,
    StopOrder::BAab,
];

/// Finds the best order of stops. `time_ms` is the driving time from one place to another, `None` where
/// there is no way.
///
/// # Errors
/// The gate that stops the car: no seats, too far away, or too long a detour for either party.
pub fn insert(
    first: FirstParty,
    second: SecondParty,
    seats_max: u32,
    rules: &SharingConfig,
    time_ms: impl Fn(At, At) -> Option<u32>,
) -> Result<Insertion, Gate> {
    let attempt = Attempt {
        first,
        second,
        seats_max,
        rules,
        time_ms,
    };
    let is_aboard = first.aboard_ms.is_some();
    let begins = |order: &&StopOrder| !is_aboard || !order.stops()[0].0;
    let mut best: Result<Insertion, Gate> = Err(Gate::Seats);
    for &order in ORDERS.iter().filter(begins) {
        best = match (best, attempt.drive(order)) {
            (Ok(best), Ok(other)) => Ok(best.min(other)),
            (Err(_), Ok(found)) | (Ok(found), Err(_)) => Ok(found),
            // The gate that was come to last.
            (Err(one), Err(other)) => Err(if depth(other) > depth(one) {
                other
            } else {
                one
            }),
        };
    }
    best
}

fn depth(gate: Gate) -> u8 {
    match gate {
        Gate::Seats => 0,
        Gate::OutOfReach => 1,
        _ => 2,
    }
}

struct Attempt<'a, T> {
    first: FirstParty,
    second: SecondParty,
    seats_max: u32,
    rules: &'a SharingConfig,
    time_ms: T,
}

impl<T: Fn(At, At) -> Option<u32>> Attempt<'_, T> {
    fn time(&self, from: At, to: At) -> Result<u32, Gate> {
        (self.time_ms)(from, to).ok_or(Gate::OutOfReach)
    }

    /// How long a party may be under way that needs so long alone.
    fn allowed_ms(&self, alone_ms: u32) -> u64 {
        let share = u64::from(alone_ms) * u64::from(self.rules.detour_percent) / 100;
        u64::from(alone_ms) + share.max(millis(self.rules.detour_min))
    }

    fn drive(&self, order: StopOrder) -> Result<Insertion, Gate> {
        use StopKind::{Dropoff, Pickup};
        let is_aboard = self.first.aboard_ms.is_some();
        let (mut at, mut clock_ms) = (At::Car, 0u32);
        let mut load = if is_aboard { self.first.seats } else { 0 };
        // When each party gets in and out: first, then second.
        let (mut in_ms, mut out_ms) = ([0u32; 2], [0u32; 2]);
        for (is_second, kind) in order.stops() {
            if is_aboard && (is_second, kind) == (false, Pickup) {
                continue;
            }
            let (stop, seats) = if is_second {
                (At::Second(kind), self.second.seats)
            } else {
                (At::First(kind), self.first.seats)
            };
            if kind == Pickup {
                load = load.saturating_add(seats);
                if load > self.seats_max {
                    return Err(Gate::Seats);
                }
            } else {
                load = load.saturating_sub(seats);
            }
            clock_ms = clock_ms.saturating_add(self.time(at, stop)?);
            at = stop;
            let moment = if kind == Pickup {
                &mut in_ms
            } else {
                &mut out_ms
            };
            moment[usize::from(is_second)] = clock_ms;
        }
        let pickup_ms = in_ms[1];
        if pickup_ms > self.second.reach_ms {
            return Err(Gate::OutOfReach);
        }
        let (first_in, first_out) = (At::First(Pickup), At::First(Dropoff));
        let without_ms = match self.first.aboard_ms {
            Some(aboard_ms) => {
                let without_ms = self.time(At::Car, first_out)?;
                let alone_ms = self.time(first_in, first_out)?;
                let under_way = u64::from(aboard_ms) + u64::from(out_ms[0]);
                // Whoever is late already is not made later.
                if out_ms[0] > without_ms && under_way > self.allowed_ms(alone_ms) {
                    return Err(Gate::Detour);
                }
                without_ms
            }
            None => {
                let to_pickup_ms = self.time(At::Car, first_in)?;
                let alone_ms = self.time(first_in, first_out)?;
                let delay_ms = u64::from(in_ms[0].saturating_sub(to_pickup_ms));
                let under_way = u64::from(out_ms[0] - in_ms[0]);
                if delay_ms > millis(self.rules.pickup_delay_max)
                    || under_way > self.allowed_ms(alone_ms)
                {
                    return Err(Gate::Detour);
                }
                to_pickup_ms.saturating_add(alone_ms)
            }
        };
        let own_ms = self.time(At::Second(Pickup), At::Second(Dropoff))?;
        if u64::from(out_ms[1] - in_ms[1]) > self.allowed_ms(own_ms) {
            return Err(Gate::Detour);
        }
        Ok(Insertion {
            total_ms: clock_ms,
            pickup_ms,
            order,
            extra_ms: clock_ms.saturating_sub(without_ms).saturating_sub(own_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use StopKind::Pickup;

    use super::*;

    /// Places on a street, in seconds of driving; it is driven both ways.
    struct Street {
        car: u32,
        first: [u32; 2],
        second: [u32; 2],
    }

    impl Street {
        fn insert(&self, first: FirstParty, seats: u32) -> Result<Insertion, Gate> {
            let second = SecondParty {
                seats,
                reach_ms: 600_000,
            };
            let place = |at| match at {
                At::Car => self.car,
                At::First(Pickup) => self.first[0],
                At::First(_) => self.first[1],
                At::Second(Pickup) => self.second[0],
                At::Second(_) => self.second[1],
            };
            let time = |from, to| Some(place(from).abs_diff(place(to)) * 1000);
            insert(first, second, 4, &SharingConfig::default(), time)
        }
    }

    const ABOARD: FirstParty = FirstParty {
        seats: 1,
        aboard_ms: Some(0),
    };
    const WAITING: FirstParty = FirstParty {
        seats: 1,
        aboard_ms: None,
    };

    #[test]
    fn whoever_is_on_the_way_costs_nothing() {
        let street = Street {
            car: 0,
            first: [0, 1000],
            second: [300, 700],
        };
        let found = street.insert(ABOARD, 1).unwrap();
        assert_eq!(found.order, StopOrder::ABba);
        assert_eq!(
            (found.total_ms, found.pickup_ms, found.extra_ms),
            (1_000_000, 300_000, 0)
        );
        let beyond = Street {
            second: [300, 1200],
            ..street
        };
        assert_eq!(beyond.insert(ABOARD, 1).unwrap().order, StopOrder::ABab);
        let before = Street {
            first: [400, 1000],
            second: [100, 1000],
            ..street
        };
        let found = before.insert(WAITING, 1).unwrap();
        assert_eq!(found.order, StopOrder::BAba);
        assert_eq!((found.pickup_ms, found.extra_ms), (100_000, 0));
    }

    #[test]
    fn nobody_is_driven_about_for_too_long() {
        // 1,000 s alone may become 1,400 s: 200 s there and back may be, 201 s may not.
        let street = |aside: u32| Street {
            car: 500,
            first: [0, 1500],
            second: [500 - aside, 1500],
        };
        let aboard = |aboard_ms| FirstParty {
            aboard_ms: Some(aboard_ms),
            ..ABOARD
        };
        let found = street(299).insert(aboard(500_000), 1).unwrap();
        assert_eq!(
            (found.total_ms, found.extra_ms),
            (1_598_000, 0),
            "two cars would drive more"
        );
        assert_eq!(street(301).insert(aboard(500_000), 1), Err(Gate::Detour));
        assert_eq!(
            street(299).insert(aboard(505_000), 1),
            Err(Gate::Detour),
            "late already"
        );
        let on_the_way = Street {
            second: [600, 1400],
            ..street(0)
        };
        assert!(
            on_the_way.insert(aboard(2_000_000), 1).is_ok(),
            "not made later"
        );
    }

    #[test]
    fn the_second_party_is_not_driven_about_either() {
        // Alone it needs 100 s, and 180 s more may be: the first party's stop beyond must be near.
        let street = |beyond: u32| Street {
            car: 0,
            first: [0, 100 + beyond],
            second: [50, 0],
        };
        let found = street(30).insert(ABOARD, 1).unwrap();
        assert_eq!(found.order, StopOrder::ABba, "out first is shorter");
        let aboard = FirstParty {
            aboard_ms: Some(3_000_000),
            ..ABOARD
        };
        // The first party may not be made later: out before the second, who would go far beyond.
        assert_eq!(street(30).insert(aboard, 1).unwrap().order, StopOrder::ABab);
        assert_eq!(street(130).insert(aboard, 1), Err(Gate::Detour));
    }

    #[test]
    fn a_pickup_is_not_delayed_for_long() {
        let street = |second: u32| Street {
            car: 100,
            first: [200, 1200],
            second: [second, 1200],
        };
        // 100 s the other way first delay the first party by 200 s.
        let towards = street(0);
        assert_eq!(towards.insert(WAITING, 1).unwrap().order, StopOrder::BAba);
        let away = Street {
            car: 150,
            first: [200, 500],
            second: [0, 500],
        };
        // 300 s of delay are too many; afterwards it would be a detour of 400 s for a ride of 300 s.
        assert_eq!(away.insert(WAITING, 1), Err(Gate::Detour));
    }

    #[test]
    fn seats_are_counted_at_every_moment() {
        let street = Street {
            car: 0,
            first: [0, 1000],
            second: [300, 700],
        };
        let three = FirstParty { seats: 3, ..ABOARD };
        assert!(street.insert(three, 1).is_ok());
        assert_eq!(street.insert(three, 2), Err(Gate::Seats));
    }

    #[test]
    fn too_far_is_out_of_reach() {
        let far = Street {
            car: 0,
            first: [0, 1000],
            second: [700, 900],
        };
        assert_eq!(far.insert(ABOARD, 1), Err(Gate::OutOfReach));
        let nowhere = insert(
            ABOARD,
            SecondParty {
                seats: 1,
                reach_ms: u32::MAX,
            },
            4,
            &SharingConfig::default(),
            |_, _| None,
        );
        assert_eq!(nowhere, Err(Gate::OutOfReach));
    }
}
