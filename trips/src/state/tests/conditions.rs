//! Each command's own conditions.

use super::*;
use crate::{
    command::cancel,
    trip::{Fee, Fees},
};

#[test]
fn a_ride_from_request_to_end() {
    let mut trip = requested();
    let events = [
        Kind::Offer,
        Kind::Accept,
        Kind::Arrive,
        Kind::Start,
        Kind::Complete,
    ]
    .map(|kind| {
        let (command, context) = command_for(kind, &trip);
        let change = carried_out(&trip, &command, &context);
        trip = change.trip;
        change.event
    });
    use TripEventKind::{Assigned, Completed, DriverArrived, Offered, Started};
    assert_eq!(
        events,
        [Offered, Assigned, DriverArrived, Started, Completed]
    );
    assert_eq!((trip.state, trip.version), (State::Completed, 6));
    assert_eq!(
        trip.payment_state,
        PaymentState::Held,
        "billing's word moves it, not the driver's"
    );
}

#[test]
fn only_the_addressed_driver_answers_an_offer() {
    let trip = trip_in(State::Offered);
    let context = Context {
        named_offer: trip.offer.clone(),
        ..context()
    };
    let ben: DriverId = "ben".parse().unwrap();
    let driver = AssignedDriver {
        driver_id: ben.clone(),
        plate: String::new(),
        vehicle: String::new(),
    };
    let accept = Command::Accept(Accept {
        offer_id: offer_id(),
        driver,
    });
    assert_eq!(apply(&trip, &accept, &context), Err(Refusal::NotYours));
    let decline = Decline {
        offer_id: offer_id(),
        driver_id: ben,
        reason: String::new(),
    };
    assert_eq!(
        apply(&trip, &Command::Decline(decline), &context),
        Err(Refusal::NotYours)
    );
}

#[test]
fn an_offer_that_ended_cannot_be_accepted() {
    for state in [
        OfferState::Declined,
        OfferState::Expired,
        OfferState::Withdrawn,
    ] {
        // The trip searches on, or is offered to another under another offer.
        let elsewhere = Offer {
            offer_id: OfferId(Uuid::from_u128(8)),
            ..offer_in(OfferState::Pending)
        };
        let offered = Trip {
            offer: Some(elsewhere),
            ..trip_in(State::Offered)
        };
        for trip in [trip_in(State::Searching), offered] {
            let (command, mut context) = command_for(Kind::Accept, &trip);
            context.named_offer = Some(offer_in(state));
            let refusal = Refusal::OfferNotOpen {
                state: trip.state,
                offer: state,
            };
            assert_eq!(apply(&trip, &command, &context), Err(refusal));
        }
    }
}

#[test]
fn an_accepted_offer_is_not_declined_any_more() {
    let trip = trip_in(State::Assigned);
    let context = Context {
        named_offer: trip.offer.clone(),
        ..context()
    };
    let decline = Decline {
        offer_id: offer_id(),
        driver_id: anna(),
        reason: String::new(),
    };
    let refusal = Refusal::OfferNotOpen {
        state: trip.state,
        offer: OfferState::Accepted,
    };
    assert_eq!(
        apply(&trip, &Command::Decline(decline), &context),
        Err(refusal)
    );
}

#[test]
fn an_end_of_another_offer_is_old_news() {
    let trip = trip_in(State::Offered);
    let other = OfferId(Uuid::from_u128(9));
    let end = Command::EndOffer(offer::End {
        offer_id: other,
        how: OfferState::Expired,
    });
    assert_eq!(apply(&trip, &end, &context()), Ok(Transition::Unchanged));
}

#[test]
fn a_second_offer_while_one_is_open_is_refused() {
    let trip = trip_in(State::Offered);
    let make = offer::Make {
        offer_id: OfferId(Uuid::from_u128(9)),
        driver_id: anna(),
        expires_at: at(130),
        beside: None,
        pickup_duration_ms: None,
        dropoff: trip.dropoff,
        fare: trip.fare,
    };
    let refusal = Refusal::IllegalTransition {
        state: State::Offered,
        kind: Kind::Offer,
    };
    assert_eq!(
        apply(&trip, &Command::Offer(make), &context()),
        Err(refusal)
    );
}

#[test]
fn an_offer_of_the_ride_as_it_was_is_not_recorded() {
    let before = trip_in(State::Searching);
    let (offered, context) = command_for(Kind::Offer, &before);
    let mut after = before.clone();
    after.dropoff.latitude += 0.01;
    let mut dearer = before.clone();
    dearer.fare.minor += 1;
    for trip in [after, dearer] {
        assert_eq!(apply(&trip, &offered, &context), Err(Refusal::Moved));
    }
    carried_out(&before, &offered, &context);
}

#[test]
fn a_search_of_before_does_not_end_the_search_of_after() {
    let (give_back, context) = command_for(Kind::GiveBack, &trip_in(State::Assigned));
    let before = trip_in(State::Assigned);
    let after = carried_out(&before, &give_back, &context).trip;
    assert_eq!(after.search_until, at(160));
    let stale = Expire {
        search_until: before.search_until,
        detail: String::new(),
    };
    assert_eq!(
        apply(&after, &Command::Expire(stale), &context),
        Ok(Transition::Unchanged)
    );
}

