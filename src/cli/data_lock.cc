#include "cli/data_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

namespace rejoin::cli {

Result<DataLock> DataLock::take(const std::string& folder) {
  // The folder itself: a file in it would be copied, restored and wondered about.
  DataLock lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.fd_ >= 0 && ::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return fail(Code::busy, "another rejoin serve works with the data in '" + folder +
                                "', which belongs to one server; stop that one first, or give this one a folder of "
                                "its own. Several servers can share a PostgreSQL (--postgres)");
  return lock;
}

DataLock::~DataLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace rejoin::cli
