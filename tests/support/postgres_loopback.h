// Devices over a loopback with the PostgreSQL store at the other end, and a plain SQL client beside them.
#pragma once

#include "postgres/admin.h"
#include "postgres/store.h"
#include "tests/support/postgres_server.h"
#include "tests/support/sync_loopback.h"

namespace rejoin::testing {

// A database with the schema rejoin and these tables, tracked.
class PostgresWorld {
 public:
  explicit PostgresWorld(const std::string& schema = "", const std::vector<std::string>& tracked = {},
                         const std::string& tenant_column = "", bool auto_schema = false);
  // Over a database that is there already.
  static std::unique_ptr<PostgresWorld> over(const std::string& url, bool auto_schema = false);
  // The URL of a copy of the database as it is now; nobody else may be connected.
  std::string copy();
  postgres::Tracked track(const std::string& relation, const std::string& name = "",
                          const std::string& tenant_column = "");
  // Sets the clock of the device to the real one, which PostgreSQL's triggers read, and syncs; must succeed.
  sync::SyncTotals sync(LoopbackDevice& device) { return sync_as(device, "main"); }
  sync::SyncTotals sync_as(LoopbackDevice& device, const std::string& tenant);
  // What another tenant's or another node's server would be: a store over a connection of its own.
  LoopbackServer& server(const std::string& tenant = "main");
  std::unique_ptr<sync::TenantAdmin> admin(const std::string& tenant);
  // Closes the tenant's servers, of all nodes.
  void close(const std::string& tenant) {
    std::erase_if(nodes_, [&](const auto& n) { return n.first.substr(0, n.first.find('#')) == tenant; });
  }
  // The tenant's servers begin anew, knowing nothing, over the connections that they have.
  void renew(const std::string& tenant);
  // pg doctor finds nothing.
  void expect_sound();

  std::string url;
  SqlClient sql;
  postgres::Impersonation as;  // of servers that are opened from now on

 private:
  struct Existing {
    std::string url;
  };
  PostgresWorld(const Existing& database, bool auto_schema);
  struct Node {
    std::unique_ptr<postgres::Connection> db;
    std::unique_ptr<postgres::Tenant> tenant;
    std::unique_ptr<LoopbackServer> server;
  };
  void serve(Node& node, const std::string& name);
  bool auto_schema_ = false;
  std::map<std::string, Node> nodes_;
};

}  // namespace rejoin::testing
