// However a server stops, the owner of every WebSocket hears that it is closed: owners and sockets hold each other
// until then.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "net/http_server.h"
#include "net/raw_peer.h"
#include "net/websocket.h"

namespace rejoin::net {
namespace {

// Is busy with its first message for a while.
class BusyOwner : public WebSocketOwner {
 public:
  void on_open(std::shared_ptr<WebSocket> socket) override { socket_ = std::move(socket); }
  void on_message(Bytes, bool) override {
    busy.set_value();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  void on_drained() override {}
  void on_closed(uint16_t, const std::string&) override {
    socket_ = nullptr;
    ++closed;
  }

  std::promise<void> busy;
  std::atomic<int> closed = 0;

 private:
  std::shared_ptr<WebSocket> socket_;
};

TEST(WebSocketEnd, AnOwnerThatIsBusyWhileTheServerStopsHearsOfIt) {
  auto owner = std::make_shared<BusyOwner>();
  HttpHandlers handlers;
  handlers.admit = [&](HttpRequest& request) -> std::optional<HttpResponse> {
    request.upgrade = owner;
    return std::nullopt;
  };
  handlers.handle = [](HttpRequest&) { return HttpResponse{}; };
  handlers.refuse = [](const HttpRequest&, const Error&, int64_t) { return HttpResponse{}; };
  handlers.done = [](const HttpRequest&, const HttpResponse&, uint64_t) {};
  HttpServerOptions options;
  options.stop_timeout_ms = 1;
  NullLog log;
  auto server = HttpServer::start(std::move(options), std::move(handlers), log);
  ASSERT_TRUE(server.ok()) << server.error().message;

  RawPeer peer((*server)->port());
  ASSERT_TRUE(
      peer.send("GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"));
  ASSERT_NE(peer.read_until("\r\n\r\n").find("101"), std::string::npos);
  using namespace std::string_view_literals;
  ASSERT_TRUE(peer.send("\x82\x81\0\0\0\0x"sv));  // a binary message of one byte, masked with zeros
  owner->busy.get_future().wait();
  (*server)->stop();
  EXPECT_EQ(owner->closed, 1);
  EXPECT_EQ(owner.use_count(), 1);
}

}  // namespace
}  // namespace rejoin::net
