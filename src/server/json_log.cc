#include "server/json_log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

#include "base/clock.h"
#include "server/utf8.h"

namespace rejoin::server {
namespace {

constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};
constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                                 spdlog::level::err};

std::string quoted(std::string_view text) { return boost::json::serialize(boost::json::string(clean_utf8(text))); }

class JsonLog final : public Log {
 public:
  JsonLog(std::shared_ptr<spdlog::sinks::sink> sink, LogLevel least) : logger_("rejoin", std::move(sink)) {
    logger_.set_pattern("%v");
    logger_.set_level(kLevels[static_cast<int>(least)]);
    logger_.flush_on(spdlog::level::debug);
  }

  void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) override {
    const auto index = static_cast<int>(level);
    if (!logger_.should_log(kLevels[index])) return;
    std::string line = "{\"time\":\"" + iso8601(system_clock().now_ms()) + "\",\"level\":\"" +
                       std::string(kNames[index]) + "\",\"event\":" + quoted(event);
    for (const LogField& field : fields)
      if (!field.value.empty())
        line += "," + quoted(field.key) + ":" + (field.number ? field.value : quoted(field.value));
    logger_.log(kLevels[index], spdlog::string_view_t(line += "}"));
  }

 private:
  spdlog::logger logger_;
};

}  // namespace

Result<std::unique_ptr<Log>> make_json_log(LogLevel least, const std::string& path) {
  try {
    std::shared_ptr<spdlog::sinks::sink> sink;
    if (path.empty())
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    else
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    return std::unique_ptr<Log>(std::make_unique<JsonLog>(std::move(sink), least));
  } catch (const spdlog::spdlog_ex& e) {
    return fail(Code::disk,
                "cannot write the log to '" + path + "': " + e.what() + "; check the folder and its permissions");
  }
}

std::optional<LogLevel> log_level_from(std::string_view name) {
  for (int i = 0; i < 4; ++i)
    if (kNames[i] == name) return static_cast<LogLevel>(i);
  return std::nullopt;
}

}  // namespace rejoin::server
