//! What happened to a person's money: postings by the page, and a driver's month, whose opening balance
//! and entries add up to its closing balance.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, Months, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use jitney_proto::money::Currency;
use serde::Deserialize;
use uuid::Uuid;

use crate::fare::FareError;

/// A posting to a person's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Where it stands among the others.
    pub place: Place,
    /// Which account.
    pub account: String,
    /// The currency of the amount.
    pub currency: Currency,
    /// How much, minor units; debits positive, credits negative.
    pub amount_minor: i64,
}

/// Where a posting stands in a list: by time, then by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// When.
    pub posted_at: DateTime<Utc>,
    /// The trip, payout or credit it is about.
    pub about: Uuid,
    /// Why money moved.
    pub kind: String,
    /// Which one of its kind.
    pub seq: i32,
    /// Which posting of the entry.
    pub position: i32,
}

impl Place {
    /// The place as a text, for the next page to begin after.
    pub fn token(&self) -> String {
        let micros = self.posted_at.timestamp_micros();
        let about = self.about.simple();
        format!(
            "{micros}.{about}.{}.{}.{}",
            self.kind, self.seq, self.position
        )
    }

    /// Reads [`Place::token`].
    pub fn from_token(token: &str) -> Option<Place> {
        let mut parts = token.split('.');
        let mut next = || parts.next();
        let place = Place {
            posted_at: DateTime::from_timestamp_micros(next()?.parse().ok()?)?,
            about: Uuid::try_parse(next()?).ok()?,
            kind: next().filter(|kind| kind.len() < 32)?.to_owned(),
            seq: next()?.parse().ok()?,
            position: next()?.parse().ok()?,
        };
        (parts.next().is_none()
            && place
                .kind
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b == b'_'))
        .then_some(place)
    }
}

/// A month of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month(NaiveDate);

/// A text is not a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a month from 1970-01 to 9999-12")]
pub struct NotAMonth;

impl FromStr for Month {
    type Err = NotAMonth;
    fn from_str(text: &str) -> Result<Month, NotAMonth> {
        let (year, month) = text.split_once('-').ok_or(NotAMonth)?;
        let are_digits = |text: &str, count| {
            text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !are_digits(year, 4) || !are_digits(month, 2) {
            return Err(NotAMonth);
        }
        let year = year.parse().map_err(|_| NotAMonth)?;
        let first = NaiveDate::from_ymd_opt(year, month.parse().map_err(|_| NotAMonth)?, 1);
        first.filter(|_| year >= 1970).map(Month).ok_or(NotAMonth)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl Month {
    /// From when until when it is, by the clocks of that zone; the end is not in it.
    pub fn bounds(self, zone: Tz) -> (DateTime<Utc>, DateTime<Utc>) {
        let next = self.0.checked_add_months(Months::new(1));
        (
            beginning(self.0, zone),
            beginning(next.unwrap_or(NaiveDate::MAX), zone),
        )
    }
}

/// When a day begins. Where its midnight is left out by the clocks, with the next hour that is there.
fn beginning(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    let hours = (0..24).map(|hour| midnight + TimeDelta::hours(hour));
    let begins = hours
        .filter_map(|hour| zone.from_local_datetime(&hour).earliest())
        .next();
    begins.map_or_else(|| midnight.and_utc(), |at| at.to_utc())
}

/// What an entry did to what a driver is owed, minor units; above zero is more for the driver.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Movement {
    /// Why money moved.
    pub kind: String,
    /// The trip or payout it is about.
    pub about: Uuid,
    /// Which one of its kind.
    pub seq: i32,
    /// When.
    pub at: DateTime<Utc>,
    /// In the account of what they are owed.
    pub payable_minor: i64,
    /// In the account of the cash they owe.
    pub cash_due_minor: i64,
}

impl Movement {
    /// In both together.
    pub fn minor(&self) -> i64 {
        self.payable_minor.saturating_add(self.cash_due_minor)
    }
}

/// A driver's month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which.
    pub month: Month,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
    /// By whose clocks.
    pub zone: Tz,
    /// The currency of the amounts.
    pub currency: Currency,
    /// What the driver was owed at the beginning, minor units.
    pub opening_minor: i64,
    /// What happened, oldest first.
    pub movements: Vec<Movement>,
}

/// A month in numbers, minor units; above zero is for the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many fares were taken.
    pub rides: u32,
    /// The driver's shares of them.
    pub fares_minor: i64,
    /// Tips.
    pub tips_minor: i64,
    /// What the driver gave back.
    pub refunds_minor: i64,
    /// What is due of cash that the driver took.
    pub cash_dues_minor: i64,
    /// What was paid out, without what came back.
    pub payouts_minor: i64,
    /// What the driver was owed at the end.
    pub closing_minor: i64,
}

