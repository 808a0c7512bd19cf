//! What a ride costs beside its way: by night, in zones, through gates, when cars are scarce; and when it
//! does not take place.

use jitney_billing::{
    Config,
    place::Circle,
    surcharge::{FareZone, Night, TollGate},
};
use jitney_proto::{
    Code,
    billing::v1::{
        self as pb, CaptureReason, FareLineKind as Kind, HoldState, get_balance_request::Owner,
    },
    common::v1::Point,
    time::timestamp,
};

use crate::support::{Sandbox, authorize, refusal};

/// Lisbon's airport.
const AIRPORT: Circle = Circle {
    latitude: 38.77,
    longitude: -9.13,
    radius_m: 1_500.0,
};

/// The way over the bridge, and back, and over it again.
fn over_bridge(times: usize) -> Vec<Point> {
    let banks = [Point::new(38.70, -9.18), Point::new(38.68, -9.18)];
    (0..=times).map(|number| banks[number % 2]).collect()
}

fn config() -> Config {
    let mut config = Config::default();
    let tariff = &mut config.tariffs[0];
    tariff.version = "lisbon-1".to_owned();
    tariff.night = Some(Night {
        from: "21:00".parse().unwrap(),
        to: "06:00".parse().unwrap(),
        time_zone: "Europe/Lisbon".parse().unwrap(),
        percent: 20,
    });
    tariff.zones = vec![FareZone {
        id: "airport".to_owned(),
        area: AIRPORT,
        pickup_minor: 250,
        dropoff_minor: 0,
    }];
    tariff.tolls = vec![TollGate {
        id: "bridge".to_owned(),
        area: Circle {
            latitude: 38.69,
            longitude: -9.18,
            radius_m: 100.0,
        },
        toll_minor: 175,
    }];
    config
}

fn request() -> pb::QuoteFareRequest {
    pb::QuoteFareRequest {
        product: "economy".to_owned(),
        distance_meters: 5_100,
        duration_ms: 765_000,
        pickup_at: Some(timestamp("2026-01-10T12:00:00Z".parse().unwrap())),
        ..Default::default()
    }
}

async fn quote(sandbox: &Sandbox, request: pb::QuoteFareRequest) -> pb::FareQuote {
    let answer = sandbox.trips().quote_fare(request).await.unwrap();
    answer.into_inner().quote.unwrap()
}

fn lines(lines: &[pb::FareLine]) -> Vec<(Kind, i64)> {
    let line = |line: &pb::FareLine| (line.kind(), line.amount.as_ref().unwrap().minor_units);
    lines.iter().map(line).collect()
}

fn minor(money: &Option<jitney_proto::common::v1::Money>) -> i64 {
    money.as_ref().unwrap().minor_units
}

