//! Small made-up maps for tests, the same for the same arguments on every machine. Not for
//! production.

use crate::geo::LatLon;
use crate::graph::{NodeId, RoadClass, SegmentId};
use crate::junction::{Drive, Restriction};
use crate::snap::Snap;
use crate::{Draft, Road, RoadNetwork};

/// Speed of the grid's streets, in km/h.
pub const GRID_KMH: f64 = 36.0;

/// Metres per degree of latitude, near enough for drawing.
const METRES_PER_DEGREE: f64 = 111_195.0;

/// Streets in a grid of two-way blocks of `block_m` metres, its south-west corner on the equator at
/// longitude 0. All streets are driven at [`GRID_KMH`], which is 10 m/s: a block of 100 m takes ten
/// seconds (and a few milliseconds, since lengths round up). The corner in column `x` (eastwards)
/// and row `y` is near longitude `x` and latitude `y` blocks; streets are named "Row y" and "Column
/// x".
///
/// # Panics
/// When there are fewer than two corners, or the grid would reach the pole.
#[must_use]
pub fn grid(columns: u32, rows: u32, block_m: f64) -> RoadNetwork {
    let mut draft = Draft::new("grid");
    let corner = |x: u32, y: u32| place(f64::from(y) * block_m, f64::from(x) * block_m);
    let mut nodes = Vec::new();
    for y in 0..rows {
        for x in 0..columns {
            nodes.push(draft.add_node(corner(x, y)));
        }
    }
    let node = |x: u32, y: u32| nodes[(y * columns + x) as usize];
    for y in 0..rows {
        for x in 0..columns {
            if x + 1 < columns {
                add_street(
                    &mut draft,
                    node(x, y),
                    node(x + 1, y),
                    &[],
                    &format!("Row {y}"),
                );
            }
            if y + 1 < rows {
                add_street(
                    &mut draft,
                    node(x, y),
                    node(x, y + 1),
                    &[],
                    &format!("Column {x}"),
                );
            }
        }
    }
    frozen(draft)
}

fn add_street(draft: &mut Draft, from: NodeId, to: NodeId, bends: &[LatLon], street: &str) {
    let road = Road {
        street: Some(street),
        ..Road::two_way(GRID_KMH)
    };
    add(draft, from, to, bends, &road);
}

/// A made-up town of about `nodes` junctions (what is not strongly connected is dropped): crooked
/// streets of all speeds, a third of them one-way, some with different speeds there and back, some
/// doubled, some loops, some dead ends. Near latitude 41, where a degree of longitude is short.
///
/// # Panics
/// When `nodes` is less than 2.
#[must_use]
pub fn random(seed: u64, nodes: u32) -> RoadNetwork {
    frozen(random_draft(seed, nodes, false).draft)
}

/// The same kind of town with every rule of the road: turns cost time, some are restricted (at the
/// junction or over a road in between, by forbidding or by allowing only), some junctions have lights,
/// some streets are for those who begin or end there.
///
/// # Panics
/// When `nodes` is less than 2.
#[must_use]
pub fn random_with_rules(seed: u64, nodes: u32) -> RoadNetwork {
    let mut town = random_draft(seed, nodes, true);
    let mut dice = Dice::new(!seed);
    town.draft.charge_turns();
    for node in 0..nodes {
        if dice.below(5) == 0 {
            town.draft.delay_at(NodeId(node), dice.below(5_000));
        }
    }
    for _ in 0..nodes / 2 {
        let first = town.drives[dice.below(town.drives.len() as u32) as usize];
        let (Some(second), is_over_a_road) = (town.next(&mut dice, first), dice.below(3) == 0)
        else {
            continue;
        };
        let third = town.next(&mut dice, second).filter(|_| is_over_a_road);
        if first.0.road == second.0.road {
            continue; // Turning round may be the only way on.
        }
        town.draft.restrict(Restriction {
            from: first.0,
            via: third.map(|_| second.0),
            to: third.unwrap_or(second).0,
            is_only: dice.below(4) == 0,
        });
    }
    frozen(town.draft)
}

/// A town that is still being drawn.
struct Town {
    draft: Draft,
    /// Every road in both directions, with the node that leads from and the one it leads to.
    drives: Vec<(Drive, NodeId, NodeId)>,
}

impl Town {
    /// A drive that follows another.
    fn next(
        &self,
        dice: &mut Dice,
        (_, _, head): (Drive, NodeId, NodeId),
    ) -> Option<(Drive, NodeId, NodeId)> {
        let following = self.drives.iter().filter(|(_, tail, _)| *tail == head);
        let following: Vec<_> = following.copied().collect();
        following
            .get(dice.below(following.len() as u32) as usize)
            .copied()
    }

    fn add(&mut self, from: NodeId, to: NodeId, bends: &[LatLon], road: &Road<'_>) {
        let added = self.draft.add_road(from, to, bends, road);
        let number = added.unwrap_or_else(|error| panic!("{error}"));
        for (forward, from, to) in [(true, from, to), (false, to, from)] {
            self.drives
                .extend(number.map(|road| (Drive { road, forward }, from, to)));
        }
    }
}

