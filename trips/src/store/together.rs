//! Several commands together. What a driver does on the way (arrive, start, be at a stop) changes the
//! trip's own row and nothing beside it, so many trips can be moved on by one reading and one statement,
//! without a lock in between: the statement compares what the command was judged by, and whatever has
//! changed meanwhile is left to be judged again.

use std::collections::{HashMap, HashSet};

use jitney_platform::{
    db,
    line::{Together, Work},
};
use jitney_proto::ids::{EventId, TripId};
use prost::Message;
use sqlx::{Row, types::Json};
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{Outcome, Rules, Store, fresh_id, rows, trace};
use crate::{
    command::{Command, Kind},
    error::Error,
    events,
    state::{self, Change, Context, Transition},
    statements,
    trip::{Stop, Trip},
};

/// A command to one trip.
#[derive(Debug)]
pub struct Job {
    /// The trip.
    pub trip_id: TripId,
    /// What is to be done.
    pub command: Command,
    /// What it is judged by.
    pub rules: Rules,
    /// The span it is asked for in.
    pub asked_in: Span,
}

impl Job {
    /// Whether a command of this kind may be carried out together with others.
    pub fn is_for(kind: Kind) -> bool {
        matches!(kind, Kind::Arrive | Kind::Start | Kind::ArriveAtStop)
    }
}

impl Work for Store {
    type Job = Job;
    type Done = Outcome;
    type Error = Error;

    const NAME: &'static str = "transitions";

    fn overloaded() -> Error {
        Error::Overloaded
    }

    async fn alone(&self, job: &Job) -> Result<Outcome, Error> {
        match self.move_on(&[job]).await.map(|mut answers| answers.pop()) {
            Ok(Some(Some(answer))) => answer,
            // Under a lock, where everything can be judged and started over.
            Ok(_) | Err(sqlx::Error::Database(_)) => {
                self.carry_out(job.trip_id, job.command.clone(), job.rules)
                    .await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn together(&self, jobs: &[&Job]) -> Result<Vec<Together<Self>>, sqlx::Error> {
        self.move_on(jobs).await
    }
}

impl Store {
    /// Carries several commands out, each for itself; `None` for those that have to be judged under a
    /// lock, among them every refusal.
    ///
    /// # Errors
    /// When none of them has happened, or the connection was lost and nobody knows.
    pub async fn move_on(&self, jobs: &[&Job]) -> Result<Vec<Together<Self>>, sqlx::Error> {
        let mut answers: Vec<Together<Self>> = jobs.iter().map(|_| None).collect();
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.trip_id.0).collect();
        let mut connection = self.pool.acquire().await?;
        let rows = sqlx::query(statements::READ_TRIPS)
            .bind(&ids)
            .fetch_all(&mut *connection)
            .instrument(db::span(crate::SCHEMA, "read_trips"))
            .await?;
        let mut trips: HashMap<TripId, (Trip, bool)> = HashMap::with_capacity(rows.len());
        for row in &rows {
            // A row that makes no sense is told to whoever asks for it alone.
            if let Ok(trip) = rows::joined(row) {
                trips.insert(trip.trip_id, (trip, row.try_get("has_earlier_ride")?));
            }
        }
        let mut moves = Moves::default();
        let mut seen = HashSet::with_capacity(jobs.len());
        for (index, job) in jobs.iter().enumerate() {
            let Some((trip, has_earlier_ride)) = trips.get(&job.trip_id) else {
                continue;
            };
            if !seen.insert(job.trip_id) {
                // It has to see what becomes of the first.
                continue;
            }
            let context = Context {
                now: job.rules.now,
                named_offer: None,
                gave_back: false,
                has_earlier_ride: *has_earlier_ride,
                limits: job.rules.limits,
            };
            match state::apply(trip, &job.command, &context) {
                Ok(Transition::Unchanged) => {
                    let outcome = Outcome {
                        trip: trip.clone(),
                        is_changed: false,
                    };
                    answers[index] = Some(Ok(outcome));
                }
                Ok(Transition::Changed(change)) if is_move(trip, &change) => {
                    moves.add(index, *change, &job.asked_in);
                }
                // Refusals may be due to a row that has changed since.
                Ok(Transition::Changed(_)) | Err(_) => {}
            }
        }
        let moved = moves.run(&mut connection).await?;
        moves.spans.clear();
        for (index, change) in moves.changes {
            if moved.contains(&change.trip.trip_id.0) {
                answers[index] = Some(Ok(Outcome {
                    trip: change.trip,
                    is_changed: true,
                }));
            }
        }
        Ok(answers)
    }
}

/// Whether a change is one that `move_trips` writes in full.
fn is_move(before: &Trip, change: &Change) -> bool {
    let after = &change.trip;
    let written = Trip {
        version: before.version + 1,
        state: after.state,
        updated_at: after.updated_at,
        arrived_at: after.arrived_at,
        started_at: after.started_at,
        stops: after.stops.clone(),
        ..before.clone()
    };
    change.effects.is_empty() && change.from.is_some() && written == *after
}

/// What `move_trips` is bound to.
#[derive(Default)]
struct Moves {
    /// Each with its place among those that were asked.
    changes: Vec<(usize, Change)>,
    events: Vec<Uuid>,
    payloads: Vec<Vec<u8>>,
    traceparents: Vec<Option<String>>,
    /// Open until the changes are written.
    spans: Vec<Span>,
}

impl Moves {
    fn add(&mut self, index: usize, change: Change, asked_in: &Span) {
        let told = trace::begin(&change, asked_in);
        self.traceparents.push(told.traceparent);
        self.spans.push(told.span);
        let event_id = fresh_id(change.trip.updated_at);
        self.events.push(event_id);
        let event = events::event(EventId(event_id), &change, None);
        self.payloads.push(event.encode_to_vec());
        self.changes.push((index, change));
    }

    /// Writes them, and answers which trips were changed.
    async fn run(&self, connection: &mut sqlx::PgConnection) -> Result<HashSet<Uuid>, sqlx::Error> {
        if self.changes.is_empty() {
            return Ok(HashSet::new());
        }
        fn column<'a, T>(moves: &'a Moves, value: impl Fn(&'a Change) -> T) -> Vec<T> {
            moves.changes.iter().map(|(_, c)| value(c)).collect()
        }
        let stops = |change: &Change| Json::<Vec<Stop>>(change.trip.stops.clone());
        sqlx::query_scalar(statements::MOVE_TRIPS)
            .bind(column(self, |change| change.trip.trip_id.0))
            .bind(column(self, |change| change.trip.version))
            .bind(column(self, |change| change.trip.state.name()))
            .bind(column(self, |change| change.trip.updated_at))
            .bind(column(self, |change| change.trip.arrived_at))
            .bind(column(self, |change| change.trip.started_at))
            .bind(column(self, stops))
            .bind(column(self, |change| change.trip.wrong_pins.cast_signed()))
            .bind(column(self, |change| change.from.map(state::State::name)))
            .bind(column(self, |change| change.by.actor.name()))
            .bind(column(self, |change| change.by.id.as_str()))
            .bind(column(self, |change| change.reason.as_str()))
            .bind(&self.events)
            .bind(column(self, |change| events::name(change.event)))
            .bind(&self.payloads)
            .bind(events::AGGREGATE)
            .bind(&self.traceparents)
            .fetch_all(connection)
            .instrument(db::span(crate::SCHEMA, "move_trips"))
            .await
            .map(|ids: Vec<Uuid>| ids.into_iter().collect())
    }
}
