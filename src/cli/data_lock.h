// The embedded store's folder belongs to one server at a time.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace rejoin::cli {

// Held by the process until the object goes, or the process ends in whatever way. Nothing is written.
class DataLock {
 public:
  // Errors: busy when another process holds it; forbidden or disk when the folder cannot be opened.
  static Result<DataLock> take(const std::string& folder);
  DataLock(DataLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)), doubt_(std::move(other.doubt_)) {}
  DataLock& operator=(DataLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(doubt_, other.doubt_);
    return *this;
  }
  ~DataLock();

  // A sentence for the log where the file system knows no such locks, and the folder is not held; else empty.
  const std::string& doubt() const { return doubt_; }

 private:
  explicit DataLock(int fd) : fd_(fd) {}
  int fd_;
  std::string doubt_;
};

}  // namespace rejoin::cli
