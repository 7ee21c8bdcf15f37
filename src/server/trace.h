// Which distributed trace a request belongs to: the header traceparent (W3C Trace Context, level 1).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rejoin::server {

struct TraceParent {
  std::string trace_id;  // 32 hexadecimal digits
  std::string span_id;   // 16, of the caller
};

// Nothing for what the standard calls invalid.
std::optional<TraceParent> parse_traceparent(std::string_view header);

}  // namespace rejoin::server
