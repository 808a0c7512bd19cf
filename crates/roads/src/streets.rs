//! Streets by their names: found from what somebody types, and told for a place.
//!
//! Names and what is typed are compared without case and accents, word by word; the beginning of a word
//! is enough. The index is built when it is first asked for.

use std::collections::BTreeMap;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::geo::LatLon;
use crate::graph::{Blueprint, SegmentId, UNNAMED};
use crate::{RoadNetwork, RoadsError, Snap};

/// Words of a search that count; the others are let go.
pub const WORDS_MAX: usize = 8;

/// A street that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Street<'a> {
    /// Its name.
    pub name: &'a str,
    /// A place on it: of all its pieces in the middle of the one nearest to where it was looked for.
    pub place: LatLon,
    /// How far that is from there, metres; `None` when no place was given.
    pub distance_m: Option<f64>,
}

/// How well a name fits: first those that are just what was typed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Whole,
    Beginning,
    Words,
}

/// Words of names, and where the streets are.
pub(crate) struct StreetIndex {
    /// A word and the street in whose name it is, sorted.
    words: Vec<(String, u32)>,
    /// Names in plain letters, by street.
    plain: Vec<String>,
    /// Segments by street: those of street `s` are `segments[first[s]..first[s + 1]]`.
    segments: Vec<u32>,
    first: Vec<u32>,
}

impl StreetIndex {
    pub fn build(plan: &Blueprint) -> Self {
        let plain: Vec<String> = plan.streets.iter().map(|name| fold(name)).collect();
        let mut words: Vec<(String, u32)> = Vec::new();
        for (street, name) in (0..).zip(&plain) {
            words.extend(name.split(' ').map(|word| (word.to_owned(), street)));
        }
        words.sort_unstable();
        words.dedup();
        let mut by_street: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (number, segment) in (0..).zip(&plan.segments) {
            if segment.street != UNNAMED {
                by_street.entry(segment.street).or_default().push(number);
            }
        }
        let (mut segments, mut first) = (Vec::new(), vec![0]);
        for street in 0..plain.len() as u32 {
            segments.extend(by_street.remove(&street).unwrap_or_default());
            first.push(segments.len() as u32);
        }
        Self {
            words,
            plain,
            segments,
            first,
        }
    }

    fn segments_of(&self, street: u32) -> &[u32] {
        let (from, to) = (self.first[street as usize], self.first[street as usize + 1]);
        &self.segments[from as usize..to as usize]
    }

    /// The streets with a word that begins so.
    fn with_prefix(&self, prefix: &str) -> Vec<u32> {
        let from = self
            .words
            .partition_point(|(word, _)| word.as_str() < prefix);
        let fits = self.words[from..]
            .iter()
            .take_while(|(word, _)| word.starts_with(prefix));
        let mut streets: Vec<u32> = fits.map(|(_, street)| *street).collect();
        streets.sort_unstable();
        streets.dedup();
        streets
    }
}

/// A text in small letters without accents, its words parted by one space.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.nfkd().filter(|letter| !is_combining_mark(*letter)) {
        if letter.is_alphanumeric() {
            folded.extend(letter.to_lowercase());
        } else if letter != '\'' && !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}

impl RoadNetwork {
    /// At most `limit` streets in whose names every word of `text` begins a word. Those whose name is
    /// the text come first, then those whose name begins with it; then the nearest to `near`.
    #[must_use]
    pub fn find_streets(&self, text: &str, near: Option<LatLon>, limit: usize) -> Vec<Street<'_>> {
        let index = self.streets();
        let wanted = fold(text);
        let words: Vec<&str> = wanted
            .split(' ')
            .filter(|word| !word.is_empty())
            .take(WORDS_MAX)
            .collect();
        // The longest word is in the fewest names.
        let Some(longest) = words.iter().max_by_key(|word| word.len()) else {
            return Vec::new();
        };
        let has_all = |street: &u32| {
            let name = &index.plain[*street as usize];
            words
                .iter()
                .all(|wanted| name.split(' ').any(|word| word.starts_with(wanted)))
        };
        let mut found: Vec<(Fit, f64, u32, LatLon)> = Vec::new();
        for street in index.with_prefix(longest).into_iter().filter(has_all) {
            let name = &index.plain[street as usize];
            let fit = if *name == wanted {
                Fit::Whole
            } else if name.starts_with(&wanted) {
                Fit::Beginning
            } else {
                Fit::Words
            };
            if let Some((distance_m, place)) = self.spot_on(index.segments_of(street), near) {
                found.push((fit, distance_m, street, place));
            }
        }
        let name = |street: u32| self.topology.plan.streets[street as usize].as_str();
        found.sort_by(|a, b| {
            let by_name = || {
                name(a.2)
                    .len()
                    .cmp(&name(b.2).len())
                    .then(name(a.2).cmp(name(b.2)))
            };
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then_with(by_name)
        });
        found.truncate(limit);
        let street = |(_, distance_m, street, place)| Street {
            name: name(street),
            place,
            distance_m: near.map(|_| distance_m),
        };
        found.into_iter().map(street).collect()
    }

    /// The nearest street that has a name, no farther than `max_distance_m` from a place.
    ///
    /// # Errors
    /// As [`RoadNetwork::snap`].
    pub fn street_at(
        &self,
        place: LatLon,
        max_distance_m: f64,
    ) -> Result<(&str, Snap), RoadsError> {
        let snap = self.snap_named(place, max_distance_m)?;
        let street = self
            .segment(snap.segment)
            .and_then(|segment| segment.street());
        Ok((street.unwrap_or_default(), snap))
    }

    /// The middle of the piece that is nearest to a place, or of the one in the middle, and how far it is.
    fn spot_on(&self, segments: &[u32], near: Option<LatLon>) -> Option<(f64, LatLon)> {
        let middle = |number: u32| {
            let length_mm = self.topology.length_mm(SegmentId(number));
            self.point_on_segment(SegmentId(number), length_mm / 2)
        };
        let Some(near) = near else {
            let number = segments.get(segments.len() / 2)?;
            return Some((0.0, middle(*number)));
        };
        let spots = segments
            .iter()
            .map(|&number| (near.distance_m(middle(number)), middle(number)));
        spots.min_by(|a, b| a.0.total_cmp(&b.0))
    }

    fn streets(&self) -> &StreetIndex {
        let topology = &self.topology;
        topology
            .streets
            .get_or_init(|| StreetIndex::build(&topology.plan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_plain_letters() {
        for (name, folded) in [
            ("Rua de São João", "rua de sao joao"),
            ("  AVENIDA  da Boavista ", "avenida da boavista"),
            ("Rua 5.º-Regimento", "rua 5 o regimento"),
            ("Rue de l'Église", "rue de leglise"),
            ("Ναυαρίνου", "ναυαρινου"),
            ("--", ""),
        ] {
            assert_eq!(fold(name), folded);
        }
    }
}
