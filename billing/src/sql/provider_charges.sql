-- provider_charges: what charges by card ask of the provider
-- $1 provider, $2 since when it is used, $3 from when, $4 until when ends of charges are looked through
--
-- Safe to repeat, and side by side with itself: an operation that is there stays as it is. A charge that
-- was held and taken between two looks gets both its operations at once. What is to be taken beyond what
-- was authorised (earlier fees that are paid with it, a hold that was raised) is authorised and taken
-- by itself. Nothing is asked of one provider about what another one has authorised.
WITH open AS (
    SELECT trip_id, rider_id, currency, authorised
    FROM trip_charge AS charge
    WHERE state = 'HELD' AND payment_method = 'CARD' AND authorised > 0
        AND NOT EXISTS (
            SELECT 1 FROM provider_operation
            WHERE subject_id = charge.trip_id AND kind = 'AUTHORIZE' AND seq = 1
        )
),
closed AS (
    SELECT
        charge.trip_id, charge.rider_id, charge.currency, charge.state,
        coalesce(asked.amount_minor, charge.authorised) AS authorised,
        asked.subject_id IS NOT NULL AS is_asked, asked.state = 'DECLINED' AS is_declined,
        coalesce(receipt.total_minor - receipt.credit_minor + receipt.dues_minor, 0) AS taken_minor
    FROM trip_charge AS charge
    LEFT JOIN receipt ON receipt.trip_id = charge.trip_id
    LEFT JOIN provider_operation AS asked
        ON asked.subject_id = charge.trip_id AND asked.kind = 'AUTHORIZE' AND asked.seq = 1
    WHERE charge.closed_at >= greatest($2::timestamptz, $3::timestamptz) AND charge.closed_at <= $4
        AND charge.payment_method = 'CARD' AND charge.state IN ('CAPTURED', 'VOIDED')
        AND coalesce(asked.provider, $1) = $1
        AND NOT EXISTS (
            SELECT 1 FROM provider_operation
            WHERE subject_id = charge.trip_id AND kind IN ('CAPTURE', 'VOID') AND seq = 1
        )
),
planned AS (
    SELECT trip_id, rider_id, currency, 'AUTHORIZE' AS kind, 1 AS seq, 1 AS step, authorised AS minor
    FROM open
    UNION ALL
    SELECT trip_id, rider_id, currency, 'AUTHORIZE', 1, 1, authorised
    FROM closed WHERE NOT is_asked AND taken_minor > 0 AND authorised > 0
    UNION ALL
    SELECT trip_id, rider_id, currency, 'CAPTURE', 1, 2, least(taken_minor, authorised)
    FROM closed WHERE taken_minor > 0 AND authorised > 0
    UNION ALL
    SELECT trip_id, rider_id, currency, 'AUTHORIZE', 2, 3, taken_minor - authorised
    FROM closed WHERE taken_minor > authorised
    UNION ALL
    SELECT trip_id, rider_id, currency, 'CAPTURE', 2, 4, taken_minor - authorised
    FROM closed WHERE taken_minor > authorised
    UNION ALL
    SELECT trip_id, rider_id, currency, 'VOID', 1, 2, 0
    FROM closed WHERE is_asked AND NOT is_declined AND taken_minor = 0
)
INSERT INTO provider_operation (
    subject_id, kind, seq, step, key, provider, owner_id, amount_minor, currency, state,
    next_attempt_at, created_at, updated_at
)
SELECT
    trip_id, kind, seq, step,
    trip_id || ':' || lower(kind) || CASE seq WHEN 1 THEN '' ELSE ':' || seq END,
    $1, rider_id, minor, currency, 'PENDING', now(), now(), now()
FROM planned
ON CONFLICT DO NOTHING
