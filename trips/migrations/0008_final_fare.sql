-- What a ride costs in the end.

-- Billing's tariff and what scarcity made of the price; null for quotes and trips made before this was kept.
ALTER TABLE quote ADD COLUMN tariff_version text;
ALTER TABLE quote ADD COLUMN surge_percent integer;
ALTER TABLE trip ADD COLUMN tariff_version text;
ALTER TABLE trip ADD COLUMN surge_percent integer;

-- How far the rider was driven, metres; null when nobody followed the car, or it does not matter yet.
ALTER TABLE trip ADD COLUMN driven_m bigint;
-- What the ride costs, minor units of the fare's currency; decided once, before it is charged.
ALTER TABLE trip ADD COLUMN final_fare_minor bigint;
-- Billing's name for that price; null when it is the up-front fare.
ALTER TABLE trip ADD COLUMN final_quote_id text;
ALTER TABLE trip ADD CONSTRAINT trip_final_fare_not_negative CHECK (final_fare_minor >= 0);
ALTER TABLE trip ADD CONSTRAINT trip_driven_not_negative CHECK (driven_m >= 0);
ALTER TABLE trip ADD CONSTRAINT trip_final_quote_with_fare CHECK (
    final_quote_id IS NULL OR final_fare_minor IS NOT NULL);
