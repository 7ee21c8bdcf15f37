// A server's tenant in either store that lives for months within a test and forgets deletions. It has one table,
// t(id, v, w), all of them text.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/store_world.h"

namespace rejoin::testing {

// The same table on devices.
inline constexpr const char* kForgettingSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT, w TEXT)";

class ForgettingServer {
 public:
  static std::unique_ptr<ForgettingServer> make(StoreKind kind);
  virtual ~ForgettingServer() = default;

  // A node of it. The embedded store has one only.
  virtual LoopbackServer& node(size_t index = 0) = 0;
  // What all its clocks show.
  virtual void set_clock(int64_t ms) = 0;
  int64_t now_ms() { return node().peer().clock().now_ms(); }
  void advance(int64_t ms) { set_clock(now_ms() + ms); }
  // Plain SQL, as others beside the server run it, at this time.
  virtual void run(const std::string& sql) = 0;
  // Rows of t, by id, as Peer::rows() writes them.
  virtual std::string rows(const std::vector<std::string>& columns = {"id", "v", "w"},
                           const std::string& where = "true") = 0;
  // How many rows of Rejoin's own: "device", "log".
  virtual int64_t kept(const std::string& what) = 0;
  virtual void forget_devices() = 0;
  // The device was seen at this time.
  virtual void seen(const std::string& device) = 0;
  // How many rows have records, the deleted ones included.
  virtual int64_t records() = 0;
  // As the command does it.
  virtual void compact(std::optional<int64_t> keep_days = {}) = 0;
  // When the row was born, in milliseconds; 0: it is unknown here.
  virtual int64_t born(const std::string& id) = 0;
  virtual void expect_sound() = 0;
  // The embedded store's file, which can restore rows; null for PostgreSQL.
  virtual Peer* file() { return nullptr; }
  // PostgreSQL's database.
  virtual std::string url() { return ""; }
};

}  // namespace rejoin::testing
