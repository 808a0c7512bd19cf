//! Writers that want the same drivers and offers in different orders: nobody locks anybody out, though a
//! deadlock would end by itself and what met it start over.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join3;
use jitney_platform::testing::{TestDatabase, eventually};
use jitney_proto::{
    ids::{DriverId, OfferId, TripId},
    trips::v1::TripState,
};
use jitney_roads::{LatLon, Travel};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    news::{News, What},
    offer::{Offer, OfferEnd},
    rides::{Beside, Leg, Live, Party, Places, Ride, Rides, StopOrder},
    store::{DriverRow, Store},
};

const ROUNDS: u128 = 60;
const DRIVERS: u128 = 120;

fn driver(round: u128, number: u128) -> DriverId {
    format!("driver-{round}-{number}").parse().expect("an id")
}

fn trip(round: u128, number: u128) -> TripId {
    TripId(Uuid::from_u128(round << 32 | number))
}

fn offer_id(round: u128, number: u128) -> OfferId {
    // In another order than the trips.
    OfferId(Uuid::from_u128(
        round << 32 | (number.wrapping_mul(7919) % 100_003),
    ))
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn row(id: DriverId) -> DriverRow {
    DriverRow {
        id,
        products: vec!["economy".to_owned()],
        vehicle: None,
        available: true,
        shift_no: 1,
        position: None,
        destination: None,
    }
}

fn places() -> Places {
    Places {
        pickup: LatLon::new(43.7, 7.4).expect("a place"),
        dropoff: None,
    }
}

fn offer(round: u128, number: u128) -> Offer {
    Offer {
        id: offer_id(round, number),
        trip: trip(round, number),
        rider: "rita".parse().expect("an id"),
        driver: driver(round, number),
        product: "economy".parse().expect("an id"),
        places: places(),
        fare: None,
        seats: 1,
        to_pickup: Travel {
            duration_ms: 1,
            distance_m: 1,
        },
        beside: None,
        expires_at: now(),
    }
}

fn riding(round: u128, number: u128) -> News {
    News {
        trip: trip(round, number),
        version: 3,
        what: What::Riding {
            driver: driver(round, number),
            live: Live {
                ride: Ride {
                    trip: trip(round, number),
                    since: now(),
                },
                leg: Leg::ToPickup,
                party: Party::default(),
            },
            beside: None,
        },
    }
}

/// A schema of its own, and a source of orders.
async fn schema() -> (TestDatabase, PgPool, Store) {
    let database = TestDatabase::new().await;
    let pool = database.database();
    let pool = pool.open(crate::SCHEMA, &crate::MIGRATOR).await;
    let pool = pool.expect("the schema");
    (database, pool.clone(), Store::new(pool))
}

fn shuffled(random: &mut ChaCha8Rng) -> Vec<u128> {
    let mut numbers: Vec<u128> = (0..DRIVERS).collect();
    numbers.shuffle(random);
    numbers
}

/// How many deadlocks there were, once the pool's connections are gone: what a connection has met is
/// counted at the latest when it ends.
async fn deadlocks(database: &TestDatabase, pool: &PgPool) -> i64 {
    pool.close().await;
    let watcher = PgConnection::connect_with(&database.options()).await;
    let mut watcher = watcher.expect("a connection");
    eventually("the end of the connections", async || {
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut watcher)
        .await
        .expect("a count");
        others == 0
    })
    .await;
    sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        .fetch_one(&mut watcher)
        .await
        .expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_the_same_drivers_never_lock_each_other_out() {
    let (database, pool, store) = schema().await;
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for round in 0..ROUNDS {
        let mut shuffled = || shuffled(&mut random);
        // Some drivers are known, some are new to whoever comes first.
        let known = shuffled().into_iter().take(DRIVERS as usize / 2);
        let known = known.map(|number| row(driver(round, number))).collect();
        store.save_drivers(known).await.expect("saved");
        let rows = shuffled();
        let rows = rows.iter().map(|n| row(driver(round, *n))).collect();
        let told = |numbers: Vec<u128>| -> Vec<News> {
            let told = numbers.into_iter().take(DRIVERS as usize * 3 / 4);
            told.map(|n| riding(round, n)).collect()
        };
        let (first, second) = (told(shuffled()), told(shuffled()));
        try_join3(
            store.save_drivers(rows),
            store.apply(first),
            store.apply(second),
        )
        .await
        .expect("nobody is refused");
    }
    let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM driver WHERE trip_id IS NOT NULL")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert!(applied > i64::try_from(ROUNDS * DRIVERS * 3 / 4).expect("few"));
    assert_eq!(deadlocks(&database, &pool).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rides_of_a_driver_that_end_at_once_are_both_over() {
    let (database, _, store) = schema().await;
    let id = driver(0, 0);
    store
        .save_drivers(vec![row(id.clone())])
        .await
        .expect("saved");
    let mut second = riding(0, 1);
    let What::Riding { driver, beside, .. } = &mut second.what else {
        unreachable!("it is riding")
    };
    driver.clone_from(&id);
    *beside = Some(Beside {
        trip: trip(0, 0),
        shared: false,
        order: StopOrder::default(),
    });
    let told = store.apply(vec![riding(0, 0), second]).await;
    assert_eq!(told.expect("applied"), [true, true]);
    // Both wait for the driver, having seen two rides.
    let options = database.options().options([("search_path", "matching")]);
    let mut holder = PgConnection::connect_with(&options).await.expect("one");
    let mut watcher = PgConnection::connect_with(&options).await.expect("one");
    let mut holding = holder.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM driver FOR UPDATE")
        .execute(&mut *holding)
        .await
        .expect("held");
    let ends = [0, 1].map(|number| {
        let store = store.clone();
        let over = News {
            trip: trip(0, number),
            version: 9,
            what: What::Over {
                state: TripState::Completed,
            },
        };
        tokio::spawn(async move { store.apply(vec![over]).await })
    });
    eventually("both wait", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut watcher)
        .await
        .expect("a count");
        waiting == 2
    })
    .await;
    holding.commit().await.expect("let go");
    for end in ends {
        assert_eq!(
            end.await.expect("it went through").expect("applied"),
            [true]
        );
    }
    let drivers = store.load_drivers().await.expect("read");
    let left: Vec<_> = drivers.iter().map(|(_, rides)| *rides).collect();
    assert_eq!(left, [Rides::default()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_the_same_offers_never_lock_each_other_out() {
    let (database, pool, store) = schema().await;
    // Whose offers were saved last.
    let latest = Arc::new(AtomicU64::new(0));
    let writers = (0..6).map(|writer| {
        let (store, latest) = (store.clone(), Arc::clone(&latest));
        tokio::spawn(async move {
            let mut random = ChaCha8Rng::seed_from_u64(writer);
            for round in 0..ROUNDS {
                let numbers = shuffled(&mut random);
                let tag = u128::from(latest.load(Ordering::Relaxed));
                let done = match writer % 3 {
                    0 => {
                        let tag = u64::try_from(round + 1).expect("few") * 6 + writer;
                        let again = |n: &u128| Offer {
                            id: offer_id(tag.into(), *n),
                            ..offer(0, *n)
                        };
                        let offers: Vec<Offer> = numbers.iter().map(again).collect();
                        latest.store(tag, Ordering::Relaxed);
                        store.save_offers(&offers).await
                    }
                    1 => {
                        let ended: Vec<OfferId> =
                            numbers.iter().map(|n| offer_id(tag, *n)).collect();
                        store.delete_offers(&ended).await
                    }
                    _ => {
                        // The version makes it news.
                        let version = i64::try_from(round + 1).expect("few");
                        let over = numbers.iter().map(|n| News {
                            trip: trip(0, *n),
                            version,
                            what: What::OfferOver {
                                offer: offer_id(tag, *n),
                                end: OfferEnd::Declined,
                            },
                        });
                        store.apply(over.collect()).await.map(|_| ())
                    }
                };
                done.expect("nobody is refused");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("it went through");
    }
    assert_eq!(deadlocks(&database, &pool).await, 0);
}
