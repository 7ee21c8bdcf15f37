// Live connections to a server, many at once, by a client that costs next to nothing.
//
//     bench_live idle    URL SECRET_FILE TENANT CONNECTIONS          opens them, prints {"ready": …}, stays until its
//     input
//                                                                    ends
//     bench_live latency URL SECRET_FILE TENANT CONNECTIONS COMMITS [POSTGRES]
//                                                                    a device pushes one row COMMITS times, or with
//                                                                    the database's address an INSERT does it; each
//                                                                    time until every connection has the page
//
// Latency is from before the push or INSERT is sent until a connection has its page. Prints JSON: milliseconds (p50,
// p99, worst).
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <iostream>
#include <memory>
#include <mutex>

#include "bench/support/load_device.h"
#include "postgres/connection.h"
#include "sync/live_messages.h"

namespace rejoin::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

// One connection: frames of a server, unmasked; ours with a mask of zeros.
class Reader {
 public:
  Reader(uint16_t port, const std::string& authorization) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd_ < 0 || ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
      die(std::string("connect: ") + std::strerror(errno));
    const int one = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    put("GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: "
        "websocket\r\nSec-WebSocket-Version: "
        "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: " +
        authorization + "\r\n\r\n");
    std::string answer;
    for (char c; answer.find("\r\n\r\n") == std::string::npos && ::recv(fd_, &c, 1, 0) == 1;) answer += c;
    if (answer.rfind("HTTP/1.1 101", 0) != 0) die("not taken: " + answer.substr(0, 200));
  }
  ~Reader() { ::close(fd_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  int fd() const { return fd_; }

  void follow(char site, const Bytes& cursor) {
    sync::LiveRequest request;
    request.sync.emplace();
    request.sync->hello.site = crdt::SiteId::from(std::string(16, site));
    request.sync->pull.emplace().cursor = cursor;
    const Bytes body = sync::encode_live_request(request);
    std::string frame("\x82", 1);
    if (body.size() < 126)
      frame += static_cast<char>(0x80 | body.size());
    else
      frame += static_cast<char>(0xfe), frame += static_cast<char>(body.size() >> 8),
          frame += static_cast<char>(body.size() & 255);
    put(frame + std::string(4, '\0') + body);
    while (read(0) == 0) {
    }
  }

  // How many messages have come.
  size_t read(int flags) {
    char buffer[16384];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, flags);
    if (n == 0 || (n < 0 && errno != EAGAIN)) die("the server ended a connection");
    if (n > 0) in_.append(buffer, static_cast<size_t>(n));
    size_t messages = 0;
    for (;;) {
      if (in_.size() < 2) return messages;
      size_t head = 2, size = in_[1] & 0x7f;
      const size_t wide = size == 126 ? 2 : size == 127 ? 8 : 0;
      if (wide != 0) {
        if (in_.size() < head + wide) return messages;
        size = 0;
        for (size_t i = 0; i < wide; ++i) size = size << 8 | static_cast<uint8_t>(in_[head + i]);
        head += wide;
      }
      if (in_.size() < head + size) return messages;
      const int opcode = in_[0] & 0xf;
      if (opcode == 8) die("the server closed a connection");
      if (opcode == 9) put(std::string("\x8a\x80\0\0\0\0", 6));
      if ((in_[0] & 0x80) && opcode < 8) ++messages;
      in_.erase(0, head + size);
      if (in_.empty()) in_.shrink_to_fit();
    }
  }

 private:
  void put(const std::string& bytes) {
    if (::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) die("send");
  }

  const int fd_;
  std::string in_;
};

int main_of(int argc, char** argv) {
  const std::vector<std::string> a(argv, argv + argc);
  const std::string what = argc > 1 ? a[1] : "";
  if (!(what == "idle" && argc == 6) && !(what == "latency" && (argc == 7 || argc == 8)))
    die("see the top of bench/bench_live.cc for how to call it");
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const std::string secret = read_file(a[3]);
  const size_t connections = std::stoul(a[5]);
  const uint16_t port = net::parse_url(a[2])->port;
  Device writer(a[2], secret, a[4], 0);
  writer.push(1);
  Device place(a[2], secret, a[4], 1);
  place.pull(true);

  std::vector<std::unique_ptr<Reader>> readers;
  for (size_t i = 0; i < connections; ++i) {
    // Four connections a device.
    static std::unique_ptr<Device> device;
    if (i % 4 == 0) device = std::make_unique<Device>(a[2], secret, a[4], static_cast<int>(i));
    readers.push_back(std::make_unique<Reader>(port, device->authorization()));
    readers.back()->follow(static_cast<char>('A' + i % 50), place.cursor());
  }
  if (what == "idle") {
    std::printf("{\"ready\": %zu}\n", connections);
    std::fflush(stdout);
    std::string line;
    while (std::getline(std::cin, line)) {
    }
    return 0;
  }

  const int poll = ::epoll_create1(EPOLL_CLOEXEC);
  for (size_t i = 0; i < readers.size(); ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    ::epoll_ctl(poll, EPOLL_CTL_ADD, readers[i]->fd(), &event);
  }
  const size_t commits = std::stoul(a[6]);
  std::mutex mutex;
  std::vector<double> times, alone;
  std::unique_ptr<postgres::Connection> sql;
  if (argc == 8) {
    auto opened = postgres::Connection::open(a[7]);
    if (!opened.ok()) die(opened.error().message);
    sql = std::move(*opened);
  }
  const auto write = [&] {
    if (!sql) return void(writer.push(1));
    const auto done = sql->query("INSERT INTO todos(id, title) VALUES (gen_random_uuid(), 'by plain SQL')");
    if (!done.ok()) die(done.error().message);
  };
  std::atomic<int64_t> begun = 0;
  std::atomic<size_t> arrived = 0;
  std::atomic<bool> over = false;
  const auto now = [] {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(SteadyClock::now().time_since_epoch()).count();
  };
  std::thread receiver([&] {
    epoll_event events[256];
    while (!over) {
      const int n = ::epoll_wait(poll, events, 256, 100);
      for (int i = 0; i < n; ++i) {
        const size_t messages = readers[events[i].data.u64]->read(MSG_DONTWAIT);
        if (messages == 0) continue;
        times.push_back(static_cast<double>(now() - begun) / 1e6);
        arrived += messages;
      }
    }
  });
  for (size_t i = 0; i < commits; ++i) {
    arrived = 0;
    begun = now();
    write();
    alone.push_back(static_cast<double>(now() - begun) / 1e6);
    for (int wait = 0; arrived < connections; ++wait) {
      if (wait > 100'000) die("a page did not arrive");
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    // At any moment between two looks of the server's.
    std::this_thread::sleep_for(std::chrono::microseconds(5000 + system_random().u64() % 50'000 * (sql != nullptr)));
  }
  over = true;
  receiver.join();
  const auto at = [](std::vector<double>& v, double q) {
    std::sort(v.begin(), v.end());
    return v.empty() ? 0 : v[static_cast<size_t>(q * static_cast<double>(v.size() - 1))];
  };
  std::printf(
      "{\"connections\": %zu, \"commits\": %zu, \"pages\": %zu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"worst_ms\": "
      "%.3f, "
      "\"by\": \"%s\", \"alone_p50_ms\": %.3f}\n",
      connections, commits, times.size(), at(times, 0.5), at(times, 0.99), at(times, 1), sql ? "plain SQL" : "a push",
      at(alone, 0.5));
  return 0;
}

}  // namespace
}  // namespace rejoin::bench

int main(int argc, char** argv) { return rejoin::bench::main_of(argc, argv); }
