// P9 between peers: writes that the application's constraints allow only one of, and what its triggers do about
// others', in whatever order they come, with two and three replicas. All end up alike, nothing is lost, nothing waits.
#include <gtest/gtest.h>

#include "tests/support/constraint_cases.h"

namespace rejoin::testing {
namespace {

struct Param {
  const char* name;
  const char* pragmas;
  ConstraintGroup group;
  size_t replicas;
  bool second_first;  // the younger write comes first
};

void PrintTo(const Param& p, std::ostream* out) { *out << p.name; }

class ConstraintsBetweenPeers : public ::testing::TestWithParam<Param> {};

TEST_P(ConstraintsBetweenPeers, AllEndUpAlike) {
  const Param& p = GetParam();
  std::vector<ConstraintCase> told;
  std::string schema = std::string(p.pragmas) + "CREATE TABLE plain(id TEXT PRIMARY KEY, v TEXT);", triggers;
  std::vector<std::string> names{"plain"};
  for (const ConstraintCase& c : constraint_cases()) {
    if (c.group != p.group) continue;
    told.push_back(c);
    for (const StoreTable& t : c.tables)
      schema += "CREATE TABLE " + t.name + "(" + t.on_device + ");", names.push_back(t.name);
    triggers += c.indexes + ";" + c.on_devices + ";";
  }
  ASSERT_FALSE(told.empty());
  std::vector<std::unique_ptr<Peer>> peers;
  for (size_t i = 0; i < p.replicas; ++i) peers.push_back(std::make_unique<Peer>(schema + triggers, names));
  auto write = [&](size_t i, int64_t at, std::string ConstraintCase::*sql) {
    peers[i]->clock().set(at);
    for (const ConstraintCase& c : told)
      if (!(c.*sql).empty()) peers[i]->run(c.*sql + ";" + p.pragmas);
  };
  write(0, 1'000'000, &ConstraintCase::before);
  for (size_t i = 1; i < p.replicas; ++i) peers[i]->fetch(*peers[0]);
  write(0, 2'000'000, &ConstraintCase::first);
  write(1, 3'000'000, &ConstraintCase::second);
  peers[0]->run("INSERT INTO plain VALUES('0', 'x')");
  peers[1]->run("INSERT INTO plain VALUES('1', 'y')");
  for (auto& peer : peers) peer->clock().set(4'000'000);
  const size_t early = p.second_first ? 1 : 0, late = 1 - early;
  if (p.replicas > 2) peers[2]->fetch(*peers[early]), peers[2]->fetch(*peers[late]);
  peers[late]->fetch(*peers[early]);
  peers[early]->fetch(*peers[late]);
  // Until nobody has news.
  for (int round = 0; round < 3; ++round)
    for (auto& to : peers)
      for (auto& from : peers)
        if (to != from) to->fetch(*from);
  for (auto& to : peers)
    for (auto& from : peers)
      if (to != from) {
        EXPECT_EQ(to->fetch(*from), 0u);
      }

  for (size_t i = 0; i < peers.size(); ++i) {
    SCOPED_TRACE("replica " + std::to_string(i));
    Peer& peer = *peers[i];
    EXPECT_EQ(plain_rows(peer, "SELECT * FROM plain ORDER BY id"), "0|x\n1|y\n");
    for (const ConstraintCase& c : told) {
      SCOPED_TRACE(c.name);
      EXPECT_EQ(plain_rows(peer, c.query), c.rows);
      EXPECT_EQ(c.never.empty() ? "" : plain_rows(peer, c.never), "");
      std::string tables;
      for (const StoreTable& t : c.tables) tables += (tables.empty() ? "'" : ", '") + t.name + "'";
      EXPECT_EQ(plain_rows(peer, "SELECT DISTINCT table_name || key FROM rejoin_parked WHERE table_name IN (" + tables +
                                     ") ORDER BY 1"),
                c.parked);
    }
    peer.expect_sound(true);
    EXPECT_EQ(peer.rows("PRAGMA foreign_key_check"), "");
  }
}

std::vector<Param> params() {
  const char* enforced = "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = OFF;";
  const char* recursive = "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;";
  const char* unenforced = "PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = OFF;";
  std::vector<Param> out;
  for (size_t replicas : {size_t{2}, size_t{3}})
    for (bool second_first : {false, true}) {
      out.push_back({"values", enforced, ConstraintGroup::values, replicas, second_first});
      out.push_back({"valuesRecursiveTriggers", recursive, ConstraintGroup::values, replicas, second_first});
      out.push_back({"references", enforced, ConstraintGroup::references, replicas, second_first});
      out.push_back({"referencesUnenforced", unenforced, ConstraintGroup::references, replicas, second_first});
    }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Peers, ConstraintsBetweenPeers, ::testing::ValuesIn(params()), [](const auto& of) {
  return std::string(of.param.name) + (of.param.second_first ? "_youngerFirst_" : "_olderFirst_") +
         std::to_string(of.param.replicas);
});

}  // namespace
}  // namespace rejoin::testing
