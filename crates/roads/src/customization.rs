//! Customization: the time of every up-arc, driven either way, from those of the turns.
//!
//! An up-arc takes as long as the fastest of its own turns and of the ways over ranks below both its ends
//! (Dibbelt, Strasser and Wagner, *Customizable Contraction Hierarchies*, 2016). Those are the up-arcs of
//! ranks further down the same branch of the elimination tree. So branches are customized side by side,
//! each from its lowest rank to its highest: what is read was written shortly before, and nobody waits
//! for a whole level of the tree as `cch` has it, whose times are the same.
//!
//! The order of contraction puts a branch's ranks next to each other, and with them its up-arcs. A branch
//! is then a part of the arrays that no other one touches.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use crate::hierarchy::{Hierarchy, NONE, Sense, UNREACHABLE_MS};

/// Branches with fewer up-arcs than this are not taken apart: they are done sooner than handed on.
const PART_UP_ARCS: usize = 16_384;

/// Which ranks are a branch of the elimination tree.
pub(crate) struct Branches {
    /// By rank: the lowest of those at and below it in the tree, where they are all from there to the rank;
    /// else [`NONE`].
    begins: Vec<u32>,
}

impl Branches {
    /// From each rank's parent in the elimination tree.
    pub fn of(parents: &[u32]) -> Self {
        let mut begins: Vec<u32> = (0..parents.len() as u32).collect();
        let mut sizes = vec![1_u32; parents.len()];
        for (rank, &parent) in parents.iter().enumerate() {
            // Children come first, so nothing is added to this one any more.
            if parent != NONE {
                let parent = parent as usize;
                sizes[parent] += sizes[rank];
                begins[parent] = begins[parent].min(begins[rank]);
            }
        }
        for (rank, (begin, size)) in (0..).zip(begins.iter_mut().zip(sizes)) {
            if rank + 1 - *begin != size {
                *begin = NONE;
            }
        }
        Self { begins }
    }

    /// Where the ranks begin that have all the others of these below them.
    fn stem(&self, ranks: &Range<u32>) -> u32 {
        let is_above_all = |rank: &u32| self.begins[*rank as usize] == ranks.start;
        let above = ranks.clone().rev().take_while(is_above_all);
        ranks.end - above.count() as u32
    }

    /// A rank, neither end of these, where one branch of them ends and the next begins: the one nearest to
    /// `middle`.
    fn cut(&self, ranks: &Range<u32>, middle: u32) -> Option<u32> {
        let mut nearest = None;
        let mut end = ranks.end;
        while end > ranks.start {
            let begin = self.begins[end as usize - 1];
            if begin == NONE || begin <= ranks.start {
                break;
            }
            if nearest.is_none_or(|cut: u32| begin.abs_diff(middle) < cut.abs_diff(middle)) {
                nearest = Some(begin);
            }
            if begin < middle {
                break;
            }
            end = begin;
        }
        nearest
    }
}

/// Times of the up-arcs of ranks next to each other, driven up and driven down.
struct Part<'a> {
    /// Number of the first up-arc.
    first: usize,
    up: &'a mut [u32],
    down: &'a mut [u32],
}

impl Part<'_> {
    /// Those before an up-arc, and those from it on.
    fn split(&mut self, up_arc: usize) -> (Part<'_>, Part<'_>) {
        let middle = up_arc - self.first;
        let (up, up_after) = self.up.split_at_mut(middle);
        let (down, down_after) = self.down.split_at_mut(middle);
        let before = Part {
            first: self.first,
            up,
            down,
        };
        let after = Part {
            first: up_arc,
            up: up_after,
            down: down_after,
        };
        (before, after)
    }
}

