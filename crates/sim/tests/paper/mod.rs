//! A server on paper: the API's ways of a ride with no roads, no database and no money, and with
//! faults and lies to order. It writes its JSON by hand, so that it is no mirror of what the
//! simulation reads with.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        FromRequestParts, Request, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::{Method, Response, StatusCode, header::AUTHORIZATION},
    response::IntoResponse,
};
use jitney_sim::{Role, TokenSource};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{interval, timeout},
};

mod book;

use book::{Book, FARE, Problem, euros, is_over, quote, version};

/// What goes wrong, by itself or on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Every so many calls are refused with 503 before anything happens; 0 never.
    pub refuse_every: u64,
    /// The answer of every so many mutating calls is lost after it took effect; 0 never.
    pub lose_every: u64,
    /// Every driver's connection is cut after so many frames of theirs; 0 never.
    pub cut_socket_after: u64,
    /// Every event stream is cut after so many events; 0 never.
    pub cut_events_after: u64,
    /// Receipts are a cent short.
    pub short_receipts: bool,
    /// Riders are told of another driver than the one who has the trip.
    pub wrong_driver: bool,
    /// Completed trips have no receipt.
    pub no_receipts: bool,
    /// The ledger says it does not hold.
    pub unbalanced: bool,
}

/// The server; everything it knows.
#[derive(Clone)]
pub struct Paper {
    /// Where it is.
    pub url: String,
    book: Arc<Mutex<Book>>,
    faults: Faults,
    map_id: String,
}

impl Paper {
    /// Serves on a free port of this machine.
    pub async fn serve(map_id: String, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let paper = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            book: Arc::default(),
            faults,
            map_id,
        };
        tokio::spawn(paper.clone().matching());
        let app = Router::new().fallback(answer).with_state(paper.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        paper
    }

