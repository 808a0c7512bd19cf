//! Both searches against each other and against the oracle, which asks petgraph's Dijkstra for every
//! driver and sorts.

use std::path::{Path, PathBuf};

use jitney_roads::{
    Facing, import, oracle,
    testmap::{self, Dice},
};
use proptest::prelude::*;

use super::*;

/// Drivers d0, d1, … of which some are idle, all on one of three products or several.
struct Town {
    roads: Arc<RoadNetwork>,
    nearest: Nearest,
    index: Index,
    ids: Vec<DriverId>,
    posts: Vec<Option<Post>>,
    dice: Dice,
}

impl Town {
    fn new(roads: RoadNetwork, seed: u64, drivers: u32, cell_m: f64) -> Self {
        let roads = Arc::new(roads);
        let index = Index::new(&roads, cell_m);
        let nearest = Nearest::new(Arc::clone(&roads), 1_500);
        // Not in the order of the keys, and not padded: d10 comes before d9.
        let ids = (0..drivers).map(|key| format!("d{}", (key * 7) % 1_000).parse().unwrap());
        let ids = ids.collect();
        let posts = vec![None; drivers as usize];
        Self {
            roads,
            nearest,
            index,
            ids,
            posts,
            dice: Dice::new(seed),
        }
    }

    fn catalogue() -> crate::product::Catalogue {
        crate::product::Catalogue::new(crate::Config::default().products)
    }

    fn products(&mut self) -> ProductSet {
        let wanted: &[&str] = match self.dice.below(6) {
            0 => &["economy"],
            1 => &["comfort"],
            2 => &["van"],
            3 => &["economy", "van"],
            4 => &[],
            _ => &["economy", "comfort", "van"],
        };
        Self::catalogue().set(wanted.iter().copied()).unwrap()
    }

    /// A place; often one that somebody has already, so that times are equal.
    fn snap(&mut self) -> Snap {
        let taken: Vec<Snap> = self.posts.iter().flatten().map(|post| post.snap).collect();
        if !taken.is_empty() && self.dice.below(4) == 0 {
            return taken[self.dice.below(taken.len() as u32) as usize];
        }
        let mut snap = testmap::random_snaps(&self.roads, self.dice.roll(), 1)[0];
        let facings = [Facing::Either, Facing::Forward, Facing::Backward];
        snap.facing = facings[self.dice.below(3) as usize];
        snap
    }

    /// Some drivers move, some become idle, some are idle no longer.
    fn stir(&mut self, times: usize) {
        for _ in 0..times {
            let driver = self.dice.below(self.ids.len() as u32);
            if self.dice.below(6) == 0 {
                self.index.remove(DriverKey(driver));
                self.posts[driver as usize] = None;
            } else {
                let post = Post {
                    snap: self.snap(),
                    products: self.products(),
                };
                self.index.put(DriverKey(driver), post);
                self.posts[driver as usize] = Some(post);
            }
        }
    }

    /// Every road is driven faster or slower from now on, up to three times.
    fn jam(&mut self) {
        let times = self.roads.arc_times_ms().iter();
        let times = times.map(|&time_ms| match self.dice.below(3) {
            0 => time_ms,
            1 => (time_ms / (1 + self.dice.below(3))).max(1),
            _ => time_ms * (1 + self.dice.below(3)),
        });
        let roads = self.roads.with_arc_times(times.collect()).unwrap();
        self.roads = Arc::new(match self.dice.below(2) {
            0 => roads,
            _ => roads.tightened(),
        });
        self.nearest.swap(Arc::clone(&self.roads));
    }

    /// What the oracle says.
    fn truth(&self, query: &Query<'_>) -> Vec<Found> {
        let wanted: Vec<(DriverKey, Snap)> = (0..)
            .map(DriverKey)
            .zip(&self.posts)
            .filter_map(|(key, post)| Some((key, (*post)?)))
            .filter(|(_, post)| post.products.meets(query.products))
            .filter(|(key, _)| !(query.excludes)(&self.ids[key.index()]))
            .map(|(key, post)| (key, post.snap))
            .collect();
        let snaps: Vec<Snap> = wanted.iter().map(|&(_, snap)| snap).collect();
        let times = oracle::all_times_to(&self.roads, &query.target, &snaps);
        let mut found: Vec<Found> = wanted
            .iter()
            .zip(times)
            .filter_map(|(&(driver, _), time_ms)| {
                let time_ms = time_ms.filter(|&time_ms| time_ms <= query.within_ms)?;
                Some(Found { driver, time_ms })
            })
            .collect();
        found.sort_by_key(|found| (found.time_ms, &self.ids[found.driver.index()]));
        found.truncate(query.count);
        found
    }

