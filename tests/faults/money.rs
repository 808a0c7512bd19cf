//! `kill -9` of the database, and apart from that of billing, while many pay: what was acknowledged is
//! still there, what was not is there or not, and asked again under its key it is there once.
//!
//! Every command is written down with what came back. After each kill all of them are asked for again,
//! in their order: what was answered is answered with the same bytes, what was cut off goes through. At
//! the end every posting is accounted for.

use std::{
    collections::HashSet,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jitney_platform::{
    auth::TokenKeys,
    client::Channel,
    clock::Clock,
    embedded_postgres::{EmbeddedOptions, EmbeddedPostgres},
};
use jitney_proto::{
    Code,
    billing::v1::{
        AddTipRequest, AuthorizeHoldRequest, CaptureHoldRequest, CheckLedgerRequest, Hold,
        QuoteFareRequest, Receipt, Refund, RefundTripRequest, VoidHoldRequest,
        billing_service_client::BillingServiceClient,
    },
    common::v1::Money,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::task::JoinSet;
use tonic::Status;
use uuid::Uuid;

use crate::support::{BillingProcess, eventually};

/// How often each is killed.
const ROUNDS: usize = 20;
/// How many pay at once.
const CLIENTS: usize = 8;
/// How many commands are answered before the kill.
const ANSWERS: usize = 30;

type Client = BillingServiceClient<Channel>;

/// A money command, to be asked for again and again.
#[derive(Clone, Debug)]
enum Command {
    Authorize(AuthorizeHoldRequest),
    Capture(CaptureHoldRequest),
    Void(VoidHoldRequest),
    Refund(RefundTripRequest),
    Tip(AddTipRequest),
}

/// What came back, to be compared.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Hold(Option<Hold>),
    Captured(Box<(Option<Hold>, Option<Receipt>)>),
    Refund(Option<Refund>),
    Tips(Option<Money>),
}

impl Command {
    async fn ask(&self, client: &mut Client) -> Result<Answer, Status> {
        let asked = async {
            Ok(match self.clone() {
                Command::Authorize(request) => {
                    Answer::Hold(client.authorize_hold(request).await?.into_inner().hold)
                }
                Command::Capture(request) => {
                    let answer = client.capture_hold(request).await?.into_inner();
                    Answer::Captured(Box::new((answer.hold, answer.receipt)))
                }
                Command::Void(request) => {
                    Answer::Hold(client.void_hold(request).await?.into_inner().hold)
                }
                Command::Refund(request) => {
                    Answer::Refund(client.refund_trip(request).await?.into_inner().refund)
                }
                Command::Tip(request) => {
                    Answer::Tips(client.add_tip(request).await?.into_inner().tips)
                }
            })
        };
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, asked)
            .await
            .expect("every call ends")
    }

    /// Another request under the same key.
    fn otherwise(&self) -> Option<Command> {
        Some(match self.clone() {
            Command::Authorize(request) => Command::Authorize(AuthorizeHoldRequest {
                rider_id: "mallory".to_owned(),
                ..request
            }),
            Command::Capture(request) => Command::Capture(CaptureHoldRequest {
                driver_id: "mallory".to_owned(),
                ..request
            }),
            Command::Void(_) => return None,
            Command::Refund(request) => Command::Refund(RefundTripRequest {
                amount: euros(1_000),
                ..request
            }),
            Command::Tip(request) => Command::Tip(AddTipRequest {
                amount: euros(1_000),
                ..request
            }),
        })
    }
}

/// A command and its answer, if there was one.
type Said = (Command, Option<Answer>);

fn euros(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    })
}

/// The commands of one ride, in their order; most are paid, some are called off.
fn ride(quote_id: String, client: usize, number: usize) -> Vec<Command> {
    let trip_id = Uuid::now_v7().to_string();
    let key = |what: &str| format!("{trip_id}:{what}");
    let mut commands = vec![Command::Authorize(AuthorizeHoldRequest {
        trip_id: trip_id.clone(),
        // Some riders and drivers are in several rides at once.
        rider_id: format!("rider-{}", client / 2),
        quote_id,
        idempotency_key: key("hold"),
        payment_method: 0,
    })];
    if number % 6 == 5 {
        commands.push(Command::Void(VoidHoldRequest {
            trip_id: trip_id.clone(),
            idempotency_key: key("void"),
        }));
        return commands;
    }
    commands.push(Command::Capture(CaptureHoldRequest {
        trip_id: trip_id.clone(),
        driver_id: format!("driver-{}", client % 3),
        amount: None,
        idempotency_key: key("capture"),
        reason: 0,
    }));
    if number.is_multiple_of(3) {
        commands.push(Command::Refund(RefundTripRequest {
            trip_id: trip_id.clone(),
            amount: euros(70),
            reason: "the car was dirty".to_owned(),
            idempotency_key: key("refund"),
        }));
        commands.push(Command::Tip(AddTipRequest {
            trip_id: trip_id.clone(),
            amount: euros(30),
            idempotency_key: key("tip"),
        }));
    }
    commands
}

