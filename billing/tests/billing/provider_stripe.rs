//! Stripe, as far as it can be had on one machine: the same language over HTTP, with answers that are lost,
//! are errors, or come too often.

use std::{io::Write as _, sync::Arc, time::Duration};

use hmac::{Hmac, Mac as _};
use jitney_billing::{
    Config,
    provider::{
        config::{ProviderConfig, ProviderKind, StripeConfig},
        stripe::Stripe,
        teller::Teller,
    },
};
use jitney_platform::{auth::Role, testing::eventually};
use jitney_proto::{
    Code,
    billing::v1::{self as pb, put_provider_account_request::Owner},
};
use sha2::Sha256;
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::{
    provider_stripe_server::{Fault, SECRET, Server},
    support::{Held, Sandbox, euro, refusal},
};

const WEBHOOK_SECRET: &str = "whsec_of_this_test";

/// Billing that uses Stripe, and somebody who tells Stripe when asked to.
struct Bank {
    sandbox: Sandbox,
    server: Arc<Server>,
    teller: Teller,
    _secrets: [NamedTempFile; 2],
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{text}").unwrap();
    file
}

impl Bank {
    /// With accounts for anna and ben. The job of its own looks so seldom that it does not in a test.
    async fn new() -> Bank {
        Bank::patient(Duration::from_millis(1)).await
    }

    async fn patient(backoff: Duration) -> Bank {
        let (server, base_url) = Server::start().await;
        let secrets = [file(SECRET), file(WEBHOOK_SECRET)];
        let provider = ProviderConfig {
            kind: ProviderKind::Stripe,
            poll_interval: Duration::from_secs(3_600),
            backoff_min: backoff,
            backoff_max: backoff.max(Duration::from_millis(5)),
            stripe: StripeConfig {
                secret_key_file: Some(secrets[0].path().to_owned()),
                webhook_secret_file: Some(secrets[1].path().to_owned()),
                base_url,
            },
            ..ProviderConfig::default()
        };
        let config = Config {
            provider: provider.clone(),
            ..Config::default()
        };
        let sandbox = Sandbox::with_provider(config).await;
        let stripe = Arc::new(Stripe::open(&provider.stripe).unwrap());
        let teller = Teller::new(sandbox.billing.store().clone(), stripe, provider);
        let bank = Bank {
            sandbox,
            server,
            teller,
            _secrets: secrets,
        };
        bank.account(Owner::RiderId("anna".to_owned()), "cus_anna", "pm_card")
            .await;
        bank.account(Owner::DriverId("ben".to_owned()), "acct_ben", "")
            .await;
        bank
    }

    async fn account(&self, owner: Owner, account: &str, method: &str) {
        let request = pb::PutProviderAccountRequest {
            owner: Some(owner),
            account: account.to_owned(),
            payment_method: method.to_owned(),
        };
        self.sandbox
            .trips()
            .put_provider_account(request)
            .await
            .unwrap();
    }

    async fn unfinished(&self) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM provider_operation WHERE state NOT IN ('SUCCEEDED', 'DECLINED')",
        )
        .fetch_one(self.sandbox.pool())
        .await
        .unwrap()
    }

    async fn settle(&self) {
        eventually("every operation is at an end", async || {
            self.teller.round().await.unwrap();
            self.unfinished().await == 0
        })
        .await;
        self.teller.round().await.unwrap();
    }

    async fn capture(&self, held: &Held) {
        let capture = held.capture(&format!("{}:capture", held.trip));
        self.sandbox.trips().capture_hold(capture).await.unwrap();
    }

    async fn payout(&self) -> pb::Payout {
        let request = pb::CreatePayoutRequest {
            driver_id: "ben".to_owned(),
            amount: Some(euro(100)),
            idempotency_key: Uuid::now_v7().to_string(),
        };
        let answer = self.sandbox.trips().create_payout(request).await.unwrap();
        answer.into_inner().payout.unwrap()
    }

    async fn states(&self, subject: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT state FROM provider_operation WHERE subject_id = $1 ORDER BY step",
        )
        .bind(subject.parse::<Uuid>().unwrap())
        .fetch_all(self.sandbox.pool())
        .await
        .unwrap()
    }

    /// What is refused, or whether it was news.
    async fn hear(&self, payload: &str, signature: &str) -> Result<bool, Code> {
        let request = pb::HandleProviderEventRequest {
            payload: payload.as_bytes().to_vec(),
            signature: signature.to_owned(),
        };
        let answer = self.sandbox.trips().handle_provider_event(request).await;
        match answer {
            Ok(answer) => Ok(answer.into_inner().news),
            refused => Err(refusal(refused)),
        }
    }
}

/// A signature as Stripe makes it, so many seconds ago.
fn signed(payload: &str, secret: &str, now: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{now}.{payload}").as_bytes());
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={now},v1={hex}")
}

