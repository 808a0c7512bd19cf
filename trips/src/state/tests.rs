//! Trips in every state, and the command of every kind that fits them.

use chrono::{DateTime, TimeDelta};
use jitney_proto::{
    ids::{OfferId, TripId},
    money::Money,
    trips::v1::TripEventKind,
};
use rand::SeedableRng;
use uuid::Uuid;

use super::*;
use crate::{
    command::{
        accept::Accept,
        arrive::Arrive,
        cancel::{CallOff, Cancel, GiveBack},
        complete::Complete,
        decline::Decline,
        edit::EditDestination,
        expire::Expire,
        no_show::NoShow,
        offer,
        release::Release,
        request::{self, Request},
        start::Start,
        stop::ArriveAtStop,
    },
    trip::{Actor, AssignedDriver, Fees, OfferState, PaymentState, Place, Tariff},
};

mod conditions;
mod table;

pub(crate) fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn anna() -> DriverId {
    "anna".parse().unwrap()
}

fn offer_id() -> OfferId {
    OfferId(Uuid::from_u128(7))
}

fn context() -> Context {
    Context {
        now: at(100),
        named_offer: None,
        gave_back: false,
        has_earlier_ride: false,
        limits: Limits {
            pin_tries_max: 3,
            search_timeout: TimeDelta::seconds(60),
            no_show_after: TimeDelta::seconds(60),
            cancellation: CancellationRules {
                free_for: TimeDelta::seconds(30),
                late_by: TimeDelta::seconds(20),
                free_beyond_m: 900,
            },
        },
    }
}

fn requested() -> Trip {
    let place = Place {
        latitude: 41.15,
        longitude: -8.61,
    };
    let request = Request {
        traceparent: None,
        trip_id: TripId(Uuid::from_u128(1)),
        rider_id: "rita".parse().unwrap(),
        product: "economy".parse().unwrap(),
        pickup: place,
        stops: vec![place],
        dropoff: place,
        seats: 2,
        fare: Money::new(890, "EUR".parse().unwrap()),
        tariff: None,
        fees: Fees {
            cancellation_minor: 400,
            no_show_minor: 600,
        },
        distance_m: 4000,
        duration_ms: 600_000,
        reservation_id: None,
        booking: None,
        payment_method: jitney_proto::billing::v1::PaymentMethod::Card,
        by: By::rider(&"rita".parse().unwrap()),
    };
    let context = Context {
        now: at(0),
        ..context()
    };
    request::apply(
        &request,
        &context,
        &mut rand_chacha::ChaCha8Rng::seed_from_u64(1),
    )
    .trip
}

fn offer_in(state: OfferState) -> Offer {
    Offer {
        offer_id: offer_id(),
        driver_id: anna(),
        expires_at: at(120),
        state,
        beside: None,
        pickup_duration_ms: Some(50_000),
    }
}

/// A trip in a state, as it would have come there.
pub(crate) fn trip_in(state: State) -> Trip {
    let mut trip = Trip {
        state,
        version: 5,
        ..requested()
    };
    if state == State::Offered {
        trip.offer = Some(offer_in(OfferState::Pending));
    }
    let is_taken = state.has_claim() || matches!(state, State::Completed | State::NoShow);
    if is_taken {
        trip.offer = Some(offer_in(OfferState::Accepted));
        trip.driver = Some(AssignedDriver {
            driver_id: anna(),
            plate: "AA-11-BB".into(),
            vehicle: "white Corolla".into(),
        });
        trip.assigned_at = Some(at(20));
    }
    if is_taken && state != State::Assigned {
        trip.arrived_at = Some(at(30));
    }
    if matches!(state, State::InProgress | State::Completed) {
        trip.started_at = Some(at(40));
    }
    if state == State::Completed {
        trip.stops[0].arrived_at = Some(at(45));
    }
    if state.is_end() {
        trip.ended_at = Some(at(50));
        trip.end_reason = "over".into();
    }
    if state == State::Cancelled {
        trip.cancelled_by = Some(Actor::Rider);
    }
    trip
}

