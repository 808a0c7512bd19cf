//! Receipts to read, print and keep. A [`Sheet`] says what is on one; how it looks as a page for a browser
//! or for a printer is decided here and nowhere else. The same receipt gives the same bytes.

use chrono::SecondsFormat;
use jitney_proto::{billing::v1::FareLineKind, money::Money};
use maud::{DOCTYPE, html};
use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};

use crate::receipt::{Receipt, View};

/// Characters of a line of the printed page.
const COLUMNS: usize = 72;
/// Lines of the printed page, at most.
const ROWS_MAX: usize = 50;

/// Refunds with a row of their own, at most, so that a page holds everything; more have one together.
const REFUNDS_MAX: usize = 12;

/// What is on a document: facts, then amounts that sum up, then the sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// The heading.
    pub title: String,
    /// What it is about: names and values.
    pub facts: Vec<(String, String)>,
    /// What the sum is made of.
    pub amounts: Vec<(String, Money)>,
    /// The sum.
    pub total: Money,
    /// What is said of the sum below it.
    pub notes: Vec<(String, Money)>,
}

impl Sheet {
    /// A receipt, as much of it as the view shows.
    pub fn of_receipt(receipt: &Receipt, view: View) -> Sheet {
        let money = |minor| Money::new(minor, receipt.currency);
        let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let lines = receipt.lines.each().into_iter();
        let lines = lines.chain([
            (FareLineKind::Promotion, -receipt.promotion_minor),
            (FareLineKind::Dues, receipt.dues_minor),
            (FareLineKind::Tip, receipt.tip_minor),
        ]);
        let lines = lines.filter(|(_, minor)| *minor != 0);
        let mut notes = Vec::new();
        if view.shows_driver_share() {
            notes.push((
                "For the driver".to_owned(),
                money(receipt.driver_share_minor),
            ));
        }
        if view.shows_platform_share() {
            let share = money(receipt.platform_share_minor);
            notes.push(("For the platform".to_owned(), share));
        }
        if receipt.credit_minor != 0 {
            notes.push(("Paid with credit".to_owned(), money(receipt.credit_minor)));
        }
        if receipt.cash_minor != 0 {
            notes.push(("Paid in cash".to_owned(), money(receipt.cash_minor)));
        }
        if receipt.carried_minor != 0 {
            let carried = money(receipt.carried_minor);
            notes.push(("To be paid with the next ride".to_owned(), carried));
        }
        if receipt.refunds.len() <= REFUNDS_MAX {
            notes.extend(receipt.refunds.iter().map(|refund| {
                let at = refund.refunded_at;
                let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
                (format!("Given back {at}"), money(refund.total_minor))
            }));
        } else {
            let times = format!("Given back, {} times", receipt.refunds.len());
            notes.push((times, money(receipt.refunded_minor)));
        }
        let charged_at = receipt
            .captured_at
            .to_rfc3339_opts(SecondsFormat::Secs, true);
        Sheet {
            title: "Receipt".to_owned(),
            facts: vec![
                fact("Trip", &receipt.trip_id.to_string()),
                fact("Rider", &receipt.rider_id),
                fact("Driver", &receipt.driver_id),
                fact("Product", &receipt.product),
                fact("Tariff", &receipt.tariff_version),
                fact("Charged", &charged_at),
            ],
            amounts: lines
                .map(|(kind, minor)| (label(kind).to_owned(), money(minor)))
                .collect(),
            total: money(receipt.to_pay_minor()),
            notes,
        }
    }

