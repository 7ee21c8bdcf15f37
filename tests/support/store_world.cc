#include "tests/support/store_world.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "sqlite/database.h"
#include "tests/support/model_run.h"
#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

class EmbeddedWorld final : public StoreWorld {
 public:
  explicit EmbeddedWorld(const std::vector<StoreTable>& tables) {
    static int count = 0;
    file_ = "tenant" + std::to_string(++count) + ".db";
    open_file();
    for (const StoreTable& t : tables) {
      peer_->run("CREATE TABLE " + t.name + "(" + t.on_device + ")");
      peer_->track(t.name);
    }
  }
  ~EmbeddedWorld() override { close_file(); }

  LoopbackServer& node(size_t index) override {
    Node& node = nodes_[index];
    if (!node.server) {
      sqlite::DatabaseOptions options;
      options.busy_timeout_ms = 60'000;
      auto database = sqlite::Database::open(path(), options);
      EXPECT_TRUE(database.ok()) << database.error().message;
      node.database = std::move(*database);
      node.server = std::make_unique<LoopbackServer>(sqlite::make_tenant_store(node.database->replica()));
    }
    node.server->peer().clock().set(system_clock().now_ms());
    return *node.server;
  }

  std::unique_ptr<sync::TenantAdmin> admin() override {
    (void)node(0);
    return sqlite::make_tenant_admin(nodes_[0].database->replica());
  }
  void run(const std::string& sql) override { peer().run(sql); }
  std::string rows(const std::string& sql) override { return plain_rows(peer(), sql); }
  int64_t number(const std::string& sql) override { return peer().number(sql); }
  void change_key(const std::string& table, const std::string& rebuild, const std::string&) override {
    Status done = peer().rejoin().alter_begin(table);
    ASSERT_TRUE(done.ok()) << done.error().message;
    peer().run(rebuild);
    done = peer().rejoin().alter_commit(table);
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  int64_t kept(const std::string& what) override { return number("SELECT count(*) FROM rejoin_" + what); }

  void back_up() override { peer().run("VACUUM INTO '" + path() + ".copy'"); }
  void go_back() override {
    close_file();
    std::filesystem::rename(path() + ".copy", path());
    open_file();
  }

  void lengthen_log() override {
    peer().run(
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<51000) INSERT INTO rejoin_log(seq, tbl, "
        "op) SELECT (SELECT folded FROM rejoin_state)+i, 0, 17 FROM n;"
        "INSERT INTO rejoin_batch VALUES((SELECT max(seq) FROM rejoin_log), 1000, NULL);"
        "UPDATE rejoin_state SET folded=(SELECT max(seq) FROM rejoin_log)");
  }
  void age_device(const std::string& device) override {
    peer().run("UPDATE rejoin_device SET last_seen=0 WHERE device='" + device + "'");
  }
  void forget_deletions() override {
    const auto gone = peer().rejoin().compact(0);
    EXPECT_TRUE(gone.ok()) << gone.error().message;
  }
  void expect_sound() override { peer().expect_sound(); }

 private:
  struct Node {
    std::unique_ptr<sqlite::Database> database;
    std::unique_ptr<LoopbackServer> server;  // borrows the database, so it goes first
  };
  std::string path() const { return scratch_folder() + "/" + file_; }
  Peer& peer() {
    peer_->clock().set(system_clock().now_ms());
    return *peer_;
  }
  void open_file() { peer_ = std::make_unique<Peer>("", std::vector<std::string>{}, file_); }
  void close_file() {
    nodes_.clear();
    peer_.reset();
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path() + end);
  }

  std::string file_;
  std::unique_ptr<Peer> peer_;
  std::map<size_t, Node> nodes_;
};

class PostgresStoreWorld final : public StoreWorld {
 public:
  explicit PostgresStoreWorld(const std::vector<StoreTable>& tables) {
    std::string schema;
    std::vector<std::string> names;
    for (const StoreTable& t : tables) {
      schema += "CREATE TABLE " + t.name + "(" + (t.in_postgres.empty() ? t.on_device : t.in_postgres) + ");";
      names.push_back("public." + t.name);
    }
    world_ = std::make_unique<PostgresWorld>(schema, names, "", true);
  }

  LoopbackServer& node(size_t index) override { return world_->server("main#" + std::to_string(index)); }
  std::unique_ptr<sync::TenantAdmin> admin() override { return world_->admin("main#0"); }
  void run(const std::string& sql) override { world_->sql.run(sql); }
  std::string rows(const std::string& sql) override { return world_->sql.rows(sql); }
  int64_t number(const std::string& sql) override { return world_->sql.number(sql); }
  void change_key(const std::string& table, const std::string&, const std::string& in_postgres) override {
    run(in_postgres);
    const Status gone = postgres::untrack(world_->sql.connection(), "public." + table);
    ASSERT_TRUE(gone.ok()) << gone.error().message;
    world_->track("public." + table);
  }
  int64_t kept(const std::string& what) override { return number("SELECT count(*) FROM rejoin." + what); }

  void back_up() override { copy_ = world_->copy(); }
  void go_back() override { world_ = PostgresWorld::over(copy_, true); }

  void lengthen_log() override {
    run("INSERT INTO rejoin.log SELECT t.id, t.tail + i, 0, 0, 1000 + i, '\\x00' FROM rejoin.tenant t, "
        "generate_series(1, 11000) AS i; UPDATE rejoin.tenant SET tail = tail + 11000");
  }
  void age_device(const std::string& device) override {
    run("UPDATE rejoin.device SET last_seen = 0 WHERE device = '" + device + "'");
  }
  void forget_deletions() override {
    const auto done =
        postgres::compact(world_->sql.connection(), {"", 0, false}, system_clock(), system_random(), nullptr);
    EXPECT_TRUE(done.ok()) << done.error().message;
  }
  void expect_sound() override { world_->expect_sound(); }

 private:
  std::unique_ptr<PostgresWorld> world_;
  std::string copy_;
};

}  // namespace

std::unique_ptr<StoreWorld> StoreWorld::make(StoreKind kind, const std::vector<StoreTable>& tables) {
  if (kind == StoreKind::embedded) return std::make_unique<EmbeddedWorld>(tables);
  return std::make_unique<PostgresStoreWorld>(tables);
}

sync::SyncTotals StoreWorld::sync(LoopbackDevice& device, size_t index) {
  device.peer.clock().set(system_clock().now_ms());
  return device.must_sync(node(index));
}

std::string plain_rows(Peer& peer, const std::string& sql) {
  std::string out = peer.rows(sql);
  std::erase(out, '\'');
  return out;
}

}  // namespace rejoin::testing
