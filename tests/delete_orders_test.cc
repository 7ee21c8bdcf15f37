// Deleting, restoring, deleting again and editing, in every order, on three replicas, with every way of telling each
// other in between: all end with what the newest of the writes says, and edits are never lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, w)";
constexpr const char* kAll = "SELECT * FROM t ORDER BY id";

enum class Act { remove, restore, edit };
// Between two acts: nobody hears of anything; everybody of everything; b of a, then c of b.
enum class Talk { none, all, ring };

// What a replica knows of one row: two last-writer-wins registers.
struct Known {
  bool alive = true;
  int live = 0, value = 0;  // when it was written last
  void hear(const Known& other) {
    if (other.live > live) live = other.live, alive = other.alive;
    value = std::max(value, other.value);
  }
  friend bool operator==(const Known&, const Known&) = default;
};

struct Script {
  std::array<Act, 4> acts;
  std::array<int, 4> by;
  std::array<Known, 3> known;
  std::string key;
};

std::vector<Script> scripts() {
  std::vector<Script> out;
  std::array<Act, 4> acts{Act::remove, Act::remove, Act::restore, Act::edit};
  do {
    // The first act is a's: the replicas differ in nothing but their names.
    for (int by = 0; by < 27; ++by) {
      Script s;
      s.acts = acts;
      s.by = {0, by % 3, by / 3 % 3, by / 9};
      s.key = "k" + std::to_string(out.size());
      out.push_back(s);
    }
  } while (std::next_permutation(acts.begin(), acts.end()));
  return out;
}

class World {
 public:
  World() : peers_{Peer(kSchema, {"t"}), Peer(kSchema, {"t"}), Peer(kSchema, {"t"})}, scripts_(scripts()) {
    for (const Script& s : scripts_) peers_[0].run("INSERT INTO t VALUES('" + s.key + "', 0, 'kept')");
    talk(Talk::all);
  }

  void act(size_t step) {
    for (Peer& p : peers_) p.clock().advance(1000);
    const int now = static_cast<int>(step) + 1;
    for (Script& s : scripts_) {
      const auto by = static_cast<size_t>(s.by[step]);
      Known& known = s.known[by];
      switch (s.acts[step]) {
        case Act::remove:
          peers_[by].run("DELETE FROM t WHERE id = '" + s.key + "'");
          if (known.alive) known.alive = false, known.live = now;
          break;
        case Act::restore:
          EXPECT_EQ(peers_[by].restore("t", {sim::Value::text(s.key)}), !known.alive);
          if (!known.alive) known.alive = true, known.live = now;
          break;
        case Act::edit:
          peers_[by].run("UPDATE t SET v = " + std::to_string(now) + " WHERE id = '" + s.key + "'");
          if (known.alive) known.value = now;
          break;
      }
    }
  }

  void talk(Talk how) {
    if (how == Talk::none) return;
    if (how == Talk::ring) return tell(0, 1), tell(1, 2);
    for (int round = 0; round < 2; ++round)
      for (size_t i = 0; i < 3; ++i) tell(i, (i + 1) % 3);
  }

  void expect_the_newest() {
    std::string want;
    std::vector<Script> sorted = scripts_;
    std::sort(sorted.begin(), sorted.end(), [](const Script& a, const Script& b) { return a.key < b.key; });
    for (Script& s : sorted) {
      EXPECT_TRUE(s.known[0] == s.known[1] && s.known[1] == s.known[2]);
      if (s.known[0].alive) want += "'" + s.key + "'|" + std::to_string(s.known[0].value) + "|'kept'\n";
    }
    for (Peer& p : peers_) {
      EXPECT_EQ(p.rows(kAll), want);
      p.expect_sound();
    }
  }

  // In another order, and twice.
  void expect_the_same_of_late_listeners() {
    std::array<Bytes, 3> all;
    for (size_t i = 0; i < 3; ++i) all[i] = peers_[i].changeset(0);
    std::array<size_t, 3> order{0, 1, 2};
    const std::string want = peers_[0].rows(kAll);
    do {
      Peer late(kSchema, {"t"});
      for (size_t i : order) late.apply(all[i]), late.apply(all[order[0]]);
      EXPECT_EQ(late.rows(kAll), want);
    } while (std::next_permutation(order.begin(), order.end()));
  }