    /// The sheet as a page for a browser. It loads nothing and runs nothing.
    pub fn html(&self) -> String {
        let amount = |name: &str, money: &Money| {
            html! { tr { td { (name) } td.amount { (money) } } }
        };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) }
                    style { (maud::PreEscaped(STYLE)) }
                }
                body {
                    h1 { (self.title) }
                    dl {
                        @for (name, value) in &self.facts { dt { (name) } dd { (value) } }
                    }
                    table {
                        tbody {
                            @for (name, money) in &self.amounts { (amount(name, money)) }
                        }
                        tfoot { (amount("Total", &self.total)) }
                    }
                    @if !self.notes.is_empty() {
                        table.notes {
                            tbody { @for (name, money) in &self.notes { (amount(name, money)) } }
                        }
                    }
                }
            }
        };
        page.into_string()
    }

    /// The sheet as a page to print: A4, in fonts that every reader has.
    pub fn pdf(&self) -> Vec<u8> {
        let [catalog, pages, page, bold, plain, content, info] =
            [1, 2, 3, 4, 5, 6, 7].map(Ref::new);
        let (heading, body) = (Name(b"F1"), Name(b"F2"));
        let mut pdf = Pdf::new();
        pdf.catalog(catalog).pages(pages);
        pdf.pages(pages).kids([page]).count(1);
        pdf.document_info(info).title(TextStr(&self.title));
        let mut sheet = pdf.page(page);
        sheet.media_box(Rect::new(0.0, 0.0, 595.0, 842.0));
        sheet.parent(pages);
        sheet.contents(content);
        let mut resources = sheet.resources();
        resources.fonts().pair(heading, bold).pair(body, plain);
        resources.finish();
        sheet.finish();
        pdf.type1_font(bold).base_font(Name(b"Helvetica-Bold"));
        pdf.type1_font(plain).base_font(Name(b"Courier"));
        let mut text = Content::new();
        text.begin_text();
        text.set_font(heading, 20.0);
        text.next_line(80.0, 770.0);
        text.show(Str(&printable(&self.title)));
        text.set_font(body, 10.0);
        text.next_line(0.0, -20.0);
        for row in self.rows().iter().take(ROWS_MAX) {
            text.next_line(0.0, -14.0);
            text.show(Str(&printable(row)));
        }
        text.end_text();
        pdf.stream(content, &text.finish());
        pdf.finish()
    }

    /// The rows of the printed page.
    fn rows(&self) -> Vec<String> {
        let amount = |name: &str, money: &Money| {
            let money = money.to_string();
            let room = COLUMNS.saturating_sub(money.len());
            format!("{name:<room$.room$}{money}")
        };
        let rule = "-".repeat(COLUMNS);
        let mut rows: Vec<String> = Vec::new();
        for (name, value) in &self.facts {
            rows.push(format!("{name:<12}{value}"));
        }
        rows.push(String::new());
        rows.extend(self.amounts.iter().map(|(name, money)| amount(name, money)));
        rows.push(rule);
        rows.push(amount("Total", &self.total));
        if !self.notes.is_empty() {
            rows.push(String::new());
            rows.extend(self.notes.iter().map(|(name, money)| amount(name, money)));
        }
        rows
    }
}

/// A line of a fare, for people.
fn label(kind: FareLineKind) -> &'static str {
    match kind {
        FareLineKind::Unspecified => "Other",
        FareLineKind::Base => "Base fare",
        FareLineKind::Distance => "Distance",
        FareLineKind::Time => "Time",
        FareLineKind::MinimumTopUp => "Up to the minimum fare",
        FareLineKind::BookingFee => "Booking fee",
        FareLineKind::Tax => "Tax",
        FareLineKind::CancellationFee => "Cancellation fee",
        FareLineKind::NoShowFee => "No-show fee",
        FareLineKind::Waiting => "Waiting",
        FareLineKind::Night => "Night",
        FareLineKind::ExtraStop => "Extra stops",
        FareLineKind::Surge => "High demand",
        FareLineKind::ZoneFee => "Zone fee",
        FareLineKind::Toll => "Toll",
        FareLineKind::Tip => "Tip for the driver",
        FareLineKind::Promotion => "Promotion",
        FareLineKind::Dues => "Fees brought forward",
    }
}