    /// Asks everybody once.
    fn check(&mut self) {
        let target = self.snap();
        let products = if self.dice.below(2) == 0 {
            ProductSet::ANY
        } else {
            self.products()
        };
        let count = 1 + self.dice.below(12) as usize;
        let unwanted = self.ids[self.dice.below(self.ids.len() as u32) as usize].clone();
        let query = Query {
            target,
            products,
            count,
            within_ms: match self.dice.below(3) {
                0 => self.dice.below(120_000),
                _ => u32::MAX,
            },
            excludes: &|driver| *driver == unwanted,
        };
        let truth = self.truth(&query);
        let sparse = self.nearest.sparse(&self.index, &self.ids, &query);
        assert_eq!(sparse, truth, "sparse, {count} nearest");
        let dense = self
            .nearest
            .dense(&self.index, &self.ids, &query, usize::MAX);
        assert_eq!(dense.as_ref(), Some(&truth), "dense, {count} nearest");
        assert_eq!(self.nearest.find(&self.index, &self.ids, &query), truth);
        let budget = self.dice.below(60) as usize;
        if let Some(found) = self.nearest.dense(&self.index, &self.ids, &query, budget) {
            assert_eq!(found, truth, "dense on a budget of {budget}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn all_ways_give_the_oracles_answer(
        seed in any::<u64>(),
        nodes in 12..250_u32,
        drivers in 1..80_u32,
        cell_m in 40.0..800.0_f64,
    ) {
        let roads = match seed % 2 {
            0 => testmap::random(seed, nodes),
            _ => testmap::random_with_rules(seed, nodes),
        };
        let mut town = Town::new(roads, seed ^ 1, drivers, cell_m);
        for round in 0..8 {
            town.stir(drivers as usize);
            town.check();
            // From half-way on under live traffic.
            if round > 3 {
                town.jam();
                town.check();
            }
        }
    }
}

#[test]
fn equal_times_are_ordered_by_id() {
    // Four drivers at the corners around the middle of a grid, all equally far.
    let roads = testmap::grid(3, 3, 100.0);
    let mut town = Town::new(roads, 1, 10, 100.0);
    let target = testmap::random_snaps(&town.roads, 5, 1)[0];
    for driver in 0..10 {
        town.index.put(
            DriverKey(driver),
            Post {
                snap: target,
                products: ProductSet::ANY,
            },
        );
        town.posts[driver as usize] = Some(Post {
            snap: target,
            products: ProductSet::ANY,
        });
    }
    let query = Query {
        target,
        products: ProductSet::ANY,
        count: 4,
        within_ms: u32::MAX,
        excludes: &|_| false,
    };
    let found = town.nearest.find(&town.index, &town.ids, &query);
    let ids: Vec<&str> = found
        .iter()
        .map(|found| town.ids[found.driver.index()].as_str())
        .collect();
    assert_eq!(ids, ["d0", "d14", "d21", "d28"]);
    assert_eq!(found, town.truth(&query));
}

#[test]
fn nobody_and_nothing() {
    let mut town = Town::new(testmap::grid(3, 3, 100.0), 1, 3, 100.0);
    let target = town.snap();
    let none = Query {
        target,
        products: ProductSet::ANY,
        count: 5,
        within_ms: u32::MAX,
        excludes: &|_| false,
    };
    assert_eq!(town.nearest.find(&town.index, &town.ids, &none), []);
    assert_eq!(town.nearest.sparse(&town.index, &town.ids, &none), []);
    assert_eq!(
        town.nearest
            .dense(&town.index, &town.ids, &none, usize::MAX),
        Some(vec![])
    );
    town.stir(30);
    assert_eq!(
        town.nearest
            .find(&town.index, &town.ids, &Query { count: 0, ..none }),
        []
    );
}

/// The same on the built-in city, where streets are one-way and times are real.
#[test]
fn on_the_built_in_city() {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/monaco.roads");
    let roads = RoadNetwork::load(&map).unwrap();
    let mut town = Town::new(roads, 3, 200, 300.0);
    for round in 0..12 {
        town.stir(150);
        town.check();
        if round % 4 == 3 {
            town.jam();
            town.check();
        }
    }
}

/// And on a large one with all its turns, when its map is there: in the folder of shared maps
/// (`SHARED_DIR`, else `../shared` beside the workspace).
#[test]
fn on_porto() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("SHARED_DIR").map_or_else(beside, PathBuf::from);
    let map = shared.join("maps/porto-portugal.osm.pbf");
    if !map.exists() {
        println!("skipped: {} is not there", map.display());
        return;
    }
    let mut town = Town::new(import(&map).unwrap(), 4, 2_000, 300.0);
    for _ in 0..3 {
        town.stir(3_000);
        town.check();
    }
    town.jam();
    town.check();
}
