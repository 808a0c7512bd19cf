//! Road networks: where the roads are, and how long it takes to drive between two places on them.
//!
//! The story goes *build, freeze, query*:
//!
//! 1. [`osm`] reads an OpenStreetMap PBF file into a [`Draft`], [`dimacs`] a benchmark graph; tests draw one by
//!    hand or take one from [`testmap`].
//! 2. Freezing a draft keeps the largest part in which every place reaches every other, orders its
//!    nodes for the contraction hierarchy and gives a [`RoadNetwork`]; [`cache`] saves that to a
//!    compact file which loads in a fraction of the time.
//! 3. A frozen network never changes. [`RoadNetwork::snap`] puts a coordinate on the nearest road;
//!    [`RoadNetwork::travel`] and [`RoadNetwork::route`] answer for a pair of such [`Snap`]s;
//!    [`TargetSearch`] and [`SourceSearch`] answer for many at once; [`BackwardExpansion`] walks
//!    outwards from a pick-up. [`RoadNetwork::with_arc_times`] gives the same roads under other
//!    speeds, which is how live traffic comes in.
//!
//! ```
//! use jitney_roads::{LatLon, TargetSearch, testmap};
//!
//! let network = testmap::grid(10, 10, 100.0);
//! let rider = network.snap(LatLon::new(0.0010, 0.0035)?, 50.0)?;
//! let driver = network.snap(LatLon::new(0.0070, 0.0072)?, 50.0)?;
//! let route = network.route(&driver, &rider).expect("any two places have a way between them");
//! assert_eq!(route.travel.distance_m, 1067);
//!
//! let mut search = TargetSearch::new(network);
//! search.aim(&rider);
//! assert_eq!(search.time_from(&driver), Some(route.travel.duration_ms));
//! # Ok::<(), jitney_roads::RoadsError>(())
//! ```
//!
//! # Units
//!
//! | what | unit | type |
//! | --- | --- | --- |
//! | travel time | milliseconds, rounded up wherever it is rounded | `u32` |
//! | length of a segment, offset on it | millimetres | `u32` |
//! | distance of a trip | metres, rounded to the nearest | `u32` |
//! | straight-line distance | metres | `f64` |
//! | coordinates | degrees, WGS 84 | [`LatLon`] |
//! | headings | degrees clockwise from north | `f64` |
//!
//! # Words
//!
//! A **segment** is a piece of street between two **nodes** (junctions or ends of a street), with
//! its bends, its name and its class. Each direction in which it may be driven is an **arc**. A
//! **snap** is a place on a segment: the segment and the **offset** from its start. A search
//! **settles** a node when its travel time is final. The **hierarchy** is the contraction hierarchy
//! of the nodes, fixed with the roads; **customization** fills it with the times of one **metric**.
//!
//! Nothing here waits, logs or opens a socket, and only the importer and the cache touch files. A
//! frozen network may be shared between threads; customization uses the cores it finds (by rayon's
//! global pool), everything else runs on the thread that asks.

pub mod cache;
mod customization;
pub mod dimacs;
pub mod draft;
mod encoding;
pub mod error;
pub mod expansion;
pub mod geo;
pub mod graph;
mod hierarchy;
pub mod junction;
pub mod matrix;
mod metric;
pub mod network;
pub mod oracle;
pub mod osm;
pub mod progress;
pub mod route;
pub mod search;
pub mod snap;
pub mod streets;
pub mod testmap;
pub mod tile;
pub mod traffic;
pub mod travel;
mod turns;

pub use cache::{MapOrigin, OpenedMap, import, import_telling, open_map, open_map_telling};
pub use draft::{Draft, Road, RoadNo};
pub use error::RoadsError;
pub use expansion::{BackwardExpansion, Settled};
pub use geo::{BoundingBox, EARTH_RADIUS_M, LatLon};
pub use graph::{ApproachId, ArcId, NodeId, RoadArc, RoadClass, SegmentId};
pub use junction::{Drive, Restriction};
pub use matrix::SourceSet;
pub use network::{MapId, RoadNetwork, Segment};
pub use osm::ImportReport;
pub use progress::{ImportProgress, Phase};
pub use route::{Route, Step};
pub use search::{SourceSearch, TargetSearch};
pub use snap::{Facing, Snap};
pub use streets::Street;
pub use tile::TileId;
pub use traffic::{ArcTraffic, Traffic, TrafficRules, Useless};
pub use travel::{PairSearch, Stub, Travel};
