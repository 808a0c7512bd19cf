//! Many snaps, one place: travel times of a whole fleet to a pick-up, or from one.
//!
//! The place's own search through the hierarchy is done once, by `aim`. After that the time of any
//! approach is the best over its up-arcs of the arc plus the time of its upper end, an ancestor; so an
//! approach costs its own up-arcs once all its ancestors are known, and every ancestor stays known
//! until the next `aim`. Fleets share most of their ancestors, which makes the average driver
//! cheaper than a search of its own by an order of magnitude.

use crate::RoadNetwork;
use crate::hierarchy::{Sense, UNREACHABLE_MS};
use crate::snap::Snap;
use crate::travel::Stub;

/// Travel times from many snaps to one target. Owns its scratch space: keep one per thread, aim it
/// again and again. Nothing is reset between aims.
pub struct TargetSearch {
    network: RoadNetwork,
    target: Option<Snap>,
    times: LazyTimes,
}

impl TargetSearch {
    /// A search on that network, aimed nowhere yet.
    #[must_use]
    pub fn new(network: RoadNetwork) -> Self {
        let times = LazyTimes::new(network.approach_count(), Sense::Up);
        Self {
            network,
            target: None,
            times,
        }
    }

    /// Sets the target of the times asked for next.
    pub fn aim(&mut self, target: &Snap) {
        self.target = Some(*target);
        self.times.aim(&self.network, self.network.stubs_in(target));
    }

    /// Fastest travel time from a snap to the target in milliseconds; `None` when there is no way
    /// or the search was not aimed.
    pub fn time_from(&mut self, source: &Snap) -> Option<u32> {
        let target = self.target.as_ref()?;
        let along = self.network.time_along_segment_ms(source, target);
        let across = self
            .times
            .best(&self.network, self.network.stubs_out(source));
        along.into_iter().chain(across).min()
    }

    /// Goes on with the same roads under other travel times; the next aim counts. Costs nothing.
    ///
    /// # Panics
    /// When it is another map.
    pub fn rebind(&mut self, network: RoadNetwork) {
        assert_eq!(self.network.id(), network.id(), "the roads are the same");
        self.network = network;
    }

    /// The network it searches.
    #[must_use]
    pub fn network(&self) -> &RoadNetwork {
        &self.network
    }
}

/// Travel times from one source to many snaps; [`TargetSearch`] the other way round.
pub struct SourceSearch {
    network: RoadNetwork,
    source: Option<Snap>,
    times: LazyTimes,
}

impl SourceSearch {
    /// A search on that network, aimed nowhere yet.
    #[must_use]
    pub fn new(network: RoadNetwork) -> Self {
        let times = LazyTimes::new(network.approach_count(), Sense::Down);
        Self {
            network,
            source: None,
            times,
        }
    }

    /// Sets the source of the times asked for next.
    pub fn aim(&mut self, source: &Snap) {
        self.source = Some(*source);
        self.times
            .aim(&self.network, self.network.stubs_out(source));
    }

    /// Fastest travel time from the source to a snap in milliseconds; `None` when there is no way
    /// or the search was not aimed.
    pub fn time_to(&mut self, target: &Snap) -> Option<u32> {
        let source = self.source.as_ref()?;
        let along = self.network.time_along_segment_ms(source, target);
        let across = self
            .times
            .best(&self.network, self.network.stubs_in(target));
        along.into_iter().chain(across).min()
    }

    /// The network it searches.
    #[must_use]
    pub fn network(&self) -> &RoadNetwork {
        &self.network
    }
}

