//! What the map's viewers ask: tiles, streets, and thousands of drivers in few bytes.

use std::collections::BTreeMap;

use futures::StreamExt;
use jitney_proto::{
    Code,
    common::v1::{BoundingBox, Point},
    matching::v1 as wire,
};
use prost::Message;
use tonic::{Request, Streaming};

use super::support::{Town, corner};

/// A viewer as it adds the messages up.
struct Viewer {
    stream: Streaming<wire::WatchFleetResponse>,
    /// By handle: who, where in 1e-5 degrees, and the digit of what they do.
    seen: BTreeMap<u32, (String, i32, i32, char)>,
    bytes: usize,
}

impl Viewer {
    async fn open(town: &Town, area: Option<BoundingBox>) -> Viewer {
        let request = wire::WatchFleetRequest {
            interval_ms: 1_000,
            area,
            compact: true,
        };
        let stream = town.client().watch_fleet(town.as_service(request)).await;
        Viewer {
            stream: stream.unwrap().into_inner(),
            seen: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes the next message in; how many drivers it told of.
    async fn next(&mut self, town: &Town) -> usize {
        let message = town.until(self.stream.next()).await.unwrap().unwrap();
        assert!(message.drivers.is_empty() && message.gone_driver_ids.is_empty());
        self.bytes = message.encoded_len();
        let told = message.compact.unwrap();
        for (handle, id) in told.new_handles.iter().zip(&told.new_driver_ids) {
            let before = self.seen.insert(*handle, (id.clone(), 0, 0, '0'));
            assert!(before.is_none(), "handle {handle} was {before:?}");
        }
        let steps = told.latitude_steps.iter().zip(&told.longitude_steps);
        for ((handle, (north, east)), state) in
            told.handles.iter().zip(steps).zip(told.states.chars())
        {
            let driver = self.seen.get_mut(handle).unwrap();
            driver.1 += north;
            driver.2 += east;
            driver.3 = state;
        }
        for handle in &told.gone_handles {
            self.seen.remove(handle).unwrap();
        }
        told.handles.len()
    }

    /// Who is seen where.
    fn shown(&self) -> BTreeMap<&str, (i32, i32, char)> {
        let shown = self.seen.values();
        shown
            .map(|(id, north, east, state)| (id.as_str(), (*north, *east, *state)))
            .collect()
    }
}

fn e5(place: Point) -> (i32, i32) {
    let e5 = |degrees: f64| (degrees * 1e5).round() as i32;
    (e5(place.latitude), e5(place.longitude))
}

#[tokio::test]
async fn few_bytes_add_up_to_the_fleet() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 1).await;
    let _ben = town.driver_at("ben", 3, 3).await;
    let area = BoundingBox {
        south_west: Some(Point::new(-0.01, -0.01)),
        north_east: Some(corner(2, 2)),
    };
    let mut all = Viewer::open(&town, None).await;
    let mut some = Viewer::open(&town, Some(area)).await;
    assert_eq!((all.next(&town).await, some.next(&town).await), (2, 1));
    let at = |x, y| {
        let (north, east) = e5(corner(x, y));
        (north, east, '2')
    };
    assert_eq!(
        all.shown(),
        BTreeMap::from([("anna", at(1, 1)), ("ben", at(3, 3))])
    );
    assert_eq!(some.shown(), BTreeMap::from([("anna", at(1, 1))]));

    // Nothing is told of those who stand, not even when they say so again.
    town.pass(5).await;
    anna.ping(corner(1, 1)).await;
    assert_eq!((all.next(&town).await, all.bytes), (0, 2));
    assert_eq!(some.next(&town).await, 0);

    // Anna drives out of the area, and somebody else comes into it.
    for x in 2..5 {
        town.pass(5).await;
        anna.ping(corner(x, 1)).await;
    }
    let _carl = town.driver_at("carl", 0, 0).await;
    assert_eq!((all.next(&town).await, some.next(&town).await), (2, 1));
    assert_eq!(all.shown()["anna"], at(4, 1));
    assert_eq!(some.shown(), BTreeMap::from([("carl", at(0, 0))]));
    // And back: under a handle that nobody else has.
    for x in (1..4).rev() {
        town.pass(5).await;
        anna.ping(corner(x, 1)).await;
    }
    some.next(&town).await;
    assert_eq!(
        some.shown(),
        BTreeMap::from([("anna", at(1, 1)), ("carl", at(0, 0))])
    );
}

#[tokio::test]
async fn everybody_may_look_at_the_map() {
    let town = Town::new().await;
    let asked = wire::GetMapTileRequest {
        zoom: 14,
        x: 8192,
        y: 8191,
    };
    // Without a token.
    let tile = town.client().get_map_tile(Request::new(asked)).await;
    let tile = tile.unwrap().into_inner().tile.unwrap();
    assert_eq!(tile.content_type, "application/vnd.mapbox-vector-tile");
    let decoded = jitney_roads::tile::encoding::Tile::decode(tile.data.as_slice()).unwrap();
    assert!(decoded.layers[0].features.len() > 10);
    let again = town
        .client()
        .get_map_tile(town.as_rider("rita", asked))
        .await;
    assert_eq!(again.unwrap().into_inner().tile.unwrap(), tile);
    let elsewhere = wire::GetMapTileRequest { x: 0, ..asked };
    let empty = town.client().get_map_tile(Request::new(elsewhere)).await;
    assert!(empty.unwrap().into_inner().tile.unwrap().data.is_empty());
    let none = wire::GetMapTileRequest { zoom: 19, ..asked };
    let refused = town
        .client()
        .get_map_tile(Request::new(none))
        .await
        .unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::InvalidRequest));
    // A token that is shown must be good, and nothing else is for everybody.
    let mut odd = Request::new(asked);
    odd.metadata_mut()
        .insert("authorization", "Bearer x".parse().unwrap());
    let refused = town.client().get_map_tile(odd).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::Unauthenticated));
    let refused = town
        .client()
        .get_service_area(Request::new(wire::GetServiceAreaRequest {}))
        .await;
    assert_eq!(Code::of(&refused.unwrap_err()), Some(Code::Unauthenticated));
}

#[tokio::test]
async fn streets_are_found_and_places_named() {
    let town = Town::new().await;
    let search = async |query: &str, limit: u32| {
        let request = wire::SearchPlacesRequest {
            query: query.to_owned(),
            near: Some(corner(2, 2)),
            limit,
        };
        let found = town
            .client()
            .search_places(town.as_rider("rita", request))
            .await?;
        let titles = found
            .into_inner()
            .places
            .into_iter()
            .map(|place| place.title);
        Ok::<_, tonic::Status>(titles.collect::<Vec<_>>())
    };
    assert_eq!(search("ROW 2", 0).await.unwrap()[0], "Row 2");
    assert_eq!(search("col", 2).await.unwrap().len(), 2);
    let refused = search(&"x".repeat(101), 0).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::InvalidRequest));

    let describe = async |location: Point| {
        let request = wire::DescribePlaceRequest {
            location: Some(location),
        };
        let place = town
            .client()
            .describe_place(town.as_rider("rita", request))
            .await?;
        Ok::<_, tonic::Status>(place.into_inner().place.unwrap())
    };
    let (south, north) = (corner(1, 2), corner(1, 3));
    let between = Point::new(
        f64::midpoint(south.latitude, north.latitude),
        south.longitude + 0.000_05,
    );
    let place = describe(between).await.unwrap();
    assert_eq!(place.title, "Column 1");
    assert_eq!(place.distance_meters, Some(6));
    let refused = describe(Point::new(1.0, 1.0)).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::OutsideMap));
}
