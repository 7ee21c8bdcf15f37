// What to do next, by class of error: printed under an error's own message.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace rejoin::cli {

std::vector<std::string> hints_for(Code code);

}  // namespace rejoin::cli
