// Three versions of an app at once through a server, over both stores: the second renames a column and adds one, the
// third drops one, adds a table and, in some of these, renames one. In every order of upgrade no write is lost, what a
// version knows of it shows there at once, and but for a renamed table's rows nothing is sent again. app_versions_test
// is about changesets.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

const std::string kV1 = "id TEXT PRIMARY KEY, a TEXT, b TEXT, c TEXT";
const std::string kU = "CREATE TABLE u(id TEXT PRIMARY KEY, v TEXT);";

enum class Renamed { columns, tables, tables_there_too };  // `tables`: beside the column

struct Param {
  StoreKind kind;
  Renamed renamed;
  bool oldest_first;  // in each round
  const char* order;  // of upgrade. x: the first device's to the next version; X: to the third; Y: the second device's
};

void PrintTo(const Param& p, std::ostream* out) { *out << p.order; }

// What there is of a row, by the names of the third version and b. `a` has what was written under that name.
struct Row {
  std::map<std::string, std::string> cells{
      {"a", "null"}, {"label", "null"}, {"b", "null"}, {"c", "null"}, {"d", "none"}};
};
using Rows = std::map<std::string, Row>;

std::string shown(const Rows& rows, const std::vector<std::string>& columns) {
  std::string out;
  for (const auto& [id, row] : rows) {
    out += id;
    for (const std::string& column : columns) out += "|" + row.cells.at(column);
    out += "\n";
  }
  return out;
}

struct App {
  explicit App(const std::string& name) : device(name, "CREATE TABLE t(" + kV1 + ")", {"t"}) {}
  Peer& peer() { return device.peer; }
  std::string table(Renamed renamed) const { return version == 3 && renamed != Renamed::columns ? "items" : "t"; }
  std::vector<std::string> columns() const {
    if (version == 1) return {"a", "b", "c"};
    return version == 2 ? std::vector<std::string>{"label", "b", "c", "d"}
                        : std::vector<std::string>{"label", "c", "d"};
  }

  LoopbackDevice device;
  int version = 1;
  std::set<std::string> unsent;
};

class AppVersionsThroughServers : public ::testing::TestWithParam<Param> {
 protected:
  AppVersionsThroughServers() : world(StoreWorld::make(GetParam().kind, {{"t", kV1, ""}})) {}

  bool renames_table() const { return GetParam().renamed != Renamed::columns; }
  // Do versions with the old name of the table hear of what is written under the new one?
  bool one_table() const { return GetParam().renamed != Renamed::tables; }

  void run(App& app, const std::string& sql, const std::string& key) {
    app.peer().run(sql);
    app.unsent.insert(key);
  }
  void write(App& app, const std::string& id, const std::string& column, const std::string& value) {
    const std::vector<std::string> has = app.columns();
    const std::string name = column == "label" && app.version == 1 ? "a" : column;
    if (std::find(has.begin(), has.end(), name) == has.end()) return;
    run(app,
        "INSERT INTO " + app.table(GetParam().renamed) + "(id, " + name + ") VALUES('" + id + "', '" + value +
            "') ON CONFLICT(id) DO UPDATE SET " + name + " = excluded." + name,
        id);
    if (&app == leaving && column == "b") return;  // unsent values of a column go with it
    for (Rows* rows : told_by(app)) {
      (*rows)[id].cells[column] = value;
      if (name == "a") (*rows)[id].cells["a"] = value;
    }
  }
  void remove(App& app, const std::string& id) {
    run(app, "DELETE FROM " + app.table(GetParam().renamed) + " WHERE id = '" + id + "'", id);
    for (Rows* rows : told_by(app)) rows->erase(id);
  }
  std::vector<Rows*> told_by(const App& app) {
    const int sent_as = &app == leaving ? 3 : app.version;
    if (sent_as < 3 || one_table()) return {&all, &by_old_name};
    return {&all};
  }

