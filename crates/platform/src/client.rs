//! Calling: one channel type, whether the other service is across the network or in this process, so
//! that whoever calls need not know.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use hyper_util::rt::TokioIo;
use jitney_proto::Code;
use tokio::net::TcpStream;
use tonic::{
    Status,
    body::Body,
    transport::{self, Endpoint},
};
use tower::ServiceExt;
use tracing::Instrument;

use crate::{
    auth::{Role, TokenKeys},
    clock::Clock,
    rpc::{self, Call, Side},
    serve::GrpcService,
    tls::Tls,
};

/// How long connecting may take before the call is refused as UNAVAILABLE.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a silent connection is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a service's own token is good for.
const TOKEN_TTL: Duration = Duration::from_secs(600);
/// How long before it expires a new one is made.
const TOKEN_RENEWAL: TimeDelta = TimeDelta::seconds(120);

/// A way to another service: give it to a generated client. Cloning it gives the same way.
#[derive(Clone)]
pub struct Channel(Arc<Way>);

struct Way {
    transport: Transport,
    identity: Option<Identity>,
}

#[derive(Clone)]
enum Transport {
    Remote(transport::Channel, Arc<str>),
    InProcess(GrpcService),
}

impl Channel {
    /// A way over the network to `uri`, for example `http://trips:7001`. It connects at the first
    /// call and again whenever the connection is lost. Needs a Tokio runtime around it.
    ///
    /// # Errors
    /// When `uri` is not one.
    pub fn remote(uri: &str) -> anyhow::Result<Self> {
        let channel = endpoint(uri)?.connect_lazy();
        Ok(Self::by(Transport::Remote(channel, uri.into())))
    }

    /// As [`Channel::remote`], to an `https://` address: with our certificate, to a server that has one
    /// of our authority's for its name.
    ///
    /// # Errors
    /// When `uri` is not one.
    pub fn remote_tls(uri: &str, tls: Arc<Tls>) -> anyhow::Result<Self> {
        let rest = uri.strip_prefix("https://").with_context(|| {
            format!("{uri:?} is not an address like https://host:port, and there is a certificate")
        })?;
        // The connector makes the connection secure; what goes over it need not know.
        let endpoint = endpoint(&format!("http://{rest}"))?;
        let connector = tower::service_fn(move |uri: http::Uri| {
            let tls = tls.clone();
            async move {
                let host = uri.host().unwrap_or_default().to_owned();
                let port = uri.port_u16().unwrap_or(443);
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let stream = TcpStream::connect((bare, port)).await?;
                stream.set_nodelay(true)?;
                tls.connect(&host, stream).await.map(TokioIo::new)
            }
        });
        let channel = endpoint.connect_with_connector_lazy(connector);
        Ok(Self::by(Transport::Remote(channel, uri.into())))
    }

    /// A way to a service in this process: no socket, no bytes copied to and fro, the same guard.
    pub fn in_process(service: GrpcService) -> Self {
        Self::by(Transport::InProcess(service))
    }

    fn by(transport: Transport) -> Self {
        Self(Arc::new(Way {
            transport,
            identity: None,
        }))
    }

    /// The same way, where a request that carries no token gets one of service `id`.
    #[must_use]
    pub fn with_service_token(self, keys: Arc<TokenKeys>, clock: Clock, id: &str) -> Self {
        let identity = Identity {
            keys,
            clock,
            id: id.to_owned(),
            current: Mutex::default(),
        };
        Self(Arc::new(Way {
            transport: self.0.transport.clone(),
            identity: Some(identity),
        }))
    }

    async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        let uri = request.uri().clone();
        let call = Call::begin(Side::Client, uri.path());
        let response = match self.sign(&mut request) {
            Ok(()) => {
                rpc::inject(&call.span, request.headers_mut());
                self.send(request, uri.path())
                    .instrument(call.span.clone())
                    .await
            }
            Err(status) => status.into_http(),
        };
        call.follow(response)
    }

    #[allow(clippy::result_large_err)] // Status is what the caller is answered.
    fn sign(&self, request: &mut Request<Body>) -> Result<(), Status> {
        if let Some(identity) = &self.0.identity
            && !request.headers().contains_key(AUTHORIZATION)
        {
            let token = identity.token().map_err(crate::status::internal)?;
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        Ok(())
    }

    async fn send(&self, request: Request<Body>, path: &str) -> Response<Body> {
        match &self.0.transport {
            Transport::InProcess(service) => match service.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Transport::Remote(channel, uri) => match channel.clone().oneshot(request).await {
                Ok(response) => response,
                Err(error) => failure(error, path, uri).into_http(),
            },
        }
    }
}

/// How a service is reached, whichever way the connection is made.
fn endpoint(uri: &str) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(uri.to_owned())
        .with_context(|| format!("{uri:?} is not an address like http://host:port"))?;
    anyhow::ensure!(
        endpoint.uri().scheme().is_some() && endpoint.uri().host().is_some(),
        "{uri:?} is not an address like http://host:port"
    );
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// What the caller hears when the transport has failed it.
fn failure(error: transport::Error, path: &str, uri: &str) -> Status {
    let service = path.split('/').nth(1).unwrap_or(path);
    let mut cause: &(dyn std::error::Error + 'static) = &error;
    let mut timed_out = cause.is::<tonic::TimeoutExpired>();
    while let Some(deeper) = cause.source() {
        cause = deeper;
        timed_out |= cause.is::<tonic::TimeoutExpired>();
    }
    if timed_out {
        return Code::DeadlineExceeded.status(format!("{service} did not answer in time"));
    }
    tracing::warn!(service, uri, error = %cause, "call failed");
    Code::Unavailable.status(format!("{service} cannot be reached; try again later"))
}

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, tower::BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), tower::BoxError>> {
        // The transport is waited for inside the call, so that the wait is part of its span.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let channel = self.clone();
        Box::pin(async move { Ok(channel.answer(request).await) })
    }
}

/// Who a service says it is, and the token that proves it.
struct Identity {
    keys: Arc<TokenKeys>,
    clock: Clock,
    id: String,
    current: Mutex<Option<(HeaderValue, DateTime<Utc>)>>,
}

impl Identity {
    fn token(&self) -> anyhow::Result<HeaderValue> {
        let now = self.clock.now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, renewal)) = &*current
            && now < *renewal
        {
            return Ok(value.clone());
        }
        let token = self.keys.mint(Role::Service, &self.id, TOKEN_TTL, now)?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
        value.set_sensitive(true);
        let renewal = now + TOKEN_TTL - TOKEN_RENEWAL;
        *current = Some((value.clone(), renewal));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_token_is_renewed_before_it_expires() {
        let keys = Arc::new(TokenKeys::generate());
        let (clock, hand) = Clock::manual(DateTime::UNIX_EPOCH);
        let identity = Identity {
            keys: keys.clone(),
            clock: clock.clone(),
            id: "trips".to_owned(),
            current: Mutex::default(),
        };
        let mut made = vec![identity.token().unwrap()];
        for _ in 0..20 {
            hand.advance(Duration::from_secs(60));
            let value = identity.token().unwrap();
            assert!(value.is_sensitive());
            let token = value
                .to_str()
                .unwrap()
                .strip_prefix("Bearer ")
                .unwrap()
                .to_owned();
            assert!(keys.verify(&token, clock.now()).is_ok());
            if made.last() != Some(&value) {
                made.push(value);
            }
        }
        assert_eq!(made.len(), 3, "one every eight minutes");
    }
}
