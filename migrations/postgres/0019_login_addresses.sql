-- oldest-application: 0.2.0

-- From where the owners of accounts have signed in or used a session: guesses from elsewhere cannot keep them out there.
CREATE TABLE login_addresses (
  user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- IPv4, or the /64 of IPv6.
  address      text NOT NULL,
  -- Not only used a session there. Of both kinds so many are kept: whoever has stolen a session makes nobody forget these.
  signed_in    boolean NOT NULL,
  last_used_at timestamptz(3) NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, address)
);

-- For what nobody has used for long.
CREATE INDEX login_addresses_used_idx ON login_addresses (last_used_at);

-- Of IPv6 the next sign-in tells.
INSERT INTO login_addresses (user_id, address, signed_in, last_used_at)
SELECT user_id, address, true, max(last_used_at) FROM sessions
WHERE address ~ '^\d{1,3}(\.\d{1,3}){3}$' GROUP BY user_id, address;
