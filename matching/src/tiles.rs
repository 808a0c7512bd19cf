//! Map tiles that were drawn lately, so that a city full of phones has each drawn once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jitney_roads::{MapId, TileId};

/// Tiles of the map in use, up to so many bytes.
pub struct TileCache {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    map: Option<MapId>,
    /// Each with the moment it was last asked for, counted in questions.
    tiles: HashMap<TileId, (Arc<[u8]>, u64)>,
    bytes: usize,
    asked: u64,
}

/// What a tile takes beside its bytes, about.
const OVERHEAD_BYTES: usize = 64;

impl TileCache {
    /// Keeps tiles of so many bytes together; 0 keeps none.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            kept: Mutex::default(),
        }
    }

    /// A tile, drawn if it is not kept. Two who ask at once may both draw it.
    pub fn get(&self, map: MapId, tile: TileId, draw: impl FnOnce() -> Vec<u8>) -> Arc<[u8]> {
        if let Some(kept) = self.look(map, tile) {
            return kept;
        }
        let drawn: Arc<[u8]> = draw().into();
        self.keep(map, tile, Arc::clone(&drawn));
        drawn
    }

    fn look(&self, map: MapId, tile: TileId) -> Option<Arc<[u8]>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.map != Some(map) {
            return None;
        }
        kept.asked += 1;
        let now = kept.asked;
        let (bytes, asked) = kept.tiles.get_mut(&tile)?;
        *asked = now;
        Some(Arc::clone(bytes))
    }

    fn keep(&self, map: MapId, tile: TileId, drawn: Arc<[u8]>) {
        let size = drawn.len() + OVERHEAD_BYTES;
        if size > self.bytes_max {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.map != Some(map) {
            *kept = Kept {
                map: Some(map),
                ..Kept::default()
            };
        }
        kept.asked += 1;
        let asked = kept.asked;
        if let Some((before, _)) = kept.tiles.insert(tile, (drawn, asked)) {
            kept.bytes -= before.len() + OVERHEAD_BYTES;
        }
        kept.bytes += size;
        if kept.bytes > self.bytes_max {
            kept.let_go(self.bytes_max / 4 * 3);
        }
    }
}

impl Kept {
    /// Lets those go that were asked for longest ago, until the others fit.
    fn let_go(&mut self, bytes_max: usize) {
        let mut by_age: Vec<(u64, TileId)> = self
            .tiles
            .iter()
            .map(|(tile, (_, asked))| (*asked, *tile))
            .collect();
        by_age.sort_unstable_by_key(|(asked, _)| *asked);
        for (_, tile) in by_age {
            if self.bytes <= bytes_max {
                return;
            }
            if let Some((bytes, _)) = self.tiles.remove(&tile) {
                self.bytes -= bytes.len() + OVERHEAD_BYTES;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(x: u32) -> TileId {
        TileId::new(10, x, 0).expect("is a tile")
    }

    /// Whether a tile had to be drawn.
    fn draws(cache: &TileCache, map: u64, x: u32, bytes: usize) -> bool {
        let mut is_drawn = false;
        let drawn = cache.get(MapId(map), tile(x), || {
            is_drawn = true;
            vec![x as u8; bytes]
        });
        assert_eq!(drawn.len(), bytes);
        is_drawn
    }

    #[test]
    fn what_was_asked_for_lately_is_kept_and_never_too_much() {
        let cache = TileCache::new(10_000);
        for x in 0..9 {
            assert!(draws(&cache, 1, x, 1_000));
        }
        assert!(!draws(&cache, 1, 0, 1_000), "is kept, and asked for again");
        assert!(draws(&cache, 1, 9, 1_000), "does not fit any more");
        let kept = cache.kept.lock().unwrap().bytes;
        assert!(kept <= 10_000, "{kept}");
        assert!(!draws(&cache, 1, 0, 1_000), "asked for lately");
        assert!(draws(&cache, 1, 1, 1_000), "asked for longest ago");
        assert!(
            draws(&cache, 1, 50, 20_000) && draws(&cache, 1, 50, 20_000),
            "too large"
        );
    }

    #[test]
    fn tiles_of_another_map_are_not_shown() {
        let cache = TileCache::new(10_000);
        assert!(draws(&cache, 1, 0, 100) && !draws(&cache, 1, 0, 100));
        assert!(draws(&cache, 2, 0, 50), "another map");
        assert!(!draws(&cache, 2, 0, 50));
        let none = TileCache::new(0);
        assert!(draws(&none, 1, 0, 0) && draws(&none, 1, 0, 0));
    }
}
