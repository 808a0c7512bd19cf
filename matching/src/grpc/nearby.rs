//! NearbyDrivers.

use std::sync::Arc;

use jitney_platform::auth::Caller;
use jitney_proto::matching::v1 as wire;
use tonic::Status;

use crate::{
    error::Refusal,
    nearest::Query,
    privacy::{coarse_distance_m, coarse_time_ms, seen_within_ms},
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
    let config = &service.config;
    let limit = if request.limit == 0 {
        LIMIT_DEFAULT.min(config.nearby_max)
    } else {
        request.limit
    };
    if limit > config.nearby_max {
        let problem = format!("must be at most {}", config.nearby_max);
        return Err(Refusal::bad_field("limit", problem).into());
    }
    let place = words::place(request.location.as_ref(), "location")?;
    let products = if request.product.is_empty() {
        ProductSet::ANY
    } else {
        service.catalogue.named_or_first(&request.product)?.1
    };
    let Some(within_ms) = bound(caller, request.max_duration_ms)? else {
        return Ok(Vec::new());
    };
    let (ground, target, found) = {
        let dispatch = service.look();
        let ground = Arc::clone(dispatch.ground());
        let target = ground.snap(place);
        let target = target.map_err(|error| Refusal::off_road("location", &error))?;
        let query = Query {
            target,
            products,
            count: limit as usize,
            within_ms,
            excludes: &|_| false,
        };
        let fleet = dispatch.fleet();
        let found = ground
            .nearest
            .find(fleet.index(), fleet.ids(), &query)
            .into_iter();
        let found: Vec<_> = found
            .filter_map(|found| {
                let driver = fleet.driver(found.driver);
                Some((
                    found,
                    fleet.id(found.driver).clone(),
                    driver.fix?,
                    driver.products,
                ))
            })
            .collect();
        (ground, target, found)
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
            products: service
                .catalogue
                .ids(products)
                .map(ToString::to_string)
                .collect(),
        })
    });
    Ok(drivers.collect())
}

/// The longest exact driving time that the bound lets through; `None` when it lets none.
fn bound(caller: &Caller, max_duration_ms: i64) -> Result<Option<u32>, Status> {
    if max_duration_ms == 0 {
        return Ok(Some(u32::MAX));
    }
    if max_duration_ms < 0 {
        let problem = "must not be negative; 0 is no bound";
        return Err(Refusal::bad_field("max_duration_ms", problem).into());
    }
    let bound_ms = u32::try_from(max_duration_ms).unwrap_or(u32::MAX);
    Ok(if caller.is_staff() {
        Some(bound_ms)
    } else {
        seen_within_ms(bound_ms)
    })
}
