// A table gets another key at two devices and at the server that they sync with, in every order, over both stores.
// What one side does not take is listed there, everything else goes on, no write is lost, and when all have the key
// they agree.
#include <gtest/gtest.h>

#include <map>

#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

const std::string kOld = "id TEXT PRIMARY KEY, title TEXT, n INTEGER";
const std::string kNewColumns =
    "owner TEXT NOT NULL DEFAULT 'me', id TEXT NOT NULL, title TEXT, n INTEGER, PRIMARY KEY(owner, id)";
const std::string kRebuild = "CREATE TABLE fresh(" + kNewColumns +
                             "); INSERT INTO fresh(id, title, n) SELECT id, title, n FROM todos; DROP TABLE todos;"
                             "ALTER TABLE fresh RENAME TO todos";
// A device's contract may have added the column already.
const std::string kInPostgres =
    "BEGIN; ALTER TABLE todos ADD COLUMN IF NOT EXISTS owner text; UPDATE todos SET owner = 'me';"
    "ALTER TABLE todos DROP CONSTRAINT todos_pkey, ALTER owner SET DEFAULT 'me', ADD PRIMARY KEY(owner, id); COMMIT";
const std::string kPlain = "CREATE TABLE plain(id TEXT PRIMARY KEY, v TEXT)";

constexpr const char* kRows = "SELECT id, title, n FROM todos ORDER BY id";
constexpr const char* kKeys = "SELECT owner, id FROM todos WHERE owner <> 'me'";
constexpr const char* kWaiting = "SELECT table_name || key FROM rejoin_parked ORDER BY 1";
constexpr const char* kRefused = "SELECT code || ' ' || table_name || key FROM rejoin_rejections ORDER BY 1";

struct Param {
  StoreKind kind;
  std::string order;  // who gets the new key when: device a, device b, the server S
};

void PrintTo(const Param& p, std::ostream* out) { *out << p.order; }

class NewKeyThroughServers : public ::testing::TestWithParam<Param> {
 protected:
  NewKeyThroughServers()
      : world(StoreWorld::make(GetParam().kind, {{"todos", kOld, "id text PRIMARY KEY, title text, n bigint"},
                                                 {"plain", "id TEXT PRIMARY KEY, v TEXT", ""}})),
        a("a", "CREATE TABLE todos(" + kOld + ");" + kPlain, {"todos", "plain"}),
        b("b", "CREATE TABLE todos(" + kOld + ");" + kPlain, {"todos", "plain"}) {}

  LoopbackDevice& device(char who) { return who == 'a' ? a : b; }
  bool has_new(char who) const { return done.find(who) != std::string::npos; }
  // `rejoin pg track` anew knows no versions: what SQL writes after a device has changed gives way to what that one
  // had.
  bool can_write(char who) const {
    return who != 'S' || GetParam().kind == StoreKind::embedded || done.empty() || has_new('S');
  }
  // Later than all that was written until now.
  void write(char who, const std::string& sql) {
    for (const int64_t now = system_clock().now_ms(); system_clock().now_ms() <= now + 1;) {
    }
    if (who == 'S') return world->run(sql);
    device(who).peer.clock().set(system_clock().now_ms());
    device(who).peer.run(sql);
  }
  void change_key(char who) {
    if (who == 'S') {
      world->change_key("todos", kRebuild, kInPostgres);
    } else {
      Status ok = device(who).peer.rejoin().alter_begin("todos");
      ASSERT_TRUE(ok.ok()) << ok.error().message;
      device(who).peer.run(kRebuild);
      ok = device(who).peer.rejoin().alter_commit("todos");
      ASSERT_TRUE(ok.ok()) << ok.error().message;
    }
    done += who;
  }
  void sync_all(int rounds = 2) {
    for (int round = 0; round < rounds; ++round) world->sync(a), world->sync(b);
  }
  void expect_all(const std::string& rows) {
    sync_all(2);
    for (char who : {'a', 'b'}) {
      const sync::SyncTotals last = world->sync(device(who));
      EXPECT_EQ(last.rows_pushed, 0u) << who;
      EXPECT_EQ(last.rows_pulled, 0u) << who;
    }
    EXPECT_EQ(world->rows(kRows), rows);
    EXPECT_EQ(world->rows(kKeys), "");
    for (char who : {'a', 'b'}) {
      Peer& p = device(who).peer;
      EXPECT_EQ(plain_rows(p, kRows), rows) << who;
      EXPECT_EQ(plain_rows(p, kWaiting) + plain_rows(p, kRefused), "") << who;
      p.expect_sound();
    }
    world->expect_sound();
  }

  std::unique_ptr<StoreWorld> world;
  LoopbackDevice a, b;
  std::string done;  // who has the new key
};

std::string key_of(const std::string& id, bool new_key) {
  return "todos[" + std::string(new_key ? "\"me\"," : "") + "\"" + id + "\"]\n";
}

