//! A server that speaks as much of Stripe's language as billing does, on this machine, and misbehaves when told
//! to. Written from the API's documentation; it has no code in common with what it tests.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The key it lets in.
pub const SECRET: &str = "sk_test_of_this_test";

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before anything is done.
    CutBefore,
    /// It is done, and the connection breaks.
    CutAfter,
    /// 500 before anything is done.
    ErrorBefore,
    /// It is done, and the answer is 500.
    ErrorAfter,
    /// 429.
    TooMany,
}

/// The fake.
#[derive(Default)]
pub struct Server {
    book: Mutex<Book>,
    /// For the first call to a path that ends so.
    faults: Mutex<Vec<(&'static str, Fault)>>,
}

#[derive(Default)]
struct Book {
    intents: Vec<Value>,
    refunds: Vec<Value>,
    transfers: Vec<Value>,
    /// What was answered under which key to what.
    answers: HashMap<String, (String, StatusCode, Value)>,
    /// Everything that was done, in order: what, and how much.
    done: Vec<(&'static str, String)>,
    calls: usize,
}

type Fields = HashMap<String, String>;
type Answer = (StatusCode, Value);

impl Server {
    /// Starts one; where it is.
    pub async fn start() -> (Arc<Server>, String) {
        let server = Arc::new(Server::default());
        let router = Router::new().fallback(serve).with_state(server.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, format!("http://{address}"))
    }

    pub fn fault(&self, ending: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push((ending, fault));
    }

    /// Whether every fault was met.
    pub fn is_clean(&self) -> bool {
        self.faults.lock().unwrap().is_empty()
    }

    /// What was done since the last time.
    pub fn done(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.book.lock().unwrap().done)
    }

    /// A day goes by: it no longer knows any key.
    pub fn forget(&self) {
        self.book.lock().unwrap().answers.clear();
    }

    /// Every transfer comes back.
    pub fn reverse(&self) {
        for transfer in &mut self.book.lock().unwrap().transfers {
            transfer["reversed"] = json!(true);
        }
    }

    /// Nobody there has heard of anything given back.
    pub fn lose_refunds(&self) {
        self.book.lock().unwrap().refunds.clear();
    }

    pub fn calls(&self) -> usize {
        self.book.lock().unwrap().calls
    }

