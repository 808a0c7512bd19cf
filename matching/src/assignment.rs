//! Who gets whom when many requests and many drivers are matched at once: the sparse assignment
//! problem, solved exactly.
//!
//! Rows are requests, columns are drivers, and only some pairs are possible. Every row may also be
//! left out, at a cost of its own; think of a private column that only this row can take.
//!
//! The method is successive shortest augmenting paths with prices, after R. Jonker and
//! A. Volgenant, *A shortest augmenting path algorithm for dense and sparse linear assignment
//! problems*, Computing 38 (1987). Rows are added one by one. Each column has a price of at most 0,
//! which is 0 while nobody has the column, and each row added has a value, such that
//!
//! - `value + price <= cost` for each of its pairs, and `value <= cost` of leaving it out;
//! - equality holds for what the row has got.
//!
//! No other choice for the rows added so far can then cost less. To add a row, Dijkstra's algorithm
//! on `cost - value - price` looks for the shortest way from it to a free column, or to a row that is
//! better left out; everyone on the way moves up by one. Most rows find their nearest column free and
//! look no further. Of their opening phases, column reduction gives prices to columns that nobody has,
//! which is wrong where columns are left over; row reduction was tried and saved too little.
//!
//! A row that was left out stays so. It can be reached over its own private column alone, and no
//! other row has a pair with that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No row, or no column.
const NONE: u32 = u32::MAX;

/// The highest cost that counts, in milliseconds. Values and prices stay within its double and ways
/// within three times that, however many rows there are, so nothing overflows.
const MOST: i64 = i64::MAX / 16;

/// One candidate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The request, counted from 0.
    pub row: u32,
    /// The driver, counted from 0.
    pub column: u32,
    /// What the pair costs, in milliseconds; not negative.
    pub cost: i64,
}

/// For each row the column it gets, if any. Each column is given at most once, and a row only gets a
/// column that it has a pair with.
///
/// `unserved_cost` says for each row what it costs to leave it out, in milliseconds and not negative.
/// The costs of the chosen pairs and of the rows left out have the lowest possible sum; among equal
/// sums, as few rows as possible are left out. Costs above `i64::MAX / 16` count as that.
///
/// The answer is a function of the *set* of pairs: their order does not matter, and of several pairs
/// of the same row and column the cheapest counts. Where several answers are best, the order of work
/// decides. Rows are added in ascending order, each by a shortest path. The search settles the
/// nearest column next, of equally near ones the lowest. A row looks at its columns from the cheapest
/// on, of equally cheap ones from the lowest on. Of equally near ends, and of equally short ways to
/// the same column, the first one met counts; so the row being added is left out rather than another
/// that was there before it, and a low column is taken rather than a high one.
///
/// Pairs outside of `rows` and `columns` and negative costs are mistakes, and panic in debug builds;
/// else such pairs are ignored and such costs count as 0.
#[must_use]
pub fn assign(
    rows: usize,
    columns: usize,
    pairs: &[Pair],
    unserved_cost: &[i64],
) -> Vec<Option<u32>> {
    let solver = solve(rows, columns, pairs, unserved_cost);
    let given = solver.given.into_iter();
    given
        .map(|column| (column != NONE).then_some(column))
        .collect()
}

fn solve(rows: usize, columns: usize, pairs: &[Pair], unserved_cost: &[i64]) -> Solver {
    let candidates = Candidates::new(rows, columns, pairs, unserved_cost);
    let mut solver = Solver::new(candidates, columns);
    for row in 0..rows as u32 {
        solver.add(row);
    }
    solver
}

