//! A living city: many rides at once through the public gateway, and the checks that follow them.

use std::time::Duration;

use jitney_platform::{auth::Role, clock::Clock};
use jitney_sim::{TokenSource, Until};
use tokio_util::sync::CancellationToken;

use crate::support::{City, monaco};

#[tokio::test(flavor = "multi_thread")]
async fn a_simulated_city_keeps_every_rule() {
    let city = City::start().await;
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
        until: Until::Requests(14),
        speed: jitney_sim::SPEED_MAX,
        trip_meters_min: 100.0,
        trip_meters_max: 500.0,
        decline_probability: 0.2,
        cancel_probability: 0.1,
        progress: false,
        ..jitney_sim::Config::default()
    };
    let report = jitney_sim::run(config, monaco(), tokens, CancellationToken::new())
        .await
        .expect("the simulation runs");
    assert!(report.ok(), "{report}");
    assert_eq!(city.ledger().await["balanced"], true);
}
