//! A simulation from beginning to end: look at the city, carry on with rides left over, send drivers
//! and riders out, see the last ride to its end, and ask for the ledger.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use jitney_proto::{
    billing::v1::CheckLedgerResponse, common::v1::Role, matching::v1::GetServiceAreaResponse,
};
use jitney_roads::RoadNetwork;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    api::{Api, Badge, Call},
    audit::Rule,
    chronicle::Chronicle,
    config::{Config, ProductShare, TokenSource, Until},
    demand::Demand,
    driver::Driver,
    kerb::Kerb,
    lookup::live_trips,
    progress,
    refusal::CallError,
    report::{LedgerCheck, Report},
    rider::Rider,
    streets::Streets,
    world::World,
};

/// Time between two drivers who begin their shift.
const DRIVER_PAUSE: Duration = Duration::from_millis(5);
/// How long the first riders wait for drivers to be on shift.
const SHIFT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the people of a closing city may take to go home.
const CLOSING_PATIENCE: Duration = Duration::from_secs(20);
/// The id of the operator who looks on.
const OPERATOR: &str = "operator";

/// Runs a simulation against a gateway until it is through, or until `shutdown` is cancelled, after
/// which rides under way are called off or ended. `roads` is the map the server runs on. `tokens` is
/// asked for tokens of riders, drivers and one operator.
///
/// Whether the server kept the rules is the report's to say: [`Report::ok`].
///
/// # Errors
/// Settings that make no sense, a gateway that is not there, a server with another map, missing
/// rights. Nothing that happens once the city lives.
pub async fn run(
    config: Config,
    roads: Arc<RoadNetwork>,
    tokens: TokenSource,
    shutdown: CancellationToken,
) -> anyhow::Result<Report> {
    config.check()?;
    let started = Instant::now();
    let chronicle = Arc::new(Chronicle::default());
    let closing = CancellationToken::new();
    // Whatever way this ends, nobody is left out there.
    let _closes: DropGuard = closing.clone().drop_guard();
    let api = Api::new(
        &config.gateway_url,
        tokens,
        config.patience,
        closing.clone(),
        Arc::clone(&chronicle),
    )?;
    let world = Arc::new(World {
        api: Arc::new(api),
        streets: Arc::new(Streets::new(roads, config.radius_meters)?),
        kerb: Kerb::default(),
        chronicle,
        run_id: uuid::Uuid::now_v7().simple().to_string(),
        closing,
        config,
    });
    let operator = world.badge(
        Role::Operator,
        format!("{}{OPERATOR}", world.config.name_prefix),
    );
    let area = shutdown
        .run_until_cancelled(look_at(&world, &operator))
        .await
        .ok_or_else(|| anyhow!("stopped before the gateway answered"))??;
    let mut city = City {
        products: products(&world.config, &area)?,
        drivers: JoinSet::new(),
        riders: JoinSet::new(),
        world: Arc::clone(&world),
    };
    let showing = AbortOnDrop(tokio::spawn(progress::show(
        world.config.clone(),
        Arc::clone(&world.chronicle),
    )));
    let lived = shutdown.run_until_cancelled(city.live(&operator)).await;
    let was_stopped = lived.is_none() && world.config.until != Until::Stopped;
    lived.transpose()?;
    city.close(was_stopped).await?;
    let ledger = check_ledger(&world, &operator).await;
    drop(showing);
    let map = format!("{} ({})", area.map_name, area.map_id);
    let facts = world.chronicle.facts();
    Ok(Report::new(
        world.config.clone(),
        map,
        started.elapsed(),
        was_stopped,
        ledger,
        &facts,
    ))
}

/// Everybody who is out there.
struct City {
    world: Arc<World>,
    products: Vec<ProductShare>,
    drivers: JoinSet<()>,
    riders: JoinSet<()>,
}

impl City {
    /// Lives until the demand is over and the last ride has ended.
    async fn live(&mut self, operator: &Badge) -> anyhow::Result<()> {
        let left_over = live_trips(operator)
            .await
            .context("cannot list the trips under way")?;
        let mut numbers: BTreeSet<u32> = (1..=self.world.config.drivers).collect();
        for trip in left_over
            .into_iter()
            .filter(|trip| self.world.is_rider_id(&trip.rider_id))
        {
            let driver = trip.driver.as_ref();
            numbers.extend(driver.and_then(|it| self.world.driver_number(&it.driver_id)));
            let rider = Rider::new(Arc::clone(&self.world), trip.rider_id.clone());
            self.riders.spawn(rider.carry_on(trip));
        }
        self.send_drivers_out(numbers).await;
        self.let_riders_ask().await;
        let deadline = Instant::now() + self.world.config.grace;
        while let Ok(Some(ended)) = timeout_at(deadline, self.riders.join_next()).await {
            ended.context("a simulated rider failed")?;
        }
        let left = self.riders.len();
        if left > 0 {
            let what = format!(
                "{left} rides had not ended {} s after the last request",
                self.world.config.grace.as_secs()
            );
            self.world
                .chronicle
                .facts()
                .audit
                .violation(Rule::RidesEnd, what);
        }
        Ok(())
    }

