//! What a money statement says, and what is to be done about it.

use jitney_platform::db;
use sqlx::{FromRow, types::Json};

use crate::{
    Error,
    hold::{Answer, Outcome, Refusal},
    idempotency::RequestHash,
};

/// Unique keys that refuse the later of two statements about the same thing. The later one had no
/// effect; run again it sees what the earlier one did.
const FENCES: [&str; 6] = [
    "idempotency_pkey",
    "trip_charge_pkey",
    "journal_entry_pkey",
    "receipt_pkey",
    "payout_one_open_per_driver",
    "chargeback_pkey",
];

/// The row a money statement answers.
#[derive(Clone, FromRow)]
pub(super) struct Decision {
    outcome: String,
    request_hash: Vec<u8>,
    answer: Json<Answer>,
}

impl Decision {
    /// Whether it is kept with the key and said again.
    pub(super) fn is_kept(&self) -> bool {
        let named = |outcome: &Outcome| outcome.name() == self.outcome;
        Outcome::ALL
            .iter()
            .find(|&o| named(o))
            .is_some_and(|o| o.is_kept())
    }
}

/// What to do about it.
pub(super) enum Settled {
    /// It happened, now or under the same key before.
    Answer(Box<Answer>),
    /// There is no charge to decide about.
    Nothing,
    /// Release the rider's lapsed holds, then run it again.
    Lapsed,
    /// Run it again.
    Again,
}

pub(super) fn settled(
    decided: Result<Option<Decision>, sqlx::Error>,
    asked: &RequestHash,
) -> Result<Settled, Error> {
    let Decision {
        outcome,
        request_hash,
        answer: Json(answer),
    } = match decided {
        Ok(Some(decision)) => decision,
        Ok(None) => return Ok(Settled::Nothing),
        Err(error) if is_overtaken(&error) => return Ok(Settled::Again),
        Err(error) => return Err(error.into()),
    };
    if request_hash != asked {
        return Err(Refusal::KeyReused.into());
    }
    let outcome = Outcome::ALL
        .into_iter()
        .find(|known| known.name() == outcome)
        .ok_or_else(|| Error::Unreadable(format!("outcome {outcome:?}")))?;
    let refusal = match outcome {
        Outcome::Done => return Ok(Settled::Answer(Box::new(answer))),
        Outcome::LapsedInTheWay => return Ok(Settled::Lapsed),
        Outcome::Changed => return Ok(Settled::Again),
        Outcome::AlreadyHeld => Refusal::AlreadyHeld,
        Outcome::QuoteExpired => Refusal::QuoteExpired,
        Outcome::Declined => Refusal::Declined,
        Outcome::NoQuote => Refusal::NoQuote,
        Outcome::QuoteNotGenuine => Refusal::QuoteNotGenuine,
        Outcome::OtherCurrency => Refusal::OtherCurrency,
        Outcome::HoldNotOpen => {
            Refusal::HoldNotOpen(answer.hold.ok_or_else(Error::half_an_answer)?)
        }
        Outcome::AboveHold => Refusal::AboveHold(answer.hold.ok_or_else(Error::half_an_answer)?),
        Outcome::TipTooHigh => Refusal::TipTooHigh(answer.hold.ok_or_else(Error::half_an_answer)?),
        Outcome::PayoutOpen => Refusal::PayoutOpen,
        Outcome::AboveOwed => {
            Refusal::AboveOwed(answer.owed_minor.ok_or_else(Error::half_an_answer)?)
        }
        Outcome::TipTooLate => Refusal::TipTooLate,
        Outcome::TipInCash => Refusal::TipInCash,
        Outcome::AboveCaptured => {
            Refusal::AboveCaptured(answer.hold.ok_or_else(Error::half_an_answer)?)
        }
    };
    Err(refusal.into())
}

/// Whether a statement had no effect because another one about the same thing was faster.
pub(super) fn is_overtaken(error: &sqlx::Error) -> bool {
    let fenced = db::violated_constraint(error).is_some_and(|name| FENCES.contains(&name));
    // A serialization failure or a deadlock.
    let code = error.as_database_error().and_then(|error| error.code());
    fenced || code.is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}
