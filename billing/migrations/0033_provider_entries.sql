-- What the provider did is posted: what it took is no longer owed, what was taken back is lost or fought for.

-- When its entry was written, with its success; null while there is none to write.
ALTER TABLE provider_operation ADD COLUMN posted_at timestamptz;
-- What succeeded and is not posted: under a version that did not.
CREATE INDEX provider_operation_unposted ON provider_operation (provider, subject_id)
    WHERE state = 'SUCCEEDED' AND kind IN ('CAPTURE', 'REFUND') AND posted_at IS NULL;
-- What a provider's name for a payment is about.
CREATE INDEX provider_operation_by_reference ON provider_operation (reference)
    WHERE kind = 'AUTHORIZE' AND reference IS NOT NULL;
-- Tips by when they were, to find what is new.
CREATE INDEX tip_by_time ON tip (tipped_at);

ALTER TABLE journal_entry DROP CONSTRAINT journal_entry_kind_is_known;
ALTER TABLE journal_entry ADD CONSTRAINT journal_entry_kind_is_known CHECK (
    kind IN ('CAPTURE', 'REFUND', 'TIP', 'PAYOUT', 'PAYOUT_SETTLED', 'PAYOUT_FAILED', 'CREDIT',
             'PROVIDER_CAPTURE', 'PROVIDER_REFUND', 'CHARGEBACK', 'CHARGEBACK_WON')
);
