//! Driver apps' sessions: numbered messages, kept until they are acknowledged, over reconnects.
//!
//! A driver has one session and at most one connection. Welcomes, receipts and updates are told to
//! whoever is connected and then forgotten; offers, withdrawals, assignments and their ends get a
//! number and are kept until the app says it has taken them in.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use jitney_proto::{
    Code,
    ids::SessionId,
    matching::v1::{StreamDriverResponse, stream_driver_response::Message},
};
use rustc_hash::FxHashMap;

use crate::{fleet::DriverKey, outbound::Outbound};

/// The sessions of all drivers.
pub struct Sessions {
    by_driver: FxHashMap<DriverKey, Session>,
    unacknowledged_max: usize,
    connections: u64,
}

/// Tells a driver's connections apart, so that the end of an old one does not end the new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionNo(u64);

struct Session {
    id: SessionId,
    last_seq: u64,
    unacknowledged: VecDeque<StreamDriverResponse>,
    connection: Option<(ConnectionNo, Outbound<StreamDriverResponse>)>,
    /// When the last connection ended.
    left_at: DateTime<Utc>,
}

/// What became of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The connection.
    pub connection: ConnectionNo,
    /// The session it belongs to.
    pub session: SessionId,
    /// Whether that is the one the app asked to resume.
    pub resumed: bool,
}

impl Sessions {
    /// None yet; each will keep at most that many unacknowledged messages.
    pub fn new(unacknowledged_max: usize) -> Self {
        Self {
            by_driver: FxHashMap::default(),
            unacknowledged_max,
            connections: 0,
        }
    }

    /// Connects a driver: to the session `resume` names, with everything up to `last_seq` taken in,
    /// or to a new one called `fresh`. An older connection is closed.
    pub fn open(
        &mut self,
        driver: DriverKey,
        resume: Option<(SessionId, u64)>,
        fresh: SessionId,
        outbound: Outbound<StreamDriverResponse>,
        now: DateTime<Utc>,
    ) -> Opened {
        self.connections += 1;
        let connection = ConnectionNo(self.connections);
        let session = self
            .by_driver
            .entry(driver)
            .or_insert_with(|| Session::new(fresh, now));
        if let Some((_, older)) = session.connection.take() {
            older.close(Code::Superseded.status("a newer connection of this driver took over"));
        }
        // A number that was never sent belongs to some other session of that name.
        let resumed = resume.is_some_and(|(id, seq)| id == session.id && seq <= session.last_seq);
        match resume {
            Some((_, seq)) if resumed => session.acknowledge(seq),
            _ => *session = Session::new(fresh, now),
        }
        session.connection = Some((connection, outbound));
        Opened {
            connection,
            session: session.id,
            resumed,
        }
    }

    /// Sends everything unacknowledged again, with the numbers it had.
    pub fn resend(&mut self, driver: DriverKey) {
        let Some(session) = self.by_driver.get_mut(&driver) else {
            return;
        };
        let Some((_, outbound)) = &session.connection else {
            return;
        };
        for message in &session.unacknowledged {
            if !outbound.send(message.clone()) {
                break;
            }
        }
    }

    /// Sends a message that is not kept, if the driver is connected.
    pub fn tell(&mut self, driver: DriverKey, message: Message) {
        if let Some(session) = self.by_driver.get_mut(&driver) {
            session.send(StreamDriverResponse {
                seq: 0,
                message: Some(message),
            });
        }
    }

    /// Sends a message that is kept until it is acknowledged. Without a session there is nobody to
    /// keep it for: a new session begins with what is open then.
    pub fn push(&mut self, driver: DriverKey, message: Message) {
        let Some(session) = self.by_driver.get_mut(&driver) else {
            return;
        };
        if session.unacknowledged.len() == self.unacknowledged_max {
            if let Some((_, outbound)) = &session.connection {
                outbound.close(Code::Overloaded.status(
                    "too many messages were not acknowledged; connect again with a new session",
                ));
            }
            self.by_driver.remove(&driver);
            return;
        }
        session.last_seq += 1;
        let message = StreamDriverResponse {
            seq: session.last_seq,
            message: Some(message),
        };
        session.unacknowledged.push_back(message.clone());
        session.send(message);
    }

    /// The app has taken in everything up to a number.
    pub fn acknowledge(&mut self, driver: DriverKey, seq: u64) {
        if let Some(session) = self.by_driver.get_mut(&driver) {
            session.acknowledge(seq);
        }
    }

    /// A connection ended; the session stays.
    pub fn left(&mut self, driver: DriverKey, connection: ConnectionNo, now: DateTime<Utc>) {
        if let Some(session) = self.by_driver.get_mut(&driver)
            && session
                .connection
                .as_ref()
                .is_some_and(|(number, _)| *number == connection)
        {
            session.connection = None;
            session.left_at = now;
        }
    }

    /// Whether messages are kept for the driver.
    pub fn is_kept(&self, driver: DriverKey) -> bool {
        self.by_driver.contains_key(&driver)
    }

