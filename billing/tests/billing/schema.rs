//! The schema: every statement fits it, its lists are ours, and it comes up with few rights.

use std::sync::Arc;

use jitney_billing::{
    Billing, Config, Needs,
    chargeback::ChargebackState,
    hold::{HoldState, Outcome, PaymentMethod, ProviderState},
    ledger::{Account, EntryKind},
    payout::PayoutState,
    provider, statements,
};
use jitney_platform::{
    Platform,
    auth::TokenKeys,
    clock::Clock,
    db::{Database, DatabaseConfig},
    testing::{TestDatabase, prepare_all},
};
use sqlx::Connection;

use crate::support::Sandbox;

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let sandbox = Sandbox::new().await;
    prepare_all(sandbox.pool(), statements::ALL).await;
}

/// The texts a CHECK allows, sorted.
async fn allowed(sandbox: &Sandbox, constraint: &str) -> Vec<String> {
    let definition: String = sqlx::query_scalar(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint
         WHERE conname = $1 AND connamespace = 'billing'::regnamespace",
    )
    .bind(constraint)
    .fetch_one(sandbox.pool())
    .await
    .unwrap();
    let mut texts: Vec<_> = definition
        .split('\'')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    texts.sort();
    texts
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn lists_in_the_schema_are_the_lists_in_the_code() {
    let sandbox = Sandbox::new().await;
    assert_eq!(
        allowed(&sandbox, "trip_charge_state_is_known").await,
        sorted(HoldState::ALL.into_iter().map(HoldState::name))
    );
    assert_eq!(
        allowed(&sandbox, "trip_charge_provider_state_is_known").await,
        sorted(ProviderState::ALL.into_iter().map(ProviderState::name))
    );
    assert_eq!(
        allowed(&sandbox, "posting_account_is_known").await,
        sorted(Account::ALL.iter().map(|account| account.name()))
    );
    let personal = || {
        let all = Account::ALL.iter().copied();
        all.filter(|account| account.is_personal())
    };
    assert_eq!(
        allowed(&sandbox, "account_balance_account_is_personal").await,
        sorted(personal().map(Account::name))
    );
    for constraint in [
        "trip_charge_payment_method_is_known",
        "receipt_payment_method_is_known",
    ] {
        assert_eq!(
            allowed(&sandbox, constraint).await,
            sorted(PaymentMethod::ALL.into_iter().map(PaymentMethod::name))
        );
    }
    assert_eq!(
        allowed(&sandbox, "chargeback_state_is_known").await,
        sorted(ChargebackState::ALL.into_iter().map(ChargebackState::name))
    );
    assert_eq!(
        allowed(&sandbox, "payout_state_is_known").await,
        sorted(PayoutState::ALL.into_iter().map(PayoutState::name))
    );
    assert_eq!(
        allowed(&sandbox, "provider_operation_kind_is_known").await,
        sorted(provider::Kind::ALL.into_iter().map(provider::Kind::name))
    );
    assert_eq!(
        allowed(&sandbox, "provider_operation_state_is_known").await,
        sorted(provider::State::ALL.into_iter().map(provider::State::name))
    );
    assert_eq!(
        allowed(&sandbox, "provider_account_role_is_known").await,
        sorted(
            provider::OwnerRole::ALL
                .into_iter()
                .map(provider::OwnerRole::name)
        )
    );
    assert_eq!(
        allowed(&sandbox, "journal_entry_kind_is_known").await,
        sorted(EntryKind::ALL.iter().map(|kind| kind.name()))
    );
    assert_eq!(
        allowed(&sandbox, "idempotency_outcome_is_known").await,
        sorted(
            Outcome::ALL
                .into_iter()
                .filter(|outcome| outcome.is_kept())
                .map(Outcome::name)
        )
    );
}

#[test]
fn the_outbox_is_the_platforms() {
    let bare = |text: &str| {
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.starts_with("--"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let migration = bare(include_str!("../../migrations/0011_outbox.sql"));
    let tables = bare(jitney_platform::outbox::TABLES);
    // The lease came with the providers.
    let (tables, _) = tables.split_once("CREATE TABLE lease").unwrap();
    assert!(migration.contains(tables.trim()), "{migration}");
    let later = include_str!("../../migrations/0037_traceparent.sql");
    assert!(later.contains(jitney_platform::outbox::TRACEPARENT));
}

#[tokio::test]
async fn a_tariff_never_changes_under_its_version() {
    let database = TestDatabase::new().await;
    let start = async |config: &Config| {
        Billing::build(
            config.clone(),
            Needs {
                platform: database.platform(),
            },
        )
        .await
    };
    let mut config = Config::default();
    start(&config).await.unwrap();
    start(&config).await.unwrap();

    for rates in config.tariffs[0].products.values_mut() {
        rates.per_km_minor += 1;
    }
    let Err(error) = start(&config).await else {
        panic!("changed prices must be refused")
    };
    let text = format!("{error:#}");
    assert!(
        text.contains("\"standard-2\"") && text.contains("new version"),
        "{text}"
    );

    let mut dearer = config.tariffs[0].clone();
    dearer.version = "dearer-1".to_owned();
    dearer.effective_from += chrono::TimeDelta::days(1);
    config.tariffs = vec![Config::default().tariffs.remove(0), dearer];
    start(&config).await.unwrap();

    config.currency = "CHF".parse().unwrap();
    assert!(
        start(&config).await.is_err(),
        "the same prices in another currency are other prices"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_may_start_side_by_side() {
    let database = TestDatabase::new().await;
    let starts = (0..4).map(|_| {
        let platform = database.platform();
        tokio::spawn(Billing::build(Config::default(), Needs { platform }))
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
}

/// Starts billing as a user of the server's who is no superuser.
async fn start_as(user: &str, rights: &str) -> (TestDatabase, anyhow::Result<Billing>) {
    let database = TestDatabase::new().await;
    let mut admin = sqlx::PgConnection::connect_with(&database.options())
        .await
        .unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let create = format!(
        "CREATE ROLE {user} LOGIN {rights} PASSWORD 'plain';
         GRANT CREATE ON DATABASE {name} TO {user}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(create))
        .execute(&mut admin)
        .await
        .unwrap();
    let options = database.options().username(user).password("plain");
    let as_user = Database::new(options, DatabaseConfig::default());
    let platform = Platform::new(Clock::system(), as_user, Arc::new(TokenKeys::generate()));
    let started = Billing::build(Config::default(), Needs { platform }).await;
    (database, started)
}

#[tokio::test]
async fn an_owner_without_superuser_rights_is_enough() {
    let (_database, billing) = start_as("plain_owner", "CREATEROLE").await;
    let refused = sqlx::raw_sql("UPDATE posting SET amount_minor = 1")
        .execute(billing.unwrap().store().pool())
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("permission denied"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_owner_who_may_not_grant_is_told_what_to_do() {
    // Some database of the server's has the role already.
    let _sandbox = Sandbox::new().await;
    let (_database, billing) = start_as("poor_owner", "NOCREATEROLE").await;
    let text = format!("{:#}", billing.err().unwrap());
    assert!(
        text.contains("GRANT jitney_billing TO poor_owner"),
        "{text}"
    );
}
