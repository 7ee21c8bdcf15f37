#include "cli/data_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rejoin::cli {

Result<DataLock> DataLock::take(const std::string& folder) {
  // The folder itself: a file in it would be copied, restored and wondered about.
  DataLock lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.fd_ < 0) {
    const int error = errno;
    return fail(error == EACCES || error == EPERM ? Code::forbidden : Code::disk,
                "cannot open the data folder '" + folder + "': " + std::strerror(error) +
                    "; its user must be able to read it, write to it and enter it (mode 700)");
  }
  if (::flock(lock.fd_, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK)
    return fail(Code::busy, "another program, most likely rejoin serve, works with the data in '" + folder +
                                "', which belongs to one server; stop that one first, or give this one a folder of "
                                "its own. Several servers can share a PostgreSQL (--postgres)");
  lock.doubt_ = "cannot lock the data folder '" + folder + "': " + std::strerror(errno) +
                "; make sure that no other server uses it";
  return lock;
}

DataLock::~DataLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace rejoin::cli
