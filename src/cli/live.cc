// rejoin live: messages to topics, from and to a terminal.
#include <CLI/Error.hpp>
#include <CLI/Validators.hpp>
#include <boost/json/object.hpp>

#include "cli/command.h"
#include "cli/credentials.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "client/topics.h"
#include "server/base64.h"
#include "server/utf8.h"

namespace rejoin::cli {
namespace {

struct LiveArguments {
  std::string action, url;
  Credentials credentials;
  std::vector<std::string> words;
};

void show(const sync::AppMessage& message, Output& output) {
  if (output.json()) {
    boost::json::object line{{"topic", message.topic}, {"from", message.from}, {"data", server::base64(message.data)}};
    if (server::valid_utf8(message.data)) line["text"] = message.data;
    output.document(line);
  } else {
    output.line(printable(message.topic) + "  " + printable(message.from) + "  " + printable(message.data));
  }
  output.flush();
}

Result<int> run_live_command(const LiveArguments& arguments, Output& output) {
  client::TopicOptions options;
  REJOIN_ASSIGN(options.token, token_of(arguments.credentials));
  options.ca_file = arguments.credentials.ca_file;
  catch_interrupts();
  options.cancelled = [&] { return interrupted().load() || output.closed(); };
  if (arguments.action == "send") {
    if (arguments.words.size() != 2)
      return fail(Code::bad_argument, "send takes one topic and one text: rejoin live send URL TOPIC TEXT");
    REJOIN_TRY(client::send_to_topic(arguments.url, {arguments.words[0], arguments.words[1], {}}, options));
    if (output.json()) output.document({{"sent", true}});
    return kOk;
  }
  REJOIN_TRY(client::listen_to_topics(
      arguments.url, arguments.words,
      [&] {
        if (output.json())
          output.document({{"event", "listening"}});
        else
          output.hint("listening; Ctrl-C stops");
        output.flush();
      },
      [&](const sync::AppMessage& message) { show(message, output); }, options));
  return kInterrupted;
}

}  // namespace

void add_live(Commands& commands) {
  auto arguments = std::make_shared<LiveArguments>();
  CLI::App* command = commands.add(
      "live", "Send messages to topics, and listen to them",
      "A message goes to the devices of its tenant that listen to its topic at this moment, and is stored nowhere: "
      "for\n"
      "who is there, who is typing. At most 4,096 bytes. listen prints what comes until Ctrl-C, with --json one\n"
      "document per line.",
      "rejoin live listen http://127.0.0.1:8427 typing --token-file device.token\n"
      "rejoin live send http://127.0.0.1:8427 typing 'ada: t1' --token-file device.token");
  command->add_option("ACTION", arguments->action, "send or listen")
      ->required()
      ->check(CLI::IsMember({"send", "listen"}));
  command->add_option("URL", arguments->url, "The server")->required();
  command->add_option("TOPIC", arguments->words, "listen: the topics; send: one topic, and the text")->required();
  add_credentials(command, arguments->credentials);
  commands.on_run(command, [arguments](Output& output) { return run_live_command(*arguments, output); });
}

}  // namespace rejoin::cli
