// Structured logs: one JSON object a line, {"time":…,"level":…,"event":…, fields…}.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/result.h"

namespace rejoin::server {

// Writes to `path`, or to standard error when empty. What is below `least` is dropped. Errors: disk, not_found (the
// file's folder).
Result<std::unique_ptr<Log>> make_json_log(LogLevel least = LogLevel::info, const std::string& path = {});

// "debug", "info", "warning", "error"; nothing for others.
std::optional<LogLevel> log_level_from(std::string_view name);

}  // namespace rejoin::server
