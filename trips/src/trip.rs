//! A ride as this service keeps it: plain values without tonic or sqlx. How a ride moves is in
//! [`crate::state`]; what a caller may see of it is in [`crate::view`].

use chrono::{DateTime, Utc};
use jitney_proto::{
    billing::v1::PaymentMethod,
    ids::{DriverId, OfferId, ProductId, ReservationId, RiderId, TripId},
    money::Money,
    trips::v1 as wire,
};
use serde::{Deserialize, Serialize};

/// Names the values of a closed list as the database writes them and as the proto numbers them. The
/// proto, the constraint in the migration and this list are compared by a test.
macro_rules! named {
    (
        $(#[$doc:meta])* $type:ident as $wire:ty {
            $( $(#[$value_doc:meta])* $name:ident = $text:literal, $number:ident; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $( $(#[$value_doc])* $name, )* }

        impl $type {
            /// Every value, in the proto's order.
            pub const ALL: &[$type] = &[$($type::$name),*];

            /// The name, as in the database and, after the prefix, in the proto.
            pub const fn name(self) -> &'static str {
                match self { $($type::$name => $text),* }
            }

            /// The value a name in the database stands for.
            pub fn from_name(name: &str) -> Option<$type> {
                match name { $($text => Some($type::$name),)* _ => None }
            }

            /// The proto's value.
            pub const fn wire(self) -> $wire {
                match self { $($type::$name => <$wire>::$number),* }
            }

            /// The value a proto's value stands for; `None` for the unspecified one.
            pub fn from_wire(wire: $wire) -> Option<$type> {
                Self::ALL.iter().copied().find(|value| value.wire() == wire)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use named;

named! {
    /// Where the money of a trip stands.
    PaymentState as wire::PaymentState {
        /// Nothing was held.
        None = "NONE", None;
        /// The fare is held.
        Held = "HELD", Held;
        /// The fare is taken.
        Captured = "CAPTURED", Captured;
        /// Part of it was given back.
        PartiallyRefunded = "PARTIALLY_REFUNDED", PartiallyRefunded;
        /// All of it was given back.
        Refunded = "REFUNDED", Refunded;
        /// The hold was released.
        Voided = "VOIDED", Voided;
        /// The payment was refused, or the hold was gone when the fare was to be taken.
        Failed = "FAILED", Failed;
        /// The provider has not answered; it is being asked.
        Unknown = "UNKNOWN", Unknown;
    }
}

impl PaymentState {
    /// Whether nothing more happens to the money by itself.
    pub fn is_settled(self) -> bool {
        !matches!(self, PaymentState::Held | PaymentState::Unknown)
    }
}

named! {
    /// Who did something.
    Actor as wire::Actor {
        /// The rider.
        Rider = "RIDER", Rider;
        /// The driver.
        Driver = "DRIVER", Driver;
        /// An operator.
        Operator = "OPERATOR", Operator;
        /// Jitney itself: a timer, a recovery.
        System = "SYSTEM", System;
    }
}

named! {
    /// What a trip's end cost that was not driven.
    Fee as wire::TripFee {
        /// Nothing.
        None = "NONE", None;
        /// The rider called it off late.
        Cancellation = "CANCELLATION", Cancellation;
        /// The rider did not come.
        NoShow = "NO_SHOW", NoShow;
    }
}

/// What a trip's end may cost that is not driven, minor units of the fare's currency, tax included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fees {
    /// For calling it off late.
    pub cancellation_minor: i64,
    /// For not coming.
    pub no_show_minor: i64,
}

/// Where an offer stands. The proto has no such list: only the open offer is ever shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfferState {
    /// The driver's answer is awaited.
    Pending,
    /// The driver took it.
    Accepted,
    /// The driver left it.
    Declined,
    /// It ran out unanswered.
    Expired,
    /// It was taken back: the ride was called off, the driver went off shift, another took its place.
    Withdrawn,
}

impl OfferState {
    /// Every value.
    pub const ALL: &[OfferState] = &[
        OfferState::Pending,
        OfferState::Accepted,
        OfferState::Declined,
        OfferState::Expired,
        OfferState::Withdrawn,
    ];

    /// The name, as in the database.
    pub const fn name(self) -> &'static str {
        match self {
            OfferState::Pending => "PENDING",
            OfferState::Accepted => "ACCEPTED",
            OfferState::Declined => "DECLINED",
            OfferState::Expired => "EXPIRED",
            OfferState::Withdrawn => "WITHDRAWN",
        }
    }

    /// The value a name in the database stands for.
    pub fn from_name(name: &str) -> Option<OfferState> {
        Self::ALL.iter().copied().find(|state| state.name() == name)
    }
}

/// A point on the earth, WGS84 degrees.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

impl std::fmt::Debug for Place {
    /// Where people are does not belong into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place(..)")
    }
}

/// An offer of a trip to a driver.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// The offer.
    pub offer_id: OfferId,
    /// To whom.
    pub driver_id: DriverId,
    /// Until when it may be accepted, by the database's clock.
    pub expires_at: DateTime<Utc>,
    /// Where it stands.
    pub state: OfferState,
    /// The driver's live trip that it comes on top of.
    pub beside: Option<Beside>,
    /// How long the driver needs to the pick-up, milliseconds, if matching said.
    pub pickup_duration_ms: Option<i64>,
}

/// How a trip comes on top of another of its driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The other trip.
    pub trip_id: TripId,
    /// The riders of both share the car; otherwise this one begins when the other has ended.
    pub shared: bool,
}

