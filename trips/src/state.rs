//! The trip machine. [`apply`] is one pure function: a trip and a command in; the changed trip and
//! what has to be written beside it, or a named refusal, out. [`TABLE`] says for every state and every
//! command what may come of it; the conditions of a command stand in its file under `command/`.
//!
//! Nothing here knows the database. What only the database can judge (the claim on a driver, an
//! offer's expiry by the database's clock) is in [`crate::store`].

use std::fmt;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use jitney_proto::{
    ids::{DriverId, OfferId},
    money::Money,
    trips::v1 as wire,
};

use crate::{
    command::{self, Command, Kind, cancel::CancellationRules},
    trip::{Beside, By, Offer, OfferState, Trip, named},
};

named! {
    /// Where a ride stands.
    State as wire::TripState {
        /// Booked for later. A timer waits for its release time.
        Scheduled = "SCHEDULED", Scheduled;
        /// The rider waits for a driver; matching looks for one until `search_until`.
        Searching = "SEARCHING", Searching;
        /// The rider waits; one driver's answer is awaited until the offer expires.
        Offered = "OFFERED", Offered;
        /// The rider waits for the driver, who is on the way to the pick-up.
        Assigned = "ASSIGNED", Assigned;
        /// The driver waits for the rider at the pick-up, and then for the PIN.
        DriverArrived = "DRIVER_ARRIVED", DriverArrived;
        /// Both are under way to the drop-off.
        InProgress = "IN_PROGRESS", InProgress;
        /// Over: driven. Billing takes the fare.
        Completed = "COMPLETED", Completed;
        /// Over: called off. Billing releases the hold.
        Cancelled = "CANCELLED", Cancelled;
        /// Over: the rider did not come.
        NoShow = "NO_SHOW", NoShow;
        /// Over: no driver was found in time. Billing releases the hold.
        Expired = "EXPIRED", Expired;
    }
}

impl State {
    /// Whether the trip is over. Ends never change.
    pub const fn is_end(self) -> bool {
        matches!(
            self,
            State::Completed | State::Cancelled | State::NoShow | State::Expired
        )
    }

    /// Whether a driver has the trip and is claimed by it.
    pub const fn has_claim(self) -> bool {
        matches!(
            self,
            State::Assigned | State::DriverArrived | State::InProgress
        )
    }

    /// Whether a driver is looked for.
    pub const fn needs_driver(self) -> bool {
        matches!(self, State::Searching | State::Offered)
    }

    /// What people may do in this state, for the message of a refusal.
    pub fn allowed(self) -> impl Iterator<Item = Kind> {
        Kind::ALL
            .iter()
            .copied()
            .filter(move |&kind| matches!(cell(self, kind), Cell::To(_)))
    }
}

/// What may come of a command in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// The trip moves to this state, if the command's own conditions hold.
    To(State),
    /// The command can only be a repetition of one that was carried out: it changes nothing. Where it
    /// is not one, it is refused.
    Again,
    /// Refused.
    No,
}

/// Every state and every command, in the order of [`State::ALL`] and [`Kind::ALL`]. One rule stands
/// beside it: a driver who gave the trip back and says so again is answered the same in every state.
#[rustfmt::skip]
pub const TABLE: [(State, [Cell; 15]); 10] = {
    use Cell::{Again as A, No as N, To};
    use State::*;
    const SCH: Cell = To(Scheduled);
    const SEA: Cell = To(Searching);
    const OFF: Cell = To(Offered);
    const ASS: Cell = To(Assigned);
    const ARR: Cell = To(DriverArrived);
    const INP: Cell = To(InProgress);
    const COM: Cell = To(Completed);
    const CAN: Cell = To(Cancelled);
    const EXP: Cell = To(Expired);
    const NOS: Cell = To(NoShow);
    [
        //                     end          dec- ar-        comp- can- give call ex-  no   re-   at   edit
        //               offer offer accept line rive start lete  cel  back off  pire show lease stop
        (Scheduled,      [N,    N,    N,     N,   N,   N,    N,    CAN, N,   CAN, N,   N,   SEA,  N, SCH]),
        (Searching,      [OFF,  A,    N,     A,   N,   N,    N,    CAN, A,   CAN, EXP, N,   A,    N, SEA]),
        (Offered,        [A,    SEA,  ASS,   SEA, N,   N,    N,    CAN, A,   CAN, EXP, N,   A,    N, SEA]),
        (Assigned,       [A,    A,    A,     A,   ARR, N,    N,    CAN, SEA, CAN, N,   N,   A,    N, ASS]),
        (DriverArrived,  [A,    A,    A,     A,   A,   INP,  N,    CAN, SEA, CAN, N,   NOS, A,    N, ARR]),
        (InProgress,     [A,    A,    A,     A,   N,   A,    COM,  N,   N,   CAN, N,   N,   A,    INP, INP]),
        (Completed,      [A,    A,    A,     A,   N,   N,    A,    N,   N,   N,   N,   N,   N,    A, N]),
        (Cancelled,      [A,    A,    N,     A,   N,   N,    N,    A,   A,   A,   N,   N,   N,    N, N]),
        (NoShow,         [A,    A,    N,     A,   N,   N,    N,    N,   N,   N,   N,   A,   N,    N, N]),
        (Expired,        [A,    A,    N,     A,   N,   N,    N,    N,   N,   N,   A,   N,   N,    N, N]),
    ]
};

