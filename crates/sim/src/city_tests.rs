//! Demand that repeats, and what is said before a city lives.
#![allow(clippy::unwrap_used)]

use jitney_proto::matching::v1::Product;
use jitney_roads::testmap;

use super::*;
use crate::demand::Request;

fn demand(seed: u64, count: usize) -> Vec<Request> {
    let streets = Arc::new(Streets::new(Arc::new(testmap::grid(20, 20, 150.0)), None).unwrap());
    let config = Config {
        seed,
        cancel_probability: 0.5,
        ..Config::default()
    };
    let products = vec![
        ProductShare {
            product: "economy".into(),
            share: 3,
        },
        ProductShare {
            product: "van".into(),
            share: 1,
        },
    ];
    Demand::new(config, streets, products).take(count).collect()
}

#[test]
fn demand_repeats_with_its_seed() {
    assert_eq!(demand(11, 50), demand(11, 50));
    assert_ne!(demand(11, 50), demand(12, 50));
}

#[test]
fn demand_is_as_it_was_asked_for() {
    let requests = demand(3, 2_000);
    let config = Config::default();
    let total: Duration = requests.iter().map(|request| request.after).sum();
    let per_hour = 2_000.0 / (total.as_secs_f64() / 3_600.0);
    assert!(
        (per_hour / config.riders_per_hour - 1.0).abs() < 0.1,
        "{per_hour} an hour"
    );
    let vans = requests
        .iter()
        .filter(|request| request.product == "van")
        .count();
    assert!((400..600).contains(&vans), "{vans} of 2000");
    let called_off = requests
        .iter()
        .filter(|request| request.cancel_after.is_some())
        .count();
    assert!((900..1_100).contains(&called_off), "{called_off} of 2000");
    for request in requests {
        let distance_m = request.pickup.point.distance_m(request.dropoff.point);
        assert!((config.trip_meters_min..=config.trip_meters_max).contains(&distance_m));
    }
}

#[test]
fn products_are_the_servers() {
    let product = |product: &str| Product {
        product: product.into(),
        ..Product::default()
    };
    let area = GetServiceAreaResponse {
        products: vec![product("economy"), product("van")],
        ..GetServiceAreaResponse::default()
    };
    assert_eq!(products(&Config::default(), &area).unwrap().len(), 2);
    let limousines = vec![ProductShare {
        product: "limousine".into(),
        share: 1,
    }];
    let config = Config {
        products: limousines,
        ..Config::default()
    };
    let error = products(&config, &area).unwrap_err().to_string();
    assert_eq!(
        error,
        "the server has no product \"limousine\"; it has economy, van"
    );
}

#[tokio::test]
async fn a_missing_gateway_is_named() {
    // Nothing listens on a port that was just given back.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let config = Config {
        gateway_url: format!("http://127.0.0.1:{port}"),
        progress: false,
        ..Config::default()
    };
    let roads = Arc::new(testmap::grid(3, 3, 100.0));
    let tokens = TokenSource::new(|_, _| Ok("token".to_owned()));
    let result = run(config, roads, tokens, CancellationToken::new()).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(
        error.contains(&format!("http://127.0.0.1:{port}")),
        "{error}"
    );
    assert!(error.contains("jitney serve all"), "{error}");
}
