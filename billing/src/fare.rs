//! What a ride costs: a distance and a time under a product's rates become lines that sum to the
//! total. Integers from end to end; every line is rounded once, half to even.

use jitney_proto::billing::v1::FareLineKind;
use serde::{Deserialize, Serialize};

use crate::tariff::{BASIS_POINTS, Rates};

/// The largest amount anything here may come to, minor units. It leaves room in 64 bits to add up
/// more rides than one person can take.
pub const MAX_MINOR: i64 = 1_000_000_000_000_000;

/// Why there is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FareError {
    /// A distance or a time below zero, or a share of more than there is.
    #[error("is out of range")]
    OutOfRange,
    /// The price is beyond [`MAX_MINOR`].
    #[error("makes a fare above {MAX_MINOR} minor units")]
    TooLarge,
}

/// The lines of a fare, minor units. None is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FareLines {
    /// The flat part.
    pub base_minor: i64,
    /// Per kilometre.
    pub distance_minor: i64,
    /// Per minute.
    pub time_minor: i64,
    /// What lifts the three above to the minimum.
    pub minimum_top_up_minor: i64,
    /// The platform's fee for arranging the ride.
    pub booking_fee_minor: i64,
    /// Tax on all of the above.
    pub tax_minor: i64,
}

/// The price of `distance_meters` and `duration_ms` under `rates`, with tax on top.
pub fn price(
    rates: &Rates,
    tax_basis_points: i64,
    distance_meters: i64,
    duration_ms: i64,
) -> Result<FareLines, FareError> {
    if distance_meters < 0 || duration_ms < 0 {
        return Err(FareError::OutOfRange);
    }
    let base_minor = rates.base_minor;
    let distance_minor = times(rates.per_km_minor, distance_meters, 1_000)?;
    let time_minor = times(rates.per_minute_minor, duration_ms, 60_000)?;
    let metered = sum(&[base_minor, distance_minor, time_minor])?;
    let minimum_top_up_minor = (rates.minimum_minor - metered).max(0);
    let booking_fee_minor = rates.booking_fee_minor;
    let net = sum(&[metered, minimum_top_up_minor, booking_fee_minor])?;
    let tax_minor = times(net, tax_basis_points, BASIS_POINTS)?;
    let lines = FareLines {
        base_minor,
        distance_minor,
        time_minor,
        minimum_top_up_minor,
        booking_fee_minor,
        tax_minor,
    };
    lines.total()?;
    Ok(lines)
}

impl FareLines {
    /// Every line with its kind, in the order receipts show them.
    pub fn each(&self) -> [(FareLineKind, i64); 6] {
        [
            (FareLineKind::Base, self.base_minor),
            (FareLineKind::Distance, self.distance_minor),
            (FareLineKind::Time, self.time_minor),
            (FareLineKind::MinimumTopUp, self.minimum_top_up_minor),
            (FareLineKind::BookingFee, self.booking_fee_minor),
            (FareLineKind::Tax, self.tax_minor),
        ]
    }

    /// What the lines sum to.
    pub fn total(&self) -> Result<i64, FareError> {
        sum(&self.each().map(|(_, minor)| minor))
    }

    /// What is paid for the ride itself: everything but booking fee and tax.
    pub fn ride(&self) -> Result<i64, FareError> {
        sum(&[
            self.base_minor,
            self.distance_minor,
            self.time_minor,
            self.minimum_top_up_minor,
        ])
    }

    /// The lines of a charge of `amount` when the whole fare was more. Each line keeps its
    /// proportion, rounded down; what the rounding leaves over goes to the largest line, the first
    /// of equals, so that the lines sum to `amount`.
    pub fn scaled(&self, amount: i64) -> Result<FareLines, FareError> {
        let total = self.total()?;
        if amount == total {
            return Ok(*self);
        }
        if amount < 0 || amount > total {
            return Err(FareError::OutOfRange);
        }
        // `amount` is below `total`, so `total` is not zero and no line grows.
        let part =
            |minor: i64| minor_of(i128::from(minor) * i128::from(amount) / i128::from(total));
        let mut lines = FareLines {
            base_minor: part(self.base_minor)?,
            distance_minor: part(self.distance_minor)?,
            time_minor: part(self.time_minor)?,
            minimum_top_up_minor: part(self.minimum_top_up_minor)?,
            booking_fee_minor: part(self.booking_fee_minor)?,
            tax_minor: part(self.tax_minor)?,
        };
        let left_over = amount - lines.total()?;
        *lines.largest_of(self) += left_over;
        Ok(lines)
    }

