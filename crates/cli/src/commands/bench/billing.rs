//! Captures: the billing service on a loopback port against pgbench, which runs the same statement on
//! the same server with as many clients. Every load has its turn in every round, in every other one from
//! the last to the first, on holds made for it, and at the end the ledger says whether all of it was
//! charged exactly once.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use jitney_billing::{
    fare::FareLines,
    ledger::{Capture, Means, Posting},
    statements::CAPTURE_HOLD,
};
use jitney_platform::{
    auth::TokenKeys,
    client::Channel,
    clock::Clock,
    db::{Database, DatabaseConfig},
};
use jitney_proto::billing::v1::{
    self as wire, billing_service_client::BillingServiceClient as Client,
};
use sqlx::{Connection, PgConnection};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;

use super::{
    Loads,
    figure::{Report, Unit},
    server::{Pgbench, Server},
};
use crate::{App, Config, Parts, Which, progress::Progress};

/// Riders and drivers of the holds. Of each as many for every currency of [`CURRENCIES`], so that a
/// rider or driver always has the same one: spread over currencies, a load changes as many rows of
/// riders and drivers as in one currency, and none but the platform's accounts are more. 623 and 313
/// have no factor in common, so that pairs do not repeat soon.
const RIDERS: u64 = 16 * 623;
const DRIVERS: u64 = 16 * 313;
/// Every load has riders and drivers of its own, numbered from so much on times its place: none finds
/// rows that another has changed ever so often.
const OF_LOAD: u64 = 100_000;
/// The currencies of a load that is spread over as many accounts of the platform. The first is the one
/// of the tariff.
const CURRENCIES: [&str; 16] = [
    "EUR", "CHF", "GBP", "USD", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON", "CAD", "AUD",
    "NZD", "BRL", "MXN",
];
/// The loads.
const PGBENCH: &str = "pgbench";
const ONE_BY_ONE: &str = "one by one";
const TOGETHER: &str = "as configured";
const SPREAD: &str = "over 16 platform accounts";
const DOUBLED: &str = "every one twice";
/// Holds for a second of a load whose speed is not known yet.
const HOLDS_PER_S: f64 = 10_000.0;
/// How much faster than ever before a load may be until it runs out of holds.
const ROOM: f64 = 3.0;
/// How many parameters the statement has.
const PARAMETERS: usize = 20;
/// How long the ledger's check may take over everything that was charged.
const CHECK_MAX: Duration = Duration::from_secs(600);

/// Measures captures.
pub fn run(report: &mut Report, config: &Config, loads: &Loads) -> anyhow::Result<()> {
    crate::commands::runtime()?.block_on(async {
        let mut till = Till::open(config).await?;
        let mut all = till.loads(&loads.clients);
        let progress = Progress::steps("rounds", loads.rounds);
        for round in 0..loads.rounds {
            let mut order: Vec<&mut Load> = all.iter_mut().collect();
            // What was before leaves its trace on disk and server: not always the same on the same.
            if round % 2 == 1 {
                order.reverse();
            }
            for load in order {
                till.measure(load, loads.seconds).await?;
            }
            progress.step();
        }
        drop(progress);
        tell(report, &mut all);
        till.audit(report).await?;
        till.close().await
    })
}

/// Who captures.
#[derive(Clone)]
enum Who {
    /// pgbench.
    Pgbench,
    /// Clients of a service.
    Clients(Channel),
}

/// One load and how it went in each round.
struct Load {
    name: String,
    /// The first number of its riders and drivers.
    first: u64,
    who: Who,
    clients: usize,
    /// Whether every request is made twice.
    is_doubled: bool,
    /// Over how many currencies the holds are spread.
    currencies: usize,
    rates: Vec<f64>,
    latencies: Vec<Duration>,
}

impl Load {
    fn new(name: &str, who: &Who, clients: usize) -> Self {
        Self {
            name: format!("{name}, {clients} clients"),
            first: 0,
            who: who.clone(),
            clients,
            is_doubled: false,
            currencies: 1,
            rates: Vec::new(),
            latencies: Vec::new(),
        }
    }
}

/// What came of a load.
#[derive(Default)]
struct Done {
    answered: u64,
    charged: u64,
    retries: u64,
    latencies: Vec<Duration>,
}

