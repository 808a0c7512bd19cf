//! Settings of one service that those of another have to agree with. Who runs all of it is refused where
//! they do not; a service of its own knows only its own part, and `jitney doctor` looks at a whole file.

use std::time::Duration;

use anyhow::ensure;

use crate::Config;

/// Refuses settings that are sound by themselves and not together.
///
/// # Errors
/// Names both settings and what they must be.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let (matching, trips, billing) = (&config.matching, &config.trips, &config.billing);
    let shown = |duration: Duration| humantime_serde::re::humantime::format_duration(duration);
    ensure!(
        trips.timers.renew_after <= billing.hold_validity / 2,
        "trips.timers.renew_after ({}) must be at most half of billing.hold_validity ({}), or holds of live \
         rides end before they are renewed",
        shown(trips.timers.renew_after),
        shown(billing.hold_validity)
    );
    ensure!(
        trips.booking.ahead_max <= billing.quote_ahead_max,
        "trips.booking.ahead_max ({}) must be at most billing.quote_ahead_max ({}), or there is no price for a \
         ride so far ahead",
        shown(trips.booking.ahead_max),
        shown(billing.quote_ahead_max)
    );
    ensure!(
        trips.search_backstop > matching.offer_grace,
        "trips.search_backstop ({}) must be longer than matching.offer_grace ({}), or offers are ended that \
         may still be accepted",
        shown(trips.search_backstop),
        shown(matching.offer_grace)
    );
    // Pick-up, drop-off and, where the destination is changed on the way, where the car is.
    ensure!(
        trips.stops_max + 3 <= matching.route_points_max,
        "trips.stops_max ({}) must be at least 3 less than matching.route_points_max ({}), or rides with so \
         many stops have no route",
        trips.stops_max,
        matching.route_points_max
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        check(&Config::default()).unwrap();
        type Change = fn(&mut Config);
        let cases: [(Change, &str); 4] = [
            (
                |c| c.billing.hold_validity = Duration::from_secs(11 * 3_600),
                "trips.timers.renew_after (6h) must be at most half of billing.hold_validity (11h)",
            ),
            (
                |c| c.trips.booking.ahead_max = Duration::from_secs(90 * 86_400),
                "billing.quote_ahead_max",
            ),
            (
                |c| c.matching.offer_grace = Duration::from_secs(10),
                "trips.search_backstop",
            ),
            (|c| c.trips.stops_max = 10, "matching.route_points_max (12)"),
        ];
        for (change, names) in cases {
            let mut config = Config::default();
            change(&mut config);
            let refused = check(&config).unwrap_err().to_string();
            assert!(refused.contains(names), "{refused}");
        }
    }
}
