#include "server/strict_json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parse.hpp>
#include <set>
#include <string>
#include <vector>

namespace rejoin::server {
namespace {

namespace json = boost::json;
using ErrorCode = boost::system::error_code;

// Walks the text without building anything, and stops at the first key that an object already has, or at one value too
// many.
struct KeyWatch {
  static constexpr size_t max_object_size = ~size_t{0};
  static constexpr size_t max_array_size = ~size_t{0};
  static constexpr size_t max_key_size = 1 << 16;
  static constexpr size_t max_string_size = ~size_t{0};

  std::vector<std::set<std::string, std::less<>>> objects;
  std::string key;
  size_t values_left = 0;
  bool twice = false;
  bool too_many = false;

  bool count(ErrorCode& error) {
    if (values_left-- > 0) return true;
    too_many = true;
    error = json::make_error_code(json::error::syntax);
    return false;
  }
  bool on_document_begin(ErrorCode&) { return true; }
  bool on_document_end(ErrorCode&) { return true; }
  bool on_object_begin(ErrorCode& error) {
    objects.emplace_back();
    return count(error);
  }
  bool on_object_end(size_t, ErrorCode&) {
    objects.pop_back();
    return true;
  }
  bool on_array_begin(ErrorCode& error) { return count(error); }
  bool on_array_end(size_t, ErrorCode&) { return true; }
  bool on_key_part(json::string_view part, size_t, ErrorCode&) {
    key.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view part, size_t, ErrorCode& error) {
    key.append(part.data(), part.size());
    if (!objects.back().insert(std::move(key)).second) {
      twice = true;
      error = json::make_error_code(json::error::syntax);
      return false;
    }
    key.clear();
    return true;
  }
  bool on_string_part(json::string_view, size_t, ErrorCode&) { return true; }
  bool on_string(json::string_view, size_t, ErrorCode& error) { return count(error); }
  bool on_number_part(json::string_view, ErrorCode&) { return true; }
  bool on_int64(int64_t, json::string_view, ErrorCode& error) { return count(error); }
  bool on_uint64(uint64_t, json::string_view, ErrorCode& error) { return count(error); }
  bool on_double(double, json::string_view, ErrorCode& error) { return count(error); }
  bool on_bool(bool, ErrorCode& error) { return count(error); }
  bool on_null(ErrorCode& error) { return count(error); }
  bool on_comment_part(json::string_view, ErrorCode&) { return true; }
  bool on_comment(json::string_view, ErrorCode&) { return true; }
};

}  // namespace

Result<json::value> parse_strict_json(std::string_view text, size_t max_depth, size_t max_values) {
  json::parse_options options;
  options.max_depth = max_depth;
  json::basic_parser<KeyWatch> watch(options);
  watch.handler().values_left = max_values;
  ErrorCode error;
  const size_t used = watch.write_some(false, text.data(), text.size(), error);
  if (watch.handler().twice) return fail(Code::corrupt, "the JSON text has a key twice in one object");
  if (watch.handler().too_many)
    return fail(Code::too_large,
                "the JSON text has more than " + std::to_string(max_values) + " values, which is the limit");
  if (!error && used != text.size()) return fail(Code::corrupt, "the JSON text has something behind its value");
  if (error) return fail(Code::corrupt, "the text is not JSON (RFC 8259): " + error.message());
  json::value value = json::parse(json::string_view(text.data(), text.size()), error, {}, options);
  if (error) return fail(Code::corrupt, "the text is not JSON (RFC 8259): " + error.message());
  return value;
}

}  // namespace rejoin::server
