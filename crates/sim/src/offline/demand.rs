//! Who wanted to go from where to where, at what time of day: read from files of real rides.
//!
//! Three kinds of table are read, told apart by their header:
//!
//! - rides with coordinates and seconds since 1970: `pickup_unix`, `pickup_lat`, `pickup_lon`,
//!   `dropoff_lat`, `dropoff_lon`;
//! - rides between named zones and local times, as New York's taxi commission gives them: `pickup`,
//!   `pickup_zone`, `dropoff_zone`, with a second table of the zones' middles: `zone`, `lat`, `lon`;
//! - places of taxis, of which rides are made in `fixes.rs`: `t_s`, `cab`, `lat`, `lon`, `occupied`.
//!
//! Other columns are passed over. Rides of several days are folded onto one: only the time of day
//! counts. A row that cannot be is skipped and counted by reason; a file that cannot be read, or lacks a
//! column, is an error.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::Path,
};

use anyhow::{Context, bail};
use chrono::{NaiveDateTime, Timelike};
use jitney_roads::LatLon;
use serde::Serialize;

use crate::chance::{Purpose, chance};

use super::{fit::scatter, fixes};

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// What a file may hold, unpacked; more is a mistake, or an attack.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// How far from the middle of its zone a ride begins or ends, metres: one standard deviation.
const ZONE_SPREAD_M: f64 = 300.0;

/// A ride that somebody wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WantedRide {
    /// When, milliseconds after midnight, below [`DAY_MS`].
    pub at_ms: i64,
    /// From where.
    pub pickup: LatLon,
    /// To where.
    pub dropoff: LatLon,
}

/// The rides of a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    /// In the order of the file.
    pub rides: Vec<WantedRide>,
    /// Rows that were skipped, by reason.
    pub skipped: Skipped,
}

/// How many were left out, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Skipped(pub BTreeMap<String, u64>);

impl Skipped {
    /// One more.
    pub fn count(&mut self, reason: &str) {
        *self.0.entry(reason.to_owned()).or_default() += 1;
    }
}

impl Demand {
    /// Reads a table, packed with gzip or not. `utc_offset_s` turns seconds since 1970 into the time of
    /// day there; `zones` is needed for rides between zones.
    ///
    /// # Errors
    /// A file that cannot be read, or lacks a column.
    pub fn read(path: &Path, zones: Option<&Path>, utc_offset_s: i64) -> anyhow::Result<Self> {
        let text = unpacked(path)?;
        let zones = zones
            .map(|path| {
                let text = unpacked(path)?;
                zone_middles(&text).with_context(|| format!("zones {}", path.display()))
            })
            .transpose()?;
        Self::parse(&text, zones.as_ref(), utc_offset_s)
            .with_context(|| format!("demand {}", path.display()))
    }

    /// The same from text.
    pub(crate) fn parse(
        text: &str,
        zones: Option<&HashMap<String, LatLon>>,
        utc_offset_s: i64,
    ) -> anyhow::Result<Self> {
        let table = Table::new(text)?;
        if table.has("pickup_unix") {
            rides_with_places(&table, utc_offset_s)
        } else if table.has("pickup_zone") {
            let zones = zones.context("rides between zones need --zones, the zones' middles")?;
            rides_between_zones(&table, zones)
        } else if fixes::COLUMNS.iter().all(|name| table.has(name)) {
            fixes::rides(&table, utc_offset_s)
        } else {
            bail!(
                "the header has neither a column pickup_unix nor pickup_zone, nor those of taxis' \
                 places: {}",
                fixes::COLUMNS.join(", ")
            );
        }
    }
}

fn rides_with_places(table: &Table<'_>, utc_offset_s: i64) -> anyhow::Result<Demand> {
    let names = [
        "pickup_unix",
        "pickup_lat",
        "pickup_lon",
        "dropoff_lat",
        "dropoff_lon",
    ];
    let columns = table.columns(names)?;
    let mut demand = Demand::default();
    for row in table.rows() {
        match ride_with_places(&row, columns, utc_offset_s) {
            Ok(ride) => demand.rides.push(ride),
            Err(reason) => demand.skipped.count(reason),
        }
    }
    Ok(demand)
}

