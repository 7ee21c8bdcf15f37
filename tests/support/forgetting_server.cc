#include "tests/support/forgetting_server.h"

#include <cstdlib>
#include <map>

#include "crdt/key.h"
#include "crdt/record.h"
#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

class Embedded final : public ForgettingServer {
 public:
  Embedded() {
    peer().run(kForgettingSchema);
    peer().track("t");
  }
  LoopbackServer& node(size_t) override { return server_; }
  void set_clock(int64_t ms) override { peer().clock().set(ms); }
  void run(const std::string& sql) override { peer().run(sql); }
  std::string rows(const std::vector<std::string>& columns, const std::string& where) override {
    std::string list;
    for (const std::string& c : columns) list += (list.empty() ? "" : ", ") + c;
    return peer().rows("SELECT " + list + " FROM t WHERE " + where + " ORDER BY id");
  }
  int64_t kept(const std::string& what) override { return peer().number("SELECT count(*) FROM rejoin_" + what); }
  void forget_devices() override { peer().run("DELETE FROM rejoin_device"); }
  void seen(const std::string& device) override {
    peer().run("UPDATE rejoin_device SET last_seen=" + std::to_string(now_ms()) + " WHERE device='" + device + "'");
  }
  int64_t records() override { return peer().number("SELECT count(*) FROM t__rejoin"); }
  void compact(std::optional<int64_t> keep_days) override {
    const auto gone = peer().rejoin().compact(keep_days);
    EXPECT_TRUE(gone.ok()) << gone.error().message;
  }
  int64_t born(const std::string& id) override {
    const sim::Value key = sim::Value::text(id);
    const auto json = peer().rejoin().explain("t", {key.ref()});
    if (!json.ok()) return 0;
    const size_t born = json->find("\"born\":{"), at = json->find("\"hlc\":", born);
    return born == std::string::npos ? 0 : std::strtoll(json->c_str() + at + 6, nullptr, 10) >> 16;
  }
  void expect_sound() override { peer().expect_sound(); }
  Peer* file() override { return &peer(); }

 private:
  Peer& peer() { return server_.peer(); }
  LoopbackServer server_;
};

class Postgres final : public ForgettingServer {
 public:
  Postgres() : world_("CREATE TABLE t(id text PRIMARY KEY, v text, w text)", {"public.t"}) {}
  LoopbackServer& node(size_t index) override {
    Node& node = nodes_[index];
    if (!node.server) {
      auto db = postgres::Connection::open(world_.url);
      EXPECT_TRUE(db.ok());
      node.db = std::move(*db);
      node.tenant = std::make_unique<postgres::Tenant>("main", clock_.peer().clock(), system_random());
      node.server = std::make_unique<LoopbackServer>(postgres::make_tenant_store(*node.db, *node.tenant, false));
      node.server->peer().clock().set(clock_.peer().clock().now_ms());
    }
    return *node.server;
  }
  void set_clock(int64_t ms) override {
    clock_.peer().clock().set(ms);
    for (auto& [index, node] : nodes_) node.server->peer().clock().set(ms);
  }
  void run(const std::string& sql) override {
    // Its triggers read the real clock, which is ahead of the story's.
    const std::string now = std::to_string(now_ms());
    world_.sql.run("BEGIN; " + sql + "; UPDATE rejoin.outbox SET ms = " + now + " WHERE ms > " + now + "; COMMIT");
  }
  std::string rows(const std::vector<std::string>& columns, const std::string& where) override {
    std::string list;
    for (const std::string& c : columns)
      list += (list.empty() ? "" : ", ") + ("coalesce(quote_literal(" + c + "), 'null') AS " + c);
    return world_.sql.rows("SELECT " + list + " FROM t WHERE " + where + " ORDER BY t.id COLLATE \"C\"");
  }
  int64_t kept(const std::string& what) override { return world_.sql.number("SELECT count(*) FROM rejoin." + what); }
  void forget_devices() override { world_.sql.run("DELETE FROM rejoin.device"); }
  void seen(const std::string& device) override {
    world_.sql.run("UPDATE rejoin.device SET last_seen = " + std::to_string(now_ms()) + " WHERE device = '" + device +
                   "'");
  }
  int64_t records() override { return kept("record"); }
  void compact(std::optional<int64_t> keep_days) override {
    postgres::CompactRequest request;
    request.keep_days = keep_days;
    const auto done =
        postgres::compact(world_.sql.connection(), request, clock_.peer().clock(), system_random(), nullptr);
    EXPECT_TRUE(done.ok()) << done.error().message;
  }
  int64_t born(const std::string& id) override {
    Bytes key;
    const sim::Value value = sim::Value::text(id);
    crdt::encode_key(std::vector<crdt::ValueRef>{value.ref()}, key);
    auto rows =
        world_.sql.connection().query("SELECT rec FROM rejoin.record WHERE k = $1", postgres::Params().bytea(key));
    EXPECT_TRUE(rows.ok()) << rows.error().message;
    crdt::RowRecord record;
    if (rows->empty()) return 0;
    EXPECT_TRUE(crdt::decode_record(rows->bytes(0, 0), 1'000'000, record));
    return crdt::ms_of_hlc(record.birth.hlc);
  }
  void expect_sound() override { world_.expect_sound(); }
  std::string url() override { return world_.url; }

 private:
  struct Node {
    std::unique_ptr<postgres::Connection> db;
    std::unique_ptr<postgres::Tenant> tenant;
    std::unique_ptr<LoopbackServer> server;
  };
  PostgresWorld world_;
  LoopbackServer clock_;  // its peer keeps the time
  std::map<size_t, Node> nodes_;
};

}  // namespace

std::unique_ptr<ForgettingServer> ForgettingServer::make(StoreKind kind) {
  if (kind == StoreKind::embedded) return std::make_unique<Embedded>();
  return std::make_unique<Postgres>();
}

}  // namespace rejoin::testing
