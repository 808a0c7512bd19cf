//! What can be done to a trip: one file per command, each with the command's own conditions. Which
//! state allows which command is in the one table of [`crate::state`].

use std::fmt;

pub mod accept;
pub mod arrive;
pub mod cancel;
pub mod complete;
pub mod decline;
pub mod edit;
pub mod expire;
pub mod no_show;
pub mod offer;
pub mod release;
pub mod request;
pub mod start;
pub mod stop;

/// A command with everything it needs to be judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Matching makes an offer.
    Offer(offer::Make),
    /// Matching's offer ended unanswered, or was taken back.
    EndOffer(offer::End),
    /// The driver takes the offer.
    Accept(accept::Accept),
    /// The driver leaves the offer.
    Decline(decline::Decline),
    /// The driver is at the pick-up.
    Arrive(arrive::Arrive),
    /// The rider is on board.
    Start(start::Start),
    /// The rider is at the drop-off.
    Complete(complete::Complete),
    /// The rider calls the ride off.
    Cancel(cancel::Cancel),
    /// The driver gives the ride back.
    GiveBack(cancel::GiveBack),
    /// An operator, or Jitney itself, calls the ride off.
    CallOff(cancel::CallOff),
    /// No driver was found in time.
    Expire(expire::Expire),
    /// The rider did not come.
    NoShow(no_show::NoShow),
    /// The search for a booked ride begins.
    Release(release::Release),
    /// The driver is at a stop on the way.
    ArriveAtStop(stop::ArriveAtStop),
    /// The rider wants to go somewhere else.
    EditDestination(edit::EditDestination),
}

macro_rules! kinds {
    ($( $(#[$doc:meta])* $name:ident = $text:literal; )*) => {
        /// A command without its particulars: a column of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $( $(#[$doc])* $name, )* }

        impl Kind {
            /// Every kind, in the order of the table's columns.
            pub const ALL: &[Kind] = &[$(Kind::$name),*];

            /// The verb, for the message of a refusal.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$name => $text),* }
            }
        }

        impl Command {
            /// The kind.
            pub fn kind(&self) -> Kind {
                match self { $(Command::$name(_) => Kind::$name),* }
            }
        }
    };
}

kinds! {
    /// Matching makes an offer.
    Offer = "offer";
    /// Matching's offer ended.
    EndOffer = "end the offer";
    /// The driver takes the offer.
    Accept = "accept";
    /// The driver leaves the offer.
    Decline = "decline";
    /// The driver is at the pick-up.
    Arrive = "arrive";
    /// The rider is on board.
    Start = "start";
    /// The rider is at the drop-off.
    Complete = "complete";
    /// The rider calls the ride off.
    Cancel = "cancel (rider)";
    /// The driver gives the ride back.
    GiveBack = "cancel (driver)";
    /// An operator, or Jitney itself, calls the ride off.
    CallOff = "cancel (operator)";
    /// No driver was found in time.
    Expire = "expire";
    /// The rider did not come.
    NoShow = "declare a no-show";
    /// The search for a booked ride begins.
    Release = "begin the search";
    /// The driver is at a stop on the way.
    ArriveAtStop = "arrive at a stop";
    /// The rider wants to go somewhere else.
    EditDestination = "change the destination";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Command {
    /// The offer the command names, if it names one.
    pub fn offer_id(&self) -> Option<jitney_proto::ids::OfferId> {
        match self {
            Command::Offer(make) => Some(make.offer_id),
            Command::EndOffer(end) => Some(end.offer_id),
            Command::Accept(accept) => Some(accept.offer_id),
            Command::Decline(decline) => Some(decline.offer_id),
            _ => None,
        }
    }
}