    /// Puts all drivers on shift, and waits a while for them to be.
    async fn send_drivers_out(&mut self, numbers: BTreeSet<u32>) {
        let mut on_shift = Vec::new();
        for number in numbers {
            let driver = Driver::new(&self.world, number, self.products_of(number));
            on_shift.push(driver.on_shift());
            self.drivers.spawn(driver.work());
            sleep(DRIVER_PAUSE).await;
        }
        let deadline = Instant::now() + SHIFT_PATIENCE;
        for driver in on_shift {
            if timeout_at(deadline, driver.cancelled()).await.is_err() {
                tracing::warn!("some drivers are not on shift yet");
                break;
            }
        }
    }

    /// The first product and, taking turns, one of the others.
    fn products_of(&self, driver_number: u32) -> Vec<String> {
        let turn = driver_number as usize % self.products.len();
        let mut products = vec![self.products[0].product.clone()];
        if turn > 0 {
            products.push(self.products[turn].product.clone());
        }
        products
    }

    /// Lets riders ask until the demand is over.
    async fn let_riders_ask(&mut self) {
        let config = &self.world.config;
        let begin = Instant::now();
        let mut at = begin;
        let demand = Demand::new(
            config.clone(),
            Arc::clone(&self.world.streets),
            self.products.clone(),
        );
        for request in demand {
            let is_over = match config.until {
                Until::Requests(requests) => request.number > requests,
                Until::Elapsed(span) => at + request.after > begin + span,
                Until::Stopped => false,
            };
            if is_over {
                if let Until::Elapsed(span) = config.until {
                    sleep_until(begin + span).await;
                }
                return;
            }
            at += request.after;
            sleep_until(at).await;
            // Those who are through are let go, so that a city may live for ever.
            while self.riders.try_join_next().is_some() {}
            let rider = Rider::new(Arc::clone(&self.world), self.world.rider_id(request.number));
            self.riders.spawn(rider.ride(request));
        }
    }

    /// Everybody goes home.
    async fn close(mut self, was_stopped: bool) -> anyhow::Result<()> {
        self.world.closing.cancel();
        let deadline = Instant::now() + CLOSING_PATIENCE;
        for people in [&mut self.riders, &mut self.drivers] {
            while let Ok(Some(ended)) = timeout_at(deadline, people.join_next()).await {
                ended.context("a simulated person failed")?;
            }
        }
        if !self.drivers.is_empty() && !was_stopped {
            tracing::warn!(
                drivers = self.drivers.len(),
                "some drivers did not go home in time"
            );
        }
        Ok(())
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Finds out where this is, and whether the gateway is there at all.
async fn look_at(world: &World, operator: &Badge) -> anyhow::Result<GetServiceAreaResponse> {
    let url = world.api.base_url();
    let call = Call::get("GET /v1/service-area", "/v1/service-area")
        .with_patience(world.config.wait_for_gateway);
    let area: GetServiceAreaResponse = match operator.call(call).await {
        Ok(area) => area,
        Err(error @ CallError::Unreachable { .. }) => bail!(
            "{error}; start one with `jitney serve all`, or give the address of one that runs"
        ),
        Err(
            error @ CallError::Refused {
                http: 401 | 403, ..
            },
        ) => bail!(
            "the gateway at {url} does not take our tokens: {error}; make them with the keys of \
             that deployment"
        ),
        Err(error) => return Err(anyhow!(error).context(format!("the gateway at {url}"))),
    };
    let map_id = world.streets.network().id().to_string();
    ensure!(
        area.map_id == map_id,
        "the server at {url} runs on the map {:?} ({}), the simulation was given {:?} ({map_id}); \
         give both the same map",
        area.map_name,
        area.map_id,
        world.streets.network().name()
    );
    Ok(area)
}

/// The products to ask for.
fn products(config: &Config, area: &GetServiceAreaResponse) -> anyhow::Result<Vec<ProductShare>> {
    let known: Vec<&str> = area
        .products
        .iter()
        .map(|product| product.product.as_str())
        .collect();
    ensure!(!known.is_empty(), "the server has no products");
    for share in &config.products {
        ensure!(
            known.contains(&share.product.as_str()),
            "the server has no product {:?}; it has {}",
            share.product,
            known.join(", ")
        );
    }
    if config.products.is_empty() {
        let share = |(index, product): (usize, &&str)| ProductShare {
            product: (*product).to_owned(),
            share: if index == 0 { 2 } else { 1 },
        };
        return Ok(known.iter().enumerate().map(share).collect());
    }
    Ok(config.products.clone())
}

/// Asks whether the ledger holds. One that cannot be asked is no violation, but no proof either.
async fn check_ledger(world: &World, operator: &Badge) -> Option<LedgerCheck> {
    let call = Call::get("GET /v1/ledger:check", "/v1/ledger:check");
    let answer: CheckLedgerResponse = match operator.call(call).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(%error, "the ledger could not be checked");
            return None;
        }
    };
    let check = LedgerCheck {
        balanced: answer.balanced,
        entries: answer.entries,
        unbalanced_entries: answer.unbalanced_entries,
        wrong_balances: answer.wrong_balances,
        wrong_charges: answer.wrong_charges,
    };
    if !check.balanced {
        let what = format!("the ledger does not hold: {check:?}");
        world
            .chronicle
            .facts()
            .audit
            .violation(Rule::LedgerBalances, what);
    }
    Some(check)
}

#[cfg(test)]
#[path = "city_tests.rs"]
mod tests;
