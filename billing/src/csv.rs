//! Tables for other programs: CSV as RFC 4180 has it. What people wrote never becomes a formula in the
//! spreadsheet that opens it.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use jitney_proto::{common::v1::Document, money::Money};

use crate::statement::{Posted, Statement, Sums};

/// A table under way.
#[derive(Default)]
struct Table(String);

impl Table {
    fn of(head: &[&str]) -> Table {
        let mut table = Table::default();
        table.row(&head.iter().map(|&name| text(name)).collect::<Vec<_>>());
        table
    }

    /// Adds cells that are escaped already.
    fn row(&mut self, cells: &[String]) {
        self.0.push_str(&cells.join(","));
        self.0.push_str("\r\n");
    }

    fn document(self, file_name: String) -> Document {
        Document {
            content_type: "text/csv; charset=utf-8".to_owned(),
            file_name,
            data: self.0.into_bytes(),
        }
    }
}

/// A cell of words. One that a spreadsheet would take for a formula gets a quote before it.
fn text(words: &str) -> String {
    let is_formula = words.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
    let guard = if is_formula { "'" } else { "" };
    if words.contains(['"', ',', '\r', '\n', ';', '\t']) {
        format!("\"{guard}{}\"", words.replace('"', "\"\""))
    } else {
        format!("{guard}{words}")
    }
}

/// A cell with an amount in major units: digits, a point, a sign, and nothing else.
fn amount(money: Money) -> String {
    let shown = money.to_string();
    let digits = shown.split_once(' ').map_or("", |(_, digits)| digits);
    digits.to_owned()
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn local(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone)
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A person's postings.
pub fn postings(whose: &str, postings: &[Posted]) -> Document {
    let head = [
        "posted_at",
        "account",
        "kind",
        "about",
        "number",
        "currency",
        "amount",
    ];
    let mut table = Table::of(&head);
    for posted in postings {
        table.row(&[
            time(posted.place.posted_at),
            text(&posted.account),
            text(&posted.place.kind),
            posted.place.about.to_string(),
            posted.place.seq.to_string(),
            posted.currency.to_string(),
            amount(Money::new(posted.amount_minor, posted.currency)),
        ]);
    }
    table.document(format!("postings-{whose}.csv"))
}

/// A driver's month: the balance it began with, every movement, and the balance it ended with.
pub fn statement(driver: &str, statement: &Statement, sums: &Sums) -> Document {
    let mut table = Table::of(&["at", "what", "about", "number", "currency", "amount"]);
    let money = |minor| amount(Money::new(minor, statement.currency));
    let currency = statement.currency.to_string();
    let balance = |at, what: &str, minor| {
        let (what, none) = (text(what), String::new());
        [
            local(at, statement.zone),
            what,
            none.clone(),
            none,
            currency.clone(),
            money(minor),
        ]
    };
    table.row(&balance(
        statement.from,
        "OPENING_BALANCE",
        statement.opening_minor,
    ));
    for movement in &statement.movements {
        table.row(&[
            local(movement.at, statement.zone),
            text(&movement.kind),
            movement.about.to_string(),
            movement.seq.to_string(),
            currency.clone(),
            money(movement.minor()),
        ]);
    }
    table.row(&balance(
        statement.to,
        "CLOSING_BALANCE",
        sums.closing_minor,
    ));
    table.document(format!("statement-{driver}-{}.csv", statement.month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_words_whatever_they_begin_with() {
        for (words, cell) in [
            ("PAYOUT", "PAYOUT"),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2", "'-2"),
            ("+2", "'+2"),
            ("\t=1", "\"'\t=1\""),
            ("a,b", "\"a,b\""),
            ("say \"no\"\r\n", "\"say \"\"no\"\"\r\n\""),
            (
                "=HYPERLINK(\"x\",\"y\")",
                "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"",
            ),
        ] {
            assert_eq!(text(words), cell);
        }
    }

    #[test]
    fn amounts_are_numbers() {
        let money = |minor, code: &str| amount(Money::new(minor, code.parse().unwrap()));
        assert_eq!(money(-1_234, "EUR"), "-12.34");
        assert_eq!(money(5, "JPY"), "5");
    }
}
