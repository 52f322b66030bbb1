// ClientList: what SLUICE CLIENTS and PINS reply.
#include "proxy/client_list.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

ClientInfo some_client(std::uint64_t number) {
  ClientInfo client;
  client.number = number;
  client.address = "127.0.0.1:5";
  return client;
}

TEST(ClientList, ShowsTheOldestFirst) {
  const std::string list = client_list({some_client(2), some_client(1)}, false, resp::Version::resp2);
  EXPECT_TRUE(list.starts_with("*2\r\n*24\r\n$2\r\nid\r\n:1\r\n")) << list;
  EXPECT_LT(list.find(":1\r\n"), list.find(":2\r\n"));
}

TEST(ClientList, PinsAreThoseWithAReason) {
  ClientInfo pinned = some_client(7);
  pinned.user = "bob";
  pinned.pinned = PinReason::watch;
  EXPECT_EQ(client_list({some_client(1), pinned}, true, resp::Version::resp3),
            "*1\r\n%4\r\n$2\r\nid\r\n:7\r\n$4\r\naddr\r\n$11\r\n127.0.0.1:5\r\n$4\r\nuser\r\n$3\r\nbob\r\n"
            "$6\r\npinned\r\n$5\r\nwatch\r\n");
}

TEST(ClientList, WhatIsNotThereIsNil) {
  EXPECT_NE(client_list({some_client(1)}, false, resp::Version::resp3).find("user\r\n_\r\n"), std::string::npos);
  EXPECT_NE(client_list({some_client(1)}, false, resp::Version::resp2).find("user\r\n$-1\r\n"), std::string::npos);
}

}  // namespace
}  // namespace sluice::proxy