/// What may come of a command in a state.
pub fn cell(state: State, kind: Kind) -> Cell {
    TABLE[state as usize].1[kind as usize]
}

/// What a command is judged by, beside the trip itself.
#[derive(Clone, Debug)]
pub struct Context {
    /// Now.
    pub now: DateTime<Utc>,
    /// The offer the command names, as it is stored for this trip, whether or not it is the open one.
    pub named_offer: Option<Offer>,
    /// Whether the driver who calls had accepted this trip and given it back.
    pub gave_back: bool,
    /// Whether the trip's driver has another ride to end before this one begins.
    pub has_earlier_ride: bool,
    /// What is configured.
    pub limits: Limits,
}

/// What commands are judged by that is the same for all trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many wrong PINs lock a trip.
    pub pin_tries_max: u32,
    /// How long a search goes on.
    pub search_timeout: Duration,
    /// How long a driver waits at the pick-up before the rider counts as not coming.
    pub no_show_after: Duration,
    /// When calling off costs.
    pub cancellation: CancellationRules,
}

/// What comes of a command that is not refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// The command was carried out before: nothing changes and the answer is the same.
    Unchanged,
    /// The trip changes.
    Changed(Box<Change>),
}

/// One change: the new state, the log's row, the event and the effects stand or fall together.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The trip after it.
    pub trip: Trip,
    /// The state before; `None` for a new trip.
    pub from: Option<State>,
    /// What other services are told.
    pub event: wire::TripEventKind,
    /// The driver the event is about: offered, assigned or released.
    pub driver_id: Option<DriverId>,
    /// The offer the event is about.
    pub offer_id: Option<OfferId>,
    /// Who did it.
    pub by: By,
    /// Why, for people.
    pub reason: String,
    /// What is written beside the trip's row, in this order.
    pub effects: Vec<Effect>,
}

/// What is written beside the trip's row.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Records the offer.
    OpenOffer(Offer),
    /// Ends an open offer. Accepting also needs it to be in time, by the database's clock.
    CloseOffer(OfferId, OfferState),
    /// Claims the driver, who is on this trip alone, or beside another as the offer said if they are
    /// still on that: the database refuses any other second live trip.
    Claim(DriverId, Option<Beside>),
    /// Frees the driver.
    Release(DriverId),
    /// Where the trip goes, and for how much, is what the changed trip says.
    ChangeWay,
    /// The fare of a booked ride is held: the trip answers for it.
    MarkHeld,
}

