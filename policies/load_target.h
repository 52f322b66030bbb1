// Target: one of the keys that a load is about, and how far it is with it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

struct Target {
  enum class Stage : std::uint8_t {
    idle,     // not begun
    waiting,  // another operation leads its flight
    leasing,  // we lead: the lease is to be asked for, again if somebody else has it
    reading,  // SQL is to be asked
    filling,  // Redis is to be told what SQL said
    landed,   // there is an answer
  };

  explicit Target(const std::string& redis_key) : key(redis_key), side(side_key(redis_key)) {}

  std::string key, side;
  std::vector<sql::Bound> row_key;
  Stage stage = Stage::idle;
  bool redis = true;                  // ask and fill Redis
  std::string undropped;              // why the copy, which may be old, could not be dropped
  bool leased = false;                // what is read may be stored
  std::string versions;               // of the tables it depends on, before SQL was asked
  std::string ends;                   // refresh: when the copy that is to be replaced expires
  bool read = false;                  // SQL has answered
  bool counted = false;               // as a miss, or as the hit that it is by now
  Answer found;                       // while the fill is under way
  std::optional<std::int64_t> until;  // when the row's time is over (ttl_column), as Unix time in milliseconds
  std::shared_ptr<const Answer> answer;
};

}  // namespace sluice::policies