fn done(of: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    of.to_vec()
}

#[tokio::test]
async fn each_fault_at_each_step_leaves_one_effect() {
    let bank = Bank::new().await;
    for fault in [
        None,
        Some(Fault::CutBefore),
        Some(Fault::CutAfter),
        Some(Fault::ErrorBefore),
        Some(Fault::ErrorAfter),
        Some(Fault::TooMany),
    ] {
        let step = async |path: &'static str, expected: (&'static str, String)| {
            if let Some(fault) = fault {
                bank.server.fault(path, fault);
            }
            bank.settle().await;
            assert!(bank.server.is_clean(), "{fault:?} {path}");
            assert_eq!(bank.server.done(), done(&[expected]), "{fault:?} {path}");
        };
        let ride = bank.sandbox.held("anna").await;
        let total = ride.total();
        step("/payment_intents", ("authorize", format!("{total} eur"))).await;
        bank.capture(&ride).await;
        step("/capture", ("capture", total.to_string())).await;
        let refund = ride.refund(&Uuid::now_v7().to_string(), Some(7));
        bank.sandbox.trips().refund_trip(refund).await.unwrap();
        step("/refunds", ("refund", "7".to_owned())).await;
        let off = bank.sandbox.held("anna").await;
        bank.settle().await;
        bank.server.done();
        bank.sandbox
            .trips()
            .void_hold(off.void(&off.trip))
            .await
            .unwrap();
        step("/cancel", ("void", String::new())).await;
        let payout = bank.payout().await;
        step("/transfers", ("transfer", "100 acct_ben".to_owned())).await;
        for (subject, count) in [(&ride.trip, 3), (&off.trip, 2), (&payout.payout_id, 1)] {
            assert_eq!(
                bank.states(subject).await,
                vec!["SUCCEEDED"; count],
                "{fault:?}"
            );
        }
    }
    bank.sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_card_that_is_declined_or_missing_releases_the_hold() {
    let bank = Bank::new().await;
    bank.account(Owner::RiderId("poor".to_owned()), "cus_poor", "pm_declined")
        .await;
    let ride = bank.sandbox.held("poor").await;
    bank.server.fault("/payment_intents", Fault::CutAfter);
    bank.settle().await;
    assert_eq!(bank.states(&ride.trip).await, ["DECLINED"; 1]);
    assert_eq!(bank.sandbox.exposure("poor").await, 0);
    let before = bank.server.calls();
    bank.sandbox.held("stranger").await;
    bank.settle().await;
    assert_eq!(bank.sandbox.exposure("stranger").await, 0);
    assert_eq!(bank.server.calls(), before, "there is nobody to charge");
    let why: Vec<String> = sqlx::query_scalar(
        "SELECT last_error FROM provider_operation WHERE kind = 'AUTHORIZE' ORDER BY owner_id",
    )
    .fetch_all(bank.sandbox.pool())
    .await
    .unwrap();
    assert_eq!(why[0], "requires_payment_method", "as it was found");
    assert!(why[1].contains("no account"), "{why:?}");
    assert_eq!(bank.server.done(), []);
}

#[tokio::test]
async fn an_operation_keeps_the_account_it_was_sent_with() {
    let bank = Bank::new().await;
    let ride = bank.sandbox.held("anna").await;
    bank.server.fault("/payment_intents", Fault::CutAfter);
    bank.teller.round().await.unwrap();
    bank.account(Owner::RiderId("anna".to_owned()), "cus_other", "pm_other")
        .await;
    bank.settle().await;
    assert_eq!(bank.states(&ride.trip).await, ["SUCCEEDED"]);
    assert_eq!(bank.server.done().len(), 1);
}