/// A trip's driver as the rider looks for them.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignedDriver {
    /// The driver.
    pub driver_id: DriverId,
    /// The number plate; empty when matching did not say in time.
    pub plate: String,
    /// Colour, make and model; empty when matching did not say in time.
    pub vehicle: String,
}

/// A stop between pick-up and drop-off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// When the driver was there.
    #[serde(default)]
    pub arrived_at: Option<DateTime<Utc>>,
}

impl Stop {
    /// A stop ahead.
    pub fn ahead(place: Place) -> Stop {
        Stop {
            place,
            arrived_at: None,
        }
    }
}

/// What a fare was reckoned under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// Billing's name for it.
    pub version: String,
    /// What scarcity made of the fare, percent.
    pub surge_percent: u32,
}

impl Tariff {
    /// From two columns that are written together.
    pub fn kept(version: Option<String>, surge_percent: Option<i32>) -> Option<Tariff> {
        Some(Tariff {
            version: version?,
            surge_percent: surge_percent?.max(0).cast_unsigned(),
        })
    }
}

/// What is known of a ride that was booked for later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// When the rider wants to be picked up.
    pub pickup_at: DateTime<Utc>,
    /// While it is SCHEDULED: when it is next looked at whether the search begins.
    pub release_at: DateTime<Utc>,
    /// Billing's name for the price; the fare is held under it when the search begins.
    pub fare_quote_id: String,
}