fn ride_with_places(
    row: &Row,
    columns: [usize; 5],
    utc_offset_s: i64,
) -> Result<WantedRide, &'static str> {
    let [at, pickup_lat, pickup_lon, dropoff_lat, dropoff_lon] = columns;
    let unix: i64 = row.get(at)?.parse().map_err(|_| BAD_TIME)?;
    let place = |lat, lon| {
        let number = |column| row.get(column)?.parse::<f64>().map_err(|_| BAD_PLACE);
        LatLon::new(number(lat)?, number(lon)?).map_err(|_| BAD_PLACE)
    };
    Ok(WantedRide {
        at_ms: time_of_day_ms(unix, utc_offset_s)?,
        pickup: place(pickup_lat, pickup_lon)?,
        dropoff: place(dropoff_lat, dropoff_lon)?,
    })
}

/// Milliseconds after midnight, there, of seconds since some midnight at Greenwich.
pub(super) fn time_of_day_ms(at_s: i64, utc_offset_s: i64) -> Result<i64, &'static str> {
    let local_s = at_s.checked_add(utc_offset_s).ok_or("time out of range")?;
    Ok(local_s.rem_euclid(DAY_MS / 1000) * 1000)
}

pub(super) const BAD_PLACE: &str = "place that is none on Earth";
pub(super) const BAD_TIME: &str = "time that is not a number";

fn rides_between_zones(
    table: &Table<'_>,
    zones: &HashMap<String, LatLon>,
) -> anyhow::Result<Demand> {
    let columns = table.columns(["pickup", "pickup_zone", "dropoff_zone"])?;
    let mut demand = Demand::default();
    // Not the run's seed: the file is the same whatever is made of it.
    let mut chance = chance(0, Purpose::Zones, 0);
    for row in table.rows() {
        let ride = || {
            let [at, pickup, dropoff] = columns;
            let at = NaiveDateTime::parse_from_str(row.get(at)?, "%Y-%m-%d %H:%M:%S")
                .map_err(|_| "time that is not a date and time")?;
            let middle = |column| match row.get(column)? {
                "" => Err("no zone"),
                name => zones.get(name).copied().ok_or("zone without a middle"),
            };
            Ok((at, middle(pickup)?, middle(dropoff)?))
        };
        match ride() {
            Ok((at, pickup, dropoff)) => demand.rides.push(WantedRide {
                at_ms: i64::from(at.num_seconds_from_midnight()) * 1000,
                pickup: scatter(&mut chance, pickup, ZONE_SPREAD_M),
                dropoff: scatter(&mut chance, dropoff, ZONE_SPREAD_M),
            }),
            Err(reason) => demand.skipped.count(reason),
        }
    }
    Ok(demand)
}

/// Zones by name. Of several of one name the first counts.
pub(crate) fn zone_middles(text: &str) -> anyhow::Result<HashMap<String, LatLon>> {
    let table = Table::new(text)?;
    let [name, lat, lon] = table.columns(["zone", "lat", "lon"])?;
    let mut zones = HashMap::new();
    for (number, row) in (2..).zip(table.rows()) {
        let middle = || {
            let number = |column| row.get(column).ok()?.parse().ok();
            let place = LatLon::new(number(lat)?, number(lon)?).ok()?;
            Some((row.get(name).ok()?.to_owned(), place))
        };
        let (name, place) = middle().with_context(|| format!("row {number} is not a zone"))?;
        zones.entry(name).or_insert(place);
    }
    Ok(zones)
}

/// The text of a file, unpacked if it begins as gzip does.
fn unpacked(path: &Path) -> anyhow::Result<String> {
    let read = || -> anyhow::Result<String> {
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        file.by_ref().take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut text = Vec::new();
            flate2::read::MultiGzDecoder::new(bytes.as_slice())
                .take(FILE_BYTES_MAX)
                .read_to_end(&mut text)?;
            bytes = text;
        }
        anyhow::ensure!(
            (bytes.len() as u64) < FILE_BYTES_MAX,
            "it is larger than 1 GiB"
        );
        // What is no text makes no sound row.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().with_context(|| format!("{} cannot be read", path.display()))
}

/// Comma-separated values with a header.
pub(super) struct Table<'a> {
    header: Vec<String>,
    text: &'a str,
}

/// A line of a table.
pub(super) struct Row {
    fields: Vec<String>,
    width: usize,
}

impl<'a> Table<'a> {
    fn new(text: &'a str) -> anyhow::Result<Self> {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let header = fields(first.trim_start_matches('\u{feff}').trim_end_matches('\r'));
        anyhow::ensure!(
            header.iter().any(|name| !name.is_empty()),
            "it is empty, not even a header"
        );
        Ok(Self { header, text: rest })
    }

    fn has(&self, name: &str) -> bool {
        self.header.iter().any(|column| column == name)
    }

