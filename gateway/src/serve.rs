//! The gateway's port: connections in, answers out, until it is told to stop.
//!
//! A connection that never asks for anything is closed. When the gateway stops it lets no new
//! connection in, ends the streams (they tell their callers), and gives calls under way a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use axum::{Router, http::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    address::Peer,
    config::{Config, HEAD_BUFFER_BYTES},
};

/// How often a silent HTTP/2 connection is asked whether it is still there, and how long it may take.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// How long to wait when the machine has no more room for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown`, then drains.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: Arc<Config>,
    shutdown: CancellationToken,
) -> Result<()> {
    let places = Arc::new(Semaphore::new(config.connections_max));
    let graceful = GracefulShutdown::new();
    loop {
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = places.clone().acquire_owned() => place?,
        };
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (router, config, watcher) = (router.clone(), config.clone(), graceful.watcher());
        tokio::spawn(async move {
            connection(stream, Peer(peer), router, &config, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    if timeout(config.drain_max, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were still under way when the gateway stopped");
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    config: &Config,
    watcher: Watcher,
) {
    // Events are small and want to leave at once; where that cannot be set they leave later.
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let asked = asked.clone();
        router.map_request(move |mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer);
            request
        })
    };
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.arrival_timeout)
        .max_buf_size(HEAD_BUFFER_BYTES);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING)
        .max_header_list_size(u32::try_from(HEAD_BUFFER_BYTES).unwrap_or(u32::MAX));
    let io = TokioIo::new(stream);
    let served = server.serve_connection_with_upgrades(io, TowerToHyperService::new(service));
    let served = watcher.watch(served.into_owned());
    tokio::pin!(served);
    // The server itself does not mind a client that connects and says nothing.
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = sleep(config.arrival_timeout) => {
            if !asked.load(Ordering::Relaxed) {
                return;
            }
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection broke off");
    }
}
