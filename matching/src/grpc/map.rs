//! ReloadMap: another map under everything, while it runs.

use std::sync::Arc;

use jitney_proto::matching::v1 as wire;
use tonic::Status;

use crate::{
    dispatch::{Ground, Moved},
    error::Refusal,
    metrics,
    service::{City, Service},
    traffic::LiveTraffic,
};

/// Opens the configured map and moves onto it, if it is another. Runs to its end even when the caller
/// goes away; who calls meanwhile waits.
pub async fn reload(service: &Arc<Service>) -> Result<wire::ReloadMapResponse, Status> {
    let service = Arc::clone(service);
    let reloaded = tokio::spawn(async move { reload_to_the_end(&service).await });
    match reloaded.await {
        Ok(answer) => answer.map_err(Status::from),
        Err(error) => Err(jitney_platform::status::internal(error)),
    }
}

async fn reload_to_the_end(service: &Arc<Service>) -> Result<wire::ReloadMapResponse, Refusal> {
    let _turn = service.map_turn.lock().await;
    let opener = Arc::clone(service);
    let opened = tokio::task::spawn_blocking(move || {
        let roads = Arc::new((opener.open_map)()?);
        let before = opener.ground();
        if before.roads.id() == roads.id() {
            return Ok((before, None));
        }
        let ground = Arc::new(Ground::new(opener.config.clone(), roads));
        ground.nearest.tighten();
        Ok((before, Some(ground)))
    });
    let unusable = |error: anyhow::Error| {
        metrics::map_reloaded("unusable");
        tracing::warn!(
            error = format!("{error:#}"),
            "the map could not be reloaded"
        );
        Refusal::MapUnusable(format!("{error:#}"))
    };
    let opened = opened.await.unwrap_or_else(|error| Err(error.into()));
    let (before, other) = opened.map_err(unusable)?;
    let Some(ground) = other else {
        metrics::map_reloaded("unchanged");
        return Ok(answer(&before, None));
    };
    // What was learnt of the old map is there when it comes back.
    service.save_traffic().await;
    let traffic = LiveTraffic::load(&ground, service.store(), service.clock.now())
        .await
        .map_err(unusable)?;
    let (mover, city) = (
        Arc::clone(service),
        City {
            ground: Arc::clone(&ground),
            traffic: Arc::new(traffic),
        },
    );
    let moved = tokio::task::spawn_blocking(move || {
        let resnapped = mover.look().resnap(&city.ground);
        mover.move_to(city, &resnapped)
    });
    let moved = moved.await.map_err(|error| unusable(error.into()))?;
    metrics::map_reloaded("changed");
    metrics::map_changed("driver off the map", moved.drivers_off_map);
    metrics::map_changed("search off the map", moved.searches_ended);
    tracing::info!(
        map = ground.roads.name(),
        before = %before.roads.id(),
        now = %ground.roads.id(),
        drivers_off_map = moved.drivers_off_map,
        searches_ended = moved.searches_ended,
        "the map was changed"
    );
    Ok(answer(&ground, Some(moved)))
}

fn answer(ground: &Ground, moved: Option<Moved>) -> wire::ReloadMapResponse {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let all = moved.unwrap_or_default();
    wire::ReloadMapResponse {
        map_id: ground.roads.id().to_string(),
        map_name: ground.roads.name().to_owned(),
        is_changed: moved.is_some(),
        drivers_off_map: count(all.drivers_off_map),
        searches_ended: count(all.searches_ended),
    }
}
