// One tenant in either store, for tests that every store must pass: nodes of its server, a client for plain SQL beside
// them, and a backup to go back to.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/sync_loopback.h"

namespace rejoin::testing {

enum class StoreKind { embedded, postgres };

// A table in the words of each database, the key first.
struct StoreTable {
  std::string name;
  std::string on_device;    // what comes between the brackets of CREATE TABLE
  std::string in_postgres;  // the same; empty: as on the device
};

class StoreWorld {
 public:
  // `tables` are made and tracked; others may be made from contracts.
  static std::unique_ptr<StoreWorld> make(StoreKind kind, const std::vector<StoreTable>& tables);
  virtual ~StoreWorld() = default;

  // A server node, its clock at the real time. Each has a connection of its own.
  virtual LoopbackServer& node(size_t index = 0) = 0;
  sync::TenantStore& store(size_t index = 0) { return node(index).store(); }
  virtual std::unique_ptr<sync::TenantAdmin> admin() = 0;
  // Sets the device's clock to the real one and syncs, which must succeed.
  sync::SyncTotals sync(LoopbackDevice& device, size_t index = 0);

  // Plain SQL, as others beside the server run it.
  virtual void run(const std::string& sql) = 0;
  // Every row on a line, values joined by '|', texts without quotes, NULL as "null".
  virtual std::string rows(const std::string& sql) = 0;
  virtual int64_t number(const std::string& sql) = 0;
  // Gives a table another key, as the docs say: the embedded store's by `rebuild` between rejoin_alter_begin and
  // rejoin_alter_commit in the tenant's file, PostgreSQL's by `in_postgres`, untracked and tracked anew.
  virtual void change_key(const std::string& table, const std::string& rebuild, const std::string& in_postgres) = 0;
  // How many rows of Rejoin's own: "log" (positions), "staged" (pages that wait), "device" (chains).
  virtual int64_t kept(const std::string& what) = 0;
  // The state now; and back to it.
  virtual void back_up() = 0;
  virtual void go_back() = 0;
  // Makes the log so long that the next push forgets what every device has.
  virtual void lengthen_log() = 0;
  // The device was seen too long ago to hold anything back.
  virtual void age_device(const std::string& device) = 0;
  // Forgets everything that is deleted by now, as the commands do.
  virtual void forget_deletions() = 0;
  virtual void expect_sound() = 0;
};

// A device's rows in the form of StoreWorld::rows().
std::string plain_rows(Peer& peer, const std::string& sql);

}  // namespace rejoin::testing
