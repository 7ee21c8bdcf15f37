#include "tests/support/constrained.h"

#include <algorithm>
#include <numeric>

namespace rejoin::testing {

Replicas::Replicas(size_t count, const std::string& schema, const std::vector<std::string>& tracked)
    : now_(1'700'000'000'000) {
  for (size_t i = 0; i < count; ++i) peers_.push_back(std::make_unique<Peer>(schema, tracked));
}

void Replicas::at(size_t replica, const std::string& sql) {
  now_ += 1'000;
  for (auto& peer : peers_) peer->clock().set(now_);
  peers_[replica]->run(sql);
}

void Replicas::sync(const std::vector<size_t>& order) {
  for (int round = 0; round < 10; ++round) {
    uint64_t changed = 0;
    for (size_t to : order)
      for (size_t from : order)
        if (to != from) changed += peers_[to]->fetch(*peers_[from]);
    if (!changed) return;
  }
  ADD_FAILURE() << "the replicas still answer each other after ten rounds";
}

void Replicas::expect(const std::string& sql, const std::string& rows) {
  for (size_t i = 0; i < peers_.size(); ++i) EXPECT_EQ(peers_[i]->rows(sql), rows) << "replica " << i << ": " << sql;
}

void Replicas::expect_sound() {
  const std::string parked = "SELECT table_name, key, reason FROM rejoin_parked ORDER BY 1, 2";
  for (auto& peer : peers_) {
    peer->expect_sound(true);
    EXPECT_EQ(peer->rows(parked), peers_[0]->rows(parked));
    EXPECT_EQ(peer->rows("PRAGMA foreign_key_check"), "");
  }
}

void tell(const Story& story) {
  size_t named = 2;
  for (const auto& write : story.apart) named = std::max(named, write.first + 1);
  for (const auto& write : story.later) named = std::max(named, write.first + 1);
  for (size_t count = named; count <= 3; ++count) {
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), size_t{0});
    do {
      std::string shown;
      for (size_t i : order) shown += std::to_string(i);
      SCOPED_TRACE("replicas in the order " + shown);
      Replicas all(count, story.schema, story.tracked);
      for (const std::string& sql : story.before) all.at(0, sql);
      all.sync(order);
      for (const auto& write : story.apart) all.at(write.first, write.second);
      all.sync(order);
      all.expect(story.query, story.rows);
      all.expect_sound();
      for (const auto& write : story.later) {
        all.at(write.first, write.second);
        all.sync(order);
      }
      if (!story.later.empty()) {
        all.expect(story.query, story.later_rows);
        all.expect_sound();
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

}  // namespace rejoin::testing
