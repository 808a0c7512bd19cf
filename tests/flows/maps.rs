//! A ride on other cities' maps, where those maps are at hand: one with negative ids and no header
//! box, one of a whole metropolitan area.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{DriverApp, Process, point, receipt_of};

/// The folder with the maps that are not part of the project, if it is there.
fn shared_map(name: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/maps")
        .join(name);
    if !file.exists() {
        println!("skipped: {} is not there", file.display());
    }
    file.exists().then(|| file.canonicalize().unwrap())
}

async fn ride_on(map: &str, driver: (f64, f64), from: (f64, f64), to: (f64, f64)) {
    let Some(map) = shared_map(map) else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = Process::serve_all_with(
        folder.path(),
        None,
        &[("JITNEY_MAP__FILE", map.to_str().unwrap())],
    );
    let (anna, dora) = (
        program.phone("rider", "anna"),
        program.phone("driver", "dora"),
    );
    let mut app = DriverApp::connect(&dora).await;
    app.go_online(driver, &["economy"]).await;
    let body = json!({"pickup": point(from), "dropoff": point(to), "product": "economy"});
    let trip = anna.post_keyed("/v1/trips", "ride", body).await.ok()["trip"].clone();
    let offer = app.next("offer").await;
    app.accept(&offer).await;
    let trip_id = trip["tripId"].as_str().unwrap();
    app.drive(trip_id, trip["pin"].as_str().unwrap()).await;
    let receipt = receipt_of(&anna, trip_id).await;
    assert_eq!(receipt["total"], trip["fare"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ride_in_portland() {
    ride_on(
        "portland.osm.pbf",
        (45.5230, -122.6760),
        (45.5205, -122.6795),
        (45.5280, -122.6850),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ride_in_porto() {
    ride_on(
        "porto-portugal.osm.pbf",
        (41.1496, -8.6110),
        (41.1579, -8.6291),
        (41.1455, -8.6100),
    )
    .await;
}