  // All write at once: rows of their own, and every column that they have of one row, of which the last has each.
  void write_all() {
    const int64_t time = system_clock().now_ms() + 1000 * ++turn;
    for (int i = 0; i < 3; ++i) {
      App& app = *apps[(turn + i) % 3];
      app.peer().clock().set(time + 100 * i);
      const std::string text = app.device.caller.device + std::to_string(turn);
      write(app, text, "label", "label of " + text);
      write(app, text, "b", "b of " + text);
      for (const char* column : {"label", "b", "c", "d"}) write(app, "shared", column, column + (" by " + text));
      if (i == 0) remove(app, "gone" + std::to_string(turn));
      if (app.version == 3) {
        run(app, "INSERT INTO u VALUES('" + text + "', 'v'); UPDATE u SET v = '" + text + "' WHERE id = 'shared'",
            "u " + text);
        app.unsent.insert("u shared");
        u[text] = "v", u["shared"] = text;
      }
      app.peer().seq();  // stamps it
    }
  }

  // `news`: how many rows of a renamed table this device may send once more; the last has none of its own then.
  void sync(App& app, size_t news = 0) {
    const sync::SyncTotals totals = world->sync(app.device);
    EXPECT_GE(totals.rows_pushed, app.unsent.size() + (news && &app != &z)) << app.device.caller.device;
    EXPECT_LE(totals.rows_pushed, app.unsent.size() + news) << app.device.caller.device;
    EXPECT_EQ(totals.rows_refused, 0u);
    app.unsent.clear();
  }
  void sync_all() {
    std::vector<App*> order{apps[0], apps[1], apps[2]};
    if (!GetParam().oldest_first) std::reverse(order.begin(), order.end());
    for (int round = 0; round < 2; ++round)
      for (App* app : order) sync(*app);
    for (App* app : order) expect_quiet(*app);
  }
  void expect_quiet(App& app) {
    const sync::SyncTotals totals = world->sync(app.device);
    EXPECT_EQ(totals.rows_pushed, 0u) << app.device.caller.device;
    EXPECT_EQ(totals.rows_pulled, 0u) << app.device.caller.device;
  }

  void to_next(App& app) {
    if (++app.version == 2) {
      app.peer().run("ALTER TABLE t RENAME COLUMN a TO label; ALTER TABLE t ADD COLUMN d TEXT DEFAULT 'none'");
      return;
    }
    std::vector<std::string> steps{"ALTER TABLE t DROP COLUMN b"};
    if (renames_table()) steps.push_back("ALTER TABLE t RENAME TO items");
    for (const std::string& sql : steps) ASSERT_TRUE(app.peer().rejoin().alter(sql).ok()) << sql;
    app.peer().run(kU);
    app.peer().track("u");
  }
  void upgrade(App& app, int version) {
    const int64_t seq = app.peer().seq();
    while (app.version < version) to_next(app);
    const bool is_news = version == 3 && renames_table();
    if (!is_news) {
      EXPECT_EQ(app.peer().seq(), seq);
      if (app.unsent.empty()) expect_quiet(app);
    }
    if (app.unsent.empty()) expect_shown(app);
    sync(app, is_news ? all.size() + 5 : 0);  // and what was deleted
  }

  void expect_shown(App& app) {
    const std::string table = app.table(GetParam().renamed);
    std::string names = "id";
    for (const std::string& column : app.columns()) names += ", " + column;
    const Rows& rows = app.version == 3 ? all : by_old_name;
    EXPECT_EQ(plain_rows(app.peer(), "SELECT " + names + " FROM " + table + " ORDER BY id"), shown(rows, app.columns()))
        << app.device.caller.device << " of version " << app.version;
    if (app.version < 3) return;
    std::string expected;
    for (const auto& [id, v] : u) expected.append(id).append("|").append(v).append("\n");
    EXPECT_EQ(plain_rows(app.peer(), "SELECT * FROM u ORDER BY id"), expected) << app.device.caller.device;
  }
  void expect_sound(Peer& peer) {
    EXPECT_EQ(peer.rows("SELECT * FROM rejoin_rejections"), "");
    // Of the column that the third version has not any more.
    EXPECT_EQ(peer.rows("SELECT DISTINCT columns FROM rejoin_parked WHERE columns <> '[\"b\"]'"), "");
    peer.expect_sound(true);
  }

  std::unique_ptr<StoreWorld> world;
  App x{"x"}, y{"y"}, z{"z"};
  std::vector<App*> apps{&x, &y, &z};
  Rows all, by_old_name;
  std::map<std::string, std::string> u;
  App* leaving = nullptr;  // is of the third version before it sends what it writes
  int turn = 0;
};

