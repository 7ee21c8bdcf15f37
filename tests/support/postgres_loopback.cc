#include "tests/support/postgres_loopback.h"

#include <chrono>
#include <thread>

namespace rejoin::testing {

PostgresWorld::PostgresWorld(const std::string& schema, const std::vector<std::string>& tracked,
                             const std::string& tenant_column, bool auto_schema)
    : url(PostgresServer::shared().fresh_database()), sql(url), auto_schema_(auto_schema) {
  auto installed = postgres::init(sql.connection(), "");
  EXPECT_TRUE(installed.ok()) << (installed.ok() ? "" : installed.error().message);
  if (!schema.empty()) sql.run(schema);
  for (const std::string& table : tracked) track(table, "", tenant_column);
}

PostgresWorld::PostgresWorld(const Existing& database, bool auto_schema)
    : url(database.url), sql(url), auto_schema_(auto_schema) {}

std::unique_ptr<PostgresWorld> PostgresWorld::over(const std::string& url, bool auto_schema) {
  return std::unique_ptr<PostgresWorld>(new PostgresWorld(Existing{url}, auto_schema));
}

std::string PostgresWorld::copy() {
  nodes_.clear();
  const size_t start = url.find("///") + 3, end = url.find('?');
  const std::string name = url.substr(start, end - start), copy = name + "_copy";
  auto in = [&](const std::string& database) { return url.substr(0, start) + database + url.substr(end); };
  SqlClient other(in("postgres"));
  const std::string sessions = " FROM pg_stat_activity WHERE datname = '" + name + "'";
  other.run("SELECT pg_terminate_backend(pid)" + sessions);
  while (other.number("SELECT count(*)" + sessions) > 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  other.run("CREATE DATABASE " + copy + " TEMPLATE " + name);
  sql = SqlClient(url);
  return in(copy);
}

postgres::Tracked PostgresWorld::track(const std::string& relation, const std::string& name,
                                       const std::string& tenant_column) {
  postgres::TrackRequest request;
  request.relation = relation;
  request.name = name;
  request.tenant_column = tenant_column;
  request.tenant = "main";
  auto done = postgres::track(sql.connection(), request, system_random(), {});
  EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
  return done.ok() ? *done : postgres::Tracked();
}

LoopbackServer& PostgresWorld::server(const std::string& name) {
  Node& node = nodes_[name];
  if (!node.server) {
    auto db = postgres::Connection::open(url);
    EXPECT_TRUE(db.ok());
    node.db = std::move(*db);
    serve(node, name);
  }
  node.server->peer().clock().set(system_clock().now_ms());
  return *node.server;
}

void PostgresWorld::serve(Node& node, const std::string& name) {
  node.server.reset();
  node.tenant = std::make_unique<postgres::Tenant>(name.substr(0, name.find('#')), system_clock(), system_random());
  node.server = std::make_unique<LoopbackServer>(postgres::make_tenant_store(*node.db, *node.tenant, auto_schema_, as));
}

void PostgresWorld::renew(const std::string& tenant) {
  for (auto& [name, node] : nodes_)
    if (name.substr(0, name.find('#')) == tenant) serve(node, name);
}

std::unique_ptr<sync::TenantAdmin> PostgresWorld::admin(const std::string& tenant) {
  (void)server(tenant);
  return postgres::make_tenant_admin(*nodes_[tenant].db, *nodes_[tenant].tenant);
}

sync::SyncTotals PostgresWorld::sync_as(LoopbackDevice& device, const std::string& tenant) {
  device.peer.clock().set(system_clock().now_ms());
  return device.must_sync(server(tenant));
}

void PostgresWorld::expect_sound() {
  auto findings = postgres::doctor(sql.connection());
  ASSERT_TRUE(findings.ok()) << findings.error().message;
  for (const std::string& finding : *findings) ADD_FAILURE() << finding;
}

}  // namespace rejoin::testing
