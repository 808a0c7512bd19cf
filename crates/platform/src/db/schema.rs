//! Makes a service's schema and brings it up to date.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, migrate::Migrator, postgres::PgConnectOptions,
};

use super::DbError;

/// The statements about schemas.
pub(super) mod statements {
    crate::statements! {
        /// Whether a schema is there. Asked before it is made, because `CREATE SCHEMA IF NOT EXISTS`
        /// wants the right to make schemas even where there is nothing to make.
        SCHEMA_EXISTS = "-- schema_exists: one row if the schema is there
            SELECT 1 FROM pg_namespace WHERE nspname = $1";
        /// The row that processes bringing the same schema up to date queue for: a row lock, because
        /// advisory locks are not portable.
        MAKE_GATE = "-- make_gate: the table that holds the gate's one row
            CREATE TABLE IF NOT EXISTS migration_gate (
                turn boolean CONSTRAINT migration_gate_pkey PRIMARY KEY
                             CONSTRAINT migration_gate_one_row CHECK (turn)
            )";
        /// Puts the row there.
        FILL_GATE = "-- fill_gate: the one row
            INSERT INTO migration_gate (turn) VALUES (true) ON CONFLICT DO NOTHING";
        /// Waits in the queue. The lock goes with the connection, however that ends.
        ENTER_GATE = "-- enter_gate: wait until no other process migrates this schema
            SELECT turn FROM migration_gate FOR UPDATE";
    }
}

/// Tries of a statement that two processes may run at once, each seeing the other's half-made row.
const RACES_MAX: u32 = 5;

pub(super) fn check_name(schema: &str) -> Result<(), DbError> {
    let plain = schema.starts_with(|first: char| first.is_ascii_lowercase())
        && schema.len() <= 40
        && schema
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain {
        Ok(())
    } else {
        Err(DbError::SchemaName(schema.to_owned()))
    }
}

/// Makes the schema if need be and applies the migrations it has not seen.
pub(super) async fn prepare(
    options: &PgConnectOptions,
    schema: &str,
    migrator: &Migrator,
) -> Result<(), DbError> {
    check_name(schema)?;
    // No time-outs here: a migration may take as long as it takes.
    let options = options
        .clone()
        .application_name(&format!("jitney-{schema}-migrate"))
        .options([("search_path", schema)]);
    let mut gate = PgConnection::connect_with(&options)
        .await
        .map_err(DbError::Connect)?;
    make(&mut gate, schema)
        .await
        .map_err(|source| DbError::Schema {
            schema: schema.to_owned(),
            source,
        })?;

    let failed = |source| DbError::Migrate {
        schema: schema.to_owned(),
        source,
    };
    let mut turn = gate.begin().await.map_err(DbError::Connect)?;
    sqlx::query(statements::ENTER_GATE)
        .execute(&mut *turn)
        .await
        .map_err(DbError::Connect)?;
    let migrator = Migrator {
        migrations: migrator.migrations.clone(),
        locking: false, // The gate is held instead.
        ignore_missing: migrator.ignore_missing,
        no_tx: migrator.no_tx,
        table_name: migrator.table_name.clone(),
        create_schemas: migrator.create_schemas.clone(),
    };
    let mut connection = PgConnection::connect_with(&options)
        .await
        .map_err(DbError::Connect)?;
    let applied = migrator.run_direct(None, &mut connection, false).await;
    // Closing is a courtesy; a connection that cannot be closed is gone already.
    let _ = connection.close().await;
    let _ = turn.rollback().await;
    let _ = gate.close().await;
    applied.map_err(failed)
}

async fn make(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let exists = sqlx::query(statements::SCHEMA_EXISTS)
        .bind(schema)
        .fetch_optional(&mut *connection)
        .await?;
    if exists.is_none() {
        // The name is plain, so it needs no quoting.
        insist(connection, &format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
    }
    insist(connection, statements::MAKE_GATE).await?;
    insist(connection, statements::FILL_GATE).await
}

/// Runs a statement that is harmless to repeat until no other process gets in its way.
async fn insist(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    let mut races = 0;
    loop {
        match sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut *connection)
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if races < RACES_MAX && is_race(&error) => {
                races += 1;
                tokio::time::sleep(Duration::from_millis(20) * races).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Two `IF NOT EXISTS` at once: the later one finds the catalogue's row taken, or changed under it.
fn is_race(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| {
            matches!(
                &*code,
                "23505" | "42710" | "42P06" | "42P07" | "40001" | "XX000"
            )
        })
}