TEST_P(AppVersionsThroughServers, InEveryOrderOfUpgradeNothingIsLost) {
  const Param& p = GetParam();
  x.peer().clock().set(system_clock().now_ms() - 60'000);
  for (const std::string id : {"base", "shared", "gone1", "gone2", "gone3", "gone4", "gone5"})
    for (const char* column : {"label", "b", "c"}) write(x, id, column, column + (" of " + id));
  sync_all();
  upgrade(y, 2);
  upgrade(z, 2);
  if (p.renamed == Renamed::tables_there_too) world->run("ALTER TABLE t RENAME TO items");
  upgrade(z, 3);
  run(z, "INSERT INTO u VALUES('shared', 'v')", "u shared");
  u["shared"] = "v";
  sync_all();
  write_all();
  sync_all();
  for (App* app : apps) expect_shown(*app);
  bool offline = false;  // it upgrades with writes of its earlier version that it has not sent yet
  for (const char step : std::string(p.order)) {
    App& upgraded = step == 'Y' ? y : x;
    leaving = offline && step != 'x' ? &upgraded : nullptr;
    write_all();
    leaving = nullptr;
    if (!offline) sync_all();
    offline = !offline;
    upgrade(upgraded, step == 'x' ? 2 : 3);
    sync_all();
    for (App* app : apps) expect_shown(*app);
  }
  write_all();
  sync_all();
  // So has who is made anew, if it says what things were called.
  LoopbackDevice late(
      "late",
      "CREATE TABLE " + x.table(p.renamed) + "(id TEXT PRIMARY KEY, label TEXT, c TEXT, d TEXT DEFAULT 'none');" + kU,
      {"u"});
  sqlite::TrackOptions options;
  options.former_columns = {{"label", "a"}};
  if (renames_table()) options.former_names = {"t"};
  late.peer.track(x.table(p.renamed), options);
  world->sync(late);
  const std::string rows = plain_rows(late.peer, "SELECT id, label, c, d FROM " + x.table(p.renamed) + " ORDER BY id");
  EXPECT_EQ(rows, shown(all, {"label", "c", "d"}));
  expect_sound(late.peer);
  for (App* app : apps) {
    EXPECT_EQ(app->version, 3);
    expect_shown(*app);
    expect_sound(app->peer());
  }
  EXPECT_EQ(world->rows("SELECT id, c, d FROM " + x.table(p.renamed) + " ORDER BY id"), shown(all, {"c", "d"}));
  EXPECT_EQ(world->rows("SELECT * FROM u ORDER BY id"), plain_rows(z.peer(), "SELECT * FROM u ORDER BY id"));
  world->expect_sound();
}

std::vector<Param> params() {
  std::vector<Param> out;
  bool oldest_first = false;
  for (const char* order : {"xXY", "xYX", "YxX", "XY", "YX"}) {
    oldest_first = !oldest_first;
    for (const StoreKind kind : {StoreKind::embedded, StoreKind::postgres})
      out.push_back({kind, Renamed::columns, oldest_first, order});
    out.push_back({StoreKind::embedded, Renamed::columns, !oldest_first, order});
    out.push_back({StoreKind::embedded, Renamed::tables, oldest_first, order});
  }
  for (const char* order : {"xYX", "YX"}) {
    out.push_back({StoreKind::postgres, Renamed::tables, true, order});
    out.push_back({StoreKind::postgres, Renamed::tables_there_too, false, order});
  }
  return out;
}

std::string name_of(const ::testing::TestParamInfo<Param>& of) {
  const char* const renamed[] = {"columns", "tables", "tablesThereToo"};
  return std::string(of.param.kind == StoreKind::embedded ? "embedded_" : "postgres_") +
         renamed[static_cast<int>(of.param.renamed)] + (of.param.oldest_first ? "_oldestFirst_" : "_newestFirst_") +
         of.param.order;
}

INSTANTIATE_TEST_SUITE_P(Stores, AppVersionsThroughServers, ::testing::ValuesIn(params()), name_of);

}  // namespace
}  // namespace rejoin::testing
