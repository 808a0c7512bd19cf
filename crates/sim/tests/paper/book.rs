//! What the server on paper knows, and how it changes.

use std::collections::HashMap;

use jitney_sim::Role;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

const PIN: &str = "4711";
pub const FARE: i64 = 1_000;

/// A refusal: HTTP status and reason.
#[derive(Debug)]
pub struct Problem(pub u16, pub &'static str);

#[derive(Default)]
pub struct Book {
    pub calls: u64,
    pub changes: u64,
    pub trips: HashMap<String, PaperTrip>,
    pub by_key: HashMap<String, String>,
    pub drivers: HashMap<String, PaperDriver>,
    pub clock_ms: i64,
}

pub struct PaperTrip {
    pub trip: Value,
    pub key: String,
    pub excluded: Vec<String>,
    pub changed: watch::Sender<u64>,
}

#[derive(Default)]
pub struct PaperDriver {
    pub down: Option<mpsc::UnboundedSender<Value>>,
    pub connection: u64,
    pub available: bool,
    pub trip_id: String,
    pub location: Value,
}

impl Book {
    /// How many rides have a driver just now.
    pub fn driven(&self) -> usize {
        let drivers = self.drivers.values();
        drivers.filter(|driver| !driver.trip_id.is_empty()).count()
    }

    pub fn make_offers(&mut self) {
        let now_ms = self.clock_ms;
        let mut expired = Vec::new();
        for (trip_id, paper) in &self.trips {
            let is_late = paper.trip["openOffer"]["until"]
                .as_i64()
                .is_some_and(|at| at < now_ms);
            if paper.trip["state"] == "TRIP_STATE_OFFERED" && is_late {
                expired.push((trip_id.clone(), text(&paper.trip["openOffer"]["offerId"])));
            }
        }
        for (trip_id, offer_id) in expired {
            self.end_offer(&trip_id, &offer_id);
        }
        let waiting: Vec<String> = self
            .trips
            .iter()
            .filter(|(_, paper)| paper.trip["state"] == "TRIP_STATE_SEARCHING")
            .map(|(id, _)| id.clone())
            .collect();
        for trip_id in waiting {
            let offered: Vec<String> = self
                .trips
                .values()
                .map(|paper| text(&paper.trip["openOffer"]["driverId"]))
                .collect();
            let Some(paper) = self.trips.get_mut(&trip_id) else {
                continue;
            };
            let free = self.drivers.iter().find(|(id, driver)| {
                driver.available
                    && driver.down.is_some()
                    && driver.trip_id.is_empty()
                    && !paper.excluded.contains(id)
                    && !offered.contains(id)
            });
            let Some((driver_id, driver)) = free else {
                // Everybody has had a chance: from the beginning.
                paper.excluded.clear();
                continue;
            };
            let offer_id = format!("{trip_id}-{}", version(&paper.trip));
            paper.trip["openOffer"] =
                json!({"offerId": offer_id, "driverId": driver_id, "until": now_ms + 2_000});
            change(paper, "TRIP_STATE_OFFERED", now_ms);
            if let Some(down) = &driver.down {
                let _ = down.send(json!({"offer": {
                    "offerId": offer_id, "tripId": trip_id, "product": "economy",
                    "pickup": paper.trip["pickup"], "dropoff": paper.trip["dropoff"],
                    "fare": euros(FARE),
                }}));
            }
        }
    }

    pub fn create(&mut self, rider_id: &str, body: &Value, key: &str) -> Result<Value, Problem> {
        if key.is_empty() {
            return Err(Problem(400, "INVALID_REQUEST"));
        }
        if let Some(known) = self.by_key.get(key) {
            return Ok(self.trips[known].trip.clone());
        }
        let trip_id = format!("t{}", self.trips.len() + 1);
        let trip = json!({
            "tripId": trip_id, "version": "0", "riderId": rider_id, "product": body["product"],
            "pickup": body["pickup"], "dropoff": body["dropoff"], "fare": euros(FARE), "pin": PIN,
            "createdAt": time(self.clock_ms),
        });
        let (changed, _) = watch::channel(0);
        let mut paper = PaperTrip {
            trip,
            key: key.to_owned(),
            excluded: Vec::new(),
            changed,
        };
        change(&mut paper, "TRIP_STATE_SEARCHING", self.clock_ms);
        let trip = paper.trip.clone();
        self.by_key.insert(paper.key.clone(), trip_id.clone());
        self.trips.insert(trip_id, paper);
        Ok(trip)
    }

    pub fn accept(
        &mut self,
        trip_id: &str,
        offer_id: &str,
        driver_id: &str,
    ) -> Result<Value, Problem> {
        let now_ms = self.clock_ms;
        let paper = self
            .trips
            .get_mut(trip_id)
            .ok_or(Problem(404, "NOT_FOUND"))?;
        if paper.trip["driver"]["driverId"] == driver_id {
            return Ok(hidden(&paper.trip));
        }
        if paper.trip["openOffer"]["offerId"] != offer_id {
            return Err(Problem(400, "OFFER_NOT_OPEN"));
        }
        paper.trip["openOffer"] = Value::Null;
        paper.trip["driver"] = json!({"driverId": driver_id});
        paper.trip["assignedAt"] = time(now_ms);
        change(paper, "TRIP_STATE_ASSIGNED", now_ms);
        let trip = hidden(&paper.trip);
        self.drivers
            .entry(driver_id.to_owned())
            .or_default()
            .trip_id = trip_id.to_owned();
        Ok(trip)
    }

    pub fn end_offer(&mut self, trip_id: &str, offer_id: &str) {
        let now_ms = self.clock_ms;
        let Some(paper) = self.trips.get_mut(trip_id) else {
            return;
        };
        if paper.trip["openOffer"]["offerId"] == offer_id {
            paper
                .excluded
                .push(text(&paper.trip["openOffer"]["driverId"]));
            paper.trip["openOffer"] = Value::Null;
            change(paper, "TRIP_STATE_SEARCHING", now_ms);
        }
    }

    pub fn step(
        &mut self,
        trip_id: &str,
        verb: &str,
        role: Role,
        id: &str,
        body: &Value,
    ) -> Result<Value, Problem> {
        let now_ms = self.clock_ms;
        self.visible(trip_id, role, id)?;
        let paper = self
            .trips
            .get_mut(trip_id)
            .ok_or(Problem(404, "NOT_FOUND"))?;
        let driver_id = text(&paper.trip["driver"]["driverId"]);
        let state = text(&paper.trip["state"]);
        let (from, to) = match verb {
            "arrive" => (&["TRIP_STATE_ASSIGNED"][..], "TRIP_STATE_DRIVER_ARRIVED"),
            "start" if body["pin"] != PIN => return Err(Problem(403, "WRONG_PIN")),
            "start" => (&["TRIP_STATE_DRIVER_ARRIVED"][..], "TRIP_STATE_IN_PROGRESS"),
            "complete" => (&["TRIP_STATE_IN_PROGRESS"][..], "TRIP_STATE_COMPLETED"),
            "cancel" if role == Role::Driver => (
                &["TRIP_STATE_ASSIGNED", "TRIP_STATE_DRIVER_ARRIVED"][..],
                "TRIP_STATE_SEARCHING",
            ),
            "cancel" => (
                &[
                    "TRIP_STATE_SEARCHING",
                    "TRIP_STATE_OFFERED",
                    "TRIP_STATE_ASSIGNED",
                    "TRIP_STATE_DRIVER_ARRIVED",
                ][..],
                "TRIP_STATE_CANCELLED",
            ),
            _ => return Err(Problem(404, "NOT_FOUND")),
        };
        if state != to {
            if !from.contains(&state.as_str()) {
                return Err(Problem(400, "ILLEGAL_TRANSITION"));
            }
            if verb == "arrive" {
                paper.trip["arrivedAt"] = time(now_ms);
            }
            if to == "TRIP_STATE_SEARCHING" {
                paper.excluded.push(driver_id.clone());
                paper.trip["driver"] = Value::Null;
                paper.trip["assignedAt"] = Value::Null;
            }
            paper.trip["openOffer"] = Value::Null;
            change(paper, to, now_ms);
        }
        let trip = if role == Role::Driver {
            hidden(&paper.trip)
        } else {
            paper.trip.clone()
        };
        let is_free = is_over(&trip) || to == "TRIP_STATE_SEARCHING";
        if let Some(driver) = self.drivers.get_mut(&driver_id).filter(|_| is_free)
            && driver.trip_id == trip_id
        {
            driver.trip_id.clear();
            if let Some(down) = &driver.down {
                let _ = down.send(json!({"assignmentEnded": {"tripId": trip_id}}));
            }
        }
        Ok(trip)
    }

    pub fn driver_says(&mut self, id: &str, message: &Value) -> Option<Value> {
        let driver = self.drivers.entry(id.to_owned()).or_default();
        if let Some(hello) = message.get("hello") {
            let resumes = hello.get("resumeSessionId").is_some();
            let mut welcome = json!({"welcome": {
                "sessionId": format!("s-{id}"), "resumed": resumes,
                "driver": {"driverId": id, "tripId": driver.trip_id},
            }});
            if !driver.location.is_null() {
                welcome["welcome"]["driver"]["location"] = driver.location.clone();
            }
            return Some(welcome);
        }
        if let Some(availability) = message.get("availability") {
            driver.available = availability["available"] == true;
            assert_eq!(availability["products"], json!(["economy"]));
            return None;
        }
        let pings = message.get("pings")?;
        let list = pings["pings"].as_array()?;
        driver.location = list.last()?["location"].clone();
        Some(json!({"pingReceipt": {"batch": pings["batch"], "accepted": list.len()}}))
    }

    pub fn visible(&self, trip_id: &str, role: Role, id: &str) -> Result<Value, Problem> {
        let trip = &self
            .trips
            .get(trip_id)
            .ok_or(Problem(404, "NOT_FOUND"))?
            .trip;
        match role {
            Role::Rider if trip["riderId"] == id => Ok(trip.clone()),
            Role::Driver if trip["driver"]["driverId"] == id => Ok(hidden(trip)),
            Role::Operator => Ok(hidden(trip)),
            _ => Err(Problem(404, "NOT_FOUND")),
        }
    }

    pub fn live(&self, role: Role, id: &str) -> Vec<Value> {
        let all = self
            .trips
            .keys()
            .filter_map(|trip_id| self.visible(trip_id, role, id).ok());
        all.filter(|trip| !is_over(trip)).collect()
    }
}

pub fn quote(body: &Value) -> Value {
    json!({"quoteId": "q", "product": body["product"], "fare": euros(FARE), "lines": [
        {"kind": "FARE_LINE_KIND_BASE", "amount": euros(400)},
        {"kind": "FARE_LINE_KIND_DISTANCE", "amount": euros(600)}]})
}

pub fn euros(minor_units: i64) -> Value {
    json!({"currencyCode": "EUR", "minorUnits": minor_units.to_string()})
}

fn time(clock_ms: i64) -> Value {
    let (minutes, rest_ms) = (clock_ms / 60_000 % 60, clock_ms % 60_000);
    let (seconds, millis) = (rest_ms / 1_000, rest_ms % 1_000);
    json!(format!(
        "2026-01-01T00:{minutes:02}:{seconds:02}.{millis:03}Z"
    ))
}

fn change(paper: &mut PaperTrip, state: &str, now_ms: i64) {
    let next = version(&paper.trip) + 1;
    paper.trip["version"] = json!(next.to_string());
    paper.trip["state"] = json!(state);
    paper.trip["updatedAt"] = time(now_ms);
    if is_over(&paper.trip) {
        paper.trip["endedAt"] = time(now_ms);
    }
    paper.changed.send_replace(next);
}

pub fn version(trip: &Value) -> u64 {
    text(&trip["version"]).parse().unwrap()
}

pub fn is_over(trip: &Value) -> bool {
    trip["state"] == "TRIP_STATE_COMPLETED" || trip["state"] == "TRIP_STATE_CANCELLED"
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A trip as others than its rider see it.
fn hidden(trip: &Value) -> Value {
    let mut trip = trip.clone();
    trip["pin"] = json!("");
    trip
}