/// Why a command is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The state does not allow it.
    IllegalTransition {
        /// Where the trip stands.
        state: State,
        /// What was asked.
        kind: Kind,
    },
    /// The offer is over.
    OfferNotOpen {
        /// Where the trip stands.
        state: State,
        /// Where the offer stands.
        offer: OfferState,
    },
    /// The trip or the offer is not the caller's; they are told that it does not exist.
    NotYours,
    /// The PIN is not the rider's. The try is counted.
    WrongPin {
        /// How many tries are left.
        tries_left: u32,
    },
    /// There were too many wrong PINs.
    PinLocked,
    /// The driver has another ride to end first.
    EarlierRide,
    /// The trip has changed since what was asked for was reckoned.
    Moved,
    /// The trip has no such stop.
    NoSuchStop {
        /// How many it has.
        stops: usize,
    },
    /// Another stop comes first.
    StopAhead {
        /// Which, from 0.
        next: usize,
    },
    /// The rider has time left to come.
    TooEarly {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// Calling off costs more than the rider agreed to.
    FeeAbove {
        /// What it costs.
        fee: Money,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::IllegalTransition { state, kind } => {
                write!(f, "the trip is {state}, which does not allow to {kind}; ")?;
                allowed(f, *state)
            }
            Refusal::OfferNotOpen { state, offer } => {
                let problem = match offer {
                    OfferState::Pending => "ran out",
                    OfferState::Accepted => "was accepted",
                    OfferState::Declined => "was declined",
                    OfferState::Expired => "ran out",
                    OfferState::Withdrawn => "was withdrawn",
                };
                write!(f, "the offer {problem}; the trip is {state}; ")?;
                allowed(f, *state)
            }
            Refusal::NotYours => f.write_str("there is no such trip or offer"),
            Refusal::WrongPin { tries_left } => {
                write!(f, "the PIN is not the rider's; tries left: {tries_left}")
            }
            Refusal::EarlierRide => {
                f.write_str("the driver is on another ride that has to end first")
            }
            Refusal::Moved => f.write_str("the trip is moving on; try again"),
            Refusal::NoSuchStop { stops } => write!(f, "the trip has {stops} stops"),
            Refusal::StopAhead { next } => write!(f, "stop {next} comes first"),
            Refusal::TooEarly { until } => write!(
                f,
                "the rider has until {} to come",
                until.to_rfc3339_opts(SecondsFormat::Secs, true)
            ),
            Refusal::FeeAbove { fee } => write!(
                f,
                "calling off now costs {} {} in minor units, more than max_fee; ask for a preview",
                fee.minor, fee.currency
            ),
            Refusal::PinLocked => {
                f.write_str("there were too many wrong PINs; an operator has to step in")
            }
        }
    }
}

fn allowed(f: &mut fmt::Formatter<'_>, state: State) -> fmt::Result {
    let names: Vec<&str> = state.allowed().map(Kind::name).collect();
    match names.as_slice() {
        [] => f.write_str("it allows nothing more"),
        names => write!(f, "it allows to {}", names.join(", ")),
    }
}

/// Applies a command to a trip.
///
/// # Errors
/// The reason why the trip stays as it is.
pub fn apply(trip: &Trip, command: &Command, context: &Context) -> Result<Transition, Refusal> {
    match command {
        Command::Offer(offer) => command::offer::make(trip, offer, context),
        Command::EndOffer(end) => command::offer::end(trip, end, context),
        Command::Accept(accept) => command::accept::apply(trip, accept, context),
        Command::Decline(decline) => command::decline::apply(trip, decline, context),
        Command::Arrive(arrive) => command::arrive::apply(trip, arrive, context),
        Command::Start(start) => command::start::apply(trip, start, context),
        Command::Complete(complete) => command::complete::apply(trip, complete, context),
        Command::Cancel(cancel) => command::cancel::by_rider(trip, cancel, context),
        Command::GiveBack(give_back) => command::cancel::by_driver(trip, give_back, context),
        Command::CallOff(call_off) => command::cancel::by_staff(trip, call_off, context),
        Command::Expire(expire) => command::expire::apply(trip, expire, context),
        Command::NoShow(no_show) => command::no_show::apply(trip, no_show, context),
        Command::ArriveAtStop(arrive) => command::stop::apply(trip, arrive, context),
        Command::EditDestination(edit) => command::edit::apply(trip, edit, context),
        Command::Release(release) => command::release::apply(trip, release, context),
    }
}

/// The state a command leads to, or the refusal the table has for it. The commands call this first.
pub(crate) fn target(trip: &Trip, kind: Kind) -> Result<Option<State>, Refusal> {
    match cell(trip.state, kind) {
        Cell::To(state) => Ok(Some(state)),
        Cell::Again => Ok(None),
        Cell::No => Err(Refusal::IllegalTransition {
            state: trip.state,
            kind,
        }),
    }
}

/// The change that brings a trip into a state: the next version, at this moment, for this event. The
/// commands fill in what else is theirs.
pub(crate) fn change(
    trip: &Trip,
    to: State,
    event: wire::TripEventKind,
    by: By,
    context: &Context,
) -> Box<Change> {
    let mut after = trip.clone();
    after.version += 1;
    after.state = to;
    after.updated_at = context.now;
    if to.is_end() {
        after.ended_at = Some(context.now);
    }
    Box::new(Change {
        trip: after,
        from: Some(trip.state),
        event,
        driver_id: trip.driver.as_ref().map(|driver| driver.driver_id.clone()),
        offer_id: trip.offer.as_ref().map(|offer| offer.offer_id),
        by,
        reason: String::new(),
        effects: Vec::new(),
    })
}

#[cfg(test)]
pub(crate) mod tests;