    /// The line of `self` that is the largest, and the first of equals, in `whole`.
    fn largest_of(&mut self, whole: &FareLines) -> &mut i64 {
        let mut largest = (whole.base_minor, &mut self.base_minor);
        for (in_whole, line) in [
            (whole.distance_minor, &mut self.distance_minor),
            (whole.time_minor, &mut self.time_minor),
            (whole.minimum_top_up_minor, &mut self.minimum_top_up_minor),
            (whole.booking_fee_minor, &mut self.booking_fee_minor),
            (whole.tax_minor, &mut self.tax_minor),
        ] {
            if in_whole > largest.0 {
                largest = (in_whole, line);
            }
        }
        largest.1
    }
}

/// `rate × quantity ÷ per`, rounded half to even.
pub(crate) fn times(rate: i64, quantity: i64, per: i64) -> Result<i64, FareError> {
    // Two 64-bit factors always fit in 128 bits.
    minor_of(half_even(
        i128::from(rate) * i128::from(quantity),
        i128::from(per),
    ))
}

/// `dividend ÷ divisor` to the nearest integer, ties to the even one; `divisor` is positive.
fn half_even(dividend: i128, divisor: i128) -> i128 {
    let down = dividend.div_euclid(divisor);
    let rest = dividend.rem_euclid(divisor);
    // `rest` and `divisor - rest` do not overflow, as twice `rest` could.
    match rest.cmp(&(divisor - rest)) {
        std::cmp::Ordering::Less => down,
        std::cmp::Ordering::Equal if down % 2 == 0 => down,
        _ => down + 1,
    }
}

fn sum(amounts: &[i64]) -> Result<i64, FareError> {
    minor_of(amounts.iter().copied().map(i128::from).sum())
}

