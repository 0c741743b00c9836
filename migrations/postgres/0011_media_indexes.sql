-- oldest-application: 0.2.0
-- no-transaction
-- Built while media are read and written. An index that was left half built is none, so each begins anew.

DROP INDEX CONCURRENTLY IF EXISTS media_in_hand_idx;
CREATE INDEX CONCURRENTLY media_in_hand_idx ON media (in_hand_of) WHERE in_hand_of IS NOT NULL;

-- An account's media by age, and what they take, from the index alone: lists, usage, and each upload under a quota.
DROP INDEX CONCURRENTLY IF EXISTS media_owner_ledger_idx;
CREATE INDEX CONCURRENTLY media_owner_ledger_idx ON media (owner_id, id) INCLUDE (state, bytes);
DROP INDEX CONCURRENTLY IF EXISTS media_owner_idx;

-- Few, and asked for among many.
DROP INDEX CONCURRENTLY IF EXISTS media_failed_idx;
CREATE INDEX CONCURRENTLY media_failed_idx ON media (id) WHERE state = 'failed';
