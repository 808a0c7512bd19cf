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

/// Whose a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Part of the ride itself: driver and platform share it.
    Ride,
    /// The driver's, who has paid it on the way.
    Driver,
    /// The platform's.
    Platform,
    /// The state's.
    Tax,
}

macro_rules! fare_lines {
    ($($(#[$doc:meta])* $field:ident = $kind:ident, $whose:ident;)*) => {
        /// The lines of a fare, minor units, in the order receipts show them. None is negative.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct FareLines {
            $($(#[$doc])* pub $field: i64,)*
        }

        impl FareLines {
            /// How many lines there are.
            pub const COUNT: usize = [$(stringify!($field)),*].len();
            /// Their columns in the database, in order.
            pub const COLUMNS: [&str; Self::COUNT] = [$(stringify!($field)),*];
            const WHOSE: [Whose; Self::COUNT] = [$(Whose::$whose),*];

            /// Every line with its kind, in order.
            pub fn each(&self) -> [(FareLineKind, i64); Self::COUNT] {
                [$((FareLineKind::$kind, self.$field)),*]
            }

            fn each_mut(&mut self) -> [&mut i64; Self::COUNT] {
                [$(&mut self.$field),*]
            }
        }
    };
}

fare_lines! {
    /// The flat part.
    base_minor = Base, Ride;
    /// Per kilometre.
    distance_minor = Distance, Ride;
    /// Per minute.
    time_minor = Time, Ride;
    /// What lifts the three above to the minimum.
    minimum_top_up_minor = MinimumTopUp, Ride;
    /// Per minute that the driver waited, after the free ones.
    waiting_minor = Waiting, Ride;
    /// For riding by night.
    night_minor = Night, Ride;
    /// Per stop between pick-up and drop-off.
    extra_stop_minor = ExtraStop, Ride;
    /// For riding when cars are scarce.
    surge_minor = Surge, Ride;
    /// For calling the ride off late.
    cancellation_fee_minor = CancellationFee, Ride;
    /// For not coming.
    no_show_fee_minor = NoShowFee, Ride;
    /// For beginning or ending in a zone that costs, an airport for example.
    zone_fee_minor = ZoneFee, Driver;
    /// For roads and bridges on the way that cost.
    toll_minor = Toll, Driver;
    /// The platform's fee for arranging the ride.
    booking_fee_minor = BookingFee, Platform;
    /// Tax on all of the above.
    tax_minor = Tax, Tax;
}

/// What a ride is priced by, beside the rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ride {
    /// Driving distance, metres.
    pub distance_meters: i64,
    /// Driving time, milliseconds.
    pub duration_ms: i64,
    /// Stops between pick-up and drop-off.
    pub extra_stops: i64,
    /// How long the driver waited for the rider, milliseconds.
    pub waiting_ms: i64,
    /// What riding at that time of the night adds, percent; 0 by day.
    pub night_percent: i64,
    /// What scarcity makes of the fare, percent; 100 leaves it.
    pub surge_percent: i64,
    /// The fees of the zones it begins and ends in, minor units.
    pub zone_fee_minor: i64,
    /// The tolls on its way, minor units.
    pub toll_minor: i64,
}

/// The price of a ride under `rates`, with tax on top.
///
/// Night and surge are percentages of the metered fare lifted to its minimum, each on its own: a surge
/// is not a surge on the night. Every line is rounded once.
///
/// # Errors
/// [`FareError`].
pub fn price(rates: &Rates, tax_basis_points: i64, ride: &Ride) -> Result<FareLines, FareError> {
    let counts = [
        ride.distance_meters,
        ride.duration_ms,
        ride.extra_stops,
        ride.waiting_ms,
        ride.night_percent,
        ride.surge_percent - 100,
        ride.zone_fee_minor,
        ride.toll_minor,
    ];
    if counts.iter().any(|&count| count < 0) {
        return Err(FareError::OutOfRange);
    }
    let base_minor = rates.base_minor;
    let distance_minor = times(rates.per_km_minor, ride.distance_meters, 1_000)?;
    let time_minor = times(rates.per_minute_minor, ride.duration_ms, 60_000)?;
    let metered = sum(&[base_minor, distance_minor, time_minor])?;
    let minimum_top_up_minor = (rates.minimum_minor - metered).max(0);
    let lifted = sum(&[metered, minimum_top_up_minor])?;
    let paid_waiting_ms = (ride.waiting_ms - rates.waiting_free_ms).max(0);
    let lines = FareLines {
        base_minor,
        distance_minor,
        time_minor,
        minimum_top_up_minor,
        waiting_minor: times(rates.waiting_per_minute_minor, paid_waiting_ms, 60_000)?,
        night_minor: times(lifted, ride.night_percent, 100)?,
        extra_stop_minor: times(rates.extra_stop_minor, ride.extra_stops, 1)?,
        surge_minor: times(lifted, ride.surge_percent - 100, 100)?,
        zone_fee_minor: ride.zone_fee_minor,
        toll_minor: ride.toll_minor,
        booking_fee_minor: rates.booking_fee_minor,
        ..FareLines::default()
    };
    lines.taxed(tax_basis_points)
}

impl FareLines {
    /// A cancellation fee and nothing else, with tax on top.
    ///
    /// # Errors
    /// [`FareError::TooLarge`].
    pub fn cancellation_fee(fee_minor: i64, tax_basis_points: i64) -> Result<FareLines, FareError> {
        let lines = FareLines {
            cancellation_fee_minor: fee_minor,
            ..FareLines::default()
        };
        lines.taxed(tax_basis_points)
    }

    /// A no-show fee and nothing else, with tax on top.
    ///
    /// # Errors
    /// [`FareError::TooLarge`].
    pub fn no_show_fee(fee_minor: i64, tax_basis_points: i64) -> Result<FareLines, FareError> {
        let lines = FareLines {
            no_show_fee_minor: fee_minor,
            ..FareLines::default()
        };
        lines.taxed(tax_basis_points)
    }

    /// The lines, which have no tax yet, with it.
    fn taxed(self, tax_basis_points: i64) -> Result<FareLines, FareError> {
        let lines = FareLines {
            tax_minor: times(self.total()?, tax_basis_points, BASIS_POINTS)?,
            ..self
        };
        lines.total()?;
        Ok(lines)
    }

    /// The amounts alone, in order.
    pub fn amounts(&self) -> [i64; Self::COUNT] {
        self.each().map(|(_, minor)| minor)
    }

    /// The lines of these amounts, in order; `None` when there are not so many.
    pub fn of_amounts(amounts: &[i64]) -> Option<FareLines> {
        let amounts: [i64; Self::COUNT] = amounts.try_into().ok()?;
        let mut lines = FareLines::default();
        for (line, minor) in lines.each_mut().into_iter().zip(amounts) {
            *line = minor;
        }
        Some(lines)
    }

    /// What the lines sum to.
    ///
    /// # Errors
    /// [`FareError::TooLarge`].
    pub fn total(&self) -> Result<i64, FareError> {
        sum(&self.amounts())
    }

    /// What is paid for the ride itself, which driver and platform share.
    ///
    /// # Errors
    /// [`FareError::TooLarge`].
    pub fn ride(&self) -> Result<i64, FareError> {
        self.of(Whose::Ride)
    }

    /// What is the driver's alone.
    ///
    /// # Errors
    /// [`FareError::TooLarge`].
    pub fn drivers(&self) -> Result<i64, FareError> {
        self.of(Whose::Driver)
    }

    /// What is the platform's alone.
    ///
    /// # Errors
    /// [`FareError::TooLarge`].
    pub fn platforms(&self) -> Result<i64, FareError> {
        self.of(Whose::Platform)
    }

    fn of(&self, whose: Whose) -> Result<i64, FareError> {
        let theirs = self.amounts().into_iter().zip(Self::WHOSE);
        let theirs: Vec<i64> = theirs
            .filter(|&(_, of)| of == whose)
            .map(|(minor, _)| minor)
            .collect();
        sum(&theirs)
    }

    /// What is left of the lines without `others`, line by line.
    pub fn less(&self, others: &FareLines) -> FareLines {
        let mut left = *self;
        for (line, other) in left.each_mut().into_iter().zip(others.amounts()) {
            *line -= other;
        }
        left
    }

    /// The lines of a charge of `amount` when the whole fare was more. Each line keeps its
    /// proportion, rounded down; what the rounding leaves over goes to the largest line, the first
    /// of equals, so that the lines sum to `amount`.
    ///
    /// # Errors
    /// [`FareError::OutOfRange`] for an amount below zero or above the whole.
    pub fn scaled(&self, amount: i64) -> Result<FareLines, FareError> {
        let total = self.total()?;
        if amount == total {
            return Ok(*self);
        }
        if amount < 0 || amount > total {
            return Err(FareError::OutOfRange);
        }
        // `amount` is below `total`, so `total` is not zero and no line grows.
        let mut parts = [0; Self::COUNT];
        for (part, whole) in parts.iter_mut().zip(self.amounts()) {
            *part = minor_of(i128::from(whole) * i128::from(amount) / i128::from(total))?;
        }
        let left_over = amount - sum(&parts)?;
        let mut largest = 0;
        for (place, whole) in self.amounts().into_iter().enumerate() {
            if whole > self.amounts()[largest] {
                largest = place;
            }
        }
        parts[largest] += left_over;
        Ok(FareLines::of_amounts(&parts).unwrap_or_default())
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
        ..FREE
    };

    const FREE: Rates = Rates {
        base_minor: 0,
        per_km_minor: 0,
        per_minute_minor: 0,
        minimum_minor: 0,
        booking_fee_minor: 0,
        platform_share_basis_points: 0,
        waiting_per_minute_minor: 0,
        waiting_free_ms: 0,
        extra_stop_minor: 0,
        cancellation_fee_minor: 0,
        no_show_fee_minor: 0,
    };

    fn price(rates: &Rates, tax: i64, meters: i64, ms: i64) -> Result<FareLines, FareError> {
        let ride = Ride {
            distance_meters: meters,
            duration_ms: ms,
            surge_percent: 100,
            ..Ride::default()
        };
        super::price(rates, tax, &ride)
    }

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
            ..FREE
        };
        let lines = price(&rates, 1_000, 2_345, 420_000).unwrap();
        assert_eq!(
            (lines.distance_minor, lines.time_minor, lines.tax_minor),
            (704, 315, 152)
        );
        assert_eq!(lines.total().unwrap(), 1_671);
    }

    #[test]
    fn a_night_ride_to_the_airport_by_hand() {
        let rates = Rates {
            waiting_per_minute_minor: 30,
            waiting_free_ms: 120_000,
            extra_stop_minor: 150,
            ..RATES
        };
        let ride = Ride {
            distance_meters: 5_100,
            duration_ms: 765_000,
            extra_stops: 2,
            waiting_ms: 245_000,
            night_percent: 20,
            surge_percent: 130,
            zone_fee_minor: 500,
            toll_minor: 310,
        };
        // Of 839: 20 % are 167.8 → 168, 30 % are 251.7 → 252. 2 min 5 s paid → 62.5 → 62 (even).
        let lines = super::price(&rates, 600, &ride).unwrap();
        let expected = FareLines {
            base_minor: 150,
            distance_minor: 434,
            time_minor: 255,
            waiting_minor: 62,
            night_minor: 168,
            extra_stop_minor: 300,
            surge_minor: 252,
            zone_fee_minor: 500,
            toll_minor: 310,
            booking_fee_minor: 100,
            tax_minor: 152, // 6 % of 2531 = 151.86
            ..FareLines::default()
        };
        assert_eq!(lines, expected);
        assert_eq!(lines.total(), Ok(2_683));
        assert_eq!(
            (lines.ride(), lines.drivers(), lines.platforms()),
            (Ok(1_621), Ok(810), Ok(100))
        );
        for wrong in [
            Ride {
                surge_percent: 99,
                ..ride
            },
            Ride {
                extra_stops: -1,
                ..ride
            },
            Ride {
                waiting_ms: -1,
                ..ride
            },
            Ride {
                zone_fee_minor: -1,
                ..ride
            },
            Ride {
                toll_minor: -1,
                ..ride
            },
        ] {
            assert_eq!(
                super::price(&rates, 600, &wrong),
                Err(FareError::OutOfRange)
            );
        }
    }

    #[test]
    fn a_fee_has_its_tax() {
        let lines = FareLines::cancellation_fee(300, 600).unwrap();
        assert_eq!((lines.total(), lines.tax_minor), (Ok(318), 18));
        let lines = FareLines::no_show_fee(0, 600).unwrap();
        assert_eq!(lines, FareLines::default());
    }

    #[test]
    fn lines_have_their_own_columns_and_kinds() {
        let numbered: Vec<i64> = (1..=FareLines::COUNT as i64).collect();
        let lines = FareLines::of_amounts(&numbered).unwrap();
        assert_eq!(lines.amounts().to_vec(), numbered);
        assert_eq!(FareLines::of_amounts(&numbered[1..]), None);
        let json = serde_json::to_value(lines).unwrap();
        for ((column, (kind, minor)), number) in
            FareLines::COLUMNS.iter().zip(lines.each()).zip(1..)
        {
            assert_eq!((minor, &json[column]), (number, &number.into()));
            let name = kind
                .as_str_name()
                .trim_start_matches("FARE_LINE_KIND_")
                .to_lowercase();
            assert_eq!(*column, format!("{name}_minor"));
        }
        // What was kept before there were so many.
        let older: FareLines = serde_json::from_str(r#"{"base_minor": 5}"#).unwrap();
        assert_eq!(older.total(), Ok(5));
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
            ..FREE
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
                minimum_minor: minimum, booking_fee_minor: fee, ..FREE
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
                minimum_minor: minimum, booking_fee_minor: fee, ..FREE
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
                ..FareLines::default()
            };
            let total = lines.total().unwrap();
            let amount = (cut % (total as u64 + 1)) as i64;
            let part = lines.scaled(amount).unwrap();
            prop_assert_eq!(part.total(), Ok(amount));
            for ((_, part), (_, whole)) in part.each().into_iter().zip(lines.each()) {
                prop_assert!(part >= 0);
                prop_assert!(part < whole + FareLines::COUNT as i64);
            }
        }
    }
}