fn minor_of(amount: i128) -> Result<i64, FareError> {
    match i64::try_from(amount) {
        Ok(minor) if minor.abs() <= MAX_MINOR => Ok(minor),
        _ => Err(FareError::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATES: Rates = Rates {
        base_minor: 150,
        per_km_minor: 85,
        per_minute_minor: 20,
        minimum_minor: 450,
        booking_fee_minor: 100,
        platform_share_basis_points: 2_000,
    };

    #[test]
    fn a_ride_by_hand() {
        // 5.1 km → 433.5 → 434 (even); 12 min 45 s → 255; 839 + 100, 6 % of 939 = 56.34 → 56.
        let lines = price(&RATES, 600, 5_100, 765_000).unwrap();
        assert_eq!(lines.distance_minor, 434);
        assert_eq!(lines.time_minor, 255);
        assert_eq!(lines.minimum_top_up_minor, 0);
        assert_eq!(lines.booking_fee_minor, 100);
        assert_eq!(lines.tax_minor, 56);
        assert_eq!(lines.total().unwrap(), 995);
        assert_eq!(lines.ride().unwrap(), 839);
    }

    #[test]
    fn a_short_ride_is_lifted_to_the_minimum() {
        let lines = price(&RATES, 0, 0, 0).unwrap();
        assert_eq!(lines.minimum_top_up_minor, 300);
        assert_eq!(lines.total().unwrap(), 550);
    }

    #[test]
    fn a_currency_without_cents_needs_nothing_special() {
        // Yen: 300 per km, 45 per minute; 2.345 km → 703.5 → 704; 7 min → 315.
        let rates = Rates {
            base_minor: 500,
            per_km_minor: 300,
            per_minute_minor: 45,
            minimum_minor: 900,
            booking_fee_minor: 0,
            platform_share_basis_points: 0,
        };
        let lines = price(&rates, 1_000, 2_345, 420_000).unwrap();
        assert_eq!(
            (lines.distance_minor, lines.time_minor, lines.tax_minor),
            (704, 315, 152)
        );
        assert_eq!(lines.total().unwrap(), 1_671);
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let cases = [
            (1, 2, 0),
            (3, 2, 2),
            (5, 2, 2),
            (7, 2, 4),
            (-1, 2, 0),
            (-3, 2, -2),
        ];
        for (dividend, divisor, expected) in cases {
            assert_eq!(
                half_even(dividend, divisor),
                expected,
                "{dividend}/{divisor}"
            );
        }
        // Exhaustively, against the definition: nearest, and even when two are as near.
        for divisor in 1..=40_i128 {
            for dividend in -400..=400_i128 {
                let rounded = half_even(dividend, divisor);
                let off = (rounded * divisor - dividend).abs() * 2;
                assert!(off <= divisor, "{dividend}/{divisor} → {rounded}");
                assert!(
                    off < divisor || rounded % 2 == 0,
                    "{dividend}/{divisor} → {rounded}"
                );
            }
        }
    }

    #[test]
    fn too_much_is_an_error_and_never_wraps() {
        assert_eq!(price(&RATES, 0, -1, 0), Err(FareError::OutOfRange));
        assert_eq!(price(&RATES, 0, 0, -1), Err(FareError::OutOfRange));
        assert_eq!(price(&RATES, 0, i64::MAX, 0), Err(FareError::TooLarge));
        assert_eq!(price(&RATES, 0, 0, i64::MAX), Err(FareError::TooLarge));
        let dear = Rates {
            base_minor: MAX_MINOR,
            per_km_minor: MAX_MINOR,
            per_minute_minor: MAX_MINOR,
            minimum_minor: MAX_MINOR,
            booking_fee_minor: MAX_MINOR,
            platform_share_basis_points: BASIS_POINTS,
        };
        assert_eq!(
            price(&dear, BASIS_POINTS, i64::MAX, i64::MAX),
            Err(FareError::TooLarge)
        );
        assert_eq!(price(&dear, 0, 0, 0), Err(FareError::TooLarge));
    }

    #[test]
    fn every_part_of_every_small_fare_sums() {
        for base in 0..4 {
            for distance in 0..4 {
                for fee in 0..3 {
                    for tax in 0..3 {
                        let lines = FareLines {
                            base_minor: base,
                            distance_minor: distance,
                            booking_fee_minor: fee,
                            tax_minor: tax,
                            ..FareLines::default()
                        };
                        for amount in 0..=lines.total().unwrap() {
                            let part = lines.scaled(amount).unwrap();
                            assert_eq!(part.total(), Ok(amount), "{lines:?} {amount}");
                            assert!(part.each().iter().all(|(_, minor)| *minor >= 0));
                        }
                    }
                }
            }
        }
        assert_eq!(FareLines::default().scaled(1), Err(FareError::OutOfRange));
        assert_eq!(FareLines::default().scaled(-1), Err(FareError::OutOfRange));
    }

    fn amounts() -> impl Strategy<Value = i64> {
        prop_oneof![0..2_000_i64, 0..=MAX_MINOR / 8]
    }

    proptest! {
        #[test]
        fn lines_sum_to_the_total(
            base in amounts(), km in 0..100_000_i64, minute in 0..100_000_i64,
            minimum in amounts(), fee in amounts(), tax in 0..=BASIS_POINTS,
            meters in 0..2_000_000_i64, ms in 0..200_000_000_i64,
        ) {
            let rates = Rates {
                base_minor: base, per_km_minor: km, per_minute_minor: minute,
                minimum_minor: minimum, booking_fee_minor: fee, platform_share_basis_points: 0,
            };
            let lines = price(&rates, tax, meters, ms).unwrap();
            let total: i64 = lines.each().iter().map(|(_, minor)| minor).sum();
            prop_assert_eq!(lines.total(), Ok(total));
            prop_assert!(lines.each().iter().all(|(_, minor)| *minor >= 0));
            prop_assert!(lines.ride().unwrap() >= minimum);
            // A farther or longer ride never costs less.
            let farther = price(&rates, tax, meters + 1, ms).unwrap();
            prop_assert!(farther.total().unwrap() >= total);
            let longer = price(&rates, tax, meters, ms + 1).unwrap();
            prop_assert!(longer.total().unwrap() >= total);
        }

        #[test]
        fn any_input_gives_a_price_or_an_error(
            rates in prop::array::uniform5(0..=MAX_MINOR), tax in 0..=BASIS_POINTS,
            meters: i64, ms: i64,
        ) {
            let [base, km, minute, minimum, fee] = rates;
            let rates = Rates {
                base_minor: base, per_km_minor: km, per_minute_minor: minute,
                minimum_minor: minimum, booking_fee_minor: fee, platform_share_basis_points: 0,
            };
            if let Ok(lines) = price(&rates, tax, meters, ms) {
                prop_assert!(lines.total().unwrap() <= MAX_MINOR);
            }
        }

        #[test]
        fn a_part_sums_and_stays_within_the_whole(
            lines in prop::array::uniform6(0..=MAX_MINOR / 8), cut: u64,
        ) {
            let [base, distance, time, top_up, fee, tax] = lines;
            let lines = FareLines {
                base_minor: base, distance_minor: distance, time_minor: time,
                minimum_top_up_minor: top_up, booking_fee_minor: fee, tax_minor: tax,
            };
            let total = lines.total().unwrap();
            let amount = (cut % (total as u64 + 1)) as i64;
            let part = lines.scaled(amount).unwrap();
            prop_assert_eq!(part.total(), Ok(amount));
            for ((_, part), (_, whole)) in part.each().into_iter().zip(lines.each()) {
                prop_assert!(part >= 0);
                prop_assert!(part <= whole + 5);
            }
        }
    }
}