thread_local! {
    /// By rank: the place, among the up-arcs of the rank in hand, of the one that leads there.
    static PLACE_OF: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// The times of all up-arcs under those of the turns, on as many threads as `rayon` has.
pub(crate) fn customize(hierarchy: &Hierarchy, turn_times_ms: &[u32]) -> cch::Metric {
    let count = hierarchy.cch.up_head.len();
    let mut forward = vec![UNREACHABLE_MS; count];
    let mut backward = vec![UNREACHABLE_MS; count];
    let all = Part {
        first: 0,
        up: &mut forward,
        down: &mut backward,
    };
    let work = Work {
        hierarchy,
        turn_times_ms,
    };
    work.branches(0..hierarchy.cch.node_count() as u32, all);
    cch::Metric { forward, backward }
}

/// What is the same for all of a customization.
struct Work<'a> {
    hierarchy: &'a Hierarchy,
    turn_times_ms: &'a [u32],
}

impl Work<'_> {
    /// Customizes ranks that nobody is below but each other.
    fn branches(&self, ranks: Range<u32>, mut part: Part<'_>) {
        if part.up.len() <= PART_UP_ARCS {
            return self.one_by_one(ranks, &mut part);
        }
        let branches = &self.hierarchy.branches;
        let stem = branches.stem(&ranks);
        let half = part.first + part.up.len() / 2;
        let first_out = &self.hierarchy.cch.up_first_out;
        let middle = first_out.partition_point(|&first| (first as usize) < half) as u32;
        let Some(cut) = branches.cut(&(ranks.start..stem), middle) else {
            return self.one_by_one(ranks, &mut part);
        };
        let (mut below, _) = part.split(first_out[stem as usize] as usize);
        let (left, right) = below.split(first_out[cut as usize] as usize);
        rayon::join(
            || self.branches(ranks.start..cut, left),
            || self.branches(cut..stem, right),
        );
        self.stem(stem..ranks.end, &mut part);
    }

    /// Customizes ranks from the lowest to the highest.
    fn one_by_one(&self, ranks: Range<u32>, part: &mut Part<'_>) {
        for rank in ranks {
            let (below, mut own) = part.split(self.first_of(rank));
            self.begin(rank, &mut own);
            self.over(rank, 0..rank, &below, &mut own);
        }
    }

    /// Customizes ranks each of which is below the next: the ways over what is below all of them for each
    /// by itself, those over one another in order.
    fn stem(&self, ranks: Range<u32>, part: &mut Part<'_>) {
        let (below, mut rest) = part.split(self.first_of(ranks.start));
        let mut each = Vec::with_capacity(ranks.len());
        for rank in ranks.clone() {
            let end = self.first_of(rank + 1) - rest.first;
            let first = rest.first;
            let (up, up_after) = rest.up.split_at_mut(end);
            let (down, down_after) = rest.down.split_at_mut(end);
            each.push((rank, Part { first, up, down }));
            rest = Part {
                first: first + end,
                up: up_after,
                down: down_after,
            };
        }
        each.into_par_iter().for_each(|(rank, mut own)| {
            self.begin(rank, &mut own);
            self.over(rank, 0..ranks.start, &below, &mut own);
        });
        for rank in ranks.clone() {
            let (below, mut own) = part.split(self.first_of(rank));
            self.over(rank, ranks.start..rank, &below, &mut own);
        }
    }

    fn first_of(&self, rank: u32) -> usize {
        self.hierarchy.cch.up_first_out[rank as usize] as usize
    }

    /// Gives a rank's up-arcs the times of their own turns.
    fn begin(&self, rank: u32, own: &mut Part<'_>) {
        let (up_arcs, _) = self.hierarchy.up_arcs(rank);
        for up_arc in up_arcs {
            let fastest = |sense| {
                let turns = self.hierarchy.turns_of(up_arc, sense);
                turns.map(|turn| self.turn_times_ms[turn as usize]).min()
            };
            let place = up_arc - own.first;
            own.up[place] = fastest(Sense::Up).unwrap_or(UNREACHABLE_MS);
            own.down[place] = fastest(Sense::Down).unwrap_or(UNREACHABLE_MS);
        }
    }

    /// Gives a rank's up-arcs the times of the ways over lower ranks, of those in `over`, where they are
    /// faster. `own` begins with the rank's own.
    fn over(&self, rank: u32, over: Range<u32>, below: &Part<'_>, own: &mut Part<'_>) {
        let hierarchy = self.hierarchy;
        PLACE_OF.with_borrow_mut(|place_of| {
            if place_of.len() < hierarchy.cch.node_count() {
                place_of.resize(hierarchy.cch.node_count(), 0);
            }
            let (_, upper_ends) = hierarchy.up_arcs(rank);
            for (place, &upper) in (0..).zip(upper_ends) {
                place_of[upper as usize] = place;
            }
            for (low, up_arc) in hierarchy.down_arcs_among(rank, over) {
                let place = up_arc as usize - below.first;
                let (up, down) = (below.up[place], below.down[place]);
                let (up_arcs, tops) = hierarchy.up_arcs(low);
                let up_arcs = up_arcs.start - below.first..up_arcs.end - below.first;
                // Whatever two neighbours a rank has above it, they are neighbours of each other.
                let place_of = |top: u32| place_of[top as usize] as usize;
                // Most up-arcs can be driven one way only.
                if down < UNREACHABLE_MS {
                    let legs = tops.iter().zip(&below.up[up_arcs.clone()]).rev();
                    for (&top, &leg) in legs.take_while(|(top, _)| **top > rank) {
                        let direct = &mut own.up[place_of(top)];
                        *direct = (*direct).min(down + leg);
                    }
                }
                if up < UNREACHABLE_MS {
                    let legs = tops.iter().zip(&below.down[up_arcs]).rev();
                    for (&top, &leg) in legs.take_while(|(top, _)| **top > rank) {
                        let direct = &mut own.down[place_of(top)];
                        *direct = (*direct).min(leg + up);
                    }
                }
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{RoadNetwork, testmap};

    fn is_as_the_library_has_it(network: &RoadNetwork) {
        let hierarchy = &network.topology.hierarchy;
        let times = &network.metric.turn_times_ms;
        let expected = hierarchy.cch.customize(times);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let found = pool.unwrap().install(|| customize(hierarchy, times));
            assert!(found.forward == expected.forward, "{threads} threads");
            assert!(found.backward == expected.backward, "{threads} threads");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn random_maps_get_the_times_of_the_library(seed: u64, nodes in 2_u32..400) {
            is_as_the_library_has_it(&testmap::random_with_rules(seed, nodes));
        }
    }

    /// Large enough that it is taken apart.
    #[test]
    fn a_large_map_gets_the_times_of_the_library() {
        let network = testmap::grid(70, 60, 100.0);
        let hierarchy = &network.topology.hierarchy;
        assert!(hierarchy.cch.up_head.len() > 4 * PART_UP_ARCS);
        let branches = &hierarchy.branches;
        let count = hierarchy.cch.node_count() as u32;
        let stem = branches.stem(&(0..count));
        let cut = branches.cut(&(0..stem), stem / 2).unwrap();
        assert!(
            (stem / 4..stem / 4 * 3).contains(&cut),
            "{cut} of {stem} of {count}: one thread has most of the work"
        );
        is_as_the_library_has_it(&network);
    }

    #[test]
    fn branches_are_ranks_without_a_gap() {
        //      6
        //    4   5     7: alone
        //   0 2  1 3
        let branches = Branches::of(&[4, 5, 4, 5, 6, 6, NONE, NONE]);
        assert_eq!(branches.begins, [0, 1, 2, 3, NONE, NONE, 0, 7]);
        assert_eq!(branches.stem(&(0..7)), 6);
        assert_eq!(branches.cut(&(0..6), 3), None);
        assert_eq!(branches.cut(&(0..8), 4), Some(7));
        //      6
        //    2   5
        //   0 1 3 4
        let branches = Branches::of(&[2, 2, 6, 5, 5, 6, NONE]);
        assert_eq!(branches.stem(&(0..7)), 6);
        assert_eq!(branches.cut(&(0..6), 3), Some(3));
        assert_eq!(branches.cut(&(0..3), 1), None);
    }
}
