//! Lines as a tile shows them: with no more bends than can be seen, and cut off at its edge.

/// The square that lines are cut to.
pub(super) struct Square {
    low: f64,
    high: f64,
}

impl Square {
    /// A tile with its buffer, in units.
    pub fn new(buffer: u32, extent: u32) -> Self {
        Self {
            low: -f64::from(buffer),
            high: f64::from(extent + buffer),
        }
    }

    /// The pieces of a line inside, in whole units; what is a point only is left out.
    pub fn clip(&self, line: &[[f64; 2]]) -> Vec<Vec<[i32; 2]>> {
        let mut pieces = Vec::new();
        let mut piece: Vec<[i32; 2]> = Vec::new();
        let mut finish = |piece: &mut Vec<[i32; 2]>| {
            if piece.len() > 1 {
                pieces.push(std::mem::take(piece));
            } else {
                piece.clear();
            }
        };
        for ends in line.windows(2) {
            let Some((enter, leave)) = self.inside(ends[0], ends[1]) else {
                finish(&mut piece);
                continue;
            };
            if enter > 0.0 {
                finish(&mut piece);
            }
            for share in [enter, leave] {
                let point = round(along(ends[0], ends[1], share));
                if piece.last() != Some(&point) {
                    piece.push(point);
                }
            }
            if leave < 1.0 {
                finish(&mut piece);
            }
        }
        finish(&mut piece);
        pieces
    }

    /// From which share of a straight line to which it lies inside (Liang and Barsky).
    fn inside(&self, from: [f64; 2], to: [f64; 2]) -> Option<(f64, f64)> {
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        for axis in 0..2 {
            let step = to[axis] - from[axis];
            if step == 0.0 {
                if from[axis] < self.low || from[axis] > self.high {
                    return None;
                }
                continue;
            }
            let (at_low, at_high) = (
                (self.low - from[axis]) / step,
                (self.high - from[axis]) / step,
            );
            enter = enter.max(at_low.min(at_high));
            leave = leave.min(at_low.max(at_high));
        }
        (enter <= leave).then_some((enter, leave))
    }
}

fn along(from: [f64; 2], to: [f64; 2], share: f64) -> [f64; 2] {
    let on = |axis: usize| from[axis] + (to[axis] - from[axis]) * share;
    [on(0), on(1)]
}

fn round([x, y]: [f64; 2]) -> [i32; 2] {
    [x.round() as i32, y.round() as i32]
}

/// The line without the bends that lie no farther than `tolerance` from it (Douglas and Peucker).
pub(super) fn simplify(line: &[[f64; 2]], tolerance: f64) -> Vec<[f64; 2]> {
    let mut kept = vec![false; line.len()];
    for end in [0, line.len().saturating_sub(1)] {
        if let Some(kept) = kept.get_mut(end) {
            *kept = true;
        }
    }
    let mut open = vec![(0, line.len().saturating_sub(1))];
    while let Some((from, to)) = open.pop() {
        let farthest = (from + 1..to)
            .map(|bend| (distance(line[bend], line[from], line[to]), bend))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((far, bend)) = farthest
            && far > tolerance
        {
            kept[bend] = true;
            open.extend([(from, bend), (bend, to)]);
        }
    }
    let kept = line.iter().zip(kept).filter(|(_, kept)| *kept);
    kept.map(|(point, _)| *point).collect()
}

/// How far a point is from the straight line between two others.
fn distance([x, y]: [f64; 2], from: [f64; 2], to: [f64; 2]) -> f64 {
    let (step_x, step_y) = (to[0] - from[0], to[1] - from[1]);
    let length_2 = step_x * step_x + step_y * step_y;
    let share = if length_2 > 0.0 {
        (((x - from[0]) * step_x + (y - from[1]) * step_y) / length_2).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let near = along(from, to, share);
    (x - near[0]).hypot(y - near[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_the_edge_and_comes_back_as_another_piece() {
        let square = Square::new(0, 100);
        let out_and_in = [
            [-50.0, 50.0],
            [50.0, 50.0],
            [50.0, 150.0],
            [80.0, 150.0],
            [80.0, 20.0],
        ];
        let pieces = square.clip(&out_and_in);
        assert_eq!(
            pieces,
            [
                vec![[0, 50], [50, 50], [50, 100]],
                vec![[80, 100], [80, 20]],
            ]
        );
        assert!(square.clip(&[[-1.0, -1.0], [-1.0, 200.0]]).is_empty());
        assert!(
            square.clip(&[[50.1, 50.1], [50.2, 50.2]]).is_empty(),
            "a point is no line"
        );
        // Through a corner of the square, with both ends outside.
        assert_eq!(
            square.clip(&[[-10.0, 10.0], [10.0, -10.0]]),
            Vec::<Vec<[i32; 2]>>::new()
        );
        assert_eq!(
            square.clip(&[[-10.0, 20.0], [20.0, -10.0]]),
            [vec![[0, 10], [10, 0]]]
        );
    }

    #[test]
    fn only_bends_that_can_be_seen_are_kept() {
        let bent = [[0.0, 0.0], [10.0, 0.5], [20.0, 9.0], [30.0, 0.0]];
        assert_eq!(
            simplify(&bent, 1.0),
            [[0.0, 0.0], [10.0, 0.5], [20.0, 9.0], [30.0, 0.0]]
        );
        let straight = [[0.0, 0.0], [10.0, 0.5], [20.0, -0.5], [30.0, 0.0]];
        assert_eq!(simplify(&straight, 1.0), [[0.0, 0.0], [30.0, 0.0]]);
        let round_trip = [[0.0, 0.0], [10.0, 0.0], [0.0, 0.0]];
        assert_eq!(
            simplify(&round_trip, 1.0),
            round_trip,
            "there and back is no point"
        );
    }
}
