//! What a city talks to: ports, the database, a collector.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jitney_platform::{clock::Clock, embedded_postgres};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::net::{TcpListener, TcpStream};

use super::Finding;
use crate::Config;

/// How long the database may take to answer.
const DATABASE_MAX: Duration = Duration::from_secs(5);
/// How long a collector may take to be reached.
const COLLECTOR_MAX: Duration = Duration::from_secs(2);
/// How far the database's clock may be from this machine's: offers are good for seconds.
const CLOCK_MAX: TimeDelta = TimeDelta::seconds(1);

const DATABASE: &str = "database";

/// Looks around.
pub async fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, address) in [
        ("listen.gateway", &config.listen.gateway),
        ("listen.matching", &config.listen.matching),
        ("listen.trips", &config.listen.trips),
        ("listen.billing", &config.listen.billing),
        ("listen.metrics", &config.listen.metrics),
    ] {
        if !address.is_empty() {
            findings.push(port(key, address).await);
        }
    }
    match &config.database_url {
        Some(url) => findings.extend(database(url.reveal()).await),
        None => findings.push(own_database(config)),
    }
    findings.extend(collector(config).await);
    findings
}

async fn port(key: &str, address: &str) -> Finding {
    const WHAT: &str = "port";
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok(WHAT, format!("{key} = {address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::warning(
            WHAT,
            format!("{key} = {address} is taken; by a running city, or set another"),
        ),
        Err(error) => Finding::wrong(WHAT, format!("{key} = {address}: {error}")),
    }
}

/// PostgreSQL's programs, for the private one.
fn own_database(config: &Config) -> Finding {
    match embedded_postgres::programs(config.postgres_binaries.as_deref()) {
        Ok(programs) => {
            let told = format!("a private one, of {}", programs.display());
            Finding::ok(DATABASE, told)
        }
        Err(error) => Finding::wrong(
            DATABASE,
            format!("{error:#}; make setup installs it, or name one in DATABASE_URL"),
        ),
    }
}

async fn database(url: &str) -> Vec<Finding> {
    let options: PgConnectOptions = match url.parse() {
        Ok(options) => options,
        // What is wrong with it may be its password.
        Err(_) => {
            return vec![Finding::wrong(
                DATABASE,
                "DATABASE_URL is not a PostgreSQL URL",
            )];
        }
    };
    let connecting = tokio::time::timeout(DATABASE_MAX, PgConnection::connect_with(&options));
    let mut connection = match connecting.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return vec![Finding::wrong(DATABASE, format!("DATABASE_URL: {error}"))],
        Err(_) => return vec![Finding::wrong(DATABASE, "DATABASE_URL: no answer in time")],
    };
    let mut findings = vec![Finding::ok(DATABASE, "can be reached")];
    findings.push(clocks(&mut connection).await);
    for (schema, migrator) in [
        (jitney_matching::SCHEMA, &jitney_matching::MIGRATOR),
        (jitney_trips::SCHEMA, &jitney_trips::MIGRATOR),
        (jitney_billing::SCHEMA, &jitney_billing::MIGRATOR),
    ] {
        let applied = applied(&mut connection, schema).await;
        findings.push(migrations(schema, migrator.iter().count(), applied));
    }
    findings
}

async fn clocks(connection: &mut PgConnection) -> Finding {
    const WHAT: &str = "clock";
    let asked = sqlx::query_scalar("-- now: the database's clock\nSELECT clock_timestamp()");
    let told: Result<DateTime<Utc>, sqlx::Error> = asked.fetch_one(connection).await;
    match told {
        Ok(theirs) => {
            let apart = (theirs - Clock::system().now()).abs();
            let told = format!("{} ms from the database's", apart.num_milliseconds());
            if apart > CLOCK_MAX {
                Finding::warning(WHAT, format!("{told}: have both follow a time server"))
            } else {
                Finding::ok(WHAT, told)
            }
        }
        Err(error) => Finding::wrong(WHAT, error.to_string()),
    }
}

