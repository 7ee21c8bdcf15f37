#include "server/audit_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace rejoin::server {
namespace {

constexpr size_t kDayLength = 10;  // 2026-11-21
// A day has several files when it has much: so many fit into what may be kept.
constexpr uint64_t kFilesOfAll = 8;

std::string line_of(const std::string& tenant, const sync::AuditEntry& e, int64_t now_ms) {
  boost::json::object out{{"time", iso8601(now_ms)}, {"tenant", tenant}, {"device", e.device}, {"event", e.event}};
  if (!e.nonce.empty()) out["nonce"] = to_hex(e.nonce);
  if (!e.table.empty()) {
    out["op"] = e.op;
    out["table"] = e.table;
    boost::system::error_code error;
    boost::json::value key = boost::json::parse(e.key, error);
    out["key"] = error ? boost::json::value(e.key) : std::move(key);
    boost::json::array columns;
    for (const std::string& column : e.columns) columns.emplace_back(column);
    out["columns"] = std::move(columns);
    out["written"] = iso8601(e.written_ms);
  }
  if (!e.code.empty()) {
    out["code"] = e.code;
    out["reason"] = e.reason;
  }
  return boost::json::serialize(out) + "\n";
}

}  // namespace

AuditFiles::AuditFiles(std::string folder, const AuditSettings& settings, Clock& clock)
    : folder_(std::move(folder)), settings_(settings), clock_(clock) {}

AuditFiles::~AuditFiles() {
  if (file_ >= 0) ::close(file_);
}

Status AuditFiles::broken(const std::string& doing) const {
  // Devices are told it too: without the path.
  return fail(Code::disk, "the server's audit log cannot be written (" + doing +
                              " a file of today: " + std::strerror(errno) + "); try again");
}

Status AuditFiles::write(const std::string& tenant, const std::vector<sync::AuditEntry>& entries) {
  const int64_t now_ms = clock_.now_ms();
  std::string lines;
  for (const sync::AuditEntry& entry : entries) lines += line_of(tenant, entry, now_ms);
  std::lock_guard lock(mutex_);
  REJOIN_TRY(open_for(iso8601(now_ms).substr(0, kDayLength)));
  for (std::string_view rest = lines; !rest.empty();) {
    const ssize_t n = ::write(file_, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return broken("appending to");
    rest.remove_prefix(static_cast<size_t>(n));
    bytes_ += static_cast<uint64_t>(n);
  }
  if (::fdatasync(file_) != 0) return broken("appending to");
  return {};
}

Status AuditFiles::open_for(const std::string& day) {
  const uint64_t most = std::max<uint64_t>(settings_.max_bytes / kFilesOfAll, 1);
  if (file_ >= 0 && day == day_ && bytes_ < most) return {};
  if (file_ >= 0) ::close(std::exchange(file_, -1));
  std::error_code ignored;
  std::filesystem::create_directories(folder_, ignored);
  // The day's first file that has room.
  for (int part = 1;; ++part) {
    char number[16];
    std::snprintf(number, sizeof number, "-%04d", part);
    path_ = folder_ + "/" + day + number + ".jsonl";
    struct stat info {};
    if (::stat(path_.c_str(), &info) == 0 && static_cast<uint64_t>(info.st_size) >= most) continue;
    bytes_ = static_cast<uint64_t>(info.st_size);
    break;
  }
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file_ < 0) return broken("opening");
  day_ = day;
  remove_old(clock_.now_ms());
  return {};
}

// Files by name are files by age.
void AuditFiles::remove_old(int64_t now_ms) {
  const std::string first = iso8601(std::max<int64_t>(0, now_ms - settings_.keep_ms)).substr(0, kDayLength);
  std::vector<std::filesystem::path> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored))
    if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
  std::sort(files.begin(), files.end(), std::greater<>());
  uint64_t total = 0;
  for (const auto& file : files) {
    if (file == path_) continue;
    total += std::filesystem::file_size(file, ignored);
    if (file.filename().string() < first || total > settings_.max_bytes * (kFilesOfAll - 1) / kFilesOfAll)
      std::filesystem::remove(file, ignored);
  }
}

}  // namespace rejoin::server