#[tokio::test]
async fn an_event_makes_us_ask_and_is_heard_once() {
    // Who has no answer would wait for an hour.
    let bank = Bank::patient(Duration::from_secs(3_600)).await;
    let ride = bank.sandbox.held("anna").await;
    bank.server.fault("/payment_intents", Fault::CutAfter);
    bank.teller.round().await.unwrap();
    assert_eq!(bank.teller.round().await.unwrap(), 0);
    assert_eq!(bank.states(&ride.trip).await, ["UNKNOWN"]);
    // What was made later comes first in Stripe's lists, and fills pages. Keys do not help for ever.
    for _ in 0..3 {
        bank.sandbox.held("anna").await;
    }
    assert_eq!(bank.teller.round().await.unwrap(), 3);
    bank.server.forget();
    let event = |id: &str, subject: &str| {
        format!(
            r#"{{"id": "{id}", "type": "payment_intent.amount_capturable_updated", "data": {{"object":
            {{"id": "pi_0", "metadata": {{"jitney_subject": "{subject}"}}}}}}}}"#
        )
    };
    let now = bank.sandbox.platform.clock.now().timestamp();
    let payload = event("evt_1", &ride.trip);
    for (signature, what) in [
        (String::new(), "nothing"),
        (signed(&payload, "another", now), "another's"),
        (signed(&payload, WEBHOOK_SECRET, now - 1_000), "old"),
        (
            signed(&event("evt_2", &ride.trip), WEBHOOK_SECRET, now),
            "another event's",
        ),
    ] {
        assert_eq!(
            bank.hear(&payload, &signature).await,
            Err(Code::InvalidRequest),
            "{what}"
        );
    }
    assert_eq!(
        bank.hear("{}", &signed("{}", WEBHOOK_SECRET, now)).await,
        Err(Code::InvalidRequest)
    );
    assert_eq!(
        bank.teller.round().await.unwrap(),
        0,
        "nothing was believed"
    );
    let signature = signed(&payload, WEBHOOK_SECRET, now);
    assert_eq!(bank.hear(&payload, &signature).await, Ok(true));
    assert_eq!(bank.teller.round().await.unwrap(), 1);
    assert_eq!(bank.states(&ride.trip).await, ["SUCCEEDED"]);
    // Again, and about what we do not know.
    let operations = async || -> Vec<(String, i32, chrono::DateTime<chrono::Utc>)> {
        sqlx::query_as(
            "SELECT state, attempts, next_attempt_at FROM provider_operation ORDER BY key",
        )
        .fetch_all(bank.sandbox.pool())
        .await
        .unwrap()
    };
    let before = operations().await;
    assert_eq!(bank.hear(&payload, &signature).await, Ok(false));
    for subject in ["nobody", &Uuid::now_v7().to_string()] {
        let payload = event(subject, subject);
        let heard = bank
            .hear(&payload, &signed(&payload, WEBHOOK_SECRET, now))
            .await;
        assert_eq!(heard, Ok(true));
    }
    assert_eq!(operations().await, before);
    assert_eq!(bank.sandbox.count("provider_event").await, 3);
    assert_eq!(bank.server.done().len(), 4);
    // Only services forward events; and where no provider sends any, there are none.
    let mut olga = bank.sandbox.client(Role::Operator, "olga");
    let answer = olga
        .handle_provider_event(pb::HandleProviderEventRequest::default())
        .await;
    assert_eq!(refusal(answer), Code::PermissionDenied);
    let plain = Sandbox::new().await;
    let answer = plain
        .trips()
        .handle_provider_event(pb::HandleProviderEventRequest::default())
        .await;
    assert_eq!(refusal(answer), Code::ProviderUnused);
}

#[tokio::test]
async fn a_dispute_is_written_down_however_often_it_is_told() {
    let bank = Bank::new().await;
    let ride = bank.sandbox.held("anna").await;
    bank.capture(&ride).await;
    bank.settle().await;
    let intent: String = sqlx::query_scalar(
        "SELECT reference FROM provider_operation WHERE kind = 'AUTHORIZE' AND subject_id = $1",
    )
    .bind(ride.trip.parse::<Uuid>().unwrap())
    .fetch_one(bank.sandbox.pool())
    .await
    .unwrap();
    let now = bank.sandbox.platform.clock.now().timestamp();
    let tell = async |event: &str, kind: &str, dispute: &str, status: &str, intent: &str| {
        let payload = format!(
            r#"{{"id": "{event}", "type": "charge.dispute.{kind}", "data": {{"object": {{"id": "{dispute}",
            "amount": 300, "currency": "eur", "status": "{status}", "payment_intent": "{intent}"}}}}}}"#
        );
        let signature = signed(&payload, WEBHOOK_SECRET, now);
        bank.hear(&payload, &signature).await
    };
    let loss = async || {
        let check = bank.sandbox.check().await;
        assert!(check.balanced, "{check:?}");
        let mut totals = check.totals.iter();
        let loss = totals.find(|total| total.account == "chargeback_loss");
        loss.map_or(0, |of| of.total.as_ref().unwrap().minor_units)
    };
    // An inquiry takes nothing.
    let asked = tell(
        "evt_0",
        "created",
        "dp_0",
        "warning_needs_response",
        &intent,
    )
    .await;
    assert_eq!((asked, loss().await), (Ok(true), 0));
    let told = tell("evt_1", "created", "dp_1", "needs_response", &intent).await;
    assert_eq!((told, loss().await), (Ok(true), 300));
    let told = tell("evt_1", "created", "dp_1", "needs_response", &intent).await;
    assert_eq!((told, loss().await), (Ok(false), 300));
    let told = tell("evt_2", "created", "dp_1", "under_review", &intent).await;
    assert_eq!(
        (told, loss().await),
        (Ok(true), 300),
        "another event, the same dispute"
    );
    let told = tell("evt_3", "closed", "dp_1", "won", &intent).await;
    assert_eq!((told, loss().await), (Ok(true), 0));
    let told = tell("evt_4", "closed", "dp_2", "lost", &intent).await;
    assert_eq!((told, loss().await), (Ok(true), 300));
    // Heard, and left to people.
    let told = tell(
        "evt_5",
        "created",
        "dp_3",
        "needs_response",
        "pi_of_another_shop",
    )
    .await;
    assert_eq!((told, loss().await), (Ok(true), 300));

    // Cut off between both: the event is told again, and the dispute is there once.
    let forgotten = sqlx::query("DELETE FROM provider_event WHERE event_id = 'evt_4'")
        .execute(&mut bank.sandbox.superuser().await)
        .await
        .unwrap();
    assert_eq!(forgotten.rows_affected(), 1);
    let told = tell("evt_4", "closed", "dp_2", "lost", &intent).await;
    assert_eq!((told, loss().await), (Ok(true), 300));
    let told = tell("evt_6", "created", "dp_4", "needs_response", "").await;
    assert_eq!(told, Ok(true));
}