/// Times between all approaches and one place, each worked out when first asked for.
struct LazyTimes {
    /// How up-arcs are driven on the approaches' side: up towards a target, down from a source.
    sense: Sense,
    /// The current aim; an entry of `known` stamped otherwise is left over from an earlier one.
    generation: u32,
    known: Vec<Known>,
    /// Ranks to work out next, lowest first; empty between calls.
    pending: Vec<u32>,
    /// Where the search from the place begins: ranks and times.
    begin: Vec<(u32, u32)>,
    climbing: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Known {
    generation: u32,
    time_ms: u32,
}

impl LazyTimes {
    fn new(approaches: usize, sense: Sense) -> Self {
        let unknown = Known {
            generation: 0,
            time_ms: UNREACHABLE_MS,
        };
        Self {
            sense,
            generation: 0,
            known: vec![unknown; approaches],
            pending: Vec::new(),
            begin: Vec::new(),
            climbing: Vec::new(),
        }
    }

    /// Forgets the last place and searches upwards from the stubs of the next.
    fn aim(&mut self, network: &RoadNetwork, stubs: impl Iterator<Item = Stub>) {
        self.next_generation();
        let hierarchy = &network.topology.hierarchy;
        let towards_place = network.metric.up_arcs(match self.sense {
            Sense::Up => Sense::Down,
            Sense::Down => Sense::Up,
        });
        self.begin.clear();
        self.climbing.clear();
        self.pending.clear();
        for stub in stubs {
            let rank = hierarchy.rank(stub.approach);
            self.begin.push((rank, stub.time_ms));
            if !self.climbing.contains(&rank) {
                self.climbing.push(rank);
            }
        }
        let mut climbing = std::mem::take(&mut self.climbing);
        hierarchy.each_ancestor(&mut climbing, |rank| {
            self.pending.push(rank);
            self.learn(rank, UNREACHABLE_MS);
        });
        self.climbing = climbing;
        for &(rank, time_ms) in &self.begin {
            let known = &mut self.known[rank as usize].time_ms;
            *known = time_ms.min(*known);
        }
        for &rank in &self.pending {
            let time_ms = self.known[rank as usize].time_ms;
            for up_arc in towards_place.of(rank) {
                let known = &mut self.known[up_arc.upper as usize].time_ms;
                *known = (*known).min(time_ms.saturating_add(up_arc.time_ms));
            }
        }
        // What was found climbing is an upper bound; now let every way over the top count too.
        self.settle_pending(network);
    }

    /// The best time over the stubs.
    fn best(&mut self, network: &RoadNetwork, stubs: impl Iterator<Item = Stub>) -> Option<u32> {
        let mut best = UNREACHABLE_MS;
        for stub in stubs {
            let rank = network.topology.hierarchy.rank(stub.approach);
            best = best.min(self.time(network, rank).saturating_add(stub.time_ms));
        }
        (best < UNREACHABLE_MS).then_some(best)
    }

    fn time(&mut self, network: &RoadNetwork, rank: u32) -> u32 {
        let mut next = Some(rank);
        while let Some(rank) = next {
            if self.known[rank as usize].generation == self.generation {
                break;
            }
            self.pending.push(rank);
            next = network.topology.hierarchy.parent(rank);
        }
        self.settle_pending(network);
        self.known[rank as usize].time_ms
    }

    /// Works out the pending ranks from the highest down. Those that have a time already begin with it.
    fn settle_pending(&mut self, network: &RoadNetwork) {
        let up_arcs = network.metric.up_arcs(self.sense);
        while let Some(rank) = self.pending.pop() {
            let known = &self.known[..];
            let own = known[rank as usize];
            let mut best = if own.generation == self.generation {
                own.time_ms
            } else {
                UNREACHABLE_MS
            };
            for up_arc in up_arcs.of(rank) {
                let upper_ms = known[up_arc.upper as usize].time_ms;
                best = best.min(upper_ms.saturating_add(up_arc.time_ms));
            }
            self.learn(rank, best);
        }
    }

    fn learn(&mut self, rank: u32, time_ms: u32) {
        self.known[rank as usize] = Known {
            generation: self.generation,
            time_ms,
        };
    }

    fn next_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Stamps of four thousand million aims ago would look fresh.
            self.known.fill(Known {
                generation: 0,
                time_ms: UNREACHABLE_MS,
            });
            self.generation = 1;
        }
    }
}