#[tokio::test]
async fn every_line_goes_from_the_quote_to_the_receipt() {
    let sandbox = Sandbox::with(config()).await;
    let plain = quote(&sandbox, request()).await;
    let expected = [
        (Kind::Base, 150),
        (Kind::Distance, 434),
        (Kind::Time, 255),
        (Kind::BookingFee, 100),
        (Kind::Tax, 56),
    ];
    assert_eq!(lines(&plain.lines), expected);
    assert_eq!(plain.surge_percent, 100);

    let dear = quote(
        &sandbox,
        pb::QuoteFareRequest {
            pickup: Some(Point::new(AIRPORT.latitude, AIRPORT.longitude)),
            dropoff: Some(Point::new(38.72, -9.14)),
            pickup_at: Some(timestamp("2026-07-10T20:30:00Z".parse().unwrap())),
            extra_stops: 2,
            surge_percent: 130,
            way: over_bridge(2),
            ..request()
        },
    )
    .await;
    // Of 839: 20 % are 167.8, 30 % are 251.7. Over the bridge twice. 6 % of 2159 are 129.54.
    let expected = [
        (Kind::Base, 150),
        (Kind::Distance, 434),
        (Kind::Time, 255),
        (Kind::Night, 168),
        (Kind::ExtraStop, 200),
        (Kind::Surge, 252),
        (Kind::ZoneFee, 250),
        (Kind::Toll, 350),
        (Kind::BookingFee, 100),
        (Kind::Tax, 130),
    ];
    assert_eq!(lines(&dear.lines), expected);
    assert_eq!((minor(&dear.total), dear.surge_percent), (2_289, 130));

    let trip = uuid::Uuid::now_v7().to_string();
    let hold = authorize(&trip, "anna", &dear.quote_id);
    sandbox.trips().authorize_hold(hold).await.unwrap();
    let capture = pb::CaptureHoldRequest {
        trip_id: trip,
        driver_id: "ben".to_owned(),
        idempotency_key: "k".to_owned(),
        ..Default::default()
    };
    let captured = sandbox.trips().capture_hold(capture).await.unwrap();
    let receipt = captured.into_inner().receipt.unwrap();
    assert_eq!(lines(&receipt.lines), expected);
    // 20 % of 1459 are 291.8 → 292; the fees of airport and bridge are the driver's, who has paid them.
    assert_eq!(minor(&receipt.driver_share), 1_459 - 292 + 250 + 350);
    assert_eq!(minor(&receipt.platform_share), 292 + 100);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_ride_that_went_as_it_is_held_has_the_tolls_it_had() {
    let sandbox = Sandbox::with(config()).await;
    let toll = |quote: &pb::FareQuote| {
        let lines = lines(&quote.lines);
        let toll = lines.iter().find(|(kind, _)| *kind == Kind::Toll);
        toll.map_or(0, |(_, minor)| *minor)
    };
    let over = pb::QuoteFareRequest {
        way: over_bridge(1),
        ..request()
    };
    let upfront = quote(&sandbox, over.clone()).await;
    assert_eq!(toll(&upfront), 175);
    let trip = uuid::Uuid::now_v7().to_string();
    let as_held = pb::QuoteFareRequest {
        tolls_of_trip_id: trip.clone(),
        waiting_ms: 600_000,
        ..request()
    };
    assert_eq!(
        toll(&quote(&sandbox, as_held.clone()).await),
        0,
        "nothing is held"
    );
    let hold = authorize(&trip, "anna", &upfront.quote_id);
    sandbox.trips().authorize_hold(hold).await.unwrap();
    assert_eq!(toll(&quote(&sandbox, as_held.clone()).await), 175);

    let mut trips = sandbox.trips();
    let both = pb::QuoteFareRequest {
        way: over_bridge(1),
        ..as_held.clone()
    };
    let no_trip = pb::QuoteFareRequest {
        tolls_of_trip_id: "this one".to_owned(),
        ..request()
    };
    for (wrong, field) in [(both, "tolls_of_trip_id"), (no_trip, "tolls_of_trip_id")] {
        let status = trips.quote_fare(wrong).await.unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::InvalidRequest));
        assert!(status.message().contains(field), "{status:?}");
    }
    let mut nowhere = over.clone();
    nowhere.way[1].latitude = 91.0;
    let status = trips.quote_fare(nowhere).await.unwrap_err();
    assert!(status.message().contains("way[1]"), "{status:?}");
    let endless = pb::QuoteFareRequest {
        way: vec![Point::new(38.70, -9.18); 100_001],
        ..request()
    };
    assert_eq!(
        refusal(trips.quote_fare(endless).await),
        Code::InvalidRequest
    );

    // A toll that somebody has written into the quote is nobody's.
    sqlx::query(
        "UPDATE fare_quote SET toll_minor = 1175, total_minor = total_minor + 1000 WHERE id = $1",
    )
    .bind(upfront.quote_id.parse::<uuid::Uuid>().unwrap())
    .execute(&mut sandbox.superuser().await)
    .await
    .unwrap();
    assert_eq!(
        refusal(trips.quote_fare(as_held).await),
        Code::QuoteNotGenuine
    );
}

