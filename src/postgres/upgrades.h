// What brings an installed schema "rejoin" to the next version; docs/postgres.md describes each table. Installing anew
// is version 1 and all of these.
#pragma once

namespace rejoin::postgres {

// Version 2: log entries are not compressed, as random keys don't yield to it. What callers were given of tables under
// row-level security, and a secret that their numbers are made with. The audit log. Servers may add to it and
// read it; that a day's partition is made and an old one dropped is the owner's doing, through a function that decides
// by itself which.
inline constexpr const char* kUpgradeTo2 = R"sql(
ALTER TABLE rejoin.log ALTER entries SET STORAGE EXTERNAL;

ALTER TABLE rejoin.meta ADD COLUMN secret bytea NOT NULL
  DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
CREATE TABLE rejoin.view(
  tenant integer NOT NULL, view bigint NOT NULL, used bigint NOT NULL, whole boolean NOT NULL,
  PRIMARY KEY(tenant, view));
CREATE TABLE rejoin.shown(
  tenant integer NOT NULL, view bigint NOT NULL, tbl integer NOT NULL, k bytea NOT NULL, seen boolean NOT NULL,
  PRIMARY KEY(tenant, view, tbl, k));
ALTER TABLE rejoin.view ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rejoin.view USING (tenant = rejoin.tenant_id() OR rejoin.all_tenants());
ALTER TABLE rejoin.shown ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rejoin.shown USING (tenant = rejoin.tenant_id() OR rejoin.all_tenants());

ALTER TABLE rejoin.meta ADD COLUMN audit_days integer NOT NULL DEFAULT 90 CHECK (audit_days BETWEEN 1 AND 36500);

CREATE TABLE rejoin.audit(
  at timestamptz NOT NULL DEFAULT now(),
  tenant text NOT NULL, device text NOT NULL, event text NOT NULL, nonce bytea,
  op text, tbl text, key text, columns jsonb, written timestamptz, code text, reason text)
  PARTITION BY RANGE (at);
CREATE INDEX audit_tenant ON rejoin.audit(tenant, at);
ALTER TABLE rejoin.audit ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rejoin.audit
  USING (tenant = current_setting('rejoin.tenant', true) OR rejoin.all_tenants());

-- Against default privileges, which may let a server's role do more than it should.
CREATE FUNCTION rejoin.keep_to_owner(t regclass) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_role text;
BEGIN
  FOR v_role IN SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END
    FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.oid = t AND a.grantee <> c.relowner LOOP
    EXECUTE format('REVOKE ALL ON %s FROM %s', t, v_role);
  END LOOP;
END $$;
SELECT rejoin.keep_to_owner('rejoin.audit');

-- Locks that no reader and no writer of the table waits for; an old day that is being read goes the next time.
CREATE FUNCTION rejoin.audit_partitions() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_today date := (now() AT TIME ZONE 'UTC')::date;
  v_day date;
  v_name text;
BEGIN
  LOCK TABLE rejoin.audit IN SHARE UPDATE EXCLUSIVE MODE;
  FOREACH v_day IN ARRAY ARRAY[v_today, v_today + 1] LOOP
    v_name := 'rejoin.audit_' || to_char(v_day, 'YYYYMMDD');
    IF to_regclass(v_name) IS NULL THEN
      EXECUTE format('CREATE TABLE %s (LIKE rejoin.audit INCLUDING DEFAULTS)', v_name);
      PERFORM rejoin.keep_to_owner(v_name::regclass);
      EXECUTE format('ALTER TABLE rejoin.audit ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', v_name,
                     v_day::timestamp AT TIME ZONE 'UTC', (v_day + 1)::timestamp AT TIME ZONE 'UTC');
    END IF;
  END LOOP;
  PERFORM set_config('lock_timeout', '100ms', true);
  FOR v_name IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'rejoin.audit'::regclass
      AND c.relname < 'audit_' || to_char(v_today - (SELECT audit_days FROM rejoin.meta), 'YYYYMMDD') LOOP
    BEGIN
      EXECUTE format('DROP TABLE rejoin.%I', v_name);
    EXCEPTION WHEN lock_not_available THEN
      EXIT;
    END;
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION rejoin.audit_partitions() FROM PUBLIC;
)sql";

// Version 3: what a policy compares with is asked once a statement, as a scalar subquery is, not once a row.
inline constexpr const char* kUpgradeTo3 = R"sql(
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['site', 'record', 'log', 'device', 'stream', 'staged', 'contract', 'view', 'shown'] LOOP
    EXECUTE format('ALTER POLICY tenant ON rejoin.%I USING (tenant = (SELECT rejoin.tenant_id()) OR '
                   '(SELECT rejoin.all_tenants()))', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['outbox', 'audit'] LOOP
    EXECUTE format('ALTER POLICY tenant ON rejoin.%I USING (tenant = (SELECT current_setting(''rejoin.tenant'', true)) '
                   'OR (SELECT rejoin.all_tenants()))', t);
  END LOOP;
END $$;
)sql";

// Version 4: deletions are forgotten (docs/adr/0009). The first look for some comes a day later: servers that know
// nothing of horizons are to be gone by then.
inline constexpr const char* kUpgradeTo4 = R"sql(
ALTER TABLE rejoin.meta ADD COLUMN keep_days integer CHECK (keep_days BETWEEN 0 AND 36600);
ALTER TABLE rejoin.tenant
  ADD COLUMN horizon bigint NOT NULL DEFAULT 0,
  ADD COLUMN purged bigint NOT NULL DEFAULT 0,
  ADD COLUMN looked bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000)::bigint,
  ADD COLUMN look_tbl integer,
  ADD COLUMN look_k bytea;
)sql";

struct Upgrade {
  int to;
  const char* sql;
};
inline constexpr Upgrade kUpgrades[] = {{2, kUpgradeTo2}, {3, kUpgradeTo3}, {4, kUpgradeTo4}};

inline constexpr int kSchemaVersion = 4;
// The oldest that this build serves: what came later is only needed by what uses it.
inline constexpr int kOldestServed = 1;

}  // namespace rejoin::postgres