/// The text in the characters that the fonts are sure to have.
fn printable(text: &str) -> Vec<u8> {
    let known = |character: char| match character {
        ' '..='~' => character as u8,
        _ => b'?',
    };
    text.chars().map(known).collect()
}

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:36em;margin:2em auto;padding:0 1em}\
    dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1em}dt{color:#555}dd{margin:0}\
    table{width:100%;border-collapse:collapse;margin-top:1em}td{padding:.2em 0}\
    .amount{text-align:right;font-variant-numeric:tabular-nums}\
    tfoot td{border-top:1px solid;font-weight:bold}.notes{color:#555}";

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{fare::FareLines, refund::Refund};

    fn receipt() -> Receipt {
        Receipt {
            trip_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            rider_id: "anna".to_owned(),
            driver_id: "ben".to_owned(),
            product: "economy".to_owned(),
            tariff_version: "standard-2".to_owned(),
            currency: "EUR".parse().unwrap(),
            lines: FareLines {
                base_minor: 150,
                night_minor: 30,
                booking_fee_minor: 100,
                tax_minor: 17,
                ..FareLines::default()
            },
            total_minor: 297,
            driver_share_minor: 144,
            platform_share_minor: 136,
            captured_at: DateTime::from_timestamp(1_767_225_600, 0).unwrap(),
            promotion_minor: 0,
            credit_minor: 0,
            payment_method: crate::hold::PaymentMethod::Card,
            dues_minor: 0,
            cash_minor: 0,
            carried_minor: 0,
            refunded_minor: 0,
            refunds: Vec::new(),
            upfront_minor: None,
            tip_minor: 0,
        }
    }

    #[test]
    fn a_page_says_what_the_receipt_says() {
        let sheet = Sheet::of_receipt(&receipt(), View::Rider);
        let page = sheet.html();
        for text in [
            "Receipt",
            "anna",
            "2026-01-01T00:00:00Z",
            "Night",
            "EUR 0.30",
            "EUR 2.97",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        for text in ["For the driver", "EUR 1.44", "Surge", "script", "http"] {
            assert!(!page.contains(text), "{text}: {page}");
        }
        let drivers = Sheet::of_receipt(&receipt(), View::Driver).html();
        assert!(
            drivers.contains("EUR 1.44") && !drivers.contains("EUR 1.36"),
            "{drivers}"
        );
        let staffs = Sheet::of_receipt(&receipt(), View::Staff).html();
        assert!(staffs.contains("EUR 1.36"), "{staffs}");
    }

    #[test]
    fn everything_at_once_fits_the_printed_page() {
        let mut full = receipt();
        full.lines = FareLines::of_amounts(&[1; FareLines::COUNT]).unwrap();
        full.promotion_minor = 1;
        full.dues_minor = 1;
        full.tip_minor = 1;
        full.credit_minor = 1;
        full.cash_minor = 1;
        full.carried_minor = 1;
        let refund = Refund {
            seq: 1,
            currency: full.currency,
            lines: FareLines::default(),
            total_minor: 7,
            driver_share_minor: 0,
            platform_share_minor: 0,
            promotion_minor: 0,
            credit_minor: 0,
            reason: "a detour".to_owned(),
            refunded_at: full.captured_at,
        };
        for count in [1, REFUNDS_MAX, REFUNDS_MAX + 1, 500] {
            full.refunds = vec![refund.clone(); count];
            full.refunded_minor = 7 * count as i64;
            let rows = Sheet::of_receipt(&full, View::Staff).rows();
            assert!(rows.len() <= ROWS_MAX, "{count}: {rows:?}");
            let back: Vec<_> = rows
                .iter()
                .filter(|row| row.contains("Given back"))
                .collect();
            let sum = format!("EUR {}.{:02}", 7 * count / 100, 7 * count % 100);
            if count > REFUNDS_MAX {
                assert!(back.len() == 1 && back[0].ends_with(&sum), "{back:?}");
            } else {
                assert_eq!(back.len(), count);
            }
        }
    }

    #[test]
    fn whatever_somebody_is_called_is_text() {
        let mut receipt = receipt();
        receipt.rider_id = "<b>&\"'".to_owned();
        let page = Sheet::of_receipt(&receipt, View::Rider).html();
        assert!(page.contains("&lt;b&gt;&amp;&quot;"), "{page}");
    }

    #[test]
    fn the_printed_page_has_the_same_rows() {
        let sheet = Sheet::of_receipt(&receipt(), View::Driver);
        let rows = sheet.rows();
        assert!(rows.iter().all(|row| row.len() <= COLUMNS), "{rows:?}");
        assert!(
            rows.contains(&format!("{:<64}EUR 0.30", "Night")),
            "{rows:?}"
        );
        assert!(
            rows.contains(&format!("{:<64}EUR 2.97", "Total")),
            "{rows:?}"
        );
        let pdf = sheet.pdf();
        assert!(
            pdf.starts_with(b"%PDF-1.7") && pdf.ends_with(b"%%EOF"),
            "{pdf:?}"
        );
        let written = String::from_utf8_lossy(&pdf);
        assert!(
            written.contains("EUR 2.97") && written.contains("(Receipt)"),
            "{written}"
        );
        assert_eq!(pdf, sheet.pdf(), "the same bytes");
        let mut odd = receipt();
        odd.rider_id = "(\\ü\n".to_owned();
        let pdf = Sheet::of_receipt(&odd, View::Rider).pdf();
        assert!(
            String::from_utf8_lossy(&pdf).contains("\\(\\\\??"),
            "brackets are escaped"
        );
    }

    #[test]
    fn every_line_has_a_name() {
        let lines = FareLines::default();
        let mut names: Vec<_> = lines.each().map(|(kind, _)| label(kind)).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FareLines::COUNT);
        assert!(!names.contains(&"Other"));
    }
}
