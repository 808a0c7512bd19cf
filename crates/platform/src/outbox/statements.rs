//! The statements about the outbox.
//!
//! `xid8` travels as text, which it casts to and from: the driver does not know the type. What is ordered
//! by is named with its table: a bare `xid` would be the column of the answer, and texts sort 10 before 9.

crate::statements! {
    /// Writes an event in the transaction that makes it true.
    APPEND = "-- append_event: one more event
        INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";

    /// Puts a consumer at the beginning, unless it is somewhere.
    BEGIN_CURSOR = "-- begin_cursor: a consumer that has been told nothing
        INSERT INTO outbox_cursor (consumer, xid, seq) VALUES ($1, '0', 0) ON CONFLICT DO NOTHING";

    /// Where a consumer is.
    READ_CURSOR = "-- read_cursor: how far a consumer has been told
        SELECT xid::text, seq FROM outbox_cursor WHERE consumer = $1";

    /// The next events. Neither ids nor sequence numbers commit in order: what is read must lie below
    /// every transaction that is still under way, or an event that commits late would be passed over.
    READ_EVENTS = "-- read_events: what comes after a position and can no longer be preceded
        SELECT xid::text, seq, id, aggregatetype, aggregateid, type, version, payload, traceparent,
               created_at
          FROM outbox
         WHERE (xid, seq) > ($1::text::xid8, $2)
           AND xid < pg_snapshot_xmin(pg_current_snapshot())
         ORDER BY outbox.xid, outbox.seq
         LIMIT $3";

    /// Events beyond a batch that belong before events inside it. A transaction that took its number
    /// early may have waited for a lock and so have made the later version; the one it waited for has
    /// committed, so its event is there to be seen. What is read here ahead of its turn will be read
    /// again in its turn.
    ///
    /// The bounds of `xid` exclude nothing. With a range of its own it is plain to the planner, which
    /// does not know how far the position is, that little lies beyond it; without, it reads the table.
    READ_STRAGGLERS = "-- read_stragglers: lower versions that come after a position
        SELECT xid::text, seq, id, aggregatetype, outbox.aggregateid, type, outbox.version, payload,
               traceparent, created_at
          FROM outbox
          JOIN unnest($3::uuid[], $4::bigint[]) AS newest (aggregateid, version)
            ON outbox.aggregateid = newest.aggregateid AND outbox.version < newest.version
         WHERE (xid, seq) > ($1::text::xid8, $2)
           AND xid >= $1::text::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot())
         ORDER BY outbox.xid, outbox.seq";

    /// Which of some things have events that wait.
    READ_PARKED_AGGREGATES = "-- read_parked_aggregates: those of a list that a consumer waits for
        SELECT DISTINCT aggregateid FROM outbox_parked
         WHERE consumer = $1 AND aggregateid = ANY($2)";

    /// The first waiting event of every thing, if its time has come.
    READ_DUE = "-- read_due: parked events to try again, the first of each aggregate
        SELECT * FROM (
            SELECT DISTINCT ON (parked.aggregateid)
                   outbox.xid::text, outbox.seq, id, aggregatetype, outbox.aggregateid, type, version,
                   payload, traceparent, created_at, attempts, next_attempt_at
              FROM outbox_parked AS parked
              JOIN outbox ON outbox.id = parked.event_id
             WHERE consumer = $1
             ORDER BY parked.aggregateid, version, outbox.xid, outbox.seq
        ) AS first
         WHERE next_attempt_at <= $2
         ORDER BY next_attempt_at
         LIMIT $3";

    /// Sets an event aside. One that was set aside before stays as it is.
    PARK = "-- park: an event to be tried later
        INSERT INTO outbox_parked
               (consumer, event_id, aggregateid, xid, seq, attempts, next_attempt_at, last_error)
        VALUES ($1, $2, $3, $4::text::xid8, $5, $6, $7, $8)
        ON CONFLICT (consumer, event_id) DO NOTHING";

    /// Tries an event that was set aside again, later.
    PARK_AGAIN = "-- park_again: another try has failed
        UPDATE outbox_parked SET attempts = attempts + 1, next_attempt_at = $3, last_error = $4
         WHERE consumer = $1 AND event_id = $2";

    /// Forgets an event that was set aside and has been delivered.
    UNPARK = "-- unpark: delivered at last
        DELETE FROM outbox_parked WHERE consumer = $1 AND event_id = $2";

    /// Whether anything waits.
    HAS_PARKED = "-- has_parked: whether a consumer has events that were set aside
        SELECT EXISTS (SELECT FROM outbox_parked WHERE consumer = $1)";

    /// Moves a consumer on, never back, if the lease is still ours; whether it is. Nobody takes it before
    /// the transaction ends.
    ADVANCE_CURSOR = "-- advance_cursor: a consumer has been told up to here
        WITH ours AS MATERIALIZED (
            SELECT FROM lease WHERE name = $4 AND holder = $5 FOR UPDATE
        ),
        advanced AS (
            UPDATE outbox_cursor SET xid = $2::text::xid8, seq = $3
             WHERE consumer = $1 AND (xid, seq) < ($2::text::xid8, $3) AND EXISTS (SELECT FROM ours)
        )
        SELECT EXISTS (SELECT FROM ours)";

    /// Removes old events that every consumer has been told and none waits for.
    PRUNE = "-- prune: forget what everybody knows
        DELETE FROM outbox
         WHERE created_at < now() - $1::interval
           AND NOT EXISTS (SELECT FROM outbox_cursor AS cursor
                            WHERE (cursor.xid, cursor.seq) < (outbox.xid, outbox.seq))
           AND NOT EXISTS (SELECT FROM outbox_parked AS parked WHERE parked.event_id = outbox.id)";
}
