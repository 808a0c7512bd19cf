//! Serving: a service's routes become a [`GrpcService`], guarded in the same way whether a call comes
//! over the network or from the same process, and a port serves some of them until it is told to stop.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt, future::BoxFuture};
use http::{Request, Response};
use tokio::net::TcpListener;
use tonic::{
    body::Body,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::ServiceExt;

use crate::{
    Platform,
    auth::AccessRules,
    client::Channel,
    tls::{self, Tls},
};

pub mod deadline;
mod guard;

#[cfg(test)]
mod tests;

use guard::Guard;

/// How often a silent HTTP/2 connection is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at once on one connection. A gateway has one, and on it a stream per driver and rider.
const STREAMS_MAX: u32 = 65_536;
/// Calls given up before they were looked at, on one connection, until it counts as an attack. Phones
/// that come and go give up many.
const RESETS_MAX: usize = 1024;
/// Handshakes under way at one port.
const HANDSHAKES_MAX: usize = 256;
/// How long calls under way may go on after the process was asked to stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What answers a service's rpcs: a generated server, as it is, or tonic's routes.
pub trait Rpcs:
    tower::Service<
        Request<Body>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Rpcs for S
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
}

/// [`Rpcs`] of some kind.
type Handle = Box<
    dyn Fn(Request<Body>) -> BoxFuture<'static, Result<Response<Body>, Infallible>> + Send + Sync,
>;

/// A service behind its guard: callers are identified and let in by the rules of the API, deadlines
/// hold, panics become INTERNAL, and every call has a span. Cloning it gives the same service.
#[derive(Clone)]
pub struct GrpcService {
    name: &'static str,
    guard: Arc<Guard>,
}

impl GrpcService {
    /// The service `name` (`jitney.trips.v1.TripsService`) under the rules that the API declares.
    pub fn guard(name: &'static str, rpcs: impl Rpcs, platform: &Platform) -> Self {
        static RULES: std::sync::LazyLock<AccessRules> = std::sync::LazyLock::new(|| {
            AccessRules::from_descriptors(&jitney_proto::descriptor_pool())
        });
        let guard = Guard {
            rules: RULES.clone(),
            keys: platform.keys.clone(),
            clock: platform.clock.clone(),
            handle: Box::new(move |request| Box::pin(rpcs.clone().oneshot(request))),
        };
        Self {
            name,
            guard: Arc::new(guard),
        }
    }

    /// The service's full name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A way to call it from the same process, without a socket.
    pub fn channel(&self) -> Channel {
        Channel::in_process(self.clone())
    }
}

impl tower::Service<Request<Body>> for GrpcService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let guard = self.guard.clone();
        Box::pin(async move { Ok(guard.answer(request).await) })
    }
}

/// Listens at `address` for `what`.
///
/// # Errors
/// When the address is not one or is taken; the message says what to do about it.
pub async fn bind(address: &str, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program listens there; stop it, or configure another port"
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges; configure a higher one"
            }
            std::io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address; use 127.0.0.1 or 0.0.0.0"
            }
            _ => "an address looks like 127.0.0.1:7000",
        };
        anyhow::anyhow!("cannot listen at {address} for {what}: {error} ({advice})")
    })
}

/// Serves the services at one port, with gRPC health and reflection, until the platform is asked to
/// stop. Then health turns NOT_SERVING, no new call is let in, and those under way have ten seconds.
///
/// # Errors
/// When the port fails, or the descriptors of the API cannot be served.
pub async fn serve_grpc(
    listener: TcpListener,
    services: Vec<GrpcService>,
    platform: Platform,
) -> anyhow::Result<()> {
    serve_grpc_with(listener, services, platform, None).await
}

/// As [`serve_grpc`], with TLS where there is some: callers need a certificate of its authority.
///
/// # Errors
/// As there.
pub async fn serve_grpc_with(
    listener: TcpListener,
    services: Vec<GrpcService>,
    platform: Platform,
    tls: Option<Arc<Tls>>,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let names: Vec<_> = services.iter().map(GrpcService::name).collect();
    for name in &names {
        health
            .set_service_status(name, ServingStatus::Serving)
            .await;
    }
    let reflect = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(jitney_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::new(health_service)
        .add_service(
            reflect()
                .build_v1()
                .context("reflection cannot be served")?,
        )
        .add_service(
            reflect()
                .build_v1alpha()
                .context("reflection cannot be served")?,
        )
        .into_axum_router();
    for service in services {
        let path = format!("/{}/{{*method}}", service.name);
        let service =
            service.map_request(|request: Request<axum::body::Body>| request.map(Body::new));
        routes = routes.route_service(&path, service);
    }

    let (drained, drain) = tokio::sync::oneshot::channel();
    let shutdown = platform.shutdown.clone();
    let stop = async move {
        shutdown.cancelled().await;
        not_serving(&health, &names).await;
        // The receiver is gone only when serving failed, and then nobody waits.
        let _ = drained.send(());
    };
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(STREAMS_MAX))
        .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
        .add_routes(Routes::from(routes).prepare())
        .serve_with_incoming_shutdown(incoming(listener, tls), stop);
    let overtime = async {
        if drain.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(DRAIN_MAX).await;
    };
    tokio::select! {
        served = server => served.context("the gRPC port failed"),
        () = overtime => {
            tracing::warn!("calls were still under way {DRAIN_MAX:?} after the stop; cut off");
            Ok(())
        }
    }
}

/// The connections of a port. Handshakes go on beside each other: one that is slow holds up nobody.
fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
) -> impl futures::Stream<Item = std::io::Result<tls::Stream>> {
    let plain = TcpIncoming::from(listener).with_nodelay(Some(true));
    plain
        .map(move |accepted| {
            let tls = tls.clone();
            async move {
                match (accepted, tls) {
                    (Ok(stream), Some(tls)) => match tls.accept(stream).await {
                        Ok(stream) => Some(Ok(stream)),
                        Err(error) => {
                            tracing::debug!(%error, "a handshake failed");
                            None
                        }
                    },
                    (accepted, _) => Some(accepted.map(tls::Stream::Plain)),
                }
            }
        })
        .buffer_unordered(HANDSHAKES_MAX)
        .filter_map(async |stream| stream)
}

async fn not_serving(health: &HealthReporter, names: &[&str]) {
    for name in names.iter().chain([&""]) {
        health
            .set_service_status(name, ServingStatus::NotServing)
            .await;
    }
}
