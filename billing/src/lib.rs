//! Billing: who owes whom.
//!
//! A quote is a price under the tariff in force ([`tariff`], [`fare`], [`quote`]). A hold sets it
//! aside for a trip ([`hold`]); its capture writes a [`receipt`] and moves money between accounts
//! in double entry ([`ledger`]). It may be given back, whole or in parts ([`refund`]), and the driver be
//! thanked ([`tip`]). Every money command is one SQL statement that also stores its answer
//! ([`idempotency`]), so it can be repeated, raced and cut off at any point; the statements are in
//! `src/sql` and run by [`store`]; captures that wait are run together by [`batch`]. What an rpc promises
//! is in `billing.proto`; [`grpc`] only translates.
//!
//! What the ledger says is to be charged, given back and paid out is told a payment [`provider`], after the
//! fact and by a job of its own. So is trips told where the payment of its rides stands ([`event`]), from the
//! outbox; billing asks no other service of ours for anything.

pub mod apportion;
pub mod batch;
pub mod chargeback;
pub mod config;
pub mod csv;
pub mod document;
pub mod error;
pub mod event;
pub mod fare;
pub mod grpc;
pub mod hold;
pub mod idempotency;
pub mod jobs;
pub mod ledger;
pub mod metrics;
pub mod payout;
pub mod place;
pub mod promotion;
pub mod provider;
pub mod quote;
pub mod receipt;
pub mod reconcile;
pub mod refund;
pub mod signing;
pub mod statement;
pub mod store;
pub mod surcharge;
pub mod tariff;
pub mod tip;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use jitney_platform::{
    Platform,
    client::Channel,
    clock::Clock,
    outbox::{Handler, PostgresTransport, Transport},
    serve::Rpcs,
};
use jitney_proto::{
    billing::v1::billing_service_server::BillingServiceServer,
    trips::v1::trips_service_client::TripsServiceClient,
};

pub use config::Config;
pub use error::Error;

use batch::Captures;
use provider::{
    Provider,
    config::{ProviderConfig, ProviderKind},
    sandbox::Sandbox,
    stripe::Stripe,
    teller::Teller,
};
use quote::{Asked, Quote};
use signing::QuoteKeys;
use store::{HoldTerms, Store};

/// The Postgres schema.
pub const SCHEMA: &str = "billing";

/// Under which id this service calls the others.
const CALLER: &str = "billing";

/// Who is told where payments stand.
const TRIPS: &str = "trips";

