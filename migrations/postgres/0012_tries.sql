-- oldest-application: 0.2.0

-- The latest try that has begun: its job's id and its number. `attempts` counts those of all jobs of the medium.
ALTER TABLE media ADD COLUMN last_try text;