#[test]
fn giving_back_forgets_the_driver_and_may_be_repeated() {
    let trip = Trip {
        wrong_pins: 2,
        ..trip_in(State::DriverArrived)
    };
    let (give_back, mut context) = command_for(Kind::GiveBack, &trip);
    let change = carried_out(&trip, &give_back, &context);
    assert_eq!(change.event, TripEventKind::Unassigned);
    assert_eq!(change.driver_id, Some(anna()));
    let after = change.trip;
    assert_eq!(
        (&after.driver, &after.offer, after.wrong_pins),
        (&None, &None, 0)
    );
    assert_eq!((after.assigned_at, after.arrived_at), (None, None));
    // Whatever became of the trip since.
    context.gave_back = true;
    for &state in State::ALL {
        let mut trip = trip_in(state);
        trip.driver = None;
        assert_eq!(
            apply(&trip, &give_back, &context),
            Ok(Transition::Unchanged),
            "{state}"
        );
    }
}

#[test]
fn an_offer_is_declined_and_not_given_back() {
    let trip = trip_in(State::Offered);
    let give_back = |driver: &str| {
        let driver_id = driver.parse().unwrap();
        Command::GiveBack(GiveBack {
            driver_id,
            reason: String::new(),
        })
    };
    let refusal = Refusal::IllegalTransition {
        state: State::Offered,
        kind: Kind::GiveBack,
    };
    assert_eq!(apply(&trip, &give_back("anna"), &context()), Err(refusal));
    assert_eq!(
        apply(&trip, &give_back("ben"), &context()),
        Err(Refusal::NotYours)
    );
}

#[test]
fn wrong_pins_lock_the_trip_also_for_the_right_one() {
    let mut trip = trip_in(State::DriverArrived);
    let right = Start {
        driver_id: anna(),
        pin: trip.pin.clone(),
    };
    let wrong = Command::Start(Start {
        pin: "x".into(),
        ..right.clone()
    });
    let right = Command::Start(right);
    for tries_left in [2, 1, 0] {
        let refusal = apply(&trip, &wrong, &context());
        assert_eq!(refusal, Err(Refusal::WrongPin { tries_left }));
        trip.wrong_pins += 1;
    }
    assert_eq!(apply(&trip, &wrong, &context()), Err(Refusal::PinLocked));
    assert_eq!(apply(&trip, &right, &context()), Err(Refusal::PinLocked));
    trip.wrong_pins = 2;
    assert!(apply(&trip, &right, &context()).is_ok());
}

fn cost_at(trip: &Trip, second: i64, driver_distance_m: Option<i64>) -> (Fee, &'static str) {
    let rules = &context().limits.cancellation;
    let cost = cancel::cost(trip, Actor::Rider, rules, driver_distance_m, at(second));
    (cost.fee, cost.why)
}

#[test]
fn calling_off_late_costs_the_rider_and_nobody_else() {
    let mut trip = trip_in(State::Assigned);
    trip.pickup_due_at = Some(at(70));
    // Taken at 20, free for 30 seconds.
    assert_eq!(cost_at(&trip, 49, None).0, Fee::None);
    assert_eq!(cost_at(&trip, 50, None).0, Fee::Cancellation);
    // Due at 70, late after 20 seconds more.
    assert_eq!(cost_at(&trip, 90, None).0, Fee::Cancellation);
    assert_eq!(cost_at(&trip, 91, None), (Fee::None, "the driver is late"));
    // Far by road, if that is known.
    assert_eq!(cost_at(&trip, 60, Some(900)).0, Fee::Cancellation);
    assert_eq!(cost_at(&trip, 60, Some(901)).0, Fee::None);
    // Who has arrived is neither late nor far.
    let arrived = trip_in(State::DriverArrived);
    assert_eq!(cost_at(&arrived, 500, Some(901)).0, Fee::Cancellation);
    // Before a driver has it, and for products without a fee.
    for state in [State::Searching, State::Offered] {
        assert_eq!(cost_at(&trip_in(state), 500, None).0, Fee::None);
    }
    trip.fees = Fees::default();
    assert_eq!(cost_at(&trip, 60, None).0, Fee::None);
    let rules = &context().limits.cancellation;
    for actor in [Actor::Driver, Actor::Operator, Actor::System] {
        let cost = cancel::cost(&arrived, actor, rules, None, at(500));
        assert_eq!(cost.fee, Fee::None, "{actor}");
    }
}

#[test]
fn a_rider_pays_no_more_than_they_agreed_to() {
    let trip = trip_in(State::DriverArrived);
    let cancel = |minor, currency: &str| {
        Command::Cancel(Cancel {
            reason: String::new(),
            max_fee: Some(Money::new(minor, currency.parse().unwrap())),
            driver_distance_m: None,
        })
    };
    let fee = Money::new(400, "EUR".parse().unwrap());
    for command in [cancel(399, "EUR"), cancel(400, "CHF"), cancel(0, "EUR")] {
        let refusal = apply(&trip, &command, &context()).unwrap_err();
        assert_eq!(refusal, Refusal::FeeAbove { fee });
    }
    let change = carried_out(&trip, &cancel(400, "EUR"), &context());
    assert_eq!(change.trip.fee, Fee::Cancellation);
    let (call_off, context) = command_for(Kind::CallOff, &trip);
    assert_eq!(carried_out(&trip, &call_off, &context).trip.fee, Fee::None);
}

#[test]
fn a_rider_has_time_to_come() {
    let trip = trip_in(State::DriverArrived);
    let (command, mut context) = command_for(Kind::NoShow, &trip);
    // Arrived at 30; a minute.
    context.now = at(89);
    let refusal = apply(&trip, &command, &context).unwrap_err();
    assert_eq!(refusal, Refusal::TooEarly { until: at(90) });
    context.now = at(90);
    let change = carried_out(&trip, &command, &context);
    assert_eq!(change.trip.fee, Fee::NoShow);
    let free = Trip {
        fees: Fees::default(),
        ..trip
    };
    assert_eq!(carried_out(&free, &command, &context).trip.fee, Fee::None);
}