    pub(super) fn columns<const N: usize>(&self, names: [&str; N]) -> anyhow::Result<[usize; N]> {
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(names) {
            *place = self
                .header
                .iter()
                .position(|column| column == name)
                .with_context(|| format!("the column {name} is missing"))?;
        }
        Ok(places)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let lines = self.text.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| Row {
            fields: fields(line),
            width: self.header.len(),
        })
    }
}

impl Row {
    pub(super) fn get(&self, column: usize) -> Result<&str, &'static str> {
        if self.fields.len() != self.width {
            return Err("another number of fields than the header");
        }
        Ok(self.fields[column].trim())
    }
}

/// The fields of a line; quotes hold commas together, two of them within quotes are one.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        let last = fields.len() - 1;
        match c {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                rest.next();
                fields[last].push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            _ => fields[last].push(c),
        }
    }
    fields
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    const CABS: &str = "pickup_unix,duration_s,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon,cab\n\
        1211353200,530,37.78589,-122.45694,37.79669,-122.41859,21\n\
        1211353227,1761,37.61486,-122.39312,37.83496\n\
        yesterday,154,37.79187,-122.41085,37.78696,-122.41352,24\n\
        \n\
        1211353290,154,97.79187,-122.41085,37.78696,-122.41352,24\n\
        1211353290,154,37.79187,NaN,37.78696,-122.41352,24\n";

    #[test]
    fn rides_with_places_are_read_and_bad_rows_counted() {
        let demand = Demand::parse(CABS, None, -7 * 3600).unwrap();
        assert_eq!(demand.rides.len(), 1);
        assert_eq!(demand.rides[0].at_ms, 0, "midnight there");
        assert_eq!(demand.rides[0].pickup.lat(), 37.78589);
        let counted: Vec<(&str, u64)> = demand
            .skipped
            .0
            .iter()
            .map(|(reason, &count)| (reason.as_str(), count))
            .collect();
        assert_eq!(
            counted,
            [
                ("another number of fields than the header", 1),
                ("place that is none on Earth", 2),
                ("time that is not a number", 1),
            ]
        );
    }

    #[test]
    fn rides_between_zones_begin_around_their_middles() {
        let zones = zone_middles(
            "location_id,borough,zone,lat,lon\n1,EWR,\"Newark, Airport\",40.69,-74.17\n\
             2,Queens,Jamaica Bay,40.61,-73.81\n3,Queens,Jamaica Bay,0,0\n",
        )
        .unwrap();
        let text = "pickup,fare,pickup_zone,dropoff_zone\r\n\
            2019-03-23 20:21:09,7.0,Jamaica Bay,\"Newark, Airport\"\r\n\
            2019-03-23 20:21:09,7.0,Jamaica Bay,\r\n\
            2019-03-23 20:21:09,7.0,Jamaica Bay,Atlantis\r\n\
            23.3.2019,7.0,Jamaica Bay,Jamaica Bay\r\n";
        let demand = Demand::parse(text, Some(&zones), 0).unwrap();
        assert_eq!(demand.rides.len(), 1);
        let ride = demand.rides[0];
        assert_eq!(ride.at_ms, ((20 * 60 + 21) * 60 + 9) * 1000);
        assert!(ride.pickup.distance_m(LatLon::new(40.61, -73.81).unwrap()) < 2_000.0);
        assert_eq!(demand.skipped.0.values().sum::<u64>(), 3);
        let error = Demand::parse(text, None, 0).unwrap_err();
        assert!(error.to_string().contains("--zones"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let error = Demand::parse("pickup_unix,pickup_lat\n1,2\n", None, 0).unwrap_err();
        assert_eq!(error.to_string(), "the column pickup_lon is missing");
        let error = Demand::parse("a,b\n", None, 0).unwrap_err();
        assert!(error.to_string().contains("pickup_unix"), "{error}");
        let error = Demand::parse("", None, 0).unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
        let error = zone_middles("zone,lat,lon\nhere,x,1\n").unwrap_err();
        assert_eq!(error.to_string(), "row 2 is not a zone");
        let error = Demand::read(Path::new("/nowhere/rides.csv"), None, 0).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/rides.csv cannot be read"));
    }

    #[test]
    fn packed_files_are_unpacked_and_broken_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rides.csv.gz");
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(CABS.as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(
            Demand::read(&path, None, -7 * 3600).unwrap(),
            Demand::parse(CABS, None, -7 * 3600).unwrap()
        );
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        assert!(Demand::read(&path, None, 0).is_err());
    }
}
