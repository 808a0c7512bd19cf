-- Tariffs, quotes, holds and the ledger. Every amount is a bigint in minor units of the currency
-- that stands in the same row.

-- The tariffs this database has seen. A version never changes: what a quote was made under can be
-- looked up for good.
CREATE TABLE tariff (
    version        text        NOT NULL CONSTRAINT tariff_pkey PRIMARY KEY,
    -- The tariff with its currency, to be read by people and programs.
    body           jsonb       NOT NULL,
    -- SHA-256 of the canonical form of the body; what makes two bodies the same.
    hash           bytea       NOT NULL CONSTRAINT tariff_hash_is_sha256 CHECK (length(hash) = 32),
    -- From when on it is in force.
    effective_from timestamptz NOT NULL,
    -- When a process first started with it.
    stored_at      timestamptz NOT NULL DEFAULT now()
);

-- Prices that may be held until they expire. Never changed.
CREATE TABLE fare_quote (
    id                          uuid        NOT NULL CONSTRAINT fare_quote_pkey PRIMARY KEY,
    -- What kind of ride.
    product                     text        NOT NULL,
    -- The tariff it was made under.
    tariff_version              text        NOT NULL
        CONSTRAINT fare_quote_tariff_version_fkey REFERENCES tariff (version),
    -- Driving distance, metres.
    distance_meters             bigint      NOT NULL
        CONSTRAINT fare_quote_distance_is_not_negative CHECK (distance_meters >= 0),
    -- Driving time, milliseconds.
    duration_ms                 bigint      NOT NULL
        CONSTRAINT fare_quote_duration_is_not_negative CHECK (duration_ms >= 0),
    -- ISO 4217.
    currency                    text        NOT NULL
        CONSTRAINT fare_quote_currency_is_iso_4217 CHECK (currency ~ '^[A-Z]{3}$'),
    -- The flat part.
    base_minor                  bigint      NOT NULL,
    -- Per kilometre.
    distance_minor              bigint      NOT NULL,
    -- Per minute.
    time_minor                  bigint      NOT NULL,
    -- What lifts the three above to the minimum.
    minimum_top_up_minor        bigint      NOT NULL,
    -- For arranging the ride.
    booking_fee_minor           bigint      NOT NULL,
    -- Tax on all of the above.
    tax_minor                   bigint      NOT NULL,
    -- The whole price.
    total_minor                 bigint      NOT NULL,
    -- What the platform keeps of the ride itself, basis points.
    platform_share_basis_points bigint      NOT NULL
        CONSTRAINT fare_quote_platform_share_is_a_part
        CHECK (platform_share_basis_points BETWEEN 0 AND 10000),
    -- When it was made.
    created_at                  timestamptz NOT NULL,
    -- Until when it may be held.
    expires_at                  timestamptz NOT NULL,
    CONSTRAINT fare_quote_lines_are_not_negative CHECK (
        base_minor >= 0 AND distance_minor >= 0 AND time_minor >= 0
        AND minimum_top_up_minor >= 0 AND booking_fee_minor >= 0 AND tax_minor >= 0
    ),
    CONSTRAINT fare_quote_lines_sum_to_total CHECK (
        base_minor + distance_minor + time_minor + minimum_top_up_minor + booking_fee_minor
        + tax_minor = total_minor
    ),
    CONSTRAINT fare_quote_expires_later CHECK (expires_at > created_at)
);

