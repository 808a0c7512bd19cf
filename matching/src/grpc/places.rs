//! GetMapTile, SearchPlaces and DescribePlace: the map for people to look at.

use std::sync::Arc;

use jitney_proto::{common::v1::Document, matching::v1 as wire};
use jitney_roads::{LatLon, TileId, tile};

use crate::{dispatch::Ground, error::Refusal, service::Service, wire as words};

/// The longest text that is searched for, characters.
const QUERY_MAX: usize = 100;
/// Places in an answer when the request does not say.
const PLACES_DEFAULT: usize = 10;
/// Places in an answer, at most.
const PLACES_MAX: usize = 50;

/// One square of the map.
pub fn tile(service: &Service, request: &wire::GetMapTileRequest) -> Result<Document, Refusal> {
    let wire::GetMapTileRequest { zoom, x, y } = *request;
    let tile =
        TileId::new(zoom, x, y).map_err(|error| Refusal::bad_field("zoom", error.to_string()))?;
    let roads = &service.ground().roads;
    let data = service.tiles.get(roads.id(), tile, || roads.tile(tile));
    Ok(Document {
        content_type: tile::CONTENT_TYPE.to_owned(),
        file_name: format!("{zoom}-{x}-{y}.mvt"),
        data: data.to_vec(),
    })
}

/// Streets whose names fit.
pub fn search(
    ground: &Ground,
    request: &wire::SearchPlacesRequest,
) -> Result<Vec<wire::Place>, Refusal> {
    if request.query.chars().count() > QUERY_MAX {
        let problem = format!("must be at most {QUERY_MAX} characters");
        return Err(Refusal::bad_field("query", problem));
    }
    let near = request.near.as_ref();
    let near = near
        .map(|near| words::place(Some(near), "near"))
        .transpose()?;
    let limit = match request.limit as usize {
        0 => PLACES_DEFAULT,
        limit => limit.min(PLACES_MAX),
    };
    let found = ground.roads.find_streets(&request.query, near, limit);
    let place =
        |street: jitney_roads::Street<'_>| place(street.name, street.place, street.distance_m);
    Ok(found.into_iter().map(place).collect())
}

/// The nearest street with a name.
pub fn describe(
    ground: &Ground,
    request: &wire::DescribePlaceRequest,
) -> Result<wire::Place, Refusal> {
    let at = words::place(request.location.as_ref(), "location")?;
    let (name, snap) = ground
        .roads
        .street_at(at, ground.config.snap_distance_max_m)
        .map_err(|error| Refusal::off_road("location", &error))?;
    Ok(place(name, snap.point, Some(snap.distance_m)))
}

fn place(name: &str, at: LatLon, distance_m: Option<f64>) -> wire::Place {
    wire::Place {
        title: name.to_owned(),
        location: Some(words::point(at)),
        distance_meters: distance_m.map(|metres| metres.round() as i64),
    }
}

/// Answers of [`tile`] away from the threads that serve calls: a tile is drawn in some milliseconds.
pub async fn draw(
    service: &Arc<Service>,
    request: wire::GetMapTileRequest,
) -> Result<Document, tonic::Status> {
    let service = Arc::clone(service);
    let drawn = tokio::task::spawn_blocking(move || tile(&service, &request)).await;
    Ok(drawn.map_err(jitney_platform::status::internal)??)
}