    fn fault_of(&self, path: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let at = faults
            .iter()
            .position(|(ending, _)| path.ends_with(ending))?;
        Some(faults.remove(at).1)
    }
}

async fn serve(
    State(server): State<Arc<Server>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    server.book.lock().unwrap().calls += 1;
    if header("authorization") != Some(&format!("Bearer {SECRET}")) {
        return told(error(401, "invalid_request_error", "api_key"));
    }
    assert!(header("stripe-version").is_some());
    if method == Method::GET {
        return told(
            server
                .book
                .lock()
                .unwrap()
                .read(uri.path(), &fields(uri.query().unwrap_or(""))),
        );
    }
    assert_eq!(
        header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    let fault = server.fault_of(uri.path());
    match fault {
        Some(Fault::CutBefore) => return cut(),
        Some(Fault::ErrorBefore) => return told(error(500, "api_error", "")),
        Some(Fault::TooMany) => return told(error(429, "invalid_request_error", "rate_limit")),
        Some(Fault::CutAfter | Fault::ErrorAfter) | None => {}
    }
    let key = header("idempotency-key")
        .expect("every call that changes something has a key")
        .to_owned();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let answer = server.book.lock().unwrap().once(key, uri.path(), body);
    match fault {
        Some(Fault::CutAfter) => cut(),
        Some(Fault::ErrorAfter) => told(error(500, "api_error", "")),
        _ => told(answer),
    }
}

impl Book {
    fn once(&mut self, key: String, path: &str, body: String) -> Answer {
        let request = format!("{path} {body}");
        if let Some((then, status, answer)) = self.answers.get(&key) {
            return if *then == request {
                (*status, answer.clone())
            } else {
                error(400, "idempotency_error", "")
            };
        }
        let answer = self.change(path, &fields(&body));
        self.answers
            .insert(key, (request, answer.0, answer.1.clone()));
        answer
    }

    fn change(&mut self, path: &str, fields: &Fields) -> Answer {
        let steps: Vec<_> = path.trim_start_matches("/v1/").split('/').collect();
        match steps[..] {
            ["payment_intents"] => self.make_intent(fields),
            ["payment_intents", id, action] => self.move_intent(id, action, fields),
            ["refunds"] => self.make_refund(fields),
            ["transfers"] => {
                let transfer = json!({
                    "id": format!("tr_{}", self.transfers.len()), "object": "transfer",
                    "amount": number(fields, "amount"), "currency": fields["currency"], "reversed": false,
                    "destination": fields["destination"], "metadata": metadata(fields),
                    "transfer_group": fields["transfer_group"],
                });
                self.done.push((
                    "transfer",
                    format!("{} {}", fields["amount"], fields["destination"]),
                ));
                self.transfers.push(transfer.clone());
                (StatusCode::OK, transfer)
            }
            _ => error(404, "invalid_request_error", "resource_missing"),
        }
    }

    fn make_intent(&mut self, fields: &Fields) -> Answer {
        for (name, value) in [
            ("capture_method", "manual"),
            ("confirm", "true"),
            ("off_session", "true"),
        ] {
            assert_eq!(fields[name], value);
        }
        let is_declined = fields["payment_method"] == "pm_declined";
        let intent = json!({
            "id": format!("pi_{}", self.intents.len()), "object": "payment_intent",
            "amount": number(fields, "amount"), "amount_received": 0, "currency": fields["currency"],
            "customer": fields["customer"], "metadata": metadata(fields),
            "status": if is_declined { "requires_payment_method" } else { "requires_capture" },
        });
        self.intents.push(intent.clone());
        if is_declined {
            let mut answer = error(402, "card_error", "card_declined");
            answer.1["error"]["payment_intent"] = intent;
            return answer;
        }
        self.done.push((
            "authorize",
            format!("{} {}", fields["amount"], fields["currency"]),
        ));
        (StatusCode::OK, intent)
    }

    fn move_intent(&mut self, id: &str, action: &str, fields: &Fields) -> Answer {
        let Some(intent) = self.intents.iter_mut().find(|intent| intent["id"] == id) else {
            return error(404, "invalid_request_error", "resource_missing");
        };
        if intent["status"] != "requires_capture" {
            return error(
                400,
                "invalid_request_error",
                "payment_intent_unexpected_state",
            );
        }
        match action {
            "capture" => {
                let amount = number(fields, "amount_to_capture");
                if amount > intent["amount"].as_i64().unwrap() {
                    return error(400, "invalid_request_error", "amount_too_large");
                }
                intent["amount_received"] = json!(amount);
                intent["status"] = json!("succeeded");
                self.done.push(("capture", amount.to_string()));
            }
            "cancel" => {
                intent["status"] = json!("canceled");
                self.done.push(("void", String::new()));
            }
            _ => return error(404, "invalid_request_error", "resource_missing"),
        }
        (StatusCode::OK, intent.clone())
    }

    fn make_refund(&mut self, fields: &Fields) -> Answer {
        let intent = self
            .intents
            .iter()
            .find(|intent| intent["id"] == *fields["payment_intent"]);
        let taken = intent.map_or(0, |intent| intent["amount_received"].as_i64().unwrap());
        let of_it = self
            .refunds
            .iter()
            .filter(|refund| refund["payment_intent"] == *fields["payment_intent"]);
        let before: i64 = of_it.map(|refund| refund["amount"].as_i64().unwrap()).sum();
        let amount = number(fields, "amount");
        if amount > taken - before {
            return error(400, "invalid_request_error", "charge_already_refunded");
        }
        let refund = json!({
            "id": format!("re_{}", self.refunds.len()), "object": "refund", "amount": amount,
            "payment_intent": fields["payment_intent"], "metadata": metadata(fields), "status": "succeeded",
        });
        self.done.push(("refund", amount.to_string()));
        self.refunds.push(refund.clone());
        (StatusCode::OK, refund)
    }

    fn read(&self, path: &str, fields: &Fields) -> Answer {
        let (list, filter) = match path.trim_start_matches("/v1/") {
            "payment_intents" => (&self.intents, "customer"),
            "refunds" => (&self.refunds, "payment_intent"),
            "transfers" => (&self.transfers, "transfer_group"),
            one => {
                let id = one.trim_start_matches("payment_intents/");
                let found = self.intents.iter().find(|intent| intent["id"] == id);
                let missing = || error(404, "invalid_request_error", "resource_missing");
                return found.map_or_else(missing, |intent| (StatusCode::OK, intent.clone()));
            }
        };
        assert!(fields.contains_key("created[gte]"));
        // Newest first, two to a page, so that pages are turned.
        let mut newest = list
            .iter()
            .rev()
            .filter(|object| object[filter] == *fields[filter]);
        if let Some(after) = fields.get("starting_after") {
            newest.by_ref().find(|object| object["id"] == **after);
        }
        let rest: Vec<_> = newest.collect();
        let page = &rest[..rest.len().min(2)];
        (
            StatusCode::OK,
            json!({"object": "list", "data": page, "has_more": rest.len() > page.len()}),
        )
    }
}

fn fields(text: &str) -> Fields {
    form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

fn number(fields: &Fields, name: &str) -> i64 {
    fields[name].parse().unwrap()
}

fn metadata(fields: &Fields) -> Value {
    let inner = |name: &str| {
        name.strip_prefix("metadata[")?
            .strip_suffix(']')
            .map(str::to_owned)
    };
    let named = fields
        .iter()
        .filter_map(|(name, value)| Some((inner(name)?, json!(value))));
    Value::Object(named.collect())
}

fn error(status: u16, kind: &str, code: &str) -> Answer {
    let body = json!({"error": {"type": kind, "code": code, "message": "not for logs"}});
    (StatusCode::from_u16(status).unwrap(), body)
}

fn told((status, body): Answer) -> Response {
    (status, body.to_string()).into_response()
}

/// An answer that breaks off.
fn cut() -> Response {
    let broken = Err::<Bytes, _>(io::Error::other("cut"));
    Response::new(Body::from_stream(stream::iter([broken])))
}
