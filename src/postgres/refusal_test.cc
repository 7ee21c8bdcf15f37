#include "postgres/refusal.h"

#include <gtest/gtest.h>

namespace rejoin::postgres {
namespace {

constexpr const char* kSocket = "connection to server on socket \"/tmp/.s.PGSQL.5432\" failed: ";

TEST(Refusal, TheSqlstateCountsWhateverTheLanguage) {
  struct Case {
    const char* said;
    Code code;
  };
  for (const Case& c : {
           Case{"FATAL:  28000: role \"nobody\" does not exist", Code::unauthorized},
           Case{"FATAL:  28000: Rolle »nobody« existiert nicht", Code::unauthorized},
           Case{"致命错误:  28P01: 用户 \"app\" Password 认证失败", Code::unauthorized},
           Case{"FATAL:  3D000: Datenbank »app« existiert nicht", Code::not_found},
           Case{"FATAL:  53300: remaining connection slots are reserved", Code::overloaded},
           Case{"FATAL:  57P03: das Datenbanksystem startet", Code::network},
           Case{"FATAL:  42501: keine Berechtigung für Datenbank »app«", Code::forbidden},
           Case{"FATAL:  08P01: server login has been failing", Code::network},
       }) {
    const Refusal refusal = read_refusal(std::string(kSocket) + c.said + "\nLOCATION:  InitPostgres, postinit.c:877\n");
    EXPECT_TRUE(refusal.by_server) << c.said;
    EXPECT_EQ(refusal.code, c.code) << c.said;
    const std::string without_state = std::string(c.said).replace(std::string(c.said).find(":  ") + 3, 7, "");
    EXPECT_EQ(refusal.reason, kSocket + without_state);
  }
}

TEST(Refusal, WhatIsNotTheServersIsTheNetworks) {
  for (const char* said :
       {"Connection refused\n\tIs the server running locally and accepting connections on that socket?",
        "server closed the connection unexpectedly", "timeout expired", ""}) {
    const Refusal refusal = read_refusal(std::string(kSocket) + said + "\n");
    EXPECT_FALSE(refusal.by_server) << said;
    EXPECT_EQ(refusal.code, Code::network) << said;
    EXPECT_EQ(refusal.reason.find_first_of("\n\t"), std::string::npos);
  }
}

TEST(Refusal, TerseMessagesTellThatAServerWasReached) {
  const Refusal refusal = read_refusal(std::string(kSocket) + "FATAL:  sorry, too many clients already\n");
  EXPECT_TRUE(refusal.by_server);
  EXPECT_EQ(refusal.reason, std::string(kSocket) + "FATAL:  sorry, too many clients already");
}

TEST(Refusal, OfSeveralHostsTheLastOneCounts) {
  const Refusal refusal = read_refusal(
      "connection to server at \"a\", port 5432 failed: Connection refused\n"
      "connection to server at \"b\", port 5432 failed: FATAL:  53300: too many\nLOCATION:  a, b.c:1\n"
      "connection to server at \"c\", port 5432 failed: FATAL:  28P01: wrong\nDETAIL:  d\nLOCATION:  a, b.c:1\n");
  EXPECT_EQ(refusal.code, Code::unauthorized);
  EXPECT_EQ(refusal.reason,
            "connection to server at \"a\", port 5432 failed: Connection refused "
            "connection to server at \"b\", port 5432 failed: FATAL:  too many "
            "connection to server at \"c\", port 5432 failed: FATAL:  wrong DETAIL:  d");
}

}  // namespace
}  // namespace rejoin::postgres
