#include <boost/json.hpp>

#include "sqlite/replica.h"

namespace rejoin::sqlite {

Result<ConnectOptions> parse_connect_options(std::string_view text) {
  ConnectOptions options;
  boost::system::error_code ec;
  auto value = boost::json::parse(boost::json::string_view(text.data(), text.size()), ec);
  if (ec || !value.is_object())
    return fail(Code::bad_argument, "the options are not a JSON object; write for example '{\"migrate\":true}'");
  for (const auto& member : value.get_object()) {
    if (member.key() != "migrate")
      return fail(Code::bad_argument, "unknown option \"" + std::string(member.key()) + "\"; there is migrate");
    if (!member.value().is_bool())
      return fail(Code::bad_argument, "option \"" + std::string(member.key()) + "\" must be true or false");
    options.migrate = member.value().get_bool();
  }
  return options;
}

}  // namespace rejoin::sqlite
