//! A driver's app: the WebSocket of `StreamDriver`, and the calls that answer offers.

use std::{collections::VecDeque, time::Duration};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::phone::Phone;

/// How long an expected message may take. Generous: it bounds a failing test, not a passing one.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connected driver.
pub struct DriverApp {
    /// The same driver's REST client.
    pub phone: Phone,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    seen: VecDeque<Value>,
    /// The answer to hello.
    pub welcome: Value,
    batch: u64,
}

impl DriverApp {
    /// Connects, says hello and reads the welcome.
    pub async fn connect(phone: &Phone) -> Self {
        Self::connect_with(phone, json!({})).await
    }

    /// As [`DriverApp::connect`] with fields of hello, for example `resumeSessionId`.
    pub async fn connect_with(phone: &Phone, hello: Value) -> Self {
        Self::try_connect(phone, hello)
            .await
            .expect("the driver's stream opens")
    }

    /// As [`DriverApp::connect_with`]; an error when the gateway is not there or closes at once.
    pub async fn try_connect(phone: &Phone, hello: Value) -> anyhow::Result<Self> {
        let mut request = phone
            .socket_url("/v1/driver-stream")
            .into_client_request()?;
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {}", phone.token).parse()?);
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut app = Self {
            phone: phone.clone(),
            socket,
            seen: VecDeque::new(),
            welcome: Value::Null,
            batch: 0,
        };
        app.socket
            .send(Message::text(json!({"hello": hello}).to_string()))
            .await?;
        app.welcome = app.try_next("welcome").await?;
        Ok(app)
    }

    /// Sends one message.
    pub async fn send(&mut self, message: Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .expect("the stream is open");
    }

    /// Goes on shift at a place, serving `products`, and waits until that has been taken in.
    pub async fn go_online(&mut self, at: (f64, f64), products: &[&str]) {
        self.send(json!({"availability": {
            "available": true,
            "products": products,
            "vehicle": {"plate": "MC 1234", "description": "white hatchback"},
        }}))
        .await;
        let update = self.next("driverUpdate").await;
        assert_eq!(update["driver"]["products"], json!(products));
        let receipt = self.ping(at).await;
        assert_eq!(receipt["accepted"], 1, "{receipt}");
    }

    /// Sends one position and gives the receipt.
    pub async fn ping(&mut self, at: (f64, f64)) -> Value {
        self.batch += 1;
        let point = json!({"latitude": at.0, "longitude": at.1});
        self.send(
            json!({"pings": {"batch": self.batch.to_string(), "pings": [{"location": point}]}}),
        )
        .await;
        self.next("pingReceipt").await
    }

    /// The next message of this kind; others are kept for later.
    pub async fn next(&mut self, kind: &str) -> Value {
        self.try_next(kind)
            .await
            .unwrap_or_else(|error| panic!("waiting for {kind}: {error:#}"))
    }

    /// As [`DriverApp::next`], with the number to acknowledge beside it.
    pub async fn try_next(&mut self, kind: &str) -> anyhow::Result<Value> {
        if let Some(at) = self
            .seen
            .iter()
            .position(|message| message.get(kind).is_some())
        {
            return Ok(self
                .seen
                .remove(at)
                .map(|message| unwrapped(message, kind))
                .unwrap_or_default());
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let frame = tokio::time::timeout_at(deadline, self.socket.next())
                .await
                .map_err(|_| {
                    anyhow::anyhow!("nothing within {PATIENCE:?}; kept: {:?}", self.seen)
                })?;
            match frame {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text)?;
                    if message.get(kind).is_some() {
                        return Ok(unwrapped(message, kind));
                    }
                    self.seen.push_back(message);
                }
                Some(Ok(Message::Close(reason))) => anyhow::bail!("closed: {reason:?}"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => anyhow::bail!("the stream ended"),
            }
        }
    }

    /// Says that messages up to `seq` have been taken in.
    pub async fn acknowledge(&mut self, seq: &Value) {
        self.send(json!({"ack": {"seq": seq}})).await;
    }

    /// Accepts an offer and gives the trip.
    pub async fn accept(&self, offer: &Value) -> Value {
        self.answer(offer, "accept").await.ok()["trip"].clone()
    }

    /// Accepts or declines an offer, whatever comes of it.
    pub async fn answer(&self, offer: &Value, verb: &str) -> super::phone::Answer {
        let (trip, offer) = (
            offer["tripId"].as_str().unwrap(),
            offer["offerId"].as_str().unwrap(),
        );
        self.phone
            .post(
                &format!("/v1/trips/{trip}/offers/{offer}:{verb}"),
                json!({}),
            )
            .await
    }

    /// Arrives, starts with the PIN and completes.
    pub async fn drive(&self, trip_id: &str, pin: &str) -> Value {
        self.phone
            .post(&format!("/v1/trips/{trip_id}:arrive"), json!({}))
            .await
            .ok();
        self.phone
            .post(&format!("/v1/trips/{trip_id}:start"), json!({"pin": pin}))
            .await
            .ok();
        self.phone
            .post(&format!("/v1/trips/{trip_id}:complete"), json!({}))
            .await
            .ok()["trip"]
            .clone()
    }
}

/// The message itself, with the session's number for it as `seq`.
fn unwrapped(mut message: Value, kind: &str) -> Value {
    let seq = message["seq"].take();
    let mut inner = message[kind].take();
    if let Some(fields) = inner.as_object_mut() {
        fields.insert("seq".into(), seq);
    }
    inner
}
