// The audit log of the embedded store: files of a day each, one JSON object a line, the oldest removed by age and size.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "sync/audit.h"

namespace rejoin::server {

struct AuditSettings {
  bool on = false;
  int64_t keep_ms = int64_t{90} * 86'400'000;
  uint64_t max_bytes = uint64_t{1} << 30;  // of all files together
};

// Thread-safe. Several processes may write into one folder.
class AuditFiles final : public sync::AuditSink {
 public:
  // The folder is made when missing.
  AuditFiles(std::string folder, const AuditSettings& settings, Clock& clock);
  ~AuditFiles() override;
  AuditFiles(const AuditFiles&) = delete;
  AuditFiles& operator=(const AuditFiles&) = delete;
  // Errors: disk.
  Status write(const std::string& tenant, const std::vector<sync::AuditEntry>& entries) override;

 private:
  Status open_for(const std::string& day);
  Status broken(const std::string& doing) const;
  void remove_old(int64_t now_ms);

  const std::string folder_;
  const AuditSettings settings_;
  Clock& clock_;
  std::mutex mutex_;
  int file_ = -1;
  std::string day_, path_;
  uint64_t bytes_ = 0;  // of the open file
};

}  // namespace rejoin::server