/// The pairs by row.
///
/// Costs are doubled, and leaving a row out costs 1 more. Two assignments differ by chains along
/// which rows change columns, and a chain leaves at most one row more out, or one less; so this
/// never outweighs a difference in true cost and decides between equals.
struct Candidates {
    /// Where the choices of each row begin, and where the last row's end.
    begin: Vec<usize>,
    /// Each row's from the cheapest on. Of the same column there may be several: those after the
    /// first are no shorter way to anywhere.
    choices: Vec<Choice>,
    /// The cost of leaving out each row.
    unserved: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Choice {
    cost: i64,
    column: u32,
}

impl Candidates {
    fn new(rows: usize, columns: usize, pairs: &[Pair], unserved_cost: &[i64]) -> Self {
        debug_assert_eq!(unserved_cost.len(), rows, "one cost for each row");
        let unserved_of = |row| unserved_cost.get(row).copied().unwrap_or_default();
        let unserved: Vec<i64> = (0..rows).map(|row| doubled(unserved_of(row)) + 1).collect();
        // Dearer than leaving the row out is never chosen.
        let useful = |pair: &&Pair| {
            let in_range = (pair.row as usize) < rows && (pair.column as usize) < columns;
            debug_assert!(in_range, "{pair:?} is outside of {rows} x {columns}");
            in_range && doubled(pair.cost) < unserved[pair.row as usize]
        };
        let (begin, mut choices) = by_row(rows, pairs.iter().filter(useful));
        for row in begin.windows(2) {
            choices[row[0]..row[1]].sort_unstable();
        }
        Self {
            begin,
            choices,
            unserved,
        }
    }

    fn of(&self, row: u32) -> &[Choice] {
        let row = row as usize;
        &self.choices[self.begin[row]..self.begin[row + 1]]
    }
}

/// A cost as it is reckoned with.
fn doubled(cost: i64) -> i64 {
    debug_assert!(cost >= 0, "a cost of {cost}");
    cost.clamp(0, MOST) * 2
}

/// Where the choices of each row begin and the last row's end; and the choices, grouped by row.
fn by_row<'a>(
    rows: usize,
    pairs: impl Iterator<Item = &'a Pair> + Clone,
) -> (Vec<usize>, Vec<Choice>) {
    let mut begin = vec![0; rows + 1];
    for pair in pairs.clone() {
        begin[pair.row as usize + 1] += 1;
    }
    for row in 0..rows {
        begin[row + 1] += begin[row];
    }
    let mut next = begin.clone();
    let mut choices = vec![Choice { cost: 0, column: 0 }; begin[rows]];
    for pair in pairs {
        let place = &mut next[pair.row as usize];
        choices[*place] = Choice {
            cost: doubled(pair.cost),
            column: pair.column,
        };
        *place += 1;
    }
    (begin, choices)
}

struct Solver {
    candidates: Candidates,
    /// The column of each row.
    given: Vec<u32>,
    /// The value of each row that was added.
    value: Vec<i64>,
    columns: Vec<Column>,
    /// The search going on, counted from 1. What a column says of an earlier one is left over.
    search: u32,
    /// Taken columns to settle, nearest first, by distance. Those reached again on a shorter way are
    /// in it twice.
    heap: BinaryHeap<Reverse<(i64, u32)>>,
    /// Columns settled in this search.
    settled: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Column {
    price: i64,
    /// The row that has it.
    owner: u32,
    /// The search that reached it last.
    search: u32,
    /// In that search: how far it is, and from which row it was reached.
    distance: i64,
    from: u32,
}

/// Where a path ends: the row takes the free column, or is left out.
struct End {
    distance: i64,
    row: u32,
    column: u32,
}

impl Solver {
    fn new(candidates: Candidates, columns: usize) -> Self {
        let rows = candidates.unserved.len();
        let free = Column {
            price: 0,
            owner: NONE,
            search: 0,
            distance: 0,
            from: NONE,
        };
        Self {
            candidates,
            given: vec![NONE; rows],
            value: vec![0; rows],
            columns: vec![free; columns],
            search: 0,
            heap: BinaryHeap::new(),
            settled: Vec::new(),
        }
    }

