//! Idempotency keys of CreateTrip: what a request has chosen, and what became of it.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use jitney_platform::db;
use jitney_proto::{
    Code,
    ids::{QuoteId, TripId},
};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Store, change::write, millis};
use crate::{error::Error, state::Change, statements};

/// The name of a request: the rider and their key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestName {
    /// The rider.
    pub scope: String,
    /// The client's key.
    pub key: String,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// SHA-256 of what was asked.
    pub hash: Vec<u8>,
    /// The trip it makes.
    pub trip_id: TripId,
    /// The quote the fare is held under.
    pub quote_id: QuoteId,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// The hold may exist, the trip does not.
    Started,
    /// The trip exists; the encoded answer.
    Done(Vec<u8>),
    /// There is and will be no trip.
    Refused(Code),
    /// Nobody finished it in time; its hold is being released.
    Abandoned,
}

/// A request without a trip whose hold may be open.
#[derive(Clone, Debug, FromRow)]
pub struct Unsettled {
    scope: String,
    key: String,
    trip_id: Uuid,
    state: String,
}

impl Unsettled {
    /// The trip that was never made.
    pub fn trip_id(&self) -> TripId {
        TripId(self.trip_id)
    }
}

#[derive(FromRow)]
struct KeyRow {
    request_hash: Vec<u8>,
    trip_id: Uuid,
    quote_id: Uuid,
    state: String,
    answer: Option<Vec<u8>>,
    refusal: Option<String>,
}

impl KeyRow {
    fn known(self) -> Result<Known, Error> {
        let odd = || Error::Defect(format!("the database holds an odd {} request", self.state));
        let fate = match self.state.as_str() {
            "STARTED" => Fate::Started,
            "DONE" => Fate::Done(self.answer.ok_or_else(odd)?),
            "REFUSED" => Fate::Refused(
                Code::ALL
                    .iter()
                    .copied()
                    .find(|code| Some(code.reason()) == self.refusal.as_deref())
                    .ok_or_else(odd)?,
            ),
            "ABANDONED" => Fate::Abandoned,
            _ => return Err(odd()),
        };
        Ok(Known {
            hash: self.request_hash,
            trip_id: TripId(self.trip_id),
            quote_id: QuoteId(self.quote_id),
            fate,
        })
    }
}

impl Store {
    /// What is known of a request.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn request(&self, name: &RequestName) -> Result<Option<Known>, Error> {
        let row: Option<KeyRow> = sqlx::query_as(statements::READ_KEY)
            .bind(&name.scope)
            .bind(&name.key)
            .fetch_optional(self.pool())
            .await?;
        row.map(KeyRow::known).transpose()
    }

    /// Begins a request, unless one with the same name has begun.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn start_request(
        &self,
        name: &RequestName,
        hash: &[u8],
        trip_id: TripId,
        quote_id: QuoteId,
    ) -> Result<(), Error> {
        sqlx::query(statements::START_KEY)
            .bind(&name.scope)
            .bind(&name.key)
            .bind(hash)
            .bind(trip_id.0)
            .bind(quote_id.0)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Makes the trip and keeps the answer, in one transaction, if the request still stands; what
    /// became of it otherwise. Of two equal requests the later one waits and finds the other's answer.
    ///
    /// # Errors
    /// RIDER_HAS_LIVE_TRIP, by the database's constraint, and the database's failures.
    pub async fn finish_request(
        &self,
        name: RequestName,
        change: Box<Change>,
        answer: Vec<u8>,
    ) -> Result<Option<Fate>, Error> {
        let work = Arc::new((name, change, answer));
        db::transaction(self.pool(), "request", move |connection| {
            let work = Arc::clone(&work);
            async move {
                let (name, change, answer) = &*work;
                finish(connection, name, change, answer).await
            }
            .boxed()
        })
        .await
    }

    /// Keeps that a request is refused, if it has not ended; whether that is so. `is_settled` says
    /// that billing holds nothing for it.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn refuse_request(
        &self,
        name: &RequestName,
        trip_id: TripId,
        code: Code,
        is_settled: bool,
    ) -> Result<bool, Error> {
        let result = sqlx::query(statements::REFUSE_KEY)
            .bind(&name.scope)
            .bind(&name.key)
            .bind(trip_id.0)
            .bind(code.reason())
            .bind(is_settled)
            .execute(self.pool())
            .await?;
        Ok(result.rows_affected() == 1)
    }

    /// Keeps that billing holds nothing for a refused request.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn settle_request(&self, name: &RequestName, trip_id: TripId) -> Result<(), Error> {
        sqlx::query(statements::SETTLE_KEY)
            .bind(&name.scope)
            .bind(&name.key)
            .bind(trip_id.0)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Gives up the requests that nobody finished within `age`, and lists those without a trip whose
    /// hold may be open.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn abandon_requests(&self, age: Duration) -> Result<Vec<Unsettled>, Error> {
        sqlx::query(statements::ABANDON_KEYS)
            .bind(millis(age))
            .execute(self.pool())
            .await?;
        let rows = sqlx::query_as(statements::UNSETTLED_HOLDS)
            .fetch_all(self.pool())
            .await?;
        Ok(rows)
    }

    /// Keeps that billing holds nothing for a request without a trip. The key of one that was refused
    /// stays, with its answer; the key of one that was abandoned is free again.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn released(&self, request: &Unsettled) -> Result<(), Error> {
        let statement = match request.state.as_str() {
            "REFUSED" => statements::SETTLE_KEY,
            _ => statements::FREE_KEY,
        };
        sqlx::query(statement)
            .bind(&request.scope)
            .bind(&request.key)
            .bind(request.trip_id)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Forgets answers older than `age`; how many.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn purge_requests(&self, age: Duration) -> Result<u64, Error> {
        let result = sqlx::query(statements::PURGE_KEYS)
            .bind(millis(age))
            .execute(self.pool())
            .await?;
        Ok(result.rows_affected())
    }

    /// Whether the rider has a live trip other than this one. A hint: the constraint decides.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn has_live_trip(&self, rider_id: &str, but: TripId) -> Result<bool, Error> {
        let row = sqlx::query(statements::LIVE_TRIP_OF_RIDER)
            .bind(rider_id)
            .bind(but.0)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.is_some())
    }
}

async fn finish(
    connection: &mut PgConnection,
    name: &RequestName,
    change: &Change,
    answer: &[u8],
) -> Result<Option<Fate>, Error> {
    let row: Option<KeyRow> = sqlx::query_as(statements::LOCK_KEY)
        .bind(&name.scope)
        .bind(&name.key)
        .fetch_optional(&mut *connection)
        .await?;
    // The row of an abandoned request goes when its hold is released.
    let Some(known) = row.map(KeyRow::known).transpose()? else {
        return Ok(Some(Fate::Abandoned));
    };
    if known.trip_id != change.trip.trip_id {
        return Ok(Some(Fate::Abandoned));
    }
    if known.fate != Fate::Started {
        return Ok(Some(known.fate));
    }
    write(connection, change).await?;
    sqlx::query(statements::FINISH_KEY)
        .bind(&name.scope)
        .bind(&name.key)
        .bind(answer)
        .execute(connection)
        .await?;
    Ok(None)
}
