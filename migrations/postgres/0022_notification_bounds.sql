-- oldest-application: 0.2.0

-- Where the latest notification stood when the person last saw the top of the list; null before that. What a notification
-- has become since is not read by marking the one that was shown.
ALTER TABLE notification_inboxes ADD COLUMN shown_at timestamptz(3);

-- Taken out whole: shown nowhere and found by nothing, until a job has removed its actors, who may be a million, in batches.
ALTER TABLE notifications ADD COLUMN gone boolean NOT NULL DEFAULT false;
CREATE INDEX notifications_gone_idx ON notifications (user_id, id) WHERE gone;

-- What concerns more people than one transaction tells: a job writes it into their logs, in batches. Until then whoever
-- looks at their notifications has it done to theirs.
CREATE TABLE notification_backlog (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- An account that is to be counted anew, or a post that is gone.
  actor_id uuid,
  post_id  uuid,
  at       timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  -- How far the job is: first by id of the log; then, not null any more, by id of the notifications.
  logged_up_to bigint NOT NULL DEFAULT 0,
  folded_up_to uuid,
  CHECK (num_nonnulls(actor_id, post_id) = 1)
);

-- All with the id behind, by which those batches go on.
CREATE INDEX notification_log_about_idx ON notification_log (post_id, id) WHERE op = 'add' AND post_id IS NOT NULL;
DROP INDEX notification_log_post_idx;
CREATE INDEX notification_log_told_idx ON notification_log (actor_id, id) WHERE op = 'add';
DROP INDEX notification_log_actor_idx;
CREATE INDEX notification_actors_told_idx ON notification_actors (actor_id, notification_id);
DROP INDEX notification_actors_actor_idx;
CREATE INDEX notifications_about_idx ON notifications (post_id, id) WHERE post_id IS NOT NULL;
DROP INDEX notifications_post_idx;
