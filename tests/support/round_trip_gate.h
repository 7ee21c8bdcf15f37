// Between a connection and PostgreSQL: lets one round trip after the other through, when the test says so.
#pragma once

#include <mutex>
#include <string>
#include <thread>

namespace rejoin::testing {

class RoundTripGate {
 public:
  // `url`: as PostgresServer::fresh_database() gives it. The gate is open.
  explicit RoundTripGate(const std::string& url);
  ~RoundTripGate();
  RoundTripGate(const RoundTripGate&) = delete;
  RoundTripGate& operator=(const RoundTripGate&) = delete;
  // For one connection, which ends before the gate does.
  const std::string& url() const { return url_; }

  // While nothing is under way.
  void close();
  void open();
  enum class State {
    idle,     // the client has sent nothing yet, or not all of it
    held,     // a whole round trip waits here
    running,  // PostgreSQL is at it
  };
  State state();
  // What is held goes on.
  void step();

 private:
  void run();
  // The end of the next whole round trip in what came from the client; 0: it is not all there.
  size_t whole() const;
  void count_answers(const char* bytes, size_t n);

  std::string folder_, url_;
  int listening_ = -1, wake_ = -1;
  std::mutex mutex_;
  bool open_ = true, stop_ = false, started_ = false;
  int steps_ = 0;  // that may go on
  bool running_ = false;
  std::string in_;     // from the client, not passed on
  std::string reply_;  // the head of PostgreSQL's message that is not all there
  size_t rest_ = 0;    // of a message of PostgreSQL's: bytes that are yet to come
  std::thread thread_;
};

}  // namespace rejoin::testing
