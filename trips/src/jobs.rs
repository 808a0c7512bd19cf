//! What goes on by itself. Every job reads the database, may run twice or side by side, and ends when
//! the process is stopped: a signal makes it prompt, a timer makes it certain, and a lease lets one
//! process of several do the searching.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use jitney_platform::{
    lease::Lease,
    outbox::{PostgresTransport, Transport},
};
use jitney_proto::ids::TripId;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::MissedTickBehavior,
};

use crate::{
    app::App,
    booking,
    command::{Command, expire::Expire, offer},
    create, deliver,
    error::Error,
    hub, saga, timers,
    trip::OfferState,
};

/// Searches one process runs at a time, at most; the rides that wait longest go first.
const SEARCHES_MAX: i64 = 50_000;
/// Rides that something is due for, looked at side by side.
const PARALLEL_MAX: usize = 8;
/// How long after its expiry a quote is kept, for requests that are under way.
const QUOTE_KEEP: Duration = Duration::from_secs(60 * 60);
/// How long events of others are remembered by their ids. Longer than anybody tells one again; one that is
/// told later still is known by its version.
const INBOX_KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often what is too old is purged.
const PURGE_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Starts every job.
pub fn start(app: &Arc<App>, hints: mpsc::Receiver<TripId>) {
    let tasks = &app.platform.tasks;
    tasks.spawn(searches(Arc::clone(app), hints));
    tasks.spawn(look_for_changes(Arc::clone(app)));
    tasks.spawn(release_holds(Arc::clone(app)));
    tasks.spawn(booking::releases(Arc::clone(app)));
    tasks.spawn(timers::timers(Arc::clone(app)));
    tasks.spawn(purge(Arc::clone(app)));
    let transport: &dyn Transport = &PostgresTransport {
        pool: app.store.pool().clone(),
        clock: app.platform.clock.clone(),
        wake: app.wake.clone(),
        config: app.config.relay.clone(),
    };
    for (consumer, handler) in deliver::consumers(app) {
        tasks.spawn(transport.carry(consumer, handler, app.platform.shutdown.clone()));
    }
}

/// Keeps one search going for every trip that needs a driver, in the process that holds the lease.
async fn searches(app: Arc<App>, mut hints: mpsc::Receiver<TripId>) {
    let lease = Lease::new(
        app.store.pool().clone(),
        "searches",
        app.config.search_lease,
    );
    let mut running = Searches::default();
    let mut is_ours = false;
    let mut ticks = ticks(app.config.search_recovery_interval);
    loop {
        tokio::select! {
            () = app.platform.shutdown.cancelled() => break,
            Some(trip_id) = hints.recv() => if is_ours { running.begin(&app, trip_id) },
            Some(ended) = running.tasks.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => {
                        if error.is_panic() {
                            tracing::error!(%error, "a search panicked; it is begun again");
                        }
                        error.id()
                    }
                };
                running.trips.retain(|_, search| search.id() != id);
            }
            _ = ticks.tick() => {
                is_ours = lease.hold().await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "the lease on the searches cannot be kept");
                    false
                });
                if is_ours {
                    if let Err(error) = recover(&app, &mut running).await {
                        tracing::warn!(%error, "searches could not be recovered; next time");
                    }
                } else {
                    running.tasks.abort_all();
                }
            }
        }
    }
    running.tasks.shutdown().await;
    if let Err(error) = lease.release().await {
        tracing::debug!(%error, "the lease on the searches ends by itself");
    }
}

/// The searches of this process.
#[derive(Default)]
struct Searches {
    tasks: JoinSet<()>,
    trips: HashMap<TripId, AbortHandle>,
}

impl Searches {
    fn begin(&mut self, app: &Arc<App>, trip_id: TripId) {
        if !self.trips.contains_key(&trip_id) {
            let search = self.tasks.spawn(saga::search(Arc::clone(app), trip_id));
            self.trips.insert(trip_id, search);
        }
    }
}

/// Begins the searches that are missing, and ends what matching should have ended long ago.
async fn recover(app: &Arc<App>, running: &mut Searches) -> Result<(), Error> {
    let grace = app.config.search_backstop;
    for (trip_id, offer_id) in app.store.overdue_offers(grace).await? {
        let end = offer::End {
            offer_id,
            how: OfferState::Expired,
        };
        end_overdue(app, trip_id, Command::EndOffer(end)).await;
    }
    for (trip_id, search_until) in app.store.overdue_searches(grace).await? {
        let expire = Expire {
            search_until,
            detail: String::new(),
        };
        end_overdue(app, trip_id, Command::Expire(expire)).await;
    }
    for trip_id in app.store.in_search(SEARCHES_MAX).await? {
        running.begin(app, trip_id);
    }
    Ok(())
}

