// The embedded store's folder belongs to one server at a time.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace rejoin::cli {

// Held by the process until the object goes, or the process ends in whatever way. Nothing is written.
class DataLock {
 public:
  // Error: busy when another process holds it. File systems that know no such locks give it to everybody.
  static Result<DataLock> take(const std::string& folder);
  DataLock(DataLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DataLock& operator=(DataLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~DataLock();

 private:
  explicit DataLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace rejoin::cli
