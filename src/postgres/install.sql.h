// The schema "rejoin", as `rejoin pg init` installs it. docs/postgres.md describes each table.
#pragma once

namespace rejoin::postgres {

inline constexpr int kSchemaVersion = 1;

// Version 1. Every table that holds a tenant's data is under row-level security for its owner too: a query without a
// filter sees the tenant of its transaction (rejoin.tenant, rejoin.tenant_id) and no other.
inline constexpr const char* kInstallSql = R"sql(
CREATE SCHEMA rejoin;

CREATE TABLE rejoin.meta(
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  version integer NOT NULL,
  catalog bigint NOT NULL DEFAULT 1);

CREATE TABLE rejoin.tracked(
  id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  relation regclass NOT NULL UNIQUE,
  name text NOT NULL UNIQUE,
  tenant_column text,
  tenant text,
  CHECK ((tenant_column IS NULL) <> (tenant IS NULL)));

CREATE TABLE rejoin.tracked_column(
  tbl integer NOT NULL REFERENCES rejoin.tracked(id) ON DELETE CASCADE,
  id integer NOT NULL,
  name text NOT NULL,
  PRIMARY KEY(tbl, id), UNIQUE(tbl, name));

CREATE TABLE rejoin.tenant(
  id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  name text NOT NULL UNIQUE,
  last bigint NOT NULL DEFAULT 0,
  tail bigint NOT NULL DEFAULT 0,
  floor bigint NOT NULL DEFAULT 0);

CREATE TABLE rejoin.site(
  tenant integer NOT NULL, id integer NOT NULL, site bytea NOT NULL,
  PRIMARY KEY(tenant, id), UNIQUE(tenant, site));

CREATE TABLE rejoin.record(
  tenant integer NOT NULL, tbl integer NOT NULL, k bytea NOT NULL, rec bytea NOT NULL, held bytea,
  PRIMARY KEY(tenant, tbl, k));

CREATE TABLE rejoin.log(
  tenant integer NOT NULL, seq bigint NOT NULL, tbl integer NOT NULL, origin integer NOT NULL, token bigint NOT NULL,
  entries bytea NOT NULL,
  PRIMARY KEY(tenant, seq));

CREATE TABLE rejoin.outbox(
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  tenant text NOT NULL, tbl integer NOT NULL, op smallint NOT NULL, ms bigint NOT NULL,
  key text[] NOT NULL, columns text[], was text[]);
CREATE INDEX outbox_tenant ON rejoin.outbox(tenant, id);

CREATE TABLE rejoin.device(
  tenant integer NOT NULL, device text NOT NULL, site bytea NOT NULL, counter bigint NOT NULL, token bytea NOT NULL,
  nonce bytea, reply bytea, acknowledged bigint NOT NULL DEFAULT 0, last_seen bigint NOT NULL DEFAULT 0,
  PRIMARY KEY(tenant, device, site));
CREATE INDEX device_site ON rejoin.device(tenant, site);

CREATE TABLE rejoin.stream(
  tenant integer NOT NULL, source bytea NOT NULL, next bytea NOT NULL, horizon bigint NOT NULL,
  PRIMARY KEY(tenant, source));
CREATE TABLE rejoin.staged(
  tenant integer NOT NULL, source bytea NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, frame bytea NOT NULL,
  PRIMARY KEY(tenant, source, id));

CREATE TABLE rejoin.contract(
  tenant integer NOT NULL, fingerprint text NOT NULL, json text NOT NULL, complete boolean NOT NULL,
  PRIMARY KEY(tenant, fingerprint));

CREATE TABLE rejoin.view(
  tenant integer NOT NULL, view bigint NOT NULL, used bigint NOT NULL, whole boolean NOT NULL,
  PRIMARY KEY(tenant, view));
CREATE TABLE rejoin.shown(
  tenant integer NOT NULL, view bigint NOT NULL, tbl integer NOT NULL, k bytea NOT NULL, seen boolean NOT NULL,
  PRIMARY KEY(tenant, view, tbl, k));

CREATE FUNCTION rejoin.tenant_id() RETURNS integer LANGUAGE sql STABLE
  AS $$ SELECT nullif(current_setting('rejoin.tenant_id', true), '')::integer $$;
CREATE FUNCTION rejoin.all_tenants() RETURNS boolean LANGUAGE sql STABLE
  AS $$ SELECT coalesce(current_setting('rejoin.all_tenants', true), '') = 'on' $$;

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['site', 'record', 'log', 'device', 'stream', 'staged', 'contract', 'view', 'shown'] LOOP
    EXECUTE format('ALTER TABLE rejoin.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON rejoin.%I USING (tenant = rejoin.tenant_id() OR rejoin.all_tenants())', t);
  END LOOP;
END $$;
ALTER TABLE rejoin.tenant ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rejoin.tenant
  USING (name = current_setting('rejoin.tenant', true) OR rejoin.all_tenants());
ALTER TABLE rejoin.outbox ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY capture ON rejoin.outbox FOR INSERT WITH CHECK (true);
CREATE POLICY tenant ON rejoin.outbox
  USING (tenant = current_setting('rejoin.tenant', true) OR rejoin.all_tenants());

ALTER TABLE rejoin.record SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE rejoin.tenant SET (fillfactor = 10);
ALTER TABLE rejoin.outbox SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

INSERT INTO rejoin.meta(version) VALUES (1);
)sql";

}  // namespace rejoin::postgres
