//! WatchDriver and WatchFleet. Both are made when the client asks for the next message: a slow client
//! gets fewer, each as new as can be, and nothing piles up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use jitney_proto::{matching::v1 as wire, matching::v1::DriverState, time::timestamp};
use jitney_roads::{BoundingBox, LatLon};
use tokio::sync::watch::Receiver;
use tonic::Status;

use super::read_id;
use crate::{
    dispatch::Dispatch,
    error::Refusal,
    fleet::{Driver, DriverKey},
    service::{Service, going_away},
    wire as words,
};

type Messages<T> = BoxStream<'static, Result<T, Status>>;

/// The position of one driver, and their time to a target.
pub fn driver(
    service: Arc<Service>,
    request: &wire::WatchDriverRequest,
) -> Result<Messages<wire::WatchDriverResponse>, Status> {
    let id = read_id(&request.driver_id, "driver_id")?;
    let ground = service.ground();
    let reach_m = ground.config.snap_distance_max_m;
    let target = request
        .target
        .as_ref()
        .map(|target| {
            words::on_road(&ground.roads, reach_m, Some(target), "target")?;
            words::place(Some(target), "target")
        })
        .transpose()?;
    let (key, moved) = {
        let mut dispatch = service.change();
        let key = dispatch.known(&id)?;
        let mut moved = dispatch.watch(key);
        // What is known already is the first message.
        moved.mark_changed();
        (key, moved)
    };
    let watch = DriverWatch {
        service,
        key,
        target,
        moved,
    };
    Ok(futures::stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(message) => Some((Ok(message), Some(watch))),
            Err(status) => Some((Err(status), None)),
        }
    })
    .boxed())
}

struct DriverWatch {
    service: Arc<Service>,
    key: DriverKey,
    target: Option<LatLon>,
    moved: Receiver<()>,
}

impl DriverWatch {
    async fn next(&mut self) -> Result<wire::WatchDriverResponse, Status> {
        loop {
            tokio::select! {
                () = self.service.shutdown.cancelled() => return Err(going_away()),
                changed = self.moved.changed() => changed.map_err(|_| going_away())?,
            }
            let (ground, fix, stops) = {
                let dispatch = self.service.look();
                let driver = dispatch.fleet().driver(self.key);
                let ground = Arc::clone(dispatch.ground());
                (ground, driver.fix, driver.standing.rides().stops())
            };
            let Some(fix) = fix else {
                continue;
            };
            let to_target = self.target.and_then(|place| {
                // On the way to a stop there may be others.
                let last = stops.iter().position(|stop| stop.place == Some(place));
                match last {
                    Some(last @ 1..) => ground.travel_along(fix.snap, &stops[..=last]),
                    _ => ground.nearest.travel(&fix.snap, &ground.snap(place).ok()?),
                }
            });
            return Ok(wire::WatchDriverResponse {
                location: Some(words::point(fix.place)),
                heading_degrees: fix.heading_deg,
                located_at: Some(timestamp(fix.at)),
                eta_ms: to_target.map(|travel| i64::from(travel.duration_ms)),
            });
        }
    }
}

/// Every driver on shift, as it changes.
pub fn fleet(
    service: Arc<Service>,
    request: &wire::WatchFleetRequest,
) -> Result<Messages<wire::WatchFleetResponse>, Status> {
    let interval_ms = match request.interval_ms {
        0 => 1_000,
        interval_ms @ 200..=60_000 => interval_ms,
        _ => return Err(Refusal::bad_field("interval_ms", "must be 200 to 60000, or 0").into()),
    };
    let interval = Duration::from_millis(interval_ms.unsigned_abs());
    let area = request.area.as_ref().map(read_area).transpose()?;
    let watch = FleetWatch {
        service,
        area,
        stamp: None,
        shown: BTreeMap::new(),
        handles: request.compact.then(Handles::default),
    };
    Ok(futures::stream::unfold(Some(watch), move |watch| async move {
        let mut watch = watch?;
        if watch.stamp.is_some() {
            tokio::select! {
                () = watch.service.shutdown.cancelled() => return Some((Err(going_away()), None)),
                () = watch.service.clock.sleep(interval) => {}
            }
        }
        let message = match watch.handles {
            Some(_) => watch.look_compact(),
            None => watch.look(),
        };
        Some((Ok(message), Some(watch)))
    })
    .boxed())
}

struct FleetWatch {
    service: Arc<Service>,
    area: Option<BoundingBox>,
    /// The fleet's stamp at the last look; `None` before the first.
    stamp: Option<u64>,
    /// Who was shown and not gone since.
    shown: BTreeMap<DriverKey, String>,
    /// Under which handles, when the caller wants few bytes.
    handles: Option<Handles>,
}

/// What a caller of the compact form knows.
#[derive(Default)]
struct Handles {
    known: BTreeMap<DriverKey, Known>,
    /// Handles of drivers who are gone, to be given to others.
    free: Vec<u32>,
    /// The last handle that nobody had before.
    given: u32,
}