// Each row is inserted by one of them, gets its title from another and its number from a third, while some have the new
// key and others do not.
TEST_P(NewKeyThroughServers, NoWriteIsLostAndAllAgreeInTheEnd) {
  struct Row {
    std::string title = "first";
    int n = 0;
  };
  std::map<std::string, Row> expected;
  const std::string all = "abS";
  for (const char who : all) {
    std::string sql = "INSERT INTO todos VALUES('gone " + std::string(1, who) + "', 'x', 0)";
    for (const char writer : all)
      for (const char* step : {"1", "2", "3"}) {
        const std::string id = std::string(1, who) + writer + step;
        sql += ", ('" + id + "', 'first', 0)";
        expected[id] = {};
      }
    write(who, sql);
  }
  sync_all();
  write('b', "DELETE FROM todos WHERE id LIKE 'gone%'");
  sync_all();
  int step = 0;
  for (const char next : GetParam().order) {
    SCOPED_TRACE(done + "+" + next);
    const std::string n = std::to_string(++step);
    // The server does not have this yet.
    write(next, "INSERT INTO todos(id, title, n) VALUES('unsent" + n + "', 'first', 0)");
    expected["unsent" + n] = {};
    change_key(next);
    sync_all();
    const auto writes = [&](char titles, char numbers) {
      const std::string rows = "'_" + std::string(1, titles) + n + "'", fresh = "new " + std::string(1, titles) + n;
      const std::string title = "by " + std::string(1, titles);
      if (can_write(titles)) {
        write(titles, "UPDATE todos SET title = '" + title + "' WHERE id LIKE " + rows +
                          "; INSERT INTO todos(id, title, n) VALUES('" + fresh + "', '" + title + "', 1)");
        expected[fresh] = {title, 1};
      }
      if (can_write(numbers)) write(numbers, "UPDATE todos SET n = 1 WHERE id LIKE " + rows);
      for (const char who : all) {
        Row& row = expected[std::string(1, who) + titles + n];
        if (can_write(titles)) row.title = title;
        if (can_write(numbers)) row.n = 1;
      }
    };
    writes('a', 'b'), writes('b', 'S'), writes('S', 'a');
    write('a', "INSERT INTO plain VALUES('a" + n + "', 'v')");
    write('b', "INSERT INTO plain VALUES('b" + n + "', 'v')");
    sync_all();
    const std::string plain = "SELECT count(*) FROM plain";
    for (const std::string& rows : {plain_rows(a.peer, plain), plain_rows(b.peer, plain), world->rows(plain)})
      EXPECT_EQ(rows, std::to_string(2 * step) + "\n") << "what is not about it goes on";
    for (const char who : {'a', 'b'}) {
      SCOPED_TRACE(who);
      const std::string listed = plain_rows(device(who).peer, kWaiting),
                        refused = plain_rows(device(who).peer, kRefused);
      const bool as_server = has_new(who) == has_new('S');
      if (as_server) {
        EXPECT_EQ(refused, "");
      } else {
        const std::string own = "schema_refused " + key_of("new " + std::string(1, who) + n, has_new(who));
        EXPECT_NE(refused.find(own), std::string::npos) << refused;
      }
      for (const char other : all) {
        // What the server has.
        if (other == who || !can_write(other) || has_new(other) != has_new('S')) continue;
        const std::string id = "new " + std::string(1, other) + n;
        if (!as_server) {
          EXPECT_NE(listed.find(key_of(id, has_new('S'))), std::string::npos) << id << " of " << listed;
        }
        EXPECT_EQ(device(who).peer.number("SELECT count(*) FROM todos WHERE id = '" + id + "'"), as_server) << id;
      }
    }
  }
  std::string rows;
  for (const auto& [id, row] : expected) rows += id + "|" + row.title + "|" + std::to_string(row.n) + "\n";
  expect_all(rows);
}

// Who has the new key keeps its rows, whoever deletes them under the former one, and lists these deletions until they
// are repeated.
TEST_P(NewKeyThroughServers, ADeletionUnderTheFormerKeyIsToBeRepeated) {
  write('a', "INSERT INTO todos VALUES('1', 'of a', 1), ('2', 'of a', 1), ('kept', 'of a', 1)");
  write('b', "INSERT INTO todos VALUES('3', 'of b', 1)");
  sync_all();
  const char first = GetParam().order[0], second = GetParam().order[1], last = GetParam().order[2];
  change_key(first);
  sync_all();
  if (can_write(last)) write(last, "DELETE FROM todos WHERE id IN ('1', '3')");
  sync_all();
  change_key(second);
  sync_all();
  if (can_write(last)) write(last, "DELETE FROM todos WHERE id = '2'");
  sync_all();
  if (first != 'S') {
    EXPECT_EQ(plain_rows(device(first).peer, kRows), "1|of a|1\n2|of a|1\n3|of b|1\nkept|of a|1\n");
    const std::string listed = plain_rows(device(first).peer, kWaiting);
    if (can_write(last)) {
      EXPECT_EQ(listed, last == 'S' ? "todos[\"1\"]\ntodos[\"2\"]\ntodos[\"3\"]\n" : "todos[\"1\"]\ntodos[\"3\"]\n");
    }
  }
  if (has_new('S')) {
    EXPECT_NE(plain_rows(device(last).peer, kRefused).find("schema_refused todos[\"2\"]"), std::string::npos);
  }
  change_key(last);
  sync_all();
  for (const char who : {'a', 'b'}) {
    write(who, "DELETE FROM todos WHERE id <> 'kept'");
    sync_all();
  }
  for (const char who : {'a', 'b'}) ASSERT_TRUE(device(who).peer.rejoin().compact().ok());
  expect_all("kept|of a|1\n");
}