/// What brings the schema up to date.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The SQL.
pub mod statements {
    jitney_platform::statements! {
        /// Keeps a tariff, or gives the hash of the one that is kept under its version.
        STORE_TARIFF = include_str!("sql/store_tariff.sql");
        /// When a quote is made and when it ends.
        TIME_QUOTE = "-- time_quote: when a quote is made and when it ends\n\
            -- $1 validity in ms\n\
            SELECT now(), now() + $1::bigint * interval '1 millisecond'";
        /// A kept price.
        GET_QUOTE = include_str!("sql/get_quote.sql");
        /// The quote under which a trip's fare is held.
        HELD_QUOTE = "-- held_quote: under which quote a trip's fare is held, or was taken\n\
            -- $1 trip\n\
            SELECT quote_id FROM trip_charge WHERE trip_id = $1";
        /// Since when quotes are signed.
        SIGNING_SINCE = "-- signing_since: since when quotes are signed here\n\
            SELECT since FROM quote_signing";
        /// Keeps a price.
        ADD_QUOTE = include_str!("sql/add_quote.sql");
        /// Holds a quoted fare for a trip.
        AUTHORIZE_HOLD = include_str!("sql/authorize_hold.sql");
        /// What of charges their capture is planned from.
        CAPTURE_FACTS = include_str!("sql/capture_facts.sql");
        /// Takes a held fare.
        CAPTURE_HOLD = include_str!("sql/capture_hold.sql");
        /// Puts a hold under another quote.
        CHANGE_HOLD = include_str!("sql/change_hold.sql");
        /// Lets a hold run for its full time again.
        RENEW_HOLD = include_str!("sql/renew_hold.sql");
        /// Takes several held fares.
        CAPTURE_HOLDS = include_str!("sql/capture_holds.sql");
        /// Releases a hold.
        VOID_HOLD = include_str!("sql/void_hold.sql");
        /// Releases holds that ran out.
        LAPSE_HOLDS = include_str!("sql/lapse_holds.sql");
        /// What a trip cost, and what was given back.
        GET_RECEIPT = include_str!("sql/get_receipt.sql");
        /// What a refund is planned from.
        REFUND_FACTS = include_str!("sql/refund_facts.sql");
        /// Gives a fare or a part of it back.
        REFUND_TRIP = include_str!("sql/refund_trip.sql");
        /// Gives a driver something on top.
        ADD_TIP = include_str!("sql/add_tip.sql");
        /// Sends a driver what they are owed.
        CREATE_PAYOUT = include_str!("sql/create_payout.sql");
        /// A payout arrived or came back.
        CLOSE_PAYOUT = include_str!("sql/close_payout.sql");
        /// Payouts, newest first.
        LIST_PAYOUTS = include_str!("sql/list_payouts.sql");
        /// Gives a rider credit.
        GRANT_CREDIT = include_str!("sql/grant_credit.sql");
        /// Makes a promotion, or gives it new terms.
        PUT_PROMOTION = include_str!("sql/put_promotion.sql");
        /// Promotions by code.
        LIST_PROMOTIONS = include_str!("sql/list_promotions.sql");
        /// A promotion as one rider may have it.
        PREVIEW_PROMOTION = include_str!("sql/preview_promotion.sql");
        /// Gives a held trip a promotion.
        APPLY_PROMOTION = include_str!("sql/apply_promotion.sql");
        /// Who pays for a trip.
        GET_PAYER = "-- get_payer: who pays for a trip\n\
            -- $1 trip\n\
            SELECT rider_id FROM trip_charge WHERE trip_id = $1";
        /// A person's postings.
        LIST_POSTINGS = include_str!("sql/list_postings.sql");
        /// Every posting about a trip.
        LIST_TRIP_ENTRIES = include_str!("sql/list_trip_entries.sql");
        /// What a month did to what a driver is owed.
        DRIVER_STATEMENT = include_str!("sql/driver_statement.sql");
        /// The balances of one account.
        GET_BALANCES = "-- get_balances: one account's balances, by currency\n\
            -- $1 owner, $2 account\n\
            SELECT currency, balance_minor FROM account_balance\n\
            WHERE owner_id = $1 AND account = $2 ORDER BY currency";
        /// From when until when the ledger is looked through for a provider.
        PROVIDER_WINDOW = include_str!("sql/provider_window.sql");
        /// Remembers until when it was.
        PROVIDER_LOOKED = include_str!("sql/provider_looked.sql");
        /// What charges ask of the provider.
        PROVIDER_CHARGES = include_str!("sql/provider_charges.sql");
        /// What refunds ask of the provider.
        PROVIDER_REFUNDS = include_str!("sql/provider_refunds.sql");
        /// What tips ask of the provider.
        PROVIDER_TIPS = include_str!("sql/provider_tips.sql");
        /// What payouts ask of the provider.
        PROVIDER_PAYOUTS = include_str!("sql/provider_payouts.sql");
        /// Operations that are to be taken up.
        PROVIDER_DUE = include_str!("sql/provider_due.sql");
        /// Says that an operation is on its way.
        PROVIDER_TAKE_UP = include_str!("sql/provider_take_up.sql");
        /// Writes down what became of an operation.
        PROVIDER_SETTLE = concat!(
            include_str!("sql/provider_settle.sql"),
            include_str!("sql/provider_entries.sql"),
            "SELECT attempts, EXISTS (SELECT 1 FROM moved) AS is_told FROM settled"
        );
        /// Posts what an older version did not.
        PROVIDER_POST = concat!(
            include_str!("sql/provider_post.sql"),
            include_str!("sql/provider_entries.sql"),
            "SELECT count(*) FROM settled"
        );
        /// Open holds whose authorisation was declined.
        PROVIDER_LOST_HOLDS = include_str!("sql/provider_lost_holds.sql");
        /// Open payouts whose transfer is at an end.
        PROVIDER_ENDED_PAYOUTS = include_str!("sql/provider_ended_payouts.sql");
        /// Under which names the provider knows somebody.
        PROVIDER_PUT_ACCOUNT = include_str!("sql/provider_put_account.sql");
        /// What a provider's name for a payment is about.
        PROVIDER_PAYMENT = "-- provider_payment: the trip that a provider's payment is for\n\
            -- $1 provider, $2 its name for it\n\
            SELECT subject_id FROM provider_operation\n\
            WHERE provider = $1 AND kind = 'AUTHORIZE' AND reference = $2 LIMIT 1";
        /// In which trace a charge was held.
        CHARGE_TRACE = "-- charge_trace: the trace context that a trip's fare was held in\n\
            -- $1 trip\n\
            SELECT ride_traceparent FROM trip_charge WHERE trip_id = $1";
        /// A payment was taken back, or given to us again.
        RECORD_CHARGEBACK = include_str!("sql/record_chargeback.sql");
        /// What a provider told by itself, kept once.
        PROVIDER_HEAR = include_str!("sql/provider_hear.sql");
        /// Operations to compare with the provider's book.
        PROVIDER_OPERATIONS = include_str!("sql/provider_operations.sql");
        /// What the sandbox did and declined in a time.
        PROVIDER_SANDBOX_LIST = include_str!("sql/provider_sandbox_list.sql");
        /// The sandbox carries something out, once per key.
        PROVIDER_SANDBOX_DO = include_str!("sql/provider_sandbox_do.sql");
        /// What the sandbox has under a key.
        PROVIDER_SANDBOX_FIND = include_str!("sql/provider_sandbox_find.sql");
        /// Sums the whole ledger.
        CHECK_LEDGER = include_str!("sql/check_ledger.sql");
    }
}

