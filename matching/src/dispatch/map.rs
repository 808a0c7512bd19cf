//! Moving onto another map.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jitney_proto::{ids::TripId, matching::v1::MatchEndReason};
use jitney_roads::Facing;

use super::{Dispatch, Ground};
use crate::{fleet::DriverKey, meter::Meters, metrics, ping::Fix, traffic::Observations};

/// Where drivers stood, and where that is on another map; by driver.
pub struct Resnapped(Vec<Option<(Fix, Option<Fix>)>>);

/// What did not come along onto another map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Drivers who stand nowhere on it.
    pub drivers_off_map: usize,
    /// Searches that ended, because their pick-up is not on it.
    pub searches_ended: usize,
}

impl Dispatch {
    /// Looks everybody up on another map. The long part of moving there, and needs no more than a look.
    pub fn resnap(&self, ground: &Ground) -> Resnapped {
        let of = |(_, driver): (DriverKey, &crate::fleet::Driver)| {
            driver.fix.map(|fix| (fix, ground.resnap(&fix)))
        };
        Resnapped(self.fleet.iter().map(of).collect())
    }

    /// Stands on another map from now on. Whoever has moved since they were looked up is looked up here.
    pub fn move_to(
        &mut self,
        ground: Arc<Ground>,
        resnapped: &Resnapped,
        now: DateTime<Utc>,
    ) -> Moved {
        let looked_up = |key: DriverKey, fix: &Fix| match resnapped.0.get(key.index()) {
            Some(Some((before, there))) if before == fix => *there,
            _ => ground.resnap(fix),
        };
        let cell_m = ground.config.cell_m;
        let drivers_off_map = self.fleet.move_to(&ground.roads, cell_m, looked_up);
        let mut homeless: Vec<TripId> = Vec::new();
        for (trip, search) in &mut self.searches {
            let errand = &mut search.errand;
            match ground.snap(errand.places.pickup) {
                Ok(pickup) => errand.pickup = pickup,
                Err(_) => homeless.push(*trip),
            }
            let dropoff = errand.places.dropoff;
            errand.dropoff = dropoff.and_then(|place| ground.snap(place).ok());
            search.look_again_at = None;
        }
        metrics::map_changed("observation", self.observations.take().len());
        self.observations = Observations::new(&ground.config.traffic);
        // They are on the roads of the other map.
        self.meters = Meters::new(&ground.config);
        self.ground = ground;
        for trip in &homeless {
            self.end_search(*trip, Some(MatchEndReason::NoDriver), now);
        }
        self.rouse.notify_one();
        Moved {
            drivers_off_map,
            searches_ended: homeless.len(),
        }
    }
}

impl Ground {
    /// A position on another map, here; `None` when no road is near.
    fn resnap(&self, fix: &Fix) -> Option<Fix> {
        let reach_m = self.config.snap_distance_max_m;
        let driving = fix
            .heading_deg
            .filter(|_| fix.snap.facing != Facing::Either);
        let snap = match driving {
            Some(deg) => self.roads.snap_driving(fix.place, f64::from(deg), reach_m),
            None => self.roads.snap(fix.place, reach_m),
        };
        Some(Fix {
            snap: snap.ok()?,
            ..*fix
        })
    }
}
