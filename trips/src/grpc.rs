//! The service as gRPC: reads requests into domain types, calls one function, writes the answer.

use std::sync::Arc;

use jitney_platform::auth::{Caller, Role};
use jitney_proto::{
    ids::DriverId,
    money::Money,
    time::timestamp,
    trips::v1::{self as wire, get_rating_request::Person, trips_service_server::TripsService},
};
use tonic::{Request, Response, Status};

use crate::{
    app::App,
    create, drive,
    edit::{self, Wanted},
    error::Error,
    fields::{
        asked, bad_field, by, offer_id, optional, optional_moment, optional_place, place, places,
        reason, rider, states, trip_id, whose, words,
    },
    payment,
    quote::{self, Wish},
    rating, share, sos, stats,
    store::list::After,
    trip::{Actor, Trip},
    view::{self, Viewer},
    watch::{self, Token},
};

/// Trips on a page when the request does not say.
const PAGE_DEFAULT: i64 = 20;
/// Trips on a page, at most.
const PAGE_MAX: i64 = 100;

/// The generated service's implementation.
#[derive(Clone)]
pub struct Grpc {
    app: Arc<App>,
}

impl Grpc {
    /// The service over its parts.
    pub fn new(app: Arc<App>) -> Grpc {
        Grpc { app }
    }
}

#[tonic::async_trait]
impl TripsService for Grpc {
    type WatchTripStream = watch::Answers;

