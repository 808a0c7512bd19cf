-- put_promotion: makes a promotion, or gives it new terms
-- $1 code, $2 currency, $3 amount or null, $4 percent or null, $5 cap or null, $6 rides per rider,
-- $7 from, $8 to, $9 by whom
INSERT INTO promotion (
    code, currency, amount_minor, percent, cap_minor, rides_per_rider, valid_from, valid_to, put_by,
    put_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())
ON CONFLICT (code) DO UPDATE SET
    currency = excluded.currency, amount_minor = excluded.amount_minor,
    percent = excluded.percent, cap_minor = excluded.cap_minor,
    rides_per_rider = excluded.rides_per_rider, valid_from = excluded.valid_from,
    valid_to = excluded.valid_to, put_by = excluded.put_by, put_at = excluded.put_at
RETURNING to_jsonb(promotion)
