#include "tests/support/faulty_vfs.h"

#include <deque>

#include "sqlite/api.h"

namespace rejoin::testing {
namespace {

FileFaults faults;
sqlite3_vfs* parent = nullptr;

// SQLite has several kinds of files (with locks, without); each keeps its other methods.
struct Methods {
  sqlite3_io_methods faulty;  // first: a file's pMethods points here
  const sqlite3_io_methods* plain;
};
std::deque<Methods> kinds;

const sqlite3_io_methods& plain(sqlite3_file* file) { return *reinterpret_cast<const Methods*>(file->pMethods)->plain; }

bool fails() {
  ++faults.operations;
  const bool now = faults.fail_at > 0 &&
                   (faults.for_good ? faults.operations >= faults.fail_at : faults.operations == faults.fail_at);
  faults.failed |= now;
  return now;
}

int read(sqlite3_file* file, void* into, int bytes, sqlite3_int64 at) {
  return fails() ? SQLITE_IOERR_READ : plain(file).xRead(file, into, bytes, at);
}

int write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 at) {
  if (fails()) return SQLITE_IOERR_WRITE;
  if (faults.room >= 0) {
    sqlite3_int64 size = 0;
    if (plain(file).xFileSize(file, &size) == SQLITE_OK && at + bytes > size) {
      const int64_t more = at + bytes - size;
      if (more > faults.room) {
        faults.failed = true;
        return SQLITE_FULL;
      }
      faults.room -= more;
    }
  }
  return plain(file).xWrite(file, from, bytes, at);
}

int truncate(sqlite3_file* file, sqlite3_int64 size) {
  return fails() ? SQLITE_IOERR_TRUNCATE : plain(file).xTruncate(file, size);
}

int sync(sqlite3_file* file, int flags) { return fails() ? SQLITE_IOERR_FSYNC : plain(file).xSync(file, flags); }

int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  const int rc = parent->xOpen(parent, name, file, flags, out);
  if (rc != SQLITE_OK || !file->pMethods) return rc;
  for (const Methods& kind : kinds)
    if (kind.plain == file->pMethods) return file->pMethods = &kind.faulty, rc;
  Methods& kind = kinds.emplace_back(Methods{*file->pMethods, file->pMethods});
  sqlite3_io_methods& methods = kind.faulty;
  methods.xRead = read;
  methods.xWrite = write;
  methods.xTruncate = truncate;
  methods.xSync = sync;
  // Memory that is mapped would go around them.
  methods.xFetch = [](sqlite3_file*, sqlite3_int64, int, void** page) { return *page = nullptr, SQLITE_OK; };
  file->pMethods = &methods;
  return rc;
}

}  // namespace

FileFaults& file_faults() { return faults; }

std::string faulty_vfs() {
  static sqlite3_vfs vfs;
  if (!parent) {
    sqlite3_initialize();
    parent = sqlite3_vfs_find(nullptr);
    vfs = *parent;
    vfs.zName = "rejoin-faulty";
    vfs.pNext = nullptr;
    vfs.xOpen = open;
    sqlite3_vfs_register(&vfs, 0);
  }
  return vfs.zName;
}

}  // namespace rejoin::testing
