//! A page of metrics in Prometheus' text format, and what happened between two of them.

use std::collections::BTreeMap;

/// One number.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Series {
    fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name
            && labels
                .iter()
                .all(|(label, value)| self.labels.get(*label).is_some_and(|own| own == value))
    }
}

/// Every number of a process, or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page(Vec<Series>);

impl Page {
    /// Reads what it can; lines that are something else are left out.
    pub fn parse(text: &str) -> Page {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Page(lines.filter_map(series).collect())
    }

    /// Has the numbers of another process beside its own.
    pub fn add(&mut self, other: Page) {
        self.0.extend(other.0);
    }

    /// The sum of a metric's numbers with these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mine = self.0.iter().filter(|series| series.has(name, labels));
        mine.map(|series| series.value).sum()
    }

    /// A metric's numbers by a label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for series in self.0.iter().filter(|series| series.name == name) {
            if let Some(value) = series.labels.get(label) {
                *sums.entry(value.clone()).or_default() += series.value;
            }
        }
        sums
    }

    /// A histogram's buckets: the bound and how many are at most that.
    fn buckets(&self, histogram: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let name = format!("{histogram}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for series in self.0.iter().filter(|series| series.has(&name, labels)) {
            let bound = series.labels.get("le").and_then(|le| number(le));
            let Some(bound) = bound else { continue };
            match buckets.iter_mut().find(|bucket| bucket.0 == bound) {
                Some(bucket) => bucket.1 += series.value,
                None => buckets.push((bound, series.value)),
            }
        }
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        buckets
    }
}

/// What happened between two looks.
pub struct Between {
    /// The first.
    pub before: Page,
    /// The second.
    pub now: Page,
    /// How far they are apart, in seconds.
    pub seconds: f64,
}

impl Between {
    /// How many a second.
    pub fn rate(&self, counter: &str, labels: &[(&str, &str)]) -> f64 {
        if self.seconds <= 0.0 {
            return 0.0;
        }
        // A process that began anew counts from nothing.
        let more = self.now.sum(counter, labels) - self.before.sum(counter, labels);
        more.max(0.0) / self.seconds
    }

    /// Below which duration a share `q` was, in seconds, of what happened in between; where that was nothing,
    /// of all that ever did. `None` where nothing ever happened.
    pub fn quantile(&self, q: f64, histogram: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let now = self.now.buckets(histogram, labels);
        let before: BTreeMap<u64, f64> = self
            .before
            .buckets(histogram, labels)
            .into_iter()
            .map(|(bound, count)| (bound.to_bits(), count))
            .collect();
        let since = |bucket: &(f64, f64)| {
            let earlier = before.get(&bucket.0.to_bits()).copied().unwrap_or_default();
            (bucket.0, (bucket.1 - earlier).max(0.0))
        };
        let recent: Vec<(f64, f64)> = now.iter().map(since).collect();
        in_buckets(q, &recent).or_else(|| in_buckets(q, &now))
    }
}

/// Where a share of what is in buckets ends, as if it lay evenly in each.
fn in_buckets(q: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    let all = buckets.last()?.1;
    if all <= 0.0 {
        return None;
    }
    let wanted = q * all;
    let (mut low, mut below) = (0.0, 0.0);
    for &(bound, count) in buckets {
        if count >= wanted {
            if bound.is_infinite() {
                return Some(low);
            }
            let inside = count - below;
            let part = if inside > 0.0 {
                (wanted - below) / inside
            } else {
                1.0
            };
            return Some(low + (bound - low) * part);
        }
        (low, below) = (bound, count);
    }
    Some(low)
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        text => text.parse().ok(),
    }
}

/// One line.
fn series(line: &str) -> Option<Series> {
    let (head, rest) = match line.find('{') {
        Some(open) => {
            let close = line.rfind('}')?;
            let inside = line.get(open + 1..close)?;
            return Some(Series {
                name: line.get(..open)?.to_owned(),
                labels: labels(inside),
                value: number(line.get(close + 1..)?.split_whitespace().next()?)?,
            });
        }
        None => line.split_once(' ')?,
    };
    Some(Series {
        name: head.to_owned(),
        labels: BTreeMap::new(),
        value: number(rest.split_whitespace().next()?)?,
    })
}

fn labels(inside: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = inside;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (mut value, mut end, mut escaped) = (String::new(), after.len(), false);
        for (at, character) in after.char_indices() {
            match character {
                'n' if escaped => value.push('\n'),
                other if escaped => value.push(other),
                '\\' => {
                    escaped = true;
                    continue;
                }
                '"' => {
                    end = at + 1;
                    break;
                }
                other => value.push(other),
            }
            escaped = false;
        }
        labels.insert(name.trim_start_matches(',').trim().to_owned(), value);
        rest = after.get(end..).unwrap_or_default();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP a_total what\n# TYPE a_total counter\na_total{x=\"1\",y=\"a\\\"b\"} 3\n\
        a_total{x=\"2\",y=\"c\"} 4\nplain 7 1700000000\nodd\nodd{x=\"\n\
        t_seconds_bucket{le=\"1\"} 5\nt_seconds_bucket{le=\"2\"} 10\nt_seconds_bucket{le=\"+Inf\"} 10\n";

    #[test]
    fn a_page_is_read() {
        let page = Page::parse(PAGE);
        assert_eq!(page.sum("a_total", &[]), 7.0);
        assert_eq!(page.sum("a_total", &[("y", "a\"b")]), 3.0);
        assert_eq!(page.sum("plain", &[]), 7.0);
        let by: Vec<_> = page.by("a_total", "x").into_iter().collect();
        assert_eq!(by, [("1".to_owned(), 3.0), ("2".to_owned(), 4.0)]);
    }

    #[test]
    fn two_processes_are_one_city() {
        let mut page = Page::parse(PAGE);
        page.add(Page::parse(PAGE));
        assert_eq!(page.sum("a_total", &[]), 14.0);
    }

    #[test]
    fn rates_and_quantiles_are_of_what_happened_in_between() {
        let between = Between {
            before: Page::parse(
                "a_total 10\nt_seconds_bucket{le=\"1\"} 5\nt_seconds_bucket{le=\"2\"} 5\n\
                t_seconds_bucket{le=\"+Inf\"} 5\n",
            ),
            now: Page::parse(&format!("a_total 30\n{PAGE}")),
            seconds: 2.0,
        };
        assert_eq!(between.rate("a_total", &[]), 13.5);
        // Five more, all between one second and two.
        assert_eq!(between.quantile(0.5, "t_seconds", &[]), Some(1.5));
        let still = Between {
            before: Page::parse(PAGE),
            now: Page::parse(PAGE),
            seconds: 0.0,
        };
        assert_eq!(still.rate("a_total", &[]), 0.0);
        assert_eq!(still.quantile(0.5, "t_seconds", &[]), Some(1.0));
        assert_eq!(still.quantile(0.5, "nothing", &[]), None);
    }
}
