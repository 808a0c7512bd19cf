//! Dispatch rounds that are kept, and what operators have set.

use chrono::{DateTime, Utc};
use jitney_proto::ids::{RoundId, TripId};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    Store,
    statements::{
        DELETE_OLD_ROUNDS, DELETE_SPARE_ROUNDS, LIST_ROUNDS, LIST_ROUNDS_OF_TRIP, LOAD_ROUND,
        LOAD_SETTING, SAVE_ROUND_TRIPS, SAVE_ROUNDS, SAVE_SETTING,
    },
};
use crate::round::record::{Record, RecordError};

/// The setting that holds the name of the policy in use.
const POLICY: &str = "POLICY";

/// A round as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundRow {
    /// The round.
    pub id: RoundId,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// The name of its policy.
    pub policy: String,
    /// Requests in it.
    pub requests: u32,
    /// Requests that got a driver.
    pub assigned: u32,
}

impl Store {
    /// Keeps rounds. Repeating it changes nothing.
    ///
    /// # Errors
    /// The database's; then those whose trips were not written are not found by them.
    pub async fn save_rounds(&self, rounds: &[Record]) -> Result<(), sqlx::Error> {
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let ids: Vec<Uuid> = rounds.iter().map(|round| round.id.0).collect();
        sqlx::query(SAVE_ROUNDS)
            .bind(&ids)
            .bind(
                rounds
                    .iter()
                    .map(|round| round.decided_at)
                    .collect::<Vec<_>>(),
            )
            .bind(
                rounds
                    .iter()
                    .map(|round| round.policy_name.clone())
                    .collect::<Vec<_>>(),
            )
            .bind(
                rounds
                    .iter()
                    .map(|round| count(round.choice.len()))
                    .collect::<Vec<_>>(),
            )
            .bind(
                rounds
                    .iter()
                    .map(|round| count(round.assigned()))
                    .collect::<Vec<_>>(),
            )
            .bind(rounds.iter().map(Record::to_bytes).collect::<Vec<_>>())
            .execute(&self.pool)
            .await?;
        let of_trips = rounds
            .iter()
            .flat_map(|round| round.trips().map(|trip| (trip.0, round.id.0)));
        let (trips, rounds): (Vec<Uuid>, Vec<Uuid>) = of_trips.unzip();
        sqlx::query(SAVE_ROUND_TRIPS)
            .bind(trips)
            .bind(rounds)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Rounds decided before a moment, latest first; of one trip, or all.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_rounds(
        &self,
        trip: Option<TripId>,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<RoundRow>, sqlx::Error> {
        let rows = match trip {
            Some(trip) => sqlx::query(LIST_ROUNDS_OF_TRIP).bind(trip.0),
            None => sqlx::query(LIST_ROUNDS),
        };
        let rows = rows.bind(before).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await?;
        rows.iter().map(read_round).collect()
    }

    /// A round that is kept.
    ///
    /// # Errors
    /// The database's, and [`sqlx::Error::Decode`] with a [`RecordError`] for bytes that cannot be read.
    pub async fn load_round(&self, id: RoundId) -> Result<Option<Record>, sqlx::Error> {
        let row = sqlx::query(LOAD_ROUND)
            .bind(id.0)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let body: Vec<u8> = row.try_get("body")?;
        let decode = |error: RecordError| sqlx::Error::Decode(Box::new(error));
        Record::from_bytes(&body).map(Some).map_err(decode)
    }

    /// Drops rounds decided before a moment, and the oldest of more than `most`.
    ///
    /// # Errors
    /// The database's.
    pub async fn tidy_rounds(&self, before: DateTime<Utc>, most: u32) -> Result<(), sqlx::Error> {
        sqlx::query(DELETE_OLD_ROUNDS)
            .bind(before)
            .execute(&self.pool)
            .await?;
        sqlx::query(DELETE_SPARE_ROUNDS)
            .bind(i64::from(most))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The policy an operator chose, if one did.
    ///
    /// # Errors
    /// The database's.
    pub async fn load_policy(&self) -> Result<Option<String>, sqlx::Error> {
        let row = sqlx::query(LOAD_SETTING)
            .bind(POLICY)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| row.try_get("value")).transpose()
    }

    /// An operator chose a policy.
    ///
    /// # Errors
    /// The database's.
    pub async fn save_policy(&self, name: &str) -> Result<(), sqlx::Error> {
        sqlx::query(SAVE_SETTING)
            .bind(POLICY)
            .bind(name)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

fn read_round(row: &PgRow) -> Result<RoundRow, sqlx::Error> {
    let count = |column: &str| {
        let count: i32 = row.try_get(column)?;
        Ok::<_, sqlx::Error>(u32::try_from(count).unwrap_or(0))
    };
    Ok(RoundRow {
        id: RoundId(row.try_get("round_id")?),
        decided_at: row.try_get("decided_at")?,
        policy: row.try_get("policy")?,
        requests: count("requests")?,
        assigned: count("assigned")?,
    })
}