    /// Whether the driver's app is connected.
    pub fn is_connected(&self, driver: DriverKey) -> bool {
        let session = self.by_driver.get(&driver);
        session.is_some_and(|session| session.connection.is_some())
    }

    /// Forgets the sessions that nobody has come back to since a moment.
    pub fn forget_before(&mut self, moment: DateTime<Utc>) {
        self.by_driver
            .retain(|_, session| session.connection.is_some() || session.left_at > moment);
    }

    /// Closes every connection; the sessions stay.
    pub fn close_all(&mut self, status: &tonic::Status) {
        for session in self.by_driver.values_mut() {
            if let Some((_, outbound)) = session.connection.take() {
                outbound.close(status.clone());
            }
        }
    }
}

impl Session {
    fn new(id: SessionId, now: DateTime<Utc>) -> Self {
        let unacknowledged = VecDeque::new();
        Self {
            id,
            last_seq: 0,
            unacknowledged,
            connection: None,
            left_at: now,
        }
    }

    fn acknowledge(&mut self, seq: u64) {
        while self
            .unacknowledged
            .front()
            .is_some_and(|message| message.seq <= seq)
        {
            self.unacknowledged.pop_front();
        }
    }

    fn send(&mut self, message: StreamDriverResponse) {
        if let Some((_, outbound)) = &self.connection {
            outbound.send(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use jitney_proto::matching::v1::{AssignmentEnded, DriverUpdate};
    use uuid::Uuid;

    use super::*;
    use crate::outbound::{OutboundStream, outbound};

    const ANNA: DriverKey = DriverKey(0);
    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn id(number: u128) -> SessionId {
        SessionId(Uuid::from_u128(number))
    }

    fn kept(trip: &str) -> Message {
        Message::AssignmentEnded(AssignmentEnded {
            trip_id: trip.into(),
            trip_state: String::new(),
        })
    }

    /// Numbers of what is queued.
    fn queued(stream: &mut OutboundStream<StreamDriverResponse>) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(Some(Ok(message))) = futures::FutureExt::now_or_never(stream.next()) {
            numbers.push(message.seq);
        }
        numbers
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_with_its_number() {
        let mut sessions = Sessions::new(10);
        let (out, mut first) = outbound(10);
        let opened = sessions.open(ANNA, None, id(1), out, NOW);
        assert!(!opened.resumed);
        for trip in ["a", "b", "c"] {
            sessions.push(ANNA, kept(trip));
        }
        sessions.tell(ANNA, Message::DriverUpdate(DriverUpdate::default()));
        assert_eq!(queued(&mut first), [1, 2, 3, 0]);
        sessions.acknowledge(ANNA, 1);
        sessions.left(ANNA, opened.connection, NOW);
        assert!(!sessions.is_connected(ANNA));
        sessions.push(ANNA, kept("d"));

        let (out, mut second) = outbound(10);
        let opened = sessions.open(ANNA, Some((id(1), 2)), id(2), out, NOW);
        assert!(opened.resumed && opened.session == id(1));
        sessions.resend(ANNA);
        assert_eq!(queued(&mut second), [3, 4]);
    }

    #[test]
    fn a_newer_connection_takes_over_and_the_older_cannot_end_it() {
        let mut sessions = Sessions::new(10);
        let (out, mut first) = outbound(10);
        let older = sessions.open(ANNA, None, id(1), out, NOW);
        let (out, _second) = outbound(10);
        let newer = sessions.open(ANNA, Some((id(1), 0)), id(2), out, NOW);
        assert!(newer.resumed);
        let status = futures::executor::block_on(first.next())
            .unwrap()
            .unwrap_err();
        assert_eq!(Code::of(&status), Some(Code::Superseded));
        sessions.left(ANNA, older.connection, NOW);
        assert!(sessions.is_connected(ANNA));
    }

    #[test]
    fn a_session_that_is_gone_is_not_resumed() {
        let mut sessions = Sessions::new(10);
        let open = |sessions: &mut Sessions, resume, fresh| {
            let (out, _) = outbound(10);
            let opened = sessions.open(ANNA, resume, id(fresh), out, NOW);
            sessions.left(ANNA, opened.connection, NOW);
            opened
        };
        open(&mut sessions, None, 1);
        assert!(
            !open(&mut sessions, Some((id(9), 0)), 2).resumed,
            "another name"
        );
        assert!(
            !open(&mut sessions, Some((id(2), 5)), 3).resumed,
            "a number never sent"
        );
        sessions.forget_before(NOW);
        assert!(
            !open(&mut sessions, Some((id(3), 0)), 4).resumed,
            "forgotten"
        );
    }

    #[test]
    fn an_app_that_never_acknowledges_starts_afresh() {
        let mut sessions = Sessions::new(2);
        let (out, stream) = outbound(10);
        sessions.open(ANNA, None, id(1), out, NOW);
        for trip in ["a", "b", "c"] {
            sessions.push(ANNA, kept(trip));
        }
        assert!(!sessions.is_connected(ANNA));
        let last = futures::executor::block_on(stream.collect::<Vec<_>>());
        assert_eq!(
            Code::of(last[0].as_ref().unwrap_err()),
            Some(Code::Overloaded)
        );
    }
}
