#include <boost/json.hpp>

#include "sqlite/replica.h"

namespace rejoin::sqlite {

Result<TrackOptions> parse_track_options(std::string_view text) {
  TrackOptions options;
  boost::system::error_code ec;
  auto value = boost::json::parse(boost::json::string_view(text.data(), text.size()), ec);
  if (ec || !value.is_object())
    return fail(Code::bad_argument,
                "the options are not a JSON object; write for example '{\"allow_integer_key\":true}'");
  for (const auto& member : value.get_object()) {
    const bool integer_key = member.key() == "allow_integer_key";
    if (!integer_key && member.key() != "keep_deleted")
      return fail(Code::bad_argument,
                  "unknown option \"" + std::string(member.key()) + "\"; there are allow_integer_key and keep_deleted");
    if (!member.value().is_bool())
      return fail(Code::bad_argument, "option \"" + std::string(member.key()) + "\" must be true or false");
    if (integer_key)
      options.allow_integer_key = member.value().get_bool();
    else
      options.keep_deleted = member.value().get_bool();
  }
  return options;
}

}  // namespace rejoin::sqlite
