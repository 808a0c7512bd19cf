//! Rides out of where taxis were: a table of `t_s` (seconds), `cab`, `lat`, `lon` and `occupied` (0 or 1),
//! a row for each time that a taxi told its place.
//!
//! A ride is what lies between the row in which somebody is in the taxi for the first time and the last
//! such row. Only rides whose beginning and end were seen count: between two rows of the taxi without
//! anybody, and without a long silence in between.

use std::collections::BTreeMap;

use jitney_roads::LatLon;

use super::demand::{BAD_PLACE, BAD_TIME, Demand, Row, Table, WantedRide, time_of_day_ms};

/// The columns that make a table one of fixes.
pub(super) const COLUMNS: [&str; 5] = ["t_s", "cab", "lat", "lon", "occupied"];

/// A taxi that was silent for longer may have been anywhere, and had another ride, seconds.
const SILENCE_S_MAX: i64 = 600;

/// What is shorter is a meter that was tried, seconds.
const RIDE_S_MIN: i64 = 60;

/// Where a taxi was.
#[derive(Clone, Copy)]
struct Fix {
    at_s: i64,
    place: LatLon,
    is_occupied: bool,
}

/// A ride that is going on.
#[derive(Clone, Copy)]
struct Open {
    pickup: Fix,
    last: Fix,
    /// The taxi was seen empty before it, and heard of all the while.
    is_whole: bool,
}

/// The rides, in the order of their beginnings.
pub(super) fn rides(table: &Table<'_>, utc_offset_s: i64) -> anyhow::Result<Demand> {
    let columns = table.columns(COLUMNS)?;
    let mut demand = Demand::default();
    let mut cabs: BTreeMap<String, Vec<Fix>> = BTreeMap::new();
    for row in table.rows() {
        match fix(&row, columns) {
            Ok((cab, fix)) => cabs.entry(cab).or_default().push(fix),
            Err(reason) => demand.skipped.count(reason),
        }
    }
    let mut seen = Vec::new();
    for fixes in cabs.values_mut() {
        fixes.sort_by_key(|fix| fix.at_s);
        of_cab(fixes, &mut seen, &mut demand);
    }
    seen.sort_by_key(|open| open.pickup.at_s);
    for Open { pickup, last, .. } in seen {
        match time_of_day_ms(pickup.at_s, utc_offset_s) {
            Ok(at_ms) => demand.rides.push(WantedRide {
                at_ms,
                pickup: pickup.place,
                dropoff: last.place,
            }),
            Err(reason) => demand.skipped.count(reason),
        }
    }
    Ok(demand)
}

fn fix(row: &Row, columns: [usize; 5]) -> Result<(String, Fix), &'static str> {
    let [at, cab, lat, lon, occupied] = columns;
    let number = |column| row.get(column)?.parse::<f64>().map_err(|_| BAD_PLACE);
    let fix = Fix {
        at_s: row.get(at)?.parse().map_err(|_| BAD_TIME)?,
        place: LatLon::new(number(lat)?, number(lon)?).map_err(|_| BAD_PLACE)?,
        is_occupied: match row.get(occupied)? {
            "0" => false,
            "1" => true,
            _ => return Err("occupied that is not 0 or 1"),
        },
    };
    match row.get(cab)? {
        "" => Err("no cab"),
        cab => Ok((cab.to_owned(), fix)),
    }
}