/// Pays until it is told to stop; what was said.
async fn pay(mut client: Client, number: usize, load: Arc<Load>) -> Vec<Said> {
    let mut all = Vec::new();
    for ride_number in 0.. {
        let is_over = || load.is_over.load(Ordering::SeqCst);
        let quote = eventually("a quote, or the end", || async {
            match client.clone().quote_fare(the_way()).await {
                _ if is_over() => Some(None),
                answer => answer.ok().map(|answer| answer.into_inner().quote),
            }
        });
        let Some(quote) = quote.await else { break };
        for command in ride(quote.quote_id, number, ride_number) {
            // Two at once: whoever asks twice is answered the same.
            let mut other = client.clone();
            let (one, other) = tokio::join!(command.ask(&mut client), command.ask(&mut other));
            if let (Ok(one), Ok(other)) = (&one, &other) {
                assert_eq!(one, other);
            }
            for refused in [&one, &other].into_iter().filter_map(|a| a.as_ref().err()) {
                assert!(is_passing(refused), "{command:?}: {refused:?}");
            }
            let answer = one.ok().or(other.ok());
            let is_cut_off = answer.is_none();
            load.answered
                .fetch_add(usize::from(!is_cut_off), Ordering::SeqCst);
            all.push((command, answer));
            if is_cut_off {
                break;
            }
        }
    }
    all
}

/// Whether the same call may go through later.
fn is_passing(status: &Status) -> bool {
    match Code::of(status) {
        Some(code) => code == Code::Unavailable,
        // The connection was lost.
        None => matches!(
            status.code(),
            tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled
        ),
    }
}

fn the_way() -> QuoteFareRequest {
    QuoteFareRequest {
        product: "economy".to_owned(),
        distance_meters: 5_100,
        duration_ms: 600_000,
        ..Default::default()
    }
}

/// What those who pay and whoever kills share.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    is_over: AtomicBool,
}

/// Has everybody pay until `kills` has killed somebody under load; what was said to each.
async fn under_load(client: &Client, kills: impl AsyncFnOnce()) -> Vec<Vec<Said>> {
    let load = Arc::new(Load::default());
    let mut payers = JoinSet::new();
    for number in 0..CLIENTS {
        payers.spawn(pay(client.clone(), number, load.clone()));
    }
    let enough = || async { (load.answered.load(Ordering::SeqCst) >= ANSWERS).then_some(()) };
    eventually("the load", enough).await;
    kills().await;
    load.is_over.store(true, Ordering::SeqCst);
    payers.join_all().await
}

/// Asks until it is answered.
async fn answer(client: &Client, command: &Command) -> Result<Answer, Status> {
    eventually("an answer", || async {
        match command.ask(&mut client.clone()).await {
            Err(status) if is_passing(&status) => None,
            answer => Some(answer),
        }
    })
    .await
}

/// Asks for everything again, everybody their own. Gives what is known of it then.
async fn again(client: &Client, said: Vec<Vec<Said>>) -> Vec<Said> {
    let mut payers = JoinSet::new();
    for said in said {
        let client = client.clone();
        payers.spawn(async move { repeat(&client, said).await });
    }
    payers.join_all().await.into_iter().flatten().collect()
}

async fn repeat(client: &Client, said: Vec<Said>) -> Vec<Said> {
    let mut known = Vec::new();
    for (number, (command, before)) in said.into_iter().enumerate() {
        let now = answer(client, &command).await;
        let now = now.unwrap_or_else(|status| panic!("{command:?}: {status:?}"));
        if let Some(before) = before {
            assert_eq!(now, before, "{command:?}");
        }
        if number.is_multiple_of(5)
            && let Some(other) = command.otherwise()
        {
            let refused = answer(client, &other).await.unwrap_err();
            assert_eq!(Code::of(&refused), Some(Code::IdempotencyKeyReused));
        }
        known.push((command, Some(now)));
    }
    known
}

/// Billing, its database, and a way to it.
struct Place {
    folder: tempfile::TempDir,
    postgres: Option<EmbeddedPostgres>,
    url: String,
    billing: Option<BillingProcess>,
    client: Client,
}

