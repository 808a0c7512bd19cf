//! Every state with every command, against the table; and the lists against the proto's.

use super::*;

#[test]
fn the_table_has_every_state_and_every_command() {
    assert_eq!(TABLE.len(), State::ALL.len());
    for (row, &state) in TABLE.iter().zip(State::ALL) {
        assert_eq!(row.0, state);
        assert_eq!(row.1.len(), Kind::ALL.len());
    }
    for (number, &kind) in Kind::ALL.iter().enumerate() {
        assert_eq!(kind as usize, number);
    }
}

#[test]
fn every_pair_does_what_the_table_says() {
    for &state in State::ALL {
        for &kind in Kind::ALL {
            let trip = trip_in(state);
            let (command, mut context) = command_for(kind, &trip);
            assert_eq!(command.kind(), kind);
            match cell(state, kind) {
                Cell::To(to) => {
                    let change = carried_out(&trip, &command, &context);
                    assert_eq!(change.trip.state, to, "{state} {kind}");
                    assert_eq!(change.from, Some(state));
                    assert_eq!(change.trip.version, trip.version + 1);
                    assert_eq!(change.trip.updated_at, context.now);
                    assert_eq!(change.trip.ended_at.is_some(), to.is_end());
                    assert_eq!(change.trip.end_reason.is_empty(), !to.is_end());
                }
                Cell::Again => {
                    if kind == Kind::Offer {
                        context.named_offer = Some(offer_in(OfferState::Declined));
                    }
                    assert_eq!(
                        apply(&trip, &command, &context),
                        Ok(Transition::Unchanged),
                        "{state} {kind}"
                    );
                }
                Cell::No => refused(&trip, &command, &context),
            }
        }
    }
}

fn refused(trip: &Trip, command: &Command, context: &Context) {
    let (state, kind) = (trip.state, command.kind());
    // A trip without a driver is nobody's to arrive at, start, complete or give back.
    let is_drivers = matches!(
        kind,
        Kind::Arrive
            | Kind::Start
            | Kind::Complete
            | Kind::GiveBack
            | Kind::NoShow
            | Kind::ArriveAtStop
    );
    if is_drivers && trip.driver.is_none() {
        let context = Context {
            gave_back: false,
            has_earlier_ride: false,
            ..context.clone()
        };
        assert_eq!(
            apply(trip, command, &context),
            Err(Refusal::NotYours),
            "{state} {kind}"
        );
        return;
    }
    let refusal = apply(trip, command, context).expect_err("the table refuses it");
    if kind == Kind::Accept {
        assert!(
            matches!(refusal, Refusal::OfferNotOpen { .. }),
            "{state} {kind}: {refusal:?}"
        );
    } else {
        assert_eq!(refusal, Refusal::IllegalTransition { state, kind });
    }
    let message = refusal.to_string();
    assert!(message.contains(state.name()), "{message}");
    for allowed in state.allowed() {
        assert!(
            message.contains(allowed.name()),
            "{message} lacks {allowed}"
        );
    }
}

#[test]
fn ends_never_change() {
    for &state in State::ALL.iter().filter(|state| state.is_end()) {
        assert_eq!(state.allowed().count(), 0, "{state}");
    }
}

#[test]
fn a_claim_is_made_and_freed_with_the_driver() {
    for &state in State::ALL {
        for &kind in Kind::ALL {
            let trip = trip_in(state);
            let (command, context) = command_for(kind, &trip);
            let Ok(Transition::Changed(change)) = apply(&trip, &command, &context) else {
                continue;
            };
            let claims = change.effects.contains(&Effect::Claim(anna(), None));
            let frees = change.effects.contains(&Effect::Release(anna()));
            let (before, after) = (state.has_claim(), change.trip.state.has_claim());
            assert_eq!(
                (claims, frees),
                (!before && after, before && !after),
                "{state} {kind}"
            );
        }
    }
}

#[test]
fn an_open_offer_is_closed_by_whatever_leaves_it() {
    let trip = trip_in(State::Offered);
    for &kind in Kind::ALL {
        let (command, context) = command_for(kind, &trip);
        let Ok(Transition::Changed(change)) = apply(&trip, &command, &context) else {
            continue;
        };
        let closes =
            |effect: &Effect| matches!(effect, Effect::CloseOffer(id, _) if *id == offer_id());
        assert_eq!(
            change
                .effects
                .iter()
                .filter(|effect| closes(effect))
                .count(),
            1,
            "{kind}"
        );
        assert_eq!(change.driver_id, Some(anna()), "{kind}");
        assert_eq!(change.offer_id, Some(offer_id()), "{kind}");
    }
}

#[test]
fn states_are_numbered_and_named_as_in_the_proto() {
    for &state in State::ALL {
        assert_eq!(
            state.wire().as_str_name(),
            format!("TRIP_STATE_{}", state.name())
        );
        assert_eq!(State::from_name(state.name()), Some(state));
        assert_eq!(State::from_wire(state.wire()), Some(state));
    }
    for &payment in PaymentState::ALL {
        assert_eq!(
            payment.wire().as_str_name(),
            format!("PAYMENT_STATE_{}", payment.name())
        );
    }
    for &actor in Actor::ALL {
        assert_eq!(
            actor.wire().as_str_name(),
            format!("ACTOR_{}", actor.name())
        );
    }
    // The proto has these and its unspecified one.
    assert_eq!(
        proto_values("jitney.trips.v1.TripState"),
        State::ALL.len() + 1
    );
    assert_eq!(
        proto_values("jitney.trips.v1.PaymentState"),
        PaymentState::ALL.len() + 1
    );
    assert_eq!(proto_values("jitney.trips.v1.Actor"), Actor::ALL.len() + 1);
}

fn proto_values(name: &str) -> usize {
    let list = jitney_proto::descriptor_pool()
        .get_enum_by_name(name)
        .expect("the proto has it");
    list.values().count()
}
