//! I10 in full: every route, read from the descriptors, tried by the rider whose ride it is, another
//! rider, the driver who has it, another driver, an operator, a service, a stranger with nothing.
//!
//! What is somebody else's has to look exactly like what is not there, or ids could be probed.

use std::fmt;

use jitney_gateway::route::{Binding, Routes};
use jitney_platform::auth::{AccessRules, Role, Scope};
use serde_json::{Value, json};

use crate::support::{City, Phone, places::*, trip_in};

/// An id of a trip, an offer and the like that nothing has.
const NOTHING: &str = "0190a000-0000-7000-8000-00000000dead";

/// The things whose owners are known.
struct Things {
    trip_id: String,
    offer_id: String,
}

/// Who tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Actor {
    Nobody,
    Rider,
    OtherRider,
    Driver,
    OtherDriver,
    Operator,
    Service,
}

impl Actor {
    const ALL: [Actor; 7] = [
        Actor::Nobody,
        Actor::OtherRider,
        Actor::OtherDriver,
        Actor::Rider,
        Actor::Driver,
        Actor::Operator,
        Actor::Service,
    ];

    fn role(self) -> Option<Role> {
        match self {
            Actor::Nobody => None,
            Actor::Rider | Actor::OtherRider => Some(Role::Rider),
            Actor::Driver | Actor::OtherDriver => Some(Role::Driver),
            Actor::Operator => Some(Role::Operator),
            Actor::Service => Some(Role::Service),
        }
    }

    fn is_other(self) -> bool {
        matches!(self, Actor::OtherRider | Actor::OtherDriver)
    }

    fn phone(self, city: &City) -> Phone {
        let id = match self {
            Actor::Rider => "anna",
            Actor::OtherRider => "ben",
            Actor::Driver => "dora",
            Actor::OtherDriver => "dave",
            _ => "staff",
        };
        let mut phone = city.phone(self.role().unwrap_or(Role::Rider), id);
        if self == Actor::Nobody {
            phone.token.clear();
        }
        phone
    }
}