    /// Adds a row to those that are best served so far.
    fn add(&mut self, start: u32) {
        self.search += 1;
        self.heap.clear();
        self.settled.clear();
        let mut end = End {
            distance: self.candidates.unserved[start as usize],
            row: start,
            column: NONE,
        };
        self.look_on(start, 0, &mut end);
        while let Some(Reverse((distance, column))) = self.heap.pop() {
            if distance >= end.distance {
                break;
            }
            let reached = self.columns[column as usize];
            if distance == reached.distance {
                self.settled.push(column);
                let owner = reached.owner;
                self.look_on(owner, distance - self.value[owner as usize], &mut end);
            }
        }
        self.reprice(start, end.distance);
        self.move_up(start, &end);
    }

    /// Looks at what else the row could do. `base` is how far the row is, less its value.
    fn look_on(&mut self, row: u32, base: i64, end: &mut End) {
        let distance = base + self.candidates.unserved[row as usize];
        if distance < end.distance {
            *end = End {
                distance,
                row,
                column: NONE,
            };
        }
        for choice in self.candidates.of(row) {
            if base + choice.cost >= end.distance {
                // No price is above 0, so neither this one nor a dearer one is nearer than the end.
                break;
            }
            let column = &mut self.columns[choice.column as usize];
            let distance = base + choice.cost - column.price;
            let known = column.search == self.search && column.distance <= distance;
            if known || distance >= end.distance {
                continue;
            }
            column.search = self.search;
            column.distance = distance;
            column.from = row;
            if column.owner == NONE {
                *end = End {
                    distance,
                    row,
                    column: choice.column,
                };
            } else {
                self.heap.push(Reverse((distance, choice.column)));
            }
        }
    }

    /// Changes prices and values so that every step of the path found costs nothing.
    fn reprice(&mut self, start: u32, distance: i64) {
        self.value[start as usize] = distance;
        for &column in &self.settled {
            let column = &mut self.columns[column as usize];
            let gain = distance - column.distance;
            column.price -= gain;
            self.value[column.owner as usize] += gain;
        }
    }

    /// Goes the path from its end back to its start, and lets each row leave its column to the one
    /// before.
    fn move_up(&mut self, start: u32, end: &End) {
        let (mut row, mut column) = (end.row, end.column);
        loop {
            let left = std::mem::replace(&mut self.given[row as usize], column);
            if column != NONE {
                self.columns[column as usize].owner = row;
            }
            if row == start {
                break;
            }
            column = left;
            row = self.columns[column as usize].from;
        }
    }
}

#[cfg(test)]
mod tests {
    use jitney_roads::testmap::Dice;

    use super::*;

    /// What to assign.
    struct Round {
        rows: usize,
        columns: usize,
        pairs: Vec<Pair>,
        unserved_cost: Vec<i64>,
    }

    impl Round {
        /// Each pair possible with a chance of `share`, all costs below the given ones.
        fn random(dice: &mut Dice, size: (u32, u32), share: f64, below: (u32, u32)) -> Self {
            let mut pairs = Vec::new();
            for row in 0..size.0 {
                for column in 0..size.1 {
                    while dice.share() < share {
                        let cost = i64::from(dice.below(below.0));
                        pairs.push(Pair { row, column, cost });
                    }
                }
            }
            let unserved_cost = (0..size.0).map(|_| dice.below(below.1).into()).collect();
            let (rows, columns) = (size.0 as usize, size.1 as usize);
            Self {
                rows,
                columns,
                pairs,
                unserved_cost,
            }
        }

        /// Points in a square of 20 km, each row with the columns nearest to it, all at 10 m/s.
        fn on_a_plane(dice: &mut Dice, size: (u32, u32), nearest: usize, below: u32) -> Self {
            let mut point = || (dice.below(20_000), dice.below(20_000));
            let columns: Vec<_> = (0..size.1).map(|_| point()).collect();
            let mut pairs = Vec::new();
            for row in 0..size.0 {
                let here = point();
                let away = |there: (u32, u32)| here.0.abs_diff(there.0) + here.1.abs_diff(there.1);
                let costs = columns.iter().map(|&there| i64::from(away(there)) * 100);
                let mut near: Vec<(i64, u32)> = costs.zip(0..).collect();
                near.sort_unstable();
                let near = near.into_iter().take(nearest);
                pairs.extend(near.map(|(cost, column)| Pair { row, column, cost }));
            }
            Self {
                rows: size.0 as usize,
                columns: columns.len(),
                pairs,
                unserved_cost: (0..size.0).map(|_| dice.below(below).into()).collect(),
            }
        }

