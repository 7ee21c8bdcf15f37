#include <boost/json.hpp>

#include "sqlite/replica.h"

namespace rejoin::sqlite {
namespace {

bool read_names(const boost::json::value& given, std::vector<std::string>& out) {
  if (!given.is_array()) return false;
  for (const auto& name : given.get_array()) {
    if (!name.is_string() || name.get_string().empty()) return false;
    out.emplace_back(name.get_string());
  }
  return true;
}

bool read_columns(const boost::json::value& given, std::vector<std::pair<std::string, std::string>>& out) {
  if (!given.is_object()) return false;
  for (const auto& [column, names] : given.get_object()) {
    std::vector<std::string> former;
    if (!read_names(names, former)) return false;
    for (std::string& name : former) out.emplace_back(column, std::move(name));
  }
  return true;
}

}  // namespace

Result<TrackOptions> parse_track_options(std::string_view text) {
  TrackOptions options;
  boost::system::error_code ec;
  auto value = boost::json::parse(boost::json::string_view(text.data(), text.size()), ec);
  if (ec || !value.is_object())
    return fail(Code::bad_argument,
                "the options are not a JSON object; write for example '{\"allow_integer_key\":true}'");
  for (const auto& [name, given] : value.get_object()) {
    if (name == "former_names") {
      if (!read_names(given, options.former_names))
        return fail(Code::bad_argument,
                    "option \"former_names\" must be an array of names, like [\"todos\"]: what the table was called");
    } else if (name == "former_columns") {
      if (!read_columns(given, options.former_columns))
        return fail(Code::bad_argument,
                    "option \"former_columns\" must be an object that has the former names of columns, like "
                    "{\"due_on\":[\"due\"]}");
    } else if (name == "allow_integer_key" || name == "keep_deleted") {
      if (!given.is_bool())
        return fail(Code::bad_argument, "option \"" + std::string(name) + "\" must be true or false");
      if (name == "keep_deleted")
        options.keep_deleted = given.get_bool();
      else
        options.allow_integer_key = given.get_bool();
    } else {
      return fail(Code::bad_argument,
                  "unknown option \"" + std::string(name) +
                      "\"; there are allow_integer_key, keep_deleted, former_names and former_columns");
    }
  }
  return options;
}

}  // namespace rejoin::sqlite