#[tokio::test]
async fn every_operation_is_asked_for_to_compare_the_books() {
    let bank = Bank::new().await;
    let ride = bank.sandbox.captured("anna").await;
    let refund = ride.refund("refund", Some(7));
    bank.sandbox.trips().refund_trip(refund).await.unwrap();
    let off = bank.sandbox.held("anna").await;
    bank.settle().await;
    bank.sandbox
        .trips()
        .void_hold(off.void("off"))
        .await
        .unwrap();
    let payout = bank.payout().await;
    bank.settle().await;
    let compare = async || {
        let request = pb::ReconcileProviderRequest::default();
        let answer = bank.sandbox.trips().reconcile_provider(request).await;
        answer.unwrap().into_inner()
    };
    let agreed = pb::ReconcileProviderResponse {
        provider: "stripe".to_owned(),
        compared: 6,
        ..Default::default()
    };
    assert_eq!(compare().await, agreed);
    bank.server.reverse();
    bank.server.lose_refunds();
    let found = compare().await;
    assert_eq!((found.state_differs, found.missing_there), (1, 1));
    let keys: Vec<_> = found.differences.iter().map(|of| of.key.as_str()).collect();
    let refund = format!("{}:refund:1", ride.trip);
    assert_eq!(keys, [&*refund, &format!("{}:transfer", payout.payout_id)]);
}

#[tokio::test]
async fn accounts_are_checked() {
    let sandbox = Sandbox::new().await;
    let request =
        |owner: Option<Owner>, account: &str, method: &str| pb::PutProviderAccountRequest {
            owner,
            account: account.to_owned(),
            payment_method: method.to_owned(),
        };
    let anna = || Some(Owner::RiderId("anna".to_owned()));
    let ben = || Some(Owner::DriverId("ben".to_owned()));
    for bad in [
        request(None, "cus_1", "pm_1"),
        request(anna(), "", "pm_1"),
        request(anna(), "cus_1", ""),
        request(anna(), "cus 1", "pm_1"),
        request(anna(), &"c".repeat(201), "pm_1"),
        request(ben(), "acct_1", "pm_1"),
        request(Some(Owner::DriverId(String::new())), "acct_1", ""),
    ] {
        let shown = format!("{bad:?}");
        let answer = sandbox.trips().put_provider_account(bad).await;
        assert_eq!(refusal(answer), Code::InvalidRequest, "{shown}");
    }
    let mut of_anna = sandbox.client(Role::Rider, "anna");
    let answer = of_anna
        .put_provider_account(request(anna(), "cus_1", "pm_1"))
        .await;
    assert_eq!(refusal(answer), Code::PermissionDenied);
    for account in ["cus_1", "cus_2"] {
        let request = request(anna(), account, "pm_1");
        sandbox.trips().put_provider_account(request).await.unwrap();
    }
    let kept: Vec<(String, String)> =
        sqlx::query_as("SELECT owner_id, account FROM provider_account")
            .fetch_all(sandbox.pool())
            .await
            .unwrap();
    assert_eq!(kept, [("anna".to_owned(), "cus_2".to_owned())]);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_stops_the_start() {
    let start = async |stripe: StripeConfig| {
        Stripe::open(&stripe)
            .err()
            .map(|error| format!("{error:#}"))
    };
    let missing = start(StripeConfig::default()).await.unwrap();
    assert!(missing.contains("secret_key_file is required"), "{missing}");
    let empty = file("");
    let config = StripeConfig {
        secret_key_file: Some(empty.path().to_owned()),
        ..StripeConfig::default()
    };
    assert!(start(config).await.unwrap().contains("secret_key_file"));
}
