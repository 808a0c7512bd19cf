//! A living city: many rides at once through the public gateway, and the checks that follow them.

use std::{sync::Arc, time::Duration};

use jitney_platform::{auth::Role, clock::Clock};
use jitney_roads::testmap;
use jitney_sim::{TokenSource, Until};
use tokio_util::sync::CancellationToken;

use crate::support::City;

#[tokio::test(flavor = "multi_thread")]
async fn a_simulated_city_keeps_every_rule() {
    // Short streets: the test is of many rides, not of long ways.
    let roads = Arc::new(testmap::grid(12, 12, 60.0));
    let city = City::start_on(roads.clone(), |_| {}).await;
    let keys = city.keys.clone();
    let tokens = TokenSource::new(move |role, id| {
        let role = Role::of(role).expect("a role");
        keys.mint(role, id, Duration::from_secs(3600), Clock::system().now())
    });
    let config = jitney_sim::Config {
        gateway_url: city.url.clone(),
        seed: 7,
        drivers: 12,
        riders_per_hour: 6000.0,
        until: Until::Requests(24),
        speed: jitney_sim::SPEED_MAX,
        trip_meters_min: 100.0,
        trip_meters_max: 500.0,
        boarding_time_max: Duration::from_secs(4),
        decline_probability: 0.2,
        cancel_probability: 0.1,
        progress: false,
        ..jitney_sim::Config::default()
    };
    let report = jitney_sim::run(config, roads, tokens, CancellationToken::new())
        .await
        .expect("the simulation runs");
    assert!(report.ok(), "{report}");
    assert!(report.rides.served >= 12, "{report}");
    assert_eq!(city.ledger().await["balanced"], true);
}