/// The services, the server, and what was done to them.
struct Till {
    server: Server,
    owner: PgConnection,
    keys: Arc<TokenKeys>,
    together: Channel,
    one_by_one: Channel,
    serving: Vec<JoinHandle<anyhow::Result<()>>>,
    shutdown: CancellationToken,
    /// What a hold is made from, a quote for each currency.
    quotes: Vec<Uuid>,
    script: std::path::PathBuf,
    next: u64,
    charged: u64,
    retries: u64,
}

/// The price of every ride.
struct Price {
    quote: Uuid,
    authorised: i64,
    plan: Capture,
}

impl Till {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let server = Server::start().await?;
        let timeouts = DatabaseConfig {
            statement_timeout: CHECK_MAX,
            ..DatabaseConfig::default()
        };
        let keys = Arc::new(TokenKeys::generate());
        let shutdown = CancellationToken::new();
        let mut serving = Vec::new();
        let mut serve = async |config: &Config| -> anyhow::Result<Channel> {
            let parts = Parts {
                clock: Clock::system(),
                keys: Arc::clone(&keys),
                database: Database::new(server.options(), timeouts.clone()),
                roads: None,
                sessions: None,
                shutdown: shutdown.clone(),
            };
            let app = App::build(config, Which::Billing, parts).await?;
            let address = app.addresses().billing.context("billing listens")?;
            serving.push(tokio::spawn(app.run()));
            let channel = Channel::remote(&format!("http://{address}"))?;
            Ok(channel.with_service_token(Arc::clone(&keys), Clock::system(), "bench"))
        };
        let mut config = config.clone();
        config.listen.billing = "127.0.0.1:0".to_owned();
        let together = serve(&config).await?;
        config.billing.batch.size_max = 1;
        let one_by_one = serve(&config).await?;

