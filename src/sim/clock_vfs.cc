#include "sim/clock_vfs.h"

#include <array>
#include <memory>

#include "sqlite/api.h"

namespace rejoin::sim {
namespace {

struct ClockVfs {
  sqlite3_vfs base;  // first, so that SQLite's pointer is ours
  Clock* clock;
  std::string name;
};

// SQLite counts milliseconds since noon in Greenwich on November 24, 4714 B.C.
constexpr int64_t kUnixEpoch = 210866760000000;

int current_time_int64(sqlite3_vfs* vfs, sqlite3_int64* out) {
  *out = reinterpret_cast<ClockVfs*>(vfs)->clock->now_ms() + kUnixEpoch;
  return SQLITE_OK;
}

int current_time(sqlite3_vfs* vfs, double* out) {
  *out = static_cast<double>(reinterpret_cast<ClockVfs*>(vfs)->clock->now_ms() + kUnixEpoch) / 86400000.0;
  return SQLITE_OK;
}

}  // namespace

std::string clock_vfs(int slot, bool files, Clock& clock) {
  static std::array<std::unique_ptr<ClockVfs>, 34> all;
  sqlite3_initialize();
  auto& mine = all[static_cast<size_t>(slot * 2 + files)];
  if (!mine) {
    mine = std::make_unique<ClockVfs>();
    // A copy of the parent: its methods find what they need in pAppData, and none compares pointers.
    mine->base = *sqlite3_vfs_find(files ? nullptr : "memdb");
    mine->name = std::string("rejoin-sim-") + (files ? "files-" : "memory-") + std::to_string(slot);
    mine->base.zName = mine->name.c_str();
    mine->base.pNext = nullptr;
    mine->base.xCurrentTime = current_time;
    mine->base.xCurrentTimeInt64 = current_time_int64;
    sqlite3_vfs_register(&mine->base, 0);
  }
  mine->clock = &clock;
  return mine->name;
}

}  // namespace rejoin::sim