-- The money of one trip, from hold to capture. Moved only by single statements that lock the row
-- and judge it as it then is.
CREATE TABLE trip_charge (
    trip_id    uuid        NOT NULL CONSTRAINT trip_charge_pkey PRIMARY KEY,
    -- Who pays.
    rider_id   text        NOT NULL,
    -- Who drove; known once captured.
    driver_id  text,
    -- The price it was made from.
    quote_id   uuid        NOT NULL
        CONSTRAINT trip_charge_quote_id_fkey REFERENCES fare_quote (id),
    -- ISO 4217.
    currency   text        NOT NULL
        CONSTRAINT trip_charge_currency_is_iso_4217 CHECK (currency ~ '^[A-Z]{3}$'),
    -- How much was held.
    authorised bigint      NOT NULL
        CONSTRAINT trip_charge_authorised_is_not_negative CHECK (authorised >= 0),
    -- How much of it was taken.
    captured   bigint      NOT NULL DEFAULT 0
        CONSTRAINT trip_charge_captured_within_authorised
        CHECK (captured BETWEEN 0 AND authorised),
    -- How much of that was given back.
    refunded   bigint      NOT NULL DEFAULT 0
        CONSTRAINT trip_charge_refunded_within_captured
        CHECK (refunded BETWEEN 0 AND captured),
    -- HELD waits for the end of the ride; CAPTURED was taken; VOIDED was released or ran out.
    state      text        NOT NULL
        CONSTRAINT trip_charge_state_is_known CHECK (state IN ('HELD', 'CAPTURED', 'VOIDED')),
    -- When it was held.
    created_at timestamptz NOT NULL,
    -- Until when it may be captured. A statement that looks judges it by the database's clock.
    expires_at timestamptz NOT NULL,
    -- When it was captured, released, or found to have run out.
    closed_at  timestamptz,
    CONSTRAINT trip_charge_expires_later CHECK (expires_at > created_at),
    CONSTRAINT trip_charge_closed_once_not_held CHECK ((state = 'HELD') = (closed_at IS NULL)),
    CONSTRAINT trip_charge_driver_once_captured
        CHECK ((state = 'CAPTURED') = (driver_id IS NOT NULL)),
    CONSTRAINT trip_charge_only_captured_takes CHECK (state = 'CAPTURED' OR captured = 0)
);

-- Open holds by when they run out, for releasing those that did.
CREATE INDEX trip_charge_held_by_expiry ON trip_charge (expires_at) WHERE state = 'HELD';
-- Open holds of one rider, for the same when they stand in the way of a new one.
CREATE INDEX trip_charge_held_by_rider ON trip_charge (rider_id) WHERE state = 'HELD';

-- What a rider's HELD charges add up to. The limit is kept by a guarded update of this one row:
-- summing trip_charge instead would not see a hold that another statement is about to make.
CREATE TABLE rider_exposure (
    rider_id   text   NOT NULL,
    -- ISO 4217.
    currency   text   NOT NULL,
    -- The sum of `authorised` over the rider's charges that are HELD.
    held_minor bigint NOT NULL
        CONSTRAINT rider_exposure_held_is_not_negative CHECK (held_minor >= 0),
    CONSTRAINT rider_exposure_pkey PRIMARY KEY (rider_id, currency)
);

-- What was charged, as it was told. Never changed.
CREATE TABLE receipt (
    trip_id              uuid        NOT NULL CONSTRAINT receipt_pkey PRIMARY KEY
        CONSTRAINT receipt_trip_id_fkey REFERENCES trip_charge (trip_id),
    -- Who paid.
    rider_id             text        NOT NULL,
    -- Who drove.
    driver_id            text        NOT NULL,
    -- What kind of ride.
    product              text        NOT NULL,
    -- The tariff the price was made under.
    tariff_version       text        NOT NULL,
    -- ISO 4217.
    currency             text        NOT NULL,
    -- The lines, as in fare_quote; in proportion when less than the quote was captured.
    base_minor           bigint      NOT NULL,
    distance_minor       bigint      NOT NULL,
    time_minor           bigint      NOT NULL,
    minimum_top_up_minor bigint      NOT NULL,
    booking_fee_minor    bigint      NOT NULL,
    tax_minor            bigint      NOT NULL,
    -- What the rider pays.
    total_minor          bigint      NOT NULL,
    -- What the driver earns.
    driver_share_minor   bigint      NOT NULL,
    -- What the platform keeps, booking fee included.
    platform_share_minor bigint      NOT NULL,
    -- When it was captured.
    captured_at          timestamptz NOT NULL,
    CONSTRAINT receipt_lines_are_not_negative CHECK (
        base_minor >= 0 AND distance_minor >= 0 AND time_minor >= 0
        AND minimum_top_up_minor >= 0 AND booking_fee_minor >= 0 AND tax_minor >= 0
    ),
    CONSTRAINT receipt_lines_sum_to_total CHECK (
        base_minor + distance_minor + time_minor + minimum_top_up_minor + booking_fee_minor
        + tax_minor = total_minor
    ),
    CONSTRAINT receipt_shares_sum_to_total CHECK (
        driver_share_minor >= 0 AND platform_share_minor >= 0
        AND driver_share_minor + platform_share_minor + tax_minor = total_minor
    )
);