/// A ride.
#[derive(Clone, Debug, PartialEq)]
pub struct Trip {
    /// The trip.
    pub trip_id: TripId,
    /// Counts the changes, from 1; one event each.
    pub version: i64,
    /// Where it stands.
    pub state: crate::state::State,
    /// The rider.
    pub rider_id: RiderId,
    /// The driver: from assignment on, until they give the trip back.
    pub driver: Option<AssignedDriver>,
    /// The offer that is open (OFFERED) or that was accepted (whenever there is a driver).
    pub offer: Option<Offer>,
    /// The product.
    pub product: ProductId,
    /// Where the rider waits.
    pub pickup: Place,
    /// Stops on the way, in driving order.
    pub stops: Vec<Stop>,
    /// Where the rider goes.
    pub dropoff: Place,
    /// How many ride along, the rider included.
    pub seats: u32,
    /// The up-front fare.
    pub fare: Money,
    /// What its end may cost instead.
    pub fees: Fees,
    /// Which of them it did cost.
    pub fee: Fee,
    /// What the fare was reckoned under; `None` for trips made before that was kept.
    pub tariff: Option<Tariff>,
    /// Billing's name for the up-front fare, since the destination was changed.
    pub price_quote_id: Option<String>,
    /// How far the rider was driven, metres; once the ride has ended, if somebody followed the car.
    pub driven_m: Option<i64>,
    /// What the ride costs; once it has ended and that is decided.
    pub final_fare: Option<Money>,
    /// Billing's name for that price; `None` when it is the up-front fare.
    pub final_quote_id: Option<String>,
    /// Driving distance as quoted, metres.
    pub distance_m: i64,
    /// Driving time as quoted, milliseconds.
    pub duration_ms: i64,
    /// How the ride is going to be paid.
    pub payment_method: PaymentMethod,
    /// Where the money stands. It moves beside the version: billing's answers are no events.
    pub payment_state: PaymentState,
    /// What the rider tells the driver at the kerb: four digits.
    pub pin: String,
    /// How often the present driver gave a wrong PIN.
    pub wrong_pins: u32,
    /// The reservation of MatchDriver to use first.
    pub reservation_id: Option<ReservationId>,
    /// What is known of a ride that was booked for later; `None` for one that was wanted at once.
    pub booking: Option<Booking>,
    /// When the present search is given up.
    pub search_until: DateTime<Utc>,
    /// Who called it off.
    pub cancelled_by: Option<Actor>,
    /// Why it ended, for people; empty while it is live.
    pub end_reason: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When the driver took it.
    pub assigned_at: Option<DateTime<Utc>>,
    /// When the driver was to be at the pick-up, as reckoned when they took it.
    pub pickup_due_at: Option<DateTime<Utc>>,
    /// When the driver was at the pick-up.
    pub arrived_at: Option<DateTime<Utc>>,
    /// When the ride began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended, whichever way.
    pub ended_at: Option<DateTime<Utc>>,
    /// The span that asked for it, as W3C's header: the ride's trace.
    pub traceparent: Option<String>,
}

impl Trip {
    /// Whether this is the trip's driver.
    pub fn is_driven_by(&self, driver_id: &DriverId) -> bool {
        self.driver
            .as_ref()
            .is_some_and(|driver| driver.driver_id == *driver_id)
    }

    /// Since when the rider has been keeping the driver waiting at the pick-up: not before the time that
    /// was booked.
    pub fn waited_for_since(&self) -> Option<DateTime<Utc>> {
        let booked = self.booking.as_ref().map(|booking| booking.pickup_at);
        self.arrived_at
            .map(|arrived| booked.map_or(arrived, |booked| booked.max(arrived)))
    }

    /// What a fee amounts to; `None` when it is none.
    pub fn fee_amount(&self, fee: Fee) -> Option<Money> {
        let minor = match fee {
            Fee::None => 0,
            Fee::Cancellation => self.fees.cancellation_minor,
            Fee::NoShow => self.fees.no_show_minor,
        };
        (minor > 0).then(|| Money::new(minor, self.fare.currency))
    }

    /// Where the rider is driven next once they are on board: the first stop ahead, or the drop-off.
    pub fn next_place(&self) -> Place {
        let ahead = self.stops.iter().find(|stop| stop.arrived_at.is_none());
        ahead.map_or(self.dropoff, |stop| stop.place)
    }

    /// The offer whose answer is awaited.
    pub fn open_offer(&self) -> Option<&Offer> {
        self.offer
            .as_ref()
            .filter(|_| self.state == crate::state::State::Offered)
    }
}

/// One change of a trip, as the log keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// The trip's version after it.
    pub version: i64,
    /// The state before; `None` for the first.
    pub from: Option<crate::state::State>,
    /// The state after.
    pub to: crate::state::State,
    /// Who.
    pub by: By,
    /// Why, for people.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// In which part.
    pub actor: Actor,
    /// Their id; empty for Jitney itself.
    pub id: String,
}

impl By {
    /// A timer, a recovery, matching's search.
    pub fn system() -> By {
        By {
            actor: Actor::System,
            id: String::new(),
        }
    }

    /// A rider.
    pub fn rider(id: &RiderId) -> By {
        By {
            actor: Actor::Rider,
            id: id.to_string(),
        }
    }

    /// A driver.
    pub fn driver(id: &DriverId) -> By {
        By {
            actor: Actor::Driver,
            id: id.to_string(),
        }
    }
}
