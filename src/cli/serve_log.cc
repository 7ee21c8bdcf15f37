#include "cli/serve_log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "cli/terminal.h"

namespace rejoin::cli {
namespace {

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// logfmt: bare when it is one plain word, else in double quotes. Peers' bytes never reach the terminal raw.
std::string field_value(std::string_view value) {
  std::string text = printable(value);
  if (!text.empty() && text.find_first_of(" =\"\\") == std::string::npos) return text;
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

class ServeLog final : public Log {
 public:
  explicit ServeLog(const std::string& level) {
    spdlog::sink_ptr sink;
    if (wants_color(2))
      sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    else
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    logger_ = std::make_unique<spdlog::logger>("rejoin", sink);
    logger_->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v", spdlog::pattern_time_type::utc);
    logger_->set_level(spdlog::level::from_str(level));
    logger_->flush_on(spdlog::level::debug);
  }

  void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) override {
    if (!logger_->should_log(level_of(level))) return;
    std::string line(event);
    for (const LogField& field : fields) line += " " + std::string(field.key) + "=" + field_value(field.value);
    logger_->log(level_of(level), spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  std::unique_ptr<spdlog::logger> logger_;
};

}  // namespace

std::unique_ptr<Log> make_serve_log(const std::string& level) { return std::make_unique<ServeLog>(level); }

}  // namespace rejoin::cli
