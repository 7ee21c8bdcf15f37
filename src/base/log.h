// Where a library room reports what a person running it may want to know. Structured: an event name and key=value
// fields.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace rejoin {

enum class LogLevel { debug, info, warning, error };

struct LogField {
  std::string_view key;
  std::string value;
};

class Log {
 public:
  virtual ~Log() = default;
  // Thread-safe in every implementation.
  virtual void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) = 0;
};

// Drops everything.
class NullLog final : public Log {
 public:
  void write(LogLevel, std::string_view, std::initializer_list<LogField>) override {}
};

}  // namespace rejoin
