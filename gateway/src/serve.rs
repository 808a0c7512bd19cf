//! The gateway's port: connections in, answers out, until it is told to stop.
//!
//! A connection that never asks for anything is closed, and so is one whose other end does not read.
//! When the gateway stops it lets no new connection in, ends the streams (they tell their callers), and
//! gives calls under way a while.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use axum::{body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use jitney_platform::tls::{Stream, Tls};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::{
    address::{Peer, Proxies},
    config::{Config, HEAD_BUFFER_BYTES},
    surround::Surround,
};

/// How often a silent HTTP/2 connection is asked whether it is still there, and how long it may take.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// Requests at once on one HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 100;
/// Requests given up before they were looked at, on one connection, until it counts as an attack.
const HTTP2_RESETS_MAX: usize = 50;
/// How long to wait when the machine has no more room for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a port needs beside its paths.
#[derive(Clone)]
pub struct Port {
    pub config: Arc<Config>,
    pub tls: Option<Arc<Tls>>,
    pub proxies: Proxies,
}

/// Serves `paths` until `shutdown`, then drains.
pub async fn serve(
    listener: TcpListener,
    paths: Surround,
    port: Port,
    shutdown: CancellationToken,
) -> Result<()> {
    let config = &port.config;
    let places = Arc::new(Semaphore::new(config.connections_max));
    let neighbours = Neighbours::default();
    let connections = TaskTracker::new();
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
        let address = peer.ip().to_canonical();
        // A proxy that is ours, or a simulation on this machine, has many callers behind it.
        let bound = match address.is_loopback() || port.proxies.trusts(address) {
            true => 0,
            false => config.connections_per_address_max,
        };
        let Some(room) = neighbours.room(address, bound) else {
            tracing::debug!("an address has too many connections");
            continue;
        };
        // One of its own: all would take turns at looking whether it is cancelled.
        let shutdown = shutdown.child_token();
        let (paths, port) = (paths.clone(), port.clone());
        connections.spawn(async move {
            connection(stream, Peer(peer), paths, port, shutdown).await;
            drop((place, room));
        });
    }
    drop(listener);
    connections.close();
    if timeout(config.drain_max, connections.wait()).await.is_err() {
        tracing::warn!("requests were still under way when the gateway stopped");
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    paths: Surround,
    port: Port,
    shutdown: CancellationToken,
) {
    // Events are small and want to leave at once; where that cannot be set they leave later.
    let _ = stream.set_nodelay(true);
    let config = port.config;
    let secured = secured(stream, port.tls.as_deref(), config.arrival_timeout).await;
    let stream = match secured {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "a handshake failed");
            return;
        }
    };
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let asked = asked.clone();
        TowerToHyperService::new(paths.map_request(move |mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer);
            request.map(Body::new)
        }))
    };
    let late = Instant::now() + config.arrival_timeout;
    let is_http1 = tokio::select! {
        begun = timeout_at(late, stream.begins_as_http1()) => match begun {
            Ok(Ok(is_http1)) => is_http1,
            // It has said nothing, or has gone.
            Ok(Err(_)) | Err(_) => return,
        },
        () = shutdown.cancelled() => return,
    };
    // Somebody who does not read must not hold a connection and what is written to it for ever.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(config.unread_max));
    let io = TokioIo::new(Box::pin(stream));
    let bounds = Bounds {
        asked: &asked,
        late,
        shutdown: &shutdown,
    };
    let ended = if is_http1 {
        let mut server = http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(config.arrival_timeout)
            .max_buf_size(HEAD_BUFFER_BYTES);
        let served = server.serve_connection(io, service).with_upgrades();
        let ended = bounds.keep(served, |served| served.graceful_shutdown());
        ended.await.map_err(|error| error.to_string())
    } else {
        let server = for_both(&config);
        let served = server.serve_connection_with_upgrades(io, service);
        let ended = bounds.keep(served, |served| served.graceful_shutdown());
        // It is large, and few connections need it.
        Box::pin(ended).await.map_err(|error| error.to_string())
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection broke off");
    }
}

/// For whoever may speak HTTP/2. It looks at a connection's beginning first, and what it has read of it is
/// one more buffer, so whoever is known to speak HTTP/1 is served without.
fn for_both(config: &Config) -> Builder<TokioExecutor> {
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
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BUFFER_BYTES).unwrap_or(u32::MAX));
    server
}

/// What ends a connection before it ends by itself.
struct Bounds<'a> {
    /// Whether it has asked for anything.
    asked: &'a AtomicBool,
    /// When it has to have done so.
    late: Instant,
    /// Cancelled when the gateway stops.
    shutdown: &'a CancellationToken,
}

impl Bounds<'_> {
    /// Serves a connection to its end, or until it has asked for nothing for too long: the server itself
    /// does not mind a client that connects and says nothing. When the gateway stops, `drain` has it end
    /// after what is under way.
    async fn keep<C, E>(self, served: C, drain: impl Fn(Pin<&mut C>)) -> Result<(), E>
    where
        C: Future<Output = Result<(), E>>,
    {
        tokio::pin!(served);
        let silent = sleep_until(self.late);
        tokio::pin!(silent);
        let (mut is_draining, mut has_asked) = (false, false);
        loop {
            tokio::select! {
                ended = &mut served => return ended,
                () = self.shutdown.cancelled(), if !is_draining => {
                    is_draining = true;
                    drain(served.as_mut());
                }
                () = &mut silent, if !has_asked => {
                    has_asked = self.asked.load(Ordering::Relaxed);
                    if !has_asked {
                        return Ok(());
                    }
                }
            }
        }
    }
}

async fn secured(stream: TcpStream, tls: Option<&Tls>, max: Duration) -> io::Result<Stream> {
    match tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => timeout(max, tls.accept(stream))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?,
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Neighbours(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// Room for one connection of an address; given back when dropped.
struct Room(Neighbours, IpAddr);

impl Neighbours {
    fn room(&self, address: IpAddr, max: usize) -> Option<Room> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if max > 0 && *count >= max {
            return None;
        }
        *count += 1;
        Some(Room(self.clone(), address))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections() {
        let neighbours = Neighbours::default();
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let rooms: Vec<_> = (0..3).map(|_| neighbours.room(here, 3).unwrap()).collect();
        assert!(neighbours.room(here, 3).is_none());
        assert!(neighbours.room(there, 3).is_some());
        assert!(neighbours.room(here, 0).is_some(), "no bound");
        drop(rooms);
        assert!(neighbours.room(here, 3).is_some());
        assert!(
            neighbours.0.lock().unwrap().is_empty(),
            "nobody is remembered"
        );
    }
}