fn random_draft(seed: u64, nodes: u32, with_rules: bool) -> Town {
    let mut dice = Dice::new(seed);
    let mut draft = Draft::new("random");
    let columns = f64::from(nodes).sqrt().ceil() as u32;
    let town = LatLon::new(41.15, -8.6).unwrap_or_else(|_| unreachable!("Porto is on Earth"));
    let corners: Vec<(LatLon, NodeId)> = (0..nodes)
        .map(|number| {
            let mut along =
                |blocks: u32| (f64::from(blocks) + dice.share() * 0.7) * 120.0 / METRES_PER_DEGREE;
            let (north, east) = (along(number / columns), along(number % columns));
            let corner = offset(town, north, east / 0.75);
            (corner, draft.add_node(corner))
        })
        .collect();
    let mut drawn = Town {
        draft,
        drives: Vec::new(),
    };
    // One street for both directions, lest a tiny town have none.
    if let [(_, first), (_, second), ..] = corners[..] {
        drawn.add(first, second, &[], &Road::two_way(50.0));
    }
    for number in 0..nodes {
        for neighbour in [number + 1, number + columns, number + columns + 1] {
            let is_kept = dice.below(10) < if neighbour == number + 1 { 9 } else { 7 };
            if let Some(&to) = corners.get(neighbour as usize).filter(|_| is_kept) {
                add_random_road(
                    &mut drawn,
                    &mut dice,
                    corners[number as usize],
                    to,
                    with_rules,
                );
                if dice.below(12) == 0 {
                    add_random_road(
                        &mut drawn,
                        &mut dice,
                        corners[number as usize],
                        to,
                        with_rules,
                    );
                }
            }
        }
        if dice.below(40) == 0 {
            let (corner, node) = corners[number as usize];
            let bends = [offset(corner, 3e-4, 1e-4), offset(corner, 2e-4, 4e-4)];
            drawn.add(node, node, &bends, &random_road(&mut dice, with_rules));
        }
    }
    drawn
}

fn add_random_road(
    town: &mut Town,
    dice: &mut Dice,
    (from, from_node): (LatLon, NodeId),
    (to, to_node): (LatLon, NodeId),
    with_rules: bool,
) {
    let bends: Vec<LatLon> = (0..dice.below(4))
        .map(|_| {
            let share = dice.share();
            let lat = from.lat() + (to.lat() - from.lat()) * share;
            let lon = from.lon() + (to.lon() - from.lon()) * share;
            LatLon::new(lat + dice.share() * 4e-4, lon - dice.share() * 4e-4).unwrap_or(from)
        })
        .collect();
    let road = random_road(dice, with_rules);
    town.add(from_node, to_node, &bends, &road);
}

fn random_road(dice: &mut Dice, with_rules: bool) -> Road<'static> {
    const STREETS: [Option<&str>; 4] = [None, Some("Rua Direita"), Some("Largo"), Some("Travessa")];
    const CLASSES: [RoadClass; 3] = [
        RoadClass::Primary,
        RoadClass::Residential,
        RoadClass::Service,
    ];
    let speed = |dice: &mut Dice| Some(5.0 + f64::from(dice.below(90)));
    let forward_kmh = speed(dice);
    let (forward_kmh, backward_kmh) = match dice.below(6) {
        0 => (forward_kmh, None),
        1 => (None, forward_kmh),
        2 => (forward_kmh, speed(dice)),
        _ => (forward_kmh, forward_kmh),
    };
    let street = STREETS[dice.below(4) as usize];
    Road {
        street,
        class: CLASSES[dice.below(3) as usize],
        forward_kmh,
        backward_kmh,
        forward_delay_ms: if with_rules { dice.below(3_000) } else { 0 },
        backward_delay_ms: 0,
        destination_only: with_rules && dice.below(8) == 0,
    }
}

/// That many snaps spread over the network's segments, the same for the same seed. One in eight
/// lies at an end of its segment.
#[must_use]
pub fn random_snaps(network: &RoadNetwork, seed: u64, count: usize) -> Vec<Snap> {
    let mut dice = Dice::new(seed);
    (0..count)
        .map(|_| {
            let segment = SegmentId(dice.below(network.segment_count() as u32));
            let length_mm = network
                .segment(segment)
                .map_or(0, |segment| segment.length_mm());
            let offset_mm = match dice.below(16) {
                0 => 0,
                1 => length_mm,
                _ => dice.below(length_mm.saturating_add(1)),
            };
            network.snap_on_segment(segment, offset_mm)
        })
        .collect()
}

/// Numbers that look random: the generator known as SplitMix64, written here so that tests of every
/// crate draw the same maps whatever generators they depend on.
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Dice that fall the same way for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, evenly; 0 when `end` is 0.
    pub fn below(&mut self, end: u32) -> u32 {
        ((u128::from(self.roll()) * u128::from(end)) >> 64) as u32
    }

    /// A number from 0 up to but not including 1.
    pub fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The place that many metres north and east of latitude 0, longitude 0.
fn place(north_m: f64, east_m: f64) -> LatLon {
    LatLon::new(north_m / METRES_PER_DEGREE, east_m / METRES_PER_DEGREE)
        .unwrap_or_else(|error| panic!("the map is too large to draw: {error}"))
}

/// The place that many degrees north and east.
fn offset(from: LatLon, north: f64, east: f64) -> LatLon {
    LatLon::new(from.lat() + north, from.lon() + east)
        .unwrap_or_else(|error| panic!("the map is too large to draw: {error}"))
}

fn add(draft: &mut Draft, from: NodeId, to: NodeId, bends: &[LatLon], road: &Road<'_>) {
    draft
        .add_road(from, to, bends, road)
        .unwrap_or_else(|error| panic!("{error}"));
}

fn frozen(draft: Draft) -> RoadNetwork {
    draft
        .freeze()
        .unwrap_or_else(|error| panic!("a map needs two junctions: {error}"))
}