/// What was last told of a driver.
struct Known {
    handle: u32,
    latitude_e5: i32,
    longitude_e5: i32,
    state: DriverState,
}

impl Handles {
    /// Adds a driver who is to be shown, unless nothing of them changed that would be seen.
    fn show(&mut self, key: DriverKey, id: &str, driver: &Driver, into: &mut wire::CompactFleet) {
        let e5 = |degrees: f64| (degrees * 1e5).round() as i32;
        let Some(place) = driver.fix.map(|fix| fix.place) else {
            self.hide(key, into);
            return;
        };
        let (latitude_e5, longitude_e5) = (e5(place.lat()), e5(place.lon()));
        let state = driver.standing.state();
        let (handle, from) = match self.known.get(&key) {
            Some(known) => {
                let from = (known.latitude_e5, known.longitude_e5);
                if from == (latitude_e5, longitude_e5) && known.state == state {
                    return;
                }
                (known.handle, from)
            }
            None => {
                // Those that were gone before this message: nobody mistakes one for the other.
                let handle = self.free.pop().unwrap_or_else(|| {
                    self.given += 1;
                    self.given
                });
                into.new_handles.push(handle);
                into.new_driver_ids.push(id.to_owned());
                (handle, (0, 0))
            }
        };
        into.handles.push(handle);
        into.latitude_steps.push(latitude_e5 - from.0);
        into.longitude_steps.push(longitude_e5 - from.1);
        into.states.push(digit(state));
        let known = Known {
            handle,
            latitude_e5,
            longitude_e5,
            state,
        };
        self.known.insert(key, known);
    }

    fn hide(&mut self, key: DriverKey, into: &mut wire::CompactFleet) {
        if let Some(known) = self.known.remove(&key) {
            into.gone_handles.push(known.handle);
        }
    }
}

/// The number of a state; there are fewer than ten.
fn digit(state: DriverState) -> char {
    char::from_digit(state as u32, 10).unwrap_or('0')
}

impl FleetWatch {
    fn look(&mut self) -> wire::WatchFleetResponse {
        let service = Arc::clone(&self.service);
        let dispatch = service.look();
        let since = self.stamp.replace(dispatch.fleet().stamp());
        let mut message = wire::WatchFleetResponse {
            snapshot: since.is_none(),
            ..Default::default()
        };
        let changed = |driver: &Driver| since.is_none_or(|since| driver.changed > since);
        for (key, driver) in dispatch
            .fleet()
            .iter()
            .filter(|(_, driver)| changed(driver))
        {
            if self.is_to_show(driver) {
                message.drivers.push(self.show(&dispatch, key));
            } else if let Some(gone) = self.shown.remove(&key) {
                message.gone_driver_ids.push(gone);
            }
        }
        message
    }

    /// The same in few bytes.
    fn look_compact(&mut self) -> wire::WatchFleetResponse {
        let service = Arc::clone(&self.service);
        let dispatch = service.look();
        let since = self.stamp.replace(dispatch.fleet().stamp());
        let mut told = wire::CompactFleet::default();
        let mut handles = self.handles.take().unwrap_or_default();
        let changed = |driver: &Driver| since.is_none_or(|since| driver.changed > since);
        for (key, driver) in dispatch
            .fleet()
            .iter()
            .filter(|(_, driver)| changed(driver))
        {
            if self.is_to_show(driver) {
                handles.show(
                    key,
                    &dispatch.fleet().id(key).to_string(),
                    driver,
                    &mut told,
                );
            } else {
                handles.hide(key, &mut told);
            }
        }
        handles.free.extend(&told.gone_handles);
        self.handles = Some(handles);
        wire::WatchFleetResponse {
            snapshot: since.is_none(),
            compact: Some(told),
            ..Default::default()
        }
    }

    fn is_to_show(&self, driver: &Driver) -> bool {
        let is_inside = self
            .area
            .is_none_or(|area| driver.fix.is_some_and(|fix| area.contains(fix.place)));
        is_inside && driver.standing.state() != DriverState::Offline
    }

    fn show(&mut self, dispatch: &Dispatch, key: DriverKey) -> wire::Driver {
        let driver = dispatch.wire_driver(key);
        self.shown
            .entry(key)
            .or_insert_with(|| driver.driver_id.clone());
        driver
    }
}

fn read_area(area: &jitney_proto::common::v1::BoundingBox) -> Result<BoundingBox, Refusal> {
    let south_west = words::place(area.south_west.as_ref(), "area.south_west")?;
    let north_east = words::place(area.north_east.as_ref(), "area.north_east")?;
    if south_west.lat() > north_east.lat() || south_west.lon() > north_east.lon() {
        return Err(Refusal::bad_field(
            "area",
            "its south-west corner lies beyond the other one",
        ));
    }
    Ok(BoundingBox {
        south_west,
        north_east,
    })
}
