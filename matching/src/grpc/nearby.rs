//! NearbyDrivers.

use jitney_platform::auth::Caller;
use jitney_proto::matching::v1 as wire;
use tonic::Status;

use crate::{
    error::Refusal,
    nearest::Query,
    privacy::{coarse_distance_m, coarse_time_ms},
    product::ProductSet,
    service::Service,
    wire as words,
};

/// Drivers of an answer when the request does not say.
const LIMIT_DEFAULT: u32 = 10;

/// The nearest idle drivers, veiled unless the caller is staff.
pub fn nearby(
    service: &Service,
    caller: &Caller,
    request: &wire::NearbyDriversRequest,
) -> Result<Vec<wire::NearbyDriver>, Status> {
    let ground = &service.ground;
    let config = &ground.config;
    let limit = if request.limit == 0 {
        LIMIT_DEFAULT.min(config.nearby_max)
    } else {
        request.limit
    };
    if limit > config.nearby_max {
        let problem = format!("must be at most {}", config.nearby_max);
        return Err(Refusal::bad_field("limit", problem).into());
    }
    let reach_m = config.snap_distance_max_m;
    let target = words::on_road(
        &ground.roads,
        reach_m,
        request.location.as_ref(),
        "location",
    )?;
    let products = if request.product.is_empty() {
        ProductSet::ANY
    } else {
        ground.catalogue.named_or_first(&request.product)?.1
    };
    let query = Query {
        target,
        products,
        count: limit as usize,
        within_ms: u32::MAX,
        excludes: &|_| false,
    };
    let found: Vec<_> = {
        let dispatch = service.look();
        let fleet = dispatch.fleet();
        let found = ground
            .nearest
            .find(fleet.index(), fleet.ids(), &query)
            .into_iter();
        found
            .filter_map(|found| {
                let driver = fleet.driver(found.driver);
                Some((
                    found,
                    fleet.id(found.driver).clone(),
                    driver.fix?,
                    driver.products,
                ))
            })
            .collect()
    };
    // The distances are asked for without the lock: the drivers may have moved on, the answer is of
    // one moment.
    let now = service.clock.now();
    let drivers = found.into_iter().filter_map(|(found, id, fix, products)| {
        let travel = ground.nearest.travel(&fix.snap, &target)?;
        let (time_ms, distance_m) = (found.time_ms, travel.distance_m);
        let (driver_id, place, duration_ms, distance_meters) = if caller.is_staff() {
            let (time_ms, distance_m) = (i64::from(time_ms), i64::from(distance_m));
            (id.to_string(), fix.place, time_ms, distance_m)
        } else {
            let (alias, place) = service.veil.hide(&id, fix.place, now);
            (
                alias,
                place,
                coarse_time_ms(time_ms),
                coarse_distance_m(distance_m),
            )
        };
        Some(wire::NearbyDriver {
            driver_id,
            location: Some(words::point(place)),
            duration_ms,
            distance_meters,
            products: ground
                .catalogue
                .ids(products)
                .map(ToString::to_string)
                .collect(),
        })
    });
    Ok(drivers.collect())
}