        let options = server.options().options([("search_path", "billing")]);
        let mut owner = PgConnection::connect_with(&options).await?;
        // There is nobody to tell what happens here. As if another process told them.
        sqlx::query(
            "INSERT INTO lease (name, holder, expires_at)
             VALUES ('outbox-trips', gen_random_uuid(), now() + interval '1 day')
             ON CONFLICT (name) DO UPDATE
                 SET holder = excluded.holder, expires_at = excluded.expires_at",
        )
        .execute(&mut owner)
        .await?;
        let price = price(&mut owner, &one_by_one).await?;
        let script = server.script("capture.sql", &script_of(&price))?;
        let quotes = quotes(&mut owner, price.quote).await?;
        Ok(Self {
            server,
            owner,
            keys,
            together,
            one_by_one,
            serving,
            shutdown,
            quotes,
            script,
            next: 0,
            charged: 0,
            retries: 0,
        })
    }

    /// Everything that is compared.
    fn loads(&self, clients: &[usize]) -> Vec<Load> {
        let one_by_one = Who::Clients(self.one_by_one.clone());
        let together = Who::Clients(self.together.clone());
        let mut loads = Vec::new();
        for &clients in clients {
            loads.push(Load::new(PGBENCH, &Who::Pgbench, clients));
            loads.push(Load::new(ONE_BY_ONE, &one_by_one, clients));
            loads.push(Load::new(TOGETHER, &together, clients));
        }
        let most = clients.iter().copied().max().unwrap_or(1);
        loads.push(Load {
            currencies: CURRENCIES.len(),
            ..Load::new(SPREAD, &together, most)
        });
        loads.push(Load {
            is_doubled: true,
            ..Load::new(DOUBLED, &together, most)
        });
        for (first, load) in (0..).step_by(OF_LOAD as usize).zip(&mut loads) {
            load.first = first;
        }
        loads
    }

    async fn measure(&mut self, load: &mut Load, seconds: u64) -> anyhow::Result<()> {
        let fastest = load.rates.iter().copied().reduce(f64::max);
        let holds = fastest.map_or(HOLDS_PER_S, |rate| rate * ROOM) * seconds as f64;
        let range = self.hold(holds as u64, load).await?;
        let time = Duration::from_secs(seconds);
        let (done, rate) = match &load.who {
            Who::Pgbench => {
                let variables = [
                    ("base", range.start.to_string()),
                    ("clients", load.clients.to_string()),
                    ("first", load.first.to_string()),
                    ("turn", "0".to_owned()),
                ];
                let pgbench = Pgbench {
                    clients: load.clients,
                    seconds,
                    script: Some(&self.script),
                    variables: &variables,
                    settings: &[("search_path", "billing"), ("role", "jitney_billing")],
                };
                let transactions = self.server.pgbench(&pgbench).await?;
                let done = Done {
                    answered: transactions.done,
                    charged: transactions.done,
                    ..Done::default()
                };
                (done, transactions.per_s)
            }
            Who::Clients(channel) => {
                let begun = Instant::now();
                let done = capture(channel, load, range.clone(), time).await?;
                let rate = done.answered as f64 / begun.elapsed().as_secs_f64();
                (done, rate)
            }
        };
        let captured = self.captured(&range).await?;
        ensure!(
            captured == done.charged,
            "{}: {captured} holds were captured, {} answered; were there too few holds?",
            load.name,
            done.charged
        );
        load.rates.push(rate);
        load.latencies.extend(done.latencies);
        self.charged += done.charged;
        self.retries += done.retries;
        Ok(())
    }

    /// Makes holds, in place of those that the last load has left, and has the server write down all it
    /// has in memory, so that no load pays for the one before it.
    async fn hold(&mut self, count: u64, load: &Load) -> anyhow::Result<Range<u64>> {
        let (first, currencies) = (load.first, load.currencies);
        let range = self.next..self.next + count;
        self.next = range.end;
        let statement = format!(
            "DELETE FROM trip_charge WHERE state = 'HELD';
             UPDATE rider_exposure SET held_minor = 0 WHERE held_minor <> 0;
             INSERT INTO trip_charge
                 (trip_id, rider_id, quote_id, currency, authorised, state, created_at, expires_at)
             SELECT {trip}, 'rider-' || {first} + n % {RIDERS}, quote.id, quote.currency, quote.total_minor,
                    'HELD', now(), now() + interval '1 day'
             FROM generate_series({start}, {last}) AS n
             JOIN fare_quote AS quote ON quote.id = ('{{{quotes}}}'::uuid[])[1 + n % {currencies}];
             INSERT INTO rider_exposure AS exposure (rider_id, currency, held_minor)
             SELECT rider_id, currency, sum(authorised) FROM trip_charge WHERE state = 'HELD'
             GROUP BY rider_id, currency
             ON CONFLICT (rider_id, currency) DO UPDATE SET held_minor = excluded.held_minor;
             ANALYZE trip_charge, rider_exposure, receipt, journal_entry, posting,
                 account_balance, idempotency, outbox",
            trip = trip_of("n::text"),
            start = range.start,
            last = range.end - 1,
            quotes = self
                .quotes
                .iter()
                .map(Uuid::to_string)
                .collect::<Vec<_>>()
                .join(","),
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut self.owner)
            .await
            .context("holds cannot be made")?;
        sqlx::raw_sql("CHECKPOINT").execute(&mut self.owner).await?;
        Ok(range)
    }

    async fn captured(&mut self, range: &Range<u64>) -> anyhow::Result<u64> {
        let statement = format!(
            "SELECT count(*) FROM trip_charge WHERE state = 'CAPTURED'
             AND trip_id >= {first} AND trip_id < {end}",
            first = trip_of(&format!("'{}'", range.start)),
            end = trip_of(&format!("'{}'", range.end)),
        );
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_one(&mut self.owner)
            .await?;
        Ok(count as u64)
    }

    /// Counts what must not have happened.
    async fn audit(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let (captured, entered, deadlocks): (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM trip_charge WHERE state = 'CAPTURED'),
                    (SELECT count(*) FROM journal_entry WHERE kind = 'CAPTURE'),
                    (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database())",
        )
        .fetch_one(&mut self.owner)
        .await?;
        let mut client = Client::new(self.one_by_one.clone());
        let check = client
            .check_ledger(wire::CheckLedgerRequest {})
            .await?
            .into_inner();
        let charged = self.charged as i64;
        let n = self.charged as usize;
        let wrong = check.unbalanced_entries + check.wrong_balances + check.wrong_charges;
        for (name, count) in [
            ("rides charged", charged),
            ("of those, lost", (charged - captured).max(0)),
            ("of those, charged twice", (entered - charged).max(0)),
            ("what the check of the ledger found wrong", wrong),
            ("calls that had to be repeated", self.retries as i64),
            ("deadlocks", deadlocks),
        ] {
            report.value(name, "count", None, count as f64, n);
        }
        ensure!(check.balanced, "the ledger does not hold: {check:?}");
        Ok(())
    }

    async fn close(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        for serving in self.serving {
            serving.await??;
        }
        self.owner.close().await?;
        drop(self.keys);
        self.server.stop().await
    }
}

