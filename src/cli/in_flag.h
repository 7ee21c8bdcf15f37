// An error in what a flag was given.
#pragma once

#include <string>

#include "base/result.h"

namespace rejoin::cli {

inline Error in_flag(const char* flag, const Error& error) {
  return fail(error.code, std::string(flag) + ": " + error.message);
}
template <class T>
Result<T> in_flag(const char* flag, Result<T> result) {
  if (result.ok()) return result;
  return in_flag(flag, result.error());
}

}  // namespace rejoin::cli
