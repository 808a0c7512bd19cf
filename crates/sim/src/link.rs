//! The driver app's connection: keeps the WebSocket up, reports where the car is, takes in what the
//! server says, once each, and tells the server so.
//!
//! After every break it connects again and resumes the session, so a message the server sent is
//! neither lost nor taken in twice. Positions measured while there is no connection are not kept:
//! the next one says where the car is.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use futures::{SinkExt, StreamExt};
use jitney_proto::{
    Code,
    matching::v1::{
        Ack, Availability, Hello, Offer, Ping, PingReceipt, Pings, StreamDriverRequest,
        StreamDriverResponse, Vehicle, Welcome, stream_driver_request::Message as Up,
        stream_driver_response::Message as Down,
    },
    time::timestamp,
};
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, client::IntoClientRequest, http::header},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::Badge,
    chance::Backoff,
    chronicle::Chronicle,
    json::{from_json, to_json},
    movement::Car,
    refusal::{CallError, Problem},
    streets::{Streets, point},
};

const PATH: &str = "/v1/driver-stream";
const ROUTE: &str = "GET /v1/driver-stream";
/// How long connecting, and then the welcome, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection nobody says anything on for this long is given up: pings are answered.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long to stay away after a newer connection of the same driver took over.
const SUPERSEDED_PAUSE: Duration = Duration::from_secs(5);

/// What a driver hears.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    /// Connected, for the first time or again.
    Welcome(Welcome),
    /// A ride to take or leave.
    Offer(Offer),
    /// An offer is over.
    Withdrawn { offer_id: String },
    /// A ride is this driver's.
    Assigned { trip_id: String },
    /// A ride is over or somebody else's.
    Ended { trip_id: String },
}

/// The connection, to be run as a task of its own.
pub(crate) struct Link {
    pub badge: Arc<Badge>,
    pub car: Arc<Car>,
    pub streets: Arc<Streets>,
    pub products: Vec<String>,
    pub vehicle: Vehicle,
    pub ping_interval: Duration,
    pub pings_per_batch: u32,
    pub backoff: Backoff,
    pub chronicle: Arc<Chronicle>,
    /// Where to tell what is heard.
    pub heard: mpsc::Sender<Heard>,
    /// Ends the connection.
    pub off_shift: CancellationToken,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What outlives a connection.
#[derive(Default)]
struct Session {
    id: String,
    /// The highest message number taken in.
    last_seq: u64,
    last_batch: u64,
}

impl Link {
    /// Stays connected until the shift is over.
    pub async fn run(mut self) {
        let off_shift = self.off_shift.clone();
        // Dropping a connection half-way is what phones do; the server has to bear it.
        off_shift.run_until_cancelled(self.stay_connected()).await;
    }

