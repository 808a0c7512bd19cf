-- What happens to a charge by itself (it lapses, the provider answers) or is asked for long after the ride
-- (a chargeback) belongs to the ride's trace.

-- The span that the fare was held in, as W3C's header `traceparent`; none where it was held by itself, or
-- before this was kept. It has a name of its own: statements of the version before join this table with
-- others that have a `traceparent`.
ALTER TABLE trip_charge ADD COLUMN ride_traceparent text;
