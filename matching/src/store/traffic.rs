//! What was learnt of the traffic.

use jitney_roads::{ArcId, ArcTraffic, MapId};
use sqlx::Row;

use super::{
    Store,
    statements::{DELETE_OLD_TRAFFIC, LOAD_TRAFFIC, SAVE_TRAFFIC},
};

impl Store {
    /// Writes down what is known of arcs of a map, each in the place of what was known before.
    ///
    /// # Errors
    /// The database's.
    pub async fn save_traffic(&self, map: MapId, arcs: &[ArcTraffic]) -> Result<(), sqlx::Error> {
        for arcs in arcs.chunks(super::BATCH) {
            sqlx::query(SAVE_TRAFFIC)
                .bind(map.to_string())
                .bind(
                    arcs.iter()
                        .map(|arc| i64::from(arc.arc.0))
                        .collect::<Vec<_>>(),
                )
                .bind(arcs.iter().map(|arc| arc.weight).collect::<Vec<_>>())
                .bind(arcs.iter().map(|arc| arc.ratio).collect::<Vec<_>>())
                .bind(arcs.iter().map(|arc| signed(arc.at_ms)).collect::<Vec<_>>())
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    /// What is known of a map's arcs.
    ///
    /// # Errors
    /// The database's.
    pub async fn load_traffic(&self, map: MapId) -> Result<Vec<ArcTraffic>, sqlx::Error> {
        let rows = sqlx::query(LOAD_TRAFFIC)
            .bind(map.to_string())
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let (arc, at_ms): (i64, i64) = (row.try_get("arc")?, row.try_get("observed_ms")?);
            Ok(ArcTraffic {
                arc: ArcId(u32::try_from(arc).unwrap_or(u32::MAX)),
                weight: row.try_get("weight")?,
                ratio: row.try_get("ratio")?,
                at_ms: u64::try_from(at_ms).unwrap_or(0),
            })
        };
        rows.iter().map(read).collect()
    }

    /// Drops what was observed before a moment, in milliseconds since 1970.
    ///
    /// # Errors
    /// The database's.
    pub async fn tidy_traffic(&self, before_ms: u64) -> Result<(), sqlx::Error> {
        sqlx::query(DELETE_OLD_TRAFFIC)
            .bind(signed(before_ms))
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
