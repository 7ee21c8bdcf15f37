// Errors as values: an error code of errors.def with a message for a person, and Result<T> that holds a value or such
// an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace rejoin {

enum class Code : uint16_t {
#define REJOIN_ERROR(name, number, http, retry, meaning) name = number,
#include "base/errors.def"
#undef REJOIN_ERROR
};

// The code's name as it appears in messages and JSON ("not_tracked").
std::string_view code_name(Code code);
// What the code means, one line.
std::string_view code_meaning(Code code);
int code_http_status(Code code);
bool code_retryable(Code code);
// The code with this number, or nothing: numbers come from peers.
std::optional<Code> code_from_number(uint64_t number);

// What went wrong. `message` names the object, the cause and the cure.
struct [[nodiscard]] Error {
  Code code = Code::internal;
  std::string message;
};

inline Error fail(Code code, std::string message) { return Error{code, std::move(message)}; }

// A value or an error. Never empty. Access to the wrong side is a programming mistake and aborts.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT: implicit by design, `return value;`
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit by design, `return fail(...);`
  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  T& value() & { return check(), *value_; }
  const T& value() const& { return check(), *value_; }
  T&& value() && { return check(), std::move(*value_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  void check() const {
    if (!value_) __builtin_trap();
  }
  std::optional<T> value_;
  Error error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), failed_(true) {}  // NOLINT: implicit by design
  bool ok() const { return !failed_; }
  explicit operator bool() const { return ok(); }
  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  Error error_;
  bool failed_ = false;
};

using Status = Result<void>;

}  // namespace rejoin

#define REJOIN_CONCAT_(a, b) a##b
#define REJOIN_CONCAT(a, b) REJOIN_CONCAT_(a, b)

// REJOIN_TRY(expr): returns the error of a Status or Result from the enclosing function, drops the value.
#define REJOIN_TRY(expr)                                                                     \
  do {                                                                                       \
    if (auto try_result_ = (expr); !try_result_.ok()) return std::move(try_result_).error(); \
  } while (0)

// REJOIN_ASSIGN(auto x, expr): binds the value, or returns the error from the enclosing function.
#define REJOIN_ASSIGN(decl, expr) REJOIN_ASSIGN_(REJOIN_CONCAT(assign_result_, __LINE__), decl, expr)
#define REJOIN_ASSIGN_(tmp, decl, expr)         \
  auto tmp = (expr);                            \
  if (!tmp.ok()) return std::move(tmp).error(); \
  decl = std::move(*tmp)
