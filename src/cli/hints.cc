#include "cli/hints.h"

namespace rejoin::cli {

std::vector<std::string> hints_for(Code code) {
  switch (code) {
    case Code::unauthorized:
      return {"mint a token where the server runs: rejoin token --data DIR --tenant NAME --device NAME"};
    case Code::schema_refused:
      return {"if the server lacks tables: mint the first device's token with --schema, or create them there"};
    case Code::not_connected:
      return {"name the server once: rejoin sync FILE URL --token TOKEN; it is remembered"};
    default:
      return {};
  }
}

}  // namespace rejoin::cli