/// One trip that cannot be ended keeps no other from it.
async fn end_overdue(app: &Arc<App>, trip_id: TripId, command: Command) {
    match app.carry_out(trip_id, command).await {
        // A refusal: it went on by itself between the reading and this.
        Ok(_) | Err(Error::Refused(_)) => {}
        Err(error) => tracing::warn!(%trip_id, %error, "an overdue trip stays as it is; next time"),
    }
}

/// Looks for the changes that other processes made to the trips that are watched here.
pub async fn look_for_changes(app: Arc<App>) {
    let mut ticks = ticks(app.config.watch_poll_interval);
    while tick(&app, &mut ticks).await {
        let watched = app.hub.watched();
        if watched.is_empty() {
            continue;
        }
        let ids: Vec<TripId> = watched.keys().copied().collect();
        match app.store.standings(&ids).await {
            Ok(standings) => {
                for (trip_id, now) in standings {
                    let told = watched.get(&trip_id).copied().flatten();
                    if told.is_none_or(|told| hub::is_news(now, told)) {
                        app.tell_watchers(trip_id).await;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "watched trips cannot be read; next time"),
        }
    }
}

/// Releases the holds of requests that made no trip: those that were refused after the hold while
/// billing was away, and those that nobody finished.
pub async fn release_holds(app: Arc<App>) {
    let mut ticks = ticks(app.config.hold_recovery_interval);
    while tick(&app, &mut ticks).await {
        let released = async {
            release_unsettled(&app).await?;
            booking::release_pending(&app).await
        };
        if let Err(error) = released.await {
            tracing::warn!(%error, "holds without a trip could not be released; next time");
        }
    }
}

async fn release_unsettled(app: &Arc<App>) -> Result<(), Error> {
    for request in app
        .store
        .abandon_requests(app.config.hold_recovery_after)
        .await?
    {
        let trip_id = request.trip_id();
        match create::void_hold(app, trip_id).await {
            Ok(()) => app.store.released(&request).await?,
            Err(error @ Error::Unreachable { .. }) => return Err(error),
            Err(error) => tracing::error!(%trip_id, %error, "a hold without a trip stays"),
        }
    }
    Ok(())
}

async fn purge(app: Arc<App>) {
    let mut ticks = ticks(PURGE_INTERVAL);
    while tick(&app, &mut ticks).await {
        let purged = tokio::try_join!(
            app.store.purge_quotes(QUOTE_KEEP),
            app.store.purge_requests(app.config.idempotency_retention),
            purge_inbox(&app),
        );
        match purged {
            Ok((quotes, requests, events)) => {
                tracing::debug!(quotes, requests, events, "purged");
            }
            Err(error) => tracing::warn!(%error, "old rows could not be purged; next time"),
        }
    }
}

/// All of it, however much there is: a ride has several events.
async fn purge_inbox(app: &App) -> Result<u64, Error> {
    let mut all = 0;
    loop {
        match app.store.purge_inbox(INBOX_KEEP).await? {
            0 => return Ok(all),
            events => all += events,
        }
    }
}

/// Looks every so often for what is due, in the process that holds the lease of this name.
pub(crate) async fn leased<F>(
    app: &Arc<App>,
    name: &'static str,
    interval: Duration,
    look: impl Fn(Arc<App>) -> F,
) where
    F: Future<Output = Result<(), Error>>,
{
    let lease = Lease::new(app.store.pool().clone(), name, interval * 3);
    let mut ticks = ticks(interval);
    while tick(app, &mut ticks).await {
        match lease.hold().await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                tracing::warn!(name, %error, "a lease cannot be kept");
                continue;
            }
        }
        if let Err(error) = look(Arc::clone(app)).await {
            tracing::warn!(name, %error, "what is due cannot be read; next time");
        }
    }
    if let Err(error) = lease.release().await {
        tracing::debug!(name, %error, "a lease ends by itself");
    }
}

/// Does something about every ride, some of them side by side. One that fails keeps no other from it.
pub(crate) async fn each<F>(due: Vec<TripId>, act: impl Fn(TripId) -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    stream::iter(due)
        .for_each_concurrent(PARALLEL_MAX, |trip_id| {
            let acting = act(trip_id);
            async move {
                if let Err(error) = acting.await {
                    tracing::warn!(%trip_id, %error, "a ride is looked at again");
                }
            }
        })
        .await;
}

pub(crate) fn ticks(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for the next tick; `false` when the process is being stopped.
pub(crate) async fn tick(app: &App, ticks: &mut tokio::time::Interval) -> bool {
    tokio::select! {
        () = app.platform.shutdown.cancelled() => false,
        _ = ticks.tick() => true,
    }
}
