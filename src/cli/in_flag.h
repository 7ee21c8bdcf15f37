// An error in what a flag was given.
#pragma once

#include <string>

#include "base/result.h"

namespace rejoin::cli {

inline Error in_flag(const char* flag, const Error& error) {
  return fail(error.code, std::string(flag) + ": " + error.message);
}

}  // namespace rejoin::cli
