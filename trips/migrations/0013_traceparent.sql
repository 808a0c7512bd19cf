-- What comes of a ride belongs to one trace, whoever moves it on.

-- The span it happened in, as W3C's header `traceparent`; none where it happened by itself.
ALTER TABLE outbox ADD COLUMN traceparent text;

-- The span that asked for the ride, as W3C's header `traceparent`: its searches and transitions are told
-- in that trace.
ALTER TABLE trip ADD COLUMN traceparent text;