TEST_P(NewKeyThroughServers, ANewDeviceShowsTheRowsWhenTheServerHasItsKey) {
  write('a', "INSERT INTO todos VALUES('1', 'of a', 1)");
  write('b', "INSERT INTO todos VALUES('2', 'of b', 2)");
  sync_all();
  std::vector<std::unique_ptr<LoopbackDevice>> fresh;
  for (const char next : GetParam().order) {
    fresh.push_back(std::make_unique<LoopbackDevice>("fresh" + std::to_string(fresh.size()),
                                                     "CREATE TABLE todos(" + kNewColumns + ");" + kPlain,
                                                     std::vector<std::string>{"todos", "plain"}));
    LoopbackDevice& one = *fresh.back();
    one.peer.run("INSERT INTO todos(id, title, n) VALUES('" + one.caller.device + "', 'its own', 3)");
    world->sync(one);
    const std::string own = one.caller.device + "|its own|3\n";
    if (has_new('S')) {
      EXPECT_EQ(plain_rows(one.peer, kWaiting) + plain_rows(one.peer, kRefused), "");
      EXPECT_EQ(plain_rows(one.peer, "SELECT id FROM todos WHERE id < 'f'"), "1\n2\n");
    } else {
      EXPECT_EQ(plain_rows(one.peer, kWaiting), "todos[\"1\"]\ntodos[\"2\"]\n");
      EXPECT_EQ(plain_rows(one.peer, kRefused), "schema_refused " + key_of(one.caller.device, true));
      EXPECT_EQ(plain_rows(one.peer, kRows), own);
    }
    sync_all();
    change_key(next);
    sync_all();
  }
  for (auto& one : fresh) world->sync(*one);
  const std::string rows = "1|of a|1\n2|of b|2\nfresh0|its own|3\nfresh1|its own|3\nfresh2|its own|3\n";
  expect_all(rows);
  for (auto& one : fresh) {
    world->sync(*one);
    EXPECT_EQ(plain_rows(one->peer, kRows), rows);
    EXPECT_EQ(plain_rows(one->peer, kRefused), "");
    one->peer.expect_sound(true);
  }
}

class NewKeyAtTheServerFirst : public NewKeyThroughServers {};

// Symptom: once PostgreSQL's table was tracked anew, a device that changed sent its own part of each row, and what
// others had written of these rows became NULL there.
TEST_P(NewKeyAtTheServerFirst, KeepsWhatOthersWroteOfADevicesRow) {
  write('b', "INSERT INTO todos VALUES('1', 'first', 0), ('2', 'first', 0)");
  sync_all();
  write('S', "UPDATE todos SET title = 'by S' WHERE id = '1'");
  write('a', "UPDATE todos SET title = 'by a' WHERE id = '2'");
  sync_all();
  change_key('S');
  sync_all();
  change_key('b');
  sync_all();
  EXPECT_EQ(world->rows(kRows), "1|by S|0\n2|by a|0\n") << "before a changes, and if it never does";
  change_key('a');
  expect_all("1|by S|0\n2|by a|0\n");
}

std::vector<Param> params() {
  std::vector<Param> out;
  for (StoreKind kind : {StoreKind::embedded, StoreKind::postgres})
    for (std::string order : {"Sab", "Sba", "aSb", "abS", "baS", "bSa"}) out.push_back({kind, order});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Stores, NewKeyThroughServers, ::testing::ValuesIn(params()), [](const auto& of) {
  return (of.param.kind == StoreKind::embedded ? "embedded_" : "postgres_") + of.param.order;
});

INSTANTIATE_TEST_SUITE_P(Stores, NewKeyAtTheServerFirst,
                         ::testing::Values(Param{StoreKind::embedded, "Sba"}, Param{StoreKind::postgres, "Sba"}),
                         [](const auto& of) {
                           return std::string(of.param.kind == StoreKind::embedded ? "embedded" : "postgres");
                         });

}  // namespace
}  // namespace rejoin::testing
