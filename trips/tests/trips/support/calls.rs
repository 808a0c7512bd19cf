//! What callers call, in plain words.

use jitney_proto::{
    Code,
    trips::v1::{
        AcceptOfferRequest, ArriveAtPickupRequest, CancelTripRequest, CompleteTripRequest,
        CreateTripRequest, DeclareNoShowRequest, DeclineOfferRequest, GetTripRequest,
        PreviewCancellationRequest, PreviewCancellationResponse, QuoteTripRequest,
        StartTripRequest, Trip,
    },
};
use tonic::Status;

use super::{Client, DROPOFF, PICKUP};

pub fn usual_way(product: &str) -> QuoteTripRequest {
    QuoteTripRequest {
        pickup: Some(PICKUP),
        dropoff: Some(DROPOFF),
        product: product.to_owned(),
        ..QuoteTripRequest::default()
    }
}

pub fn usual_request(quote_id: &str, key: &str) -> CreateTripRequest {
    CreateTripRequest {
        quote_id: quote_id.to_owned(),
        idempotency_key: key.to_owned(),
        ..CreateTripRequest::default()
    }
}

pub async fn create(client: &mut Client, quote_id: &str, key: &str) -> Result<Trip, Status> {
    let answer = client.create_trip(usual_request(quote_id, key)).await?;
    Ok(answer.into_inner().trip.expect("a trip"))
}

pub async fn get(client: &mut Client, trip_id: &str) -> Result<Trip, Status> {
    let answer = client
        .get_trip(GetTripRequest {
            trip_id: trip_id.to_owned(),
        })
        .await?;
    Ok(answer.into_inner().trip.expect("a trip"))
}

pub async fn accept(client: &mut Client, trip_id: &str, offer_id: &str) -> Result<Trip, Status> {
    let request = AcceptOfferRequest {
        trip_id: trip_id.to_owned(),
        offer_id: offer_id.to_owned(),
    };
    Ok(client
        .accept_offer(request)
        .await?
        .into_inner()
        .trip
        .expect("a trip"))
}

pub async fn decline(client: &mut Client, trip_id: &str, offer_id: &str) -> Result<(), Status> {
    let request = DeclineOfferRequest {
        trip_id: trip_id.to_owned(),
        offer_id: offer_id.to_owned(),
        reason: "lunch".to_owned(),
    };
    client.decline_offer(request).await.map(drop)
}

pub async fn arrive(client: &mut Client, trip_id: &str) -> Result<Trip, Status> {
    let request = ArriveAtPickupRequest {
        trip_id: trip_id.to_owned(),
    };
    Ok(client
        .arrive_at_pickup(request)
        .await?
        .into_inner()
        .trip
        .expect("a trip"))
}

pub async fn start(client: &mut Client, trip_id: &str, pin: &str) -> Result<Trip, Status> {
    let request = StartTripRequest {
        trip_id: trip_id.to_owned(),
        pin: pin.to_owned(),
    };
    Ok(client
        .start_trip(request)
        .await?
        .into_inner()
        .trip
        .expect("a trip"))
}

pub async fn complete(client: &mut Client, trip_id: &str) -> Result<Trip, Status> {
    let request = CompleteTripRequest {
        trip_id: trip_id.to_owned(),
    };
    Ok(client
        .complete_trip(request)
        .await?
        .into_inner()
        .trip
        .expect("a trip"))
}

pub async fn cancel(client: &mut Client, trip_id: &str) -> Result<Trip, Status> {
    let request = CancelTripRequest {
        trip_id: trip_id.to_owned(),
        reason: String::new(),
        max_fee: None,
    };
    Ok(client
        .cancel_trip(request)
        .await?
        .into_inner()
        .trip
        .expect("a trip"))
}

/// The code of a refusal.
pub fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    let status = answer.expect_err("a refusal");
    Code::of(&status).unwrap_or_else(|| panic!("a status of ours: {status:?}"))
}

pub async fn no_show(client: &mut Client, trip_id: &str) -> Result<Trip, Status> {
    let request = DeclareNoShowRequest {
        trip_id: trip_id.to_owned(),
    };
    let answer = client.declare_no_show(request).await?;
    Ok(answer.into_inner().trip.expect("a trip"))
}

pub async fn preview(
    client: &mut Client,
    trip_id: &str,
) -> Result<PreviewCancellationResponse, Status> {
    let request = PreviewCancellationRequest {
        trip_id: trip_id.to_owned(),
    };
    Ok(client.preview_cancellation(request).await?.into_inner())
}