/// How many migrations a schema has; none that is not there.
async fn applied(connection: &mut PgConnection, schema: &str) -> Result<Option<i64>, sqlx::Error> {
    let table = format!("{schema}._sqlx_migrations");
    let exists = "-- exists: whether a schema was made\nSELECT to_regclass($1) IS NOT NULL";
    let exists: bool = sqlx::query_scalar(exists)
        .bind(&table)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(None);
    }
    // The schema's name is one of three of ours.
    let count =
        format!("-- applied: migrations in place\nSELECT count(*) FROM {table} WHERE success");
    let count = sqlx::query_scalar(sqlx::AssertSqlSafe(count));
    count.fetch_one(connection).await.map(Some)
}

fn migrations(schema: &str, ours: usize, applied: Result<Option<i64>, sqlx::Error>) -> Finding {
    const WHAT: &str = "schema";
    let ours = i64::try_from(ours).unwrap_or(i64::MAX);
    match applied {
        Err(error) => Finding::wrong(WHAT, format!("{schema}: {error}")),
        Ok(None) => Finding::warning(
            WHAT,
            format!("{schema} is not there; jitney migrate makes it"),
        ),
        Ok(Some(applied)) if applied < ours => Finding::warning(
            WHAT,
            format!(
                "{schema} lacks {} of {ours} migrations; jitney migrate",
                ours - applied
            ),
        ),
        Ok(Some(applied)) if applied > ours => Finding::warning(
            WHAT,
            format!(
                "{schema} is {} migrations ahead: a later program made it",
                applied - ours
            ),
        ),
        Ok(Some(_)) => Finding::ok(WHAT, format!("{schema}: {ours} migrations in place")),
    }
}

async fn collector(config: &Config) -> Option<Finding> {
    const WHAT: &str = "collector";
    let endpoint = config.telemetry.endpoint.as_deref()?;
    let url = match reqwest::Url::parse(endpoint) {
        Ok(url) => url,
        Err(error) => {
            let told = format!("telemetry.endpoint = {endpoint:?}: {error}");
            return Some(Finding::wrong(WHAT, told));
        }
    };
    let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
    let reached = tokio::time::timeout(COLLECTOR_MAX, TcpStream::connect((host, port))).await;
    Some(match reached {
        Ok(Ok(_)) => Finding::ok(WHAT, endpoint),
        _ => Finding::warning(
            WHAT,
            format!("{endpoint} cannot be reached; telemetry is lost"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use jitney_platform::testing::TestDatabase;

    use super::{super::Level, *};

    #[tokio::test]
    async fn a_taken_port_is_a_warning_and_nonsense_is_wrong() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert_eq!(port("listen.gateway", &address).await.level, Level::Warning);
        assert_eq!(port("listen.gateway", "127.0.0.1:0").await.level, Level::Ok);
        assert_eq!(port("listen.gateway", "nowhere").await.level, Level::Wrong);
    }

    #[tokio::test]
    async fn a_schema_is_missing_behind_or_in_place() {
        let database = TestDatabase::new().await;
        let mut connection = PgConnection::connect_with(&database.options())
            .await
            .unwrap();
        assert_eq!(clocks(&mut connection).await.level, Level::Ok);
        let told = async |connection: &mut PgConnection, ours| {
            migrations("trips", ours, applied(connection, "trips").await).level
        };
        let ours = jitney_trips::MIGRATOR.iter().count();
        assert_eq!(
            told(&mut connection, ours).await,
            Level::Warning,
            "not there"
        );
        let services = database.database();
        let made = services.open("trips", &jitney_trips::MIGRATOR);
        made.await.unwrap();
        assert_eq!(told(&mut connection, ours).await, Level::Ok);
        assert_eq!(
            told(&mut connection, ours + 1).await,
            Level::Warning,
            "behind"
        );
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_wrong() {
        let findings = database("postgres://127.0.0.1:1/jitney").await;
        assert_eq!(findings[0].level, Level::Wrong);
        let findings = database("secret nonsense").await;
        assert_eq!(findings[0].level, Level::Wrong);
        assert!(!findings[0].text.contains("secret"), "{findings:?}");
    }
}