/// The provider that is configured, if any.
fn open_provider(
    config: &ProviderConfig,
    store: &Store,
    clock: &Clock,
) -> anyhow::Result<Option<Arc<dyn Provider>>> {
    Ok(match config.kind {
        ProviderKind::Sandbox => Some(Arc::new(Sandbox::new(
            store.clone(),
            clock.clone(),
            config.sandbox.clone(),
        ))),
        ProviderKind::Stripe => Some(Arc::new(Stripe::open(&config.stripe)?)),
        ProviderKind::None => None,
    })
}

/// What billing stands on.
pub struct Needs {
    /// Clock, database, background tasks.
    pub platform: Platform,
}

/// The service. Cloning it gives the same service.
#[derive(Clone)]
pub struct Billing {
    config: Arc<Config>,
    store: Store,
    captures: Arc<Captures>,
    platform: Platform,
    provider: Option<Arc<dyn Provider>>,
}

impl Billing {
    /// The service's full name.
    pub const NAME: &str = "jitney.billing.v1.BillingService";

    /// Checks the configuration, brings the schema up to date, keeps the tariffs and starts the
    /// background jobs.
    ///
    /// # Errors
    /// When the configuration makes no sense, the database cannot be used, no tariff is in force,
    /// or one of them was used with other prices before; the message says what to do.
    pub async fn build(config: Config, needs: Needs) -> anyhow::Result<Billing> {
        let platform = needs.platform;
        let Platform {
            clock,
            database,
            keys,
            shutdown,
            tasks,
            ..
        } = &platform;
        config.validate()?;
        tariff::in_force(&config.tariffs, clock.now())?;
        let lifetime_max = config.quote_validity + config.quote_ahead_max;
        let quotes = QuoteKeys::open(&config.quote_signing, keys, lifetime_max)?;
        let store = Store::open(database, quotes).await?;
        for tariff in &config.tariffs {
            let body = tariff::Body {
                currency: config.currency,
                tariff: tariff.clone(),
            };
            store.keep_tariff(&body).await?;
        }
        metrics::start();
        let lapse = jobs::lapse_holds(
            store.clone(),
            config.lapse_interval,
            clock.clone(),
            shutdown.clone(),
        );
        tasks.spawn(lapse);
        let provider = open_provider(&config.provider, &store, clock)?;
        if let Some(provider) = provider.clone() {
            if config.provider.kind == ProviderKind::Sandbox {
                tracing::warn!("payments are played: billing.provider.kind is \"sandbox\"");
            }
            // What is over before a provider is first used is not its business: that time is now.
            store.plan_operations(provider.name()).await?;
            let teller = Teller::new(store.clone(), provider, config.provider.clone());
            tasks.spawn(teller.run(clock.clone(), shutdown.clone()));
        }
        let captures = Captures::new(store.clone(), config.batch.clone(), tasks.clone());
        Ok(Billing {
            config: Arc::new(config),
            store,
            captures: Arc::new(captures),
            platform,
            provider,
        })
    }