    /// Waits until so many rides have a driver at the same time.
    pub async fn until_driven(&self, rides: usize) {
        let driven = async {
            let mut again = interval(Duration::from_millis(10));
            loop {
                again.tick().await;
                if self.book().driven() >= rides {
                    return;
                }
            }
        };
        let patience = Duration::from_secs(30);
        timeout(patience, driven).await.expect("rides are driven");
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers waiting trips to idle drivers, one at a time, for ever.
    async fn matching(self) {
        let mut round = interval(Duration::from_millis(20));
        loop {
            round.tick().await;
            self.book().clock_ms += 20;
            self.book().make_offers();
        }
    }

    async fn call(
        &self,
        method: &Method,
        path: &str,
        who: (Role, &str),
        body: Value,
        key: &str,
    ) -> Result<Value, Problem> {
        let mut book = self.book();
        book.calls += 1;
        if is_nth(book.calls, self.faults.refuse_every) {
            return Err(Problem(503, "UNAVAILABLE"));
        }
        let (role, id) = who;
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split(['/', ':']).collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["service-area"]) => Ok(json!({
                "mapName": "paper", "mapId": self.map_id,
                "products": [{"product": "economy", "title": "Economy", "seats": 4}],
            })),
            ("GET", ["ledger", "check"]) => {
                Ok(json!({"balanced": !self.faults.unbalanced, "entries": "7"}))
            }
            ("GET", ["trips"]) => Ok(json!({"trips": book.live(role, id)})),
            ("POST", ["quotes"]) => Ok(json!({"quotes": [quote(&body)]})),
            ("POST", ["trips"]) => book
                .create(id, &body, key)
                .map(|trip| json!({"trip": trip})),
            ("GET", ["trips", trip_id]) => book
                .visible(trip_id, role, id)
                .map(|trip| json!({"trip": trip})),
            ("GET", ["trips", trip_id, "receipt"]) => {
                let trip = book.visible(trip_id, role, id)?;
                if trip["state"] != "TRIP_STATE_COMPLETED" || self.faults.no_receipts {
                    return Err(Problem(404, "NOT_FOUND"));
                }
                let total = FARE - i64::from(self.faults.short_receipts);
                Ok(json!({"receipt": {
                    "tripId": trip_id, "riderId": trip["riderId"],
                    "driverId": trip["driver"]["driverId"],
                    "lines": [{"kind": "FARE_LINE_KIND_BASE", "amount": euros(total)}],
                    "total": euros(total),
                }}))
            }
            ("POST", ["trips", trip_id, "offers", offer_id, "accept"]) => book
                .accept(trip_id, offer_id, id)
                .map(|trip| json!({"trip": trip})),
            ("POST", ["trips", trip_id, "offers", offer_id, "decline"]) => {
                book.end_offer(trip_id, offer_id);
                Ok(json!({}))
            }
            ("POST", ["trips", trip_id, verb]) => book
                .step(trip_id, verb, role, id, &body)
                .map(|trip| json!({"trip": trip})),
            ("PUT", ["drivers", driver_id, "availability"]) if *driver_id == id => {
                book.drivers.entry(id.to_owned()).or_default().available = false;
                Ok(json!({"driver": {"driverId": id}}))
            }
            _ => Err(Problem(404, "NOT_FOUND")),
        }
        .and_then(|answer| {
            book.changes += u64::from(method != Method::GET);
            match method != Method::GET && is_nth(book.changes, self.faults.lose_every) {
                true => Err(Problem(504, "DEADLINE_EXCEEDED")),
                false => Ok(answer),
            }
        })
    }

    /// A trip's events from the version after the one named.
    fn events(&self, trip_id: &str, after: u64) -> Result<Response<Body>, Problem> {
        let changed = self
            .book()
            .trips
            .get(trip_id)
            .map(|trip| trip.changed.subscribe());
        let changed = changed.ok_or(Problem(404, "NOT_FOUND"))?;
        let (paper, trip_id) = (self.clone(), trip_id.to_owned());
        let begin = (paper, trip_id, changed, after, 0_u64, false);
        let events = futures::stream::unfold(begin, |state| async move {
            let (paper, trip_id, mut changed, after, told, over) = state;
            if over {
                return None;
            }
            if paper.faults.cut_events_after > 0 && told >= paper.faults.cut_events_after {
                return None;
            }
            let trip = loop {
                let trip = paper.book().trips.get(&trip_id)?.trip.clone();
                if version(&trip) > after {
                    break trip;
                }
                changed.changed().await.ok()?;
            };
            let mut shown = trip.clone();
            if paper.faults.wrong_driver && shown["state"] == "TRIP_STATE_IN_PROGRESS" {
                shown["driver"]["driverId"] = json!("somebody-else");
            }
            let over = is_over(&trip);
            let now = version(&trip);
            let data = json!({"resumeToken": now.to_string(), "trip": shown});
            let mut text = format!(": hello\n\nid: {now}\nevent: trip\ndata: {data}\n\n");
            if over {
                text += "event: end\ndata: {\"reason\":\"COMPLETE\"}\n\n";
            }
            let next = (paper, trip_id, changed, now, told + 1, over);
            Some((Ok::<_, Infallible>(Bytes::from(text)), next))
        });
        let mut response = Response::new(Body::from_stream(events));
        let kind = "text/event-stream".parse().unwrap();
        response.headers_mut().insert("content-type", kind);
        Ok(response)
    }

    /// A driver's connection.
    async fn converse(self, mut socket: WebSocket, id: String) {
        let (down, mut out) = mpsc::unbounded_channel();
        let connection = {
            let mut book = self.book();
            let driver = book.drivers.entry(id.clone()).or_default();
            driver.connection += 1;
            driver.down = Some(down);
            driver.connection
        };
        let mut frames = 0;
        loop {
            tokio::select! {
                message = out.recv() => {
                    let Some(message) = message else { return };
                    if socket.send(Message::Text(message.to_string().into())).await.is_err() {
                        return;
                    }
                }
                frame = socket.recv() => {
                    let Some(Ok(Message::Text(text))) = frame else { break };
                    frames += 1;
                    if self.faults.cut_socket_after > 0 && frames > self.faults.cut_socket_after {
                        break;
                    }
                    let message: Value = serde_json::from_str(&text).unwrap();
                    let answer = self.book().driver_says(&id, &message);
                    if let Some(answer) = answer
                        && socket.send(Message::Text(answer.to_string().into())).await.is_err()
                    {
                        break;
                    }
                }
            }
        }
        let mut book = self.book();
        let driver = book.drivers.entry(id).or_default();
        if driver.connection == connection {
            driver.down = None;
        }
    }
}

async fn answer(State(paper): State<Paper>, request: Request) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let token = header(AUTHORIZATION.as_str());
    let Some((role, id)) = token
        .strip_prefix("Bearer ")
        .and_then(|t| t.split_once('/'))
    else {
        return Problem(401, "UNAUTHENTICATED").into_response();
    };
    let role = Role::from_str_name(role).unwrap();
    let path = parts.uri.path().to_owned();
    if path == "/v1/driver-stream" {
        let id = id.to_owned();
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
            .await
            .unwrap();
        return upgrade.on_upgrade(move |socket| paper.converse(socket, id));
    }
    if let Some(trip_id) = path
        .strip_prefix("/v1/trips/")
        .and_then(|p| p.strip_suffix(":watch"))
    {
        let after = header("last-event-id").parse().unwrap_or(0);
        return paper
            .events(trip_id, after)
            .unwrap_or_else(IntoResponse::into_response);
    }
    let key = header("idempotency-key");
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match paper
        .call(&parts.method, &path, (role, id), body, &key)
        .await
    {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Tokens that say who they are for.
pub fn tokens() -> TokenSource {
    TokenSource::new(|role, id| Ok(format!("{}/{id}", role.as_str_name())))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let Self(http, reason) = self;
        let status = StatusCode::from_u16(http).unwrap();
        let details = [json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason, "domain": "jitney"})];
        (
            status,
            axum::Json(json!({"message": "no", "details": details})),
        )
            .into_response()
    }
}

fn is_nth(count: u64, every: u64) -> bool {
    every > 0 && count.is_multiple_of(every)
}
