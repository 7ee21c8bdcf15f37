// Why a connection to PostgreSQL was not made, whatever language its server speaks.
#pragma once

#include <string>

#include "base/result.h"

namespace rejoin::postgres {

struct Refusal {
  bool by_server = false;     // one was reached, and said no
  Code code = Code::network;  // by its SQLSTATE, when `message` was verbose
  std::string reason;         // on one line, without the SQLSTATE
};

// `message`: libpq's, a line or more for each host that it tried. What a server said begins with its severity in the
// server's language, a colon and two spaces; with PQERRORS_VERBOSE the SQLSTATE follows, and a line about the server's
// source code.
Refusal read_refusal(std::string message);

// Without line breaks and tabs, and without blanks at its end.
std::string one_line(std::string text);

}  // namespace rejoin::postgres
