//! Calls for help.

use chrono::{DateTime, Utc};
use jitney_proto::ids::TripId;
use sqlx::FromRow;
use uuid::Uuid;

use super::Store;
use crate::{
    error::Error,
    statements,
    trip::{Actor, By, Place},
};

/// A call for help.
#[derive(Clone, Debug, PartialEq)]
pub struct Sos {
    /// The call.
    pub sos_id: Uuid,
    /// The trip.
    pub trip_id: TripId,
    /// Who called.
    pub by: By,
    /// Where they were, if their phone said.
    pub place: Option<Place>,
    /// What they said; may be empty.
    pub note: String,
    /// When.
    pub raised_at: DateTime<Utc>,
    /// When an operator took it up, and which.
    pub acknowledged: Option<(DateTime<Utc>, String)>,
}

#[derive(FromRow)]
struct SosRow {
    sos_id: Uuid,
    trip_id: Uuid,
    actor: String,
    actor_id: String,
    latitude: Option<f64>,
    longitude: Option<f64>,
    note: String,
    raised_at: DateTime<Utc>,
    acknowledged_at: Option<DateTime<Utc>>,
    acknowledged_by: Option<String>,
}

impl SosRow {
    fn sos(self) -> Result<Sos, Error> {
        let odd = || Error::Defect(format!("the database holds actor {:?}", self.actor));
        Ok(Sos {
            sos_id: self.sos_id,
            trip_id: TripId(self.trip_id),
            by: By {
                actor: Actor::from_name(&self.actor).ok_or_else(odd)?,
                id: self.actor_id,
            },
            place: self
                .latitude
                .zip(self.longitude)
                .map(|(latitude, longitude)| Place {
                    latitude,
                    longitude,
                }),
            note: self.note,
            raised_at: self.raised_at,
            acknowledged: self.acknowledged_at.zip(self.acknowledged_by),
        })
    }
}

impl Store {
    /// Keeps a call for help, unless the same person has an open one from this trip; whether it is new.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn raise_sos(&self, sos: &Sos) -> Result<bool, Error> {
        let result = sqlx::query(statements::RAISE_SOS)
            .bind(sos.sos_id)
            .bind(sos.trip_id.0)
            .bind(sos.by.actor.name())
            .bind(&sos.by.id)
            .bind(sos.place.map(|place| place.latitude))
            .bind(sos.place.map(|place| place.longitude))
            .bind(&sos.note)
            .bind(sos.raised_at)
            .execute(self.pool())
            .await?;
        Ok(result.rows_affected() == 1)
    }

    /// Somebody's open call from a trip.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn open_sos(&self, trip_id: TripId, actor_id: &str) -> Result<Option<Sos>, Error> {
        let row: Option<SosRow> = sqlx::query_as(statements::READ_OPEN_SOS)
            .bind(trip_id.0)
            .bind(actor_id)
            .fetch_optional(self.pool())
            .await?;
        row.map(SosRow::sos).transpose()
    }

    /// The newest calls, the open ones before the others, at most `limit`.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn calls_for_help(&self, is_open: bool, limit: i64) -> Result<Vec<Sos>, Error> {
        let rows: Vec<SosRow> = sqlx::query_as(statements::LIST_SOS)
            .bind(is_open)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        rows.into_iter().map(SosRow::sos).collect()
    }

    /// Keeps that an operator has taken a call up, if none has; the call as it then stands.
    ///
    /// # Errors
    /// NOT_FOUND, and the database's failures.
    pub async fn acknowledge_sos(
        &self,
        sos_id: Uuid,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<Sos, Error> {
        let row: Option<SosRow> = sqlx::query_as(statements::ACKNOWLEDGE_SOS)
            .bind(sos_id)
            .bind(by)
            .bind(now)
            .fetch_optional(self.pool())
            .await?;
        row.map(SosRow::sos)
            .transpose()?
            .ok_or(Error::NotFound("call for help"))
    }
}
