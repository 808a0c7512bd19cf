//! StreamDriver: one task per connection reads what the app says until either side has had enough.
//! What the app is told comes from [`crate::session`].

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jitney_platform::telemetry::TraceContext;
use jitney_proto::{
    Code,
    ids::{DriverId, SessionId},
    matching::v1::{self as wire, StreamDriverRequest, stream_driver_request::Message},
};
use tonic::{Status, Streaming};
use tracing::{Instrument, Span};

use super::shift_change;
use crate::{
    dispatch::Ground,
    error::Refusal,
    fleet::DriverKey,
    outbound::{Outbound, OutboundStream, outbound},
    ping::Sighting,
    service::{Service, going_away},
    session::ConnectionNo,
};

/// How often a driver's positions get a span of their own on a stream that is exported. A shift has
/// thousands of batches, and its trace need not.
const PINGS_SPAN_INTERVAL: TimeDelta = TimeDelta::seconds(10);
/// Positions of one batch, at most.
const PINGS_MAX: usize = 100;

type Out = Outbound<wire::StreamDriverResponse>;

/// Reads a connection of the token's driver; gives the stream of what they are told.
pub fn open(
    service: Arc<Service>,
    driver: DriverId,
    inbound: Streaming<StreamDriverRequest>,
) -> OutboundStream<wire::StreamDriverResponse> {
    let (out, stream) = outbound(service.config.stream_queue_max);
    let connection = Connection {
        service,
        driver,
        inbound,
        out,
        pings_told_at: None,
    };
    tokio::spawn(connection.run().in_current_span());
    stream
}

struct Connection {
    service: Arc<Service>,
    driver: DriverId,
    inbound: Streaming<StreamDriverRequest>,
    out: Out,
    /// When positions last got a span.
    pings_told_at: Option<DateTime<Utc>>,
}

impl Connection {
    async fn run(mut self) {
        let (key, number) = match self.hello().await {
            Ok(Some(connected)) => connected,
            Ok(None) => return,
            Err(status) => return self.out.close(status),
        };
        tracing::debug!("driver connected");
        if let Err(status) = self.converse(key).await {
            self.out.close(status);
        }
        let now = self.service.clock.now();
        self.service.change().left(key, number, now);
        tracing::debug!("driver disconnected");
    }

    /// Waits for the first message; `None` when the app leaves without one.
    async fn hello(&mut self) -> Result<Option<(DriverKey, ConnectionNo)>, Status> {
        let patience = self.service.config.hello_max;
        let first = tokio::select! {
            message = self.inbound.message() => message,
            () = self.out.closed() => return Ok(None),
            () = self.service.shutdown.cancelled() => return Err(going_away()),
            () = self.service.clock.sleep(patience) => {
                return Err(Code::DeadlineExceeded.status("no hello came in time"));
            }
        };
        // An app that breaks off has nobody to hear of it.
        let Ok(Some(first)) = first else {
            return Ok(None);
        };
        let Some(Message::Hello(hello)) = first.message else {
            return Err(Code::StreamOrder.status("the first message must be hello"));
        };
        if !hello.driver_id.is_empty() && hello.driver_id != self.driver.as_str() {
            return Err(
                Code::PermissionDenied.status("the hello names another driver than the token")
            );
        }
        // A session name that is none of ours is a session that is gone.
        let resume: Option<SessionId> = hello.resume_session_id.parse().ok();
        let resume = resume.map(|session| (session, hello.last_seq));
        let now = self.service.clock.now();
        let mut dispatch = self.service.change();
        Ok(Some(dispatch.hello(
            &self.driver,
            resume,
            self.out.clone(),
            now,
        )))
    }

    /// Takes in what the app says until it leaves, the connection is closed, or the process stops.
    async fn converse(&mut self, key: DriverKey) -> Result<(), Status> {
        loop {
            let message = tokio::select! {
                // Being superseded comes before anything the older connection still says.
                biased;
                () = self.out.closed() => return Ok(()),
                () = self.service.shutdown.cancelled() => return Err(going_away()),
                message = self.inbound.message() => message,
            };
            match message {
                Ok(Some(StreamDriverRequest {
                    message: Some(message),
                })) => {
                    self.take_in(key, message).await?;
                }
                // A kind of message that a newer app has.
                Ok(Some(StreamDriverRequest { message: None })) => {}
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }

    async fn take_in(&mut self, key: DriverKey, message: Message) -> Result<(), Status> {
        let now = self.service.clock.now();
        match message {
            Message::Hello(_) => Err(Code::StreamOrder
                .status("hello is the first message of a connection, and only that")),
            Message::Pings(pings) => self.pings(key, &pings),
            Message::Ack(ack) => {
                self.service.change().acknowledge(key, ack.seq, now);
                Ok(())
            }
            Message::Availability(wire::Availability {
                available,
                products,
                vehicle,
                destination_filter,
            }) => {
                let ground = self.service.ground();
                let filter = destination_filter;
                let change = shift_change(&ground, available, &products, vehicle, filter)?;
                self.service.shift(&self.driver, change).await?;
                Ok(())
            }
        }
    }

    /// The span of a batch of positions: on a stream that is exported, once in a while.
    fn pings_span(&mut self, count: usize) -> Option<Span> {
        TraceContext::current().filter(TraceContext::is_sampled)?;
        let now = self.service.clock.now();
        let is_due = self
            .pings_told_at
            .is_none_or(|at| now - at >= PINGS_SPAN_INTERVAL);
        is_due.then(|| {
            self.pings_told_at = Some(now);
            tracing::info_span!("driver.pings", count)
        })
    }

    fn pings(&mut self, key: DriverKey, pings: &wire::Pings) -> Result<(), Status> {
        if pings.pings.len() > PINGS_MAX {
            let problem = format!("must be at most {PINGS_MAX} in a batch");
            return Err(Refusal::bad_field("pings.pings", problem).into());
        }
        let span = self.pings_span(pings.pings.len());
        let told_in = span.as_ref().and_then(TraceContext::of);
        let reach_m = self.service.config.snap_distance_max_m;
        // Looking for the road is the long part.
        let look_up = |ground: &Ground| -> Vec<_> {
            let read = |ping| Sighting::read(ping, &ground.roads, reach_m);
            pings.pings.iter().map(read).collect()
        };
        self.service.on_the_map(look_up, |dispatch, sightings| {
            let now = self.service.clock.now();
            dispatch.pings(key, pings.batch, &sightings, now);
            if let Some(told_in) = told_in {
                dispatch.traces().seen(key, told_in);
            }
        });
        Ok(())
    }
}
