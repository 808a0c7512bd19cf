//! Travel times from many places to many others: a whole matrix.
//!
//! What [`TargetSearch`](crate::TargetSearch) works out for one target as it is asked, this works out
//! for several targets in one pass: the ancestors of all sources are collected once, with the up-arcs
//! between them, in the order of their ranks. For each target its own search upwards is done, and then
//! one sweep over those ancestors from the highest down gives the times of all sources; several targets
//! share a sweep, side by side, so that each look at an up-arc serves them all. (Delling, Goldberg and
//! Werneck: *Faster batched shortest paths in road networks*, 2011; there over contraction hierarchies.)

use crate::RoadNetwork;
use crate::hierarchy::{NONE, Sense, UNREACHABLE_MS};
use crate::snap::Snap;
use crate::travel::Climb;

/// Targets that share a sweep.
const LANES: usize = 8;
/// Not reached; two of them and a bit still fit.
const FAR_MS: i32 = i32::MAX / 2;

/// Sources whose travel times to any targets can be asked for. Owns its scratch space.
pub struct SourceSet {
    network: RoadNetwork,
    sources: Vec<Snap>,
    /// Where the sources' drives begin: for each, places among the ancestors and times.
    begins: Vec<Vec<(u32, i32)>>,
    /// By rank: its place among the ancestors, highest first, or [`NONE`].
    place_of: Vec<u32>,
    /// Up-arcs of the ancestors in order, as the place of the upper end and the time; those of place
    /// `p` are `first[p]..first[p + 1]`.
    up_arcs: Vec<(u32, i32)>,
    first: Vec<u32>,
    climb: Climb,
    times: Vec<[i32; LANES]>,
}

impl SourceSet {
    /// Prepares a set of sources.
    #[must_use]
    pub fn new(network: RoadNetwork, sources: &[Snap]) -> Self {
        let hierarchy = &network.topology.hierarchy;
        let mut is_wanted = vec![false; network.approach_count()];
        for source in sources {
            for stub in network.stubs_out(source) {
                let mut next = Some(hierarchy.rank(stub.approach));
                while let Some(rank) = next {
                    if std::mem::replace(&mut is_wanted[rank as usize], true) {
                        break;
                    }
                    next = hierarchy.parent(rank);
                }
            }
        }
        let mut place_of = vec![NONE; network.approach_count()];
        let (mut up_arcs, mut first) = (Vec::new(), vec![0]);
        let wanted = (0..is_wanted.len()).rev().filter(|&rank| is_wanted[rank]);
        for (place, rank) in (0..).zip(wanted) {
            place_of[rank] = place;
            // An ancestor of a wanted rank is wanted, and ranks higher: it has its place by now.
            for up_arc in network.metric.up_arcs(Sense::Up).of(rank as u32) {
                up_arcs.push((place_of[up_arc.upper as usize], signed(up_arc.time_ms)));
            }
            first.push(up_arcs.len() as u32);
        }
        let begins = sources
            .iter()
            .map(|source| {
                let stubs = network.stubs_out(source);
                stubs
                    .map(|stub| {
                        let rank = hierarchy.rank(stub.approach);
                        (place_of[rank as usize], signed(stub.time_ms))
                    })
                    .collect()
            })
            .collect();
        let climb = Climb::new(network.approach_count());
        Self {
            sources: sources.to_vec(),
            begins,
            place_of,
            times: vec![[FAR_MS; LANES]; first.len() - 1],
            up_arcs,
            first,
            climb,
            network,
        }
    }

    /// Fastest travel times in milliseconds: for each target, of each source in order; `None` where
    /// there is no way.
    pub fn times_to(&mut self, targets: &[Snap]) -> Vec<Vec<Option<u32>>> {
        let mut all = Vec::with_capacity(targets.len());
        for targets in targets.chunks(LANES) {
            self.sweep(targets);
            all.extend(
                targets
                    .iter()
                    .enumerate()
                    .map(|(lane, target)| self.read(lane, target)),
            );
        }
        all
    }

    /// Works out the times of all ancestors to these targets, a lane each.
    fn sweep(&mut self, targets: &[Snap]) {
        self.times.fill([FAR_MS; LANES]);
        for (lane, target) in targets.iter().enumerate() {
            let stubs = self.network.stubs_in(target);
            self.climb.run(&self.network, Sense::Down, stubs);
            for &rank in self.climb.ranks() {
                let (place, time_ms) = (self.place_of[rank as usize], self.climb.time_ms(rank));
                if place != NONE && time_ms < UNREACHABLE_MS {
                    self.times[place as usize][lane] = signed(time_ms);
                }
            }
        }
        for place in 0..self.times.len() {
            let (higher, rest) = self.times.split_at_mut(place);
            let own = &mut rest[0];
            let up_arcs = self.first[place] as usize..self.first[place + 1] as usize;
            for &(upper, time_ms) in &self.up_arcs[up_arcs] {
                let upper = &higher[upper as usize];
                for lane in 0..LANES {
                    own[lane] = own[lane].min(upper[lane] + time_ms);
                }
            }
        }
    }

    fn read(&self, lane: usize, target: &Snap) -> Vec<Option<u32>> {
        let time = |(source, begins): (&Snap, &Vec<(u32, i32)>)| {
            let across = begins
                .iter()
                .map(|&(place, time_ms)| self.times[place as usize][lane].saturating_add(time_ms))
                .min()
                .filter(|&time_ms| time_ms < FAR_MS)
                .and_then(|time_ms| u32::try_from(time_ms).ok());
            let along = self.network.time_along_segment_ms(source, target);
            across.into_iter().chain(along).min()
        };
        self.sources.iter().zip(&self.begins).map(time).collect()
    }
}

/// A time as the sweep adds it up.
fn signed(time_ms: u32) -> i32 {
    i32::try_from(time_ms).map_or(FAR_MS, |time_ms| time_ms.min(FAR_MS))
}