/// The command, as it would have to be to be carried out (or, where that cannot be, repeated) on a
/// trip: the right driver, offer, PIN and search.
fn command_for(kind: Kind, trip: &Trip) -> (Command, Context) {
    let offer = trip.offer.clone();
    let mut context = Context {
        named_offer: offer,
        ..context()
    };
    let driver_id = anna();
    let reason = String::new();
    let command = match kind {
        Kind::Offer => {
            let make = offer::Make {
                offer_id: offer_id(),
                driver_id,
                expires_at: at(120),
                beside: None,
                pickup_duration_ms: Some(50_000),
                dropoff: trip.dropoff,
                fare: trip.fare,
            };
            Command::Offer(make)
        }
        Kind::EndOffer => Command::EndOffer(offer::End {
            offer_id: offer_id(),
            how: OfferState::Expired,
        }),
        Kind::Accept => {
            let driver = AssignedDriver {
                driver_id,
                plate: "P".into(),
                vehicle: "V".into(),
            };
            // An offer that is not the trip's own any more was declined.
            context
                .named_offer
                .get_or_insert_with(|| offer_in(OfferState::Declined));
            Command::Accept(Accept {
                offer_id: offer_id(),
                driver,
            })
        }
        Kind::Decline => {
            let taken = trip
                .offer
                .as_ref()
                .is_some_and(|o| o.state == OfferState::Accepted);
            // What the accepting driver declines is another, earlier offer of theirs.
            let earlier = OfferId(Uuid::from_u128(6));
            let offer_id = if taken { earlier } else { offer_id() };
            if trip.state != State::Offered {
                context.named_offer = Some(Offer {
                    offer_id,
                    ..offer_in(OfferState::Declined)
                });
            }
            Command::Decline(Decline {
                offer_id,
                driver_id,
                reason,
            })
        }
        Kind::Arrive => Command::Arrive(Arrive { driver_id }),
        Kind::Start => Command::Start(Start {
            driver_id,
            pin: trip.pin.clone(),
        }),
        Kind::Complete => Command::Complete(Complete { driver_id }),
        Kind::Cancel => Command::Cancel(Cancel {
            reason,
            max_fee: None,
            driver_distance_m: None,
        }),
        Kind::GiveBack => {
            context.gave_back = trip.driver.is_none();
            Command::GiveBack(GiveBack { driver_id, reason })
        }
        Kind::CallOff => {
            let by = By {
                actor: Actor::Operator,
                id: "olga".into(),
            };
            Command::CallOff(CallOff { by, reason })
        }
        Kind::Expire => Command::Expire(Expire {
            search_until: trip.search_until,
            detail: String::new(),
        }),
        Kind::NoShow => Command::NoShow(NoShow {
            by: By::driver(&driver_id),
            driver_id,
        }),
        Kind::Release => Command::Release(Release {
            fare_quote_id: trip
                .booking
                .as_ref()
                .map(|booking| booking.fare_quote_id.clone())
                .unwrap_or_default(),
        }),
        Kind::EditDestination => Command::EditDestination(EditDestination {
            by: By::rider(&trip.rider_id),
            version: trip.version,
            stops: Vec::new(),
            dropoff: trip.pickup,
            distance_m: 9_000,
            duration_ms: 900_000,
            fare: Money::new(1_500, "EUR".parse().unwrap()),
            fees: Fees::default(),
            tariff: Tariff {
                version: "1".into(),
                surge_percent: 100,
            },
            quote_id: "q".into(),
        }),
        Kind::ArriveAtStop => Command::ArriveAtStop(ArriveAtStop { driver_id, stop: 0 }),
    };
    (command, context)
}

fn carried_out(trip: &Trip, command: &Command, context: &Context) -> Box<Change> {
    match apply(trip, command, context) {
        Ok(Transition::Changed(change)) => change,
        other => panic!("{command:?} on {}: {other:?}", trip.state),
    }
}
