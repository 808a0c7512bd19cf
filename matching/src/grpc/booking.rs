//! MatchDriver: a driver set aside for a rider.

use jitney_platform::auth::{Caller, Role};
use jitney_proto::{Code, ids::RiderId, matching::v1 as wire, time::timestamp};
use tonic::Status;

use super::read_id;
use crate::{
    dispatch::{BookingRequest, Ground},
    error::Refusal,
    reservation::Wish,
    service::Service,
    wire as words,
};

/// Characters of an idempotency key, at most.
const KEY_MAX: usize = 128;

/// Sets the nearest driver aside for the caller, or for the rider whom staff name.
pub fn book(
    service: &Service,
    caller: &Caller,
    request: wire::MatchDriverRequest,
) -> Result<wire::MatchDriverResponse, Status> {
    let rider = rider(caller, &request.rider_id)?;
    if request.idempotency_key.len() > KEY_MAX {
        let problem = format!("must be at most {KEY_MAX} bytes");
        return Err(Refusal::bad_field("idempotency_key", problem).into());
    }
    let (product, wanted) = service.catalogue.named_or_first(&request.product)?;
    let place = words::place(request.pickup.as_ref(), "pickup")?;
    let wish = Wish {
        pickup: place,
        product: request.product,
    };
    let open_max = match caller.role {
        Role::Rider => service.config.reservations_per_rider_max,
        Role::Driver | Role::Operator | Role::Service | Role::Guest => 0,
    };
    let key = request.idempotency_key;
    let look_up = |ground: &Ground| ground.snap(place);
    let booking = service.on_the_map(look_up, |dispatch, pickup| {
        let request = BookingRequest {
            rider,
            key,
            wish,
            pickup: pickup.map_err(|error| Refusal::off_road("pickup", &error))?,
            product,
            wanted,
            open_max,
        };
        dispatch.book(request, service.clock.now())
    })?;
    let vehicle = booking.vehicle.map(|vehicle| wire::Vehicle {
        plate: vehicle.plate,
        description: vehicle.description,
    });
    let driver_id = booking.driver.to_string();
    let eta_seconds = booking.to_pickup.duration_ms.div_ceil(1_000);
    Ok(wire::MatchDriverResponse {
        classic_driver_id: driver_id.clone(),
        driver_id,
        eta: eta_seconds,
        eta_seconds: i64::from(eta_seconds),
        distance_meters: i64::from(booking.to_pickup.distance_m),
        reservation_id: booking.id.to_string(),
        expires_at: Some(timestamp(booking.expires_at)),
        vehicle,
    })
}

/// Whom the reservation is for.
fn rider(caller: &Caller, named: &str) -> Result<RiderId, Status> {
    if !caller.is_staff() && !named.is_empty() && caller.id != named {
        return Err(Code::PermissionDenied.status("rider_id names another rider than the token"));
    }
    read_id(
        if named.is_empty() { &caller.id } else { named },
        "rider_id",
    )
}
