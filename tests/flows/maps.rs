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

type Place = (f64, f64);

const PORTLAND: [Place; 3] = [
    (45.5230, -122.6760),
    (45.5205, -122.6795),
    (45.5280, -122.6850),
];

fn serve_with(folder: &Path, map: &Path) -> Process {
    let map = [("JITNEY_MAP__FILE", map.to_str().unwrap())];
    Process::serve_all_with(folder, None, &map)
}

async fn ride_on(map: &str, places: [Place; 3]) {
    let Some(map) = shared_map(map) else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = serve_with(folder.path(), &map);
    ride(&program, places).await;
}

/// A ride whose driver, pick-up and drop-off are there.
async fn ride(program: &Process, [driver, from, to]: [Place; 3]) {
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
    ride_on("portland.osm.pbf", PORTLAND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_is_replaced_in_its_place() {
    let (Some(oslo), Some(portland)) = (
        shared_map("oslo-east.osm.pbf"),
        shared_map("portland.osm.pbf"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let maps = tempfile::tempdir().unwrap();
    let map = maps.path().join("city.osm.pbf");
    std::fs::copy(&oslo, &map).unwrap();
    let program = serve_with(folder.path(), &map);
    let olga = program.phone("operator", "olga");
    let area = olga.get("/v1/service-area").await.ok();
    std::fs::write(&map, "no map at all").unwrap();
    let problem = olga
        .post("/v1/map:reload", json!({}))
        .await
        .refused(400, "MAP_UNUSABLE");
    assert!(problem.contains("city.osm.pbf"), "{problem}");
    assert_eq!(olga.get("/v1/service-area").await.ok(), area);
    program
        .phone("rider", "anna")
        .post("/v1/map:reload", json!({}))
        .await
        .refused(403, "PERMISSION_DENIED");

    std::fs::copy(&portland, &map).unwrap();
    let reloaded = olga.post("/v1/map:reload", json!({})).await.ok();
    assert_eq!(reloaded["isChanged"], true);
    assert_ne!(reloaded["mapId"], area["mapId"]);
    ride(&program, PORTLAND).await;
    let again = olga.post("/v1/map:reload", json!({})).await.ok();
    assert_ne!(again["isChanged"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ride_in_porto() {
    let places = [(41.1496, -8.6110), (41.1579, -8.6291), (41.1455, -8.6100)];
    ride_on("porto-portugal.osm.pbf", places).await;
}
