// One replica for tests that tell a story: a simulated database (its own clock, up to three connections), SQL as text
// in and out, and changes fetched from other peers.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "sim/database.h"
#include "sim/value.h"

namespace rejoin::testing {

class Peer {
 public:
  // `file`: a name in the scratch folder, or empty for memory. Runs `schema` and tracks the tables.
  explicit Peer(const std::string& schema = "", const std::vector<std::string>& tracked = {},
                const std::string& file = "");

  FakeClock& clock() { return db_.clock(); }
  sim::Database& database() { return db_; }
  sqlite::Replica& rejoin(int connection = 0) { return db_.replica(connection); }
  sqlite3* handle(int connection = 0) { return db_.connection(connection); }

  // Runs one or more statements; a failure fails the test.
  void run(const std::string& sql, const std::vector<sim::Value>& values = {}) { run_on(0, sql, values); }
  void run_on(int connection, const std::string& sql, const std::vector<sim::Value>& values = {});
  // SQLite's result code (the primary one).
  int attempt(const std::string& sql, int connection = 0);
  // Every row on a line, values as show() writes them, joined by '|'.
  std::string rows(const std::string& sql, int connection = 0);
  // One integer.
  int64_t number(const std::string& sql, int connection = 0);

  void track(const std::string& table, const sqlite::TrackOptions& options = {});
  // The code of the refusal; Code::ok when it worked.
  Code track_code(const std::string& table, const sqlite::TrackOptions& options = {}, std::string* message = nullptr);
  bool restore(const std::string& table, const sim::Key& key);
  int64_t seq();
  std::string site();  // 16 bytes

  // Everything after `since`; empty when there is nothing.
  Bytes changeset(int64_t since = 0, int connection = 0);
  // Merges a frame, which must work.
  sync::ApplyOutcome apply(const Bytes& frame, int connection = 0);
  Code apply_code(const Bytes& frame, int connection = 0);
  // Fetches what `from` has written since the last time. Returns the number of rows that changed here.
  uint64_t fetch(Peer& from);
  // The whole database, metadata included, as one comparable text.
  std::string dump();
  // integrity_check, doctor and an empty rejoin_parked.
  void expect_sound(bool parked_rows = false);

 private:
  sim::Database db_;
  std::map<Peer*, int64_t> fetched_;
};

// A value as tests quote it: as sim::print does, but text as it is (control characters as %hh).
std::string show(const sim::Value& value);

// Fetches in both directions.
void exchange(Peer& a, Peer& b);

}  // namespace rejoin::testing
