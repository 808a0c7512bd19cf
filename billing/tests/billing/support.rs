//! The sandbox: billing behind its guard, and plain words for what is done to it.

use std::time::Duration;

use jitney_billing::{Billing, Config, Needs, provider::config::ProviderKind};
use jitney_platform::{
    Platform,
    auth::Role,
    client::Channel,
    db::{Database, DatabaseConfig},
    serve::GrpcService,
    testing::TestDatabase,
};
use jitney_proto::{
    Code,
    billing::v1::{
        self as pb, billing_service_client::BillingServiceClient, get_balance_request::Owner,
    },
    common::v1::Money,
};
use sqlx::{Connection, PgConnection, PgPool};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
};
use uuid::Uuid;

/// Every capture is run alone.
pub fn one_by_one() -> Config {
    let mut config = Config::default();
    config.batch.size_max = 1;
    config
}

/// Billing with a database of its own.
pub struct Sandbox {
    pub billing: Billing,
    pub platform: Platform,
    pub database: TestDatabase,
    service: GrpcService,
}

/// Presents one token.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub type Client = BillingServiceClient<InterceptedService<Channel, Bearer>>;

impl Sandbox {
    pub async fn new() -> Sandbox {
        Sandbox::with(Config::default()).await
    }

    /// Without a payment provider: tests that want one tell it themselves.
    pub async fn with(mut config: Config) -> Sandbox {
        config.provider.kind = ProviderKind::None;
        Sandbox::with_provider(config).await
    }

    /// With the provider that is configured.
    pub async fn with_provider(config: Config) -> Sandbox {
        let database = TestDatabase::new().await;
        let platform = database.platform();
        Sandbox::build(database, platform, config).await
    }

    /// Billing with these bounds on its connections.
    pub async fn bounded(config: Config, bounds: DatabaseConfig) -> Sandbox {
        let database = TestDatabase::new().await;
        let platform = Platform {
            database: Database::new(database.options(), bounds),
            ..database.platform()
        };
        Sandbox::on(database, platform, config).await
    }

    /// Billing with these surroundings, without a payment provider.
    pub async fn on(database: TestDatabase, platform: Platform, mut config: Config) -> Sandbox {
        config.provider.kind = ProviderKind::None;
        Sandbox::build(database, platform, config).await
    }

    async fn build(database: TestDatabase, platform: Platform, config: Config) -> Sandbox {
        let needs = Needs {
            platform: platform.clone(),
        };
        let billing = Billing::build(config, needs).await.unwrap();
        Sandbox::over(billing, platform, database)
    }

    /// Billing that somebody built.
    pub fn over(billing: Billing, platform: Platform, database: TestDatabase) -> Sandbox {
        let service = GrpcService::guard(Billing::NAME, billing.rpcs(), &platform);
        Sandbox {
            billing,
            platform,
            database,
            service,
        }
    }

    /// A client with a token.
    pub fn client(&self, role: Role, id: &str) -> Client {
        let now = self.platform.clock.now();
        let token = self
            .platform
            .keys
            .mint(role, id, Duration::from_secs(600), now)
            .unwrap();
        let bearer = Bearer(format!("Bearer {token}").parse().unwrap());
        BillingServiceClient::with_interceptor(self.service.channel(), bearer)
    }

    /// The guarded service.
    pub fn service(&self) -> &GrpcService {
        &self.service
    }

    /// The trips service's client.
    pub fn trips(&self) -> Client {
        self.client(Role::Service, "trips")
    }

    /// What the service's own connections may do.
    pub fn pool(&self) -> &PgPool {
        self.billing.store().pool()
    }

    /// A connection that may do everything, inside the schema.
    pub async fn superuser(&self) -> PgConnection {
        let options = self
            .database
            .options()
            .options([("search_path", "billing")]);
        PgConnection::connect_with(&options).await.unwrap()
    }

    pub async fn quote(&self, distance_meters: i64) -> pb::FareQuote {
        let request = pb::QuoteFareRequest {
            product: "economy".to_owned(),
            distance_meters,
            duration_ms: 600_000,
            ..Default::default()
        };
        self.trips()
            .quote_fare(request)
            .await
            .unwrap()
            .into_inner()
            .quote
            .unwrap()
    }

    /// A trip whose fare is held for `rider`.
    pub async fn held(&self, rider: &str) -> Held {
        self.held_by(rider, pb::PaymentMethod::Unspecified).await
    }

    /// A trip whose fare `rider` is going to pay by that means.
    pub async fn held_by(&self, rider: &str, method: pb::PaymentMethod) -> Held {
        let quote = self.quote(5_100).await;
        let trip = Uuid::now_v7().to_string();
        let request = pb::AuthorizeHoldRequest {
            payment_method: method.into(),
            ..authorize(&trip, rider, &quote.quote_id)
        };
        let hold = self
            .trips()
            .authorize_hold(request)
            .await
            .unwrap()
            .into_inner()
            .hold
            .unwrap();
        assert_eq!(hold.state(), pb::HoldState::Held);
        Held { trip, quote }
    }

    /// A trip of `rider` whose fare was taken; ben drove.
    pub async fn captured(&self, rider: &str) -> Held {
        let held = self.held(rider).await;
        let capture = held.capture(&format!("{}:capture", held.trip));
        self.trips().capture_hold(capture).await.unwrap();
        held
    }

    /// What a trip cost, as the staff sees it.
    pub async fn receipt(&self, trip: &str) -> pb::Receipt {
        let request = pb::GetReceiptRequest {
            trip_id: trip.to_owned(),
        };
        let answer = self.trips().get_receipt(request).await.unwrap();
        answer.into_inner().receipt.unwrap()
    }