    async fn quote_trip(
        &self,
        request: Request<wire::QuoteTripRequest>,
    ) -> Result<Response<wire::QuoteTripResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let asked_by = match request.rider_id.as_str() {
            "" => caller.id.clone(),
            _ => rider(&caller, &request.rider_id)?.to_string(),
        };
        let wish = Wish {
            asked_by,
            pickup: place(request.pickup.as_ref(), "pickup")?,
            stops: places(&request.stops, self.app.config.stops_max)?,
            dropoff: place(request.dropoff.as_ref(), "dropoff")?,
            product: optional(&request.product, "product")?,
            pickup_at: optional_moment(request.pickup_at.as_ref(), "pickup_at")?,
        };
        let quotes = quote::quote(&self.app, &wish).await?;
        Ok(Response::new(wire::QuoteTripResponse {
            quotes: quotes.quotes,
            route: Some(quotes.route),
        }))
    }

    async fn create_trip(
        &self,
        request: Request<wire::CreateTripRequest>,
    ) -> Result<Response<wire::CreateTripResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = asked(&caller, request.into_inner(), self.app.config.stops_max)?;
        Ok(Response::new(create::create(&self.app, asked).await?))
    }

    async fn get_trip(
        &self,
        request: Request<wire::GetTripRequest>,
    ) -> Result<Response<wire::GetTripResponse>, Status> {
        let viewer = share::viewer(&self.app, &Caller::of(&request)?).await?;
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        let trip = self.app.store.trip(trip_id).await?;
        let trip = view::of(&trip, &viewer).ok_or(Error::NotFound("trip"))?;
        let transitions = match viewer {
            Viewer::Staff => view::log(&self.app.store.log(trip_id).await?),
            Viewer::Rider(_) | Viewer::Driver(_) | Viewer::Guest(..) => Vec::new(),
        };
        Ok(Response::new(wire::GetTripResponse {
            trip: Some(trip),
            transitions,
        }))
    }

    async fn list_trips(
        &self,
        request: Request<wire::ListTripsRequest>,
    ) -> Result<Response<wire::ListTripsResponse>, Status> {
        let viewer = Viewer::of(&Caller::of(&request)?)?;
        let request = request.into_inner();
        let limit = match i64::from(request.page_size) {
            ..0 => return Err(bad_field("page_size", "is negative")),
            0 => PAGE_DEFAULT,
            size => size.min(PAGE_MAX),
        };
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(
                After::from_token(token)
                    .ok_or_else(|| bad_field("page_token", "is not a next_page_token"))?,
            ),
        };
        let whose = whose(&viewer, &request)?;
        let states = states(&request.states)?;
        // One more than asked for tells whether there is another page.
        let mut trips = self
            .app
            .store
            .trips(&whose, &states, after, limit + 1)
            .await?;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_more = trips.len() > wanted;
        trips.truncate(wanted);
        let next_page_token = match trips.last().filter(|_| is_more) {
            Some(trip) => After {
                created_at: trip.created_at,
                trip_id: trip.trip_id,
            }
            .token(),
            None => String::new(),
        };
        let trips = trips
            .iter()
            .filter_map(|trip| view::of(trip, &viewer))
            .collect();
        Ok(Response::new(wire::ListTripsResponse {
            trips,
            next_page_token,
        }))
    }

    async fn watch_trip(
        &self,
        request: Request<wire::WatchTripRequest>,
    ) -> Result<Response<Self::WatchTripStream>, Status> {
        let viewer = share::viewer(&self.app, &Caller::of(&request)?).await?;
        let request = request.into_inner();
        let trip_id = trip_id(&request.trip_id)?;
        let resume = match request.resume_token.as_str() {
            "" => None,
            token => Some(
                Token::read(token)
                    .ok_or_else(|| bad_field("resume_token", "is not a resume_token"))?,
            ),
        };
        Ok(Response::new(
            watch::watch(&self.app, trip_id, viewer, resume).await?,
        ))
    }

    async fn accept_offer(
        &self,
        request: Request<wire::AcceptOfferRequest>,
    ) -> Result<Response<wire::AcceptOfferResponse>, Status> {
        let driver = Caller::of(&request)?.driver_id()?;
        let request = request.into_inner();
        let (trip_id, offer_id) = (trip_id(&request.trip_id)?, offer_id(&request.offer_id)?);
        let trip = drive::accept(&self.app, trip_id, offer_id, driver.clone()).await?;
        let trip = Some(for_driver(&trip, driver));
        Ok(Response::new(wire::AcceptOfferResponse { trip }))
    }

    async fn decline_offer(
        &self,
        request: Request<wire::DeclineOfferRequest>,
    ) -> Result<Response<wire::DeclineOfferResponse>, Status> {
        let driver = Caller::of(&request)?.driver_id()?;
        let request = request.into_inner();
        let (trip_id, offer_id) = (trip_id(&request.trip_id)?, offer_id(&request.offer_id)?);
        let reason = reason(request.reason)?;
        drive::decline(&self.app, trip_id, offer_id, driver, reason).await?;
        Ok(Response::new(wire::DeclineOfferResponse {}))
    }

    async fn arrive_at_pickup(
        &self,
        request: Request<wire::ArriveAtPickupRequest>,
    ) -> Result<Response<wire::ArriveAtPickupResponse>, Status> {
        let driver = Caller::of(&request)?.driver_id()?;
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        let trip = drive::arrive(&self.app, trip_id, driver.clone()).await?;
        let trip = Some(for_driver(&trip, driver));
        Ok(Response::new(wire::ArriveAtPickupResponse { trip }))
    }

    async fn start_trip(
        &self,
        request: Request<wire::StartTripRequest>,
    ) -> Result<Response<wire::StartTripResponse>, Status> {
        let driver = Caller::of(&request)?.driver_id()?;
        let request = request.into_inner();
        let trip_id = trip_id(&request.trip_id)?;
        let trip = drive::start(&self.app, trip_id, driver.clone(), request.pin).await?;
        let trip = Some(for_driver(&trip, driver));
        Ok(Response::new(wire::StartTripResponse { trip }))
    }

    async fn complete_trip(
        &self,
        request: Request<wire::CompleteTripRequest>,
    ) -> Result<Response<wire::CompleteTripResponse>, Status> {
        let driver = Caller::of(&request)?.driver_id()?;
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        let trip = drive::complete(&self.app, trip_id, driver.clone()).await?;
        let trip = Some(for_driver(&trip, driver));
        Ok(Response::new(wire::CompleteTripResponse { trip }))
    }

    async fn arrive_at_stop(
        &self,
        request: Request<wire::ArriveAtStopRequest>,
    ) -> Result<Response<wire::ArriveAtStopResponse>, Status> {
        let driver = Caller::of(&request)?.driver_id()?;
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        let stop = usize::try_from(request.get_ref().stop).unwrap_or(usize::MAX);
        let trip = drive::arrive_at_stop(&self.app, trip_id, driver.clone(), stop).await?;
        let trip = Some(for_driver(&trip, driver));
        Ok(Response::new(wire::ArriveAtStopResponse { trip }))
    }

    async fn declare_no_show(
        &self,
        request: Request<wire::DeclareNoShowRequest>,
    ) -> Result<Response<wire::DeclareNoShowResponse>, Status> {
        let driver = Caller::of(&request)?.driver_id()?;
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        let trip = drive::no_show(&self.app, trip_id, driver.clone()).await?;
        let trip = Some(for_driver(&trip, driver));
        Ok(Response::new(wire::DeclareNoShowResponse { trip }))
    }

    async fn preview_cancellation(
        &self,
        request: Request<wire::PreviewCancellationRequest>,
    ) -> Result<Response<wire::PreviewCancellationResponse>, Status> {
        let viewer = Viewer::of(&Caller::of(&request)?)?;
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        let (cost, fee) = drive::preview(&self.app, trip_id, &viewer).await?;
        Ok(Response::new(wire::PreviewCancellationResponse {
            fee: fee.map(Into::into),
            reason: cost.why.to_owned(),
            free_until: cost.free_until.map(timestamp),
        }))
    }

    async fn cancel_trip(
        &self,
        request: Request<wire::CancelTripRequest>,
    ) -> Result<Response<wire::CancelTripResponse>, Status> {
        let caller = Caller::of(&request)?;
        let viewer = Viewer::of(&caller)?;
        let request = request.into_inner();
        let trip_id = trip_id(&request.trip_id)?;
        let reason = reason(request.reason)?;
        let max_fee = match &request.max_fee {
            Some(fee) => Some(Money::from_wire(fee, "max_fee")?),
            None => None,
        };
        let trip = drive::cancel(&self.app, trip_id, &viewer, &caller, reason, max_fee).await?;
        let trip = Some(view::answered(&trip, &viewer));
        Ok(Response::new(wire::CancelTripResponse { trip }))
    }

    async fn edit_destination(
        &self,
        request: Request<wire::EditDestinationRequest>,
    ) -> Result<Response<wire::EditDestinationResponse>, Status> {
        let caller = Caller::of(&request)?;
        let viewer = Viewer::of(&caller)?;
        let request = request.into_inner();
        let trip_id = trip_id(&request.trip_id)?;
        let wanted = Wanted {
            stops: places(&request.stops, self.app.config.stops_max)?,
            dropoff: place(request.dropoff.as_ref(), "dropoff")?,
            max_fare: match &request.max_fare {
                Some(fare) => Some(Money::from_wire(fare, "max_fare")?),
                None => None,
            },
            validate_only: request.validate_only,
        };
        let trip = edit::edit(&self.app, trip_id, &viewer, by(&caller), wanted).await?;
        let trip = Some(view::answered(&trip, &viewer));
        Ok(Response::new(wire::EditDestinationResponse { trip }))
    }

    async fn rate_trip(
        &self,
        request: Request<wire::RateTripRequest>,
    ) -> Result<Response<wire::RateTripResponse>, Status> {
        let viewer = Viewer::of(&Caller::of(&request)?)?;
        let request = request.into_inner();
        let trip_id = trip_id(&request.trip_id)?;
        let stars = i16::try_from(request.stars).ok();
        let stars = stars
            .filter(|stars| (1..=5).contains(stars))
            .ok_or_else(|| bad_field("stars", "is not 1 to 5"))?;
        let comment = words(request.comment, "comment")?;
        rating::rate(&self.app, trip_id, &viewer, stars, comment).await?;
        Ok(Response::new(wire::RateTripResponse {}))
    }

    async fn get_rating(
        &self,
        request: Request<wire::GetRatingRequest>,
    ) -> Result<Response<wire::GetRatingResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (role, id, by) = match request.into_inner().person {
            Some(Person::DriverId(id)) => (Role::Driver, id, Actor::Rider),
            Some(Person::RiderId(id)) => (Role::Rider, id, Actor::Driver),
            None => return Err(bad_field("person", "is required")),
        };
        if !caller.is_staff() && (caller.role != role || caller.id != id) {
            return Err(Error::NotFound("rating").into());
        }
        let newest = self.app.config.rating.newest;
        let opinion = self.app.store.opinion(&id, by, newest).await?;
        Ok(Response::new(wire::GetRatingResponse {
            ratings: opinion.ratings,
            stars: opinion.stars,
        }))
    }

    async fn share_trip(
        &self,
        request: Request<wire::ShareTripRequest>,
    ) -> Result<Response<wire::ShareTripResponse>, Status> {
        let caller = Caller::of(&request)?;
        let viewer = Viewer::of(&caller)?;
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        let link = share::share(&self.app, trip_id, &viewer, by(&caller)).await?;
        Ok(Response::new(wire::ShareTripResponse {
            token: link.token,
            expires_at: Some(timestamp(link.expires_at)),
        }))
    }

    async fn unshare_trip(
        &self,
        request: Request<wire::UnshareTripRequest>,
    ) -> Result<Response<wire::UnshareTripResponse>, Status> {
        let caller = Caller::of(&request)?;
        let viewer = Viewer::of(&caller)?;
        let trip_id = trip_id(&request.get_ref().trip_id)?;
        share::unshare(&self.app, trip_id, &viewer, &by(&caller)).await?;
        Ok(Response::new(wire::UnshareTripResponse {}))
    }

    async fn raise_sos(
        &self,
        request: Request<wire::RaiseSosRequest>,
    ) -> Result<Response<wire::RaiseSosResponse>, Status> {
        let caller = Caller::of(&request)?;
        let viewer = Viewer::of(&caller)?;
        let request = request.into_inner();
        let trip_id = trip_id(&request.trip_id)?;
        let place = optional_place(request.location.as_ref(), "location")?;
        let note = words(request.note, "note")?;
        let sos = sos::raise(&self.app, trip_id, &viewer, by(&caller), place, note).await?;
        let sos = Some(view::sos(&sos));
        Ok(Response::new(wire::RaiseSosResponse { sos }))
    }

    async fn list_sos(
        &self,
        request: Request<wire::ListSosRequest>,
    ) -> Result<Response<wire::ListSosResponse>, Status> {
        let is_open = !request.get_ref().include_acknowledged;
        let calls = self.app.store.calls_for_help(is_open, PAGE_MAX).await?;
        let calls = calls.iter().map(view::sos).collect();
        Ok(Response::new(wire::ListSosResponse { calls }))
    }

    async fn acknowledge_sos(
        &self,
        request: Request<wire::AcknowledgeSosRequest>,
    ) -> Result<Response<wire::AcknowledgeSosResponse>, Status> {
        let caller = Caller::of(&request)?;
        let sos_id = request.get_ref().sos_id.parse();
        let sos_id = sos_id.map_err(|_| bad_field("sos_id", "is not an id"))?;
        let now = self.app.now();
        let sos = self
            .app
            .store
            .acknowledge_sos(sos_id, &caller.id, now)
            .await?;
        let sos = Some(view::sos(&sos));
        Ok(Response::new(wire::AcknowledgeSosResponse { sos }))
    }

    async fn get_trip_stats(
        &self,
        request: Request<wire::GetTripStatsRequest>,
    ) -> Result<Response<wire::GetTripStatsResponse>, Status> {
        let stats = stats::stats(&self.app, request.get_ref()).await?;
        Ok(Response::new(stats))
    }

    async fn apply_billing_event(
        &self,
        request: Request<wire::ApplyBillingEventRequest>,
    ) -> Result<Response<wire::ApplyBillingEventResponse>, Status> {
        let applied = payment::apply(&self.app, request.into_inner().event).await?;
        Ok(Response::new(wire::ApplyBillingEventResponse { applied }))
    }
}

fn for_driver(trip: &Trip, driver: DriverId) -> wire::Trip {
    view::answered(trip, &Viewer::Driver(driver))
}
