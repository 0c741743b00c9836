/**
 * What a connection for hours says first: a server, a database or a role may have limits that suit a website. Which there
 * are depends on the server's version. Locks are not meant: to wait for one has an end, and each connection has its own.
 *
 * One statement after the other, without parameters. The first is alone because the second looks through all settings,
 * which may take longer than the limit.
 */
export const WITHOUT_TIME_LIMITS = `
  SET statement_timeout = 0;
  SELECT set_config(name, '0', false) FROM pg_settings
  WHERE name IN ('idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')`;