    /// Fails unless the ledger holds.
    #[track_caller]
    pub fn assert_sound(&self) -> impl Future<Output = ()> + '_ {
        let place = std::panic::Location::caller();
        async move {
            let check = self.check().await;
            assert!(check.balanced, "{place}: {check:?}");
            let untold = self.untold().await;
            assert!(untold.is_empty(), "{place}: {untold:?}");
        }
    }

    /// Charges whose events are not their versions, one by one, up to what the charge is now.
    pub async fn untold(&self) -> Vec<(Uuid, i64, Vec<String>)> {
        sqlx::query_as(
            "SELECT trip_id, charge.version, coalesce(events.types, '{}')
             FROM trip_charge AS charge
             LEFT JOIN (
                 SELECT aggregateid, array_agg(version ORDER BY version) AS versions,
                     array_agg(type ORDER BY version) AS types,
                     (array_agg(payload ORDER BY version DESC))[1] AS newest
                 FROM outbox WHERE aggregatetype = 'charge' GROUP BY aggregateid
             ) AS events ON events.aggregateid = charge.trip_id
             WHERE coalesce(events.versions, '{}')
                     <> ARRAY(SELECT generate_series(1, charge.version))
                 OR (charge.version > 0
                     -- Tests move these by hand, to make time go by.
                     AND to_jsonb(charge) - '{created_at,expires_at,closed_at}'::text[]
                         <> convert_from(events.newest, 'UTF8')::jsonb
                             - '{created_at,expires_at,closed_at}'::text[])",
        )
        .fetch_all(self.pool())
        .await
        .unwrap()
    }

    /// The kinds of a trip's events, in the order of its versions.
    pub async fn events(&self, trip: &str) -> Vec<String> {
        sqlx::query_scalar("SELECT type FROM outbox WHERE aggregateid = $1 ORDER BY version")
            .bind(trip.parse::<Uuid>().unwrap())
            .fetch_all(self.pool())
            .await
            .unwrap()
    }

    pub async fn check(&self) -> pb::CheckLedgerResponse {
        let request = pb::CheckLedgerRequest {};
        self.client(Role::Operator, "olga")
            .check_ledger(request)
            .await
            .unwrap()
            .into_inner()
    }

    /// The one balance of somebody, minor units; 0 when there is none.
    pub async fn balance(&self, owner: Owner) -> i64 {
        let request = pb::GetBalanceRequest { owner: Some(owner) };
        let balances = self
            .trips()
            .get_balance(request)
            .await
            .unwrap()
            .into_inner()
            .balances;
        assert!(balances.len() <= 1);
        balances.first().map_or(0, |balance| balance.minor_units)
    }

    /// What the rider's open holds add up to.
    pub async fn exposure(&self, rider: &str) -> i64 {
        let held: Option<i64> =
            sqlx::query_scalar("SELECT held_minor FROM rider_exposure WHERE rider_id = $1")
                .bind(rider)
                .fetch_optional(self.pool())
                .await
                .unwrap();
        held.unwrap_or(0)
    }

    pub async fn count(&self, table: &'static str) -> i64 {
        let statement = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(statement)
            .fetch_one(self.pool())
            .await
            .unwrap()
    }
}

/// A trip with an open hold.
pub struct Held {
    pub trip: String,
    pub quote: pb::FareQuote,
}

impl Held {
    pub fn total(&self) -> i64 {
        self.quote.total.as_ref().unwrap().minor_units
    }

    pub fn capture(&self, key: &str) -> pb::CaptureHoldRequest {
        pb::CaptureHoldRequest {
            trip_id: self.trip.clone(),
            driver_id: "ben".to_owned(),
            amount: None,
            idempotency_key: key.to_owned(),
            reason: pb::CaptureReason::Fare.into(),
        }
    }

    pub fn capture_part(&self, key: &str, minor_units: i64) -> pb::CaptureHoldRequest {
        pb::CaptureHoldRequest {
            amount: Some(euro(minor_units)),
            ..self.capture(key)
        }
    }

    pub fn refund(&self, key: &str, minor_units: Option<i64>) -> pb::RefundTripRequest {
        pb::RefundTripRequest {
            trip_id: self.trip.clone(),
            amount: minor_units.map(euro),
            reason: "the car was dirty".to_owned(),
            idempotency_key: key.to_owned(),
        }
    }

    pub fn void(&self, key: &str) -> pb::VoidHoldRequest {
        pb::VoidHoldRequest {
            trip_id: self.trip.clone(),
            idempotency_key: key.to_owned(),
        }
    }
}

pub fn euro(minor_units: i64) -> Money {
    Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    }
}

/// An amount, minor units.
pub fn minor(money: &Option<Money>) -> i64 {
    money.as_ref().unwrap().minor_units
}

/// A request to hold, under the key that trips uses.
pub fn authorize(trip: &str, rider: &str, quote: &str) -> pb::AuthorizeHoldRequest {
    pb::AuthorizeHoldRequest {
        trip_id: trip.to_owned(),
        rider_id: rider.to_owned(),
        quote_id: quote.to_owned(),
        idempotency_key: format!("{trip}:hold"),
        payment_method: pb::PaymentMethod::Unspecified.into(),
    }
}

/// The code of a refusal.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Code {
    let status = answer.map(Response::into_inner).expect_err("a refusal");
    Code::of(&status).unwrap_or_else(|| panic!("{status:?} has no code of ours"))
}