/// What came back: enough to tell two answers apart.
#[derive(PartialEq, Eq)]
struct Answer {
    status: u16,
    reason: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

/// The path of a binding with these values in it, and whether a variable says whose it is.
fn path(binding: &Binding, things: Option<&Things>) -> (String, bool) {
    let mut path = binding.template.to_string();
    let mut is_somebodys = false;
    for variable in &binding.template.variables {
        let name = variable.field.join(".");
        let (value, owned) = match (name.as_str(), things) {
            ("trip_id", Some(things)) => (things.trip_id.as_str(), true),
            ("offer_id", Some(things)) => (things.offer_id.as_str(), false),
            ("driver_id", Some(_)) => ("dora", true),
            ("rider_id", Some(_)) => ("anna", true),
            ("trip_id", None) => (NOTHING, true),
            ("driver_id" | "rider_id", None) => ("nobody-at-all", true),
            ("stop", _) => ("1", false),
            ("month", _) => ("2026-01", false),
            ("code", _) => ("SUMMER", false),
            _ => (NOTHING, false),
        };
        is_somebodys |= owned;
        path = path.replace(&format!("{{{name}}}"), value);
    }
    (path, is_somebodys)
}

/// A body that gets as far as the question whose it is, where an empty one would not.
fn body(rpc: &str) -> Value {
    let point = json!({"latitude": PORT.0, "longitude": PORT.1});
    match rpc.rsplit('.').next().unwrap_or_default() {
        "StartTrip" => json!({"pin": "0000"}),
        "RateTrip" => json!({"stars": 5}),
        "EditDestination" => json!({"dropoff": point}),
        "AddTip" => {
            json!({"amount": {"currencyCode": "EUR", "minorUnits": "100"}, "idempotencyKey": "m"})
        }
        "RefundTrip" => {
            json!({"amount": {"currencyCode": "EUR", "minorUnits": "1"}, "idempotencyKey": "m",
            "reason": "matrix"})
        }
        "SetDestination" | "SetDestinationFilter" => json!({"destination": point}),
        "PreviewPromotion" => {
            json!({"fares": [{"currencyCode": "EUR", "minorUnits": "100"}]})
        }
        "ApplyPromotion" => json!({"code": "SUMMER"}),
        "CreatePayout" => {
            json!({"amount": {"currencyCode": "EUR", "minorUnits": "1"}, "idempotencyKey": "m"})
        }
        _ => json!({}),
    }
}

async fn ask(phone: &Phone, binding: &Binding, path: &str) -> (Answer, Option<Value>) {
    let mut request = phone.request(binding.method.clone(), path);
    if binding.body != jitney_gateway::route::Body::None {
        request = request.json(&body(&binding.rpc.name));
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    // A stream that is let in would go on for ever.
    if status == 200 && binding.rpc.shape != jitney_gateway::route::Shape::Unary {
        let answer = Answer {
            status,
            reason: String::new(),
        };
        return (answer, None);
    }
    let text = response.text().await.unwrap();
    let json: Option<Value> = serde_json::from_str(&text).ok();
    let reason = json
        .as_ref()
        .and_then(|json| json["details"][0]["reason"].as_str())
        .unwrap_or_default()
        .to_owned();
    (
        Answer { status, reason },
        json.or(Some(Value::String(text))),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_everybody_as_its_rule_says() {
    let city = City::start_with(|config| config.gateway.address_refusals_per_minute = 0).await;
    let anna = city.rider("anna");
    let mut dora = city.driver_online("dora", STATION).await;
    let trip = city.request(&anna, CASINO, PORT).await;
    let trip_id = trip["tripId"].as_str().unwrap().to_owned();
    let offer = dora.next("offer").await;
    let offer_id = offer["offer"]["offerId"]
        .as_str()
        .unwrap_or(NOTHING)
        .to_owned();
    dora.accept(&offer).await;
    dora.next("assignment").await;
    let before = trip_in(&anna, &trip_id, "TRIP_STATE_ASSIGNED").await;
    let things = Things { trip_id, offer_id };

    let pool = jitney_proto::descriptor_pool();
    let rules = AccessRules::from_descriptors(&pool);
    let routes = Routes::from_descriptors(&pool).unwrap();
    let (mut wrong, mut unproven, mut tried) = (Vec::new(), Vec::new(), 0);
    // Those who may not come first, so that what they tried must have changed nothing.
    for actor in Actor::ALL {
        if actor == Actor::Rider {
            let now = trip_in(&anna, &things.trip_id, "TRIP_STATE_ASSIGNED").await;
            assert_eq!(
                now["version"], before["version"],
                "a stranger has moved the trip"
            );
        }
        let phone = actor.phone(&city);
        for binding in routes.all() {
            let rpc_path = binding.rpc.path.as_str();
            let grants = rules.grants(rpc_path).unwrap();
            let grant = grants.iter().find(|grant| Some(grant.role) == actor.role());
            let (own, is_somebodys) = path(binding, Some(&things));
            let (answer, json) = ask(&phone, binding, &own).await;
            tried += 1;
            let shown = format!("{actor:?} {} {own}: {answer}", binding.method);
            let holds = match (actor, grant.map(|grant| grant.scope)) {
                (Actor::Nobody, _) => (answer.status == 401) != rules.is_public(rpc_path),
                (_, None) => answer.status == 403 && answer.reason == "PERMISSION_DENIED",
                (_, Some(Scope::Own)) if actor.is_other() && is_somebodys => {
                    let (nothing, _) = path(binding, None);
                    let (absent, _) = ask(&phone, binding, &nothing).await;
                    if answer.status == 400 && answer.reason == "INVALID_REQUEST" {
                        unproven.push(shown.clone());
                    }
                    if answer != absent {
                        wrong.push(format!("{shown}, but {absent} for what is not there"));
                    }
                    answer.status >= 400 && answer.status != 401 && answer.status < 500
                }
                (_, Some(_)) => {
                    // Nothing of the others' may be in what one is shown.
                    let leaks = actor.is_other()
                        && json.is_some_and(|json| json.to_string().contains(&things.trip_id));
                    !leaks && !matches!(answer.status, 401 | 403 | 500)
                        // The wrong PIN is one that may be tried.
                        || answer.reason == "WRONG_PIN"
                }
            };
            if !holds {
                wrong.push(shown);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(tried > 300, "{tried}");
    // A body that is refused before anybody asks whose the thing is proves nothing.
    assert!(
        unproven.is_empty(),
        "these need a body in this test:\n{}\n",
        unproven.join("\n")
    );
}
