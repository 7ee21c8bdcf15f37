// SQLite's own file system with faults: the n-th operation on a file fails, or a disk is full.
#pragma once

#include <cstdint>
#include <string>

namespace rejoin::testing {

struct FileFaults {
  int64_t fail_at = 0;     // the how many-th operation from now on fails; 0: none
  bool for_good = false;   // and all after it
  int64_t room = -1;       // bytes that files may still grow by; -1: as much as there is
  int64_t operations = 0;  // counted since arm()
  bool failed = false;     // one has
  void arm(int64_t n, bool all_after) { *this = FileFaults{n, all_after, -1, 0, false}; }
  void disarm() { *this = FileFaults{}; }
};

// Of all files of faulty_vfs(). One thread at a time.
FileFaults& file_faults();
// The name to open databases with. Counted, and failed, are reads, writes, truncations and syncs.
std::string faulty_vfs();

}  // namespace rejoin::testing
