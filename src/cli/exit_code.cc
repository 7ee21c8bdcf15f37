#include "cli/exit_code.h"

namespace rejoin::cli {

ExitCode exit_code_of(Code code) {
  switch (code) {
    case Code::ok:
      return kOk;
    case Code::bad_argument:
      return kUsage;
    case Code::untrackable:
    case Code::unauthorized:
    case Code::forbidden:
    case Code::schema_refused:
    case Code::read_only:
    case Code::refused:
    case Code::before_horizon:
    case Code::too_large:
      return kRefused;
    case Code::network:
    case Code::timeout:
      return kNetwork;
    case Code::busy:
    case Code::disk:
    case Code::overloaded:
    case Code::rate_limited:
    case Code::quota:
    case Code::clock_ahead:
      return kTryAgain;
    case Code::not_found:
    case Code::not_tracked:
    case Code::not_connected:
      return kNotFound;
    case Code::corrupt:
    case Code::unsupported:
      return kDamaged;
    case Code::interrupted:
      return kInterrupted;
    default:
      return kFailed;
  }
}

const char* exit_code_meaning(ExitCode code) {
  switch (code) {
    case kOk:
      return "done";
    case kFailed:
      return "failed";
    case kUsage:
      return "wrong command line";
    case kRefused:
      return "refused";
    case kNetwork:
      return "no server, or the connection broke";
    case kTryAgain:
      return "try again later";
    case kNotFound:
      return "not found";
    case kDamaged:
      return "damaged or unknown format";
    case kInterrupted:
      return "stopped by Ctrl-C";
  }
  return "failed";
}

}  // namespace rejoin::cli