        fn shuffled(&self, dice: &mut Dice) -> Vec<Pair> {
            let mut pairs = self.pairs.clone();
            for place in (1..pairs.len()).rev() {
                pairs.swap(place, dice.below(place as u32 + 1) as usize);
            }
            pairs
        }

        fn assign(&self) -> Vec<Option<u32>> {
            assign(self.rows, self.columns, &self.pairs, &self.unserved_cost)
        }

        fn cost(&self, row: usize, column: u32) -> Option<i64> {
            let of = |pair: &&Pair| pair.row as usize == row && pair.column == column;
            self.pairs.iter().filter(of).map(|pair| pair.cost).min()
        }

        /// The sum of the costs and how many rows are left out, of an answer that keeps the rules.
        fn score(&self, given: &[Option<u32>]) -> (i64, usize) {
            assert_eq!(given.len(), self.rows);
            let mut taken: Vec<u32> = given.iter().flatten().copied().collect();
            taken.sort_unstable();
            assert!(taken.is_sorted_by(|one, next| one < next), "{given:?}");
            let costs = given.iter().enumerate().map(|(row, column)| match column {
                Some(column) => self.cost(row, *column).expect("a pair was chosen"),
                None => self.unserved_cost[row],
            });
            (costs.sum(), self.rows - taken.len())
        }

        /// The best score from that row on, by trying everything.
        fn best(&self, row: usize, taken: u32) -> (i64, usize) {
            if row == self.rows {
                return (0, 0);
            }
            let (cost, out) = self.best(row + 1, taken);
            let mut best = (cost + self.unserved_cost[row], out + 1);
            for column in 0..self.columns as u32 {
                if taken & (1 << column) == 0
                    && let Some(own) = self.cost(row, column)
                {
                    let (cost, out) = self.best(row + 1, taken | 1 << column);
                    best = best.min((cost + own, out));
                }
            }
            best
        }

        /// Holds the answer against its values and prices: their sum is a lower bound of the cost.
        fn prove(&self) {
            let score = self.score(&self.assign());
            let solver = solve(self.rows, self.columns, &self.pairs, &self.unserved_cost);
            for pair in &self.pairs {
                let price = solver.columns[pair.column as usize].price;
                assert!(solver.value[pair.row as usize] + price <= 2 * pair.cost);
            }
            for (value, cost) in solver.value.iter().zip(&self.unserved_cost) {
                assert!(*value <= 2 * cost + 1);
            }
            let prices = solver.columns.iter().map(|column| column.price);
            assert!(prices.clone().all(|price| price <= 0));
            let bound = solver.value.iter().sum::<i64>() + prices.sum::<i64>();
            assert_eq!(2 * score.0 + score.1 as i64, bound);
        }
    }

    fn pair(row: u32, column: u32, cost: i64) -> Pair {
        Pair { row, column, cost }
    }

    #[test]
    fn nothing_beats_it_on_small_rounds() {
        let mut dice = Dice::new(1);
        for _ in 0..4000 {
            let size = (dice.below(7), dice.below(6));
            // Low ends make ties and zeros; rows cheaper to leave out than to serve, and dearer.
            let below = [2, 4, 10, 1000][dice.below(4) as usize];
            let below = (below, below * (1 + dice.below(4)) / 2);
            let share = dice.share() * 0.8;
            let round = Round::random(&mut dice, size, share, below);
            let best = round.best(0, 0);
            assert_eq!(round.score(&round.assign()), best, "{:?}", round.pairs);
        }
    }

