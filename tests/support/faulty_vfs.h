// SQLite's own file system with faults: the n-th operation on a file fails, or a disk is full.
#pragma once

#include <cstdint>
#include <set>
#include <string>

namespace rejoin::testing {

// What SQLite does with a file's contents: reads, writes, truncations and syncs. And everything else that can fail:
// opening (journals, logs, temporary files), deleting and looking for files, their sizes, locks, the shared memory of a
// write-ahead log, and the controls that end a commit.
enum class FileOperations { contents, files };

enum class FileFault {
  once,
  for_good,  // the disk is gone: every operation after it fails, of either kind
  late,      // once, and it has been done: only its answer is lost. Of what cannot be so nothing fails
};

struct FileFaults {
  FileOperations which = FileOperations::contents;
  FileFault fault = FileFault::once;
  int64_t fail_at = 0;     // the how many-th of these operations from now on fails; 0: none
  int64_t room = -1;       // bytes that files may still grow by; -1: as much as there is
  int64_t operations = 0;  // counted since arm()
  bool failed = false;     // one has
  bool kept_lock = false;  // it was to give back a lock, which is held until the file is closed
  void arm(FileOperations of, FileFault how, int64_t n) { *this = {.which = of, .fault = how, .fail_at = n}; }
  void disarm() { *this = FileFaults{}; }
};

// Of all files of faulty_vfs(). One thread at a time.
FileFaults& file_faults();
// The codes that operations were made to give so far.
const std::set<int>& file_errors_given();
// The name to open databases with. It never sleeps: SQLite, not Rejoin, waits for a lock that was not given back.
std::string faulty_vfs();

}  // namespace rejoin::testing