    /// The rpcs, not guarded yet.
    pub fn rpcs(&self) -> impl Rpcs + use<> {
        BillingServiceServer::new(grpc::Grpc(self.clone()))
    }

    /// Begins to tell trips where the payment of its rides stands, and goes on until the shutdown. It is
    /// not among the needs: trips is built on billing, and what is to be told waits in the outbox.
    pub fn tell(&self, trips: Channel) {
        let Platform {
            clock,
            keys,
            shutdown,
            tasks,
            ..
        } = &self.platform;
        let trips = trips.with_service_token(keys.clone(), clock.clone(), CALLER);
        let transport: &dyn Transport = &PostgresTransport {
            pool: self.store.pool().clone(),
            clock: clock.clone(),
            wake: self.store.wake().clone(),
            config: self.config.relay.clone(),
        };
        let handler = Handler::each(jobs::tell_trips(TripsServiceClient::new(trips)));
        tasks.spawn(transport.carry(TRIPS, handler, shutdown.clone()));
    }

    /// The schema, for tests and tools that look behind the rpcs.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Prices a ride under the tariff that is named, or in force when it begins, signs the price and keeps it;
    /// until when, and the signature, are said beside it.
    ///
    /// # Errors
    /// When the tariff has no such product, the fare is too large, or the database fails.
    pub async fn quote(&self, asked: &Asked) -> Result<(Quote, DateTime<Utc>, String), Error> {
        let now = self.platform.clock.now();
        let begins_at = asked.pickup_at.unwrap_or(now).max(now);
        let tariff = match &asked.tariff_version {
            None => tariff::in_force(&self.config.tariffs, begins_at)?,
            Some(version) => {
                let mut known = self.config.tariffs.iter();
                let named = known.find(|tariff| tariff.version == *version);
                named.ok_or_else(|| Error::UnknownTariff(version.clone()))?
            }
        };
        let currency = self.config.currency;
        let quote = Quote::under(tariff, currency, asked, now)?;
        // A booked ride's price may be held when its time has come.
        let ahead = (begins_at - now).to_std().unwrap_or_default();
        let validity = ahead.min(self.config.quote_ahead_max) + self.config.quote_validity;
        let (expires_at, signature) = self.store.add_quote(&quote, validity).await?;
        Ok((quote, expires_at, signature))
    }

    /// The clocks of the city: as configured, else as the night of the tariff in force goes by.
    fn time_zone(&self) -> Result<Tz, Error> {
        if let Some(zone) = self.config.time_zone {
            return Ok(zone);
        }
        let tariff = tariff::in_force(&self.config.tariffs, self.platform.clock.now())?;
        let night = tariff.night.as_ref();
        Ok(night.map_or(Tz::UTC, |night| night.time_zone))
    }

    /// The payment provider in use.
    fn provider(&self) -> Option<&dyn Provider> {
        self.provider.as_deref()
    }

    /// What holds are made under.
    fn terms(&self) -> HoldTerms {
        HoldTerms {
            currency: self.config.currency,
            limit_minor: self.config.hold_limit_minor,
            validity: self.config.hold_validity,
            age_max: self.config.hold_age_max,
        }
    }
}
