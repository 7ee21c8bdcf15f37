// Replicas of one schema for tests about constraints: changes travel in every order of delivery, and afterwards all
// show the same rows and hide the same.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/peer.h"

namespace rejoin::testing {

class Replicas {
 public:
  Replicas(size_t count, const std::string& schema, const std::vector<std::string>& tracked);
  Peer& operator[](size_t i) { return *peers_[i]; }
  size_t size() const { return peers_.size(); }
  // Runs the statements on one replica, at a later time than all before.
  void at(size_t replica, const std::string& sql);
  // Everybody fetches from everybody, in this order of replicas, until nobody has news.
  void sync(const std::vector<size_t>& order);
  // All answer alike, and so: `rows`.
  void expect(const std::string& sql, const std::string& rows);
  // All list the same hidden rows, and are sound: records and rows agree, foreign keys hold.
  void expect_sound();

 private:
  std::vector<std::unique_ptr<Peer>> peers_;
  int64_t now_;
};

// Runs a story with 2 and 3 replicas and, for each, in every order in which they hear of each other.
struct Story {
  std::string schema;
  std::vector<std::string> tracked;
  std::vector<std::string> before = {};                    // on the first, which all hear of; then the clock moves
  std::vector<std::pair<size_t, std::string>> apart = {};  // on this replica, without any news
  std::string query, rows;                                 // what all show then
  std::vector<std::pair<size_t, std::string>> later = {};  // afterwards, one after the other, all hearing of each
  std::string later_rows = {};
};
void tell(const Story& story);

}  // namespace rejoin::testing