/// A load is over when its time is, or when there is no hold left.
async fn capture(
    channel: &Channel,
    load: &Load,
    range: Range<u64>,
    time: Duration,
) -> anyhow::Result<Done> {
    let (begun, stride, repeats) = (Instant::now(), load.clients, 1 + u64::from(load.is_doubled));
    let mut tasks = JoinSet::new();
    for client in 0..load.clients {
        let numbers = (range.start + client as u64..range.end).step_by(stride);
        let mut client = Client::new(channel.clone());
        let first = load.first;
        tasks.spawn(async move {
            let mut done = Done::default();
            for number in numbers {
                if begun.elapsed() >= time {
                    break;
                }
                for _ in 0..repeats {
                    let sent = Instant::now();
                    done.retries += capture_one(&mut client, number, first).await?;
                    done.latencies.push(sent.elapsed());
                    done.answered += 1;
                }
                done.charged += 1;
            }
            anyhow::Ok(done)
        });
    }
    let mut all = Done::default();
    while let Some(done) = tasks.join_next().await {
        let done = done??;
        all.answered += done.answered;
        all.charged += done.charged;
        all.retries += done.retries;
        all.latencies.extend(done.latencies);
    }
    Ok(all)
}

/// Captures one hold; how often the call had to be repeated.
async fn capture_one(client: &mut Client<Channel>, number: u64, first: u64) -> anyhow::Result<u64> {
    let mut retries = 0;
    loop {
        let request = wire::CaptureHoldRequest {
            trip_id: trip(number).to_string(),
            driver_id: format!("driver-{}", first + number % DRIVERS),
            amount: None,
            idempotency_key: format!("bench-{number}"),
            reason: wire::CaptureReason::Fare.into(),
        };
        let status = match client.capture_hold(request).await {
            Ok(_) => return Ok(retries),
            Err(status) => status,
        };
        let again = [Code::Unavailable, Code::Aborted, Code::ResourceExhausted];
        if retries == 100 || !again.contains(&status.code()) {
            bail!("hold {number} was not captured: {status:?}");
        }
        retries += 1;
    }
}

/// Trip `number`.
fn trip(number: u64) -> Uuid {
    // Its digits, read as hexadecimal ones: what the database makes of the number with a bit of text.
    let digits = u64::from_str_radix(&number.to_string(), 16).unwrap_or(u64::MAX);
    Uuid::from_u64_pair(0x7000, 0x8000_0000_0000_0000 | digits)
}

/// The same in SQL.
fn trip_of(number: &str) -> String {
    format!("('00000000-0000-7000-8000-' || lpad({number}, 12, '0'))::uuid")
}

/// Asks for the price of a ride, holds and captures it once, and plans a capture as the service does.
async fn price(owner: &mut PgConnection, channel: &Channel) -> anyhow::Result<Price> {
    let mut client = Client::new(channel.clone());
    let request = wire::QuoteFareRequest {
        product: "economy".to_owned(),
        distance_meters: 5_100,
        duration_ms: 600_000,
        ..Default::default()
    };
    let quote = client.quote_fare(request).await?.into_inner().quote;
    let quote: Uuid = quote.context("a quote")?.quote_id.parse()?;
    let (authorised, share, lines): (i64, i64, Vec<i64>) = sqlx::query_as(
        "SELECT total_minor, platform_share_basis_points, ARRAY[
             base_minor, distance_minor, time_minor, minimum_top_up_minor, waiting_minor,
             night_minor, extra_stop_minor, surge_minor, 0, 0, zone_fee_minor, toll_minor,
             booking_fee_minor, tax_minor
         ] FROM fare_quote WHERE id = $1",
    )
    .bind(quote)
    .fetch_one(owner)
    .await?;
    let lines = FareLines::of_amounts(&lines).context("the lines of a fare")?;
    let (rider, driver) = ("rider".parse()?, "driver".parse()?);
    Ok(Price {
        quote,
        authorised,
        plan: Capture::plan(
            &lines,
            share,
            authorised,
            &Means::default(),
            &rider,
            &driver,
        )?,
    })
}

/// The quote, and one like it for every other currency.
async fn quotes(owner: &mut PgConnection, quote: Uuid) -> anyhow::Result<Vec<Uuid>> {
    let mut all = vec![quote];
    for currency in &CURRENCIES[1..] {
        let id = Uuid::new_v4();
        sqlx::query(
            "INSERT INTO fare_quote
             SELECT (jsonb_populate_record(quote, jsonb_build_object('id', $2, 'currency', $3, 'signature', NULL))).*
             FROM fare_quote AS quote WHERE id = $1",
        )
        .bind(quote)
        .bind(id.to_string())
        .bind(currency)
        .execute(&mut *owner)
        .await?;
        all.push(id);
    }
    Ok(all)
}

