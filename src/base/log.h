// Where a library room reports what a person running it may want to know. Structured: an event name and key=value
// fields.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace rejoin {

enum class LogLevel { debug, info, warning, error };

struct LogField {
  std::string_view key;
  std::string value;
  bool number = false;  // `value` is a decimal integer

  LogField(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  template <std::integral N>
  requires(!std::same_as<N, bool>) LogField(std::string_view k, N n) : key(k), value(std::to_string(n)), number(true) {}
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
