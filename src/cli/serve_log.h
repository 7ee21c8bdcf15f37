// The server's log on standard error: one line of key=value pairs for each event.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"

namespace rejoin::cli {

// Levels: debug, info, warning, error. `level` must be one of them.
std::unique_ptr<Log> make_serve_log(const std::string& level);

}  // namespace rejoin::cli
