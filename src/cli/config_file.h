// A settings file: a flat subset of TOML 1.0. One `name = value` after another, # comments; a value is a string
// ("basic" or 'literal'), an integer, true or false, or an array of these. No tables, no dates, no multi-line strings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace rejoin::cli {

struct ConfigEntry {
  std::string name;
  std::vector<std::string> values;  // one, unless it is an array; numbers and booleans as they are written
  size_t line = 0;                  // from 1, of the name
};

// `where` names the file in errors: bad_argument, with the line and what would be right. A name twice is an error.
Result<std::vector<ConfigEntry>> parse_config(std::string_view text, const std::string& where);
// Of a file of at most 1 MiB. Errors: also not_found, forbidden, disk.
Result<std::vector<ConfigEntry>> read_config(const std::string& path);

// A value as the file has it: `true`, `false` and decimal numbers bare, everything else as a basic string.
std::string config_value(std::string_view value);

}  // namespace rejoin::cli
