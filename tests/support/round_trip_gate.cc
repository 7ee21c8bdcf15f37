#include "tests/support/round_trip_gate.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace rejoin::testing {
namespace {

// https://www.postgresql.org/docs/current/protocol-message-formats.html
uint32_t length_at(const std::string& bytes, size_t at) {
  uint32_t n = 0;
  for (size_t i = 0; i < 4; ++i) n = n << 8 | static_cast<uint8_t>(bytes[at + i]);
  return n;
}

sockaddr_un address_of(const std::string& folder) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (folder + "/.s.PGSQL.5432").copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

void write_all(int fd, const char* bytes, size_t n) {
  while (n > 0) {
    const ssize_t written = ::send(fd, bytes, n, MSG_NOSIGNAL);
    if (written <= 0) return;  // the other side reads that it is over
    bytes += written;
    n -= static_cast<size_t>(written);
  }
}

}  // namespace

RoundTripGate::RoundTripGate(const std::string& url) {
  char name[] = "/tmp/rejoin-gate-XXXXXX";
  if (!mkdtemp(name)) std::abort();
  const std::string key = "host=";
  const size_t at = url.find(key) + key.size();
  const size_t end = std::min(url.find('&', at), url.size());
  folder_ = url.substr(at, end - at);
  url_ = url.substr(0, at) + name + url.substr(end);
  const sockaddr_un address = address_of(name);
  listening_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (::bind(listening_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listening_, 1) != 0)
    std::abort();
  thread_ = std::thread([this] { run(); });
}

RoundTripGate::~RoundTripGate() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  const uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
  thread_.join();
  ::close(listening_);
  ::close(wake_);
  const size_t at = url_.find("host=") + 5;
  std::error_code ignored;
  std::filesystem::remove_all(url_.substr(at, url_.find('&', at) - at), ignored);
}

void RoundTripGate::close() {
  std::lock_guard lock(mutex_);
  open_ = false;
  steps_ = 0;
}

void RoundTripGate::open() {
  {
    std::lock_guard lock(mutex_);
    open_ = true;
  }
  const uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
}

RoundTripGate::State RoundTripGate::state() {
  std::lock_guard lock(mutex_);
  if (running_ || steps_ > 0) return State::running;
  return whole() > 0 ? State::held : State::idle;
}

void RoundTripGate::step() {
  {
    std::lock_guard lock(mutex_);
    ++steps_;
  }
  const uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
}

size_t RoundTripGate::whole() const {
  size_t at = 0;
  if (!started_) return in_.size() >= 4 && in_.size() >= length_at(in_, 0) ? length_at(in_, 0) : 0;
  while (in_.size() >= at + 5) {
    const char type = in_[at];
    at += 1 + length_at(in_, at + 1);
    if (in_.size() < at) return 0;
    if (type == 'S' || type == 'Q' || type == 'X') return at;  // Sync, Query, Terminate
  }
  return 0;
}

// "Ready for query" ends a round trip.
void RoundTripGate::count_answers(const char* bytes, size_t n) {
  while (n > 0) {
    const size_t skipped = std::min(rest_, n);
    bytes += skipped, n -= skipped, rest_ -= skipped;
    if (n == 0) return;
    const size_t head = std::min(5 - reply_.size(), n);
    reply_.append(bytes, head);
    bytes += head, n -= head;
    if (reply_.size() < 5) return;
    rest_ = length_at(reply_, 1) - 4;
    if (reply_[0] == 'Z') running_ = false;
    reply_.clear();
  }
}

void RoundTripGate::run() {
  int client = -1, server = -1;
  std::string buffer(1 << 16, '\0');
  for (;;) {
    pollfd fds[] = {{wake_, POLLIN, 0}, {client < 0 ? listening_ : client, POLLIN, 0}, {server, POLLIN, 0}};
    (void)::poll(fds, 3, -1);
    uint64_t rung = 0;
    (void)!::read(wake_, &rung, sizeof rung);
    {
      std::lock_guard lock(mutex_);
      if (stop_) break;
    }
    if (client < 0) {
      if (!fds[1].revents) continue;
      client = ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
      server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_un address = address_of(folder_);
      if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) std::abort();
      continue;
    }
    if (fds[2].revents) {
      const ssize_t n = ::recv(server, buffer.data(), buffer.size(), 0);
      if (n <= 0) break;
      std::lock_guard lock(mutex_);
      count_answers(buffer.data(), static_cast<size_t>(n));
      write_all(client, buffer.data(), static_cast<size_t>(n));
    }
    std::string out;
    if (fds[1].revents) {
      const ssize_t n = ::recv(client, buffer.data(), buffer.size(), 0);
      if (n <= 0) break;
      std::lock_guard lock(mutex_);
      in_.append(buffer, 0, static_cast<size_t>(n));
    }
    {
      std::lock_guard lock(mutex_);
      while (const size_t end = open_ || steps_ > 0 ? whole() : 0) {
        if (!open_) --steps_;
        running_ = started_;  // nothing but authentication before that
        started_ = true;
        out.append(in_, 0, end);
        in_.erase(0, end);
      }
    }
    write_all(server, out.data(), out.size());
  }
  if (client >= 0) ::close(client), ::close(server);
}

}  // namespace rejoin::testing
