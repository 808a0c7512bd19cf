//! RequestMatch: reads the errand and joins its stream to the search.

use jitney_proto::{
    ids::{DriverId, RiderId, TripId},
    matching::v1 as wire,
    money::Money,
    time::moment,
};
use tonic::Status;

use super::{read_id, read_id_if_any};
use crate::{
    dispatch::Ground,
    error::Refusal,
    outbound::{OutboundStream, outbound},
    rides::Places,
    search::Errand,
    service::{Service, going_away},
    wire as words,
};

/// Events waiting to be read by the trip service, at most. It reads at once; a search has a handful.
const QUEUE_MAX: usize = 64;

/// Begins the search, or takes it over.
pub fn open(
    service: &Service,
    request: wire::RequestMatchRequest,
) -> Result<OutboundStream<wire::RequestMatchResponse>, Status> {
    let excluded = request
        .excluded_driver_ids
        .iter()
        .map(|id| read_id(id, "excluded_driver_ids"))
        .collect::<Result<Vec<DriverId>, _>>()?;
    let open_offer = read_id_if_any(&request.open_offer_id, "open_offer_id")?;
    let (out, stream) = outbound(QUEUE_MAX);
    let now = service.clock.now();
    service.on_the_map(
        |ground| read_errand(ground, &request),
        |dispatch, errand| {
            dispatch.request(errand?, excluded, open_offer, out.clone(), now);
            Ok::<_, Status>(())
        },
    )?;
    // Asked after the search was entered, so that a stop in between closes it one way or the other.
    if service.shutdown.is_cancelled() {
        out.close(going_away());
    }
    Ok(stream)
}

fn read_errand(ground: &Ground, request: &wire::RequestMatchRequest) -> Result<Errand, Status> {
    let trip: TripId = read_id(&request.trip_id, "trip_id")?;
    let rider: RiderId = read_id(&request.rider_id, "rider_id")?;
    let (product, wanted) = ground.catalogue.named_or_first(&request.product)?;
    let pickup = words::on_road(
        &ground.roads,
        ground.config.snap_distance_max_m,
        request.pickup.as_ref(),
        "pickup",
    )?;
    let places = Places {
        pickup: words::place(request.pickup.as_ref(), "pickup")?,
        dropoff: Some(words::place(request.dropoff.as_ref(), "dropoff")?),
    };
    let seats = request.seats.max(1);
    let seats_max = ground.catalogue.get(product.as_str()).map(|own| own.seats);
    if seats_max.is_some_and(|most| seats > most) {
        let problem = format!("{product} has at most {} seats", seats_max.unwrap_or(0));
        return Err(Refusal::bad_field("seats", &problem).into());
    }
    let fare = request
        .fare
        .as_ref()
        .map(|fare| Money::from_wire(fare, "fare"))
        .transpose()?;
    let give_up_at = request
        .give_up_at
        .as_ref()
        .ok_or_else(|| Refusal::bad_field("give_up_at", "is required"))?;
    Ok(Errand {
        trip,
        rider,
        shares: ground.catalogue.shares(product.as_str()),
        product,
        wanted,
        places,
        pickup,
        dropoff: places.dropoff.and_then(|place| ground.snap(place).ok()),
        seats,
        fare,
        reservation: read_id_if_any(&request.reservation_id, "reservation_id")?,
        give_up_at: moment(give_up_at, "give_up_at")?,
    })
}