impl Place {
    async fn start() -> Place {
        let folder = tempfile::tempdir().unwrap();
        // The database's user may be another one.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let postgres = start_postgres(folder.path()).await;
        // But it is handed over before it is acknowledged, as it is outside of tests.
        let options = postgres.options();
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("ALTER DATABASE jitney SET synchronous_commit = on")
            .execute(&mut connection)
            .await
            .unwrap();
        let url = options.to_url_lossy().to_string();
        let billing = BillingProcess::serve(folder.path(), &url, None);
        let keys = TokenKeys::load_or_create(&folder.path().join("keys")).unwrap();
        let channel = Channel::remote(&format!("http://{}", billing.address))
            .unwrap()
            .with_service_token(Arc::new(keys), Clock::system(), "trips");
        Place {
            folder,
            postgres: Some(postgres),
            url,
            billing: Some(billing),
            client: BillingServiceClient::new(channel),
        }
    }

    async fn kill_postgres(&mut self) {
        let postgres = self.postgres.take().unwrap();
        let pid = i32::try_from(postgres.pid().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        drop(postgres);
        self.postgres = Some(start_postgres(self.folder.path()).await);
    }

    fn kill_billing(&mut self) {
        let billing = self.billing.take().unwrap();
        let address = billing.address;
        billing.kill();
        let again = BillingProcess::serve(self.folder.path(), &self.url, Some(address));
        self.billing = Some(again);
    }

    /// Compares what was said with what the books have.
    async fn audit(&self, known: &[Said]) {
        let request = CheckLedgerRequest {};
        let check = self.client.clone().check_ledger(request).await.unwrap();
        let check = check.into_inner();
        assert!(check.balanced, "{check:?}");
        let (mut captured, mut owed) = (HashSet::new(), 0);
        for (_, answer) in known {
            match answer.as_ref().unwrap() {
                Answer::Captured(answer) => {
                    let receipt = answer.1.as_ref().unwrap();
                    assert!(captured.insert(receipt.trip_id.clone()));
                    owed += receipt.total.as_ref().unwrap().minor_units;
                }
                Answer::Refund(_) => owed -= 70,
                Answer::Tips(_) => owed += 30,
                Answer::Hold(_) => {}
            }
        }
        assert!(captured.len() > ROUNDS * 4, "{}", captured.len());
        let options = self.postgres.as_ref().unwrap().options();
        let options = options.options([("search_path", "billing")]);
        let mut books = PgConnection::connect_with(&options).await.unwrap();
        let entries: Vec<Uuid> =
            sqlx::query_scalar("SELECT trip_id FROM journal_entry WHERE kind = 'CAPTURE'")
                .fetch_all(&mut books)
                .await
                .unwrap();
        assert_eq!(entries.len(), captured.len(), "each once, and no other");
        let is_known = |trip: &Uuid| captured.contains(&trip.to_string());
        assert!(entries.iter().all(is_known));
        let posted: i64 = sqlx::query_scalar(
            "SELECT sum(amount_minor)::bigint FROM posting
             WHERE account = 'rider_receivable' AND kind IN ('CAPTURE', 'REFUND', 'TIP')",
        )
        .fetch_one(&mut books)
        .await
        .unwrap();
        assert_eq!(posted, owed);
        let open: i64 = sqlx::query_scalar("SELECT sum(held_minor)::bigint FROM rider_exposure")
            .fetch_one(&mut books)
            .await
            .unwrap();
        let held: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(authorised), 0)::bigint FROM trip_charge WHERE state = 'HELD'",
        )
        .fetch_one(&mut books)
        .await
        .unwrap();
        assert_eq!(open, held);
    }
}

async fn start_postgres(folder: &Path) -> EmbeddedPostgres {
    // The machine stays up: what was handed to it is safe, and waiting for its disk would only take time.
    let options = EmbeddedOptions {
        fsync: false,
        ..EmbeddedOptions::default()
    };
    EmbeddedPostgres::start(folder, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_killed_while_many_pay() {
    let mut place = Place::start().await;
    let client = place.client.clone();
    let mut known = Vec::new();
    for _ in 0..ROUNDS {
        let said = under_load(&client, async || place.kill_postgres().await).await;
        known.extend(again(&client, said).await);
    }
    place.audit(&known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn billing_is_killed_while_many_pay() {
    let mut place = Place::start().await;
    let client = place.client.clone();
    let mut known = Vec::new();
    for _ in 0..ROUNDS {
        let said = under_load(&client, async || {
            tokio::task::block_in_place(|| place.kill_billing())
        })
        .await;
        known.extend(again(&client, said).await);
    }
    place.audit(&known).await;
}
