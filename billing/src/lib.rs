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
//! Billing calls no other service.

pub mod apportion;
pub mod batch;
pub mod config;
pub mod csv;
pub mod document;
pub mod error;
pub mod fare;
pub mod grpc;
pub mod hold;
pub mod idempotency;
pub mod jobs;
pub mod ledger;
pub mod payout;
pub mod place;
pub mod promotion;
pub mod quote;
pub mod receipt;
pub mod refund;
pub mod statement;
pub mod store;
pub mod surcharge;
pub mod tariff;
pub mod tip;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use jitney_platform::{Platform, clock::Clock};
use jitney_proto::billing::v1::billing_service_server::BillingServiceServer;

pub use config::Config;
pub use error::Error;

use batch::Captures;
use quote::{Asked, Quote};
use store::{HoldTerms, Store};

/// The Postgres schema.
pub const SCHEMA: &str = "billing";

/// What brings the schema up to date.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The SQL.
pub mod statements {
    jitney_platform::statements! {
        /// Keeps a tariff, or gives the hash of the one that is kept under its version.
        STORE_TARIFF = include_str!("sql/store_tariff.sql");
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
        /// Gives a held trip a promotion.
        APPLY_PROMOTION = include_str!("sql/apply_promotion.sql");
        /// Who pays for a trip.
        GET_PAYER = "-- get_payer: who pays for a trip\n\
            -- $1 trip\n\
            SELECT rider_id FROM trip_charge WHERE trip_id = $1";
        /// A person's postings.
        LIST_POSTINGS = include_str!("sql/list_postings.sql");
        /// What a month did to what a driver is owed.
        DRIVER_STATEMENT = include_str!("sql/driver_statement.sql");
        /// The balances of one account.
        GET_BALANCES = "-- get_balances: one account's balances, by currency\n\
            -- $1 owner, $2 account\n\
            SELECT currency, balance_minor FROM account_balance\n\
            WHERE owner_id = $1 AND account = $2 ORDER BY currency";
        /// Sums the whole ledger.
        CHECK_LEDGER = include_str!("sql/check_ledger.sql");
    }
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
    clock: Clock,
}

impl Billing {
    /// The service's full name.
    pub const NAME: &str = "jitney.billing.v1.BillingService";

    /// Checks the configuration, brings the schema up to date, keeps the tariffs and starts the
    /// background job.
    ///
    /// # Errors
    /// When the configuration makes no sense, the database cannot be used, no tariff is in force,
    /// or one of them was used with other prices before; the message says what to do.
    pub async fn build(config: Config, needs: Needs) -> anyhow::Result<Billing> {
        let Platform {
            clock,
            database,
            shutdown,
            tasks,
            ..
        } = needs.platform;
        config.validate()?;
        tariff::in_force(&config.tariffs, clock.now())?;
        let store = Store::open(&database).await?;
        for tariff in &config.tariffs {
            let body = tariff::Body {
                currency: config.currency,
                tariff: tariff.clone(),
            };
            store.keep_tariff(&body).await?;
        }
        let lapse = jobs::lapse_holds(
            store.clone(),
            config.lapse_interval,
            clock.clone(),
            shutdown,
        );
        tasks.spawn(lapse);
        let captures = Captures::new(store.clone(), config.batch.clone(), tasks);
        Ok(Billing {
            config: Arc::new(config),
            store,
            captures: Arc::new(captures),
            clock,
        })
    }

    /// The rpcs, not guarded yet.
    pub fn routes(&self) -> tonic::service::Routes {
        tonic::service::Routes::new(BillingServiceServer::new(grpc::Grpc(self.clone())))
    }

    /// The schema, for tests and tools that look behind the rpcs.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Prices a ride under the tariff in force when it begins, and keeps the price; until when, is said beside it.
    ///
    /// # Errors
    /// When the tariff has no such product, the fare is too large, or the database fails.
    pub async fn quote(&self, asked: &Asked) -> Result<(Quote, DateTime<Utc>), Error> {
        let now = self.clock.now();
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
        let expires_at = self.store.add_quote(&quote, validity).await?;
        Ok((quote, expires_at))
    }

    /// The clocks of the city: as configured, else as the night of the tariff in force goes by.
    fn time_zone(&self) -> Result<Tz, Error> {
        if let Some(zone) = self.config.time_zone {
            return Ok(zone);
        }
        let tariff = tariff::in_force(&self.config.tariffs, self.clock.now())?;
        let night = tariff.night.as_ref();
        Ok(night.map_or(Tz::UTC, |night| night.time_zone))
    }

    /// What holds are made under.
    fn terms(&self) -> HoldTerms {
        HoldTerms {
            currency: self.config.currency,
            limit_minor: self.config.hold_limit_minor,
            validity: self.config.hold_validity,
        }
    }
}