    async fn stay_connected(&mut self) {
        let mut session = Session::default();
        loop {
            let mut wait = Duration::ZERO;
            match self.connect(&mut session).await {
                Ok(socket) => {
                    self.backoff.reset();
                    let error = match self.converse(socket, &mut session).await {
                        Ok(()) => return,
                        Err(error) => error,
                    };
                    tracing::debug!(driver = self.badge.id(), error = %format!("{error:#}"), "connection lost");
                    self.chronicle.facts().connections.lost += 1;
                    if let Some(Ended(problem)) = error.downcast_ref() {
                        self.chronicle.stream_failed(ROUTE, problem);
                        let reason = problem.reason();
                        if reason == Some(Code::Superseded.reason()) {
                            wait = SUPERSEDED_PAUSE;
                            tracing::warn!(
                                driver = self.badge.id(),
                                "somebody else connects as this driver: does another simulation \
                                 use the same name_prefix?"
                            );
                        }
                        if reason == Some(Code::Unauthenticated.reason()) {
                            self.badge.drop_token();
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(driver = self.badge.id(), error = %format!("{error:#}"), "cannot connect");
                    self.chronicle.facts().connections.failed += 1;
                }
            }
            sleep(wait.max(self.backoff.step())).await;
        }
    }

    /// Connects and says hello; answers once welcomed and on shift.
    async fn connect(&mut self, session: &mut Session) -> anyhow::Result<Socket> {
        let mut request = self.badge.socket_url(PATH).into_client_request()?;
        let authorization = self.badge.authorization()?.parse()?;
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, authorization);
        let connected = timeout(CONNECT_TIMEOUT, connect_async(request)).await;
        let mut socket = match connected.context("no answer in time")? {
            Ok((socket, _)) => socket,
            Err(tungstenite::Error::Http(response)) => {
                if response.status() == tungstenite::http::StatusCode::UNAUTHORIZED {
                    self.badge.drop_token();
                }
                let problem = Problem::read(response.body().as_deref().unwrap_or_default());
                let error = CallError::Refused {
                    route: ROUTE,
                    http: response.status().as_u16(),
                    reason: problem.reason().unwrap_or("no reason").to_owned(),
                    message: problem.message,
                    retry_after: None,
                };
                self.chronicle.call_failed(ROUTE, &error);
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        let hello = Hello {
            driver_id: String::new(),
            resume_session_id: session.id.clone(),
            last_seq: session.last_seq,
        };
        say(&mut socket, Up::Hello(hello)).await?;
        let welcome = timeout(CONNECT_TIMEOUT, async {
            loop {
                if let Some(StreamDriverResponse {
                    message: Some(Down::Welcome(welcome)),
                    ..
                }) = hear(&mut socket).await?
                {
                    return anyhow::Ok(welcome);
                }
            }
        });
        let welcome = welcome.await.context("no welcome in time")??;
        if !welcome.resumed {
            session.last_seq = 0;
        }
        if session.id.is_empty() {
            self.begin_where_last_seen(&welcome);
        }
        session.id.clone_from(&welcome.session_id);
        {
            let connections = &mut self.chronicle.facts().connections;
            connections.opened += 1;
            connections.resumed += u64::from(welcome.resumed);
        }
        self.heard.send(Heard::Welcome(welcome)).await?;
        let availability = Availability {
            available: true,
            products: self.products.clone(),
            vehicle: Some(self.vehicle.clone()),
            destination_filter: None,
        };
        say(&mut socket, Up::Availability(availability)).await?;
        Ok(socket)
    }

    /// Reports and listens until the connection breaks. Ends well when nobody wants to hear.
    async fn converse(&mut self, mut socket: Socket, session: &mut Session) -> anyhow::Result<()> {
        let mut measure = interval(self.ping_interval);
        measure.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut pings = Vec::new();
        // The first position goes out at once, so that the driver can be found.
        let mut batch_size = 1;
        let mut last_heard = Instant::now();
        loop {
            tokio::select! {
                _ = measure.tick() => {
                    if last_heard.elapsed() > SILENCE_MAX {
                        bail!("the server has said nothing for {} s", SILENCE_MAX.as_secs());
                    }
                    pings.push(self.measure());
                    if pings.len() >= batch_size {
                        batch_size = self.pings_per_batch.max(1) as usize;
                        session.last_batch += 1;
                        self.chronicle.facts().pings.sent += pings.len() as u64;
                        let pings = std::mem::take(&mut pings);
                        say(&mut socket, Up::Pings(Pings { batch: session.last_batch, pings })).await?;
                    }
                }
                message = hear(&mut socket) => {
                    last_heard = Instant::now();
                    let Some(message) = message? else { continue };
                    let seq = message.seq;
                    if seq > 0 && seq <= session.last_seq {
                        self.chronicle.facts().connections.repeated_messages += 1;
                    } else if let Some(message) = message.message
                        && !self.take_in(message).await
                    {
                        return Ok(());
                    }
                    if seq > 0 {
                        session.last_seq = session.last_seq.max(seq);
                        say(&mut socket, Up::Ack(Ack { seq: session.last_seq })).await?;
                    }
                }
            }
        }
    }

    /// The first position must be no jump from the last one the server knows.
    fn begin_where_last_seen(&self, welcome: &Welcome) {
        let last = welcome
            .driver
            .as_ref()
            .and_then(|driver| driver.location.as_ref());
        if let Some(last) = last.and_then(|last| self.streets.nearest(last)) {
            self.car.place_at(last.point);
        }
    }

    fn measure(&self) -> Ping {
        let position = self.car.position(Instant::now());
        Ping {
            location: Some(point(position.place)),
            recorded_at: Some(timestamp(phone_clock())),
            heading_degrees: position.heading_deg.map(|heading| heading as f32),
            speed_mps: Some(position.speed_mps as f32),
        }
    }

    /// Passes a message on; false when nobody wants to hear any more.
    async fn take_in(&self, message: Down) -> bool {
        let heard = match message {
            Down::Offer(offer) => Heard::Offer(offer),
            Down::OfferWithdrawn(over) => Heard::Withdrawn {
                offer_id: over.offer_id,
            },
            Down::Assignment(assignment) => Heard::Assigned {
                trip_id: assignment.trip_id,
            },
            Down::AssignmentEnded(ended) => Heard::Ended {
                trip_id: ended.trip_id,
            },
            Down::PingReceipt(receipt) => {
                self.note(receipt);
                return true;
            }
            // The driver knows what they are doing, and asks the trip service when in doubt.
            Down::DriverUpdate(_) | Down::Welcome(_) => return true,
        };
        self.heard.send(heard).await.is_ok()
    }

    fn note(&self, receipt: PingReceipt) {
        let pings = &mut self.chronicle.facts().pings;
        pings.accepted += u64::from(receipt.accepted);
        for refusal in receipt.refused {
            *pings.refused.entry(refusal.reason).or_default() += 1;
        }
    }
}

/// The time by the phone's own clock.
#[allow(
    clippy::disallowed_methods,
    reason = "the server has to bear whatever phones say"
)]
fn phone_clock() -> DateTime<Utc> {
    Utc::now()
}

/// The server ended the connection and said why.
#[derive(Debug, thiserror::Error)]
#[error("the server ended the connection: {}", .0.message)]
struct Ended(Problem);

/// How the server says why it ends the connection.
#[derive(Deserialize)]
struct Failure {
    error: Problem,
}

async fn say(socket: &mut Socket, message: Up) -> anyhow::Result<()> {
    let text = to_json(&StreamDriverRequest {
        message: Some(message),
    })?;
    timeout(
        CONNECT_TIMEOUT,
        socket.send(tungstenite::Message::text(text)),
    )
    .await
    .context("the server does not read")??;
    Ok(())
}

/// The next message; `None` for a sign of life.
async fn hear(socket: &mut Socket) -> anyhow::Result<Option<StreamDriverResponse>> {
    use tungstenite::Message;
    match socket.next().await.context("the server hung up")?? {
        Message::Text(text) => {
            if let Ok(Failure { error }) = serde_json::from_str(&text) {
                return Err(Ended(error).into());
            }
            Ok(Some(
                from_json(text.as_bytes()).context("a message the API does not know")?,
            ))
        }
        Message::Close(frame) => {
            let why = frame.map_or(String::new(), |frame| {
                format!(" ({} {})", frame.code, frame.reason)
            });
            bail!("the server closed the connection{why}")
        }
        Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}