/// The service's own statement, with what the service binds written into it.
fn script_of(price: &Price) -> String {
    let list = |amounts: &[i64]| {
        let texts: Vec<_> = amounts.iter().map(i64::to_string).collect();
        format!("ARRAY[{}]::bigint[]", texts.join(","))
    };
    let Price {
        authorised, plan, ..
    } = price;
    let names: Vec<_> = plan
        .postings
        .iter()
        .map(|posting| posting.account.name())
        .collect();
    let owner = |posting: &Posting| match posting.owner.as_deref() {
        Some("rider") => "'rider-' || :rider",
        Some(_) => "'driver-' || :driver",
        None => "NULL",
    };
    let owners: Vec<_> = plan.postings.iter().map(owner).collect();
    let amounts: Vec<_> = plan
        .postings
        .iter()
        .map(|posting| posting.amount_minor)
        .collect();
    let bound: [String; PARAMETERS] = [
        "('bench-' || :number)".to_owned(),
        format!("'\\x{}'::bytea", "ab".repeat(32)),
        trip_of(":number"),
        "('driver-' || :driver)".to_owned(),
        format!("{authorised}::bigint"),
        format!("{authorised}::bigint"),
        format!("({})", list(&plan.lines.amounts())),
        plan.split.driver_share_minor.to_string(),
        plan.split.platform_share_minor.to_string(),
        format!("ARRAY['{}']", names.join("','")),
        format!("ARRAY[{}]", owners.join(",")),
        list(&amounts),
        "NULL".to_owned(),
        // No promotion, no credit, no earlier fees, no cash, nothing carried forward.
        "NULL".to_owned(),
        "0::bigint".to_owned(),
        "0::bigint".to_owned(),
        "0::bigint".to_owned(),
        "0::bigint".to_owned(),
        "0::bigint".to_owned(),
        // In no trace.
        "NULL".to_owned(),
    ];
    let mut statement = CAPTURE_HOLD.to_owned();
    // From the last on, or $1 would be found in $10.
    for (index, value) in bound.iter().enumerate().rev() {
        statement = statement.replace(&format!("${}", index + 1), value);
    }
    format!(
        "\\set number :base + :client_id + :turn * :clients\n\
         \\set rider :first + :number % {RIDERS}\n\
         \\set driver :first + :number % {DRIVERS}\n\
         \\set turn :turn + 1\n\
         {statement};\n"
    )
}

/// Prints rates, times and how they compare.
fn tell(report: &mut Report, loads: &mut [Load]) {
    for load in &mut *loads {
        report.rates(&format!("captures by {}", load.name), &load.rates);
        report.times(
            &format!("a capture by {}", load.name),
            Unit::Ms,
            None,
            &mut load.latencies,
        );
    }
    let clients = |name: &str| -> Vec<usize> {
        let named = loads.iter().filter(|load| load.name.starts_with(name));
        named.map(|load| load.clients).collect()
    };
    let mut compare = |name: &str, to: &str, clients: usize| {
        let rates = |name: &str| {
            let name = format!("{name}, {clients} clients");
            let load = loads.iter().find(|load| load.name == name);
            load.map_or(&[][..], |load| &load.rates)
        };
        let name_of = format!("{name} ÷ {to}, {clients} clients");
        report.ratio(&name_of, rates(name), rates(to));
    };
    for clients in clients(PGBENCH) {
        compare(ONE_BY_ONE, PGBENCH, clients);
        compare(TOGETHER, PGBENCH, clients);
        compare(TOGETHER, ONE_BY_ONE, clients);
    }
    for clients in clients(SPREAD) {
        // All holds of the others are in one currency, and one account of the platform's.
        compare(TOGETHER, SPREAD, clients);
        compare(DOUBLED, TOGETHER, clients);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_has_one_currency_in_a_load_that_is_spread() {
        assert_eq!(RIDERS % CURRENCIES.len() as u64, 0);
        assert_eq!(DRIVERS % CURRENCIES.len() as u64, 0);
    }

    #[test]
    fn pgbench_binds_every_parameter_of_the_statement() {
        assert!(CAPTURE_HOLD.contains(&format!("${PARAMETERS}")));
        assert!(!CAPTURE_HOLD.contains(&format!("${}", PARAMETERS + 1)));
    }
}
