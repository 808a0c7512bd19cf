//! What needs no token: whether the gateway lives, whether it is of use, and what it serves.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use futures::future::join_all;
use jitney_platform::client::Channel;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{auth::Gate, route::Routes, route::Shape, upstream::Upstream};

/// How long a service may take to say that it is well.
const ASKED_MAX: Duration = Duration::from_secs(1);
/// How long an answer is taken for true: asking us often must not mean asking the services often.
const KEPT: Duration = Duration::from_secs(1);

/// Asks the services whether they are of use.
#[derive(Debug)]
pub struct Readiness {
    upstream: Arc<Upstream>,
    last: Mutex<Option<(Instant, Report)>>,
}

#[derive(Clone, Debug)]
struct Report {
    ready: bool,
    services: BTreeMap<String, &'static str>,
}

impl Readiness {
    /// Asks these.
    pub fn of(upstream: Arc<Upstream>) -> Readiness {
        Readiness {
            upstream,
            last: Mutex::default(),
        }
    }

    /// 200 when every service answers, else 503; which ones do not is in the body.
    pub async fn answer(&self, stopping: bool) -> (StatusCode, Value) {
        let report = self.report().await;
        let ready = report.ready && !stopping;
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (
            status,
            json!({"ready": ready, "stopping": stopping, "services": report.services}),
        )
    }

    async fn report(&self) -> Report {
        // Whoever comes meanwhile waits here and takes the same answer.
        let mut last = self.last.lock().await;
        if let Some((asked, report)) = &*last
            && asked.elapsed() < KEPT
        {
            return report.clone();
        }
        let asked = self
            .upstream
            .services()
            .map(|(service, channel)| async move {
                (service.to_owned(), state(service, channel.clone()).await)
            });
        let services: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
        let report = Report {
            ready: services.values().all(|state| *state == "ok"),
            services,
        };
        *last = Some((Instant::now(), report.clone()));
        report
    }
}

async fn state(service: &str, channel: Channel) -> &'static str {
    let mut client = HealthClient::new(channel);
    let asked = client.check(HealthCheckRequest {
        service: service.to_owned(),
    });
    match timeout(ASKED_MAX, asked).await {
        Err(_) => "no answer",
        Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => "ok",
        Ok(Ok(_)) => "not serving",
        Ok(Err(status)) => match status.code() {
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded => "unreachable",
            // A service in the same process has no health rpc beside it; it did answer.
            _ => "ok",
        },
    }
}

/// Every route: verb, path, rpc, form of its messages, and who may call.
pub fn index(routes: &Routes, gate: &Gate) -> Value {
    let routes: Vec<_> = routes
        .all()
        .iter()
        .map(|binding| {
            let form = match binding.rpc.shape {
                Shape::Unary => "json",
                Shape::ServerStream => "events",
                Shape::ClientStream | Shape::Bidirectional => "websocket",
            };
            json!({
                "method": binding.method.as_str(),
                "path": binding.template.to_string(),
                "rpc": binding.rpc.name,
                "form": form,
                "roles": gate.roles(binding.rpc.path.as_str()),
            })
        })
        .collect();
    json!({"name": "jitney", "routes": routes})
}
