// JSON from strangers: one reading only.
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <string_view>

#include "base/result.h"

namespace rejoin::server {

// RFC 8259, and nothing that two parsers could read differently: no key twice in an object at any depth, valid UTF-8,
// nothing behind the value, nested at most `max_depth` deep, at most `max_values` values (a value takes many times the
// memory of its text). Errors: corrupt, too_large (values).
Result<boost::json::value> parse_strict_json(std::string_view text, size_t max_depth = 16,
                                             size_t max_values = 16 << 20);

}  // namespace rejoin::server