/// The rides of one taxi, whose fixes are in the order of time.
fn of_cab(fixes: &[Fix], rides: &mut Vec<Open>, demand: &mut Demand) {
    const CUT: &str = "ride whose beginning or end was not seen";
    let mut open: Option<Open> = None;
    let mut before: Option<Fix> = None;
    for &fix in fixes {
        let is_heard =
            before.is_some_and(|before| fix.at_s.saturating_sub(before.at_s) <= SILENCE_S_MAX);
        before = Some(fix);
        match &mut open {
            Some(ride) if fix.is_occupied => {
                ride.is_whole &= is_heard;
                ride.last = fix;
            }
            None if fix.is_occupied => {
                open = Some(Open {
                    pickup: fix,
                    last: fix,
                    is_whole: is_heard,
                });
            }
            Some(ride) => {
                if !(ride.is_whole && is_heard) {
                    demand.skipped.count(CUT);
                } else if ride.last.at_s.saturating_sub(ride.pickup.at_s) < RIDE_S_MIN {
                    demand.skipped.count("ride of less than a minute");
                } else {
                    rides.push(*ride);
                }
                open = None;
            }
            None => {}
        }
    }
    if open.is_some() {
        demand.skipped.count(CUT);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Fixes of one taxi: seconds, place along a street, and whether somebody is in it.
    fn read(fixes: &[(i64, f64, u8)]) -> Demand {
        let mut text = "t_s,cab,lat,lon,occupied\n".to_owned();
        for (at_s, lon, occupied) in fixes {
            text += &format!("{at_s},7,37.5,{lon},{occupied}\n");
        }
        Demand::parse(&text, None, 17 * 3600).unwrap()
    }

    fn skipped(demand: &Demand) -> Vec<(&str, u64)> {
        let counts = demand.skipped.0.iter();
        counts.map(|(why, &count)| (why.as_str(), count)).collect()
    }

    #[test]
    fn a_ride_is_from_the_first_place_with_somebody_to_the_last() {
        let demand = read(&[
            (0, 1.0, 0),
            (60, 2.0, 1),
            (120, 3.0, 1),
            (180, 4.0, 1),
            (240, 5.0, 0),
        ]);
        let place = |lon| LatLon::new(37.5, lon).unwrap();
        let expected = WantedRide {
            at_ms: (17 * 3600 + 60) * 1000,
            pickup: place(2.0),
            dropoff: place(4.0),
        };
        assert_eq!(demand.rides, [expected]);
        assert_eq!(skipped(&demand), []);
    }

    #[test]
    fn rides_of_which_an_end_was_not_seen_do_not_count() {
        let cut = [("ride whose beginning or end was not seen", 1)];
        // Under way at the beginning, at the end, and silent: before, during, and after.
        let cases: [&[(i64, f64, u8)]; 5] = [
            &[(0, 1.0, 1), (90, 2.0, 1), (120, 3.0, 0)],
            &[(0, 1.0, 0), (60, 2.0, 1), (120, 3.0, 1)],
            &[(0, 1.0, 0), (601, 2.0, 1), (700, 3.0, 1), (760, 3.0, 0)],
            &[(0, 1.0, 0), (60, 2.0, 1), (661, 3.0, 1), (700, 3.0, 0)],
            &[(0, 1.0, 0), (60, 2.0, 1), (160, 3.0, 1), (761, 3.0, 0)],
        ];
        for case in cases {
            let demand = read(case);
            assert!(demand.rides.is_empty(), "{case:?}");
            assert_eq!(skipped(&demand), cut, "{case:?}");
        }
        let tried = read(&[(0, 1.0, 0), (60, 2.0, 1), (119, 2.0, 1), (130, 2.0, 0)]);
        assert_eq!(skipped(&tried), [("ride of less than a minute", 1)]);
    }

    #[test]
    fn taxis_are_told_apart_and_rows_need_no_order() {
        let text = "t_s,cab,lat,lon,occupied\n\
            120,a,1,1,1\n0,a,1,1,0\n60,b,1,1,1\n60,a,1,1,1\n0,b,1,1,0\n180,b,1,1,0\n180,a,1,1,0\n\
            150,b,1,1,1\nx,a,1,1,0\n0,a,NaN,1,0\n0,a,1,1,maybe\n0,,1,1,0\n0,a,1,1\n\
            9223372036854775807,c,1,1,1\n-9223372036854775808,c,1,1,0\n";
        let demand = Demand::parse(text, None, 0).unwrap();
        assert_eq!(demand.rides.len(), 2);
        let counted: Vec<u64> = skipped(&demand).iter().map(|&(_, count)| count).collect();
        assert_eq!(counted, [1, 1, 1, 1, 1, 1], "{:?}", demand.skipped);
    }
}
