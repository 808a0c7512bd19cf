-- provider_put_account: under which names the provider knows a rider or a driver
-- $1 who, $2 RIDER or DRIVER, $3 account, $4 payment method, or null, $5 by whom
INSERT INTO provider_account (owner_id, role, account, payment_method, put_by, put_at)
VALUES ($1, $2, $3, $4, $5, clock_timestamp())
ON CONFLICT (owner_id, role) DO UPDATE
    SET account = excluded.account, payment_method = excluded.payment_method,
        put_by = excluded.put_by, put_at = excluded.put_at
