//! What will happen when, under the virtual clock.

use std::{cmp::Reverse, collections::BinaryHeap};

use jitney_proto::ids::OfferId;

/// Something that will happen. Riders are named by their request, drivers by their place in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A driver comes on shift, or wants to leave.
    Shift { cab: u32, begins: bool },
    /// Somebody asks for a ride.
    Request(u32),
    /// Who still has no driver gives up.
    Impatience(u32),
    /// Who has a driver on the way calls the ride off.
    Regret(u32),
    /// A driver answers an offer.
    Answer {
        cab: u32,
        request: u32,
        offer: OfferId,
    },
    /// A car reaches its goal, if it is still on that drive.
    Arrival { cab: u32, drive_no: u32 },
    /// The rider sits in the car.
    Boarded { cab: u32, request: u32 },
    /// A phone tells where it is, if that is still its rhythm.
    Ping { cab: u32, ping_no: u32 },
    /// Matching looks for silence.
    Sweep,
}

/// The queue of events; those of one moment come in the order they were put in.
#[derive(Default)]
pub(crate) struct Agenda {
    queue: BinaryHeap<Reverse<(i64, u64, Event)>>,
    count: u64,
}

impl Agenda {
    pub fn put(&mut self, at_ms: i64, event: Event) {
        self.count += 1;
        self.queue.push(Reverse((at_ms, self.count, event)));
    }

    /// When the next one is due, milliseconds after midnight.
    pub fn next_ms(&self) -> Option<i64> {
        self.queue.peek().map(|Reverse((at_ms, _, _))| *at_ms)
    }

    pub fn take(&mut self) -> Option<(i64, Event)> {
        let Reverse((at_ms, _, event)) = self.queue.pop()?;
        Some((at_ms, event))
    }
}