-- One movement of money. Insert-only. Its key is the second fence behind `idempotency`: whatever
-- key a capture comes under, there is one entry (trip, CAPTURE, 1).
CREATE TABLE journal_entry (
    -- The trip whose money moved.
    trip_id            uuid        NOT NULL
        CONSTRAINT journal_entry_trip_id_fkey REFERENCES trip_charge (trip_id),
    -- Why.
    kind               text        NOT NULL
        CONSTRAINT journal_entry_kind_is_known CHECK (kind IN ('CAPTURE')),
    -- Which one of its kind, from 1. A trip is captured once.
    seq                integer     NOT NULL
        CONSTRAINT journal_entry_seq_is_in_range CHECK (seq = 1 OR (seq > 1 AND kind <> 'CAPTURE')),
    -- ISO 4217; all its postings are in it.
    currency           text        NOT NULL,
    -- How many postings were written with it.
    postings           integer     NOT NULL
        CONSTRAINT journal_entry_has_two_sides CHECK (postings = 0 OR postings >= 2),
    -- What those sum to, computed by the statement that wrote them from the rows it wrote. This is
    -- how the database refuses an entry that does not balance: no trigger could be ported, and a
    -- CHECK cannot look at other rows.
    postings_sum_minor bigint      NOT NULL
        CONSTRAINT journal_entry_sums_to_zero CHECK (postings_sum_minor = 0),
    -- When.
    posted_at          timestamptz NOT NULL,
    CONSTRAINT journal_entry_pkey PRIMARY KEY (trip_id, kind, seq)
);

-- One side of an entry. Insert-only.
CREATE TABLE posting (
    -- The entry.
    trip_id      uuid    NOT NULL,
    kind         text    NOT NULL,
    seq          integer NOT NULL,
    -- Which of its postings, from 1.
    position     integer NOT NULL CONSTRAINT posting_position_is_positive CHECK (position > 0),
    -- Which account.
    account      text    NOT NULL CONSTRAINT posting_account_is_known CHECK (
        account IN ('rider_receivable', 'driver_payable', 'platform_revenue', 'tax_payable')
    ),
    -- Whose; null for the accounts that are not a person's.
    owner_id     text,
    -- ISO 4217.
    currency     text    NOT NULL,
    -- How much; debits positive, credits negative.
    amount_minor bigint  NOT NULL CONSTRAINT posting_moves_something CHECK (amount_minor <> 0),
    CONSTRAINT posting_pkey PRIMARY KEY (trip_id, kind, seq, position),
    CONSTRAINT posting_entry_fkey FOREIGN KEY (trip_id, kind, seq)
        REFERENCES journal_entry (trip_id, kind, seq),
    CONSTRAINT posting_owner_of_personal_account CHECK (
        (account IN ('rider_receivable', 'driver_payable')) = (owner_id IS NOT NULL)
    )
);

-- What a person's postings sum to; a cache, moved in the statement that writes them. The accounts
-- of the platform and of tax have no row here: every capture would queue for it.
CREATE TABLE account_balance (
    -- Whose.
    owner_id      text   NOT NULL,
    -- Which account.
    account       text   NOT NULL CONSTRAINT account_balance_account_is_personal
        CHECK (account IN ('rider_receivable', 'driver_payable')),
    -- ISO 4217.
    currency      text   NOT NULL,
    -- The sum; debits positive, credits negative.
    balance_minor bigint NOT NULL,
    CONSTRAINT account_balance_pkey PRIMARY KEY (owner_id, account, currency)
);

-- What was answered to which request, so that its repetition is answered the same. Written in the
-- statement that has the effect: there is neither one without the other.
CREATE TABLE idempotency (
    -- The command.
    scope        text        NOT NULL
        CONSTRAINT idempotency_scope_is_known CHECK (scope IN ('authorize', 'capture', 'void')),
    -- The caller's name for the request.
    key          text        NOT NULL,
    -- SHA-256 of the request, to tell a repetition from another request under the same key.
    request_hash bytea       NOT NULL
        CONSTRAINT idempotency_hash_is_sha256 CHECK (length(request_hash) = 32),
    -- What became of it. Refusals that a later moment may lift (no such trip, no such quote) are
    -- not kept.
    outcome      text        NOT NULL CONSTRAINT idempotency_outcome_is_known CHECK (
        outcome IN ('DONE', 'ALREADY_HELD', 'QUOTE_EXPIRED', 'DECLINED', 'HOLD_NOT_OPEN',
                    'ABOVE_HOLD')
    ),
    -- The hold and the receipt as they were then.
    answer       jsonb       NOT NULL,
    -- When.
    created_at   timestamptz NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (scope, key)
);