#[tokio::test]
async fn scarcity_is_capped_and_nonsense_refused() {
    let sandbox = Sandbox::new().await;
    for (asked, got) in [(0, 100), (50, 100), (149, 149), (150, 150), (1_000, 150)] {
        let surge_percent = asked;
        let quote = quote(
            &sandbox,
            pb::QuoteFareRequest {
                surge_percent,
                ..request()
            },
        )
        .await;
        assert_eq!(quote.surge_percent, got, "{asked}");
    }
    let nowhere = pb::QuoteFareRequest {
        dropoff: Some(Point::new(38.72, 181.0)),
        ..request()
    };
    let refused = sandbox.trips().quote_fare(nowhere).await;
    assert_eq!(refusal(refused), Code::InvalidRequest);
}

#[tokio::test]
async fn a_fee_is_taken_instead_of_the_fare_and_the_rest_released() {
    let sandbox = Sandbox::new().await;
    // Half of the minimum fare, and the minimum fare, and their tax.
    for (reason, kind, fee, tax) in [
        (
            CaptureReason::CancellationFee,
            Kind::CancellationFee,
            225,
            14,
        ),
        (CaptureReason::NoShowFee, Kind::NoShowFee, 450, 27),
    ] {
        let rider = format!("{reason:?}");
        let held = sandbox.held(&rider).await;
        let total = fee + tax;
        let quoted = match reason {
            CaptureReason::NoShowFee => &held.quote.no_show_fee,
            _ => &held.quote.cancellation_fee,
        };
        assert_eq!(minor(quoted), total);
        let driver_id = format!("{rider}-driver");
        let request = pb::CaptureHoldRequest {
            reason: reason.into(),
            driver_id: driver_id.clone(),
            ..held.capture(&format!("{rider}:capture"))
        };
        let mut trips = sandbox.trips();
        let with_amount = pb::CaptureHoldRequest {
            amount: held.quote.total.clone(),
            ..request.clone()
        };
        assert_eq!(
            refusal(trips.capture_hold(with_amount).await),
            Code::InvalidRequest
        );
        let captured = trips.capture_hold(request.clone()).await.unwrap();
        let captured = captured.into_inner();
        let hold = captured.hold.clone().unwrap();
        assert_eq!(
            (hold.state(), minor(&hold.captured)),
            (HoldState::Captured, total)
        );
        let receipt = captured.receipt.clone().unwrap();
        assert_eq!(lines(&receipt.lines), [(kind, fee), (Kind::Tax, tax)]);
        assert_eq!(minor(&receipt.driver_share), fee - fee / 5);
        assert_eq!(
            sandbox.exposure(&rider).await,
            0,
            "nothing is held any more"
        );
        assert_eq!(sandbox.balance(Owner::RiderId(rider.clone())).await, total);
        assert_eq!(
            sandbox.balance(Owner::DriverId(driver_id)).await,
            fee - fee / 5
        );

        // Once, under whatever key and for whatever reason.
        let again = trips.capture_hold(request.clone()).await.unwrap();
        assert_eq!(again.into_inner(), captured);
        let fare = pb::CaptureHoldRequest {
            reason: CaptureReason::Fare.into(),
            ..request.clone()
        };
        assert_eq!(
            refusal(trips.capture_hold(fare.clone()).await),
            Code::IdempotencyKeyReused
        );
        let other_key = pb::CaptureHoldRequest {
            idempotency_key: format!("{rider}:another"),
            ..fare
        };
        assert_eq!(
            refusal(trips.capture_hold(other_key).await),
            Code::HoldNotOpen
        );
    }
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_fee_is_at_most_what_is_held() {
    let mut config = Config::default();
    for rates in config.tariffs[0].products.values_mut() {
        rates.no_show_fee_minor = 100_000;
    }
    let sandbox = Sandbox::with(config).await;
    let held = sandbox.held("anna").await;
    let request = pb::CaptureHoldRequest {
        reason: CaptureReason::NoShowFee.into(),
        ..held.capture("k")
    };
    let captured = sandbox.trips().capture_hold(request).await.unwrap();
    let receipt = captured.into_inner().receipt.unwrap();
    assert_eq!(minor(&receipt.total), held.total());
    sandbox.assert_sound().await;
}
