#include "cli/hints.h"

namespace rejoin::cli {

std::vector<std::string> hints_for(Code code) {
  switch (code) {
    case Code::unauthorized:
      return {"mint a token where the server runs: rejoin token --data DIR --tenant NAME --device NAME"};
    case Code::schema_refused:
      return {"mint the first device's token with --schema, or create the tables on the server"};
    case Code::not_connected:
      return {"name the server once: rejoin sync FILE URL --token TOKEN; it is remembered"};
    default:
      return {};
  }
}

}  // namespace rejoin::cli
