-- What is told of a charge belongs to the trace of what moved it.

-- The span it happened in, as W3C's header `traceparent`; none where it happened by itself.
ALTER TABLE outbox ADD COLUMN traceparent text;