    #[test]
    fn values_and_prices_prove_larger_rounds() {
        let mut dice = Dice::new(2);
        for size in [(300, 900), (400, 400), (500, 200), (300, 20)] {
            for below in [20_000, 2_000_000] {
                Round::on_a_plane(&mut dice, size, 12, below).prove();
            }
            Round::random(&mut dice, size, 0.03, (6, 12)).prove();
        }
    }

    #[test]
    fn the_order_of_pairs_does_not_matter() {
        let mut dice = Dice::new(3);
        for number in 0..60 {
            // Nearly everything ties.
            let size = (40, 20 + number);
            let mut round = Round::random(&mut dice, size, 0.2, (3, 5));
            let given = round.assign();
            for _ in 0..5 {
                round.pairs = round.shuffled(&mut dice);
                assert_eq!(round.assign(), given);
            }
            round.pairs.sort_unstable_by_key(|pair| pair.cost);
            let mut seen = std::collections::HashSet::new();
            round
                .pairs
                .retain(|pair| seen.insert((pair.row, pair.column)));
            assert_eq!(round.assign(), given, "dearer doubles count");
        }
    }

    #[test]
    fn whoever_is_alone_gets_nobody() {
        assert_eq!(assign(0, 0, &[], &[]), []);
        assert_eq!(assign(0, 3, &[], &[]), []);
        assert_eq!(assign(2, 0, &[], &[5, 5]), [None, None]);
        assert_eq!(assign(2, 2, &[pair(1, 1, 4)], &[5, 5]), [None, Some(1)]);
    }

    #[test]
    fn a_row_dearer_to_serve_than_to_leave_out_is_left_out() {
        let pairs = [pair(0, 0, 11), pair(1, 0, 10), pair(2, 1, 9)];
        let given = assign(3, 2, &pairs, &[10, 10, 10]);
        assert_eq!(given, [None, Some(0), Some(1)], "and served at equal cost");
    }

    #[test]
    fn the_row_that_matters_more_gets_the_only_column() {
        let pairs = [pair(0, 0, 1), pair(1, 0, 50)];
        assert_eq!(assign(2, 1, &pairs, &[100, 149]), [Some(0), None]);
        assert_eq!(assign(2, 1, &pairs, &[100, 150]), [None, Some(0)]);
        let equal = [pair(0, 0, 7), pair(1, 0, 7)];
        assert_eq!(assign(2, 1, &equal, &[100, 100]), [Some(0), None]);
    }

    #[test]
    fn a_row_moves_over_for_another() {
        let pairs = [pair(0, 0, 1), pair(0, 1, 3), pair(1, 0, 2)];
        assert_eq!(assign(2, 2, &pairs, &[9, 9]), [Some(1), Some(0)]);
        let equal = [pair(0, 2, 5), pair(0, 1, 5), pair(1, 2, 5), pair(1, 1, 5)];
        assert_eq!(assign(2, 3, &equal, &[9, 9]), [Some(1), Some(2)]);
    }

    #[test]
    fn absurd_costs_do_not_overflow() {
        let costs = [0, i64::MAX / 16 - 1, i64::MAX / 16, i64::MAX];
        let mut dice = Dice::new(4);
        for _ in 0..200 {
            let mut round = Round::random(&mut dice, (30, 20), 0.3, (4, 4));
            for pair in &mut round.pairs {
                pair.cost = costs[pair.cost as usize];
            }
            round.unserved_cost = vec![i64::MAX; 30];
            let given = round.assign();
            assert!(given.iter().flatten().count() >= 15);
        }
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "outside of 1 x 1"))]
    fn pairs_out_of_range_are_mistakes() {
        let pairs = [pair(0, 1, 1), pair(1, 0, 1), pair(0, 0, 2)];
        assert_eq!(assign(1, 1, &pairs, &[9]), [Some(0)]);
    }
}