impl Statement {
    /// The month in numbers. The opening balance and the sums add up to the closing balance.
    ///
    /// # Errors
    /// When an amount is beyond all bounds.
    pub fn sums(&self) -> Result<Sums, FareError> {
        let mut sums = Sums {
            closing_minor: self.opening_minor,
            ..Sums::default()
        };
        for movement in &self.movements {
            let add = |to: &mut i64, minor: i64| {
                *to = to.checked_add(minor).ok_or(FareError::TooLarge)?;
                Ok(())
            };
            match movement.kind.as_str() {
                "CAPTURE" => {
                    sums.rides += 1;
                    add(&mut sums.fares_minor, movement.payable_minor)?;
                    add(&mut sums.cash_dues_minor, movement.cash_due_minor)?;
                }
                "TIP" => add(&mut sums.tips_minor, movement.minor())?,
                "REFUND" => add(&mut sums.refunds_minor, movement.minor())?,
                _ => add(&mut sums.payouts_minor, movement.minor())?,
            }
            add(&mut sums.closing_minor, movement.minor())?;
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(month: &str, zone: &str) -> (String, String) {
        let month: Month = month.parse().unwrap();
        let (from, to) = month.bounds(zone.parse().unwrap());
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        (text(from), text(to))
    }

    fn pair(from: &str, to: &str) -> (String, String) {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn a_month_is_by_the_clocks_of_the_city() {
        assert_eq!(
            bounds("2026-03", "Europe/Lisbon"),
            pair("2026-03-01T00:00:00Z", "2026-03-31T23:00:00Z")
        );
        assert_eq!(
            bounds("2025-12", "Asia/Tokyo"),
            pair("2025-11-30T15:00:00Z", "2025-12-31T15:00:00Z")
        );
        // At midnight of that first of October there was no midnight in Asunción.
        assert_eq!(
            bounds("2017-10", "America/Asuncion").0,
            "2017-10-01T04:00:00Z"
        );
        assert_eq!(bounds("9999-12", "UTC").0, "9999-12-01T00:00:00Z");
        for wrong in [
            "", "2026", "2026-13", "2026-00", "26-01", "2026-1", "1969-12", "+026-01",
        ] {
            assert_eq!(wrong.parse::<Month>(), Err(NotAMonth), "{wrong}");
        }
        assert_eq!("2026-03".parse::<Month>().unwrap().to_string(), "2026-03");
    }

    #[test]
    fn a_place_survives_its_token() {
        let place = Place {
            posted_at: "2026-03-01T00:00:00.123456Z".parse().unwrap(),
            about: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            kind: "PAYOUT_SETTLED".to_owned(),
            seq: 3,
            position: 1,
        };
        let token = place.token();
        assert_eq!(Place::from_token(&token), Some(place));
        let cut = &token[..token.len() - 2];
        for wrong in [
            "",
            "a",
            cut,
            &format!("{token}.1"),
            &token.replace("PAY", "pay"),
        ] {
            assert_eq!(Place::from_token(wrong), None, "{wrong}");
        }
    }
}
