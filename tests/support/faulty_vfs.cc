#include "tests/support/faulty_vfs.h"

#include <deque>
#include <set>

#include "sqlite/api.h"

namespace rejoin::testing {
namespace {

FileFaults faults;
std::set<int> errors;
sqlite3_vfs* parent = nullptr;

// SQLite has several kinds of files (with locks, without); each keeps its other methods.
struct Methods {
  sqlite3_io_methods faulty;  // first: a file's pMethods points here
  const sqlite3_io_methods* plain;
};
std::deque<Methods> kinds;

const sqlite3_io_methods& plain(sqlite3_file* file) { return *reinterpret_cast<const Methods*>(file->pMethods)->plain; }

bool fails(FileOperations kind, bool changes_something) {
  if (faults.fault == FileFault::for_good && faults.failed) return true;
  if (kind != faults.which || (faults.fault == FileFault::late && !changes_something)) return false;
  const bool now = ++faults.operations == faults.fail_at;
  faults.failed |= now;
  return now;
}

int given(int error) {
  errors.insert(error);
  return error;
}

template <class Do>
int asking(FileOperations kind, int error, Do&& act) {
  return fails(kind, false) ? given(error) : act();
}

template <class Do>
int changing(FileOperations kind, int error, Do&& act) {
  if (!fails(kind, true)) return act();
  if (faults.fault == FileFault::late) act();
  return given(error);
}

constexpr auto kContents = FileOperations::contents, kFiles = FileOperations::files;

int read(sqlite3_file* file, void* into, int bytes, sqlite3_int64 at) {
  return asking(kContents, SQLITE_IOERR_READ, [&] { return plain(file).xRead(file, into, bytes, at); });
}

int write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 at) {
  return changing(kContents, SQLITE_IOERR_WRITE, [&] {
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
  });
}

int truncate(sqlite3_file* file, sqlite3_int64 size) {
  return changing(kContents, SQLITE_IOERR_TRUNCATE, [&] { return plain(file).xTruncate(file, size); });
}

int sync(sqlite3_file* file, int flags) {
  return changing(kContents, SQLITE_IOERR_FSYNC, [&] { return plain(file).xSync(file, flags); });
}

int size_of(sqlite3_file* file, sqlite3_int64* size) {
  return asking(kFiles, SQLITE_IOERR_FSTAT, [&] { return plain(file).xFileSize(file, size); });
}

int lock(sqlite3_file* file, int level) {
  return asking(kFiles, SQLITE_IOERR_LOCK, [&] { return plain(file).xLock(file, level); });
}

int unlock(sqlite3_file* file, int level) {
  const int rc = changing(kFiles, SQLITE_IOERR_UNLOCK, [&] { return plain(file).xUnlock(file, level); });
  faults.kept_lock |= rc != SQLITE_OK && faults.fault != FileFault::late;
  return rc;
}

int check_reserved_lock(sqlite3_file* file, int* out) {
  return asking(kFiles, SQLITE_IOERR_CHECKRESERVEDLOCK, [&] { return plain(file).xCheckReservedLock(file, out); });
}

int control(sqlite3_file* file, int operation, void* argument) {
  const auto act = [&] { return plain(file).xFileControl(file, operation, argument); };
  switch (operation) {
    case SQLITE_FCNTL_SYNC:
      return changing(kFiles, SQLITE_IOERR_FSYNC, act);
    case SQLITE_FCNTL_COMMIT_PHASETWO:
      return changing(kFiles, SQLITE_IOERR, act);
    case SQLITE_FCNTL_HAS_MOVED:
      return asking(kFiles, SQLITE_IOERR_FSTAT, act);
    default:  // none that touches the file, or whose answer SQLite looks at
      return act();
  }
}

int map_shared(sqlite3_file* file, int page, int bytes, int extend, void volatile** out) {
  return asking(kFiles, SQLITE_IOERR_SHMMAP, [&] { return plain(file).xShmMap(file, page, bytes, extend, out); });
}

int lock_shared(sqlite3_file* file, int offset, int n, int flags) {
  const auto act = [&] { return plain(file).xShmLock(file, offset, n, flags); };
  if (!(flags & SQLITE_SHM_UNLOCK)) return asking(kFiles, SQLITE_IOERR_SHMLOCK, act);
  const int rc = changing(kFiles, SQLITE_IOERR_SHMLOCK, act);
  faults.kept_lock |= rc != SQLITE_OK && faults.fault != FileFault::late;
  return rc;
}

int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  file->pMethods = nullptr;
  const bool failing = fails(kFiles, (flags & SQLITE_OPEN_CREATE) != 0);
  if (failing && faults.fault != FileFault::late) return given(SQLITE_CANTOPEN);
  const int rc = parent->xOpen(parent, name, file, flags, out);
  if (rc != SQLITE_OK || !file->pMethods) return rc;
  if (failing) {  // an empty file stays
    file->pMethods->xClose(file);
    file->pMethods = nullptr;
    return given(SQLITE_CANTOPEN);
  }
  for (const Methods& kind : kinds)
    if (kind.plain == file->pMethods) return file->pMethods = &kind.faulty, rc;
  Methods& kind = kinds.emplace_back(Methods{*file->pMethods, file->pMethods});
  sqlite3_io_methods& methods = kind.faulty;
  methods.xRead = read;
  methods.xWrite = write;
  methods.xTruncate = truncate;
  methods.xSync = sync;
  methods.xFileSize = size_of;
  methods.xLock = lock;
  methods.xUnlock = unlock;
  methods.xCheckReservedLock = check_reserved_lock;
  methods.xFileControl = control;
  if (methods.xShmMap) methods.xShmMap = map_shared, methods.xShmLock = lock_shared;
  // Memory that is mapped would go around them.
  methods.xFetch = [](sqlite3_file*, sqlite3_int64, int, void** page) { return *page = nullptr, SQLITE_OK; };
  file->pMethods = &methods;
  return rc;
}

int remove(sqlite3_vfs*, const char* name, int sync_folder) {
  // What has been done nevertheless is a deletion that the folder's sync did not follow.
  const int error = faults.fault == FileFault::late ? SQLITE_IOERR_DIR_FSYNC : SQLITE_IOERR_DELETE;
  return changing(kFiles, error, [&] { return parent->xDelete(parent, name, sync_folder); });
}

int has_access(sqlite3_vfs*, const char* name, int flags, int* out) {
  return asking(kFiles, SQLITE_IOERR_ACCESS, [&] { return parent->xAccess(parent, name, flags, out); });
}

}  // namespace

FileFaults& file_faults() { return faults; }

const std::set<int>& file_errors_given() { return errors; }

std::string faulty_vfs() {
  static sqlite3_vfs vfs;
  if (!parent) {
    sqlite3_initialize();
    parent = sqlite3_vfs_find(nullptr);
    vfs = *parent;
    vfs.zName = "rejoin-faulty";
    vfs.pNext = nullptr;
    vfs.xOpen = open;
    vfs.xDelete = remove;
    vfs.xAccess = has_access;
    vfs.xSleep = [](sqlite3_vfs*, int microseconds) { return microseconds; };
    sqlite3_vfs_register(&vfs, 0);
  }
  return vfs.zName;
}

}  // namespace rejoin::testing