 private:
  void tell(size_t from, size_t to) {
    peers_[to].fetch(peers_[from]);
    for (Script& s : scripts_) s.known[to].hear(s.known[from]);
  }
  std::array<Peer, 3> peers_;
  std::vector<Script> scripts_;
};

class DeleteOrders : public ::testing::TestWithParam<int> {};

TEST_P(DeleteOrders, EndWithTheNewestWrite) {
  World world;
  for (int step = 0, talk = GetParam(); step < 4; ++step, talk /= 3) {
    world.act(static_cast<size_t>(step));
    if (step < 3) world.talk(static_cast<Talk>(talk % 3));
  }
  world.talk(Talk::all);
  world.expect_the_newest();
  world.expect_the_same_of_late_listeners();
}

INSTANTIATE_TEST_SUITE_P(WhateverIsToldInBetween, DeleteOrders, ::testing::Range(0, 27));

// A row is deleted and inserted again on one side, and edited all over on the other.
TEST(DeleteAndInsertAgain, AgainstAHeavilyEditedRow) {
  for (bool edits_first : {true, false})
    for (bool a_hears_first : {true, false}) {
      Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"});
      a.run("INSERT INTO t VALUES('k', 'old', 'old')");
      exchange(a, b);
      c.fetch(a);
      auto edit = [&] {
        for (int i = 0; i < 50; ++i) {
          b.clock().advance(10);
          b.run("UPDATE t SET v = " + std::to_string(i) + ", w = 'b" + std::to_string(i) + "'");
          if (i % 10 == 0) c.fetch(b);
        }
      };
      if (edits_first) edit();
      a.clock().set(b.clock().now_ms() + 10);
      a.run("DELETE FROM t; INSERT INTO t(id, v) VALUES('k', 'anew')");
      if (!edits_first) {
        b.clock().set(a.clock().now_ms() + 10);
        edit();
      }
      a_hears_first ? (void)(a.fetch(b), b.fetch(a)) : (void)(b.fetch(a), a.fetch(b));
      exchange(b, c), exchange(a, c);
      // Later edits are edits of the new row, earlier ones belong to the old one.
      const std::string want = edits_first ? "'k'|'anew'|null\n" : "'k'|49|'b49'\n";
      for (Peer* p : {&a, &b, &c}) {
        EXPECT_EQ(p->rows(kAll), want) << edits_first << a_hears_first;
        p->expect_sound();
      }
    }
}

TEST(DeleteAndInsertAgain, TheInsertArrivesBeforeTheDeletion) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'old', 'old')");
  const Bytes first = a.changeset(0);
  a.clock().advance(10);
  a.run("DELETE FROM t");
  const Bytes deletion = a.changeset(0);
  a.clock().advance(10);
  a.run("INSERT INTO t(id, v) VALUES('k', 'anew')");
  const Bytes insert = a.changeset(0);
  std::vector<const Bytes*> order{&first, &deletion, &insert};
  std::sort(order.begin(), order.end());
  do {
    Peer p(kSchema, {"t"});
    for (const Bytes* frame : order) p.apply(*frame);
    EXPECT_EQ(p.rows(kAll), "'k'|'anew'|null\n");
    p.expect_sound();
  } while (std::next_permutation(order.begin(), order.end()));
}

// The row comes from one, its deletion from another, the new one from a third.
TEST(DeleteAndInsertAgain, FromThreeReplicas) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'of a', 'of a')");
  const Bytes first = a.changeset(0);
  b.apply(first);
  b.clock().advance(10);
  b.run("DELETE FROM t");
  const Bytes deletion = b.changeset(0);
  c.apply(deletion);
  c.clock().advance(20);
  c.run("INSERT INTO t VALUES('k', 'of c', 'of c')");
  const Bytes insert = c.changeset(0);
  std::vector<const Bytes*> order{&first, &deletion, &insert};
  std::sort(order.begin(), order.end());
  do {
    Peer p(kSchema, {"t"});
    for (const Bytes* frame : order) p.apply(*frame);
    EXPECT_EQ(p.rows(kAll), "'k'|'of c'|'of c'\n");
    p.expect_sound();
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace
}  // namespace rejoin::testing
