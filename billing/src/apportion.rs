//! Parts of a whole: which part of each line is in the first so many units of their sum.

use crate::fare::FareError;

/// The parts of `wholes` that make up the first `amount` units of their sum: each as near to its
/// proportion as integers allow.
///
/// Think of every unit of every whole laid out on one line, the units of each whole evenly over its
/// length; this counts those among the first `amount`. So a larger amount never takes less of any of
/// them, nothing is ever left over, and all of the sum is all of each: what one amount adds to another
/// is the difference of the two, and never negative.
///
/// # Errors
/// [`FareError::OutOfRange`] for an amount below zero or above the sum, or a negative whole.
pub fn first<const N: usize>(wholes: [i64; N], amount: i64) -> Result<[i64; N], FareError> {
    let total: i128 = wholes.iter().copied().map(i128::from).sum();
    let wanted = i128::from(amount);
    if wholes.iter().any(|&whole| whole < 0) || !(0..=total).contains(&wanted) {
        return Err(FareError::OutOfRange);
    }
    if total == 0 {
        return Ok(wholes);
    }
    // The n-th unit of a whole, from 0, lies at (2n + 1) / 2 whole. Up to amount / total there are
    // about the right number of units, wrong by half a unit per whole at most.
    let mut parts = [0_i128; N];
    for (part, &whole) in parts.iter_mut().zip(&wholes) {
        *part = (2 * i128::from(whole) * wanted + total) / (2 * total);
    }
    let mut count: i128 = parts.iter().sum();
    // Of equals the first comes first: it is taken before the others and given back after them.
    while count < wanted {
        let mut next: Option<usize> = None;
        for place in 0..N {
            let is_there = parts[place] < i128::from(wholes[place]);
            let is_nearer = |other: usize| {
                (2 * parts[place] + 1) * i128::from(wholes[other])
                    < (2 * parts[other] + 1) * i128::from(wholes[place])
            };
            if is_there && next.is_none_or(is_nearer) {
                next = Some(place);
            }
        }
        let Some(place) = next else { break };
        parts[place] += 1;
        count += 1;
    }
    while count > wanted {
        let mut last: Option<usize> = None;
        for place in 0..N {
            let is_farther = |other: usize| {
                (2 * parts[place] - 1) * i128::from(wholes[other])
                    >= (2 * parts[other] - 1) * i128::from(wholes[place])
            };
            if parts[place] > 0 && last.is_none_or(is_farther) {
                last = Some(place);
            }
        }
        let Some(place) = last else { break };
        parts[place] -= 1;
        count -= 1;
    }
    let mut units = [0; N];
    for (unit, part) in units.iter_mut().zip(parts) {
        *unit = i64::try_from(part).map_err(|_| FareError::TooLarge)?;
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by counting: unit after unit, to whichever whole's next one lies first.
    fn by_counting<const N: usize>(wholes: [i64; N], amount: i64) -> [i64; N] {
        let mut parts = [0; N];
        for _ in 0..amount {
            let open = (0..N).filter(|&place| parts[place] < wholes[place]);
            let next = open.min_by(|&a, &b| {
                let at = |place: usize, other: usize| (2 * parts[place] + 1) * wholes[other];
                at(a, b).cmp(&at(b, a)).then(a.cmp(&b))
            });
            parts[next.unwrap()] += 1;
        }
        parts
    }

    #[test]
    fn parts_by_hand() {
        let lines = [150, 434, 255, 0, 100, 56];
        assert_eq!(first(lines, 0), Ok([0; 6]));
        assert_eq!(first(lines, 995), Ok(lines));
        assert_eq!(first(lines, 500), Ok([76, 218, 128, 0, 50, 28]));
        assert_eq!(first(lines, 996), Err(FareError::OutOfRange));
        assert_eq!(first(lines, -1), Err(FareError::OutOfRange));
        assert_eq!(first([5, -1], 2), Err(FareError::OutOfRange));
        assert_eq!(first([0, 0], 0), Ok([0, 0]));
        // Of equals the first.
        assert_eq!(first([1, 1, 1], 2), Ok([1, 1, 0]));
    }

    #[test]
    fn every_part_of_every_small_sum_is_what_counting_gives() {
        for a in 0..6 {
            for b in 0..6 {
                for c in 0..6 {
                    for amount in 0..=a + b + c {
                        let counted = by_counting([a, b, c], amount);
                        assert_eq!(
                            first([a, b, c], amount),
                            Ok(counted),
                            "{a} {b} {c} {amount}"
                        );
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_larger_amount_never_takes_less(
            wholes in prop::array::uniform14(prop_oneof![0..4_i64, 0..3_000_i64, 0..=70_000_000_000_000_i64]),
            cuts: [u64; 2],
        ) {
            let total: i64 = wholes.iter().sum();
            let mut amounts = cuts.map(|cut| (cut % (total as u64 + 1)) as i64);
            amounts.sort_unstable();
            let [less, more] = amounts.map(|amount| first(wholes, amount).unwrap());
            prop_assert_eq!(less.iter().sum::<i64>(), amounts[0]);
            for place in 0..wholes.len() {
                prop_assert!(0 <= less[place] && less[place] <= more[place]);
                prop_assert!(more[place] <= wholes[place]);
            }
            prop_assert_eq!(first(wholes, total), Ok(wholes));
        }
    }
}
